package voice

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// speech and its µ-law, long enough for a comparison of ten seconds.
func speech(seed uint64) ([]int16, []byte) {
	s := voicetest.Speech(seed, 25*time.Second, voicetest.Rate)
	return s, voicetest.ULaw(s)
}

// TestCallBegins: the house knows the call before it is answered, the caller hears the greeting, BYE ends it with counts.
func TestCallBegins(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c := h.phone().Dial(ctx, h.voice.Addr(), number, voicetest.Invite{From: "+49-30-1234"})
	in := h.expect(ctx, channels.CallStarted)
	if in.From != (channels.Address{Kind: channels.Phone, Value: "+49301234"}) || in.To != number || in.SIPCallID == "" {
		t.Errorf("started: %+v", in)
	}
	_, said := speech(1)
	go c.RTP.Play(ctx, said)
	heard := hearPrompt(t, ctx, c.RTP, 10*time.Second)
	voicetest.Check(t, "greeting", heard, promptSamples(t, promptGreeting), promptSamples(t, promptMusic))
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	in = h.expect(ctx, channels.CallEndedIn)
	stats := in.Stats.(callStats)
	if in.Result != completed || in.Reason != "caller hung up" || in.CallID != 1 || in.ConversationID != 1001 {
		t.Errorf("ended: %+v", in)
	}
	if stats.PacketsIn < 450 || stats.PacketsOut < 450 || stats.Lost != 0 {
		t.Errorf("stats: %+v", stats)
	}
}

// TestBridge: 0, music, an agent accepts, and the two hear each other and nobody else; then the switches.
func TestBridge(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	frames := h.agentFrames(7)
	c := h.waitingCall(ctx, voicetest.Invite{})
	music := hearPrompt(t, ctx, c.RTP, 14*time.Second) // the waiting prompt first, then music
	voicetest.Check(t, "music", music[4*voicetest.Rate:], promptSamples(t, promptMusic), promptSamples(t, promptGreeting))

	b := h.join(ctx, 1, 7)
	callerWords, callerULaw := speech(11)
	agentWords, agentULaw := speech(12)
	go c.RTP.Play(ctx, callerULaw)
	go b.Play(ctx, agentULaw)
	c.RTP.Forget()
	atAgent := b.Hear(ctx, 9*time.Second)
	atCaller := voicetest.FromULaw(c.RTP.Heard())
	voicetest.Check(t, "agent hears", atAgent, callerWords, agentWords, promptSamples(t, promptMusic))
	voicetest.Check(t, "caller hears", atCaller, agentWords, callerWords, promptSamples(t, promptMusic))

	h.must(ctx, channels.CallSignal{Type: "mute", CallID: 1, AgentID: 7, On: true})
	hear(t, ctx, c.RTP, 200*time.Millisecond) // what was on its way
	voicetest.CheckSilent(t, "caller of a muted agent", hear(t, ctx, c.RTP, time.Second))
	if l := voicetest.RMS(b.Hear(ctx, time.Second)); l < 200 {
		t.Errorf("muted agent hears the caller at level %.0f", l)
	}
	h.must(ctx, channels.CallSignal{Type: "mute", CallID: 1, AgentID: 7})

	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7, On: true})
	hear(t, ctx, c.RTP, 200*time.Millisecond)
	b.Hear(ctx, 200*time.Millisecond)
	held := hearPrompt(t, ctx, c.RTP, 9*time.Second)
	voicetest.Check(t, "held caller", held, promptSamples(t, promptMusic), agentWords)
	voicetest.CheckSilent(t, "agent who holds", b.Hear(ctx, time.Second))
	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7})

	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	waitChan(t, ctx, c.Ended(), "BYE")
	if in := h.expect(ctx, channels.CallEndedIn); in.Result != completed || in.Reason != "agent hung up" {
		t.Errorf("ended: %+v", in)
	}
	var states []string
	before := ""
	for len(states) == 0 || states[len(states)-1] != channels.CallEnded {
		var got callFrame
		if err := json.Unmarshal([]byte(waitChan(t, ctx, frames, "frame")), &got); err != nil {
			t.Fatal(err)
		}
		f := got.Call
		if now := fmt.Sprint(f.State, f.Held, f.Muted, f.CallerHeld); now != before { // how the caller is heard comes in between
			states, before = append(states, f.State), now
		}
		if f.CallID != 1 || f.ConversationID != 1001 || f.From != "alice" {
			t.Errorf("frame: %+v", f)
		}
	}
	if got := strings.Join(states, " "); got != "connecting bridged bridged bridged bridged bridged ended" {
		t.Errorf("frames: %s", got)
	}
}

// TestKeysBothWays: the caller's keys reach the agent's tabs and browser, the agent's keys the caller; digits by INFO too.
func TestKeysBothWays(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	frames := h.agentFrames(7)
	c, b := h.bridgedCall(ctx, voicetest.Invite{})
	expectKey := func(digit string) {
		t.Helper()
		for {
			var f struct{ Type, Digit string }
			if err := json.Unmarshal([]byte(waitChan(t, ctx, frames, "key "+digit)), &f); err != nil {
				t.Fatal(err)
			}
			if f.Type == "call_dtmf" {
				if f.Digit != digit {
					t.Errorf("key %q, want %q", f.Digit, digit)
				}
				return
			}
		}
	}
	c.RTP.Press(ctx, '5')
	expectKey("5")
	if k := waitChan(t, ctx, b.Keys, "key in the browser"); k != '5' {
		t.Errorf("browser heard %c", k)
	}
	if code, err := c.Info(ctx, '#'); err != nil || code != 200 {
		t.Fatalf("INFO: %d %v", code, err)
	}
	expectKey("#")
	h.must(ctx, channels.CallSignal{Type: "dtmf", CallID: 1, AgentID: 7, Digit: "9"})
	if k := waitChan(t, ctx, c.RTP.Keys(), "key at the caller"); k != '9' {
		t.Errorf("caller heard %c", k)
	}
	for digit, agent := range map[string]int64{"x": 7, "": 7, "12": 7, "1": 8} {
		if reply, err := h.command(ctx, channels.CallSignal{Type: "dtmf", CallID: 1, AgentID: agent, Digit: digit}); err != nil || reply.Error == nil {
			t.Errorf("key %q of agent %d: %v, must be refused", digit, agent, err)
		}
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	if in := h.expect(ctx, channels.CallEndedIn); in.Result != completed {
		t.Errorf("ended: %+v", in)
	}
}

// TestReload: a second connect of the same agent takes the place of the first; the caller hears no one else meanwhile.
func TestReload(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c, old := h.bridgedCall(ctx, voicetest.Invite{})
	old.Close() // the page is gone: DTLS says so at once
	h.moved(ctx, channels.CallConnecting)
	if l := voicetest.RMS(hear(t, ctx, c.RTP, time.Second)); l < 200 {
		t.Errorf("the caller hears level %.0f, not music", l)
	}
	fresh := h.connect(ctx, 1, 7)
	h.moved(ctx, channels.CallBridged)
	words, ulaw := speech(21)
	other, otherULaw := speech(22)
	go fresh.Play(ctx, ulaw)
	go c.RTP.Play(ctx, otherULaw)
	voicetest.Check(t, "caller after reload", hear(t, ctx, c.RTP, 9*time.Second), words, other, promptSamples(t, promptMusic))
	voicetest.Check(t, "agent after reload", fresh.Hears(), other, words)

	// And without the old page going first: a second tab takes the sound.
	third := h.connect(ctx, 1, 7)
	h.moved(ctx, channels.CallBridged)
	go third.Play(ctx, ulaw)
	if l := voicetest.RMS(hear(t, ctx, c.RTP, time.Second)); l < 100 {
		t.Errorf("the caller hears level %.0f of the third page", l)
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestAgentLost: the browser does not come back: first in line again, told so; and one that never came at all.
func TestAgentLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Times.AgentBack, c.Times.AgentConnect = 3*time.Second, time.Second })
	ctx := testCtx(t)
	frames := h.agentFrames(8)
	c, b := h.bridgedCall(ctx, voicetest.Invite{})
	b.Close()
	h.moved(ctx, channels.CallConnecting)
	if in := h.expect(ctx, channels.AgentLost); in.CallID != 1 || in.ConversationID != 1001 {
		t.Errorf("lost: %+v", in)
	}
	heard := hear(t, ctx, c.RTP, 5*time.Second)
	if l := voicetest.RMS(heard); l < 200 {
		t.Errorf("the caller hears level %.0f, not the prompt", l)
	}
	if reply, err := h.command(ctx, channels.CallSignal{Type: "connect", CallID: 1, AgentID: 7, SDP: voicetest.NewBrowser(t).Offer(ctx)}); err != nil || reply.Error == nil || reply.Error.Code != channels.Forbidden {
		t.Errorf("connect after being lost: %+v %v", reply, err)
	}
	h.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 8})
	h.expect(ctx, channels.AgentLost)
	if f := waitChan(t, ctx, frames, "frame"); !strings.Contains(f, `"connecting"`) {
		t.Errorf("frame %s", f)
	}
	if f := waitChan(t, ctx, frames, "frame"); !strings.Contains(f, `"waiting"`) {
		t.Errorf("frame %s", f)
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	if in := h.expect(ctx, channels.CallEndedIn); in.Result != abandoned {
		t.Errorf("ended: %+v", in)
	}
}

// TestRelease: the agent gives the caller back; another one gets them.
func TestRelease(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c, _ := h.bridgedCall(ctx, voicetest.Invite{})
	h.must(ctx, channels.CallSignal{Type: "release", CallID: 1, Reason: "transfer"})
	if l := voicetest.RMS(hear(t, ctx, c.RTP, 2*time.Second)); l < 200 {
		t.Errorf("released caller hears level %.0f", l)
	}
	b := h.join(ctx, 1, 9)
	h.must(ctx, channels.CallSignal{Type: "release", CallID: 1, AgentID: 7}) // late: it was the first agent's
	_, ulaw := speech(31)
	go c.RTP.Play(ctx, ulaw)
	if l := voicetest.RMS(b.Hear(ctx, time.Second)); l < 200 {
		t.Errorf("second agent hears level %.0f", l)
	}
	h.must(ctx, channels.CallSignal{Type: "end", CallID: 1, Reason: "closed"})
	waitChan(t, ctx, c.Ended(), "BYE")
	if in := h.expect(ctx, channels.CallEndedIn); in.Result != completed || in.Reason != "closed" {
		t.Errorf("ended: %+v", in)
	}
	if _, err := h.command(ctx, channels.CallSignal{Type: "end", CallID: 1}); err == nil {
		// The subscription goes when the call has gone; before that it says so.
		t.Log("answered after its end")
	}
}

// TestStrangerSpeaks: RTP from another address reaches nobody and diverts nothing.
func TestStrangerSpeaks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c, b := h.bridgedCall(ctx, voicetest.Invite{})
	_, ulaw := speech(41)
	stop := make(chan struct{})
	go func() { c.RTP.Play(ctx, ulaw[:voicetest.Rate*3]); close(stop) }()
	b.Hear(ctx, 500*time.Millisecond) // the caller is latched
	stranger := voicetest.NewRTP(t, loopback)
	h.voice.mu.Lock()
	var at netip.AddrPort
	for call := range h.voice.calls {
		at = netip.AddrPortFrom(loopback, call.leg.Media().LocalAddr().Port())
	}
	h.voice.mu.Unlock()
	stranger.SetRemote(at, 0, 101)
	waitChan(t, ctx, stop, "caller's words")
	loud := make([]byte, 160)
	for i := range loud {
		loud[i] = byte(i) // as loud as it gets
	}
	b.Forget()
	for range 50 {
		stranger.Send(loud)
	}
	c.RTP.Play(ctx, voicetest.ULaw(make([]int16, voicetest.Rate/2)))
	until(t, ctx, "silence heard", func() bool { return len(b.Hears()) >= voicetest.Rate*4/10 })
	heard := b.Hears()
	voicetest.CheckSilent(t, "agent beside a stranger", heard[len(heard)-voicetest.Rate*3/10:])
	if n := len(stranger.Headers()); n != 0 {
		t.Errorf("%d packets were sent to the stranger", n)
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	if in := h.expect(ctx, channels.CallEndedIn); in.Stats.(callStats).Strangers != 50 {
		t.Errorf("strangers: %+v", in.Stats)
	}
}

// TestRestartInACall: the agent's tab changes its network in mid-call; the call goes on with the same leg, and nobody
// else may move it.
func TestRestartInACall(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c, b := h.bridgedCall(ctx, voicetest.Invite{})
	offer := b.Restart(ctx)
	for name, sig := range map[string]channels.CallSignal{
		"a stranger":      {AgentID: 8, SDP: offer},
		"nobody":          {SDP: offer},
		"another tab":     {AgentID: 7, SDP: offer, Tab: "other"},
		"without a offer": {AgentID: 7},
	} {
		sig.Type, sig.CallID = "restart", 1
		if reply, err := h.command(ctx, sig); err != nil || reply.Error == nil {
			t.Errorf("%s: %+v %v", name, reply, err)
		}
	}
	b.Accept(h.must(ctx, channels.CallSignal{Type: "restart", CallID: 1, AgentID: 7, SDP: offer}).SDP)
	caller, agent, nobody := voicetest.Speech(1, 10*time.Second, 8000), voicetest.Speech(2, 10*time.Second, 8000), voicetest.Speech(3, 10*time.Second, 8000)
	c.RTP.Forget()
	b.Forget()
	var speaking sync.WaitGroup
	speaking.Go(func() { c.RTP.Play(ctx, voicetest.ULaw(caller)) })
	speaking.Go(func() { b.Play(ctx, voicetest.ULaw(agent)) })
	speaking.Wait()
	voicetest.Check(t, "the agent after the restart", b.Hears(), caller, agent, nobody)
	voicetest.Check(t, "the caller after the restart", voicetest.FromULaw(c.RTP.Heard()), agent, caller, nobody)
}
