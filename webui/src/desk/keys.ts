// The keyboard table of the design. Keys act on codes, so that Ctrl Alt A is the same key on every layout.
import type { Acts } from './acts'
import { usePhone } from '../softphone/phone'
import { useScreen } from './stores/screen'

export const keyTable = [
  { keys: 'Ctrl K', does: 'find a conversation or do anything' },
  { keys: 'Alt J, Alt K', does: 'next, previous conversation' },
  { keys: 'Alt R, Alt N', does: 'reply, private note' },
  { keys: 'Ctrl Enter', does: 'send' },
  { keys: 'Alt E, Alt T', does: 'end or close, transfer' },
  { keys: 'Ctrl Alt A, Ctrl Alt D', does: 'accept, decline the offer or the colleague who asks' },
  { keys: 'D', does: 'call a number' },
  { keys: 'Ctrl Alt M, H, X', does: 'mute, hold, hang up' },
  { keys: 'F6, Shift F6', does: 'next, previous pane' },
  { keys: '?', does: 'this list' },
] as const

const focusable = 'a[href], button:not(:disabled), input:not(:disabled), select, textarea:not(:disabled), [tabindex="0"]'

export function nextPane(back: boolean): void {
  const panes = [...document.querySelectorAll<HTMLElement>('[data-pane]')].filter((p) => p.getClientRects().length > 0)
  const at = panes.findIndex((p) => p.contains(document.activeElement))
  const next = panes[(at + (back ? -1 : 1) + panes.length) % panes.length]
  const shown = (selector: string): HTMLElement | undefined =>
    [...(next?.querySelectorAll<HTMLElement>(selector) ?? [])].find((el) => el.getClientRects().length > 0)
  ;(shown('a[aria-current="true"], #reply:not(:disabled)') ?? shown(focusable) ?? next)?.focus()
}

const typing = (el: EventTarget | null): boolean =>
  el instanceof HTMLElement && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName))

export function listenKeys(acts: Acts): () => void {
  const phone = usePhone()
  const screen = useScreen()

  const ctrlAlt: Record<string, () => void> = {
    KeyA: acts.answer,
    KeyD: acts.decline,
    KeyM: () => phone.active && void phone.mute(),
    KeyH: () => phone.active && void phone.hold(),
    KeyX: () => phone.active && void phone.hangUp(),
  }
  const alt: Record<string, () => void> = {
    KeyJ: () => acts.step(1),
    KeyK: () => acts.step(-1),
    KeyR: () => acts.write('reply'),
    KeyN: () => acts.write('note'),
    KeyE: acts.finish,
    KeyT: acts.transfer,
  }

  const single: Record<string, () => void> = {
    '?': () => (screen.dialog = 'keys'),
    d: () => (screen.dialog = 'dial'),
  }

  function actOf(e: KeyboardEvent): (() => void) | undefined {
    const ctrl = e.ctrlKey || e.metaKey
    if (ctrl && e.altKey) return ctrlAlt[e.code]
    if (screen.dialog) return undefined
    if (e.key === 'F6') return () => nextPane(e.shiftKey)
    if (ctrl && e.code === 'KeyK') return () => (screen.dialog = 'palette')
    if (e.altKey) return alt[e.code]
    if (screen.singleKeys && !ctrl && !typing(e.target) && single[e.key]) return single[e.key]
    if (e.key === 'Escape' && (screen.rail || screen.contact)) return () => (screen.rail = screen.contact = false)
    return undefined
  }

  function onKey(e: KeyboardEvent): void {
    const act = actOf(e)
    if (!act) return
    e.preventDefault()
    act()
  }

  addEventListener('keydown', onKey)
  return () => removeEventListener('keydown', onKey)
}
