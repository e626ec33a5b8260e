import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ApiError, type LiveIn, type LiveOut } from '../shared/api'
import { again, Keeper, restartWithin } from './keeper'
import type { Line, LineEvents } from './line'

// A line whose path the test cuts and heals.
class ScriptedLine {
  carries = false
  relayed = false
  closed = false
  answered: string[] = []
  quiet = false
  constructor(readonly events: LineEvents) {}
  offer = () => Promise.resolve('offer')
  restart = () => Promise.resolve('again')
  answer = (sdp: string) => Promise.resolve(void this.answered.push(sdp))
  unanswered = vi.fn(() => Promise.resolve())
  useServers = vi.fn()
  useMicrophone = vi.fn(() => Promise.resolve())
  silent = (on: boolean) => void (this.quiet = on)
  close = () => void (this.closed = true)
  connect(): void {
    this.carries = true
    this.events.connected()
  }
  cut(): void {
    this.carries = false
    this.events.lost()
  }
}

let lines: ScriptedLine[] = []
let asked: LiveIn[] = []
let reply: (frame: LiveIn) => Promise<LiveOut>
let log: string[] = []
let failure: unknown
let keeper: Keeper
const stopped = vi.fn()
const microphone = (): MediaStream => ({ getTracks: () => [{ stop: stopped }] }) as unknown as MediaStream
let open: () => Promise<MediaStream>

beforeEach(() => {
  vi.useFakeTimers()
  lines = []
  asked = []
  log = []
  failure = undefined
  stopped.mockClear()
  open = () => Promise.resolve(microphone())
  reply = (frame) => Promise.resolve({ type: 'call_answer', sdp: `to ${frame.type}` })
  keeper = new Keeper(
    {
      microphone: () => open(),
      servers: () => Promise.resolve([]),
      ask: (frame) => (asked.push(frame), reply(frame)),
      line: (_m, _s, events) => (lines.push(new ScriptedLine(events)), lines.at(-1) as unknown as Line),
    },
    { up: (on) => log.push(on ? 'up' : 'down'), remote: () => {}, quality: () => {}, deaf: () => log.push('deaf'), failed: (err) => (failure = err) },
  )
})
afterEach(() => vi.useRealTimers())

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0)
const line = (): ScriptedLine => lines.at(-1) as ScriptedLine
async function connected(): Promise<void> {
  keeper.keep({ id: 7, frame: { type: 'connect', call_id: 7 } })
  await settle()
  line().connect()
}

it('builds one line, however often it is asked to', async () => {
  keeper.keep({ id: 7, frame: { type: 'connect', call_id: 7 } })
  await connected()
  keeper.keep({ id: 7, frame: { type: 'connect', call_id: 7 } })
  await settle()
  expect(lines).toHaveLength(1)
  expect(asked).toEqual([{ type: 'connect', call_id: 7, sdp: 'offer' }])
  expect(line().answered).toEqual(['to connect'])
  expect(log.at(-1)).toBe('up')
})

it('a lost path is restarted on the same line', async () => {
  await connected()
  line().cut()
  expect(log.at(-1)).toBe('down')
  await settle()
  expect(asked.at(-1)).toEqual({ type: 'restart', call_id: 7, sdp: 'again' })
  line().connect()
  await vi.advanceTimersByTimeAsync(restartWithin)
  expect(lines).toHaveLength(1)
  expect(log.at(-1)).toBe('up')
})

it('a restart that brings no sound within three seconds gives a new line', async () => {
  await connected()
  reply = () => new Promise(() => {}) // the socket died with the network
  line().cut()
  await vi.advanceTimersByTimeAsync(restartWithin - 1)
  expect(lines).toHaveLength(1)
  reply = () => Promise.resolve({ type: 'call_answer', sdp: 'x' })
  await vi.advanceTimersByTimeAsync(1)
  expect(lines).toHaveLength(2)
  expect(lines[0]?.closed).toBe(true)
  expect(asked.at(-1)?.type).toBe('connect')
})

it('a refused restart gives a new line at once when there is no sound', async () => {
  await connected()
  reply = (f) => (f.type === 'restart' ? Promise.reject(new ApiError('not_found', 'No such leg.')) : Promise.resolve({ type: 'call_answer', sdp: 'x' }))
  line().cut()
  await settle()
  expect(lines).toHaveLength(2)
})

it('a refused restart of a line that still carries changes nothing', async () => {
  await connected()
  reply = () => Promise.reject(new ApiError('unavailable', 'You are offline.'))
  keeper.heal()
  await settle()
  expect(lines).toHaveLength(1)
  expect(line().unanswered).toHaveBeenCalled()
  reply = () => Promise.resolve({ type: 'call_answer', sdp: 'x' })
  keeper.reachable() // and it is asked for again when it can be
  await settle()
  expect(line().answered.at(-1)).toBe('x')
  keeper.reachable() // once
  await settle()
  expect(asked.filter((f) => f.type === 'restart')).toHaveLength(2)
})

it('a server that comes back while the restart is taken back is asked again', async () => {
  await connected()
  reply = () => Promise.reject(new ApiError('unavailable', 'You are offline.'))
  let takenBack: () => void = () => {}
  line().unanswered.mockImplementationOnce(() => new Promise((done) => (takenBack = done)))
  keeper.heal()
  await settle()
  reply = () => Promise.resolve({ type: 'call_answer', sdp: 'x' })
  keeper.reachable()
  takenBack()
  await settle()
  expect(line().answered.at(-1)).toBe('x')
  expect(asked.filter((f) => f.type === 'restart')).toHaveLength(2)
})

it('tries again while the server is away, and stops when the call is over', async () => {
  reply = () => Promise.reject(new ApiError('unavailable', 'You are offline.'))
  keeper.keep({ id: 7, frame: { type: 'connect', call_id: 7 } })
  await settle()
  expect(failure).toBeInstanceOf(ApiError)
  await vi.advanceTimersByTimeAsync(3 * again)
  expect(lines).toHaveLength(4)
  keeper.drop()
  await vi.advanceTimersByTimeAsync(3 * again)
  expect(lines).toHaveLength(4)
  expect(lines.every((l) => l.closed)).toBe(true)
})

it('a microphone that comes after the call is over is given back', async () => {
  let give: (m: MediaStream) => void = () => {}
  open = () => new Promise((resolve) => (give = resolve))
  keeper.keep({ id: 7, frame: { type: 'connect', call_id: 7 } })
  await settle()
  keeper.drop()
  give(microphone())
  await settle()
  expect(stopped).toHaveBeenCalledOnce()
  expect(lines).toHaveLength(0)
})

it('another call gets another line', async () => {
  await connected()
  keeper.keep({ id: 8, frame: { type: 'supervise', call_id: 8, mode: 'listen' } })
  await settle()
  expect(lines[0]?.closed).toBe(true)
  expect(asked.at(-1)).toEqual({ type: 'supervise', call_id: 8, mode: 'listen', sdp: 'offer' })
})

it('news of a closed line changes nothing', async () => {
  await connected()
  const old = line()
  keeper.keep({ id: 8, frame: { type: 'connect', call_id: 8 } })
  await settle()
  line().connect()
  old.cut()
  expect(log.at(-1)).toBe('up')
})

it('new credentials restart a line that goes over a relay, and no other', async () => {
  await connected()
  keeper.useServers([])
  await settle()
  expect(asked).toHaveLength(1)
  line().relayed = true
  keeper.useServers([])
  await settle()
  expect(asked.at(-1)?.type).toBe('restart')
  expect(line().useServers).toHaveBeenCalledTimes(2)
})

it('a new line is as silent as the old one', async () => {
  keeper.silent(true)
  await connected()
  expect(line().quiet).toBe(true)
})
