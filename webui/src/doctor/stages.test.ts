import { expect, it } from 'vitest'
import type { ChannelStages } from '../shared/api'
import { hourLines, hostWords, outcomeWords, parts, seconds, stageWords, turnParts } from './stages'

const chat: ChannelStages = {
  channel: 'chat', turns: 3, outcomes: [], stages: [{ stage: 'own', p50_ms: 5, p95_ms: 9 }, { stage: 'whole', p50_ms: 900, p95_ms: 4000 }],
  hours: [{ at: '2026-11-22T10:00:00Z', turns: 3, whole_p50_ms: 1000, whole_p95_ms: 9600, own_p95_ms: 9 }],
}

it('cuts a turn into its stages, and never into less than nothing', () => {
  const turn = { at: '', turn_end_ms: 400, final_text_ms: 450, stored_ms: 460, first_token_ms: 455, first_sentence_ms: 900, first_audio_ms: 1000, own_ms: 60, cut: false }
  expect(turnParts(turn).map((p) => p.ms)).toEqual([400, 50, 10, 0, 440, 100])
})

it('says stages, times and ends in words', () => {
  expect(stageWords('voice', 'whole').name).toBe('Voice to voice')
  expect(stageWords('chat', 'whole').name).toBe('To the first sentence')
  expect([42, 1234, 12_345].map(seconds)).toEqual(['42 ms', '1.23 s', '12.3 s'])
  expect([outcomeWords('busy'), outcomeWords('tomorrows')]).toEqual(['no place free', 'tomorrows'])
  const host = { url: '', model: '', down: '', running: 1, voice_places: 2, text_places: 6, first_ms: 640 }
  expect(hostWords(host)).toBe('1 of 6 places taken, for calls 2, first sentence in 640 ms')
  expect(hostWords({ ...host, text_places: 1, voice_places: 1, first_ms: 0 })).toBe('1 of 1 place taken')
})

it('keeps our own share apart where it is a part of the others', () => {
  expect(parts(chat).map((s) => s.stage)).toEqual(['own'])
  expect(parts({ ...chat, channel: 'voice' }).map((s) => s.stage)).toEqual([])
})

it('draws the hours between the beginning and now', () => {
  const [half, most] = hourLines(chat, '2026-11-22T08:00:00Z', Date.parse('2026-11-22T12:00:00Z'))
  expect(half?.points).toEqual([{ x: 0.625, y: 1000 / 9600 }])
  expect(most?.points[0]?.y).toBe(1)
})
