package media

import "encoding/binary"

// relayed is the source whose packets an output rewrites: what to make of its sequence and its clock.
type relayed struct {
	valid bool
	gap   bool // packets were withheld while a key was sent: close the hole in the sequence
	ssrc  uint32
	codec Codec
	last  uint16 // highest sequence number seen
	age   int    // how many before it belong to this source, up to reorderWindow
	seq   uint16 // what to add to its sequence numbers
	in    uint32 // a timestamp of the source ...
	out   uint32 // ... and ours for it
	// Its codec is another than the output's: packets are made anew, in order only, and numbered by themselves.
	anew  bool
	trans *transcoder
}

// reorderWindow is how late a packet of the source may be.
const reorderWindow = 100

// ts is our timestamp for one of the source.
func (r *relayed) ts(in uint32, clock int) uint32 {
	d, from := int64(int32(in-r.in)), int64(r.codec.ClockRate())
	if from == int64(clock) {
		return r.out + uint32(d)
	}
	if hours := d / (3600 * from); hours != 0 { // whole hours: nothing is lost by rounding
		r.in += uint32(hours * 3600 * from)
		r.out += uint32(hours * 3600 * int64(clock))
		d -= hours * 3600 * from
	}
	return r.out + uint32(d*int64(clock)/from)
}

// Write relays another leg's packet; it makes Output a Sink.
func (o *Output) Write(p *Packet) {
	if len(p.Payload) > MaxPacket-headerSize {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.player != nil {
		return
	}
	if o.press != nil {
		o.from.gap = true
		return
	}
	marker, ok := o.follow(p)
	if !ok {
		return
	}
	o.speaker = nil
	dst := o.buf[headerSize:]
	seq, ts := p.Seq+o.from.seq, o.from.ts(p.TS, o.clock)
	if o.from.anew {
		seq = o.seq + 1
	}
	switch {
	case p.Event && o.format.Events != 0:
		o.relayKey = p.Arrived
		copy(dst, p.Payload)
		rescaleEvent(dst[:len(p.Payload)], p.Codec.ClockRate(), o.format.eventClock())
		o.put(marker, o.format.Events, seq, ts, p.Arrived, len(p.Payload))
	case p.Comfort && o.format.Comfort != 0:
		copy(dst, p.Payload)
		o.put(marker, o.format.Comfort, seq, ts, p.Arrived, len(p.Payload))
	case p.Event, p.Comfort:
		o.from.seq-- // withheld, and not to look like a loss
	case o.from.anew:
		o.transcode(p, marker)
	default:
		recode(dst, p.Payload, p.Codec, o.format.Codec)
		o.say(Relayed, marker, seq, ts, p.Arrived, len(p.Payload))
	}
}

// follow keeps account of the source; false = the packet's place in our sequence has been used.
func (o *Output) follow(p *Packet) (marker, ok bool) {
	r := &o.from
	behind := int16(r.last - p.Seq)
	switch {
	case !r.valid || p.SSRC != r.ssrc || behind > maxDropout || behind < -maxDropout || r.changed(p):
		*r = relayed{
			valid: true, ssrc: p.SSRC, codec: p.Codec, last: p.Seq, seq: o.seq + 1 - p.Seq, in: p.TS, out: o.nextTS(p.Arrived),
			anew: p.Codec != o.format.Codec && !(p.Codec.isG711() && o.format.Codec.isG711()),
		}
		return p.Marker || !p.Event, true
	case r.gap && behind < 0:
		r.gap, r.age, r.last, r.seq = false, 0, p.Seq, o.seq+1-p.Seq
		if int32(r.ts(p.TS, o.clock)-o.ts) < int32(o.span) { // the key reached further than the source's clock
			r.in, r.out = p.TS, o.ts+o.span
		}
	case behind < 0:
		r.age = min(r.age-int(behind), reorderWindow)
		r.last = p.Seq
	case int(behind) > r.age || r.anew: // from before this source took over, or too late to be decoded
		return false, false
	}
	return p.Marker, true
}

// changed says that the source went over to another codec; keys and comfort noise have none of their own.
func (r *relayed) changed(p *Packet) bool {
	if p.Event || p.Comfort {
		return p.Codec.ClockRate() != r.codec.ClockRate()
	}
	return p.Codec != r.codec
}

// recode copies sound, between the laws of G.711 by a table.
func recode(dst, src []byte, from, to Codec) {
	switch {
	case from == to:
		copy(dst, src)
	case to == PCMA:
		for i, b := range src {
			dst[i] = ulawToALaw[b]
		}
	default:
		for i, b := range src {
			dst[i] = alawToULaw[b]
		}
	}
}

// rescaleEvent changes the duration of a telephone-event to another clock.
func rescaleEvent(b []byte, from, to int) {
	if from == to || len(b) < 4 {
		return
	}
	d := int(binary.BigEndian.Uint16(b[2:])) * to / from
	binary.BigEndian.PutUint16(b[2:], uint16(min(d, 0xffff)))
}
