package voice

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
	engines "patchbay/channels/voice/speech"
	"patchbay/channels/voice/speech/speechtest"
	words "patchbay/channels/voice/spoken"
	"patchbay/channels/voice/turn"
	"patchbay/channels/voice/voicetest"
)

// talkHouse is a house whose callers talk: its ears and voice are a speech server that speaks and hears sound of known
// words, its responder is the test.
type talkHouse struct {
	*house
	server *speechtest.Server
	seq    atomic.Int64 // of the caller's newest words
}

func newTalkHouse(t *testing.T, change func(*Config)) *talkHouse {
	t.Helper()
	h := &talkHouse{server: speechtest.New(t)}
	speaks, err := engines.Open(engines.Config{Remote: []engines.Remote{{Name: "test", URL: h.server.URL + "/v1", HearModel: "ear", SayModel: "mouth",
		Languages: []string{"en", "de"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := speaks.Close(); err != nil {
			t.Error(err)
		}
	})
	h.house = newHouse(t, func(cfg *Config) {
		cfg.Speech = speaks
		if change != nil {
			change(cfg)
		}
	})
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		return h.store(in, channels.Bot)
	})
	return h
}

// call dials and hears the first word of the greeting.
func (h *talkHouse) call(t *testing.T, ctx context.Context) *voicetest.Talker {
	t.Helper()
	c := &voicetest.Talker{T: t, Ctx: ctx, Call: h.dial(ctx, voicetest.Invite{}), Voice: speechtest.Voice, Understand: speechtest.Understand}
	c.Hears("Hello,")
	return c
}

// store is a switchboard that keeps words, and the conversation in that state.
func (h *talkHouse) store(in channels.Inbound, state channels.State) (channels.Receipt, error) {
	var stored *channels.Message
	if in.Type == channels.Words {
		stored = &channels.Message{Seq: h.seq.Add(1)}
	}
	r, err := h.agree(in)
	r.State, r.Message = state, stored
	return r, err
}

// answers streams an answer as the loop does: sentence by sentence, then the ending.
func (h *talkHouse) answers(sentences ...string) {
	h.t.Helper()
	for i := range sentences {
		h.draft(channels.Draft{Text: strings.Join(sentences[:i+1], " "), To: h.seq.Load()})
	}
	h.draft(channels.Draft{Text: strings.Join(sentences, " "), To: h.seq.Load(), Ending: &channels.Ending{Mode: "model"}})
}

// draft sends one to the newest call's conversation.
func (h *talkHouse) draft(d channels.Draft) {
	h.t.Helper()
	h.mu.Lock()
	id := 1000 + h.lastCall
	h.mu.Unlock()
	h.draftTo(id, d)
}

func (h *talkHouse) draftTo(id int64, d channels.Draft) {
	h.t.Helper()
	if err := h.bus.Publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventDraft, ConversationID: id, Draft: &d}); err != nil {
		h.t.Fatal(err)
	}
}

// ask has the caller ask, and the responder answer.
func (h *talkHouse) ask(c *voicetest.Talker, question string, answer ...string) {
	h.t.Helper()
	c.Says(question)
	h.expect(c.Ctx, channels.Words)
	h.answers(answer...)
}

const tents = "We have many tents in all sizes and colours, small and large ones, for one person and for eight."

// asked brings the call to where an answer, tents, is being said.
func (h *talkHouse) asked(t *testing.T, ctx context.Context) *voicetest.Talker {
	t.Helper()
	c := h.call(t, ctx)
	h.ask(c, "tell me about tents", tents)
	c.Hears("We have many")
	return c
}

// hangsUp ends the call from the caller's side.
func (h *talkHouse) hangsUp(c *voicetest.Talker) {
	h.t.Helper()
	if err := c.Bye(c.Ctx); err != nil {
		h.t.Fatal(err)
	}
	h.expect(c.Ctx, channels.CallEndedIn)
}

// TestTalk: the greeting says what it is and how to reach a person; the caller's words go up, the answer is heard, and what
// was heard goes up too, with the times of its stages.
func TestTalk(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, func(cfg *Config) { cfg.Company = "Acme" })
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.Hears(words.Text("en", dialogue.Greeting("en", "Acme")) + " " + dialogue.Phrase("en", "help"))
	c.Says("what are your opening hours")
	if in := h.expect(ctx, channels.Words); in.Body != "what are your opening hours" || in.Channel != channels.Voice || in.CallID != 1 {
		t.Errorf("words: %+v", in)
	}
	h.answers("We are open from nine to five.", "On Sunday we are closed.")
	c.Hears("We are open from nine to five. On Sunday we are closed.")
	in := h.expect(ctx, channels.Said)
	if in.Body != "We are open from nine to five. On Sunday we are closed." || in.Spoken.Cut || in.Spoken.To != 1 || in.Spoken.Ending.Mode != "model" {
		t.Errorf("said: %+v %+v", in, in.Spoken)
	}
	times := in.Spoken.Times
	if times == nil {
		t.Fatal("no times")
	}
	t.Logf("%+v", *times)
	if times.TurnEnd > times.FinalText || times.FinalText > times.Stored || times.Stored > times.FirstSentence || times.FirstSentence > times.FirstAudio || times.FirstAudio > 3000 {
		t.Errorf("times: %+v", times)
	}
	h.hangsUp(c)
}

// TestTalkEndsLate: a model that has said all and says so a moment later. The answer was heard whole all the same: the caller's next
// words do not interrupt it.
func TestTalkEndsLate(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.Says("when are you open")
	h.expect(ctx, channels.Words)
	answer := channels.Draft{Text: "We are open on Saturday.", To: h.seq.Load()}
	h.draft(answer)
	c.Hears(answer.Text)
	c.Plays(make([]int16, voicetest.Rate/2))
	answer.Ending = &channels.Ending{Mode: "model"}
	h.draft(answer)
	c.Says("and on sunday")
	if in := h.expect(ctx, channels.Said); in.Spoken.Cut || in.Body != answer.Text || in.Spoken.Ending.Mode != "model" {
		t.Errorf("said: %q %+v", in.Body, in.Spoken)
	}
	h.expect(ctx, channels.Words)
	h.hangsUp(c)
}

// TestTalkInterrupted: words of the caller silence us, the timeline is told only what was heard, and the next answer is
// to the new words.
func TestTalkInterrupted(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	h.ask(c, "tell me about tents", "We have many tents, small and large ones.", "The largest of them sleeps eight people and weighs twelve kilograms.")
	c.Hears("We have many tents, small and large ones. The largest")
	c.Says("stop i mean the small ones")
	in := h.expect(ctx, channels.Said)
	if !in.Spoken.Cut || !strings.HasPrefix(in.Body, "We have many tents, small and large ones. The largest") || strings.Contains(in.Body, "kilograms") {
		t.Errorf("said: %q %+v", in.Body, in.Spoken)
	}
	whole := in.Body[:strings.LastIndex(in.Body, " ")] // the last word may have been cut in the middle
	if heard := c.Heard(); !strings.Contains(heard, whole) {
		t.Errorf("the timeline says %q, the caller heard %q", in.Body, heard)
	}
	if in := h.expect(ctx, channels.Words); !strings.HasSuffix(in.Body, "the small ones") { // a starved machine may lose one
		t.Errorf("words: %q", in.Body)
	}
	c.Forget()
	h.draft(channels.Draft{Text: "The largest also has a window.", To: 1}) // of the loop before
	h.answers("The small ones sleep two.")
	c.Hears("The small ones sleep two.")
	if heard := c.Heard(); strings.Contains(heard, "window") {
		t.Errorf("heard %q", heard)
	}
	h.expect(ctx, channels.Said)
}

// TestTalkBackChannel: a sign of listening holds us for a moment, and we go on where we stopped.
func TestTalkBackChannel(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.asked(t, ctx)
	c.Says("okay")
	if in := h.expect(ctx, channels.Said); in.Spoken.Cut || in.Body != tents {
		t.Errorf("said: %q %+v", in.Body, in.Spoken)
	}
	if heard := c.Heard(); !strings.HasSuffix(heard, "and for eight.") {
		t.Errorf("heard %q", heard)
	}
}

// TestTalkWish: a spoken zero goes up as the key, and a conversation that the house puts in line hears so, then music.
func TestTalkWish(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, nil)
	ctx := testCtx(t)
	c := h.call(t, ctx)
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		r, err := h.agree(in)
		r.State = channels.Waiting
		return r, err
	})
	c.Says("zero")
	if in := h.expect(ctx, channels.Words); in.Body != "0" {
		t.Errorf("words: %q", in.Body)
	}
	h.moved(ctx, channels.CallWaiting)
	c.Hears(dialogue.Phrase("en", "waiting"))
	heard := hearPrompt(t, ctx, c.RTP, 10*time.Second)
	voicetest.Check(t, "music", heard, promptSamples(t, promptMusic), promptSamples(t, promptGreeting))
}

// TestTalkKeyZero: the key gets a person in mid-sentence, while an answer is owed, and with the engines hanging.
func TestTalkKeyZero(t *testing.T) {
	t.Parallel()
	for name, press := range map[string]func(h *talkHouse, c *voicetest.Talker){
		"while we speak": func(h *talkHouse, c *voicetest.Talker) {
			h.ask(c, "tell me about tents", tents)
			c.Hears("We have many")
			c.RTP.Press(c.Ctx, '0')
			if in := h.expect(c.Ctx, channels.Said); !in.Spoken.Cut {
				t.Errorf("said: %+v", in)
			}
		},
		"while an answer is owed": func(h *talkHouse, c *voicetest.Talker) {
			c.Says("what is it")
			h.expect(c.Ctx, channels.Words)
			c.RTP.Press(c.Ctx, '0')
		},
		"with engines that hang": func(h *talkHouse, c *voicetest.Talker) {
			h.server.Says(speechtest.Hangs, 0)
			h.server.Hears(speechtest.Hangs, 0)
			c.Says("what is it")
			c.RTP.Press(c.Ctx, '0')
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTalkHouse(t, nil)
			ctx := testCtx(t)
			c := h.call(t, ctx)
			press(h, c)
			if in := h.expect(ctx, channels.Wish); in.Source != "key" {
				t.Errorf("wish by %q", in.Source)
			}
			h.moved(ctx, channels.CallWaiting)
		})
	}
}

// TestTalkSilence: nobody speaks: we ask once, then a person comes.
func TestTalkSilence(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, func(cfg *Config) { cfg.Times.Turn = turn.Times{Silence: time.Second} })
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.Hears(words.Text("en", dialogue.Phrase("en", turn.Silence)))
	if in := h.expect(ctx, channels.Wish); in.Source != turn.Silence {
		t.Errorf("wish by %q", in.Source)
	}
}

// TestTalkSlow: nothing comes from the responder: a filler, then a person, with the truth.
func TestTalkSlow(t *testing.T) {
	t.Parallel()
	h := newTalkHouse(t, func(cfg *Config) { cfg.Times.Turn = turn.Times{Person: 4 * time.Second} })
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.Says("what is it")
	h.expect(ctx, channels.Words)
	c.Hears(dialogue.Phrase("en", "moment"))
	if in := h.expect(ctx, channels.Wish); in.Source != turn.Failure {
		t.Errorf("wish by %q", in.Source)
	}
	c.Hears(dialogue.Phrase("en", "model_down"))
}
