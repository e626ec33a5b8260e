import { createPinia, setActivePinia } from 'pinia'
import { beforeEach, expect, it } from 'vitest'
import { conversation, newMe } from '../../../e2e/scripted/house.mjs'
import type { Row } from '../../shared/api'
import { byWait, grouped, inView, useLists } from './lists'
import { useSession } from './session'

const row = (over: Partial<Row>): Row => conversation(over)
const at = (minute: number): string => new Date(Date.UTC(2026, 10, 18, 10, minute)).toISOString()

beforeEach(() => {
  setActivePinia(createPinia())
  useSession().apply(newMe())
})

it('a row stands where its state says', () => {
  expect(inView(row({ state: 'agent', agent_id: 1 }), 'mine', 1)).toBe(true)
  expect(inView(row({ state: 'agent', agent_id: 2 }), 'mine', 1)).toBe(false)
  expect(inView(row({ state: 'closed', agent_id: 1 }), 'mine', 1)).toBe(false)
  expect(inView(row({ state: 'offered' }), 'waiting', 1)).toBe(true)
  expect(inView(row({ state: 'bot' }), 'waiting', 1)).toBe(false)
})

it('the line: front first, then the longest wait', () => {
  const late = row({ waiting_since: at(1) })
  const later = row({ waiting_since: at(5) })
  const front = row({ waiting_since: at(9), front: true })
  expect([later, late, front].sort(byWait)).toEqual([front, late, later])
})

it('fractions of a second do not confuse the order', () => {
  const a = row({ waiting_since: '2026-11-18T10:00:00.5Z' })
  const b = row({ waiting_since: '2026-11-18T10:00:00.52Z' })
  expect([b, a].sort(byWait)).toEqual([a, b])
})

it('groups my work by what it needs', () => {
  const rows = [
    row({ state: 'agent', channel: 'chat' }), row({ state: 'wrapup' }), row({ state: 'agent', channel: 'email', last_author: 'contact' }),
    row({ state: 'agent', channel: 'email', last_author: 'agent' }), row({ state: 'agent', channel: 'voice', call_id: 3 }),
  ]
  expect(grouped(rows, 'mine').map((g) => `${g.name} ${g.rows.length}`)).toEqual(['Live 2', 'Wrap-up 1', 'Needs your answer 1', 'Waiting for the customer 1'])
})

it('a live frame moves a row, and an older answer does not move it back', () => {
  const lists = useLists()
  const waiting = row({ state: 'waiting', agent_id: null, waiting_since: at(1), changed_at: at(1) })
  lists.receive(waiting, { mine: 0, waiting: 1, all: 1 })
  expect(lists.of('waiting')).toHaveLength(1)
  lists.receive({ ...waiting, state: 'agent', agent_id: 1, changed_at: at(2) })
  lists.put(waiting)
  expect(lists.of('waiting')).toHaveLength(0)
  expect(lists.of('mine')).toHaveLength(1)
})

it('a call back to look at is listed by its alarm while it waits or rings, the first due first', () => {
  const lists = useLists()
  const late = row({ state: 'waiting', call_back_alarm: 'due', promise_due_at: at(9) })
  const later = row({ state: 'offered', call_back_alarm: 'failed', promise_due_at: at(12) })
  for (const r of [later, late, row({ state: 'waiting' }), row({ state: 'agent', call_back_alarm: 'due' })]) lists.receive(r)
  expect(lists.of('urgent').map((r) => r.id)).toEqual([late.id, later.id])
  lists.receive({ ...late, call_back_alarm: '' })
  expect(lists.of('urgent')).toHaveLength(1)
})
