// A call behind a NAT with a bad half minute, as the API gives it.
const start = Date.parse('2026-11-22T10:00:00Z')
const at = (seconds) => new Date(start + seconds * 1000).toISOString()
const message = (seconds, inward, ...lines) => ({
    at: at(seconds), in: inward, transport: 'udp', local: '192.0.2.1:5060', remote: '203.0.113.7:5060', call_id: 'a@192.168.1.4', raw: [...lines, '', ''].join('\r\n'),
})
const sdp = (ip, port) => `v=0\r\no=- 1 1 IN IP4 ${ip}\r\ns=-\r\nc=IN IP4 ${ip}\r\nt=0 0\r\nm=audio ${port} RTP/AVP 0 8 101\r\n`
function slices(bad, from) {
    return Array.from({ length: 12 }, (_, i) => ({
        at: at(from + i * 5), seconds: 5, mos: bad(i) ? 3.2 : 4.3, lost_percent: bad(i) ? 12 : 0.1, jitter_ms: bad(i) ? 34 : 4 + (i % 3), round_trip_ms: 22,
        packets: 250, missing: bad(i) ? 30 : 0, strangers: 0, far_lost_percent: bad(i + 1) ? 3 : 0, far_jitter_ms: 6,
    }))
}
export function sampleTrace() {
    const base = { inbound: true, codec: 'PCMU', parted_at: at(62), end: null, counts: { in: 2970, out: 3000, lost: 30, strangers: 0, malformed: 0, unauthenticated: 0, foreign: 0 } }
    return {
        call_id: 7, node: 'patchbay-1', direction: 'in', media: 'sip', state: 'ended', number: '+493023125410', name: 'Rosa Lindt', ours: '100', started_at: at(0), answered_at: at(1), bridged_at: at(9), ended_at: at(62),
        result: 'completed', reason: 'caller hung up', dropped: 0, late: { frames: 0, seconds: 0 },
        legs: [
            {
                ...base, id: 1, role: 'customer', by: 'sip', sip_call_id: 'a@192.168.1.4', transport: 'UDP', source: '203.0.113.7:5060', joined_at: at(0), up_at: at(1), local: '192.0.2.1:16384', announced: '192.168.1.4:40000',
                seen: '203.0.113.7:40112', sends_to: '203.0.113.7:40112', pair: null, overall: { mos: 4.0, lost_percent: 4.1, jitter_ms: 14, round_trip_ms: 22 }, slices: slices((i) => i > 5, 1),
                latch: [{ at: at(0.02), to: '192.168.1.4:40000', why: 'announced in their SDP' }, { at: at(1.3), from: '192.168.1.4:40000', to: '203.0.113.7:40112', why: 'their packets come from here' }],
                end: { at: at(62), by: 'them', code: 0, reason: 'hung up' },
            },
            {
                ...base, id: 2, role: 'agent', by: 'web', agent_id: 7, joined_at: at(8), up_at: at(9), secured: 'DTLS', latch: [], overall: { mos: 4.3, lost_percent: 0.1, jitter_ms: 4, round_trip_ms: 22 }, slices: slices(() => false, 9),
                pair: { local: { addr: '192.0.2.1:8189', kind: 'host', protocol: 'udp' }, remote: { addr: '198.51.100.9:50012', kind: 'srflx', protocol: 'udp' } },
            },
        ],
        messages: [
            message(0, true, 'INVITE sip:100@192.0.2.1 SIP/2.0', 'Via: SIP/2.0/UDP 192.168.1.4:5060;branch=z9hG4bK1;rport', 'From: "Rosa Lindt" <sip:+493023125410@carrier.example>;tag=1', 'To: <sip:100@192.0.2.1>', 'Call-ID: a@192.168.1.4', 'CSeq: 1 INVITE', 'Content-Type: application/sdp', '', sdp('192.168.1.4', 40000)),
            message(0.02, false, 'SIP/2.0 180 Ringing', 'CSeq: 1 INVITE'),
            message(1, false, 'SIP/2.0 200 OK', 'CSeq: 1 INVITE', 'Content-Type: application/sdp', '', sdp('192.0.2.1', 16384)),
            message(1.04, true, 'ACK sip:192.0.2.1:5060 SIP/2.0', 'CSeq: 1 ACK'),
            message(30, true, 'INFO sip:192.0.2.1:5060 SIP/2.0', 'CSeq: 2 INFO', 'Content-Type: application/dtmf-relay', '', 'Signal=x\r\nDuration=160'),
            message(30.01, false, 'SIP/2.0 200 OK', 'CSeq: 2 INFO'),
            message(62, true, 'BYE sip:192.0.2.1:5060 SIP/2.0', 'CSeq: 3 BYE', 'Reason: Q.850;cause=16'),
            message(62.01, false, 'SIP/2.0 200 OK', 'CSeq: 3 BYE'),
        ],
        events: [
            { at: at(0), leg: 1, kind: 'joined', text: 'customer joined by sip' }, { at: at(9), leg: 2, kind: 'up', text: 'agent connected by ice: udp host to udp srflx' },
            { at: at(9), leg: 0, kind: 'hears', text: 'customer hears agent, agent hears customer' }, { at: at(30), leg: 1, kind: 'key', text: 'a key was pressed' }, { at: at(62), leg: 1, kind: 'ended', text: 'the other side ended it' },
        ],
    }
}
export function sampleDetail() {
    const t = sampleTrace()
    return {
        trace: t, ending: 'The call ended 1:01 min after it was answered: caller hung up, ended by the other side.',
        call: {
            id: 7, conversation_id: 3, direction: 'in', from_address: t.number, to_address: t.ours, agent_id: 7, media: 'sip', state: 'ended', started_at: t.started_at, bridged_at: t.bridged_at, ended_at: t.ended_at,
            result: t.result, reason: t.reason, stats: {}, contact_name: 'Rosa Lindt', agent_name: 'Ana Berg', mos: 4, lost_percent: 4.1, jitter_ms: 14, traced: true,
        },
        turns: [],
        verdicts: [
            { code: 'loss', grade: 'fault', title: 'Sound was lost on the way', text: 'What we hear from the telephone network was bad for 30 of 60 seconds, first after 31 s: up to 12 % lost, jitter up to 34 ms. Look at our line, or theirs towards us.', evidence: [], leg: 1 },
            {
                code: 'nat', grade: 'note', title: 'NAT, and we cope with it', leg: 1,
                text: 'The telephone network sends from 203.0.113.7:40112, the SDP announced 192.168.1.4:40000, an address inside their own network; we follow the packets.',
                evidence: ['after 0 s: we send to 192.168.1.4:40000 (announced in their SDP)', 'after 1 s: we send to 203.0.113.7:40112 (their packets come from here)'],
            },
            { code: 'ending', grade: 'note', title: 'Why it ended', text: 'The call ended 1:01 min after it was answered: caller hung up, ended by the other side.', evidence: ['Q.850 cause 16: ended in the normal way'], leg: 0 },
        ],
    }
}
