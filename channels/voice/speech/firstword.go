package speech

import "time"

// FirstWord tells when somebody who has been silent has said something: a fifth of a second of voice in all, so that a click, a
// breath or a key is none.
type FirstWord struct{ pause Pause }

const wordLength = 200 * time.Millisecond

// Hear takes the next 20 ms, always at the same rate, and tells whether something has been said by now. It does not block.
func (w *FirstWord) Hear(pcm []int16) bool {
	said, _ := w.pause.Hear(pcm)
	return said >= wordLength
}
