package main

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// In calls of more than two everybody has a tone of their own, so that one can say who hears whom.
const (
	customerTone = 500.0
	boTone       = 900.0
	cyTone       = 1300.0
	anaTone      = 1700.0
)

// toneMicrophone is a fake microphone that hums.
func toneMicrophone(t testing.TB, hz float64) string {
	path := filepath.Join(t.TempDir(), "tone.wav")
	voicetest.WriteWAV(t, path, voicetest.Sine(hz, 10*time.Second, 48000), 48000)
	return path
}

// among tells which of the tones are in the sound.
func among(sound []int16) (heard []float64) {
	for _, hz := range []float64{customerTone, boTone, cyTone, anaTone} {
		if voicetest.Tone(sound, voicetest.Rate, hz) > 0.12 {
			heard = append(heard, hz)
		}
	}
	return heard
}

// ear is the next half second of what somebody hears.
type ear func() []int16

func (b *browser) ear(page string) ear {
	return func() []int16 {
		b.t.Helper()
		b.do("hear", frame{"page": page})
		b.do("until", frame{"page": page, "js": "window.__heard.end >= 4000"})
		return b.heard(page)
	}
}

func phoneEar(t testing.TB, rtp *voicetest.RTP) ear {
	return func() []int16 {
		t.Helper()
		return listen(t, rtp, 500*time.Millisecond)
	}
}

// hearsOnly waits until an ear hears these tones and no other; without any: music, or the ringing tone.
func hearsOnly(t testing.TB, who string, e ear, want ...float64) {
	t.Helper()
	var got []float64
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		sound := e()
		if got = among(sound); slices.Equal(got, want) && (len(want) > 0 || voicetest.RMS(sound) > 100) {
			return
		}
	}
	t.Fatalf("%s hears %v, want %v", who, got, want)
}

// TestBrowserColleaguesAndSupervisor: a telephone, two agents and a supervisor, each with a Chromium of their own. A
// colleague is asked: refuses, is swapped, joins, is left, takes over. A supervisor listens, whispers, joins in, with two
// and with three. The caller is passed on to a colleague who does not answer and comes back, and to a queue; a chat to a
// colleague.
func TestBrowserColleaguesAndSupervisor(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	bo, cy, ana := chromium(t, toneMicrophone(t, boTone)), chromium(t, toneMicrophone(t, cyTone)), chromium(t, toneMicrophone(t, anaTone))
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	house := one[string](h, `select name from queues order by id limit 1`)
	for _, x := range []struct {
		b          *browser
		page, link string
	}{{bo, "bo", h.invited("bo", "Bo Lind", "agent")}, {cy, "cy", h.invited("cy", "Cy Dahl", "agent", house, "Tents")}, {ana, "ana", h.url + "/desk/#link=" + h.link}} {
		x.b.page(x.page, "about:blank", frame{"raw": true})
		x.b.desk(x.page, "signIn", x.link)
	}
	h.admin().call("PUT", "/api/queue-sounds/"+itoa(one[int64](h, `select min(id) from queues`)), frame{"record": true, "record_announce": false, "transcribe": false, "transcribe_announce": true, "whisper": false, "music_id": nil, "greeting_id": nil}, nil)
	bo.desk("bo", "setAvailable")
	phone := voicetest.NewPhone(t, "+4930111222", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	go call.RTP.Play(ctx, voicetest.ULaw(voicetest.Sine(customerTone, 5*time.Minute, voicetest.Rate)))
	call.RTP.Press(ctx, '0')
	bo.desk("bo", "acceptOffer")
	bo.desk("bo", "waitForPhone", "call")
	customer, boHears, cyHears, anaHears := phoneEar(t, call.RTP), bo.ear("bo"), cy.ear("cy"), ana.ear("ana")
	hearsOnly(t, "the customer", customer, boTone)
	bo.desk("bo", "pauseRecording")
	bo.look("bo", "recording-paused")
	bo.desk("bo", "resumeRecording")

	// a colleague who has all hands full: refused in words
	cy.desk("cy", "setAvailable")
	visitor := h.visitor("", 0)
	visitor.says("a human please")
	cy.desk("cy", "acceptOffer")
	if _, err := h.pool.Exec(ctx, `update agents set capacity = 1 where login = 'cy'`); err != nil {
		t.Fatal(err)
	}
	bo.desk("bo", "aimAt", "Cy Dahl", "", "Pass on now")
	bo.see("bo", "Cy Dahl is busy.")
	bo.look("bo", "pass-refused")
	bo.do("press", frame{"page": "bo", "keys": "Escape"})
	hearsOnly(t, "the customer, after a refusal", customer, boTone)

	// a chat goes to a colleague
	ana.desk("ana", "setAvailable")
	cy.click("cy", "button", "^Transfer$")
	cy.see("cy", "Note for the next agent")
	cy.look("cy", "chat-transfer")
	cy.do("press", frame{"page": "cy", "keys": "Escape"})
	cy.desk("cy", "transferTo", "Ana Brekke", "about a tent")
	ana.desk("ana", "acceptOffer")
	ana.desk("ana", "endConversation")
	ana.desk("ana", "closeConversation", "Solved", "")
	ana.desk("ana", "setAway")

	// consultation: declined, taken back, three-way, completed
	bo.desk("bo", "consult", "Cy Dahl")
	cy.desk("cy", "waitForAsk", "Bo Lind asks you")
	cy.look("cy", "asked")
	bo.desk("bo", "waitForThird", "Rings")
	bo.look("bo", "consult-rings")
	hearsOnly(t, "the customer, while it rings at the colleague", customer)
	cy.do("click", frame{"page": "cy", "within": "alertdialog", "role": "button", "name": "Decline"})
	bo.see("bo", "Cy declined. You are still with")
	bo.look("bo", "consult-declined")
	hearsOnly(t, "Bo, after Cy declined", boHears, customerTone)

	bo.desk("bo", "consult", "Cy Dahl")
	cy.desk("cy", "answerColleague", "Bo Lind")
	cy.desk("cy", "waitForPhone", "call")
	bo.desk("bo", "waitForThird", "You talk")
	hearsOnly(t, "Bo with Cy", boHears, cyTone)
	hearsOnly(t, "Cy with Bo", cyHears, boTone)
	hearsOnly(t, "the customer, on hold", customer)
	bo.look("bo", "consult-talk")
	cy.look("cy", "consulted-talk")
	bo.desk("bo", "third", "Swap")
	hearsOnly(t, "Bo, swapped", boHears, customerTone)
	hearsOnly(t, "the customer, swapped", customer, boTone)
	hearsOnly(t, "Cy, on hold", cyHears)
	cy.see("cy", "You are on hold")
	bo.look("bo", "consult-swapped")
	cy.look("cy", "consulted-held")
	bo.desk("bo", "third", "All three")
	hearsOnly(t, "Bo of three", boHears, customerTone, cyTone)
	hearsOnly(t, "the customer of three", customer, boTone, cyTone)
	hearsOnly(t, "Cy of three", cyHears, customerTone, boTone)
	bo.look("bo", "three")
	cy.look("cy", "three-consulted")
	bo.desk("bo", "third", "Back to")
	cy.see("cy", "Your colleague is back with the caller")
	hearsOnly(t, "the customer, Cy gone", customer, boTone)

	bo.desk("bo", "consult", "Cy Dahl")
	cy.desk("cy", "answerColleague", "Bo Lind")
	bo.desk("bo", "waitForThird", "You talk")
	bo.desk("bo", "third", "Complete")
	bo.see("bo", "Passed on")
	hearsOnly(t, "the customer, handed on", customer, cyTone)
	hearsOnly(t, "Cy, who has the call", cyHears, customerTone)
	h.eventually("the conversation is Cy's", `select exists (select from conversations c join agents a on a.id = c.agent_id where c.state = 'agent' and a.login = 'cy')`)
	cy.look("cy", "handed-on")

	// a supervisor, with two and with three
	ana.desk("ana", "showList", "All")
	ana.desk("ana", "openConversation", "30111222")
	ana.desk("ana", "listenTo")
	hearsOnly(t, "Ana, listening", anaHears, customerTone, cyTone)
	hearsOnly(t, "Cy, listened to", cyHears, customerTone)
	hearsOnly(t, "the customer, listened to", customer, cyTone)
	ana.look("ana", "supervise-listen")
	ana.desk("ana", "superviseAs", "Whisper")
	hearsOnly(t, "Cy, whispered to", cyHears, customerTone, anaTone)
	hearsOnly(t, "the customer, not whispered to", customer, cyTone)
	cy.see("cy", "Ana Brekke speaks to you.")
	cy.look("cy", "whispered-to")
	ana.desk("ana", "superviseAs", "Join in")
	hearsOnly(t, "the customer, all in", customer, cyTone, anaTone)
	hearsOnly(t, "Ana, all in", anaHears, customerTone, cyTone)
	cy.see("cy", "Ana Brekke is in the call.")
	cy.desk("cy", "consult", "Bo Lind")
	bo.desk("bo", "answerColleague", "Cy Dahl")
	cy.desk("cy", "waitForThird", "You talk")
	cy.desk("cy", "third", "All three")
	hearsOnly(t, "the customer of four", customer, boTone, cyTone, anaTone)
	hearsOnly(t, "Bo of four", boHears, customerTone, cyTone, anaTone)
	hearsOnly(t, "Cy of four", cyHears, customerTone, boTone, anaTone)
	hearsOnly(t, "Ana of four", anaHears, customerTone, boTone, cyTone)
	cy.look("cy", "four")
	ana.look("ana", "four-supervisor")
	ana.do("click", frame{"page": "ana", "role": "button", "name": "^Leave$"})
	ana.see("ana", "You have left the call")
	hearsOnly(t, "the customer, Ana gone", customer, boTone, cyTone)
	cy.desk("cy", "third", "Complete")
	hearsOnly(t, "the customer with Bo", customer, boTone)

	// passed on at once: nobody answers, and the caller is back with who passed them on; then to a queue
	if _, err := h.pool.Exec(ctx, `update queues set offer_seconds = 5`); err != nil {
		t.Fatal(err)
	}
	bo.desk("bo", "passOn", "Cy Dahl", "wants a tent")
	cy.desk("cy", "waitForOffer")
	if _, err := h.pool.Exec(ctx, `update queues set offer_seconds = 60`); err != nil { // of the next offers
		t.Fatal(err)
	}
	cy.shot("cy", "passed-offer")
	hearsOnly(t, "the customer, being passed on", customer)
	bo.desk("bo", "waitForOffer")
	bo.see("bo", "Back to you: nobody took over")
	bo.look("bo", "passed-back")
	bo.desk("bo", "acceptOffer")
	bo.desk("bo", "waitForPhone", "call")
	hearsOnly(t, "the customer, back with Bo", customer, boTone)
	cy.desk("cy", "setAvailable")
	bo.desk("bo", "passOn", "Tents")
	cy.desk("cy", "acceptOffer")
	cy.desk("cy", "waitForPhone", "call")
	hearsOnly(t, "the customer with the queue's agent", customer, cyTone)
	hearsOnly(t, "the queue's agent", cyHears, customerTone)
	cy.desk("cy", "hangUp")
	select {
	case <-call.Ended():
	case <-ctx.Done():
		t.Fatal("the agent's hanging up did not reach the customer")
	}
	h.eventually("the call is recorded, with its pause", `select exists (select from recordings where state = 'done' and seconds > 30 and marks::text like '%paused%')`)
}
