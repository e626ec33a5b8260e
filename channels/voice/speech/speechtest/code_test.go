package speechtest

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestWhatIsSpokenIsUnderstood(t *testing.T) {
	const text = "Zoo aaa call +49 30 1234, please: really? 55555"
	for _, rate := range []int{8000, 16000, 24000} {
		pcm := Voice(text, rate)
		if got := Understand(pcm, rate); got != text {
			t.Errorf("at %d Hz: %q", rate, got)
		}
		for i := range pcm {
			pcm[i] += int16(rand.IntN(600) - 300)
		}
		if got := Understand(append(Silence(0.3, rate), pcm...), rate); got != text {
			t.Errorf("at %d Hz with noise: %q", rate, got)
		}
		if got := Understand(pcm[:len(pcm)/2], rate); !strings.HasPrefix(text, got) || len(got) < len(text)/3 {
			t.Errorf("half of it: %q", got)
		}
	}
	noise := make([]int16, 16000)
	for i := range noise {
		noise[i] = int16(rand.IntN(8000) - 4000)
	}
	if got := Understand(noise, 8000); got != "" {
		t.Errorf("in noise: %q", got)
	}
}
