package media

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
)

// soundLevel is the power of a tone in samples, in dB below a full-scale sine, without the filter's edges.
func soundLevel(samples []int16, hz float64) float64 {
	samples = samples[400 : len(samples)-400]
	var re, im float64
	for i, s := range samples {
		a := 2 * math.Pi * hz * float64(i) / Rate
		re, im = re+float64(s)*math.Cos(a), im+float64(s)*math.Sin(a)
	}
	return 20 * math.Log10(2*math.Hypot(re, im)/float64(len(samples))/32767+1e-9)
}

func soundTone(rate int, hz float64) *WAV {
	w := &WAV{Rate: rate, Channels: 1, Samples: make([]int16, rate)}
	for i := range w.Samples {
		w.Samples[i] = int16(16384 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)))
	}
	return w
}

// TestSoundKeepsSpeechAndFoldsNothing: what is below 3.4 kHz stays as loud as it was, what is above 4 kHz is gone and
// does not come back as something else.
func TestSoundKeepsSpeechAndFoldsNothing(t *testing.T) {
	for _, rate := range []int{8000, 11025, 16000, 22050, 32000, 44100, 48000} {
		for _, hz := range []float64{300, 1000, 3400} {
			got, err := TelephoneSound(soundTone(rate, hz).Encode())
			if err != nil || len(got) != Rate {
				t.Fatalf("%d Hz: %d samples, %v", rate, len(got), err)
			}
			if dB := soundLevel(got, hz); math.Abs(dB+6.02) > 0.2 {
				t.Errorf("%d Hz: a tone of %g Hz at -6 dB comes out at %.2f dB", rate, hz, dB)
			}
		}
		for hz := 4050.0; hz < float64(rate)/2-100; hz += 1300 {
			got, err := TelephoneSound(soundTone(rate, hz).Encode())
			if err != nil {
				t.Fatal(err)
			}
			folded := math.Abs(hz - Rate*math.Round(hz/Rate))
			if dB := soundLevel(got, folded); dB > -70 {
				t.Errorf("%d Hz: a tone of %g Hz comes back at %g Hz with %.1f dB", rate, hz, folded, dB)
			}
		}
	}
}

// soundFile writes a WAV file of any format; data is what stands in its data chunk.
func soundFile(format, channels, bits int, rate int, data []byte) []byte {
	le := binary.LittleEndian
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00")
	b = le.AppendUint16(b, uint16(format))
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(rate*channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	b = le.AppendUint16(b, uint16(bits))
	b = append(b, "LIST\x03\x00\x00\x00abc\x00"...) // a chunk of odd length that nobody needs
	b = le.AppendUint32(append(b, "data"...), uint32(len(data)))
	return append(b, data...)
}

func TestSoundFormats(t *testing.T) {
	le := binary.LittleEndian
	f32 := func(x ...float32) (b []byte) {
		for _, x := range x {
			b = le.AppendUint32(b, math.Float32bits(x))
		}
		return b
	}
	extensible := soundFile(wavExtensible, 1, 16, 8000, []byte{0, 0x40})
	extensible = slices.Concat(extensible[:16], []byte{40, 0, 0, 0}, extensible[20:36], []byte{22, 0, 16, 0, 0, 0, 0, 0, 1, 0}, make([]byte, 14), extensible[36:])
	for _, c := range []struct {
		name string
		wav  []byte
		want []int16
	}{
		{"8 bit", soundFile(1, 1, 8, 8000, []byte{0x80, 0xff, 0x00}), []int16{0, 0x7f00, -0x8000}},
		{"16 bit", soundFile(1, 1, 16, 8000, []byte{0, 0x40, 0xff, 0xff}), []int16{0x4000, -1}},
		{"24 bit", soundFile(1, 1, 24, 8000, []byte{9, 0, 0x40, 9, 0xff, 0xff}), []int16{0x4000, -1}},
		{"32 bit", soundFile(1, 1, 32, 8000, []byte{9, 9, 0, 0x40}), []int16{0x4000}},
		{"float", soundFile(3, 1, 32, 8000, f32(0.5, -1, 7, -7, float32(math.NaN()), float32(math.Inf(1)))), []int16{16384, -32768, 32767, -32768, 0, 32767}},
		{"double", soundFile(3, 1, 64, 8000, le.AppendUint64(nil, math.Float64bits(0.25))), []int16{8192}},
		{"µ-law", soundFile(7, 1, 8, 8000, []byte{EncodeULaw(1000)}), []int16{decodeULaw(EncodeULaw(1000))}},
		{"stereo", soundFile(1, 2, 16, 8000, []byte{0, 0x40, 0, 0x20, 9}), []int16{0x3000}},
		{"loud stereo", soundFile(1, 2, 16, 8000, []byte{0, 0x80, 0, 0x80}), []int16{-32768}},
		{"extensible", extensible, []int16{0x4000}},
	} {
		if got, err := TelephoneSound(c.wav); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

// TestSoundRefuses: the error tells the owner of the file what it is.
func TestSoundRefuses(t *testing.T) {
	good := soundFile(1, 1, 16, 8000, make([]byte, 100))
	for _, c := range []struct {
		name, want string
		wav        []byte
	}{
		{"nothing", "not a WAV file", nil},
		{"text", "not a WAV file", []byte("Hello, this is a text.")},
		{"mp3", "but MP3", []byte("ID3\x04rest of the file")},
		{"bare mp3", "but MP3", []byte("\xff\xfb\x90\x44")},
		{"m4a", "but MPEG-4", []byte("\x00\x00\x00\x20ftypM4A ")},
		{"cut", "10 bytes are missing", good[:len(good)-10]},
		{"header alone", "no sound", good[:36]},
		{"no samples", "empty", soundFile(1, 1, 16, 8000, nil)},
		{"adpcm", "format 2", soundFile(2, 1, 4, 8000, make([]byte, 100))},
		{"mp3 inside", "format 85", soundFile(85, 2, 0, 44100, make([]byte, 100))},
		{"12 bit", "12 bits", soundFile(1, 1, 12, 8000, make([]byte, 100))},
		{"no channel", "no channels", soundFile(1, 0, 16, 8000, make([]byte, 100))},
		{"5.1", "6 channels", soundFile(1, 6, 16, 8000, make([]byte, 120))},
		{"slow", "4000 Hz", soundFile(1, 1, 16, 4000, make([]byte, 100))},
		{"fast", "96000 Hz", soundFile(1, 1, 16, 96000, make([]byte, 100))},
		{"long", "too long: 15m1s", soundFile(7, 1, 8, 8000, make([]byte, 901*8000))},
	} {
		if got, err := TelephoneSound(c.wav); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d samples, %v", c.name, len(got), err)
		}
	}
}

func FuzzTelephoneSound(f *testing.F) {
	f.Add(soundFile(1, 2, 16, 44100, make([]byte, 400)))
	f.Add(soundFile(3, 1, 32, 11025, make([]byte, 400)))
	f.Add(soundFile(7, 1, 8, 8000, make([]byte, 400)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := TelephoneSound(b); err == nil && len(got) > len(b) {
			t.Fatal("more samples than bytes")
		}
	})
}
