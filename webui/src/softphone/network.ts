// Tells when the way to the server may have changed under a call: the browser is online again, the interface is another
// one, the machine has slept. A timer that comes seconds late was not running: nothing else tells a page of a sleep.
const tick = 1_000
const slept = 5_000

export function whenNetworkChanges(changed: () => void): () => void {
  const connection = (navigator as { connection?: EventTarget }).connection
  let last = Date.now()
  const watch = setInterval(() => {
    const now = Date.now()
    // a hidden tab's timers run once a minute at the least
    if (now - last > (document.hidden ? 65_000 : slept)) changed()
    last = now
  }, tick)
  addEventListener('online', changed)
  connection?.addEventListener('change', changed)
  return () => {
    clearInterval(watch)
    removeEventListener('online', changed)
    connection?.removeEventListener('change', changed)
  }
}
