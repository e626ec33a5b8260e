// What a tab keeps in the browser so that a reload loses nothing: drafts, unsent messages, sizes. Private windows may
// refuse; then it is kept for as long as the page lives.
const prefix = 'patchbay.'
const memory = new Map<string, string>()

export function keep(key: string, value: string): void {
  try {
    if (value) localStorage.setItem(prefix + key, value)
    else localStorage.removeItem(prefix + key)
  } catch {
    memory.set(key, value)
  }
}

export function kept(key: string): string {
  try {
    return localStorage.getItem(prefix + key) ?? memory.get(key) ?? ''
  } catch {
    return memory.get(key) ?? ''
  }
}

// forgetAll removes what belongs to conversations when the agent signs out; sizes and devices stay with the machine.
export function forgetAll(): void {
  memory.clear()
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(`${prefix}draft.`) || key.startsWith(`${prefix}outbox.`)) localStorage.removeItem(key)
    }
  } catch {
    // nothing was kept
  }
}
