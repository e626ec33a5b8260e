// The waiting line's settings as the server has them, and how a queue's hours and skills stand in a form: one a line.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import { api, said, type Hours, type LineSettings, type Skill, type SkillStep, type SpeechEngine } from '../shared/api'
import { useTeam } from '../desk/stores/team'
import { Wrong } from './fields'

export const useLine = defineStore('line', () => {
  const team = useTeam()
  const settings = ref<LineSettings>()
  const error = ref('')

  async function load(): Promise<void> {
    try {
      settings.value = await api.lineSettings()
      error.value = ''
    } catch (err) {
      error.value = said(err)
    }
  }

  // done does an act and shows what came of it.
  async function done<T>(act: Promise<T>): Promise<T> {
    const result = await act
    await Promise.all([load(), team.load()]) // the rail shows the queues, too
    return result
  }

  return { settings, error, load, done }
})

const rows = (text: string): string[] => text.split('\n').map((l) => l.trim()).filter(Boolean)
const days = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const
type Day = (typeof days)[number]
const short = (day: string): string => day.slice(0, 1).toUpperCase() + day.slice(1, 3)
const dayOf = (word: string): Day | undefined => days.find((d) => word.length >= 2 && d.startsWith(word.toLowerCase()))

// weekText joins days with the same times: "Mon-Fri 09:00-12:00, 13:00-17:00".
export function weekText(week: Hours['week']): string {
  const times = days.map((d) => week.filter((s) => s.day === d).map((s) => `${s.from}-${s.to}`).join(', '))
  const lines: string[] = []
  for (let i = 0; i < days.length;) {
    let end = i
    while (times[end + 1] === times[i]) end++
    if (times[i]) lines.push(`${short(days[i]!)}${end > i ? `-${short(days[end]!)}` : ''} ${times[i]}`)
    i = end + 1
  }
  return lines.join('\n')
}

export function weekOf(text: string): Hours['week'] {
  return rows(text).flatMap((line) => {
    const [, from, to, times] = /^([A-Za-z]+)(?:\s*-\s*([A-Za-z]+))?\s+(.+)$/.exec(line) ?? []
    const first = dayOf(from ?? ''), last = to ? dayOf(to) : first
    const spans = (times ?? '').split(',').map((t) => /^\s*(\d\d?:\d\d)\s*-\s*(\d\d?:\d\d)\s*$/.exec(t))
    if (!first || !last || spans.some((s) => !s)) throw new Wrong('week', `“${line}”: days and times were expected, such as Mon-Fri 09:00-12:00, 13:00-17:00.`)
    const n = (days.indexOf(last) - days.indexOf(first) + 7) % 7
    return Array.from({ length: n + 1 }, (_, i) => days[(days.indexOf(first) + i) % 7]!)
      .flatMap((day) => spans.map((s) => ({ day, from: s![1]!.padStart(5, '0'), to: s![2]!.padStart(5, '0') })))
  })
}

export const holidaysText = (list: Hours['holidays']): string =>
  list.map((d) => [d.date, d.from && `${d.from}-${d.to}`, d.name].filter(Boolean).join(' ')).join('\n')

export function holidaysOf(text: string): Hours['holidays'] {
  return rows(text).map((line) => {
    const [, date, from, to, name] = /^((?:\d{4}-)?\d\d-\d\d)(?:\s+(\d\d:\d\d)\s*-\s*(\d\d:\d\d))?(?:\s+(.*))?$/.exec(line) ?? []
    if (!date) throw new Wrong('holidays', `“${line}”: a date was expected, such as 12-25 Christmas or 2026-12-24 10:00-13:00.`)
    return { date, name: name ?? '', from: from ?? '', to: to ?? '' }
  })
}

export const skillsText = (steps: SkillStep[], skills: Skill[]): string =>
  steps.map((s) => `${skills.find((k) => k.id === s.skill_id)?.name ?? '?'} ${s.level}${s.after_seconds ? ` after ${s.after_seconds}` : ''}`).join('\n')

export function skillsOf(text: string, skills: Skill[]): SkillStep[] {
  return rows(text).map((line) => {
    const [, name, level, after] = /^(.*\S)\s+([0-5])(?:\s+after\s+(\d+)(?:\s*s(?:econds)?)?)?$/i.exec(line) ?? []
    const skill = skills.find((k) => k.name.toLowerCase() === name?.toLowerCase())
    if (!level) throw new Wrong('skills', `“${line}”: a skill and its level were expected, such as French 3, or French 2 after 60.`)
    if (!skill) throw new Wrong('skills', `There is no skill “${name}”. Add it under Skills.`)
    return { skill_id: skill.id, level: Number(level), after_seconds: Number(after ?? 0) }
  })
}

// engineOptions are the speech engines that a queue may choose; one that it has chosen stays, though it is there no more.
export function engineOptions(engines: SpeechEngine[], can: 'hears' | 'speaks', chosen: string): (readonly [string, string])[] {
  const able = engines.filter((e) => e[can]).map((e) => [e.name, e.name === 'local' ? 'Our own (local)' : e.name] as const)
  const gone = chosen && !able.some(([name]) => name === chosen) ? [[chosen, `${chosen} (not there)`] as const] : []
  return [['', 'In the house’s order'], ...able, ...gone]
}

// engineTrouble says why a chosen engine does not work now.
export function engineTrouble(engines: SpeechEngine[], chosen: string): string {
  const engine = engines.find((e) => e.name === chosen)
  if (!engine) return chosen ? `“${chosen}” is not in the settings any more: the others help out.` : ''
  return engine.trouble && `Does not work now: ${engine.trouble}`
}

export const strategies = [
  ['longest_idle', 'Who has been idle longest'],
  ['round_robin', 'In turn'],
  ['fewest_calls', 'Who has taken fewest conversations'],
  ['least_talk', 'Who has talked least'],
  ['ring_all', 'All at once, the first takes it'],
  ['top_down', 'By place, from the top'],
  ['weighted_random', 'By lot, in the proportion of weights'],
] as const
