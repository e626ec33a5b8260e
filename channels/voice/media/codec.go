package media

import (
	"cmp"
	"strings"
	"time"
)

// Codec is how sound is written into packets. The zero value is PCMU.
type Codec uint8

const (
	PCMU Codec = iota // G.711 µ-law
	PCMA              // G.711 A-law
	G722
	Opus
)

// Payload types with a fixed meaning (RFC 3551 section 6, RFC 3389 section 4).
const (
	TypePCMU    uint8 = 0
	TypePCMA    uint8 = 8
	TypeG722    uint8 = 9
	TypeComfort uint8 = 13
)

// codecs is what there is to know of each codec. G.722's clock ticks 8000 times a second though it samples at 16000:
// an error of RFC 1890 that RFC 3551 section 4.5.2 keeps.
var codecs = [...]struct {
	name        string
	clock, rate int
	static      uint8 // payload type taken for a Format that names none
}{
	PCMU: {"PCMU", 8000, 8000, TypePCMU},
	PCMA: {"PCMA", 8000, 8000, TypePCMA},
	G722: {"G722", 8000, 16000, TypeG722},
	Opus: {"opus", 48000, 48000, 111},
}

// ParseCodec finds a codec by the name SDP gives it.
func ParseCodec(name string) (Codec, bool) {
	for c := range codecs {
		if strings.EqualFold(codecs[c].name, name) {
			return Codec(c), true
		}
	}
	return 0, false
}

// Name is the codec's name in SDP.
func (c Codec) Name() string { return codecs[c].name }

func (c Codec) String() string { return codecs[c].name }

// ClockRate is how far the RTP timestamp goes in a second.
func (c Codec) ClockRate() int { return codecs[c].clock }

// SampleRate is how many samples a second the codec really carries.
func (c Codec) SampleRate() int { return codecs[c].rate }

// frameTicks is one frame in the codec's RTP clock.
func (c Codec) frameTicks() uint32 { return uint32(codecs[c].clock / framesPerSecond) }

func (c Codec) isG711() bool { return c <= PCMA }

// ticks is how long a payload speaks, in the codec's RTP clock.
func (c Codec) ticks(payload []byte) uint32 {
	if c == Opus {
		return opusTicks(payload)
	}
	return uint32(len(payload)) // G.711 and G.722 have a byte for each tick
}

// opusTicks reads the table of contents that begins each Opus packet (RFC 6716 section 3.1). 0: no Opus packet.
func opusTicks(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	config := b[0] >> 3
	var frame uint32
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		frame = [4]uint32{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		frame = 480 << (config & 1)
	default: // CELT: 2.5, 5, 10, 20 ms
		frame = 120 << (config & 3)
	}
	count := uint32(1)
	switch b[0] & 3 {
	case 1, 2:
		count = 2
	case 3:
		if len(b) < 2 {
			return 0
		}
		count = uint32(b[1] & 0x3f)
	}
	if ticks := frame * count; ticks <= 5760 { // 120 ms at most
		return ticks
	}
	return 0
}

// Format is what a leg's negotiation agreed on, the same numbers in both directions.
type Format struct {
	Codec       Codec
	PayloadType uint8 // the codec's; 0 on another codec than PCMU = its usual number
	Events      uint8 // telephone-event's, 0 = not negotiated
	EventClock  int   // its clock, 0 = the codec's (RFC 4733 section 2.1); browsers have 8000 beside Opus, too
	Comfort     uint8 // comfort noise's (RFC 3389), 0 = we send none; type 13 is always understood
}

func (f Format) normal() Format {
	if f.PayloadType == 0 {
		f.PayloadType = codecs[f.Codec].static
	}
	return f
}

// eventClock counts how long a key is pressed on the wire.
func (f Format) eventClock() int { return cmp.Or(f.EventClock, f.Codec.ClockRate()) }

// fits says whether a payload type was negotiated.
func (f Format) fits(payloadType uint8) bool {
	return payloadType == f.PayloadType || f.Events != 0 && payloadType == f.Events || f.Comfort != 0 && payloadType == f.Comfort
}

// classify says what a heard packet carries, and counts keys in the codec's clock; false = nobody negotiated it. The static types are taken always: some
// phones answer with one codec and send another of their offer.
func (f Format) classify(p *Packet) bool {
	p.Codec, p.Event, p.Comfort = f.Codec, false, false
	switch {
	case p.PayloadType == f.PayloadType:
	case f.Events != 0 && p.PayloadType == f.Events:
		p.Event = true
		rescaleEvent(p.Payload, f.eventClock(), f.Codec.ClockRate())
	case p.PayloadType == TypeComfort || f.Comfort != 0 && p.PayloadType == f.Comfort:
		p.Comfort = true
	case p.PayloadType == TypePCMU:
		p.Codec = PCMU
	case p.PayloadType == TypePCMA:
		p.Codec = PCMA
	case p.PayloadType == TypeG722:
		p.Codec = G722
	default:
		return false
	}
	return true
}

// clockTicks is a time in ticks of an RTP clock; only differences mean anything.
func clockTicks(t time.Time, clock int) int64 {
	return t.Unix()*int64(clock) + int64(t.Nanosecond())*int64(clock)/int64(time.Second)
}

// ticksIn is a duration in ticks of an RTP clock.
func ticksIn(d time.Duration, clock int) int64 { return int64(d) * int64(clock) / int64(time.Second) }

// tickTime is a count of ticks as a duration.
func tickTime(ticks int64, clock int) time.Duration {
	return time.Duration(ticks * int64(time.Second) / int64(clock))
}
