import { useLayoutEffect, useRef } from 'preact/hooks'
import type { ViewProps } from './view'
import { Icon } from './icons'
import { words } from './words'

/** In place of waiting: an address and a message; a person answers by mail. The server says what is wrong with either. */
export function Leave({ chat, again }: ViewProps & { again: boolean }) {
  const form = chat.leaveForm.value
  if (!form) return <button class="fin leave-btn" type="button" onClick={() => chat.askLeave()}><Icon name="mail" small />{again ? words.otherAddress : words.leave}</button>
  return <Form chat={chat} />
}

function Form({ chat }: Pick<ViewProps, 'chat'>) {
  const form = chat.leaveForm.value!
  const mail = useRef<HTMLInputElement>(null)
  const said = useRef<HTMLTextAreaElement>(null)
  const { error, field, sent } = form
  useLayoutEffect(() => { mail.current?.focus() }, [])
  useLayoutEffect(() => { if (error) (field === 'body' ? said : mail).current?.focus() }, [error])
  const spoke = chat.messages.value.some((m) => m.author === 'contact')
  return (
    <form class="leave" aria-label={words.leave} noValidate onSubmit={(e) => { e.preventDefault(); chat.leave() }}>
      <label for="leave-mail">{words.yourMail}</label>
      <input
        id="leave-mail" ref={mail} type="email" autocomplete="email" maxLength={254} value={form.email} aria-invalid={field === 'email'} aria-describedby="leave-error"
        onInput={(e) => chat.typeLeave({ email: e.currentTarget.value })}
      />
      <label for="leave-body">{spoke ? words.addMessage : words.yourMessage}</label>
      <textarea
        id="leave-body" ref={said} rows={3} maxLength={4000} value={form.body} aria-invalid={field === 'body'} aria-describedby="leave-error"
        onInput={(e) => chat.typeLeave({ body: e.currentTarget.value })}
      />
      <p class="leave-error" id="leave-error" role="alert">{error}</p>
      <div class="leave-acts">
        <button class="tool go-leave" type="submit" aria-disabled={sent}>{sent ? words.leaving : words.leaveNow}</button>
        <button class="tool" type="button" onClick={() => chat.dropLeave()}>{words.cancel}</button>
      </div>
    </form>
  )
}
