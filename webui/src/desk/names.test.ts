import { expect, it } from 'vitest'
import { conversation } from '../../e2e/scripted/house.mjs'
import type { Row } from '../shared/api'
import { firstName, initials, lastWords, stateText, title } from './names'

const row = (over: Partial<Row>): Row => conversation(over)

it('initials', () => {
  expect(['Jonas Falkenried', 'Ana', 'Visitor 12', '+47 555 01 318', 'ole@mail.example', '', 'Åse van der Berg'].map(initials)).toEqual(['JF', 'A', 'V', '#', 'O', '#', 'ÅB'])
})

it('only real names have a first name', () => {
  expect(['Jonas Falkenried', 'Visitor 12', '+47 555', 'a@b.c', ''].map(firstName)).toEqual(['Jonas', 'Visitor 12', '+47 555', 'a@b.c', 'the customer'])
})

it('a conversation without a subject is named by its contact', () => {
  expect(title(row({ channel: 'voice', contact_name: 'Tom' }))).toBe('Call with Tom')
  expect(title(row({ subject: 'Stove' }))).toBe('Stove')
})

it('states in words, ours and those of others', () => {
  expect(stateText(row({ state: 'agent', agent_id: 1 }), 1)).toBe('You')
  expect(stateText(row({ state: 'agent', agent_id: 1, call_id: 7 }), 1)).toBe('In call')
  expect(stateText(row({ state: 'agent', agent_id: 2, agent_name: 'Mira' }), 1)).toBe('Mira')
  expect(stateText(row({ state: 'waiting', return_call: true }), 1)).toBe('Call to return')
  expect(stateText(row({ state: 'waiting', return_call: true, left_message: 'voicemail' }), 1)).toBe('Voicemail')
  expect(stateText(row({ state: 'waiting', left_message: 'email' }), 1)).toBe('Message left')
  expect(stateText(row({ state: 'closed', disposition: 'follow_up' }), 1)).toBe('Follow up')
})

it('last words say whose they are', () => {
  expect(lastWords(row({ last_words: 'hi', last_author: 'agent' }))).toBe('You: hi')
  expect(lastWords(row({ last_words: 'hi', last_author: 'ai' }))).toBe('AI: hi')
  expect(lastWords(row({ last_words: 'hi', last_author: 'contact' }))).toBe('hi')
})
