// A test call: the server says back what it hears. What comes back is kept and played, so that the agent hears what a
// caller would; the verdict says in words what works and what does not.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { said } from '../shared/api'
import { useLive } from '../desk/stores/live'
import { loudness, useDevices, whyNoMicrophone } from './devices'
import { Line, type Quality } from './line'
import { useMyPhone } from './myphone'
import { useRinger } from './ring'

export type TestStep = 'idle' | 'connecting' | 'speak' | 'listen' | 'done'

export interface Verdict {
  good: boolean
  text: string
}

const connectWithin = 8_000
const speakFor = 5_000
const soft = 0.35 // about -39 dB: below it nobody spoke
const listenEvery = 100

// verdict: did = the loudest of what was said and of what came back, 0..1.
export function verdict(said: number, back: number, q: Quality | undefined): Verdict {
  if (said < soft) return { good: false, text: 'We hear nothing from this microphone. Choose another one, or look for its mute switch.' }
  if (back < soft) return { good: false, text: 'Your microphone works, but its sound does not come back from the server. Your network may drop voice packets.' }
  if (q && q.lost >= 5) return { good: false, text: 'Your microphone works, but the line is poor: callers will hear gaps.' }
  return { good: true, text: 'Your microphone works.' }
}

export const useTestCall = defineStore('testcall', () => {
  const live = useLive()
  const devices = useDevices()
  const myPhone = useMyPhone()

  const step = ref<TestStep>('idle')
  const left = ref(0) // seconds to speak
  const result = ref<Verdict>()
  const quality = ref<Quality>()
  let end: (() => void)[] = []
  let turn = 0

  function stop(): void {
    turn++
    for (const act of end.splice(0).reverse()) act()
    if (step.value !== 'done') step.value = 'idle'
  }

  function finish(v: Verdict): void {
    stop()
    result.value = v
    step.value = 'done'
    if (v.good) devices.passed()
  }

  async function start(): Promise<void> {
    stop()
    const mine = turn
    step.value = 'connecting'
    result.value = quality.value = undefined
    try {
      const remote = await connect(mine)
      if (mine !== turn || !remote) return
      const sound = await listen(remote, mine)
      if (mine === turn && sound) await play(sound, mine)
    } catch (err) {
      if (mine === turn) finish({ good: false, text: err instanceof DOMException ? whyNoMicrophone(err) : err instanceof Error && err.message ? said(err) : 'No sound comes through to the server.' })
    }
  }

  // connect resolves with what the server says back, once ICE is through.
  async function connect(mine: number): Promise<MediaStream | undefined> {
    const microphone = await devices.open()
    end.push(() => microphone.getTracks().forEach((t) => t.stop()))
    if (mine !== turn) return stop() as undefined
    let remote: MediaStream | undefined
    let through: () => void = () => {}
    const connected = new Promise<void>((resolve) => (through = resolve))
    const line = new Line(microphone, await myPhone.servers(), {
      connected: through, lost: () => {}, deaf: () => {},
      quality: (q) => (quality.value = q),
      track: (stream) => (remote = stream),
    })
    end.push(() => line.close())
    const { sdp } = await live.ask({ type: 'echo', sdp: await line.offer() })
    await line.answer(sdp ?? '')
    const late = setTimeout(() => finish({ good: false, text: 'The sound does not reach the server. Your network may block voice: ask your administrator.' }), connectWithin)
    end.push(() => clearTimeout(late))
    await connected
    clearTimeout(late)
    return remote
  }

  // listen keeps what comes back while the agent speaks, and judges it.
  async function listen(remote: MediaStream, mine: number): Promise<Blob | undefined> {
    step.value = 'speak'
    const mute = new Audio() // Chromium lets a remote stream run only while something plays it
    mute.muted = true
    mute.srcObject = remote
    void mute.play().catch(() => {})
    const ctx = new AudioContext()
    const analyser = ctx.createAnalyser()
    ctx.createMediaStreamSource(remote).connect(analyser)
    const recorder = new MediaRecorder(remote)
    end.push(() => ((mute.srcObject = null), void ctx.close(), recorder.state !== 'inactive' && recorder.stop()))
    const samples = new Float32Array(analyser.fftSize)
    const until = Date.now() + speakFor
    let [mouth, back] = [0, 0]
    recorder.start()
    await new Promise<void>((done) => {
      const timer = setInterval(() => {
        analyser.getFloatTimeDomainData(samples)
        mouth = Math.max(mouth, devices.level)
        back = Math.max(back, loudness(samples))
        left.value = Math.max(0, Math.ceil((until - Date.now()) / 1000))
        if (Date.now() >= until) done()
      }, listenEvery)
      end.push(() => (clearInterval(timer), done()))
    })
    if (mine !== turn) return undefined
    const sound = await new Promise<Blob>((done) => {
      recorder.ondataavailable = (event) => done(event.data)
      recorder.stop()
    })
    const v = verdict(mouth, back, quality.value)
    if (!v.good) finish(v)
    return v.good ? sound : undefined
  }

  // Not an audio element: the page's policy lets it play no blob.
  async function play(sound: Blob, mine: number): Promise<void> {
    step.value = 'listen'
    const ctx = new AudioContext()
    end.push(() => void ctx.close())
    await useRinger(ctx, devices.using('speaker'))
    const source = ctx.createBufferSource()
    source.buffer = await ctx.decodeAudioData(await sound.arrayBuffer())
    source.connect(ctx.destination)
    if (mine !== turn) return
    await new Promise<void>((done) => {
      source.onended = () => done()
      end.push(done)
      source.start()
    })
    if (mine === turn) finish({ good: true, text: 'Your microphone works.' })
  }

  return { step, left, result, quality, start, stop }
})
