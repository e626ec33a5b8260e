// The one conversation offered to this agent, its countdown, and how it ended.
import { defineStore } from 'pinia'
import { computed, ref } from 'vue'
import { api, ApiError, said, type Detail, type LiveOut, type Offer } from '../../shared/api'
import { useClock } from './clock'
import { useLists } from './lists'
import { useSession } from './session'

const goneAfter = 3_000

export const useOffer = defineStore('offer', () => {
  const clock = useClock()
  const lists = useLists()
  const session = useSession()

  const offer = ref<Offer>()
  const ended = ref('') // the sentence shown for three seconds
  const busy = ref<'' | 'accept' | 'decline'>('')
  const error = ref('')
  let timer: ReturnType<typeof setTimeout> | undefined

  const left = computed(() => (offer.value ? Math.max(0, Math.ceil((Date.parse(offer.value.expires_at) - clock.now) / 1000)) : 0))
  const ringing = computed(() => offer.value !== undefined && ended.value === '')

  function show(next: Offer | undefined): void {
    if (next?.id === offer.value?.id) return
    if (!next) {
      if (ringing.value) gone()
      return
    }
    clearTimeout(timer)
    clock.atLeast(next.offered_at)
    offer.value = next
    ended.value = error.value = busy.value = ''
  }

  function gone(): void {
    clearTimeout(timer)
    offer.value = undefined
    ended.value = error.value = busy.value = ''
  }

  function say(sentence: string): void {
    ended.value = sentence
    clearTimeout(timer)
    timer = setTimeout(gone, goneAfter)
  }

  function receiveEnd(frame: LiveOut): void {
    const now = offer.value
    if (!now || frame.offer_id !== now.id || ended.value) return
    if (frame.outcome === 'missed') say('Missed')
    else if (frame.outcome === 'withdrawn') say(takenBy(now.conversation_id))
    else gone() // by this agent: accepted or declined, here or in another tab
  }

  function takenBy(conversation: number): string {
    const row = lists.rows.get(conversation)
    if (row?.agent_name && row.agent_id !== session.id) return `Taken by ${row.agent_name}.`
    return row?.state === 'closed' ? 'The customer has left.' : 'No longer offered.'
  }

  async function accept(): Promise<Detail | undefined> {
    const now = offer.value
    if (!now || busy.value || ended.value) return undefined
    busy.value = 'accept'
    error.value = ''
    try {
      const detail = await api.accept(now.id)
      if (offer.value?.id === now.id) gone()
      return detail
    } catch (err) {
      refused(now, err)
      return undefined
    }
  }

  async function decline(): Promise<void> {
    const now = offer.value
    if (!now || busy.value || ended.value) return
    busy.value = 'decline'
    error.value = ''
    try {
      await api.decline(now.id)
      if (offer.value?.id === now.id) gone()
    } catch (err) {
      refused(now, err)
    }
  }

  function refused(now: Offer, err: unknown): void {
    busy.value = ''
    if (offer.value?.id !== now.id) return
    if (err instanceof ApiError && (err.code === 'conflict' || err.code === 'not_found')) say(takenBy(now.conversation_id))
    else error.value = said(err)
  }

  return { offer, ended, busy, error, left, ringing, show, receiveEnd, accept, decline }
})
