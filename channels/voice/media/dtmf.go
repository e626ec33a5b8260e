package media

import (
	"encoding/binary"
	"strings"
	"time"
)

// keys in the order of their event codes (RFC 4733 section 3.2).
const keys = "0123456789*#ABCD"

// keyQuiet ends an event whose end packets were all lost.
const keyQuiet = 100 * time.Millisecond

// keypad tells keys pressed from the many packets of each: one event per SSRC and timestamp, counted at its first
// packet, ended by the E bit or by 100 ms without a packet of it.
type keypad struct {
	heard    bool
	ended    bool
	ssrc, ts uint32
	code     byte
	duration uint16
	last     time.Time
}

// hear returns the digit when p is the first packet of an event, else 0.
func (k *keypad) hear(p *Packet) byte {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(keys) {
		return 0
	}
	code, end := p.Payload[0], p.Payload[1]&0x80 != 0
	duration := binary.BigEndian.Uint16(p.Payload[2:])
	quiet := p.Arrived.Sub(k.last) > keyQuiet
	if k.heard && p.SSRC == k.ssrc {
		ahead := int32(p.TS - k.ts)
		switch {
		case ahead == 0 && code == k.code:
			k.duration, k.ended, k.last = max(k.duration, duration), k.ended || end, p.Arrived
			return 0
		case ahead < 0 && !quiet: // late packet of an earlier key
			return 0
		case ahead > 0 && code == k.code && !k.ended && !quiet && !p.Marker && ahead == int32(k.duration):
			// A key held for longer than the duration field can say goes on as a new segment (section 2.5.1.3).
			k.ts, k.duration, k.ended, k.last = p.TS, duration, end, p.Arrived
			return 0
		}
	}
	*k = keypad{heard: true, ended: end, ssrc: p.SSRC, ts: p.TS, code: code, duration: duration, last: p.Arrived}
	return keys[code]
}

// keyCode is the event code of a digit.
func keyCode(digit byte) (byte, bool) {
	if digit >= 'a' && digit <= 'd' {
		digit -= 'a' - 'A'
	}
	i := strings.IndexByte(keys, digit)
	return byte(i), i >= 0
}

// keyPress is a key being sent: every 20 ms a packet with the same timestamp and a longer duration, the last one three
// times (RFC 4733 sections 2.5.1.2 and 2.5.1.4).
type keyPress struct {
	code     byte
	total    uint16 // in ticks of the output's clock, as all here
	duration uint16
	ends     int
	ts       uint32
}

// put writes the payload of the next packet, a frame further on, and says whether it was the last of the event.
func (k *keyPress) put(b []byte, frame uint16) (last bool) {
	const volume = 10 // -10 dBm0
	k.duration += min(frame, k.total-k.duration)
	b[0], b[1] = k.code, volume
	if k.duration == k.total {
		b[1] |= 0x80
		k.ends++
	}
	binary.BigEndian.PutUint16(b[2:], k.duration)
	return k.ends == 3
}
