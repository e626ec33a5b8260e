package media

import (
	"math/rand/v2"
	"testing"
	"time"
)

// line is a network between a phone and a jitter buffer, without a clock: each packet gets its delay and drops out at
// the time it arrives.
type line struct {
	loss, reorder, twice float64
	spread               time.Duration // delays are 10 ms and up to this more
	drift                float64       // of the phone's clock: 0.001 = it sends 0.1 % too fast
	stall                time.Duration // once, after 3 s: nothing arrives for so long, then all
}

// carry runs packets through the line and the buffer and returns what was pulled.
func (l line) carry(t testing.TB, in []*Packet, rate int, seed uint64) ([]int16, *jitter) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 9))
	start := in[0].Arrived
	type arrival struct {
		at time.Time
		p  *Packet
	}
	var queue []arrival
	add := func(at time.Time, p *Packet) {
		i := len(queue)
		for i > 0 && queue[i-1].at.After(at) {
			i--
		}
		queue = append(queue[:i], append([]arrival{{at, p}}, queue[i:]...)...)
	}
	last := start
	for i, p := range in {
		at := start.Add(time.Duration(float64(p.Arrived.Sub(start))/(1+l.drift)) + 10*time.Millisecond)
		if l.spread > 0 {
			at = at.Add(time.Duration(r.Int64N(int64(l.spread))))
		}
		if from := start.Add(3 * time.Second); at.After(from) && at.Before(from.Add(l.stall)) {
			at = from.Add(l.stall)
		}
		if r.Float64() >= l.reorder && at.Before(last) {
			at = last // a network keeps the order, unless it does not
		}
		last = at
		if i > 0 && r.Float64() < l.loss {
			continue
		}
		add(at, p)
		if r.Float64() < l.twice {
			add(at.Add(5*time.Millisecond), p)
		}
	}
	j := newJitter(rate)
	var out []int16
	frame := make([]int16, rate/framesPerSecond)
	end := queue[len(queue)-1].at.Add(300 * time.Millisecond)
	for now := start; now.Before(end); now = now.Add(Frame) {
		for len(queue) > 0 && !queue[0].at.After(now) {
			p := *queue[0].p
			p.Arrived = queue[0].at
			j.put(&p)
			queue = queue[1:]
		}
		j.pull(frame, now)
		out = append(out, frame...)
	}
	return out, j
}

func TestJitter(t *testing.T) {
	ms := time.Millisecond
	for name, c := range map[string]struct {
		line   line
		codec  Codec
		rate   int
		score  float64
		target [2]time.Duration
	}{
		"clean":                     {line{}, PCMU, 8000, 0.999, [2]time.Duration{40 * ms, 40 * ms}},
		"clean, 16 kHz":             {line{}, PCMA, 16000, 0.98, [2]time.Duration{40 * ms, 40 * ms}},
		"clean, G.722":              {line{}, G722, 16000, 0.98, [2]time.Duration{40 * ms, 40 * ms}},
		"clean, G.722 at 8 kHz":     {line{}, G722, 8000, 0.98, [2]time.Duration{40 * ms, 40 * ms}},
		"clean, Opus":               {line{}, Opus, 16000, 0.9, [2]time.Duration{40 * ms, 40 * ms}},
		"30 ms of jitter":           {line{spread: 30 * ms}, PCMU, 8000, 0.98, [2]time.Duration{40 * ms, 60 * ms}},
		"100 ms of jitter":          {line{spread: 100 * ms}, PCMU, 8000, 0.9, [2]time.Duration{80 * ms, 140 * ms}},
		"1 s of jitter":             {line{spread: 900 * ms}, PCMU, 8000, -1, [2]time.Duration{190 * ms, 200 * ms}},
		"reordered":                 {line{spread: 40 * ms, reorder: 0.3}, PCMU, 8000, 0.97, [2]time.Duration{40 * ms, 80 * ms}},
		"twice":                     {line{twice: 0.5, spread: 20 * ms}, PCMU, 8000, 0.98, [2]time.Duration{40 * ms, 60 * ms}},
		"5 % lost":                  {line{loss: 0.05, spread: 20 * ms}, PCMU, 8000, 0.95, [2]time.Duration{40 * ms, 60 * ms}},
		"5 % lost, G.722":           {line{loss: 0.05, spread: 20 * ms}, G722, 16000, 0.95, [2]time.Duration{40 * ms, 60 * ms}},
		"10 % lost, Opus":           {line{loss: 0.10, spread: 20 * ms}, Opus, 16000, 0.88, [2]time.Duration{40 * ms, 60 * ms}},
		"too fast a clock":          {line{drift: 0.002, spread: 10 * ms}, PCMU, 8000, 0.9, [2]time.Duration{40 * ms, 60 * ms}},
		"too slow a clock":          {line{drift: -0.002, spread: 10 * ms}, PCMU, 8000, 0.9, [2]time.Duration{40 * ms, 60 * ms}},
		"a clock 1 % too fast":      {line{drift: 0.01}, PCMU, 8000, -1, [2]time.Duration{40 * ms, 60 * ms}},
		"a clock 1 % too slow":      {line{drift: -0.01}, PCMU, 8000, -1, [2]time.Duration{40 * ms, 140 * ms}},
		"stalls for 150 ms":         {line{stall: 150 * ms, spread: 10 * ms}, PCMU, 8000, 0.85, [2]time.Duration{40 * ms, 200 * ms}},
		"stalls for 900 ms":         {line{stall: 900 * ms, spread: 10 * ms}, PCMU, 8000, -1, [2]time.Duration{40 * ms, 200 * ms}},
		"all of it, and 40 ms each": {line{loss: 0.03, reorder: 0.2, twice: 0.1, spread: 60 * ms, drift: 0.0005}, PCMA, 8000, 0.85, [2]time.Duration{40 * ms, 100 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			needOpus(t, c.codec)
			said := bursts(7, 20*time.Second, c.codec.pcmRate())
			out, j := c.line.carry(t, packets(t, c.codec, said, Frame), c.rate, 3)
			score := correlate(said, out, c.codec.pcmRate(), c.rate)
			end := j.delay(j.now)
			t.Logf("score %.4f, target %v, delay %v, %+v", score, j.target, end, j.counts)
			if score < c.score {
				t.Errorf("score %.4f, want %.4f", score, c.score)
			}
			if j.target < c.target[0] || j.target > c.target[1] {
				t.Errorf("target %v, want %v", j.target, c.target)
			}
			if off := end - j.target; off > delaySlack+2*Frame || off < -delaySlack-2*Frame {
				t.Errorf("%v behind", end)
			}
		})
	}
}

// TestJitterOrder looks at single packets: number i is the level i of its samples. Each row is a pull: what arrives
// before it, and what must come out of it.
func TestJitterOrder(t *testing.T) {
	const filler = 0 // what bridges a hole
	for name, rows := range map[string][]struct {
		arrive []int
		out    int
	}{
		"in order":  {{[]int{1}, filler}, {[]int{2}, filler}, {[]int{3}, 1}, {[]int{4}, 2}, {nil, 3}, {nil, 4}},
		"reordered": {{[]int{1}, filler}, {nil, filler}, {[]int{3, 2}, 1}, {[]int{4}, 2}, {nil, 3}, {nil, 4}},
		"twice":     {{[]int{1, 1}, filler}, {[]int{2, 1}, filler}, {[]int{3, 2, 2}, 1}, {[]int{4, 1}, 2}, {[]int{5, 1, 2}, 3}, {nil, 4}, {nil, 5}},
		"lost":      {{[]int{1}, filler}, {nil, filler}, {[]int{3}, 1}, {[]int{4}, filler}, {[]int{5}, 3}, {nil, 4}, {nil, 5}},
		"too late":  {{[]int{1}, filler}, {nil, filler}, {[]int{3}, 1}, {[]int{4}, filler}, {[]int{5}, 3}, {[]int{6, 2}, 4}, {[]int{7, 2}, 5}, {nil, 6}, {nil, 7}, {nil, filler}, {nil, filler}},
	} {
		j := newJitter(Rate)
		frame := make([]int16, FrameSamples)
		now := time.Unix(1000, 0)
		for i, row := range rows {
			for _, n := range row.arrive {
				p := sound(1, 65533+uint16(n), uint32(n)*FrameSamples, now)
				for k := range p.Payload {
					p.Payload[k] = EncodeULaw(int16(n * 1000))
				}
				j.put(p)
			}
			j.pull(frame, now)
			now = now.Add(Frame)
			// A filler is silence, or the packet before it, fading.
			last, got := frame[FrameSamples-1], 0
			if frame[0] == last {
				got = (int(last) + 500) / 1000
			}
			if got != row.out {
				t.Errorf("%s: pull %d gave %d (%d..%d), want %d", name, i, got, frame[0], last, row.out)
			}
		}
	}
}

// TestJitterStoppedClock: a source whose timestamps stand still while it sends nothing (RFC 3550 section 5.1 wants them to
// go on; telephones exist that do otherwise) loses none of what it says after the pause, and is not late from then on.
func TestJitterStoppedClock(t *testing.T) {
	for _, pause := range []time.Duration{100, 200, 300, 500, 900, 1500, 1900, 2100, 5000} {
		pause *= time.Millisecond
		j := newJitter(Rate)
		now, seq, frame := time.Unix(1000, 0), uint16(0), make([]int16, FrameSamples)
		var heard []int
		step := func(level int) {
			if level > 0 {
				p := sound(1, seq, uint32(seq)*FrameSamples, now)
				for k := range p.Payload {
					p.Payload[k] = EncodeULaw(int16(level * 1000))
				}
				j.put(p)
				seq++
			}
			j.pull(frame, now)
			if got := (int(frame[0]) + 500) / 1000; frame[0] == frame[FrameSamples-1] && got > 0 && (len(heard) == 0 || heard[len(heard)-1] != got) {
				heard = append(heard, got)
			}
			now = now.Add(Frame)
		}
		for i := range 150 { // three seconds of speech
			step(1 + i%3)
		}
		for range pause / Frame {
			step(0)
		}
		heard = nil
		for i := range 20 {
			step(4 + i%2)
		}
		end := j.delay(j.now)
		for range 20 {
			step(0)
		}
		if len(heard) != 20 {
			t.Errorf("after %v: %d of 20 packets are heard: %v, %+v", pause, len(heard), heard, j.counts)
		}
		if end > maxDelay+2*Frame {
			t.Errorf("after %v: %v behind", pause, end)
		}
	}
}
