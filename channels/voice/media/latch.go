package media

import (
	"net/netip"
	"slices"
	"time"
)

// LatchMode says whether a leg may take its peer's address from the packets instead of the SDP: behind a NAT the
// announced address is often not the one that sends.
type LatchMode uint8

const (
	LatchAuto LatchMode = iota // on when the announced address is private
	LatchOn
	LatchOff // packets from the announced address only
)

// latchWindow is how long after an SDP of ours another source than the announced one may be taken.
const latchWindow = 5 * time.Second

// latchStep is how far ahead the sequence may be for a moved source to count as the same stream.
const latchStep = 100

// latch decides whose packets belong to the call:
//
//	before an SDP of ours is out: drop
//	from the announced address: accept, latch
//	else for 5 s after answer or re-INVITE: the first other source whose SSRC or payload type fits
//	latched: others are dropped; it moves only on the same SSRC with continuing seq, or by a re-INVITE
//
// A stranger who guesses the port can neither be heard (RTP injection) nor make us send to him (RTP bleed).
type latch struct {
	mode      LatchMode
	announced netip.AddrPort
	open      bool // an SDP of ours is out
	until     time.Time
	source    netip.AddrPort // latched; zero = nobody yet
	known     bool           // ssrc and seq are of this call
	ssrc      uint32
	seq       uint16
	why       string // of the last decision
}

// Why the latch decided as it did.
const (
	whyAnnounced = "announced in their SDP"
	whyHeard     = "their packets come from here"
	whyMoved     = "the same stream goes on from here"
	whyBack      = "the announced address is heard"
	whyShaken    = "the DTLS handshake was from here"

	whyEarly    = "refused: no SDP of ours is out yet"
	whyOff      = "refused: only the announced address may send"
	whyStranger = "refused: another stream than the call's"
	whyLate     = "refused: later than 5 s after our SDP"
	whyUnfit    = "refused: a payload type nobody negotiated"
)

// LatchEvent is one decision about a leg's addresses, for who wants to know why a call was silent.
type LatchEvent struct {
	At time.Time
	// From and To are where our packets went and go; invalid = nowhere. Of a refusal From is who was refused and To is
	// invalid.
	From, To netip.AddrPort
	Why      string
}

const (
	maxLatchEvents = 64
	maxRefusals    = 32
)

// LatchLog is what was decided about the leg's addresses, the first 64 times. Whoever is refused again and again for
// the same reason stands there once.
func (l *UDPLeg) LatchLog() []LatchEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.story)
}

// Addresses are where their SDP says their sound comes from, where it comes from, and where ours goes; invalid = unknown,
// nobody yet, nowhere.
func (l *UDPLeg) Addresses() (announced, source, target netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latch.announced, l.latch.source, l.latch.target()
}

// note remembers a decision. The lock is held.
func (l *UDPLeg) note(e LatchEvent) {
	if len(l.story) < maxLatchEvents {
		l.story = append(l.story, e)
	}
}

// refuse counts a packet that is not the call's. The lock is held. A flood from many addresses fills half of the log
// and then costs nothing.
func (l *UDPLeg) refuse(src netip.AddrPort, why string, now time.Time) {
	l.strangers.Add(1)
	if l.refusals >= maxRefusals || slices.ContainsFunc(l.story, func(e LatchEvent) bool { return e.From == src && e.Why == why }) {
		return
	}
	l.refusals++
	l.note(LatchEvent{At: now, From: src, Why: why})
}

func (l *latch) on() bool {
	switch l.mode {
	case LatchOn:
		return true
	case LatchOff:
		return false
	}
	return isPrivate(l.announced.Addr())
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func isPrivate(a netip.Addr) bool {
	return !a.IsValid() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || carrierNAT.Contains(a)
}

// sdpSent opens the window.
func (l *latch) sdpSent(now time.Time) { l.open, l.until = true, now.Add(latchWindow) }

// announce takes the peer's SDP. A changed address ends the latch; the stream's SSRC stays known.
func (l *latch) announce(a netip.AddrPort) {
	if a != l.announced {
		l.announced, l.source, l.why = a, netip.AddrPort{}, whyAnnounced
	}
}

// admit says whether the packet is the call's. fits: its payload type was negotiated.
func (l *latch) admit(p *Packet, src netip.AddrPort, fits bool) bool {
	same := l.known && p.SSRC == l.ssrc
	ahead := int16(p.Seq - l.seq)
	ok, why := false, whyBack
	switch {
	case !l.open:
		why = whyEarly
	case src == l.announced || src == l.source:
		ok = true
	case !l.on():
		why = whyOff
	case l.source.IsValid():
		if ok, why = same && ahead > 0 && ahead <= latchStep, whyMoved; !ok {
			why = whyStranger
		}
	case p.Arrived.After(l.until):
		why = whyLate
	case !(same || fits):
		why = whyUnfit
	default:
		ok, why = true, whyHeard
	}
	l.why = why
	if !ok {
		return false
	}
	l.source = src
	if !same || ahead > 0 || ahead < -maxDropout {
		l.known, l.ssrc, l.seq = true, p.SSRC, p.Seq
	}
	return true
}

// trust latches an address that has proved itself by other means than its packets.
func (l *latch) trust(a netip.AddrPort) { l.source, l.known, l.why = a, false, whyShaken }

// target is where our packets go; invalid = nowhere (nothing announced, or held with 0.0.0.0).
func (l *latch) target() netip.AddrPort {
	switch {
	case l.announced.Port() == 0 || l.announced.Addr().IsUnspecified():
		return netip.AddrPort{}
	case l.source.IsValid():
		return l.source
	}
	return l.announced
}
