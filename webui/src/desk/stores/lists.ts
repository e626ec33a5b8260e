// The rows of the lists: the three that are shown, and the call backs that somebody must look at. One row per conversation; which lists it stands in follows from the row itself, so a live
// frame about one conversation moves it between them without asking again.
import { defineStore } from 'pinia'
import { computed, reactive, ref } from 'vue'
import { api, said, type Counts, type Listed, type Row, type View } from '../../shared/api'
import { useClock } from './clock'
import { useSession } from './session'

export interface Group {
  name: string
  rows: Row[]
}

export function inView(row: Row, view: Listed, me: number): boolean {
  switch (view) {
    case 'mine':
      return row.agent_id === me && (row.state === 'agent' || row.state === 'wrapup')
    case 'waiting':
      return row.state === 'waiting' || row.state === 'offered'
    case 'urgent':
      return row.call_back_alarm !== '' && inView(row, 'waiting', me)
    case 'all':
      return true
  }
}

const byTime = (a: string, b: string): number => Date.parse(a) - Date.parse(b)

// The line: lost calls in front, then who waits longest; call backs whose time has not come behind them all.
export function byWait(a: Row, b: Row): number {
  const later = (r: Row): number => (r.call_back_at && Date.parse(r.call_back_at) > Date.now() ? Date.parse(r.call_back_at) : 0)
  return later(a) - later(b) || Number(b.front) - Number(a.front) || byTime(a.waiting_since ?? a.state_at, b.waiting_since ?? b.state_at)
}

export function grouped(rows: Row[], view: View): Group[] {
  if (view !== 'mine') return [{ name: '', rows }]
  const live = (r: Row) => r.state === 'agent' && (r.call_id !== null || r.channel === 'chat')
  const groups: Group[] = [
    { name: 'Live', rows: rows.filter(live) },
    { name: 'Wrap-up', rows: rows.filter((r) => r.state === 'wrapup') },
    { name: 'Needs your answer', rows: rows.filter((r) => r.state === 'agent' && !live(r) && r.last_author === 'contact') },
    { name: 'Waiting for the customer', rows: rows.filter((r) => r.state === 'agent' && !live(r) && r.last_author !== 'contact') },
  ]
  return groups.filter((g) => g.rows.length > 0)
}

export const useLists = defineStore('lists', () => {
  const clock = useClock()
  const session = useSession()
  const view = ref<View>('mine')
  const queue = ref(0) // only this queue's rows, 0 = all
  const rows = reactive(new Map<number, Row>())
  const counts = ref<Counts>({ mine: 0, waiting: 0, all: 0 })
  const loaded = reactive<Record<Listed, boolean>>({ mine: false, waiting: false, all: false, urgent: false })
  const loading = ref(false)
  const error = ref('')
  const ended = ref(false) // the list "all" has no older rows

  function of(which: Listed): Row[] {
    const found = [...rows.values()].filter((r) => inView(r, which, session.id))
    if (which === 'all') return found.sort((a, b) => byTime(b.changed_at, a.changed_at))
    return which === 'urgent' ? found.sort((a, b) => byTime(a.promise_due_at ?? a.state_at, b.promise_due_at ?? b.state_at)) : found.sort(byWait)
  }

  const shown = computed(() => of(view.value).filter((r) => queue.value === 0 || r.queue_id === queue.value))
  const groups = computed(() => grouped(shown.value, view.value))
  // the order that arrows and Alt J / K walk
  const order = computed(() => groups.value.flatMap((g) => g.rows))
  const longest = computed(() => {
    const first = of('waiting').map((r) => r.waiting_since ?? r.state_at).sort(byTime)[0]
    return first ? clock.now - Date.parse(first) : 0
  })

  async function load(which: Listed, before?: string): Promise<void> {
    loading.value = true
    try {
      const asked = Date.now()
      const list = await api.conversations(which, before)
      clock.learn(list.now, asked, Date.now())
      if (which !== 'all') forget(which, new Set(list.rows.map((r) => r.id)))
      for (const row of list.rows) put(row)
      counts.value = list.counts
      loaded[which] = true
      if (which === 'all') ended.value = list.rows.length < 100
      error.value = ''
    } catch (err) {
      error.value = said(err)
    } finally {
      loading.value = false
    }
  }

  // forget drops rows of a whole work list that the server no longer lists there; their news was missed.
  function forget(which: Listed, listed: Set<number>): void {
    for (const row of of(which)) if (!listed.has(row.id)) rows.delete(row.id)
  }

  // put keeps the newer of two versions: a slow answer must not undo a live frame.
  function put(row: Row): void {
    const had = rows.get(row.id)
    if (had && byTime(had.changed_at, row.changed_at) > 0) return
    rows.set(row.id, row)
  }

  function receive(row: Row, next?: Counts): void {
    put(row)
    if (next) counts.value = next
  }

  async function show(which: View, onlyQueue = 0): Promise<void> {
    view.value = which
    queue.value = onlyQueue
    if (!loaded[which]) await load(which)
  }

  // refresh reads again what is shown; the urgent ones last, which may stand beyond another list's end.
  async function refresh(): Promise<void> {
    const others = (['mine', 'waiting', 'all', 'urgent'] as const).filter((v) => loaded[v] && v !== view.value)
    await load(view.value)
    for (const other of others) await load(other)
  }

  async function older(): Promise<void> {
    const last = of('all').at(-1)
    if (last) await load('all', last.changed_at)
  }

  return { view, queue, rows, counts, loaded, loading, error, ended, groups, order, longest, of, load, put, receive, show, refresh, older }
})
