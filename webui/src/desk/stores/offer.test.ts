import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { conversation, newMe } from '../../../e2e/scripted/house.mjs'
import type { Offer } from '../../shared/api'
import { useClock } from './clock'
import { useLists } from './lists'
import { useOffer } from './offer'
import { useSession } from './session'

const start = Date.parse('2026-11-18T10:00:00Z')
const at = (ms: number): string => new Date(start + ms).toISOString()
const offer = (over: Partial<Offer> = {}): Offer => ({
  id: 5, conversation_id: 1, channel: 'chat', queue_name: 'Orders', contact_name: 'Jonas', subject: '', summary: '', last_words: '', waiting_since: at(0),
  offered_at: at(0), expires_at: at(20_000), seconds: 20, why: '', return_call: false, left_message: '', call_back: '', card: null, ...over,
})

beforeEach(() => {
  vi.useFakeTimers({ now: start })
  setActivePinia(createPinia())
  useSession().apply(newMe())
})
afterEach(() => vi.useRealTimers())

it('counts down', () => {
  const store = useOffer()
  store.show(offer())
  expect(store.left).toBe(20)
  vi.advanceTimersByTime(6_000)
  expect(store.left).toBe(14)
  vi.advanceTimersByTime(60_000)
  expect(store.left).toBe(0)
})

it('a wrong clock of this machine does not shorten the countdown', () => {
  vi.setSystemTime(start + 90_000) // ahead of the server
  useClock().learn(at(0), Date.now(), Date.now())
  const store = useOffer()
  store.show(offer())
  expect(store.left).toBe(20)
})

it('a clock behind the server learns from the offer itself', () => {
  vi.setSystemTime(start - 90_000)
  const store = useOffer()
  store.show(offer())
  expect(store.left).toBe(20)
})

it('says who was faster for three seconds', () => {
  const store = useOffer()
  useLists().put({ ...conversation({}), id: 1, agent_id: 2, agent_name: 'Mira' })
  store.show(offer())
  store.receiveEnd({ type: 'offer_ended', offer_id: 5, outcome: 'withdrawn' })
  expect(store.ended).toBe('Taken by Mira.')
  expect(store.ringing).toBe(false)
  vi.advanceTimersByTime(3_000)
  expect(store.offer).toBeUndefined()
})

it('the end of another offer changes nothing', () => {
  const store = useOffer()
  store.show(offer())
  store.receiveEnd({ type: 'offer_ended', offer_id: 4, outcome: 'missed' })
  expect(store.ringing).toBe(true)
})

it('a new offer replaces the sentence about the last one', () => {
  const store = useOffer()
  store.show(offer())
  store.receiveEnd({ type: 'offer_ended', offer_id: 5, outcome: 'missed' })
  store.show(offer({ id: 6 }))
  vi.advanceTimersByTime(5_000)
  expect(store.offer?.id).toBe(6)
})
