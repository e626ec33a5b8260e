import type { Me, Row } from '../../src/shared/api'

export function conversation(over: Partial<Row> & { queue?: number }): Row
export function newMe(): Me
