package media

import (
	"time"

	"github.com/pion/rtcp"
)

// Quality is how a leg is heard here, and by the other side's reports how far away it is.
type Quality struct {
	MOS       float64 // 1 to 4.5 by the E-model; 0 = nothing heard
	Lost      float64 // per cent of what should have been heard
	Jitter    time.Duration
	RoundTrip time.Duration // 0 = unknown
}

// Slice is the quality of 5 s, or of more once a call has lasted for an hour.
type Slice struct {
	At     time.Time
	Length time.Duration
	Quality
	Packets   uint64
	Missing   int64  // what Lost is made of
	Strangers uint64 // packets the latch dropped
	// What the other side says of our sound in its reports.
	FarLost   float64
	FarJitter time.Duration
}

const (
	sliceLength = 5 * time.Second
	maxSlices   = 720 // an hour of them
)

// history is a leg's quality over time. The leg's lock guards it.
type history struct {
	every  time.Duration // of a slice: doubled whenever there are too many
	begun  time.Time     // the running slice; zero before the first packet
	before tally         // at its beginning
	jitter int64         // the most in it
	slices []Slice
}

// tally is what is counted over the whole call; slices are differences.
type tally struct {
	packets   uint64
	lost      int64
	strangers uint64
}

// farReport is what the other side says about the stream it hears from us.
type farReport struct {
	lost      uint32
	fraction  uint8 // of 256, since its report before
	jitter    time.Duration
	roundTrip time.Duration
}

// Quality is the last whole slice, or what there is of the first one.
func (l *Leg) Quality() Quality {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slice(time.Now())
	if n := len(l.past.slices); n > 0 {
		return l.past.slices[n-1].Quality
	}
	return l.running(time.Now()).Quality
}

// Slices is the leg's quality over time, the running slice last.
func (l *Leg) Slices() []Slice {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.slice(now)
	s := append([]Slice(nil), l.past.slices...)
	if running := l.running(now); running.Length > 0 {
		s = append(s, running)
	}
	return s
}

// Overall is the quality of the whole call: slices with more packets count for more.
func (l *Leg) Overall() Quality {
	var q Quality
	var packets, expected, jitter float64
	for _, s := range l.Slices() {
		n := float64(s.Packets)
		q.MOS += s.MOS * n
		jitter += float64(s.Jitter) * n
		packets += n
		expected += n + float64(s.Missing)
		q.Lost += float64(s.Missing)
		q.RoundTrip = max(q.RoundTrip, s.RoundTrip)
	}
	if packets == 0 {
		return Quality{}
	}
	q.MOS, q.Jitter, q.Lost = q.MOS/packets, time.Duration(jitter/packets), 100*q.Lost/expected
	return q
}

// Reported takes what an RTCP report of the other side says about our stream.
func (l *Leg) Reported(r rtcp.ReceptionReport, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.far.lost, l.far.fraction = r.TotalLost, r.FractionLost
	l.far.jitter = tickTime(int64(r.Jitter), l.format.Codec.ClockRate())
	if r.LastSenderReport == 0 {
		return
	}
	// RFC 3550 section 6.4.1, in 1/65536 s
	if trip := uint32(ntpTime(now)>>16) - r.LastSenderReport - r.Delay; trip < 60<<16 {
		l.far.roundTrip = time.Duration(trip) * time.Second >> 16
	}
}

// slice ends the slices that are over at now. The lock is held. It is called before each packet is counted and by who
// asks; a leg needs no clock of its own.
func (l *Leg) slice(now time.Time) {
	h := &l.past
	if h.begun.IsZero() {
		return
	}
	for now.Sub(h.begun) >= h.every {
		s := l.running(h.begun.Add(h.every))
		h.slices = append(h.slices, s)
		h.begun, h.before, h.jitter = h.begun.Add(h.every), l.tally(), 0
		if len(h.slices) == maxSlices {
			for i := range maxSlices / 2 {
				h.slices[i] = merge(h.slices[2*i], h.slices[2*i+1])
			}
			h.slices = h.slices[:maxSlices/2]
			h.every *= 2
		}
	}
}

// count takes a packet into the reception and the running slice. The lock is held.
func (l *Leg) count(p *Packet) {
	h := &l.past
	if h.begun.IsZero() {
		h.begun, h.every = p.Arrived, sliceLength
		h.before.strangers = l.strangers.Load()
	}
	if p.Arrived.Sub(h.begun) >= h.every {
		l.slice(p.Arrived)
	}
	l.in.count(p)
	h.jitter = max(h.jitter, l.in.jitter)
}

func (l *Leg) tally() tally {
	return tally{l.in.packets, l.in.lost(), l.strangers.Load()}
}

// running is the slice that has begun, up to now. The lock is held.
func (l *Leg) running(now time.Time) Slice {
	h := &l.past
	if h.begun.IsZero() {
		return Slice{}
	}
	t := l.tally()
	s := Slice{
		At: h.begun, Length: now.Sub(h.begun), Packets: t.packets - h.before.packets, Missing: max(t.lost-h.before.lost, 0),
		Strangers: t.strangers - h.before.strangers, FarLost: float64(l.far.fraction) * 100 / 256, FarJitter: l.far.jitter,
	}
	s.RoundTrip = l.far.roundTrip
	if l.in.clock != 0 {
		s.Jitter = tickTime(h.jitter>>4, l.in.clock)
	}
	s.Lost = lostPercent(s)
	if s.Packets > 0 {
		s.MOS = mos(l.format.Codec, s.Lost, s.Jitter, s.RoundTrip)
	}
	return s
}

func lostPercent(s Slice) float64 {
	if s.Missing == 0 {
		return 0
	}
	return 100 * float64(s.Missing) / float64(s.Packets+uint64(s.Missing))
}

// merge is two neighbours as one, which keeps the worse of both.
func merge(a, b Slice) Slice {
	a.Length += b.Length
	a.Packets += b.Packets
	a.Missing += b.Missing
	a.Strangers += b.Strangers
	a.Lost = lostPercent(a)
	if a.MOS == 0 || b.MOS != 0 && b.MOS < a.MOS {
		a.MOS = b.MOS
	}
	a.Jitter, a.RoundTrip = max(a.Jitter, b.Jitter), max(a.RoundTrip, b.RoundTrip)
	a.FarLost, a.FarJitter = max(a.FarLost, b.FarLost), max(a.FarJitter, b.FarJitter)
	return a
}

// impairments are the E-model's figures of the codecs, on the narrow-band scale: what the codec itself costs, and how
// well it stands losses. G.711 with concealment: ITU-T G.113 appendix I. It has none for the other two; they sound no
// worse than G.711, and Opus carries redundancy.
var impairments = [...]struct{ codec, robust float64 }{
	PCMU: {0, 25.1}, PCMA: {0, 25.1}, G722: {0, 20}, Opus: {0, 30},
}

// mos is the mean opinion score by the E-model (ITU-T G.107), with everything at its default but delay, loss and
// codec; the delay's part by the common approximation of its curve.
func mos(c Codec, lost float64, jitter, roundTrip time.Duration) float64 {
	buffer := min(max(3*jitter, 40*time.Millisecond), 200*time.Millisecond) // as jitter buffers do
	delay := (roundTrip/2 + buffer + Frame).Seconds() * 1000
	r := 93.2 - 0.024*delay
	if delay > 177.3 {
		r -= 0.11 * (delay - 177.3)
	}
	i := impairments[c]
	r -= i.codec + (95-i.codec)*lost/(lost+i.robust)
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1+0.035*r+r*(r-60)*(100-r)*7e-6, 1)
}
