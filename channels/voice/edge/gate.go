package edge

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"golang.org/x/time/rate"
)

const (
	maxDatagram   = 16 << 10 // longer than any honest SIP message
	perIPRate     = 4000     // messages a second from one trunk address
	perIPBurst    = 8000
	maxGateStates = 4096 // buckets kept; idle ones are thrown away first
)

// gate is the UDP socket that sipgo reads from. It drops what nobody should answer before sipgo sees it (sipgo keeps
// every source address for its listener's life), answers 400 for what sipgo's parser would drop without a word, and
// straightens what sipgo reads too strictly. ReadFrom is called by sipgo's one reader goroutine only.
type gate struct {
	*net.UDPConn
	policy  *atomic.Pointer[Policy]
	log     *slog.Logger
	parser  *sip.Parser
	buckets map[netip.Addr]*bucket
	shout   *rate.Limiter // log lines about what was dropped
	drops   dropCounts
	deaf    atomic.Bool // the end is near: drop everything
	closed  atomic.Bool
}

// dropCounts says why datagrams never reached sipgo.
type dropCounts struct {
	foreign, flooded, large, garbage, refused atomic.Int64
}

type bucket struct {
	tokens float64
	at     time.Time
}

// ReadFrom returns the next datagram that sipgo may see. A trusted source's unreadable request is answered here.
func (g *gate) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, src, err := g.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return 0, nil, err
			}
			// An ICMP error of an earlier send, or the like: the listener must outlive it.
			g.complain("sip read", "err", err)
			continue
		}
		if g.deaf.Load() {
			continue
		}
		ip := src.Addr().Unmap()
		if !g.trusted(ip) {
			g.drops.foreign.Add(1)
			continue
		}
		if n > maxDatagram {
			g.drops.large.Add(1)
			continue
		}
		if !g.spend(ip, time.Now()) {
			g.drops.flooded.Add(1)
			g.complain("sip flood", "ip", ip)
			continue
		}
		out := g.admit(b[:n], src)
		if out == nil {
			continue
		}
		return copy(b, out), net.UDPAddrFromAddrPort(src), nil
	}
}

// admit returns the datagram to hand on, nil when it ends here.
func (g *gate) admit(p []byte, src netip.AddrPort) []byte {
	switch firstToken(p) {
	case tokenNone:
		if len(p) > 4 { // shorter ones are keep-alives
			g.drops.garbage.Add(1)
		}
		return nil
	case tokenStatus:
		if !g.parses(p) {
			g.drops.garbage.Add(1)
			return nil
		}
		return p
	}
	p = straighten(p, src)
	if g.parses(p) {
		return p
	}
	g.drops.refused.Add(1)
	if answer := refuseUnread(p, src); answer != nil {
		if _, err := g.UDPConn.WriteToUDPAddrPort(answer, src); err != nil {
			g.complain("sip refuse", "err", err)
		}
	}
	return nil
}

// parses tells whether sipgo's parser takes p. A panic of the parser counts as no: sipgo would not survive it.
func (g *gate) parses(p []byte) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			g.complain("sip parser panic", "panic", r)
			ok = false
		}
	}()
	_, err := g.parser.ParseSIP(p)
	return err == nil
}

// WriteTo sends, without the From tag that straighten lent to an RFC 2543 request.
func (g *gate) WriteTo(p []byte, addr net.Addr) (int, error) {
	out := unlend(p)
	if len(out) == len(p) {
		return g.UDPConn.WriteTo(p, addr)
	}
	if _, err := g.UDPConn.WriteTo(out, addr); err != nil {
		return 0, err
	}
	return len(p), nil // sipgo compares with what it handed in
}

func (g *gate) trusted(ip netip.Addr) bool {
	return g.policy.Load().Trusts(ip)
}

// spend takes one token from the address's bucket.
func (g *gate) spend(ip netip.Addr, now time.Time) bool {
	b := g.buckets[ip]
	if b == nil {
		if len(g.buckets) >= maxGateStates {
			g.forget(now)
		}
		b = &bucket{tokens: perIPBurst, at: now}
		g.buckets[ip] = b
	}
	b.tokens = min(perIPBurst, b.tokens+now.Sub(b.at).Seconds()*perIPRate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// forget throws away buckets that are full again, and all of them when that frees nothing.
func (g *gate) forget(now time.Time) {
	for ip, b := range g.buckets {
		if now.Sub(b.at).Seconds()*perIPRate >= perIPBurst {
			delete(g.buckets, ip)
		}
	}
	if len(g.buckets) >= maxGateStates {
		clear(g.buckets)
	}
}

func (g *gate) complain(msg string, args ...any) {
	if g.shout.Allow() {
		g.log.Warn(msg, args...)
	}
}
