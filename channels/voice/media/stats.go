package media

import "time"

// reception counts what a leg hears, by RFC 3550 appendix A.1, A.3 and A.8. A new SSRC or a jump starts a new count;
// the losses of the old one are kept.
type reception struct {
	packets, bytes, foreign uint64
	last                    time.Time

	heard    bool
	ssrc     uint32
	base     uint32 // first sequence number, extended
	max      uint32 // highest sequence number, extended by its cycles
	received uint32 // of this SSRC
	before   int64  // lost by the SSRCs before

	clock   int   // of transit and jitter
	transit int64 // of the last packet, in ticks
	jitter  int64 // scaled by 16

	prevExpected, prevReceived uint32 // at the last report
}

// maxDropout is the jump in sequence numbers that means a source began anew (RFC 3550 A.1).
const maxDropout = 3000

func (r *reception) count(p *Packet) {
	r.packets++
	r.bytes += uint64(len(p.Payload))
	r.last = p.Arrived
	clock := p.Codec.ClockRate()
	transit := clockTicks(p.Arrived, clock) - int64(p.TS)
	d := int16(p.Seq - uint16(r.max))
	if !r.heard || p.SSRC != r.ssrc || d > maxDropout || d < -maxDropout {
		r.before = r.lost()
		r.heard, r.ssrc = true, p.SSRC
		r.base, r.max, r.received = uint32(p.Seq), uint32(p.Seq), 1
		r.clock, r.transit = clock, transit
		r.prevExpected, r.prevReceived = 0, 0
		return
	}
	r.received++
	if d > 0 {
		r.max += uint32(d)
	}
	if p.Event || p.Comfort || clock != r.clock {
		return // events repeat their timestamp: no measure of jitter
	}
	diff := int64(int32(transit - r.transit)) // modulo 2^32, as the timestamp is
	r.transit = transit
	if diff < 0 {
		diff = -diff
	}
	if diff > int64(clock) { // a clock that jumped by a second is no jitter
		return
	}
	r.jitter += diff - (r.jitter+8)>>4
}

func (r *reception) lost() int64 {
	if !r.heard {
		return r.before
	}
	return r.before + int64(r.max-r.base+1) - int64(r.received)
}

func (r *reception) jitterTime() time.Duration {
	if r.clock == 0 {
		return 0
	}
	return tickTime(r.jitter>>4, r.clock)
}
