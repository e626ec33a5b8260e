// What the server says about my phone: where calls ring, from which numbers I may call, and the relays of closed networks,
// whose credentials last ten minutes and are asked for anew in time.
import { defineStore } from 'pinia'
import { computed, ref } from 'vue'
import { api, said, type PhoneSettings } from '../shared/api'

const freshFor = 5 * 60_000
const patience = 2_000 // a call does not wait longer for relays that it may not need

export const useMyPhone = defineStore('myphone', () => {
  const settings = ref<PhoneSettings>()
  const error = ref('')
  const busy = ref(false)
  let readAt = 0
  let reading: Promise<void> | undefined
  let again: ReturnType<typeof setTimeout> | undefined
  let tell: (servers: RTCIceServer[]) => void = () => {}

  const canDial = computed(() => settings.value?.can_dial ?? false)
  const callerNumbers = computed(() => settings.value?.caller_numbers ?? [])
  const device = computed(() => settings.value?.phone === 'device' && settings.value.device_ready)

  function load(): Promise<void> {
    reading ??= read().finally(() => (reading = undefined))
    return reading
  }

  async function read(): Promise<void> {
    clearTimeout(again)
    try {
      take(await api.phone())
      error.value = ''
    } catch (err) {
      error.value = said(err)
    }
    again = setTimeout(() => void load(), freshFor)
  }

  function take(next: PhoneSettings): void {
    settings.value = next
    readAt = Date.now()
    tell(next.ice_servers)
  }

  // servers are never older than they are good for, and never worth a long wait: direct paths need none.
  async function servers(): Promise<RTCIceServer[]> {
    if (Date.now() - readAt > freshFor) await Promise.race([load(), new Promise((done) => setTimeout(done, patience))])
    return settings.value?.ice_servers ?? []
  }

  async function ringOn(phone: PhoneSettings['phone']): Promise<void> {
    busy.value = true
    try {
      take(await api.setPhone(phone))
      error.value = ''
    } catch (err) {
      error.value = said(err)
    } finally {
      busy.value = false
    }
  }

  function forget(): void {
    clearTimeout(again)
    settings.value = undefined
    readAt = 0
  }

  return { settings, error, busy, canDial, callerNumbers, device, load, servers, ringOn, forget, whenServersChange: (listener: (servers: RTCIceServer[]) => void) => void (tell = listener) }
})
