import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { LiveIn, LiveOut } from './api'
import { LiveSocket } from './live'

// The browser's half of a socket whose other half is this test.
class Wire {
  static all: Wire[] = []
  readyState: number = WebSocket.OPEN
  sent: LiveIn[] = []
  onmessage: ((e: { data: string }) => void) | null = null
  onclose: ((e: { code: number }) => void) | null = null
  constructor() {
    Wire.all.push(this)
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as LiveIn)
  }
  close(): void {
    this.readyState = WebSocket.CLOSED
  }
  says(frame: LiveOut): void {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }
  ends(code: number): void {
    this.readyState = WebSocket.CLOSED
    this.onclose?.({ code })
  }
}

const states: string[] = []
const frames: string[] = []
let signedOut = 0
let live: LiveSocket
const last = (): Wire => Wire.all.at(-1) as Wire

beforeEach(() => {
  vi.useFakeTimers()
  states.length = frames.length = Wire.all.length = signedOut = 0
  live = new LiveSocket({
    url: 'ws://desk/api/live', open: () => new Wire() as unknown as WebSocket,
    onFrame: (f) => frames.push(f.type), onState: (s) => states.push(s), onSignedOut: () => signedOut++,
  })
  live.start()
})
afterEach(() => {
  live.stop()
  vi.useRealTimers()
})

it('is open after the hello, not before', () => {
  expect(states).toEqual(['connecting'])
  last().says({ type: 'hello' })
  expect(states).toEqual(['connecting', 'open'])
  expect(frames).toEqual(['hello'])
})

it('comes back by itself, with growing pauses', () => {
  last().says({ type: 'hello' })
  for (const pause of [500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    last().ends(1006)
    const before = Wire.all.length
    vi.advanceTimersByTime(pause / 2 - 1)
    expect(Wire.all.length).toBe(before)
    vi.advanceTimersByTime(pause / 2 + 1)
    expect(Wire.all.length).toBe(before + 1)
  }
})

it('gives up a connection that does not answer pings', () => {
  last().says({ type: 'hello' })
  vi.advanceTimersByTime(15_000)
  expect(last().sent).toEqual([{ type: 'ping' }])
  last().says({ type: 'pong' })
  vi.advanceTimersByTime(14_999)
  expect(states.at(-1)).toBe('open')
  vi.advanceTimersByTime(1 + 10_000)
  expect(states.at(-1)).toBe('waiting')
})

it('gives up a connection that never says hello', () => {
  vi.advanceTimersByTime(10_000)
  expect(states.at(-1)).toBe('waiting')
})

it('4401 is a sign-out, not a reconnect', () => {
  last().says({ type: 'hello' })
  last().ends(4401)
  vi.advanceTimersByTime(60_000)
  expect(signedOut).toBe(1)
  expect(Wire.all).toHaveLength(1)
})

it('an answer finds its question by ref', async () => {
  last().says({ type: 'hello' })
  const one = live.ask({ type: 'hold', call_id: 1, on: true })
  const two = live.ask({ type: 'connect', call_id: 1, sdp: 'x' })
  const [first, second] = last().sent.map((f) => f.ref)
  last().says({ type: 'error', ref: second, error: { code: 'conflict', message: 'The call is over.' } })
  last().says({ type: 'done', ref: first })
  await expect(one).resolves.toMatchObject({ type: 'done' })
  await expect(two).rejects.toMatchObject({ code: 'conflict', message: 'The call is over.' })
})

it('a lost connection answers every open question', async () => {
  last().says({ type: 'hello' })
  const asked = live.ask({ type: 'hangup', call_id: 1 })
  last().ends(1006)
  await expect(asked).rejects.toMatchObject({ code: 'unavailable' })
  await expect(live.ask({ type: 'hangup', call_id: 1 })).rejects.toMatchObject({ code: 'unavailable' })
})

it('garbage from the wire is ignored', () => {
  last().says({ type: 'hello' })
  last().onmessage?.({ data: '{not json' })
  last().says({ type: 'resync' })
  expect(frames).toEqual(['hello', 'resync'])
})

it('a socket that died with the network is not believed for long', () => {
  last().says({ type: 'hello' })
  live.check()
  expect(last().sent.at(-1)?.type).toBe('ping')
  vi.advanceTimersByTime(2_000)
  expect(states.at(-1)).toBe('waiting')
})

it('one that answers the check stays', () => {
  last().says({ type: 'hello' })
  live.check()
  last().says({ type: 'pong' })
  vi.advanceTimersByTime(5_000)
  expect(states.at(-1)).toBe('open')
  expect(Wire.all).toHaveLength(1)
})
