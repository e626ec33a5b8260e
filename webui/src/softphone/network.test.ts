import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { whenNetworkChanges } from './network'

const start = Date.parse('2026-11-22T10:00:00Z')
const changed = vi.fn()
let stop: () => void

beforeEach(() => {
  vi.useFakeTimers({ now: start })
  changed.mockClear()
  stop = whenNetworkChanges(changed)
})
afterEach(() => {
  stop()
  vi.useRealTimers()
})

it('a clock that goes on is no change', () => {
  vi.advanceTimersByTime(60_000)
  expect(changed).not.toHaveBeenCalled()
})

it('a machine that has slept is one', () => {
  vi.advanceTimersByTime(2_000)
  vi.setSystemTime(start + 30 * 60_000)
  vi.advanceTimersByTime(1_000)
  expect(changed).toHaveBeenCalledOnce()
})

it('so is a browser that is online again, until nobody listens', () => {
  dispatchEvent(new Event('online'))
  expect(changed).toHaveBeenCalledOnce()
  stop()
  dispatchEvent(new Event('online'))
  expect(changed).toHaveBeenCalledOnce()
})
