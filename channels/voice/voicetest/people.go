package voicetest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/speech"
	"patchbay/channels/voice/speech/speechtest"
)

// Engines opens the real ones with the models of deploy/models.sh, in children of the test's own binary: TestMain begins with
// speech.Serve. Without models the test is skipped by name, but not in CI.
func Engines(t testing.TB, log *slog.Logger) *speech.Engines {
	t.Helper()
	e, err := speech.Open(speech.Config{Models: speechtest.Folder(t), Threads: 1, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	Ready(t, e)
	return e
}

// Ready waits for engines that speak and hear.
func Ready(t testing.TB, e *speech.Engines) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for len(e.Languages()) == 0 {
		for _, d := range e.Describe() {
			if d.Standing != speech.Missing {
				continue
			}
			if os.Getenv("PATCHBAY_CI") != "" {
				t.Fatal(d.Detail)
			}
			t.Skip("SKIPPED: " + d.Detail)
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the engines are not ready: %+v", e.Describe())
		}
	}
}

// Voice is a Talker's voice by real engines.
func Voice(t testing.TB, e *speech.Engines) func(text string, rate int) []int16 {
	return VoiceIn(t, e, "en")
}

// VoiceIn is one that speaks a language.
func VoiceIn(t testing.TB, e *speech.Engines, language string) func(text string, rate int) []int16 {
	return func(text string, rate int) (pcm []int16) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		u, err := e.Say(ctx, text, speech.SayConfig{Language: language, Rate: rate})
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
}

// Understand tells the words in sound by real engines. They get it four times as fast as it was said: nobody waits for it in a
// call.
func Understand(t testing.TB, e *speech.Engines) func(pcm []int16, rate int) string {
	return UnderstandIn(t, e, "en")
}

// UnderstandIn does so for a language.
func UnderstandIn(t testing.TB, e *speech.Engines, language string) func(pcm []int16, rate int) string {
	return func(pcm []int16, rate int) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		ear, err := e.Hear(ctx, speech.HearConfig{Language: language, Rate: rate})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ear.Close() }()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		var all []string
		finishes := 1 // and one that follows the end
		take := func(h speech.Heard) {
			switch h.Kind {
			case speech.Paused: // what it keeps of a turn has an end
				finishes++
				ear.Finish()
			case speech.Final:
				finishes--
				all = append(all, strings.Fields(h.Text)...)
			case speech.Failed:
				t.Fatal(h.Err)
			}
		}
		for frame := range slices.Chunk(slices.Concat(pcm, make([]int16, rate/2)), rate/50) {
			for waits := true; waits; {
				select {
				case h := <-ear.Events():
					take(h)
				case <-tick.C:
					waits = false
				}
			}
			ear.Write(frame)
		}
		ear.Finish()
		for finishes > 0 {
			h, ok := <-ear.Events()
			if !ok {
				t.Fatal("the ear has ended")
			}
			take(h)
		}
		if n := ear.Dropped(); n > 0 {
			t.Logf("%d frames were too fast for the recogniser", n)
		}
		return strings.Join(all, " ")
	}
}
