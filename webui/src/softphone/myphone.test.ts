import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { api, ApiError, type PhoneSettings } from '../shared/api'
import { useMyPhone } from './myphone'

const settings = (credential: string): PhoneSettings => ({ phone: 'browser', device_ready: true, device_label: 'Hall', can_dial: true, caller_numbers: [], ice_servers: [{ urls: ['turn:x'], username: 'u', credential }] })
let asked = 0

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-22T10:00:00Z') })
  setActivePinia(createPinia())
  asked = 0
  vi.spyOn(api, 'phone').mockImplementation(() => Promise.resolve(settings(`c${++asked}`)))
})
afterEach(() => {
  useMyPhone().forget()
  vi.useRealTimers()
  vi.restoreAllMocks()
})

it('asks for new credentials before the old ones end, and tells the line', async () => {
  const phone = useMyPhone()
  const told: unknown[] = []
  phone.whenServersChange((s) => told.push(s[0]?.credential))
  await phone.load()
  expect((await phone.servers())[0]?.credential).toBe('c1')
  await vi.advanceTimersByTimeAsync(9 * 60_000) // they last ten minutes
  expect((await phone.servers())[0]?.credential).toBe('c2')
  expect(told).toEqual(['c1', 'c2'])
})

it('a machine that slept asks before it calls', async () => {
  const phone = useMyPhone()
  await phone.load()
  vi.setSystemTime(Date.now() + 3_600_000)
  expect((await phone.servers())[0]?.credential).toBe('c2')
})

it('a call does not wait for a server that does not answer', async () => {
  vi.spyOn(api, 'phone').mockReturnValue(new Promise(() => {}))
  const got = useMyPhone().servers()
  await vi.advanceTimersByTimeAsync(2_000)
  expect(await got).toEqual([])
})

it('says in the server’s words why the telephone was not changed', async () => {
  vi.spyOn(api, 'setPhone').mockRejectedValue(new ApiError('conflict', 'Your desk telephone is not registered.'))
  const phone = useMyPhone()
  await phone.load()
  await phone.ringOn('device')
  expect([phone.error, phone.settings?.phone, phone.device]).toEqual(['Your desk telephone is not registered.', 'browser', false])
})
