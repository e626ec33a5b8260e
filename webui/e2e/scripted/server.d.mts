import type { Me, Message, NewMessage, Row } from '../../src/shared/api'

interface Answer {
  status: number
  body: { code: string; message: string }
}

// What unit tests use of it.
export class ScriptedServer {
  url: string
  signedIn: boolean
  house: { me: Me; rows: Row[]; said: Map<number, Message[]> }
  posts: NewMessage[]
  fail: (method: string, path: string) => Answer | undefined
  start(port?: number): Promise<this>
  stop(): Promise<void>
  act(row: Row, verb: string, body: unknown): unknown
}
