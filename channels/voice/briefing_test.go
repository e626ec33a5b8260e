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
)

// briefingHouse is a house whose one queue whispers the card into the agent's ear.
func briefingHouse(t *testing.T, ctx context.Context) *talkHouse {
	t.Helper()
	h, _ := writingHouse(t, false)
	card := channels.Card{Lines: []channels.CardLine{{Kind: channels.CardWho, Text: "Rosa Lindt"}, {Kind: channels.CardMatter, Text: "“my stove leaks”"}}}
	if _, err := h.voice.cfg.Pool.Exec(ctx, `update queues set transcribe = false, whisper = true`); err != nil {
		t.Fatal(err)
	}
	if _, err := h.voice.cfg.Pool.Exec(ctx, `update conversations set card = $1`, card); err != nil {
		t.Fatal(err)
	}
	return h
}

const whispered = "Rosa Lindt. Not verified. Said: my stove leaks."

// connects has the agent accept and connect, and waits until they are being told.
func (h *talkHouse) connects(ctx context.Context, t *testing.T) (*voicetest.Call, *voicetest.Browser) {
	t.Helper()
	c := h.dial(ctx, voicetest.Invite{})
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	h.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	return c, h.connect(ctx, 1, 7)
}

func (h *talkHouse) saidToAgent() bool {
	return slices.ContainsFunc(h.server.Said(), func(r speechtest.Request) bool { return r.Text == whispered })
}

// TestWhisperedCard: the agent hears the card, the caller does not, and then they are through.
func TestWhisperedCard(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	h := briefingHouse(t, ctx)
	frames := h.agentFrames(7)
	c, b := h.connects(ctx, t)
	until(t, ctx, "the desk is told", func() bool { return strings.Contains(<-frames, `"whispering":true`) })
	b.Forget()
	c.RTP.Forget()
	h.moved(ctx, channels.CallBridged)
	if !h.saidToAgent() {
		t.Errorf("said: %+v", h.server.Said())
	}
	if heard := speechtest.Understand(voicetest.FromULaw(c.RTP.Heard()), voicetest.Rate); strings.Contains(heard, "stove") {
		t.Errorf("the caller heard %q", heard)
	}
	hears(t, ctx, c, b)
}

// TestWhisperIsSkipped: any key ends it. It is long, so an early bridge is the key's.
func TestWhisperIsSkipped(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	h := briefingHouse(t, ctx)
	card := channels.Card{Lines: []channels.CardLine{{Kind: channels.CardWho, Text: "Rosa"}, {Kind: channels.CardMatter, Text: strings.Repeat("many words ", 40)}}}
	if _, err := h.voice.cfg.Pool.Exec(ctx, `update conversations set card = $1`, card); err != nil {
		t.Fatal(err)
	}
	frames := h.agentFrames(7)
	c, b := h.connects(ctx, t)
	until(t, ctx, "the desk is told", func() bool { return strings.Contains(<-frames, `"whispering":true`) })
	begun := time.Now()
	h.must(ctx, channels.CallSignal{Type: "dtmf", CallID: 1, AgentID: 7, Digit: "#"})
	h.moved(ctx, channels.CallBridged)
	if took := time.Since(begun); took > briefWhole/4 {
		t.Errorf("bridged %s after the key", took)
	}
	hears(t, ctx, c, b)
}

// TestWhisperDies: an engine that hangs or refuses keeps nobody from their caller.
func TestWhisperDies(t *testing.T) {
	t.Parallel()
	for _, mood := range []speechtest.Mood{speechtest.Hangs, speechtest.Refuses, speechtest.Breaks} {
		ctx := testCtx(t)
		h := briefingHouse(t, ctx)
		c := h.dial(ctx, voicetest.Invite{})
		waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
		c.RTP.Press(ctx, '0')
		h.expect(ctx, channels.Wish)
		h.server.Says(mood, 0)
		h.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
		b := h.connect(ctx, 1, 7)
		begun := time.Now()
		h.moved(ctx, channels.CallBridged)
		if took := time.Since(begun); took > briefWhole/2 {
			t.Errorf("mood %d: bridged after %s", mood, took)
		}
		hears(t, ctx, c, b)
		h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
		h.expect(ctx, channels.CallEndedIn)
	}
}
