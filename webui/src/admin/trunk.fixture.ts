import type { Trunk } from '../shared/api'

// newTrunk is what the server says that a new one begins with.
export const newTrunk = (): Trunk => ({
  id: 0, name: '', enabled: true, servers: [], transport: 'udp', domain: '', priority: 10, sources: [], challenge: false, digest: 'md5', username: '',
  auth_username: '', password: '', has_password: false, register: false, register_seconds: 600, options_seconds: 60, codecs: ['PCMU', 'PCMA'], srtp: 'off',
  srtp_keys: 'sdes', signal_ip: '', media_ip: '', latch: 'auto', force_rport: true, number_format: 'e164', country_code: '', national_prefix: '0',
  caller_header: 'pai', called_header: 'ruri', caller_number: '', may_refer: false, may_redirect: false, dial_out: false, allowed_prefixes: [],
  blocked_prefixes: [], international: false, max_calls: 30, max_calls_out: 10, max_calls_hour: 100, max_calls_day: 500, max_money_day: 20,
  money_per_minute: 0.1, rates: [], created_at: '2026-11-22T10:00:00Z', changed_at: '2026-11-22T10:00:00Z',
})
