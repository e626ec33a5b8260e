package media

import (
	"slices"
	"sync"
	"time"
)

// listener turns what a leg hears into samples for somebody who is not on the line.
type listener struct {
	fn   func(pcm []int16)
	rate int

	mu     sync.Mutex // the leg's reader against the pacer
	jitter *jitter

	run     sync.Mutex // held while fn runs
	stopped bool
	frame   [frameMax]int16
}

// Listen hands what the leg hears to fn, 20 ms at a time, in order and without holes: 160 samples at 8 kHz, or 320 at
// 16 kHz when the leg's codec carries that. Comfort noise is as quiet as an idle line, however loud the other side wants it:
// to an ear a noise that begins where a word ends is more of that word. fn runs on the pacer's goroutine: it must not block, must not keep the
// samples and must not call stop. After stop it is not called again. The leg's own way, a relay or a room, is not
// delayed by it. Whoever listens must stop before the leg ends or is forgotten.
func (l *Leg) Listen(fn func(pcm []int16)) (stop func()) {
	rate := l.Format().Codec.pcmRate()
	e := &listener{fn: fn, rate: rate, jitter: newJitter(rate)}
	e.jitter.still = true
	l.changeEars(func(ears []*listener) []*listener { return append(ears, e) })
	l.out.pacer.add(e)
	return func() {
		l.changeEars(func(ears []*listener) []*listener {
			return slices.DeleteFunc(ears, func(o *listener) bool { return o == e })
		})
		e.run.Lock()
		e.stopped = true
		e.run.Unlock()
	}
}

// changeEars swaps the list that Deliver reads.
func (l *Leg) changeEars(change func([]*listener) []*listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ears []*listener
	if old := l.ears.Load(); old != nil {
		ears = slices.Clone(*old)
	}
	if ears = change(ears); len(ears) == 0 {
		l.ears.Store(nil)
		return
	}
	l.ears.Store(&ears)
}

func (e *listener) put(p *Packet) {
	e.mu.Lock()
	e.jitter.put(p)
	e.mu.Unlock()
}

// tick is one frame of the pacer.
func (e *listener) tick(_ int64, now time.Time) bool {
	e.run.Lock()
	defer e.run.Unlock()
	if e.stopped {
		return false
	}
	frame := e.frame[:e.rate/framesPerSecond]
	e.mu.Lock()
	e.jitter.pull(frame, now)
	e.mu.Unlock()
	e.fn(frame)
	return true
}
