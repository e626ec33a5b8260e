package edge

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// TestBuckets: who is over the rate is cut, others are not touched, and the table is what it is whatever comes.
func TestBuckets(t *testing.T) {
	b, now := newBuckets(), time.Unix(1000, 0)
	p := perSecond(100, 50)
	a, other := oneOf(netip.MustParseAddr("192.0.2.1")), oneOf(netip.MustParseAddr("192.0.2.2"))
	passed := 0
	for range 200 {
		if b.spend(a, p, now) {
			passed++
		}
	}
	if passed != 50 || !b.spend(other, p, now) {
		t.Errorf("%d passed, want 50", passed)
	}
	for range 20 {
		now = now.Add(50 * time.Millisecond)
		for range 10 {
			if b.spend(a, p, now) {
				passed++
			}
		}
	}
	if passed != 150 {
		t.Errorf("%d passed in the next second, want 100", passed-50)
	}
	if size := unsafe.Sizeof(*b); size > 512<<10 {
		t.Errorf("%d bytes", size)
	}
	if oneOf(netip.MustParseAddr("2001:db8::1")) != oneOf(netip.MustParseAddr("2001:db8::ffff:1")) {
		t.Error("an IPv6 customer has many buckets")
	}
}

// TestBans: each is longer than the one before, points fade, memory is bounded.
func TestBans(t *testing.T) {
	log := &lines{}
	b := newBans(slog.New(slog.NewTextHandler(log, nil)))
	ip, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1_800_000_000, 0)
	for i, term := range []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour, 24 * time.Hour} {
		for range 9 {
			b.blame(ip, FailedLogin, now)
		}
		if b.banned(ip, now) {
			t.Fatalf("%d: banned before the tenth", i)
		}
		b.blame(ip, FailedLogin, now)
		if !b.banned(ip, now.Add(term-time.Second)) || b.banned(ip, now.Add(term)) {
			t.Errorf("ban %d is not for %s", i, term)
		}
		now = now.Add(term)
	}
	now = now.Add(time.Hour)
	for range 29 {
		b.blame(ip, Flood, now)
	}
	if now = now.Add(pointsMemory + time.Second); b.banned(ip, now) {
		t.Error("banned for 29 points")
	}
	if b.blame(ip, Flood, now); b.banned(ip, now) {
		t.Error("old points do not fade")
	}
	for i := range 3 * maxBans {
		b.ban(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Scanner, now)
	}
	if len(b.records) > maxBans {
		t.Errorf("%d records", len(b.records))
	}
}

// TestTrunkIsNeverBanned, whatever is said or done in its name.
func TestTrunkIsNeverBanned(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Digest: accounts(t), Policy: Policy{Trusted: []netip.Prefix{home}, Phones: []netip.Prefix{loopback}}})
	p := newPeer(t, "127.0.0.1", s.Addr("udp"))
	p.send(strings.Replace(request("OPTIONS", "x", p.LocalAddr(), "UDP"), "testphone", "friendly-scanner", 1))
	if a := p.answer(ctx); !strings.HasPrefix(a, "SIP/2.0 200 ") {
		t.Error(a)
	}
	trunk, stranger := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	for range 50 {
		s.AuthFailed(trunk, "100")
	}
	s.Ban(trunk, ByHand)
	s.Ban(netip.MustParseAddr("::ffff:127.0.0.1"), ByHand)
	p.ask(ctx)
	s.Ban(stranger, ByHand) // and if it becomes a trunk later, it is heard
	s.SetPolicy(Policy{Trusted: []netip.Prefix{loopback}})
	newPeer(t, "127.0.0.2", s.Addr("udp")).ask(ctx)
	if s.Unban(stranger); s.Counts().Banned != 0 {
		t.Errorf("%+v", s.Counts())
	}
}

// TestFlood: a stranger's flood where phones may come from brings a ban; a trunk's is only cut.
func TestFlood(t *testing.T) {
	g := newGate(Config{Log: slog.New(slog.DiscardHandler), Digest: accounts(t), Policy: Policy{Trusted: []netip.Prefix{home}, Phones: []netip.Prefix{loopback}}})
	options := []byte("OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\n\r\n")
	for range 40_000 { // more than the bucket fills up again while a slow machine sends them
		g.admit(options, netip.MustParseAddrPort("127.0.0.1:5060"), true)
		g.admit([]byte("ACK sip:x SIP/2.0\r\n\r\n"), netip.MustParseAddrPort("127.0.0.2:5060"), true)
	}
	if n := g.bans.now[Flood]; n != 1 || g.standingOf(netip.MustParseAddr("127.0.0.1"), time.Now()) != trunk {
		t.Errorf("%d bans", n)
	}
	if g.drops.flooded.Load() < 500 {
		t.Errorf("%d flooded", g.drops.flooded.Load())
	}
}

// TestDomains: where domains are given, who asks for another (scanners ask for our address) hears nothing.
func TestDomains(t *testing.T) {
	ctx := testCtx(t)
	policy := Policy{Phones: []netip.Prefix{loopback}, Domains: []string{"Other.example"}}
	s := open(t, Config{Digest: accounts(t), Policy: policy})
	p := newPeer(t, "127.0.0.1", s.Addr("udp"))
	p.send(request("REGISTER", "100", p.LocalAddr(), "UDP"))
	until(t, ctx, "foreign", func() bool { return s.Counts().Foreign == 1 })
	policy.Domains = append(policy.Domains, realm)
	s.SetPolicy(policy)
	p.send(request("REGISTER", "100", p.LocalAddr(), "UDP"))
	if a := p.answer(ctx); !strings.HasPrefix(a, "SIP/2.0 401 ") {
		t.Error(a)
	}
	p.silent()
}

// TestTrace: every message in and out, by datagram and stream, the gate's own answers too; secrets are not in it.
func TestTrace(t *testing.T) {
	ctx := testCtx(t)
	var (
		mu  sync.Mutex
		all []Message
	)
	s := open(t, Config{Policy: Policy{Trusted: []netip.Prefix{home}}, Trace: func(m Message) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, m)
	}})
	p, l := newPeer(t, "127.0.0.1", s.Addr("udp")), dialTCP(t, "127.0.0.1", s.Addr("tcp"))
	text := request("OPTIONS", "x", p.LocalAddr(), "UDP", "X-Pad: "+strings.Repeat("p", 8200))
	p.send(text)
	p.answer(ctx)
	p.send(text) // a retransmission, and its answer
	p.answer(ctx)
	l.ask(ctx, "TCP")
	p.send("OPTIONS sip:x SIP/7.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKbad;rport\r\ni: unread\r\n\x00\r\n\r\n")
	p.answer(ctx)
	newPeer(t, "127.0.0.2", s.Addr("udp")).send(text)
	until(t, ctx, "stranger", func() bool { return s.Counts().Foreign == 1 })
	mu.Lock()
	defer mu.Unlock()
	var got []string
	for _, m := range all {
		way := "out "
		if m.In {
			way = "in "
		}
		first, _, _ := bytes.Cut(m.Raw, []byte("\r\n"))
		got = append(got, way+m.Transport+" "+string(first))
		remote := p.LocalAddr().String()
		if m.Transport == "tcp" {
			remote = l.LocalAddr().String()
		}
		if m.CallID == "" || m.At.IsZero() || m.Local != s.Addr(m.Transport) || m.Remote.String() != remote || len(m.Raw) > maxTraced {
			t.Errorf("%+v", m)
		}
	}
	options := "OPTIONS sip:x@test.example SIP/2.0"
	want := []string{"in udp " + options, "out udp SIP/2.0 200 OK", "in udp " + options, "out udp SIP/2.0 200 OK",
		"in tcp OPTIONS sip:ping@test.example SIP/2.0", "out tcp SIP/2.0 200 OK", "in udp OPTIONS sip:x SIP/7.0", "out udp SIP/2.0 505 Version Not Supported"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"R sip:x SIP/2.0\r\nauthorization: Digest username=\"a\", response=\"0123abcd\", nc=1\r\n\r\n": "R sip:x SIP/2.0\r\nauthorization: Digest username=\"a\", response=\"xxxxxxxx\", nc=1\r\n\r\n",
		"R sip:x SIP/2.0\r\nProxy-Authorization : Digest\r\n RESPONSE=0123,\r\n a=b\r\n\r\n":           "R sip:x SIP/2.0\r\nProxy-Authorization : Digest\r\n RESPONSE=xxxx,\r\n a=b\r\n\r\n",
		"I sip:x SIP/2.0\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0|2^20\r\n":    "I sip:x SIP/2.0\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:xxxxxxxxxxxxx\r\n",
		"I sip:x SIP/2.0\r\nc: application/dtmf\r\n\r\n7":                                              "I sip:x SIP/2.0\r\nc: application/dtmf\r\n\r\nx",
		"I sip:x SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=160\r\n":  "I sip:x SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=x\r\nDuration=160\r\n",
		"I sip:x SIP/2.0\r\nX-Response: response=5\r\n\r\nresponse=5\r\n":                              "I sip:x SIP/2.0\r\nX-Response: response=5\r\n\r\nresponse=5\r\n",
	} {
		raw := []byte(in)
		if mask(raw); string(raw) != want {
			t.Errorf("%q\nwant %q", raw, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { (&gate{}).tell(true, "udp", netip.AddrPort{}, netip.AddrPort{}, []byte("OPTIONS sip:x")) }); n != 0 {
		t.Errorf("%v allocations with nobody listening", n)
	}
}

// TestContactsOfAnINVITE: gateways put a tel URI beside the SIP one (RFC 3261 section 8.1.1.8 wants exactly one SIP URI); a
// list that stays ambiguous or useless is refused, and other requests keep theirs.
func TestContactsOfAnINVITE(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Policy: Policy{Trusted: []netip.Prefix{home}}})
	const us = "<sip:a@127.0.0.1:5>"
	for contacts, want := range map[string]string{
		us:                             "200",
		"<tel:+491>\r\nContact: " + us: "200",
		us + "\r\nContact: mailto:a@b.example\r\nm: <http://b.example/the%20path?a=b>": "200",
		"\"Doe, Joe\" <tel:+491;ext=1>, " + us + ";expires=5":                          "200",
		"<TEL:+491>, <SIPS:a@127.0.0.1>":                                               "200",
		us + ", <sip:b@127.0.0.1>":                                                     "400",
		us + "\r\nContact: <tel:+491>\r\nContact: <sips:b@127.0.0.1>":                  "400",
		"<mailto:a@b.example>, <http://b.example/>":                                    "400",
	} {
		p := newPeer(t, "127.0.0.1", s.Addr("udp"))
		text := request("INVITE", "x", p.LocalAddr(), "UDP")
		at := strings.Index(text, "Contact: ") + len("Contact: ")
		end := at + strings.Index(text[at:], "\r\n")
		p.send(text[:at] + contacts + text[end:])
		a := p.answer(ctx)
		for strings.HasPrefix(a, "SIP/2.0 1") {
			a = p.answer(ctx)
		}
		if !strings.HasPrefix(a, "SIP/2.0 "+want) {
			t.Errorf("%q: %.40q, want %s", contacts, a, want)
		}
	}
	two := "REGISTER sip:x SIP/2.0\r\nContact: <tel:+491>, <sip:a@127.0.0.1>\r\n\r\n"
	if got := string(straighten([]byte(two), netip.AddrPort{}, false)); got != two && !strings.Contains(got, "Contact: <tel:+491>, <sip:a@127.0.0.1>") {
		t.Errorf("REGISTER: %q", got)
	}
}
