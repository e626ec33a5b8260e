package media

import (
	"slices"
	"testing"
)

func TestWAV(t *testing.T) {
	w := &WAV{Rate: 8000, Channels: 1, Samples: []int16{0, 1000, -1000, 32767, -32768}}
	b := w.Encode()
	got, err := ReadWAV(b)
	if err != nil || got.Rate != 8000 || got.Channels != 1 || !slices.Equal(got.Samples, w.Samples) {
		t.Fatalf("%+v, %v", got, err)
	}
	if cut, err := ReadWAV(b[:len(b)-4]); err != nil || len(cut.Samples) != 3 {
		t.Errorf("a cut file ends where it ends: %+v, %v", cut, err)
	}
	p, err := ParsePrompt(b)
	if err != nil || len(p) != 5 || p[1] != EncodeULaw(1000) {
		t.Errorf("%v, %v", p, err)
	}
	for name, c := range map[string][]byte{
		"three channels": (&WAV{Rate: 8000, Channels: 3, Samples: make([]int16, 30)}).Encode(),
		"none":           nil, "text": []byte("RIFF....WAVEhello"), "no rate": (&WAV{Channels: 1}).Encode(),
	} {
		if _, err := ParsePrompt(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzWAV(f *testing.F) {
	f.Add((&WAV{Rate: 8000, Channels: 1, Samples: []int16{1, 2, 3}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, err := ReadWAV(b); err == nil && len(w.Samples) > len(b) {
			t.Fatal("more samples than bytes")
		}
	})
}
