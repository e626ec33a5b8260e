package media

import (
	"net/netip"
	"testing"
	"time"
)

func TestLatch(t *testing.T) {
	announced := netip.MustParseAddrPort("10.1.1.1:4000")
	nat := netip.MustParseAddrPort("203.0.113.5:61000")
	nat2 := netip.MustParseAddrPort("203.0.113.5:61002")
	stranger := netip.MustParseAddrPort("198.51.100.9:5000")
	type step struct {
		at   time.Duration // since the SDP
		src  netip.AddrPort
		ssrc uint32
		seq  uint16
		fits bool
		want bool
	}
	const s = time.Second
	for name, c := range map[string]struct {
		mode   LatchMode
		closed bool
		steps  []step
		target netip.AddrPort
	}{
		"before our SDP": {LatchOn, true, []step{{0, announced, 1, 1, true, false}}, announced},
		"announced":      {LatchOff, false, []step{{0, announced, 1, 1, true, true}, {9 * s, announced, 1, 2, true, true}}, announced},
		"off: nobody else": {LatchOff, false, []step{
			{0, nat, 1, 1, true, false}, {1 * s, announced, 1, 2, true, true}, {2 * s, nat, 1, 3, true, false}}, announced},
		"behind NAT":     {LatchOn, false, []step{{1 * s, nat, 1, 1, true, true}, {20 * s, nat, 1, 900, true, true}}, nat},
		"auto, private":  {LatchAuto, false, []step{{1 * s, nat, 1, 1, true, true}}, nat},
		"wrong payload":  {LatchOn, false, []step{{1 * s, stranger, 1, 1, false, false}}, announced},
		"window over":    {LatchOn, false, []step{{5*s + 1, stranger, 1, 1, true, false}, {9 * s, announced, 2, 1, true, true}}, announced},
		"stranger after": {LatchOn, false, []step{{0, nat, 1, 1, true, true}, {1 * s, stranger, 2, 1, true, false}}, nat},
		"stranger's seq": {LatchOn, false, []step{{0, nat, 1, 1, true, true}, {1 * s, stranger, 1, 5000, true, false}}, nat},
		"old packet moves nobody": {LatchOn, false, []step{
			{0, nat, 1, 10, true, true}, {1 * s, stranger, 1, 9, true, false}, {1 * s, stranger, 1, 10, true, false}}, nat},
		"NAT rebinds":       {LatchOn, false, []step{{0, nat, 1, 65535, true, true}, {60 * s, nat2, 1, 1, true, true}, {61 * s, nat, 1, 9999, true, false}}, nat2},
		"announced is back": {LatchOn, false, []step{{0, nat, 1, 1, true, true}, {1 * s, announced, 1, 2, true, true}}, announced},
	} {
		l := latch{mode: c.mode}
		l.announce(announced)
		start := time.Unix(1000, 0)
		if !c.closed {
			l.sdpSent(start)
		}
		for i, st := range c.steps {
			p := Packet{SSRC: st.ssrc, Seq: st.seq, Arrived: start.Add(st.at)}
			if got := l.admit(&p, st.src, st.fits); got != st.want {
				t.Errorf("%s: step %d: %v", name, i, got)
			}
		}
		if got := l.target(); got != c.target {
			t.Errorf("%s: sends to %v, want %v", name, got, c.target)
		}
	}
}

func TestLatchPublicAddressIsNotLeft(t *testing.T) {
	l := latch{mode: LatchAuto}
	l.announce(netip.MustParseAddrPort("192.0.2.1:4000"))
	l.sdpSent(time.Unix(1000, 0))
	p := Packet{Arrived: time.Unix(1000, 0)}
	if l.admit(&p, netip.MustParseAddrPort("198.51.100.9:5000"), true) {
		t.Error("auto: a public address was announced, another source must not be taken")
	}
}

func TestLatchReinvite(t *testing.T) {
	first, second := netip.MustParseAddrPort("10.1.1.1:4000"), netip.MustParseAddrPort("10.1.1.2:4000")
	nat := netip.MustParseAddrPort("203.0.113.5:61000")
	start := time.Unix(1000, 0)
	l := latch{mode: LatchOn}
	l.announce(first)
	l.sdpSent(start)
	l.admit(&Packet{SSRC: 1, Arrived: start}, nat, true)
	l.announce(first)
	if l.target() != nat {
		t.Error("a refresh with the same address keeps the latch")
	}
	l.announce(second)
	if l.target() != second {
		t.Error("a new address ends the latch")
	}
	l.announce(netip.MustParseAddrPort("0.0.0.0:4000"))
	if l.target().IsValid() {
		t.Error("held with 0.0.0.0: nothing may be sent")
	}
}
