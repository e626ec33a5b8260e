package media

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Opus is spoken by the system's libopus (Debian: libopus0, BSD licence), loaded at its first use without cgo. Where
// it is missing Opus is not offered, so nothing else needs to decode it. Encoders and decoders live in Go's memory:
// libopus takes any aligned bytes of the right size as its state, and the collector frees them.
//
// It runs at 16 kHz, the PCM plane's best; the RTP clock is 48 kHz whatever the samples are (RFC 7587 section 4.1).
const opusRate = 16000

// HasOpus says whether Opus can be offered.
func HasOpus() bool { return opusLibrary().err == nil }

// libopus is the library's functions, by address.
type libopus struct {
	encoderSize, encoderInit, encode, encoderCtl uintptr
	decoderSize, decoderInit, decode             uintptr
	err                                          error
}

var opusLibrary = sync.OnceValue(func() *libopus {
	var l libopus
	handle, err := purego.Dlopen("libopus.so.0", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		l.err = fmt.Errorf("libopus: %w", err)
		return &l
	}
	for name, f := range map[string]*uintptr{
		"opus_encoder_get_size": &l.encoderSize, "opus_encoder_init": &l.encoderInit,
		"opus_encode": &l.encode, "opus_encoder_ctl": &l.encoderCtl,
		"opus_decoder_get_size": &l.decoderSize, "opus_decoder_init": &l.decoderInit, "opus_decode": &l.decode,
	} {
		if *f, err = purego.Dlsym(handle, name); err != nil {
			l.err = errors.Join(l.err, fmt.Errorf("libopus: %w", err))
		}
	}
	return &l
})

// From opus_defines.h.
const (
	opusVoIP          = 2048
	opusSetBitrate    = 4002
	opusSetComplexity = 4010
	opusSetFEC        = 4012
	opusSetLoss       = 4014
)

// What our encoders are set to. At complexity 5 a frame costs half of what it costs at 9 and nobody hears it on speech.
// Expecting some loss makes the encoder put a copy of each frame into the next one (RFC 6716 section 2.1.7).
const (
	opusBitrate    = 32000
	opusComplexity = 5
	opusLoss       = 10 // per cent
)

var errOpus = errors.New("opus")

// cInt is a C int's result, which fills half a register.
func cInt(r uintptr) int { return int(int32(r)) }

func opusCall(f uintptr, args ...uintptr) int {
	r, _, _ := purego.SyscallN(f, args...)
	return cInt(r)
}

type opusEncoder struct {
	lib   *libopus
	state []byte
}

func newOpusEncoder() (*opusEncoder, error) {
	lib := opusLibrary()
	if lib.err != nil {
		return nil, lib.err
	}
	e := &opusEncoder{lib: lib, state: make([]byte, opusCall(lib.encoderSize, 1))}
	r, _, _ := purego.SyscallN(lib.encoderInit, uintptr(unsafe.Pointer(&e.state[0])), opusRate, 1, opusVoIP)
	if cInt(r) != 0 {
		return nil, fmt.Errorf("%w: encoder %d", errOpus, cInt(r))
	}
	for _, set := range [][2]uintptr{
		{opusSetBitrate, opusBitrate}, {opusSetComplexity, opusComplexity}, {opusSetFEC, 1}, {opusSetLoss, opusLoss},
	} {
		r, _, _ := purego.SyscallN(lib.encoderCtl, uintptr(unsafe.Pointer(&e.state[0])), set[0], set[1])
		if cInt(r) != 0 {
			return nil, fmt.Errorf("%w: setting %d: %d", errOpus, set[0], cInt(r))
		}
	}
	return e, nil
}

// encode writes one frame; 0 = it failed.
func (e *opusEncoder) encode(dst []byte, pcm []int16) int {
	r, _, _ := purego.SyscallN(e.lib.encode, uintptr(unsafe.Pointer(&e.state[0])), uintptr(unsafe.Pointer(&pcm[0])), uintptr(len(pcm)),
		uintptr(unsafe.Pointer(&dst[0])), uintptr(len(dst)))
	return max(cInt(r), 0)
}

type opusDecoder struct {
	lib   *libopus
	state []byte
}

func newOpusDecoder() (*opusDecoder, error) {
	lib := opusLibrary()
	if lib.err != nil {
		return nil, lib.err
	}
	d := &opusDecoder{lib: lib, state: make([]byte, opusCall(lib.decoderSize, 1))}
	r, _, _ := purego.SyscallN(lib.decoderInit, uintptr(unsafe.Pointer(&d.state[0])), opusRate, 1)
	if cInt(r) != 0 {
		return nil, fmt.Errorf("%w: decoder %d", errOpus, cInt(r))
	}
	return d, nil
}

// decode writes a packet's samples; 0 = no Opus packet.
func (d *opusDecoder) decode(dst []int16, packet []byte) int {
	if len(packet) == 0 || len(dst) == 0 {
		return 0
	}
	r, _, _ := purego.SyscallN(d.lib.decode, uintptr(unsafe.Pointer(&d.state[0])), uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)),
		uintptr(unsafe.Pointer(&dst[0])), uintptr(len(dst)), 0)
	return max(cInt(r), 0)
}

// conceal fills dst for a lost packet: from the copy that the next one carries, if it is here and has one, else by
// guessing (RFC 6716 section 4.4).
func (d *opusDecoder) conceal(dst []int16, next []byte) int {
	if len(dst) == 0 {
		return 0
	}
	if len(next) > 0 {
		r, _, _ := purego.SyscallN(d.lib.decode, uintptr(unsafe.Pointer(&d.state[0])), uintptr(unsafe.Pointer(&next[0])), uintptr(len(next)),
			uintptr(unsafe.Pointer(&dst[0])), uintptr(len(dst)), 1)
		if n := cInt(r); n > 0 {
			return n
		}
	}
	r, _, _ := purego.SyscallN(d.lib.decode, uintptr(unsafe.Pointer(&d.state[0])), 0, 0, uintptr(unsafe.Pointer(&dst[0])), uintptr(len(dst)), 0)
	return max(cInt(r), 0)
}
