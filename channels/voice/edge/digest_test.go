package edge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// answered is a request again, with the answer to a challenge, a new branch and the next CSeq.
func answered(t testing.TB, login *Login, text, refusal string) string {
	t.Helper()
	msg, err := sip.ParseMessage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	res, err := sip.ParseMessage([]byte(refusal))
	if err != nil {
		t.Fatal(err, refusal)
	}
	req := msg.(*sip.Request)
	if err := login.Answer(req, res.(*sip.Response)); err != nil {
		t.Fatal(err)
	}
	req.Via().Params.Add("branch", sip.GenerateBranch())
	req.CSeq().SeqNo++
	return req.String()
}

// TestLogin: a phone from anywhere is challenged without state, logs in by either algorithm and transport, and is known
// from then on; a counter that does not rise and an old nonce are asked again, not counted.
func TestLogin(t *testing.T) {
	ctx := testCtx(t)
	d := accounts(t)
	var later atomic.Int64 // how far the clock is ahead
	d.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	s := open(t, Config{Digest: d, Policy: Policy{Phones: []netip.Prefix{loopback}}})
	for i, user := range []string{"100", "200"} {
		for j, transport := range []string{"UDP", "TCP"} {
			ip := fmt.Sprintf("127.4.%d.%d", i, j+1)
			var (
				addr net.Addr
				ask  func(string) string
			)
			if transport == "UDP" {
				p := newPeer(t, ip, s.Addr("udp"))
				addr, ask = p.LocalAddr(), func(text string) string { p.send(text); return p.answer(ctx) }
			} else {
				l := dialTCP(t, ip, s.Addr("tcp"))
				addr, ask = l.LocalAddr(), func(text string) string { l.send(text); return l.answer(ctx) }
			}
			login, before := &Login{User: user, Password: "secret"}, s.heard.Load()
			text := request("REGISTER", user, addr, transport)
			first := ask(text)
			if !strings.HasPrefix(first, "SIP/2.0 401 ") || s.heard.Load() != before {
				t.Fatalf("%s %s: %s", user, transport, first)
			}
			if want := map[string]string{"100": "MD5", "200": "SHA-256"}[user]; !strings.Contains(first, "algorithm="+want+",") || strings.Count(first, "WWW-Auth") != 1 {
				t.Errorf("%s is asked for %s", user, first)
			}
			if transport == "UDP" && len(first) > len(text) {
				t.Errorf("%d bytes answered to %d", len(first), len(text))
			}
			good := answered(t, login, text, first)
			if a := ask(good); !strings.HasPrefix(a, "SIP/2.0 200 ") {
				t.Fatalf("%s %s: %s", user, transport, a)
			}
			replay := strings.Replace(good, "branch=", "branch=z9hG4bKreplay", 1)
			if a := ask(replay); !strings.HasPrefix(a, "SIP/2.0 401 ") || !strings.Contains(a, "stale=true") {
				t.Errorf("replay: %s", a)
			}
			if a := ask(answered(t, login, request("REGISTER", user, addr, transport), first)); !strings.HasPrefix(a, "SIP/2.0 200 ") {
				t.Errorf("second use of a nonce: %s", a)
			}
			if a := ask(request("OPTIONS", user, addr, transport)); !strings.HasPrefix(a, "SIP/2.0 200 ") {
				t.Errorf("OPTIONS of a known phone: %s", a)
			}
			later.Store(int64(2 * nonceTerm))
			if a := ask(answered(t, login, request("REGISTER", user, addr, transport), first)); !strings.HasPrefix(a, "SIP/2.0 401 ") || !strings.Contains(a, "stale=true") {
				t.Errorf("old nonce: %s", a)
			}
			later.Store(0)
			if strings.Contains(s.log.String(), "auth failed") {
				t.Fatal(s.log)
			}
		}
	}
	if c := s.Counts(); c.Phones != 4 || c.Banned != 0 {
		t.Errorf("%+v", c)
	}
}

// TestWrongLogins: the tenth bans, with a line for each; a login with auth-int or for somebody else is none.
func TestWrongLogins(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Digest: accounts(t), Policy: Policy{Phones: []netip.Prefix{loopback}}})
	p := newPeer(t, "127.5.0.1", s.Addr("udp"))
	for i := range 10 {
		text := request("REGISTER", "100", p.LocalAddr(), "UDP")
		p.send(text)
		first := p.answer(ctx)
		if i == 9 {
			break // points for the challenges came on top
		}
		p.send(answered(t, &Login{User: "100", Password: fmt.Sprint("guess", i)}, text, first))
		if i > 6 { // banned by now
			until(t, ctx, "ban", func() bool { return s.Counts().Banned == 1 })
			break
		}
		if a := p.answer(ctx); !strings.HasPrefix(a, "SIP/2.0 401 ") {
			t.Fatal(a)
		}
	}
	p.send(request("REGISTER", "100", p.LocalAddr(), "UDP"))
	until(t, ctx, "banned sender dropped", func() bool { return s.Counts().FromBanned > 0 })
	if log := s.log.String(); !strings.Contains(log, `msg="auth failed" ip=127.5.0.1 user=100`) || !strings.Contains(log, `msg="sip ban" ip=127.5.0.1 why="failed login" for=10m0s`) {
		t.Error(log)
	}
	d := s.gate.digest
	ip := netip.MustParseAddr("192.0.2.1")
	try := func(header string) error {
		msg, err := sip.ParseMessage([]byte(request("INVITE", "300", p.LocalAddr(), "UDP", "Authorization: "+header)))
		if err != nil {
			t.Fatal(err)
		}
		return d.check(msg.(*sip.Request), ip).err
	}
	login := func(method, user, uri, qop, nc string) string {
		nonce, a := d.nonce(ip), MD5
		response := a.sum(HA1(a, user, realm, "secret"), nonce, nc, "c", qop, a.sum(method, uri))
		return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", cnonce="c", qop=%s, nc=%s`, user, realm, nonce, uri, response, qop, nc)
	}
	for name, c := range map[string]struct {
		header string
		good   bool
	}{
		"good":            {login("INVITE", "100", "sip:300@"+realm, "auth", "00000001"), true},
		"host alone":      {login("INVITE", "100", "sip:"+realm, "auth", "00000001"), true},
		"another number":  {login("INVITE", "100", "sip:900@"+realm, "auth", "00000001"), false},
		"another method":  {login("REGISTER", "100", "sip:300@"+realm, "auth", "00000001"), false},
		"auth-int":        {login("INVITE", "100", "sip:300@"+realm, "auth-int", "00000001"), false},
		"counter 0":       {login("INVITE", "100", "sip:300@"+realm, "auth", "00000000"), false},
		"unknown user":    {login("INVITE", "nobody", "sip:300@"+realm, "auth", "00000001"), false},
		"other algorithm": {login("INVITE", "200", "sip:300@"+realm, "auth", "00000001"), false},
		"nonsense":        {`Digest username="100", realm="` + realm + `", nonce="=", uri="sip:300@a", response=""`, false},
	} {
		if err := try(c.header); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnknownUser: nothing tells an account from none.
func TestUnknownUser(t *testing.T) {
	ctx := testCtx(t)
	s := open(t, Config{Digest: accounts(t), Policy: Policy{Phones: []netip.Prefix{loopback}}})
	p := newPeer(t, "127.6.0.1", s.Addr("udp"))
	answers := map[string]string{}
	for _, user := range []string{"100", "101"} {
		text := request("REGISTER", user, p.LocalAddr(), "UDP")
		p.send(text)
		first := p.answer(ctx)
		p.send(answered(t, &Login{User: user, Password: "wrong"}, text, first))
		for i, a := range []string{first, p.answer(ctx)} {
			_, headers, _ := skim([]byte(a))
			var names []string
			for _, h := range headers {
				v := ""
				if h.name == "www-authenticate" {
					v, _, _ = strings.Cut(h.value, "nonce=")
				}
				names = append(names, h.name+v)
			}
			answers[user] += fmt.Sprint(i, a[:20], names)
		}
	}
	if answers["100"] != answers["101"] {
		t.Errorf("known:\n%s\nunknown:\n%s", answers["100"], answers["101"])
	}
}

// TestNonceMemory: counters are bounded, and what was forgotten is not taken twice.
func TestNonceMemory(t *testing.T) {
	d := accounts(t)
	now := time.Unix(1_800_000_000, 0)
	d.now = func() time.Time { return now }
	ip := netip.MustParseAddr("192.0.2.1")
	first := d.nonce(ip)
	if !d.count(first, 1) || d.count(first, 1) || !d.count(first, 5) || d.count(first, 4) {
		t.Fatal("a counter that does not rise was taken, or one that rises was not")
	}
	for range maxNonces + 10 {
		d.count(d.nonce(ip), 1)
	}
	if len(d.counts) > maxNonces {
		t.Errorf("%d counters", len(d.counts))
	}
	if d.count(first, 5) {
		t.Error("a forgotten counter was taken again")
	}
	now = now.Add(time.Second)
	if !d.count(d.nonce(ip), 1) {
		t.Error("a new nonce is refused")
	}
	if known, _ := d.recognises(first, netip.MustParseAddr("192.0.2.2")); known {
		t.Error("a nonce of another address is recognised")
	}
	if other := accounts(t); func() bool { known, _ := other.recognises(first, ip); return known }() {
		t.Error("a nonce of another server is recognised")
	}
}

// TestStrongest: of several challenges the strongest is answered (RFC 8760), and a count rises while the nonce stays.
func TestStrongest(t *testing.T) {
	res := sip.NewResponse(407, "Proxy Authentication Required")
	for _, a := range []string{"MD5", "SHA-256", "TURNIP", "MD5-sess"} {
		res.AppendHeader(sip.NewHeader("Proxy-Authenticate", `Digest realm="x", nonce="n`+a+`", qop="auth,auth-int", algorithm=`+a))
	}
	l := &Login{User: "u", Password: "p"}
	req := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", User: "1", Host: "x"})
	for i := 1; i <= 2; i++ {
		if err := l.Answer(req, res); err != nil {
			t.Fatal(err)
		}
		hs := req.GetHeaders("Proxy-Authorization")
		if len(hs) != 1 || !strings.Contains(hs[0].Value(), "algorithm=SHA-256") || !strings.Contains(hs[0].Value(), fmt.Sprintf("nc=%08x", i)) {
			t.Error(hs)
		}
	}
	if err := l.Answer(req, sip.NewResponse(401, "")); err == nil {
		t.Error("no challenge was answered")
	}
}

// TestSipvicious: the common scanners learn nothing, though phones may come from where they are, and are banned.
func TestSipvicious(t *testing.T) {
	for tool, args := range map[string][]string{
		"svmap":   {"-p", "PORT", "127.0.0.5"},
		"svwar":   {"-e", "95-105", "-p", "PORT", "127.0.0.5"},
		"svcrack": {"-u", "100", "-r", "1-20", "-p", "PORT", "127.0.0.5"},
	} {
		t.Run(tool, func(t *testing.T) {
			path, err := exec.LookPath(tool)
			if err != nil {
				t.Skip("not installed: ", tool)
			}
			ctx := testCtx(t)
			s := open(t, Config{Listen: []Listen{{"udp", "127.0.0.5:0"}}, Digest: accounts(t), Policy: Policy{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}, Phones: []netip.Prefix{loopback}}})
			for i := range args {
				if args[i] == "PORT" {
					args[i] = fmt.Sprint(s.Addr("udp").Port())
				}
			}
			out := run(t, ctx, path, args...)
			c := s.Counts()
			if c.Bans[Scanner] != 1 || c.Challenged != 0 || s.heard.Load() != 0 {
				t.Errorf("%+v\n%s", c, out)
			}
			if strings.Contains(out, "127.0.0.5:") || strings.Contains(out, "reqauth") || strings.Contains(out, "secret") {
				t.Errorf("learned: %s", out)
			}
			newPeer(t, "127.0.0.9", s.Addr("udp")).ask(ctx)
		})
	}
}

func run(t testing.TB, ctx context.Context, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 12*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "HOME="+cmd.Dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s: %v, %d bytes", path, err, len(out))
	return string(out)
}
