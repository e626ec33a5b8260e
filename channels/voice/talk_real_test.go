package voice

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	engines "patchbay/channels/voice/speech"
	"patchbay/channels/voice/voicetest"
)

// localEngines are the real ones in a child process; without their models the test is skipped, but not in CI.
func localEngines(t *testing.T) *engines.Engines {
	t.Helper()
	cache := os.Getenv("PATCHBAY_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(base, "patchbay")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engines.Open(engines.Config{Models: filepath.Join(cache, "models", "speech"), Command: []string{self, "speech"}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(e.Languages()) == 0 {
		for _, d := range e.Describe() {
			if d.Standing == engines.Missing {
				if os.Getenv("PATCHBAY_CI") != "" {
					t.Fatal(d.Detail)
				}
				t.Skip(d.Detail)
			}
		}
		if <-tick.C; time.Now().After(deadline) {
			t.Fatalf("not ready: %+v", e.Describe())
		}
	}
	return e
}

// people is a Talker's voice and understanding by real engines.
func people(t *testing.T, e *engines.Engines) (voice func(string, int) []int16, understand func([]int16) string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	voice = func(text string, rate int) (pcm []int16) {
		u, err := e.Say(ctx, text, engines.SayConfig{Language: "en", Rate: rate})
		if err != nil {
			t.Fatal(err)
		}
		<-u.Done()
		frame := make([]int16, rate/50)
		for {
			n, err := u.Read(frame)
			pcm = append(pcm, frame[:n]...)
			if errors.Is(err, io.EOF) {
				return pcm
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	understand = func(pcm []int16) string {
		ear, err := e.Hear(ctx, engines.HearConfig{Language: "en", Rate: voicetest.Rate})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ear.Close() }()
		tick := time.NewTicker(10 * time.Millisecond) // twice as fast as it was said
		defer tick.Stop()
		for at := 0; at+160 <= len(pcm); at += 160 {
			<-tick.C
			ear.Write(pcm[at : at+160])
		}
		ear.Finish()
		for h := range ear.Events() {
			if h.Kind == engines.Final || h.Kind == engines.Failed {
				return h.Text
			}
		}
		return ""
	}
	return voice, understand
}

// TestTalkForReal: a caller with a real voice is understood by the real ear at 8 kHz, asks, hears the answer from the real
// voice, and says the wish; what the telephone heard is recognised back to text.
func TestTalkForReal(t *testing.T) {
	e := localEngines(t)
	h := newTalkHouse(t, func(cfg *Config) { cfg.Speech = e })
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	voice, understand := people(t, e)
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
	back := strings.ToLower(understand(sound))
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
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
}
