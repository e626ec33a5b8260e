package main

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
	"patchbay/server/db/dbtest"
)

// speaksMessage is a caller in line who presses 3 and, after the tone, goes on speaking.
func (h *testHouse) speaksMessage(ctx context.Context, said []int16) *voicetest.Call {
	h.t.Helper()
	phone := voicetest.NewPhone(h.t, "+4930777999", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	<-call.RTP.HeardSome()
	call.RTP.Press(ctx, '0')
	h.eventually("the caller is in line", `select exists (select from conversations where state = 'waiting')`)
	call.RTP.Press(ctx, '3')
	h.eventually("the recording runs", `select exists (select from recordings where kind = 'voicemail' and state = 'recording')`)
	go call.RTP.Play(ctx, voicetest.ULaw(said))
	return call
}

// checkMessage demands that what the desk plays is what was said.
func (a *agentClient) checkMessage(recording int64, said []int16) {
	a.t.Helper()
	resp, whole := a.sound(recording, "")
	w, err := media.ReadWAV(whole)
	if resp.StatusCode != 200 || err != nil || w.Channels != 2 {
		a.t.Fatalf("%d: %v", resp.StatusCode, err)
	}
	var left []int16
	for i := 0; i+1 < len(w.Samples); i += 2 {
		left = append(left, w.Samples[i])
	}
	voicetest.Check(a.t, "the message", left, said, voiceOf(strangers))
}

// TestVoicemailStreet: nobody is at the desk; a caller leaves a message and hangs up. It stays in line, comes to the first
// agent who is there with its sound, and the promise is kept when they call back and speak.
func TestVoicemailStreet(t *testing.T) {
	t.Parallel()
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4930777999"})
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	h.admin().trunk("Fjordtel", customer.Addr(), "+4930")
	said := voiceOf(callerSeed)[:9*voicetest.Rate]
	call := h.speaksMessage(ctx, said)
	speaking := time.NewTimer(9500 * time.Millisecond)
	<-speaking.C
	if err := call.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.eventually("the call is over", `select exists (select from calls where state = 'ended' and result = 'completed')`)
	if !one[bool](h, `select state = 'waiting' and left_message = 'voicemail' and waiting_since is not null and exists (select from promises where closed_at is null) from conversations`) {
		t.Error("the message is not owed any more")
	}

	a := h.agent()
	o := a.offer()
	if o.str("left_message") != "voicemail" || o.str("channel") != "voice" {
		t.Errorf("offer %v", o)
	}
	a.accept(o)
	id := o.num("conversation_id")
	h.eventually("the agent has it", `select exists (select from conversations where state = 'agent')`)
	recording := one[int64](h, `select (data->>'recording_id')::bigint from messages where kind = 'voicemail' and author = 'contact' and channel = 'voice'`)
	a.checkMessage(recording, said)
	if n := one[int](h, `select count(*) from promises where closed_at is null`); n != 1 {
		t.Errorf("%d promises are open: reading is no answer", n)
	}
	if status, body := a.try("POST", "/api/conversations/"+itoa(id)+"/messages", frame{"client_id": clientID(), "body": "Hello"}); status != 422 && status != 400 {
		t.Errorf("writing to who is only on the phone: %d %s", status, body)
	}

	a.call("POST", "/api/calls", frame{"number": "+4930777999", "conversation_id": id}, nil)
	tab := a.connects(ctx)
	customer.Wait(ctx, "CALL_INCOMING")
	customer.Command(ctx, "accept", "")
	h.eventually("they are joined", `select exists (select from calls where direction = 'out' and state = 'bridged' and conversation_id = $1)`, id)
	if n := one[int](h, `select count(*) from promises where conversation_id = $1 and closed_at is null`, id); n != 1 {
		t.Errorf("%d promises open: being joined is no word", n)
	}
	go tab.Play(ctx, voicetest.ULaw(voiceOf(agentSeed)))
	voicetest.Check(t, "the customer hears the agent", customer.Listen(ctx, 8*time.Second), voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))
	h.eventually("the agent's word keeps the promise of the message", `select exists (select from promises where conversation_id = $1 and closed_by = 'agent' and broken_at is null)`, id)
	customer.Hangup(ctx)
	h.eventually("wrap-up, and nothing is owed any more", `select state = 'wrapup' and not exists (select from promises where closed_at is null) from conversations where id = $1`, id)
	var waits []frame
	if a.call("GET", "/api/line", nil, &waits); len(waits) != 0 {
		t.Errorf("still in line: %v", waits)
	}
}

// TestVoicemailSurvivesAKilledServer: the server is killed in the middle of a message. What was said until then becomes the
// message, and the promise stands.
func TestVoicemailSurvivesAKilledServer(t *testing.T) {
	t.Parallel()
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, dbtest.URL(t), env...)
	h.start()
	h.keepPort()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	h.speaksMessage(ctx, voiceOf(callerSeed))
	speaking := time.NewTimer(11 * time.Second)
	<-speaking.C
	h.kill()
	h.start()
	h.eventually("what was said is the message", `select exists (select from messages where kind = 'voicemail' and data->>'cut' = 'true' and (data->>'seconds')::int between 8 and 13)`)
	if !one[bool](h, `select state in ('waiting', 'offered') and left_message = 'voicemail' and (select count(*) = 1 from promises where closed_at is null) from conversations`) {
		t.Error("the message is not owed")
	}
	a := h.signIn(h.link)
	a.checkMessage(one[int64](h, `select id from recordings`), voiceOf(callerSeed))
	h.eventually("it is handed up once", `select count(*) = 1 from messages where kind = 'voicemail'`)
}

// TestVoicemailOfAKilledServerIsWrittenDown: as above, where callers are heard: the next process writes down what was said.
func TestVoicemailOfAKilledServerIsWrittenDown(t *testing.T) {
	t.Parallel()
	_, env := ollama(t, llmtest.Oracle)
	_, engines := talkers(t)
	h := process(t, dbtest.URL(t), append(env, engines...)...)
	h.start()
	h.keepPort()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	call := h.speaksMessage(ctx, nil)
	call.RTP.Play(ctx, voicetest.ULaw(append(speechtest.Voice("my stove leaks at the valve", voicetest.Rate), speechtest.Silence(3, voicetest.Rate)...)))
	h.kill()
	h.start()
	h.eventually("its words are the message's", `select exists (select from messages where kind = 'voicemail' and data->>'cut' = 'true' and body = 'my stove leaks at the valve')`)
	if n := one[int](h, `select count(*) from messages where kind = 'voicemail'`); n != 1 {
		t.Errorf("%d messages", n)
	}
}
