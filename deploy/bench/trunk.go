package main

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
	"time"

	"github.com/emiago/sipgo/sip"
)

// trunk is a carrier: one UDP address from which many calls come. It writes its requests as text and repeats them as
// RFC 3261 section 17.1 says.
type trunk struct {
	conn   *net.UDPConn
	server netip.AddrPort
	number string // that is called
	done   chan struct{}

	again    atomic.Int64 // requests that we had to repeat
	repeated atomic.Int64 // answers that came twice

	mu    sync.Mutex
	open  map[string]*request // by branch
	calls map[string]*phone   // by Call-ID
}

// request is one that waits for its final answer.
type request struct {
	text       string
	invite     bool
	proceeding bool // a provisional answer has come: an INVITE is not repeated any more
	due        time.Time
	pause      time.Duration
	final      chan *sip.Response
}

const (
	sipT1 = 500 * time.Millisecond
	sipT2 = 4 * time.Second
)

// carrier is whom a server that we have started trusts, and nobody else on this machine.
const carrier = "127.0.0.2"

// newTrunk opens a SIP address; target is number@host:port, ours that we have started that server.
func newTrunk(target string, ours bool) (*trunk, error) {
	number, host, ok := strings.Cut(target, "@")
	if !ok {
		return nil, fmt.Errorf("SIP address %q: want number@host:port", target)
	}
	addr, err := net.ResolveUDPAddr("udp4", host)
	if err != nil {
		return nil, fmt.Errorf("SIP address: %w", err)
	}
	// The route to the server tells our own address.
	probe, err := net.DialUDP("udp4", nil, addr)
	if err != nil {
		return nil, err
	}
	local := probe.LocalAddr().(*net.UDPAddr).IP
	_ = probe.Close()
	if trusted := net.ParseIP(carrier); ours {
		local = trusted
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: local})
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(4 << 20)
	t := &trunk{conn: conn, server: addr.AddrPort(), number: number, done: make(chan struct{}), open: map[string]*request{}, calls: map[string]*phone{}}
	go t.read()
	go t.repeat()
	return t, nil
}

func (t *trunk) close() {
	_ = t.conn.Close()
	<-t.done
}

func (t *trunk) addr() netip.AddrPort { return t.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (t *trunk) send(text string) { _, _ = t.conn.WriteToUDPAddrPort([]byte(text), t.server) }

func (t *trunk) read() {
	defer close(t.done)
	buf := make([]byte, 65535)
	for {
		n, _, err := t.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP error of an earlier send
			continue
		}
		msg, err := sip.ParseMessage(append([]byte(nil), buf[:n]...))
		if err != nil {
			continue
		}
		switch m := msg.(type) {
		case *sip.Response:
			t.response(m)
		case *sip.Request:
			t.request(m)
		}
	}
}

func (t *trunk) response(res *sip.Response) {
	via, cseq, id := res.Via(), res.CSeq(), res.CallID()
	if via == nil || cseq == nil || id == nil {
		return
	}
	branch, _ := via.Params.Get("branch")
	t.mu.Lock()
	r, p := t.open[branch], t.calls[id.Value()]
	if r != nil {
		if res.IsProvisional() {
			r.proceeding = true
		} else {
			delete(t.open, branch)
		}
	}
	t.mu.Unlock()
	switch {
	case res.IsProvisional():
	case r != nil:
		r.final <- res
	case p != nil && cseq.MethodName == sip.INVITE && res.IsSuccess():
		t.repeated.Add(1)
		if ack := p.ack.Load(); ack != nil {
			t.send(*ack)
		}
	}
}

// request agrees to whatever the server asks.
func (t *trunk) request(req *sip.Request) {
	if req.IsAck() || req.CallID() == nil {
		return
	}
	t.send(sip.NewResponseFromRequest(req, 200, "OK", nil).String())
	t.mu.Lock()
	p := t.calls[req.CallID().Value()]
	t.mu.Unlock()
	if p != nil && req.Method == sip.BYE {
		p.endOnce.Do(func() { close(p.ended) })
	}
}

// repeat sends again what has no answer yet.
func (t *trunk) repeat() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-t.done:
			return
		case now := <-tick.C:
			var late []string
			t.mu.Lock()
			for _, r := range t.open {
				if now.Before(r.due) || r.invite && r.proceeding {
					continue
				}
				r.pause *= 2
				if !r.invite {
					r.pause = min(r.pause, sipT2)
				}
				r.due = now.Add(r.pause)
				late = append(late, r.text)
			}
			t.mu.Unlock()
			for _, text := range late {
				t.again.Add(1)
				t.send(text)
			}
		}
	}
}

// phone is one caller behind the trunk, in one call.
type phone struct {
	t             *trunk
	id, from, tag string
	uri, branch   string // of the INVITE
	toTag, target string
	sdp           netip.AddrPort // where our sound is heard
	remote        netip.AddrPort // where theirs is
	cseq          int
	ack           atomic.Pointer[string]
	ended         chan struct{} // closed when the server has hung up
	endOnce       sync.Once
}

// phone prepares a call from a number; sound is where it listens.
func (t *trunk) phone(from string, sound netip.AddrPort) *phone {
	uri := fmt.Sprintf("sip:%s@%s", t.number, t.server)
	p := &phone{t: t, id: rand.Text(), from: from, tag: rand.Text()[:10], uri: uri, target: uri, sdp: sound, ended: make(chan struct{})}
	t.mu.Lock()
	t.calls[p.id] = p
	t.mu.Unlock()
	return p
}

func (p *phone) text(method string, cseq int, branch, uri, kind, body string) string {
	to := "<" + p.uri + ">"
	if p.toTag != "" {
		to += ";tag=" + p.toTag
	}
	lines := []string{
		method + " " + uri + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=%s;rport", p.t.addr(), branch),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:%s@%s>;tag=%s", p.from, p.t.addr().Addr(), p.tag),
		"To: " + to,
		"Call-ID: " + p.id,
		fmt.Sprintf("CSeq: %d %s", cseq, method),
		fmt.Sprintf("Contact: <sip:%s@%s>", p.from, p.t.addr()),
	}
	if body != "" {
		lines = append(lines, "Content-Type: "+kind)
	}
	return strings.Join(append(lines, "Content-Length: "+strconv.Itoa(len(body)), "", body), "\r\n")
}

// ask sends a request and waits for its final answer.
func (p *phone) ask(ctx context.Context, method, kind, body string) (*sip.Response, error) {
	p.cseq++
	branch := "z9hG4bK" + rand.Text()
	r := &request{text: p.text(method, p.cseq, branch, p.target, kind, body), invite: method == "INVITE",
		due: time.Now().Add(sipT1), pause: sipT1, final: make(chan *sip.Response, 1)}
	if r.invite {
		p.branch = branch
	}
	p.t.mu.Lock()
	p.t.open[branch] = r
	p.t.mu.Unlock()
	p.t.send(r.text)
	select {
	case res := <-r.final:
		return res, nil
	case <-ctx.Done():
		p.t.mu.Lock()
		delete(p.t.open, branch)
		p.t.mu.Unlock()
		return nil, fmt.Errorf("%s: no answer: %w", method, ctx.Err())
	}
}

// errBusy is an honest refusal: all lines are taken.
var errBusy = errors.New("503 Service Unavailable")

// dial calls and acknowledges; anything but 200 is an error.
func (p *phone) dial(ctx context.Context) error {
	offer := strings.Join([]string{
		"v=0", fmt.Sprintf("o=- 1 1 IN IP4 %s", p.sdp.Addr()), "s=-", fmt.Sprintf("c=IN IP4 %s", p.sdp.Addr()), "t=0 0",
		fmt.Sprintf("m=audio %d RTP/AVP 0 101", p.sdp.Port()), "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000",
		"a=fmtp:101 0-16", "a=ptime:20", "a=sendrecv", "",
	}, "\r\n")
	res, err := p.ask(ctx, "INVITE", "application/sdp", offer)
	if err != nil {
		return err
	}
	if to := res.To(); to != nil {
		p.toTag, _ = to.Params.Get("tag")
	}
	if !res.IsSuccess() { // the ACK belongs to the INVITE's own transaction (RFC 3261 section 17.1.1.3)
		p.t.send(p.text("ACK", p.cseq, p.branch, p.uri, "", ""))
		p.forget()
		if res.StatusCode == 503 {
			return errBusy
		}
		return fmt.Errorf("refused: %d %s", res.StatusCode, res.Reason)
	}
	if c := res.Contact(); c != nil {
		p.target = c.Address.String()
	}
	ack := p.text("ACK", p.cseq, "z9hG4bK"+rand.Text(), p.target, "", "")
	p.ack.Store(&ack)
	p.t.send(ack)
	p.remote, err = soundOf(string(res.Body()))
	return err
}

// soundOf reads where the other side wants its sound.
func soundOf(sdp string) (netip.AddrPort, error) {
	var ip, port string
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "c=IN IP4 "); ok {
			ip = rest
		}
		if rest, ok := strings.CutPrefix(line, "m=audio "); ok {
			port, _, _ = strings.Cut(rest, " ")
		}
	}
	at, err := netip.ParseAddrPort(ip + ":" + port)
	if err != nil {
		return at, fmt.Errorf("SDP of the answer: %w", err)
	}
	return at, nil
}

// press sends a key by INFO.
func (p *phone) press(ctx context.Context, key string) error {
	res, err := p.ask(ctx, "INFO", "application/dtmf-relay", "Signal="+key+"\r\nDuration=160\r\n")
	if err == nil && !res.IsSuccess() {
		err = fmt.Errorf("INFO refused: %d %s", res.StatusCode, res.Reason)
	}
	return err
}

// hangUp ends the call.
func (p *phone) hangUp(ctx context.Context) error {
	defer p.forget()
	res, err := p.ask(ctx, "BYE", "", "")
	if err == nil && !res.IsSuccess() {
		err = fmt.Errorf("BYE refused: %d %s", res.StatusCode, res.Reason)
	}
	return err
}

func (p *phone) forget() {
	p.t.mu.Lock()
	delete(p.t.calls, p.id)
	p.t.mu.Unlock()
}
