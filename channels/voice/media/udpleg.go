package media

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a SIP leg needs to know.
type Config struct {
	Ports  *Ports
	Pacer  *Pacer
	Remote Remote // from the peer's SDP; the zero value when it has not come yet (delayed offer)
	Latch  LatchMode
	OnDTMF func(digit byte) // see LegConfig
	InBand bool             // see LegConfig
	Log    *slog.Logger
}

// Remote is what the other side's SDP said about its media.
type Remote struct {
	Addr   netip.AddrPort // c= and m=; an unspecified address (0.0.0.0, old style hold) = send nothing
	RTCP   netip.AddrPort // a=rtcp; zero = the port above Addr's
	Mux    bool           // a=rtcp-mux: RTCP goes where RTP goes
	Format Format
}

// UDPLeg is a leg on its own pair of UDP ports: RTP to and from a SIP peer.
type UDPLeg struct {
	*Leg
	ports *Ports
	pair  *Pair
	log   *slog.Logger

	target    atomic.Pointer[netip.AddrPort] // where packets go, nil = nowhere
	malformed atomic.Uint64
	forged    atomic.Uint64

	securing sync.Mutex // one change of the two at a time
	cipher   atomic.Pointer[cipher]
	dtls     atomic.Pointer[association]

	mu       sync.Mutex
	latch    latch
	story    []LatchEvent
	refusals int // of them
	rtcp     netip.AddrPort
	mux      bool
	since    time.Time // SDPSent
	heard    senderReport

	closing atomic.Bool
	done    sync.WaitGroup
	once    sync.Once
}

// NewUDPLeg binds a pair of ports and starts reading. Nothing is heard before SDPSent.
func NewUDPLeg(cfg Config) (*UDPLeg, error) {
	pair, err := cfg.Ports.Open()
	if err != nil {
		return nil, err
	}
	l := &UDPLeg{ports: cfg.Ports, pair: pair, log: cfg.Log, latch: latch{mode: cfg.Latch}}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.Leg = NewLeg(LegConfig{
		Format: cfg.Remote.Format, Pacer: cfg.Pacer, OnDTMF: cfg.OnDTMF, InBand: cfg.InBand, Send: l.send,
	})
	l.SetRemote(cfg.Remote)
	l.done.Add(2)
	go l.read()
	go l.control()
	return l, nil
}

// LocalAddr is the address and even port to announce (apart from an external address the caller may know better).
func (l *UDPLeg) LocalAddr() netip.AddrPort {
	return netip.AddrPortFrom(l.ports.IP(), l.pair.port)
}

// SetRemote takes the peer's SDP: the first one, when it comes late, or a new one (re-INVITE, UPDATE). A changed
// address ends the latch. Call SDPSent when the answer is out.
func (l *UDPLeg) SetRemote(r Remote) {
	l.SetFormat(r.Format)
	if !r.RTCP.IsValid() && r.Addr.Port() != 0 {
		r.RTCP = netip.AddrPortFrom(r.Addr.Addr(), r.Addr.Port()+1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rtcp, l.mux = r.RTCP, r.Mux
	l.latch.announce(r.Addr)
	l.aim(time.Now())
}

// SDPSent says that an SDP of ours with this leg's address is out (183, 200, or the answer to a re-INVITE): from now
// packets are taken, and for 5 s the latch may take a source other than the announced one.
func (l *UDPLeg) SDPSent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.since.IsZero() {
		l.since = now
	}
	l.latch.sdpSent(now)
}

// Silent is how long nothing was heard: since the last packet, or since SDPSent when none ever came; heard tells the
// two apart. The call ends after its own limits (30 s never heard, 60 s later, not while held).
func (l *UDPLeg) Silent() (d time.Duration, heard bool) {
	l.mu.Lock()
	since := l.since
	l.mu.Unlock()
	last := l.Leg.Stats().LastPacket
	switch {
	case !last.IsZero():
		return time.Since(last), true
	case !since.IsZero():
		return time.Since(since), false
	}
	return 0, false
}

// Stats adds what only a UDP leg can count.
func (l *UDPLeg) Stats() Stats {
	s := l.Leg.Stats()
	s.Malformed, s.Unauthenticated = l.malformed.Load(), l.forged.Load()
	return s
}

// Close stops reading and sending and gives the ports back to be drained. It may be called twice.
func (l *UDPLeg) Close() error {
	l.once.Do(func() {
		l.CloseOutput()
		l.Swap(Discard)
		l.closing.Store(true)
		l.securing.Lock()
		l.endDTLS()
		l.securing.Unlock()
		past := time.Unix(1, 0)
		_ = l.pair.RTP.SetReadDeadline(past)
		_ = l.pair.RTCP.SetReadDeadline(past)
		l.done.Wait()
		l.ports.Release(l.pair)
	})
	return nil
}

// aim stores the address packets go to. The lock is held.
func (l *UDPLeg) aim(now time.Time) {
	t := l.latch.target()
	old := l.target.Load()
	switch {
	case !t.IsValid() && old == nil, old != nil && *old == t:
		return
	case !t.IsValid():
		l.target.Store(nil)
	default:
		l.target.Store(&t)
	}
	e := LatchEvent{At: now, To: t, Why: l.latch.why}
	if old != nil {
		e.From = *old
	}
	l.note(e)
}

var errNoTarget = errors.New("no address to send to")

func (l *UDPLeg) send(b []byte) error {
	to := l.target.Load()
	if to == nil {
		return errNoTarget
	}
	if c := l.cipher.Load(); c != nil {
		var err error
		if b, err = c.sealRTP(b); err != nil {
			return err
		}
	}
	_, err := l.pair.RTP.WriteToUDPAddrPort(b, *to)
	return err
}

// read is the leg's one reader.
func (l *UDPLeg) read() {
	defer l.done.Done()
	defer l.caught("media reader")
	p := new(Packet)
	for !l.closing.Load() {
		n, src, err := l.pair.RTP.ReadFromUDPAddrPort(p.Buffer())
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // a deadline (closing), or an ICMP error of an earlier send
		}
		p.Arrived = time.Now()
		l.take(p, n, netip.AddrPortFrom(src.Addr().Unmap(), src.Port()))
	}
}

// take handles one datagram.
func (l *UDPLeg) take(p *Packet, n int, src netip.AddrPort) {
	b := p.Buffer()[:n]
	switch {
	case isDTLS(b):
		l.takeDTLS(b, src)
		return
	case isRTCP(b): // rtcp-mux, asked for or not
		l.takeRTCP(b, src, p.Arrived)
		return
	}
	cipher := l.cipher.Load()
	if cipher != nil {
		if n = l.authenticate(cipher, p, n, src); n == 0 {
			return
		}
	}
	if p.Parse(n) != nil {
		l.malformed.Add(1)
		return
	}
	fits := l.Format().fits(p.PayloadType)
	l.mu.Lock()
	before := l.latch.source
	ok := l.latch.admit(p, src, fits)
	if !ok {
		l.refuse(src, l.latch.why, p.Arrived)
	} else if l.latch.source != before {
		l.aim(p.Arrived)
	}
	l.mu.Unlock()
	if ok {
		l.Deliver(p)
	}
}

// authenticate opens a protected packet in its buffer and returns its new length; 0 = it is dropped, and counted. What
// the latch would not take anyway costs no cryptography; what does not authenticate moves no latch.
func (l *UDPLeg) authenticate(c *cipher, p *Packet, n int, src netip.AddrPort) int {
	if n < headerSize || p.buf[0]>>6 != 2 {
		l.malformed.Add(1)
		return 0
	}
	p.parseFixed()
	fits := l.Format().fits(p.PayloadType)
	l.mu.Lock()
	trial := l.latch
	ok := trial.admit(p, src, fits)
	if !ok {
		l.refuse(src, trial.why, p.Arrived)
	}
	l.mu.Unlock()
	if !ok {
		return 0
	}
	n, ok = c.openRTP(p.buf[:n], p.Arrived)
	if !ok {
		l.forged.Add(1)
		return 0
	}
	return n
}

// caught keeps a panic on one leg from ending the process; the leg falls silent and the call ends by its own timer.
func (l *UDPLeg) caught(where string) {
	if r := recover(); r != nil {
		l.log.Error("panic", "where", where, "panic", r, "stack", string(debug.Stack()))
	}
}
