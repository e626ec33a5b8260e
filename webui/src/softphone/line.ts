// One browser leg of one call: microphone, RTCPeerConnection, the remote sound, its figures. The only place that touches
// WebRTC. The server is ICE-lite with one address, so the offer goes out at once, without waiting for candidates.

export interface Quality {
  lost: number // per cent of the last two seconds
  jitter: number // milliseconds
}

export interface LineEvents {
  connected: () => void
  broken: () => void // the path is gone: build a new line
  quality: (q: Quality) => void
  track: (stream: MediaStream) => void
}

const statsEvery = 2_000
const disconnectedFor = 1_500 // ICE often heals by itself; longer means a new line

// wantedAudio: tests compare sound and need it untouched; "raw" switches the browser's processing off.
export function wantedAudio(device: string, raw: boolean): MediaTrackConstraints {
  return {
    echoCancellation: !raw, noiseSuppression: !raw, autoGainControl: !raw, channelCount: 1,
    ...(device ? { deviceId: { ideal: device } } : {}),
  }
}

export class Line {
  private readonly pc: RTCPeerConnection
  private readonly stats: ReturnType<typeof setInterval>
  private wait?: ReturnType<typeof setTimeout>
  private before = { lost: 0, received: 0 }
  private closed = false

  constructor(
    private microphone: MediaStream,
    private readonly events: LineEvents,
  ) {
    this.pc = new RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle' })
    for (const track of microphone.getAudioTracks()) this.pc.addTrack(track, microphone)
    this.pc.ontrack = (event) => events.track(event.streams[0] ?? new MediaStream([event.track]))
    this.pc.onconnectionstatechange = () => this.changed()
    this.stats = setInterval(() => void this.measure(), statsEvery)
  }

  async offer(): Promise<string> {
    await this.pc.setLocalDescription(await this.pc.createOffer())
    return this.pc.localDescription?.sdp ?? ''
  }

  async answer(sdp: string): Promise<void> {
    await this.pc.setRemoteDescription({ type: 'answer', sdp })
  }

  // silent stops our sound here, before the server has even heard of it.
  silent(on: boolean): void {
    for (const track of this.microphone.getAudioTracks()) track.enabled = !on
  }

  async useMicrophone(next: MediaStream): Promise<void> {
    const track = next.getAudioTracks()[0]
    const sender = this.pc.getSenders().find((s) => s.track?.kind === 'audio')
    if (!track || !sender) return
    track.enabled = sender.track?.enabled ?? true
    await sender.replaceTrack(track)
    for (const old of this.microphone.getTracks()) old.stop()
    this.microphone = next
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    clearInterval(this.stats)
    clearTimeout(this.wait)
    this.pc.onconnectionstatechange = null
    this.pc.ontrack = null
    this.pc.close()
    for (const track of this.microphone.getTracks()) track.stop()
  }

  private changed(): void {
    clearTimeout(this.wait)
    switch (this.pc.connectionState) {
      case 'connected':
        this.events.connected()
        break
      case 'disconnected':
        this.wait = setTimeout(() => this.events.broken(), disconnectedFor)
        break
      case 'failed':
        this.events.broken()
        break
    }
  }

  private async measure(): Promise<void> {
    if (this.pc.connectionState !== 'connected') return
    const report = await this.pc.getStats()
    for (const entry of report.values() as Iterable<RTCInboundRtpStreamStats>) {
      if (entry.type !== 'inbound-rtp' || entry.kind !== 'audio') continue
      const now = { lost: entry.packetsLost ?? 0, received: entry.packetsReceived ?? 0 }
      const lost = Math.max(0, now.lost - this.before.lost)
      const all = lost + Math.max(0, now.received - this.before.received)
      this.before = now
      this.events.quality({ lost: all > 0 ? (lost / all) * 100 : 0, jitter: (entry.jitter ?? 0) * 1000 })
    }
  }
}
