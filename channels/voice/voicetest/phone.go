package voicetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Phone is a SIP phone on one UDP socket. It writes its requests as text and has no transaction layer in the way, so a
// test can send exactly what it wants, also what is wrong; answers are read with sipgo's parser.
type Phone struct {
	t    testing.TB
	user string
	conn *net.UDPConn
	done chan struct{}

	mu     sync.Mutex
	calls  map[string]*Call
	strays chan string
}

// NewPhone opens a phone on ip, any port; it is closed with the test.
func NewPhone(t testing.TB, user string, ip netip.Addr) *Phone {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		t.Fatal(err)
	}
	p := &Phone{t: t, user: user, conn: conn, done: make(chan struct{}), calls: map[string]*Call{}, strays: make(chan string, 256)}
	go p.listen()
	t.Cleanup(p.Close)
	return p
}

// Close ends the phone without a word to anybody. It may be called twice.
func (p *Phone) Close() {
	_ = p.conn.Close()
	<-p.done
}

// Addr is the phone's SIP address.
func (p *Phone) Addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// SendRaw sends any bytes from the phone's address.
func (p *Phone) SendRaw(to netip.AddrPort, b []byte) {
	if _, err := p.conn.WriteToUDPAddrPort(b, to); err != nil && !errors.Is(err, net.ErrClosed) { // the house's farewell is answered after the test's end
		p.t.Errorf("phone: %v", err)
	}
}

// Strays are the messages that belong to no call of this phone, word for word.
func (p *Phone) Strays() <-chan string { return p.strays }

// Options asks whether anybody is there: the status of the answer.
func (p *Phone) Options(ctx context.Context, server netip.AddrPort) (int, error) {
	c := p.newCall(server, "sip:"+server.String(), Invite{})
	return c.Do(ctx, "OPTIONS", nil, "")
}

func (p *Phone) listen() {
	defer close(p.done)
	buf := make([]byte, 65535)
	for {
		n, src, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		text := string(buf[:n])
		var callID string
		msg, err := sip.ParseMessage([]byte(text))
		if err == nil && msg.CallID() != nil {
			callID = msg.CallID().Value()
		}
		p.mu.Lock()
		c := p.calls[callID]
		p.mu.Unlock()
		if c == nil {
			select {
			case p.strays <- text:
			default:
			}
			continue
		}
		switch m := msg.(type) {
		case *sip.Response:
			c.response(m)
		case *sip.Request:
			c.request(m, src)
		}
	}
}

// Invite is what a call begins with; the zero value is an ordinary caller with PCMU, PCMA and telephone-event.
type Invite struct {
	From    string   // user, "" = the phone's
	NoSDP   bool     // delayed offer: the answer goes out in the ACK
	SDP     string   // "" = Offer of the call's RTP
	NoACK   bool     // a caller who loses every ACK
	Headers []string // more lines, "Name: value"
	RTP     *RTP     // nil = a socket of its own on the phone's address
}

// Call is one call of a phone: the dialog's numbers and its sound.
type Call struct {
	RTP *RTP

	phone         *Phone
	server        netip.AddrPort
	uri, callID   string
	from, tag     string
	headers       []string
	sdp           string
	noSDP, noACK  bool
	responses     chan *sip.Response
	requests      chan *sip.Request
	ended         chan struct{}
	endOnce       sync.Once
	version       atomic.Int64 // of our SDP
	mu            sync.Mutex   // guards below
	cseq          int
	inviteCSeq    int
	branch, asked string // of the open INVITE: its branch and request URI
	toTag, target string
	routes        []string
	ack           string // of the last 2xx, sent again for its repetitions
	ackCSeq       int
}

func (p *Phone) newCall(server netip.AddrPort, uri string, i Invite) *Call {
	c := &Call{
		phone: p, server: server, uri: uri, callID: rand.Text(), tag: rand.Text()[:10], target: uri,
		from: i.From, headers: i.Headers, sdp: i.SDP, noSDP: i.NoSDP, noACK: i.NoACK, RTP: i.RTP,
		responses: make(chan *sip.Response, 256), requests: make(chan *sip.Request, 64), ended: make(chan struct{}),
	}
	if c.from == "" {
		c.from = p.user
	}
	p.mu.Lock()
	p.calls[c.callID] = c
	p.mu.Unlock()
	return c
}

// Invite calls user at the server and returns at once; Answer waits.
func (p *Phone) Invite(server netip.AddrPort, user string, i Invite) *Call {
	p.t.Helper()
	if i.RTP == nil {
		i.RTP = NewRTP(p.t, p.Addr().Addr())
	}
	c := p.newCall(server, fmt.Sprintf("sip:%s@%s", user, server), i)
	body := ""
	if !c.noSDP {
		body = c.offer("sendrecv")
	}
	c.invite(body)
	return c
}

// Dial calls, waits for the answer and sends the ACK; the test ends when the call is refused.
func (p *Phone) Dial(ctx context.Context, server netip.AddrPort, user string, i Invite) *Call {
	p.t.Helper()
	c := p.Invite(server, user, i)
	res, err := c.Answer(ctx)
	if err != nil {
		p.t.Fatalf("call %s: %v", user, err)
	}
	if res.StatusCode != 200 {
		p.t.Fatalf("call %s: %d %s", user, res.StatusCode, res.Reason)
	}
	return c
}

// Offer is the SDP of an ordinary phone that listens at addr.
func Offer(addr netip.AddrPort, version int, dir string) string {
	family := "IP4"
	if addr.Addr().Is6() {
		family = "IP6"
	}
	return strings.Join([]string{
		"v=0", fmt.Sprintf("o=- 1 %d IN %s %s", version, family, addr.Addr()), "s=-", fmt.Sprintf("c=IN %s %s", family, addr.Addr()), "t=0 0",
		fmt.Sprintf("m=audio %d RTP/AVP 0 8 101", addr.Port()),
		"a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=" + dir, "",
	}, "\r\n")
}

func (c *Call) offer(dir string) string {
	if c.sdp != "" {
		return c.sdp
	}
	return Offer(c.RTP.Addr(), int(c.version.Add(1)), dir)
}

func (c *Call) invite(body string) {
	c.mu.Lock()
	c.cseq++
	c.inviteCSeq, c.branch, c.asked = c.cseq, newBranch(), c.target
	text := c.text("INVITE", c.cseq, c.branch, c.headers, body)
	c.mu.Unlock()
	c.send(text)
}

func newBranch() string { return "z9hG4bK" + rand.Text() }

// text writes a request of this call. The lock is held.
func (c *Call) text(method string, cseq int, branch string, headers []string, body string) string {
	to := "<" + c.uri + ">"
	if c.toTag != "" && method != "CANCEL" {
		to += ";tag=" + c.toTag
	}
	lines := []string{
		method + " " + c.target + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=%s;rport", c.phone.Addr(), branch),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:%s@%s>;tag=%s", c.from, c.phone.Addr().Addr(), c.tag),
		"To: " + to,
		"Call-ID: " + c.callID,
		fmt.Sprintf("CSeq: %d %s", cseq, method),
		fmt.Sprintf("Contact: <sip:%s@%s>", c.phone.user, c.phone.Addr()),
	}
	for _, r := range c.routes {
		lines = append(lines, "Route: "+r)
	}
	lines = append(lines, headers...)
	if strings.HasPrefix(body, "v=") {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)), "", body)
	return strings.Join(lines, "\r\n")
}

func (c *Call) send(text string) { c.phone.SendRaw(c.server, []byte(text)) }

// response takes an answer on the phone's reader.
func (c *Call) response(res *sip.Response) {
	cs := res.CSeq()
	if cs == nil || res.To() == nil {
		return
	}
	c.mu.Lock()
	if cs.MethodName == sip.INVITE && int(cs.SeqNo) == c.ackCSeq && res.IsSuccess() && !c.noACK {
		again := c.ack
		c.mu.Unlock()
		c.send(again) // every repetition of the 2xx gets the ACK again
		return
	}
	if tag, ok := res.To().Params.Get("tag"); ok && (res.IsSuccess() || res.IsProvisional()) && cs.MethodName == sip.INVITE {
		c.toTag = tag
		if contact := res.Contact(); contact != nil {
			c.target = contact.Address.String()
		}
		if res.IsSuccess() {
			c.routes = nil
			rr := res.GetHeaders("Record-Route")
			for i := len(rr) - 1; i >= 0; i-- {
				c.routes = append(c.routes, rr[i].Value())
			}
		}
	}
	c.mu.Unlock()
	select {
	case c.responses <- res:
	default:
	}
}

// request takes what the server asks on the phone's reader: BYE ends the call, everything else is agreed to.
func (c *Call) request(req *sip.Request, src netip.AddrPort) {
	select {
	case c.requests <- req:
	default:
	}
	if req.IsAck() {
		return
	}
	body := ""
	if req.IsInvite() || req.Method == sip.UPDATE && len(req.Body()) > 0 {
		body = c.offer("sendrecv")
	}
	res := sip.NewResponseFromRequest(req, 200, "OK", []byte(body))
	if body != "" {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
		res.AppendHeader(sip.NewHeader("Contact", fmt.Sprintf("<sip:%s@%s>", c.phone.user, c.phone.Addr())))
	}
	c.phone.SendRaw(src, []byte(res.String()))
	if req.Method == sip.BYE {
		c.endOnce.Do(func() { close(c.ended) })
	}
}

// Ended is closed when the server has hung up.
func (c *Call) Ended() <-chan struct{} { return c.ended }

// Requests are what the server asked in this call.
func (c *Call) Requests() <-chan *sip.Request { return c.requests }

// Next is the next response of any request, provisional ones too.
func (c *Call) Next(ctx context.Context) (*sip.Response, error) {
	select {
	case res := <-c.responses:
		return res, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// Answer waits for the final answer to the INVITE and acknowledges it; a 200's SDP is where the sound goes. Before the
// first answer the INVITE is not repeated: loopback loses nothing.
func (c *Call) Answer(ctx context.Context) (*sip.Response, error) {
	for {
		res, err := c.Next(ctx)
		if err != nil {
			return nil, err
		}
		if res.CSeq().MethodName != sip.INVITE {
			continue
		}
		if body := res.Body(); len(body) > 0 && (res.IsSuccess() || res.IsProvisional()) {
			if to, pt, ev, ok := parseSDP(string(body)); ok {
				c.RTP.SetRemote(to, pt, ev)
			}
		}
		if res.IsProvisional() {
			continue
		}
		c.acknowledge(res)
		return res, nil
	}
}

func (c *Call) acknowledge(res *sip.Response) {
	c.mu.Lock()
	cseq := int(res.CSeq().SeqNo)
	if !res.IsSuccess() { // same branch, same target: part of the INVITE's transaction (RFC 3261 section 17.1.1.3)
		tag, target := c.toTag, c.target
		c.toTag, _ = res.To().Params.Get("tag")
		c.target = c.asked
		text := c.text("ACK", cseq, c.branch, nil, "")
		c.toTag, c.target = tag, target
		c.mu.Unlock()
		c.send(text)
		return
	}
	body := ""
	if c.noSDP {
		body = c.offer("sendrecv")
	}
	c.ack, c.ackCSeq = c.text("ACK", cseq, newBranch(), nil, body), cseq
	text := c.ack
	c.mu.Unlock()
	if !c.noACK {
		c.send(text)
	}
}

// Cancel takes the INVITE back; Answer then tells 487, or 200 when the server was faster.
func (c *Call) Cancel() {
	c.mu.Lock()
	target, routes, tag := c.target, c.routes, c.toTag
	c.target, c.routes, c.toTag = c.asked, nil, ""
	text := c.text("CANCEL", c.inviteCSeq, c.branch, nil, "")
	c.target, c.routes, c.toTag = target, routes, tag
	c.mu.Unlock()
	c.send(text)
}

// Do sends a request within the call and waits for its final answer's status. It is repeated each 500 ms.
func (c *Call) Do(ctx context.Context, method string, headers []string, body string) (int, error) {
	c.mu.Lock()
	c.cseq++
	cseq := c.cseq
	text := c.text(method, cseq, newBranch(), headers, body)
	c.mu.Unlock()
	c.send(text)
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case res := <-c.responses:
			if int(res.CSeq().SeqNo) == cseq && !res.IsProvisional() {
				return res.StatusCode, nil
			}
		case <-again.C:
			c.send(text)
		case <-ctx.Done():
			return 0, fmt.Errorf("%s: %w", method, ctx.Err())
		}
	}
}

// Bye hangs up and demands 200.
func (c *Call) Bye(ctx context.Context) error {
	code, err := c.Do(ctx, "BYE", nil, "")
	if err == nil && code != 200 {
		err = fmt.Errorf("BYE: %d", code)
	}
	return err
}

// Reinvite offers anew with the direction (sendonly = hold, sendrecv = back, inactive) and acknowledges the answer.
func (c *Call) Reinvite(ctx context.Context, dir string) (*sip.Response, error) {
	c.noSDP = false
	c.invite(c.offer(dir))
	return c.Answer(ctx)
}

// Info presses a key by INFO (application/dtmf-relay) and returns the status.
func (c *Call) Info(ctx context.Context, digit byte) (int, error) {
	return c.Do(ctx, "INFO", []string{"Content-Type: application/dtmf-relay"}, fmt.Sprintf("Signal=%c\r\nDuration=160\r\n", digit))
}

// parseSDP reads where the first audio stream wants its packets, and with which types.
func parseSDP(sdp string) (to netip.AddrPort, payloadType, eventType uint8, ok bool) {
	var addr netip.Addr
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if rest, found := strings.CutPrefix(line, "c=IN IP"); found && len(rest) > 2 {
			addr, _ = netip.ParseAddr(rest[2:])
		}
		if rest, found := strings.CutPrefix(line, "m=audio "); found && !ok {
			f := strings.Fields(rest)
			port, _ := strconv.Atoi(f[0])
			if len(f) < 3 || port == 0 {
				return to, 0, 0, false
			}
			pt, _ := strconv.Atoi(f[2])
			to, payloadType, ok = netip.AddrPortFrom(addr, uint16(port)), uint8(pt), true
		}
		if rest, found := strings.CutPrefix(line, "a=rtpmap:"); found && strings.Contains(rest, "telephone-event/8000") {
			ev, _ := strconv.Atoi(strings.Fields(rest)[0])
			eventType = uint8(ev)
		}
	}
	return netip.AddrPortFrom(addr, to.Port()), payloadType, eventType, ok && addr.IsValid()
}

// Replaces is the header by which another phone takes this call over (RFC 3891).
func (c *Call) Replaces() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("Replaces: %s;to-tag=%s;from-tag=%s", c.callID, c.toTag, c.tag)
}

// ParseRequest is a request of these lines as it comes by UDP from 192.0.2.9.
func ParseRequest(t testing.TB, lines ...string) *sip.Request {
	t.Helper()
	msg, err := sip.ParseMessage([]byte(strings.Join(append(lines, "", ""), "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	req := msg.(*sip.Request)
	req.SetSource("192.0.2.9:5060")
	req.SetTransport("UDP")
	return req
}
