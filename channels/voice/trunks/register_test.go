package trunks

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/voicetest"
)

// carrierOffice is a carrier's server: it hands what it hears to the test, and says what the test wants.
type carrierOffice struct {
	conn *net.UDPConn
	got  chan *sip.Request

	mu  sync.Mutex
	say func(*sip.Request) *sip.Response // nil: silence
}

func newOffice(t testing.TB, say func(*sip.Request) *sip.Response) *carrierOffice {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	o := &carrierOffice{conn: conn, got: make(chan *sip.Request, 1000), say: say}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, src, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			msg, err := sip.ParseMessage(b[:n])
			req, ok := msg.(*sip.Request)
			if err != nil || !ok {
				continue
			}
			o.mu.Lock()
			say := o.say
			o.mu.Unlock()
			o.got <- req
			if say == nil {
				continue
			}
			if res := say(req); res != nil {
				_, _ = conn.WriteToUDPAddrPort([]byte(res.String()), src)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return o
}

func (o *carrierOffice) addr() string { return o.conn.LocalAddr().String() }

func (o *carrierOffice) says(say func(*sip.Request) *sip.Response) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.say = say
}

// next is the next request of a method.
func (o *carrierOffice) next(t testing.TB, ctx context.Context, method sip.RequestMethod) *sip.Request {
	t.Helper()
	for {
		if req := waitChan(t, ctx, o.got, string(method)); req.Method == method {
			return req
		}
	}
}

// always answers everything so.
func always(code int, headers ...sip.Header) func(*sip.Request) *sip.Response {
	return func(req *sip.Request) *sip.Response {
		res := sip.NewResponseFromRequest(req, code, reasonFor(code), nil)
		for _, h := range headers {
			res.AppendHeader(h)
		}
		return res
	}
}

func reasonFor(code int) string {
	return map[int]string{200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout", 423: "Interval Too Brief", 503: "Service Unavailable"}[code]
}

// TestRegisterWithSIPp: sipp is the carrier; it checks the password by MD5, also of the farewell.
func TestRegisterWithSIPp(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("SKIPPED: no sipp (apt-get install sip-tester)")
	}
	probe := newOffice(t, nil)
	port := strconv.Itoa(int(probe.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()))
	probe.conn.Close()
	ctx := testCtx(t)
	sipp := exec.CommandContext(ctx, "sipp", "-sf", "testdata/registrar.xml", "-i", "127.0.0.1", "-p", port, "-m", "1", "-nostdin", "-timeout", "30s", "-timeout_error", "-trace_err", "-error_file", t.TempDir()+"/err")
	var said strings.Builder
	sipp.Stdout, sipp.Stderr = &said, &said
	if err := sipp.Start(); err != nil {
		t.Fatal(err)
	}
	r := newRegion(t, func(x *channels.Trunk) {
		x.Servers, x.Register, x.Username, x.AuthUsername, x.Password, x.OptionsSeconds = []string{"127.0.0.1:" + port}, true, "user7", "auth7", "secret", 0
	})
	r.state(t, "registered", func(s channels.TrunkState) bool { return s.Registered && s.Healthy && s.Server == "127.0.0.1:"+port })
	r.stop()
	if err := sipp.Wait(); err != nil {
		t.Errorf("sipp: %v\n%s", err, said.String())
	}
	r.state(t, "gone", func(s channels.TrunkState) bool { return !s.Registered && !s.Healthy })
}

// TestRegisterSHA256: the carrier is a SIP server with digest of its own; SHA-256, and a wrong password that is not tried
// again and again.
func TestRegisterSHA256(t *testing.T) {
	t.Parallel()
	logins, err := edge.NewDigest("carrier", func(user string) (edge.Account, bool) {
		return edge.Account{User: user, Algorithm: edge.SHA256, HA1: edge.HA1(edge.SHA256, user, "carrier", "secret")}, user == "user7"
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := edge.Open(edge.Config{Listen: []edge.Listen{{Transport: "udp", Addr: "127.0.0.1:0"}}, Digest: logins,
		Policy: edge.Policy{Trusted: []netip.Prefix{netip.PrefixFrom(loopback, 32)}}})
	if err != nil {
		t.Fatal(err)
	}
	ua, err := sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(edge.Options()...))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sipgo.NewServer(ua)
	if err != nil {
		t.Fatal(err)
	}
	codes := make(chan int, 100)
	srv.OnNoRoute(func(req *sip.Request, tx sip.ServerTransaction) {
		code, headers := 200, []sip.Header{sip.HeaderClone(req.Contact())}
		if _, r := e.Authenticate(req); r != nil {
			code, headers = r.Code, r.Headers
		}
		_ = tx.Respond(always(code, headers...)(req))
		codes <- code
	})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, srv) }()
	t.Cleanup(func() {
		cancel()
		<-served
		ua.Close()
	})
	r := newRegion(t, func(x *channels.Trunk) {
		x.Servers, x.Register, x.Username, x.Password, x.OptionsSeconds = []string{e.Addr("udp").String()}, true, "user7", "secret", 0
	})
	r.state(t, "registered", func(s channels.TrunkState) bool { return s.Registered })
	if a, b := waitChan(t, r.ctx, codes, "code"), waitChan(t, r.ctx, codes, "code"); a != 401 || b != 200 {
		t.Errorf("%d %d", a, b)
	}
	r.trunk.Password = "wrong"
	r.save(t, &r.trunk, r.tell)
	s := r.state(t, "refused", func(s channels.TrunkState) bool { return !s.Registered && strings.Contains(s.Error, "401") })
	if s.Healthy {
		t.Errorf("healthy without a registration: %+v", s)
	}
}

// TestRegisterStory: the first server is out of order; the second wants a longer time, offers two digests, finds the
// nonce stale, and grants a short time, so that we come again; then it fails as well.
func TestRegisterStory(t *testing.T) {
	t.Parallel()
	a := newOffice(t, always(503))
	md5 := sip.NewHeader("WWW-Authenticate", `Digest realm="c", nonce="n1", algorithm=MD5, qop="auth"`)
	sha := sip.NewHeader("WWW-Authenticate", `Digest realm="c", nonce="n1", algorithm=SHA-256, qop="auth"`)
	stale := sip.NewHeader("WWW-Authenticate", `Digest realm="c", nonce="n2", algorithm=SHA-256, qop="auth", stale=true`)
	b := newOffice(t, func(req *sip.Request) *sip.Response {
		login := valueOf(req, "authorization")
		switch {
		case req.Method != sip.REGISTER:
			return always(404)(req)
		case valueOf(req, "expires") == "600":
			return always(423, sip.NewHeader("Min-Expires", "900"))(req)
		case login == "":
			return always(401, md5, sha)(req)
		case strings.Contains(login, `nonce="n1"`):
			return always(401, md5, stale)(req)
		}
		contact := req.Contact()
		contact.Params.Add("expires", "2")
		return always(200, sip.NewHeader("Contact", "<sip:other@192.0.2.1>;expires=3000"), contact, sip.NewHeader("Expires", "900"))(req)
	})
	r := newRegion(t, func(x *channels.Trunk) {
		x.Servers, x.Domain, x.Register, x.Username, x.Password = []string{a.addr(), b.addr()}, "carrier.example", true, "user7", "secret"
		x.OptionsSeconds = 10
	})
	if req := b.next(t, r.ctx, sip.REGISTER); req.Recipient.String() != "sip:carrier.example" || req.To().Address.String() != "sip:user7@carrier.example" ||
		req.Contact().Address.User != "user7" || req.Contact().Address.Port != int(r.edge.Addr("udp").Port()) {
		t.Errorf("%s", req)
	}
	s := r.state(t, "registered at b", func(s channels.TrunkState) bool { return s.Registered && s.Healthy })
	if s.Server != b.addr() {
		t.Errorf("%+v", s)
	}
	var ids, seqs, logins []string
	for range 3 {
		req := b.next(t, r.ctx, sip.REGISTER)
		ids, seqs = append(ids, req.CallID().Value()), append(seqs, strconv.Itoa(int(req.CSeq().SeqNo)))
		logins = append(logins, valueOf(req, "authorization"))
	}
	if !strings.Contains(logins[1], "algorithm=SHA-256") || !strings.Contains(logins[2], `nonce="n2"`) || ids[0] != ids[2] || seqs[0] == seqs[1] {
		t.Errorf("%s %s\n%s", ids, seqs, strings.Join(logins, "\n"))
	}
	again := b.next(t, r.ctx, sip.REGISTER) // after half of 2 s
	if valueOf(again, "expires") != "900" || again.CallID().Value() != ids[0] {
		t.Errorf("again: %s", again)
	}
	b.says(always(503))
	s = r.state(t, "registered nowhere", func(s channels.TrunkState) bool { return !s.Registered && strings.Contains(s.Error, "503") })
	a.says(always(200))
	s = r.state(t, "registered at a", func(s channels.TrunkState) bool { return s.Registered })
	if s.Server != a.addr() {
		t.Errorf("%+v", s)
	}
	r.trunk.Enabled = false
	r.save(t, &r.trunk, r.tell)
	for valueOf(a.next(t, r.ctx, sip.REGISTER), "expires") != "0" {
	}
	r.state(t, "switched off", func(s channels.TrunkState) bool { return !s.Registered && !s.Healthy })
}

// TestHealth: what counts as alive, and that a trunk that does not answer comes back.
func TestHealth(t *testing.T) {
	t.Parallel()
	o := newOffice(t, always(404))
	r := newRegion(t, func(x *channels.Trunk) {
		x.Servers, x.OptionsSeconds = []string{o.addr()}, 3600
	})
	healthy := func(want bool, words string) func(channels.TrunkState) bool {
		return func(s channels.TrunkState) bool { return s.Healthy == want && strings.Contains(s.Error, words) }
	}
	r.state(t, "healthy though it does not know us", healthy(true, ""))
	x := r.shelf.book.Load().trunks[0]
	if hops, well := x.hops(); !well || len(hops) != 1 {
		t.Errorf("%v %v", hops, well)
	}
	for code, words := range map[int]string{503: "503", 408: "408", 500: "500"} {
		o.says(always(code))
		x.failed(netip.MustParseAddrPort(o.addr())) // a call could not get through: it is looked at now, not in an hour
		r.state(t, words, healthy(false, words))
		o.says(always(200))
		r.state(t, "back", healthy(true, ""))
	}
	o.says(nil)
	x.failed(netip.MustParseAddrPort(o.addr()))
	r.state(t, "silent", healthy(false, "no answer"))
	if _, well := x.hops(); well {
		t.Error("a silent server is counted on")
	}
	o.says(always(486))
	r.state(t, "back", healthy(true, ""))
	// Only the server's address has been let in: who answers us is heard.
	p := voicetest.NewPhone(t, "alice", loopback)
	if code, err := p.Options(r.ctx, r.edge.Addr("udp")); err != nil || code != 200 {
		t.Errorf("OPTIONS: %d %v", code, err)
	}
	r.trunk.Servers = []string{"nowhere.invalid"}
	r.save(t, &r.trunk, r.tell)
	r.state(t, "unknown name", healthy(false, "nowhere.invalid"))
}
