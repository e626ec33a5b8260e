package speechtest

import (
	"math"
	"strings"
)

// The code that the kit speaks and hears: each word begins with a sync tone, then come two tones for each letter, of two
// banks in turn, so that equal neighbours stay apart. All tones lie in the telephone band and survive µ-law, lost
// frames hit a word at most. About 14 letters a second, like a person.
const (
	tone     = 0.030 // seconds
	syncTone = 0.040
	gap      = 0.020 // of silence between words
	lowest   = 420.0 // Hz
	apart    = 82.0
	banks    = 2 * 16
	level    = 0.25
)

func frequency(i int) float64 { return lowest + apart*float64(i) } // i == banks: sync

// Voice is the sound of text, for Understand; words of ASCII come back as they were.
func Voice(text string, rate int) []int16 {
	var pcm []int16
	phase := 0.0
	add := func(f, length float64) {
		n := int(length * float64(rate))
		for i := range n {
			edge := min(1, float64(min(i, n-i))/(0.002*float64(rate)))
			pcm = append(pcm, int16(level*32767*edge*math.Sin(phase)))
			phase += 2 * math.Pi * f / float64(rate)
		}
	}
	for word := range strings.FieldsSeq(text) {
		add(frequency(banks), syncTone)
		for _, b := range []byte(word) {
			add(frequency(int(b>>4)), tone)
			add(frequency(16+int(b&15)), tone)
		}
		pcm = append(pcm, make([]int16, int(gap*float64(rate)))...)
	}
	return pcm
}

// Silence is so many seconds of nothing.
func Silence(seconds float64, rate int) []int16 { return make([]int16, int(seconds*float64(rate))) }

// Understand tells the words of Voice, in whatever sound they lie. A word that was cut comes back as far as it was spoken; what is no code is nothing.
func Understand(pcm []int16, rate int) string {
	var words []string
	var word []byte
	high, inWord := -1, false
	end := func() {
		if len(word) > 0 {
			words = append(words, string(word))
		}
		word, high = nil, -1
	}
	for _, t := range tones(pcm, rate) {
		switch {
		case t == banks:
			end()
			inWord = true
		case !inWord:
		case t < 0:
			end()
			inWord = false
		case t < 16:
			high = t
		case high >= 0:
			word = append(word, byte(high<<4|(t-16)))
			high = -1
		}
	}
	end()
	return strings.Join(words, " ")
}

// tones is the sequence of the tones heard, -1 for silence; each counts when it stood for a third of its length.
func tones(pcm []int16, rate int) []int {
	window, hop := rate*16/1000, rate*4/1000
	var seq []int
	last, run := -2, 0
	for at := 0; at+window <= len(pcm); at += hop {
		t := strongest(pcm[at:at+window], rate)
		if t == last {
			run++
		} else {
			last, run = t, 1
		}
		if run == 3 && (len(seq) == 0 || seq[len(seq)-1] != t) {
			seq = append(seq, t)
		}
	}
	return seq
}

func strongest(pcm []int16, rate int) int {
	total := 0.0
	for _, s := range pcm {
		total += float64(s) * float64(s)
	}
	if total/float64(len(pcm)) < 300*300 {
		return -1
	}
	best, which := 0.0, -1
	for i := range banks + 1 {
		if p := goertzel(pcm, frequency(i), rate); p > best {
			best, which = p, i
		}
	}
	if best < 0.5*total*float64(len(pcm))/2 { // of what a pure tone has
		return -2
	}
	return which
}

func goertzel(pcm []int16, f float64, rate int) float64 {
	c := 2 * math.Cos(2*math.Pi*f/float64(rate))
	var a, b float64
	for _, s := range pcm {
		a, b = float64(s)+c*a-b, a
	}
	return a*a + b*b - c*a*b
}
