// What the agent has sent and the server has not yet confirmed. Kept in the browser until the stored message comes back
// by its client_id, so a lost connection or a reload neither loses nor doubles it. One conversation's messages keep
// their order: the next one waits for the one before.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { api, ApiError, said, type Message } from '../../shared/api'
import { keep, kept } from '../keep'
import { useSession } from './session'

export interface Unsent {
  client_id: string
  conversation_id: number
  body: string
  note: boolean
  at: string
  tries: number
  refused: string // the server's last word; empty while we keep trying
}

const pauses = [500, 1_000, 2_000, 4_000, 8_000, 15_000]

export const useOutbox = defineStore('outbox', () => {
  const session = useSession()
  const items = ref<Unsent[]>([])
  const sending = new Set<number>() // conversations with a message on its way
  const timers = new Map<number, ReturnType<typeof setTimeout>>()
  let onStored: (m: Message) => void = () => {}

  const key = (): string => `outbox.${session.id}`
  const save = (): void => keep(key(), items.value.length ? JSON.stringify(items.value) : '')

  function load(): void {
    try {
      items.value = JSON.parse(kept(key()) || '[]') as Unsent[]
    } catch {
      items.value = []
    }
    hurry()
  }

  function send(conversation: number, body: string, note: boolean): void {
    items.value.push({
      client_id: crypto.randomUUID?.() ?? randomId(), conversation_id: conversation, body, note,
      at: new Date().toISOString(), tries: 0, refused: '',
    })
    save()
    void drain(conversation)
  }

  async function drain(conversation: number): Promise<void> {
    if (sending.has(conversation)) return
    const next = items.value.find((i) => i.conversation_id === conversation && !i.refused)
    if (!next) return
    sending.add(conversation)
    clearTimeout(timers.get(conversation))
    let pause = 0
    try {
      const m = await api.post(conversation, { client_id: next.client_id, body: next.body, note: next.note })
      stored(next.client_id)
      onStored(m)
    } catch (err) {
      next.tries++
      if (err instanceof ApiError && !err.passing && err.code !== 'unauthorized') next.refused = said(err)
      else pause = pauses[Math.min(next.tries, pauses.length) - 1] ?? 15_000
      save()
    } finally {
      sending.delete(conversation)
    }
    timers.set(conversation, setTimeout(() => void drain(conversation), pause))
  }

  // stored: the message is in the timeline, from whichever way the news came.
  function stored(clientId: string): void {
    const left = items.value.filter((i) => i.client_id !== clientId)
    if (left.length === items.value.length) return
    items.value = left
    save()
  }

  // hurry: the connection is back, do not wait for the pause.
  function hurry(): void {
    for (const id of new Set(items.value.map((i) => i.conversation_id))) void drain(id)
  }

  // withdraw gives a refused message's words back.
  function withdraw(clientId: string): string {
    const body = items.value.find((i) => i.client_id === clientId)?.body ?? ''
    stored(clientId)
    return body
  }

  const of = (conversation: number): Unsent[] => items.value.filter((i) => i.conversation_id === conversation)
  const whenStored = (fn: (m: Message) => void): void => {
    onStored = fn
  }

  return { items, load, send, stored, hurry, withdraw, of, whenStored }
})

// On a page without HTTPS (a test in the office network) randomUUID does not exist.
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
}
