package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// ParsePrompt makes a prompt of a WAV file's bytes.
func ParsePrompt(wav []byte) (Prompt, error) {
	sound, err := TelephoneSound(wav)
	if err != nil {
		return nil, err
	}
	return NewPrompt(sound), nil
}

// NewPrompt makes a prompt of samples at 8 kHz.
func NewPrompt(sound []int16) Prompt {
	p := make(Prompt, len(sound))
	for i, s := range sound {
		p[i] = EncodeULaw(s)
	}
	return p
}

// WAV is sound in memory, channels interleaved.
type WAV struct {
	Rate, Channels int
	Samples        []int16
	Missing        int64 // bytes that the header promises and the file lacks
}

// WAV format tags.
const (
	wavPCM        = 1
	wavFloat      = 3
	wavALaw       = 6
	wavULaw       = 7
	wavExtensible = 0xfffe
)

var errWAV = errors.New("not a WAV file")

// ReadWAV reads a RIFF file of PCM (8 to 32 bit, float), A-law or µ-law. A data chunk longer than the file (a recorder
// that was killed) ends where the file ends; Missing says so.
func ReadWAV(b []byte) (*WAV, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, notWAV(b)
	}
	var w *WAV
	var format, bits uint16
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		body := b[:min(size, int64(len(b)))]
		switch {
		case id == "fmt " && len(body) >= 16:
			format, bits = binary.LittleEndian.Uint16(body), binary.LittleEndian.Uint16(body[14:])
			if format == wavExtensible && len(body) >= 26 {
				format = binary.LittleEndian.Uint16(body[24:])
			}
			w = &WAV{
				Channels: int(binary.LittleEndian.Uint16(body[2:])),
				Rate:     int(binary.LittleEndian.Uint32(body[4:])),
			}
			if w.Channels == 0 || w.Rate == 0 {
				return nil, fmt.Errorf("%w: its header has no channels or no rate", errWAV)
			}
		case id == "data" && w != nil:
			if size != math.MaxUint32 { // which a program writes that could not go back to the header
				w.Missing = size - int64(len(body))
			}
			return w, w.decode(body, format, bits)
		}
		b = b[min(size+size&1, int64(len(b))):]
	}
	return nil, fmt.Errorf("%w: it has no sound in it", errWAV)
}

// notWAV says what a file is that people take for one.
func notWAV(b []byte) error {
	for _, known := range []struct {
		magic string
		at    int
		name  string
	}{
		{"ID3", 0, "MP3"}, {"\xff\xfb", 0, "MP3"}, {"\xff\xf3", 0, "MP3"}, {"OggS", 0, "Ogg"}, {"fLaC", 0, "FLAC"},
		{"ftyp", 4, "MPEG-4"}, {"FORM", 0, "AIFF"}, {"RF64", 0, "RF64"}, {"RIFX", 0, "RIFX"},
	} {
		if len(b) > known.at && strings.HasPrefix(string(b[known.at:min(len(b), known.at+4)]), known.magic) {
			return fmt.Errorf("%w, but %s", errWAV, known.name)
		}
	}
	return errWAV
}

func (w *WAV) decode(body []byte, format, bits uint16) error {
	width := int(bits) / 8
	var sample func(b []byte) int16
	le := binary.LittleEndian
	switch {
	case format == wavPCM && bits == 8:
		sample = func(b []byte) int16 { return int16(b[0]^0x80) << 8 } // the one unsigned width
	case format == wavPCM && (bits == 16 || bits == 24 || bits == 32):
		sample = func(b []byte) int16 { return int16(le.Uint16(b[width-2:])) } // the highest two bytes
	case format == wavFloat && bits == 32:
		sample = func(b []byte) int16 { return clamp(32768 * float64(math.Float32frombits(le.Uint32(b)))) }
	case format == wavFloat && bits == 64:
		sample = func(b []byte) int16 { return clamp(32768 * math.Float64frombits(le.Uint64(b))) }
	case format == wavULaw && bits == 8:
		w.Samples = make([]int16, len(body))
		DecodeULaw(w.Samples, body)
		return nil
	case format == wavALaw && bits == 8:
		w.Samples = make([]int16, len(body))
		DecodeALaw(w.Samples, body)
		return nil
	default:
		return fmt.Errorf("not PCM or G.711 inside, but format %d with %d bits", format, bits)
	}
	w.Samples = make([]int16, len(body)/width)
	for i := range w.Samples {
		w.Samples[i] = sample(body[i*width:])
	}
	return nil
}

// Encode is the WAV file's bytes: 16 bit PCM.
func (w *WAV) Encode() []byte {
	b := make([]byte, wavHeaderSize+2*len(w.Samples))
	putWAVHeader(b, w.Rate, w.Channels, int64(2*len(w.Samples)))
	for i, s := range w.Samples {
		binary.LittleEndian.PutUint16(b[wavHeaderSize+2*i:], uint16(s))
	}
	return b
}

// wavHeaderSize is the plainest header: RIFF, a fmt chunk of 16 bytes and the head of the data chunk.
const wavHeaderSize = 44

// putWAVHeader writes the header of 16 bit PCM with data bytes of samples. The format's sizes have 32 bits: more than
// 4 GB says the most it can.
func putWAVHeader(b []byte, rate, channels int, data int64) {
	size := uint32(min(data, math.MaxUint32-wavHeaderSize))
	copy(b, "RIFF")
	binary.LittleEndian.PutUint32(b[4:], wavHeaderSize-8+size)
	copy(b[8:], "WAVEfmt ")
	binary.LittleEndian.PutUint32(b[16:], 16)
	binary.LittleEndian.PutUint16(b[20:], wavPCM)
	binary.LittleEndian.PutUint16(b[22:], uint16(channels))
	binary.LittleEndian.PutUint32(b[24:], uint32(rate))
	binary.LittleEndian.PutUint32(b[28:], uint32(rate*channels*2))
	binary.LittleEndian.PutUint16(b[32:], uint16(channels*2))
	binary.LittleEndian.PutUint16(b[34:], 16)
	copy(b[36:], "data")
	binary.LittleEndian.PutUint32(b[40:], size)
}
