package media

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Output is what a leg says: one SSRC, one sequence and one clock for the leg's life, whoever speaks. It is a Sink, so
// another leg's packets can be swapped to it; a Player takes precedence over them and a key being sent over both. On a
// change of source the sequence goes on by one, the timestamp by the time that passed, and the marker is set.
type Output struct {
	send  func([]byte) error
	pacer *Pacer

	mu        sync.Mutex // guards all below; held while a packet is sent, so packets leave in order
	pt, event uint8
	ssrc      uint32
	seq       uint16    // of the newest packet sent
	ts        uint32    // of the newest packet sent ...
	at        time.Time // ... and when; zero before the first
	span      uint32    // samples that packet covered
	from      relayed
	player    *Player
	spoke     bool  // the player has sent a packet: the next one goes on from it
	frame     int64 // the pacer's frame of that packet
	press     *keyPress
	presses   []keyPress
	pressFree int64 // frame from which the next key may be sent
	paced     bool
	closed    bool
	packets   uint64
	bytes     uint64
	buf       [MaxPacket]byte
}

// relayed is the source whose packets are being rewritten.
type relayed struct {
	valid bool
	gap   bool // packets were withheld while a key was sent: close the hole in the sequence
	ssrc  uint32
	last  uint16 // highest sequence number seen
	age   int    // how many before it belong to this source, up to reorderWindow
	seq   uint16 // what to add to its sequence numbers
	ts    uint32 // and timestamps
}

const (
	reorderWindow = 100
	// keyPause is the least pause between two keys, in frames: 60 ms.
	keyPause = 3
	maxKeys  = 32
)

func newOutput(cfg LegConfig) *Output {
	return &Output{
		send: cfg.Send, pacer: cfg.Pacer, pt: cfg.PayloadType, event: cfg.EventType,
		ssrc: rand.Uint32(), seq: uint16(rand.Uint32()), ts: rand.Uint32(),
	}
}

// SSRC is the output's own, the same for the leg's life.
func (o *Output) SSRC() uint32 { return o.ssrc }

func (o *Output) setCodec(pt, event uint8) {
	o.mu.Lock()
	o.pt, o.event = pt, event
	o.mu.Unlock()
}

func (o *Output) sent() (packets, bytes uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.packets, o.bytes
}

// Write relays another leg's packet; it makes Output a Sink.
func (o *Output) Write(p *Packet) {
	if len(p.Payload) > MaxPacket-headerSize {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.player != nil {
		return
	}
	if o.press != nil {
		o.from.gap = true
		return
	}
	marker := p.Marker
	behind := int16(o.from.last - p.Seq)
	switch {
	case !o.from.valid || p.SSRC != o.from.ssrc || behind > maxDropout || behind < -maxDropout:
		o.from = relayed{valid: true, ssrc: p.SSRC, last: p.Seq, seq: o.seq + 1 - p.Seq, ts: o.nextTS(p.Arrived) - p.TS}
		marker = !p.Event || marker
	case o.from.gap && behind < 0:
		o.from.gap, o.from.age, o.from.last, o.from.seq = false, 0, p.Seq, o.seq+1-p.Seq
		if int32(p.TS+o.from.ts-o.ts) < int32(o.span) { // the key reached further than the source's clock
			o.from.ts = o.ts + o.span - p.TS
		}
	case behind < 0:
		o.from.age = min(o.from.age-int(behind), reorderWindow)
		o.from.last = p.Seq
	case int(behind) > o.from.age: // from before this source took over: its number has been used
		return
	}
	payloadType := o.pt
	if p.Event {
		if o.event == 0 {
			o.from.seq-- // withheld, and not to look like a loss
			return
		}
		payloadType = o.event
		copy(o.buf[headerSize:], p.Payload)
	} else {
		recode(o.buf[headerSize:], p.Payload, p.PayloadType, o.pt)
	}
	o.put(marker, payloadType, p.Seq+o.from.seq, p.TS+o.from.ts, p.Arrived, len(p.Payload))
}

// recode copies G.711 from one law to the other.
func recode(dst, src []byte, from, to uint8) {
	switch {
	case from == to:
		copy(dst, src)
	case to == PCMA:
		for i, b := range src {
			dst[i] = ulawToALaw[b]
		}
	default:
		for i, b := range src {
			dst[i] = alawToULaw[b]
		}
	}
}

// nextTS is the timestamp of a packet that begins something new at the time now.
func (o *Output) nextTS(now time.Time) uint32 {
	if o.at.IsZero() {
		return o.ts
	}
	elapsed := int64(now.Sub(o.at)) / int64(time.Second/Rate)
	return o.ts + uint32(max(elapsed, int64(o.span)))
}

// put sends what lies in buf behind the header. The lock is held.
func (o *Output) put(marker bool, payloadType uint8, seq uint16, ts uint32, now time.Time, n int) {
	putHeader(o.buf[:], marker, payloadType, seq, ts, o.ssrc)
	if o.send(o.buf[:headerSize+n]) == nil {
		o.packets++
		o.bytes += uint64(n)
	}
	if int16(seq-o.seq) > 0 {
		o.seq = seq
	}
	if o.at.IsZero() || int32(ts-o.ts) > 0 {
		o.ts, o.at, o.span = ts, now, 0
	}
	if payloadType == o.pt {
		o.span = max(o.span, uint32(n))
	}
}

// Play makes p speak from the next frame on. A player that was speaking ends as interrupted; nil only does that. A
// player is used once: handed out a second time it does nothing. Returns p.
func (o *Output) Play(p *Player) *Player {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p != nil && p.used {
		return p
	}
	if o.player != nil {
		o.player.end(false)
		o.player = nil
		o.from.valid = false
	}
	if p == nil {
		return nil
	}
	p.used = true
	if o.closed {
		p.end(false)
		return p
	}
	o.player, o.spoke = p, false
	o.pace()
	return p
}

// SendDTMF presses a key for d (40 ms to 6 s). Keys pressed while one is being sent wait for their turn; sound is
// withheld while a key is sent. ErrNoEvents: the other side takes no telephone-events.
func (o *Output) SendDTMF(digit byte, d time.Duration) error {
	code, ok := keyCode(digit)
	if !ok {
		return errKey
	}
	d = min(max(d, 2*Frame), 6*time.Second)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return ErrClosed
	case o.event == 0:
		return ErrNoEvents
	case len(o.presses) >= maxKeys:
		return errKeys
	}
	o.presses = append(o.presses, keyPress{code: code, total: uint16(d / (time.Second / Rate))})
	o.pace()
	return nil
}

func (o *Output) pace() {
	if !o.paced && o.pacer != nil {
		o.paced = true
		o.pacer.add(o)
	}
}

// tick is one frame of the pacer; false means there is nothing more to say and the pacer may forget the output.
func (o *Output) tick(frame int64, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.press == nil && len(o.presses) > 0 && frame >= o.pressFree && !o.closed {
		k := o.presses[0]
		o.presses = o.presses[1:]
		k.ts = o.nextTS(now)
		o.press = &k
	}
	switch {
	case o.press != nil:
		o.tickKey(frame, now)
	case o.player != nil:
		o.tickPlayer(frame, now)
	}
	o.paced = o.player != nil || o.press != nil || len(o.presses) > 0
	return o.paced
}

func (o *Output) tickKey(frame int64, now time.Time) {
	k := o.press
	first := k.duration == 0
	last := k.put(o.buf[headerSize:])
	o.put(first, o.event, o.seq+1, k.ts, now, 4)
	o.span = max(o.span, uint32(k.duration))
	if last {
		o.press, o.pressFree = nil, frame+keyPause
		o.spoke = false // the player goes on as a new talkspurt
	}
}

func (o *Output) tickPlayer(frame int64, now time.Time) {
	var raw [FrameSamples]byte
	if o.player.frame(raw[:]) == 0 {
		o.player.end(true)
		o.player = nil
		o.from.valid = false
		return
	}
	recode(o.buf[headerSize:], raw[:], PCMU, o.pt)
	ts := o.ts + uint32(frame-o.frame)*FrameSamples // a frame the pacer skipped is time that passed
	if !o.spoke {
		ts = o.nextTS(now)
	}
	o.put(!o.spoke, o.pt, o.seq+1, ts, now, FrameSamples)
	o.spoke, o.frame = true, frame
}

func (o *Output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	if o.player != nil {
		o.player.end(false)
		o.player = nil
	}
	o.press, o.presses = nil, nil
}
