package speech

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// silero is the voice activity model of that name: 32 ms of sound in, the likelihood of speech out. One model serves all;
// what it remembers of a caller is in the detector.
type silero struct {
	onnx    *onnx
	session uintptr
	in, out [3][]byte // names
}

func openSilero(o *onnx, path string) (*silero, error) {
	s := &silero{onnx: o, in: [3][]byte{cstring("input"), cstring("state"), cstring("sr")}, out: [3][]byte{cstring("output"), cstring("stateN")}}
	var err error
	if s.session, err = o.session(path); err != nil {
		return nil, err
	}
	d, err := s.detector(Narrow) // a file that is another model is found out now
	if err == nil {
		_, err = d.likelihood(make([]int16, d.window))
		d.close()
	}
	return s, err
}

// When speech begins and ends. One window over sure, or two over likely, begin it; it goes on above unlikely.
const (
	sure        = 0.6
	likely      = 0.4
	unlikely    = 0.3
	endWindows  = 4    // of 32 ms below unlikely end it
	faint       = 33.0 // a window with less (root mean square: -60 dB of full scale) has no voice in it: the model now and then hears one in an idle line
	sileroState = 2 * 128
)

// sileroDetector is one caller's. Its memory is lent to the runtime, so it must not move: it is pinned.
type sileroDetector struct {
	model   *silero
	rate    int
	window  int // samples
	context int // samples of the window before, in front of this one
	input   []float32
	state   [2][]float32 // in, out; they change places
	sr      []int64
	prob    []float32
	pin     runtime.Pinner
	values  [5]uintptr // input, sr, prob, and the two states

	turn int // which state goes in
	part []int16
	now  int64
	on   bool
	run  int
	from int64
}

func (s *silero) detector(rate int) (*sileroDetector, error) {
	d := &sileroDetector{model: s, rate: rate, window: rate * 32 / 1000, context: rate / 250, sr: []int64{int64(rate)}, prob: make([]float32, 1)}
	d.input = make([]float32, d.context+d.window)
	d.state = [2][]float32{make([]float32, sileroState), make([]float32, sileroState)}
	for _, p := range []unsafe.Pointer{unsafe.Pointer(&d.input[0]), unsafe.Pointer(&d.state[0][0]), unsafe.Pointer(&d.state[1][0]), unsafe.Pointer(&d.sr[0]), unsafe.Pointer(&d.prob[0])} {
		d.pin.Pin((*byte)(p))
	}
	for i, t := range []struct {
		data  unsafe.Pointer
		bytes int
		shape []int64
		of    int
	}{
		{unsafe.Pointer(&d.input[0]), 4 * len(d.input), []int64{1, int64(len(d.input))}, ortFloat},
		{unsafe.Pointer(&d.sr[0]), 8, []int64{1}, ortInt64},
		{unsafe.Pointer(&d.prob[0]), 4, []int64{1, 1}, ortFloat},
		{unsafe.Pointer(&d.state[0][0]), 4 * sileroState, []int64{2, 1, 128}, ortFloat},
		{unsafe.Pointer(&d.state[1][0]), 4 * sileroState, []int64{2, 1, 128}, ortFloat},
	} {
		var err error
		if d.values[i], err = s.onnx.tensor(t.data, t.bytes, t.shape, t.of); err != nil {
			d.close()
			return nil, fmt.Errorf("silero: %w", err)
		}
	}
	return d, nil
}

// likelihood of speech in one window.
func (d *sileroDetector) likelihood(pcm []int16) (float32, error) {
	copy(d.input, d.input[d.window:])
	for i, s := range pcm {
		d.input[d.context+i] = float32(s) / 32768
	}
	s := d.model
	in := [3]uintptr{address(s.in[0]), address(s.in[1]), address(s.in[2])}
	out := [2]uintptr{address(s.out[0]), address(s.out[1])}
	inValues := [3]uintptr{d.values[0], d.values[3+d.turn], d.values[1]}
	outValues := [2]uintptr{d.values[2], d.values[4-d.turn]}
	err := s.onnx.call(ortRun, s.session, 0, uintptr(unsafe.Pointer(&in)), uintptr(unsafe.Pointer(&inValues)), 3, uintptr(unsafe.Pointer(&out)), 2, uintptr(unsafe.Pointer(&outValues)))
	runtime.KeepAlive(s)
	d.turn = 1 - d.turn
	return d.prob[0], err
}

func (d *sileroDetector) hear(at int64, pcm []int16, edge func(speaking bool, at int64)) {
	d.now = at - int64(len(d.part))
	d.part = append(d.part, pcm...)
	for len(d.part) >= d.window {
		p, err := d.likelihood(d.part[:d.window])
		if err != nil {
			panic(err) // the child ends, and another begins: the model was good when it was opened
		}
		if rms(d.part[:d.window]) < faint {
			p = 0
		}
		d.part = append(d.part[:0], d.part[d.window:]...)
		d.now += int64(d.window)
		d.judge(p, edge)
	}
}

// rms is the root mean square.
func rms(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(len(pcm)))
}

func (d *sileroDetector) judge(p float32, edge func(bool, int64)) {
	if d.on {
		if p >= unlikely {
			d.run = 0
			return
		}
		if d.run++; d.run == 1 {
			d.from = d.now - int64(d.window)
		}
		if d.run == endWindows {
			d.on, d.run = false, 0
			edge(false, d.from)
		}
		return
	}
	if p < likely {
		d.run = 0
		return
	}
	if d.run++; d.run == 1 {
		d.from = d.now - int64(d.window)
	}
	if d.run == 2 || p >= sure {
		d.on, d.run = true, 0
		edge(true, d.from)
	}
}

func (d *sileroDetector) close() {
	for _, v := range d.values {
		d.model.onnx.release(ortReleaseValue, v)
	}
	d.pin.Unpin()
}
