// Package edge is the wire of SIP: the sockets, and everything that must happen before a message may reach the SIP stack.
//
//	socket -> gate (who may be heard, how often) -> straighten -> sipgo's parser -> handlers -> Validate
//	                                                    |
//	                                   unreadable: a stateless answer from the raw bytes
//
// sipgo reads from our sockets, never from its own: it keeps every source address that it has seen, drops without a word
// what its parser refuses, and a read filter of its own would end a listener (traps 4, 5 and 9 of the handbook).
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"golang.org/x/time/rate"
)

const socketBuffer = 4 << 20 // the default 208 kB loses calls under load

// Config is what an edge needs.
type Config struct {
	Listen []Listen // at least one
	Policy Policy
	Log    *slog.Logger
}

// Listen names one socket.
type Listen struct {
	Transport string // "udp"
	Addr      string // "0.0.0.0:5060", "[::]:5060", ":5060" (IPv4)
}

// Policy says whom we hear. Everybody else gets no answer to anything.
type Policy struct {
	Trusted []netip.Prefix // trunks
}

// Trusts tells whether an address is a trunk's.
func (p *Policy) Trusts(ip netip.Addr) bool {
	for _, prefix := range p.Trusted {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// Edge is the open sockets and their gate.
type Edge struct {
	log    *slog.Logger
	policy atomic.Pointer[Policy]
	gates  []*gate

	closeOnce sync.Once
	closeErr  error
}

// setBigUDP: sipgo refuses UDP messages over UDPMTUSize-200 instead of changing to TCP; SDP with many Record-Routes
// passes its default.
var setBigUDP sync.Once

// Open binds the sockets, so that a port in use is known at the start. Serve serves, Close gives everything back.
func Open(cfg Config) (*Edge, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	setBigUDP.Do(func() { sip.UDPMTUSize = 9000 })
	e := &Edge{log: cfg.Log}
	e.SetPolicy(cfg.Policy)
	if len(cfg.Listen) == 0 {
		return nil, errors.New("sip: no address to listen to")
	}
	for _, l := range cfg.Listen {
		if err := e.listen(l); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return e, nil
}

func (e *Edge) listen(l Listen) error {
	if l.Transport != "udp" {
		return fmt.Errorf("sip address %s: transport %q, expected udp", l.Addr, l.Transport)
	}
	addr, err := net.ResolveUDPAddr("udp", l.Addr)
	if err != nil {
		return fmt.Errorf("sip address: %w", err)
	}
	network := "udp4" // one family each: with both on one socket, addresses come mapped
	if addr.IP != nil && addr.IP.To4() == nil {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, addr)
	if err != nil {
		return fmt.Errorf("sip listen: %w", err)
	}
	// The kernel may give less (net.core.rmem_max); that is worth a line, not a refusal.
	if err := conn.SetReadBuffer(socketBuffer); err != nil {
		e.log.Warn("sip socket buffer", "err", err)
	}
	e.gates = append(e.gates, &gate{UDPConn: conn, policy: &e.policy, log: e.log, parser: sip.NewParser(),
		buckets: make(map[netip.Addr]*bucket), shout: rate.NewLimiter(1, 5)})
	return nil
}

// SetPolicy changes whom we hear from now on.
func (e *Edge) SetPolicy(p Policy) { e.policy.Store(&p) }

// Addr is where the first listener of a transport hears; the zero value when there is none.
func (e *Edge) Addr(transport string) netip.AddrPort {
	if strings.ToLower(transport) != "udp" || len(e.gates) == 0 {
		return netip.AddrPort{}
	}
	return e.gates[0].LocalAddr().(*net.UDPAddr).AddrPort()
}

// Serve has srv read from our sockets until ctx ends or Close; a listener that ends by itself is an error.
func (e *Edge) Serve(ctx context.Context, srv *sipgo.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		readers sync.WaitGroup
		failed  = make(chan error, len(e.gates))
	)
	for _, g := range e.gates {
		readers.Go(func() {
			err := srv.ServeUDP(g)
			if !g.closed.Load() {
				failed <- errors.Join(errors.New("sip listener ended"), err)
			}
			cancel()
		})
	}
	<-ctx.Done()
	err := e.Close()
	readers.Wait()
	close(failed)
	for f := range failed {
		err = errors.Join(err, f)
	}
	return err
}

// Deafen drops all that comes from now on: the end is near, and sipgo's goroutines must not find new work.
func (e *Edge) Deafen() {
	for _, g := range e.gates {
		g.deaf.Store(true)
	}
}

// Close closes the sockets. It may be called twice.
func (e *Edge) Close() error {
	e.closeOnce.Do(func() {
		var errs []error
		for _, g := range e.gates {
			g.closed.Store(true)
			errs = append(errs, g.Close())
		}
		e.closeErr = errors.Join(errs...)
	})
	return e.closeErr
}

// Counts says what became of the messages that never reached the stack.
type Counts struct {
	Foreign int64 // from nobody we hear
	Flooded int64 // over the rate
	Large   int64
	Garbage int64 // not SIP
	Refused int64 // unreadable, answered from the raw bytes
}

// Counts since Open.
func (e *Edge) Counts() Counts {
	var c Counts
	for _, g := range e.gates {
		c.Foreign += g.drops.foreign.Load()
		c.Flooded += g.drops.flooded.Load()
		c.Large += g.drops.large.Load()
		c.Garbage += g.drops.garbage.Load()
		c.Refused += g.drops.refused.Load()
	}
	return c
}
