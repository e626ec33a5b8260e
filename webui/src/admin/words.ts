// What the settings' lists say of things.
import type { Registration, Trunk, TrunkState } from '../shared/api'
import { clockTime } from '../desk/time'

export interface Line {
  shape: '' | 'break' | 'off' // of the presence mark: well, in trouble, not there
  text: string
}

function stateLine(trunk: Trunk, s: TrunkState): Line {
  const since = clockTime(s.changed_at)
  const why = s.error ? `: ${s.error}` : ''
  if (trunk.options_seconds > 0 && !s.healthy) return { shape: 'break', text: `No answer since ${since}${why}` }
  if (trunk.register && !s.registered) return { shape: 'break', text: `Not registered since ${since}${why}` }
  const answers = s.answer_ms > 0 ? `answers in ${s.answer_ms} ms` : trunk.options_seconds > 0 ? 'answers' : 'its health is not asked'
  return { shape: '', text: trunk.register ? `Registered, ${answers}` : answers[0]!.toUpperCase() + answers.slice(1) }
}

// trunkLines is one line for each server of ours; with several, each begins with its name.
export function trunkLines(trunk: Trunk, states: TrunkState[]): Line[] {
  if (!trunk.enabled) return [{ shape: 'off', text: 'Switched off' }]
  const own = states.filter((s) => s.trunk_id === trunk.id)
  if (!own.length) return [{ shape: 'off', text: 'Not tried yet' }]
  return own.map((s) => {
    const line = stateLine(trunk, s)
    return own.length > 1 ? { ...line, text: `${s.node_name}: ${line.text}` } : line
  })
}

export function deviceLine(enabled: boolean, registrations: Registration[]): Line {
  if (!enabled) return { shape: 'off', text: 'Switched off' }
  const r = registrations[0]
  if (!r) return { shape: 'off', text: 'Not signed in' }
  return { shape: '', text: `Signed in from ${r.source}${r.user_agent ? `, ${r.user_agent}` : ''}` }
}

export const kindText = { music: 'Music', greeting: 'Greeting', announcement: 'Announcement' } as const
