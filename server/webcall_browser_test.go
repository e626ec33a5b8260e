package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// widgetHears records what the widget's call plays for that many seconds.
func (b *browser) widgetHears(page string, seconds int) []int16 {
	b.t.Helper()
	b.do("hear", frame{"page": page, "css": "audio"})
	b.do("until", frame{"page": page, "js": fmt.Sprintf("window.__heard.end >= %d", seconds*8000)})
	return b.heard(page)
}

// TestBrowserWebCall: Chromium as the customer and another Chromium as the agent: a chat, a call from its page, key 0,
// the desk rings, each hears the other and nobody else, chat and voice side by side, the page is loaded anew in
// mid-call, hanging up leaves the chat.
func TestBrowserWebCall(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	mic := filepath.Join(t.TempDir(), "customer.wav")
	voicetest.WriteWAV(t, mic, voicetest.Speech(callerSeed, speechTime, 48000), 48000)
	customer, agent := chromium(t, mic), chromium(t, microphone(t))
	h := open(t, env...)
	h.openDesk(agent, "ana", frame{"raw": true})
	customer.page("mira", h.url+"/?audio=raw", nil)
	customer.do("helper", frame{"page": "mira", "from": "visitor", "fn": "openChat"})
	customer.shot("mira", "widget-phone-button")
	customer.clean("mira")
	customer.click("mira", "button", "Call us from this page")
	customer.see("mira", "You are connected. Key 0 gets a person")
	customer.click("mira", "button", "Keypad")
	customer.shot("mira", "widget-call-keypad")
	customer.clean("mira")
	customer.do("click", frame{"page": "mira", "role": "button", "name": "0, a person"})
	customer.see("mira", "You are in line. Stay on the call")
	customer.shot("mira", "widget-call-waiting")
	customer.clean("mira")
	agent.desk("ana", "waitForOffer")
	agent.desk("ana", "acceptOffer")
	agent.desk("ana", "waitForPhone", "call")
	customer.see("mira", "You are talking to Ana")
	h.eventually("the call is bridged, by the web", `select state = 'bridged' and media = 'web' from calls`)
	customer.shot("mira", "widget-call")
	customer.clean("mira")
	agent.shot("ana", "desk-web-call")
	voicetest.CheckPlayed(t, "the agent hears the customer", agent.hears("ana", 12), voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))
	voicetest.CheckPlayed(t, "the customer hears the agent", customer.widgetHears("mira", 12), voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))

	// chat beside the call, in the same conversation
	customer.do("helper", frame{"page": "mira", "from": "visitor", "fn": "write", "args": []string{"My order is 4711"}})
	h.eventually("one conversation has call and chat", `select count(*) = 1 from conversations c join calls k on k.conversation_id = c.id
		join messages m on m.conversation_id = c.id and m.channel = 'chat' and m.body = 'My order is 4711' where k.state = 'bridged' and c.state = 'agent'`)

	// the page is loaded anew, and takes the call back
	customer.do("reload", frame{"page": "mira"})
	customer.see("mira", "You are talking to Ana")
	customer.do("until", frame{"page": "mira", "js": `document.querySelector('patchbay-chat').shadowRoot.querySelector('audio').srcObject !== null`})
	voicetest.CheckPlayed(t, "the agent hears the customer after the reload", agent.hears("ana", 12), voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))
	voicetest.CheckPlayed(t, "the customer hears the agent after the reload", customer.widgetHears("mira", 12), voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))

	// another network: ICE restart on the same connection
	customer.do("evaluate", frame{"page": "mira", "js": `dispatchEvent(new Event('online'))`})
	customer.see("mira", "You are talking to Ana")
	voicetest.CheckPlayed(t, "the agent hears the customer after the restart", agent.hears("ana", 12), voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))

	customer.click("mira", "button", "Hang up")
	h.eventually("the call has ended", `select state = 'ended' and result = 'completed' and reason = 'caller hung up' from calls`)
	h.eventually("the chat goes on with the agent", `select state = 'agent' and channel = 'chat' from conversations`)
	var errs []string
	if err := json.Unmarshal(customer.do("errors", frame{"page": "mira"}), &errs); err != nil || len(errs) > 0 {
		t.Errorf("the page complains: %v %v", errs, err)
	}
}
