// Package edge is the wire of SIP: the sockets, and everything that must happen before a message may reach the SIP stack.
//
//	UDP socket ------------> datagram -+
//	TCP, TLS -> accept? ---> frame ----+--> gate: who, how often, what -> straighten -> sipgo -> handlers: Validate,
//	                                          |                                                  Authenticate
//	                                          +-> nothing; a challenge or a 400 made from the raw bytes; a ban
//
// sipgo reads from our sockets and connections, never from its own: it keeps every source that it has seen, has no limits
// on streams, drops without a word what its parser refuses, and its read filter would end a listener (traps 4, 5, 9 and 12
// of the handbook). It must not dial either: Options forbids it, Route and Connect do it within our limits.
//
// Trunks are known by address. Phones log in: where Policy.Phones lets them come from, a REGISTER or an INVITE is
// challenged by the gate itself, without state; an answer to that challenge reaches the handlers, who ask Authenticate;
// then the address may speak like any phone. Everybody else hears nothing.
package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// Config is what an edge needs.
type Config struct {
	Listen []Listen // at least one
	Policy Policy
	Digest *Digest       // nil: nobody can log in
	TLS    *tls.Config   // the certificate that we show; TLS 1.2 is the least
	Roots  *tls.Config   // how we check those whom we call by TLS; nil: the system's roots
	Trace  func(Message) // gets every message in and out; it must not block
	Limits Limits
	Log    *slog.Logger
}

// Listen names one socket.
type Listen struct {
	Transport string // "udp", "tcp", "tls"
	Addr      string // "0.0.0.0:5060", "[::]:5060"; ":5060" is IPv4
}

// Limits of streams; zero fields get the default.
type Limits struct {
	Conns         int           // of phones, in all: 2000
	ConnsPerIP    int           // of one phone's address: 20
	ConnsPerTrunk int           // of one trunk's address: 500
	Message       time.Duration // from a message's first byte to its last, and for the TLS handshake: 10 s
	Write         time.Duration // for one message to a peer that reads slowly: 5 s
	Login         time.Duration // for who must log in: 30 s
	Idle          time.Duration // between messages: 1 h
	KeepAlive     time.Duration // between our pings on connections that we dialled: 60 s
	Dial          time.Duration // 5 s
}

func (l Limits) withDefaults() Limits {
	l.Conns = cmp.Or(l.Conns, 2000)
	l.ConnsPerIP = cmp.Or(l.ConnsPerIP, 20)
	l.ConnsPerTrunk = cmp.Or(l.ConnsPerTrunk, 500)
	l.Message = cmp.Or(l.Message, 10*time.Second)
	l.Write = cmp.Or(l.Write, 5*time.Second)
	l.Login = cmp.Or(l.Login, 30*time.Second)
	l.Idle = cmp.Or(l.Idle, time.Hour)
	l.KeepAlive = cmp.Or(l.KeepAlive, time.Minute)
	l.Dial = cmp.Or(l.Dial, 5*time.Second)
	return l
}

// Policy says whom we hear. Everybody else gets no answer to anything.
type Policy struct {
	Trusted []netip.Prefix // trunks
	Phones  []netip.Prefix // from where REGISTER and INVITE with digest may come
	Domains []string       // what such a request may be for; none: any
	Source  []netip.Prefix // who is answered where they sent from, whatever their Via says (force rport)
}

// Trusts tells whether an address is a trunk's.
func (p *Policy) Trusts(ip netip.Addr) bool { return contains(p.Trusted, ip) }

// toSource tells whether an address is answered where it sent from: telephones sit behind routers.
func (p *Policy) toSource(ip netip.Addr) bool {
	return contains(p.Source, ip) || contains(p.Phones, ip) && !p.Trusts(ip)
}

func contains(list []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// ours tells whether a request line names a domain of ours.
func (p *Policy) ours(line string) bool {
	if len(p.Domains) == 0 {
		return true
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return false
	}
	var u sip.Uri
	return sip.ParseUri(fields[1], &u) == nil && slices.ContainsFunc(p.Domains, func(d string) bool { return strings.EqualFold(d, u.Host) })
}

// Edge is the open sockets and their gate.
type Edge struct {
	log       *slog.Logger
	limits    Limits
	gate      *gate
	serverTLS *tls.Config
	clientTLS *tls.Config
	udp       []*udpSocket
	listeners map[string][]*net.TCPListener
	halls     map[string]*hall
	closed    chan struct{}

	mu       sync.Mutex // guards the four below
	conns    map[connKey]*conn
	perIP    map[netip.Prefix]int
	dialling map[connKey]chan struct{}
	ended    bool

	closeOnce sync.Once
	closeErr  error
}

// tune sets what sipgo keeps in globals. It refuses UDP messages over UDPMTUSize-200 instead of changing to TCP; SDP with
// many Record-Routes passes its default. Its connections tell the default logger of each reference that they count.
var tune = sync.OnceFunc(func() {
	sip.UDPMTUSize = maxDatagram + 200
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// Open binds the sockets, so that a port in use is known at the start. Serve serves, Close gives everything back.
func Open(cfg Config) (*Edge, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	tune()
	e := &Edge{log: cfg.Log, limits: cfg.Limits.withDefaults(), gate: newGate(cfg), listeners: make(map[string][]*net.TCPListener),
		halls: make(map[string]*hall), closed: make(chan struct{}), conns: make(map[connKey]*conn), perIP: make(map[netip.Prefix]int),
		dialling: make(map[connKey]chan struct{})}
	e.serverTLS, e.clientTLS = atLeast12(cfg.TLS), atLeast12(cfg.Roots)
	if len(cfg.Listen) == 0 {
		return nil, errors.New("sip: no address to listen to")
	}
	for _, l := range cfg.Listen {
		if err := e.listen(l); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	for _, transport := range []string{"tcp", "tls"} {
		h := &hall{addr: &net.TCPAddr{IP: net.IPv4zero}, conns: make(chan *conn), closed: e.closed}
		if ls := e.listeners[transport]; len(ls) > 0 {
			h.addr = ls[0].Addr()
		}
		e.halls[transport] = h
	}
	return e, nil
}

func atLeast12(c *tls.Config) *tls.Config {
	if c == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

func (e *Edge) listen(l Listen) error {
	switch l.Transport {
	case "udp":
		s, err := openUDP(l.Addr, e.gate, e.log)
		if err != nil {
			return err
		}
		e.udp = append(e.udp, s)
		return nil
	case "tls":
		if c := e.serverTLS; len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
			return fmt.Errorf("sip address %s: tls needs a certificate", l.Addr)
		}
	case "tcp":
	default:
		return fmt.Errorf("sip address %s: transport %q, expected udp, tcp or tls", l.Addr, l.Transport)
	}
	at, err := net.ResolveTCPAddr("tcp", l.Addr)
	if err != nil {
		return fmt.Errorf("sip address: %w", err)
	}
	s, err := net.ListenTCP("tcp"+family(at.IP), at)
	if err != nil {
		return fmt.Errorf("sip listen: %w", err)
	}
	e.listeners[l.Transport] = append(e.listeners[l.Transport], s)
	return nil
}

// Options are for the user agent whose server Serve gets.
func Options() []sip.TransportLayerOption {
	dial := func(net.Addr) net.Dialer {
		return net.Dialer{Control: func(string, string, syscall.RawConn) error { return errNotDialled }}
	}
	return []sip.TransportLayerOption{sip.WithTransportLayerTransports(sip.TransportsConfig{
		TCP: &sip.TransportTCP{DialerCreate: dial},
		TLS: &sip.TransportTLS{TransportTCP: &sip.TransportTCP{DialerCreate: dial}},
	})}
}

var errNotDialled = errors.New("no connection; Route makes it")

// SetPolicy changes whom we hear from now on.
func (e *Edge) SetPolicy(p Policy) { e.gate.policy.Store(&p) }

// Addr is where the first listener of a transport hears; the zero value when there is none.
func (e *Edge) Addr(transport string) netip.AddrPort {
	if all := e.addrs(transport); len(all) > 0 {
		return all[0]
	}
	return netip.AddrPort{}
}

// AddrFor is where a peer's answer would reach us: the first listener of its family.
func (e *Edge) AddrFor(transport string, peer netip.Addr) netip.AddrPort {
	for _, a := range e.addrs(transport) {
		if a.Addr().Is4() == peer.Unmap().Is4() {
			return a
		}
	}
	return netip.AddrPort{}
}

func (e *Edge) addrs(transport string) (all []netip.AddrPort) {
	transport = strings.ToLower(transport)
	if transport == "udp" {
		for _, s := range e.udp {
			all = append(all, s.local)
		}
	}
	for _, l := range e.listeners[transport] {
		all = append(all, addrPort(l.Addr()))
	}
	return all
}

// Route readies a request of ours for a hop: transport, destination, our socket, and by TCP or TLS the connection. It
// returns the address to put into Via and Contact, as far as the socket knows it. Send with sipgo afterwards.
func (e *Edge) Route(ctx context.Context, req *sip.Request, hop Hop) (local netip.AddrPort, err error) {
	req.SetTransport(strings.ToUpper(hop.Transport))
	req.SetDestination(hop.Addr.String())
	req.Laddr = sip.Addr{} // by it sipgo would find some connection of that listener, not ours
	if hop.Transport != "udp" {
		return e.AddrFor(hop.Transport, hop.Addr.Addr()), e.Connect(ctx, hop)
	}
	for _, s := range e.udp {
		if s.local.Addr().Is4() == hop.Addr.Addr().Is4() {
			req.Laddr = sip.Addr{IP: s.local.Addr().AsSlice(), Port: int(s.local.Port())}
			return s.local, s.await(ctx)
		}
	}
	return local, fmt.Errorf("sip to %s: no socket of its family", hop)
}

// Serve has srv read from our sockets until ctx ends or Close; a listener that ends by itself is an error.
func (e *Edge) Serve(ctx context.Context, srv *sipgo.Server) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	part := func(run func() error) {
		parts.Go(func() {
			err := run()
			select {
			case <-e.closed:
			default:
				cancel(errors.Join(errors.New("sip listener ended"), err))
			}
		})
	}
	for _, s := range e.udp {
		part(func() error { return s.serve(srv) })
	}
	part(func() error { return srv.ServeTCP(e.halls["tcp"]) })
	part(func() error { return srv.ServeTLS(e.halls["tls"]) })
	for transport, listeners := range e.listeners {
		for _, l := range listeners {
			part(func() error { return e.accept(ctx, l, transport) })
		}
	}
	select {
	case <-ctx.Done():
	case <-e.closed:
	}
	err := e.Close()
	parts.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	return err
}

// Ban shuts an address out, longer each time. A trunk's is never banned, only slowed down.
func (e *Edge) Ban(ip netip.Addr, why Reason) { e.gate.ban(ip, why) }

// Unban forgives an address everything.
func (e *Edge) Unban(ip netip.Addr) {
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	e.gate.bans.lift(bare(ip))
}

// AuthFailed counts a failed login against an address. Its log line is what fail2ban reads.
func (e *Edge) AuthFailed(ip netip.Addr, user string) {
	e.log.Warn("auth failed", "ip", bare(ip), "user", user)
	e.gate.blame(ip, FailedLogin)
}

// Welcome lets an address speak like a telephone that has logged in: one of ours is known to be there, from our life before
// or by another node.
func (e *Edge) Welcome(ip netip.Addr) { e.gate.know(bare(ip)) }

// Deafen drops all that comes from now on: the end is near, and sipgo's goroutines must not find new work.
func (e *Edge) Deafen() { e.gate.deaf.Store(true) }

// Close closes the sockets and connections. It may be called twice.
func (e *Edge) Close() error {
	e.closeOnce.Do(func() {
		close(e.closed)
		var errs []error
		for _, s := range e.udp {
			errs = append(errs, s.close())
		}
		for _, listeners := range e.listeners {
			for _, l := range listeners {
				errs = append(errs, l.Close())
			}
		}
		e.mu.Lock()
		e.ended = true
		var open []*conn
		for _, c := range e.conns {
			open = append(open, c)
		}
		e.mu.Unlock()
		for _, c := range open {
			c.Close() // what the peer has closed before is no error of ours
		}
		e.closeErr = errors.Join(errs...)
	})
	return e.closeErr
}

// Counts are figures since Open, for metrics.
type Counts struct {
	Foreign    int64 // from nobody we hear
	FromBanned int64
	Flooded    int64 // over the rate
	Large      int64
	Garbage    int64 // not SIP
	Refused    int64 // unreadable, answered from the raw bytes
	Challenged int64 // by the gate, without state

	Bans   map[Reason]int64
	Banned int // now
	Phones int // addresses that have logged in
	Conns  int // by TCP and TLS
}

// Counts are taken at once.
func (e *Edge) Counts() Counts {
	g := e.gate
	c := Counts{Foreign: g.drops.foreign.Load(), FromBanned: g.drops.banned.Load(), Flooded: g.drops.flooded.Load(),
		Large: g.drops.large.Load(), Garbage: g.drops.garbage.Load(), Refused: g.drops.refused.Load(), Challenged: g.drops.challenged.Load(),
		Bans: make(map[Reason]int64)}
	g.mu.Lock()
	for why, n := range g.bans.now {
		c.Bans[why] = n
	}
	c.Banned, c.Phones = g.bans.count(time.Now()), len(g.phones)
	g.mu.Unlock()
	e.mu.Lock()
	c.Conns = len(e.conns)
	e.mu.Unlock()
	return c
}
