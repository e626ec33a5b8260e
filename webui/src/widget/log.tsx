import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { Icon } from './icons'
import type { Unsent } from './keep'
import type { ViewProps } from './view'
import type { Message, Source } from './wire'
import { clock, words } from './words'

const patience = 20_000 // by then the server has answered, or said that it cannot
const blink = 1_500
const nearly = 40       // px from the end: the reader is at the end

/** Everything that was said, in order; new things are read out politely, an answer only when it is whole. */
export function Log(p: ViewProps) {
  const { chat } = p
  const box = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)
  const list = chat.messages.value
  const unsent = chat.outbox.value
  const draft = chat.draft.value
  const down = isDown(p)
  const lastOwn = unsent.length ? undefined : list.findLast((m) => m.author === 'contact')
  useLayoutEffect(() => {
    if (box.current && atEnd.current) box.current.scrollTop = box.current.scrollHeight
    if (!document.hidden) chat.read()
  })
  const scrolled = () => {
    const b = box.current
    if (b) atEnd.current = b.scrollHeight - b.scrollTop - b.clientHeight < nearly
  }
  return (
    <div class="log" role="log" aria-label="Messages" tabIndex={0} ref={box} onScroll={scrolled}>
      {!chat.inLine.value && !chat.withPerson.value && <p class="disc"><span class="tag ai">AI</span><span>{words.disclosure}</span></p>}
      {list.map((m) => <Row key={m.seq} m={m} {...p} received={m === lastOwn} />)}
      {draft !== null && <Draft text={draft} />}
      {draft === null && isReading(p) && <Draft text="" />}
      {chat.agentTypes.value && <AgentTypes name={chat.standing.value.agent} />}
      {unsent.map((u) => <Pending key={u.id} u={u} {...p} />)}
      {chat.ended.value && !unsent.length && list.at(-1)?.code !== 'ended' && <p class="line">{words.again}</p>}
      {down && <p class="disc warn" role="status"><Icon name="alert" /><span>{words.offline}</span></p>}
      {!down && chat.link.value === 'connecting' && !list.length && !!unsent.length && <p class="line">Connecting</p>}
    </div>
  )
}

/** A blink, as when the server is restarted, is not worth a word. */
function isDown({ chat, now }: ViewProps): boolean {
  return chat.downSince.value > 0 && now.value - chat.downSince.value > blink
}

function isReading({ chat, now }: ViewProps): boolean {
  const state = chat.standing.value.state
  const last = chat.messages.value.findLast((m) => m.kind === 'text')
  return chat.link.value === 'up' && (state === 'bot' || state === 'new') &&
    last?.author === 'contact' && now.value - new Date(last.at).getTime() < patience
}

function Row({ m, received, server, now }: ViewProps & { m: Message; received: boolean }) {
  if (m.kind === 'event') return <Happened m={m} now={now.value} />
  const time = clock(m.at, now.value)
  if (m.author === 'contact') {
    return (
      <div class="m me">
        <p class="b"><span class="vh">You: </span>{m.body}</p>
        {received && <p class="by">{time}<Icon name="check" small /><span class="vh">Received</span></p>}
      </div>
    )
  }
  if (m.author === 'agent') {
    return <div class="m person"><p class="by"><b>{m.agent_name || 'A person'}</b>{time}</p><p class="b">{m.body}</p></div>
  }
  return (
    <div class="m">
      <p class="by"><span class="tag ai">AI</span>{time}{m.cut && ' · ' + words.cut}{m.mode === 'quote' && ' · ' + words.fromOurPages}</p>
      <div class="b"><p>{m.body}{m.cut && '…'}</p><Sources list={m.sources} server={server} /></div>
    </div>
  )
}

function Happened({ m, now }: { m: Message; now: number }) {
  if (m.code === 'hello') return null // the disclosure stands above everything already
  if (m.code === 'model_down') return <p class="disc warn"><Icon name="alert" /><span>{m.body}</span></p>
  return <p class="line">{clock(m.at, now)} · {m.body}</p>
}

function Sources({ list, server }: { list?: Source[]; server: string }) {
  if (!list?.length) return null
  return (
    <p class="src">
      {list.map((s, i) => {
        const href = safeAddress(s.url, server)
        const inside: ComponentChildren = <><Icon name="doc" />{s.title}</>
        return href ? <a key={i} href={href} target="_blank" rel="noopener noreferrer">{inside}</a> : <span key={i}>{inside}</span>
      })}
    </p>
  )
}

/** An answer's links are foreign text: only addresses of web pages may be followed. */
export function safeAddress(url: string | undefined, server: string): string {
  if (!url) return ''
  try {
    const u = new URL(url, server)
    return u.protocol === 'https:' || u.protocol === 'http:' ? u.href : ''
  } catch {
    return ''
  }
}

function Draft({ text }: { text: string }) {
  return (
    <div class="m" aria-live="off" aria-busy="true">
      <p class="by"><span class="tag ai">AI</span>{text ? words.writing : words.reading}</p>
      <div class="b">{text ? <p>{text}</p> : <Dots />}</div>
    </div>
  )
}

function AgentTypes({ name }: { name: string }) {
  return <div class="m person" aria-live="off"><p class="by"><b>{name || 'A person'}</b>is writing</p><p class="b"><Dots /></p></div>
}

function Dots() {
  return <span class="dots" aria-hidden="true"><i /><i /><i /></span>
}

/** Written here and not known to the server: outlined as soon as it takes longer than a moment. */
function Pending({ u, ...p }: ViewProps & { u: Unsent }) {
  const { chat, now } = p
  if (u.kind === 'person') {
    return isDown(p) ? <p class="line">{words.wished}</p> : null
  }
  if (u.kind === 'leave' && !u.body) return null // the form says that it is on its way
  const late = u.refused || isDown(p) || now.value - u.at > 2_000
  return (
    <div class={late ? 'm me unsent' : 'm me'}>
      <p class="b"><span class="vh">You: </span>{u.body}</p>
      {u.refused
        ? <p class="by"><Icon name="alert" small />Not sent: {u.refused}<button class="link" type="button" onClick={() => chat.discard(u.id)}>Remove</button></p>
        : late && <p class="by"><Icon name="alert" small />{words.unsent}</p>}
    </div>
  )
}
