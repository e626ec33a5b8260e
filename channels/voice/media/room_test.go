package media

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// guest is a phone in a room: what it says, and what its leg was told.
type guest struct {
	codec Codec
	leg   *Leg
	wire  *wire
	said  []int16 // at the codec's pcmRate
	in    []*Packet
}

func newGuest(t testing.TB, c Codec, seed uint64, d time.Duration) *guest {
	t.Helper()
	needOpus(t, c)
	g := &guest{codec: c, wire: new(wire), said: bursts(seed, d, c.pcmRate())}
	for i := range g.said {
		g.said[i] /= 2
	}
	g.leg = NewLeg(LegConfig{Format: Format{Codec: c, Events: 101}, Pacer: NewPacer(), Send: g.wire.send})
	g.in = packets(t, c, g.said, Frame)
	for _, p := range g.in {
		p.PayloadType, p.SSRC = g.leg.Format().PayloadType, uint32(seed)
	}
	return g
}

// meet lets the guests talk for as long as they have words, without a clock.
func meet(r *Room, guests []*guest, each func(i int)) {
	start := guests[0].in[0].Arrived
	for i := range guests[0].in {
		now := start.Add(time.Duration(i) * Frame)
		for k, g := range guests {
			p := g.in[i]
			p.Arrived = now.Add(time.Duration(k) * time.Millisecond)
			g.leg.Deliver(p)
		}
		if each != nil {
			each(i)
		}
		r.tick(int64(i), now.Add(15*time.Millisecond))
	}
}

// expect is the sum of what some guests said, at 8 kHz as levels: powers add up.
func expect(guests ...*guest) []float64 {
	var sum []float64
	for _, g := range guests {
		env := levels(g.said, g.codec.pcmRate())
		if sum == nil {
			sum = make([]float64, len(env))
		}
		for i, v := range env {
			sum[i] = math.Sqrt(sum[i]*sum[i] + v*v)
		}
	}
	return sum
}

// score is the best correlation of levels within 12 frames.
func score(want, got []float64) float64 {
	best := -1.0
	for lag := range 13 {
		var n, sx, sy, sxx, syy, sxy float64
		for i := range want {
			if i+lag < len(got) {
				x, y := want[i], got[i+lag]
				n, sx, sy, sxx, syy, sxy = n+1, sx+x, sy+y, sxx+x*x, syy+y*y, sxy+x*y
			}
		}
		best = max(best, (n*sxy-sx*sy)/(math.Sqrt((n*sxx-sx*sx)*(n*syy-sy*sy))+1e-9))
	}
	return best
}

// TestRoom: who hears whom, in the modes a supervisor has and in a three-way call, whatever the codecs are.
func TestRoom(t *testing.T) {
	const caller, agent, supervisor = 0, 1, 2
	for name, hears := range map[string][3][]int{
		"listen":    {{agent}, {caller}, {caller, agent}},
		"whisper":   {{agent}, {caller, supervisor}, {caller, agent}},
		"barge in":  {{agent, supervisor}, {caller, supervisor}, {caller, agent}},
		"three-way": {nil, nil, nil}, // by itself
		"alone":     {{}, {caller}, {}},
	} {
		for _, codecs := range [][3]Codec{{PCMU, PCMA, PCMU}, {PCMU, G722, Opus}} {
			t.Run(fmt.Sprint(name, codecs), func(t *testing.T) {
				var guests []*guest
				var seats []*Seat
				room := NewRoom(NewPacer())
				for i, c := range codecs {
					g := newGuest(t, c, uint64(i+11), 10*time.Second)
					guests, seats = append(guests, g), append(seats, room.Join(g.leg))
				}
				for i, list := range hears {
					if list == nil {
						continue
					}
					var others []*Seat
					for _, k := range list {
						others = append(others, seats[k])
					}
					seats[i].Hears(others...)
				}
				meet(room, guests, nil)
				for i, list := range hears {
					g := guests[i]
					got := levels(hearAll(t, g.codec, g.wire), g.codec.pcmRate())
					if list == nil {
						list = []int{(i + 1) % 3, (i + 2) % 3}
					}
					var right []*guest
					heard := map[int]bool{}
					for _, k := range list {
						right = append(right, guests[k])
						heard[k] = true
					}
					if len(right) == 0 {
						if loud := expect(g); score(loud, got) > 0.5 || got[len(got)/2] > 30 {
							t.Errorf("guest %d should hear nothing", i)
						}
						continue
					}
					s := score(expect(right...), got)
					t.Logf("guest %d: %.4f", i, s)
					if s < 0.9 {
						t.Errorf("guest %d: %.4f for what it should hear", i, s)
					}
					for k := range 3 { // with anybody more or less it must fit worse
						other := append([]*guest(nil), right...)
						if heard[k] {
							other = nil
							for _, l := range list {
								if l != k {
									other = append(other, guests[l])
								}
							}
						} else {
							other = append(other, guests[k])
						}
						if len(other) > 0 && score(expect(other...), got) > s-0.1 {
							t.Errorf("guest %d: might as well be another mix (%d)", i, k)
						}
					}
				}
			})
		}
	}
}

// TestRoomComesAndGoes: a relay becomes a room and a relay again on the same stream, with a prompt in between.
func TestRoomComesAndGoes(t *testing.T) {
	a, b, c := newGuest(t, PCMU, 21, 8*time.Second), newGuest(t, PCMA, 22, 8*time.Second), newGuest(t, PCMU, 23, 8*time.Second)
	bridge(a.leg, b.leg)
	room := NewRoom(NewPacer())
	var seats []*Seat
	words := NewPlayer(make(Prompt, 10*FrameSamples))
	meet(room, []*guest{a, b, c}, func(i int) {
		switch i {
		case 100:
			for _, g := range []*guest{a, b, c} {
				seats = append(seats, room.Join(g.leg))
			}
		case 150:
			a.leg.Play(words)
		case 300:
			seats[2].Leave()
			seats[2].Leave()
		case 350:
			bridge(a.leg, b.leg)
			room.Close()
		}
		for _, g := range []*guest{a, b, c} {
			g.leg.out.tick(int64(i), g.in[i].Arrived)
		}
	})
	if !words.Finished() {
		t.Error("the prompt was not played")
	}
	for name, g := range map[string]*guest{"a": a, "b": b} {
		for i, p := range g.wire.pkts {
			if i == 0 {
				continue
			}
			last := g.wire.pkts[i-1]
			if d := int32(p.Timestamp - last.Timestamp); p.SSRC != last.SSRC || p.SequenceNumber != last.SequenceNumber+1 || d < FrameSamples || d > 2*FrameSamples {
				t.Errorf("%s, packet %d: seq +%d, ts +%d", name, i, p.SequenceNumber-last.SequenceNumber, d)
			}
		}
	}
	if n := len(a.wire.pkts); n < 398 || n > 401 {
		t.Errorf("a was told %d packets of 400", n)
	}
	if last := b.wire.pkts[len(b.wire.pkts)-1]; last.Payload[0] != ulawToALaw[a.in[399].Payload[0]] {
		t.Error("b hears something else than a")
	}
	if n := len(c.wire.pkts); n != 200 {
		t.Errorf("c was told %d packets of 200", n)
	}
	if room.tick(1000, time.Unix(2000, 0)) {
		t.Error("an empty room keeps the pacer")
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	in, out := make([]int32, FrameSamples), make([]int16, FrameSamples)
	loud := func(amplitude float64) {
		for i, s := range sine(400, 1000, FrameSamples, Rate) {
			in[i] = int32(float64(s) * amplitude / 1000)
		}
		l.run(out, in)
	}
	loud(20000)
	for i := range in {
		if int32(out[i]) != in[i] {
			t.Fatal("what fits must not be changed")
		}
	}
	loud(90000)
	loud(90000)
	if peak := float64(out[5]) / float64(in[5]); math.Abs(peak-1.0/3) > 0.02 || toneSNR(out, 400, Rate) < 40 {
		t.Errorf("turned down to %.3f, %.1f dB clean", peak, toneSNR(out, 400, Rate))
	}
	for range 100 {
		loud(20000)
	}
	if l.down != 0 {
		t.Errorf("still turned down by %v", l.down)
	}
}

// TestListen: samples come in order and without holes while the relay goes on.
func TestListen(t *testing.T) {
	for _, c := range []Codec{PCMA, G722} {
		g, other := newGuest(t, c, 31, 8*time.Second), newGuest(t, c, 32, time.Second)
		g.leg.Swap(other.leg.Out())
		var heard []int16
		stop := g.leg.Listen(func(pcm []int16) { heard = append(heard, pcm...) })
		e := (*g.leg.ears.Load())[0]
		for i, p := range g.in {
			if i%10 != 5 {
				g.leg.Deliver(p)
			}
			if !e.tick(int64(i), p.Arrived.Add(5*time.Millisecond)) {
				t.Fatal("not wanted any more")
			}
		}
		if s := correlate(g.said, heard, c.pcmRate(), c.pcmRate()); s < 0.9 || len(heard) != len(g.said) {
			t.Errorf("%v: %.4f, %d samples of %d", c, s, len(heard), len(g.said))
		}
		if len(other.wire.pkts) != 360 {
			t.Errorf("%d packets relayed", len(other.wire.pkts))
		}
		stop()
		if e.tick(9999, time.Unix(3000, 0)) || g.leg.ears.Load() != nil {
			t.Error("listens on")
		}
		stop()
	}
}

// TestPauses: comfort noise and silence suppression become quiet noise, and speech comes back in its place.
func TestPauses(t *testing.T) {
	for _, comfort := range []bool{true, false} {
		said := bursts(5, 4*time.Second, Rate)
		in := packets(t, PCMU, said, Frame)
		j := newJitter(Rate)
		var out []int16
		frame := make([]int16, FrameSamples)
		seq := in[0].Seq
		for i, p := range in {
			pause := i >= 50 && i < 120
			if !pause || comfort && i == 50 {
				p.Seq, seq = seq, seq+1
				if pause {
					p.Comfort, p.Payload = true, []byte{60}
				}
				j.put(p)
			}
			j.pull(frame, p.Arrived.Add(time.Millisecond))
			out = append(out, frame...)
		}
		quiet := out[60*FrameSamples : 120*FrameSamples]
		if level := rms(quiet); level < 1 || level > 120 {
			t.Errorf("comfort noise %v: the pause is at level %.0f", comfort, level)
		}
		same, start := 0, 130*FrameSamples
		for i, v := range said[start : 198*FrameSamples] {
			if d := abs(int(out[start+i+2*FrameSamples]) - int(v)); d <= 16+abs(int(v))/16 {
				same++
			}
		}
		if want := 68 * FrameSamples; same != want {
			t.Errorf("comfort noise %v: speech is not in its place after the pause: %d samples of %d", comfort, same, want)
		}
	}
}

// BenchmarkMix10 is one frame of ten parties who all talk: jitter buffers, mixing, encoding, packets; a core has 20 ms
// for it.
func BenchmarkMix10(b *testing.B) {
	for _, c := range []Codec{PCMU, G722, Opus} {
		b.Run(c.Name(), func(b *testing.B) {
			needOpus(b, c)
			room := NewRoom(NewPacer())
			var guests []*guest
			for i := range 10 {
				g := newGuest(b, c, uint64(i+1), 10*time.Second)
				g.leg.out.send = func([]byte) error { return nil }
				room.Join(g.leg)
				guests = append(guests, g)
			}
			now := time.Unix(1000, 0)
			b.ReportAllocs()
			n := 0
			for i := 0; b.Loop(); i++ {
				for _, g := range guests {
					p := g.in[i%len(g.in)]
					p.Seq, p.TS, p.Arrived = uint16(i), uint32(i)*c.frameTicks(), now
					g.leg.Deliver(p)
				}
				room.tick(int64(i), now)
				now = now.Add(Frame)
				n++
			}
			b.ReportMetric(100*b.Elapsed().Seconds()/float64(n)/Frame.Seconds(), "%core")
		})
	}
}
