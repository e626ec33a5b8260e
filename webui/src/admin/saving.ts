// One act of a form: busy while it runs, and afterwards the fields that were wrong, with the focus in the first of them.
import { nextTick, ref, type Ref } from 'vue'
import { ApiError, said, type Fault } from '../shared/api'
import { Wrong } from './fields'

export interface Saving {
  busy: Ref<boolean>
  at: (field: string) => string
  general: () => string
  run: (act: () => Promise<unknown>) => Promise<boolean>
}

function faultsOf(err: unknown): readonly Fault[] {
  if (err instanceof Wrong) return err.fields
  if (err instanceof ApiError && err.fields.length) return err.fields
  return [{ field: err instanceof ApiError ? err.field : '', message: said(err) }]
}

// useSaving: fields are the form's, prefix begins their ids. An error elsewhere is the form's own.
export function useSaving(prefix: string, fields: readonly string[]): Saving {
  const busy = ref(false)
  const wrong = ref<Fault[]>([])

  async function run(act: () => Promise<unknown>): Promise<boolean> {
    busy.value = true
    wrong.value = []
    try {
      await act()
      return true
    } catch (err) {
      wrong.value = faultsOf(err).map((f) => ({ field: f.field.split('.')[0] ?? '', message: f.message }))
      await nextTick()
      document.getElementById(`${prefix}-${wrong.value[0]?.field}`)?.focus()
      return false
    } finally {
      busy.value = false
    }
  }

  return {
    busy,
    at: (field) => wrong.value.find((f) => f.field === field)?.message ?? '',
    general: () => {
      const other = wrong.value.find((f) => !fields.includes(f.field))
      if (other) return other.message
      return wrong.value.length > 1 ? `${wrong.value.length} fields are not right yet.` : ''
    },
    run,
  }
}
