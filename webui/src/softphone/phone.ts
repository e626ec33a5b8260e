// The agent's phone: which call, in which state, over which line. The server owns the call; this store follows its
// frames and keeps one line up while the call is connecting or bridged and this tab owns the phone. A lost path, a
// reload and a new socket all end in the same act: build a new line and connect it to the same call.
import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import { ApiError, said, type LiveCall, type LiveIn, type LiveOut } from '../shared/api'
import { useLive } from '../desk/stores/live'
import { useDevices, whyNoMicrophone } from './devices'
import { Line, type Quality } from './line'
import { own, type Owner } from './owner'

export type PhoneState = 'ready' | 'elsewhere' | 'connecting' | 'call' | 'held' | 'reconnecting'

const endedShown = 5_000
const again = 1_000
const lockWithin = 1_500
const answerWithin = 8_000

export const usePhone = defineStore('phone', () => {
  const live = useLive()
  const devices = useDevices()

  const call = ref<LiveCall>()
  const up = ref(false) // the line carries sound
  const wasUp = ref(false)
  const muted = ref(false)
  const held = ref(false)
  const quality = ref<Quality>()
  const error = ref('')
  const endedText = ref('')
  const locked = ref(false) // this tab has the browser's lock
  const granted = ref(true) // the server's word
  const settled = ref(false) // the lock has had time to come
  const downSince = ref(0)
  const remote = shallowRef<MediaStream>()
  const pressed = ref('') // keys of the caller
  const silentPage = ref(false) // the browser waits for a click before it plays

  let owner: Owner | undefined
  let line: Line | undefined
  let building = 0 // the call a line is being built for
  let retry: ReturnType<typeof setTimeout> | undefined
  let endedTimer: ReturnType<typeof setTimeout> | undefined
  const answers = new Map<number, (sdp: string) => void>()

  const owns = computed(() => locked.value && granted.value)
  const active = computed(() => call.value !== undefined)
  const state = computed<PhoneState>(() => {
    if (!owns.value && settled.value) return 'elsewhere'
    if (!call.value) return 'ready'
    if (!up.value) return wasUp.value ? 'reconnecting' : 'connecting'
    return held.value ? 'held' : 'call'
  })

  function start(): void {
    setTimeout(() => (settled.value = true), lockWithin)
    owner ??= own((on) => {
      locked.value = on
      if (on) claim()
      else drop()
    })
  }

  function stop(): void {
    owner?.release()
    owner = undefined
    locked.value = false
    over('')
  }

  const claim = (): void => {
    if (locked.value) live.send({ type: 'phone_claim' })
  }

  // useHere moves the phone into this tab by the agent's own wish.
  function useHere(): void {
    if (locked.value) claim()
    else owner?.steal()
  }

  function receivePhone(frame: LiveOut): void {
    granted.value = frame.on ?? false
    if (!frame.on && !frame.tab) claim() // nobody has it
    if (owns.value) void keepLine()
    else drop()
  }

  // receiveCall follows the server; undefined = there is no call.
  function receiveCall(next: LiveCall | undefined): void {
    const going = next?.state === 'connecting' || next?.state === 'bridged'
    if (!next || !going) {
      if (call.value && (!next || next.call_id === call.value.call_id)) over(next?.reason ?? '')
      return
    }
    if (call.value?.call_id !== next.call_id) begin()
    // frames of the call itself do not say since when it is bridged
    const since = next.bridged_at ?? call.value?.bridged_at ?? (next.state === 'bridged' ? new Date().toISOString() : null)
    call.value = { ...next, bridged_at: since }
    held.value = next.held ?? held.value
    muted.value = next.muted ?? muted.value
    line?.silent(muted.value)
    void keepLine()
  }

  function begin(): void {
    drop()
    wasUp.value = muted.value = held.value = false
    endedText.value = error.value = pressed.value = ''
  }

  function receiveKey(frame: LiveOut): void {
    pressed.value = (pressed.value + (frame.digit ?? '')).slice(-24)
  }

  async function keepLine(): Promise<void> {
    const wanted = call.value
    if (!wanted || !owns.value || line || building === wanted.call_id) return
    building = wanted.call_id
    clearTimeout(retry)
    try {
      await connect(wanted.call_id)
      error.value = ''
    } catch (err) {
      dropLine()
      failed(wanted.call_id, err)
    } finally {
      building = 0
      if (call.value && !line) retry = setTimeout(() => void keepLine(), again)
    }
  }

  function failed(id: number, err: unknown): void {
    if (call.value?.call_id !== id) return
    if (err instanceof ApiError && !err.passing) over(said(err)) // the call is gone
    else error.value = err instanceof ApiError ? said(err) : whyNoMicrophone(err)
  }

  async function connect(id: number): Promise<void> {
    const microphone = await devices.open()
    if (call.value?.call_id !== id) {
      for (const track of microphone.getTracks()) track.stop()
      return
    }
    const next: Line = new Line(microphone, {
      connected: () => {
        if (line !== next) return
        up.value = wasUp.value = true
        downSince.value = 0
      },
      broken: () => {
        if (line !== next) return
        drop()
        void keepLine()
      },
      quality: (q) => line === next && (quality.value = q),
      track: (stream) => line === next && (remote.value = stream),
    })
    line = next
    next.silent(muted.value)
    const sdp = await next.offer()
    await next.answer(await signal(id, sdp))
  }

  // The answer carries our ref or only the call's id; either is taken.
  async function signal(id: number, sdp: string): Promise<string> {
    const byCall = new Promise<string>((resolve, reject) => {
      answers.set(id, resolve)
      setTimeout(() => reject(new ApiError('unavailable', 'The call did not answer in time.')), answerWithin)
    })
    byCall.catch(() => {})
    try {
      const answer = await live.ask({ type: 'connect', call_id: id, sdp })
      return answer.sdp || (await byCall)
    } finally {
      answers.delete(id)
    }
  }

  function receiveAnswer(frame: LiveOut): void {
    if (frame.call_id && frame.sdp) answers.get(frame.call_id)?.(frame.sdp)
  }

  function dropLine(): void {
    line?.close()
    line = undefined
  }

  function drop(): void {
    clearTimeout(retry)
    if (up.value) downSince.value = Date.now()
    dropLine()
    up.value = false
    quality.value = undefined
    remote.value = undefined
  }

  function over(reason: string): void {
    drop()
    if (!call.value) return
    call.value = undefined
    endedText.value = reason ? `Call ended: ${reason === 'agent hung up' ? 'you hung up' : reason}` : 'Call ended'
    error.value = ''
    downSince.value = 0
    clearTimeout(endedTimer)
    endedTimer = setTimeout(() => (endedText.value = ''), endedShown)
  }

  async function command(frame: LiveIn): Promise<boolean> {
    if (!call.value) return false
    try {
      await live.ask({ ...frame, call_id: call.value.call_id })
      error.value = ''
      return true
    } catch (err) {
      error.value = said(err)
      return false
    }
  }

  // mute acts here at once; the server only learns of it.
  async function mute(): Promise<void> {
    muted.value = !muted.value
    line?.silent(muted.value)
    await command({ type: 'mute', on: muted.value })
  }

  async function hold(): Promise<void> {
    const on = !held.value
    if (await command({ type: 'hold', on })) held.value = on
  }

  const hangUp = (): Promise<boolean> => command({ type: 'hangup' })
  const dtmf = (digit: string): Promise<boolean> => command({ type: 'dtmf', digit })

  async function changeMicrophone(): Promise<void> {
    if (!line) return
    try {
      const next = await devices.open()
      await line.useMicrophone(next)
    } catch (err) {
      error.value = whyNoMicrophone(err)
    }
  }

  return {
    call, up, wasUp, muted, held, quality, error, endedText, owns, active, state, downSince, remote, pressed, silentPage,
    start, stop, claim, useHere, receivePhone, receiveCall, receiveAnswer, receiveKey, keepLine, mute, hold, hangUp, dtmf, changeMicrophone,
  }
})
