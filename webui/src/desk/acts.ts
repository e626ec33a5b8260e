// The agent's acts that more than one place can start: a click, a key, the palette.
import { nextTick } from 'vue'
import type { Router } from 'vue-router'
import { api, type Detail } from '../shared/api'
import { usePhone } from '../softphone/phone'
import { unlock } from '../softphone/ring'
import { useConversation } from './stores/conversation'
import { useLists } from './stores/lists'
import { useOffer } from './stores/offer'
import { useScreen } from './stores/screen'

export interface Acts {
  open: (id: number) => void
  accept: () => Promise<void>
  decline: () => void
  take: (id: number) => Promise<void>
  step: (by: 1 | -1) => void
  write: (mode: 'reply' | 'note') => void
  finish: () => void
  transfer: () => void
  answer: () => void
  show: (id: number, seq: number) => void
}

export function useActs(router: Router): Acts {
  const lists = useLists()
  const conversation = useConversation()
  const offer = useOffer()
  const phone = usePhone()
  const screen = useScreen()

  const open = (id: number): void => void router.push({ name: 'desk', params: { id: id || '' }, query: router.currentRoute.value.query })

  async function accept(): Promise<void> {
    unlock()
    const detail = await offer.accept()
    if (detail) await begin(detail)
  }

  // take is for a conversation that does not ring: its errors are the caller's to show.
  async function take(id: number): Promise<void> {
    unlock()
    await begin(await api.take(id))
  }

  // begin: the conversation is mine from now on, before my eyes.
  async function begin(detail: Detail): Promise<void> {
    lists.put(detail.conversation)
    void lists.show('mine')
    open(detail.conversation.id)
    if (conversation.id === detail.conversation.id) conversation.take(detail)
    const { call_id: call, id, created_at: started } = detail.conversation
    // The call frame usually comes first; whichever is first begins the line.
    if (call && phone.call?.call_id !== call) phone.receiveCall({ call_id: call, conversation_id: id, state: 'connecting', started_at: started })
    await nextTick()
    // The card with the focused button is gone; without a new place the focus would fall to the page's start.
    if (document.activeElement === document.body) document.getElementById('conversation-title')?.focus()
  }

  // help says yes to a colleague, with their conversation before my eyes.
  function help(): void {
    unlock()
    if (phone.call) open(phone.call.conversation_id)
    phone.accept()
  }

  // show opens a conversation at one of its messages.
  function show(id: number, seq: number): void {
    if (conversation.id !== id) open(id)
    conversation.reveal(seq, id)
  }

  function step(by: 1 | -1): void {
    const order = lists.order
    if (order.length === 0) return
    const at = order.findIndex((r) => r.id === conversation.id)
    const next = at < 0 ? (by > 0 ? 0 : order.length - 1) : Math.min(order.length - 1, Math.max(0, at + by))
    open(order[next]?.id ?? 0)
  }

  function write(mode: 'reply' | 'note'): void {
    document.getElementById(mode === 'note' ? 'tab-note' : 'tab-reply')?.click()
    void nextTick(() => document.getElementById('reply')?.focus())
  }

  // Alt E: end what is mine, or go to the form that ends wrap-up.
  function finish(): void {
    if (conversation.mine) void conversation.end()
    else document.querySelector<HTMLElement>('#wrapup input')?.focus()
  }

  return {
    open, accept, take, step, write, finish, show,
    // what rings: a colleague, else the offer
    answer: () => void (phone.asked ? help() : offer.ringing && accept()),
    decline: () => void (phone.asked ? phone.decline() : offer.ringing && offer.decline()),
    transfer: () => {
      if (phone.talking && phone.role === 'agent' && (!conversation.mine || conversation.id === phone.call?.conversation_id)) screen.dialog = phone.third && phone.third.state !== 'failed' && phone.third.state !== 'gone' ? '' : 'pass'
      else if (conversation.mine) screen.dialog = 'transfer'
    },
  }
}
