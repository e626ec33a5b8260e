package media

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/rtcp"
)

// reportEvery is the interval of our reports; with two members RFC 3550 section 6.2 allows the least, 5 s.
const reportEvery = 5 * time.Second

// senderReport is the other side's last one.
type senderReport struct {
	ntp uint32 // the middle 32 bits of its time
	at  time.Time
}

// ntpEpoch is the NTP time of the Unix epoch, in seconds.
const ntpEpoch = 2208988800

func ntpTime(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// control reads RTCP from the odd port and sends a report every 5 s.
func (l *UDPLeg) control() {
	defer l.done.Done()
	defer l.caught("rtcp")
	b := make([]byte, MaxPacket)
	due := time.Now().Add(reportEvery)
	for {
		_ = l.pair.RTCP.SetReadDeadline(due)
		if l.closing.Load() { // asked after setting the deadline: Close's own cannot be overwritten unseen
			l.sendReport(time.Now(), true)
			return
		}
		n, src, err := l.pair.RTCP.ReadFromUDPAddrPort(b)
		now := time.Now()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil && isRTCP(b[:n]):
			l.takeRTCP(b[:n], netip.AddrPortFrom(src.Addr().Unmap(), src.Port()), now)
		}
		if !now.Before(due) {
			l.sendReport(now, false)
			due = now.Add(reportEvery)
		}
	}
}

// takeRTCP reads reports that come from the peer's address; any port will do, for nothing but figures follows from it.
func (l *UDPLeg) takeRTCP(b []byte, src netip.AddrPort, now time.Time) {
	l.mu.Lock()
	known := src.Addr() == l.latch.source.Addr() || src.Addr() == l.rtcp.Addr()
	known = known && l.latch.open
	if !known {
		l.strangers.Add(1)
	}
	l.mu.Unlock()
	if !known {
		return
	}
	if c := l.cipher.Load(); c != nil {
		var ok bool
		if b, ok = c.openRTCP(b, now); !ok {
			l.forged.Add(1)
			return
		}
	}
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		l.malformed.Add(1)
		return
	}
	for _, p := range packets {
		switch r := p.(type) {
		case *rtcp.SenderReport:
			l.mu.Lock()
			l.heard = senderReport{uint32(r.NTPTime >> 16), now}
			l.mu.Unlock()
			l.reported(r.Reports, now)
		case *rtcp.ReceiverReport:
			l.reported(r.Reports, now)
		}
	}
}

func (l *UDPLeg) reported(reports []rtcp.ReceptionReport, now time.Time) {
	for _, r := range reports {
		if r.SSRC == l.Out().SSRC() {
			l.Reported(r, now)
		}
	}
}

// sendReport sends a sender report when we have sent since the last one, else a receiver report, with our name. last
// says that it is the last one (RFC 3550 section 6.6).
func (l *UDPLeg) sendReport(now time.Time, last bool) {
	l.mu.Lock()
	heard := l.heard
	l.mu.Unlock()
	var reports []rtcp.ReceptionReport
	if r, ok := l.receptionReport(); ok {
		if heard.ntp != 0 {
			r.LastSenderReport, r.Delay = heard.ntp, uint32(now.Sub(heard.at)<<16/time.Second)
		}
		reports = []rtcp.ReceptionReport{r}
	}
	packets := []rtcp.Packet{l.out.report(now, reports), rtcp.NewCNAMESourceDescription(l.out.ssrc, l.cname())}
	if last {
		packets = append(packets, &rtcp.Goodbye{Sources: []uint32{l.out.ssrc}})
	}
	b, err := rtcp.Marshal(packets)
	if err != nil {
		l.log.Error("rtcp", "err", err)
		return
	}
	l.writeRTCP(b)
}

// writeRTCP sends a report to where the peer wants it: its RTP port with rtcp-mux, else its RTCP port; behind a NAT the
// one above the port we found. With DTLS the second port would need keys of its own (RFC 5764 section 4.1): none then.
func (l *UDPLeg) writeRTCP(b []byte) {
	l.mu.Lock()
	conn, to := l.pair.RTCP, l.rtcp
	target := l.latch.target()
	switch s := l.latch.source; {
	case l.mux:
		conn, to = l.pair.RTP, target
	case l.dtls.Load() != nil:
		to = netip.AddrPort{}
	case s.IsValid() && s != l.latch.announced:
		to = netip.AddrPortFrom(s.Addr(), s.Port()+1)
	}
	open := l.latch.open && target.IsValid()
	l.mu.Unlock()
	if !open || to.Port() == 0 || to.Addr().IsUnspecified() {
		return
	}
	if c := l.cipher.Load(); c != nil {
		var err error
		if b, err = c.sealRTCP(b); err != nil {
			return // no key: nothing may be said yet
		}
	}
	_, _ = conn.WriteToUDPAddrPort(b, to)
}

// cname names the source for its life without telling anything (RFC 7022).
func (l *UDPLeg) cname() string {
	const hex = "0123456789abcdef"
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], l.out.ssrc)
	s := make([]byte, 0, 8)
	for _, c := range b {
		s = append(s, hex[c>>4], hex[c&15])
	}
	return string(s)
}

// receptionReport is our view of the peer's stream (RFC 3550 A.3).
func (l *Leg) receptionReport() (rtcp.ReceptionReport, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.in
	if !r.heard {
		return rtcp.ReceptionReport{}, false
	}
	expected := r.max - r.base + 1
	lost := min(max(int64(expected)-int64(r.received), 0), 0x7fffff)
	expectedNow, receivedNow := expected-r.prevExpected, r.received-r.prevReceived
	r.prevExpected, r.prevReceived = expected, r.received
	var fraction uint8
	if expectedNow > receivedNow {
		fraction = uint8(min(uint64(expectedNow-receivedNow)<<8/uint64(expectedNow), 255))
	}
	return rtcp.ReceptionReport{
		SSRC: r.ssrc, FractionLost: fraction, TotalLost: uint32(lost),
		LastSequenceNumber: r.max, Jitter: uint32(r.jitter >> 4),
	}, true
}

// report is the head of a compound packet for this output.
func (o *Output) report(now time.Time, reports []rtcp.ReceptionReport) rtcp.Packet {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at.IsZero() || now.Sub(o.at) > 2*reportEvery {
		return &rtcp.ReceiverReport{SSRC: o.ssrc, Reports: reports}
	}
	return &rtcp.SenderReport{
		SSRC: o.ssrc, NTPTime: ntpTime(now),
		RTPTime:     o.ts + uint32(ticksIn(now.Sub(o.at), o.format.Codec.ClockRate())),
		PacketCount: uint32(o.packets), OctetCount: uint32(o.bytes),
		Reports: reports,
	}
}
