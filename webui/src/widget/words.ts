// What the widget says by itself; everything else comes from the server. The design's "Writing" page rules here.

import type { Phase } from './call'
import type { Place, State, WebCall } from './wire'

export const words = {
  ask: 'Ask, or talk to a person',
  person: 'Talk to a person',
  disclosure: 'You are writing with an AI. It answers from our own pages and shows you which. For a person, use the button below or just say so.',
  offline: 'You are offline. What you write is kept and sent when you are back.',
  unsent: 'Not sent yet. We keep trying.',
  wished: 'You asked for a person. We pass it on as soon as you are back.',
  wishing: 'Getting you a person',
  callMe: 'Call me instead',
  callMeTitle: 'Call me back',
  keepWaiting: 'Keep waiting in the chat',
  stay: 'I wait here instead',
  whichNumber: 'At which number can we call you?',
  noPerson: 'I no longer need a person',
  reading: 'The AI is reading',
  writing: 'The AI is writing',
  cut: 'stopped here',
  fromOurPages: 'word for word from our pages',
  call: 'Call us from this page',
  mute: 'Mute',
  keypad: 'Keypad',
  hangUp: 'Hang up',
  zero: '0, a person',
  inCall: 'Open the chat, you are in a call',
  callEnded: 'The call has ended. You can go on writing here.',
  callLost: 'The call was cut off: your connection was away for too long.',
  callElsewhere: 'You are in a call, in another tab.',
  noAnswer: 'The call could not be connected. Your network may not let it through. Write to us here instead.',
  notConnected: 'There is no connection to us right now. Try again in a moment.',
  pressToHear: 'Your browser is silent until you press a key on this page.',
  microphoneGone: 'Your microphone is gone. We cannot hear you.',
  needsHTTPS: 'Your browser lets only pages with https use the microphone. Write to us here instead.',
  microphoneDenied: 'This page may not use your microphone. Allow it beside the address, then call again.',
  noMicrophone: 'No microphone was found. Plug one in, then call again.',
  microphoneBusy: 'The microphone cannot be opened. Another program may be using it.',
  leave: 'Leave a message instead',
  leaveNow: 'Leave the message',
  leaving: 'Leaving it',
  otherAddress: 'Use another address',
  yourMail: 'Your e-mail address',
  yourMessage: 'What is it about?',
  addMessage: 'Anything to add? What you wrote goes along.',
  cancel: 'Cancel',
  again: 'Write again at any time. It stays the same conversation.',
}

export function place(state: State | null, p: Place): string {
  if (state === 'offered') return p.call_back ? 'You are next. We call you in a moment.' : 'You are next. It rings at a person.'
  if (p.call_at && new Date(p.call_at).getTime() > Date.now()) return 'We call you later'
  return p.ahead > 0 ? `You are ${ordinal(p.position)} in line` : 'You are next in line'
}

/** What half of all waits like this one take. Nothing where nothing honest can be said. */
export function usually(state: State | null, p: Place): string {
  if (state === 'offered' || !p.high) return ''
  const minutes = p.high === 1 ? '1 minute' : `${p.high} minutes`
  return p.low && p.low < p.high ? `Usually ${p.low} to ${minutes} from now.` : `Usually within ${minutes}.`
}

export function shortPlace(state: State | null, p: Place | null): string {
  if (!p) return 'In line'
  if (p.answer_to) return 'Message left'
  return state === 'offered' || p.ahead < 1 ? 'Next in line' : `${ordinal(p.position)} in line`
}

export function ordinal(n: number): string {
  const teen = n % 100 >= 11 && n % 100 <= 13
  return n + (teen ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th'))
}

/** The line under the company's name: who is at the other end. */
export function under(state: State | null, agent: string, mail = ''): string {
  switch (state) {
    case 'waiting': case 'offered': return mail ? 'A person answers by e-mail' : 'Getting you a person'
    case 'agent': return agent ? `You are writing with ${agent}` : 'You are writing with a person'
    default: return 'An AI answers, people are behind it'
  }
}

/** Where the visitor's call stands. */
export function callLine(phase: Phase, row: WebCall | null, agent: string): string {
  if (phase === 'asking') return 'Your browser asks for the microphone'
  if (phase === 'lost') return 'The connection was lost. Getting it back'
  if (phase === 'calling') return 'Calling'
  switch (row?.state) {
    case 'waiting': return 'You are in line. Stay on the call'
    case 'connecting': return agent ? `Connecting you to ${agent}` : 'Connecting you'
    case 'bridged': return agent ? `You are talking to ${agent}` : 'You are talking to a person'
    default: return 'You are connected. Key 0 gets a person'
  }
}

export function callShort(phase: Phase): string {
  return phase === 'on' ? 'In a call' : phase === 'lost' ? 'Reconnecting' : 'Calling'
}

export function placeholder(state: State | null, agent: string): string {
  switch (state) {
    case 'waiting': case 'offered': return 'Add something for the person'
    case 'agent': return agent ? `Write to ${agent}` : 'Write here'
    case 'closed': case 'wrapup': return 'Write again'
    default: return 'Write here'
  }
}

/** A clock time as the reader's country writes it, with the day when it is not today. */
export function clock(at: string | number, now: number): string {
  const d = new Date(at)
  const today = d.toDateString() === new Date(now).toDateString()
  return d.toLocaleString(undefined, today
    ? { hour: 'numeric', minute: '2-digit' }
    : { weekday: 'short', day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' })
}
