// The desk's only way to the REST API. Every function returns the answer's data or throws an ApiError whose message is a
// sentence for people. Types come from server/api/openapi.yaml (api.gen.ts).
import createClient from 'openapi-fetch'
import type { components, paths } from './api.gen'

type Schemas = components['schemas']
export type Me = Schemas['Me']
export type Presence = Schemas['Presence']
export type Colleague = Schemas['Colleague']
export type Queue = Schemas['Queue']
export type Row = Schemas['ConversationRow']
export type Counts = Schemas['Counts']
export type Detail = Schemas['ConversationDetail']
export type Message = Schemas['Message']
export type NewMessage = Schemas['NewMessage']
export type Offer = Schemas['Offer']
export type Card = Schemas['Card']
export type CardLine = Schemas['CardLine']
export type WrapUpDraft = Schemas['WrapUpDraft']
export type Call = Schemas['Call']
export type Recording = Schemas['Recording']
export type CallRow = Schemas['CallRow']
export type CallDetail = Schemas['CallDetail']
export type TurnTimes = Schemas['TurnTimes']
export type ResponderReport = Schemas['ResponderReport']
export type ModelHost = Schemas['ModelHost']
export type ChannelStages = Schemas['ChannelStages']
export type Trace = Schemas['Trace']
export type TraceLeg = Schemas['TraceLeg']
export type TraceMessage = Schemas['TraceMessage']
export type CallQuery = NonNullable<paths['/api/calls']['get']['parameters']['query']>
export type LiveCall = Schemas['LiveCall']
export type ThirdParty = Schemas['ThirdParty']
export type CallQuality = Schemas['CallQuality']
export type CallTarget = Schemas['CallTarget']
export type Dial = Schemas['Dial']
export type Dialled = Schemas['Dialled']
export type PhoneSettings = Schemas['Phone']
export type Address = Schemas['Address']
export type Channel = Schemas['Channel']
export type CloseWith = Schemas['CloseWith']
export type TransferTo = Schemas['TransferTo']
export type LiveIn = Schemas['LiveIn']
export type LiveOut = Schemas['LiveOut']
export type Trunk = Schemas['Trunk']
export type TrunkState = Schemas['TrunkState']
export type TrunkAlarm = Schemas['TrunkAlarm']
export type Proof = Schemas['Proof']
export type ProofRow = Schemas['ProofRow']
export type ProofDay = Schemas['ProofDay']
export type LatePromise = Schemas['LatePromise']
export type AlarmRow = Schemas['AlarmRow']
export type Fault = { field: string; message: string }
export type Rate = Schemas['Rate']
export type PhoneNumber = Schemas['Number']
export type NumberSettings = Schemas['NumberSettings']
export type Device = Schemas['Device']
export type DeviceSettings = Schemas['DeviceSettings']
export type Registration = Schemas['Registration']
export type Prompt = Schemas['Prompt']
export type QueueSound = Schemas['QueueSound']
export type QueueSoundSettings = Schemas['QueueSoundSettings']
export type LineSettings = Schemas['LineSettings']
export type LineQueue = Schemas['LineQueue']
export type SpeechEngine = Schemas['SpeechEngine']
export type Hours = Schemas['Hours']
export type Skill = Schemas['Skill']
export type SkillStep = Schemas['SkillStep']
export type Overflow = Schemas['Overflow']
export type AgentSettings = Schemas['AgentSettings']
export type AgentChange = Schemas['AgentChange']
export type Wait = Schemas['Wait']
export type WaitDetail = Schemas['WaitDetail']
export type Forecast = Schemas['Forecast']
export type View = 'mine' | 'waiting' | 'all'
export type Listed = View | 'urgent'
export type ErrorCode = Schemas['Error']['code']

export class ApiError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly field = '',
    readonly fields: readonly Fault[] = [], // all that is wrong with a form, where it is more than one field
  ) {
    super(message)
    this.name = 'ApiError'
  }

  // unavailable, internal and too_many pass; everything else is the server's last word.
  get passing(): boolean {
    return this.code === 'unavailable' || this.code === 'internal' || this.code === 'too_many'
  }
}

const timeLimit = 10_000
const client = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? '',
  credentials: 'same-origin',
  fetch: (request) => fetch(new Request(request, { signal: AbortSignal.timeout(timeLimit) })),
})

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

function isError(value: unknown): value is Schemas['Error'] {
  return typeof value === 'object' && value !== null && 'code' in value && 'message' in value
}

async function ask<T>(answer: Promise<Answer<T>>): Promise<T> {
  let got: Answer<T>
  try {
    got = await answer
  } catch {
    throw new ApiError('unavailable', 'The server cannot be reached. Try again in a moment.')
  }
  if (got.response.ok) return got.data as T
  if (isError(got.error)) throw new ApiError(got.error.code, got.error.message, got.error.field, got.error.fields)
  const code = got.response.status === 401 ? 'unauthorized' : 'unavailable'
  throw new ApiError(code, `The server gave no usable answer (${got.response.status}). Try again in a moment.`)
}

// upload: a file may take its time.
const upload = (request: Request): Promise<Response> => fetch(new Request(request, { signal: AbortSignal.timeout(180_000) }))

const slow = (request: Request): Promise<Response> => fetch(new Request(request, { signal: AbortSignal.timeout(40_000) }))

const path = (id: number) => ({ params: { path: { id } } })

export const api = {
  signIn: (login: string, password: string) => ask(client.POST('/api/sign-in', { body: { login, password } })),
  signInByLink: (token: string) => ask(client.POST('/api/sign-in/link', { body: { token } })),
  signOut: () => ask(client.POST('/api/sign-out')),
  me: () => ask(client.GET('/api/me')),
  setPresence: (presence: Presence, reason?: string) => ask(client.PUT('/api/me/presence', { body: { presence, reason } })),
  setNext: (presence: Presence, reason?: string) => ask(client.PUT('/api/me/next', { body: { presence, reason } })),
  breaks: () => ask(client.GET('/api/breaks')),
  saveBreaks: (breaks: string[]) => ask(client.PUT('/api/breaks', { body: { breaks } })),
  callBack: (id: number, act: 'now' | 'cancel') => ask(client.POST('/api/conversations/{id}/call-back', { ...path(id), body: { act } })),
  waits: () => ask(client.GET('/api/line')),
  wait: (id: number) => ask(client.GET('/api/conversations/{id}/wait', path(id))),
  lineSettings: () => ask(client.GET('/api/line/settings')),
  saveQueue: (queue: LineQueue) =>
    queue.id ? ask(client.PUT('/api/line/queues/{id}', { ...path(queue.id), body: queue })) : ask(client.POST('/api/line/queues', { body: queue })),
  deleteQueue: (id: number, to: number) => ask(client.DELETE('/api/line/queues/{id}', { params: { path: { id }, query: { to } } })),
  addSkill: (name: string) => ask(client.POST('/api/line/skills', { body: { name } })),
  deleteSkill: (id: number) => ask(client.DELETE('/api/line/skills/{id}', path(id))),
  saveAgent: (id: number, body: AgentChange) => ask(client.PUT('/api/line/agents/{id}', { ...path(id), body })),
  deleteAgent: (id: number) => ask(client.DELETE('/api/line/agents/{id}', path(id))),
  forecasts: () => ask(client.GET('/api/line/forecasts')),
  setPassword: (password: string, current?: string) => ask(client.PUT('/api/me/password', { body: { password, current } })),
  agents: () => ask(client.GET('/api/agents')),
  queues: () => ask(client.GET('/api/queues')),
  conversations: (view: Listed, before?: string) => ask(client.GET('/api/conversations', { params: { query: { view, before } } })),
  conversation: (id: number) => ask(client.GET('/api/conversations/{id}', path(id))),
  messages: (id: number, query: { after?: number; before?: number; limit?: number }) =>
    ask(client.GET('/api/conversations/{id}/messages', { params: { path: { id }, query } })),
  post: (id: number, body: NewMessage) => ask(client.POST('/api/conversations/{id}/messages', { ...path(id), body })),
  take: (id: number) => ask(client.POST('/api/conversations/{id}/take', path(id))),
  transfer: (id: number, body: TransferTo) => ask(client.POST('/api/conversations/{id}/transfer', { ...path(id), body })),
  end: (id: number) => ask(client.POST('/api/conversations/{id}/end', path(id))),
  close: (id: number, body: CloseWith) => ask(client.POST('/api/conversations/{id}/close', { ...path(id), body })),
  // a model takes its time
  wrapUpDraft: (id: number) => ask(client.GET('/api/conversations/{id}/wrap-up-draft', { ...path(id), fetch: slow })),
  accept: (offer: number) => ask(client.POST('/api/offers/{id}/accept', path(offer))),
  decline: (offer: number) => ask(client.POST('/api/offers/{id}/decline', path(offer))),
  phone: () => ask(client.GET('/api/phone')),
  setPhone: (phone: PhoneSettings['phone']) => ask(client.PUT('/api/phone', { body: { phone } })),
  dial: (body: Dial) => ask(client.POST('/api/calls', { body })),
  calls: (query: CallQuery) => ask(client.GET('/api/calls', { params: { query } })),
  call: (id: number) => ask(client.GET('/api/calls/{id}', path(id))),
  responder: (hours: number) => ask(client.GET('/api/responder', { params: { query: { hours } } })),
  addAddress: (contact: number, body: Address) => ask(client.POST('/api/contacts/{id}/addresses', { ...path(contact), body })),
  setPeopleOnly: (contact: number, people_only: boolean) => ask(client.PUT('/api/contacts/{id}/people-only', { ...path(contact), body: { people_only } })),
  recording: (id: number) => ask(client.GET('/api/recordings/{id}', path(id))),
  deleteRecording: (id: number) => ask(client.DELETE('/api/recordings/{id}', path(id))),
  // whySilent asks for the first byte of a recording that did not play, for the server's words.
  whySilent: async (id: number): Promise<string> => {
    try {
      await ask(client.GET('/api/recordings/{id}/sound', { params: { path: { id }, header: { Range: 'bytes=0-0' } }, parseAs: 'blob' }))
    } catch (err) {
      return said(err)
    }
    return 'This browser cannot play the recording.'
  },
  trunks: () => ask(client.GET('/api/trunks')),
  saveTrunk: (trunk: Trunk) =>
    trunk.id ? ask(client.PUT('/api/trunks/{id}', { ...path(trunk.id), body: trunk })) : ask(client.POST('/api/trunks', { body: trunk })),
  deleteTrunk: (id: number) => ask(client.DELETE('/api/trunks/{id}', path(id))),
  testTrunk: (id: number) => ask(client.POST('/api/trunks/{id}/test', path(id))),
  alarms: () => ask(client.GET('/api/alarms')),
  proof: (query: { days?: number; month?: string }) => ask(client.GET('/api/proof', { params: { query } })),
  latePromises: () => ask(client.GET('/api/proof/late')),
  promiseAlarms: () => ask(client.GET('/api/proof/alarms')),
  proofKey: () => ask(client.GET('/api/proof/key')),
  seeAlarm: (id: number) => ask(client.POST('/api/alarms/{id}/seen', path(id))),
  numbers: () => ask(client.GET('/api/numbers')),
  saveNumber: (number: string, body: NumberSettings) => ask(client.PUT('/api/numbers/{number}', { params: { path: { number } }, body })),
  deleteNumber: (number: string) => ask(client.DELETE('/api/numbers/{number}', { params: { path: { number } } })),
  devices: () => ask(client.GET('/api/devices')),
  addDevice: (body: DeviceSettings) => ask(client.POST('/api/devices', { body })),
  saveDevice: (id: number, body: DeviceSettings) => ask(client.PUT('/api/devices/{id}', { ...path(id), body })),
  resetDevice: (id: number) => ask(client.POST('/api/devices/{id}/password', path(id))),
  deleteDevice: (id: number) => ask(client.DELETE('/api/devices/{id}', path(id))),
  prompts: () => ask(client.GET('/api/prompts')),
  addPrompt: (name: string, kind: Prompt['kind'], file: Blob) =>
    ask(client.POST('/api/prompts', {
      params: { query: { name, kind } }, body: file as unknown as string, bodySerializer: (body) => body, headers: { 'Content-Type': 'audio/wav' }, fetch: upload,
    })),
  deletePrompt: (id: number) => ask(client.DELETE('/api/prompts/{id}', path(id))),
  queueSounds: () => ask(client.GET('/api/queue-sounds')),
  saveQueueSound: (id: number, body: QueueSoundSettings) => ask(client.PUT('/api/queue-sounds/{id}', { ...path(id), body })),
}

// said turns whatever was thrown into a sentence.
export function said(err: unknown): string {
  return err instanceof ApiError ? err.message : 'Something went wrong in this page. Reload it if it stays.'
}
