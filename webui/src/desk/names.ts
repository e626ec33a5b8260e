// How the desk names people and things. Pure.
import type { Channel, Message, Row } from '../shared/api'
import type { IconName } from '../shared/icons'

// Initials for a face; numbers, addresses and "Visitor 12" have none and get a sign instead.
export function initials(name: string): string {
  if (/^[+\d]/.test(name)) return '#'
  if (name.includes('@')) return name.slice(0, 1).toUpperCase()
  const words = name.split(/\s+/).filter((w) => /^\p{L}/u.test(w))
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words
  return letters.map((w) => (w ?? '').slice(0, 1).toUpperCase()).join('') || '#'
}

// The first name where there is one, else the whole: "+49 171 ..." and "Visitor 12" stay.
export function firstName(name: string): string {
  if (!name) return 'the customer'
  if (/^[+\d]/.test(name) || name.includes('@') || /\d$/.test(name)) return name
  return name.split(/\s+/)[0] ?? name
}

export const channelIcon: Record<Channel, IconName> = { voice: 'phone', chat: 'chat', email: 'mail' }
export const channelName: Record<Channel, string> = { voice: 'Call', chat: 'Chat', email: 'E-mail' }

export const dispositions = [
  { value: 'solved', text: 'Solved' },
  { value: 'follow_up', text: 'Follow up' },
  { value: 'wrong_number', text: 'Wrong number' },
  { value: 'spam', text: 'Spam' },
  { value: 'other', text: 'Other' },
] as const
export type Disposition = (typeof dispositions)[number]['value']

export function dispositionText(value: string): string {
  return dispositions.find((d) => d.value === value)?.text ?? ''
}

// title is a conversation's headline: the subject, else who it is with.
export function title(row: Pick<Row, 'subject' | 'channel' | 'contact_name'>): string {
  return row.subject || `${channelName[row.channel]} with ${row.contact_name}`
}

// leftText names a message that was left in place of waiting.
export const leftText: Record<Row['left_message'], string> = { '': '', voicemail: 'Voicemail', email: 'Message left' }

// stateText says where a conversation stands, for a tag.
export function stateText(row: Row, me: number): string {
  switch (row.state) {
    case 'new':
    case 'bot':
      return 'With the responder'
    case 'waiting':
      return leftText[row.left_message] || (row.return_call ? 'Call to return' : 'Waiting')
    case 'offered':
      return 'Ringing'
    case 'agent':
      return row.agent_id === me ? (row.call_id ? 'In call' : 'You') : row.agent_name
    case 'wrapup':
      return row.agent_id === me ? 'Wrap-up' : `Wrap-up, ${row.agent_name}`
    case 'closed':
      return dispositionText(row.disposition) || 'Closed'
  }
}

// lastWords is a row's second line; our own words say so.
export function lastWords(row: Row): string {
  if (!row.last_words) return ''
  if (row.last_author === 'agent') return `You: ${row.last_words}`
  if (row.last_author === 'ai') return `AI: ${row.last_words}`
  return row.last_words
}

export function author(m: Pick<Message, 'author' | 'data' | 'agent_id'>, me: number, contact: string): string {
  if (m.author === 'ai') return 'Responder'
  if (m.author === 'agent') return m.agent_id === me ? 'You' : m.data.agent_name || 'Agent'
  if (m.author === 'system') return 'Patchbay'
  return firstName(contact)
}
