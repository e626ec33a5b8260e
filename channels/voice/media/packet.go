package media

import (
	"encoding/binary"
	"time"
)

// MaxPacket is the largest datagram a leg reads; longer ones arrive cut and are dropped by their length rules.
const MaxPacket = 1500

const headerSize = 12

// Packet is one received RTP packet: the header's fields and the payload, which lies in the packet's own buffer. Each
// leg has one and reads into it again and again.
type Packet struct {
	PayloadType uint8
	Marker      bool
	Seq         uint16
	TS          uint32
	SSRC        uint32
	Payload     []byte
	Codec       Codec     // set by Leg.Deliver: the sound's, and whose clock TS has
	Event       bool      // likewise: a telephone-event (RFC 4733), not sound
	Comfort     bool      // likewise: comfort noise (RFC 3389), the other side pauses
	Arrived     time.Time // set by the reader

	buf [MaxPacket]byte
}

// Buffer is the place to read a datagram into, before Parse.
func (p *Packet) Buffer() []byte { return p.buf[:] }

// Parse reads the header of the n bytes in the packet's buffer (RFC 3550 section 5.1). Contributing sources, header
// extension and padding are stepped over.
func (p *Packet) Parse(n int) error {
	if n < headerSize || n > len(p.buf) {
		return ErrPacket
	}
	b := p.buf[:n]
	if b[0]>>6 != 2 {
		return ErrPacket
	}
	start := headerSize + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 { // header extension, section 5.3.1
		if len(b) < start+4 {
			return ErrPacket
		}
		start += 4 + 4*int(binary.BigEndian.Uint16(b[start+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 { // padding: the last byte counts itself
		pad := int(b[end-1])
		if pad == 0 {
			return ErrPacket
		}
		end -= pad
	}
	if start > end {
		return ErrPacket
	}
	p.parseFixed()
	p.Payload = b[start:end]
	p.Codec, p.Event, p.Comfort = 0, false, false
	return nil
}

// parseFixed reads the fields every packet has, which SRTP leaves in the clear.
func (p *Packet) parseFixed() {
	b := p.buf[:headerSize]
	p.Marker = b[1]&0x80 != 0
	p.PayloadType = b[1] & 0x7f
	p.Seq = binary.BigEndian.Uint16(b[2:])
	p.TS = binary.BigEndian.Uint32(b[4:])
	p.SSRC = binary.BigEndian.Uint32(b[8:])
}

// isRTCP tells RTCP from RTP on a shared port (RFC 5761 section 4).
func isRTCP(b []byte) bool { return len(b) >= 8 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223 }

func putHeader(b []byte, marker bool, payloadType uint8, seq uint16, ts, ssrc uint32) {
	b[0] = 2 << 6
	b[1] = payloadType & 0x7f
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
}
