// What travels over /chat/socket. The server's side of it is channels/chat/frame.go.

export type State = 'new' | 'bot' | 'waiting' | 'offered' | 'agent' | 'wrapup' | 'closed'

export interface Source { title: string; url?: string }

export interface Message {
  seq: number
  author: 'contact' | 'ai' | 'agent' | 'system'
  kind: 'text' | 'event'
  body: string
  at: string
  client_id?: string
  code?: string
  agent_name?: string
  sources?: Source[]
  mode?: string
  cut?: boolean
  due_at?: string
}

/** low and high are minutes from now; without high no time can be told. answer_to: a message was left, the answer goes there. */
export interface Place { position: number; ahead: number; since?: string; due_at?: string; low?: number; high?: number; answer_to?: string; may_call?: boolean; call_back?: string; call_at?: string }

/** When a visitor in line can be called back; open: also at their turn. */
export interface CallTimes { open: boolean; times: string[]; zone: string; tries: number; minutes: number }

/** The visitor's newest call as the server sees it. */
export interface WebCall { call_id: number; state: 'answered' | 'waiting' | 'connecting' | 'bridged' | 'ended'; since?: string; reason?: string }

export type FromServer =
  | { type: 'welcome'; token?: string; conversation_id?: number; seq?: number; state?: State; company?: string; agent_name?: string; waiting?: Place; calls?: boolean; messages?: boolean; call?: WebCall }
  | { type: 'message'; message: Message }
  | { type: 'ack'; client_id: string; seq?: number; message?: Message }
  | { type: 'draft'; text: string; done?: boolean }
  | ({ type: 'state'; state: State; agent_name?: string } & Partial<Place>)
  | { type: 'typing' }
  | { type: 'error'; code: string; field?: string; message: string; client_id?: string }
  | { type: 'phone'; ice_servers: RTCIceServer[] }
  | { type: 'call_answer'; client_id: string; sdp: string }
  | { type: 'call'; call: WebCall }
  | { type: 'call_times'; call_times: CallTimes }
  | { type: 'resync' }
  | { type: 'pong' }

export type ToServer =
  | { type: 'hello'; token: string; after: number }
  | { type: 'say'; client_id: string; body: string }
  | { type: 'person'; client_id: string }
  | { type: 'leave'; client_id: string; email: string; body: string }
  | { type: 'no_person' }
  | { type: 'typing' }
  | { type: 'phone' }
  | { type: 'call'; client_id: string; sdp: string; again?: boolean }
  | { type: 'call_restart'; client_id: string; sdp: string }
  | { type: 'call_key'; digit: string }
  | { type: 'call_end' }
  | { type: 'call_times' }
  | { type: 'call_me'; client_id: string; number: string; name: string; at?: string }
  | { type: 'no_call' }
  | { type: 'ping' }
