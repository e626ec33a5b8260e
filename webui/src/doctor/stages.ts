// The words and measures of the answers' stages.
import type { ChannelStages, ModelHost, TurnTimes } from '../shared/api'

export type StageName = ChannelStages['stages'][number]['stage']

const spoken: Partial<Record<StageName, [string, string]>> = {
  turn_end: ['End of turn', 'waiting whether the caller goes on'],
  final_text: ['Final text', 'the recogniser'],
  stored: ['Stored', 'the words are in the timeline'],
  first_token: ['First token', 'the model reads and begins'],
  first_sentence: ['First sentence', 'the model writes it'],
  first_audio: ['First sound', 'the voice makes it'],
  whole: ['Voice to voice', 'from the last word to our first sound'],
  own: ['Our own share', 'all of it without ear, model, voice and patience'],
}
const written: Partial<Record<StageName, [string, string]>> = {
  own: ['Our own share', 'the search in the knowledge base'],
  waited: ['Waiting', 'for a place at the model'],
  first_token: ['First token', 'the model reads and begins'],
  first_sentence: ['First sentence', 'the model writes it'],
  whole: ['To the first sentence', 'from the question'],
}

export const channelWords: Record<ChannelStages['channel'], string> = { voice: 'Calls', chat: 'Chat', email: 'E-mail' }

// What each channel is held to: the first sentence (trust.md P9) and our own share of a call (issue 4).
export const goals: Record<ChannelStages['channel'], { whole: number; own?: number }> = { voice: { whole: 1500, own: 150 }, chat: { whole: 4000 }, email: { whole: 10_000 } }

export function stageWords(channel: ChannelStages['channel'], stage: StageName): { name: string; what: string } {
  const [name, what] = (channel === 'voice' ? spoken : written)[stage] ?? [stage, '']
  return { name, what }
}

// seconds of milliseconds, as short as they are exact.
export const seconds = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`)

export const parts = (c: ChannelStages) => c.stages.filter((s) => s.stage !== 'whole' && !(s.stage === 'own' && c.channel === 'voice'))
export const stageOf = (c: ChannelStages, name: StageName) => c.stages.find((s) => s.stage === name)

// Points of a line over the hours, each 0 to 1; hours without turns are left out of the line.
export function hourLines(c: ChannelStages, since: string, until: number): { name: string; far: boolean; points: { x: number; y: number }[] }[] {
  const from = Date.parse(since)
  const span = Math.max(until - from, 3_600_000)
  const top = hourTop(c)
  const line = (name: string, far: boolean, of: (h: ChannelStages['hours'][number]) => number) => ({
    name, far, points: c.hours.map((h) => ({ x: Math.min(1, Math.max(0, (Date.parse(h.at) + 1_800_000 - from) / span)), y: of(h) / top })),
  })
  return [line('half', false, (h) => h.whole_p50_ms), line('95 of 100', true, (h) => h.whole_p95_ms)]
}

export const hourTop = (c: ChannelStages): number => Math.max(goals[c.channel].whole * 1.2, ...c.hours.map((h) => h.whole_p95_ms))

const failures: Record<string, string> = {
  model: 'answered', quote: 'quoted word for word', unknown: 'did not know', hand_over: 'handed over', superseded: 'the customer went on', cancelled: 'cancelled', busy: 'no place free',
  dead: 'no answer from the model', slow: 'too slow', missing: 'model missing', broken: 'model file damaged', cut: 'broke off', garbage: 'made no sense', empty: 'empty', looping: 'went in circles', ungrounded: 'not in the sources',
  too_long: 'too long', knowledge: 'knowledge base down',
}
export const outcomeWords = (o: string): string => failures[o] ?? o

// hostWords say what a host does.
export function hostWords(h: ModelHost): string {
  const places = Math.max(h.voice_places, h.text_places)
  const free = `${h.running} of ${places} ${places === 1 ? 'place' : 'places'} taken`
  const voice = h.voice_places < h.text_places ? `, for calls ${h.voice_places}` : ''
  return `${free}${voice}${h.first_ms ? `, first sentence in ${seconds(h.first_ms)}` : ''}`
}

// turnParts cuts a call's turn into its stages.
export function turnParts(t: TurnTimes): { stage: StageName; ms: number }[] {
  const at: [StageName, number][] = [
    ['turn_end', t.turn_end_ms], ['final_text', t.final_text_ms], ['stored', t.stored_ms], ['first_token', t.first_token_ms], ['first_sentence', t.first_sentence_ms], ['first_audio', t.first_audio_ms],
  ]
  let before = 0
  return at.map(([stage, ms]) => {
    const part = Math.max(0, ms - before)
    before = Math.max(before, ms)
    return { stage, ms: part }
  })
}
