// What outlives the page: the visitor's token, messages that the server has not acknowledged, and small comforts.
// Every unsent message has its own key, so that two tabs never write over each other's.

export interface Unsent {
  id: string // client_id: the server stores it once, however often it is sent
  kind: 'say' | 'person' | 'leave'
  email?: string // of a message that is left
  body: string
  at: number
  refused?: string // why the server will never take it; shown, not sent again
}

type Store = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>

export class Keep {
  private readonly prefix: string

  constructor(private readonly store: Store, server: string) {
    this.prefix = 'patchbay:' + server + ':'
  }

  get token(): string { return this.read('token') }
  set token(value: string) { this.write('token', value) }

  /** The last sequence number that was on screen. */
  get seen(): number { return Number(this.read('seen')) || 0 }
  set seen(value: number) { this.write('seen', value ? String(value) : '') }

  /** Words in the box that were not sent yet. */
  get typed(): string { return this.read('typed') }
  set typed(value: string) { this.write('typed', value) }

  get company(): string { return this.read('company') }
  set company(value: string) { this.write('company', value) }

  get open(): boolean { return this.read('open') === '1' }
  set open(value: boolean) { this.write('open', value ? '1' : '') }

  /** This tab has the visitor's call; it outlives the page, not the tab. */
  get calling(): boolean {
    try { return sessionStorage.getItem(this.prefix + 'calling') === '1' } catch { return false }
  }
  set calling(on: boolean) {
    try {
      if (on) sessionStorage.setItem(this.prefix + 'calling', '1')
      else sessionStorage.removeItem(this.prefix + 'calling')
    } catch { /* blocked: a call does not survive a reload */ }
  }

  unsent(): Unsent[] {
    const found: Unsent[] = []
    try {
      for (let i = 0; i < this.store.length; i++) {
        const key = this.store.key(i)
        if (!key?.startsWith(this.prefix + 'out:')) continue
        const one = JSON.parse(this.store.getItem(key) ?? 'null') as Unsent | null
        if (one && typeof one.id === 'string' && typeof one.body === 'string') found.push(one)
      }
    } catch { /* blocked or broken storage: nothing is kept */ }
    return found.sort((a, b) => a.at - b.at)
  }

  put(one: Unsent): void { this.write('out:' + one.id, JSON.stringify(one)) }
  drop(id: string): void { this.write('out:' + id, '') }

  /** The storage event's key, when it is the token's: another tab has got one. */
  isToken(key: string | null): boolean { return key === this.prefix + 'token' }

  private read(name: string): string {
    try { return this.store.getItem(this.prefix + name) ?? '' } catch { return '' }
  }

  private write(name: string, value: string): void {
    try {
      if (value) this.store.setItem(this.prefix + name, value)
      else this.store.removeItem(this.prefix + name)
    } catch { /* full or blocked: the page's memory still has it */ }
  }
}

/** A page's storage, or memory where the browser gives none (private windows, sandboxed frames). */
export function storage(): Store {
  try {
    localStorage.getItem('')
    return localStorage
  } catch {
    const memory = new Map<string, string>()
    return {
      get length() { return memory.size },
      key: (i) => [...memory.keys()][i] ?? null,
      getItem: (k) => memory.get(k) ?? null,
      setItem: (k, v) => void memory.set(k, v),
      removeItem: (k) => void memory.delete(k),
    }
  }
}

/** crypto.randomUUID is missing on plain http. */
export function newID(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
}
