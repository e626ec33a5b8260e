import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Call } from './call'
import type { ToServer } from './wire'

/** Connection stands for the browser's: it says what it was asked to do. */
class Connection {
  static made: Connection[] = []
  connectionState: RTCPeerConnectionState = 'new'
  signalingState: RTCSignalingState = 'stable'
  localDescription: { sdp: string } | null = null
  onconnectionstatechange: (() => void) | null = null
  ontrack: unknown = null
  restarts = 0
  constructor(public configuration: RTCConfiguration) { Connection.made.push(this) }
  getConfiguration(): RTCConfiguration { return this.configuration }
  setConfiguration(c: RTCConfiguration): void { this.configuration = c }
  addTrack(): void {}
  async createOffer(how: RTCOfferOptions): Promise<{ sdp: string }> {
    if (how.iceRestart) this.restarts++
    return { sdp: `offer ${this.restarts}` }
  }
  async setLocalDescription(d: { sdp: string }): Promise<void> { this.localDescription = d; this.signalingState = 'have-local-offer' }
  async setRemoteDescription(): Promise<void> { this.signalingState = 'stable' }
  close(): void {}
  becomes(state: RTCPeerConnectionState): void { this.connectionState = state; this.onconnectionstatechange?.() }
}

const relay = (credential: string): RTCIceServer[] => [{ urls: ['turn:relay'], username: 'visitor', credential }]
let sent: ToServer[]
let heard: boolean // the socket is there
let call: Call
const last = (type: ToServer['type']) => sent.findLast((f) => f.type === type) as Record<string, string> | undefined
const settle = () => vi.advanceTimersByTimeAsync(0)

/** talking is a call whose sound flows, over a relay with the credentials of its beginning. */
async function talking(): Promise<Connection> {
  await call.start()
  call.take({ type: 'phone', ice_servers: relay('old') })
  await settle()
  call.take({ type: 'call_answer', client_id: last('call')!.client_id!, call_id: 1, sdp: 'answer' } as never)
  await settle()
  const pc = Connection.made[0]!
  pc.becomes('connected')
  expect(call.phase.value).toBe('on')
  sent = []
  return pc
}

beforeEach(() => {
  vi.useFakeTimers()
  Connection.made = []
  sent = []
  heard = true
  vi.stubGlobal('RTCPeerConnection', Connection)
  vi.stubGlobal('navigator', { mediaDevices: { getUserMedia: async () => ({ getAudioTracks: () => [], getTracks: () => [] }) } })
  call = new Call({ send: (f) => { if (heard) sent.push(f); return heard }, keep: { get: () => false, set: () => {} }, raw: false })
})
afterEach(() => { vi.useRealTimers(); vi.unstubAllGlobals() })

describe('a network that changes', () => {
  it('costs an ICE restart of the same connection, with fresh credentials for the relay', async () => {
    const pc = await talking()
    dispatchEvent(new Event('online'))
    expect(sent).toEqual([{ type: 'phone' }])
    call.take({ type: 'phone', ice_servers: relay('new') })
    await settle()
    expect(pc.configuration.iceServers).toEqual(relay('new'))
    expect(pc.restarts).toBe(1)
    expect(last('call_restart')).toMatchObject({ sdp: 'offer 1' })
    expect(Connection.made).toHaveLength(1)
    call.take({ type: 'call_answer', client_id: last('call_restart')!.client_id!, call_id: 1, sdp: 'answer' } as never)
    await settle()
    pc.becomes('connected')
    expect(call.phase.value).toBe('on')
  })

  it('takes the call back with a new connection when the restart brings nothing', async () => {
    const pc = await talking()
    pc.becomes('disconnected')
    await vi.advanceTimersByTimeAsync(1_500)
    expect(sent).toEqual([{ type: 'phone' }])
    await vi.advanceTimersByTimeAsync(4_000) // no answer
    call.take({ type: 'phone', ice_servers: relay('new') })
    await settle()
    expect(Connection.made).toHaveLength(2)
    expect(Connection.made[1]!.configuration.iceServers).toEqual(relay('new'))
    expect(last('call')).toMatchObject({ again: true })
  })

  it('waits for the socket, and asks on the new one', async () => {
    const pc = await talking()
    heard = false
    dispatchEvent(new Event('online'))
    heard = true
    call.take({ type: 'welcome', company: 'Nordlicht', calls: true, call: { id: 1, state: 'bridged' } } as never)
    expect(sent).toEqual([{ type: 'phone' }])
    call.take({ type: 'phone', ice_servers: relay('new') })
    await settle()
    expect(pc.restarts).toBe(1)
  })
})
