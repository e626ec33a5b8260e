// What the phone says about a call. Pure.
import type { CallQuality, LiveCall, ThirdParty } from '../shared/api'
import { firstName } from '../desk/names'
import type { Quality } from './line'

export interface LineWords {
  kind: 'good' | 'warn' | 'bad'
  text: string
}

const names = { good: 'good', warn: 'fair', bad: 'poor' } as const
const worse = { good: 0, warn: 1, bad: 2 } as const

function judge(q: { lost: number; jitter: number; mos?: number }): LineWords['kind'] {
  if (q.lost >= 5 || q.jitter >= 60 || (q.mos ?? 5) < 3) return 'bad'
  if (q.lost >= 1.5 || q.jitter >= 30 || (q.mos ?? 5) < 3.6) return 'warn'
  return 'good'
}

// why: lost packets, unless the line is bad for coming unevenly only.
function why(q: { lost: number; jitter: number }): string {
  if (q.lost < 1.5 && q.jitter >= 30) return `uneven by ${Math.round(q.jitter)} ms`
  return `${q.lost < 10 ? q.lost.toFixed(1).replace(/\.0$/, '') : Math.round(q.lost)} % lost`
}

// lineWords says how the line is: our own side, or the customer's where that is the worse one.
export function lineWords(own: Quality, theirs?: CallQuality): LineWords {
  const kind = judge(own)
  const other = theirs ? judge(theirs) : 'good'
  if (theirs && worse[other] > worse[kind]) return { kind: other, text: `Caller’s line ${names[other]}, ${why(theirs)}` }
  return { kind, text: `Line ${names[kind]}, ${why(own)}` }
}

// failure says what became of the other party, as a whole sentence without its end.
function failure(third: ThirdParty): string {
  const who = third.kind === 'agent' ? firstName(third.name) : third.name
  const reason = third.reason?.trim() ?? ''
  if (!reason) return third.state === 'gone' ? `${who} has left` : `${who} could not be reached`
  if (/^(busy|away|offline)$/.test(reason)) return `${who} is ${reason}`
  return /^(did|does|has|had|is|was|hung|left|declined|refused|could|cannot|rejected)\b/.test(reason) ? `${who} ${reason}` : `${who}: ${reason}`
}

// thirdNews: a colleague or number that could not be had, and that the caller is still there.
export function thirdNews(third: ThirdParty, caller: string): string {
  return `${failure(third)}. You are still with ${caller}.`
}

// thirdWords says how it stands between me, the caller and the one I consult or pass the caller on to.
export function thirdWords(third: ThirdParty, talkingTo: LiveCall['talking_to'], caller: string): string {
  if (third.state === 'ringing') return third.blind ? `Rings. ${caller} is being passed on.` : `Rings. ${caller} hears music.`
  if (talkingTo === 'both') return `You, ${caller} and ${firstName(third.name)} talk.`
  if (third.state === 'held') return `On hold, hears music. You are with ${caller}.`
  return `You talk. ${caller} hears music.`
}

// supervisorWords: what somebody in my call does there, and who hears it.
export function supervisorWords(mode: LiveCall['supervisor'], name: string, caller: string): string {
  const who = name || 'A supervisor'
  if (mode === 'listen') return `${who} listens.`
  if (mode === 'whisper') return `${who} speaks to you. ${caller} does not hear it.`
  return mode === 'barge' ? `${who} is in the call. ${caller} hears it.` : ''
}

// modeWords: the same for the supervisor.
export function modeWords(mode: LiveCall['supervisor'], agent: string, caller: string): string {
  if (mode === 'whisper') return `${agent} hears you, ${caller} does not.`
  return mode === 'barge' ? `${agent} and ${caller} hear you.` : 'Nobody hears you.'
}

// endWords: how I left a call, or it me, for the bar. "hung up" of the one who was asked is said of ourselves.
export function endWords(reason: string, role: LiveCall['role'] = 'agent'): string {
  if (!reason) return role === 'supervisor' ? 'You have left the call' : 'Call ended'
  if (reason === 'passed on') return 'Passed on'
  if (role === 'consulted' && reason === 'taken back') return 'Your colleague is back with the caller'
  const mine = reason === 'agent hung up' || (role === 'consulted' && reason === 'hung up')
  return `Call ended: ${mine ? 'you hung up' : reason}`
}

// dialable takes what was typed or pasted: spaces, brackets, slashes and dots are for people.
export function dialable(text: string): string {
  const bare = text.trim().replace(/^tel:/i, '').replace(/[\s().\/\u00a0\u2010-\u2015-]/g, '')
  return bare.replace(/^00(?=\d)/, '+')
}
