// One browser leg of one call: microphone, RTCPeerConnection, the remote sound, its figures. The only place that touches
// WebRTC. The server is ICE-lite with one address, so the offer goes out at once, without waiting for candidates.

export interface Quality {
  lost: number // per cent of the last two seconds, the worse direction
  jitter: number // milliseconds
  delay: number // round trip in milliseconds, 0 = unknown
}

export interface LineEvents {
  connected: () => void
  lost: () => void // no sound for now: restart it, or build a new line
  deaf: () => void // the microphone is gone
  quality: (q: Quality) => void
  track: (stream: MediaStream) => void
}

const statsEvery = 2_000

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
  private before = { lost: 0, received: 0 }
  private closed = false
  private overRelay = false

  constructor(
    private microphone: MediaStream,
    iceServers: RTCIceServer[],
    private readonly events: LineEvents,
  ) {
    this.pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: 'all', bundlePolicy: 'max-bundle' })
    for (const track of microphone.getAudioTracks()) this.pc.addTrack(track, microphone)
    this.pc.ontrack = (event) => events.track(event.streams[0] ?? new MediaStream([event.track]))
    this.pc.onconnectionstatechange = () => this.changed()
    this.watchMicrophone()
    this.stats = setInterval(() => void this.measure(), statsEvery)
  }

  // carries: sound can pass in this moment, as far as ICE knows.
  get carries(): boolean {
    return this.pc.connectionState === 'connected' && !this.hungUp
  }

  // The other end has closed DTLS: ICE would notice only seconds later.
  private get hungUp(): boolean {
    const state = this.pc.getSenders()[0]?.transport?.state
    return state === 'closed' || state === 'failed'
  }

  // relayed: the sound goes over TURN, which ends when its credentials do.
  get relayed(): boolean {
    return this.overRelay
  }

  async offer(): Promise<string> {
    await this.pc.setLocalDescription(await this.pc.createOffer())
    return this.pc.localDescription?.sdp ?? ''
  }

  // restart is an offer of the same connection over new paths (RFC 8445 section 9): keys and streams stay.
  async restart(): Promise<string> {
    await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }))
    return this.pc.localDescription?.sdp ?? ''
  }

  async answer(sdp: string): Promise<void> {
    await this.pc.setRemoteDescription({ type: 'answer', sdp })
    const transport = this.pc.getSenders()[0]?.transport
    if (transport) transport.onstatechange = () => this.hungUp && !this.closed && this.events.lost()
  }

  // unanswered takes back an offer that nobody has answered, so that the next one is allowed.
  async unanswered(): Promise<void> {
    if (this.pc.signalingState === 'have-local-offer') await this.pc.setLocalDescription({ type: 'rollback' })
  }

  useServers(iceServers: RTCIceServer[]): void {
    this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers })
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
    this.watchMicrophone()
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    clearInterval(this.stats)
    this.pc.onconnectionstatechange = null
    this.pc.ontrack = null
    this.pc.close()
    for (const track of this.microphone.getTracks()) track.stop()
  }

  // A track ends by itself when its device is unplugged; stop() above does not fire this.
  private watchMicrophone(): void {
    for (const track of this.microphone.getAudioTracks()) track.onended = () => this.events.deaf()
  }

  private changed(): void {
    switch (this.pc.connectionState) {
      case 'connected':
        this.events.connected()
        break
      case 'disconnected':
      case 'failed':
        this.events.lost()
        break
    }
  }

  private async measure(): Promise<void> {
    if (this.pc.connectionState !== 'connected') return
    const report = await this.pc.getStats()
    const q: Quality = { lost: 0, jitter: 0, delay: 0 }
    for (const entry of report.values() as Iterable<RTCStats>) {
      if (entry.type === 'inbound-rtp') this.heard(entry as RTCInboundRtpStreamStats, q)
      else if (entry.type === 'remote-inbound-rtp') q.lost = Math.max(q.lost, ((entry as { fractionLost?: number }).fractionLost ?? 0) * 100)
      else if (entry.type === 'candidate-pair') this.path(entry as RTCIceCandidatePairStats, report, q)
    }
    this.events.quality(q)
  }

  private heard(entry: RTCInboundRtpStreamStats, q: Quality): void {
    if (entry.kind !== 'audio') return
    const now = { lost: entry.packetsLost ?? 0, received: entry.packetsReceived ?? 0 }
    const lost = Math.max(0, now.lost - this.before.lost)
    const all = lost + Math.max(0, now.received - this.before.received)
    this.before = now
    q.lost = Math.max(q.lost, all > 0 ? (lost / all) * 100 : 0)
    q.jitter = (entry.jitter ?? 0) * 1000
  }

  private path(pair: RTCIceCandidatePairStats, report: RTCStatsReport, q: Quality): void {
    if (!pair.nominated || pair.state !== 'succeeded') return
    q.delay = (pair.currentRoundTripTime ?? 0) * 1000
    const local = report.get(pair.localCandidateId) as { candidateType?: string } | undefined
    this.overRelay = local?.candidateType === 'relay'
  }
}
