// The agent's phone: which call, in which state, with whom. The server owns the call; this store follows its frames, and
// keeps a line up (keeper.ts) while the call wants one and this tab owns the phone.
import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import { api, ApiError, said, type CallTarget, type Dial, type Dialled, type LiveCall, type LiveIn, type LiveOut } from '../shared/api'
import { firstName } from '../desk/names'
import { useLists } from '../desk/stores/lists'
import { useLive } from '../desk/stores/live'
import { useDevices, whyNoMicrophone } from './devices'
import { Keeper } from './keeper'
import { Line, type Quality } from './line'
import { useMyPhone } from './myphone'
import { whenNetworkChanges } from './network'
import { own, type Owner } from './owner'
import { endWords, thirdNews } from './words'

// asked: a colleague asks me and waits for my answer. dialling, ringing: the customer I call.
export type PhoneState = 'ready' | 'elsewhere' | 'asked' | 'dialling' | 'ringing' | 'connecting' | 'call' | 'held' | 'reconnecting'
export type Mode = 'listen' | 'whisper' | 'barge'

const endedShown = 5_000
const lockWithin = 1_500

// runs: the call is mine for now. waiting is the line of customers again.
function runs(c: LiveCall): boolean {
  return c.state === 'dialling' || c.state === 'ringing' || c.state === 'connecting' || c.state === 'bridged' || (c.state === 'answered' && c.direction === 'out')
}

export const usePhone = defineStore('phone', () => {
  const live = useLive()
  const lists = useLists()
  const devices = useDevices()
  const myPhone = useMyPhone()

  const call = ref<LiveCall>()
  const up = ref(false) // the line carries sound
  const wasUp = ref(false)
  const muted = ref(false)
  const held = ref(false)
  const quality = ref<Quality>()
  const error = ref('')
  const endedText = ref('')
  const news = ref('') // what became of the third party: stays until read, acted on, or the call ends
  const locked = ref(false) // this tab has the browser's lock
  const granted = ref(true) // the server's word
  const settled = ref(false) // the lock has had time to come
  const downSince = ref(0)
  const remote = shallowRef<MediaStream>()
  const pressed = ref('') // keys of the caller
  const silentPage = ref(false) // the browser waits for a click before it plays
  const acting = ref('') // the command that is on its way
  const accepted = ref(0) // the call in which I have said yes to a colleague

  let owner: Owner | undefined
  let endedTimer: ReturnType<typeof setTimeout> | undefined
  let unwatch: () => void = () => {}

  const keeper = new Keeper(
    {
      microphone: () => devices.open(),
      servers: () => myPhone.servers(),
      ask: (frame) => live.ask(frame),
      line: (microphone, servers, events) => new Line(microphone, servers, events),
    },
    {
      up: (on) => {
        if (up.value && !on) downSince.value = Date.now()
        if (on) downSince.value = 0
        up.value = on
        wasUp.value ||= on
      },
      remote: (stream) => (remote.value = stream),
      quality: (q) => (quality.value = q),
      deaf: () => void changeMicrophone(),
      failed,
    },
  )

  const owns = computed(() => locked.value && granted.value)
  const role = computed(() => call.value?.role ?? 'agent')
  const asked = computed(() => role.value === 'consulted' && call.value?.state === 'ringing' && accepted.value !== call.value.call_id)
  const active = computed(() => call.value !== undefined && !asked.value)
  const third = computed(() => (role.value === 'agent' ? call.value?.third : undefined))
  const row = computed(() => (call.value ? lists.rows.get(call.value.conversation_id) : undefined))
  const callerName = computed(() => row.value?.contact_name || call.value?.name || call.value?.from || '')
  const caller = computed(() => firstName(callerName.value))
  // who asks me, or whom I help
  const colleague = computed(() => (role.value === 'consulted' && call.value?.third?.name) || row.value?.agent_name || 'A colleague')

  const state = computed<PhoneState>(() => {
    const c = call.value
    if (asked.value) return 'asked'
    if (!c || !c.device) {
      if (!owns.value && settled.value) return 'elsewhere'
      if (!c) return 'ready'
    }
    if (c.direction === 'out' && (c.state === 'dialling' || c.state === 'ringing')) return c.state
    if (c.device ? c.state !== 'bridged' : !up.value) return wasUp.value ? 'reconnecting' : 'connecting'
    // my sound is there, and the caller hears who I am first
    if (!c.device && c.state === 'connecting' && !c.bridged_at && role.value === 'agent') return 'connecting'
    return held.value ? 'held' : 'call'
  })
  // whom I can pass on, hold or send tones to
  const talking = computed(() => (state.value === 'call' || state.value === 'held') && role.value !== 'supervisor')

  function start(): void {
    setTimeout(() => (settled.value = true), lockWithin)
    void myPhone.load()
    unwatch()
    const network = whenNetworkChanges(() => {
      live.check()
      keeper.heal()
    })
    const plugs = devices.watch((kinds) => kinds.includes('microphone') && void changeMicrophone())
    unwatch = () => (network(), plugs())
    owner ??= own((on) => {
      locked.value = on
      if (on) claim()
      else keeper.drop()
    })
  }

  function stop(): void {
    unwatch()
    myPhone.forget()
    owner?.release()
    owner = undefined
    locked.value = false
    over('')
  }

  myPhone.whenServersChange((servers) => keeper.useServers(servers))

  const claim = (): void => {
    if (locked.value) live.send({ type: 'phone_claim' })
  }

  // hello: the socket is open.
  function hello(): void {
    claim()
    keeper.reachable()
  }

  // useHere moves the phone into this tab by the agent's own wish.
  function useHere(): void {
    if (locked.value) claim()
    else owner?.steal()
  }

  function receivePhone(frame: LiveOut): void {
    granted.value = frame.on ?? false
    if (!frame.on && !frame.tab) claim() // nobody has it
    keepLine()
  }

  // receiveCall follows the server; undefined = there is no call.
  function receiveCall(next: LiveCall | undefined): void {
    const had = call.value
    if (!next || !runs(next)) {
      if (had && (!next || next.call_id === had.call_id)) over(next?.reason ?? '')
      return
    }
    if (had && had.call_id !== next.call_id && next.role === 'consulted' && active.value) {
      live.send({ type: 'decline', call_id: next.call_id }) // I am in a call: the colleague need not wait to learn it
      return
    }
    if (had?.call_id !== next.call_id) begin()
    // frames of the call itself do not say since when it is bridged
    const since = next.bridged_at ?? had?.bridged_at ?? (next.state === 'bridged' ? new Date().toISOString() : null)
    hearThird(had, next)
    call.value = { ...next, bridged_at: since }
    held.value = next.held ?? held.value
    muted.value = next.muted ?? muted.value
    if (next.role && next.role !== 'agent') void readRow(next.conversation_id)
    keepLine()
  }

  // Somebody else's conversation may stand in none of my lists: who asks me, and about what, is read once.
  async function readRow(conversation: number): Promise<void> {
    if (lists.rows.has(conversation)) return
    try {
      lists.put((await api.conversation(conversation)).conversation)
    } catch {
      // the call has a name of its own
    }
  }

  // A third party that is new makes old news of the last one; one that failed is news.
  function hearThird(had: LiveCall | undefined, next: LiveCall): void {
    if (next.role && next.role !== 'agent') return
    const now = next.third?.state
    if (now === 'ringing' || now === 'talking') news.value = ''
    if (!next.third || (now !== 'failed' && now !== 'gone')) return
    const before = had?.call_id === next.call_id ? had.third : undefined
    if (before?.state === now && before?.name === next.third.name) return // said already
    const name = lists.rows.get(next.conversation_id)?.contact_name || next.name || next.from || ''
    news.value = thirdNews(next.third, firstName(name))
  }

  function begin(): void {
    keeper.drop()
    wasUp.value = muted.value = held.value = false
    endedText.value = error.value = pressed.value = news.value = ''
    accepted.value = 0
  }

  function receiveKey(frame: LiveOut): void {
    pressed.value = (pressed.value + (frame.digit ?? '')).slice(-24)
  }

  // keepLine holds the line to what the call wants now.
  function keepLine(): void {
    const c = call.value
    if (!c || asked.value || c.device || !owns.value) return keeper.drop()
    const listens = role.value === 'supervisor'
    keeper.silent(muted.value || (listens && c.supervisor === 'listen'))
    keeper.keep({
      id: c.call_id,
      frame: listens ? { type: 'supervise', call_id: c.call_id, mode: c.supervisor || 'listen' } : { type: 'connect', call_id: c.call_id },
    })
  }

  function failed(err: unknown): void {
    if (err === undefined) error.value = ''
    else if (err instanceof ApiError && !err.passing) over('', said(err)) // the call is gone
    else error.value = err instanceof ApiError ? said(err) : whyNoMicrophone(err)
  }

  function over(reason: string, words = endWords(reason, role.value)): void {
    keeper.drop()
    if (!call.value) return
    const unheard = asked.value
    call.value = undefined
    endedText.value = unheard ? '' : words
    error.value = news.value = ''
    downSince.value = accepted.value = 0
    clearTimeout(endedTimer)
    endedTimer = setTimeout(() => (endedText.value = ''), endedShown)
  }

  // command sends one about the call that runs; false = refused, with the server's words in error.
  async function command(frame: LiveIn): Promise<boolean> {
    if (!call.value) return false
    acting.value = frame.type
    try {
      await live.ask({ ...frame, call_id: call.value.call_id })
      error.value = ''
      return true
    } catch (err) {
      error.value = said(err)
      return false
    } finally {
      acting.value = ''
    }
  }

  // mute acts here at once; the server only learns of it.
  async function mute(): Promise<void> {
    muted.value = !muted.value
    keepLine()
    await command({ type: 'mute', on: muted.value })
  }

  async function hold(): Promise<void> {
    const on = !held.value
    if (await command({ type: 'hold', on })) held.value = on
  }

  async function hangUp(): Promise<boolean> {
    if (role.value !== 'supervisor') return command({ type: 'hangup' })
    const done = await command({ type: 'unsupervise' })
    over('')
    return done
  }

  const dtmf = (digit: string): Promise<boolean> => command({ type: 'dtmf', digit })
  const record = (on: boolean): Promise<boolean> => command({ type: 'record', on })

  // pass sends the caller on at once; consult calls the third party first, the caller hears music.
  const pass = (target: CallTarget): Promise<boolean> => command({ type: 'transfer', target })
  const consult = (target: CallTarget): Promise<boolean> => command({ type: 'consult', target })
  const swap = (): Promise<boolean> => command({ type: 'swap' })
  const complete = (): Promise<boolean> => command({ type: 'complete' })
  const cancel = (): Promise<boolean> => command({ type: 'cancel' })
  const merge = (): Promise<boolean> => command({ type: 'merge' })

  // accept says yes to a colleague: the line is built, and connecting is the answer.
  function accept(): void {
    if (!asked.value || !call.value) return
    accepted.value = call.value.call_id
    if (!owns.value) useHere()
    keepLine()
  }

  async function decline(): Promise<void> {
    if (asked.value && (await command({ type: 'decline' }))) over('')
  }

  // dial throws what the server refuses with: the dialler shows it under its field.
  async function dial(body: Dial): Promise<Dialled> {
    if (!owns.value) useHere()
    const { call_id: id, conversation_id: conversation } = await api.dial(body)
    // the call frame usually comes first
    if (call.value?.call_id !== id) receiveCall({ call_id: id, conversation_id: conversation, state: 'dialling', direction: 'out', from: body.number, started_at: new Date().toISOString() })
    return { call_id: id, conversation_id: conversation }
  }

  // supervise joins a call of somebody else, or changes how.
  async function supervise(id: number, conversation: number, mode: Mode): Promise<void> {
    if (call.value?.call_id === id && role.value === 'supervisor') {
      if (await command({ type: 'supervise', mode })) call.value = { ...call.value, supervisor: mode }
      keepLine()
    } else if (!call.value) {
      if (!owns.value) useHere()
      receiveCall({ call_id: id, conversation_id: conversation, role: 'supervisor', state: 'bridged', supervisor: mode, started_at: new Date().toISOString() })
    }
  }

  async function changeMicrophone(): Promise<void> {
    try {
      await keeper.useMicrophone(() => devices.open())
    } catch (err) {
      error.value = whyNoMicrophone(err)
    }
  }

  return {
    call, up, wasUp, muted, held, quality, error, endedText, news, owns, role, asked, active, talking, third, row, callerName, caller, colleague, state, downSince, remote,
    pressed, silentPage, acting,
    start, stop, hello, useHere, receivePhone, receiveCall, receiveKey, mute, hold, hangUp, dtmf, record, pass, consult, swap, complete, cancel, merge,
    accept, decline, dial, supervise, changeMicrophone,
  }
})
