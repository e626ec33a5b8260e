package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// hall is where sipgo takes connections from: those that were accepted and those that we dialled, which sipgo would dial
// without our limits and without the name that the certificate must have.
type hall struct {
	addr   net.Addr
	conns  chan *conn
	closed chan struct{}
}

func (h *hall) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *hall) Addr() net.Addr { return h.addr }
func (h *hall) Close() error   { return nil } // the edge closes

// bring hands a connection to sipgo.
func (h *hall) bring(ctx context.Context, c *conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.closed:
	case <-c.gone:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return net.ErrClosed
}

// accept takes connections from one socket until it is closed.
func (e *Edge) accept(ctx context.Context, l *net.TCPListener, transport string) error {
	var greeting sync.WaitGroup
	defer greeting.Wait()
	for {
		raw, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors, or gone before we came
			e.gate.complain("sip accept", "err", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		var wire net.Conn = raw
		if transport == "tls" {
			wire = tls.Server(raw, e.serverTLS)
		}
		c := e.newConn(wire, transport, false)
		if !e.enter(c) {
			_ = raw.SetLinger(0) // a stranger leaves nothing behind, not even a closing socket
			raw.Close()
			continue
		}
		greeting.Go(func() {
			if c.greet(ctx) != nil || e.halls[transport].bring(ctx, c) != nil {
				c.Close()
			}
		})
	}
}

// greet shakes hands where the transport wants that.
func (c *conn) greet(ctx context.Context) error {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.edge.limits.Message)
	defer cancel()
	return secure.HandshakeContext(ctx)
}

// enter notes a connection, unless there are too many or nobody hears its peer.
func (e *Edge) enter(c *conn) bool {
	ip, now := bare(c.remote.Addr()), time.Now()
	s := e.gate.standingOf(ip, now)
	if !c.dialled {
		if s == stranger {
			e.gate.drops.foreign.Add(1)
			return false
		}
		if e.gate.deaf.Load() || !e.gate.paced(ip, s, now) {
			return false
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	of := oneOf(ip)
	full := len(e.conns) >= e.limits.Conns || e.perIP[of] >= e.limits.ConnsPerIP
	if s == trunk { // whatever others hold, a trunk gets through
		full = e.perIP[of] >= e.limits.ConnsPerTrunk
	}
	if e.ended || full && !c.dialled {
		return false
	}
	e.conns[connKey{c.transport, c.remote}] = c
	e.perIP[of]++
	return true
}

func (e *Edge) forget(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key, of := connKey{c.transport, c.remote}, oneOf(bare(c.remote.Addr()))
	if e.conns[key] != c {
		return
	}
	delete(e.conns, key)
	if e.perIP[of]--; e.perIP[of] == 0 {
		delete(e.perIP, of)
	}
}

type connKey struct {
	transport string
	remote    netip.AddrPort
}

// Connect gives the stack a connection to a hop by TCP or TLS: the one there is, or a new one. By TLS the peer must prove
// to be hop.Name.
func (e *Edge) Connect(ctx context.Context, hop Hop) error {
	key := connKey{hop.Transport, hop.Addr}
	for {
		e.mu.Lock()
		c, busy := e.conns[key], e.dialling[key]
		if c == nil && busy == nil {
			busy = make(chan struct{})
			e.dialling[key] = busy
			e.mu.Unlock()
			err := e.dial(ctx, hop)
			e.mu.Lock()
			delete(e.dialling, key)
			e.mu.Unlock()
			close(busy)
			return err
		}
		e.mu.Unlock()
		if c != nil {
			return c.await(ctx)
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// await waits until sipgo knows the connection.
func (c *conn) await(ctx context.Context) error {
	select {
	case <-c.known:
		return nil
	case <-c.gone:
		return net.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *Edge) dial(ctx context.Context, hop Hop) error {
	h := e.halls[hop.Transport]
	if h == nil {
		return fmt.Errorf("sip connect: transport %q, expected tcp or tls", hop.Transport)
	}
	ctx, cancel := context.WithTimeout(ctx, e.limits.Dial)
	defer cancel()
	var d net.Dialer
	if local := e.AddrFor(hop.Transport, hop.Addr.Addr()); local.IsValid() && !local.Addr().IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local.Addr(), 0))
	}
	raw, err := d.DialContext(ctx, "tcp", hop.Addr.String())
	if err != nil {
		return fmt.Errorf("sip connect: %w", err)
	}
	if hop.Transport == "tls" {
		conf := e.clientTLS.Clone()
		conf.ServerName = cmp.Or(strings.TrimSuffix(hop.Name, "."), hop.Addr.Addr().String())
		raw = tls.Client(raw, conf)
	}
	c := e.newConn(raw, hop.Transport, true)
	if !e.enter(c) {
		raw.Close()
		return fmt.Errorf("sip connect: %w", net.ErrClosed)
	}
	if err := c.greet(ctx); err != nil {
		c.Close()
		return fmt.Errorf("sip connect %s: %w", hop, err)
	}
	if err := h.bring(ctx, c); err != nil {
		c.Close()
		return fmt.Errorf("sip connect: %w", err)
	}
	return c.await(ctx)
}
