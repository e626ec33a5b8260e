package speech

import "math"

// resampler changes the rate of a stream of sound by a ratio of whole numbers: a windowed sinc, computed once for each
// place that an output sample can have between two input samples. channels/voice/media has its own for packets; this
// floor imports none of ours.
type resampler struct {
	step, phases int // output n stands at n*step/phases of the input
	half         int // taps on each side
	filters      [][]float32
	in           []float32 // the last input; in[0] is sample first of the stream
	first, out   int
}

const (
	resampleZeros = 16   // zero crossings on each side, of the lower rate
	resampleEdge  = 0.92 // the cut, of the lower rate's half
	resampleBeta  = 6.2  // of the Kaiser window: 65 dB
)

// newResampler returns nil when there is nothing to do.
func newResampler(from, to int) *resampler {
	if from == to {
		return nil
	}
	g := gcd(from, to)
	scale := max(1, float64(from)/float64(to)) // going down the filter is wider
	r := &resampler{step: from / g, phases: to / g, half: int(math.Ceil(resampleZeros * scale))}
	r.filters = make([][]float32, r.phases)
	for p := range r.filters {
		offset := float64(p) / float64(r.phases)
		taps, sum := make([]float32, 2*r.half), 0.0
		for k := range taps {
			x := float64(k-r.half+1) - offset
			v := resampleEdge / scale
			if x != 0 {
				v = math.Sin(math.Pi*resampleEdge*x/scale) / (math.Pi * x)
			}
			edge := min(1, math.Abs(x)/float64(r.half))
			v *= bessel0(resampleBeta*math.Sqrt(1-edge*edge)) / bessel0(resampleBeta)
			taps[k], sum = float32(v), sum+v
		}
		for k := range taps {
			taps[k] /= float32(sum)
		}
		r.filters[p] = taps
	}
	r.in, r.first = make([]float32, r.half), -r.half
	return r
}

// run appends the output of the new samples to dst; it lags behind by half a filter. last: flush the rest.
func (r *resampler) run(dst, src []int16, last bool) []int16 {
	if r == nil {
		return append(dst, src...)
	}
	for _, s := range src {
		r.in = append(r.in, float32(s))
	}
	if last {
		r.in = append(r.in, make([]float32, r.half)...)
	}
	for {
		at, phase := r.out*r.step/r.phases, r.out*r.step%r.phases
		from := at - r.half + 1 - r.first
		if from+2*r.half > len(r.in) {
			break
		}
		sum := float32(0)
		for k, c := range r.filters[phase] {
			sum += c * r.in[from+k]
		}
		dst = append(dst, int16(min(max(math.Round(float64(sum)), math.MinInt16), math.MaxInt16)))
		r.out++
	}
	if done := r.out*r.step/r.phases - r.half + 1 - r.first; done > 4096 {
		r.in = append(r.in[:0], r.in[done:]...)
		r.first += done
	}
	return dst
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// bessel0 is the modified Bessel function of order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-10*sum; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}
