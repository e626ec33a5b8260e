// The visitor's call: microphone, one RTCPeerConnection, and what the server says about it. The frames travel over the
// chat's socket; the sound does not. The server is ICE-lite with one address, so an offer goes out at once.

import { batch, computed, signal } from '@preact/signals'
import { newID } from './keep'
import type { FromServer, ToServer, WebCall } from './wire'
import { words } from './words'

/** asking: the microphone; calling: no sound yet; on: it flows; lost: the path is being repaired. */
export type Phase = 'idle' | 'asking' | 'calling' | 'on' | 'lost'

export interface CallOptions {
  send: (frame: ToServer) => boolean
  /** This tab has the call, also after it was loaded anew. */
  keep: { get: () => boolean; set: (on: boolean) => void }
  raw: boolean // tests compare what goes in with what comes out
}

const answerWithin = 12_000
const lostFor = 1_500    // ICE often heals by itself
const backWithin = 20_000 // so long the other side waits for us

export class Call {
  readonly phase = signal<Phase>('idle')
  readonly row = signal<WebCall | null>(null) // how the server sees it
  readonly offered = signal(false)            // we can be called from this page
  readonly muted = signal(false)
  readonly error = signal('')
  readonly endedAt = signal(0)
  readonly active = computed(() => this.phase.value !== 'idle')
  /** The visitor's call is in another tab. */
  readonly elsewhere = computed(() => !this.active.value && !!this.row.value && this.row.value.state !== 'ended')

  private pc: RTCPeerConnection | null = null
  private microphone: MediaStream | null = null
  readonly sound = new Audio()
  private pending = '' // client_id of the offer that waits for its answer
  private again = false
  private repairing = false // the server is asked for fresh credentials, for a new path of the same connection
  private timer: ReturnType<typeof setTimeout> | undefined
  private lostAt = 0

  constructor(private readonly o: CallOptions) {
    this.sound.autoplay = true
    addEventListener('online', () => { if (this.pc) this.restart() })
    const network = (navigator as { connection?: EventTarget }).connection
    network?.addEventListener?.('change', () => { if (this.phase.value === 'on') this.restart() })
  }

  /** The visitor presses the button. */
  async start(again = false): Promise<void> {
    if (this.active.value) return
    this.again = again
    this.error.value = ''
    this.endedAt.value = 0
    this.phase.value = again ? 'lost' : 'asking'
    try {
      if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError')
      this.microphone ??= await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: !this.o.raw, noiseSuppression: !this.o.raw, autoGainControl: !this.o.raw, channelCount: 1 } })
    } catch (err) {
      return this.over(whyNoMicrophone(err))
    }
    if (!this.active.value) return this.over('') // hung up meanwhile
    if (!again) this.phase.value = 'calling'
    this.wait(words.noAnswer)
    if (!this.o.send({ type: 'phone' })) this.over(words.notConnected)
  }

  hangUp(): void {
    this.o.send({ type: 'call_end' }) // unheard: the server misses us in 20 s
    this.over('')
  }

  mute(on: boolean): void {
    this.muted.value = on
    this.microphone?.getAudioTracks().forEach((t) => { t.enabled = !on })
  }

  key(digit: string): void { this.o.send({ type: 'call_key', digit }) }

  /** A frame about the call; false when it is about something else. */
  take(f: FromServer): boolean {
    switch (f.type) {
      case 'welcome':
        this.repairing = false // asked on another socket
        this.offered.value = !!f.calls
        this.row.value = f.call ?? null
        if (this.row.value && this.row.value.state !== 'ended') {
          if (!this.active.value && this.o.keep.get()) void this.start(true)
          else if (this.pc && this.phase.value === 'lost') this.restart()
        } else if (this.pc && !this.pending) this.over(words.callEnded)
        else this.o.keep.set(false)
        return false
      case 'phone':
        void (this.repairing ? this.repair(f.ice_servers) : this.connect(f.ice_servers))
        return true
      case 'call_answer':
        if (f.client_id === this.pending) void this.answered(f.sdp)
        return true
      case 'call':
        this.row.value = f.call
        if (f.call.state === 'ended' && this.active.value && !this.pending) this.over(words.callEnded)
        return true
      case 'error':
        if (!f.client_id || f.client_id !== this.pending) {
          if (f.client_id || this.phase.value !== 'calling' || f.code !== 'unavailable') return false
        }
        this.over(f.message)
        return true
    }
    return false
  }

  /** repair looks for a new path of the same connection. The relay takes credentials for ten minutes: those of the call's beginning may be too old. */
  private async repair(servers: RTCIceServer[]): Promise<void> {
    this.repairing = false
    const pc = this.pc
    if (!pc || pc.signalingState !== 'stable') return
    pc.setConfiguration({ ...pc.getConfiguration(), iceServers: servers })
    await this.offer(true)
  }

  private async connect(servers: RTCIceServer[]): Promise<void> {
    if (!this.microphone || !this.active.value) return
    this.drop()
    const pc = this.pc = new RTCPeerConnection({ iceServers: servers, bundlePolicy: 'max-bundle' })
    for (const track of this.microphone.getAudioTracks()) {
      track.enabled = !this.muted.value
      track.onended = () => { if (this.pc === pc) this.error.value = words.microphoneGone }
      pc.addTrack(track, this.microphone)
    }
    pc.ontrack = (e) => {
      this.sound.srcObject = e.streams[0] ?? new MediaStream([e.track])
      this.sound.play().catch(() => { this.error.value = words.pressToHear })
    }
    pc.onconnectionstatechange = () => { if (this.pc === pc) this.changed(pc.connectionState) }
    await this.offer(false)
  }

  private async offer(restart: boolean): Promise<void> {
    const pc = this.pc
    if (!pc) return
    try {
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: restart }))
    } catch { return }
    if (this.pc !== pc) return
    this.pending = newID()
    const sdp = pc.localDescription?.sdp ?? ''
    const frame: ToServer = restart
      ? { type: 'call_restart', client_id: this.pending, sdp }
      : { type: 'call', client_id: this.pending, sdp, ...(this.again ? { again: true } : {}) }
    if (!this.o.send(frame)) this.pending = ''
  }

  private async answered(sdp: string): Promise<void> {
    this.pending = ''
    this.o.keep.set(true)
    this.again = true // from here on every new connection takes this call back
    try { await this.pc?.setRemoteDescription({ type: 'answer', sdp }) } catch { this.rebuild() }
  }

  private changed(state: RTCPeerConnectionState): void {
    if (state === 'connected') {
      clearTimeout(this.timer)
      batch(() => {
        this.phase.value = 'on'
        this.error.value = ''
        this.lostAt = 0
      })
    } else if (state === 'disconnected') {
      this.lost()
      this.timer = setTimeout(() => this.restart(), lostFor)
    } else if (state === 'failed') {
      this.lost()
      this.rebuild()
    }
  }

  private lost(): void {
    this.phase.value = 'lost'
    this.lostAt ||= Date.now()
    clearTimeout(this.timer)
  }

  /** The network has changed: another path for the same connection. Without a socket it waits for the next welcome. */
  private restart(): void {
    if (!this.pc || this.pending || this.repairing) return
    this.lost()
    this.timer = setTimeout(() => this.rebuild(), answerWithin / 3)
    if (this.pc.signalingState === 'stable') this.repairing = this.o.send({ type: 'phone' })
  }

  /** rebuild takes the call back with a new connection, for as long as the other side waits. */
  private rebuild(): void {
    if (!this.active.value) return
    if (this.lostAt && Date.now() - this.lostAt > backWithin) return this.over(words.callLost)
    this.pending = ''
    this.again = true
    this.repairing = false
    this.lost()
    this.o.send({ type: 'phone' })
    this.timer = setTimeout(() => this.rebuild(), answerWithin / 3)
  }

  private wait(why: string): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.o.send({ type: 'call_end' })
      this.over(why)
    }, answerWithin)
  }

  private drop(): void {
    const pc = this.pc
    this.pc = null
    if (!pc) return
    pc.onconnectionstatechange = pc.ontrack = null
    pc.close()
  }

  private over(why: string): void {
    clearTimeout(this.timer)
    this.drop()
    this.microphone?.getTracks().forEach((t) => { t.onended = null; t.stop() })
    this.microphone = null
    this.sound.srcObject = null
    this.pending = ''
    this.again = this.repairing = false
    this.lostAt = 0
    this.o.keep.set(false)
    batch(() => {
      this.muted.value = false
      this.phase.value = 'idle'
      this.error.value = why
      this.endedAt.value = Date.now()
    })
  }
}

function whyNoMicrophone(err: unknown): string {
  if (!navigator.mediaDevices) return words.needsHTTPS
  switch (err instanceof DOMException ? err.name : '') {
    case 'NotAllowedError': return words.microphoneDenied
    case 'NotFoundError': return words.noMicrophone
  }
  return words.microphoneBusy
}
