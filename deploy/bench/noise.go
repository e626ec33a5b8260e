package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// False interruptions: callers from whose surroundings something is heard while the responder speaks to them. It must go
// on: answers that are cut off or never heard (the timeline knows), and words made of noise, are counted for an hour of our
// speech in that noise, and so are the moments in which it falls silent and goes on (the caller hears them).

// noises are what callers have around them, made here: 20 seconds of 8 kHz sound each, the same in every run.
var noises = []struct {
	name string
	make func(r *rand.Rand) []float64
	rms  float64 // of the question it is 3300
}{
	{"babble", babble, 500},
	{"street", street, 700},
	{"coughs", coughs, 0},
	{"music", music, 700},
}

const (
	noiseLength = 20 * 8000
	noiseSeats  = 2 // callers in each noise
	held        = 500 * time.Millisecond
)

// babble is six people who talk behind the caller, all at once.
func babble(r *rand.Rand) []float64 {
	out, voice := make([]float64, noiseLength), decoded(question)
	for range 6 {
		speed, level, at := 0.8+0.45*r.Float64(), 0.4+0.6*r.Float64(), r.IntN(len(voice))
		for i := range out {
			p := math.Mod(float64(at)+float64(i)*speed, float64(len(voice)-1))
			k := int(p)
			out[i] += level * (float64(voice[k]) + (p-float64(k))*float64(voice[k+1]-voice[k]))
		}
	}
	return out
}

// street is traffic that swells and fades, with a horn now and then.
func street(r *rand.Rand) []float64 {
	out := make([]float64, noiseLength)
	low, mid := 0.0, 0.0
	for i := range out {
		t, white := float64(i)/8000, r.NormFloat64()
		low += 0.02 * (white - low)
		mid += 0.3 * (white - mid)
		swell := 0.3 + 0.7*math.Pow(math.Sin(math.Pi*t/6.5), 2)
		out[i] = swell * (8*low + mid)
		if beat := math.Mod(t, 7); beat > 3 && beat < 3.4 {
			out[i] += 0.8 * (math.Sin(2*math.Pi*420*t) + math.Sin(2*math.Pi*530*t))
		}
	}
	return out
}

// coughs come in twos, every three seconds, as loud as the caller's own voice; between them it is silent.
func coughs(r *rand.Rand) []float64 {
	out := make([]float64, noiseLength)
	for at := 4000; at < len(out); at += 16000 + r.IntN(16000) {
		for k := range 2 {
			begin, band := at+k*3600, 0.0
			for i := range 1200 + r.IntN(800) {
				if begin+i >= len(out) {
					break
				}
				band += 0.45 * (r.NormFloat64() - band)
				out[begin+i] = 9000 * band * min(1, float64(i)/80) * math.Exp(-float64(i)/600)
			}
		}
	}
	return out
}

// music is a tune over chords, with a beat.
func music(r *rand.Rand) []float64 {
	out := make([]float64, noiseLength)
	roots, scale := []float64{220, 174.6, 261.6, 196}, []float64{1, 9. / 8, 5. / 4, 3. / 2, 5. / 3, 2}
	note := 0.0
	for i := range out {
		t := float64(i) / 8000
		root := roots[int(t/2)%len(roots)]
		if i%2400 == 0 {
			note = 2 * root * scale[r.IntN(len(scale))]
		}
		for _, f := range []float64{root, root * 5 / 4, root * 3 / 2} {
			out[i] += math.Sin(2*math.Pi*f*t) + 0.4*math.Sin(4*math.Pi*f*t)
		}
		fade := math.Exp(-3 * math.Mod(t, 0.3))
		out[i] += 2 * fade * (math.Sin(2*math.Pi*note*t) + 0.5*math.Sin(6*math.Pi*note*t))
		out[i] += 3 * math.Exp(-60*math.Mod(t, 0.6)) * r.NormFloat64()
	}
	return out
}

// packets brings sound to a loudness (0: as it is) and cuts it into packets.
func packets(sound []float64, loudness float64) [][]byte {
	pcm, sum := make([]int16, len(sound)), 0.0
	for _, v := range sound {
		sum += v * v
	}
	gain := 1.0
	if loudness > 0 {
		gain = loudness / math.Sqrt(sum/float64(len(sound)))
	}
	for i, v := range sound {
		pcm[i] = int16(max(-32000, min(32000, gain*v)))
	}
	var all [][]byte
	for part := range slices.Chunk(pcm, frameBytes) {
		frame := make([]byte, len(part))
		for i, v := range part {
			frame[i] = mulaw(int(v))
		}
		all = append(all, frame)
	}
	return all
}

// mulaw is G.711's.
func mulaw(v int) byte {
	sign := byte(0)
	if v < 0 {
		sign, v = 0x80, -v
	}
	v = min(v, 32635) + 0x84
	exponent := 7
	for mask := 0x4000; exponent > 0 && v&mask == 0; mask >>= 1 {
		exponent--
	}
	return ^(sign | byte(exponent)<<4 | byte(v>>(exponent+3)&0x0f))
}

// disturbed is what became of our speech in one kind of noise.
type disturbed struct {
	mu      sync.Mutex
	numbers []string
	spoken  time.Duration // of our speech in it
	holds   int
	asked   int
}

// disturbances has callers in one noise after the other listen to answers.
func (b *bench) disturbances(ctx context.Context, t *trunk) error {
	b.pace.long.Store(true)
	defer b.pace.long.Store(false)
	rounds := quickly(b, b.noise, 2)
	for i, n := range noises {
		sound := packets(n.make(rand.New(rand.NewPCG(1, uint64(i)))), n.rms)
		var d disturbed
		var open sync.WaitGroup
		errs := make(chan error, noiseSeats)
		for range noiseSeats {
			number := b.number()
			d.numbers = append(d.numbers, number)
			open.Go(func() {
				limit, cancel := context.WithTimeout(ctx, time.Duration(rounds)*30*time.Second+30*time.Second)
				defer cancel()
				errs <- d.listen(limit, t, number, sound, rounds)
			})
			wait(ctx, 300*time.Millisecond)
		}
		open.Wait()
		close(errs)
		if err := b.tellDisturbed(ctx, n.name, &d); err != nil {
			return err
		}
		for err := range errs {
			if err != nil {
				b.table.note("in %s: %v", n.name, err)
			}
		}
	}
	return nil
}

// tellDisturbed prints what became of our speech. Callers who were given to a person meanwhile are told apart: their answers
// were not cut off by noise.
func (b *bench) tellDisturbed(ctx context.Context, name string, d *disturbed) error {
	var words, answers, cuts, people int
	if err := b.rows.QueryRow(ctx, `with theirs as (select conversation_id from calls where from_address = any($1))
		select count(*) filter (where author = 'contact'), count(*) filter (where author = 'ai'), count(*) filter (where author = 'ai' and data->>'cut' = 'true'),
			(select count(*) from promises where conversation_id in (select * from theirs))
		from messages where kind = 'text' and conversation_id in (select * from theirs)`, d.numbers).Scan(&words, &answers, &cuts, &people); err != nil {
		return err
	}
	cuts, words = cuts+max(0, d.asked-answers-people), max(0, words-d.asked)
	hour := func(n int) float64 { return float64(n) / max(d.spoken, time.Second).Hours() }
	b.table.row(name+": answers cut off, turns made of it, pauses, an hour of our speech", "%.0f, %.0f, %.0f   (%d of %d, %d and %d in %.0f s)",
		hour(cuts), hour(words), hour(d.holds), cuts, d.asked, words, d.holds, d.spoken.Seconds())
	if people > 0 {
		b.table.note("in %s: %d callers were given to a person", name, people)
	}
	return nil
}

// listen is one call: question after question in silence, each answer in the noise.
func (d *disturbed) listen(ctx context.Context, t *trunk, number string, noise [][]byte, rounds int) error {
	return talking(ctx, t, number, func(ctx context.Context, c *talker) error {
		if err := c.greeted(ctx); err != nil {
			return err
		}
		for range rounds {
			c.say()
			spoken, err := c.spoken(ctx)
			if err != nil {
				return err
			}
			d.note(func() { d.asked++ })
			from, err := c.hears(ctx, spoken.Add(50*time.Millisecond), nil)
			if err != nil {
				return fmt.Errorf("answer: %w", err)
			}
			c.around(noise)
			err = c.quiet(ctx, 1500*time.Millisecond)
			c.around(nil)
			if err != nil {
				return fmt.Errorf("answer's end: %w", err)
			}
			length, holds := c.went(from)
			d.note(func() { d.spoken, d.holds = d.spoken+length, d.holds+holds })
			if err := c.quiet(ctx, 2*time.Second); err != nil { // what noise has begun ends
				return err
			}
		}
		return nil
	})
}

func (d *disturbed) note(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
}

// went is how long what began there went on, and how often it paused.
func (c *talker) went(from time.Time) (length time.Duration, holds int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := from
	for _, p := range c.packets {
		if p.rms < loud || p.at.Before(from) {
			continue
		}
		if p.at.Sub(last) >= held {
			holds++
		}
		last = p.at
	}
	return last.Sub(from), holds
}
