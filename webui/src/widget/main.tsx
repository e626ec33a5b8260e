// The script that a website embeds:
//
//   <script async src="https://patchbay.example/widget.js" data-patchbay data-name="Nordlicht"></script>
//
// Everything lives in a shadow root with a constructed style sheet, so the page's own style and a strict CSP
// (script-src and connect-src name the server, nothing inline) leave it alone. A page view alone opens no connection.

import { signal } from '@preact/signals'
import { render } from 'preact'
import tokens from '../shared/tokens.css?inline'
import { Call } from './call'
import { CallBack } from './callback'
import { Chat } from './chat'
import { Keep, storage } from './keep'
import { View } from './view'
import css from './widget.css?inline'

function start(script: HTMLScriptElement): void {
  if (document.querySelector('patchbay-chat')) return
  const server = new URL(script.dataset.server || script.src, location.href)
  const socket = new URL('/chat/socket', server)
  socket.protocol = server.protocol === 'https:' ? 'wss:' : 'ws:'

  const host = document.createElement('patchbay-chat')
  themed(host, script.dataset.theme)
  const root = host.attachShadow({ mode: 'open' })
  root.adoptedStyleSheets = [styleSheet()]

  const keep = new Keep(storage(), server.origin)
  const chat = new Chat(socket.href, keep)
  const call = new Call({
    send: (frame) => chat.send(frame),
    keep: { get: () => keep.calling, set: (on) => { keep.calling = on } },
    raw: new URLSearchParams(location.search).get('audio') === 'raw',
  })
  chat.with(call)
  const callback = new CallBack(chat)
  chat.with(callback)
  const now = signal(Date.now())
  setInterval(() => { now.value = Date.now() }, 1_000)
  addEventListener('online', () => chat.nudge())
  addEventListener('offline', () => chat.nudge())
  addEventListener('pageshow', () => chat.nudge())
  addEventListener('storage', (e) => chat.tokenChanged(e.key))
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    chat.nudge()
    if (keep.open) chat.read()
  })
  if (chat.known || keep.calling) chat.open() // an answer may have come, and unsent words want to go

  document.body.append(host)
  render(<View chat={chat} call={call} callback={callback} keep={keep} server={server.origin} now={now} name={script.dataset.name || 'Chat'} />, root)
  root.append(call.sound)
}

/** The script's own data-theme counts, else the page's, else the system's. */
function themed(host: HTMLElement, own: string | undefined): void {
  const page = document.documentElement
  const apply = () => {
    const theme = own || page.dataset.theme
    if (theme) host.dataset.theme = theme
    else delete host.dataset.theme
  }
  apply()
  if (!own) new MutationObserver(apply).observe(page, { attributeFilter: ['data-theme'] })
}

/**
 * The tokens are written for a page's :root; here they belong to the host. Their rem would follow the website's own
 * root size, which is often not the reader's: a registered length makes it the browser's text size instead.
 */
function styleSheet(): CSSStyleSheet {
  try {
    CSS.registerProperty({ name: '--rem', syntax: '<length>', inherits: true, initialValue: '16px' })
  } catch { /* registered by another script of ours, or not supported: then 1em of each element counts */ }
  const reset = '@layer reset{:host{all:initial}.dock{all:initial;color-scheme:inherit}}'
  const text = (reset + tokens + css)
    .replace(/:root/g, ':host')
    .replace(/(^|[},\s])\[data-theme/g, '$1:host([data-theme').replace(/:host\(\[data-theme=("?)(light|dark)\1\]/g, ':host([data-theme="$2"])')
    .replace(/(\d*\.?\d+)rem\b/g, 'calc(var(--rem)*$1)')
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(text)
  return sheet
}

const script = document.currentScript instanceof HTMLScriptElement
  ? document.currentScript
  : document.querySelector<HTMLScriptElement>('script[data-patchbay]')
if (script) {
  if (document.body) start(script)
  else addEventListener('DOMContentLoaded', () => start(script))
}
