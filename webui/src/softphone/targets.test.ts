import { expect, it } from 'vitest'
import type { Colleague } from '../shared/api'
import { notNow, targets } from './targets'

const agent = (id: number, name: string, over: Partial<Colleague> = {}): Colleague => ({ id, name, presence: 'available', presence_reason: '', presence_at: '2026-11-22T10:00:00Z', online: true, ...over })
const agents = [agent(1, 'Ana'), agent(2, 'Mira', { presence: 'away', presence_reason: 'lunch' }), agent(3, 'Tom'), agent(4, 'Freya'), agent(5, 'Nils', { online: false })]
const queues = [{ id: 1, name: 'Orders', waiting: 0, longest_wait_seconds: 0 }, { id: 2, name: 'Repairs', waiting: 2, longest_wait_seconds: 48 }]
const team = { me: 1, agents, queues, inCall: new Set([4]), canDial: true }

it('offers only who can take it', () => {
  expect(targets('', team).map((t) => `${t.kind} ${t.name}: ${t.aside}`)).toEqual(['agent Tom: Available', 'queue Orders: Nobody waits', 'queue Repairs: 2 waiting, longest 0:48'])
})

it('finds by words', () => expect(targets('re', team).map((t) => t.name)).toEqual(['Repairs'])) // Freya is in a call

it('takes a number where one may call out', () => {
  expect(targets('+49 30 1234', team)).toEqual([{ key: 'n', kind: 'number', name: '+49301234', aside: 'Outside number', to: { kind: 'number', number: '+49301234' } }])
  expect(targets('+49 30 1234', { ...team, canDial: false })).toEqual([])
})

it('says why the others cannot', () => expect(notNow(1, agents, team.inCall)).toBe('Mira (lunch), Freya (in a call), Nils (offline)'))
