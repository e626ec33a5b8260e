package media

import "math/bits"

// G.711 (ITU-T): one byte for a sample of 13 or 14 bits, in steps that grow with the level. Decoding and the way from
// one law to the other are tables; encoding is a count of leading zeros.
var (
	fromULaw   = table(decodeULaw)
	fromALaw   = table(decodeALaw)
	ulawToALaw = table(func(b byte) byte { return EncodeALaw(decodeULaw(b)) })
	alawToULaw = table(func(b byte) byte { return EncodeULaw(decodeALaw(b)) })
)

// ULawSilence is a µ-law sample of zero.
const ULawSilence = 0xff

func table[T any](f func(byte) T) *[256]T {
	var t [256]T
	for i := range t {
		t[i] = f(byte(i))
	}
	return &t
}

// DecodeULaw turns µ-law bytes into samples; dst must be as long as src.
func DecodeULaw(dst []int16, src []byte) {
	for i, b := range src {
		dst[i] = fromULaw[b]
	}
}

// DecodeALaw turns A-law bytes into samples; dst must be as long as src.
func DecodeALaw(dst []int16, src []byte) {
	for i, b := range src {
		dst[i] = fromALaw[b]
	}
}

// EncodeULaw is the µ-law byte of a 16 bit sample.
func EncodeULaw(s int16) byte {
	const bias, clip = 0x84, 32635
	v, sign := int(s), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, clip) + bias
	exp := bits.Len(uint(v)) - 8 // v is 0x84..0x7fff: 0..7
	return ^(sign | byte(exp)<<4 | byte(v>>(exp+3))&0x0f)
}

// EncodeALaw is the A-law byte of a 16 bit sample.
func EncodeALaw(s int16) byte {
	v, sign := int(s), byte(0x80)
	if v < 0 {
		v, sign = -v-1, 0
	}
	var b byte
	if v < 256 {
		b = byte(v >> 4)
	} else {
		exp := bits.Len(uint(v)) - 8
		b = byte(exp)<<4 | byte(v>>(exp+3))&0x0f
	}
	return (sign | b) ^ 0x55
}

func decodeULaw(b byte) int16 {
	b = ^b
	v := (int(b&0x0f)<<3 + 0x84) << (b >> 4 & 7)
	v -= 0x84
	if b&0x80 != 0 {
		return int16(-v)
	}
	return int16(v)
}

func decodeALaw(b byte) int16 {
	b ^= 0x55
	v, exp := int(b&0x0f)<<4+8, b>>4&7
	if exp > 0 {
		v = (v + 0x100) << (exp - 1)
	}
	if b&0x80 == 0 {
		return int16(-v)
	}
	return int16(v)
}
