// How the proof's figures read. Pure.
import type { Proof, ProofDay, ProofRow } from '../shared/api'

export const channelWords = { voice: 'Phone', chat: 'Chat', email: 'E-mail' } as const
export const channelIcons = { voice: 'phone', chat: 'chat', email: 'mail' } as const

// 0.4 s, 18 s, 2:26, 24 min, 1 h 31; a dash where nothing was measured
export function time(seconds: number | null): string {
  if (seconds === null) return '–'
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  const s = Math.round(seconds)
  if (s < 60) return `${s} s`
  const two = (n: number) => String(n).padStart(2, '0')
  if (s < 600) return `${Math.floor(s / 60)}:${two(s % 60)}`
  const min = Math.round(s / 60)
  return min < 60 ? `${min} min` : `${Math.floor(min / 60)} h ${two(min % 60)}`
}

export const percent = (share: number | null): string => (share === null ? '–' : `${share.toFixed(1)} %`)

export interface Sum { wishes: number; decided: number; good: number; open: number; kept: number; broken: number; left: number; share: number | null }

// sum adds rows up. The share is of the promises decided in hours, so that it fits the rows'.
export function sum(rows: ProofRow[]): Sum {
  const all: Sum = { wishes: 0, decided: 0, good: 0, open: 0, kept: 0, broken: 0, left: 0, share: null }
  for (const r of rows) {
    all.wishes += r.wishes
    all.open += r.open
    all.kept += r.kept
    all.broken += r.broken
    all.left += r.left
  }
  all.decided = all.kept + all.broken
  all.good = all.kept
  all.share = all.decided ? (100 * all.good) / all.decided : null
  return all
}

// budget adds up what all queues may break, and have broken.
export function budget(p: Proof): { allowed: number; broken: number; left: number | null; burn: number } {
  const allowed = p.budgets.reduce((n, b) => n + b.allowed, 0)
  const broken = p.budgets.reduce((n, b) => n + b.broken, 0)
  return { allowed, broken, left: allowed ? Math.max(0, 100 - (100 * broken) / allowed) : null, burn: Math.max(0, ...p.budgets.map((b) => b.hour_burn)) }
}

// months are the last twelve, the newest first: 2026-11
export function months(now: number): string[] {
  const d = new Date(now)
  return Array.from({ length: 12 }, (_, i) => new Date(Date.UTC(d.getUTCFullYear(), d.getUTCMonth() - i, 1)).toISOString().slice(0, 7))
}

// A day of the chart. x is 0 to 1 from left to right; y 0 at the bottom to 1 at the top; null where nothing was measured.
export interface ChartDay { day: string; label: string; x: number; share: number | null; p50: number | null; p95: number | null; words: string }
export interface Chart { days: ChartDay[]; top: number; ticks: { y: number; label: string }[]; floor: number }

// chart places a period's days: shares between a floor and 100 %, times between nothing and a round top that holds the target.
export function chart(days: ProofDay[], target: number): Chart {
  const longest = Math.max(target, ...days.map((d) => d.p95 ?? 0))
  const step = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400].find((s) => s * 4 >= longest) ?? Math.ceil(longest / 4)
  const top = step * Math.max(1, Math.ceil(longest / step))
  const lowest = Math.min(90, ...days.map((d) => d.share ?? 100))
  const floor = Math.floor(lowest / 10) * 10
  const first = Date.parse(days[0]?.day ?? ''), span = days.length ? Date.parse(days[days.length - 1]!.day) - first : 0
  const time01 = (s: number | null) => (s === null ? null : s / top)
  return {
    top, floor,
    ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, i) => ({ y: (i * step) / top, label: time(i * step).replace('.0 s', ' s') })),
    days: days.map((d) => ({
      day: d.day, label: `${Number(d.day.slice(8))}.${Number(d.day.slice(5, 7))}.`, x: span ? (Date.parse(d.day) - first) / span : 0.5,
      share: d.share === null ? null : (d.share - floor) / (100 - floor || 1), p50: time01(d.p50), p95: time01(d.p95),
      words: `${d.day}: ${percent(d.share)} of ${d.kept + d.broken} kept, first word after ${time(d.p50)} (p50), ${time(d.p95)} (p95)`,
    })),
  }
}
