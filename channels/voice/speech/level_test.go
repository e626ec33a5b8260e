package speech

import (
	"math"
	"slices"
	"testing"
	"time"

	"patchbay/channels/voice/speech/speechtest"
)

// TestMeter: the level is that of the loudest 60 ms of the last half second; a click is none.
func TestMeter(t *testing.T) {
	frames := func(amplitude float64, n int) []int16 {
		pcm := make([]int16, n*Narrow/50)
		for i := range pcm {
			pcm[i] = int16(amplitude * math.Sin(2*math.Pi*500*float64(i)/Narrow))
		}
		return pcm
	}
	click := slices.Concat([]int16{32000, -32000}, make([]int16, Narrow/50-2))
	for name, c := range map[string]struct {
		pcm  []int16
		want float64
	}{
		"nothing":             {nil, meterFloor},
		"silence":             {frames(0, 50), meterFloor},
		"full scale":          {frames(32767, 5), -3},
		"a tenth":             {frames(3277, 5), -23},
		"one frame of it":     {frames(3277, 1), -28},
		"a moment ago":        {slices.Concat(frames(3277, 5), frames(33, 20)), -23},
		"long ago":            {slices.Concat(frames(3277, 5), frames(33, 30)), -63},
		"a click in a murmur": {slices.Concat(frames(328, 10), click, frames(328, 10)), -24},
	} {
		var m meter
		for frame := range slices.Chunk(c.pcm, Narrow/50) {
			m.hear(frame)
		}
		if got := m.level(); math.Abs(got-c.want) > 1 {
			t.Errorf("%s: %.1f dB, want %.0f", name, got, c.want)
		}
	}
}

// TestLevels: an ear tells how loud a voice is when it begins, and when it has become louder.
func TestLevels(t *testing.T) {
	e := openLocal(t, models(t))
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	voice := speechtest.Louder(all(t, say(t, e, "Could you tell me when my parcel will be delivered?", SayConfig{Rate: Narrow})), 12000)
	soft := make([]int16, len(voice))
	for i, s := range voice {
		soft[i] = s / 6 // 15.6 dB
	}
	ear := hear(t, e, HearConfig{Rate: Narrow})
	write(t, ear, slices.Concat(make([]int16, Narrow), voice, make([]int16, Narrow), soft, make([]int16, Narrow)))
	ear.Finish()
	between := time.Second + time.Duration(len(voice))*time.Second/Narrow + time.Second/2
	first, second := meterFloor, meterFloor
	limit := time.After(deadline)
	for more := true; more; {
		select {
		case h, ok := <-ear.Events():
			switch {
			case !ok || h.Kind == Failed:
				t.Fatalf("the ear has closed: %v", h.Err)
			case h.Kind == Final:
				more = false
			case h.Kind != Began && h.Kind != Level:
			case h.Level >= 0:
				t.Errorf("%s without a level", h.Kind)
			case h.To < between:
				first = max(first, h.Level)
			default:
				second = max(second, h.Level)
			}
		case <-limit:
			t.Fatal("no final")
		}
	}
	if first < -28 || first > -8 || math.Abs(first-second-15.6) > 2.5 { // told in steps of 1 dB
		t.Errorf("%.1f dB, and a sixth of it is %.1f", first, second)
	}
}

// TestLevelsOfALateReader: of levels that nobody has read the loudest stays, and the last.
func TestLevelsOfALateReader(t *testing.T) {
	var ear Ear
	for _, level := range []float64{-30, -28, -22, -25, -35, -31} {
		ear.tell(Heard{Kind: Level, Level: level})
	}
	var got []float64
	for _, h := range ear.pending {
		got = append(got, h.Level)
	}
	if want := []float64{-22, -25, -31}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
