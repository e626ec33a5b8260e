import type { CallDetail, Trace } from '../../src/shared/api'

export function sampleTrace(): Trace
export function sampleDetail(): CallDetail
