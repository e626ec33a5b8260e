// The connection: one WebSocket that is opened again for as long as it is wanted. It knows when the server can hear
// us, and nothing of what is said.

import type { FromServer, ToServer } from './wire'

/** down: it was lost or could not be made, and is tried again. */
export type LinkState = 'idle' | 'connecting' | 'up' | 'down'

export interface LinkOptions {
  url: string
  hello: () => ToServer
  onFrame: (frame: FromServer) => void
  onState: (state: LinkState) => void
  /** How long until the next ping; it also asks the server to look for what was lost. */
  pingEvery: () => number
  connect?: (url: string) => WebSocket
  random?: () => number
}

const welcomeWithin = 10_000
const pongWithin = 6_000
const firstDelay = 500
const longestDelay = 20_000

export class Link {
  private socket: WebSocket | null = null
  private wanted = false
  private welcomed = false
  private failures = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private state: LinkState = 'idle'

  constructor(private readonly o: LinkOptions) {}

  open(): void {
    if (this.wanted) return
    this.wanted = true
    this.connect()
  }

  close(): void {
    this.wanted = false
    this.abandon()
    this.tell('idle')
  }

  get up(): boolean { return this.welcomed }

  /** send returns false when nobody can hear it. */
  send(frame: ToServer): boolean {
    if (!this.socket || this.socket.readyState !== 1) return false
    this.socket.send(JSON.stringify(frame))
    return true
  }

  /** The network is back, the page is looked at again: ask at once whether the socket still lives. */
  nudge(): void {
    if (!this.wanted) return
    if (!this.socket) this.connect()
    else if (this.welcomed) this.ping()
  }

  /** again ends this socket and opens another one at once. */
  again(): void {
    if (!this.wanted) return
    this.abandon()
    this.connect()
  }

  private connect(): void {
    clearTimeout(this.timer)
    this.tell(this.failures ? 'down' : 'connecting')
    let socket: WebSocket
    try {
      socket = (this.o.connect ?? ((url) => new WebSocket(url)))(this.o.url)
    } catch { // the page's own rules forbid it (CSP)
      this.lost()
      return
    }
    this.socket = socket
    socket.onopen = () => { if (this.socket === socket) this.send(this.o.hello()) }
    socket.onclose = () => { if (this.socket === socket) this.lost() }
    socket.onmessage = (e) => { if (this.socket === socket) this.heard(String(e.data)) }
    this.timer = setTimeout(() => this.lost(), welcomeWithin)
  }

  private heard(data: string): void {
    let frame: FromServer
    try { frame = JSON.parse(data) as FromServer } catch { return }
    if (frame.type === 'welcome') {
      this.welcomed = true
      this.failures = 0
    }
    if (frame.type !== 'pong') this.o.onFrame(frame)
    if (this.welcomed) this.pingLater() // whatever comes proves that the line lives
    if (frame.type === 'welcome' && this.welcomed) this.tell('up') // unless the listener has asked for another socket
  }

  private pingLater(): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.ping(), this.o.pingEvery())
  }

  /** A line that is cut in one direction only looks open for minutes; an answer that does not come shows it. */
  private ping(): void {
    clearTimeout(this.timer)
    this.send({ type: 'ping' })
    this.timer = setTimeout(() => this.lost(), pongWithin)
  }

  private lost(): void {
    this.abandon()
    if (!this.wanted) return
    this.failures++
    this.tell('down')
    // Half of the delay is chance: after a server's restart not everybody comes back in the same second.
    const most = Math.min(longestDelay, firstDelay * 2 ** (this.failures - 1))
    this.timer = setTimeout(() => this.connect(), most * (0.5 + 0.5 * (this.o.random ?? Math.random)()))
  }

  private abandon(): void {
    clearTimeout(this.timer)
    this.welcomed = false
    const socket = this.socket
    this.socket = null
    if (!socket) return
    socket.onopen = socket.onclose = socket.onmessage = null
    try { socket.close() } catch { /* it was closed */ }
  }

  private tell(state: LinkState): void {
    if (state === this.state) return
    this.state = state
    this.o.onState(state)
  }
}
