// One tab of a browser owns the phone. The Web Lock decides between the tabs of one browser and is free again the moment
// a tab is closed or reloaded; the server decides between browsers (phone_claim).
const name = 'patchbay-phone'

export interface Owner {
  steal: () => void
  release: () => void
}

// own waits for the lock and calls held(true); held(false) when another tab has taken it.
export function own(held: (on: boolean) => void): Owner {
  let release: () => void = () => {}
  let stopped = false

  function request(options: LockOptions): void {
    if (!('locks' in navigator)) {
      held(true) // no secure context: the server's word alone decides
      return
    }
    navigator.locks
      .request(name, options, () => {
        if (stopped) return undefined
        held(true)
        return new Promise<void>((resolve) => (release = resolve))
      })
      .catch(() => {
        if (stopped) return
        held(false)
        request({}) // stolen: line up again, the other tab may be closed
      })
  }

  request({})
  return {
    steal: () => request({ steal: true }),
    release: () => {
      stopped = true
      release()
    },
  }
}
