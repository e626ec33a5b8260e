package voice

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// writingHouse is a house of talking machines whose one queue is written down; said is what it has heard, in order.
func writingHouse(t *testing.T, announce bool, change ...func(*Config)) (h *talkHouse, said func() []string) {
	t.Helper()
	pool := dbtest.Pool(t)
	if _, err := pool.Exec(t.Context(), `insert into nodes (id, name) values ('test', 'test');
		insert into contacts (name) values ('Rosa')`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `insert into queues (name, transcribe, transcribe_announce) values ('Service', true, $1)`, announce); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `insert into conversations (id, contact_id, queue_id, channel, state) overriding system value values (1001, 1, 1, 'voice', 'bot');
		insert into calls (conversation_id, direction, from_address, to_address) values (1001, 'in', '+49', '100')`); err != nil {
		t.Fatal(err)
	}
	h = newTalkHouse(t, func(cfg *Config) {
		cfg.Pool = pool
		for _, c := range change {
			c(cfg)
		}
	})
	var mu sync.Mutex
	var all []string
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		switch in.Type {
		case channels.Transcribed:
		case channels.CallStarted, channels.CallMoved, channels.Wish, channels.CallEndedIn:
			return h.agree(in)
		default: // what the responder has said, the promise that is kept
			return channels.Receipt{}, nil
		}
		mu.Lock()
		defer mu.Unlock()
		who := "caller"
		if in.AgentID != 0 {
			who = "agent"
		}
		all = append(all, who+": "+in.Body)
		if in.CallID != 1 || in.ConversationID != 1001 || in.ClientID == "" {
			t.Errorf("%+v", in)
		}
		return channels.Receipt{}, nil
	})
	return h, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func voiceOf(text string) []byte {
	return voicetest.ULaw(append(speechtest.Voice(text, voicetest.Rate), speechtest.Silence(1.5, voicetest.Rate)...))
}

// TestWrittenDown: both sides' words are written down, each as theirs; what is said to a consulted colleague or on hold is
// not; the caller was told before.
func TestWrittenDown(t *testing.T) {
	t.Parallel()
	h, said := writingHouse(t, true)
	ctx := testCtx(t)
	frames := h.agentFrames(7)
	c := h.dial(ctx, voicetest.Invite{})
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	b := h.join(ctx, 1, 7)
	until(t, ctx, "the caller is told", func() bool { return heardPrompt(t, c, promptTranscribed) })
	until(t, ctx, "the desk is told", func() bool { return strings.Contains(<-frames, `"written":true`) })
	c.RTP.Play(ctx, voiceOf("my stove leaks"))
	until(t, ctx, "caller's words", func() bool { return slices.Contains(said(), "caller: my stove leaks") })
	b.Play(ctx, voiceOf("we send a valve"))
	until(t, ctx, "agent's words", func() bool { return slices.Contains(said(), "agent: we send a valve") })

	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7, On: true})
	c.RTP.Play(ctx, voiceOf("nobody hears this"))
	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7})
	c.RTP.Play(ctx, voiceOf("goodbye then"))
	until(t, ctx, "words after the hold", func() bool { return slices.Contains(said(), "caller: goodbye then") })
	if all := strings.Join(said(), "|"); strings.Contains(all, "nobody") {
		t.Errorf("said on hold, and written down: %s", all)
	}
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	h.expect(ctx, channels.CallEndedIn)
}

// TestLastWordsAreWritten: who hangs up in the middle of a word does not lose it.
func TestLastWordsAreWritten(t *testing.T) {
	t.Parallel()
	h, said := writingHouse(t, false)
	ctx := testCtx(t)
	c := h.dial(ctx, voicetest.Invite{})
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	h.join(ctx, 1, 7)
	if heardPrompt(t, c, promptTranscribed) {
		t.Error("told, though the queue says not to")
	}
	c.RTP.Play(ctx, voicetest.ULaw(speechtest.Voice("and one more thing", voicetest.Rate)))
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.expect(ctx, channels.CallEndedIn)
	until(t, ctx, "last words", func() bool { return len(said()) > 0 })
	if !strings.HasPrefix(said()[0], "caller: and one") {
		t.Errorf("%q", said())
	}
}

// TestWritingDies: an engine that refuses costs the transcript; the two go on talking, and nothing leaks.
func TestWritingDies(t *testing.T) {
	t.Parallel()
	for _, mood := range []speechtest.Mood{speechtest.Refuses, speechtest.Hangs, speechtest.Garbage} {
		h, said := writingHouse(t, false)
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		c := h.dial(ctx, voicetest.Invite{})
		waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
		c.RTP.Press(ctx, '0')
		h.expect(ctx, channels.Wish)
		b := h.join(ctx, 1, 7)
		h.server.Hears(mood, 0)
		c.RTP.Play(ctx, voiceOf("my stove leaks"))
		hears(t, ctx, c, b)
		h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
		h.expect(ctx, channels.CallEndedIn)
		h.stop()
		if all := said(); len(all) > 0 {
			t.Errorf("%q", all)
		}
	}
}

// TestPartialWordsAreShown: what is being said reaches the desk's subject and never the rows.
func TestPartialWordsAreShown(t *testing.T) {
	t.Parallel()
	h, _ := writingHouse(t, false)
	ctx := testCtx(t)
	shown := make(chan channels.Event, 64)
	cancel, err := h.bus.Subscribe(channels.ConversationSubject(1001), func(_ string, data []byte) {
		var e channels.Event
		if json.Unmarshal(data, &e) == nil && e.Type == channels.EventTranscript {
			shown <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	h.voice.hearing(channels.Inbound{ConversationID: 1001, CallID: 1}, 7, "my card is 4111 1111 1111 1111")
	e := waitChan(t, ctx, shown, "partial words")
	if e.Seq != 0 || e.Message.Author != channels.ByAgent || *e.Message.AgentID != 7 || !e.Message.Private || e.Message.Kind != channels.Transcript ||
		!strings.Contains(e.Message.Body, "•••• 1111") {
		t.Errorf("%+v", e.Message)
	}
}
