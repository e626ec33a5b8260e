package media

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// MaxSound is the longest sound that TelephoneSound takes.
const MaxSound = 15 * time.Minute

// The rates that TelephoneSound takes.
const (
	minRate = Rate
	maxRate = 48000
)

// TelephoneSound makes of a WAV file's bytes what telephones play: 8 kHz, mono. The error says what is wrong with the
// file, in words for the one who has it.
func TelephoneSound(wav []byte) ([]int16, error) {
	w, err := ReadWAV(wav)
	switch {
	case err != nil:
		return nil, err
	case w.Missing > 0:
		return nil, fmt.Errorf("cut off: %d bytes are missing at its end", w.Missing)
	case w.Channels > 2:
		return nil, fmt.Errorf("of %d channels: one or two were expected", w.Channels)
	case w.Rate < minRate || w.Rate > maxRate:
		return nil, fmt.Errorf("of %d Hz: %d to %d were expected", w.Rate, minRate, maxRate)
	case len(w.Samples) < w.Channels:
		return nil, errors.New("empty")
	}
	mono := w.mono()
	if length := time.Duration(len(mono)) * time.Second / time.Duration(w.Rate); length > MaxSound {
		return nil, fmt.Errorf("too long: %s, at most %s were expected", length.Round(time.Second), MaxSound)
	}
	return downsample(mono, w.Rate), nil
}

func (w *WAV) mono() []int16 {
	if w.Channels == 1 {
		return w.Samples
	}
	mono := make([]int16, len(w.Samples)/2)
	for i := range mono {
		mono[i] = int16((int32(w.Samples[2*i]) + int32(w.Samples[2*i+1])) / 2)
	}
	return mono
}

// The low-pass in front of 8 kHz: what a telephone carries passes, all that would be folded back is 80 dB down.
const (
	passBand   = 3400.0
	stopBand   = 4000.0
	soundBeta  = 7.857 // 80 dB (Kaiser 1974)
	stopDecays = (80 - 7.95) / (2.285 * 2 * math.Pi)
)

// downsample brings mono sound of any rate to 8 kHz, steeper than the resampler of live packets, which may not delay: a
// windowed sinc, computed once for each place that an output sample can have
// between two input samples.
func downsample(in []int16, rate int) []int16 {
	if rate == Rate {
		return in
	}
	g := gcd(rate, Rate)
	step, phases := rate/g, Rate/g // output n stands at n*step/phases of the input
	filters := make([][]float32, phases)
	half := int(math.Ceil(stopDecays * float64(rate) / (stopBand - passBand) / 2))
	out := make([]int16, (len(in)*phases+step-1)/step)
	for n := range out {
		at, phase := n*step/phases, n*step%phases
		if filters[phase] == nil {
			filters[phase] = lowPass(rate, half, float64(phase)/float64(phases))
		}
		from := at - half + 1
		taps := filters[phase]
		lo, hi := max(0, -from), min(len(taps), len(in)-from)
		var sum float32
		for k := lo; k < hi; k++ {
			sum += taps[k] * float32(in[from+k])
		}
		out[n] = clamp(float64(sum))
	}
	return out
}

// lowPass is the filter around a place that lies offset (0 to 1) behind the middle input sample, with gain 1.
func lowPass(rate, half int, offset float64) []float32 {
	cutoff := (passBand + stopBand) / float64(rate) // in half cycles a sample
	weights := make([]float64, 2*half)
	total := 0.0
	for k := range weights {
		x := float64(k-half+1) - offset
		edge := x / float64(half)
		if math.Abs(edge) >= 1 {
			continue
		}
		sinc := 1.0
		if x != 0 {
			sinc = math.Sin(math.Pi*cutoff*x) / (math.Pi * cutoff * x)
		}
		weights[k] = sinc * bessel0(soundBeta*math.Sqrt(1-edge*edge))
		total += weights[k]
	}
	taps := make([]float32, len(weights))
	for k, w := range weights {
		taps[k] = float32(w / total)
	}
	return taps
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// clamp also makes 0 of what is no number: int16 of NaN is whatever the processor likes.
func clamp(x float64) int16 {
	if math.IsNaN(x) {
		return 0
	}
	return int16(math.Round(min(max(x, math.MinInt16), math.MaxInt16)))
}
