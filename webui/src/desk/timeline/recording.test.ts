import { expect, test } from 'vitest'
import type { Recording } from '../../shared/api'
import { bars, bytes, path, pausedWords, pauses, playable, told } from './recording'

const recording: Recording = {
  id: 1, call_id: 7, kind: 'call', state: 'done', started_at: '2026-11-22T10:00:00Z', seconds: 192.4, keep_until: null, error: '',
  marks: [{ at: 13, what: 'paused' }, { at: 20.5, what: 'resumed' }, { at: 100, what: 'gap' }, { at: 180, what: 'paused' }],
}

test('a waveform of two rows has the same bars for any length', () => {
  for (const pairs of [0, 1, 7, 179, 180, 72_000]) {
    const peaks = new Uint8Array(2 * pairs).map((_, i) => (i % 2 === 0 ? 255 : 0))
    expect(path(peaks, 0).match(/M/g)).toHaveLength(bars)
    expect(path(peaks, 1)).not.toContain('NaN')
  }
  const loud = new Uint8Array([255, 0])
  expect(path(loud, 0)).toMatch(/^M1 1\.0v14\.0/)
  expect(path(loud, 1)).toMatch(/^M1 25\.5v1\.0/)
  expect([...bytes('AP8=')]).toEqual([0, 255])
})

test('one loud moment is seen in an hour', () => {
  const peaks = new Uint8Array(2 * 72_000)
  peaks[2 * 36_000] = 200
  expect(path(peaks, 0).split('M').filter((bar) => bar && !bar.endsWith('v1.0'))).toHaveLength(1)
})

test('pauses end with their mark, or with the recording', () => {
  expect(pauses(recording)).toEqual([{ from: 13, to: 20.5 }, { from: 180, to: 192.4 }])
  expect(pausedWords(recording)).toBe('Paused for card data from 0:13 to 0:20, from 3:00 to 3:12.')
  expect(pausedWords({ marks: [], seconds: 3 })).toBe('')
})

test('every state has its words', () => {
  const words = (state: Recording['state'], error = '', running = false) => told({ ...recording, state, error }, running)
  expect(words('done')).toBe('')
  expect(words('recording', '', true)).toBe('')
  expect(words('recording')).toBe('The recording is being stored.')
  expect(words('recovered')).toBe('Recording cut at 3:12, the rest is kept.')
  expect(words('recovered', 'the disk is full')).toBe('Recording cut at 3:12, the rest is kept. The reason: the disk is full.')
  expect(words('failed', 'the disk is full')).toBe('No recording: the disk is full.')
  expect(words('deleted')).toBe('The recording was deleted.')
  expect((['recording', 'done', 'recovered', 'failed', 'deleted'] as const).filter((state) => playable({ state }))).toEqual(['done', 'recovered'])
})
