package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// Everybody speaks noise in bursts of their own (voicetest.Speech), so that it can be proven who is heard.
const (
	callerSeed = 11
	agentSeed  = 22
	strangers  = 33
	speechTime = 100 * time.Second
)

// microphone writes the agent's speech for Chromium's fake microphone.
func microphone(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "agent.wav")
	voicetest.WriteWAV(t, path, voicetest.Speech(agentSeed, speechTime, 48000), 48000)
	return path
}

func voiceOf(seed uint64) []int16 { return voicetest.Speech(seed, speechTime, 8000) }

// hears records what the page's phone plays for that many seconds.
func (b *browser) hears(page string, seconds int) []int16 {
	b.t.Helper()
	b.do("hear", frame{"page": page})
	b.do("until", frame{"page": page, "js": fmt.Sprintf("window.__heard.end >= %d", seconds*8000)})
	return b.heard(page)
}

// both is what the page's phone and somebody else hear in the same time.
func (b *browser) both(page string, other func() []int16) (here, there []int16) {
	b.t.Helper()
	b.do("hear", frame{"page": page})
	there = other()
	return b.heard(page), there
}

// listen records what the phone hears for that long from now.
func listen(t testing.TB, rtp *voicetest.RTP, d time.Duration) []int16 {
	t.Helper()
	want := int(d.Seconds() * voicetest.Rate)
	rtp.Forget()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for limit := time.After(patience + d); len(rtp.Heard()) < want; {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("the caller heard %d of %d bytes", len(rtp.Heard()), want)
		}
	}
	return voicetest.FromULaw(rtp.Heard())
}

// TestBrowserPhoneCall: baresip calls, presses 0, the desk rings, Chromium accepts; each hears the other and nobody
// else; the caller hangs up; the call stands in the timeline.
func TestBrowserPhoneCall(t *testing.T) {
	voicetest.Need(t, "baresip")
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, microphone(t))
	h := open(t, env...)
	h.openDesk(b, "ana", frame{"raw": true})
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()

	phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{Says: voiceOf(callerSeed)})
	phone.Dial(ctx, "sip:100@"+h.sip)
	phone.Press(ctx, "0")
	b.desk("ana", "waitForOffer")
	b.shot("ana", "desk-call-offer")
	b.clean("ana")
	b.desk("ana", "acceptOffer")
	b.desk("ana", "waitForPhone", "call")
	h.eventually("the call's row is bridged", `select state = 'bridged' from calls`)
	b.see("ana", "Call, running")
	b.shot("ana", "desk-call")
	b.clean("ana")
	heard := b.hears("ana", 12)
	voicetest.CheckPlayed(t, "the agent hears the caller", heard, voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))
	phone.Hangup(ctx)
	phone.Close()
	voicetest.CheckPlayed(t, "the caller hears the agent", after(phone.Heard(), 12), voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))

	b.desk("ana", "waitForPhone", "ready")
	h.eventually("wrap-up", `select state = 'wrapup' from conversations`)
	b.shot("ana", "desk-call-wrapup")
	b.clean("ana")
	b.desk("ana", "closeConversation", "Solved", "")
	if r := one[string](h, `select result || ', ' || reason from calls`); r != "completed, caller hung up" {
		t.Errorf("the call ended as %q", r)
	}
	if n := one[int](h, `select count(*) from promises where closed_by = 'agent'`); n != 1 {
		t.Error("the promise was not kept by the bridged call")
	}
}

// after is the last seconds of a recording.
func after(samples []int16, seconds int) []int16 {
	return samples[max(0, len(samples)-seconds*8000):]
}

// inBackground has the page believe that its tab is behind another one, which a headless Chromium never says, and notes
// what it would show the agent there.
const inBackground = `(() => {
	window.told = []
	Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })
	window.Notification = class { static permission = 'granted'; constructor(words) { window.told.push(words) } close() { delete document.hidden } }
})()`

// TestBrowserPhoneControls: a test call; mute, hold with music, keys both ways; a reload, a network that goes away, other
// tabs in front and a phone that moves between tabs in mid-call; hanging up by the agent.
func TestBrowserPhoneControls(t *testing.T) {
	const long = 10 * patience
	said := voicetest.Speech(callerSeed, long, voicetest.Rate) // a caller who had nothing more to say would be heard by nobody
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, microphone(t))
	h := open(t, env...)
	h.openDesk(b, "ana", frame{"raw": true})
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	b.desk("ana", "testCall")
	b.look("ana", "test-call")
	b.do("press", frame{"page": "ana", "keys": "Escape"})
	server := netip.MustParseAddrPort(h.sip)
	phone := voicetest.NewPhone(t, "+4930111222", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, server, "100", voicetest.Invite{})
	if rms := voicetest.RMS(listen(t, call.RTP, 2*time.Second)); rms < 100 {
		t.Errorf("the greeting cannot be heard: level %.0f", rms)
	}
	b.do("evaluate", frame{"page": "ana", "js": inBackground})
	call.RTP.Press(ctx, '0')
	b.desk("ana", "waitForOffer")
	b.do("until", frame{"page": "ana", "js": `window.told.some((words) => words.startsWith('Call for you'))`})
	if rms := voicetest.RMS(listen(t, call.RTP, 4*time.Second)); rms < 100 {
		t.Errorf("no words and no music while waiting: level %.0f", rms)
	}
	b.desk("ana", "acceptOffer")
	b.desk("ana", "waitForPhone", "call")
	go call.RTP.Play(ctx, voicetest.ULaw(said))
	voicetest.CheckPlayed(t, "the caller hears the agent", listen(t, call.RTP, 10*time.Second), voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))

	b.click("ana", "button", "Mute")
	settled(b, "ana")
	voicetest.CheckSilent(t, "the caller, agent muted", after(listen(t, call.RTP, 3*time.Second), 2))
	b.click("ana", "button", "Mute")

	b.click("ana", "button", "Hold")
	b.desk("ana", "waitForPhone", "held")
	b.shot("ana", "desk-held")
	b.clean("ana")
	held := listen(t, call.RTP, 10*time.Second)
	if voicetest.RMS(held) < 100 {
		t.Error("no music on hold")
	}
	if s, _ := voicetest.Score(voicetest.Envelope(voiceOf(agentSeed), 8000), voicetest.Envelope(held, 8000)); s > 0.7 {
		t.Errorf("the caller hears the agent while on hold: %.2f", s)
	}
	voicetest.CheckSilent(t, "the agent, caller on hold", after(b.hears("ana", 3), 2))
	b.click("ana", "button", "Hold")
	b.desk("ana", "waitForPhone", "call")

	// keys: from the browser to the caller, and the other way through to the desk
	b.click("ana", "button", "Keypad")
	b.shot("ana", "desk-keypad")
	b.clean("ana")
	b.do("click", frame{"page": "ana", "role": "button", "name": "^5", "within": "dialog"})
	select {
	case k := <-call.RTP.Keys():
		if k != '5' {
			t.Errorf("the caller got key %c", k)
		}
	case <-ctx.Done():
		t.Fatal("no key came to the caller")
	}
	b.do("press", frame{"page": "ana", "keys": "Escape"})

	bothHear := func(when, page string) {
		t.Helper()
		agent, caller := b.both(page, func() []int16 { return listen(t, call.RTP, 13*time.Second) })
		agent, caller = after(agent, 10), after(caller, 10) // the jitter buffers first find their depth again
		voicetest.CheckPlayed(t, "the agent hears the caller "+when, agent, said, voiceOf(agentSeed), voiceOf(strangers))
		voicetest.CheckPlayed(t, "the caller hears the agent "+when, caller, voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))
	}

	// the page is loaded again in the middle of the call
	b.do("reload", frame{"page": "ana"})
	b.desk("ana", "waitForPhone", "call")
	bothHear("after the reload", "ana")
	b.shot("ana", "desk-after-reload")

	// the network is away for two seconds: the same line over a new path, with a tab in front of the desk
	b.do("offline", frame{"person": "ana", "on": true})
	b.do("until", frame{"page": "ana", "js": "!navigator.onLine"})
	b.look("ana", "call-offline")
	b.do("offline", frame{"person": "ana", "on": false})
	b.do("asks", frame{"page": "ana", "type": "restart"})
	b.desk("ana", "waitForPhone", "call")
	b.page("other", h.url+"/help/returns", frame{"person": "ana"})
	bothHear("in a tab behind, after the network was away", "ana")

	// two tabs: one has the phone, the other can take it, and it comes back when that one is closed
	b.page("ana2", h.url+"/desk/", frame{"person": "ana"})
	b.desk("ana2", "waitForPhone", "elsewhere")
	b.look("ana2", "phone-elsewhere")
	b.click("ana2", "button", "Use the phone here")
	b.desk("ana2", "waitForPhone", "call")
	b.desk("ana", "waitForPhone", "elsewhere")
	bothHear("in the second tab", "ana2")
	b.do("close", frame{"page": "ana2"})
	b.desk("ana", "waitForPhone", "call")

	b.click("ana", "button", "Hang up")
	select {
	case <-call.Ended():
	case <-ctx.Done():
		t.Fatal("the agent's hanging up did not reach the caller")
	}
	h.eventually("wrap-up", `select state = 'wrapup' from conversations`)
	if r := one[string](h, `select result || ', ' || reason from calls`); r != "completed, agent hung up" {
		t.Errorf("the call ended as %q", r)
	}
}

// settled waits until the bar shows it.
func settled(b *browser, page string) {
	b.t.Helper()
	b.do("until", frame{"page": page, "js": `document.querySelector('section[aria-label="Softphone"] [aria-pressed="true"]') !== null`})
}

// TestBrowserCallInTheChatsTimeline: a contact who chats and phones has one conversation.
func TestBrowserCallInTheChatsTimeline(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	a := h.agent()
	v := h.visitor("", 0)
	v.says("Can I talk to somebody?")
	o := a.offer()
	conv := o.num("conversation_id")
	a.accept(o)
	v.hears("who it is", event(channels.CodeThrough))
	contact := one[int64](h, `select contact_id from conversations where id = $1`, conv)
	a.call("POST", "/api/contacts/"+itoa(contact)+"/addresses", frame{"kind": "phone", "value": "+49 30 555 000"}, nil)
	a.call("POST", "/api/conversations/"+itoa(conv)+"/end", nil, nil)
	a.call("POST", "/api/conversations/"+itoa(conv)+"/close", frame{"disposition": "solved"}, nil)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	phone := voicetest.NewPhone(t, "+4930555000", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	h.eventually("the call stands in the chat's conversation", `select exists (select from calls where conversation_id = $1 and state <> 'ended')`, conv)
	if err := call.Bye(ctx); err != nil {
		t.Error(err)
	}
	h.eventually("the call is over", `select exists (select from calls where conversation_id = $1 and state = 'ended')`, conv)
	t.Log(one[string](h, `select result || ', ' || reason from calls`))
	if n := one[int](h, `select count(*) from conversations`); n != 1 {
		t.Errorf("%d conversations, want one", n)
	}
	v.forget()
	v.says("hello again")
	v.await("an answer, and no line of the call", func(f frame) bool {
		m := f.sub("message")
		if m != nil && (m.str("code") == channels.CodeCallStart || m.str("code") == channels.CodeCallEnd) {
			t.Errorf("the visitor sees a call: %v", m)
		}
		return by("ai")(m)
	})
}
