import { describe, expect, it } from 'vitest'
import type { ThirdParty } from '../shared/api'
import { dialable, endWords, lineWords, modeWords, supervisorWords, thirdNews, thirdWords } from './words'

const third = (over: Partial<ThirdParty>): ThirdParty => ({ kind: 'agent', name: 'Tom Aske', state: 'failed', ...over })

describe('a third party that could not be had', () => {
  it.each([
    [third({ reason: 'did not answer' }), 'Tom did not answer. You are still with Ana.'],
    [third({ reason: 'busy' }), 'Tom is busy. You are still with Ana.'],
    [third({ reason: 'declined' }), 'Tom declined. You are still with Ana.'],
    [third({ reason: '' }), 'Tom could not be reached. You are still with Ana.'],
    [third({ state: 'gone', reason: 'hung up' }), 'Tom hung up. You are still with Ana.'],
    [third({ state: 'gone' }), 'Tom has left. You are still with Ana.'],
    [third({ kind: 'number', name: '+49 30 1234', reason: 'number not in service' }), '+49 30 1234: number not in service. You are still with Ana.'],
    [third({ kind: 'queue', name: 'Repairs', reason: 'has nobody free' }), 'Repairs has nobody free. You are still with Ana.'],
  ])('%o', (t, words) => expect(thirdNews(t, 'Ana')).toBe(words))
})

it('says who talks and who hears music', () => {
  expect(thirdWords(third({ state: 'ringing' }), 'third', 'Ana')).toBe('Rings. Ana hears music.')
  expect(thirdWords(third({ state: 'ringing', blind: true }), 'caller', 'Ana')).toBe('Rings. Ana is being passed on.')
  expect(thirdWords(third({ state: 'talking' }), 'third', 'Ana')).toBe('You talk. Ana hears music.')
  expect(thirdWords(third({ state: 'held' }), 'caller', 'Ana')).toBe('On hold, hears music. You are with Ana.')
  expect(thirdWords(third({ state: 'talking' }), 'both', 'Ana')).toBe('You, Ana and Tom talk.')
})

it('says who hears a supervisor', () => {
  expect(supervisorWords('listen', 'Mira', 'Ana')).toBe('Mira listens.')
  expect(supervisorWords('whisper', '', 'Ana')).toBe('A supervisor speaks to you. Ana does not hear it.')
  expect(supervisorWords('', 'Mira', 'Ana')).toBe('')
  expect(modeWords('listen', 'Tom', 'Ana')).toBe('Nobody hears you.')
  expect(modeWords('barge', 'Tom', 'Ana')).toBe('Tom and Ana hear you.')
})

describe('the line', () => {
  const own = { lost: 0.2, jitter: 4, delay: 20 }
  it('is good', () => expect(lineWords(own)).toEqual({ kind: 'good', text: 'Line good, 0.2 % lost' }))
  it('is poor', () => expect(lineWords({ ...own, lost: 6 })).toEqual({ kind: 'bad', text: 'Line poor, 6 % lost' }))
  it('is uneven', () => expect(lineWords({ ...own, jitter: 70 })).toEqual({ kind: 'bad', text: 'Line poor, uneven by 70 ms' }))
  it('is worse on the caller’s side', () => expect(lineWords(own, { mos: 3.4, lost: 2, jitter: 8 })).toEqual({ kind: 'warn', text: 'Caller’s line fair, 2 % lost' }))
  it('is ours when both are as bad', () => expect(lineWords({ ...own, lost: 6 }, { mos: 2, lost: 12, jitter: 8 }).text).toBe('Line poor, 6 % lost'))
})

it.each([
  ['+49 (30) 123-45 67', '+49301234567'],
  [' 0049 30/1234567 ', '+49301234567'],
  ['tel:+47.555.01.000', '+4755501000'],
  ['00', '00'],
  ['*31#', '*31#'],
])('%s can be dialled', (typed, number) => expect(dialable(typed)).toBe(number))

it('says how a call ended', () => {
  expect(endWords('')).toBe('Call ended')
  expect(endWords('', 'supervisor')).toBe('You have left the call')
  expect(endWords('agent hung up')).toBe('Call ended: you hung up')
  expect(endWords('hung up', 'consulted')).toBe('Call ended: you hung up')
  expect(endWords('taken back', 'consulted')).toBe('Your colleague is back with the caller')
  expect(endWords('passed on')).toBe('Passed on')
})
