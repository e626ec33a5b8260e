package speech

import (
	"math"
	"sync"
)

// The features that models of Whisper's family read in place of sound at 16 kHz: each 10 ms the power in 80 bands of 25 ms of sound, in
// logarithm. The numbers are those of transformers' WhisperFeatureExtractor: Slaney's mel bands, the sound mirrored at both ends, all
// that is 80 dB below the loudest cut off.
const (
	melBands  = 80
	melHop    = Wide / 100
	melWindow = Wide / 40
	melBins   = melWindow/2 + 1
)

// band is one triangular filter: its weights from bin first on.
type band struct {
	first   int
	weights []float64
}

type melTables struct {
	hann  [melWindow]float64
	twist [melWindow]complex128 // the roots of unity
	bands [melBands]band
}

var melTable = sync.OnceValue(func() *melTables {
	t := &melTables{}
	for i := range melWindow {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / melWindow)
		t.hann[i], t.twist[i] = (1-cos)/2, complex(cos, -sin)
	}
	hertz := func(mel float64) float64 { // linear up to 1 kHz, at mel 15
		if mel < 15 {
			return 200 * mel / 3
		}
		return 1000 * math.Exp(math.Log(6.4)/27*(mel-15))
	}
	top := 15 + 27/math.Log(6.4)*math.Log(8)
	edge := func(i int) float64 { return hertz(top * float64(i) / (melBands + 1)) }
	for b := range t.bands {
		low, mid, high := edge(b), edge(b+1), edge(b+2)
		for bin := range melBins {
			f := float64(bin) * Wide / melWindow
			w := min((f-low)/(mid-low), (high-f)/(high-mid)) * 2 / (high - low)
			if w <= 0 {
				continue
			}
			if t.bands[b].weights == nil {
				t.bands[b].first = bin
			}
			t.bands[b].weights = append(t.bands[b].weights, w)
		}
	}
	return t
})

// logMel is the features of sound, band by band: len(pcm)/160 numbers for each of the 80.
func logMel(pcm []float32) []float32 {
	t, frames := melTable(), len(pcm)/melHop
	out := make([]float32, melBands*frames)
	at := func(i int) float64 { // mirrored at both ends
		if i < 0 {
			i = -i
		}
		if i >= len(pcm) {
			i = max(0, 2*(len(pcm)-1)-i)
		}
		return float64(pcm[i])
	}
	var in, spectrum [melWindow]complex128
	var power [2][melBins]float64
	loudest := math.Inf(-1)
	same := 0 // samples at the beginning that are alike: silence in front of the sound
	for same < len(pcm) && pcm[same] == pcm[0] {
		same++
	}
	for f := 0; f < frames; f += 2 { // two at once, as the real and the imaginary part of one
		if f > 0 && (f+1)*melHop+melWindow/2 <= same { // the numbers are the last ones'
			for b := range t.bands {
				out[b*frames+f], out[b*frames+f+1] = out[b*frames], out[b*frames]
			}
			continue
		}
		for i := range in {
			a := at(f*melHop + i - melWindow/2)
			b := at((f+1)*melHop + i - melWindow/2)
			in[i] = complex(a*t.hann[i], b*t.hann[i])
		}
		fourier(spectrum[:], in[:], 1, t.twist[:])
		for k := range melBins {
			x, y := spectrum[k], spectrum[(melWindow-k)%melWindow]
			ar, ai, br, bi := real(x)+real(y), imag(x)-imag(y), imag(x)+imag(y), real(y)-real(x)
			power[0][k], power[1][k] = (ar*ar+ai*ai)/4, (br*br+bi*bi)/4
		}
		for g := f; g < min(f+2, frames); g++ {
			for b := range t.bands {
				sum := 0.0
				for i, w := range t.bands[b].weights {
					sum += w * power[g-f][t.bands[b].first+i]
				}
				v := math.Log10(max(sum, 1e-10))
				loudest = max(loudest, v)
				out[b*frames+g] = float32(v)
			}
		}
	}
	floor := float32(loudest - 8)
	for i, v := range out {
		out[i] = (max(v, floor) + 4) / 4
	}
	return out
}

// fourier transforms in, of which every step-th number counts, to out; its length must be made of 2 and 5. twist are the roots of
// unity of the whole.
func fourier(out, in []complex128, step int, twist []complex128) {
	n := len(out)
	if n == 1 {
		out[0] = in[0]
		return
	}
	radix := 5
	if n%2 == 0 {
		radix = 2
	}
	m := n / radix
	for r := range radix {
		fourier(out[r*m:(r+1)*m], in[r*step:], step*radix, twist)
	}
	fifth := len(twist) / 5
	for k := range m {
		if radix == 2 {
			a, b := out[k], out[m+k]*twist[k*step]
			out[k], out[m+k] = a+b, a-b
			continue
		}
		a, b, c, d, e := out[k], out[m+k]*twist[k*step], out[2*m+k]*twist[2*k*step], out[3*m+k]*twist[3*k*step], out[4*m+k]*twist[4*k*step]
		for q := range radix {
			out[q*m+k] = a + b*twist[q*fifth] + c*twist[2*q%5*fifth] + d*twist[3*q%5*fifth] + e*twist[4*q%5*fifth]
		}
	}
}

// floats is sound between -1 and 1, as models want it.
func floats(pcm []int16) []float32 {
	out := make([]float32, len(pcm))
	for i, v := range pcm {
		out[i] = float32(v) / 32768
	}
	return out
}
