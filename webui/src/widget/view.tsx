// The widget on screen: a bubble, and the panel that it opens.

import { useSignal, type Signal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import type { Call } from './call'
import type { CallBack } from './callback'
import { CallBackForm } from './callbackform'
import { CallBar, PhoneButton } from './callbar'
import type { Chat } from './chat'
import { Icon } from './icons'
import type { Keep } from './keep'
import { Log } from './log'
import { Waiting } from './waiting'
import { callShort, placeholder, shortPlace, under, words } from './words'

export interface ViewProps { chat: Chat; call: Call; callback: CallBack; keep: Keep; server: string; now: Signal<number>; name: string }

const longest = 4000

export function View(p: ViewProps) {
  const open = useSignal(p.keep.open)
  const bubble = useRef<HTMLButtonElement>(null)
  const move = (to: boolean) => {
    open.value = to
    p.keep.open = to
    if (to) p.chat.open()
    else bubble.current?.focus()
  }
  useEffect(() => { if (open.value) p.chat.open() }, [])
  return (
    <div class={open.value ? 'dock open' : 'dock'}>
      {open.value && <Panel {...p} onClose={() => move(false)} />}
      <Bubble {...p} open={open.value} onClick={() => move(!open.value)} button={bubble} />
    </div>
  )
}

function Bubble({ chat, call, open, onClick, button }: ViewProps & { open: boolean; onClick: () => void; button: { current: HTMLButtonElement | null } }) {
  const common = { type: 'button' as const, onClick, ref: button, 'aria-expanded': open }
  if (open) return <button {...common} class="bubble-btn small" aria-label="Close the chat"><Icon name="down" /></button>
  if (call.active.value) {
    return <button {...common} class="bubble-btn" aria-label={words.inCall}><Icon name="phone" />{callShort(call.phase.value)}</button>
  }
  const { state, place } = chat.standing.value
  if (chat.inLine.value) {
    return <button {...common} class="bubble-btn"><Icon name="clock" />{shortPlace(state, place)}</button>
  }
  const n = chat.unread.value
  if (n > 0) {
    const label = `Open the chat, ${n} new ${n === 1 ? 'message' : 'messages'}`
    return <button {...common} class="bubble-btn small" aria-label={label}><Icon name="chat" /><span class="n" aria-hidden="true">{n > 99 ? '99' : n}</span></button>
  }
  if (!chat.known) return <button {...common} class="bubble-btn"><Icon name="chat" />{words.ask}</button>
  return <button {...common} class="bubble-btn small" aria-label="Open the chat"><Icon name="chat" /></button>
}

function Panel(p: ViewProps & { onClose: () => void }) {
  const { chat } = p
  const company = chat.company.value || p.name
  const { state, agent, place } = chat.standing.value
  const asks = p.callback.open.value && chat.inLine.value && place
  const narrow = useSignal(matchMedia('(max-width: 520px)').matches)
  useEffect(() => {
    const media = matchMedia('(max-width: 520px)')
    const changed = () => { narrow.value = media.matches }
    media.addEventListener('change', changed)
    return () => media.removeEventListener('change', changed)
  }, [])
  const keys = (e: KeyboardEvent) => {
    if (e.key === 'Escape') {
      e.stopPropagation()
      p.onClose()
    }
  }
  return (
    <section class="w" aria-label={`${company}, chat`} onKeyDown={keys}>
      <header>
        <span class="logo" aria-hidden="true">{[...company][0]}</span>
        <div><h2>{company}</h2><p>{under(state, agent, place?.answer_to)}</p></div>
        <PhoneButton call={p.call} />
        <button class="round" type="button" aria-label="Make small" onClick={p.onClose}><Icon name={narrow.value ? 'x' : 'minus'} /></button>
      </header>
      <CallBar {...p} />
      {asks ? <CallBackForm callback={p.callback} place={place} now={p.now.value} /> : (
        <>
          {chat.inLine.value && place && <Waiting {...p} state={state} place={place} />}
          <Log {...p} />
          {!chat.inLine.value && !chat.withPerson.value && <PersonButton chat={chat} />}
          <Write {...p} />
        </>
      )}
    </section>
  )
}

/** The way to a person: it stands in every state in which none is there or on the way, connected or not. */
function PersonButton({ chat }: { chat: Chat }) {
  const pending = chat.wishing.value
  return (
    <button class="person-btn" type="button" aria-disabled={pending} onClick={() => chat.person()}>
      <Icon name="user" />{pending ? words.wishing : words.person}
    </button>
  )
}

function Write({ chat, keep }: ViewProps) {
  const box = useRef<HTMLTextAreaElement>(null)
  const text = useSignal(keep.typed)
  const { state, agent } = chat.standing.value
  const over = [...text.value.trim()].length - longest
  useLayoutEffect(() => { box.current?.focus({ preventScroll: true }) }, [])
  const changed = (value: string) => {
    text.value = value
    keep.typed = value
    if (value) chat.typing()
  }
  const send = () => {
    if (over > 0) return
    chat.say(text.value)
    changed('')
    box.current?.focus()
  }
  return (
    <>
      <p class={over > 0 ? 'left over' : 'left'} id="left" aria-live="polite" hidden={over < -200}>
        {over > 0 ? `${over} characters too many` : `${-over} characters left`}
      </p>
      <form class="write" aria-label="Write a message" onSubmit={(e) => { e.preventDefault(); send() }}>
        <textarea
          ref={box} rows={1} aria-label="Your message" aria-describedby="left" aria-invalid={over > 0}
          placeholder={placeholder(state, agent)} value={text.value}
          onInput={(e) => changed(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return
            e.preventDefault()
            send()
          }}
        />
        <button class="go" type="submit" aria-label="Send"><Icon name="send" /></button>
      </form>
    </>
  )
}
