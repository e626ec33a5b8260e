// How a tab calls for its agent: the ring on the chosen ringer, the title and icon of the tab, and a notification while the
// tab is in the background. One alarm at a time; the tab that owns the phone sounds.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import ringing from '../desk/mark-ring.svg'
import { useDevices } from './devices'
import { useMyPhone } from './myphone'
import { usePhone } from './phone'
import { startRing } from './ring'

export type Permission = 'default' | 'granted' | 'denied' | 'none'

export const useAlarm = defineStore('alarm', () => {
  const devices = useDevices()
  const myPhone = useMyPhone()
  const phone = usePhone()
  const title = ref('') // what rings, for the tab's title
  const permission = ref<Permission>('Notification' in globalThis ? Notification.permission : 'none')
  let quiet: () => void = () => {}

  // ring until the returned function is called; what is "Call for you", who a name.
  function ring(what: string, who: string, about: string, call: boolean): () => void {
    quiet()
    const here = phone.owns
    const hush = here && !(call && myPhone.device) ? startRing(devices.using('ringer')) : () => {}
    const notice = here && document.hidden ? notify(`${what}: ${who}`, about) : undefined
    const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]')
    const calm = icon?.href ?? ''
    if (icon) icon.href = ringing
    title.value = `${what}: ${who}`
    const stop = (): void => {
      if (quiet !== stop) return
      quiet = () => {}
      hush()
      notice?.close()
      if (icon) icon.href = calm
      title.value = ''
    }
    quiet = stop
    return stop
  }

  function notify(words: string, about: string): Notification | undefined {
    if (permission.value !== 'granted') return undefined
    const notice = new Notification(words, { body: about, tag: 'patchbay-ring', requireInteraction: true })
    notice.onclick = () => {
      window.focus()
      notice.close()
    }
    return notice
  }

  // askPermission is for a button: browsers hold a question that nobody asked for against the page.
  async function askPermission(): Promise<void> {
    if ('Notification' in globalThis) permission.value = await Notification.requestPermission()
  }

  return { title, permission, ring, askPermission }
})
