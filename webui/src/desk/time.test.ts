import { describe, expect, it } from 'vitest'
import { dayName, promiseClock, span, stopwatch, when } from './time'

const now = Date.parse('2026-11-18T10:34:00')
const iso = (seconds: number): string => new Date(now + seconds * 1000).toISOString()

it('stopwatch counts minutes, then hours', () => {
  expect([0, 48, 252, 3852].map((s) => stopwatch(s * 1000))).toEqual(['0:00', '0:48', '4:12', '1:04:12'])
  expect(stopwatch(-5000)).toBe('0:00')
})

it('span is exact only while seconds matter', () => {
  expect([48, 599, 600, 3599, 7200, 90_000].map((s) => span(s * 1000))).toEqual(['0:48', '9:59', '10 min', '59 min', '2 h', '1 d'])
})

it('days have names for a week', () => {
  expect(dayName(iso(-60), now)).toBe('Today')
  expect(dayName(iso(-11 * 3600), now)).toBe('Yesterday')
  expect(dayName(iso(-3 * 86_400), now)).toMatch(/^\p{L}+$/u)
  expect(dayName(iso(-40 * 86_400), now)).toMatch(/\d/)
  expect(when(iso(-60), now)).toMatch(/10.33/)
})

describe('promiseClock', () => {
  const row = (due: number, opened = -120) => ({ promise_due_at: iso(due), promise_opened_at: iso(opened) })
  it('is nothing without a promise', () => expect(promiseClock({ promise_due_at: null, promise_opened_at: null }, now)).toBeUndefined())
  it('runs down over the whole target', () => expect(promiseClock(row(120), now)).toEqual({ kind: 'ok', left: 0.5, text: '2:00 left' }))
  it('warns under 30 %', () => expect(promiseClock(row(40), now)?.kind).toBe('warn'))
  it('says how late, in seconds, minutes and hours', () => {
    expect([-12, -725, -7300].map((s) => promiseClock(row(s, -9000), now)?.text)).toEqual(['12 s late', '12 min late', '2 h late'])
    expect(promiseClock(row(-150, -9000), now)).toMatchObject({ kind: 'late', text: '2 min late' })
  })
})
