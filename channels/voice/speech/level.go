package speech

import "math"

// meter tells how loud the sound of late is, in dB of full scale: the loudest 60 ms of the last half second. A vowel is in them, and
// a click is not.
type meter struct {
	powers [meterKeeps]float64 // mean squares of the newest parts of 20 ms, in a circle
	n      int
	told   float64
}

const (
	meterWindow = 3
	meterKeeps  = 25 + meterWindow - 1
	meterUp     = 1.0    // dB louder that are told: how loud somebody is at most is compared
	meterDown   = 3.0    // and softer
	meterFloor  = -100.0 // digital silence
)

// hear takes about 20 ms.
func (m *meter) hear(pcm []int16) {
	if len(pcm) > 0 {
		r := rms(pcm) / 32768
		m.powers[m.n%meterKeeps] = r * r
		m.n++
	}
}

// level is how loud it is now.
func (m *meter) level() float64 {
	most := 0.0
	for i := range meterKeeps - meterWindow + 1 {
		sum := 0.0
		for k := range meterWindow {
			sum += m.powers[(m.n+i+k)%meterKeeps]
		}
		most = max(most, sum/meterWindow)
	}
	return max(meterFloor, 10*math.Log10(most+1e-12))
}

// tell is the level, to be told.
func (m *meter) tell() float64 {
	m.told = m.level()
	return m.told
}

// moved says whether the level has changed so much that it should be told.
func (m *meter) moved() bool {
	up := m.level() - m.told
	return up >= meterUp || -up >= meterDown
}
