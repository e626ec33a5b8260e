package speech

// FirstWord tells when somebody who has been silent has said something: a fifth of a second of voice in all, so that a click, a
// breath or a key is none. The energy of the sound decides, no model.
type FirstWord struct {
	detector *energyDetector
	on       bool
	voiced   int // frames of 20 ms
}

const wordFrames = 10

// Hear takes the next 20 ms, always at the same rate, and tells whether something has been said by now. It does not block.
func (w *FirstWord) Hear(pcm []int16) bool {
	if w.detector == nil {
		w.detector = newEnergy(len(pcm) * 50)
	}
	w.detector.hear(0, pcm, w.edge)
	if w.on {
		w.voiced++
	}
	return w.voiced >= wordFrames
}

func (w *FirstWord) edge(speaking bool, _ int64) { w.on = speaking }
