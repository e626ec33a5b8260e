// The one WebSocket of a tab: live news in, commands and call signalling out. It reconnects by itself and knows nothing
// about screens; what a frame means is decided by who listens. A lost frame costs freshness only: on every new hello the
// listeners read again what they show (server/api/openapi.yaml, LiveIn and LiveOut).
import { ApiError, type LiveIn, type LiveOut } from './api'

export type LiveState = 'off' | 'connecting' | 'open' | 'waiting'

export interface LiveOptions {
  url: string
  onFrame: (frame: LiveOut) => void
  onState: (state: LiveState) => void
  onSignedOut: () => void
  open?: (url: string) => WebSocket
}

const pingEvery = 15_000
const pongWithin = 10_000
const answerWithin = 10_000
const checkWithin = 2_000
const longestPause = 10_000
const closedSignedOut = 4401

interface Asked {
  resolve: (frame: LiveOut) => void
  reject: (err: ApiError) => void
  timer: ReturnType<typeof setTimeout>
}

export class LiveSocket {
  private socket?: WebSocket
  private retry?: ReturnType<typeof setTimeout>
  private ping?: ReturnType<typeof setInterval>
  private pong?: ReturnType<typeof setTimeout>
  private attempts = 0
  private refs = 0
  private asked = new Map<string, Asked>()
  private stopped = true

  constructor(private readonly opt: LiveOptions) {}

  start(): void {
    if (!this.stopped) return
    this.stopped = false
    addEventListener('online', this.hurry)
    addEventListener('offline', this.drop)
    this.connect()
  }

  stop(): void {
    this.stopped = true
    removeEventListener('online', this.hurry)
    removeEventListener('offline', this.drop)
    clearTimeout(this.retry)
    this.forget()
    this.opt.onState('off')
  }

  // send is fire and forget: false while there is no connection.
  send(frame: LiveIn): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false
    this.socket.send(JSON.stringify(frame))
    return true
  }

  // ask sends a frame with a ref and waits for the frame that carries it back.
  ask(frame: LiveIn): Promise<LiveOut> {
    const ref = `r${++this.refs}`
    return new Promise((resolve, reject) => {
      if (!this.send({ ...frame, ref })) {
        reject(new ApiError('unavailable', 'You are offline.'))
        return
      }
      const timer = setTimeout(() => {
        this.asked.delete(ref)
        reject(new ApiError('unavailable', 'The server did not answer in time.'))
      }, answerWithin)
      this.asked.set(ref, { resolve, reject, timer })
    })
  }

  private connect(): void {
    clearTimeout(this.retry)
    this.opt.onState('connecting')
    const socket = this.opt.open ? this.opt.open(this.opt.url) : new WebSocket(this.opt.url)
    this.socket = socket
    this.pong = setTimeout(this.drop, pongWithin) // until the hello
    socket.onmessage = (event) => this.receive(String(event.data))
    socket.onclose = (event) => {
      if (this.socket !== socket) return
      this.forget()
      if (event.code === closedSignedOut) {
        this.stop()
        this.opt.onSignedOut()
        return
      }
      this.again()
    }
  }

  private again(): void {
    if (this.stopped) return
    this.opt.onState('waiting')
    // Half fixed, half random: a restarted server is not met by every desk in the same instant.
    const pause = Math.min(longestPause, 500 * 2 ** Math.min(this.attempts++, 5))
    this.retry = setTimeout(() => this.connect(), pause / 2 + Math.random() * (pause / 2))
  }

  private receive(text: string): void {
    let frame: LiveOut
    try {
      frame = JSON.parse(text) as LiveOut
    } catch {
      return
    }
    clearTimeout(this.pong)
    if (frame.type === 'hello') {
      this.attempts = 0
      clearInterval(this.ping)
      this.ping = setInterval(() => this.beat(), pingEvery)
      this.opt.onState('open')
    }
    if (frame.ref) this.settle(frame.ref, frame)
    if (frame.type !== 'pong') this.opt.onFrame(frame)
  }

  private settle(ref: string, frame: LiveOut): void {
    const asked = this.asked.get(ref)
    if (!asked) return
    this.asked.delete(ref)
    clearTimeout(asked.timer)
    if (frame.type === 'error') {
      const e = frame.error
      asked.reject(new ApiError(e?.code ?? 'internal', e?.message ?? 'The server refused.', e?.field))
    } else {
      asked.resolve(frame)
    }
  }

  // check: the network may be another one; a socket that died with the old one must not be believed for long.
  check(): void {
    if (this.stopped) return
    if (this.socket?.readyState === WebSocket.OPEN) this.beat(checkWithin)
    else if (this.socket?.readyState !== WebSocket.CONNECTING) this.hurry()
  }

  private beat(within = pongWithin): void {
    if (!this.send({ type: 'ping' })) return
    clearTimeout(this.pong)
    this.pong = setTimeout(this.drop, within)
  }

  // drop gives up a connection that is only believed to be open.
  private readonly drop = (): void => {
    if (this.stopped) return
    this.forget()
    this.again()
  }

  private readonly hurry = (): void => {
    if (this.stopped || this.socket?.readyState === WebSocket.OPEN) return
    this.attempts = 0
    this.forget()
    this.connect()
  }

  private forget(): void {
    clearInterval(this.ping)
    clearTimeout(this.pong)
    clearTimeout(this.retry)
    const socket = this.socket
    this.socket = undefined
    if (socket) {
      socket.onmessage = null
      socket.onclose = null
      socket.close()
    }
    for (const asked of this.asked.values()) {
      clearTimeout(asked.timer)
      asked.reject(new ApiError('unavailable', 'The connection was lost.'))
    }
    this.asked.clear()
  }
}
