import { useSignal } from '@preact/signals'
import type { Call } from './call'
import { Icon } from './icons'
import type { ViewProps } from './view'
import { callLine, words } from './words'

const keys = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '0', '#']
const endShown = 8_000

/** The running call, and for a moment why it ended: it stands above the messages, which go on beside it. */
export function CallBar(p: ViewProps) {
  const { call, chat, now } = p
  const pad = useSignal(false)
  if (call.elsewhere.value) return <p class="call note" role="status"><Icon name="phone" />{words.callElsewhere}</p>
  if (!call.active.value) {
    const why = call.error.value
    if (!why || now.value - call.endedAt.value > endShown && why === words.callEnded) return null
    return (
      <p class={why === words.callEnded ? 'call note' : 'call note warn'} role="status">
        <Icon name={why === words.callEnded ? 'phone' : 'alert'} /><span>{why}</span>
        <button class="link" type="button" onClick={() => { call.error.value = '' }}>OK</button>
      </p>
    )
  }
  const muted = call.muted.value
  return (
    <section class="call" aria-label="Your call">
      <div class="calltop">
        <p role="status"><b>{callLine(call.phase.value, call.row.value, chat.standing.value.agent)}</b></p>
        <Clock {...p} />
      </div>
      {call.error.value && <p class="callerr" role="status">{call.error.value}</p>}
      <div class="callkeys">
        <button class="tool" type="button" aria-pressed={muted} onClick={() => call.mute(!muted)}><Icon name={muted ? 'micoff' : 'mic'} />{words.mute}</button>
        <button class="tool" type="button" aria-expanded={pad.value} onClick={() => { pad.value = !pad.value }}><Icon name="keypad" />{words.keypad}</button>
        <button class="tool hang" type="button" onClick={() => call.hangUp()}><Icon name="phone" />{words.hangUp}</button>
      </div>
      {pad.value && <Keypad call={call} />}
    </section>
  )
}

/** 0 is a person, as on the telephone. */
function Keypad({ call }: { call: Call }) {
  return (
    <div class="pad" role="group" aria-label="Keys">
      {keys.map((k) => <button key={k} type="button" onClick={() => call.key(k)} aria-label={k === '0' ? words.zero : undefined}>{k}</button>)}
    </div>
  )
}

function Clock({ call, now }: ViewProps) {
  const since = call.row.value?.since
  if (call.phase.value !== 'on' || !since) return null
  const s = Math.max(0, Math.floor((now.value - new Date(since).getTime()) / 1000))
  return <span class="callclock" aria-hidden="true">{Math.floor(s / 60)}:{String(s % 60).padStart(2, '0')}</span>
}

/** The telephone in the panel's head. */
export function PhoneButton({ call }: { call: Call }) {
  if (!call.offered.value || call.active.value || call.elsewhere.value) return null
  return <button class="round" type="button" aria-label={words.call} title={words.call} onClick={() => void call.start()}><Icon name="phone" /></button>
}
