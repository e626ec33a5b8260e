package speech

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// soundFile reads a WAV file, 16 bit or µ-law, mono, at 8 kHz.
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

// toneOf is a sum of sines that lasts so many seconds.
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
