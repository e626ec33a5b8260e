package media

import (
	"fmt"
	"time"

	"github.com/gotranspile/g722"
)

// pcmRate is the rate of the samples that a codec is decoded to and encoded from: 8 or 16 kHz.
func (c Codec) pcmRate() int {
	if c.isG711() {
		return Rate
	}
	return opusRate
}

// maxSamples is more than any packet decodes to: 1,488 bytes of G.722.
const maxSamples = 2 * MaxPacket

// decoder turns one source's packets into samples at the codec's pcmRate. Packets must come in order.
type decoder struct {
	codec Codec
	g722  *g722.Decoder
	opus  *opusDecoder
	// The tail of what was decoded last, for G.711 and G.722: a lost packet is bridged by repeating it, fading.
	tail  [concealSamples]int16
	holes int // samples concealed since the last packet
}

const (
	concealSamples = 16 * 20              // one frame at 16 kHz
	concealFade    = 60 * opusRate / 1000 // by then a repetition has faded out
)

func newDecoder(c Codec) (*decoder, error) {
	d := &decoder{codec: c}
	switch c {
	case PCMU, PCMA:
	case G722:
		d.g722 = g722.NewDecoder(g722.Rate64000, 0)
	case Opus:
		var err error
		if d.opus, err = newOpusDecoder(); err != nil {
			return nil, fmt.Errorf("decoder: %w", err)
		}
	}
	return d, nil
}

// decode fills dst, which holds maxSamples, and returns how many samples there are.
func (d *decoder) decode(dst []int16, payload []byte) int {
	n := 0
	switch d.codec {
	case PCMU:
		n = len(payload)
		DecodeULaw(dst[:n], payload)
	case PCMA:
		n = len(payload)
		DecodeALaw(dst[:n], payload)
	case G722:
		n = d.g722.Decode(dst, payload)
	case Opus:
		return d.opus.decode(dst, payload)
	}
	d.holes = 0
	frame := d.frameSamples()
	if n >= frame {
		copy(d.tail[:frame], dst[n-frame:n])
	} else {
		copy(d.tail[:], d.tail[n:frame])
		copy(d.tail[frame-n:frame], dst[:n])
	}
	return n
}

func (d *decoder) frameSamples() int { return d.codec.pcmRate() / framesPerSecond }

// conceal fills dst for lost sound. next is the packet behind the hole when it is here already: Opus may carry a copy
// of the lost one. The others repeat the last frame and fade to silence over 60 ms.
func (d *decoder) conceal(dst []int16, next []byte) {
	if d.codec == Opus {
		n := d.opus.conceal(dst, next)
		clear(dst[n:])
		return
	}
	frame, fade := d.frameSamples(), concealFade*d.codec.pcmRate()/opusRate
	for i := range dst {
		left := max(fade-d.holes, 0)
		dst[i] = int16(int(d.tail[d.holes%frame]) * left / fade)
		d.holes++
	}
}

// encoder turns frames of samples at 8 or 16 kHz into an output's packets.
type encoder struct {
	codec    Codec
	g722     *g722.Encoder
	opus     *opusEncoder
	up, down *resampler // made when a source of the other rate comes
	pcm      []int16    // a frame at the codec's rate
	prompt   [FrameSamples]int16
}

func newEncoder(c Codec) (*encoder, error) {
	e := &encoder{codec: c, pcm: make([]int16, 0, opusRate/framesPerSecond)}
	switch c {
	case PCMU, PCMA:
	case G722:
		e.g722 = g722.NewEncoder(g722.Rate64000, 0)
	case Opus:
		var err error
		if e.opus, err = newOpusEncoder(); err != nil {
			return nil, fmt.Errorf("encoder: %w", err)
		}
	}
	return e, nil
}

// encode writes one frame of samples and returns its bytes; 0 = it failed.
func (e *encoder) encode(dst []byte, pcm []int16, rate int) int {
	switch {
	case rate < e.codec.pcmRate():
		if e.up == nil {
			e.up = newResampler(rate, e.codec.pcmRate())
		}
		pcm = e.up.run(e.pcm[:0], pcm)
	case rate > e.codec.pcmRate():
		if e.down == nil {
			e.down = newResampler(rate, e.codec.pcmRate())
		}
		pcm = e.down.run(e.pcm[:0], pcm)
	}
	switch e.codec {
	case PCMU:
		for i, s := range pcm {
			dst[i] = EncodeULaw(s)
		}
	case PCMA:
		for i, s := range pcm {
			dst[i] = EncodeALaw(s)
		}
	case G722:
		return e.g722.Encode(dst, pcm)
	case Opus:
		return e.opus.encode(dst, pcm)
	}
	return len(pcm)
}

// encoder is the output's own, made when it is needed first. nil: the codec cannot be had (libopus is gone), and the
// output says nothing. The lock is held.
func (o *Output) encoder() *encoder {
	if o.enc == nil || o.enc.codec != o.format.Codec {
		o.enc, _ = newEncoder(o.format.Codec) // a codec that cannot be had is not offered
	}
	return o.enc
}

// sendPCM encodes one frame of samples and sends it as the next packet. The lock is held.
func (o *Output) sendPCM(kind Source, marker bool, pcm []int16, rate int, ts uint32, now time.Time) {
	e := o.encoder()
	if e == nil {
		return
	}
	if n := e.encode(o.buf[headerSize:], pcm, rate); n > 0 {
		o.say(kind, marker, o.seq+1, ts, now, n)
	}
}

// transcoder is what a source in another codec than the output's needs besides: its decoder, and the samples that do
// not fill a frame yet (packets may carry 10, 30, 40 ms).
type transcoder struct {
	dec    *decoder
	next   uint32 // timestamp of the source's next packet, when nothing is lost
	ts     uint32 // ours of the first sample in pcm
	marker bool
	pcm    []int16
	room   [maxSamples]int16
}

// maxConceal is the longest loss that is bridged; beyond it the listener hears that something is missing.
const maxConceal = 5 * Frame

// transcode sends p's sound in the output's codec: frames of 20 ms with a sequence of their own. p must be the
// source's newest packet. The lock is held.
func (o *Output) transcode(p *Packet, marker bool) {
	t := o.from.trans
	if t == nil {
		dec, err := newDecoder(p.Codec)
		if err != nil {
			return
		}
		t = &transcoder{dec: dec, pcm: make([]int16, 0, 2*maxSamples), next: p.TS, ts: o.from.ts(p.TS, o.clock)}
		o.from.trans = t
	}
	t.marker = t.marker || marker
	rate, clock := p.Codec.pcmRate(), p.Codec.ClockRate()
	hole := int64(int32(p.TS - t.next))
	switch {
	case hole == 0:
	case hole > 0 && hole <= ticksIn(maxConceal, clock) && !p.Marker:
		n := int(hole * int64(rate) / int64(clock))
		t.dec.conceal(t.room[:n], p.Payload)
		t.pcm = append(t.pcm, t.room[:n]...)
	default: // a pause, or the source's clock was set
		t.pcm, t.ts = t.pcm[:0], o.from.ts(p.TS, o.clock)
	}
	if int32(t.ts-o.ts) < int32(o.span) { // a key, ours or the source's, reached further
		o.from.in, o.from.out = p.TS, o.ts+o.span
		t.ts = o.from.out
	}
	n := t.dec.decode(t.room[:], p.Payload)
	t.next = p.TS + uint32(n*clock/rate)
	t.pcm = append(t.pcm, t.room[:n]...)
	frame, rest := rate/framesPerSecond, t.pcm
	for ; len(rest) >= frame; rest = rest[frame:] {
		o.sendPCM(Relayed, t.marker, rest[:frame], rate, t.ts, p.Arrived)
		t.ts += o.format.Codec.frameTicks()
		t.marker = false
	}
	t.pcm = t.pcm[:copy(t.pcm, rest)]
}
