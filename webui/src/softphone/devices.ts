// Microphone, speaker and ringer: which ones there are, which one is chosen, how loud the microphone is. A chosen one that
// is unplugged stays chosen: the system's own stands in until it is back, and the agent is told so.
import { defineStore } from 'pinia'
import { computed, reactive, ref } from 'vue'
import { keep, kept } from '../desk/keep'
import { wantedAudio } from './line'

export type DeviceKind = 'microphone' | 'speaker' | 'ringer'

export interface Device {
  id: string
  label: string
}

const meterEvery = 80
const standIn: Record<DeviceKind, string> = {
  microphone: 'The system’s microphone is used.', speaker: 'The caller is heard on the system’s speaker.', ringer: 'Calls ring on the system’s speaker.',
}

// rawAudio: tests compare the sound that went in with the sound that came out.
export function rawAudio(): boolean {
  return new URLSearchParams(location.search).get('audio') === 'raw' || kept('audio') === 'raw'
}

export function whyNoMicrophone(err: unknown): string {
  const name = err instanceof DOMException ? err.name : ''
  if (name === 'NotAllowedError') return 'The browser does not let this page use the microphone. Allow it beside the address, then try again.'
  if (name === 'NotFoundError') return 'No microphone was found. Plug one in, then try again.'
  if (!navigator.mediaDevices) return 'The browser gives the microphone only to pages with https. Open the desk by its https address.'
  return 'The microphone cannot be opened. Another program may be using it.'
}

// loudness of samples as 0..1: -60 dB is the left end, full scale the right one.
export function loudness(samples: Float32Array): number {
  const power = samples.reduce((sum, v) => sum + v * v, 0) / samples.length
  return Math.min(1, Math.max(0, 1 + (10 * Math.log10(power + 1e-9)) / 60))
}

export const useDevices = defineStore('devices', () => {
  const microphones = ref<Device[]>([])
  const speakers = ref<Device[]>([])
  const chosen = reactive<Record<DeviceKind, string>>({ microphone: kept('device.microphone'), speaker: kept('device.speaker'), ringer: kept('device.ringer') })
  const labelled = ref(false) // the browser names devices only after the microphone was allowed once
  const level = ref(0)
  const error = ref('')
  const notice = ref('') // a device came or went
  const tested = ref(kept('device.tested')) // the microphone of the last test call that worked
  const canChooseSpeaker = typeof HTMLMediaElement !== 'undefined' && 'setSinkId' in HTMLMediaElement.prototype
  const canChooseRinger = typeof AudioContext !== 'undefined' && 'setSinkId' in AudioContext.prototype
  let stopMeter: () => void = () => {}

  const of = (kind: DeviceKind): Device[] => (kind === 'microphone' ? microphones.value : speakers.value)
  const gone = (kind: DeviceKind): boolean => chosen[kind] !== '' && labelled.value && !of(kind).some((d) => d.id === chosen[kind])
  const using = (kind: DeviceKind): string => (gone(kind) ? '' : chosen[kind])
  const nameOf = (kind: DeviceKind): string => of(kind).find((d) => d.id === chosen[kind])?.label ?? (kept(`device.${kind}.name`) || 'The chosen device')
  const microphoneTested = computed(() => tested.value === (chosen.microphone || 'default'))

  async function open(): Promise<MediaStream> {
    if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError')
    return navigator.mediaDevices.getUserMedia({ audio: wantedAudio(using('microphone'), rawAudio()) })
  }

  async function list(): Promise<void> {
    if (!navigator.mediaDevices) return
    const found = await navigator.mediaDevices.enumerateDevices()
    const named = (kind: MediaDeviceKind, name: string): Device[] =>
      found
        .filter((d) => d.kind === kind && d.deviceId && d.deviceId !== 'default')
        .map((d, i) => ({ id: d.deviceId, label: d.label || `${name} ${i + 1}` }))
    microphones.value = named('audioinput', 'Microphone')
    speakers.value = named('audiooutput', 'Speaker')
    labelled.value = found.some((d) => d.label !== '')
  }

  // watch keeps the lists true and says what an unplugged device means; changed is told which kinds now use another one.
  function watch(changed: (kinds: DeviceKind[]) => void): () => void {
    const news = (): void => void relist(changed)
    navigator.mediaDevices?.addEventListener('devicechange', news)
    void list()
    return () => navigator.mediaDevices?.removeEventListener('devicechange', news)
  }

  async function relist(changed: (kinds: DeviceKind[]) => void): Promise<void> {
    const kinds: DeviceKind[] = ['microphone', 'speaker', 'ringer']
    const before = kinds.map(using)
    await list()
    const moved = kinds.filter((kind, i) => using(kind) !== before[i])
    if (moved.length === 0) return
    notice.value = words(moved)
    changed(moved)
  }

  // One headset is often all three: it is named once.
  function words(moved: DeviceKind[]): string {
    const kind = moved[0] as DeviceKind
    const name = nameOf(kind)
    if (!gone(kind)) return `${name} is back and used again.`
    return `${name} was unplugged. ${moved.filter((k) => nameOf(k) === name).map((k) => standIn[k]).join(' ')}`
  }

  // startMeter opens the microphone and keeps level at its loudness until stop.
  async function startMeter(): Promise<void> {
    stop()
    try {
      const stream = await open()
      const ctx = new AudioContext()
      const analyser = ctx.createAnalyser()
      ctx.createMediaStreamSource(stream).connect(analyser)
      const samples = new Float32Array(analyser.fftSize)
      const timer = setInterval(() => {
        analyser.getFloatTimeDomainData(samples)
        level.value = loudness(samples)
      }, meterEvery)
      stopMeter = () => {
        clearInterval(timer)
        for (const track of stream.getTracks()) track.stop()
        void ctx.close()
        level.value = 0
      }
      error.value = ''
    } catch (err) {
      error.value = whyNoMicrophone(err)
    }
    await list() // names are known only now
  }

  function stop(): void {
    stopMeter()
    stopMeter = () => {}
  }

  function choose(kind: DeviceKind, id: string): void {
    chosen[kind] = id
    notice.value = ''
    keep(`device.${kind}`, id)
    keep(`device.${kind}.name`, of(kind).find((d) => d.id === id)?.label ?? '')
  }

  function passed(): void {
    tested.value = chosen.microphone || 'default'
    keep('device.tested', tested.value)
  }

  async function applySpeaker(element: HTMLAudioElement): Promise<void> {
    if (canChooseSpeaker) await element.setSinkId(using('speaker')).catch(() => element.setSinkId(''))
  }

  return {
    microphones, speakers, chosen, level, error, notice, microphoneTested, canChooseSpeaker, canChooseRinger,
    gone, using, nameOf, open, list, watch, startMeter, stop, choose, passed, applySpeaker,
  }
})
