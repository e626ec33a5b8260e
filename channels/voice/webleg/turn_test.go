package webleg

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
)

const turnSecret = "a secret of several nodes"

// turnRoom is a stack with a relay beside it, by UDP, TCP and TLS.
func turnRoom(t *testing.T, others ...netip.AddrPort) *Stack {
	t.Helper()
	cert, key := voicetest.NewCertificate(t).Files(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return webRoom(t, func(c *Config) {
		c.TURN = TURNConfig{Listen: "127.0.0.1:0", TLSListen: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{pair}}, Secret: turnSecret, Media: others}
	})
}

// at is where a kind of listener is: turn:...udp, turn:...tcp, turns:...
func at(t *testing.T, s *turnServer, scheme, transport string) netip.AddrPort {
	t.Helper()
	for _, u := range s.urls {
		rest, ok := strings.CutPrefix(u, scheme+":")
		rest, right := strings.CutSuffix(rest, "?transport="+transport)
		if ok && right {
			return netip.MustParseAddrPort(rest)
		}
	}
	t.Fatalf("no %s by %s in %v", scheme, transport, s.urls)
	return netip.AddrPort{}
}

// TestRelay: a browser that may use nothing but the relay. (By TLS: coturn's client, which takes our certificate.)
func TestRelay(t *testing.T) {
	w := turnRoom(t)
	s := w.turn
	ctx := testCtx(t)
	for _, kind := range [][2]string{{"turn", "udp"}, {"turn", "tcp"}} {
		began := time.Now()
		servers, _ := w.Relay("agent-7")
		b := voicetest.NewBrowserWith(t, voicetest.BrowserConfig{WebRTC: webrtc.Configuration{ICETransportPolicy: webrtc.ICETransportPolicyRelay, ICEServers: []webrtc.ICEServer{{
			URLs:     []string{kind[0] + ":" + at(t, s, kind[0], kind[1]).String() + "?transport=" + kind[1]},
			Username: servers.Username, Credential: servers.Credential}}}})
		leg, sdp, err := w.Answer(ctx, b.Offer(ctx), media.PCMU)
		if err != nil {
			t.Fatal(err)
		}
		b.Accept(sdp)
		nextEvent(t, ctx, leg, Connected)
		waitChan(t, ctx, b.Up, "the browser's connection")
		t.Logf("%v: connected in %v", kind, time.Since(began))
		leg.Swap(leg.Out())
		said, nobody := voicetest.Speech(1, 9*time.Second, 8000), voicetest.Speech(3, 9*time.Second, 8000)
		b.Play(ctx, voicetest.ULaw(said))
		voicetest.Check(t, strings.Join(kind[:], " "), b.Hears(), said, nobody)
		b.Close()
		if err := leg.Close(); err != nil {
			t.Error(err)
		}
	}
	until(t, ctx, "every relay given back", func() bool { return s.server.AllocationCount() == 0 })
}

// echo sends back what it gets.
func echo(t *testing.T, listen string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", listen)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-gone })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestRelayWithCoturn: another project's client, by each transport, with the right secret and with a wrong one.
func TestRelayWithCoturn(t *testing.T) {
	program := voicetest.Need(t, "turnutils_uclient")
	media := echo(t, "127.0.0.1:0") // another node's
	s := turnRoom(t, media).turn
	ctx := testCtx(t)
	run := func(secret string, listener netip.AddrPort, peer netip.AddrPort, more ...string) (string, error) {
		args := append([]string{"-p", strconv.Itoa(int(listener.Port())), "-u", "agent7", "-W", secret, "-c", "-n", "20", "-l", "160",
			"-e", peer.Addr().String(), "-r", strconv.Itoa(int(peer.Port()))}, more...)
		ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, append(args, "127.0.0.1")...).CombinedOutput()
		return string(out), err
	}
	for name, more := range map[string][]string{"UDP": nil, "TCP": {"-t"}, "TLS": {"-t", "-S"}} {
		listener := at(t, s, "turn", "udp")
		if name == "TLS" {
			listener = at(t, s, "turns", "tcp")
		}
		out, err := run(turnSecret, listener, media, more...)
		if err != nil || !strings.Contains(out, "Total lost packets 0 ") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if out, err := run("another", listener, media, more...); err == nil {
			t.Errorf("%s with a wrong secret:\n%s", name, out)
		}
	}
	// an address of the network behind us, and another port of our own machine
	if out, err := run(turnSecret, at(t, s, "turn", "udp"), netip.MustParseAddrPort("192.168.1.1:80")); err == nil && strings.Contains(out, "Total lost packets 0 ") {
		t.Errorf("the LAN answers:\n%s", out)
	}
}

// relayClient has a relay and tells what it may reach.
func relayClient(t *testing.T, s *turnServer, user string) (*turn.Client, net.PacketConn) {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	servers, _ := s.credentials(user)
	server := at(t, s, "turn", "udp").String()
	client, err := turn.NewClient(&turn.ClientConfig{STUNServerAddr: server, TURNServerAddr: server, Username: servers.Username,
		Password: servers.Credential, Realm: turnRealm, Conn: conn})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := client.Allocate()
	if err != nil {
		t.Fatalf("allocate: %v", err)
	}
	t.Cleanup(func() { _ = relay.Close(); client.Close(); _ = conn.Close() })
	return client, relay
}

// TestRelayLeadsNowhereElse: who has credentials reaches our media and nothing else: no address of the network behind
// us, no other port of this machine, no stranger gets in.
func TestRelayLeadsNowhereElse(t *testing.T) {
	media := echo(t, "127.0.0.1:0")
	private := echo(t, "127.0.0.1:0") // our SIP, say
	s := turnRoom(t, media).turn
	client, relay := relayClient(t, s, "agent-7")
	for _, lan := range []string{"192.168.1.1", "10.0.0.5", "169.254.169.254", "172.17.0.1", "127.0.0.2", "8.8.8.8", "0.0.0.0", "224.0.0.1"} {
		if err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(lan), Port: 80}); err == nil {
			t.Errorf("%s is permitted", lan)
		}
	}
	answers := func(to netip.AddrPort) bool {
		if _, err := relay.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(to)); err != nil {
			return false
		}
		_ = relay.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, from, err := relay.ReadFrom(make([]byte, 100))
		return err == nil && n == 5 && addrPort(from) == to
	}
	if !answers(media) {
		t.Error("our media does not answer")
	}
	if answers(private) {
		t.Error("another port of our machine answers")
	}
	// a stranger who knows the relay's port
	port := relay.LocalAddr().(*net.UDPAddr).Port
	stranger, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Write([]byte("knock")); err != nil {
		t.Fatal(err)
	}
	_ = relay.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, from, err := relay.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes of %v came in", n, from)
	}
}

// TestRelayQuota: one user takes so many relays and no more; another is not concerned.
func TestRelayQuota(t *testing.T) {
	s := turnRoom(t).turn
	for range turnPerUser {
		relayClient(t, s, "agent-7")
	}
	if s.mayAllocate("agent-7", "", &net.UDPAddr{}) {
		t.Error("one more")
	}
	relayClient(t, s, "agent-8")
}

// TestRelayCredentials: good to begin with for ten minutes, good to go on with for as long as a call may take.
func TestRelayCredentials(t *testing.T) {
	s := &turnServer{secret: turnSecret, log: slog.New(slog.DiscardHandler)}
	at := func(d time.Duration) string { return fmt.Sprintf("%d:agent-7", time.Now().Add(d).Unix()) }
	for _, c := range []struct {
		name   string
		method stun.Method
		ok     bool
	}{
		{at(time.Minute), stun.MethodAllocate, true},
		{at(-time.Minute), stun.MethodAllocate, false},
		{at(-time.Hour), stun.MethodRefresh, true},
		{at(-time.Hour), stun.MethodChannelBind, true},
		{at(-25 * time.Hour), stun.MethodRefresh, false},
		{"agent-7", stun.MethodAllocate, false},
		{"99999999999:", stun.MethodAllocate, false},
		{"soon:agent-7", stun.MethodAllocate, false},
		{"", stun.MethodAllocate, false},
	} {
		user, key, ok := s.auth(&turn.RequestAttributes{Username: c.name, Realm: turnRealm, Method: c.method})
		if ok != c.ok || ok && (user != "agent-7" || len(key) == 0) {
			t.Errorf("%s %v: %v, want %v", c.name, c.method, ok, c.ok)
		}
	}
	// the same key as the library's own reckoning
	name, password, err := turn.GenerateLongTermTURNRESTCredentials(turnSecret, "agent-7", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, key, _ := s.auth(&turn.RequestAttributes{Username: name, Realm: turnRealm, Method: stun.MethodAllocate}); string(key) != string(turn.GenerateAuthKey(name, turnRealm, password)) {
		t.Error("another key")
	}
}

// TestRelayStrangers: who floods without credentials is heard a few times; who shows some is heard.
func TestRelayStrangers(t *testing.T) {
	s := newStrangers(nil)
	ip := netip.MustParseAddr("203.0.113.9")
	heard := 0
	for range 1000 {
		if s.allow(ip) {
			heard++
		}
	}
	if heard > 2*turnStrangersBurst || !s.allow(netip.MustParseAddr("203.0.113.10")) {
		t.Errorf("%d of 1000", heard)
	}
	bare, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.NewUsername("x"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := stun.Build(bare, stun.NewShortTermIntegrity("key"))
	if err != nil {
		t.Fatal(err)
	}
	indication, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication))
	if err != nil {
		t.Fatal(err)
	}
	if !isRequest(bare.Raw) || isRequest(indication.Raw) || hasIntegrity(bare.Raw) || !hasIntegrity(signed.Raw) {
		t.Error("not told apart")
	}
}

func FuzzHasIntegrity(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x08\x21\x12\xa4\x42aaaabbbbcccc\x00\x08\x00\x04xxxx"))
	f.Add([]byte("\x00\x03\xff\xff\x21\x12\xa4\x42aaaabbbbcccc\x00\x06\xff\xffxxxx"))
	f.Fuzz(func(_ *testing.T, b []byte) { _ = isRequest(b) && hasIntegrity(b) })
}
