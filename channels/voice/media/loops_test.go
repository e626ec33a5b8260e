package media

import (
	"testing"
	"time"
)

// TestLoopsAreEncodedOnce: callers who wait with the same music get the same packets, each from its beginning, and
// nothing is kept when the last has gone.
func TestLoopsAreEncodedOnce(t *testing.T) {
	music := make(Prompt, 0, Rate+77)
	tune := bursts(9, time.Second, Rate)
	for _, s := range tune {
		music = append(music, EncodeULaw(s))
	}
	music = append(music, make(Prompt, 77)...) // no whole number of frames
	for _, c := range []Codec{G722, Opus} {
		needOpus(t, c)
		pacer := NewPacer()
		var wires [3]wire
		var outs [3]*Output
		for i := range outs {
			outs[i] = newOutput(LegConfig{Format: Format{Codec: c}, Pacer: pacer, Send: wires[i].send})
		}
		outs[0].Play(Loop(music))
		ticks(outs[0], 1, 30, time.Unix(1000, 0))
		outs[1].Play(Loop(music))
		ticks(outs[1], 1, 120, time.Unix(1000, 0))
		outs[2].Play(Loop(Silence()))
		ticks(outs[2], 1, 3, time.Unix(1000, 0))
		if n := len(pacer.loops.active); n != 2 {
			t.Errorf("%v: %d loops encoded", c, n)
		}
		for i, p := range wires[0].pkts {
			if string(p.Payload) != string(wires[1].pkts[i].Payload) {
				t.Fatalf("%v: packet %d differs", c, i)
			}
		}
		if string(wires[1].pkts[0].Payload) != string(wires[1].pkts[51].Payload) {
			t.Errorf("%v: the second turn is another", c)
		}
		heard := hearAll(t, c, &wires[1])
		if score := correlate(append(tune, make([]int16, Rate)...), heard[:2*c.pcmRate()], Rate, c.pcmRate()); score > 0.9 {
			t.Error("the comparison proves nothing")
		}
		var whole []int16
		for len(whole) < 2*Rate {
			pcm := make([]int16, 51*FrameSamples)
			DecodeULaw(pcm, music)
			whole = append(whole, pcm...)
		}
		if score := correlate(whole, heard, Rate, c.pcmRate()); score < 0.85 {
			t.Errorf("%v: %.4f", c, score)
		}
		outs[1].send = func([]byte) error { return nil }
		if n := testing.AllocsPerRun(100, func() { ticks(outs[1], 200, 1, time.Unix(1003, 0)) }); n != 0 {
			t.Errorf("%v: %v allocations a packet", c, n)
		}
		outs[0].setFormat(Format{Codec: PCMA, PayloadType: 8}) // a new negotiation in the middle
		ticks(outs[0], 31, 5, time.Unix(1001, 0))
		if p := wires[0].pkts[30]; p.PayloadType != TypePCMA || string(p.Payload) != string(toALaw(music[30*FrameSamples:31*FrameSamples])) {
			t.Errorf("%v: the loop lost its place with the codec", c)
		}
		for _, o := range outs {
			o.close()
		}
		if n := len(pacer.loops.active); n != 0 {
			t.Errorf("%v: %d loops kept", c, n)
		}
	}
}

func toALaw(b []byte) []byte {
	out := make([]byte, len(b))
	recode(out, b, PCMU, PCMA)
	return out
}

// FuzzJitter feeds a buffer with packets of any order, clock and kind: each pull ends and fills its frame.
func FuzzJitter(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 1, 1, 0, 1, 2, 0, 2, 1, 9, 0, 9, 2, 3, 0, 3, 3})
	f.Add([]byte{0, 255, 255, 0, 5, 0, 0, 0, 200, 5, 200, 1, 1, 8, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, codec := range []Codec{PCMU, G722, Opus} {
			if codec == Opus && !HasOpus() {
				continue
			}
			j := newJitter(Rate)
			now := time.Unix(1000, 0)
			var frame [FrameSamples]int16
			for rest := b; len(rest) >= 5; rest = rest[5:] {
				p := Packet{SSRC: uint32(rest[4] >> 7), Codec: codec, Arrived: now, Event: rest[4]&3 == 1, Comfort: rest[4]&3 == 2}
				p.Seq = uint16(rest[0]) << (rest[4] >> 4 & 7)
				p.TS = uint32(rest[1])<<(rest[4]>>2&15) + uint32(rest[2])*80
				p.Payload = append(p.buf[:0], rest[:1+int(rest[3])%len(rest)]...)
				j.put(&p)
				now = now.Add(time.Duration(rest[3]&63) * time.Millisecond)
				j.pull(frame[:], now)
				if len(j.pcm) > 2*maxSamples || j.held < 0 || j.held > jitterSlots {
					t.Fatalf("%d samples, %d packets", len(j.pcm), j.held)
				}
			}
		}
	})
}
