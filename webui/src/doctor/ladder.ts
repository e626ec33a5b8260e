// The ladder of a call's SIP messages, and its quality as curves. Pure.
import type { Trace, TraceLeg, TraceMessage } from '../shared/api'
import { ms, stopwatch } from '../desk/time'

// Column is one address in the ladder: ours first, the others as they came up.
export interface Column {
  key: string
  address: string
  role: string
}

// Step is one message between two columns.
export interface Step {
  index: number
  from: number
  to: number
  label: string // INVITE, 180 Ringing
  kind: 'request' | 'ok' | 'refused' | 'progress'
  detail: string // (SDP), (again)
  offset: string // +0.020 s
  message: TraceMessage
}

export interface Ladder {
  columns: Column[]
  steps: Step[]
}

const roles: Record<TraceLeg['role'], string> = {
  customer: 'Customer', agent: 'Agent', consulted: 'Colleague', outside: 'Outside number', supervisor: 'Supervisor',
}
export const roleWord = (leg: Pick<TraceLeg, 'role' | 'by'>): string => `${roles[leg.role]}${leg.by === 'web' ? "'s browser" : ''}`

export function labelOf(raw: string): string {
  const line = raw.split(/\r?\n/, 1)[0] ?? ''
  const answer = /^SIP\/2\.0 (\d{3}) ?(.*)$/.exec(line)
  return answer ? `${answer[1]} ${answer[2]}`.trim() : line.split(' ', 1)[0] || 'unreadable'
}

function kindOf(label: string): Step['kind'] {
  const code = Number(/^\d{3}\b/.exec(label)?.[0] ?? 0)
  if (!code) return 'request'
  return code < 200 ? 'progress' : code < 300 ? 'ok' : 'refused'
}

export const offsetOf = (at: string, start: string): string => `+${((ms(at) - ms(start)) / 1000).toFixed(3)} s`

// ladder: our side is one column, whichever of our sockets was used.
export function ladder(trace: Trace): Ladder {
  const columns: Column[] = [{ key: 'us', address: trace.messages[0]?.local ?? '', role: 'Patchbay' }]
  const seen = new Set<string>()
  const steps = trace.messages.map((message, index): Step => {
    const key = message.remote ?? 'unknown'
    let other = columns.findIndex((c) => c.key === key)
    if (other < 0) {
      const leg = trace.legs.find((l) => l.sip_call_id === message.call_id)
      other = columns.push({ key, address: key, role: leg ? roleWord(leg) : 'Other side' }) - 1
    }
    const label = labelOf(message.raw)
    const again = `${message.in} ${key} ${message.raw}`
    const notes = [/^content-type:\s*application\/sdp|^c:\s*application\/sdp/im.test(message.raw) ? 'SDP' : '', seen.has(again) ? 'again' : '']
    seen.add(again)
    return {
      index, label, message, kind: kindOf(label), offset: offsetOf(message.at, trace.started_at), detail: notes.filter(Boolean).join(', '),
      from: message.in ? other : 0, to: message.in ? 0 : other,
    }
  })
  return { columns, steps }
}

// Point is a moment of a curve: x from 0 to 1 over the call.
export interface Point {
  x: number
  y: number
}
export interface Curve {
  name: string
  unit: string
  most: number // of the axis
  worst: number
  lines: { name: string; points: Point[] }[]
}

const round = (n: number): number => Math.round(n * 10) / 10

// curves are loss, jitter and MOS of one leg; what the other side reports of our sound beside what we hear.
export function curves(leg: TraceLeg, trace: Pick<Trace, 'started_at' | 'ended_at'>): Curve[] {
  const slices = leg.slices.filter((s) => s.seconds > 0)
  if (!slices.length) return []
  const begin = ms(trace.started_at)
  const last = slices[slices.length - 1]!
  const end = Math.max(trace.ended_at ? ms(trace.ended_at) : 0, ms(last.at) + last.seconds * 1000)
  const x = (s: (typeof slices)[number]) => Math.min(1, Math.max(0, (ms(s.at) + s.seconds * 500 - begin) / Math.max(1, end - begin)))
  const curve = (name: string, unit: string, least: number, heard: (s: (typeof slices)[number]) => number, far?: (s: (typeof slices)[number]) => number): Curve => {
    const all = slices.flatMap((s) => [heard(s), far?.(s) ?? 0])
    const most = Math.max(least, ...all)
    const line = (label: string, y: (s: (typeof slices)[number]) => number) => ({ name: label, points: slices.map((s) => ({ x: x(s), y: Math.min(1, y(s) / most) })) })
    return { name, unit, most: round(most), worst: round(Math.max(...all)), lines: far ? [line('heard here', heard), line('heard there', far)] : [line('heard here', heard)] }
  }
  return [
    curve('Loss', '%', 5, (s) => s.lost_percent, (s) => s.far_lost_percent),
    curve('Jitter', 'ms', 50, (s) => s.jitter_ms, (s) => s.far_jitter_ms),
    { ...curve('MOS', '', 4.5, (s) => s.mos), worst: round(Math.min(...slices.filter((s) => s.mos > 0).map((s) => s.mos), 4.5)) },
  ]
}

export const lengthOf = (call: { started_at: string; ended_at: string | null }, now: number): string => stopwatch((call.ended_at ? ms(call.ended_at) : now) - ms(call.started_at))
