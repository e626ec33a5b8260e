// What is open on the screen, and what is read out.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { keep, kept } from '../keep'

export type DialogName = '' | 'palette' | 'keys' | 'transfer' | 'pass' | 'dial' | 'devices' | 'keypad' | 'password'

export const useScreen = defineStore('screen', () => {
  const dialog = ref<DialogName>('')
  const rail = ref(false) // drawers of narrow screens
  const contact = ref(false)
  const polite = ref('')
  const urgent = ref('')
  const listWidth = ref(Number(kept('list.width')) || 308)
  const singleKeys = ref(kept('keys.single') !== 'off')

  function announce(text: string, now = false): void {
    const region = now ? urgent : polite
    region.value = ''
    setTimeout(() => (region.value = text), 50) // a change is read out, the same text again is not
  }

  function resizeList(width: number): void {
    listWidth.value = Math.min(420, Math.max(260, Math.round(width)))
    keep('list.width', String(listWidth.value))
  }

  function setSingleKeys(on: boolean): void {
    singleKeys.value = on
    keep('keys.single', on ? 'on' : 'off')
  }

  return { dialog, rail, contact, polite, urgent, listWidth, singleKeys, announce, resizeList, setSingleKeys }
})
