// Keeps one line up for one call. A network that changes costs an ICE restart of the same line; when that brings no sound
// within three seconds, a new line is built and connected to the same call. What is lost by a reload, a refused
// microphone or an absent server ends in the same act: build, and try again.
import type { LiveIn, LiveOut } from '../shared/api'
import type { Line, LineEvents, Quality } from './line'

// Wanted says which call, and the frame that connects a line to it (connect, supervise).
export interface Wanted {
  id: number
  frame: LiveIn
}

// Ways are how the keeper reaches the world.
export interface Ways {
  microphone: () => Promise<MediaStream>
  servers: () => Promise<RTCIceServer[]> // never fails: none is an answer
  ask: (frame: LiveIn) => Promise<LiveOut>
  line: (microphone: MediaStream, servers: RTCIceServer[], events: LineEvents) => Line
}

// Heard is who listens to what becomes of the line.
export interface Heard {
  up: (on: boolean) => void
  remote: (stream: MediaStream | undefined) => void
  quality: (q: Quality | undefined) => void
  deaf: () => void // the microphone was unplugged
  failed: (err: unknown) => void // undefined: it works again. A listener that gives up calls drop.
}

export const again = 1_000
export const restartWithin = 3_000

export class Keeper {
  private line?: Line
  private wanted?: Wanted
  private turn = 0 // counts what was begun: an older attempt that comes back late finds another number and gives up
  private building = false
  private restarting = false
  private owed = false // a restart that could not be asked for
  private reached = false // the server came back while one was under way, which may have gone down with the old socket
  private quiet = false
  private retry?: ReturnType<typeof setTimeout>
  private fallback?: ReturnType<typeof setTimeout>

  constructor(
    private readonly ways: Ways,
    private readonly heard: Heard,
  ) {}

  keep(wanted: Wanted): void {
    if (this.wanted && this.wanted.id !== wanted.id) this.drop()
    this.wanted = wanted
    void this.build()
  }

  drop(): void {
    this.wanted = undefined
    this.close()
  }

  silent(on: boolean): void {
    this.quiet = on
    this.line?.silent(on)
  }

  async useMicrophone(open: () => Promise<MediaStream>): Promise<void> {
    const line = this.line
    if (!line) return
    const microphone = await open()
    if (line === this.line) await line.useMicrophone(microphone)
    else stop(microphone)
  }

  // useServers: new credentials. A line over TURN needs them now, its own end soon.
  useServers(servers: RTCIceServer[]): void {
    this.line?.useServers(servers)
    if (this.line?.relayed) this.heal()
  }

  // heal looks for a new path for a line that may have lost its own.
  heal(): void {
    const { line, wanted } = this
    if (!line || !wanted || this.building || this.restarting) return
    this.restarting = true
    this.owed = this.reached = false
    this.fallback = setTimeout(() => this.judge(line), restartWithin)
    void this.restart(line, wanted)
  }

  // reachable: the server can be asked again. A network that changed took the socket with it, most likely.
  reachable(): void {
    this.reached = true
    if (this.owed) this.heal()
  }

  private async restart(line: Line, wanted: Wanted): Promise<void> {
    try {
      const answer = await this.ways.ask({ type: 'restart', call_id: wanted.id, sdp: await line.restart() })
      if (line === this.line) await line.answer(answer.sdp ?? '')
    } catch {
      if (line !== this.line) return
      await line.unanswered().catch(() => {})
      if (line !== this.line) return
      clearTimeout(this.fallback)
      this.restarting = false
      this.owed = line.carries
      if (!line.carries) this.rebuild()
      else if (this.reached) this.heal()
    }
  }

  private judge(line: Line): void {
    if (line !== this.line) return
    this.restarting = false
    if (!line.carries) this.rebuild()
  }

  private rebuild(): void {
    this.close()
    void this.build()
  }

  private async build(): Promise<void> {
    const { wanted } = this
    if (!wanted || this.line || this.building) return
    const turn = ++this.turn
    this.building = true
    clearTimeout(this.retry)
    try {
      await this.connect(wanted, turn)
      if (turn === this.turn) this.heard.failed(undefined)
    } catch (err) {
      if (turn !== this.turn) return
      this.close()
      this.heard.failed(err)
      if (this.wanted) this.retry = setTimeout(() => void this.build(), again)
    } finally {
      if (turn === this.turn) this.building = false
    }
  }

  private async connect(wanted: Wanted, turn: number): Promise<void> {
    const servers = await this.ways.servers()
    const microphone = await this.ways.microphone()
    if (turn !== this.turn) return stop(microphone)
    const line: Line = this.ways.line(microphone, servers, {
      connected: () => line === this.line && this.connected(),
      lost: () => line === this.line && this.lost(),
      deaf: () => line === this.line && this.heard.deaf(),
      quality: (q) => line === this.line && this.heard.quality(q),
      track: (stream) => line === this.line && this.heard.remote(stream),
    })
    this.line = line
    line.silent(this.quiet)
    const answer = await this.ways.ask({ ...wanted.frame, sdp: await line.offer() })
    if (turn === this.turn) await line.answer(answer.sdp ?? '')
  }

  private connected(): void {
    clearTimeout(this.fallback)
    this.restarting = false
    this.heard.up(true)
  }

  private lost(): void {
    this.heard.up(false)
    this.heal()
  }

  private close(): void {
    this.turn++
    this.building = this.restarting = this.owed = false
    clearTimeout(this.retry)
    clearTimeout(this.fallback)
    this.line?.close()
    this.line = undefined
    this.heard.up(false)
    this.heard.remote(undefined)
    this.heard.quality(undefined)
  }
}

function stop(microphone: MediaStream): void {
  for (const track of microphone.getTracks()) track.stop()
}
