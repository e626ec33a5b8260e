import { describe, expect, it } from 'vitest'
import type { Trace, TraceLeg } from '../shared/api'
import { curves, labelOf, ladder } from './ladder'
import { sampleTrace } from '../../e2e/scripted/call.mjs'

describe('ladder', () => {
  const trace: Trace = sampleTrace()
  const l = ladder(trace)
  it('has us first and every other address once, by its role', () => {
    expect(l.columns.map((c) => [c.role, c.address])).toEqual([['Patchbay', '192.0.2.1:5060'], ['Customer', '203.0.113.7:5060']])
  })
  it('points each message the way it went', () => {
    expect(l.steps.slice(0, 3).map((s) => [s.from, s.to, s.label, s.kind, s.detail])).toEqual([
      [1, 0, 'INVITE', 'request', 'SDP'], [0, 1, '180 Ringing', 'progress', ''], [0, 1, '200 OK', 'ok', 'SDP'],
    ])
    expect(l.steps[1]!.offset).toBe('+0.020 s')
  })
  it('marks repeats', () => {
    const again = ladder({ ...trace, messages: [trace.messages[0]!, trace.messages[0]!] })
    expect(again.steps.map((s) => s.detail)).toEqual(['SDP', 'SDP, again'])
  })
  it('reads any first line', () => {
    expect(['SIP/2.0 486 Busy Here\r\n', 'SIP/2.0 200', 'BYE sip:x SIP/2.0', ''].map(labelOf)).toEqual(['486 Busy Here', '200', 'BYE', 'unreadable'])
  })
})

describe('curves', () => {
  const trace = sampleTrace()
  it('are loss, jitter and MOS over the call', () => {
    const [loss, jitter, mos] = curves(trace.legs[0]!, trace)
    expect([loss!.worst, jitter!.most, mos!.worst]).toEqual([12, 50, 3.2])
    for (const c of [loss!, jitter!, mos!]) for (const line of c.lines) for (const p of line.points) expect(p.x >= 0 && p.x <= 1 && p.y >= 0 && p.y <= 1).toBe(true)
  })
  it('are none without sound', () => {
    expect(curves({ ...(trace.legs[0] as TraceLeg), slices: [] }, trace)).toEqual([])
  })
})
