package media

import (
	"math"
	"math/cmplx"
	"strings"
)

// keyTones are the frequencies of the keypad (ITU-T Q.23): a low one for the row and a high one for the column.
var keyTones = [8]float64{697, 770, 852, 941, 1209, 1336, 1477, 1633}

// keyGrid is the digit of each row and column.
const keyGrid = "123A" + "456B" + "789C" + "*0#D"

// Rules of ITU-T Q.24, and what keeps speech from being taken for a key. A window of 12.75 ms puts the keys' tones, 70
// Hz and more apart, near the zeros of each other's filter; windows overlap by half.
const (
	toneWindow = 102
	toneHop    = toneWindow / 2
	toneRun    = 5    // windows in a row: 38 ms
	toneGap    = 3    // windows without it: the key was let go
	toneFloor  = 70.0 // least level of a window, -53 dBov

	tonePure    = 0.75  // least share of the two tones in a window's power; 1.5 % off frequency still passes
	toneAlone   = 6.3   // 8 dB above every other tone of its group
	toneTwist   = 10.0  // a row may be so much stronger than its column, or the other way round: 10 dB
	toneHarmony = 0.126 // most of a tone's power at its double: voices have harmonics, keys have none
	toneSteady  = 1.35  // from window to window the power of a tone may change by 1.3 dB ...
	toneOff     = 0.018 // ... and its frequency be off by so much, ...
	toneGlide   = 2.5   // ... always the same, to so many Hz: voices glide
)

// toneEar finds keys in sound at 8 kHz, for lines that carry them in no other way.
type toneEar struct {
	window [toneWindow]float64
	n      int
	last   toneGuess // of the window before
	run    int       // windows of it in a row that are as steady as a machine
	held   byte      // the key that was told and not let go yet
	gone   int       // windows without it
}

// toneGuess is what a window sounds like.
type toneGuess struct {
	digit  byte          // 0 = no key
	tones  [2]complex128 // of its row and its column, at the window's end
	off    [2]float64    // Hz by which the tones differ from the key's, by their phase since the window before
	glided bool          // off is not known yet
}

// hear takes samples and tells each key once.
func (e *toneEar) hear(pcm []int16, key func(digit byte)) {
	for _, s := range pcm {
		e.window[e.n] = float64(s)
		if e.n++; e.n == toneWindow {
			e.count(e.judge(), key)
			e.n = copy(e.window[:], e.window[toneHop:])
		}
	}
}

// count turns windows into keys.
func (e *toneEar) count(g toneGuess, key func(byte)) {
	g.glided = true
	if g.digit != 0 && g.digit == e.last.digit && g.follows(&e.last) {
		e.run++
	} else {
		e.run = 1
	}
	e.last = g
	if e.held != 0 {
		if g.digit == e.held {
			e.gone = 0
			return
		}
		if e.gone++; e.gone < toneGap {
			return
		}
		e.held = 0
	}
	if g.digit != 0 && e.run >= toneRun {
		e.held, e.gone = g.digit, 0
		key(g.digit)
	}
}

// follows says whether the window goes on with the same two tones as the one before, as steadily as a machine does.
func (g *toneGuess) follows(before *toneGuess) bool {
	row, column := keyPlace(g.digit)
	for i, hz := range [2]float64{keyTones[row], keyTones[4+column]} {
		a, b := g.tones[i], before.tones[i]
		change := power(a) / power(b)
		if change > toneSteady || change < 1/toneSteady {
			return false
		}
		turn := cmplx.Phase(a*cmplx.Conj(b)) - 2*math.Pi*hz*toneHop/Rate
		turn -= 2 * math.Pi * math.Round(turn/(2*math.Pi))
		g.off[i] = turn * Rate / (2 * math.Pi * toneHop)
		if math.Abs(g.off[i]) > toneOff*hz || !before.glided && math.Abs(g.off[i]-before.off[i]) > toneGlide {
			return false
		}
	}
	g.glided = false
	return true
}

func keyPlace(digit byte) (row, column int) {
	i := strings.IndexByte(keyGrid, digit)
	return i / 4, i % 4
}

// judge names the key that a window sounds like.
func (e *toneEar) judge() (g toneGuess) {
	total := 0.0
	for _, s := range e.window {
		total += s * s
	}
	if total < toneFloor*toneFloor*toneWindow {
		return g
	}
	var tones [8]complex128
	for i, hz := range keyTones {
		tones[i] = e.tone(hz)
	}
	row, rowAlone := strongest(tones[:4])
	column, columnAlone := strongest(tones[4:])
	low, high := power(tones[row]), power(tones[4+column])
	if !rowAlone || !columnAlone || low+high < tonePure*total || high > low*toneTwist || low > high*toneTwist {
		return g
	}
	lowTone, highTone := keyTones[row], keyTones[4+column]
	// The row's double cannot be told from a column near it.
	if math.Abs(2*lowTone-highTone) > 150 && power(e.tone(2*lowTone)) > toneHarmony*low || power(e.tone(2*highTone)) > toneHarmony*high {
		return g
	}
	g.digit, g.tones = keyGrid[4*row+column], unmix(tones[row], tones[4+column], lowTone, highTone)
	return g
}

// unmix takes from each of two tones what the other leaks into it: a window is too short to part them well enough for
// follows.
func unmix(a, b complex128, aHz, bHz float64) [2]complex128 {
	turn := 2 * math.Pi * (aHz - bHz) / Rate
	leak := (1 - cmplx.Rect(1, turn*toneWindow)) / (1 - cmplx.Rect(1, turn)) / toneWindow
	rest := 1 - complex(power(leak), 0)
	return [2]complex128{(a - leak*b) / rest, (b - cmplx.Conj(leak)*a) / rest}
}

// tone is a frequency's part in the window (Goertzel): its phase at the window's end, and scaled so that power is its
// share of the sum of squares.
func (e *toneEar) tone(hz float64) complex128 {
	sin, cos := math.Sincos(2 * math.Pi * hz / Rate)
	s1, s2 := 0.0, 0.0
	for _, v := range e.window {
		s1, s2 = v+2*cos*s1-s2, s1
	}
	return complex(s1-cos*s2, sin*s2) * complex(math.Sqrt(2.0/toneWindow), 0)
}

func power(c complex128) float64 { return real(c)*real(c) + imag(c)*imag(c) }

// strongest is the first among four, and whether it stands alone.
func strongest(tones []complex128) (best int, alone bool) {
	for i, c := range tones {
		if power(c) > power(tones[best]) {
			best = i
		}
	}
	for i, c := range tones {
		if i != best && power(c)*toneAlone > power(tones[best]) {
			return best, false
		}
	}
	return best, true
}

// hearTones starts or ends listening for keys in the sound, after what was negotiated: only where the leg asked for it
// and the other side has no telephone-events.
func (l *Leg) hearTones() {
	l.toneLock.Lock()
	defer l.toneLock.Unlock()
	want := l.inBand && !l.ended && l.Format().Events == 0
	if want == (l.stopTones != nil) {
		return
	}
	if !want {
		l.stopTones()
		l.stopTones = nil
		return
	}
	ear, half := new(toneEar), (*resampler)(nil)
	var narrow [FrameSamples]int16
	l.stopTones = l.Listen(func(pcm []int16) {
		if len(pcm) > FrameSamples {
			if half == nil {
				half = newResampler(opusRate, Rate)
			}
			pcm = half.run(narrow[:0], pcm)
		}
		ear.hear(pcm, l.onDTMF)
	})
}
