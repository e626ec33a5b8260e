package media

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gotranspile/g722"
	"github.com/pion/opus"
)

// bursts is speech-like: noise of the telephone's band in bursts of 80-500 ms at random levels (telephony.md 9).
func bursts(seed uint64, d time.Duration, rate int) []int16 {
	r, noise := rand.New(rand.NewPCG(seed, seed)), rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, 0, int(d.Seconds()*float64(rate)))
	low := 0.0
	for on := true; len(out) < cap(out); on = !on {
		n, level := int((0.080+0.420*r.Float64())*float64(rate)), 0.1+0.7*r.Float64()
		for range min(n, cap(out)-len(out)) {
			v := 0.0
			if on {
				v = level * (2*noise.Float64() - 1) * 20000
			}
			low += 0.5 * (v - low)
			out = append(out, int16(low))
		}
	}
	return out
}

// correlate is the best correlation of the levels of 20 ms frames within 10 frames of delay.
func correlate(sent, heard []int16, sentRate, heardRate int) float64 {
	a, b := levels(sent, sentRate), levels(heard, heardRate)
	best := -1.0
	for lag := -2; lag <= 10; lag++ {
		var n, sx, sy, sxx, syy, sxy float64
		for i := range a {
			if j := i + lag; j >= 0 && j < len(b) {
				x, y := a[i], b[j]
				n, sx, sy, sxx, syy, sxy = n+1, sx+x, sy+y, sxx+x*x, syy+y*y, sxy+x*y
			}
		}
		if n >= 100 {
			best = max(best, (n*sxy-sx*sy)/(math.Sqrt((n*sxx-sx*sx)*(n*syy-sy*sy))+1e-9))
		}
	}
	return best
}

func levels(pcm []int16, rate int) (env []float64) {
	for n := rate / framesPerSecond; len(pcm) >= n; pcm = pcm[n:] {
		env = append(env, rms(pcm[:n]))
	}
	return env
}

func rms(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(max(len(pcm), 1)))
}

func sine(hz float64, amplitude float64, n, rate int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return out
}

// needOpus skips where the library is missing; the build machines have it.
func needOpus(t testing.TB, codecs ...Codec) {
	t.Helper()
	for _, c := range codecs {
		if c == Opus && !HasOpus() {
			t.Skip(opusLibrary().err)
		}
	}
}

// packets encodes pcm (at the codec's pcmRate) as a phone would send it.
func packets(t testing.TB, c Codec, pcm []int16, ptime time.Duration) []*Packet {
	t.Helper()
	e, err := newEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	n := int(int64(ptime) * int64(c.pcmRate()) / int64(time.Second))
	at, ts := time.Unix(1000, 0), uint32(77)
	var out []*Packet
	for i := 0; len(pcm) >= n; i++ {
		p := &Packet{SSRC: 5, Seq: uint16(65500 + i), TS: ts, Codec: c, Arrived: at}
		size := 0
		if c == Opus {
			size = e.opus.encode(p.buf[headerSize:], pcm[:n])
		} else {
			e.pcm = make([]int16, 0, n)
			size = e.encode(p.buf[headerSize:], pcm[:n], c.pcmRate())
		}
		p.Payload = p.buf[headerSize : headerSize+size]
		out = append(out, p)
		pcm, at, ts = pcm[n:], at.Add(ptime), ts+uint32(ticksIn(ptime, c.ClockRate()))
	}
	return out
}

// hearAll decodes what an output sent and checks that it is one unbroken stream.
func hearAll(t testing.TB, c Codec, w *wire) []int16 {
	t.Helper()
	d, err := newDecoder(c)
	if err != nil {
		t.Fatal(err)
	}
	var heard []int16
	var buf [maxSamples]int16
	for i, p := range w.pkts {
		if i > 0 {
			last := w.pkts[i-1]
			if p.SequenceNumber != last.SequenceNumber+1 || p.Timestamp != last.Timestamp+c.ticks(last.Payload) {
				t.Fatalf("packet %d: seq +%d, ts +%d", i, p.SequenceNumber-last.SequenceNumber, p.Timestamp-last.Timestamp)
			}
		}
		heard = append(heard, buf[:d.decode(buf[:], p.Payload)]...)
	}
	return heard
}

func TestTranscode(t *testing.T) {
	for from := range Opus + 1 {
		for to := range Opus + 1 {
			t.Run(from.Name()+" to "+to.Name(), func(t *testing.T) {
				needOpus(t, from, to)
				said := bursts(1, 10*time.Second, from.pcmRate())
				for _, ptime := range []time.Duration{Frame, 10 * time.Millisecond, 40 * time.Millisecond, 30 * time.Millisecond} {
					if from == Opus && ptime == 30*time.Millisecond {
						continue // no such Opus frame
					}
					var w wire
					o := newOutput(LegConfig{Format: Format{Codec: to, PayloadType: 99}, Send: w.send})
					for _, p := range packets(t, from, said, ptime) {
						o.Write(p)
					}
					heard := hearAll(t, to, &w)
					if score := correlate(said, heard, from.pcmRate(), to.pcmRate()); score < 0.9 || ptime == Frame {
						t.Logf("%v: %.4f", ptime, score)
						if score < 0.9 {
							t.Errorf("%v: heard something else: %.4f", ptime, score)
						}
					}
					if other := correlate(bursts(2, 10*time.Second, from.pcmRate()), heard, from.pcmRate(), to.pcmRate()); other > 0.6 {
						t.Errorf("%v: another speaker scores %.3f", ptime, other)
					}
				}
			})
		}
	}
}

// TestTranscodeLoss: lost packets are bridged up to 100 ms, late ones dropped, a pause is a pause.
func TestTranscodeLoss(t *testing.T) {
	for _, from := range []Codec{PCMU, G722, Opus} {
		needOpus(t, from)
		to := G722
		if from == G722 {
			to = PCMA
		}
		said := bursts(1, 10*time.Second, from.pcmRate())
		in := packets(t, from, said, Frame)
		var w wire
		o := newOutput(LegConfig{Format: Format{Codec: to}, Send: w.send})
		for i, p := range in {
			switch i % 20 {
			case 7: // lost
			case 11: // comes after its successor
			case 12:
				o.Write(p)
				o.Write(in[i-1])
				o.Write(p) // twice
			default:
				o.Write(p)
			}
		}
		heard := hearAll(t, to, &w)
		if len(w.pkts) != len(in) {
			t.Errorf("%v: %d packets of %d", from, len(w.pkts), len(in))
		}
		score := correlate(said, heard, from.pcmRate(), to.pcmRate())
		t.Logf("%v: 10 %% lost: %.4f", from, score)
		if score < 0.9 {
			t.Errorf("%v: %.4f", from, score)
		}
		last := in[len(in)-1]
		for i := range 3 { // a second of silence suppression, then a new talkspurt
			p := *last
			p.Seq, p.TS, p.Marker = last.Seq+1+uint16(i), last.TS+uint32(50+i)*from.frameTicks(), i == 0
			o.Write(&p)
		}
		n := len(w.pkts)
		if d := w.pkts[n-3].Timestamp - w.pkts[n-4].Timestamp; d != 50*to.frameTicks() || !w.pkts[n-3].Marker || w.pkts[n-3].SequenceNumber != w.pkts[n-4].SequenceNumber+1 {
			t.Errorf("%v: after the pause ts +%d, marker %v", from, d, w.pkts[n-3].Marker)
		}
	}
}

// TestTranscodeKeys: keys and a prompt amid a stream that is made anew keep one sequence and a clock that never goes back.
func TestTranscodeKeys(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Format: Format{Codec: G722, Events: 101}, Pacer: NewPacer(), Send: w.send})
	in := packets(t, PCMU, bursts(1, 2*time.Second, Rate), Frame)
	for i, p := range in {
		switch {
		case i >= 10 && i < 15: // the source presses a key
			p.Event, p.TS = true, in[10].TS
			p.Payload = append(p.buf[:0], 5, 10, 0, byte((i-9)*20))
		case i == 30:
			if err := o.SendDTMF('7', 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		case i == 60:
			o.Play(NewPlayer(make(Prompt, 5*FrameSamples)))
		}
		o.tick(int64(i), p.Arrived)
		o.Write(p)
	}
	events := 0
	for i, p := range w.pkts {
		if p.PayloadType == 101 {
			events++
		}
		if i == 0 {
			continue
		}
		if d := int32(p.Timestamp - w.pkts[i-1].Timestamp); d < 0 || d > 10*160 || p.SequenceNumber != w.pkts[i-1].SequenceNumber+1 {
			t.Errorf("packet %d: ts +%d, seq +%d", i, d, p.SequenceNumber-w.pkts[i-1].SequenceNumber)
		}
	}
	if events != 5+7 {
		t.Errorf("%d event packets", events)
	}
}

func TestPromptsOnEveryCodec(t *testing.T) {
	words := bursts(3, 4*time.Second, Rate)
	prompt := make(Prompt, len(words))
	for i, s := range words {
		prompt[i] = EncodeULaw(s)
	}
	for c := range Opus + 1 {
		needOpus(t, c)
		var w wire
		o := newOutput(LegConfig{Format: Format{Codec: c}, Pacer: NewPacer(), Send: w.send})
		o.Play(NewPlayer(prompt))
		ticks(o, 1, 300, time.Unix(1000, 0))
		heard := hearAll(t, c, &w)
		score := correlate(words, heard, Rate, c.pcmRate())
		if t.Logf("%v: %.4f", c, score); score < 0.9 {
			t.Errorf("%v: the prompt is lost", c)
		}
	}
}

// TestOpusDecodes has an independent decoder hear what our encoder says.
func TestOpusDecodes(t *testing.T) {
	needOpus(t, Opus)
	said := bursts(4, 5*time.Second, opusRate)
	d := opus.NewDecoder()
	if err := d.Init(opusRate, 1); err != nil {
		t.Fatal(err)
	}
	var heard []int16
	buf := make([]int16, 5760)
	for i, p := range packets(t, Opus, said, Frame) {
		n, err := d.DecodeToInt16(p.Payload, buf)
		if err != nil || Opus.ticks(p.Payload) != 960 {
			t.Fatal(i, err)
		}
		heard = append(heard, buf[:n]...)
	}
	if score := correlate(said, heard, opusRate, opusRate); score < 0.9 {
		t.Errorf("%.4f", score)
	}
}

// TestOpusHostile: what is no Opus packet decodes to nothing and breaks nothing.
func TestOpusHostile(t *testing.T) {
	needOpus(t, Opus)
	d, err := newDecoder(Opus)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var dst [maxSamples]int16
	for range 5000 {
		b := make([]byte, r.IntN(300))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if n := d.decode(dst[:], b); n > 1920 {
			t.Fatalf("%d samples of % x", n, b)
		}
		d.conceal(dst[:r.IntN(1000)], b)
	}
}

// TestG722 checks the codec against what is known of it: 16 kHz, 64 kbit/s, a band of 7 kHz, 22 samples of delay.
func TestG722(t *testing.T) {
	for _, hz := range []float64{300, 1000, 3000, 5000, 6500} {
		in := sine(hz, 8000, opusRate, opusRate)
		out := make([]int16, opusRate)
		coded := make([]byte, opusRate/2)
		if n := g722.NewEncoder(g722.Rate64000, 0).Encode(coded, in); n != len(coded) {
			t.Fatalf("%d bytes a second", n)
		}
		g722.NewDecoder(g722.Rate64000, 0).Decode(out, coded)
		if snr := toneSNR(out[2000:], hz, opusRate); snr < 20 {
			t.Errorf("%v Hz: %.1f dB", hz, snr)
		}
	}
}

// toneSNR is how far a tone of hz stands above everything else, in dB.
func toneSNR(pcm []int16, hz float64, rate int) float64 {
	var c, s, power float64
	n := float64(len(pcm))
	for i, v := range pcm {
		a := 2 * math.Pi * hz * float64(i) / float64(rate)
		c, s = c+float64(v)*math.Cos(a), s+float64(v)*math.Sin(a)
		power += float64(v) * float64(v)
	}
	tone := 2 * (c*c + s*s) / n
	return 10 * math.Log10(tone/max(power-tone, 1e-9))
}

func TestResampler(t *testing.T) {
	for _, c := range []struct {
		from, to int
		hz, snr  float64
	}{
		{8000, 16000, 300, 55}, {8000, 16000, 1000, 55}, {8000, 16000, 3400, 50},
		{16000, 8000, 300, 55}, {16000, 8000, 1000, 55}, {16000, 8000, 3400, 50},
		{16000, 48000, 1000, 55}, {16000, 48000, 6800, 50}, {48000, 16000, 1000, 55}, {48000, 16000, 6800, 50},
		{8000, 48000, 3000, 50}, {48000, 8000, 3000, 50},
	} {
		r := newResampler(c.from, c.to)
		var out []int16
		in := sine(c.hz, 10000, c.from, c.from)
		for frame := c.from / framesPerSecond; len(in) > 0; in = in[frame:] {
			out = r.run(out, in[:frame])
		}
		if len(out) != c.to {
			t.Fatalf("%d to %d: %d samples", c.from, c.to, len(out))
		}
		out = out[c.to/4 : c.to*3/4]
		snr, gain := toneSNR(out, c.hz, c.to), 20*math.Log10(rms(out)*math.Sqrt2/10000)
		if t.Logf("%d to %d, %v Hz: SNR %.1f dB, gain %.2f dB", c.from, c.to, c.hz, snr, gain); snr < c.snr || math.Abs(gain) > 0.5 {
			t.Errorf("%d to %d, %v Hz: SNR %.1f dB, gain %.2f dB", c.from, c.to, c.hz, snr, gain)
		}
	}
	// What the lower rate cannot carry must be gone, not folded back.
	for _, c := range []struct {
		from, to int
		hz       float64
	}{{16000, 8000, 5000}, {16000, 8000, 7000}, {48000, 16000, 10000}, {48000, 8000, 5000}} {
		out := newResampler(c.from, c.to).run(nil, sine(c.hz, 10000, 4000/(c.from/c.to)*(c.from/c.to), c.from))
		if level := 20 * math.Log10(rms(out[100:])/7071); level > -50 {
			t.Errorf("%d to %d: %v Hz comes through at %.1f dB", c.from, c.to, c.hz, level)
		}
	}
}

func TestTranscodeAllocatesNothing(t *testing.T) {
	for _, c := range []struct{ from, to Codec }{{PCMU, G722}, {G722, PCMA}} {
		in := packets(t, c.from, bursts(1, 2*time.Second, c.from.pcmRate()), Frame)
		o := newOutput(LegConfig{Format: Format{Codec: c.to}, Send: func([]byte) error { return nil }})
		o.Write(in[0])
		i := 1
		if n := testing.AllocsPerRun(90, func() { o.Write(in[i]); i++ }); n != 0 {
			t.Errorf("%v to %v: %v allocations", c.from, c.to, n)
		}
	}
}

func BenchmarkTranscode(b *testing.B) {
	for from := range Opus + 1 {
		for to := range Opus + 1 {
			if from == to || from.isG711() && to.isG711() || from == PCMA || to == PCMA {
				continue
			}
			b.Run(fmt.Sprintf("%v-%v", from, to), func(b *testing.B) {
				needOpus(b, from, to)
				in := packets(b, from, bursts(1, 10*time.Second, from.pcmRate()), Frame)
				o := newOutput(LegConfig{Format: Format{Codec: to}, Send: func([]byte) error { return nil }})
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					p := in[i%len(in)]
					p.Seq, p.TS = uint16(i), uint32(i)*from.frameTicks()
					o.Write(p)
				}
			})
		}
	}
}
