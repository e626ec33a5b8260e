import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { useAlarm } from './alarm'
import { useMyPhone } from './myphone'

const phone = vi.hoisted(() => ({ owns: true }))
const hush = vi.hoisted(() => vi.fn())
const ring = vi.hoisted(() => vi.fn((_device: string) => hush))
vi.mock('./phone', () => ({ usePhone: () => phone }))
vi.mock('./ring', () => ({ startRing: ring }))

const notices: { title: string; body: string; closed: boolean }[] = []
class Notice {
  static permission = 'granted'
  static requestPermission = (): Promise<string> => Promise.resolve('granted')
  closed = false
  body: string
  onclick?: () => void
  constructor(readonly title: string, options: { body: string }) {
    this.body = options.body
    notices.push(this)
  }
  close = (): void => void (this.closed = true)
}

beforeEach(() => {
  vi.stubGlobal('Notification', Notice)
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(true)
  document.head.innerHTML = '<link rel="icon" href="http://x/calm.svg">'
  setActivePinia(createPinia())
  notices.length = 0
  phone.owns = true
  vi.clearAllMocks()
})
afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})
const icon = (): string => document.querySelector<HTMLLinkElement>('link[rel="icon"]')?.href ?? ''

it('a hidden tab rings, notifies, and shows it in title and icon, until it is answered', () => {
  const alarm = useAlarm()
  const stop = alarm.ring('Call for you', 'Ana', 'Orders', true)
  expect(ring).toHaveBeenCalledOnce()
  expect(notices[0]).toMatchObject({ title: 'Call for you: Ana', body: 'Orders' })
  expect(alarm.title).toBe('Call for you: Ana')
  expect(icon()).not.toContain('calm')
  stop()
  expect(hush).toHaveBeenCalledOnce()
  expect(notices[0]?.closed).toBe(true)
  expect([alarm.title, icon()]).toEqual(['', 'http://x/calm.svg'])
})

it('the second alarm replaces the first, whose end then changes nothing', () => {
  const alarm = useAlarm()
  const first = alarm.ring('Chat for you', 'Ole', 'Orders', false)
  alarm.ring('Call for you', 'Ana', 'Orders', true)
  first()
  expect(alarm.title).toBe('Call for you: Ana')
  expect(hush).toHaveBeenCalledOnce()
})

it('a tab without the phone is silent', () => {
  phone.owns = false
  useAlarm().ring('Call for you', 'Ana', 'Orders', true)
  expect(ring).not.toHaveBeenCalled()
  expect(notices).toEqual([])
})

it('a call that rings on the desk telephone does not ring here, too', () => {
  useMyPhone().settings = { phone: 'device', device_ready: true, can_dial: true, caller_numbers: [], ice_servers: [] }
  useAlarm().ring('Call for you', 'Ana', 'Orders', true)
  expect(ring).not.toHaveBeenCalled()
  useAlarm().ring('Chat for you', 'Ana', 'Orders', false)
  expect(ring).toHaveBeenCalledOnce()
})

it('without permission nothing is shown and nothing asked', () => {
  vi.stubGlobal('Notification', Object.assign(vi.fn(), { permission: 'default' }))
  useAlarm().ring('Call for you', 'Ana', 'Orders', true)
  expect(Notification).not.toHaveBeenCalled()
})
