// The visitor's conversation as the page knows it: rows from the server by their sequence number, what was not
// acknowledged yet, and where the conversation stands. The view reads its signals and calls its verbs.

import { batch, computed, signal } from '@preact/signals'
import { Keep, newID, type Unsent } from './keep'
import { Link, type LinkOptions, type LinkState } from './link'
import type { FromServer, Message, Place, State, ToServer } from './wire'

export interface Standing { state: State | null; agent: string; place: Place | null }

const ackWithin = 15_000
const retryAfter = 2_000
const typingFor = 4_000
const typingEvery = 2_000

/** Who takes its own frames from the same socket: the call, the call back. */
export interface Beside { take: (f: FromServer) => boolean; down?: () => void }

/** A message that is being left: what is typed, and what the server said of it. */
export interface LeaveForm { email: string; body: string; sent: boolean; error: string; field: string }

export class Chat {
  readonly link = signal<LinkState>('idle')
  readonly downSince = signal(0) // ms; 0 while the server hears us
  readonly messages = signal<Message[]>([])
  readonly outbox = signal<Unsent[]>([])
  readonly draft = signal<string | null>(null)
  readonly standing = signal<Standing>({ state: null, agent: '', place: null })
  readonly agentTypes = signal(false)
  readonly company = signal('')
  readonly takesMessages = signal(false)
  readonly leaveForm = signal<LeaveForm | null>(null)
  readonly seen = signal(0)

  /** The wish for a person was made here and the server has not taken it yet. */
  readonly wishing = computed(() => this.outbox.value.some((u) => u.kind === 'person'))
  readonly inLine = computed(() => ['waiting', 'offered'].includes(this.standing.value.state ?? ''))
  readonly withPerson = computed(() => this.standing.value.state === 'agent')
  readonly ended = computed(() => ['wrapup', 'closed'].includes(this.standing.value.state ?? ''))
  readonly unread = computed(() => this.messages.value.filter((m) => m.author !== 'contact' && m.kind === 'text' && m.seq > this.seen.value).length)

  private readonly line: Link
  private readonly besides: Beside[] = []
  private last = 0 // highest sequence number: the next hello asks for what comes after
  private flying = '' // client_id that is sent and not acknowledged; one at a time keeps the order
  private flyingTimer: ReturnType<typeof setTimeout> | undefined
  private typingTimer: ReturnType<typeof setTimeout> | undefined
  private typedAt = 0

  constructor(url: string, private readonly keep: Keep, link: Partial<LinkOptions> = {}) {
    this.company.value = keep.company
    this.seen.value = keep.seen
    this.outbox.value = keep.unsent()
    this.line = new Link({
      url,
      hello: () => ({ type: 'hello', token: this.keep.token, after: this.last }),
      onFrame: (f) => batch(() => this.take(f)),
      onState: (s) => this.changed(s),
      pingEvery: () => (this.standing.value.state && !this.ended.value && !document.hidden ? 5_000 : 25_000),
      ...link,
    })
  }

  /** There is something to come back to. */
  get known(): boolean { return this.keep.token !== '' || this.outbox.value.length > 0 }

  /** beside hears every frame first and says whether it was its own. */
  with(beside: Beside): void { this.besides.push(beside) }

  /** live tells whether a message is news, and not one of those that a page reads again. */
  live(seq: number): boolean { return seq > this.seen.value }
  send(frame: ToServer): boolean { return this.line.send(frame) }

  open(): void { this.line.open() }
  nudge(): void { this.line.nudge() }
  close(): void {
    this.line.close()
    clearTimeout(this.flyingTimer)
    clearTimeout(this.typingTimer)
  }

  say(body: string): void {
    body = body.trim()
    if (body) this.post({ id: newID(), kind: 'say', body, at: Date.now() })
  }

  /** A person, please. Without a connection the wish is kept and goes out first of all. */
  person(): void {
    if (!this.wishing.value) this.post({ id: newID(), kind: 'person', body: '', at: Date.now() })
  }

  askLeave(): void { this.leaveForm.value = { email: '', body: '', sent: false, error: '', field: '' } }
  dropLeave(): void { this.leaveForm.value = null }
  typeLeave(typed: Partial<Pick<LeaveForm, 'email' | 'body'>>): void {
    const form = this.leaveForm.value
    if (form) this.leaveForm.value = { ...form, ...typed, error: '', field: '' }
  }

  /** What is typed is left: kept and sent again until the server has it. */
  leave(): void {
    const form = this.leaveForm.value
    if (!form || form.sent) return
    this.leaveForm.value = { ...form, sent: true, error: '', field: '' }
    this.post({ id: newID(), kind: 'leave', email: form.email.trim(), body: form.body.trim(), at: Date.now() })
  }

  noPerson(): void { this.line.send({ type: 'no_person' }) }

  /** discard takes back a message that was refused. */
  discard(id: string): void { this.settled(id) }

  /** The visitor writes; a person who is there or on the way sees it. */
  typing(): void {
    if (Date.now() - this.typedAt < typingEvery || !this.line.up || !this.standing.value.state) return
    this.typedAt = Date.now()
    this.line.send({ type: 'typing' })
  }

  /** Everything that is here now was on screen. */
  read(): void {
    if (this.last <= this.seen.value) return
    this.seen.value = this.last
    this.keep.seen = this.last
  }

  /** Another tab has written a token; without a conversation of our own it is ours, too. */
  tokenChanged(key: string | null): void {
    if (this.keep.isToken(key) && this.keep.token && !this.standing.value.state) this.line.again()
  }

  private post(one: Unsent): void {
    this.keep.put(one)
    this.outbox.value = [...this.outbox.value, one]
    this.line.open()
    this.flush()
  }

  private changed(state: LinkState): void {
    this.link.value = state
    if (state !== 'down') this.downSince.value = 0
    else if (!this.downSince.value) this.downSince.value = Date.now()
    if (state === 'up') {
      this.flush()
      return
    }
    for (const b of this.besides) b.down?.()
    this.flying = ''
    clearTimeout(this.flyingTimer)
    this.draft.value = null // an answer that goes on is told again
    this.agentTypes.value = false
  }

  private flush(): void {
    if (this.flying || !this.line.up) return
    const ready = this.outbox.value.filter((u) => !u.refused)
    const one = ready.find((u) => u.kind === 'person') ?? ready[0]
    if (!one) return
    const sent = one.kind === 'person'
      ? this.line.send({ type: 'person', client_id: one.id })
      : one.kind === 'leave'
        ? this.line.send({ type: 'leave', client_id: one.id, email: one.email ?? '', body: one.body })
        : this.line.send({ type: 'say', client_id: one.id, body: one.body })
    if (!sent) return
    this.flying = one.id
    clearTimeout(this.flyingTimer)
    this.flyingTimer = setTimeout(() => this.line.again(), ackWithin)
  }

  private take(f: FromServer): void {
    for (const b of this.besides) if (b.take(f)) return
    switch (f.type) {
      case 'welcome': return this.welcomed(f)
      case 'message':
        this.put(f.message)
        if (f.message.author === 'contact' && f.message.client_id) this.settled(f.message.client_id)
        if (f.message.author !== 'contact') this.agentTypes.value = false
        return
      case 'ack':
        if (f.message) this.put(f.message, false)
        return this.settled(f.client_id)
      case 'draft':
        this.draft.value = f.done ? null : f.text
        return
      case 'state':
        this.standing.value = { state: f.state, agent: f.agent_name ?? '', place: f.position ? { position: f.position, ahead: f.ahead ?? 0, since: f.since, due_at: f.due_at, low: f.low, high: f.high, answer_to: f.answer_to, may_call: f.may_call, call_back: f.call_back, call_at: f.call_at } : null }
        if (f.state === 'agent') this.draft.value = null
        return
      case 'typing':
        this.agentTypes.value = true
        clearTimeout(this.typingTimer)
        this.typingTimer = setTimeout(() => { this.agentTypes.value = false }, typingFor)
        return
      case 'resync': return this.forget()
      case 'error': return this.refused(f)
    }
  }

  private welcomed(f: FromServer & { type: 'welcome' }): void {
    if (f.token) {
      if (this.keep.token) { // another tab was faster: one visitor has one token
        this.line.again()
        return
      }
      this.keep.token = f.token
    }
    this.takesMessages.value = f.messages ?? false
    if (f.company) {
      this.company.value = f.company
      this.keep.company = f.company
    }
    if (f.state) this.standing.value = { state: f.state, agent: f.agent_name ?? '', place: f.waiting ?? null }
  }

  private forget(): void {
    this.last = 0
    this.messages.value = []
    this.draft.value = null
  }

  /** put keeps the list in the order of seq; a row that is there already is not there twice. */
  private put(m: Message, moves = true): void {
    const list = this.messages.value
    // An acknowledgement may be ahead of rows that are still to come, so it does not move the cursor.
    if (moves && m.seq > this.last) this.last = m.seq
    if (list.some((x) => x.seq === m.seq)) return
    const next = [...list, m]
    if (list.length && list[list.length - 1]!.seq > m.seq) next.sort((a, b) => a.seq - b.seq)
    this.messages.value = next
    if (m.author === 'ai') this.draft.value = null
  }

  /** The server has it, or never will. */
  private settled(id: string): void {
    if (this.outbox.value.some((u) => u.id === id && u.kind === 'leave')) this.leaveForm.value = null
    if (this.outbox.value.some((u) => u.id === id)) {
      this.outbox.value = this.outbox.value.filter((u) => u.id !== id)
      this.keep.drop(id)
    }
    if (this.flying === id) {
      this.flying = ''
      clearTimeout(this.flyingTimer)
    }
    this.flush()
  }

  private refused(f: FromServer & { type: 'error' }): void {
    if (f.code === 'unauthorized' && f.field === 'token') { // the conversation is no more: begin a new one
      this.keep.token = ''
      this.keep.seen = 0
      this.seen.value = 0
      this.forget()
      this.standing.value = { state: null, agent: '', place: null }
      this.line.again()
      return
    }
    if (!f.client_id || f.client_id !== this.flying) return
    clearTimeout(this.flyingTimer)
    if (f.code === 'too_many' || f.code === 'unavailable' || f.code === 'unauthorized') { // nothing was stored: the same again, later
      this.flyingTimer = setTimeout(() => { this.flying = ''; this.flush() }, retryAfter)
      return
    }
    this.flying = ''
    const left = this.outbox.value.find((u) => u.id === f.client_id && u.kind === 'leave')
    if (left) { // nothing was stored: the form has the words, and says what is wrong with them
      this.settled(left.id)
      this.leaveForm.value = { email: left.email ?? '', body: left.body, sent: false, error: f.message, field: f.field ?? '' }
      return
    }
    this.outbox.value = this.outbox.value.map((u) => (u.id === f.client_id ? { ...u, refused: f.message } : u))
    const kept = this.outbox.value.find((u) => u.id === f.client_id)
    if (kept) this.keep.put(kept)
    this.flush()
  }
}
