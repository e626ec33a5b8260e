import { expect, it } from 'vitest'
import { newTrunk } from './trunk.fixture'
import { draftOf, trunkOf, trunkSections, valueOf, Wrong, type FieldSpec } from './fields'

it('every setting of a trunk has one field', () => {
  const named = trunkSections.flatMap((s) => s.fields.map((f) => f.name as string)).sort()
  const settings = Object.keys(newTrunk()).filter((k) => !['id', 'has_password', 'created_at', 'changed_at'].includes(k)).sort()
  expect(named).toEqual(settings)
})

it('what was not touched comes back as it was', () => {
  const trunk = { ...newTrunk(), servers: ['a.example', '[2001:db8::7]:5061'], rates: [{ prefix: '+4915', per_minute: 0.09 }], max_money_day: 12.5 }
  expect(trunkOf(trunk, draftOf(trunk))).toEqual(trunk)
})

it('reads lists, amounts and rates as people write them', () => {
  const trunk = newTrunk()
  const draft = { ...draftOf(trunk), name: ' Fjordtel ', servers: 'a.example\n\n b.example , c.example', max_money_day: '12,50', rates: '+49 0,01\n+49 15  0.09\n' }
  expect(trunkOf(trunk, draft)).toMatchObject({
    name: 'Fjordtel', servers: ['a.example', 'b.example', 'c.example'], max_money_day: 12.5,
    rates: [{ prefix: '+49', per_minute: 0.01 }, { prefix: '+49 15', per_minute: 0.09 }],
  })
})

it.each([
  ['max_calls', 'number', 'many'], ['max_calls', 'number', ''], ['max_calls', 'number', '1e3'], ['rates', 'rates', '+49'], ['rates', 'rates', '+49 cheap'],
] as const)('%s refuses %s %j at its field', (name, kind, text) => {
  const spec: FieldSpec = { name, label: '', kind }
  try {
    valueOf(spec, text)
    expect.unreachable()
  } catch (err) {
    expect(err).toBeInstanceOf(Wrong)
    expect((err as Wrong).field).toBe(name)
  }
})

it('names every field that is wrong, not only the first', () => {
  const draft = { ...draftOf(newTrunk()), priority: 'first', max_calls: 'many', rates: '+49' }
  try {
    trunkOf(newTrunk(), draft)
    expect.unreachable()
  } catch (err) {
    expect((err as Wrong).fields.map((f) => f.field)).toEqual(['priority', 'rates', 'max_calls'])
  }
})
