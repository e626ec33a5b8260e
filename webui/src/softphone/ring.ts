// The ring: two soft tones, made here, so that no file must load while somebody waits. Browsers let a page sound only
// after a gesture; unlock() is called by the first click or key.
let audio: AudioContext | undefined

export function unlock(): void {
  try {
    audio ??= new AudioContext()
    void audio.resume()
  } catch {
    audio = undefined // no sound device: the card and the notification still show
  }
}

const pattern = [0, 0.28] // two strokes
const every = 2.4

function stroke(ctx: AudioContext, out: AudioNode, at: number): void {
  for (const [frequency, loudness] of [[587.3, 0.5], [880, 0.3]] as const) {
    const tone = ctx.createOscillator()
    const gain = ctx.createGain()
    tone.frequency.value = frequency
    gain.gain.setValueAtTime(0, at)
    gain.gain.linearRampToValueAtTime(loudness * 0.25, at + 0.015)
    gain.gain.exponentialRampToValueAtTime(0.0005, at + 0.7)
    tone.connect(gain).connect(out)
    tone.start(at)
    tone.stop(at + 0.75)
  }
}

// useRinger sends a context's sound to a device; '' is the system's own.
export async function useRinger(ctx: AudioContext, device: string): Promise<void> {
  const to = (ctx as AudioContext & { setSinkId?: (id: string) => Promise<void> }).setSinkId?.bind(ctx)
  if (to) await to(device).catch(() => to(''))
}

// startRing rings on the device until the returned function is called.
export function startRing(device: string): () => void {
  const ctx = audio
  if (!ctx || ctx.state !== 'running') return () => {}
  const out = ctx.createGain()
  out.connect(ctx.destination)
  const once = (): void => {
    for (const offset of pattern) stroke(ctx, out, ctx.currentTime + 0.02 + offset)
  }
  let timer: ReturnType<typeof setInterval> | undefined
  let stopped = false
  void useRinger(ctx, device).then(() => {
    if (stopped) return
    once()
    timer = setInterval(once, every * 1000)
  })
  return () => {
    stopped = true
    clearInterval(timer)
    out.gain.setTargetAtTime(0, ctx.currentTime, 0.02)
    setTimeout(() => out.disconnect(), 200)
  }
}
