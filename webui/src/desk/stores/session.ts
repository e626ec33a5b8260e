// Who is signed in, and the presence.
import { defineStore } from 'pinia'
import { computed, ref } from 'vue'
import { api, ApiError, said, type Me, type Presence } from '../../shared/api'
import { forgetAll } from '../keep'

export const useSession = defineStore('session', () => {
  const me = ref<Me>()
  const checked = ref(false) // we know whether somebody is signed in
  const presenceBusy = ref(false)
  const presenceError = ref('')

  const id = computed(() => me.value?.id ?? 0)
  const missed = computed(() => me.value?.presence === 'away' && me.value.presence_reason === 'missed')

  function apply(next: Me): void {
    me.value = next
    checked.value = true
  }

  async function load(): Promise<void> {
    try {
      apply(await api.me())
    } catch (err) {
      if (!(err instanceof ApiError) || err.code !== 'unauthorized') throw err
      me.value = undefined
      checked.value = true
    }
  }

  const signIn = async (login: string, password: string): Promise<void> => apply(await api.signIn(login, password))
  const signInByLink = async (token: string): Promise<void> => apply(await api.signInByLink(token))

  async function signOut(): Promise<void> {
    await api.signOut()
    forgetAll()
    me.value = undefined
  }

  // lost: the server no longer knows this session.
  function lost(): void {
    me.value = undefined
    checked.value = true
  }

  async function setPassword(password: string, current?: string): Promise<void> {
    await api.setPassword(password, current)
    if (me.value) me.value = { ...me.value, has_password: true }
  }

  // setPresence: next waits for the work in hand.
  async function setPresence(presence: Presence, reason?: string, next = false): Promise<void> {
    presenceBusy.value = true
    presenceError.value = ''
    try {
      apply(await (next ? api.setNext(presence, reason) : api.setPresence(presence, reason)))
    } catch (err) {
      presenceError.value = said(err)
    } finally {
      presenceBusy.value = false
    }
  }

  return { me, id, checked, missed, presenceBusy, presenceError, apply, load, lost, signIn, signInByLink, signOut, setPassword, setPresence }
})
