package voicetest

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"patchbay/channels/voice/media"
)

// Rate is the telephone's.
const Rate = media.Rate

// Speech is what a speaker of this seed says: noise in bursts of 80-500 ms, on and off, at random levels. Every seed
// differs in its envelope, which survives codecs, jitter buffers and changes of rate.
func Speech(seed uint64, d time.Duration, rate int) []int16 {
	r := rand.New(rand.NewPCG(seed, seed))
	noise := rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, 0, int(d.Seconds()*float64(rate)))
	for on := true; len(out) < cap(out); on = !on {
		n := int((0.080 + 0.420*r.Float64()) * float64(rate))
		level := 0.1 + 0.7*r.Float64()
		for range min(n, cap(out)-len(out)) {
			v := 0.0
			if on {
				v = level * (2*noise.Float64() - 1) * math.MaxInt16
			}
			out = append(out, int16(v))
		}
	}
	return out
}

// ULaw encodes samples for the line.
func ULaw(samples []int16) []byte {
	b := make([]byte, len(samples))
	for i, s := range samples {
		b[i] = media.EncodeULaw(s)
	}
	return b
}

// FromULaw decodes what was heard on the line.
func FromULaw(b []byte) []int16 {
	s := make([]int16, len(b))
	media.DecodeULaw(s, b)
	return s
}

// Envelope is the RMS of each 20 ms.
func Envelope(samples []int16, rate int) []float64 {
	n := rate / 50
	env := make([]float64, 0, len(samples)/n)
	for ; len(samples) >= n; samples = samples[n:] {
		env = append(env, RMS(samples[:n]))
	}
	return env
}

// RMS is the level of a piece of sound.
func RMS(samples []int16) float64 {
	if len(samples) == 0 {
		return 0
	}
	sum := 0.0
	for _, s := range samples {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(len(samples)))
}

// MinOverlap is the least a comparison must cover to mean anything: 8 s. With 4 s a wrong speaker can reach 0.63.
const MinOverlap = 400

// Score is the best correlation of two envelopes over all lags that overlap by MinOverlap frames, and that lag: frames
// by which heard comes later.
func Score(sent, heard []float64) (score float64, lag int) {
	score = -1
	for l := MinOverlap - len(sent); l <= len(heard)-MinOverlap; l++ {
		if s := at(sent, heard, l, MinOverlap); s > score {
			score, lag = s, l
		}
	}
	return score, lag
}

// at is Pearson's correlation of heard, shifted by lag, with sent.
func at(sent, heard []float64, lag, least int) float64 {
	from, to := max(0, -lag), min(len(sent), len(heard)-lag)
	n := float64(to - from)
	if to-from < least {
		return -1
	}
	var sx, sy, sxx, syy, sxy float64
	for i := from; i < to; i++ {
		x, y := sent[i], heard[i+lag]
		sx, sy, sxx, syy, sxy = sx+x, sy+y, sxx+x*x, syy+y*y, sxy+x*y
	}
	d := math.Sqrt((n*sxx - sx*sx) * (n*syy - sy*sy))
	if d < 1e-9 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}

// Check demands that heard is what right said and not what anybody of wrong said, at one steady delay. Rate of all: 8 kHz.
func Check(t testing.TB, who string, heard, right []int16, wrong ...[]int16) {
	t.Helper()
	h, r := Envelope(heard, Rate), Envelope(right, Rate)
	score, lag := Score(r, h)
	others := -1.0
	for _, w := range wrong {
		s, _ := Score(Envelope(w, Rate), h)
		others = max(others, s)
	}
	t.Logf("%s: score %.4f, others at most %.3f, lag %d frames, %d frames heard", who, score, others, lag, len(h))
	if score < 0.9 {
		t.Errorf("%s: heard something else: score %.3f", who, score)
		return
	}
	if len(wrong) > 0 && score-others < 0.4 {
		t.Errorf("%s: others score %.3f beside %.3f", who, others, score)
	}
	if d := drift(r, h, lag); d < -1 || d > 1 {
		t.Errorf("%s: the delay moved by %d frames", who, d)
	}
}

// CheckPlayed is Check for what a browser has played: its jitter buffer stretches and shortens speech to keep up with the
// network and with its own machine, so every 2 s are compared at a delay of their own, at most 200 ms from the overall one.
func CheckPlayed(t testing.TB, who string, heard, right []int16, wrong ...[]int16) {
	t.Helper()
	h := Envelope(heard, Rate)
	score, pieces := played(Envelope(right, Rate), h)
	others := -1.0
	for _, w := range wrong {
		s, _ := played(Envelope(w, Rate), h)
		others = max(others, s)
	}
	t.Logf("%s: score %.4f, others at most %.3f, %d frames heard", who, score, others, len(h))
	if score < 0.9 || len(wrong) > 0 && score-others < 0.3 {
		t.Errorf("%s: heard something else: score %.3f, others %.3f; each 2 s: %.2f", who, score, others, pieces)
	}
}

// played is the mean score of the pieces of heard.
func played(sent, heard []float64) (mean float64, pieces []float64) {
	const piece, stray = 100, 10
	_, lag := Score(sent, heard)
	for i := max(0, lag); i+piece <= min(len(heard), len(sent)+lag); i += piece { // what both share
		best := -1.0
		for from := i - lag - stray; from <= i-lag+stray; from++ {
			if from >= 0 && from+piece <= len(sent) {
				best = max(best, at(sent[from:from+piece], heard[i:i+piece], 0, piece))
			}
		}
		pieces = append(pieces, best)
		mean += best
	}
	if len(pieces) < MinOverlap/piece {
		return -1, pieces
	}
	return mean / float64(len(pieces)), pieces
}

// drift is by how many frames the second half of what both share lies elsewhere than the whole.
func drift(sent, heard []float64, lag int) int {
	from, to := max(0, -lag), min(len(sent), len(heard)-lag)
	half := sent[from+(to-from)/2 : to]
	best, moved := -1.0, 0
	for d := -10; d <= 10; d++ {
		if s := at(half, heard, lag+from+(to-from)/2+d, len(half)/2); s > best {
			best, moved = s, d
		}
	}
	return moved
}

// CheckSilent demands that nothing can be heard.
func CheckSilent(t testing.TB, who string, heard []int16) {
	t.Helper()
	if l := RMS(heard); l > 20 {
		t.Errorf("%s: should hear silence, level %.0f", who, l)
	}
}

// Tone is the share of a pure tone in the sound's power, 0 to 1 (Goertzel).
func Tone(samples []int16, rate int, hz float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	c := 2 * math.Cos(2*math.Pi*hz/float64(rate))
	var s1, s2, power float64
	for _, v := range samples {
		s0 := float64(v) + c*s1 - s2
		s1, s2 = s0, s1
		power += float64(v) * float64(v)
	}
	if power == 0 {
		return 0
	}
	return 2 * (s1*s1 + s2*s2 - c*s1*s2) / (power * float64(len(samples)))
}

// Sine is a pure tone.
func Sine(hz float64, d time.Duration, rate int) []int16 {
	out := make([]int16, int(d.Seconds()*float64(rate)))
	for i := range out {
		out[i] = int16(10000 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)))
	}
	return out
}

// WriteWAV writes a mono file.
func WriteWAV(t testing.TB, path string, samples []int16, rate int) {
	t.Helper()
	writeWAV(t, path, samples, rate, 1)
}

func writeWAV(t testing.TB, path string, samples []int16, rate, wide int) {
	t.Helper()
	w := media.WAV{Rate: rate, Channels: wide, Samples: samples}
	if err := os.WriteFile(path, w.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ReadWAV reads the first channel of a file.
func ReadWAV(t testing.TB, path string) (samples []int16, rate int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := media.ReadWAV(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(w.Samples); i += w.Channels {
		samples = append(samples, w.Samples[i])
	}
	return samples, w.Rate
}
