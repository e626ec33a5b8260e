// Microphone and speaker: which ones there are, which one is chosen, how loud the microphone is.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { keep, kept } from '../desk/keep'
import { wantedAudio } from './line'

export interface Device {
  id: string
  label: string
}

const meterEvery = 80

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

export const useDevices = defineStore('devices', () => {
  const microphones = ref<Device[]>([])
  const speakers = ref<Device[]>([])
  const microphone = ref(kept('device.microphone'))
  const speaker = ref(kept('device.speaker'))
  const level = ref(0)
  const error = ref('')
  const canChooseSpeaker = typeof HTMLMediaElement !== 'undefined' && 'setSinkId' in HTMLMediaElement.prototype
  let stopMeter: () => void = () => {}

  async function open(): Promise<MediaStream> {
    if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError')
    return navigator.mediaDevices.getUserMedia({ audio: wantedAudio(microphone.value, rawAudio()) })
  }

  async function list(): Promise<void> {
    if (!navigator.mediaDevices) return
    const found = await navigator.mediaDevices.enumerateDevices()
    const of = (kind: MediaDeviceKind, name: string): Device[] =>
      found
        .filter((d) => d.kind === kind && d.deviceId && d.deviceId !== 'default')
        .map((d, i) => ({ id: d.deviceId, label: d.label || `${name} ${i + 1}` }))
    microphones.value = of('audioinput', 'Microphone')
    speakers.value = of('audiooutput', 'Speaker')
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
        const power = samples.reduce((sum, v) => sum + v * v, 0) / samples.length
        // -60 dB is the left end, full scale the right one
        level.value = Math.min(1, Math.max(0, 1 + (10 * Math.log10(power + 1e-9)) / 60))
      }, meterEvery)
      stopMeter = () => {
        clearInterval(timer)
        for (const track of stream.getTracks()) track.stop()
        void ctx.close()
        level.value = 0
      }
      error.value = ''
      await list() // labels are known only now
    } catch (err) {
      error.value = whyNoMicrophone(err)
      await list()
    }
  }

  function stop(): void {
    stopMeter()
    stopMeter = () => {}
  }

  function choose(kind: 'microphone' | 'speaker', id: string): void {
    ;(kind === 'microphone' ? microphone : speaker).value = id
    keep(`device.${kind}`, id)
  }

  async function applySpeaker(element: HTMLAudioElement): Promise<void> {
    if (!canChooseSpeaker) return
    await element.setSinkId(speaker.value).catch(() => choose('speaker', '')) // it was unplugged: the default one
  }

  return { microphones, speakers, microphone, speaker, level, error, canChooseSpeaker, open, list, startMeter, stop, choose, applySpeaker }
})
