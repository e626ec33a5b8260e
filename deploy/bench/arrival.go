package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// The kernel says when a packet arrived at its socket (socket(7), SO_TIMESTAMPNS). So what is measured is the way through
// the server, and not how long a generator's own goroutines waited for these same cores.

const oobSize = 64

// stamped has the kernel put its time on every packet of a socket.
func stamped(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TIMESTAMPNS, 1)
	})
	if err == nil {
		err = refused
	}
	return err
}

// arrival reads that time, in nanoseconds since 1970, out of what came with the packet: a header of 16 bytes (length,
// level, type), then seconds and nanoseconds.
func arrival(oob []byte) int64 {
	if len(oob) >= 32 && int32(binary.NativeEndian.Uint32(oob[12:])) == syscall.SCM_TIMESTAMPNS {
		return int64(binary.NativeEndian.Uint64(oob[16:]))*1e9 + int64(binary.NativeEndian.Uint64(oob[24:]))
	}
	return time.Now().UnixNano()
}

// passages remembers when a browser's packets passed its socket, by their sequence number: it stands in the clear. Pion
// has the payload much earlier on the way out, and much later on the way in.
type passages struct{ in, out [256]atomic.Int64 }

// stampNet is pion's network with such sockets.
type stampNet struct {
	*stdnet.Net
	passages *passages
}

// ListenUDP is pion's.
func (n stampNet) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	return &stampConn{UDPConn: conn, passages: n.passages}, stamped(conn)
}

type stampConn struct {
	*net.UDPConn
	passages *passages
	oob      [oobSize]byte
}

// ReadFromAddrPort is what pion's ICE reads with; one goroutine does.
func (c *stampConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, m, _, from, err := c.ReadMsgUDPAddrPort(b, c.oob[:])
	if err == nil && isSound(b[:n]) {
		c.passages.in[binary.BigEndian.Uint16(b[2:])%256].Store(arrival(c.oob[:m]))
	}
	return n, from, err
}

// WriteToAddrPort goes with it.
func (c *stampConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if isSound(b) {
		c.passages.out[binary.BigEndian.Uint16(b[2:])%256].Store(time.Now().UnixNano())
	}
	return c.WriteToUDPAddrPort(b, to)
}

func isSound(b []byte) bool { return len(b) > 12 && b[0]>>6 == 2 && b[1]&0x7f == 0 }
