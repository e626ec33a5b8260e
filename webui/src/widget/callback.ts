// A call back: the visitor goes, keeps the place in line, and is called. The server decides what can be promised; what it
// refuses stands at the field that it names.

import { signal } from '@preact/signals'
import type { Chat } from './chat'
import { newID } from './keep'
import type { CallTimes, FromServer } from './wire'
import { words } from './words'

export class CallBack {
  readonly open = signal(false) // the form
  readonly times = signal<CallTimes | null>(null)
  readonly sending = signal(false)
  readonly error = signal<{ field: string; text: string } | null>(null)
  private asked = ''

  constructor(private readonly chat: Chat) {}

  /** show opens the form; what can be chosen comes from the server. */
  show(): void {
    this.open.value = true
    this.error.value = null
    this.times.value = null
    if (!this.chat.send({ type: 'call_times' })) this.error.value = { field: '', text: words.notConnected }
  }

  hide(): void { this.open.value = false }

  submit(number: string, name: string, at: string | null): void {
    if (this.sending.value) return
    if (number.replace(/\D/g, '').length < 2) {
      this.error.value = { field: 'number', text: words.whichNumber }
      return
    }
    this.error.value = null
    this.asked = newID()
    this.sending.value = this.chat.send({ type: 'call_me', client_id: this.asked, number, name, ...(at ? { at } : {}) })
    if (!this.sending.value) this.error.value = { field: '', text: words.notConnected }
  }

  /** The visitor waits here instead. */
  stay(): void { this.chat.send({ type: 'no_call' }) }

  /** down: what was asked is asked again by the visitor, who sees whether it was taken. */
  down(): void {
    if (!this.sending.value) return
    this.sending.value = false
    this.error.value = { field: '', text: words.notConnected }
  }

  take(f: FromServer): boolean {
    switch (f.type) {
      case 'call_times':
        this.times.value = f.call_times
        return true
      case 'message':
        if (f.message.code === 'callback' && this.chat.live(f.message.seq)) this.show() // the house asks
        return false
      case 'ack':
        if (f.client_id !== this.asked) return false
        this.sending.value = false
        this.open.value = false
        return true
      case 'error':
        if (!this.sending.value || f.client_id !== this.asked) return false
        this.sending.value = false
        this.error.value = { field: f.field ?? '', text: f.message }
        return true
    }
    return false
  }
}
