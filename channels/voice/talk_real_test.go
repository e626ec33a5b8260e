package voice

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
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

// TestTalkForRealInTheCallersLanguage: who speaks German to a number that greets in English is understood by its sound, answered by
// a German voice, and reaches a person in German words.
func TestTalkForRealInTheCallersLanguage(t *testing.T) {
	e := voicetest.Engines(t, nil)
	if !slices.Contains(e.Languages(), "de") {
		t.Skip("SKIPPED: no engines for German here: bash deploy/models.sh languages")
	}
	pool := dbtest.Pool(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if _, err := pool.Exec(ctx, `insert into numbers (number, languages) values ('`+number+`', '{en,de,fr}')`); err != nil {
		t.Fatal(err)
	}
	h := newTalkHouse(t, func(cfg *Config) { cfg.Speech, cfg.Pool = e, pool })
	until(t, ctx, "number read", func() bool {
		n, ok := h.voice.trunks.Number(number)
		return ok && len(n.Languages) == 3
	})
	voice, understand := voicetest.VoiceIn(t, e, "de"), voicetest.UnderstandIn(t, e, "de")
	question, wish := voice("Meine Bestellung ist noch nicht angekommen und ich mache mir Sorgen.", voicetest.Rate), voice("Ich möchte bitte mit einem Menschen sprechen.", voicetest.Rate)
	c := &voicetest.Talker{T: t, Ctx: ctx, Call: h.dial(ctx, voicetest.Invite{})}
	pause := make([]int16, voicetest.Rate)
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.Plays(make([]int16, 3*voicetest.Rate)) // through the first words of the greeting
	c.Plays(append(question, pause...))
	in := h.expect(ctx, channels.Words)
	t.Logf("heard %q", in.Body)
	if wrong, of := speechtest.Wrong(in.Body, "Meine Bestellung ist noch nicht angekommen und ich mache mir Sorgen."), 11; wrong*3 > of {
		t.Errorf("%d of %d words are wrong: %q", wrong, of, in.Body)
	}
	c.Forget()
	h.answers("Ihre Bestellung ist gestern angekommen und liegt im Büro.")
	h.expect(ctx, channels.Said)
	sound, _ := c.RTP.Joined()
	back := understand(sound, voicetest.Rate)
	t.Logf("the telephone heard %q", back)
	if wrong, of := speechtest.Wrong(back, "Ihre Bestellung ist gestern angekommen und liegt im Büro."), 9; wrong*2 > of {
		t.Errorf("the telephone heard %q", back)
	}
	c.Plays(append(wish, pause...))
	in = h.expect(ctx, channels.Words)
	t.Logf("heard %q", in.Body)
	if low := strings.ToLower(in.Body); !strings.Contains(low, "mensch") || !strings.Contains(low, "sprechen") {
		t.Errorf("understood %q", in.Body)
	}
	h.hangsUp(c)
}
