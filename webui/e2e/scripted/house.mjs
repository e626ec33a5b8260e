// What the scripted server knows at the start: the invented shop of the design, with one conversation per state.
const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString()
const ahead = (minutes) => ago(-minutes)

const agents = [
  { id: 1, name: 'Ana Brekke', presence: 'available', presence_reason: '', presence_at: ago(6), online: true },
  { id: 2, name: 'Mira Solheim', presence: 'away', presence_reason: 'lunch', presence_at: ago(14), online: true },
  { id: 3, name: 'Tom Aske', presence: 'available', presence_reason: '', presence_at: ago(21), online: true },
  { id: 4, name: 'Freya Lindqvist', presence: 'available', presence_reason: '', presence_at: ago(3), online: true },
  { id: 5, name: 'Nils Haugen', presence: 'offline', presence_reason: '', presence_at: ago(300), online: false },
]
export const queues = [
  { id: 1, name: 'Equipment', waiting: 4, longest_wait_seconds: 108 },
  { id: 2, name: 'Orders', waiting: 2, longest_wait_seconds: 48 },
  { id: 3, name: 'Repairs', waiting: 1, longest_wait_seconds: 20 },
]

const newPhone = () => ({
  phone: 'browser', device_ready: false, device_label: '', can_dial: true, ice_servers: [],
  caller_numbers: [{ number: '+47 555 01 000', label: 'Shop' }, { number: '+47 555 01 900', label: 'Repairs' }],
})

export const newMe = () => ({
  id: 1, login: 'ana', name: 'Ana Brekke', role: 'agent', presence: 'available', presence_reason: '', presence_at: ago(6),
  queue_ids: [1, 2, 3], has_password: true,
})

let last = 0
export function conversation(over) {
  const id = ++last
  const queue = queues[(over.queue ?? 1) - 1]
  delete over.queue
  return {
    id, contact_id: id, contact_name: 'Visitor 1', queue_id: queue.id, queue_name: queue.name, state: 'agent', channel: 'chat', agent_id: 1,
    agent_name: 'Ana', subject: '', summary: '', last_words: '', last_author: 'contact', created_at: ago(90), state_at: ago(4), changed_at: ago(2),
    waiting_since: null, front: false, return_call: false, left_message: '', wrapup_until: null, disposition: '', last_seq: 0, promise_due_at: null,
    promise_opened_at: null, call_id: null, call_state: '', call_back: '', call_back_at: null, call_back_tries: 0, call_back_last: '', call_back_alarm: '', ...over,
  }
}

export function message(c, over) {
  c.last_seq++
  return {
    id: c.id * 1000 + c.last_seq, conversation_id: c.id, seq: c.last_seq, author: 'contact', agent_id: null, channel: c.channel, kind: 'text',
    body: '', private: false, client_id: null, data: {}, at: ago(3), ...over,
  }
}

const summary = 'Says: “The repair sleeve split again. Can I buy just that one section?”. AI answered from “Skarv 2 spare parts”.'

// what the server makes of Jonas's messages
const card = (due) => ({
  seq: 8, at: ago(5),
  lines: [
    { kind: 'who', text: 'Jonas Falkenried', address: '+49 171 555 0147', claim: true, seqs: [1] },
    { kind: 'identity', text: 'Not verified. Says the number “NL-20418”.', value: 'claimed', claim: true, seqs: [5] },
    { kind: 'language', text: 'English', value: 'en', seqs: [1, 5, 7] },
    { kind: 'mood', text: 'Calm', value: 'calm', seqs: [7] },
    { kind: 'wish', text: '“yes please, can someone call me?”', claim: true, seqs: [7, 8] },
    { kind: 'matter', text: '“Hello, the fourth section split along the seam. We leave on Friday.”', claim: true, seqs: [1] },
    { kind: 'matter', text: '“The repair sleeve split again. Can I buy just that one section?”', claim: true, seqs: [5] },
    { kind: 'tried', text: '“Yes, single sections are sold.”', by: 'ai', source: 'Skarv 2 spare parts', seqs: [5, 6] },
    { kind: 'promised', text: 'A person answers', due_at: due, seqs: [8] },
    { kind: 'question', text: '“can someone call me? <b>bold</b><img src=x onerror=alert(1)>”', claim: true, seqs: [7] },
  ],
  summary: { text: 'A tent pole broke again before a trip on Friday. <i>Wants one section.</i>', model: 'qwen3:4b' },
})

export function newHouse() {
  last = 0
  const jonas = conversation({ contact_name: 'Jonas Falkenried', subject: 'Tent pole broken, trip on Friday', summary, last_words: 'yes please, can someone call me?' })
  const saskia = conversation({ contact_name: 'Saskia Brandmoor', queue: 2, last_words: 'Is the green one back on Monday?', promise_opened_at: ago(4), promise_due_at: ahead(1.2) })
  const ole = conversation({ contact_name: 'Ole Tannberg', queue: 3, channel: 'email', subject: 'Stove leaks at the valve', last_words: 'Stove leaks at the valve, photo attached', changed_at: ago(130), promise_opened_at: ago(140), promise_due_at: ago(12) })
  const phone = conversation({ contact_name: '+47 555 01 318', queue: 2, channel: 'voice', state: 'waiting', agent_id: null, agent_name: '', waiting_since: ago(1.8), return_call: true, front: true, last_words: 'The line went dead', promise_opened_at: ago(2), promise_due_at: ahead(34) })
  const idris = conversation({ contact_name: 'Idris Kvam', queue: 3, channel: 'email', last_author: 'agent', last_words: 'Could you send the number inside the lid?', changed_at: ago(60 * 26) })
  const visitor = conversation({ contact_name: 'Visitor 12', state: 'waiting', agent_id: null, agent_name: '', waiting_since: ago(0.8), last_words: 'hello? a person please', promise_opened_at: ago(0.8), promise_due_at: ahead(4) })
  const robot = conversation({ contact_name: 'Petra Wollin', queue: 2, state: 'bot', agent_id: null, agent_name: '', last_author: 'ai', last_words: 'A refund takes three days.' })
  const mira = conversation({ contact_name: 'Tom Aske', agent_id: 2, agent_name: 'Mira', last_words: 'Thanks' })
  const wrap = conversation({ contact_name: 'Runa Lie', state: 'wrapup', wrapup_until: ahead(0.7), last_author: 'agent', last_words: 'Bye, have a good trip' })
  const closed = conversation({ contact_name: 'Jonas Falkenried', contact_id: 1, state: 'closed', channel: 'email', subject: 'Which groundsheet fits', disposition: 'solved', agent_name: 'Mira', changed_at: ago(60 * 24 * 40) })

  const calls = [{ id: 7, conversation_id: jonas.id, direction: 'in', from_address: '+49 171 555 0147', to_address: '100', agent_id: 1, state: 'ended', started_at: ago(60 * 25), bridged_at: ago(60 * 25 - 1), ended_at: ago(60 * 25 - 4), result: 'completed', reason: '', stats: {} }]
  // two voicemails of one caller: one written down, one whose call a failure has cut
  const voicemail = conversation({ contact_name: '+47 555 01 777', queue: 2, channel: 'voice', state: 'waiting', agent_id: null, agent_name: '', waiting_since: ago(47), left_message: 'voicemail', last_words: 'Voicemail: the pole of my tent is broken again', promise_opened_at: ago(47), promise_due_at: ahead(25) })
  calls.push({ id: 9, conversation_id: voicemail.id, direction: 'in', from_address: '+47 555 01 777', to_address: '100', agent_id: null, state: 'ended', started_at: ago(48), bridged_at: null, ended_at: ago(46), result: 'completed', reason: 'left a voicemail', stats: {} })
  const soundMarks = [{ at: 60, what: 'paused' }, { at: 74, what: 'resumed' }]
  const recordings = [
    { id: 5, call_id: 7, kind: 'call', state: 'done', started_at: ago(60 * 25 - 1), seconds: 180, marks: soundMarks, keep_until: null, error: '' },
    { id: 6, call_id: 7, kind: 'call', state: 'recovered', started_at: ago(60 * 25 - 1), seconds: 192, marks: [], keep_until: null, error: '' },
    { id: 8, call_id: 7, kind: 'call', state: 'failed', started_at: ago(60 * 25 - 1), seconds: 0, marks: [], keep_until: null, error: 'the disk is full' },
    { id: 10, call_id: 9, kind: 'voicemail', state: 'done', started_at: ago(47), seconds: 12, marks: [], keep_until: null, error: '' },
    { id: 11, call_id: 9, kind: 'voicemail', state: 'recovered', started_at: ago(46), seconds: 5, marks: [], keep_until: null, error: '' },
  ]
  const said = new Map()
  said.set(jonas.id, [
    message(jonas, { channel: 'email', body: 'Hello, the fourth section split along the seam. We leave on Friday.', at: ago(60 * 26), data: { subject: 'Pole of my Skarv 2 is broken', full: 'Hello, the fourth section split along the seam. We leave on Friday.\n\n> On Monday you wrote:\n> use the sleeve' } }),
    message(jonas, { author: 'system', channel: 'voice', kind: 'event', private: true, at: ago(60 * 25), data: { code: 'call_started', call_id: 7 } }),
    message(jonas, { author: 'system', channel: 'voice', kind: 'event', private: true, at: ago(60 * 25 - 4), data: { code: 'call_ended', call_id: 7, seconds: 200, reason: 'the caller hung up' } }),
    message(jonas, { author: 'system', kind: 'event', private: true, at: ago(9), data: { code: 'reopened' } }),
    message(jonas, { body: 'The repair sleeve split again. Can I buy just that one section?', at: ago(8) }),
    message(jonas, { author: 'ai', at: ago(8), body: 'Yes, single sections are sold. A Skarv 2 takes section 4, 8.7 mm. I can’t see shop stock from here; a person can. Shall I get one?', data: { mode: 'model', sources: [{ passage_id: 1, title: 'Skarv 2 spare parts', url: 'https://shop.example/skarv' }, { passage_id: 2, title: 'Orders', url: 'javascript:alert(1)' }] } }),
    message(jonas, { body: 'yes please, can someone call me? <b>bold</b><img src=x onerror=alert(1)>', at: ago(5) }),
    message(jonas, { author: 'system', kind: 'event', at: ago(5), body: 'We are getting a person. Your messages go along.', data: { code: 'waiting', source: 'words', due_at: ahead(2) } }),
    message(jonas, { author: 'system', kind: 'event', at: ago(4), body: 'You’re through to Ana. She has read your messages.', data: { code: 'through', agent_name: 'Ana' } }),
    message(jonas, { author: 'agent', agent_id: 2, kind: 'note', private: true, at: ago(4), body: 'Batch 26-07 is on the recall list. Courier only, never by post.', data: { agent_name: 'Mira Solheim' } }),
    message(jonas, { author: 'agent', agent_id: 1, at: ago(3), body: 'Hello Jonas, I look up the stock in Bergen, one moment.', data: { agent_name: 'Ana' } }),
  ])
  for (const c of [saskia, ole, phone, idris, visitor, robot, mira, wrap, closed]) {
    said.set(c.id, [message(c, { author: c.last_author === 'contact' ? 'contact' : c.last_author, body: c.last_words || 'Hello', data: c.channel === 'email' ? { subject: c.subject } : {} })])
  }
  said.set(voicemail.id, [
    message(voicemail, { author: 'system', kind: 'event', private: true, at: ago(48), data: { code: 'call_started', call_id: 9 } }),
    message(voicemail, { author: 'system', kind: 'event', at: ago(47), body: 'Nobody is here right now. A person answers today by 14:00, Oslo time.', data: { code: 'nobody_here', source: 'key' } }),
    message(voicemail, { kind: 'voicemail', at: ago(47), body: 'the pole of my tent is broken again please call me before friday', data: { call_id: 9, recording_id: 10, seconds: 12 } }),
    message(voicemail, { kind: 'voicemail', at: ago(46), body: '', data: { call_id: 9, recording_id: 11, seconds: 5, cut: true, reason: 'our server failed while it was spoken' } }),
    message(voicemail, { author: 'system', kind: 'event', private: true, at: ago(46), data: { code: 'call_ended', call_id: 9, seconds: 120, reason: 'left a voicemail' } }),
  ])
  return { me: newMe(), phone: newPhone(), agents, draft: { summary: 'Runa asked which groundsheet fits. <b>Nothing</b> is owed.', disposition: 'solved', model: 'qwen3:4b', why: '' }, cards: new Map([[jonas.id, card(ahead(2))]]), queues, said, calls, recordings, rows: [jonas, saskia, ole, phone, idris, visitor, robot, mira, wrap, closed, voicemail] }
}
