import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { api, ApiError, type TrunkAlarm, type TrunkState } from '../shared/api'
import { clockTime } from '../desk/time'
import { useTrunkAlarms } from './alarms'
import { useSaving } from './saving'
import { useTelephone } from './telephone'
import { newTrunk } from './trunk.fixture'
import { deviceLine, trunkLines } from './words'

const at = '2026-11-22T10:02:00Z'
const state = (over: Partial<TrunkState> = {}): TrunkState => ({
  trunk_id: 1, node_id: 'n1', node_name: 'here', registered: true, healthy: true, server: 'a', error: '', answer_ms: 12, changed_at: at, seen_at: at, ...over,
})
const trunk = { ...newTrunk(), id: 1, register: true }

const house = () => {
  vi.spyOn(api, 'trunks').mockResolvedValue({ trunks: [trunk], states: [state()], defaults: newTrunk() })
  vi.spyOn(api, 'numbers').mockResolvedValue([])
  vi.spyOn(api, 'devices').mockResolvedValue({ devices: [], registrations: [] })
  vi.spyOn(api, 'prompts').mockResolvedValue([])
  return vi.spyOn(api, 'queueSounds').mockResolvedValue([{ queue_id: 1, queue_name: 'Orders', record: false, record_announce: true, transcribe: false, transcribe_announce: true, whisper: false, music_id: 7, greeting_id: null }])
}

beforeEach(() => {
  vi.useFakeTimers()
  setActivePinia(createPinia())
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

it.each([
  [{}, {}, '', 'Registered, answers in 12 ms'],
  [{ register: false }, {}, '', 'Answers in 12 ms'],
  [{ options_seconds: 0 }, { answer_ms: 0 }, '', 'Registered, its health is not asked'],
  [{}, { healthy: false, error: 'timeout' }, 'break', `No answer since ${clockTime(at)}: timeout`],
  [{}, { registered: false, error: '403 Forbidden' }, 'break', `Not registered since ${clockTime(at)}: 403 Forbidden`],
  [{ enabled: false }, {}, 'off', 'Switched off'],
] as const)('says how a trunk is: %j %j', (t, s, shape, text) => {
  expect(trunkLines({ ...trunk, ...t }, [state(s)])).toEqual([{ shape, text }])
})

it('names the server when there are several, and says when none has tried', () => {
  expect(trunkLines(trunk, [state(), state({ node_id: 'n2', node_name: 'there', answer_ms: 20 }), state({ trunk_id: 2 })]).map((l) => l.text))
    .toEqual(['here: Registered, answers in 12 ms', 'there: Registered, answers in 20 ms'])
  expect(trunkLines(trunk, [])).toEqual([{ shape: 'off', text: 'Not tried yet' }])
  expect(deviceLine(true, [])).toEqual({ shape: 'off', text: 'Not signed in' })
})

it('reads all settings, and again once for a burst of news', async () => {
  const asked = house()
  const telephone = useTelephone()
  telephone.news() // nobody looks yet
  await vi.advanceTimersByTimeAsync(1000)
  expect(asked).not.toHaveBeenCalled()
  await telephone.load()
  expect(telephone.loaded).toBe(true)
  expect(telephone.usedBy(7)).toEqual(['Orders'])
  telephone.news()
  telephone.news()
  await vi.advanceTimersByTimeAsync(1000)
  expect(asked).toHaveBeenCalledTimes(2)
})

it('keeps the old settings when the server is away, and says so', async () => {
  house()
  const telephone = useTelephone()
  await telephone.load()
  vi.spyOn(api, 'numbers').mockRejectedValue(new ApiError('unavailable', 'The server cannot be reached.'))
  await telephone.load()
  expect(telephone.trunks).toHaveLength(1)
  expect(telephone.error).toBe('The server cannot be reached.')
})

it('puts an error at its field, and elsewhere at the form', async () => {
  const saving = useSaving('x', ['rates'])
  expect(await saving.run(() => Promise.reject(new ApiError('invalid', 'An amount was expected.', 'rates.per_minute')))).toBe(false)
  expect([saving.at('rates'), saving.general()]).toEqual(['An amount was expected.', ''])
  const two = [{ field: 'rates', message: 'An amount was expected.' }, { field: 'name', message: 'A name was expected.' }]
  const form = useSaving('x', ['name', 'rates'])
  await form.run(() => Promise.reject(new ApiError('invalid', two[0]!.message, 'rates', two)))
  expect([form.at('rates'), form.at('name'), form.general()]).toEqual(['An amount was expected.', 'A name was expected.', '2 fields are not right yet.'])
  await saving.run(() => Promise.reject(new ApiError('conflict', 'Somebody was faster.')))
  expect([saving.at('rates'), saving.general()]).toEqual(['', 'Somebody was faster.'])
  expect(await saving.run(async () => {})).toBe(true)
  expect(saving.general()).toBe('')
})

it('alarms come as they are raised and go when somebody has seen them', async () => {
  const alarm = (id: number): TrunkAlarm => ({ id, trunk_id: 1, agent_id: null, kind: 'night', words: '5 calls out over Fjordtel this night.', at })
  const asked = vi.spyOn(api, 'alarms').mockResolvedValue([alarm(2)])
  const see = vi.spyOn(api, 'seeAlarm').mockResolvedValue(undefined)
  const alarms = useTrunkAlarms()
  alarms.receive(alarm(1))
  alarms.receive(alarm(2))
  alarms.receive(alarm(2))
  expect(alarms.list.map((a) => a.id)).toEqual([2, 1])
  await alarms.seen(1)
  expect(see).toHaveBeenCalledWith(1)
  expect(alarms.list.map((a) => a.id)).toEqual([2])
  asked.mockResolvedValue([])
  alarms.receive() // a colleague has seen it
  await vi.waitFor(() => expect(alarms.list).toEqual([]))
})
