// Times and durations as the desk says them. Pure; all take milliseconds of the server's clock.
import type { Row } from '../shared/api'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long' })
const dateFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const yearFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' })

export const ms = (iso: string): number => Date.parse(iso)

export const clockTime = (iso: string): string => clockFormat.format(ms(iso))

export const yearDate = (iso: string): string => yearFormat.format(ms(iso))

// 4:12, 1:04:12
export function stopwatch(span: number): string {
  const s = Math.max(0, Math.floor(span / 1000))
  const two = (n: number) => String(n).padStart(2, '0')
  const h = Math.floor(s / 3600)
  return h > 0 ? `${h}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`
}

// 0:48 while seconds matter, then 26 min, 2 h, 3 d
export function span(length: number): string {
  if (length < 10 * minute) return stopwatch(length)
  if (length < hour) return `${Math.floor(length / minute)} min`
  if (length < day) return `${Math.floor(length / hour)} h`
  return `${Math.floor(length / day)} d`
}

function midnight(at: number): number {
  const d = new Date(at)
  d.setHours(0, 0, 0, 0)
  return d.getTime()
}

// The calendar day in words: Today, Yesterday, Friday, 4 Sept, 4 Sept 2025.
export function dayName(iso: string, now: number): string {
  const at = ms(iso)
  const days = Math.round((midnight(now) - midnight(at)) / day)
  if (days <= 0) return 'Today'
  if (days === 1) return 'Yesterday'
  if (days < 7) return weekdayFormat.format(at)
  return days < 300 ? dateFormat.format(at) : yearFormat.format(at)
}

// When something was, for a list: the clock today, else the day.
export function when(iso: string, now: number): string {
  const name = dayName(iso, now)
  return name === 'Today' ? clockTime(iso) : name
}

export interface Clock {
  kind: 'ok' | 'warn' | 'late'
  left: number // 0..1 of the whole target
  text: string
}

// promiseClock says how much of the promise's time is left; undefined without an open promise.
export function promiseClock(row: Pick<Row, 'promise_due_at' | 'promise_opened_at'>, now: number): Clock | undefined {
  if (!row.promise_due_at) return undefined
  const due = ms(row.promise_due_at)
  const rest = due - now
  if (rest <= 0) return { kind: 'late', left: 0, text: `${rest > -minute ? `${Math.floor(-rest / 1000)} s` : span(-rest).replace(/:\d\d$/, ' min')} late` }
  const whole = Math.max(rest, due - (row.promise_opened_at ? ms(row.promise_opened_at) : now))
  const left = rest / whole
  return { kind: left < 0.3 ? 'warn' : 'ok', left, text: `${span(rest)} left` }
}
