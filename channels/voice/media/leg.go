package media

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"
)

// LegConfig says what a leg negotiated. webleg uses it directly; a SIP leg comes from NewUDPLeg.
type LegConfig struct {
	Format Format // what was negotiated; the zero value is PCMU without keys
	Pacer  *Pacer
	// OnDTMF gets each key the other side presses, once, when its first packet arrives ('0'-'9', '*', '#', 'A'-'D').
	// It runs on the reader's goroutine, or for keys heard InBand on the pacer's, and must not block. Digits may be card
	// numbers: do not log them.
	OnDTMF func(digit byte)
	// InBand listens for keys in the sound while no telephone-events are negotiated.
	InBand bool
	// Send puts one whole RTP packet (12 byte header, payload) on the wire. It is called with the output locked, must
	// not keep b and must not call the leg.
	Send func(b []byte) error
}

// Leg is one side of a conversation: a sink for what it hears, an output for what it is told, and the counts of both.
type Leg struct {
	sink   atomic.Pointer[Sink]
	ears   atomic.Pointer[[]*listener]
	out    *Output
	onDTMF func(byte)

	strangers atomic.Uint64 // packets that are not the call's, counted by the leg's reader

	mu     sync.Mutex // the reception's: reader goroutine against Stats and SetFormat
	in     reception
	past   history
	far    farReport
	keys   keypad
	format Format

	inBand    bool
	toneLock  sync.Mutex // guards the two below; outside mu
	stopTones func()     // ends the listening for keys, nil = there is none
	ended     bool
}

// NewLeg makes a leg that hears nothing until its owner calls Deliver; its sink is Discard.
func NewLeg(cfg LegConfig) *Leg {
	cfg.Format = cfg.Format.normal()
	l := &Leg{out: newOutput(cfg), onDTMF: cfg.OnDTMF, format: cfg.Format,
		inBand: cfg.InBand && cfg.OnDTMF != nil}
	l.Swap(Discard)
	l.hearTones()
	return l
}

// Swap points what the leg hears to sink and returns the one before. It may be called from any goroutine; at most the
// packet being handled at this moment still goes to the old sink.
func (l *Leg) Swap(sink Sink) Sink {
	if sink == nil {
		sink = Discard
	}
	if old := l.sink.Swap(&sink); old != nil {
		return *old
	}
	return Discard
}

// swapBack ends the leg's sink if it is still this one.
func (l *Leg) swapBack(sink Sink) {
	if now := l.sink.Load(); *now == sink {
		l.sink.CompareAndSwap(now, &Discard)
	}
}

// Out is the leg's one output. It is a Sink: another leg's packets may be swapped to it.
func (l *Leg) Out() *Output { return l.out }

// Play lets p speak through the output and silences whoever spoke before; see Output.Play.
func (l *Leg) Play(p *Player) *Player { return l.out.Play(p) }

// Stop ends the player, if one is speaking; packets written to the output pass again.
func (l *Leg) Stop() { l.out.Play(nil) }

// SendDTMF presses a key towards the other side; see Output.SendDTMF.
func (l *Leg) SendDTMF(digit byte, d time.Duration) error { return l.out.SendDTMF(digit, d) }

// SetFormat changes codec and payload types after a new negotiation.
func (l *Leg) SetFormat(f Format) {
	f = f.normal()
	l.mu.Lock()
	l.format = f
	l.mu.Unlock()
	l.out.setFormat(f)
	l.hearTones()
}

// Format is what the leg sends and hears.
func (l *Leg) Format() Format {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.format
}

// Deliver takes a packet from the leg's reader, which has parsed it, set Arrived, and trusts its source.
func (l *Leg) Deliver(p *Packet) {
	l.mu.Lock()
	known := l.format.classify(p)
	l.count(p)
	if !known {
		l.in.foreign++
		l.mu.Unlock()
		return
	}
	var digit byte
	if p.Event {
		digit = l.keys.hear(p)
	}
	l.mu.Unlock()
	if tap := l.out.tap.Load(); tap != nil {
		(*tap).Heard(p)
	}
	if ears := l.ears.Load(); ears != nil {
		for _, e := range *ears {
			e.put(p)
		}
	}
	if digit != 0 && l.onDTMF != nil {
		l.onDTMF(digit)
	}
	(*l.sink.Load()).Write(p)
}

// Stats is what a leg has carried so far.
type Stats struct {
	PacketsIn, BytesIn   uint64 // accepted; bytes of payload
	PacketsOut, BytesOut uint64
	Lost                 int64         // of the packets we should have heard (RFC 3550 A.3); duplicates count against it
	Jitter               time.Duration // interarrival jitter (RFC 3550 A.8)
	Strangers            uint64        // dropped by a UDPLeg's latch: not from this call's peer
	Malformed            uint64        // dropped: not RTP
	Unauthenticated      uint64        // dropped: not protected by the key that was agreed on, or sent again
	Foreign              uint64        // dropped: a payload type nobody negotiated
	LastPacket           time.Time     // zero: never heard
	// From the other side's RTCP reports, zero without any.
	RemoteLost   uint32
	RemoteJitter time.Duration
	RoundTrip    time.Duration
}

// Plus adds the counts of a leg that took over from this one; what is no count is the later one's, if it ever had any.
func (s Stats) Plus(later Stats) Stats {
	later.PacketsIn += s.PacketsIn
	later.BytesIn += s.BytesIn
	later.PacketsOut += s.PacketsOut
	later.BytesOut += s.BytesOut
	later.Lost += s.Lost
	later.Strangers += s.Strangers
	later.Malformed += s.Malformed
	later.Unauthenticated += s.Unauthenticated
	later.Foreign += s.Foreign
	later.RemoteLost += s.RemoteLost
	later.Jitter, later.RemoteJitter, later.RoundTrip = cmp.Or(later.Jitter, s.Jitter), cmp.Or(later.RemoteJitter, s.RemoteJitter), cmp.Or(later.RoundTrip, s.RoundTrip)
	if later.LastPacket.IsZero() {
		later.LastPacket = s.LastPacket
	}
	return later
}

// Stats returns the counts of a Leg; a UDPLeg adds its own.
func (l *Leg) Stats() Stats {
	l.mu.Lock()
	s := Stats{
		PacketsIn: l.in.packets, BytesIn: l.in.bytes, Lost: l.in.lost(), Jitter: l.in.jitterTime(),
		Foreign: l.in.foreign, LastPacket: l.in.last, Strangers: l.strangers.Load(),
		RemoteLost: l.far.lost, RemoteJitter: l.far.jitter, RoundTrip: l.far.roundTrip,
	}
	l.mu.Unlock()
	s.PacketsOut, s.BytesOut = l.out.sent()
	return s
}

// CloseOutput ends the leg's output for good: its player ends, later writes are dropped. The leg's owner calls it, not
// from OnDTMF.
func (l *Leg) CloseOutput() {
	l.out.close()
	l.toneLock.Lock()
	l.ended = true
	l.toneLock.Unlock()
	l.hearTones()
}
