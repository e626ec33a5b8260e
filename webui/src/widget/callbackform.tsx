import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { CallBack } from './callback'
import { Icon } from './icons'
import type { CallTimes, Place } from './wire'
import { clock, ordinal, words } from './words'

/** What stands in the waiting box about being called. */
export function CallBackLine({ callback, place, now, up }: { callback: CallBack; place: Place; now: number; up: boolean }) {
  if (!place.call_back) {
    return place.may_call
      ? <div class="opts"><button class="btn" type="button" aria-disabled={!up} onClick={() => { if (up) callback.show() }}><Icon name="callback" small />{words.callMe}</button></div>
      : null
  }
  return (
    <>
      <p class="promise"><Icon name="callback" small /><span>We call you at <b class="num">{place.call_back}</b>{place.call_at ? <>, not before <b>{clock(place.call_at, now)}</b></> : ' when it is your turn'}. You may close this page.</span></p>
      <div class="opts"><button class="btn" type="button" aria-disabled={!up} onClick={() => { if (up) callback.stay() }}>{words.stay}</button></div>
    </>
  )
}

/** The form: when, at which number, and whom to ask for. */
export function CallBackForm({ callback, place, now }: { callback: CallBack; place: Place; now: number }) {
  const times = callback.times.value
  const error = callback.error.value
  const when = useSignal<'turn' | 'first' | 'other'>('turn')
  const other = useSignal('')
  const number = useRef<HTMLInputElement>(null)
  const name = useRef<HTMLInputElement>(null)
  useEffect(() => { number.current?.focus() }, [])
  useEffect(() => { if (times) when.value = times.open ? 'turn' : 'first' }, [times])
  useEffect(() => { if (error?.field === 'number') number.current?.focus() }, [error])
  const first = times?.times[0]
  const submit = (e: Event) => {
    e.preventDefault()
    const at = when.value === 'turn' ? null : when.value === 'first' ? first ?? null : other.value || times?.times[0] || null
    callback.submit(number.current?.value ?? '', name.current?.value ?? '', at)
  }
  const at = (field: string): string => (error?.field === field ? error.text : '')
  return (
    <form class="sheet" aria-label="Call me back" noValidate onSubmit={submit} onKeyDown={(e) => { if (e.key === 'Escape') { e.stopPropagation(); callback.hide() } }}>
      <h3>{words.callMeTitle}</h3>
      <p class="keeps"><Icon name="check" small />Keeps your place: {place.ahead > 0 ? `${ordinal(place.position)} in line` : 'next in line'}</p>
      {times && (
        <fieldset>
          <legend>When?</legend>
          {times.open && <Choice on={when.value === 'turn'} onPick={() => { when.value = 'turn' }} label="When it is my turn" />}
          {!times.open && first && <Choice on={when.value === 'first'} onPick={() => { when.value = 'first' }} label="When people are back" small={clock(first, now)} />}
          {times.times.length > 1 && <Choice on={when.value === 'other'} onPick={() => { when.value = 'other' }} label="At another time" />}
          {when.value === 'other' && <Times times={times} value={other.value || times.times[0]!} onPick={(v) => { other.value = v }} />}
          {at('at') && <p class="error" role="alert"><Icon name="alert" small />{at('at')}</p>}
        </fieldset>
      )}
      <div class="field">
        <label for="callback-number">Your number</label>
        <input class="input num" id="callback-number" ref={number} type="tel" autocomplete="tel" maxLength={40} aria-invalid={at('number') ? 'true' : undefined} aria-describedby="callback-hint" />
        {at('number') ? <p class="error" id="callback-hint" role="alert"><Icon name="alert" small />{at('number')}</p>
          : <p class="hint" id="callback-hint">With its area code.{times ? ` We try ${times.tries === 1 ? 'once' : times.tries === 2 ? 'twice' : `${times.tries} times, ${times.minutes} minutes apart`}, then write to you here.` : ''}</p>}
      </div>
      <div class="field">
        <label for="callback-name">Your name <small>(if you like)</small></label>
        <input class="input" id="callback-name" ref={name} type="text" autocomplete="name" maxLength={100} />
        {at('name') && <p class="error" role="alert"><Icon name="alert" small />{at('name')}</p>}
      </div>
      {error && !['number', 'name', 'at'].includes(error.field) && <p class="error" role="alert"><Icon name="alert" small />{error.text}</p>}
      <div class="push">
        <button class="btn primary big" type="submit" aria-busy={callback.sending.value}><Icon name="callback" />{when.value === 'turn' ? 'Call me at my turn' : 'Call me then'}</button>
        <button class="btn quiet big" type="button" onClick={() => callback.hide()}>{words.keepWaiting}</button>
      </div>
    </form>
  )
}

function Choice({ on, onPick, label, small }: { on: boolean; onPick: () => void; label: string; small?: string }) {
  return <label class="opt"><input type="radio" name="when" checked={on} onChange={onPick} />{label}{small && <small>{small}</small>}</label>
}

/** The times to choose from, by the day, on the reader's own clock. */
function Times({ times, value, onPick }: { times: CallTimes; value: string; onPick: (at: string) => void }) {
  const days = new Map<string, string[]>()
  for (const t of times.times) {
    const day = new Date(t).toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
    days.set(day, [...(days.get(day) ?? []), t])
  }
  return (
    <select class="input" aria-label="Day and time" value={value} onChange={(e) => onPick(e.currentTarget.value)}>
      {[...days].map(([day, list]) => (
        <optgroup key={day} label={day}>
          {list.map((t) => <option key={t} value={t} selected={t === value}>{new Date(t).toLocaleTimeString(undefined, { hour: 'numeric', minute: '2-digit' })}, {new Date(t).toLocaleDateString(undefined, { weekday: 'short' })}</option>)}
        </optgroup>
      ))}
    </select>
  )
}
