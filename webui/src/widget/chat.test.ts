import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Chat } from './chat'
import { Keep } from './keep'
import { safeAddress } from './log'
import type { FromServer, Message, ToServer } from './wire'
import { ordinal, place, usually, shortPlace } from './words'

/** A scripted server: each connection is a Wire, whose other end the test holds. */
class Wire {
  readyState = 0
  onopen: (() => void) | null = null
  onclose: (() => void) | null = null
  onmessage: ((e: { data: string }) => void) | null = null
  readonly heard: ToServer[] = []

  send(data: string): void { this.heard.push(JSON.parse(data) as ToServer) }
  close(): void { this.readyState = 3 }

  accept(): ToServer { this.readyState = 1; this.onopen?.(); return this.heard[0]! }
  tell(...frames: FromServer[]): void { for (const f of frames) this.onmessage?.({ data: JSON.stringify(f) }) }
  raw(data: string): void { this.onmessage?.({ data }) }
  drop(): void { this.readyState = 3; this.onclose?.() }
  last<T extends ToServer['type']>(type: T): (ToServer & { type: T }) | undefined {
    return this.heard.findLast((f) => f.type === type) as (ToServer & { type: T }) | undefined
  }
  count(type: ToServer['type']): number { return this.heard.filter((f) => f.type === type).length }
}

const token = 'T'.repeat(43)
let wires: Wire[]
let store: Storage
const open: Chat[] = []

function visit(): Chat {
  const chat = new Chat('ws://server/chat/socket', new Keep(store, 'http://server'), {
    connect: () => { const w = new Wire(); wires.push(w); return w as unknown as WebSocket },
    random: () => 1,
  })
  open.push(chat)
  return chat
}
const wire = () => wires.at(-1)!
const welcome = (more: Partial<FromServer & { type: 'welcome' }> = {}): FromServer => ({ type: 'welcome', company: 'Nordlicht', ...more })
const message = (seq: number, author: Message['author'], body: string, more: Partial<Message> = {}): FromServer =>
  ({ type: 'message', message: { seq, author, kind: 'text', body, at: new Date().toISOString(), ...more } })
const bodies = (chat: Chat) => chat.messages.value.map((m) => m.body)

/** up is a visitor with a conversation and a living socket. */
function up(): Chat {
  const chat = visit()
  chat.open()
  wire().accept()
  wire().tell(welcome({ token, state: 'bot' }))
  return chat
}

beforeEach(() => {
  vi.useFakeTimers()
  wires = []
  localStorage.clear()
  store = localStorage
})
afterEach(() => {
  open.splice(0).forEach((c) => c.close())
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

describe('connection', () => {
  it('opens nothing before it is wanted', () => {
    const chat = visit()
    expect(chat.known).toBe(false)
    expect(wires).toHaveLength(0)
  })

  it('shows its token and its last number in the first frame', () => {
    const chat = up()
    expect(wire().heard[0]).toEqual({ type: 'hello', token: '', after: 0 })
    wire().tell(message(1, 'ai', 'one'), message(4, 'agent', 'four'))
    wire().drop()
    expect(chat.link.value).toBe('down')
    vi.advanceTimersByTime(500)
    expect(wires).toHaveLength(2)
    expect(wire().accept()).toEqual({ type: 'hello', token, after: 4 })
    wire().tell(welcome({ state: 'bot' }))
    expect(chat.link.value).toBe('up')
  })

  it('waits longer each time, and not for ever', () => {
    const chat = visit()
    chat.open()
    const delays: number[] = []
    for (let i = 0; i < 9; i++) {
      const had = wires.length
      wire().drop()
      let waited = 0
      while (wires.length === had) { vi.advanceTimersByTime(250); waited += 250 }
      delays.push(waited)
    }
    expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000])
  })

  it('connects at once when the network is back', () => {
    const chat = up()
    for (let i = 0; i < 6; i++) { wire().drop(); vi.advanceTimersByTime(20_000) }
    wire().drop()
    const had = wires.length
    chat.nudge()
    expect(wires).toHaveLength(had + 1)
  })

  it('finds a line that is cut without a word', () => {
    const chat = up()
    vi.advanceTimersByTime(5_000)
    expect(wire().count('ping')).toBe(1)
    wire().tell({ type: 'pong' })
    vi.advanceTimersByTime(5_000)
    expect(wire().count('ping')).toBe(2)
    vi.advanceTimersByTime(6_000)
    expect(chat.link.value).toBe('down')
  })

  it('asks a sleeper\'s socket at once', () => {
    const chat = up()
    chat.nudge()
    expect(wire().count('ping')).toBe(1)
  })

  it('gives up on a server that never welcomes', () => {
    const chat = visit()
    chat.open()
    wire().accept()
    vi.advanceTimersByTime(10_000)
    expect(chat.link.value).toBe('down')
  })

  it('survives frames that are none', () => {
    const chat = up()
    wire().raw('garbage')
    wire().tell({ type: 'news of tomorrow' } as unknown as FromServer)
    expect(chat.link.value).toBe('up')
  })
})

describe('messages', () => {
  it('are there once and in order, whatever comes twice', () => {
    const chat = up()
    wire().tell(message(1, 'ai', 'one'), message(3, 'ai', 'three'), message(2, 'ai', 'two'), message(3, 'ai', 'three'))
    expect(bodies(chat)).toEqual(['one', 'two', 'three'])
  })

  it('start again when the server says so', () => {
    const chat = up()
    wire().tell(message(7, 'ai', 'old'), { type: 'resync' }, message(1, 'ai', 'new'))
    expect(bodies(chat)).toEqual(['new'])
    wire().drop()
    vi.advanceTimersByTime(500)
    expect(wire().accept()).toMatchObject({ after: 1 })
  })

  it('replace the draft that they were', () => {
    const chat = up()
    wire().tell({ type: 'draft', text: 'Yes, sing' })
    expect(chat.draft.value).toBe('Yes, sing')
    wire().tell(message(2, 'ai', 'Yes, single sections are sold.'))
    expect(chat.draft.value).toBeNull()
    wire().tell({ type: 'draft', text: 'And' }, { type: 'draft', text: '', done: true })
    expect(chat.draft.value).toBeNull()
    wire().tell({ type: 'draft', text: 'I can' }, { type: 'state', state: 'agent', agent_name: 'Ana' })
    expect(chat.draft.value).toBeNull()
  })

  it('count as unread until they were on screen', () => {
    const chat = up()
    wire().tell(message(1, 'contact', 'mine'), message(2, 'ai', 'a'), message(3, 'agent', 'b'))
    expect(chat.unread.value).toBe(2)
    chat.read()
    expect(chat.unread.value).toBe(0)
    expect(visit().seen.value).toBe(3)
  })
})

describe('outbox', () => {
  it('keeps a message until it is acknowledged, and shows it once', () => {
    const chat = up()
    chat.say(' Hello ')
    const said = wire().last('say')!
    expect(said.body).toBe('Hello')
    expect(chat.outbox.value).toHaveLength(1)
    wire().tell({ type: 'ack', client_id: said.client_id, seq: 1, message: { seq: 1, author: 'contact', kind: 'text', body: 'Hello', at: '' } })
    expect(chat.outbox.value).toHaveLength(0)
    wire().tell(message(1, 'contact', 'Hello', { client_id: said.client_id }))
    expect(bodies(chat)).toEqual(['Hello'])
    expect(new Keep(store, 'http://server').unsent()).toEqual([])
  })

  it('an acknowledgement does not skip rows that are still to come', () => {
    const chat = up()
    chat.say('Hello')
    const id = wire().last('say')!.client_id
    wire().tell({ type: 'ack', client_id: id, seq: 5, message: { seq: 5, author: 'contact', kind: 'text', body: 'Hello', at: '' } })
    wire().drop()
    vi.advanceTimersByTime(500)
    expect(wire().accept()).toMatchObject({ after: 0 })
    expect(bodies(chat)).toEqual(['Hello'])
  })

  it('is sent in order, one at a time', () => {
    const chat = up()
    chat.say('one'); chat.say('two'); chat.say('three')
    expect(wire().count('say')).toBe(1)
    for (const [i, body] of ['one', 'two', 'three'].entries()) {
      const said = wire().last('say')!
      expect(said.body).toBe(body)
      wire().tell({ type: 'ack', client_id: said.client_id, seq: i + 1 })
    }
    expect(chat.outbox.value).toHaveLength(0)
  })

  it('survives a lost socket and a reload with the same id', () => {
    const chat = up()
    chat.say('Hello')
    const id = wire().last('say')!.client_id
    wire().drop()
    chat.say('Still there?')
    chat.close()

    const again = visit()
    expect(again.known).toBe(true)
    again.open()
    expect(wire().accept()).toMatchObject({ token })
    wire().tell(welcome({ state: 'bot' }))
    expect(wire().last('say')).toEqual({ type: 'say', client_id: id, body: 'Hello' })
    // It was stored after all: the row comes before the acknowledgement.
    wire().tell(message(1, 'contact', 'Hello', { client_id: id }))
    expect(wire().last('say')!.body).toBe('Still there?')
    wire().tell({ type: 'ack', client_id: id, seq: 1 })
    expect(again.outbox.value.map((u) => u.body)).toEqual(['Still there?'])
  })

  it('sends again what was too fast, and nothing else meanwhile', () => {
    const chat = up()
    chat.say('one'); chat.say('two')
    const said = wire().last('say')!
    wire().tell({ type: 'error', code: 'too_many', message: 'Slower.', client_id: said.client_id })
    expect(wire().count('say')).toBe(1)
    vi.advanceTimersByTime(2_000)
    expect(wire().heard.filter((f) => f.type === 'say')).toEqual([said, said])
    expect(chat.outbox.value).toHaveLength(2)
  })

  it('sets aside what the server will never take, with the reason', () => {
    const chat = up()
    chat.say('bad'); chat.say('good')
    const bad = wire().last('say')!
    wire().tell({ type: 'error', code: 'too_large', field: 'body', message: 'At most 4,000 characters.', client_id: bad.client_id })
    expect(wire().last('say')!.body).toBe('good')
    expect(chat.outbox.value[0]).toMatchObject({ body: 'bad', refused: 'At most 4,000 characters.' })
    chat.discard(bad.client_id)
    expect(chat.outbox.value.map((u) => u.body)).toEqual(['good'])
  })

  it('takes another socket when an acknowledgement never comes', () => {
    const chat = up()
    chat.say('Hello')
    const id = wire().last('say')!.client_id
    for (let i = 0; i < 3; i++) { vi.advanceTimersByTime(5_000); wire().tell({ type: 'pong' }) }
    expect(wires).toHaveLength(2)
    wire().accept()
    wire().tell(welcome({ state: 'bot' }))
    expect(wire().last('say')!.client_id).toBe(id)
  })
})

describe('a person', () => {
  it('can be asked for before the first message', () => {
    const chat = visit()
    chat.person()
    wire().accept()
    wire().tell(welcome({ token }))
    const wish = wire().last('person')!
    wire().tell({ type: 'ack', client_id: wish.client_id, seq: 2 }, { type: 'state', state: 'waiting', position: 2, ahead: 1, due_at: 'x' })
    expect(chat.wishing.value).toBe(false)
    expect(chat.inLine.value).toBe(true)
    expect(chat.standing.value.place).toMatchObject({ position: 2, due_at: 'x' })
  })

  it('is asked for once, first of all, as soon as the socket is back', () => {
    const chat = up()
    wire().drop()
    chat.say('words')
    chat.person()
    chat.person()
    expect(chat.wishing.value).toBe(true)
    vi.advanceTimersByTime(500)
    wire().accept()
    wire().tell(welcome({ state: 'bot' }))
    expect(wire().count('person')).toBe(1)
    expect(wire().count('say')).toBe(0)
    wire().tell({ type: 'ack', client_id: wire().last('person')!.client_id })
    expect(wire().last('say')!.body).toBe('words')
  })

  it('is named, and told that somebody writes', () => {
    const chat = up()
    wire().tell({ type: 'state', state: 'agent', agent_name: 'Ana' }, { type: 'typing' })
    expect(chat.standing.value.agent).toBe('Ana')
    expect(chat.agentTypes.value).toBe(true)
    vi.advanceTimersByTime(4_000)
    expect(chat.agentTypes.value).toBe(false)
    chat.typing(); chat.typing()
    expect(wire().count('typing')).toBe(1)
  })
})

describe('token', () => {
  it('that nobody knows is given up with its messages; unsent words go to the new conversation', () => {
    const chat = up()
    wire().tell(message(3, 'ai', 'old'))
    wire().drop()
    chat.say('Hello?')
    vi.advanceTimersByTime(500)
    wire().accept()
    wire().tell({ type: 'error', code: 'unauthorized', field: 'token', message: 'Unknown.' })
    expect(wire().accept()).toEqual({ type: 'hello', token: '', after: 0 })
    expect(bodies(chat)).toEqual([])
    wire().tell(welcome({ token: 'N'.repeat(43) }))
    expect(wire().last('say')!.body).toBe('Hello?')
  })

  it('of another tab is taken over before anything is said with two', () => {
    const one = visit(), two = visit()
    one.open()
    const first = wire()
    two.say('from two')
    first.accept()
    wire().accept()
    first.tell(welcome({ token }))
    const second = wire()
    second.tell(welcome({ token: 'N'.repeat(43) }))
    expect(second.count('say')).toBe(0)
    expect(wire().accept()).toMatchObject({ token })
    wire().tell(welcome())
    expect(wire().last('say')!.body).toBe('from two')
  })

  it('works without any storage', () => {
    const broken = { get length(): number { throw new Error('blocked') }, key: () => null, getItem: () => { throw new Error('blocked') }, setItem: () => { throw new Error('blocked') }, removeItem: () => { throw new Error('blocked') } }
    store = broken as unknown as Storage
    const chat = up()
    chat.say('Hello')
    expect(wire().last('say')!.body).toBe('Hello')
  })
})

describe('words', () => {
  it('count places', () => {
    expect([1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal)).toEqual(['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '102nd', '111th'])
    expect(usually('waiting', { position: 2, ahead: 1, low: 1, high: 3 })).toBe('Usually 1 to 3 minutes from now.')
    expect(usually('waiting', { position: 1, ahead: 0, low: 0, high: 1 })).toBe('Usually within 1 minute.')
    expect(usually('waiting', { position: 2, ahead: 1 })).toBe('')
    expect(usually('offered', { position: 1, ahead: 0, low: 0, high: 1 })).toBe('')
    expect(place('waiting', { position: 2, ahead: 1 })).toBe('You are 2nd in line')
    expect(place('waiting', { position: 1, ahead: 0 })).toBe('You are next in line')
    expect(shortPlace('offered', { position: 1, ahead: 0 })).toBe('Next in line')
  })

  it('follow only links to web pages', () => {
    expect(safeAddress('/kb/1', 'https://s.example')).toBe('https://s.example/kb/1')
    expect(safeAddress('https://shop.example/a', 'https://s.example')).toBe('https://shop.example/a')
    for (const bad of ['javascript:alert(1)', 'data:text/html,x', ' JaVaScRiPt:alert(1)', 'http://', '', undefined]) {
      expect(safeAddress(bad, 'https://s.example')).toBe('')
    }
  })
})

describe('a message in place of waiting', () => {
  function waiting(): Chat {
    const chat = visit()
    chat.open()
    wire().accept()
    wire().tell(welcome({ token, state: 'waiting', waiting: { position: 2, ahead: 1 }, messages: true }))
    return chat
  }

  it('is refused with its field, kept as typed, and left when it is right', () => {
    const chat = waiting()
    expect(chat.takesMessages.value).toBe(true)
    chat.askLeave()
    chat.typeLeave({ email: ' ole@customer ', body: 'My stove leaks.' })
    chat.leave()
    chat.leave() // twice is once
    const first = wire().last('leave')!
    expect([wire().count('leave'), first.email, first.body, chat.leaveForm.value?.sent]).toEqual([1, 'ole@customer', 'My stove leaks.', true])
    wire().tell({ type: 'error', code: 'invalid', field: 'email', message: 'A mail address looks like name@example.org.', client_id: first.client_id })
    expect(chat.leaveForm.value).toEqual({ email: 'ole@customer', body: 'My stove leaks.', sent: false, error: 'A mail address looks like name@example.org.', field: 'email' })
    expect(chat.outbox.value).toEqual([])
    chat.typeLeave({ email: 'ole@customer.test' })
    expect(chat.leaveForm.value?.error).toBe('')
    chat.leave()
    const second = wire().last('leave')!
    wire().tell({ type: 'ack', client_id: second.client_id, seq: 5 }, { type: 'state', state: 'waiting', position: 2, ahead: 1, answer_to: 'o•••@customer.test' })
    expect([chat.leaveForm.value, chat.standing.value.place?.answer_to]).toEqual([null, 'o•••@customer.test'])
    expect(shortPlace('waiting', chat.standing.value.place)).toBe('Message left')
  })

  it('survives a lost connection, and is sent once more under the same id', () => {
    const chat = waiting()
    chat.askLeave()
    chat.typeLeave({ email: 'ole@customer.test' })
    chat.leave()
    const id = wire().last('leave')!.client_id
    wire().drop()
    vi.advanceTimersByTime(5_000)
    wire().accept()
    wire().tell(welcome({ state: 'waiting', waiting: { position: 2, ahead: 1 }, messages: true }))
    expect(wire().last('leave')?.client_id).toBe(id)
  })
})
