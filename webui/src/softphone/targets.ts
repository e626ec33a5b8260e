// Whom a caller can be passed on to, or whom I can ask first: colleagues who can take it, queues, an outside number. Pure.
import type { CallTarget, Colleague, Queue } from '../shared/api'
import { span } from '../desk/time'
import { dialable } from './words'

export interface Target {
  key: string
  kind: CallTarget['kind']
  name: string
  aside: string
  to: CallTarget
}

const numberOf = (words: string): string => (/^\+?[\d*#]{2,}$/.test(dialable(words)) ? dialable(words) : '')

// free: online, available, and not in a call that this desk knows of.
const free = (a: Colleague, inCall: ReadonlySet<number>): boolean => a.online && a.presence === 'available' && !inCall.has(a.id)

export function targets(words: string, team: { me: number; agents: Colleague[]; queues: Queue[]; inCall: ReadonlySet<number>; canDial: boolean }): Target[] {
  const parts = words.toLowerCase().split(/\s+/)
  const fits = (name: string): boolean => parts.every((p) => name.toLowerCase().includes(p))
  const people = team.agents.filter((a) => a.id !== team.me && free(a, team.inCall) && fits(a.name))
  const queues = team.queues.filter((q) => fits(q.name))
  const number = team.canDial ? numberOf(words) : ''
  return [
    ...people.map((a): Target => ({ key: `a${a.id}`, kind: 'agent', name: a.name, aside: 'Available', to: { kind: 'agent', agent_id: a.id } })),
    ...queues.map((q): Target => ({ key: `q${q.id}`, kind: 'queue', name: q.name, aside: q.waiting ? `${q.waiting} waiting, longest ${span(q.longest_wait_seconds * 1000)}` : 'Nobody waits', to: { kind: 'queue', queue_id: q.id } })),
    ...(number ? [{ key: 'n', kind: 'number' as const, name: number, aside: 'Outside number', to: { kind: 'number' as const, number } }] : []),
  ]
}

// notNow names the colleagues who cannot take a call, and why.
export function notNow(me: number, agents: Colleague[], inCall: ReadonlySet<number>): string {
  const why = (a: Colleague): string => {
    if (!a.online || a.presence === 'offline') return 'offline'
    return a.presence === 'away' ? a.presence_reason || 'away' : 'in a call'
  }
  return agents.filter((a) => a.id !== me && !free(a, inCall)).map((a) => `${a.name} (${why(a)})`).join(', ')
}
