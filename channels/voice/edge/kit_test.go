package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const realm = "test.example"

var (
	loopback = netip.MustParsePrefix("127.0.0.0/8")
	home     = netip.MustParsePrefix("127.0.0.1/32")
	home6    = netip.MustParsePrefix("::1/128")
)

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// station is an edge with a stack behind it: OPTIONS and what trunks send is answered 200, what others send only after
// Authenticate.
type station struct {
	*Edge
	t      testing.TB
	ua     *sipgo.UserAgent
	server *sipgo.Server
	log    *lines
	heard  atomic.Int64  // requests that reached the stack
	hold   chan struct{} // nil: who asks for "slow" is answered at once, else when it is closed
}

// lines is a log that tests can read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var testRules = Rules{Methods: []sip.RequestMethod{sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.INFO, sip.UPDATE, sip.REGISTER}}

func open(t testing.TB, cfg Config) *station {
	t.Helper()
	s := &station{t: t, log: &lines{}}
	cfg.Log = slog.New(slog.NewTextHandler(s.log, nil))
	if cfg.Listen == nil {
		cfg.Listen = []Listen{{"udp", "127.0.0.1:0"}, {"tcp", "127.0.0.1:0"}}
	}
	var err error
	if s.Edge, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	if s.ua, err = sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(Options()...), sipgo.WithUserAgentTransactionLayerOptions(
		sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {}))); err != nil {
		t.Fatal(err)
	}
	if s.server, err = sipgo.NewServer(s.ua); err != nil {
		t.Fatal(err)
	}
	s.server.OnNoRoute(s.serve)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, s.server) }()
	t.Cleanup(func() {
		s.Deafen()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.ua.TransactionLayer().Close()
		if err := s.ua.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
			t.Error(err)
		}
	})
	return s
}

func (s *station) serve(req *sip.Request, tx sip.ServerTransaction) {
	s.heard.Add(1)
	if req.Method == sip.ACK {
		return
	}
	if s.hold != nil && req.Recipient.User == "slow" {
		<-s.hold
	}
	r := Validate(req, testRules)
	src := netip.MustParseAddrPort(req.Source())
	if r == nil && !s.gate.policy.Load().Trusts(bare(src.Addr())) && req.Method != sip.OPTIONS {
		_, r = s.Authenticate(req)
	}
	if r == nil {
		if _, tag := req.To().Params.Get("tag"); tag {
			r = Refuse(481, "Call/Transaction Does Not Exist")
		}
	}
	if r == nil {
		r = Refuse(200, "OK")
	}
	res := sip.NewResponseFromRequest(req, r.Code, r.Reason, nil)
	res.SipVersion = "SIP/2.0"
	for _, h := range r.Headers {
		res.AppendHeader(h)
	}
	_ = tx.Respond(res) // the peer may be gone
}

var serial atomic.Int64

// request writes one. Lines go behind the usual ones.
func request(method, user string, from net.Addr, transport string, extra ...string) string {
	n := serial.Add(1)
	text := fmt.Sprintf("%s sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=t%d\r\n"+
		"To: <sip:%s@%s>\r\nCall-ID: call-%d\r\nCSeq: %d %s\r\nContact: <sip:%s@%s>\r\n", method, user, realm, transport, from, n, user, realm, n, user, realm, n, n, method, user, from)
	text += "User-Agent: testphone 1.0\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER\r\n"
	for _, line := range extra {
		text += line + "\r\n"
	}
	return text + "Content-Length: 0\r\n\r\n"
}

// peer is a UDP socket of somebody.
type peer struct {
	t testing.TB
	*net.UDPConn
}

func newPeer(t testing.TB, ip string, to netip.AddrPort) *peer {
	t.Helper()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)}, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t, c}
}

func (p *peer) send(text string) {
	p.t.Helper()
	if _, err := p.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// answer waits for the next datagram.
func (p *peer) answer(ctx context.Context) string {
	p.t.Helper()
	deadline, _ := ctx.Deadline()
	if err := p.SetReadDeadline(deadline); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := p.Read(buf)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(buf[:n])
}

// silent demands that nothing has come; the caller has waited for something that came behind.
func (p *peer) silent() {
	p.t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 65535)
	if n, err := p.Read(buf); err == nil {
		p.t.Errorf("answered: %s", buf[:n])
	}
}

// ask sends an OPTIONS and waits for its 200.
func (p *peer) ask(ctx context.Context) {
	p.t.Helper()
	p.send(request("OPTIONS", "ping", p.LocalAddr(), "UDP"))
	if a := p.answer(ctx); !strings.HasPrefix(a, "SIP/2.0 200 ") {
		p.t.Fatalf("OPTIONS: %s", a)
	}
}

// line is a stream connection of somebody.
type line struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func newLine(t testing.TB, c net.Conn, err error) *line {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &line{t, c, bufio.NewReader(c)}
}

func dialTCP(t testing.TB, ip string, to netip.AddrPort) *line {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", to.String())
	return newLine(t, c, err)
}

func (l *line) send(text string) {
	l.t.Helper()
	if _, err := l.Write([]byte(text)); err != nil {
		l.t.Fatal(err)
	}
}

// answer reads one message; "" is the end of the connection.
func (l *line) answer(ctx context.Context) string {
	l.t.Helper()
	deadline, _ := ctx.Deadline()
	if err := l.SetReadDeadline(deadline); err != nil {
		l.t.Fatal(err)
	}
	var text strings.Builder
	length := 0
	for {
		row, err := l.r.ReadString('\n')
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				l.t.Fatalf("no answer: %v after %q", err, text.String())
			}
			return ""
		}
		text.WriteString(row)
		if v, ok := strings.CutPrefix(row, "Content-Length:"); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		if row == "\r\n" && text.Len() > 2 {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(l.r, body); err != nil {
		l.t.Fatal(err)
	}
	return text.String() + string(body)
}

func (l *line) ask(ctx context.Context, transport string) {
	l.t.Helper()
	l.send(request("OPTIONS", "ping", l.LocalAddr(), transport))
	if a := l.answer(ctx); !strings.HasPrefix(a, "SIP/2.0 200 ") {
		l.t.Fatalf("OPTIONS: %q", a)
	}
}

// until looks at something that nobody announces.
func until(t testing.TB, ctx context.Context, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		}
	}
}

// certificate of our own making, for a name and the loopback addresses.
func certificate(t testing.TB, name string) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool, ServerName: name}
}

// accounts: 100 with MD5, 200 with SHA-256; the password is "secret".
func accounts(t testing.TB) *Digest {
	t.Helper()
	list := map[string]Account{
		"100": {"100", MD5, HA1(MD5, "100", realm, "secret")},
		"200": {"200", SHA256, HA1(SHA256, "200", realm, "secret")},
	}
	d, err := NewDigest(realm, func(user string) (Account, bool) { a, ok := list[user]; return a, ok })
	if err != nil {
		t.Fatal(err)
	}
	return d
}
