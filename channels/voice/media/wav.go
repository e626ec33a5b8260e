package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// LoadPrompt reads a prompt file: WAV (8 kHz, mono, 16 bit or µ-law), or raw µ-law when the name does not end in .wav.
func LoadPrompt(path string) (Prompt, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	if !strings.EqualFold(filepath.Ext(path), ".wav") {
		return Prompt(b), nil
	}
	p, err := ParsePrompt(b)
	if err != nil {
		return nil, fmt.Errorf("prompt %s: %w", filepath.Base(path), err)
	}
	return p, nil
}

// ParsePrompt makes a prompt of a WAV file's bytes.
func ParsePrompt(wav []byte) (Prompt, error) {
	w, err := ReadWAV(wav)
	if err != nil {
		return nil, err
	}
	if w.Rate != Rate || w.Channels != 1 {
		return nil, fmt.Errorf("%d Hz, %d channels: must be 8000 Hz mono", w.Rate, w.Channels)
	}
	p := make(Prompt, len(w.Samples))
	for i, s := range w.Samples {
		p[i] = EncodeULaw(s)
	}
	return p, nil
}

// WAV is sound in memory, channels interleaved.
type WAV struct {
	Rate, Channels int
	Samples        []int16
}

// WAV format tags.
const (
	wavPCM        = 1
	wavALaw       = 6
	wavULaw       = 7
	wavExtensible = 0xfffe
)

var errWAV = errors.New("not a WAV file of 16 bit PCM or G.711")

// ReadWAV reads a RIFF file of 16 bit PCM, A-law or µ-law. A data chunk longer than the file (a recorder that was
// killed) ends where the file ends.
func ReadWAV(b []byte) (*WAV, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, errWAV
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
				return nil, errWAV
			}
		case id == "data" && w != nil:
			return w, w.decode(body, format, bits)
		}
		b = b[min(size+size&1, int64(len(b))):]
	}
	return nil, errWAV
}

func (w *WAV) decode(body []byte, format, bits uint16) error {
	switch {
	case format == wavPCM && bits == 16:
		w.Samples = make([]int16, len(body)/2)
		for i := range w.Samples {
			w.Samples[i] = int16(binary.LittleEndian.Uint16(body[2*i:]))
		}
	case format == wavULaw && bits == 8:
		w.Samples = make([]int16, len(body))
		DecodeULaw(w.Samples, body)
	case format == wavALaw && bits == 8:
		w.Samples = make([]int16, len(body))
		DecodeALaw(w.Samples, body)
	default:
		return errWAV
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
