package voice

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/speech/speechtest"
	words "patchbay/channels/voice/spoken"
	"patchbay/channels/voice/turn"
	"patchbay/channels/voice/voicetest"
)

// What callers and engines do that they should not.

// TestTalkNoiseWhileWeSpeak: a noise at most holds us, and we go on to the end: a short one, and one that is so long that the ear has to look
// whether there are words in it.
func TestTalkNoiseWhileWeSpeak(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int{"a cough": voicetest.Rate / 4, "a drill": 2 * voicetest.Rate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTalkHouse(t, nil)
			ctx := testCtx(t)
			c := h.asked(t, ctx)
			noise := make([]int16, length)
			for i := range noise {
				noise[i] = int16(rand.IntN(12000) - 6000)
			}
			c.Plays(append(noise, make([]int16, voicetest.Rate/2)...))
			if in := h.expect(ctx, channels.Said); in.Spoken.Cut || in.Body != tents {
				t.Errorf("said %q %+v", in.Body, in.Spoken)
			}
		})
	}
}

// TestTalkFaxAndMusic: sound without words that goes on is asked about and ends with a person; it never becomes a turn.
func TestTalkFaxAndMusic(t *testing.T) {
	t.Parallel()
	for name, sound := range map[string][]int16{
		"fax calling tone": voicetest.Sine(1100, 500*time.Millisecond, voicetest.Rate),
		"music":            promptSamples(t, promptMusic),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTalkHouse(t, func(cfg *Config) {
				cfg.Times.Turn = turn.Times{Silence: 2 * time.Second, Babble: 2 * time.Second}
			})
			ctx := testCtx(t)
			c := h.call(t, ctx)
			stop := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					select {
					case <-stop:
						return
					default:
						c.Plays(append(slices.Clone(sound[:min(len(sound), voicetest.Rate)]), make([]int16, voicetest.Rate/2)...))
					}
				}
			}()
			in := h.expect(ctx, channels.Wish)
			close(stop)
			<-done
			if in.Source != turn.Silence && in.Source != turn.NoMatch {
				t.Errorf("a person by %q", in.Source)
			}
		})
	}
}

// TestTalkTwoAtOnce: two voices at once are some words or none; the call goes on either way.
func TestTalkTwoAtOnce(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	a, b := speechtest.Voice("what are your opening hours", voicetest.Rate), speechtest.Voice("do you want some tea", voicetest.Rate)
	for i := range b {
		a[min(i+1600, len(a)-1)] += b[i] / 2
	}
	c.Plays(append(a, make([]int16, voicetest.Rate)...))
	c.Says("what do you sell")
	for in := h.expect(ctx, channels.Words); !strings.HasSuffix(in.Body, "what do you sell"); in = h.expect(ctx, channels.Words) {
		if in.Body == "" {
			t.Fatal("an empty turn")
		}
	}
}

// TestTalkNeverStops: what was said is taken in between, and who goes on gets a person.
func TestTalkNeverStops(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, func(cfg *Config) { cfg.Times.Turn = turn.Times{Longest: 3 * time.Second} })
	ctx := testCtx(t)
	c := h.call(t, ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Plays(speechtest.Voice(strings.Repeat("and so on and on ", 12), voicetest.Rate))
	}()
	if in := h.expect(ctx, channels.Words); !strings.Contains(in.Body, "and so on") {
		t.Errorf("words: %q", in.Body)
	}
	for {
		in := waitChan(t, ctx, h.inbound, "a person")
		if in.Type == channels.Wish {
			break
		}
	}
	<-done
}

// TestTalkKeysInWords: keys that were asked for join the words, and a 0 among them is a digit.
func TestTalkKeysInWords(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, func(cfg *Config) { cfg.Times.Turn = turn.Times{Keys: time.Second} })
	ctx := testCtx(t)
	c := h.call(t, ctx)
	h.ask(c, "where is my parcel", "What is your order number?")
	h.expect(ctx, channels.Said)
	c.Says("it is")
	for _, k := range "4071" {
		c.RTP.Press(ctx, byte(k))
	}
	if in := h.expect(ctx, channels.Words); in.Body != "4071" { // as it was asked for
		t.Errorf("words: %q", in.Body)
	}
	h.answers("And your postcode?")
	h.expect(ctx, channels.Said)
	c.RTP.Press(ctx, '0') // alone it is the key 0
	if in := h.expect(ctx, channels.Words); in.Body != "0" {
		t.Errorf("words: %q", in.Body)
	}
}

// TestTalkMarkup: no markup, link or emoji is read out, and of 5,000 words as many are said as somebody can keep in mind.
func TestTalkMarkup(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	h.ask(c, "what is it", "**It is** a [tent](https://example.com/tent) \U0001F3D5 `really`.")
	c.Hears("It is a tent really.")
	if in := h.expect(ctx, channels.Said); in.Spoken.Cut {
		t.Errorf("said: %+v", in)
	}
	if heard := c.Heard(); strings.ContainsAny(heard, "*[`") || strings.Contains(heard, "http") {
		t.Errorf("heard %q", heard)
	}
	h.server.Says(speechtest.Right, 0)
	h.ask(c, "tell me all", strings.Repeat("A word more. ", 5000/3))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	in := h.expect(ctx, channels.Said)
	if len(in.Body) > 1000 || !strings.HasSuffix(in.Body, dialogue.Phrase("en", "long")) {
		t.Errorf("%d bytes were said, to the end %q", len(in.Body), in.Body[max(0, len(in.Body)-100):])
	}
}

// TestTalkEngineDies: an engine that breaks off in the middle of a sentence costs nothing: the rest is said. One that stays
// broken gives the caller back to keys and prompts, and what was heard is told.
func TestTalkEngineDies(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	h.server.Says(speechtest.Breaks, 0)
	c.Says("tell me about tents")
	h.expect(ctx, channels.Words)
	h.draft(channels.Draft{Text: tents, To: h.seq.Load()})
	until(t, ctx, "the sentence asked for", func() bool {
		return slices.ContainsFunc(h.server.Said(), func(r speechtest.Request) bool { return strings.HasPrefix(r.Text, "We have many") })
	})
	h.server.Says(speechtest.Right, 0)
	h.draft(channels.Draft{Text: tents, To: h.seq.Load(), Ending: &channels.Ending{}})
	in := h.expect(ctx, channels.Said)
	if in.Body != tents || in.Spoken.Cut {
		t.Errorf("said %q %+v", in.Body, in.Spoken)
	}
	t.Logf("heard %q", c.Heard())
	if got := strings.ReplaceAll(c.Heard(), "Hello, ", ""); !strings.Contains(got, "for one person and for eight.") {
		t.Errorf("heard %q", got)
	}

	c.Says("and which lamps")
	h.expect(ctx, channels.Words)
	h.server.Says(speechtest.Breaks, 0)
	h.answers("Lamps in all sizes and colours, small and large ones, for one person and for eight.")
	in = h.expect(ctx, channels.Said)
	if !in.Spoken.Cut || !strings.HasPrefix(in.Body, "Lamps") || strings.HasSuffix(in.Body, "eight.") {
		t.Errorf("said %q %+v", in.Body, in.Spoken)
	}
	voicetest.Check(t, "the menu", hearPrompt(t, ctx, c.RTP, 9*time.Second), promptSamples(t, promptGreeting), promptSamples(t, promptMusic))
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
}

// TestTalkWithoutEngines: no engine at all is today's menu, and silence leads to a person.
func TestTalkWithoutEngines(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, func(cfg *Config) { cfg.Language, cfg.Times.NoInput = "xx", 100*time.Millisecond })
	ctx := testCtx(t)
	h.dial(ctx, voicetest.Invite{})
	if in := h.expect(ctx, channels.Wish); in.Source != "silence" {
		t.Errorf("wish by %q", in.Source)
	}
}

// TestTalkDeafEar: an ear that hangs or talks nonsense is said sorry for, and then there are keys.
func TestTalkDeafEar(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.Hears(dialogue.Phrase("en", "help"))
	h.server.Hears(speechtest.Garbage, 0)
	c.Says("what is it")
	c.Hears(words.Text("en", dialogue.Phrase("en", turn.NoMatch)))
	c.Says("i said what is it")
	voicetest.Check(t, "the menu", hearPrompt(t, ctx, c.RTP, 9*time.Second), promptSamples(t, promptGreeting), promptSamples(t, promptMusic))
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
}

// TestTalkForeign: on a number of one language, words of which the engine tells that they are in another one are not answered as if they were
// understood: the caller is asked once to say it again, and then gets a person.
func TestTalkForeign(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.Hears(dialogue.Phrase("en", "help"))
	h.server.Tongue("de")
	c.Says("when are you open on saturday")
	c.Hears(words.Text("en", dialogue.Phrase("en", turn.NoMatch)))
	c.Says("i have asked when you are open")
	if in := h.expect(ctx, channels.Wish); in.Source != turn.NoMatch {
		t.Errorf("a person by %q", in.Source)
	}
}

// TestTalkInLine: who waits may go on talking with the responder; music goes on behind the answer.
func TestTalkInLine(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		return h.store(in, channels.Waiting)
	})
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	c.Hears(dialogue.Phrase("en", "waiting"))
	h.ask(c, "what are your opening hours", "We are open from nine to five.")
	c.Hears("We are open from nine to five.")
	h.expect(ctx, channels.Said)
	voicetest.Check(t, "music", hearPrompt(t, ctx, c.RTP, 9*time.Second), promptSamples(t, promptMusic), promptSamples(t, promptGreeting))
}

// TestTalkInterruptedSoon measures, at the caller's own socket, how long we go on from the caller's first packet with a
// voice in it to our first packet of silence.
func TestTalkInterruptedSoon(t *testing.T) {
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	var all []time.Duration
	for range 5 {
		c := h.asked(t, ctx)
		// the caller is silent, as telephones are, until they speak
		c.Plays(make([]int16, voicetest.Rate/2))
		heard := len(c.RTP.Headers())
		began := time.Now()
		go c.Plays(speechtest.Voice("stop i mean something else", voicetest.Rate))
		until(t, ctx, "silence", func() bool { return quietFrom(c.RTP, heard) >= 0 })
		at := time.Duration(quietFrom(c.RTP, heard)-heard) * media.Frame
		all = append(all, at)
		t.Logf("silent after %s (seen after %s)", at, time.Since(began).Round(time.Millisecond))
		in := h.expect(ctx, channels.Said)
		if !in.Spoken.Cut {
			t.Error("not cut")
		}
		h.expect(ctx, channels.Words)
		h.hangsUp(c)
	}
	slices.Sort(all)
	if p := all[len(all)/2]; p > 200*time.Millisecond {
		t.Errorf("half of the interruptions took more than %s", p)
	}
}

// quietFrom is the first packet from which on three are silent; -1: none yet.
func quietFrom(r *voicetest.RTP, from int) int {
	sound, headers := voicetest.FromULaw(r.Heard()), r.Headers()
	quiet := 0
	for i := from; i < len(headers); i++ {
		at := int(int32(headers[i].TS - headers[0].TS))
		if at < 0 || at+headers[i].Size > len(sound) {
			continue
		}
		if voicetest.RMS(sound[at:at+headers[i].Size]) < 100 {
			if quiet++; quiet == 3 {
				return i - 2
			}
		} else {
			quiet = 0
		}
	}
	return -1
}
