package voice

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
)

// webCall is a visitor who calls from the web page and is connected.
func (h *house) webCall(ctx context.Context, visitor string, conversation int64) (*voicetest.Browser, channels.Inbound) {
	h.t.Helper()
	b := voicetest.NewBrowserWith(h.t, voicetest.BrowserConfig{Wide: true})
	reply := h.ask(channels.VoiceRequest{Type: "web", SDP: b.Offer(ctx), Visitor: visitor, Name: "Mira", ConversationID: conversation})
	if reply.Error != nil || reply.CallID == 0 {
		h.t.Fatalf("%+v", reply)
	}
	in := h.expect(ctx, channels.CallStarted)
	b.Accept(reply.SDP)
	waitChan(h.t, ctx, b.Up, "the visitor's connection")
	return b, in
}

// bothWays has the two speak and proves that each hears the other.
func bothWays(t *testing.T, ctx context.Context, caller, agent *voicetest.Browser) {
	t.Helper()
	const length = 10 * time.Second
	said, answered, nobody := voicetest.Speech(1, length, 8000), voicetest.Speech(2, length, 8000), voicetest.Speech(3, length, 8000)
	caller.Forget()
	agent.Forget()
	var speaking sync.WaitGroup
	speaking.Go(func() { caller.Play(ctx, voicetest.ULaw(said)) })
	speaking.Go(func() { agent.Play(ctx, voicetest.ULaw(answered)) })
	speaking.Wait()
	voicetest.Check(t, "the agent", agent.Hears(), said, answered, nobody)
	voicetest.Check(t, "the customer", caller.Hears(), answered, said, nobody)
}

// TestWebCall: from the page's offer to the end: greeting, key 0, the agent, both ways, the visitor hangs up.
func TestWebCall(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	b, in := h.webCall(ctx, "v1", 0)
	if in.Media != channels.ByWeb || in.From != (channels.Address{Kind: channels.Visitor, Value: "v1"}) || in.Name != "Mira" || in.SIPCallID == "" || in.Channel != channels.Voice {
		t.Errorf("%+v", in)
	}
	if rms := voicetest.RMS(b.Hear(ctx, 2*time.Second)); rms < 100 {
		t.Errorf("no greeting: %.0f", rms)
	}
	if reply := h.ask(channels.VoiceRequest{Type: "web", SDP: voicetest.NewBrowser(t).Offer(ctx), Visitor: "v1"}); channels.CodeOf(reply.Error) != channels.Conflict {
		t.Errorf("a second call of one visitor: %+v", reply)
	}
	h.must(ctx, channels.CallSignal{Type: "dtmf", CallID: 1, Visitor: true, Digit: "0"})
	if in := h.expect(ctx, channels.Wish); in.Source != "key" || in.Media != channels.ByWeb {
		t.Errorf("%+v", in)
	}
	frames := h.agentFrames(7)
	agent := h.join(ctx, 1, 7)
	if f := waitChan(t, ctx, frames, "frame"); !strings.Contains(f, `"from":"Web page"`) || !strings.Contains(f, `"name":"Mira"`) {
		t.Errorf("%s", f)
	}
	bothWays(t, ctx, b, agent)
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, Visitor: true})
	if in := h.expect(ctx, channels.CallEndedIn); in.Result != completed || in.Reason != "caller hung up" {
		t.Errorf("%+v", in)
	} else if s := in.Stats.(callStats); s.PacketsIn < 400 || s.PacketsOut < 500 || s.Worst == nil || s.Worst.MOS < 4 {
		t.Errorf("%+v", s)
	} else if media.HasOpus() && (s.Codec != "opus" || b.Codec() != media.Opus || agent.Codec() != media.Opus) {
		t.Errorf("%+v; the visitor has %v, the agent %v: nothing is to be transcoded", s, b.Codec(), agent.Codec())
	}
	waitChan(t, ctx, b.Gone, "the visitor's connection has ended")
	waitChan(t, ctx, agent.Gone, "the agent's connection has ended")
}

// TestWebCallComesBack: the page is loaded anew in mid-call, and changes its network; the agent stays.
func TestWebCallComesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	first, _ := h.webCall(ctx, "v1", 5)
	h.must(ctx, channels.CallSignal{Type: "dtmf", CallID: 1, Visitor: true, Digit: "0"})
	h.expect(ctx, channels.Wish)
	agent := h.join(ctx, 1, 7)
	first.Close() // no goodbye but the DTLS alert
	second := voicetest.NewBrowser(t)
	reply := h.must(ctx, channels.CallSignal{Type: "connect", CallID: 1, Visitor: true, SDP: second.Offer(ctx)})
	second.Accept(reply.SDP)
	waitChan(t, ctx, second.Up, "the new page's connection")
	reply = h.must(ctx, channels.CallSignal{Type: "restart", CallID: 1, Visitor: true, SDP: second.Restart(ctx)})
	second.Accept(reply.SDP)
	_, words := speech(11)
	second.Play(ctx, words[:2*voicetest.Rate]) // until then the new way has been found
	bothWays(t, ctx, second, agent)
	for name, sig := range map[string]channels.CallSignal{
		"an agent's word":     {Type: "hold", Visitor: true, On: true},
		"somebody's connect":  {Type: "connect", SDP: voicetest.NewBrowser(t).Offer(ctx)},
		"another agent's":     {Type: "connect", AgentID: 8, SDP: voicetest.NewBrowser(t).Offer(ctx)},
		"no offer":            {Type: "connect", Visitor: true},
		"no key":              {Type: "dtmf", Visitor: true, Digit: "x"},
		"an unreadable offer": {Type: "restart", Visitor: true, SDP: "hello"},
	} {
		sig.CallID = 1
		if reply, err := h.command(ctx, sig); err != nil || reply.Error == nil {
			t.Errorf("%s: %+v %v", name, reply, err)
		}
	}
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	waitChan(t, ctx, second.Gone, "the visitor's connection has ended")
	h.expect(ctx, channels.CallEndedIn)
}

// TestWebCallEnds: every way that is the web page's own.
func TestWebCallEnds(t *testing.T) {
	t.Parallel()
	t.Run("the browser never connects", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, func(c *Config) { c.Times.CallerBack = 300 * time.Millisecond })
		ctx := testCtx(t)
		h.ask(channels.VoiceRequest{Type: "web", SDP: voicetest.NewBrowser(t).Offer(ctx), Visitor: "v1"})
		h.expect(ctx, channels.CallStarted)
		if in := h.expect(ctx, channels.CallEndedIn); in.Result != failed || in.Reason != "the caller's browser did not connect" {
			t.Errorf("%+v", in)
		}
	})
	t.Run("the page is closed", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, func(c *Config) { c.Times.CallerBack = 500 * time.Millisecond })
		ctx := testCtx(t)
		b, _ := h.webCall(ctx, "v1", 0)
		_, words := speech(11)
		b.Play(ctx, words[:5*voicetest.Rate])
		b.Close()
		if in := h.expect(ctx, channels.CallEndedIn); in.Reason != "caller's connection lost" {
			t.Errorf("%+v", in)
		} else if s := in.Stats.(callStats); s.PacketsIn < 200 || s.Worst == nil || s.Worst.MOS < 4 { // of a browser that is gone
			t.Errorf("%+v", s)
		}
		until(t, ctx, "no call left", func() bool { return h.voice.Calls() == 0 })
		h.webCall(ctx, "v1", 0) // and may call again
	})
	t.Run("nobody answers", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, func(c *Config) { c.Times.WebUnanswered = time.Second })
		ctx := testCtx(t)
		b, _ := h.webCall(ctx, "v1", 0)
		if in := h.expect(ctx, channels.CallEndedIn); in.Result != abandoned || in.Reason != "nobody answered" {
			t.Errorf("%+v", in)
		}
		waitChan(t, ctx, b.Gone, "the visitor's connection has ended")
	})
	t.Run("the house does not take it", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil)
		ctx := testCtx(t)
		h.script(func(context.Context, channels.Inbound) (channels.Receipt, error) {
			return channels.Receipt{}, channels.Fail(channels.NotFound, "no such conversation")
		})
		if reply := h.ask(channels.VoiceRequest{Type: "web", SDP: voicetest.NewBrowser(t).Offer(ctx), Visitor: "v1"}); channels.CodeOf(reply.Error) != channels.Unavailable {
			t.Errorf("%+v", reply)
		}
		for _, req := range []channels.VoiceRequest{{Type: "web", SDP: voicetest.NewBrowser(t).Offer(ctx)}, {Type: "web", SDP: "hello", Visitor: "v2"}} {
			if reply := h.ask(req); reply.Error == nil {
				t.Errorf("%+v", reply)
			}
		}
		until(t, ctx, "no call left", func() bool { return h.voice.Calls() == 0 })
	})
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, func(c *Config) { c.MaxCalls = 1 })
		ctx := testCtx(t)
		h.webCall(ctx, "v1", 0)
		if reply := h.ask(channels.VoiceRequest{Type: "web", SDP: voicetest.NewBrowser(t).Offer(ctx), Visitor: "v2"}); channels.CodeOf(reply.Error) != channels.Unavailable {
			t.Errorf("%+v", reply)
		}
	})
}

// TestWebCallBesideTheChatsAgent: who chats with a person gets no menu.
func TestWebCallBesideTheChatsAgent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		r, err := h.agree(in)
		r.State = channels.Agent
		return r, err
	})
	h.webCall(ctx, "v1", 5)
	if in := h.expect(ctx, channels.Wish); in.Source != "button" {
		t.Errorf("%+v", in)
	}
}
