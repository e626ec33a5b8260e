// A small server that speaks the desk's API from a script, for working on the screens and for the states that are hard
// to reach with the real one. The final tests run against the real server (BASE_URL).
//   node e2e/scripted/server.mjs [port]   then open /desk/#link=once
import { sampleDetail } from './call.mjs'
import { alarms, proof } from './proof.mjs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { message, newHouse } from './house.mjs'
import { upgrade } from './socket.mjs'

const dist = fileURLToPath(new URL('../../dist/desk/', import.meta.url))
const kinds = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

class Refusal extends Error {
  constructor(status, code, text, field) {
    super(text)
    this.status = status
    this.body = { code, message: text, ...(field ? { field } : {}) }
  }
}

export class ScriptedServer {
  house = newHouse()
  signedIn = false
  build = 'one'
  tabs = new Set()
  sentFrames = [] // everything the tabs have sent
  posts = [] // bodies of posted messages, also refused ones
  fail = () => undefined // (method, path) => Refusal-like {status, body} to answer with
  answerCall = undefined // async (sdp, type) => sdp; throwing refuses
  hold = undefined // a promise that every list waits for

  async start(port = 0) {
    this.http = createServer((q, a) => this.serve(q, a).catch((err) => this.refuse(a, err)))
    this.http.on('upgrade', (q, socket) => this.attach(q, socket))
    await new Promise((done) => this.http.listen(port, '127.0.0.1', done))
    this.url = `http://127.0.0.1:${this.http.address().port}`
    return this
  }

  async stop() {
    for (const tab of this.tabs) tab.cut()
    this.http.closeAllConnections()
    await new Promise((done) => this.http.close(done))
  }

  row = (id) => this.house.rows.find((r) => r.id === Number(id)) ?? this.throw(404, 'not_found', 'There is no such conversation.')
  throw(status, code, text, field) {
    throw new Refusal(status, code, text, field)
  }

  refuse(answer, err) {
    const status = err.status ?? 500
    answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(err.body ?? { code: 'internal', message: String(err) }))
  }

  counts() {
    const { rows, me } = this.house
    const mine = rows.filter((r) => r.agent_id === me.id && (r.state === 'agent' || r.state === 'wrapup')).length
    return { mine, waiting: rows.filter((r) => r.state === 'waiting' || r.state === 'offered').length, all: rows.length }
  }

  // push sends a frame to every tab.
  push(frame) {
    for (const tab of this.tabs) tab.send(frame)
  }

  changed(row) {
    row.changed_at = new Date().toISOString()
    this.push({ type: 'conversation', conversation: row, counts: this.counts() })
  }

  // say stores a message and tells the watching tabs.
  say(id, over, silent = false) {
    const row = this.row(id)
    const m = message(row, { at: new Date().toISOString(), ...over })
    this.house.said.get(row.id).push(m)
    if (m.kind === 'text') Object.assign(row, { last_words: m.body, last_author: m.author })
    if (!silent) for (const tab of this.tabs) if (tab.watched === row.id) tab.send({ type: 'message', message: m })
    if (!silent) this.changed(row)
    return m
  }

  offer(id, over = {}) {
    const row = this.row(id)
    row.state = 'offered'
    const now = Date.now()
    const seconds = over.seconds ?? 20
    this.house.me.offer = {
      id: now, conversation_id: row.id, channel: row.channel, queue_name: row.queue_name, contact_name: row.contact_name, subject: row.subject, summary: row.summary,
      last_words: row.last_words, waiting_since: row.waiting_since ?? new Date(now - 8000).toISOString(), offered_at: new Date(now).toISOString(),
      expires_at: new Date(now + seconds * 1000).toISOString(), seconds, why: 'Idle longest (6 min)', return_call: row.return_call, card: this.house.cards.get(row.id) ?? null, ...over,
    }
    this.push({ type: 'offer', offer: this.house.me.offer })
    this.changed(row)
    return this.house.me.offer
  }

  endOffer(outcome) {
    const { offer } = this.house.me
    delete this.house.me.offer
    this.push({ type: 'offer_ended', offer_id: offer.id, outcome })
  }

  call(over) {
    this.house.me.call = over ? { ...this.house.me.call, ...over } : undefined
    this.push({ type: 'call', call: over ? this.house.me.call : undefined })
    if (over?.state === 'ended') delete this.house.me.call
  }

  attach(request, socket) {
    if (!this.signedIn || request.headers.origin !== this.url) return socket.destroy()
    const tab = upgrade(request, socket, (text) => this.receive(tab, JSON.parse(text)), () => this.tabs.delete(tab))
    this.tabs.add(tab)
    tab.send({ type: 'hello', me: this.house.me, build: this.build, node: 'scripted', tab: String(this.tabs.size) })
  }

  receive(tab, frame) {
    this.sentFrames.push(frame)
    if (frame.type === 'ping') tab.send({ type: 'pong' })
    if (frame.type === 'unwatch') tab.watched = 0
    if (frame.type === 'watch') {
      tab.watched = frame.conversation_id
      for (const m of this.house.said.get(frame.conversation_id) ?? []) if (m.seq > (frame.after ?? 0)) tab.send({ type: 'message', message: m })
    }
    if (frame.type === 'phone_claim') for (const t of this.tabs) t.send({ type: 'phone', on: t === tab })
    if (['connect', 'restart', 'supervise', 'echo'].includes(frame.type) && frame.sdp) void this.connectCall(tab, frame)
    else if (frame.type in this.commands) this.command(tab, frame)
  }

  // what the agent's commands make of the call; a test changes it, or lets one be refused by throwing
  commands = {
    hold: (f) => this.call({ held: f.on }),
    mute: (f) => this.call({ muted: f.on }),
    record: (f) => this.call({ recording: f.on ? 'on' : 'paused' }),
    dtmf: () => {},
    hangup: (f) => this.endCall(f.call_id),
    decline: () => this.call({ state: 'ended', reason: '' }),
    supervise: (f) => this.call({ supervisor: f.mode }),
    unsupervise: () => this.call({ state: 'ended', reason: '' }),
    consult: (f) => this.call({ talking_to: 'third', third: { ...this.third(f.target), state: 'ringing' } }),
    transfer: (f) => (f.target.kind === 'queue' ? this.endCall(this.house.me.call.call_id, 'passed on') : this.call({ talking_to: 'caller', third: { ...this.third(f.target), state: 'ringing', blind: true } })),
    swap: () => this.call({ talking_to: this.house.me.call.talking_to === 'third' ? 'caller' : 'third', third: { ...this.house.me.call.third, state: this.house.me.call.talking_to === 'third' ? 'held' : 'talking' } }),
    merge: () => this.call({ talking_to: 'both', third: { ...this.house.me.call.third, state: 'talking' } }),
    cancel: () => this.call({ talking_to: 'caller', third: undefined }),
    complete: (f) => this.endCall(f.call_id, `passed on to ${this.house.me.call.third.name}`),
  }

  third(target) {
    const name = { agent: () => this.house.agents.find((a) => a.id === target.agent_id).name, queue: () => this.house.queues.find((q) => q.id === target.queue_id).name, number: () => target.number }[target.kind]()
    return { kind: target.kind, name }
  }

  command(tab, frame) {
    try {
      this.commands[frame.type](frame)
      tab.send({ type: 'done', ref: frame.ref })
    } catch (err) {
      tab.send({ type: 'error', ref: frame.ref, error: err.body ?? { code: 'internal', message: String(err) } })
    }
  }

  async connectCall(tab, frame) {
    if (!this.answerCall) return tab.send({ type: 'error', ref: frame.ref, error: { code: 'unavailable', message: 'No line.' } })
    let sdp
    try {
      sdp = await this.answerCall(frame.sdp, frame.type)
    } catch {
      return tab.send({ type: 'error', ref: frame.ref, error: { code: 'unavailable', message: 'The line is away.' } })
    }
    tab.send({ type: 'call_answer', ref: frame.ref, call_id: frame.call_id, sdp })
    if (frame.type === 'connect' && this.house.me.call?.direction !== 'out') this.call({ state: 'bridged', bridged_at: this.house.me.call?.bridged_at ?? new Date().toISOString() })
  }

  endCall(id, reason = 'you hung up') {
    this.call({ state: 'ended', reason })
    const row = this.house.rows.find((r) => r.call_id === id)
    if (!row) return
    Object.assign(row, { call_id: null, call_state: '', state: 'wrapup', wrapup_until: new Date(Date.now() + 60_000).toISOString() })
    this.changed(row)
  }

  async serve(request, answer) {
    const url = new URL(request.url, this.url)
    if (!url.pathname.startsWith('/api/')) return this.file(url.pathname, answer)
    const refused = this.fail(request.method, url.pathname)
    let body = ''
    for await (const chunk of request) body += chunk
    if (request.method === 'POST' && url.pathname.endsWith('/messages')) this.posts.push(JSON.parse(body))
    if (refused) throw Object.assign(new Error('scripted'), refused)
    if (!this.signedIn && !url.pathname.startsWith('/api/sign-in')) this.throw(401, 'unauthorized', 'Sign in first.')
    const result = await this.api(request.method, url.pathname.slice(5).split('/'), url.searchParams, body ? JSON.parse(body) : {})
    answer.writeHead(result === undefined ? 204 : 200, { 'content-type': 'application/json' }).end(result === undefined ? undefined : JSON.stringify(result))
  }

  async api(method, [noun, id, verb], query, body) {
    const { house } = this
    if (`${method} ${noun}` === 'GET breaks') return ['break', 'lunch', 'training']
    if (`${method} ${noun}` === 'GET line') return []
    if (verb === 'wait') return { reasons: [] }
    switch (`${method} ${noun}`) {
      case 'POST sign-in':
        if (id === 'link' && body.token !== 'once') this.throw(401, 'unauthorized', 'This link was used or is too old. Ask for a new one.')
        if (id !== 'link' && body.password !== 'correct horse') this.throw(401, 'unauthorized', 'Login or password is wrong.')
        if (id === 'link') house.me.has_password = false
        this.signedIn = true
        return house.me
      case 'POST sign-out':
        this.signedIn = false
        return undefined
      case 'GET me':
        return house.me
      case 'PUT me':
        if (id === 'presence') Object.assign(house.me, { presence: body.presence, presence_reason: body.reason ?? '', presence_at: new Date().toISOString() })
        else house.me.has_password = true
        return id === 'presence' ? house.me : undefined
      case 'GET phone':
        return house.phone
      case 'PUT phone':
        return Object.assign(house.phone, body)
      case 'GET calls':
        return id ? sampleDetail() : [sampleDetail().call]
      case 'POST calls':
        return this.dial(body)
      case 'GET proof':
        if (id === 'late') return house.late ?? []
        if (id === 'alarms') return alarms(house.rows[0])
        return id === 'key' ? { public_key: 'x7v8Vt1h2tTm2Hc1l7cY8b8m0q3Jr8yO8hK0o3Vd0mE=' } : proof()
      case 'GET recordings':
        return this.recording(Number(id))
      case 'GET agents':
        return house.agents
      case 'GET queues':
        return house.queues
      case 'GET conversations':
        if (verb === 'wrap-up-draft') return house.draft
        return id ? this.read(id, verb, query) : this.list(query.get('view'))
      case 'POST conversations':
        return this.act(this.row(id), verb, body)
      case 'POST offers':
        return this.answerOffer(verb)
      case 'POST contacts':
        if (!/^[+\d @.\w-]+$/.test(body.value)) this.throw(422, 'invalid', 'This is no phone number.', 'value')
        return [{ kind: 'phone', value: '+49 171 555 0147' }, body]
    }
    return this.throw(404, 'not_found', 'There is no such page.')
  }

  // dial: the customer's side stays where a test leaves it.
  dial(body) {
    if (body.number.startsWith('+1')) this.throw(422, 'invalid', 'Calls to +1 are not allowed from here. Ask your administrator.', 'number')
    const row = this.row(body.conversation_id ?? this.house.rows[0].id)
    row.call_id = 78
    row.call_state = 'dialling'
    this.call({ call_id: 78, conversation_id: row.id, state: 'dialling', direction: 'out', role: 'agent', from: body.number, to: body.from ?? '+47 555 01 000', held: false, muted: false, recording: 'off', started_at: new Date().toISOString() })
    this.changed(row)
    return { call_id: 78, conversation_id: row.id }
  }

  // recording has a waveform of two people who take turns.
  recording(id) {
    const recording = this.house.recordings.find((r) => r.id === id) ?? this.throw(404, 'not_found', 'There is no such recording.')
    const peaks = Buffer.alloc(recording.seconds * 40)
    for (let i = 0; i < peaks.length; i++) {
      const second = i / 40
      const silent = recording.marks.length && second > 60 && second < 74
      const speaks = Math.floor(second / 7) % 2 === i % 2
      peaks[i] = silent ? 0 : speaks ? 60 + ((i * 7919) % 150) : (i * 31) % 6
    }
    return { recording, peaks: peaks.toString('base64'), bytes: 0, sha256: '' }
  }

  async list(view) {
    await this.hold
    const rows = this.house.rows.filter((r) =>
      view === 'all' ? true : view === 'urgent' ? r.call_back_alarm !== '' : view === 'mine' ? r.agent_id === 1 && (r.state === 'agent' || r.state === 'wrapup') : r.state === 'waiting' || r.state === 'offered')
    return { rows, counts: this.counts(), now: new Date().toISOString() }
  }

  read(id, verb, query) {
    const row = this.row(id)
    const said = this.house.said.get(row.id)
    if (verb === 'messages') {
      const after = Number(query.get('after') ?? 0)
      const before = Number(query.get('before') ?? Infinity)
      return said.filter((m) => m.seq > after && m.seq < before).slice(after ? 0 : -Number(query.get('limit') ?? 200))
    }
    return this.detail(row)
  }

  detail(row) {
    const addresses = row.channel === 'chat' && row.contact_name.startsWith('Visitor') ? [{ kind: 'visitor', value: 'x' }] : row.left_message === 'voicemail' ? [{ kind: 'phone', value: row.contact_name }] : [{ kind: 'phone', value: '+49 171 555 0147' }, { kind: 'email', value: 'jonas@mail.example' }]
    const earlier = this.house.rows.filter((r) => r.contact_id === row.contact_id && r.id !== row.id)
    const calls = this.house.calls.filter((c) => c.conversation_id === row.id)
    return { conversation: row, contact: { id: row.contact_id, name: row.contact_name, created_at: row.created_at }, addresses, earlier, calls, recordings: this.house.recordings.filter((r) => calls.some((c) => c.id === r.call_id)), card: this.house.cards.get(row.id) ?? null }
  }

  act(row, verb, body) {
    if (verb === 'messages') {
      const had = this.house.said.get(row.id).find((m) => m.client_id === body.client_id)
      const { me } = this.house
      return had ?? this.say(row.id, { author: 'agent', agent_id: me.id, kind: body.note ? 'note' : 'text', private: Boolean(body.note), body: body.body, client_id: body.client_id, data: { agent_name: 'Ana' } })
    }
    if (verb === 'take') Object.assign(row, { state: 'agent', agent_id: 1, agent_name: 'Ana', waiting_since: null })
    if (verb === 'call-back') Object.assign(row, { front: true, call_back_tries: 0, call_back_alarm: '' })
    if (verb === 'end') Object.assign(row, { state: 'wrapup', wrapup_until: new Date(Date.now() + 60_000).toISOString() })
    if (verb === 'close') Object.assign(row, { state: 'closed', disposition: body.disposition, wrapup_until: null })
    if (verb === 'transfer') Object.assign(row, { state: 'waiting', agent_id: null, agent_name: '', ...(body.queue_id ? { queue_id: body.queue_id, queue_name: this.house.queues[body.queue_id - 1].name } : {}), waiting_since: new Date().toISOString() })
    this.changed(row)
    return verb === 'take' ? this.detail(row) : undefined
  }

  answerOffer(verb) {
    const { offer } = this.house.me
    if (!offer) this.throw(409, 'conflict', 'Somebody was faster.')
    const row = this.row(offer.conversation_id)
    const taken = verb === 'accept'
    Object.assign(row, taken ? { state: 'agent', agent_id: 1, agent_name: 'Ana', waiting_since: null, state_at: new Date().toISOString() } : { state: 'waiting' })
    if (taken && row.channel === 'voice') {
      row.call_id = 77
      this.call({ call_id: 77, conversation_id: row.id, state: 'connecting', direction: 'in', role: 'agent', recording: 'on', talking_to: 'caller', third: undefined, supervisor: '', from: row.contact_name, held: false, muted: false, started_at: new Date().toISOString() })
    }
    this.endOffer(taken ? 'accepted' : 'declined')
    this.changed(row)
    return taken ? this.detail(row) : undefined
  }

  async file(path, answer) {
    const name = normalize(path.replace(/^\/desk\/?/, '')) || '.'
    const found = extname(name) ? join(dist, name) : join(dist, 'index.html')
    if (!found.startsWith(dist)) return answer.writeHead(404).end()
    try {
      const bytes = await readFile(found)
      answer.writeHead(200, { 'content-type': kinds[extname(found)] ?? 'application/octet-stream', 'content-security-policy': policy }).end(bytes)
    } catch {
      answer.writeHead(404).end()
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await new ScriptedServer().start(Number(process.argv[2] ?? 8099))
  console.log(`${server.url}/desk/#link=once`)
}
