import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ref } from 'vue'
import { conversation } from '../../e2e/scripted/house.mjs'
import { api, ApiError, type LiveCall, type LiveIn } from '../shared/api'
import { useLists } from '../desk/stores/lists'
import { usePhone } from './phone'

const frames: LiveIn[] = []
let refuse: string | undefined
vi.mock('../desk/stores/live', () => ({
  useLive: () => ({
    state: ref('open'),
    send: (f: LiveIn) => (frames.push(f), true),
    ask: (f: LiveIn) => {
      frames.push(f)
      return refuse ? Promise.reject(new ApiError('forbidden', refuse)) : Promise.resolve({ type: 'done' })
    },
    check: () => {},
  }),
}))
vi.mock('./owner', () => ({ own: (held: (on: boolean) => void) => (held(true), { steal: () => {}, release: () => {} }) }))
vi.mock('./keeper', () => ({
  Keeper: class {
    keep = (w: { frame: LiveIn }) => kept.push(w.frame)
    drop = () => kept.push(undefined)
    silent = (on: boolean) => (quiet = on)
    heal = () => {}
    useServers = () => {}
    useMicrophone = () => Promise.resolve()
  },
}))
let kept: (LiveIn | undefined)[] = []
let quiet = false

const call = (over: Partial<LiveCall> = {}): LiveCall => ({ call_id: 7, conversation_id: 1, state: 'bridged', role: 'agent', from: '+49 30 1', talking_to: 'caller', ...over })

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-22T10:00:00Z') })
  setActivePinia(createPinia())
  vi.spyOn(api, 'conversation').mockRejectedValue(new ApiError('not_found', 'none'))
  vi.spyOn(api, 'phone').mockRejectedValue(new ApiError('unavailable', 'away'))
  useLists().put({ ...conversation({}), id: 1, contact_name: 'Ana Berg', agent_name: 'Mira' })
  frames.length = 0
  kept = []
  refuse = undefined
  usePhone().start()
})
afterEach(() => {
  usePhone().stop()
  vi.useRealTimers()
  vi.restoreAllMocks()
})

it('a call that connects gets a line, one that is in line again loses it', () => {
  const phone = usePhone()
  phone.receiveCall(call({ state: 'connecting' }))
  expect(phone.state).toBe('connecting')
  expect(kept.at(-1)).toEqual({ type: 'connect', call_id: 7 })
  phone.receiveCall(call({ state: 'waiting' }))
  expect(phone.state).toBe('ready')
  expect(kept.at(-1)).toBeUndefined()
})

it('the end of another call changes nothing', () => {
  const phone = usePhone()
  phone.receiveCall(call())
  phone.receiveCall(call({ call_id: 6, state: 'ended' }))
  expect(phone.active).toBe(true)
})

it('calling out goes from dialling over ringing to the call, with one line from the start', async () => {
  const phone = usePhone()
  vi.spyOn(api, 'dial').mockResolvedValue({ call_id: 9, conversation_id: 1 })
  await phone.dial({ number: '+4930123' })
  expect(phone.state).toBe('dialling')
  expect(kept.at(-1)).toEqual({ type: 'connect', call_id: 9 })
  phone.receiveCall(call({ call_id: 9, direction: 'out', state: 'ringing' }))
  expect(phone.state).toBe('ringing')
  phone.receiveCall(call({ call_id: 9, direction: 'out', state: 'ended', reason: 'busy' }))
  expect(phone.endedText).toBe('Call ended: busy')
})

it('a refused number is the dialler’s to show', async () => {
  vi.spyOn(api, 'dial').mockRejectedValue(new ApiError('invalid', 'Calls to +1 are not allowed from here.'))
  await expect(usePhone().dial({ number: '+1900' })).rejects.toThrow('not allowed')
  expect(usePhone().active).toBe(false)
})

describe('a third party', () => {
  const tom = (state: 'ringing' | 'talking' | 'failed' | 'gone', reason = ''): Partial<LiveCall> => ({ third: { kind: 'agent', name: 'Tom Aske', state, reason } })

  it('that does not answer is said in words, once, and the caller is still there', () => {
    const phone = usePhone()
    phone.receiveCall(call())
    phone.receiveCall(call(tom('ringing')))
    phone.receiveCall(call(tom('failed', 'did not answer')))
    expect(phone.news).toBe('Tom did not answer. You are still with Ana.')
    phone.news = ''
    phone.receiveCall(call({ ...tom('failed', 'did not answer'), muted: true }))
    expect(phone.news).toBe('')
    phone.receiveCall(call(tom('ringing')))
    phone.receiveCall(call(tom('failed', 'busy')))
    expect(phone.news).toBe('Tom is busy. You are still with Ana.')
  })

  it('that rings makes old news go', () => {
    const phone = usePhone()
    phone.receiveCall(call(tom('failed')))
    phone.receiveCall(call(tom('ringing')))
    expect(phone.news).toBe('')
  })

  it('is asked, swapped, joined and left by its own commands', async () => {
    const phone = usePhone()
    phone.receiveCall(call())
    await phone.consult({ kind: 'agent', agent_id: 3 })
    await phone.swap()
    await phone.merge()
    await phone.complete()
    await phone.cancel()
    expect(frames.filter((f) => f.call_id).map((f) => f.type)).toEqual(['consult', 'swap', 'merge', 'complete', 'cancel'])
    expect(frames.find((f) => f.type === 'consult')).toEqual({ type: 'consult', call_id: 7, target: { kind: 'agent', agent_id: 3 } })
  })

  it('that is refused is refused in the server’s words', async () => {
    const phone = usePhone()
    phone.receiveCall(call())
    refuse = 'Tom has just taken a call.'
    expect(await phone.pass({ kind: 'agent', agent_id: 3 })).toBe(false)
    expect(phone.error).toBe('Tom has just taken a call.')
  })
})

describe('a colleague asks me', () => {
  const ask = call({ call_id: 8, role: 'consulted', state: 'ringing', third: { kind: 'agent', name: 'Mira Solheim', state: 'talking' } })

  it('no line before I answer; the answer is the line', () => {
    const phone = usePhone()
    phone.receiveCall(ask)
    expect(phone.state).toBe('asked')
    expect(phone.active).toBe(false)
    expect(phone.colleague).toBe('Mira Solheim')
    expect(kept.filter(Boolean)).toEqual([])
    phone.accept()
    expect(phone.state).toBe('connecting')
    expect(kept.at(-1)).toEqual({ type: 'connect', call_id: 8 })
  })

  it('whose conversation I have not seen is read for their name', async () => {
    const row = { ...conversation({}), id: 2, contact_name: 'Ole Tann', agent_name: 'Freya' }
    vi.spyOn(api, 'conversation').mockResolvedValue({ conversation: row } as Awaited<ReturnType<typeof api.conversation>>)
    const phone = usePhone()
    phone.receiveCall({ ...ask, conversation_id: 2, third: undefined })
    await vi.advanceTimersByTimeAsync(0)
    expect([phone.colleague, phone.callerName]).toEqual(['Freya', 'Ole Tann'])
  })

  it('declining says so and is quiet at once', async () => {
    const phone = usePhone()
    phone.receiveCall(ask)
    await phone.decline()
    expect(frames.at(-1)).toEqual({ type: 'decline', call_id: 8 })
    expect(phone.state).toBe('ready')
    expect(phone.endedText).toBe('')
  })

  it('while I am in a call is declined for me', () => {
    const phone = usePhone()
    phone.receiveCall(call())
    phone.receiveCall(ask)
    expect(frames.at(-1)).toEqual({ type: 'decline', call_id: 8 })
    expect(phone.call?.call_id).toBe(7)
  })

  it('who then gets the call keeps the line', () => {
    const phone = usePhone()
    phone.receiveCall(ask)
    phone.accept()
    phone.receiveCall({ ...ask, role: 'agent', state: 'bridged', third: undefined })
    expect(phone.role).toBe('agent')
    expect(kept.at(-1)).toEqual({ type: 'connect', call_id: 8 })
  })
})

describe('a supervisor', () => {
  it('listens in silence, and speaks after a change of mode', async () => {
    const phone = usePhone()
    await phone.supervise(7, 1, 'listen')
    expect(kept.at(-1)).toEqual({ type: 'supervise', call_id: 7, mode: 'listen' })
    expect(quiet).toBe(true)
    await phone.supervise(7, 1, 'whisper')
    expect(frames.at(-1)).toEqual({ type: 'supervise', call_id: 7, mode: 'whisper' })
    expect(quiet).toBe(false)
    await phone.hangUp()
    expect(frames.at(-1)).toEqual({ type: 'unsupervise', call_id: 7 })
    expect(phone.endedText).toBe('You have left the call')
  })

  it('does not leave a call of their own for it', async () => {
    const phone = usePhone()
    phone.receiveCall(call({ call_id: 6 }))
    await phone.supervise(7, 1, 'listen')
    expect(phone.call?.call_id).toBe(6)
  })
})

it('a call on my desk telephone needs no line here', () => {
  const phone = usePhone()
  phone.receiveCall(call({ device: true }))
  expect(kept.filter(Boolean)).toEqual([])
  expect(phone.state).toBe('call')
})

it('mute acts before the server answers', () => {
  const phone = usePhone()
  phone.receiveCall(call())
  void phone.mute()
  expect(quiet).toBe(true)
})
