package speech

import (
	"slices"
	"time"
)

// memory is what an Ear has heard since the last Final, for an engine that has to hear it again because the one before has died. It is the
// Ear's goroutine's, which is not the media path's.
type memory struct {
	rate  int
	from  int64   // the place of the first sample
	pcm   []int16 // grows to what the longest turn takes
	ends  []int64 // Finishes that wait for their Final, by their places
	short bool    // there was more since the last Final than it holds
}

const (
	remembered  = 45 * time.Second // longer than a turn may be
	roomAtFirst = 8 * time.Second
)

func newMemory(rate int) *memory {
	m := &memory{rate: rate}
	m.pcm = make([]int16, 0, m.samples(roomAtFirst))
	return m
}

func (m *memory) samples(d time.Duration) int {
	return int(int64(d) * int64(m.rate) / int64(time.Second))
}

// end is the place behind the last sample.
func (m *memory) end() int64 { return m.from + int64(len(m.pcm)) }

// keep takes the samples at a place. What was dropped before them is silence.
func (m *memory) keep(at int64, pcm []int16) {
	most := m.samples(remembered)
	if gap := at - m.end(); gap < 0 || gap > int64(most) || len(m.pcm) == 0 {
		m.short = m.short || len(m.pcm) > 0
		m.from, m.pcm = at, m.pcm[:0]
	} else {
		for range gap {
			m.pcm = append(m.pcm, 0)
		}
	}
	m.pcm = append(m.pcm, pcm...)
	if over := len(m.pcm) - most; over > 0 {
		m.short = true
		m.forget(m.from + int64(max(over, most/8))) // not at each frame
	}
}

// forget what lies before a place.
func (m *memory) forget(until int64) {
	if n := min(until-m.from, int64(len(m.pcm))); n > 0 {
		m.pcm = append(m.pcm[:0], m.pcm[n:]...)
		m.from += n
	}
}

// idle forgets what is older than lead, while nobody has said anything.
func (m *memory) idle(lead time.Duration) {
	if n := m.samples(lead); len(m.pcm) > n+n/8 { // not at each frame
		m.forget(m.end() - int64(n))
	}
	m.short = false
}

// settled: the first of the Finishes has its answer; of what was said before it nothing is owed any more.
func (m *memory) settled() {
	until := m.end()
	if len(m.ends) > 0 {
		until = m.ends[0]
		m.ends = slices.Delete(m.ends, 0, 1)
	}
	m.forget(until)
	m.short = false
}

// clear forgets everything.
func (m *memory) clear() {
	m.from, m.pcm, m.ends, m.short = m.end(), m.pcm[:0], nil, false
}

// replay gives back the sound in frames of a length, with each Finish at its place.
func (m *memory) replay(length time.Duration, frame func(at int64, pcm []int16), finish func()) {
	at := m.from
	give := func(until int64) {
		if until = min(until, m.end()); until <= at {
			return
		}
		for part := range slices.Chunk(m.pcm[at-m.from:until-m.from], m.samples(length)) {
			frame(at, part)
			at += int64(len(part))
		}
	}
	for _, end := range m.ends {
		give(end)
		finish()
	}
	give(m.end())
}
