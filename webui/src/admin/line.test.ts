import { expect, it } from 'vitest'
import { engineOptions, engineTrouble, holidaysOf, holidaysText, skillsOf, skillsText, weekOf, weekText } from './line'

const skills = [{ id: 7, name: 'French' }, { id: 8, name: 'Sign language' }]

it.each([
  ['Mon-Fri 09:00-12:00, 13:00-17:00\nSat 10:00-14:00', 11],
  ['Mon-Sun 00:00-24:00', 7],
  ['', 0],
])('reads and writes a week: %s', (text, spans) => {
  expect(weekOf(text)).toHaveLength(spans)
  expect(weekText(weekOf(text))).toBe(text)
})

it('understands what people type', () => {
  expect(weekOf('monday - wed 9:00 - 17:30')).toEqual(['monday', 'tuesday', 'wednesday'].map((day) => ({ day, from: '09:00', to: '17:30' })))
  expect(weekOf('Sat-Mon 22:00-06:00').map((s) => s.day)).toEqual(['saturday', 'sunday', 'monday'])
  expect(holidaysOf('12-25 Christmas\n2026-12-24 10:00-13:00 Christmas Eve\n01-01')).toEqual([
    { date: '12-25', name: 'Christmas', from: '', to: '' }, { date: '2026-12-24', name: 'Christmas Eve', from: '10:00', to: '13:00' }, { date: '01-01', name: '', from: '', to: '' }])
  expect(holidaysText(holidaysOf('2026-12-24 10:00-13:00 Christmas Eve'))).toBe('2026-12-24 10:00-13:00 Christmas Eve')
  const steps = skillsOf('french 3\nFrench 2 after 60 s\nSign language 1', skills)
  expect(steps).toEqual([{ skill_id: 7, level: 3, after_seconds: 0 }, { skill_id: 7, level: 2, after_seconds: 60 }, { skill_id: 8, level: 1, after_seconds: 0 }])
  expect(skillsText(steps, skills)).toBe('French 3\nFrench 2 after 60\nSign language 1')
})

it.each([
  [() => weekOf('Mon 9-17'), 'days and times'],
  [() => weekOf('Montag 09:00-17:00'), 'days and times'],
  [() => holidaysOf('24.12.'), 'a date was expected'],
  [() => skillsOf('French', skills), 'a skill and its level'],
  [() => skillsOf('German 3', skills), 'There is no skill “German”'],
])('says what was expected', (read, words) => {
  expect(read).toThrow(words)
})

it('offers the engines that can, and keeps a chosen one that is gone', () => {
  const engine = (name: string, hears: boolean, speaks: boolean, trouble = '') => ({ name, hears, speaks, voices: [], any_voice: true, trouble })
  const engines = [engine('local', true, true), engine('hall', true, false, 'broken (hear): refused')]
  expect(engineOptions(engines, 'speaks', '').map(([v]) => v)).toEqual(['', 'local'])
  expect(engineOptions(engines, 'hears', 'attic').map(([, text]) => text)).toEqual(['In the house’s order', 'Our own (local)', 'hall', 'attic (not there)'])
  expect(engineTrouble(engines, 'hall')).toBe('Does not work now: broken (hear): refused')
  expect(engineTrouble(engines, 'attic')).toContain('not in the settings any more')
  expect(engineTrouble(engines, '')).toBe('')
})
