// The open conversation: its detail, its messages in order, what is being written. Seq counts without a gap, so a gap
// means lost news and is read again by REST.
import { defineStore } from 'pinia'
import { computed, ref, shallowRef, watch } from 'vue'
import { api, said, type Address, type CloseWith, type Detail, type LiveOut, type Message, type Row, type TransferTo } from '../../shared/api'
import { useLists } from './lists'
import { useLive } from './live'
import { useOutbox } from './outbox'
import { useSession } from './session'

const page = 200
const typingShown = 5_000
const typingEvery = 3_000

// merged puts messages into one list by seq, each once.
export function merged(had: Message[], more: Message[]): Message[] {
  const bySeq = new Map(had.map((m) => [m.seq, m]))
  for (const m of more) bySeq.set(m.seq, m)
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq)
}

export const useConversation = defineStore('conversation', () => {
  const live = useLive()
  const lists = useLists()
  const outbox = useOutbox()
  const session = useSession()

  const id = ref(0)
  const detail = ref<Detail>()
  const messages = shallowRef<Message[]>([])
  const draft = ref('')
  const typing = ref(false)
  const hearing = shallowRef<Message[]>([]) // what is being said in the call, one for each who speaks
  const error = ref('') // why it could not be read
  const actError = ref('') // why the last act failed
  const acting = ref('')
  const readingOlder = ref(false)
  const revealed = ref<{ id: number; seq: number }>() // the message that somebody wants to see
  let typingTimer: ReturnType<typeof setTimeout> | undefined
  let typingSent = 0
  let catching: Promise<void> | undefined

  const row = computed<Row | undefined>(() => lists.rows.get(id.value) ?? detail.value?.conversation)
  const mine = computed(() => row.value?.agent_id === session.id && row.value.state === 'agent')
  const wrapUp = computed(() => row.value?.agent_id === session.id && row.value.state === 'wrapup')
  const lastSeq = computed(() => messages.value.at(-1)?.seq ?? 0)
  const hasOlder = computed(() => (messages.value[0]?.seq ?? 1) > 1)

  // a call's rows change with its state, which the list row tells
  watch(
    () => `${row.value?.call_id} ${row.value?.call_state}`,
    () => {
      if (detail.value && row.value !== detail.value.conversation) void refresh()
    },
  )

  async function open(next: number): Promise<void> {
    if (next === id.value) return
    leave()
    id.value = next
    if (next) await read()
  }

  function leave(): void {
    if (id.value) live.send({ type: 'unwatch', conversation_id: id.value })
    id.value = 0
    detail.value = undefined
    messages.value = []
    stopTyping()
    hearing.value = []
    draft.value = error.value = actError.value = ''
  }

  async function read(): Promise<void> {
    const wanted = id.value
    try {
      const [got, newest] = await Promise.all([api.conversation(wanted), api.messages(wanted, { limit: page })])
      if (wanted !== id.value) return
      take(got)
      add(newest)
      error.value = ''
      follow()
    } catch (err) {
      if (wanted === id.value) error.value = said(err)
    }
  }

  function take(got: Detail): void {
    detail.value = got
    lists.put(got.conversation)
  }

  function add(more: Message[]): void {
    if (more.length === 0) return
    messages.value = merged(messages.value, more)
    for (const m of more) if (m.client_id) outbox.stored(m.client_id)
  }

  const follow = (): void => {
    if (id.value) live.send({ type: 'watch', conversation_id: id.value, after: lastSeq.value })
  }

  // again: the connection is back, or the server asked for it.
  async function again(): Promise<void> {
    if (!id.value) return
    if (!detail.value) return read()
    follow()
    await refresh()
  }

  async function refresh(): Promise<void> {
    const wanted = id.value
    try {
      const got = await api.conversation(wanted)
      if (wanted === id.value) take(got)
    } catch {
      // the old data stay; the list says how old it is
    }
  }

  function catchUp(): Promise<void> {
    catching ??= (async () => {
      const wanted = id.value
      try {
        const missed = await api.messages(wanted, { after: lastSeq.value, limit: 500 })
        if (wanted === id.value) add(missed)
      } catch {
        // the next frame or hello tries again
      } finally {
        catching = undefined
      }
    })()
    return catching
  }

  function receive(frame: LiveOut): void {
    const m = frame.message
    if (!m || m.conversation_id !== id.value) return
    if (m.author !== 'agent') draft.value = m.author === 'ai' ? '' : draft.value
    if (m.author === 'contact') stopTyping()
    if (m.kind === 'transcript' || m.data.code === 'call_ended') hush(m)
    if (m.seq > lastSeq.value + 1) void catchUp()
    else add([m])
    // a call or an address may have come, or the hand-over card has read more
    if (m.kind === 'event' || row.value?.state === 'waiting' || row.value?.state === 'offered') void refresh()
  }

  function receiveState(frame: LiveOut): void {
    if (frame.conversation_id === id.value && (frame.seq ?? 0) > lastSeq.value) void catchUp()
  }

  function receiveDraft(frame: LiveOut): void {
    if (frame.conversation_id === id.value) draft.value = frame.draft && !frame.draft.done ? frame.draft.text : ''
  }

  function receiveTyping(frame: LiveOut): void {
    if (frame.conversation_id !== id.value) return
    stopTyping()
    typing.value = true
    typingTimer = setTimeout(stopTyping, typingShown)
  }

  function receiveTranscript(frame: LiveOut): void {
    const m = frame.message
    if (!m || m.conversation_id !== id.value) return
    hush(m)
    if (m.body) hearing.value = [...hearing.value, m]
  }

  // hush takes away what somebody was saying: it is stored now, or withdrawn; the call's end ends all of it.
  function hush(m: Message): void {
    hearing.value = m.kind === 'transcript' ? hearing.value.filter((h) => h.author !== m.author || h.agent_id !== m.agent_id) : []
  }

  function receiveCard(frame: LiveOut): void {
    if (frame.conversation_id === id.value) void refresh()
  }

  function stopTyping(): void {
    clearTimeout(typingTimer)
    typing.value = false
  }

  function tellTyping(): void {
    if (Date.now() - typingSent < typingEvery) return
    typingSent = Date.now()
    live.send({ type: 'typing', conversation_id: id.value })
  }

  async function older(): Promise<void> {
    const first = messages.value[0]?.seq
    if (!first || readingOlder.value) return
    const wanted = id.value
    readingOlder.value = true
    try {
      const more = await api.messages(wanted, { before: first, limit: page })
      if (wanted === id.value) add(more)
    } catch (err) {
      actError.value = said(err)
    } finally {
      readingOlder.value = false
    }
  }

  // reveal has the timeline show one message, also of a conversation that is only being opened.
  function reveal(seq: number, of = id.value): void {
    revealed.value = { id: of, seq }
  }

  // act runs one of the agent's acts; the sentence of a refusal stays in actError. true = done.
  async function act(name: string, work: () => Promise<Detail | undefined>): Promise<boolean> {
    const wanted = id.value
    acting.value = name
    actError.value = ''
    try {
      const got = await work()
      if (got) take(got)
      else if (wanted === id.value) await refresh()
      return true
    } catch (err) {
      if (wanted === id.value) actError.value = said(err)
      return false
    } finally {
      acting.value = ''
    }
  }

  const takeOver = (): Promise<boolean> => act('take', () => api.take(id.value))
  const transfer = (to: TransferTo): Promise<boolean> => act('transfer', () => api.transfer(id.value, to) as Promise<undefined>)
  const end = (): Promise<boolean> => act('end', () => api.end(id.value) as Promise<undefined>)
  const close = (how: CloseWith): Promise<boolean> => act('close', () => api.close(id.value, how) as Promise<undefined>)

  const deleteRecording = (recording: number): Promise<boolean> => act('recording', () => api.deleteRecording(recording) as Promise<undefined>)

  // addAddress throws: its form shows the sentence under the field.
  async function addAddress(address: Address): Promise<void> {
    if (!detail.value) return
    const addresses = await api.addAddress(detail.value.contact.id, address)
    detail.value = { ...detail.value, addresses }
  }

  const setPeopleOnly = async (contact: number, on: boolean): Promise<boolean> => act('people-only', () => api.setPeopleOnly(contact, on) as Promise<undefined>)

  return {
    id, detail, messages, draft, typing, hearing, error, actError, acting, readingOlder, row, mine, wrapUp, lastSeq, hasOlder, revealed,
    open, leave, again, add, take, receive, receiveState, receiveDraft, receiveCard, receiveTranscript, receiveTyping, tellTyping, older, reveal,
    takeOver, transfer, end, close, deleteRecording, addAddress, setPeopleOnly,
  }
})
