package voice

import (
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// TestTalkOverATelephoneThatPauses: telephones that send nothing while nobody speaks, with and without comfort noise, with a
// clock that goes on or stands: what is said is heard whole, a turn ends, and an interruption silences us.
func TestTalkOverATelephoneThatPauses(t *testing.T) {
	t.Parallel()
	for name, phone := range map[string]struct {
		comfort byte // dB below full scale; 0: none
		goesOn  bool // the clock, in pauses
	}{
		"nothing, and the clock stands":          {0, false},
		"nothing, and the clock goes on":         {0, true},
		"soft noise, and the clock stands":       {70, false},
		"soft noise, and the clock goes on":      {70, true},
		"noise of a street, the clock stands":    {35, false},
		"noise of a street, and the clock moves": {35, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTalkHouse(t, nil)
			ctx := testCtx(t)
			c := h.call(t, ctx)
			quiet := time.Now()
			says := func(text string) {
				if phone.goesOn {
					c.RTP.Pass(time.Since(quiet))
				}
				c.Plays(c.Voice(text, voicetest.Rate))
				if phone.comfort != 0 {
					c.RTP.Comfort(phone.comfort)
				}
				quiet = time.Now()
			}
			says("tell me about tents")
			if in := h.expect(ctx, channels.Words); in.Body != "tell me about tents" {
				t.Errorf("words: %q", in.Body)
			}
			h.answers("We have many tents, small and large ones.", "The largest of them sleeps eight people and weighs twelve kilograms.")
			c.Hears("We have many")
			says("stop i mean the small ones")
			if in := h.expect(ctx, channels.Said); !in.Spoken.Cut || strings.Contains(in.Body, "kilograms") {
				t.Errorf("said: %q %+v", in.Body, in.Spoken)
			}
			if in := h.expect(ctx, channels.Words); !strings.HasSuffix(in.Body, "i mean the small ones") {
				t.Errorf("words: %q", in.Body)
			}
			h.answers("They sleep two.")
			c.Hears("They sleep two.")
			h.expect(ctx, channels.Said)
		})
	}
}
