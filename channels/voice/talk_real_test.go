package voice

import (
	"context"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// TestTalkForReal: a caller with a real voice is understood by the real ear at 8 kHz, asks, hears the answer from the real
// voice, and says the wish; what the telephone heard is recognised back to text.
func TestTalkForReal(t *testing.T) {
	e := voicetest.Engines(t, nil)
	h := newTalkHouse(t, func(cfg *Config) { cfg.Speech = e })
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	voice, understand := voicetest.Voice(t, e), voicetest.Understand(t, e)
	question, wish := voice("What are your opening hours?", voicetest.Rate), voice("I want to talk to a person please.", voicetest.Rate)
	c := &voicetest.Talker{T: t, Ctx: ctx, Call: h.dial(ctx, voicetest.Invite{})}
	pause := make([]int16, voicetest.Rate)
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.Plays(make([]int16, 3*voicetest.Rate)) // through the first words of the greeting
	c.Plays(append(question, pause...))
	in := h.expect(ctx, channels.Words)
	t.Logf("heard %q", in.Body)
	if low := strings.ToLower(in.Body); !strings.Contains(low, "what are your opening") {
		t.Errorf("understood %q", in.Body)
	}
	c.Forget()
	h.answers("We are open from nine in the morning to five in the afternoon.")
	said := h.expect(ctx, channels.Said)
	t.Logf("%+v", said.Spoken.Times)
	sound, _ := c.RTP.Joined()
	back := strings.ToLower(understand(sound, voicetest.Rate))
	t.Logf("the telephone heard %q", back)
	if !strings.Contains(back, "in the morning") || !strings.Contains(back, "afternoon") {
		t.Errorf("the telephone heard %q", back)
	}
	c.Plays(append(wish, pause...))
	in = h.expect(ctx, channels.Words)
	t.Logf("heard %q", in.Body)
	if low := strings.ToLower(in.Body); !strings.Contains(low, "talk to a person") {
		t.Errorf("understood %q", in.Body)
	}
	h.hangsUp(c)
}
