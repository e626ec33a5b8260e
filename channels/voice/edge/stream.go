package edge

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// What a stream may bring. Together less than one read of sipgo's (32 kB): it must get each message whole.
const (
	maxHead = 15 << 10
	maxBody = 15 << 10
	maxLine = 4 << 10 // of the first line
)

// waiters is how many messages may wait behind a peer that does not read.
const waiters = 64

var (
	errTooLarge  = errors.New("message too large")
	errNoLength  = errors.New("no Content-Length")
	errBadLength = errors.New("bad Content-Length")
)

// frame tells where the first message in buf ends, which may be behind what has come; 0: not known yet.
func frame(buf []byte) (int, error) {
	end := bytes.Index(buf[:min(len(buf), maxHead)], []byte("\r\n\r\n"))
	if end < 0 {
		if len(buf) >= maxHead {
			return 0, errTooLarge
		}
		return 0, nil
	}
	_, headers, _ := skim(buf[:end+4])
	length := -1
	for _, h := range headers {
		if h.name != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(h.value, 10, 31)
		if err != nil || length >= 0 && length != int(n) { // two that differ would be two messages to two readers
			return end + 4, errBadLength
		}
		length = int(n)
	}
	switch {
	case length < 0: // RFC 3261 section 18.3
		return end + 4, errNoLength
	case length > maxBody:
		return end + 4, errTooLarge
	}
	return end + 4 + length, nil
}

// plausible tells whether what has come so far can be the beginning of SIP. Another protocol's peer must not keep a
// connection by waiting for our answer.
func plausible(buf []byte) bool {
	line, _, whole := bytes.Cut(buf, []byte("\n"))
	if whole {
		return firstToken(buf) != tokenNone && len(line) < maxLine && bytes.Contains(bytes.ToUpper(line), []byte("SIP/"))
	}
	for i, c := range line {
		if c == ' ' || c == '\t' || c == '/' {
			return len(line) < maxLine
		}
		if !isTokenByte(c) || i >= 64 {
			return false
		}
	}
	return true
}

// conn is one TCP or TLS connection as sipgo sees it: each Read gives one whole message that the gate let pass. Read is
// called by one goroutine only, Write by many.
type conn struct {
	net.Conn
	edge          *Edge
	transport     string
	local, remote netip.AddrPort
	dialled       bool
	opened        time.Time

	known     chan struct{} // closed when sipgo reads: from then on it finds the connection by its address
	knownOnce sync.Once
	gone      chan struct{}
	goneOnce  sync.Once

	room   []byte // what one read of ours brings
	buf    []byte
	need   int       // bytes that the message which is coming has, once that is known
	begun  time.Time // when the message that is coming began
	blanks int       // CRLFs since the last message

	writing chan struct{} // held by who writes
	queue   chan struct{} // places before it

	owed atomic.Int32  // requests that the stack has and that have no final answer yet
	paid chan struct{} // wakes settle when owed falls
}

func (e *Edge) newConn(c net.Conn, transport string, dialled bool) *conn {
	return &conn{Conn: c, edge: e, transport: transport, local: addrPort(c.LocalAddr()), remote: addrPort(c.RemoteAddr()), dialled: dialled,
		opened: time.Now(), known: make(chan struct{}), gone: make(chan struct{}),
		writing: make(chan struct{}, 1), queue: make(chan struct{}, waiters), paid: make(chan struct{}, 1)}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		at := t.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return netip.AddrPort{}
}

// Read gives the next message. Every end of a connection is an EOF: sipgo shouts about others.
func (c *conn) Read(b []byte) (int, error) {
	c.knownOnce.Do(func() { close(c.known) })
	for {
		p, ok := c.next()
		if ok && p == nil {
			ok = c.fill()
		}
		if !ok || len(p) > len(b) {
			c.settle()
			c.Close()
			return 0, io.EOF
		}
		if p != nil {
			return copy(b, p), nil
		}
	}
}

// next takes messages from the buffer until one may pass; nil: more must come. False: the connection ends.
func (c *conn) next() ([]byte, bool) {
	for {
		if !c.keepAlive() {
			return nil, false
		}
		if len(c.buf) < c.need || len(c.buf) == 0 || len(c.buf) == 1 && c.buf[0] == '\r' {
			return nil, true
		}
		if !plausible(c.buf) {
			c.edge.gate.admit(c.buf, c.remote, false) // to be counted as what it is
			return nil, false
		}
		n, err := frame(c.buf)
		if err != nil {
			c.refuse(err, n)
			return nil, false
		}
		if c.need = n; n == 0 || n > len(c.buf) {
			return nil, true
		}
		v := c.edge.gate.admit(c.buf[:n], c.remote, false)
		if v.later {
			if !c.pause() {
				return nil, false
			}
			continue
		}
		if v.pass != nil || v.answer != nil {
			c.edge.gate.tell(true, c.transport, c.local, c.remote, c.buf[:n])
		}
		pass := v.pass
		if len(pass) > 0 && &pass[0] == &c.buf[0] {
			pass = bytes.Clone(pass)
		}
		c.buf = append(c.buf[:0], c.buf[n:]...)
		c.need, c.begun = 0, time.Now()
		if v.answer != nil {
			if _, err := c.send(v.answer); err != nil {
				return nil, false
			}
		}
		if v.hangUp {
			return nil, false
		}
		if pass != nil {
			if firstToken(pass) == tokenMethod && !bytes.HasPrefix(pass, []byte("ACK ")) {
				c.owed.Add(1)
			}
			return pass, true
		}
	}
}

// settle leaves a connection that ends open for the answers to what came before its end: the peer may have shut its half
// only, and rubbish behind a good request must not cost that request its answer (RFC 4475 section 3.1.1.8 on a stream).
// Who is no longer heard gets none, and nobody gets more than the time for one message.
func (c *conn) settle() {
	if c.owed.Load() == 0 || c.edge.gate.standingOf(bare(c.remote.Addr()), time.Now()) == stranger {
		return
	}
	limit := time.NewTimer(c.edge.limits.Write)
	defer limit.Stop()
	for c.owed.Load() > 0 {
		select {
		case <-c.paid:
		case <-limit.C:
			return
		case <-c.gone:
			return
		}
	}
}

// pay notes a final answer that is out. A 2xx to INVITE is repeated until its ACK: it may not pay for others twice over.
func (c *conn) pay(p []byte) {
	if firstToken(p) != tokenStatus || len(p) < 9 || p[8] < '2' {
		return
	}
	for n := c.owed.Load(); n > 0; n = c.owed.Load() {
		if c.owed.CompareAndSwap(n, n-1) {
			break
		}
	}
	select {
	case c.paid <- struct{}{}:
	default:
	}
}

// keepAlive takes the CRLFs between messages and answers a ping (RFC 5626 section 4.4.1).
func (c *conn) keepAlive() bool {
	for len(c.buf) >= 2 && c.buf[0] == '\r' && c.buf[1] == '\n' {
		c.buf = c.buf[2:]
		if c.blanks++; c.blanks%2 == 0 {
			ip, now := bare(c.remote.Addr()), time.Now()
			if s := c.edge.gate.standingOf(ip, now); s == stranger || !c.edge.gate.paced(ip, s, now) {
				return false
			}
			if _, err := c.send([]byte("\r\n")); err != nil {
				return false
			}
		}
	}
	if len(c.buf) > 0 && c.buf[0] != '\r' {
		c.blanks = 0
	}
	return true
}

// refuse answers a message whose end cannot be found; there is no going on after it.
func (c *conn) refuse(why error, head int) {
	g := c.edge.gate
	s := g.standingOf(bare(c.remote.Addr()), time.Now())
	if errors.Is(why, errTooLarge) {
		g.drops.large.Add(1)
	}
	if s == stranger || s == knocker || head == 0 {
		g.garbage(bare(c.remote.Addr()), s)
		return
	}
	g.drops.refused.Add(1)
	g.tell(true, c.transport, c.local, c.remote, c.buf[:head])
	if answer := refuseUnread(straighten(c.buf[:head], c.remote, false), c.remote); answer != nil {
		_, _ = c.send(answer) // the connection ends in any case
	}
}

// pause waits for tokens: a trunk over its rate is slowed down by its own connection.
func (c *conn) pause() bool {
	t := time.NewTimer(5 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.gone:
		return false
	}
}

// fill waits for more bytes. A message must come whole in time, however it dribbles; between messages a phone may be
// silent for long, but who has not logged in may not.
func (c *conn) fill() bool {
	limits := c.edge.limits
	deadline := time.Now().Add(limits.Idle)
	if len(c.buf) > 0 {
		deadline = c.begun.Add(limits.Message)
	} else if c.dialled {
		deadline = time.Now().Add(limits.KeepAlive)
	}
	switch c.edge.gate.standingOf(bare(c.remote.Addr()), time.Now()) {
	case stranger:
		return false
	case knocker:
		if last := c.opened.Add(limits.Login); last.Before(deadline) {
			deadline = last
		}
	}
	if err := c.SetReadDeadline(deadline); err != nil {
		return false
	}
	if len(c.buf) == 0 {
		c.begun = time.Now()
	}
	if c.room == nil {
		c.room = make([]byte, 4<<10)
	}
	n, err := c.Conn.Read(c.room)
	if len(c.buf) == 0 {
		c.begun = time.Now()
	}
	c.buf = append(c.buf, c.room[:n]...)
	if n > 0 {
		return true
	}
	var late net.Error
	if c.dialled && len(c.buf) == 0 && errors.As(err, &late) && late.Timeout() {
		_, err = c.send([]byte("\r\n\r\n")) // our ping keeps the way through a NAT open
		return err == nil
	}
	return err == nil
}

// Write sends one message of the stack's.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.send(p)
	if err == nil {
		c.pay(p)
	}
	return n, err
}

// send writes one message. A peer that does not read is hung up on: neither it nor those who wait behind it may hold
// more than one deadline.
func (c *conn) send(p []byte) (int, error) {
	select {
	case c.queue <- struct{}{}:
		defer func() { <-c.queue }()
	default:
		c.Close()
		return 0, errors.New("peer does not read")
	}
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.gone:
		return 0, net.ErrClosed
	}
	out := unlend(p)
	c.edge.gate.tell(false, c.transport, c.local, c.remote, out) // first, else the answer stands before it
	err := c.SetWriteDeadline(time.Now().Add(c.edge.limits.Write))
	if err == nil {
		_, err = c.Conn.Write(out)
	}
	if err != nil {
		c.Close() // half a message may be out
		return 0, err
	}
	return len(p), nil
}

// Close may be called often.
func (c *conn) Close() (err error) {
	c.goneOnce.Do(func() {
		close(c.gone)
		c.edge.forget(c)
		err = c.Conn.Close()
	})
	return err
}
