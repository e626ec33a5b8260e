package main

import (
	"context"
	"os"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// TestBrowserCallBack: a visitor in line asks to be called, with a number that cannot be called first; goes back to waiting,
// and asks again. The agent's desk offers the call back and dials by itself when it is accepted; they hear each other.
// Then an appointment of somebody else: the desk says why it waits, and a supervisor has it called now or cancels it. A customer who
// refuses the last try's call stands above everything until somebody calls; a voicemail that the disk refused stands among the alarms.
func TestBrowserCallBack(t *testing.T) {
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", Says: voiceOf(callerSeed)})
	_, env := ollama(t, llmtest.Oracle)
	page, desk := chromium(t, ""), chromium(t, microphone(t))
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	h.admin().trunk("Fjordtel", customer.Addr(), "+4940")
	h.losesMessage(ctx)
	page.page("mira", h.url+"/", nil)
	page.do("helper", frame{"page": "mira", "from": "visitor", "fn": "openChat"})
	page.click("mira", "button", "^Talk to a person")
	page.see("mira", "Call me instead")
	page.look("mira", "widget-callback-offer")
	page.click("mira", "button", "Call me instead")
	page.see("mira", "When it is my turn")
	page.look("mira", "widget-callback")
	page.do("fill", frame{"page": "mira", "role": "textbox", "name": "Your number", "value": "+1 900 5550100"})
	page.click("mira", "button", "Call me at my turn")
	page.see("mira", "cost extra and are not allowed")
	page.look("mira", "widget-callback-refused")
	page.do("fill", frame{"page": "mira", "role": "textbox", "name": "Your number", "value": "+49 40 222"})
	page.do("fill", frame{"page": "mira", "role": "textbox", "name": "Your name", "value": "Mira Sand"})
	page.click("mira", "button", "Call me at my turn")
	page.see("mira", "when it is your turn. You may close this page")
	page.look("mira", "widget-callback-set")
	page.click("mira", "button", "I wait here instead")
	page.see("mira", "Call me instead")
	if n := one[int](h, `select count(*) from promises where number <> ''`); n != 0 {
		t.Errorf("%d promises of a call, want none", n)
	}
	page.click("mira", "button", "Call me instead")
	page.do("fill", frame{"page": "mira", "role": "textbox", "name": "Your number", "value": "+49 40 222"})
	page.click("mira", "button", "Call me at my turn")
	h.eventually("promised", `select exists (select from promises where number = '+4940222' and closed_at is null)`)

	h.openDesk(desk, "ana", frame{"raw": true})
	desk.see("ana", "Call back +4940222")
	desk.look("ana", "desk-callback-offer")
	desk.click("ana", "button", "^Accept and call$")
	customer.Wait(ctx, "CALL_INCOMING")
	customer.Command(ctx, "accept", "")
	desk.desk("ana", "waitForPhone", "call")
	desk.look("ana", "desk-callback-call")
	agent, called := desk.both("ana", func() []int16 { return customer.Listen(ctx, 10*time.Second) })
	voicetest.CheckPlayed(t, "the agent hears the customer", agent, voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))
	voicetest.CheckPlayed(t, "the customer hears the agent", called, voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))
	h.eventually("the promise is kept by the agent's word", `select exists (select from promises where number = '+4940222' and closed_by = 'agent')`)
	customer.Hangup(ctx)
	h.eventually("the call has ended", `select not exists (select from calls where state <> 'ended')`)

	desk.desk("ana", "waitForPhone", "ready")
	desk.desk("ana", "endConversation") // who has chatted could go on in writing
	desk.desk("ana", "closeConversation", "Solved", "")

	// an appointment
	v := h.visitor("", 0)
	v.says("Can a person call me tomorrow?")
	if err := v.send(frame{"type": "person", "client_id": clientID()}); err != nil {
		t.Fatal(err)
	}
	v.state(channels.Waiting)
	if err := v.send(frame{"type": "call_times"}); err != nil {
		t.Fatal(err)
	}
	times, _ := v.await("times to choose", func(f frame) bool { return f.str("type") == "call_times" }).sub("call_times")["times"].([]any)
	if len(times) < 10 {
		t.Fatalf("times: %v", times)
	}
	wish := frame{"type": "call_me", "client_id": clientID(), "number": "040 5551234", "name": "Ole Bakke", "at": times[5]}
	if err := v.send(wish); err != nil {
		t.Fatal(err)
	}
	v.await("the promise", func(f frame) bool {
		return f.str("type") == "state" && f.str("call_back") == "+49405551234" && f.str("call_at") != ""
	})
	desk.click("ana", "tab", "^Waiting")
	desk.see("ana", "the customer's choice")
	desk.look("ana", "desk-callback-waiting")
	desk.click("ana", "link", "Ole Bakke")
	desk.see("ana", "To be called at")
	desk.look("ana", "desk-callback-decide")
	desk.click("ana", "button", "^Call now$")
	desk.see("ana", "Call back +49405551234")
	desk.click("ana", "button", "^Decline$")
	desk.click("ana", "button", "^Cancel the call back$")
	desk.click("ana", "button", "^Nobody calls: the promise breaks$")
	h.eventually("cancelled, and shown as broken", `select exists (select from conversations c join promises p on p.conversation_id = c.id
		where p.number = '+49405551234' and c.state = 'closed' and p.closed_by = 'broken')`)

	// the last try fails
	if _, err := h.pool.Exec(ctx, `update queues set call_back_tries = 1`); err != nil {
		t.Fatal(err)
	}
	v = h.visitor("", 0)
	v.says("Can a person call me later?")
	if err := v.send(frame{"type": "person", "client_id": clientID()}); err != nil {
		t.Fatal(err)
	}
	v.state(channels.Waiting)
	if err := v.send(frame{"type": "call_me", "client_id": clientID(), "number": "+49 40 222", "name": "Siri Holm", "at": times[6]}); err != nil {
		t.Fatal(err)
	}
	v.await("the promise", func(f frame) bool {
		return f.str("type") == "state" && f.str("call_back") == "+4940222" && f.str("call_at") != ""
	})
	desk.click("ana", "tab", "^Waiting")
	desk.click("ana", "link", "Siri Holm")
	desk.see("ana", "To be called at +4940222") // not Ole's, whose button stands there until the page has hers
	desk.click("ana", "button", "^Call now$")
	desk.see("ana", "Call back +4940222")
	desk.click("ana", "button", "^Accept and call$")
	customer.Wait(ctx, "CALL_INCOMING")
	customer.Hangup(ctx)
	desk.see("ana", "was not reached in 1 try")
	desk.desk("ana", "waitForPhone", "ready")
	desk.look("ana", "desk-callback-failed")
	desk.click("ana", "button", "^Take and call$")
	customer.Wait(ctx, "CALL_INCOMING")
	customer.Command(ctx, "accept", "")
	desk.desk("ana", "waitForPhone", "call")
	desk.do("until", frame{"page": "ana", "js": "!document.querySelector('.callalarms')"})
	customer.Hangup(ctx)
	desk.desk("ana", "waitForPhone", "ready")

	desk.page("reach", h.url+"/desk/reach", frame{"person": "ana", "raw": true})
	desk.see("reach", "A voicemail could not be kept: the disk has failed.")
	desk.see("reach", "was not reached in 1 try")
	desk.do("evaluate", frame{"page": "reach", "js": "document.querySelector('#alarms').scrollIntoView()"})
	desk.look("reach", "reach-alarms")
}

// losesMessage has a caller leave a message that the disk refuses, while nobody is at the desk.
func (h *testHouse) losesMessage(ctx context.Context) {
	h.t.Helper()
	dir := h.house.cfg.Recordings.Dir
	if err := os.RemoveAll(dir); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
	call := h.caller(ctx, "+4930777998")
	<-call.RTP.HeardSome()
	call.RTP.Press(ctx, '0')
	h.eventually("the caller is in line", `select exists (select from conversations where state = 'waiting')`)
	call.RTP.Press(ctx, '3')
	h.eventually("the alarm", `select exists (select from alarms where kind = 'voicemail_failed')`)
	if err := call.Bye(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the call is over", `select not exists (select from conversations where state <> 'closed')`)
	if err := os.Remove(dir); err != nil {
		h.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		h.t.Fatal(err)
	}
}
