import { expect, it } from 'vitest'
import type { Call, Message } from '../../shared/api'
import { eventText, quoted, safeLink, timeline } from './timeline'

let seq = 0
const m = (over: Partial<Message>): Message => ({
  id: ++seq, conversation_id: 1, seq, author: 'contact', agent_id: null, channel: 'chat', kind: 'text', body: 'hello', private: false, client_id: null, data: {},
  at: '2026-11-18T10:31:00Z', ...over,
})
const now = Date.parse('2026-11-18T11:00:00Z')

it('puts each kind into its own block, with a line per day', () => {
  const call = { id: 7 } as Call
  const items = timeline(
    [
      m({ at: '2026-11-17T09:00:00Z', channel: 'email' }), m({}), m({ kind: 'note', private: true, author: 'agent' }),
      m({ kind: 'event', author: 'system', data: { code: 'call_started', call_id: 7 } }), m({ kind: 'event', author: 'system', data: { code: 'through', agent_name: 'Ana' } }),
    ],
    [call], 'Jonas Falkenried', now,
  )
  expect(items.map((i) => i.kind)).toEqual(['day', 'mail', 'day', 'words', 'note', 'call', 'event'])
  expect(items.find((i) => i.kind === 'call')).toMatchObject({ call })
  expect(timeline([m({ kind: 'voicemail', channel: 'voice', body: '', data: { recording_id: 9 } })], [], 'J', now)[1]).toMatchObject({ kind: 'voicemail' })
})

it('says what happened, and falls back to the stored words', () => {
  const event = (code: string, more: Message['data'] = {}, body = '') => eventText(m({ kind: 'event', author: 'system', body, data: { code, ...more } }), 'Jonas Falkenried')
  expect(event('waiting', { source: 'button' })).toBe('Person asked for, by the button')
  expect(event('waiting', { source: 'model', due_at: '2026-11-18T10:41:00Z' })).toMatch(/^The responder handed over to a person · promise by \d/)
  expect(event('waiting', { source: 'busy' })).toBe('The responder had no place free')
  expect(event('missed', { agent_name: 'Ana' })).toBe('Offer missed by Ana')
  expect(event('closed', { reason: 'solved' })).toBe('Closed · Solved')
  expect(event('call_ended', { seconds: 200 })).toBe('Call ended after 3:20')
  expect(event('message_left', { source: 'email' })).toBe('Jonas left a message, to be answered by e-mail')
  expect(event('left')).toBe('Jonas left the line')
  expect(event('tomorrows_code')).toBe('')
  const [, item] = timeline([m({ kind: 'event', author: 'system', body: 'Address added.', data: {} })], [], 'Jonas', now)
  expect(item).toMatchObject({ text: 'Address added.' })
})

it('repeats what the customer was told, but never a private line', () => {
  const [, told] = timeline([m({ kind: 'event', author: 'system', body: 'We are getting a person.', data: { code: 'waiting', source: 'words' } })], [], 'J', now)
  const [, secret] = timeline([m({ kind: 'event', author: 'system', private: true, body: 'secret', data: { code: 'waiting' } })], [], 'J', now)
  expect(told).toMatchObject({ told: 'We are getting a person.' })
  expect(secret).toMatchObject({ told: '' })
})

it('finds what a mail quotes', () => {
  expect(quoted('Yes.', undefined)).toBe('')
  expect(quoted('Yes.', 'Yes.\n')).toBe('')
  expect(quoted('Yes.', 'Yes.\n\n> No?\n> Maybe')).toBe('> No?\n> Maybe')
  expect(quoted('Yes.', 'something else')).toBe('something else')
})

it('links only web addresses', () => {
  expect(['https://a.example/x', '/kb/1', 'javascript:alert(1)', '//evil.example', 'data:text/html,x', ''].map(safeLink)).toEqual(['https://a.example/x', '/kb/1', '', '', '', ''])
})
