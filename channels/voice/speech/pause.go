package speech

import "time"

// Pause tells how long somebody has spoken in all, and for how long they have said nothing now. The energy of the sound
// decides, no model.
type Pause struct {
	detector    *energyDetector
	on          bool
	said, quiet time.Duration
}

const pauseFrame = 20 * time.Millisecond

// Hear takes the next 20 ms, always at the same rate. It does not block.
func (p *Pause) Hear(pcm []int16) (said, quiet time.Duration) {
	if p.detector == nil {
		p.detector = newEnergy(len(pcm) * int(time.Second/pauseFrame))
	}
	p.detector.hear(0, pcm, p.edge)
	if p.on {
		p.said, p.quiet = p.said+pauseFrame, 0
	} else {
		p.quiet += pauseFrame
	}
	return p.said, p.quiet
}

func (p *Pause) edge(speaking bool, _ int64) { p.on = speaking }

// FirstWord tells when somebody who has been silent has said something: a fifth of a second of voice in all, so that a click, a
// breath or a key is none.
type FirstWord struct{ pause Pause }

const wordLength = 200 * time.Millisecond

// Hear takes the next 20 ms, always at the same rate, and tells whether something has been said by now. It does not block.
func (w *FirstWord) Hear(pcm []int16) bool {
	said, _ := w.pause.Hear(pcm)
	return said >= wordLength
}
