package media

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// load puts b into p as a reader would.
func load(p *Packet, b []byte) error { return p.Parse(copy(p.Buffer(), b)) }

func TestParse(t *testing.T) {
	plain := []byte{0x80, 0x80, 0, 7, 0, 0, 0, 160, 1, 2, 3, 4, 'a', 'b'}
	for name, c := range map[string]struct {
		in   []byte
		want string // payload; "!" = refused
	}{
		"plain":                 {plain, "ab"},
		"no payload":            {plain[:12], ""},
		"short":                 {plain[:11], "!"},
		"empty":                 {nil, "!"},
		"version 1":             {append([]byte{0x40}, plain[1:]...), "!"},
		"two sources":           {append([]byte{0x82, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 8, 8, 8, 8}, "xy"...), "xy"},
		"sources missing":       {append([]byte{0x8f}, plain[1:]...), "!"},
		"extension":             {append([]byte{0x90, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 1, 1, 2, 3, 4}, "xy"...), "xy"},
		"extension too long":    {append([]byte{0x90, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0xff, 0xff}, "xy"...), "!"},
		"extension header cut":  {[]byte{0x90, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe}, "!"},
		"padding":               {append([]byte{0xa0}, append(plain[1:14:14], 0, 0, 3)...), "ab"},
		"padding over the head": {append([]byte{0xa0}, append(plain[1:14:14], 0, 0, 200)...), "!"},
		"padding of none":       {append([]byte{0xa0}, append(plain[1:14:14], 0)...), "!"},
	} {
		var p Packet
		err := load(&p, c.in)
		if c.want == "!" {
			if err == nil {
				t.Errorf("%s: taken", name)
			}
			continue
		}
		if err != nil || string(p.Payload) != c.want || p.Seq != 7 {
			t.Errorf("%s: %q seq %d, %v", name, p.Payload, p.Seq, err)
		}
	}
}

// FuzzParse compares with pion's parser: what both take must read the same, and nothing may panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte{0x80, 0x80, 0, 7, 0, 0, 0, 160, 1, 2, 3, 4, 'a', 'b'})
	f.Add([]byte{0x90, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 1, 1, 2, 3, 4})
	f.Add([]byte{0xb2, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 8, 8, 8, 8, 0xbe, 0xde, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxPacket {
			return
		}
		var p Packet
		if load(&p, b) != nil {
			return
		}
		var want rtp.Packet
		if want.Unmarshal(b) != nil {
			return
		}
		if p.Seq != want.SequenceNumber || p.TS != want.Timestamp || p.SSRC != want.SSRC || p.Marker != want.Marker ||
			p.PayloadType != want.PayloadType || !bytes.Equal(p.Payload, want.Payload) {
			t.Fatalf("%+v, pion %+v", p, want)
		}
	})
}

// FuzzKeys feeds a leg with packets made of the input: no panic, and no digit without an event's packet.
func FuzzKeys(f *testing.F) {
	f.Add([]byte{5, 10, 0, 160, 0, 5, 10, 1, 64, 0, 5, 0x8a, 1, 64, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		events, digits := 0, 0
		leg := NewLeg(LegConfig{Format: Format{Events: 101}, OnDTMF: func(byte) { digits++ }, Send: func([]byte) error { return nil }})
		other := NewLeg(LegConfig{Format: Format{Events: 96}, Send: func([]byte) error { return nil }})
		leg.Swap(other.Out())
		at := time.Unix(1000, 0)
		var p Packet
		for i := 0; len(b) >= 5; i++ {
			var raw [16]byte
			putHeader(raw[:], b[4]&1 != 0, 101-b[4]>>7*101, uint16(i)+uint16(b[4]), uint32(b[4]>>1)*160, 7)
			copy(raw[12:], b[:4])
			b = b[5:]
			if err := load(&p, raw[:]); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Duration(raw[14]) * time.Millisecond)
			p.Arrived = at
			leg.Deliver(&p)
			if p.Event {
				events++
			}
		}
		if digits > events {
			t.Fatalf("%d digits of %d events", digits, events)
		}
	})
}

func TestKeys(t *testing.T) {
	type pkt struct {
		ts       uint32
		code     byte
		end      bool
		duration uint16
		after    time.Duration
		ssrc     uint32
		marker   bool
	}
	ms := time.Millisecond
	five := []pkt{{ts: 0, code: 5, duration: 160, marker: true}, {code: 5, duration: 320, after: 20 * ms}, {code: 5, duration: 480, end: true, after: 20 * ms}, {code: 5, duration: 480, end: true}, {code: 5, duration: 480, end: true}}
	for name, c := range map[string]struct {
		in   []pkt
		want string
	}{
		"one key":                   {five, "5"},
		"only the last end arrives": {five[4:], "5"},
		"first lost":                {five[1:], "5"},
		"same key twice":            {append(five[:5:5], pkt{ts: 1600, code: 5, marker: true, after: 160 * ms}, pkt{ts: 1600, code: 5, end: true}), "55"},
		"twice, all ends lost":      {[]pkt{{code: 5, duration: 160, marker: true}, {ts: 2400, code: 5, duration: 160, after: 300 * ms}}, "55"},
		"late packet of the first":  {append(five[:3:3], pkt{ts: 800, code: 6, after: 60 * ms}, pkt{code: 5, end: true, duration: 480}), "56"},
		"end repeated late":         {append(five[:5:5], pkt{code: 5, end: true, duration: 480, after: 150 * ms}), "5"},
		"held over 8 s":             {[]pkt{{code: 1, duration: 0xffff}, {ts: 0xffff, code: 1, duration: 160, after: 20 * ms}}, "1"},
		"star, hash, D":             {[]pkt{{code: 10}, {ts: 1, code: 11}, {ts: 2, code: 15}}, "*#D"},
		"flash is no key":           {[]pkt{{code: 16}}, ""},
		"another source":            {[]pkt{{code: 1}, {code: 1, ssrc: 9}}, "11"},
	} {
		var k keypad
		var got []byte
		at := time.Unix(1000, 0)
		for _, e := range c.in {
			at = at.Add(e.after)
			p := Packet{TS: e.ts, SSRC: e.ssrc, Marker: e.marker, Arrived: at, Payload: []byte{e.code, 10, 0, 0}}
			if e.end {
				p.Payload[1] |= 0x80
			}
			binary.BigEndian.PutUint16(p.Payload[2:], e.duration)
			if d := k.hear(&p); d != 0 {
				got = append(got, d)
			}
		}
		if string(got) != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	var k keypad
	if k.hear(&Packet{Payload: []byte{1, 2, 3}}) != 0 {
		t.Error("a cut event is no key")
	}
}

func TestG711(t *testing.T) {
	for b := range 256 {
		// Both laws decode and encode back to the same byte; µ-law has two zeros.
		if got := EncodeULaw(decodeULaw(byte(b))); got != byte(b) && b != 0x7f {
			t.Errorf("µ-law %#x -> %d -> %#x", b, decodeULaw(byte(b)), got)
		}
		if got := EncodeALaw(decodeALaw(byte(b))); got != byte(b) {
			t.Errorf("A-law %#x -> %d -> %#x", b, decodeALaw(byte(b)), got)
		}
	}
	// Known points (ITU-T G.711 tables 1a, 2a; sox agrees).
	for _, c := range []struct {
		s    int16
		u, a byte
	}{{0, 0xff, 0xd5}, {32767, 0x80, 0xaa}, {-32768, 0x00, 0x2a}, {-1, 0x7f, 0x55}, {1000, 0xce, 0xfa}, {-1000, 0x4e, 0x7a}} {
		if u, a := EncodeULaw(c.s), EncodeALaw(c.s); u != c.u || a != c.a {
			t.Errorf("%d: µ %#x A %#x, want %#x %#x", c.s, u, a, c.u, c.a)
		}
	}
	for s := -32768; s <= 32767; s += 7 {
		u, a := int(decodeULaw(EncodeULaw(int16(s)))), int(decodeALaw(EncodeALaw(int16(s))))
		limit := max(s, -s)/16 + 16
		if clipped := max(s, -s) > 32000; !clipped && (abs(u-s) > limit || abs(a-s) > limit) {
			t.Fatalf("%d: µ %d A %d", s, u, a)
		}
	}
}

func abs(i int) int { return max(i, -i) }
