package speech

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// line is a telephone line: the band of 300 to 3400 Hz, µ-law's steps, a little noise, and a share of frames lost, whose place
// the last one takes at half its strength.
func line(pcm []int16, loss float64, seed uint64) []int16 {
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
	const frame = Narrow / 50
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

// louder brings sound to a peak.
func louder(pcm []int16, peak float64) []int16 {
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

// sound reads a WAV file, 16 bit or µ-law, mono, at 8 kHz.
func soundFile(t testing.TB, path string) []int16 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	format, rate := 0, 0
	for at := 12; at+8 <= len(b); {
		size := int(binary.LittleEndian.Uint32(b[at+4:]))
		body := b[at+8 : min(len(b), at+8+size)]
		switch string(b[at : at+4]) {
		case "fmt ":
			format, rate = int(binary.LittleEndian.Uint16(body)), int(binary.LittleEndian.Uint32(body[4:]))
		case "data":
			if format != 7 {
				return newResampler(rate, Narrow).run(nil, samplesOf(body), true)
			}
			pcm := make([]int16, len(body))
			for i, c := range body {
				c = ^c
				v := (int16(c&15)<<3+132)<<(c>>4&7) - 132
				if pcm[i] = v; c&128 != 0 {
					pcm[i] = -v
				}
			}
			return newResampler(rate, Narrow).run(nil, pcm, true)
		}
		at += 8 + size + size&1
	}
	t.Fatalf("%s has no sound", path)
	return nil
}

// tone is a sum of sines that lasts so many seconds.
func toneOf(seconds float64, hz ...float64) []int16 {
	pcm := make([]int16, int(seconds*Narrow))
	for i := range pcm {
		v := 0.0
		for _, f := range hz {
			v += 6000 * math.Sin(2*math.Pi*f*float64(i)/Narrow)
		}
		pcm[i] = int16(v)
	}
	return pcm
}

// noise of a colour: 0 is white, near 1 is brown.
func noise(seconds, colour, level float64) []int16 {
	rng := rand.New(rand.NewPCG(7, 7))
	pcm := make([]int16, int(seconds*Narrow))
	last := 0.0
	for i := range pcm {
		last = colour*last + (1-colour)*rng.NormFloat64()
		pcm[i] = int16(min(max(level*last, -32000), 32000))
	}
	return pcm
}

// fax is a machine that calls: CNG, the answer's CED, V.21's two tones with 300 bits a second, then a page's modem noise.
func fax(seconds int) []int16 {
	rng := rand.New(rand.NewPCG(3, 3))
	var pcm []int16
	for len(pcm) < seconds*Narrow {
		pcm = append(pcm, toneOf(0.5, 1100)...)
		pcm = append(pcm, make([]int16, 3*Narrow)...)
		pcm = append(pcm, toneOf(3, 2100)...)
		phase := 0.0
		for range 600 {
			f := 1650.0
			if rng.IntN(2) == 0 {
				f = 1850
			}
			for range Narrow / 300 {
				phase += 2 * math.Pi * f / Narrow
				pcm = append(pcm, int16(6000*math.Sin(phase)))
			}
		}
		for range 2400 * 3 { // quadrature: 2400 symbols a second on 1700 Hz
			a := math.Pi / 2 * float64(rng.IntN(4))
			for range 3 {
				phase += 2 * math.Pi * 1700 / Narrow
				pcm = append(pcm, int16(6000*math.Sin(phase+a)))
			}
		}
	}
	return pcm
}
