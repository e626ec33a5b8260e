import { CallBackLine } from './callbackform'
import type { ViewProps } from './view'
import { Icon } from './icons'
import { Leave } from './leave'
import type { Place, State } from './wire'
import { clock, place as inWords, usually, words } from './words'

/** In line: the place, how long that usually takes, since when, and what was promised, which is the one on record. */
export function Waiting(p: ViewProps & { state: State | null; place: Place }) {
  const { chat, callback, now, state, place } = p
  const up = chat.link.value === 'up'
  return (
    <div class="wait" role="status">
      <div class="cordw" aria-hidden="true">
        <span>You</span>
        <svg viewBox="0 0 260 30" preserveAspectRatio="none">
          <path vector-effect="non-scaling-stroke" d="M4 8C40 22 90 25 130 25" />
          <path class={state === 'offered' ? '' : 'ahead'} vector-effect="non-scaling-stroke" d="M130 25C170 25 220 22 256 8" />
        </svg>
        <span>a person</span>
      </div>
      <p class="place">{inWords(state, place)}</p>
      {!place.call_at && usually(state, place) && <p class="range">{usually(state, place)}</p>}
      {place.since && <p class="range">You asked at {clock(place.since, now.value)}.</p>}
      {place.due_at && <Promise due={place.due_at} now={now.value} called={Boolean(place.call_back)} mail={place.answer_to ?? ''} />}
      <CallBackLine callback={callback} place={place} now={now.value} up={up} />
      {chat.takesMessages.value && !place.call_back && <Leave {...p} again={!!place.answer_to} />}
      <button class="fin" type="button" aria-disabled={!up} onClick={() => { if (up) chat.noPerson() }}>{words.noPerson}</button>
    </div>
  )
}

function Promise({ due, called, now, mail }: { due: string; called: boolean; now: number; mail: string }) {
  const time = <b>{clock(due, now)}</b>
  if (new Date(due).getTime() < now) {
    return <p class="promise late"><Icon name="alert" small /><span>We said {time} and did not keep it. You are still in line.</span></p>
  }
  return <p class="promise"><Icon name="check" small />{mail ? <span>We owe you a person’s answer, by e-mail to {mail}, by {time}. You can close this page.</span> : <span>{called ? 'We owe you a person’s call' : 'We owe you a person’s answer, here,'} by {time}.</span>}</p>
}
