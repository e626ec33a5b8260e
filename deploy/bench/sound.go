package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A packet of ours says in its 160 bytes who sent it and when, so that whoever hears it can tell loss, delay and a
// wrong connection. The bytes travel through the house as they are: G.711 is passed on, not decoded.
//
//	0  mark   4  speaker   8  measurement   12  number   16  ns since 1970   24  a browser's sequence number   26  a tone
const (
	frameBytes = 160
	frameTime  = 20 * time.Millisecond
	soundMark  = 0xfeedbe11
	seqAt      = 24
)

// measurements is how many there may be in one part.
const measurements = 32

// mouth is one speaker: a telephone or a browser.
type mouth struct {
	name uint32
	send atomic.Pointer[func(payload []byte)]
	sent [measurements]atomic.Int64

	paced atomic.Bool // a browser's has been given to the pacer
}

func newMouth(name uint32, send func(payload []byte)) *mouth {
	m := &mouth{name: name}
	m.send.Store(&send)
	return m
}

// ear hears one speaker and nobody else.
type ear struct {
	expects uint32
	left    atomic.Pointer[[256]atomic.Int64] // when a browser's packets left, nil: the payload says it

	mu      sync.Mutex
	phase   uint32
	heard   map[uint32]bool
	delays  []time.Duration
	strange int // packets of somebody else
}

// hear takes one payload that arrived at a time.
func (e *ear) hear(payload []byte, at int64) {
	if len(payload) < seqAt+2 || binary.BigEndian.Uint32(payload) != soundMark {
		return // music, a prompt
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if binary.BigEndian.Uint32(payload[4:]) != e.expects {
		e.strange++
		return
	}
	phase := binary.BigEndian.Uint32(payload[8:])
	if phase == 0 {
		return
	}
	if phase != e.phase {
		e.phase, e.heard, e.delays = phase, make(map[uint32]bool, 512), make([]time.Duration, 0, 512)
	}
	n := binary.BigEndian.Uint32(payload[12:])
	if e.heard[n] {
		return
	}
	e.heard[n] = true
	left := int64(binary.BigEndian.Uint64(payload[16:]))
	if out := e.left.Load(); out != nil {
		left = out[binary.BigEndian.Uint16(payload[seqAt:])%256].Load()
	}
	e.delays = append(e.delays, time.Duration(at-left))
}

func (e *ear) of(phase uint32) (delays []time.Duration, strange int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == phase {
		delays = append(delays, e.delays...)
	}
	return delays, e.strange
}

// pacer lets its mouths speak every 20 ms, spread over 20 slots, on an absolute clock.
type pacer struct {
	phase atomic.Uint32 // stamped on every packet; 0: not measured
	quiet atomic.Bool   // nobody speaks
	mu    sync.Mutex
	slots [20][]*mouth
	count int
}

func (p *pacer) add(m *mouth) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := p.count % len(p.slots)
	p.slots[slot] = append(append([]*mouth(nil), p.slots[slot]...), m)
	p.count++
}

func (p *pacer) run(ctx context.Context) {
	payload := make([]byte, frameBytes)
	for i := range payload {
		payload[i] = 0x9f // loud, in mu-law: who is joined is heard to speak, and is no longer listened to
		if i/10%2 == 0 {
			payload[i] = 0x1f
		}
	}
	binary.BigEndian.PutUint32(payload, soundMark)
	began := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		if d := time.Until(began.Add(time.Duration(n) * time.Millisecond)); d > 0 {
			time.Sleep(d)
		} else if frames := int(-d / frameTime); frames > 0 {
			n += frames * len(p.slots) // what is late by whole frames is left out, never sent in a burst
		}
		if p.quiet.Load() {
			continue
		}
		p.mu.Lock()
		mouths := p.slots[n%len(p.slots)]
		p.mu.Unlock()
		phase := p.phase.Load()
		for _, m := range mouths {
			number := uint32(m.sent[phase%measurements].Add(1))
			binary.BigEndian.PutUint32(payload[4:], m.name)
			binary.BigEndian.PutUint32(payload[8:], phase)
			binary.BigEndian.PutUint32(payload[12:], number)
			binary.BigEndian.PutUint64(payload[16:], uint64(time.Now().UnixNano()))
			(*m.send.Load())(payload)
		}
	}
}

// line is the RTP of one telephone.
type line struct {
	conn   *net.UDPConn
	remote atomic.Pointer[netip.AddrPort] // nil: not known yet
	buf    [12 + frameBytes]byte
	seq    uint16
	ts     uint32
}

func newLine(ip netip.Addr) (*line, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip.AsSlice()})
	if err != nil {
		return nil, err
	}
	if err := stamped(conn); err != nil {
		return nil, err
	}
	l := &line{conn: conn, seq: uint16(rand.Uint32()), ts: rand.Uint32()}
	l.buf[0] = 0x80 // version 2, payload type 0: PCMU
	binary.BigEndian.PutUint32(l.buf[8:], rand.Uint32())
	return l, nil
}

func (l *line) addr() netip.AddrPort { return l.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// speak is called by the pacer's goroutine only.
func (l *line) speak(payload []byte) {
	to := l.remote.Load()
	if to == nil {
		return
	}
	l.seq++
	l.ts += frameBytes
	binary.BigEndian.PutUint16(l.buf[2:], l.seq)
	binary.BigEndian.PutUint32(l.buf[4:], l.ts)
	copy(l.buf[12:], payload)
	_, _ = l.conn.WriteToUDPAddrPort(l.buf[:], *to)
}

// listen hears until the socket is closed.
func (l *line) listen(e *ear) {
	buf, oob := make([]byte, 1500), make([]byte, oobSize)
	for {
		n, m, _, _, err := l.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		if n > 12 && buf[0]>>6 == 2 && buf[1]&0x7f == 0 {
			e.hear(buf[12:n], arrival(oob[:m]))
		}
	}
}

// heardBy sums up one direction of a measurement.
type heardBy struct {
	sent, heard, strange, deaf int // deaf: ears that heard nothing at all
	delay                      times
}

// sum compares what the mouths said with what the ears heard; mouths[i] speaks to ears[i].
func sum(phase uint32, mouths []*mouth, ears []*ear) *heardBy {
	h := &heardBy{}
	for i, e := range ears {
		delays, strange := e.of(phase)
		h.sent += int(mouths[i].sent[phase%measurements].Load())
		h.heard += len(delays)
		h.strange += strange
		if len(delays) == 0 {
			h.deaf++
		}
		h.delay.all = append(h.delay.all, delays...)
	}
	return h
}
