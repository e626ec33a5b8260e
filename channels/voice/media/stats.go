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
	doubt   int64 // a lateness that is jitter if the next packet makes up for it; else the sender's clock stood still

	prevExpected, prevReceived uint32 // at the last report
}

// clockStood is how much later than the one before a packet is when the sender's clock may have stood still meanwhile, as some
// telephones' do in pauses (RFC 3550 section 5.1 wants it to go on). A network that was held up sends the rest at once.
const clockStood = 150 * time.Millisecond

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
		r.clock, r.transit, r.doubt = clock, transit, 0
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
	if doubt := r.doubt; doubt != 0 {
		if r.doubt = 0; diff < -ticksIn(Frame/2, clock) {
			r.deviate(doubt)
		}
	}
	if diff > ticksIn(clockStood, clock) {
		r.doubt = diff
		return
	}
	r.deviate(max(diff, -diff))
}

// deviate takes a difference in transit times into the jitter.
func (r *reception) deviate(diff int64) {
	if diff > int64(r.clock) { // a clock that jumped by a second is no jitter
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
