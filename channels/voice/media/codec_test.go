package media

import (
	"testing"
	"time"
)

func TestClassify(t *testing.T) {
	opus := Format{Codec: Opus, PayloadType: 111, Events: 110}
	for name, c := range map[string]struct {
		format Format
		pt     uint8
		want   Packet
		ok     bool
	}{
		"µ-law under another number": {Format{PayloadType: 97}, 97, Packet{Codec: PCMU}, true},
		"µ-law under its own":        {Format{PayloadType: 97}, 0, Packet{Codec: PCMU}, true},
		"the other law, unasked":     {Format{}, 8, Packet{Codec: PCMA}, true},
		"G.722, unasked":             {opus, 9, Packet{Codec: G722}, true},
		"usual number":               {Format{Codec: Opus}, 111, Packet{Codec: Opus}, true},
		"Opus's keys":                {opus, 110, Packet{Codec: Opus, Event: true}, true},
		"keys without negotiation":   {Format{}, 101, Packet{}, false},
		"comfort noise":              {Format{}, 13, Packet{Comfort: true}, true},
		"comfort noise, dynamic":     {Format{Codec: G722, Comfort: 98}, 98, Packet{Codec: G722, Comfort: true}, true},
		"GSM":                        {Format{}, 3, Packet{}, false},
	} {
		p := Packet{PayloadType: c.pt, Event: true, Comfort: true}
		ok := c.format.normal().classify(&p)
		if ok != c.ok || ok && (p.Codec != c.want.Codec || p.Event != c.want.Event || p.Comfort != c.want.Comfort) {
			t.Errorf("%s: %v, %v event %v comfort %v", name, ok, p.Codec, p.Event, p.Comfort)
		}
	}
}

func TestOpusTicks(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want uint32
	}{
		{nil, 0},
		{[]byte{0 << 3}, 480}, {[]byte{1 << 3}, 960}, {[]byte{3 << 3}, 2880},
		{[]byte{12 << 3}, 480}, {[]byte{13<<3 | 1}, 1920},
		{[]byte{16 << 3}, 120}, {[]byte{31<<3 | 2}, 1920},
		{[]byte{31<<3 | 3, 6}, 5760}, {[]byte{31<<3 | 3, 7}, 0}, {[]byte{31<<3 | 3}, 0},
	} {
		if got := Opus.ticks(c.in); got != c.want {
			t.Errorf("% x: %d, want %d", c.in, got, c.want)
		}
	}
}

// TestOutputClocks: a key pressed beside Opus (48 kHz) reaches a leg at 8 kHz in its time, and the other way round.
func TestOutputClocks(t *testing.T) {
	for _, c := range []struct {
		from, to Codec
		duration []byte // of 20 ms as sent
		want     uint16
		ts       uint32
	}{
		{Opus, PCMU, []byte{960 >> 8, 960 & 0xff}, 160, 160},
		{PCMU, Opus, []byte{0, 160}, 960, 960},
		{G722, PCMA, []byte{0, 160}, 160, 160},
	} {
		var w wire
		o := newOutput(LegConfig{Format: Format{Codec: c.to, Events: 96}, Send: w.send})
		at := time.Unix(1000, 0)
		for i := range 3 {
			e := sound(1, uint16(i), uint32(i)*c.from.frameTicks(), at.Add(time.Duration(i)*Frame))
			e.Codec, e.Event = c.from, true
			e.Payload = append(e.buf[:0], 5, 10, c.duration[0], c.duration[1])
			o.Write(e)
		}
		for i, p := range w.pkts {
			duration := uint16(p.Payload[2])<<8 | uint16(p.Payload[3])
			if ts := p.Timestamp - w.pkts[0].Timestamp; ts != uint32(i)*c.ts || duration != c.want || p.PayloadType != 96 {
				t.Errorf("%v to %v: packet %d: ts +%d, duration %d", c.from, c.to, i, ts, duration)
			}
		}
		if len(w.pkts) != 3 {
			t.Errorf("%v to %v: %d packets", c.from, c.to, len(w.pkts))
		}
	}
	r := relayed{codec: Opus}
	for hour := range uint32(60) { // two rounds of the source's clock
		if got := r.ts(hour*3600*48000+960, Rate); got != hour*3600*Rate+160 {
			t.Fatalf("hour %d: %d", hour, got)
		}
	}
}

// TestKeysOfAnotherClock: keys at 8000 beside Opus are as long on the other side as here, both ways.
func TestKeysOfAnotherClock(t *testing.T) {
	var w wire
	leg := NewLeg(LegConfig{Format: Format{Codec: Opus, Events: 101, EventClock: 8000}, Pacer: NewPacer(), Send: w.send})
	var other wire
	to := newOutput(LegConfig{Format: Format{Events: 96}, Send: other.send})
	leg.Swap(to)
	leg.Deliver(&Packet{PayloadType: 101, SSRC: 1, Seq: 1, TS: 960, Arrived: time.Unix(1000, 0), Payload: []byte{5, 10, 800 >> 8, 800 & 0xff}})
	if p := other.pkts[0].Payload; p[0] != 5 || uint16(p[2])<<8|uint16(p[3]) != 800 {
		t.Errorf("heard % x, want a duration of 800 at 8000", p)
	}
	if err := leg.SendDTMF('1', 60*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ticks(leg.Out(), 1, 3, time.Unix(1000, 0))
	for i, want := range []uint16{160, 320, 480} {
		if p := w.pkts[i].Payload; uint16(p[2])<<8|uint16(p[3]) != want {
			t.Errorf("packet %d: % x, want duration %d", i, p, want)
		}
	}
}

// TestKeysBesideOpus: our own keys count in the codec's clock.
func TestKeysBesideOpus(t *testing.T) {
	var w wire
	o := newOutput(LegConfig{Format: Format{Codec: Opus, Events: 110}, Pacer: NewPacer(), Send: w.send})
	if err := o.SendDTMF('1', 60*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := o.SendDTMF('2', 5*time.Second); err != nil {
		t.Fatal(err)
	}
	ticks(o, 1, 100, time.Unix(1000, 0))
	for i, want := range []uint16{960, 1920, 2880, 2880, 2880, 960} {
		if p := w.pkts[i].Payload; uint16(p[2])<<8|uint16(p[3]) != want {
			t.Errorf("packet %d: % x, want duration %d", i, p, want)
		}
	}
	if last := w.pkts[len(w.pkts)-1].Payload; last[0] != 2 || last[2] != 0xff || last[3] != 0xff || last[1]&0x80 == 0 {
		t.Errorf("% x", last)
	}
}

func TestComfortNoise(t *testing.T) {
	var with, without wire
	cn := func(seq uint16) *Packet {
		p := sound(1, seq, uint32(seq)*160, time.Unix(1000, 0))
		p.Comfort, p.Payload = true, p.Payload[:1]
		return p
	}
	for _, c := range []struct {
		w       *wire
		comfort uint8
		want    int
	}{{&with, 13, 3}, {&without, 0, 2}} {
		o := newOutput(LegConfig{Format: Format{Comfort: c.comfort}, Send: c.w.send})
		o.Write(sound(1, 1, 160, time.Unix(1000, 0)))
		o.Write(cn(2))
		o.Write(sound(1, 3, 480, time.Unix(1000, 0)))
		if len(c.w.pkts) != c.want {
			t.Fatalf("%d packets, want %d", len(c.w.pkts), c.want)
		}
		for i, p := range c.w.pkts {
			if p.SequenceNumber-c.w.pkts[0].SequenceNumber != uint16(i) {
				t.Errorf("a hole before packet %d", i)
			}
		}
	}
	if p := with.pkts[1]; p.PayloadType != 13 || len(p.Payload) != 1 {
		t.Errorf("%+v", p)
	}
}

// tap writes down what a leg hears and says.
type tap struct {
	heard []Packet
	said  []Source
}

func (t *tap) Heard(p *Packet)                                         { t.heard = append(t.heard, *p) }
func (t *tap) Said(_ Codec, _ []byte, _ uint32, _ time.Time, k Source) { t.said = append(t.said, k) }

func TestTap(t *testing.T) {
	var w wire
	leg := NewLeg(LegConfig{Format: Format{Events: 101}, Pacer: NewPacer(), Send: w.send})
	var seen tap
	leg.SetTap(&seen)
	for i, pt := range []uint8{TypePCMU, 101, TypeComfort, 34} {
		p := sound(1, uint16(i), 0, time.Unix(1000, 0))
		p.PayloadType = pt
		leg.Deliver(p)
	}
	if len(seen.heard) != 3 || !seen.heard[1].Event || !seen.heard[2].Comfort {
		t.Errorf("heard %d", len(seen.heard))
	}
	at := time.Unix(1000, 0)
	leg.Out().Write(sound(1, 1, 0, at))
	leg.Play(NewPlayer(make(Prompt, FrameSamples)))
	ticks(leg.Out(), 1, 2, at)
	leg.Play(Loop(Silence()))
	ticks(leg.Out(), 3, 1, at)
	leg.SetTap(nil)
	ticks(leg.Out(), 4, 1, at)
	if want := []Source{Relayed, Spoken, Music}; len(seen.said) != 3 || seen.said[0] != want[0] || seen.said[1] != want[1] || seen.said[2] != want[2] {
		t.Errorf("said %v", seen.said)
	}
}
