// What a form asks, as a table: the words, and how a setting becomes text in a field and back.
import type { Fault, Rate, Trunk } from '../shared/api'

export type Kind = 'text' | 'password' | 'number' | 'lines' | 'rates' | 'check' | 'choice'

export interface FieldSpec {
  name: string
  label: string
  kind: Kind
  hint?: string
  options?: readonly (readonly [value: string, text: string])[]
}

export interface Section {
  title: string
  about: string
  fields: (FieldSpec & { name: keyof Trunk })[]
}

export const trunkSections: Section[] = [
  {
    title: 'Where',
    about: 'Take the details from your provider’s page for “SIP trunk”.',
    fields: [
      { name: 'name', label: 'Name', kind: 'text', hint: 'For you and your colleagues, such as Fjordtel.' },
      { name: 'enabled', label: 'In use', kind: 'check' },
      { name: 'servers', label: 'Servers', kind: 'lines', hint: 'One a line, tried in this order: sip.example.net or 203.0.113.7:5060. Empty when they only call us.' },
      { name: 'sources', label: 'Who may call in', kind: 'lines', hint: 'Addresses or networks, one a line: 203.0.113.0/24. Everybody else gets no answer.' },
      { name: 'transport', label: 'Transport', kind: 'choice', options: [['udp', 'UDP'], ['tcp', 'TCP'], ['tls', 'TLS, encrypted']] },
      { name: 'domain', label: 'Domain', kind: 'text', hint: 'Behind the @ of our address. Empty: the first server.' },
      { name: 'priority', label: 'Order', kind: 'number', hint: 'Of several trunks the lowest is dialled first, the next when it fails.' },
      { name: 'options_seconds', label: 'Ask whether it answers, every seconds', kind: 'number', hint: '0: never.' },
    ],
  },
  {
    title: 'Login',
    about: 'Leave it empty when the provider knows us by our address.',
    fields: [
      { name: 'username', label: 'User name', kind: 'text' },
      { name: 'password', label: 'Password', kind: 'password', hint: 'Kept on the server and never shown again.' },
      { name: 'auth_username', label: 'Login name', kind: 'text', hint: 'Only where it differs from the user name.' },
      { name: 'register', label: 'Register with the provider', kind: 'check', hint: 'Most providers with a user name want this.' },
      { name: 'register_seconds', label: 'Register again after seconds', kind: 'number' },
      { name: 'challenge', label: 'Ask callers for the password, too', kind: 'check' },
      { name: 'digest', label: 'How we ask', kind: 'choice', options: [['md5', 'MD5, which all devices know'], ['sha256', 'SHA-256']] },
    ],
  },
  {
    title: 'Numbers',
    about: 'How the two sides write numbers.',
    fields: [
      { name: 'country_code', label: 'Country code', kind: 'text', hint: '49 for Germany, 1 for the USA and Canada.' },
      { name: 'national_prefix', label: 'Digits before an area code', kind: 'text', hint: '0 in most of Europe; empty where there are none.' },
      { name: 'number_format', label: 'Numbers go out as', kind: 'choice', options: [['e164', '+49 30 1234567'], ['plain', '49301234567, without +'], ['national', '0301234567, as at home'], ['asis', 'they were dialled']] },
      { name: 'caller_number', label: 'Number shown', kind: 'text', hint: 'When an agent chooses none: +49 30 23125410.' },
      { name: 'caller_header', label: 'The number shown stands in', kind: 'choice', options: [['pai', 'P-Asserted-Identity'], ['ppi', 'P-Preferred-Identity'], ['rpid', 'Remote-Party-ID'], ['from', 'From only']] },
      { name: 'called_header', label: 'The number called stands in', kind: 'choice', options: [['ruri', 'the request line'], ['to', 'To'], ['pcpid', 'P-Called-Party-ID'], ['diversion', 'Diversion']] },
    ],
  },
  {
    title: 'Sound and encryption',
    about: 'The first codec that both sides know is used.',
    fields: [
      { name: 'codecs', label: 'Codecs', kind: 'lines', hint: 'One a line, the best first: PCMU, PCMA, G722, opus.' },
      { name: 'srtp', label: 'Encrypted sound', kind: 'choice', options: [['off', 'Off'], ['optional', 'Where the other side can'], ['required', 'Always: else no call']] },
      { name: 'srtp_keys', label: 'Keys by', kind: 'choice', options: [['sdes', 'SDES, inside TLS'], ['dtls', 'DTLS']] },
      { name: 'latch', label: 'Sound behind a router', kind: 'choice', options: [['auto', 'Find out'], ['on', 'Answer where it comes from'], ['off', 'Only the announced address']] },
      { name: 'signal_ip', label: 'Our address for calls', kind: 'text', hint: 'Announced to this trunk: 203.0.113.7. Empty: as in the settings.' },
      { name: 'media_ip', label: 'Our address for sound', kind: 'text', hint: 'Empty: as in the settings.' },
      { name: 'force_rport', label: 'Answer to where a message came from', kind: 'check', hint: 'Whatever it says itself. Leave it on behind routers.' },
    ],
  },
  {
    title: 'Calls going out, and what they may cost',
    about: 'A stolen password cannot cost more than this.',
    fields: [
      { name: 'dial_out', label: 'Agents may call out', kind: 'check' },
      { name: 'international', label: 'Also abroad', kind: 'check' },
      { name: 'allowed_prefixes', label: 'Only numbers that begin with', kind: 'lines', hint: 'One a line: +49. Empty: the own country.' },
      { name: 'blocked_prefixes', label: 'Never numbers that begin with', kind: 'lines', hint: 'One a line: +49900. They go before the others.' },
      { name: 'max_money_day', label: 'Most money per day', kind: 'number', hint: 'In the currency of your rates.' },
      { name: 'money_per_minute', label: 'A minute costs', kind: 'number', hint: 'Where no rate below says otherwise.' },
      { name: 'rates', label: 'Rates', kind: 'rates', hint: 'One a line: +4915 0.09. The longest beginning counts.' },
      { name: 'max_calls', label: 'Most calls at once, both ways', kind: 'number' },
      { name: 'max_calls_out', label: 'Most calls out at once', kind: 'number' },
      { name: 'max_calls_hour', label: 'Most calls out per agent and hour', kind: 'number' },
      { name: 'max_calls_day', label: 'Most calls out per day', kind: 'number' },
      { name: 'may_refer', label: 'It may be asked to pass calls on', kind: 'check', hint: 'REFER, for providers that can.' },
      { name: 'may_redirect', label: 'It may send calls elsewhere', kind: 'check', hint: 'Its redirections (3xx) are followed, under the same limits.' },
    ],
  },
]

export type Draft = Record<string, string | boolean>

// Wrong is a field that cannot be sent as it is; fields are all of them.
export class Wrong extends Error {
  constructor(readonly field: string, message: string, readonly fields: readonly Fault[] = [{ field, message }]) {
    super(message)
  }
}

const lines = (text: string): string[] => text.split(/[\n,]/).map((l) => l.trim()).filter(Boolean)
const decimal = (text: string): number => (/^[+-]?\d*[.,]?\d+$/.test(text.trim()) ? Number(text.trim().replace(',', '.')) : NaN)

export function textOf(kind: Kind, value: unknown): string | boolean {
  if (kind === 'check') return Boolean(value)
  if (kind === 'lines') return (value as string[]).join('\n')
  if (kind === 'rates') return (value as Rate[]).map((r) => `${r.prefix} ${r.per_minute}`).join('\n')
  return String(value ?? '')
}

export function valueOf(spec: FieldSpec, text: string | boolean): unknown {
  if (typeof text === 'boolean') return text
  switch (spec.kind) {
    case 'lines':
      return lines(text)
    case 'number': {
      const n = decimal(text)
      if (Number.isNaN(n)) throw new Wrong(spec.name, 'A number was expected.')
      return n
    }
    case 'rates':
      return text.split('\n').map((l) => l.trim()).filter(Boolean).map((line) => {
        const [, prefix, price] = /^(.*\S)\s+(\S+)$/.exec(line) ?? []
        const per_minute = decimal(price ?? '')
        if (!prefix || Number.isNaN(per_minute)) throw new Wrong(spec.name, `“${line}”: the beginning of a number and a price were expected, such as +4915 0.09.`)
        return { prefix, per_minute }
      })
    case 'password':
      return text
    default:
      return text.trim()
  }
}

const trunkFields = trunkSections.flatMap((s) => s.fields)

export const draftOf = (trunk: Trunk): Draft => Object.fromEntries(trunkFields.map((f) => [f.name, textOf(f.kind, trunk[f.name])]))

// trunkOf is what is sent: trunk with what was typed. An empty password leaves the one that is stored.
export function trunkOf(trunk: Trunk, draft: Draft): Trunk {
  const wrong: Wrong[] = []
  const values = trunkFields.map((f) => {
    try {
      return [f.name, valueOf(f, draft[f.name] ?? '')]
    } catch (err) {
      if (!(err instanceof Wrong)) throw err
      wrong.push(err)
      return [f.name, undefined]
    }
  })
  const [first] = wrong
  if (first) throw new Wrong(first.field, first.message, wrong.flatMap((w) => w.fields))
  return { ...trunk, ...Object.fromEntries(values) }
}
