package voicetest

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"patchbay/channels/voice/media"
)

// RTP is the media of a phone: a socket that sends sound, keys or nonsense from its own address, and writes down what
// it hears.
type RTP struct {
	conn *net.UDPConn // nil: it overhears
	raw  *net.IPConn

	mu       sync.Mutex
	remote   netip.AddrPort
	pt, ev   uint8
	ssrc, ts uint32
	seq      uint16
	heard    []byte // µ-law, by the clock of the packets
	first    uint32 // timestamp of heard[0]
	packets  []Header
	keys     chan byte
	some     chan struct{} // closed at the first packet heard
	done     chan struct{}
}

// Header is what a heard packet said of itself.
type Header struct {
	PayloadType uint8
	Marker      bool
	Seq         uint16
	TS, SSRC    uint32
	Size        int
	At          time.Time
}

// maxHeard bounds what one gap in the timestamps may add to the recording: 10 minutes.
const maxHeard = 600 * Rate

// NewRTP opens a socket on ip, any port; it is closed with the test.
func NewRTP(t testing.TB, ip netip.Addr) *RTP {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		t.Fatal(err)
	}
	r := &RTP{conn: conn}
	r.open(t, func(b []byte) (int, error) { return conn.Read(b) })
	return r
}

// Overhear writes down what somebody else hears: all RTP that is sent to ip, one call at a time. It is for phones that keep no
// recording. It needs the right to open raw sockets, as root has it; without it the test is skipped by name, but not in CI.
func Overhear(t testing.TB, ip netip.Addr) *RTP {
	t.Helper()
	raw, err := net.ListenIP("ip4:udp", &net.IPAddr{IP: ip.AsSlice()})
	if err != nil && os.Getenv("PATCHBAY_CI") == "" {
		t.Skipf("SKIPPED: no raw socket: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	r := &RTP{raw: raw}
	var datagram [2048]byte
	r.open(t, func(b []byte) (int, error) {
		const header = 8 // of UDP
		n, _, err := raw.ReadFromIP(datagram[:])
		return copy(b, datagram[min(header, n):n]), err
	})
	return r
}

// open begins to listen, until the test ends.
func (r *RTP) open(t testing.TB, read func([]byte) (int, error)) {
	r.pt, r.ev, r.ssrc, r.ts, r.seq = media.TypePCMU, 101, rand.Uint32(), rand.Uint32(), uint16(rand.Uint32())
	r.keys, r.some, r.done = make(chan byte, 64), make(chan struct{}), make(chan struct{})
	go r.listen(read)
	t.Cleanup(r.Close)
}

// Close ends the socket and its reader. It may be called twice.
func (r *RTP) Close() {
	if r.raw != nil {
		_ = r.raw.Close()
	} else {
		_ = r.conn.Close()
	}
	<-r.done
}

// Addr is where it listens and what it sends from.
func (r *RTP) Addr() netip.AddrPort { return r.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// SetRemote says where to send and with which payload types; without an event type keys go on as 101, negotiated or not.
func (r *RTP) SetRemote(to netip.AddrPort, payloadType, eventType uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remote, r.pt = to, payloadType
	if r.ev = eventType; r.ev == 0 {
		r.ev = 101
	}
}

// Send sends one packet of sound.
func (r *RTP) Send(payload []byte) { r.send(false, false, payload, uint32(len(payload))) }

func (r *RTP) send(event, marker bool, payload []byte, advance uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(event, marker, payload, advance)
}

// put is send with the lock held.
func (r *RTP) put(event, marker bool, payload []byte, advance uint32) {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, r.pt
	if event {
		b[1] = r.ev
	}
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], r.seq)
	binary.BigEndian.PutUint32(b[4:], r.ts)
	binary.BigEndian.PutUint32(b[8:], r.ssrc)
	_, _ = r.conn.WriteToUDPAddrPort(append(b, payload...), r.remote)
	r.seq++
	r.ts += advance
}

// Comfort sends a packet of comfort noise so many dB below full scale (RFC 3389), as a telephone that sends nothing in its
// pauses does when one begins.
func (r *RTP) Comfort(dB byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pt := r.pt
	r.pt = 13
	r.put(false, false, []byte{dB}, 0)
	r.pt = pt
}

// Pass lets the telephone's clock go on while nothing is sent.
func (r *RTP) Pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ts += uint32(d * Rate / time.Second)
}

// Play sends sound (in the negotiated codec's bytes) in packets of 20 ms on an absolute clock, until its end or ctx's.
func (r *RTP) Play(ctx context.Context, sound []byte) {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; len(sound) > 0; i++ {
		timer.Reset(time.Until(start.Add(time.Duration(i) * media.Frame)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		n := min(media.FrameSamples, len(sound))
		r.Send(sound[:n])
		sound = sound[n:]
	}
}

// Press sends a key by RFC 4733: 100 ms, a packet each 20 ms, the end three times.
func (r *RTP) Press(ctx context.Context, digit byte) {
	code := byte(0)
	for i, k := range []byte("0123456789*#ABCD") {
		if k == digit {
			code = byte(i)
		}
	}
	tick := time.NewTicker(media.Frame)
	defer tick.Stop()
	for i := 1; i <= 7; i++ {
		b := []byte{code, 10, 0, 0}
		binary.BigEndian.PutUint16(b[2:], uint16(min(i, 5)*media.FrameSamples))
		if i >= 5 {
			b[1] |= 0x80
		}
		advance := uint32(0)
		if i == 7 {
			advance = 7 * media.FrameSamples
		}
		r.send(true, i == 1, b, advance)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Keys are the keys heard, each once.
func (r *RTP) Keys() <-chan byte { return r.keys }

// HeardSome is closed when the first packet has come.
func (r *RTP) HeardSome() <-chan struct{} { return r.some }

// Heard is the sound so far, µ-law, placed by the packets' timestamps; what was missing is silence.
func (r *RTP) Heard() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]byte(nil), r.heard...)
}

// Headers are those of all packets heard so far, in the order of arrival.
func (r *RTP) Headers() []Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Header(nil), r.packets...)
}

// Forget empties the recording.
func (r *RTP) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard, r.packets = nil, nil
}

func (r *RTP) listen(read func([]byte) (int, error)) {
	defer close(r.done)
	p := new(media.Packet)
	var keyTS uint32
	var keyed bool
	for {
		n, err := read(p.Buffer())
		if err != nil {
			return
		}
		if p.Parse(n) != nil || p.PayloadType >= 64 && p.PayloadType < 96 { // not RTP, or RTCP on the same port
			continue
		}
		r.mu.Lock()
		if len(r.packets) == 0 {
			select {
			case <-r.some:
			default:
				close(r.some)
			}
		}
		r.packets = append(r.packets, Header{p.PayloadType, p.Marker, p.Seq, p.TS, p.SSRC, len(p.Payload), time.Now()})
		switch {
		case p.PayloadType == r.ev && len(p.Payload) >= 4:
			if !keyed || p.TS != keyTS {
				keyed, keyTS = true, p.TS
				select {
				case r.keys <- "0123456789*#ABCD"[p.Payload[0]&15]:
				default:
				}
			}
		case p.PayloadType == media.TypePCMU || p.PayloadType == media.TypePCMA:
			r.record(p)
		}
		r.mu.Unlock()
	}
}

// record writes a packet to its place. The lock is held.
func (r *RTP) record(p *media.Packet) {
	if len(r.heard) == 0 {
		r.first = p.TS
	}
	at := int(int32(p.TS - r.first))
	if at < 0 || at > len(r.heard)+maxHeard {
		return
	}
	for len(r.heard) < at+len(p.Payload) {
		r.heard = append(r.heard, media.ULawSilence)
	}
	if p.PayloadType == media.TypePCMU {
		copy(r.heard[at:], p.Payload)
		return
	}
	pcm := make([]int16, len(p.Payload))
	media.DecodeALaw(pcm, p.Payload)
	copy(r.heard[at:], ULaw(pcm))
}
