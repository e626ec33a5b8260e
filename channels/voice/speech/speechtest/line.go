package speechtest

import (
	"math"
	"math/rand/v2"
)

// Line is a telephone line for sound of 8 kHz: the band of 300 to 3400 Hz, µ-law's steps, a little noise, and a share of frames
// lost, whose place the last one takes at half its strength.
func Line(pcm []int16, loss float64, seed uint64) []int16 {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, len(pcm))
	var in1, low, band float64
	for i, s := range pcm {
		x := float64(s)
		band = 0.79 * (band + x - in1) // high-pass at 300 Hz
		in1 = x
		low += 0.93 * (band - low) // low-pass at 3400 Hz
		out[i] = muLaw(low + rng.NormFloat64()*20)
	}
	const frame = 8000 / 50
	for at := frame; at+frame <= len(out); at += frame {
		if rng.Float64() < loss {
			for i := range frame {
				out[at+i] = out[at-frame+i] / 2
			}
		}
	}
	return out
}

// muLaw is what remains of a sample after µ-law (ITU-T G.711): eight segments of sixteen steps.
func muLaw(x float64) int16 {
	v := int(min(math.Abs(x), 32635)) + 132
	shift := 0
	for v>>shift > 255 {
		shift++
	}
	v = v >> (shift + 3) << (shift + 3)
	v += 1<<(shift+2) - 132
	if x < 0 {
		return int16(-v)
	}
	return int16(v)
}

// Louder brings sound to a peak.
func Louder(pcm []int16, peak float64) []int16 {
	top := 1.0
	for _, s := range pcm {
		top = max(top, math.Abs(float64(s)))
	}
	out := make([]int16, len(pcm))
	for i, s := range pcm {
		out[i] = int16(float64(s) * peak / top)
	}
	return out
}
