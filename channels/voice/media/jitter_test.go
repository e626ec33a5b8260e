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
		"1 s of jitter":             {line{spread: 900 * ms}, PCMU, 8000, -1, [2]time.Duration{200 * ms, 200 * ms}},
		"reordered":                 {line{spread: 40 * ms, reorder: 0.3}, PCMU, 8000, 0.97, [2]time.Duration{40 * ms, 80 * ms}},
		"twice":                     {line{twice: 0.5, spread: 20 * ms}, PCMU, 8000, 0.98, [2]time.Duration{40 * ms, 60 * ms}},
		"5 % lost":                  {line{loss: 0.05, spread: 20 * ms}, PCMU, 8000, 0.95, [2]time.Duration{40 * ms, 60 * ms}},
		"5 % lost, G.722":           {line{loss: 0.05, spread: 20 * ms}, G722, 16000, 0.95, [2]time.Duration{40 * ms, 60 * ms}},
		"10 % lost, Opus":           {line{loss: 0.10, spread: 20 * ms}, Opus, 16000, 0.88, [2]time.Duration{40 * ms, 60 * ms}},
		"too fast a clock":          {line{drift: 0.002, spread: 10 * ms}, PCMU, 8000, 0.9, [2]time.Duration{40 * ms, 60 * ms}},
		"too slow a clock":          {line{drift: -0.002, spread: 10 * ms}, PCMU, 8000, 0.9, [2]time.Duration{40 * ms, 60 * ms}},
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
			if end > maxDelay+delaySlack+Frame {
				t.Errorf("%v behind", end)
			}
		})
	}
}
