package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

var begun = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time    { return begun.Add(d) }
func when(d time.Duration) *time.Time    { t := after(d); return &t }
func ap(s string) netip.AddrPort         { return netip.MustParseAddrPort(s) }
func in(m ...string) string              { return strings.Join(m, "\r\n") }
func with(t Trace, f func(*Trace)) Trace { f(&t); return t }

const (
	us    = "192.0.2.1:5060"
	them  = "203.0.113.7:5060"
	inner = "192.168.1.4"
)

// slicesOf are n slices of 5 s as good as q.
func slicesOf(n int, q Quality) (all []Slice) {
	for i := range n {
		s := Slice{At: after(2*time.Second + time.Duration(i)*5*time.Second), Seconds: 5, Quality: q, Packets: uint64(250 * (1 - q.LostPercent/100))}
		s.Missing = 250 - int64(s.Packets)
		all = append(all, s)
	}
	return all
}

// message is one of the ladder.
func message(at time.Duration, inward bool, lines ...string) Message {
	return Message{At: after(at), In: inward, Transport: "udp", Local: ap(us), Remote: ap(them), CallID: "c1@" + inner, Raw: in(lines...)}
}

func sdp(ip string, port int, extra ...string) string {
	return in(append([]string{"v=0", "o=- 1 1 IN IP4 " + ip, "s=-", "c=IN IP4 " + ip, "t=0 0", fmt.Sprintf("m=audio %d RTP/AVP 0 8 101", port),
		"a=rtpmap:101 telephone-event/8000"}, append(extra, "")...)...)
}

func invite(at time.Duration, ip string, port int, extra ...string) Message {
	body := sdp(ip, port, extra...)
	return message(at, true, "INVITE sip:100@192.0.2.1 SIP/2.0", "Via: SIP/2.0/UDP "+ip+":5060;branch=z9hG4bK1", `From: "Rosa Lindt" <sip:+493023125410@carrier.example>;tag=a`,
		"To: <sip:100@192.0.2.1>", "Call-ID: c1@"+inner, "CSeq: 1 INVITE", "Contact: <sip:rosa@"+ip+":5060>", "Content-Type: application/sdp",
		fmt.Sprintf("Content-Length: %d", len(body)), "", body)
}

func answer(at time.Duration, inward bool, code int, phrase, cseq string, extra ...string) Message {
	return message(at, inward, append(append([]string{fmt.Sprintf("SIP/2.0 %d %s", code, phrase), "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", "CSeq: " + cseq}, extra...), "", "")...)
}

func request(at time.Duration, inward bool, method, cseq string, extra ...string) Message {
	return message(at, inward, append(append([]string{method + " sip:x@192.0.2.1 SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK" + cseq, "CSeq: " + cseq + " " + method}, extra...), "", "")...)
}

// goodCall is a call of a minute in which nothing went wrong.
func goodCall() Trace {
	fine := Quality{MOS: 4.3, JitterMS: 3, RoundTripMS: 20}
	return Trace{CallID: 1, Node: "here", Direction: "in", Media: "sip", State: "ended", Number: "+493023125410", Name: "Rosa Lindt", Ours: "100",
		StartedAt: begun, AnsweredAt: when(2 * time.Second), BridgedAt: when(10 * time.Second), EndedAt: when(62 * time.Second), Result: "completed", Reason: "caller hung up",
		Legs: []Leg{
			{ID: 1, Role: Customer, By: "sip", SIPCallID: "c1@" + inner, Inbound: true, Transport: "UDP", Source: ap(them), JoinedAt: begun, UpAt: when(2 * time.Second),
				PartedAt: when(62 * time.Second), Codec: "PCMU", Local: ap("192.0.2.1:16384"), Announced: ap("203.0.113.7:40000"), Seen: ap("203.0.113.7:40000"), SendsTo: ap("203.0.113.7:40000"),
				Latch:  []Decision{{At: after(2 * time.Second), To: ap("203.0.113.7:40000"), Why: "announced in their SDP"}},
				Counts: Counts{In: 3000, Out: 3000}, Overall: fine, Slices: slicesOf(12, fine), End: &End{At: after(62 * time.Second), By: ByThem, Reason: "hung up"}},
			{ID: 2, Role: Agent, By: "web", AgentID: 7, Name: "Ana Berg", JoinedAt: after(9 * time.Second), UpAt: when(10 * time.Second), PartedAt: when(62 * time.Second), Codec: "PCMU",
				Pair:   &Pair{Local: Candidate{ap("192.0.2.1:8189"), "host", "udp"}, Remote: Candidate{ap("198.51.100.9:50000"), "srflx", "udp"}},
				Counts: Counts{In: 2600, Out: 2600}, Overall: fine, Slices: slicesOf(10, fine)},
		},
		Messages: []Message{invite(0, "203.0.113.7", 40000), answer(2*time.Second, false, 200, "OK", "1 INVITE", "Contact: <sip:192.0.2.1:5060>"), request(2100*time.Millisecond, true, "ACK", "1"),
			request(62*time.Second, true, "BYE", "2", "Reason: Q.850;cause=16"), answer(62*time.Second, false, 200, "OK", "2 BYE")},
		Events: []Event{{after(10 * time.Second), 0, StateMoved, "bridged"}, {after(20 * time.Second), 1, KeyPressed, "a key was pressed (event)"}},
	}
}
