package media

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	drainQuiet = 30 * time.Second // a released pair is free after this long without a packet ...
	drainMost  = 10 * time.Minute // ... or after this long in any case
	drainSweep = 2 * time.Second
)

// Pair is two neighbouring ports: RTP on the even one, RTCP on the odd one above (RFC 3550 section 11).
type Pair struct {
	RTP, RTCP *net.UDPConn
	port      uint16
}

// Ports lends port pairs of a range. A released pair stays bound, and what still arrives is thrown away, until the old
// peer has been quiet for 30 s: otherwise the next call would hear the last one. When the range is used up the pair
// that has been quiet longest is taken early.
type Ports struct {
	ip       netip.Addr
	min, max int
	cancel   context.CancelFunc
	swept    chan struct{}

	mu       sync.Mutex
	next     int
	held     map[uint16]bool // bound by us, lent or drained: not worth an attempt
	drain    []*drained      // oldest release first
	closed   bool
	released chan struct{} // wakes the sweeper
}

type drained struct {
	*Pair
	since time.Time // released
	heard time.Time // last packet
}

// NewPorts lends pairs on ip between min and max, both included; 0, 0 = any free ports of the system.
func NewPorts(ip netip.Addr, min, max int) *Ports {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Ports{ip: ip, min: (min + 1) &^ 1, max: max, cancel: cancel,
		held: map[uint16]bool{}, swept: make(chan struct{}), released: make(chan struct{}, 1)}
	if n := p.size(); n > 0 {
		p.next = rand.IntN(n)
	}
	go p.sweep(ctx)
	return p
}

// IP is the address the pairs are bound to.
func (p *Ports) IP() netip.Addr { return p.ip }

// size is how many pairs the range has.
func (p *Ports) size() int {
	if p.max <= 0 {
		return 0
	}
	return (p.max - p.min + 1) / 2
}

// Open lends a pair: a random start, then linear. ErrNoPorts when all are in use.
func (p *Ports) Open() (*Pair, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	if p.max <= 0 {
		return p.openAny()
	}
	for range p.size() {
		if len(p.held) == p.size() {
			break
		}
		port := p.min + 2*p.next
		p.next = (p.next + 1) % p.size()
		if p.held[uint16(port)] {
			continue
		}
		if pair, err := p.bind(port); err == nil {
			return pair, nil
		}
	}
	return p.reuse()
}

// openAny asks the system for a port until it is even and its neighbour is free.
func (p *Ports) openAny() (*Pair, error) {
	for range 200 {
		c, err := p.listen(0)
		if err != nil {
			return nil, fmt.Errorf("media port: %w", err)
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		_ = c.Close()
		if pair, err := p.bind(port &^ 1); err == nil {
			return pair, nil
		}
	}
	return p.reuse()
}

func (p *Ports) listen(port int) (*net.UDPConn, error) {
	network := "udp6"
	if p.ip.Is4() { // 0.0.0.0 with "udp" would be a socket of both families, with addresses mapped to and fro
		network = "udp4"
	}
	return net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.ip, uint16(port))))
}

// bind takes a port and the one above. The lock is held.
func (p *Ports) bind(port int) (*Pair, error) {
	rtp, err := p.listen(port)
	if err != nil {
		return nil, err
	}
	rtcp, err := p.listen(port + 1)
	if err != nil {
		_ = rtp.Close()
		return nil, err
	}
	p.held[uint16(port)] = true
	return &Pair{RTP: rtp, RTCP: rtcp, port: uint16(port)}, nil
}

// reuse takes the drained pair that has been quiet longest. The lock is held.
func (p *Ports) reuse() (*Pair, error) {
	best := -1
	for i, d := range p.drain {
		if best < 0 || d.heard.Before(p.drain[best].heard) {
			best = i
		}
	}
	if best < 0 {
		return nil, ErrNoPorts
	}
	pair := p.drain[best].Pair
	p.drain = append(p.drain[:best], p.drain[best+1:]...)
	empty(pair.RTP)
	empty(pair.RTCP)
	if err := errors.Join(pair.RTP.SetReadDeadline(time.Time{}), pair.RTCP.SetReadDeadline(time.Time{})); err != nil {
		return nil, fmt.Errorf("media port: %w", err)
	}
	return pair, nil
}

// Release gives a pair back. Its readers must have ended.
func (p *Ports) Release(pair *Pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		pair.close()
		return
	}
	now := time.Now()
	p.drain = append(p.drain, &drained{Pair: pair, since: now, heard: now})
	select {
	case p.released <- struct{}{}:
	default:
	}
}

// Close frees the drained pairs; pairs still lent are closed when they are released.
func (p *Ports) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, d := range p.drain {
		d.close()
	}
	p.drain = nil
	p.mu.Unlock()
	p.cancel()
	<-p.swept
	return nil
}

// sweep empties the drained pairs every 2 s and frees the quiet ones; with none it sleeps.
func (p *Ports) sweep(ctx context.Context) {
	defer close(p.swept)
	tick := time.NewTicker(drainSweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.released:
		}
		for p.sweepOnce(time.Now()) > 0 {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// sweepOnce returns how many pairs are still being drained.
func (p *Ports) sweepOnce(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.drain[:0]
	for _, d := range p.drain {
		rtp, rtcp := empty(d.RTP), empty(d.RTCP)
		if rtp || rtcp {
			d.heard = now
		}
		if now.Sub(d.heard) >= drainQuiet || now.Sub(d.since) >= drainMost {
			d.close()
			delete(p.held, d.port)
			continue
		}
		kept = append(kept, d)
	}
	clear(p.drain[len(kept):])
	p.drain = kept
	return len(kept)
}

// empty throws away what waits in a socket and says whether there was any.
func empty(c *net.UDPConn) (some bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	// A read deadline in the past, set to stop the reader, would fail RawConn.Read; Control does not ask for it.
	_ = raw.Control(func(fd uintptr) {
		for range 1000 {
			if _, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_DONTWAIT); err != nil {
				return
			}
			some = true
		}
	})
	return some
}

func (p *Pair) close() {
	_ = p.RTP.Close()
	_ = p.RTCP.Close()
}
