// Promises that are broken and still owed. Supervisors see them wherever they are, until a person has spoken.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { api, said, type LatePromise } from '../shared/api'

export const usePromises = defineStore('promises', () => {
  const late = ref<LatePromise[]>([])
  const error = ref('')
  let asked = 0

  async function load(): Promise<void> {
    const turn = ++asked
    try {
      const list = await api.latePromises()
      if (turn === asked) late.value = list
      error.value = ''
    } catch (err) {
      if (turn === asked) error.value = said(err)
    }
  }

  // changed: one of them may have heard its first word.
  function changed(conversations: number[]): void {
    if (late.value.some((p) => conversations.includes(p.conversation_id))) void load()
  }

  return { late, error, load, changed }
})
