// How the proof's figures read. Pure.
import type { Proof, ProofRow } from '../shared/api'

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
