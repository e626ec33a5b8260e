package voice

import (
	"errors"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/bus"
)

// ask asks this node something before there is a call.
func (h *house) ask(req channels.VoiceRequest) channels.CallReply {
	h.t.Helper()
	var reply channels.CallReply
	var err error
	ctx := testCtx(h.t)
	until(h.t, ctx, "the telephone runs", func() bool {
		err = h.bus.Request(ctx, channels.VoiceSubject("test"), req, &reply)
		return !errors.Is(err, bus.ErrNoOwner)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return reply
}

// TestEcho: an agent hears themselves a second later.
func TestEcho(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	b := voicetest.NewBrowser(t)
	reply := h.ask(channels.VoiceRequest{Type: "echo", AgentID: 7, SDP: b.Offer(ctx)})
	if reply.Error != nil {
		t.Fatal(reply.Error)
	}
	b.Accept(reply.SDP)
	waitChan(t, ctx, b.Up, "connected")
	said, nobody := voicetest.Speech(1, 11*time.Second, 8000), voicetest.Speech(2, 11*time.Second, 8000)
	began := time.Now()
	go func() {
		until(t, ctx, "the first sound", func() bool { return len(b.Hears()) > 0 })
		if d := time.Since(began); d < 900*time.Millisecond || d > 1500*time.Millisecond {
			t.Errorf("the first sound came back after %v, want a second", d)
		}
	}()
	b.Play(ctx, voicetest.ULaw(said))
	voicetest.Check(t, "echo", b.Hears(), said, nobody)
	if h.voice.Calls() != 0 {
		t.Error("a test call is no call")
	}
}

// TestEchoEnds: after its time, when a second one begins, and never for nobody.
func TestEchoEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Times.Echo = time.Second })
	ctx := testCtx(t)
	begin := func(agent int64) (*voicetest.Browser, channels.CallReply) {
		b := voicetest.NewBrowser(t)
		reply := h.ask(channels.VoiceRequest{Type: "echo", AgentID: agent, SDP: b.Offer(ctx)})
		if reply.Error == nil {
			b.Accept(reply.SDP)
			waitChan(t, ctx, b.Up, "connected")
		}
		return b, reply
	}
	first, _ := begin(7)
	other, _ := begin(8)
	begin(7)
	waitChan(t, ctx, first.Gone, "the first test call's end")
	waitChan(t, ctx, other.Gone, "the end of its time")
	if _, reply := begin(0); reply.Error == nil {
		t.Error("a test call of nobody")
	}
	if reply := h.ask(channels.VoiceRequest{Type: "echo", AgentID: 7, SDP: "hello"}); channels.CodeOf(reply.Error) != channels.Invalid {
		t.Errorf("no offer: %+v", reply)
	}
	if reply := h.ask(channels.VoiceRequest{Type: "sing"}); reply.Error == nil {
		t.Error("an unknown request")
	}
}
