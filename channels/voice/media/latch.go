package media

import (
	"net/netip"
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
		l.announced, l.source = a, netip.AddrPort{}
	}
}

// admit says whether the packet is the call's. fits: its payload type was negotiated.
func (l *latch) admit(p *Packet, src netip.AddrPort, fits bool) bool {
	if !l.open {
		return false
	}
	same := l.known && p.SSRC == l.ssrc
	ahead := int16(p.Seq - l.seq)
	switch {
	case src == l.announced:
	case src == l.source:
	case !l.on():
		return false
	case l.source.IsValid():
		if !same || ahead <= 0 || ahead > latchStep {
			return false
		}
	case p.Arrived.After(l.until) || !(same || fits):
		return false
	}
	l.source = src
	if !same || ahead > 0 || ahead < -maxDropout {
		l.known, l.ssrc, l.seq = true, p.SSRC, p.Seq
	}
	return true
}

// trust latches an address that has proved itself by other means than its packets.
func (l *latch) trust(a netip.AddrPort) { l.source, l.known = a, false }

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
