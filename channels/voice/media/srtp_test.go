package media

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// pairOf is two legs that talk to each other over real sockets.
func pairOf(t testing.TB, mux bool) (a, b *UDPLeg, heard chan uint16) {
	t.Helper()
	ports := newPorts(t)
	a, b = newUDPLeg(t, Config{Ports: ports}), newUDPLeg(t, Config{Ports: ports})
	a.SetRemote(Remote{Addr: b.LocalAddr(), Mux: mux})
	b.SetRemote(Remote{Addr: a.LocalAddr(), Mux: mux})
	heard = make(chan uint16, 100)
	b.Swap(SinkFunc(func(p *Packet) {
		if len(p.Payload) != FrameSamples || p.Payload[7] != loudLeft {
			t.Errorf("heard % x", p.Payload)
		}
		heard <- p.Seq
	}))
	a.SDPSent()
	b.SDPSent()
	return a, b, heard
}

// talk has the leg send one packet.
func talk(l *UDPLeg, n int) {
	p := sound(7, uint16(n), uint32(n)*FrameSamples, time.Now())
	copy(p.Payload, loud(loudLeft))
	l.Out().Write(p)
}

func testKey(s Suite, fill byte) []byte { return bytes.Repeat([]byte{fill}, s.KeySize()) }

func secure(t testing.TB, l *UDPLeg, s Security) {
	t.Helper()
	if err := l.SetSecurity(s); err != nil {
		t.Fatal(err)
	}
}

func TestSRTP(t *testing.T) {
	for s := AESCM128; s <= AESGCM256; s++ {
		t.Run(s.String(), func(t *testing.T) {
			if parsed, ok := ParseSuite(s.String()); !ok || parsed != s {
				t.Error("not found by its name")
			}
			a, b, heard := pairOf(t, false)
			secure(t, a, Security{SDES: &SDES{s, testKey(s, 1), testKey(s, 2)}})
			secure(t, b, Security{SDES: &SDES{s, testKey(s, 2), testKey(s, 1)}})
			for n := range 3 {
				talk(a, n)
				<-heard
			}
			before := b.cipher.Load()
			secure(t, b, Security{SDES: &SDES{s, testKey(s, 2), testKey(s, 1)}}) // a refresh
			if now := b.cipher.Load(); now.in != before.in || now.out != before.out {
				t.Error("the same keys count anew: what was heard could be sent again")
			}
			talk(a, 3)
			<-heard
			a.sendReport(time.Now(), false)
			waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.heard.ntp != 0 })
			if s := b.Stats(); s.PacketsIn != 4 || s.Unauthenticated != 0 || s.Strangers != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestSRTPDropsWhatDoesNotAuthenticate: plain RTP, another key and a packet heard before are counted, not heard, and
// move no latch.
func TestSRTPDropsWhatDoesNotAuthenticate(t *testing.T) {
	for s := AESCM128; s <= AESGCM256; s++ {
		ports := newPorts(t)
		caller, nat := newPeer(t, ports), newPeer(t, ports)
		l := newUDPLeg(t, Config{Ports: ports, Latch: LatchOn, Remote: Remote{Addr: netip.MustParseAddrPort("127.0.0.1:9")}})
		l.SDPSent()
		heard := make(chan uint16, 10)
		l.Swap(SinkFunc(func(p *Packet) { heard <- p.Seq }))
		secure(t, l, Security{SDES: &SDES{s, testKey(s, 1), testKey(s, 2)}})
		protect := func(key []byte, seq uint16) []byte {
			ctx, err := newContext(s, key)
			if err != nil {
				t.Fatal(err)
			}
			var b [headerSize + FrameSamples]byte
			putHeader(b[:], false, TypePCMU, seq, uint32(seq)*FrameSamples, 5)
			out, err := ctx.EncryptRTP(nil, b[:], nil)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		send := func(p *peer, b []byte) {
			if _, err := p.WriteToUDPAddrPort(b, l.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		caller.say(t, l.LocalAddr(), TypePCMU, 1, 160, 5, loud(loudLeft))
		send(caller, protect(testKey(s, 3), 2))
		waitFor(t, func() bool { return l.Stats().Unauthenticated == 2 })
		if to := *l.target.Load(); to.Port() != 9 {
			t.Errorf("%v: latched to %v by a packet that is not the call's", s, to)
		}
		good := protect(testKey(s, 2), 3)
		send(nat, good)
		<-heard
		if to := *l.target.Load(); to != nat.addr {
			t.Errorf("%v: sends to %v, the caller is at %v", s, to, nat.addr)
		}
		send(nat, good)
		send(nat, []byte{0x80, 0, 1})
		send(nat, []byte("\x80\xc8rubbish that looks like RTCP"))
		waitFor(t, func() bool { s := l.Stats(); return s.Unauthenticated == 4 && s.Malformed == 1 })
		if len(heard) != 0 {
			t.Error("heard a replay")
		}
	}
}

// TestSRTPRekeys: a re-INVITE brings new keys; what was on its way under the old one is heard, plain RTP never.
func TestSRTPRekeys(t *testing.T) {
	for _, s := range []Suite{AESCM128, AESGCM128} {
		a, b, heard := pairOf(t, false)
		secure(t, a, Security{SDES: &SDES{s, testKey(s, 1), testKey(s, 2)}})
		secure(t, b, Security{SDES: &SDES{s, testKey(s, 2), nil}})
		talk(a, 0) // b has no answer yet
		waitFor(t, func() bool { return b.Stats().Unauthenticated == 1 })
		talk(b, 0)
		if b.Stats().PacketsOut != 0 {
			t.Error("sent before the keys were known")
		}
		secure(t, b, Security{SDES: &SDES{s, testKey(s, 2), testKey(s, 1)}})
		talk(a, 1)
		<-heard
		secure(t, b, Security{SDES: &SDES{s, testKey(s, 4), testKey(s, 3)}})
		talk(a, 2) // under the old key
		<-heard
		secure(t, a, Security{SDES: &SDES{s, testKey(s, 3), testKey(s, 4)}})
		talk(a, 3)
		<-heard
		c := *b.cipher.Load()
		c.oldGoes = time.Now().Add(-time.Second)
		b.cipher.Store(&c)
		secure(t, a, Security{SDES: &SDES{s, testKey(s, 1), testKey(s, 4)}})
		talk(a, 4)
		waitFor(t, func() bool { return b.Stats().Unauthenticated == 2 })
		secure(t, a, Security{})
		secure(t, b, Security{})
		talk(a, 5)
		<-heard
	}
}

func TestSecurityRefuses(t *testing.T) {
	l := newUDPLeg(t, Config{})
	for want, s := range map[string]Security{
		"unknown":              {SDES: &SDES{Suite: 77}},
		"must be 30":           {SDES: &SDES{Suite: AESCM128, Local: testKey(AESGCM128, 1)}},
		"bytes, must be 44":    {SDES: &SDES{Suite: AESGCM256, Local: testKey(AESGCM256, 1), Remote: []byte{1}}},
		`fingerprint by "md5"`: {DTLS: &DTLS{Hash: "md5"}},
		"fingerprint of 3":     {DTLS: &DTLS{Hash: "sha-256", Fingerprint: []byte{1, 2, 3}}},
		"must be sha-256":      {DTLS: &DTLS{Hash: "sha-1", Fingerprint: make([]byte, 20)}},
	} {
		if err := l.SetSecurity(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// sumOf reads a fingerprint as SDP does.
func sumOf(c tls.Certificate) []byte {
	text, _ := strings.CutPrefix(Fingerprint(c), "sha-256 ")
	sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		panic(err)
	}
	return sum
}

// secureByDTLS has two legs shake hands.
func secureByDTLS(t testing.TB, a, b *UDPLeg, wrong bool) (errA, errB error) {
	t.Helper()
	var done [2]chan error
	certs := [2][]byte{}
	cfg := [2]DTLS{}
	for i := range cfg {
		cert, err := NewCertificate()
		if err != nil {
			t.Fatal(err)
		}
		done[i] = make(chan error, 2)
		certs[i] = sumOf(cert)
		cfg[i] = DTLS{Certificate: cert, Client: i == 0, Hash: "sha-256", Done: func(err error) { done[i] <- err }}
	}
	cfg[0].Fingerprint, cfg[1].Fingerprint = certs[1], certs[0]
	if wrong {
		cfg[0].Fingerprint = certs[0]
	}
	secure(t, b, Security{DTLS: &cfg[1]})
	secure(t, a, Security{DTLS: &cfg[0]})
	errA, errB = <-done[0], <-done[1]
	if errA == nil { // a refresh keeps what was agreed
		secure(t, a, Security{DTLS: &cfg[0]})
	}
	return errA, errB
}

func TestDTLS(t *testing.T) {
	a, b, heard := pairOf(t, true)
	talk(a, 0)
	<-heard
	if errA, errB := secureByDTLS(t, a, b, false); errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if s := a.cipher.Load().in.suite; s != AESGCM128 {
		t.Errorf("agreed on %v", s)
	}
	for n := 1; n < 4; n++ {
		talk(a, n)
		<-heard
	}
	a.sendReport(time.Now(), false) // rtcp-mux
	waitFor(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.heard.ntp != 0 })
	if s := b.Stats(); s.Unauthenticated != 0 || s.Strangers != 0 || s.Malformed != 0 {
		t.Errorf("%+v", s)
	}
}

// TestDTLSMoves: a re-INVITE puts the call on another socket of the same box: hands are shaken again. A hold does not.
func TestDTLSMoves(t *testing.T) {
	a, b, heard := pairOf(t, true)
	box, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 4)
	tell := func(err error) { done <- err }
	theirs := Security{DTLS: &DTLS{Certificate: box, Client: true, Hash: "sha-256", Fingerprint: sumOf(ours), Done: tell}}
	own := Security{DTLS: &DTLS{Certificate: ours, Hash: "sha-256", Fingerprint: sumOf(box), Done: tell}}
	agree := func(n int) {
		t.Helper()
		for range n {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	secure(t, b, own)
	secure(t, a, theirs)
	agree(2)
	talk(a, 0)
	<-heard
	first := b.dtls.Load()
	b.SetRemote(Remote{Addr: netip.MustParseAddrPort("0.0.0.0:9"), Mux: true})
	secure(t, b, own)
	b.SetRemote(Remote{Addr: a.LocalAddr(), Mux: true})
	secure(t, b, own)
	if b.dtls.Load() != first {
		t.Error("a hold has ended what was agreed")
	}
	c := newUDPLeg(t, Config{Ports: a.ports, Remote: Remote{Addr: b.LocalAddr(), Mux: true}})
	c.SDPSent()
	b.SetRemote(Remote{Addr: c.LocalAddr(), Mux: true})
	secure(t, b, own)
	b.SDPSent()
	secure(t, c, theirs)
	agree(2)
	talk(c, 1)
	<-heard
}

// TestDTLSFingerprint: somebody in the middle has another certificate than the SDP says.
func TestDTLSFingerprint(t *testing.T) {
	a, b, heard := pairOf(t, true)
	errA, errB := secureByDTLS(t, a, b, true)
	if !errors.Is(errA, errFingerprint) || errB == nil {
		t.Errorf("%v; %v", errA, errB)
	}
	talk(a, 1)
	if a.Stats().PacketsOut != 0 || len(heard) != 0 {
		t.Error("sent without keys")
	}
}

// TestDTLSBehindNAT: the handshake's address is latched, a stranger's packets end nothing.
func TestDTLSBehindNAT(t *testing.T) {
	a, b, heard := pairOf(t, true)
	stranger := newPeer(t, a.ports)
	b.SetRemote(Remote{Addr: netip.MustParseAddrPort("127.0.0.1:9"), Mux: true})
	if errA, errB := secureByDTLS(t, a, b, false); errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if to := *b.target.Load(); to != a.LocalAddr() {
		t.Errorf("sends to %v", to)
	}
	if _, err := stranger.WriteToUDPAddrPort([]byte{22, 254, 253, 0}, b.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return b.Stats().Strangers == 1 })
	talk(a, 1)
	<-heard
}

// TestDTLSClosed: a leg that is closed in the middle of a handshake leaves nothing behind (goleak) and says nothing.
func TestDTLSClosed(t *testing.T) {
	a, _, _ := pairOf(t, true)
	cert, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	d := &DTLS{Certificate: cert, Client: true, Hash: "sha-256", Fingerprint: sumOf(cert), Done: func(err error) { t.Error("told", err) }}
	secure(t, a, Security{DTLS: d})
	_ = a.Close()
	if err := a.SetSecurity(Security{DTLS: d}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// raced is set when the race detector watches: its sync.Pool, which the ciphers use, forgets on purpose.
var raced bool

func TestSRTPAllocatesNothing(t *testing.T) {
	for s := AESCM128; s <= AESGCM256; s++ {
		a, b, heard := pairOf(t, false)
		b.Swap(SinkFunc(func(p *Packet) { heard <- p.Seq }))
		secure(t, a, Security{SDES: &SDES{s, testKey(s, 1), testKey(s, 2)}})
		secure(t, b, Security{SDES: &SDES{s, testKey(s, 2), testKey(s, 1)}})
		n := 0
		p := sound(7, 0, 0, time.Now())
		got := testing.AllocsPerRun(300, func() {
			p.Seq, p.TS = uint16(n), uint32(n)*FrameSamples
			n++
			a.Out().Write(p)
			<-heard
		})
		if got != 0 && !raced {
			t.Errorf("%v: %v allocations for a packet", s, got)
		}
	}
}

// FuzzSRTP: nothing without the key is heard, nothing crashes.
func FuzzSRTP(f *testing.F) {
	ctx, err := newContext(AESCM128, testKey(AESCM128, 9))
	if err != nil {
		f.Fatal(err)
	}
	var plain [headerSize + 20]byte
	putHeader(plain[:], false, TypePCMU, 1, 1, 1)
	protected, err := ctx.EncryptRTP(nil, plain[:], nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{plain[:], protected, {0x80}, {22, 254, 253}, {0x90, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff},
		{0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0x80, 0, 0, 1}} {
		f.Add(b, uint8(AESCM128))
		f.Add(b, uint8(AESGCM256))
	}
	f.Fuzz(func(t *testing.T, b []byte, suite uint8) {
		s := Suite(suite)
		if s == NoSuite || s > AESGCM256 || len(b) > MaxPacket {
			return
		}
		l := &UDPLeg{Leg: NewLeg(LegConfig{Send: func([]byte) error { return nil }})}
		src := netip.MustParseAddrPort("127.0.0.1:4000")
		l.latch.announce(src)
		l.SDPSent()
		secure(t, l, Security{SDES: &SDES{s, testKey(s, 1), testKey(s, 2)}})
		l.Swap(SinkFunc(func(*Packet) { t.Error("heard") }))
		p := &Packet{Arrived: time.Now()}
		copy(p.Buffer(), b)
		l.take(p, len(b), src)
		if l.heard.ntp != 0 {
			t.Error("a report was believed")
		}
	})
}

// BenchmarkSRTPRelay is our own work for a packet between two protected legs: open, parse, latch, count, rewrite,
// seal; no sockets.
func BenchmarkSRTPRelay(b *testing.B) {
	for s := AESCM128; s <= AESGCM256; s++ {
		b.Run(s.String(), func(b *testing.B) {
			var err error
			far := &cipher{}
			if far, err = far.renew(s, testKey(s, 2), testKey(s, 1)); err != nil {
				b.Fatal(err)
			}
			other := &UDPLeg{Leg: NewLeg(LegConfig{Send: func([]byte) error { return nil }})}
			secure(b, other, Security{SDES: &SDES{s, testKey(s, 3), testKey(s, 4)}})
			out := newOutput(LegConfig{Send: func(p []byte) error { _, err := other.cipher.Load().sealRTP(p); return err }})
			l := &UDPLeg{Leg: NewLeg(LegConfig{Send: func([]byte) error { return nil }})}
			secure(b, l, Security{SDES: &SDES{s, testKey(s, 1), testKey(s, 2)}})
			l.Swap(out)
			src := netip.MustParseAddrPort("127.0.0.1:4000")
			l.latch.announce(src)
			l.SDPSent()
			var p Packet
			plain := make([]byte, headerSize+FrameSamples)
			b.ReportAllocs()
			for n := uint32(0); b.Loop(); n++ {
				putHeader(plain, false, TypePCMU, uint16(n), n*FrameSamples, 7)
				sealed, err := far.sealRTP(plain)
				if err != nil {
					b.Fatal(err)
				}
				copy(p.Buffer(), sealed)
				p.Arrived = time.Now()
				l.take(&p, len(sealed), src)
			}
			if out.packets == 0 || l.forged.Load() != 0 {
				b.Errorf("%d sent, %d forged", out.packets, l.forged.Load())
			}
		})
	}
}
