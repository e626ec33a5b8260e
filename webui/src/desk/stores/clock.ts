// The server's clock as this tab knows it: countdowns must agree with the server even on a machine whose clock is wrong.
import { defineStore } from 'pinia'
import { ref } from 'vue'

export const useClock = defineStore('clock', () => {
  const now = ref(Date.now())
  let offset = 0
  let bestTrip = Infinity

  // learn takes the server's time and when we asked and heard; the shortest trip is believed most.
  function learn(server: string, asked: number, heard: number): void {
    const trip = heard - asked
    if (trip > bestTrip + 20) return
    bestTrip = trip
    offset = Date.parse(server) - (asked + heard) / 2
    tick()
  }

  // atLeast: news stamped by the server cannot come from its future.
  function atLeast(server: string): void {
    const ahead = Date.parse(server) - (Date.now() + offset)
    if (ahead > 0) offset += ahead
    tick()
  }

  const tick = (): void => {
    now.value = Date.now() + offset
  }
  setInterval(tick, 500)

  return { now, learn, atLeast }
})
