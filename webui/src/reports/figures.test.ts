import { expect, test } from 'vitest'
import { budget, chart, months, percent, sum, time } from './figures'
import type { Proof, ProofRow } from '../shared/api'

test('times are short and exact enough', () => {
  for (const [s, want] of [[null, '–'], [0, '0.0 s'], [0.44, '0.4 s'], [18.3, '18 s'], [146, '2:26'], [1440, '24 min'], [5460, '1 h 31'], [59.7, '1:00']] as const)
    expect(time(s)).toBe(want)
  expect(percent(null)).toBe('–')
  expect(percent(97.44)).toBe('97.4 %')
})

const row = (more: Partial<ProofRow>): ProofRow => ({
  queue_name: 'Service', channel: 'chat', target_seconds: 180, wishes: 0, in_hours: 0, open: 0, kept: 0, broken: 0, left: 0, share: null,
  acknowledged: { p50: null, p95: null, p99: null }, offered: { p50: null, p95: null, p99: null }, first_word: { p50: null, p95: null, p99: null }, ...more,
})

test('rows add up, and nothing is divided by nothing', () => {
  expect(sum([]).share).toBeNull()
  expect(sum([row({ wishes: 12, kept: 8, broken: 2, open: 1, left: 1 }), row({ wishes: 10, kept: 10 })])).toMatchObject({ wishes: 22, kept: 18, broken: 2, open: 1, left: 1, share: 90 })
})

test('the budget of all queues', () => {
  const b = { queue_name: '', share: 95, promises: 100, allowed: 5, broken: 2, used: 40, hour_burn: 0.4, people_first: null, why: '' }
  expect(budget({ budgets: [b, { ...b, broken: 0, hour_burn: 3 }] } as unknown as Proof)).toEqual({ allowed: 10, broken: 2, left: 80, burn: 3 })
  expect(budget({ budgets: [] } as unknown as Proof)).toMatchObject({ left: null, burn: 0 })
})

test('twelve months, over the turn of the year', () => {
  expect(months(Date.UTC(2027, 0, 31)).slice(0, 3)).toEqual(['2027-01', '2026-12', '2026-11'])
})

test('a chart holds its figures, its target and the gaps between its days', () => {
  const c = chart([
    { day: '2026-11-01', kept: 19, broken: 1, share: 95, p50: 30, p95: 150 },
    { day: '2026-11-02', kept: 0, broken: 2, share: 0, p50: null, p95: null },
    { day: '2026-11-05', kept: 3, broken: 0, share: 100, p50: 20, p95: 203 },
  ], 180)
  expect(c.top).toBe(240)
  expect(c.floor).toBe(0)
  expect(c.ticks.map((t) => t.label)).toEqual(['0 s', '1:00', '2:00', '3:00', '4:00'])
  expect(c.days.map((d) => d.x)).toEqual([0, 0.25, 1])
  expect(c.days[1]).toMatchObject({ share: 0, p50: null, p95: null, label: '2.11.' })
  expect(c.days[2]!.words).toBe('2026-11-05: 100.0 % of 3 kept, first word after 20 s (p50), 3:23 (p95)')
  expect(chart([], 180).days).toEqual([])
  expect(chart([{ day: '2026-11-01', kept: 1, broken: 0, share: 100, p50: 0.4, p95: 0.4 }], 0)).toMatchObject({ floor: 90, top: 1 })
})
