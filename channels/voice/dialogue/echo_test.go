package dialogue

import (
	"math/rand/v2"
	"testing"
	"time"

	"patchbay/channels/voice/voicetest"
)

// line runs both sides through a guard and says how much of the frames with sound in them passed.
func line(ours, theirs []int16) (passed float64) {
	var g guard
	const frame = voicetest.Rate / 50
	loud, through := 0, 0
	for at := 0; at+frame <= len(theirs); at += frame {
		if at+frame <= len(ours) {
			g.sent(ours[at : at+frame])
		}
		heard := g.heard(theirs[at : at+frame])
		if at < 2*voicetest.Rate { // until then it learns
			continue
		}
		if loudness(theirs[at:at+frame]) > 2*echoLeast {
			loud++
			if loudness(heard) > 0 {
				through++
			}
		}
	}
	return float64(through) / float64(max(loud, 1))
}

// echoed is the sound as it comes back.
func echoed(pcm []int16, delay time.Duration, gain float64) []int16 {
	out := make([]int16, len(pcm))
	shift := int(delay.Seconds() * voicetest.Rate)
	for i := shift; i < len(pcm); i++ {
		out[i] = int16(gain*float64(pcm[i-shift])) + int16(rand.IntN(20)-10)
	}
	return out
}

func TestGuard(t *testing.T) {
	const length = 12 * time.Second
	ours, theirs := voicetest.Speech(1, length, voicetest.Rate), voicetest.Speech(2, length, voicetest.Rate)
	for _, delay := range []time.Duration{15 * time.Millisecond, 60 * time.Millisecond, 130 * time.Millisecond, 300 * time.Millisecond} {
		for _, gain := range []float64{0.1, 0.3, 0.6} {
			if passed := line(ours, echoed(ours, delay, gain)); passed > 0.05 {
				t.Errorf("an echo after %s by %.1f: %.0f %% of it passes", delay, gain, 100*passed)
			}
		}
	}
	if passed := line(ours, theirs); passed < 0.99 {
		t.Errorf("the caller's own voice on a line without echo: %.0f %% of it passes", 100*passed)
	}
	both := echoed(ours, 60*time.Millisecond, 0.2)
	for i := range both {
		both[i] += theirs[i]
	}
	if passed := line(ours, both); passed < 0.6 {
		t.Errorf("the caller's voice over an echo: %.0f %% of it passes", 100*passed)
	}
	if passed := line(make([]int16, len(theirs)), theirs); passed < 1 {
		t.Errorf("the caller alone: %.0f %% passes", 100*passed)
	}
}

// TestGuardAllocatesNothing: it runs on the media path.
func TestGuardAllocatesNothing(t *testing.T) {
	var g guard
	frame := voicetest.Speech(1, time.Second, voicetest.Rate)[4000:4160]
	g.quiet = make([]int16, 160)
	if n := testing.AllocsPerRun(1000, func() {
		g.sent(frame)
		g.heard(frame)
	}); n != 0 {
		t.Errorf("%.0f allocations a frame", n)
	}
}
