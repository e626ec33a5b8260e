package media

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// dial is the sound of keys: each tone off by a share of its frequency, columns stronger than rows by twist dB.
func dial(keys string, level, twist, off float64, on, pause time.Duration, rate int) []int16 {
	var out []int16
	for i := range len(keys) {
		at := 0
		for keyGrid[at] != keys[i] {
			at++
		}
		low, high := keyTones[at/4]*(1+off), keyTones[4+at%4]*(1-off)
		gain := math.Pow(10, twist/40)
		for k := range int(ticksIn(on, rate)) {
			x := 2 * math.Pi * float64(k) / float64(rate)
			out = append(out, int16(level*(math.Sin(low*x)/gain+math.Sin(high*x)*gain)))
		}
		out = append(out, make([]int16, ticksIn(pause, rate))...)
	}
	return out
}

func hearKeys(pcm []int16) string {
	var e toneEar
	var got []byte
	e.hear(pcm, func(d byte) { got = append(got, d) })
	return string(got)
}

func TestInBandKeys(t *testing.T) {
	const all = "1234567890*#ABCD"
	ms := time.Millisecond
	for name, c := range map[string]struct {
		level, twist, off float64
		on, pause         time.Duration
		noise             float64
		want              string
	}{
		"as a phone sends":   {4000, 2, 0, 100 * ms, 100 * ms, 0, all},
		"short":              {4000, 0, 0, 55 * ms, 50 * ms, 0, all},
		"loud":               {14000, 0, 0, 80 * ms, 60 * ms, 0, all},
		"faint":              {150, 0, 0, 80 * ms, 60 * ms, 0, all},
		"column 6 dB more":   {4000, 6, 0, 80 * ms, 60 * ms, 0, all},
		"row 6 dB more":      {4000, -6, 0, 80 * ms, 60 * ms, 0, all},
		"1.5 % off":          {4000, 0, 0.015, 80 * ms, 60 * ms, 0, all},
		"noise 20 dB below":  {4000, 0, 0, 80 * ms, 60 * ms, 550, all},
		"held":               {4000, 0, 0, 3 * time.Second, 60 * ms, 0, all},
		"too short":          {4000, 0, 0, 20 * ms, 60 * ms, 0, ""},
		"too faint":          {20, 0, 0, 80 * ms, 60 * ms, 0, ""},
		"column 15 dB more":  {4000, 15, 0, 80 * ms, 60 * ms, 0, ""},
		"row 15 dB more":     {4000, -15, 0, 80 * ms, 60 * ms, 0, ""},
		"drowned in noise":   {1000, 0, 0, 80 * ms, 60 * ms, 4000, ""},
		"6 % off, not a key": {4000, 0, 0.06, 80 * ms, 60 * ms, 0, ""},
	} {
		pcm := dial(all, c.level, c.twist, c.off, c.on, c.pause, Rate)
		r := rand.New(rand.NewPCG(1, 1))
		for i := range pcm {
			pcm[i] = int16(min(max(float64(pcm[i])+c.noise*(2*r.Float64()-1), -32768), 32767))
		}
		if got := hearKeys(pcm); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := hearKeys(dial("55555", 4000, 0, 0, 60*ms, 45*ms, Rate)); got != "55555" {
		t.Errorf("the same key again and again: %q", got)
	}
}

// TestTalkOff: ten minutes of noise in bursts, of voices (harmonics of a wandering pitch, formants that move) and of
// the tones of telephones must not press a key.
func TestTalkOff(t *testing.T) {
	if got := hearKeys(bursts(77, 4*time.Minute, Rate)); got != "" {
		t.Errorf("noise pressed %q", got)
	}
	for seed := range uint64(6) {
		if got := hearKeys(voice(seed, time.Minute)); got != "" {
			t.Errorf("voice %d pressed %q", seed, got)
		}
	}
	for _, p := range []Prompt{Ringback()} {
		pcm := make([]int16, len(p))
		DecodeULaw(pcm, p)
		if got := hearKeys(pcm); got != "" {
			t.Errorf("a tone pressed %q", got)
		}
	}
}

// voice is a row of vowels: a pitch of 80-300 Hz that glides, its harmonics through two formants.
func voice(seed uint64, d time.Duration) []int16 {
	r := rand.New(rand.NewPCG(seed, 5))
	out := make([]int16, 0, int(d.Seconds()*Rate))
	phase := 0.0
	for len(out) < cap(out) {
		n := Rate/10 + r.IntN(Rate/3)
		pitch, glide := 80+220*r.Float64(), 0.8+0.4*r.Float64()
		f1, f2 := 300+600*r.Float64(), 900+1600*r.Float64()
		level := 2000 + 6000*r.Float64()
		for i := range min(n, cap(out)-len(out)) {
			hz := pitch * math.Pow(glide, float64(i)/float64(n))
			phase += 2 * math.Pi * hz / Rate
			v := 0.0
			for k := 1.0; k*hz < 3500; k++ {
				a := 1/(1+math.Pow((k*hz-f1)/90, 2)) + 0.6/(1+math.Pow((k*hz-f2)/120, 2))
				v += a * math.Sin(k*phase)
			}
			edge := min(1, float64(i)/200, float64(n-i)/200)
			out = append(out, int16(min(max(level*v*edge, -32000), 32000)))
		}
		out = append(out, make([]int16, min(r.IntN(Rate/5), cap(out)-len(out)))...)
	}
	return out
}

// TestInBandLeg: a leg listens for tones only while no telephone-events are negotiated, on every codec.
func TestInBandLeg(t *testing.T) {
	for _, c := range []Codec{PCMU, G722, Opus} {
		needOpus(t, c)
		var got []byte
		leg := NewLeg(LegConfig{
			Format: Format{Codec: c}, Pacer: NewPacer(), InBand: true, Send: func([]byte) error { return nil },
			OnDTMF: func(d byte) { got = append(got, d) },
		})
		ear := (*leg.ears.Load())[0]
		for i, p := range packets(t, c, dial("159#", 6000, 0, 0, 100*time.Millisecond, 100*time.Millisecond, c.pcmRate()), Frame) {
			p.PayloadType = leg.Format().PayloadType
			leg.Deliver(p)
			ear.tick(int64(i), p.Arrived)
		}
		for i := range 20 {
			ear.tick(int64(1000+i), time.Unix(1001, int64(i)*int64(Frame)))
		}
		if string(got) != "159#" {
			t.Errorf("%v: %q", c, got)
		}
		leg.SetFormat(Format{Codec: c, Events: 101})
		if leg.ears.Load() != nil {
			t.Errorf("%v: listens beside telephone-events", c)
		}
		leg.SetFormat(Format{Codec: c})
		if leg.ears.Load() == nil {
			t.Errorf("%v: does not listen again", c)
		}
		leg.CloseOutput()
		if leg.ears.Load() != nil {
			t.Errorf("%v: listens after its end", c)
		}
	}
}

func TestTones(t *testing.T) {
	for _, c := range []struct {
		p       Prompt
		on, all time.Duration
	}{{Ringback(), time.Second, 5 * time.Second}} {
		pcm := make([]int16, len(c.p))
		DecodeULaw(pcm, c.p)
		n := int(ticksIn(c.on, Rate))
		if c.p.Length() != c.all || toneSNR(pcm[:n], 425, Rate) < 30 || rms(pcm[n:]) > 1 {
			t.Errorf("%v: %v", c.p.Length(), toneSNR(pcm[:n], 425, Rate))
		}
	}
}
