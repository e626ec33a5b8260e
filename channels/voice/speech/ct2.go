package speech

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A model in the format of CTranslate2, in which Whisper's weights are to be had: after the format's version a name and a revision, then each
// variable with its name, shape, type and bytes, then second names of some.

// weights is one variable of half precision.
type weights struct {
	shape []int
	half  []byte
}

func (w weights) count() int { return len(w.half) / 2 }

// at is one number of it.
func (w weights) at(i int) float32 { return half(binary.LittleEndian.Uint16(w.half[2*i:])) }

// floats are all of them.
func (w weights) floats() []float32 {
	out := make([]float32, w.count())
	for i := range out {
		out[i] = w.at(i)
	}
	return out
}

// half is a number of half precision (IEEE 754 binary16).
func half(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exponent {
	case 0:
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 255<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

const (
	ct2Version = 6
	ct2Half    = 4 // the type
)

var errCut = errors.New("the model is cut off")

// readCT2 finds the variables of half precision; they stay within b.
func readCT2(b []byte) (map[string]weights, error) {
	in := bytes.NewBuffer(b)
	number := func(bytes int) int {
		part := in.Next(bytes)
		if len(part) < bytes {
			return -1
		}
		n := 0
		for i, c := range part {
			n |= int(c) << (8 * i)
		}
		return n
	}
	name := func() string {
		n := number(2)
		if n < 1 || n > in.Len() {
			return ""
		}
		return string(in.Next(n)[:n-1])
	}
	if version, kind := number(4), name(); version != ct2Version || kind != "WhisperSpec" {
		return nil, fmt.Errorf("format %d of %.20q: format %d of Whisper was expected", version, kind, ct2Version)
	}
	number(4) // revision
	all := map[string]weights{}
	for n := number(4); n > 0; n-- {
		w := weights{}
		called := name()
		count := 1
		for d := number(1); d > 0; d-- {
			size := number(4)
			if size < 0 || size > len(b) || count > len(b) {
				return nil, errCut
			}
			w.shape, count = append(w.shape, size), count*size
		}
		kind, size := number(1), number(4)
		if called == "" || size < 0 || size > in.Len() {
			return nil, errCut
		}
		if w.half = in.Next(size); kind == ct2Half {
			if size != 2*count {
				return nil, fmt.Errorf("%s has %d bytes for %d numbers", called, size, count)
			}
			all[called] = w
		}
	}
	return all, nil
}
