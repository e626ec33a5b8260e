package webleg

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// capped is a TCP listener for strangers: so many connections in all and of one address, each with a limit for its
// silence, and none left when it is closed.
type capped struct {
	net.Listener
	total, perIP int

	mu     sync.Mutex
	conns  map[*cappedConn]struct{}
	byIP   map[string]int
	closed bool
}

const tcpSilence = 2 * time.Minute // browsers check their path each few seconds

func newCapped(l net.Listener, total, perIP int) *capped {
	return &capped{Listener: l, total: total, perIP: perIP, conns: map[*cappedConn]struct{}{}, byIP: map[string]int{}}
}

// Accept hangs up on who is one too many, and waits for the next.
func (l *capped) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.enter(conn); c != nil {
			return c, nil
		}
		_ = conn.Close()
	}
}

func (l *capped) enter(conn net.Conn) *cappedConn {
	ip, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	c := &cappedConn{Conn: conn, list: l, ip: ip}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.conns) >= l.total || l.byIP[ip] >= l.perIP {
		return nil
	}
	l.conns[c] = struct{}{}
	l.byIP[ip]++
	return c
}

// Close ends the listener and every connection of it.
func (l *capped) Close() error {
	l.mu.Lock()
	l.closed = true
	for c := range l.conns {
		_ = c.Conn.Close()
	}
	l.mu.Unlock()
	return l.Listener.Close()
}

type cappedConn struct {
	net.Conn
	list    *capped
	ip      string
	limited atomic.Bool // its reader has set a limit of its own
	once    sync.Once
}

func (c *cappedConn) SetReadDeadline(t time.Time) error {
	c.limited.Store(!t.IsZero())
	return c.Conn.SetReadDeadline(t)
}

func (c *cappedConn) Read(b []byte) (int, error) {
	if !c.limited.Load() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(tcpSilence))
	}
	return c.Conn.Read(b)
}

func (c *cappedConn) Close() error {
	c.once.Do(func() {
		c.list.mu.Lock()
		defer c.list.mu.Unlock()
		delete(c.list.conns, c)
		if c.list.byIP[c.ip]--; c.list.byIP[c.ip] <= 0 {
			delete(c.list.byIP, c.ip)
		}
	})
	return c.Conn.Close()
}
