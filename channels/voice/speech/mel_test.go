package speech

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

const melSeconds = 8

// melSound is eight seconds of which testdata/mel.json has the features: silence, then sines that change.
func melSound() []float32 {
	pcm := make([]float32, melSeconds*Wide)
	for i := 3 * Wide; i < len(pcm); i++ {
		x := float64(i)
		pcm[i] = float32(0.3*math.Sin(x*0.05)*math.Sin(x*0.0007) + 0.1*math.Sin(x*x*1e-6))
	}
	return pcm
}

func TestLogMelIsTheModelsOwn(t *testing.T) {
	b, err := os.ReadFile("testdata/mel.json")
	if err != nil {
		t.Fatal(err)
	}
	var points [][3]float64 // band, frame, value
	if err := json.Unmarshal(b, &points); err != nil || len(points) != 100 {
		t.Fatal(len(points), err)
	}
	mel := logMel(levelled(melSound()))
	frames := len(mel) / melBands
	if frames != 800 {
		t.Fatalf("%d frames", frames)
	}
	for _, p := range points {
		if got := float64(mel[int(p[0])*frames+int(p[1])]); math.Abs(got-p[2]) > 1e-3 {
			t.Errorf("band %.0f, frame %.0f: %.5f, %.5f was expected", p[0], p[1], got, p[2])
		}
	}
}

func BenchmarkLogMel(b *testing.B) {
	pcm := melSound()
	for b.Loop() {
		logMel(levelled(pcm))
	}
}

// levelled is sound of mean 0 and variance 1.
func levelled(pcm []float32) []float32 {
	mean, variance := 0.0, 0.0
	for _, v := range pcm {
		mean += float64(v)
	}
	mean /= float64(len(pcm))
	for _, v := range pcm {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	scale := 1 / math.Sqrt(variance/float64(len(pcm))+1e-7)
	out := slices.Clone(pcm)
	for i, v := range out {
		out[i] = float32((float64(v) - mean) * scale)
	}
	return out
}
