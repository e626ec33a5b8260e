package voice

import (
	"context"
	"slices"
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

// TestTalkRealBabble: people who talk behind the caller, sixteen decibels below, do not stop an answer; the caller does, though they have
// turned away from the telephone a little, and so does the wish for a person said softly.
func TestTalkRealBabble(t *testing.T) {
	var behind [][]int16
	for i, text := range []string{"My order has not arrived yet and I am getting worried about it.", "The washing machine makes a loud noise and stops in the middle.",
		"I have been waiting for an answer for two weeks, and nobody calls.", "How much does the shipping cost to Germany, and how long does it take?"} {
		if s := speechtest.Speakers[i]; s.Present() {
			behind = append(behind, s.Says(t, text, voicetest.Rate))
		}
	}
	if len(behind) < 4 {
		speechtest.Foreign(t)
		t.Skip("SKIPPED: too few voices here: flite")
	}
	e := voicetest.Engines(t, nil)
	h := newTalkHouse(t, func(cfg *Config) {
		cfg.Speech, cfg.Wish = e, func(words string) bool { return strings.Contains(words, "a person") }
	})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	voice := voicetest.Voice(t, e)
	pause := make([]int16, voicetest.Rate)
	says := func(text string, peak float64) []int16 {
		return append(speechtest.Louder(voice(text, voicetest.Rate), peak), pause...)
	}
	babble := make([]int16, 4*voicetest.Rate)
	for i := range babble {
		sum := 0
		for _, b := range behind {
			sum += int(b[i%len(b)])
		}
		babble[i] = int16(sum / len(behind))
	}
	const question = "Which tents do you have in your shop?"
	for loud, i := loudest(babble)*6.3/loudest(says(question, 20000)), 0; i < len(babble); i++ { // 16 dB
		babble[i] = int16(float64(babble[i]) / loud)
	}

	c := &voicetest.Talker{T: t, Ctx: ctx, Call: h.dial(ctx, voicetest.Invite{})}
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.Plays(make([]int16, 3*voicetest.Rate))
	interrupted := func(by []int16) channels.Inbound {
		c.Plays(says(question, 20000))
		h.expect(ctx, channels.Words)
		c.Forget()
		h.answers(tents)
		until(t, ctx, "our voice", func() bool {
			sound, _ := c.RTP.Joined()
			return voicetest.RMS(sound[max(0, len(sound)-voicetest.Rate/5):]) > 300
		})
		c.Plays(by)
		in := h.expect(ctx, channels.Said)
		t.Logf("said %q", in.Body)
		return in
	}
	if in := interrupted(append(babble, pause...)); in.Spoken.Cut || in.Body != tents {
		t.Errorf("babble: said %q %+v", in.Body, in.Spoken)
	}
	if in := interrupted(says("Stop, I mean something else.", 20000/2.5)); !in.Spoken.Cut {
		t.Errorf("the caller: said %q %+v", in.Body, in.Spoken)
	}
	t.Logf("words %q", h.expect(ctx, channels.Words).Body)
	for try := 1; ; try++ { // so soft that a word of it may be heard wrong: who is not heard says it again
		if in := interrupted(says("I want to talk to a person, please.", 20000/6.3)); in.Spoken.Cut {
			t.Logf("words %q", h.expect(ctx, channels.Words).Body)
			break
		} else if try == 3 {
			t.Fatalf("the wish: said %q %+v", in.Body, in.Spoken)
		}
	}
	h.hangsUp(c)
}

// loudest is the RMS of the loudest 60 ms; a voice's peaks say little of how loud it is.
func loudest(pcm []int16) float64 { return slices.Max(voicetest.Envelope(pcm, 3*voicetest.Rate)) }

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
