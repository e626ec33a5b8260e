package media

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// peer is the other side: two plain sockets.
type peer struct {
	*net.UDPConn
	rtcp *net.UDPConn
	addr netip.AddrPort
}

func newPorts(t testing.TB) *Ports {
	p := NewPorts(loopback, 0, 0)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func newPeer(t testing.TB, ports *Ports) *peer {
	t.Helper()
	pair, err := ports.Open()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	_ = pair.RTP.SetReadDeadline(deadline)
	_ = pair.RTCP.SetReadDeadline(deadline)
	t.Cleanup(pair.close)
	return &peer{pair.RTP, pair.RTCP, netip.AddrPortFrom(loopback, pair.port)}
}

func (p *peer) say(t testing.TB, to netip.AddrPort, pt uint8, seq uint16, ts, ssrc uint32, payload []byte) {
	t.Helper()
	var b [MaxPacket]byte
	putHeader(b[:], false, pt, seq, ts, ssrc)
	n := copy(b[headerSize:], payload)
	if _, err := p.WriteToUDPAddrPort(b[:headerSize+n], to); err != nil {
		t.Fatal(err)
	}
}

func newUDPLeg(t testing.TB, cfg Config) *UDPLeg {
	t.Helper()
	if cfg.Ports == nil {
		cfg.Ports = newPorts(t)
	}
	l, err := NewUDPLeg(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestBridge has two phones talk through two legs, one A-law with events 96, one µ-law with events 101.
func TestBridge(t *testing.T) {
	ports := newPorts(t)
	a, b := newPeer(t, ports), newPeer(t, ports)
	digits := make(chan byte, 10)
	la := newUDPLeg(t, Config{Ports: ports, Remote: Remote{Addr: a.addr, Format: Format{Events: 101}}, OnDTMF: func(d byte) { digits <- d }})
	lb := newUDPLeg(t, Config{Ports: ports, Remote: Remote{Addr: b.addr, Format: Format{Codec: PCMA, Events: 96}}})
	if la.LocalAddr().Port()%2 != 0 {
		t.Error("RTP belongs on an even port")
	}
	la.SDPSent()
	lb.SDPSent()
	bridge(la.Leg, lb.Leg)
	voice := make([]byte, FrameSamples)
	var got Packet
	read := func(p *peer) {
		t.Helper()
		n, err := p.Read(got.Buffer())
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Parse(n); err != nil {
			t.Fatal(err)
		}
	}
	a.say(t, la.LocalAddr(), TypePCMU, 10, 1000, 7, voice)
	read(b)
	if got.PayloadType != TypePCMA || got.SSRC != lb.Out().SSRC() || got.Payload[0] != EncodeALaw(decodeULaw(0)) {
		t.Errorf("b heard %d %x", got.PayloadType, got.Payload[0])
	}
	a.say(t, la.LocalAddr(), 101, 11, 1160, 7, []byte{3, 10, 0, 160})
	read(b)
	if got.PayloadType != 96 || got.Payload[0] != 3 {
		t.Errorf("b heard no key: %d % x", got.PayloadType, got.Payload)
	}
	if d := <-digits; d != '3' {
		t.Errorf("digit %q", d)
	}
	b.say(t, lb.LocalAddr(), TypePCMA, 1, 1, 8, voice)
	read(a)
	if got.PayloadType != TypePCMU || got.SSRC != la.Out().SSRC() {
		t.Errorf("a heard %d", got.PayloadType)
	}
	a.say(t, la.LocalAddr(), 34, 12, 1320, 7, voice) // nobody negotiated that
	a.say(t, la.LocalAddr(), TypePCMU, 14, 1480, 7, voice)
	read(b)
	s := la.Stats()
	if s.PacketsIn != 4 || s.Foreign != 1 || s.Lost != 1 || s.PacketsOut != 1 || s.BytesOut != 160 || s.LastPacket.IsZero() {
		t.Errorf("%+v", s)
	}
	if silent, heard := la.Silent(); !heard || silent > 10*time.Second {
		t.Errorf("silent %v, %v", silent, heard)
	}
}

// TestStrangers: RTP from an address the call does not know is neither heard nor answered.
func TestStrangers(t *testing.T) {
	ports := newPorts(t)
	caller, stranger := newPeer(t, ports), newPeer(t, ports)
	heard := make(chan uint32, 100)
	l := newUDPLeg(t, Config{Ports: ports, Remote: Remote{Addr: caller.addr, Format: Format{Events: 101}}})
	l.Swap(SinkFunc(func(p *Packet) { heard <- p.SSRC }))
	caller.say(t, l.LocalAddr(), TypePCMU, 1, 0, 1, nil) // too early: no SDP of ours is out
	waitFor(t, func() bool { return l.Stats().Strangers == 1 })
	l.SDPSent()
	caller.say(t, l.LocalAddr(), TypePCMU, 2, 0, 1, nil)
	if got := <-heard; got != 1 {
		t.Errorf("heard %d", got)
	}
	stranger.say(t, l.LocalAddr(), TypePCMU, 9, 0, 666, nil)
	if _, err := stranger.WriteToUDPAddrPort([]byte("OPTIONS sip:x SIP/2.0\r\n"), l.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { s := l.Stats(); return s.Strangers == 2 && s.Malformed == 1 })
	caller.say(t, l.LocalAddr(), TypePCMU, 3, 0, 1, nil)
	if got := <-heard; got != 1 {
		t.Errorf("heard %d", got)
	}
	if to := *l.target.Load(); to != caller.addr {
		t.Errorf("sends to %v", to)
	}
	// The same stream from another port: a NAT has changed its mind.
	stranger.say(t, l.LocalAddr(), TypePCMU, 4, 0, 1, nil)
	<-heard
	if to := *l.target.Load(); to != stranger.addr {
		t.Errorf("sends to %v", to)
	}
	l.SetRemote(Remote{Addr: netip.MustParseAddrPort("0.0.0.0:9")})
	if l.target.Load() != nil {
		t.Error("held: sends")
	}
}

// waitFor polls a counter that has no event of its own.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 5000 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatal("waited in vain")
}

func TestRTCP(t *testing.T) {
	ports := newPorts(t)
	caller := newPeer(t, ports)
	l := newUDPLeg(t, Config{Ports: ports, Remote: Remote{Addr: caller.addr}})
	l.SDPSent()
	heard := make(chan struct{}, 1)
	l.Swap(SinkFunc(func(*Packet) { heard <- struct{}{} }))
	for _, seq := range []uint16{1, 2, 5} {
		caller.say(t, l.LocalAddr(), TypePCMU, seq, uint32(seq)*160, 77, make([]byte, 160))
		<-heard
	}
	l.Out().Write(sound(9, 1, 0, time.Now()))
	l.sendReport(time.Now(), false) // as the 5 s timer does
	b := make([]byte, MaxPacket)
	n, err := caller.rtcp.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := rtcp.Unmarshal(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	sr, ok := packets[0].(*rtcp.SenderReport)
	if !ok || sr.SSRC != l.Out().SSRC() || sr.PacketCount != 1 || sr.OctetCount != 160 || len(sr.Reports) != 1 {
		t.Fatalf("%+v", packets[0])
	}
	if r := sr.Reports[0]; r.SSRC != 77 || r.TotalLost != 2 || r.FractionLost != 2*256/5 || r.LastSequenceNumber != 5 {
		t.Errorf("%+v", r)
	}
	reply, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 77, Reports: []rtcp.ReceptionReport{{
		SSRC: l.Out().SSRC(), TotalLost: 4, Jitter: 80, LastSenderReport: uint32(sr.NTPTime >> 16), Delay: 0}}}})
	if err != nil {
		t.Fatal(err)
	}
	control := netip.AddrPortFrom(loopback, l.LocalAddr().Port()+1)
	if _, err := caller.rtcp.WriteToUDPAddrPort(reply, control); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return l.Stats().RemoteLost == 4 })
	if s := l.Stats(); s.RemoteJitter != 10*time.Millisecond || s.RoundTrip < 0 || s.RoundTrip > 10*time.Second {
		t.Errorf("%+v", s)
	}
	// rtcp-mux, and rubbish
	for _, raw := range [][]byte{reply, {0x80, 200, 0, 9, 0, 0, 0, 0}, {0x80, 201, 0xff, 0xff, 0, 0, 0, 0}} {
		if _, err := caller.WriteToUDPAddrPort(raw, l.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return l.Stats().Malformed == 2 })
}

func TestPorts(t *testing.T) {
	free := newPeer(t, newPorts(t)).addr.Port() // somewhere in the system's range
	p := NewPorts(loopback, int(free)+2, int(free)+7)
	defer p.Close()
	var pairs []*Pair
	for {
		pair, err := p.Open()
		if err != nil {
			if err != ErrNoPorts {
				t.Fatal(err)
			}
			break
		}
		if pair.port%2 != 0 || pair.port <= free || pair.port > free+6 {
			t.Errorf("port %d", pair.port)
		}
		pairs = append(pairs, pair)
	}
	if len(pairs) == 0 || len(pairs) > 3 {
		t.Fatalf("%d pairs of 3", len(pairs))
	}
	p.Release(pairs[0])
	if _, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, pairs[0].port))); err == nil {
		t.Error("a released port must stay bound until it is quiet")
	}
	say := newPeer(t, newPorts(t))
	say.say(t, netip.AddrPortFrom(loopback, pairs[0].port), 0, 1, 1, 1, []byte("old call"))
	again, err := p.Open()
	if err != nil || again != pairs[0] {
		t.Fatalf("the quietest drained pair is the last reserve: %v", err)
	}
	say.say(t, netip.AddrPortFrom(loopback, pairs[0].port), 0, 2, 1, 1, []byte("new call"))
	b := make([]byte, 100)
	if n, err := again.RTP.Read(b); err != nil || string(b[12:n]) != "new call" {
		t.Errorf("heard %q, %v", b[12:n], err)
	}
	p.Release(again)
	now := time.Now()
	say.say(t, netip.AddrPortFrom(loopback, again.port), 0, 3, 1, 1, nil)
	if n := p.sweepOnce(now.Add(29 * time.Second)); n != 1 {
		t.Errorf("%d draining", n)
	}
	if n := p.sweepOnce(now.Add(31 * time.Second)); n != 1 { // it was heard at 29
		t.Errorf("%d draining", n)
	}
	if n := p.sweepOnce(now.Add(60 * time.Second)); n != 0 {
		t.Errorf("%d draining", n)
	}
	for _, pair := range pairs[1:] {
		p.Release(pair)
	}
}

// TestClosedLegFreesItsReader: Close must not wait for a packet, and the same pair must work again.
func TestClosedLegFreesItsReader(t *testing.T) {
	free := newPeer(t, newPorts(t)).addr.Port()
	var ports *Ports
	for at := int(free) + 2; ; at += 2 { // one pair that is really free
		ports = NewPorts(loopback, at, at+1)
		if pair, err := ports.Open(); err == nil {
			ports.Release(pair)
			break
		}
		_ = ports.Close()
	}
	defer ports.Close()
	for i := range 20 {
		l, err := NewUDPLeg(Config{Ports: ports, Remote: Remote{Addr: netip.AddrPortFrom(loopback, free)}})
		if err != nil {
			t.Fatal(i, err)
		}
		l.SDPSent()
		heard := make(chan uint16, 1)
		l.Swap(SinkFunc(func(p *Packet) { heard <- p.Seq }))
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.LocalAddr()))
		if err != nil {
			t.Fatal(err)
		}
		var b [12]byte
		putHeader(b[:], false, 0, uint16(i), 1, 1)
		if _, err := c.Write(b[:]); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != uint16(i) {
			t.Errorf("heard %d", got)
		}
		_ = c.Close()
		_ = l.Close()
		_ = l.Close()
	}
}

// relayLoop is one packet through a real leg: peer -> socket -> leg a -> output of b -> socket -> peer.
func relayLoop(t testing.TB) (step func(), la, lb *UDPLeg) {
	ports := newPorts(t)
	from, to := newPeer(t, ports), newPeer(t, ports)
	_ = to.SetReadDeadline(time.Time{})
	la = newUDPLeg(t, Config{Ports: ports, Remote: Remote{Addr: from.addr, Format: Format{Events: 101}}})
	lb = newUDPLeg(t, Config{Ports: ports, Remote: Remote{Addr: to.addr, Format: Format{Codec: PCMA, Events: 101}}})
	la.SDPSent()
	lb.SDPSent()
	bridge(la.Leg, lb.Leg)
	var out [headerSize + FrameSamples]byte
	in := make([]byte, MaxPacket)
	dst := la.LocalAddr()
	seq, ts := uint16(0), uint32(0)
	return func() {
		putHeader(out[:], false, TypePCMU, seq, ts, 7)
		seq, ts = seq+1, ts+FrameSamples
		if _, err := from.WriteToUDPAddrPort(out[:], dst); err != nil {
			t.Fatal(err)
		}
		if _, _, err := to.ReadFromUDPAddrPort(in); err != nil {
			t.Fatal(err)
		}
	}, la, lb
}

func TestRelayAllocatesNothing(t *testing.T) {
	step, _, _ := relayLoop(t)
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(500, step); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

// BenchmarkRelay is our own work for a packet: parse, latch, count, rewrite, change of law; no sockets.
func BenchmarkRelay(b *testing.B) {
	for _, law := range []Codec{PCMU, PCMA} {
		b.Run(fmt.Sprintf("to%d", law), func(b *testing.B) {
			out := newOutput(LegConfig{Format: Format{Codec: law}, Send: func([]byte) error { return nil }})
			l := &UDPLeg{Leg: NewLeg(LegConfig{Send: func([]byte) error { return nil }})}
			l.Swap(out)
			src := netip.MustParseAddrPort("127.0.0.1:4000")
			l.latch.announce(src)
			l.SDPSent()
			var p Packet
			putHeader(p.Buffer(), false, TypePCMU, 0, 0, 7)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				binary.BigEndian.PutUint16(p.buf[2:], uint16(i))
				binary.BigEndian.PutUint32(p.buf[4:], uint32(i)*160)
				p.Arrived = time.Now()
				l.take(&p, headerSize+FrameSamples, src)
			}
		})
	}
}

// BenchmarkRelaySockets goes through the kernel twice and wakes two goroutines: one packet in flight at a time.
func BenchmarkRelaySockets(b *testing.B) {
	step, _, _ := relayLoop(b)
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// BenchmarkCalls relays 100 calls, both ways, as fast as it can, and reports the CPU of a packet's way in and out.
func BenchmarkCalls(b *testing.B) {
	const calls = 100
	ports := newPorts(b)
	type end struct {
		from *peer
		to   netip.AddrPort
	}
	var ends []end
	var relayed atomic.Int64
	for range calls {
		x, y := newPeer(b, ports), newPeer(b, ports)
		lx := newUDPLeg(b, Config{Ports: ports, Remote: Remote{Addr: x.addr}})
		ly := newUDPLeg(b, Config{Ports: ports, Remote: Remote{Addr: y.addr}})
		lx.SDPSent()
		ly.SDPSent()
		bridge(lx.Leg, ly.Leg)
		ends = append(ends, end{x, lx.LocalAddr()}, end{y, ly.LocalAddr()})
		for _, l := range []*UDPLeg{lx, ly} { // count what goes on, sending included
			other := l.Swap(Discard)
			l.Swap(SinkFunc(func(p *Packet) { other.Write(p); relayed.Add(1) }))
		}
	}
	var out [headerSize + FrameSamples]byte
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	sent := int64(0)
	for i := 0; b.Loop(); i++ {
		e := ends[i%len(ends)]
		putHeader(out[:], false, TypePCMU, uint16(i/len(ends)), uint32(i/len(ends))*160, uint32(i%len(ends)))
		if _, err := e.from.WriteToUDPAddrPort(out[:], e.to); err != nil {
			b.Fatal(err)
		}
		sent++
		if sent%int64(len(ends)) == 0 {
			waitFor(b, func() bool { return relayed.Load() >= sent })
		}
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(sent), "cpu-ns/packet")
}
