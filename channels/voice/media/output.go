package media

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Output is what a leg says: one SSRC, one sequence and one clock for the leg's life, whoever speaks. It is a Sink, so
// another leg's packets can be swapped to it; a Player takes precedence over them and a key being sent over both. On a
// change of source the sequence goes on by one, the timestamp by the time that passed, and the marker is set.
type Output struct {
	send  func([]byte) error
	pacer *Pacer
	tap   atomic.Pointer[Tap]

	mu        sync.Mutex // guards all below; held while a packet is sent, so packets leave in order
	format    Format
	clock     int // of the format's codec
	ssrc      uint32
	seq       uint16    // of the newest packet sent
	ts        uint32    // of the newest packet sent ...
	at        time.Time // ... and when; zero before the first
	span      uint32    // ticks that packet covered
	from      relayed
	enc       *encoder // nil until somebody speaks who is not just relayed
	player    *Player
	speaker   any   // the player or seat whose packet was the last one: its next goes on from it
	frame     int64 // the pacer's frame of that packet
	press     *keyPress
	presses   []keyPress
	pressFree int64     // frame from which the next key may be sent
	relayKey  time.Time // when a key of the source's was passed on last: ours wait for its end
	paced     bool
	closed    bool
	packets   uint64
	bytes     uint64
	buf       [MaxPacket]byte
}

const (
	// keyPause is the least pause between two keys, in frames: 60 ms.
	keyPause = 3
	maxKeys  = 32
)

func newOutput(cfg LegConfig) *Output {
	return &Output{
		send: cfg.Send, pacer: cfg.Pacer, format: cfg.Format.normal(), clock: cfg.Format.Codec.ClockRate(),
		// Half of the range: should the first packets be lost, SRTP's receiver must not have missed a rollover with them
		// (RFC 3711 section 3.3.1).
		ssrc: rand.Uint32(), seq: uint16(rand.Uint32N(1 << 15)), ts: rand.Uint32(),
	}
}

// SSRC is the output's own, the same for the leg's life.
func (o *Output) SSRC() uint32 { return o.ssrc }

// setFormat takes a new negotiation. The clock goes on where it stands, from now on at the new codec's rate.
func (o *Output) setFormat(f Format) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.Codec != o.format.Codec {
		clock := f.Codec.ClockRate()
		o.span = uint32(int64(o.span) * int64(clock) / int64(o.clock))
		o.clock, o.from.valid, o.speaker = clock, false, nil
	}
	o.format = f
}

func (o *Output) sent() (packets, bytes uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.packets, o.bytes
}

// nextTS is the timestamp of a packet that begins something new at the time now.
func (o *Output) nextTS(now time.Time) uint32 {
	if o.at.IsZero() {
		return o.ts
	}
	return o.ts + uint32(max(ticksIn(now.Sub(o.at), o.clock), int64(o.span)))
}

// say sends the n bytes of sound that lie in buf behind the header. The lock is held.
func (o *Output) say(kind Source, marker bool, seq uint16, ts uint32, now time.Time, n int) {
	sound := o.buf[headerSize : headerSize+n]
	o.put(marker, o.format.PayloadType, seq, ts, now, n)
	o.span = max(o.span, o.format.Codec.ticks(sound))
	if tap := o.tap.Load(); tap != nil {
		(*tap).Said(o.format.Codec, sound, ts, now, kind)
	}
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
		o.endPlayer(false)
	}
	if p == nil {
		return nil
	}
	p.used = true
	if o.closed {
		p.end(false)
		return p
	}
	o.player = p
	o.pace()
	return p
}

// SendDTMF presses a key for d: 40 ms at least and what its duration field can say at most (8 s, beside Opus 1.3 s). Keys pressed while one is being sent wait for their turn; sound is
// withheld while a key is sent. ErrNoEvents: the other side takes no telephone-events.
func (o *Output) SendDTMF(digit byte, d time.Duration) error {
	code, ok := keyCode(digit)
	if !ok {
		return errKey
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return ErrClosed
	case o.format.Events == 0:
		return ErrNoEvents
	case len(o.presses) >= maxKeys:
		return errKeys
	}
	total := min(ticksIn(max(d, 2*Frame), o.clock), 0xffff)
	o.presses = append(o.presses, keyPress{code: code, total: uint16(total)})
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
	if o.press == nil && len(o.presses) > 0 && frame >= o.pressFree && now.Sub(o.relayKey) > keyPause*Frame && !o.closed {
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
	last := k.put(o.buf[headerSize:], uint16(o.format.Codec.frameTicks()))
	rescaleEvent(o.buf[headerSize:headerSize+4], o.clock, o.format.eventClock())
	o.put(first, o.format.Events, o.seq+1, k.ts, now, 4)
	o.span = max(o.span, uint32(k.duration))
	if last {
		o.press, o.pressFree = nil, frame+keyPause
		o.speaker = nil // what goes on is a new talkspurt
	}
}

// endPlayer ends the one that plays. The lock is held.
func (o *Output) endPlayer(finished bool) {
	if e := o.player.encoded; e != nil {
		o.pacer.loops.release(e)
	}
	o.player.end(finished)
	o.player, o.from.valid = nil, false
}

// encodedLoop is the loop being played in the packets that all its listeners share; nil where there is none: G.711
// costs nothing, and in a loop of several parts their borders lie within packets.
func (o *Output) encodedLoop() *encodedLoop {
	p := o.player
	if e := p.encoded; e != nil && e.key.codec != o.format.Codec {
		o.pacer.loops.release(e)
		p.encoded = nil
	}
	if p.encoded == nil && p.loop && len(p.parts) == 1 && !o.format.Codec.isG711() {
		p.encoded = o.pacer.loops.acquire(p.parts[0], o.format.Codec)
	}
	return p.encoded
}

func (o *Output) tickPlayer(frame int64, now time.Time) {
	if s := o.player.stream; s != nil {
		pcm, err := o.player.next()
		if err != nil {
			o.endPlayer(err == io.EOF)
			return
		}
		ts, first := o.goesOn(o.player, frame, now)
		o.sendPCM(Spoken, first, pcm, s.rate, ts, now)
		return
	}
	if e := o.encodedLoop(); e != nil {
		ts, first := o.goesOn(o.player, frame, now)
		if n := o.pacer.loops.frame(e, o.player.turn(len(e.frames)), o.buf[headerSize:]); n > 0 {
			o.say(Music, first, o.seq+1, ts, now, n)
		}
		return
	}
	var raw [FrameSamples]byte
	if o.player.frame(raw[:]) == 0 {
		o.endPlayer(true)
		return
	}
	ts, first := o.goesOn(o.player, frame, now)
	kind := Spoken
	if o.player.loop {
		kind = Music
	}
	if o.format.Codec.isG711() {
		recode(o.buf[headerSize:], raw[:], PCMU, o.format.Codec)
		o.say(kind, first, o.seq+1, ts, now, FrameSamples)
	} else if e := o.encoder(); e != nil {
		DecodeULaw(e.prompt[:], raw[:])
		o.sendPCM(kind, first, e.prompt[:], Rate, ts, now)
	}
}

// goesOn is the timestamp of the speaker's frame, and whether it begins a talkspurt. A frame that the pacer skipped is
// time that passed.
func (o *Output) goesOn(speaker any, frame int64, now time.Time) (ts uint32, first bool) {
	if first = o.speaker != speaker; first {
		ts = o.nextTS(now)
	} else {
		ts = o.ts + uint32(frame-o.frame)*o.format.Codec.frameTicks()
	}
	o.speaker, o.frame = speaker, frame
	return ts, first
}

// mixed says a frame of a room's mix, unless a player speaks or a key is being sent.
func (o *Output) mixed(s *Seat, pcm []int16, rate int, frame int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.player != nil || o.press != nil {
		return
	}
	ts, first := o.goesOn(s, frame, now)
	o.from.valid = false
	o.sendPCM(Mixed, first, pcm, rate, ts, now)
}

// pcmRate is the rate of the samples that the output's codec carries.
func (o *Output) pcmRate() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.format.Codec.pcmRate()
}

func (o *Output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	if o.player != nil {
		o.endPlayer(false)
	}
	o.press, o.presses = nil, nil
}
