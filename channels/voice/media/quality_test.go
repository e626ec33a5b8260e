package media

import (
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
)

func TestMOS(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		codec  Codec
		lost   float64
		jitter time.Duration
		trip   time.Duration
		want   float64
	}{
		{PCMU, 0, 0, 0, 4.4},
		{PCMA, 1, 5 * ms, 40 * ms, 4.3},
		{PCMU, 5, 5 * ms, 40 * ms, 3.9},
		{PCMU, 20, 5 * ms, 40 * ms, 2.5},
		{PCMU, 0, 0, 800 * ms, 2.6},
		{PCMU, 0, 100 * ms, 0, 4.1},
		{G722, 5, 5 * ms, 40 * ms, 3.7},
		{Opus, 5, 5 * ms, 40 * ms, 3.9},
		{PCMU, 100, time.Second, 10 * time.Second, 1},
	} {
		if got := mos(c.codec, c.lost, c.jitter, c.trip); math.Abs(got-c.want) > 0.1 {
			t.Errorf("%v %v %% %v %v: %.2f, want %.1f", c.codec, c.lost, c.jitter, c.trip, got, c.want)
		}
	}
}

// TestSlices: 5 s each, with what was lost in them; silence is a slice too.
func TestSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLeg(LegConfig{Send: func([]byte) error { return nil }})
		if q := l.Quality(); q != (Quality{}) || len(l.Slices()) != 0 || l.Overall() != q {
			t.Error("quality of nothing", q)
		}
		hear := func(n int) {
			l.Deliver(&Packet{Seq: uint16(n), TS: uint32(n) * FrameSamples, Payload: loud(loudLeft), Arrived: time.Now()})
			time.Sleep(Frame)
		}
		for n := range 100 {
			hear(n)
		}
		if q := l.Quality(); q.MOS < 4.3 || q.Lost != 0 {
			t.Errorf("the first slice runs: %+v", q)
		}
		for n := 100; n < 250; n++ {
			hear(n)
		}
		l.Reported(rtcp.ReceptionReport{FractionLost: 64, Jitter: 160, LastSenderReport: uint32(ntpTime(time.Now()) >> 16), Delay: 0}, time.Now().Add(100*time.Millisecond))
		for n := 250; n < 500; n++ {
			if n%10 == 5 {
				time.Sleep(Frame) // lost
			} else {
				hear(n)
			}
		}
		if q := l.Quality(); math.Abs(q.Lost-10) > 0.5 || q.MOS > 3.7 || q.MOS < 3 || q.RoundTrip.Round(10*time.Millisecond) != 100*time.Millisecond {
			t.Errorf("%+v", q)
		}
		time.Sleep(7 * time.Second) // on hold
		s := l.Slices()
		if len(s) != 4 {
			t.Fatalf("%d slices", len(s))
		}
		for i, want := range []struct {
			packets uint64
			missing int64
		}{{250, 0}, {225, 25}, {0, 0}, {0, 0}} {
			if s[i].Packets != want.packets || s[i].Missing != want.missing || (s[i].MOS == 0) != (want.packets == 0) {
				t.Errorf("slice %d: %+v", i, s[i])
			}
		}
		if s[1].FarLost != 25 || s[1].FarJitter != 20*time.Millisecond || s[0].Length != sliceLength || s[3].Length != 2*time.Second {
			t.Errorf("%+v", s)
		}
		if q := l.Overall(); math.Abs(q.Lost-5) > 0.3 || q.MOS <= s[1].MOS || q.MOS >= s[0].MOS {
			t.Errorf("overall %+v", q)
		}
	})
}

// TestJitterOfAStoppedClock: a telephone whose clock stands still in its pauses has no jitter; a network that is held up has.
func TestJitterOfAStoppedClock(t *testing.T) {
	for name, c := range map[string]struct {
		pause    time.Duration
		burst    int // packets that come at once then
		low, top time.Duration
	}{
		"a steady one":     {0, 0, 0, time.Millisecond},
		"short pauses":     {300 * time.Millisecond, 0, 0, time.Millisecond},
		"long pauses":      {900 * time.Millisecond, 0, 0, time.Millisecond},
		"a network's hold": {300 * time.Millisecond, 15, 15 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var r reception
			now, n, most := time.Unix(1000, 0), 0, time.Duration(0)
			for range 20 {
				for i := range 50 {
					if i >= c.burst {
						now = now.Add(Frame)
					}
					r.count(&Packet{Seq: uint16(n), TS: uint32(n) * FrameSamples, Payload: loud(loudLeft), Arrived: now})
					n++
					most = max(most, r.jitterTime())
				}
				now = now.Add(c.pause)
			}
			if most < c.low || most > c.top {
				t.Errorf("jitter %v, want %v to %v", most, c.low, c.top)
			}
		})
	}
}

// TestSlicesAreBounded: two hours in slices of 10 s, four in slices of 20 s; the worst moment is not averaged away.
func TestSlicesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLeg(LegConfig{Send: func([]byte) error { return nil }})
		n := 0
		for range 3 * 3600 {
			for range 2 {
				n++
				if n == 5000 {
					n += 50
				}
				l.Deliver(&Packet{Seq: uint16(n), TS: uint32(n) * 4000, Payload: loud(loudLeft), Arrived: time.Now()})
				time.Sleep(500 * time.Millisecond)
			}
		}
		s := l.Slices()
		worst := 5.0
		var length time.Duration
		for _, x := range s {
			worst = min(worst, x.MOS)
			length += x.Length
		}
		if len(s) > maxSlices || s[0].Length != 20*time.Second || length != 3*time.Hour || worst > 2 {
			t.Errorf("%d slices of %v, %v in all, worst %v", len(s), s[0].Length, length, worst)
		}
	})
}

// TestLatchLog tells why a call was silent.
func TestLatchLog(t *testing.T) {
	ports := newPorts(t)
	caller, stranger := newPeer(t, ports), newPeer(t, ports)
	announced := netip.MustParseAddrPort("127.0.0.1:9")
	l := newUDPLeg(t, Config{Ports: ports, Latch: LatchOn, Remote: Remote{Addr: announced}})
	caller.say(t, l.LocalAddr(), TypePCMU, 1, 0, 1, nil)
	waitFor(t, func() bool { return l.Stats().Strangers == 1 })
	l.SDPSent()
	caller.say(t, l.LocalAddr(), TypePCMU, 2, 0, 1, nil)
	waitFor(t, func() bool { return l.Stats().PacketsIn == 1 })
	for range 3 {
		stranger.say(t, l.LocalAddr(), TypePCMU, 7, 0, 6, nil)
	}
	waitFor(t, func() bool { return l.Stats().Strangers == 4 })
	stranger.say(t, l.LocalAddr(), TypePCMU, 3, 0, 1, nil)
	waitFor(t, func() bool { return l.Stats().PacketsIn == 2 })
	l.SetRemote(Remote{Addr: netip.MustParseAddrPort("0.0.0.0:9")})
	none := netip.AddrPort{}
	want := []LatchEvent{
		{From: none, To: announced, Why: whyAnnounced},
		{From: caller.addr, To: none, Why: whyEarly},
		{From: announced, To: caller.addr, Why: whyHeard},
		{From: stranger.addr, To: none, Why: whyStranger},
		{From: caller.addr, To: stranger.addr, Why: whyMoved},
		{From: stranger.addr, To: none, Why: whyAnnounced},
	}
	got := l.LatchLog()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, e := range got {
		if e.At.IsZero() {
			t.Error("no time")
		}
		e.At = time.Time{}
		if e != want[i] {
			t.Errorf("%d: %+v, want %+v", i, e, want[i])
		}
	}
}

// TestLatchLogIsBounded: a flood from many addresses leaves room for what matters.
func TestLatchLogIsBounded(t *testing.T) {
	l := &UDPLeg{Leg: NewLeg(LegConfig{Send: func([]byte) error { return nil }})}
	p := &Packet{Arrived: time.Now()}
	for port := range uint16(1000) {
		putHeader(p.Buffer(), false, TypePCMU, port, 0, 1)
		l.take(p, headerSize, netip.AddrPortFrom(loopback, port))
	}
	if n := len(l.LatchLog()); n != maxRefusals || l.Stats().Strangers != 1000 {
		t.Errorf("%d events, %d strangers", n, l.Stats().Strangers)
	}
}

// TestIPv6 bridges a caller on IPv6 to one on IPv4, RTCP and its BYE included.
func TestIPv6(t *testing.T) {
	six := NewPorts(netip.IPv6Loopback(), 0, 0)
	t.Cleanup(func() { _ = six.Close() })
	pair, err := six.Open()
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	t.Cleanup(pair.close)
	ports := newPorts(t)
	old := newPeer(t, ports)
	l6 := newUDPLeg(t, Config{Ports: six, Remote: Remote{Addr: netip.AddrPortFrom(netip.IPv6Loopback(), pair.port)}})
	l4 := newUDPLeg(t, Config{Ports: ports, Remote: Remote{Addr: old.addr, Mux: true}})
	l6.SDPSent()
	l4.SDPSent()
	bridge(l6.Leg, l4.Leg)
	old.say(t, l4.LocalAddr(), TypePCMU, 1, 0, 1, loud(loudLeft))
	b := make([]byte, MaxPacket)
	_ = pair.RTP.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := pair.RTP.Read(b); err != nil || n != headerSize+FrameSamples {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = l4.Close()
	n, err := old.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := rtcp.Unmarshal(b[:n])
	if err != nil || len(packets) != 3 {
		t.Fatalf("%v, %v", packets, err)
	}
	if bye, ok := packets[2].(*rtcp.Goodbye); !ok || bye.Sources[0] != l4.Out().SSRC() {
		t.Errorf("%+v", packets[2])
	}
}
