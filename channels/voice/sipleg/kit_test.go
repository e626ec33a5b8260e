package sipleg

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/voicetest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// TestMain demands that every goroutine has ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// office is a stack with everything under it, and an owner that writes down what its legs tell.
type office struct {
	t     testing.TB
	stack *Stack
	edge  *edge.Edge
	calls chan *Leg // that came in, accepted
}

// telling is one event and whose it is.
type telling struct {
	leg   *Leg
	event Event
}

type setup struct {
	Config
	listen []edge.Listen
	tls    *tls.Config
	roots  *tls.Config
	accept func(*Accept)
	hear   chan telling
}

var pcmu = sdp.Prefs{Codecs: []string{sdp.PCMU, sdp.PCMA}}

// newOffice opens one; change may alter its configuration. hear gets every event of every leg.
func newOffice(t testing.TB, change func(*setup)) (*office, chan telling) {
	t.Helper()
	level := slog.LevelError
	if os.Getenv("VOICE_DEBUG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	c := &setup{listen: []edge.Listen{{Transport: "udp", Addr: "127.0.0.1:0"}}, hear: make(chan telling, 1000)}
	c.Times = Times{T1: 50 * time.Millisecond, T2: 200 * time.Millisecond, Glare: time.Millisecond}
	c.Log = log
	o := &office{t: t, calls: make(chan *Leg, 100)}
	c.OnInvite = func(l *Leg) {
		a := Accept{Prefs: pcmu, Tell: func(e Event) { c.hear <- telling{l, e} }}
		if c.accept != nil {
			c.accept(&a)
		}
		if err := l.Accept(a); err != nil {
			t.Logf("not accepted: %v", err)
			return
		}
		o.calls <- l
	}
	if change != nil {
		change(c)
	}
	var err error
	if o.edge, err = edge.Open(edge.Config{Listen: c.listen, Policy: edge.Policy{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}, TLS: c.tls, Roots: c.roots, Log: log}); err != nil {
		t.Fatal(err)
	}
	c.Edge, c.Pacer = o.edge, media.NewPacer()
	c.Ports, c.Ports6 = media.NewPorts(loopback, 0, 0), media.NewPorts(netip.IPv6Loopback(), 0, 0)
	if o.stack, err = Open(c.Config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = c.Pacer.Run(ctx) })
	parts.Go(func() {
		if err := o.stack.Run(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		o.stack.Cut()
		o.edge.Deafen()
		<-time.After(20 * time.Millisecond) // sipgo's goroutines, which nobody can wait for
		if err := o.stack.Close(); err != nil {
			t.Error(err)
		}
		if err := o.edge.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		parts.Wait()
		for _, ports := range []*media.Ports{c.Ports, c.Ports6} {
			if err := ports.Close(); err != nil {
				t.Error(err)
			}
		}
		if n := o.stack.Panics(); n != 0 {
			t.Errorf("%d panics", n)
		}
		if n := len(o.stack.Legs()); n != 0 {
			t.Errorf("%d legs left", n)
		}
	})
	return o, c.hear
}

func netipOf(s string) netip.Addr { return netip.MustParseAddr(s) }

func (o *office) addr() netip.AddrPort { return o.edge.Addr("udp") }

// called waits for a call that comes in.
func (o *office) called(ctx context.Context) *Leg {
	o.t.Helper()
	select {
	case l := <-o.calls:
		return l
	case <-ctx.Done():
		o.t.Fatal("nobody calls")
	}
	return nil
}

// dial calls a peer.
func (o *office) dial(to netip.AddrPort, change func(*Dial)) (*Leg, chan telling) {
	o.t.Helper()
	hear := make(chan telling, 100)
	d := Dial{URI: "sip:bob@" + to.String(), From: "sip:patch@127.0.0.1", Hops: []edge.Hop{{Transport: "udp", Addr: to}}, Prefs: pcmu}
	d.Tell = func(e Event) { hear <- telling{event: e} }
	if change != nil {
		change(&d)
	}
	leg, err := o.stack.Dial(d)
	if err != nil {
		o.t.Fatal(err)
	}
	return leg, hear
}

// next waits for the next event and demands its type.
func next[E any](t testing.TB, ctx context.Context, hear <-chan telling) E {
	t.Helper()
	select {
	case got := <-hear:
		e, ok := got.event.(E)
		if !ok {
			var want E
			t.Fatalf("event %T %+v, want %T", got.event, got.event, want)
		}
		return e
	case <-ctx.Done():
		var want E
		t.Fatalf("no event, want %T", want)
	}
	panic("unreachable")
}

// none demands that nothing is told meanwhile.
func none(t testing.TB, hear <-chan telling, d time.Duration) {
	t.Helper()
	select {
	case got := <-hear:
		t.Fatalf("event %T %+v, want none", got.event, got.event)
	case <-time.After(d):
	}
}

// peer is the other side, written by hand: it reads requests and says whatever the test wants.
type peer struct {
	t       testing.TB
	conn    *net.UDPConn
	server  netip.AddrPort
	got     chan sip.Message
	closing sync.Once
	rtp     netip.AddrPort
	cseq    int
}

func newPeer(t testing.TB, server netip.AddrPort) *peer {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, cseq: 1, conn: conn, server: server, got: make(chan sip.Message, 1000), rtp: netip.MustParseAddrPort("127.0.0.1:9")}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65535)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if m, err := sip.ParseMessage([]byte(string(buf[:n]))); err == nil {
				p.got <- m
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return p
}

func (p *peer) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *peer) send(text string) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort([]byte(text), p.server); err != nil {
		p.t.Fatal(err)
	}
}

// request waits for a request of that method; others, and responses, are passed over.
func (p *peer) request(ctx context.Context, method string) *sip.Request {
	p.t.Helper()
	for {
		select {
		case m := <-p.got:
			if r, ok := m.(*sip.Request); ok && string(r.Method) == method {
				return r
			}
		case <-ctx.Done():
			p.t.Fatalf("no %s", method)
		}
	}
}

// response waits for a response to that method; 100 and what else does not fit is passed over.
func (p *peer) response(ctx context.Context, method string) *sip.Response {
	p.t.Helper()
	for {
		select {
		case m := <-p.got:
			if r, ok := m.(*sip.Response); ok && string(r.CSeq().MethodName) == method && r.StatusCode != 100 {
				return r
			}
		case <-ctx.Done():
			p.t.Fatalf("no answer to %s", method)
		}
	}
}

// quiet demands that no request of that method comes meanwhile.
func (p *peer) quiet(method string, d time.Duration) {
	p.t.Helper()
	after := time.After(d)
	for {
		select {
		case m := <-p.got:
			if r, ok := m.(*sip.Request); ok && string(r.Method) == method {
				p.t.Fatalf("unwanted %s", method)
			}
		case <-after:
			return
		}
	}
}

// reply answers a request. tag "" leaves To as it is; headers are "Name: value".
func (p *peer) reply(req *sip.Request, code int, tag, body string, headers ...string) {
	p.t.Helper()
	lines := []string{fmt.Sprintf("SIP/2.0 %d %s", code, reasonOf(code))}
	for _, h := range req.GetHeaders("via") {
		lines = append(lines, "Via: "+h.Value())
	}
	to := req.To().Value()
	if tag != "" && !strings.Contains(to, "tag=") {
		to += ";tag=" + tag
	}
	lines = append(lines, "From: "+req.From().Value(), "To: "+to, "Call-ID: "+req.CallID().Value(), "CSeq: "+req.CSeq().Value(),
		"Contact: <sip:bob@"+p.addr().String()+">")
	lines = append(lines, headers...)
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	p.send(strings.Join(append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body), "\r\n"))
}

func (p *peer) sdp(version int, dir string) string { return voicetest.Offer(p.rtp, version, dir) }

// inside writes a request of the peer's inside the dialog that its answer (tag) to invite has made.
func (p *peer) inside(invite *sip.Request, tag, method string, cseq int, body string, headers ...string) {
	p.t.Helper()
	from, to := invite.To().Value(), invite.From().Value()
	if !strings.Contains(from, "tag=") {
		from += ";tag=" + tag
	}
	p.say(method, invite.Contact().Address.String(), from, to, invite.CallID().Value(), cseq, body, headers...)
}

// again writes a request of a caller's inside the dialog that an answer to its INVITE has made.
func (p *peer) again(res *sip.Response, method string, cseq int, body string, headers ...string) {
	p.t.Helper()
	uri := "sip:x@" + p.server.String()
	if c := res.Contact(); c != nil {
		uri = c.Address.String()
	}
	p.say(method, uri, res.From().Value(), res.To().Value(), res.CallID().Value(), cseq, body, headers...)
}

func (p *peer) say(method, uri, from, to, callID string, cseq int, body string, headers ...string) {
	p.t.Helper()
	lines := []string{method + " " + uri + " SIP/2.0", "Via: SIP/2.0/UDP " + p.addr().String() + ";branch=" + sip.GenerateBranch() + ";rport",
		"Max-Forwards: 70", "From: " + from, "To: " + to, "Call-ID: " + callID, fmt.Sprintf("CSeq: %d %s", cseq, method),
		"Contact: <sip:bob@" + p.addr().String() + ">"}
	lines = append(lines, headers...)
	if body != "" && !strings.Contains(strings.Join(headers, "\n"), "Content-Type") {
		lines = append(lines, "Content-Type: application/sdp")
	}
	p.send(strings.Join(append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body), "\r\n"))
}

// invite calls the office; its answers come by response.
func (p *peer) invite(callID, body string, headers ...string) {
	p.t.Helper()
	p.say("INVITE", "sip:100@"+p.server.String(), "<sip:bob@127.0.0.1>;tag=bobs", "<sip:100@127.0.0.1>", callID, 1, body, headers...)
}
