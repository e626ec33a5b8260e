// Queues and colleagues for the rail and the transfer dialog.
import { defineStore } from 'pinia'
import { computed, ref } from 'vue'
import { api, type Colleague, type Queue } from '../../shared/api'
import { useSession } from './session'

export const useTeam = defineStore('team', () => {
  const session = useSession()
  const queues = ref<Queue[]>([])
  const agents = ref<Colleague[]>([])
  let soon: ReturnType<typeof setTimeout> | undefined

  const mine = computed(() => queues.value.filter((q) => session.me?.queue_ids.includes(q.id)))

  async function load(): Promise<void> {
    try {
      queues.value = await api.queues()
    } catch {
      // figures of the rail: the old ones stay until the next news
    }
  }

  // A burst of list news costs one question.
  function news(): void {
    soon ??= setTimeout(() => {
      soon = undefined
      void load()
    }, 1_000)
  }

  async function loadAgents(): Promise<void> {
    try {
      agents.value = await api.agents()
    } catch {
      agents.value = []
    }
  }

  return { queues, agents, mine, load, loadAgents, news }
})
