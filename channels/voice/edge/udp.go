package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo"
)

const (
	socketBuffer = 4 << 20 // the default 208 kB loses calls under load
	maxSources   = 4096    // of one reader: sipgo keeps each for the reader's life
	readerRetire = 5 * time.Second
)

// udpSocket is one bound UDP socket.
type udpSocket struct {
	*net.UDPConn
	gate   *gate
	local  netip.AddrPort
	closed chan struct{}

	known     chan struct{} // closed when sipgo reads: from then on it sends by this socket
	knownOnce sync.Once
}

func openUDP(addr string, g *gate, log *slog.Logger) (*udpSocket, error) {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("sip address: %w", err)
	}
	conn, err := net.ListenUDP("udp"+family(at.IP), at)
	if err != nil {
		return nil, fmt.Errorf("sip listen: %w", err)
	}
	// The kernel may give less (net.core.rmem_max); that is worth a line, not a refusal.
	if err := conn.SetReadBuffer(socketBuffer); err != nil {
		log.Warn("sip socket buffer", "err", err)
	}
	return &udpSocket{UDPConn: conn, gate: g, local: conn.LocalAddr().(*net.UDPAddr).AddrPort(), closed: make(chan struct{}), known: make(chan struct{})}, nil
}

// family: a socket has one; with both on one, addresses come mapped. Without an address it is IPv4.
func family(ip net.IP) string {
	if ip != nil && ip.To4() == nil {
		return "6"
	}
	return "4"
}

// serve has sipgo read until the socket is closed. sipgo remembers all sources of a listener until that listener ends;
// so a reader that has seen many is followed by another over the same socket, and ends when the other has taken over.
func (s *udpSocket) serve(srv *sipgo.Server) error {
	var readers sync.WaitGroup
	defer readers.Wait()
	for {
		r := &udpReader{udpSocket: s, sources: make(map[netip.AddrPort]struct{}), full: make(chan struct{})}
		ended := make(chan error, 1)
		readers.Go(func() { ended <- srv.ServeUDP(r) })
		select {
		case <-r.full:
		case err := <-ended:
			return err
		}
	}
}

// await waits until sipgo knows the socket; before, it would open one of its own.
func (s *udpSocket) await(ctx context.Context) error {
	select {
	case <-s.known:
		return nil
	case <-s.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// WriteTo sends, without the From tag that straighten lent to an RFC 2543 request.
func (s *udpSocket) WriteTo(p []byte, addr net.Addr) (int, error) {
	out := unlend(p)
	if to, ok := addr.(*net.UDPAddr); ok { // first, else the answer stands before it
		at := to.AddrPort()
		s.gate.tell(false, "udp", s.local, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), out)
	}
	if _, err := s.UDPConn.WriteTo(out, addr); err != nil {
		return 0, err
	}
	return len(p), nil // sipgo compares with what it handed in
}

func (s *udpSocket) close() error {
	close(s.closed)
	return s.UDPConn.Close()
}

// udpReader is what sipgo reads from. ReadFrom is called by one goroutine only.
type udpReader struct {
	*udpSocket
	sources map[netip.AddrPort]struct{}
	full    chan struct{} // closed when the next reader is to begin
}

// ReadFrom returns the next datagram that sipgo may see. What is answered without it is answered here.
func (r *udpReader) ReadFrom(b []byte) (int, net.Addr, error) {
	r.knownOnce.Do(func() { close(r.known) })
	if len(r.sources) > maxSources {
		return r.retire()
	}
	for {
		n, src, err := r.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return 0, nil, err
			}
			// An ICMP error of an earlier send, or the like: the listener must outlive it.
			r.gate.complain("sip read", "err", err)
			continue
		}
		v := r.gate.admit(b[:n], src, true)
		if v.pass == nil && v.answer == nil {
			continue
		}
		r.gate.tell(true, "udp", r.local, src, b[:n])
		if v.answer != nil {
			if _, err := r.WriteTo(v.answer, net.UDPAddrFromAddrPort(src)); err != nil {
				r.gate.complain("sip refuse", "err", err)
			}
			continue
		}
		r.sources[src] = struct{}{}
		return copy(b, v.pass), net.UDPAddrFromAddrPort(src), nil
	}
}

// retire hands over, and stays until answers to what was read here have found their way.
func (r *udpReader) retire() (int, net.Addr, error) {
	close(r.full)
	quiet := time.NewTimer(readerRetire)
	defer quiet.Stop()
	select {
	case <-quiet.C:
	case <-r.closed:
	}
	return 0, nil, net.ErrClosed
}
