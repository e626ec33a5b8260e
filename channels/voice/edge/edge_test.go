package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// TestTransports: one edge hears UDP, TCP and TLS by both families at once.
func TestTransports(t *testing.T) {
	ctx := testCtx(t)
	server, client := certificate(t, "pbx.example")
	var listen []Listen
	for _, transport := range []string{"udp", "tcp", "tls"} {
		listen = append(listen, Listen{transport, "127.0.0.1:0"}, Listen{transport, "[::1]:0"})
	}
	s := open(t, Config{Listen: listen, TLS: server, Policy: Policy{Trusted: []netip.Prefix{home, home6}}})
	for i, ip := range []string{"127.0.0.1", "::1"} {
		p := newPeer(t, ip, s.addrs("udp")[i])
		p.ask(ctx)
		l := dialTCP(t, ip, s.addrs("tcp")[i])
		l.ask(ctx, "TCP")
		l.ask(ctx, "TCP")
		c, err := tls.Dial("tcp", s.addrs("tls")[i].String(), client)
		newLine(t, c, err).ask(ctx, "TLS")
	}
	if n := s.Counts().Conns; n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
	old := client.Clone()
	old.MaxVersion = tls.VersionTLS11
	if c, err := tls.Dial("tcp", s.Addr("tls").String(), old); err == nil {
		c.Close()
		t.Error("TLS 1.1 was taken")
	}
}

// TestStrangers get nothing by any transport: no datagram, no byte, no handshake.
func TestStrangers(t *testing.T) {
	ctx := testCtx(t)
	server, client := certificate(t, "pbx.example")
	s := open(t, Config{Listen: []Listen{{"udp", "127.0.0.1:0"}, {"tcp", "127.0.0.1:0"}, {"tls", "127.0.0.1:0"}}, TLS: server,
		Policy: Policy{Trusted: []netip.Prefix{home}}})
	eve := newPeer(t, "127.0.0.2", s.Addr("udp"))
	for _, text := range []string{request("OPTIONS", "x", eve.LocalAddr(), "UDP"), "garbage", "INVITE\r\n\r\n", request("REGISTER", "100", eve.LocalAddr(), "UDP")} {
		eve.send(text)
	}
	until(t, ctx, "foreign datagrams", func() bool { return s.Counts().Foreign == 4 })
	newPeer(t, "127.0.0.1", s.Addr("udp")).ask(ctx)
	eve.silent()
	for _, transport := range []string{"tcp", "tls"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		c, err := d.DialContext(ctx, "tcp", s.Addr(transport).String())
		if err != nil {
			continue // reset so fast
		}
		l := newLine(t, c, nil)
		if transport == "tls" {
			if err := tls.Client(l.Conn, client).HandshakeContext(ctx); err == nil {
				t.Error("a stranger shook hands")
			}
		} else if a := l.answer(ctx); a != "" {
			t.Errorf("a stranger got %q", a)
		}
	}
	if n := s.heard.Load(); n != 1 {
		t.Errorf("%d requests reached the stack", n)
	}
	// A policy is changed while we serve.
	s.SetPolicy(Policy{Trusted: []netip.Prefix{loopback}})
	eve.ask(ctx)
	friend := dialTCP(t, "127.0.0.2", s.Addr("tcp"))
	friend.ask(ctx, "TCP")
	s.SetPolicy(Policy{Trusted: []netip.Prefix{home}})
	friend.send(request("OPTIONS", "x", friend.LocalAddr(), "TCP"))
	if a := friend.answer(ctx); a != "" {
		t.Errorf("a former friend got %q", a)
	}
}

// TestManySources: 60,000 strangers leave no memory.
func TestManySources(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Policy: Policy{Trusted: []netip.Prefix{home}}})
	good := newPeer(t, "127.0.0.1", s.Addr("udp"))
	good.ask(ctx)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	to := net.UDPAddrFromAddrPort(s.Addr("udp"))
	for i := range 60_000 {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, byte(1+i>>16), byte(i>>8), byte(i))}, to)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Write([]byte(request("INVITE", "100", c.LocalAddr(), "UDP")))
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			good.ask(ctx) // and so nothing is lost on the way to the gate
		}
	}
	good.ask(ctx)
	after := heap()
	t.Logf("heap %d kB before, %d kB after, %d foreign", before>>10, after>>10, s.Counts().Foreign)
	if after > before+(256<<10) {
		t.Errorf("heap grew by %d kB", (after-before)>>10)
	}
	if n := s.Counts().Foreign; n < 59_000 {
		t.Errorf("only %d were seen", n)
	}
	if n := s.ua.TransportLayer().Pool("udp").Size(); n > 2 {
		t.Errorf("sipgo remembers %d addresses", n)
	}
}

// TestSourcesAreForgotten: addresses that were let through do not stay in sipgo for ever either, and nobody notices.
func TestSourcesAreForgotten(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Policy: Policy{Trusted: []netip.Prefix{loopback}}})
	for i := range maxSources + 200 {
		p := newPeer(t, fmt.Sprintf("127.2.%d.%d", i>>8, i&255), s.Addr("udp"))
		p.ask(ctx)
		p.Close()
	}
	pool := s.ua.TransportLayer().Pool("udp")
	until(t, ctx, "sources forgotten", func() bool { return pool.Size() < 1000 })
	newPeer(t, "127.0.0.1", s.Addr("udp")).ask(ctx)
}

// TestLargeDatagrams: 9,000 bytes pass both ways, more do not.
func TestLargeDatagrams(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Policy: Policy{Trusted: []netip.Prefix{home}}})
	p := newPeer(t, "127.0.0.1", s.Addr("udp"))
	pad := func(size int) string {
		base := len(request("OPTIONS", "x", p.LocalAddr(), "UDP", "X-Pad: "))
		return request("OPTIONS", "x", p.LocalAddr(), "UDP", "X-Pad: "+strings.Repeat("a", size-base-2))
	}
	p.send(pad(maxDatagram))
	if a := p.answer(ctx); !strings.HasPrefix(a, "SIP/2.0 200 ") {
		t.Fatal(a)
	}
	p.send(pad(maxDatagram + 100))
	p.ask(ctx)
	if n := s.Counts().Large; n != 1 {
		t.Errorf("%d too large", n)
	}
}

// TestHostileLoad: 500 bad messages a second, from the same address and from others, cost no good one.
func TestHostileLoad(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Listen: []Listen{{"udp", "127.0.0.1:0"}}, Digest: accounts(t), Policy: Policy{Trusted: []netip.Prefix{home}, Phones: []netip.Prefix{loopback}}})
	messages := corpus(t)
	stop, done := make(chan struct{}), make(chan struct{})
	var sent atomic.Int64
	friend, eve := newPeer(t, "127.0.0.1", s.Addr("udp")), newPeer(t, "127.3.0.1", s.Addr("udp"))
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			p := friend
			if i%2 == 0 {
				p = eve
			}
			_, _ = p.Write(messages[i%len(messages)])
			sent.Add(1)
		}
	}()
	good := newPeer(t, "127.0.0.1", s.Addr("udp"))
	var worst time.Duration
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for sent.Load() < 1500 {
		<-pause.C
		begin := time.Now()
		good.ask(ctx)
		worst = max(worst, time.Since(begin))
	}
	close(stop)
	<-done
	c := s.Counts()
	t.Logf("%d hostile messages, worst OPTIONS %s, %+v", sent.Load(), worst, c)
	if c.Banned != 1 {
		t.Errorf("%d addresses banned, want that of eve", c.Banned)
	}
}

// TestRoute: a request of ours finds its way by each transport; by TLS the certificate must be the peer's.
func TestRoute(t *testing.T) {
	ctx := testCtx(t)
	server, client := certificate(t, "pbx.example")
	listen := []Listen{{"udp", "127.0.0.1:0"}, {"tcp", "127.0.0.1:0"}, {"tls", "127.0.0.1:0"}}
	policy := Policy{Trusted: []netip.Prefix{home}}
	peer := open(t, Config{Listen: listen, TLS: server, Policy: policy})
	us := open(t, Config{Listen: listen[:1], Roots: client, Policy: policy}) // no TCP socket of its own is needed
	send := func(hop Hop) error {
		req := sip.NewRequest(sip.OPTIONS, sip.Uri{Scheme: "sip", User: "x", Host: "pbx.example"})
		local, err := us.Route(ctx, req, hop)
		if err != nil {
			return err
		}
		if hop.Transport == "udp" && local != us.Addr("udp") {
			t.Errorf("from %s, want %s", local, us.Addr("udp"))
		}
		via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(hop.Transport), Params: sip.NewParams()}
		via.Params.Add("branch", sip.GenerateBranch())
		from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "us", Host: "a.example"}, Params: sip.NewParams()}
		from.Params.Add("tag", "1")
		to := &sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: "x", Host: "pbx.example"}}
		id, hops := sip.CallIDHeader(fmt.Sprint("route-", serial.Add(1))), sip.MaxForwardsHeader(70)
		for _, h := range []sip.Header{via, from, to, &id, &hops, &sip.CSeqHeader{SeqNo: 1, MethodName: sip.OPTIONS}} {
			req.AppendHeader(h)
		}
		req.SetBody(nil)
		tx, err := us.ua.TransactionLayer().Request(ctx, req)
		if err != nil {
			return err
		}
		defer tx.Terminate()
		select {
		case res := <-tx.Responses():
			if res.StatusCode != 200 {
				return fmt.Errorf("%s", res.StartLine())
			}
			return nil
		case <-tx.Done():
			return tx.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, transport := range []string{"udp", "tcp", "tls"} {
		for range 3 {
			if err := send(Hop{transport, peer.Addr(transport), "pbx.example"}); err != nil {
				t.Errorf("%s: %v", transport, err)
			}
		}
	}
	if n := peer.Counts().Conns; n != 2 {
		t.Errorf("%d connections, want one by TCP and one by TLS", n)
	}
	other := open(t, Config{Listen: listen[:1], Roots: client, Policy: policy})
	if err := other.Connect(ctx, Hop{"tls", peer.Addr("tls"), "bank.example"}); err == nil || !strings.Contains(err.Error(), "bank.example") {
		t.Errorf("a certificate for another name: %v", err)
	}
	if _, err := us.Route(ctx, sip.NewRequest(sip.OPTIONS, sip.Uri{}), Hop{Transport: "udp", Addr: netip.MustParseAddrPort("[::1]:5060")}); err == nil {
		t.Error("IPv6 without a socket for it")
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"nowhere":            {},
		"unknown transport":  {Listen: []Listen{{"sctp", "127.0.0.1:0"}}},
		"no port":            {Listen: []Listen{{"udp", "127.0.0.1"}}},
		"tls without a cert": {Listen: []Listen{{"tls", "127.0.0.1:0"}}},
	} {
		if e, err := Open(cfg); err == nil {
			e.Close()
			t.Error(name, "was taken")
		}
	}
}
