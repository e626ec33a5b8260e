package media

import "math"

// resampler changes the sample rate by a whole factor, up or down, between 8, 16 and 48 kHz: a polyphase FIR filter
// (windowed sinc, Kaiser, 60 dB), exact to the sample over any number of frames. The filter delays by 2 ms at 8 kHz.
type resampler struct {
	up, down int
	taps     []float32 // of phase 0, then of phase 1, ...; each the wrong way round, so that it runs along the samples
	n        int       // taps of a phase
	history  []float32 // the n-1 samples before, and room for a block behind them
}

const (
	resampleTaps = 32   // for each sample of the lower rate
	resampleEdge = 0.96 // the cut, of the lower rate's half
	kaiserBeta   = 5.65 // 60 dB
	maxBlock     = 4096 // samples of one call
)

// newResampler makes one; from and to must be a whole multiple of each other.
func newResampler(from, to int) *resampler {
	r := &resampler{up: max(to/from, 1), down: max(from/to, 1)}
	factor := max(r.up, r.down)
	length := resampleTaps * factor
	filter := make([]float32, length)
	sum, middle := 0.0, float64(length-1)/2
	for i := range filter {
		x := float64(i) - middle
		v := 1.0
		if x != 0 {
			a := math.Pi * resampleEdge * x / float64(factor)
			v = math.Sin(a) / a
		}
		v *= bessel0(kaiserBeta*math.Sqrt(1-(x/(middle+1))*(x/(middle+1)))) / bessel0(kaiserBeta)
		filter[i], sum = float32(v), sum+v
	}
	r.n = length / r.up
	r.taps = make([]float32, length)
	for phase := range r.up {
		for i := range r.n {
			r.taps[phase*r.n+i] = filter[(r.n-1-i)*r.up+phase] * float32(float64(r.up)/sum)
		}
	}
	r.history = make([]float32, r.n-1, r.n-1+maxBlock)
	return r
}

// bessel0 is the modified Bessel function of order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}

// run appends the new samples to dst. Going down, len(src) must be a multiple of the factor.
func (r *resampler) run(dst, src []int16) []int16 {
	h := r.history[:r.n-1]
	for _, s := range src {
		h = append(h, float32(s))
	}
	for at := 0; at+r.down <= len(src); at += r.down {
		window := h[at : at+r.n]
		for phase := range r.up {
			sum := float32(0)
			for i, c := range r.taps[phase*r.n : phase*r.n+r.n] {
				sum += c * window[i]
			}
			dst = append(dst, clip(sum))
		}
	}
	copy(h, h[len(src):])
	r.history = h[:r.n-1]
	return dst
}

func clip(v float32) int16 {
	if v >= 0 {
		return int16(min(v+0.5, math.MaxInt16))
	}
	return int16(max(v-0.5, math.MinInt16))
}
