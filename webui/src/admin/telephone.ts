// The telephone's settings as the server has them. A telephone frame makes it read again; what somebody is just typing
// stands in the forms, not here.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { api, said, type Device, type Prompt, type PhoneNumber, type QueueSound, type Registration, type Trunk, type TrunkState } from '../shared/api'

export const useTelephone = defineStore('telephone', () => {
  const trunks = ref<Trunk[]>([])
  const states = ref<TrunkState[]>([])
  const defaults = ref<Trunk>()
  const numbers = ref<PhoneNumber[]>([])
  const devices = ref<Device[]>([])
  const registrations = ref<Registration[]>([])
  const prompts = ref<Prompt[]>([])
  const queues = ref<QueueSound[]>([])
  const loaded = ref(false)
  const error = ref('')
  let asked = 0
  let soon: ReturnType<typeof setTimeout> | undefined

  async function load(): Promise<void> {
    const mine = ++asked
    try {
      const [t, n, d, p, q] = await Promise.all([api.trunks(), api.numbers(), api.devices(), api.prompts(), api.queueSounds()])
      if (mine !== asked) return // a later answer is on its way
      trunks.value = t.trunks
      states.value = t.states
      defaults.value = t.defaults
      numbers.value = n
      devices.value = d.devices
      registrations.value = d.registrations
      prompts.value = p
      queues.value = q
      loaded.value = true
      error.value = ''
    } catch (err) {
      if (mine === asked) error.value = said(err)
    }
  }

  // A burst of changes costs one question; whoever never looked needs no answer.
  function news(): void {
    if (!loaded.value) return
    soon ??= setTimeout(() => {
      soon = undefined
      void load()
    }, 200)
  }

  // done does an act and shows what came of it, also to the one who did it.
  async function done<T>(act: Promise<T>): Promise<T> {
    const result = await act
    await load()
    return result
  }

  const usedBy = (id: number): string[] =>
    queues.value.filter((q) => q.music_id === id || q.greeting_id === id).map((q) => q.queue_name)

  return { trunks, states, defaults, numbers, devices, registrations, prompts, queues, loaded, error, load, news, done, usedBy }
})
