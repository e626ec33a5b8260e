// From messages to what the timeline shows: days, event lines, bubbles, notes, mails, calls. Pure.
import type { Call, Message } from '../../shared/api'
import type { IconName } from '../../shared/icons'
import { dispositionText, firstName } from '../names'
import { clockTime, dayName, stopwatch } from '../time'

export type Item =
  | { kind: 'day'; key: string; text: string }
  | { kind: 'event'; key: string; m: Message; icon: IconName | undefined; text: string; told: string }
  | { kind: 'words' | 'note' | 'mail' | 'heard' | 'voicemail'; key: string; m: Message }
  | { kind: 'call'; key: string; m: Message; call: Call | undefined }

const wishes: Record<string, string> = {
  words: 'Person asked for, in words',
  button: 'Person asked for, by the button',
  key: 'Person asked for, by the key 0',
  mail: 'Person asked for, by mail',
  failure: 'The model failed, a person is needed',
  turns: 'Too many turns, a person is needed',
  model: 'The responder handed over to a person',
  silence: 'Silence, a person is needed',
  lost: 'The connection was lost, a person is needed',
  busy: 'The responder had no place free',
}

const results: Record<string, string> = { completed: 'Call', abandoned: 'Hung up in line', lost: 'Call lost', failed: 'Call failed' }

export function callResult(c: Pick<Call, 'state' | 'result'>): string {
  return c.state === 'ended' ? (results[c.result] ?? 'Call') : c.state === 'bridged' ? 'Call, running' : c.state === 'connecting' ? 'Call, connecting' : 'Call, in line'
}

// eventText says what happened; "" means that the body is all there is.
export function eventText(m: Message, contact: string): string {
  const d = m.data
  const who = firstName(contact)
  const by = d.agent_name ? ` by ${d.agent_name}` : ''
  const due = d.due_at ? ` · promise by ${clockTime(d.due_at)}` : ''
  switch (d.code) {
    case 'waiting':
      return `${wishes[d.source ?? ''] ?? 'Waiting for a person'}${due}`
    case 'model_down':
      return `The model did not answer${due}`
    case 'no_answer':
      return `The responder did not know${due}`
    case 'message_left':
      return `${who} left a message, to be answered by e-mail`
    case 'through':
      return `${d.agent_name || 'An agent'} took over`
    case 'back_in_line':
      return `Back in line, in front${due}`
    case 'missed':
      return `Offer missed${by}`
    case 'declined':
      return `Offer declined${by}`
    case 'transfer':
      return `Passed on${by}`
    case 'ended':
      return `Ended${by}`
    case 'closed':
      return `Closed${by}${dispositionText(d.reason ?? '') ? ` · ${dispositionText(d.reason ?? '')}` : ''}`
    case 'reopened':
      return `${who} came back, same conversation`
    case 'call_ended':
      return `Call ended${d.seconds ? ` after ${stopwatch(d.seconds * 1000)}` : ''}${d.reason ? ` · ${d.reason}` : ''}`
    case 'call_lost':
      return 'The server went down under the call: a call to return'
    case 'left':
      return `${who} left the line`
    default:
      return ''
  }
}

const icons: Record<string, IconName> = {
  waiting: 'check', model_down: 'alert', no_answer: 'alert', missed: 'alert', transfer: 'transfer', call_ended: 'phone',
  call_lost: 'alert', message_left: 'mail', no_message: 'alert', recorded: 'rec', delivery: 'alert', through: 'headset', closed: 'check',
}

// What the customer was told by an event is worth reading where it is more than the event's name.
const toldCodes = new Set(['waiting', 'model_down', 'no_answer', 'back_in_line', 'message_left', 'transfer', 'ended'])

function event(m: Message, contact: string): Item {
  const text = eventText(m, contact)
  const told = text && !m.private && toldCodes.has(m.data.code ?? '') ? m.body : ''
  return { kind: 'event', key: `e${m.seq}`, m, icon: icons[m.data.code ?? ''], text: text || m.body || 'Something happened', told }
}

export function timeline(messages: Message[], calls: Call[], contact: string, now: number): Item[] {
  const items: Item[] = []
  let day = ''
  for (const m of messages) {
    const name = dayName(m.at, now)
    if (name !== day) {
      day = name
      items.push({ kind: 'day', key: `d${m.seq}`, text: name })
    }
    const key = `m${m.seq}`
    if (m.kind === 'event') {
      if (m.data.code === 'call_started') items.push({ kind: 'call', key, m, call: calls.find((c) => c.id === m.data.call_id) })
      else items.push(event(m, contact))
    } else if (m.kind === 'transcript') items.push({ kind: 'heard', key, m })
    else if (m.kind === 'note' || m.private) items.push({ kind: 'note', key, m })
    else if (m.kind === 'voicemail') items.push({ kind: 'voicemail', key, m })
    else if (m.channel === 'email') items.push({ kind: 'mail', key, m })
    else items.push({ kind: 'words', key, m })
  }
  return items
}

// quoted is the part of a mail that its writer did not write: what Full has beside Body.
export function quoted(body: string, full: string | undefined): string {
  if (!full || full.trim() === body.trim()) return ''
  const at = full.indexOf(body.trim())
  return at >= 0 ? (full.slice(0, at) + full.slice(at + body.trim().length)).trim() : full.trim()
}

// Only web addresses become links; anything else in a source's address stays words.
export function safeLink(url: string): string {
  return /^(https?:\/\/|\/(?!\/))/i.test(url) ? url : ''
}
