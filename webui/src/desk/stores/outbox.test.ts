// @vitest-environment node
// The outbox against a real HTTP server: what the agent sends is stored once, in order, whatever the network does.
import { createPinia, setActivePinia } from 'pinia'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { ScriptedServer } from '../../../e2e/scripted/server.mjs'

const server = await new ScriptedServer().start()
vi.stubGlobal('location', { origin: server.url, search: '', hash: '' })
const { useOutbox } = await import('./outbox')
const { useSession } = await import('./session')

const down = { status: 503, body: { code: 'unavailable', message: 'Database away.' } }
const said = (): string[] => (server.house.said.get(1) ?? []).filter((m) => m.author === 'agent').map((m) => m.body)

beforeAll(() => void (server.signedIn = true))
afterAll(() => server.stop())
beforeEach(() => {
  setActivePinia(createPinia())
  useSession().apply(server.house.me)
  server.fail = () => undefined
  server.posts = []
})

function empty(outbox: ReturnType<typeof useOutbox>): Promise<void> {
  return vi.waitFor(() => expect(outbox.items).toHaveLength(0), { timeout: 5_000, interval: 20 })
}

it('keeps order and the client_id through failures', async () => {
  const outbox = useOutbox()
  let refusals = 2
  server.fail = () => (refusals-- > 0 ? down : undefined)
  outbox.send(1, 'first', false)
  outbox.send(1, 'second', false)
  await empty(outbox)
  expect(said().slice(-2)).toEqual(['first', 'second'])
  expect(server.posts.map((p) => p.body)).toEqual(['first', 'first', 'first', 'second'])
  expect(new Set(server.posts.map((p) => p.client_id)).size).toBe(2)
})

it('an answer that was lost does not double the message', async () => {
  const outbox = useOutbox()
  const real = server.act
  let first = true
  server.act = function (this: typeof server, ...args: Parameters<typeof real>) {
    const stored = real.apply(this, args)
    if (first) {
      first = false
      throw Object.assign(new Error('cut'), down)
    }
    return stored
  }
  outbox.send(1, 'only once', false)
  await empty(outbox)
  server.act = real
  expect(server.posts).toHaveLength(2)
  expect(said().filter((b) => b === 'only once')).toHaveLength(1)
})

it('a refusal is the last word, does not block what follows, and gives the words back', async () => {
  const outbox = useOutbox()
  let no = true
  server.fail = () => (no ? ((no = false), { status: 403, body: { code: 'forbidden', message: 'Mira has it.' } }) : undefined)
  outbox.send(1, 'refused', false)
  outbox.send(1, 'a note', true)
  await vi.waitFor(() => expect(outbox.items.map((i) => i.refused)).toEqual(['Mira has it.']), { timeout: 5_000, interval: 20 })
  expect(outbox.withdraw(outbox.items[0]?.client_id ?? '')).toBe('refused')
  expect(outbox.items).toHaveLength(0)
})

it('the live frame may be faster than the answer', async () => {
  const outbox = useOutbox()
  outbox.send(1, 'fast', false)
  outbox.stored(outbox.items[0]?.client_id ?? '')
  expect(outbox.items).toHaveLength(0)
  await vi.waitFor(() => expect(said().at(-1)).toBe('fast'))
})
