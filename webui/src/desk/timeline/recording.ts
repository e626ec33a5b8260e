// A recording as the player shows it: its waveform, its pauses, its words. Pure.
import type { Recording } from '../../shared/api'
import { stopwatch } from '../time'

// how many bars are drawn, and the viewBox they lie in: 3 units each, two rows of 16 with 2 between
export const bars = 180
export const wave = { width: bars * 3, height: 34, row: 16, gap: 2 }

// bytes reads the API's base64.
export function bytes(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))
}

// path draws one row (0 the caller, 1 who speaks to them): the loudest sample of each bar, never quite nothing. Speech is
// soft beside its peaks, so the height follows the root.
export function path(peaks: Uint8Array, side: 0 | 1): string {
  const pairs = Math.floor(peaks.length / 2)
  let d = ''
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * pairs) / bars)
    const to = Math.max(from + 1, Math.floor(((bar + 1) * pairs) / bars))
    let loud = 0
    for (let i = from; i < Math.min(to, pairs); i++) loud = Math.max(loud, peaks[2 * i + side] ?? 0)
    const height = Math.max(1, Math.sqrt(loud / 255) * (wave.row - 2))
    const middle = wave.row / 2 + side * (wave.row + wave.gap)
    d += `M${bar * 3 + 1} ${(middle - height / 2).toFixed(1)}v${height.toFixed(1)}`
  }
  return d
}

export interface Stretch {
  from: number
  to: number
}

// pauses are the stretches in which nothing was recorded, in seconds.
export function pauses(r: Pick<Recording, 'marks' | 'seconds'>): Stretch[] {
  const all: Stretch[] = []
  let from: number | undefined
  for (const m of r.marks) {
    if (m.what === 'paused') from ??= m.at
    else if (m.what === 'resumed' && from !== undefined) {
      all.push({ from, to: m.at })
      from = undefined
    }
  }
  if (from !== undefined) all.push({ from, to: r.seconds })
  return all
}

export const at = (seconds: number): string => stopwatch(seconds * 1000)

export const playable = (r: Pick<Recording, 'state'>): boolean => r.state === 'done' || r.state === 'recovered'

// told is what must be said of a recording beside its player; "" when it plays and nothing happened to it.
export function told(r: Recording, running: boolean): string {
  switch (r.state) {
    case 'recording':
      return running ? '' : 'The recording is being stored.'
    case 'recovered':
      return `Recording cut at ${at(r.seconds)}, the rest is kept.${r.error ? ` The reason: ${r.error}.` : ''}`
    case 'failed':
      return `No recording: ${r.error || 'it is lost'}.`
    case 'deleted':
      return 'The recording was deleted.'
    default:
      return ''
  }
}

// paused says which stretches are silent, in words.
export function pausedWords(r: Pick<Recording, 'marks' | 'seconds'>): string {
  const all = pauses(r)
  if (all.length === 0) return ''
  return `Paused for card data ${all.map((p) => `from ${at(p.from)} to ${at(p.to)}`).join(', ')}.`
}
