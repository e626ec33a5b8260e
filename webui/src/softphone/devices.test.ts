import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { loudness, useDevices } from './devices'
import { verdict } from './testcall'

const system = [{ kind: 'audioinput', deviceId: 'default', label: 'Default' }]
const headset = [{ kind: 'audioinput', deviceId: 'h', label: 'Jabra' }, { kind: 'audiooutput', deviceId: 'h', label: 'Jabra' }]
let plugged: { kind: string; deviceId: string; label: string }[]
const media = Object.assign(new EventTarget(), { enumerateDevices: () => Promise.resolve(plugged), getUserMedia: vi.fn() })

beforeEach(async () => {
  localStorage.clear()
  plugged = [...system, ...headset]
  vi.stubGlobal('navigator', { mediaDevices: media })
  setActivePinia(createPinia())
  await useDevices().list()
})
afterEach(() => vi.unstubAllGlobals())

it('an unplugged headset falls back with words, and is used again when it is back', async () => {
  const devices = useDevices()
  devices.choose('microphone', 'h')
  devices.choose('speaker', 'h')
  const moved: string[] = []
  const stop = devices.watch((kinds) => moved.push(kinds.join(' ')))
  plugged = [...system]
  media.dispatchEvent(new Event('devicechange'))
  await vi.waitFor(() => expect(devices.notice).not.toBe(''))
  expect(devices.notice).toBe('Jabra was unplugged. The system’s microphone is used. The caller is heard on the system’s speaker.')
  expect(devices.using('microphone')).toBe('')
  expect(devices.gone('microphone')).toBe(true)
  plugged = [...system, ...headset]
  media.dispatchEvent(new Event('devicechange'))
  await vi.waitFor(() => expect(devices.notice).toBe('Jabra is back and used again.'))
  expect(devices.using('speaker')).toBe('h')
  expect(moved).toEqual(['microphone speaker', 'microphone speaker'])
  stop()
})

it('before the browser names the devices none counts as unplugged', async () => {
  const devices = useDevices()
  devices.choose('speaker', 'h')
  plugged = [{ kind: 'audioinput', deviceId: '', label: '' }]
  await devices.list()
  expect(devices.using('speaker')).toBe('h')
})

it('a test call holds for the microphone it was made with', () => {
  const devices = useDevices()
  devices.passed()
  expect(devices.microphoneTested).toBe(true)
  devices.choose('microphone', 'h')
  expect(devices.microphoneTested).toBe(false)
})

it('judges a test call in words', () => {
  const q = { lost: 0, jitter: 3, delay: 20 }
  expect(verdict(0.1, 0.1, q)).toEqual({ good: false, text: expect.stringContaining('hear nothing from this microphone') as string })
  expect(verdict(0.7, 0.1, q)).toEqual({ good: false, text: expect.stringContaining('does not come back') as string })
  expect(verdict(0.7, 0.6, { ...q, lost: 9 }).good).toBe(false)
  expect(verdict(0.7, 0.6, q)).toEqual({ good: true, text: 'Your microphone works.' })
})

it('silence is the left end of the meter, full scale the right one', () => {
  expect(loudness(new Float32Array(16))).toBe(0)
  expect(loudness(new Float32Array(16).fill(1))).toBeCloseTo(1)
})
