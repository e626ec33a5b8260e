// The socket's state for the screens, and who listens to which frame (wire.ts connects them).
import { defineStore } from 'pinia'
import { computed, ref } from 'vue'
import type { LiveIn, LiveOut } from '../../shared/api'
import { LiveSocket, type LiveState } from '../../shared/live'

type Listener = (frame: LiveOut) => void

export const useLive = defineStore('live', () => {
  const state = ref<LiveState>('off')
  const downSince = ref(0) // Date.now() when the connection went, 0 while it is there
  const build = ref(typeof __BUILD_ID__ === 'undefined' ? '' : __BUILD_ID__)
  const newBuild = ref(false)
  const signedOut = ref(0) // counts how often the server closed with "signed out"
  const listeners = new Map<LiveOut['type'], Listener[]>()
  let socket: LiveSocket | undefined

  const online = computed(() => state.value === 'open')

  function on(type: LiveOut['type'], listener: Listener): void {
    listeners.set(type, [...(listeners.get(type) ?? []), listener])
  }

  function onFrame(frame: LiveOut): void {
    if (frame.type === 'hello' && frame.build) {
      build.value ||= frame.build // a page of the development server has none of its own
      newBuild.value ||= build.value !== frame.build
    }
    for (const listener of listeners.get(frame.type) ?? []) listener(frame)
  }

  function onState(next: LiveState): void {
    state.value = next
    if (next === 'open' || next === 'off') downSince.value = 0
    else downSince.value ||= Date.now()
  }

  function start(): void {
    socket ??= new LiveSocket({
      url: `${location.origin.replace(/^http/, 'ws')}/api/live`,
      onFrame,
      onState,
      onSignedOut: () => signedOut.value++,
    })
    socket.start()
  }

  const stop = (): void => socket?.stop()
  const check = (): void => socket?.check()
  const send = (frame: LiveIn): boolean => socket?.send(frame) ?? false
  const ask = (frame: LiveIn): Promise<LiveOut> =>
    socket ? socket.ask(frame) : Promise.reject(new Error('the live socket was not started'))

  return { state, online, downSince, build, newBuild, signedOut, on, start, stop, check, send, ask }
})
