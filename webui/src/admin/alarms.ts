// Odd or expensive use of a trunk that nobody has looked at yet; supervisors and administrators see it wherever they are.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { api, said, type TrunkAlarm } from '../shared/api'

export const useTrunkAlarms = defineStore('trunkAlarms', () => {
  const list = ref<TrunkAlarm[]>([])
  const error = ref('')

  async function load(): Promise<void> {
    try {
      list.value = await api.alarms()
      error.value = ''
    } catch (err) {
      error.value = said(err)
    }
  }

  // receive takes a new one; without it somebody has seen one.
  function receive(alarm?: TrunkAlarm): void {
    if (!alarm) void load()
    else if (!list.value.some((a) => a.id === alarm.id)) list.value = [alarm, ...list.value]
  }

  async function seen(id: number): Promise<void> {
    await api.seeAlarm(id).catch((err) => (error.value = said(err)))
    await load()
  }

  return { list, error, load, receive, seen }
})
