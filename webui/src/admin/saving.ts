// One act of a form: busy while it runs, and afterwards the field that was wrong, with the focus in it.
import { nextTick, ref, type Ref } from 'vue'
import { ApiError, said } from '../shared/api'
import { Wrong } from './fields'

export interface Saving {
  busy: Ref<boolean>
  at: (field: string) => string
  general: () => string
  run: (act: () => Promise<unknown>) => Promise<boolean>
}

// useSaving: fields are the form's, prefix begins their ids. An error elsewhere is the form's own.
export function useSaving(prefix: string, fields: readonly string[]): Saving {
  const busy = ref(false)
  const wrong = ref({ field: '', text: '' })

  async function run(act: () => Promise<unknown>): Promise<boolean> {
    busy.value = true
    wrong.value = { field: '', text: '' }
    try {
      await act()
      return true
    } catch (err) {
      if (err instanceof Wrong) wrong.value = { field: err.field, text: err.message }
      else wrong.value = { field: err instanceof ApiError ? (err.field.split('.')[0] ?? '') : '', text: said(err) }
      await nextTick()
      document.getElementById(`${prefix}-${wrong.value.field}`)?.focus()
      return false
    } finally {
      busy.value = false
    }
  }

  return {
    busy,
    at: (field) => (wrong.value.field === field ? wrong.value.text : ''),
    general: () => (fields.includes(wrong.value.field) ? '' : wrong.value.text),
    run,
  }
}
