package voice

import (
	"context"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/turn"
	"patchbay/channels/voice/voicetest"
)

// What no speech is, and what goes by in a call, with the engines that we ship.

// TestTalkRealSounds: a fax machine's tones and the silence of nobody are no words to the real ear: who sends
// only them is asked once and gets a person.
func TestTalkRealSounds(t *testing.T) {
	e := voicetest.Engines(t, nil)
	for name, sound := range map[string][]int16{
		"silence":          make([]int16, voicetest.Rate),
		"fax calling tone": append(voicetest.Sine(1100, 500*time.Millisecond, voicetest.Rate), make([]int16, voicetest.Rate)...), // CNG
		"fax answer tone":  voicetest.Sine(2100, time.Second, voicetest.Rate),                                                    // CED
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTalkHouse(t, func(cfg *Config) {
				cfg.Speech, cfg.Times.Turn = e, turn.Times{Silence: time.Second, Babble: 2 * time.Second}
			})
			ctx := testCtx(t)
			playing, stop := context.WithCancel(ctx)
			c := &voicetest.Talker{T: t, Ctx: playing, Call: h.dial(ctx, voicetest.Invite{})}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for playing.Err() == nil {
					c.Plays(sound)
				}
			}()
			in := h.expect(ctx, channels.Wish)
			stop()
			<-done
			if in.Source != turn.Silence && in.Source != turn.NoMatch {
				t.Errorf("a person by %q", in.Source)
			}
			c.Ctx = ctx
			h.hangsUp(c)
		})
	}
}

// TestWrittenDownForReal: what two people say to each other in a bridged call, each with a voice of their own, is written down by the
// real recogniser, each side's as theirs, with at most a quarter of the words wrong.
func TestWrittenDownForReal(t *testing.T) {
	stranger := speechtest.Foreign(t)
	e := voicetest.Engines(t, nil)
	h, said := writingHouse(t, false, func(cfg *Config) { cfg.Speech = e })
	ctx := testCtx(t)
	c := h.dial(ctx, voicetest.Invite{})
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	b := h.join(ctx, 1, 7)
	own := voicetest.Voice(t, e)
	asked := []string{"My order has not arrived yet and I am getting worried.", "Please send it to my office address."}
	answered := []string{"I am sorry about that, I will look where your parcel is.", "It will be there on Friday morning."}
	pause := make([]int16, 2*voicetest.Rate)
	for i := range asked {
		c.RTP.Play(ctx, voicetest.ULaw(append(stranger.Says(t, asked[i], voicetest.Rate), pause...)))
		b.Play(ctx, voicetest.ULaw(append(own(answered[i], voicetest.Rate), pause...)))
	}
	sides := func() (caller, agent string) {
		for _, line := range said() {
			who, words, _ := strings.Cut(line, ": ")
			if who == "agent" {
				agent += words + " "
			} else {
				caller += words + " "
			}
		}
		return caller, agent
	}
	until(t, ctx, "last words", func() bool { _, agent := sides(); return strings.Contains(strings.ToLower(agent), "friday") })
	caller, agent := sides()
	for who, side := range map[string]struct {
		heard string
		said  []string
	}{"caller": {caller, asked}, "agent": {agent, answered}} {
		text := strings.Join(side.said, " ")
		wrong, words := speechtest.Wrong(side.heard, text), len(speechtest.Words(text))
		t.Logf("%s: %q, %d of %d words wrong", who, side.heard, wrong, words)
		if wrong*4 > words {
			t.Errorf("%s: %d of %d words are wrong: %q", who, wrong, words, side.heard)
		}
	}
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	h.expect(ctx, channels.CallEndedIn)
}
