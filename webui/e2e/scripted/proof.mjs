// What became of the wishes of a day in which one went wrong.
const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString()
const times = (p50, p95, p99) => ({ p50, p95, p99 })

export const proof = () => ({
  from: ago(1440), to: ago(0),
  rows: [
    { queue_name: 'Service', channel: 'chat', target_seconds: 180, wishes: 161, in_hours: 158, open: 2, kept: 152, broken: 3, left: 4, share: 98.1, acknowledged: times(0.2, 0.3, 0.5), offered: times(0.4, 1.6, 2.0), first_word: times(34, 146, 245) },
    { queue_name: 'Service', channel: 'voice', target_seconds: 180, wishes: 190, in_hours: 190, open: 1, kept: 185, broken: 4, left: 0, share: 97.8, acknowledged: times(0.2, 0.4, 0.6), offered: times(0.5, 1.8, 2.4), first_word: times(19, 118, 221) },
    { queue_name: 'Repairs', channel: 'email', target_seconds: 7200, wishes: 41, in_hours: 30, open: 6, kept: 31, broken: 4, left: 0, share: 93.4, acknowledged: times(12, 41, 60), offered: times(60, 540, 900), first_word: times(1440, 5460, 8400) },
  ],
  synthetic: [{ queue_name: 'Service', channel: 'chat', target_seconds: 180, wishes: 48, in_hours: 48, open: 0, kept: 47, broken: 1, left: 0, share: 97.9, acknowledged: times(0.2, 0.4, 0.4), offered: times(0.6, 1.7, 1.9), first_word: times(18, 150, 190) }],
  unmeasured: [{ channel: 'email', why: 'There is no mailbox: mail.imap_host is empty.' }],
  days: Array.from({ length: 18 }, (_, i) => ({ day: ago((18 - i) * 1440).slice(0, 10), kept: 180 + 7 * (i % 5), broken: i === 11 ? 21 : i % 3, share: i === 11 ? 89.6 : 99.1 - (i % 5) / 2, p50: 22 + 3 * (i % 7), p95: i === 11 ? 203 : 112 + 9 * (i % 6) })),
  model: [{ queue_name: 'Service', channel: 'chat', conversations: 640, alone: 301, share: 47.0 }, { queue_name: 'Service', channel: 'voice', conversations: 410, alone: 120, share: 29.3 }],
  budgets: [
    { queue_name: 'Repairs', share: 95, promises: 35, allowed: 1.75, broken: 4, used: 228.6, hour_burn: 4.2, people_first: ago(40), why: '4 of 19 promises of the last hour were broken; 95 % must be kept.' },
    { queue_name: 'Service', share: 95, promises: 344, allowed: 17.2, broken: 7, used: 40.7, hour_burn: 0.4, people_first: null, why: '' },
  ],
})

export const late = (row) => [{ conversation_id: row.id, contact_name: row.contact_name, queue_name: 'Repairs', channel: 'email', state: 'waiting', opened_at: ago(190), due_at: ago(12), synthetic: false }]

export const alarms = (row) => [
  { id: 2, at: ago(12), kind: 'promise_broken', conversation_id: row.id, queue_name: 'Repairs', channel: 'email', words: 'Promise broken: a person was promised by 10:41:00 UTC, and none has said a word yet.', delivered_at: null, error: 'answered 500' },
  { id: 1, at: ago(40), kind: 'people_first', conversation_id: null, queue_name: 'Repairs', channel: '', words: 'Repairs: people first, the responder steps back. 4 of 19 promises of the last hour were broken; 95 % must be kept.', delivered_at: ago(40), error: '' },
]
