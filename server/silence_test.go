package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// The model is silent as soon as it is not wanted: Ollama sees its stream closed, nobody sees another word of it.

// talking opens a house whose model has begun to answer a visitor and goes on slowly.
func talking(t *testing.T) (*testHouse, *llmtest.Server, *visitor) {
	model, env := ollama(t, llmtest.Slow)
	model.SetPace(llmtest.Pace{Token: 100 * time.Millisecond})
	h := open(t, env...)
	v := h.visitor("", 0)
	v.says("How much does the Skarv 2 tent weigh?")
	h.requests(model, "the question did not reach the model", func(all []llmtest.Request) bool {
		return slices.ContainsFunc(all, func(r llmtest.Request) bool { return strings.Contains(r.Body, "tent weigh") }) // the first one warms up
	})
	return h, model, v
}

func (h *testHouse) requests(model *llmtest.Server, what string, ok func([]llmtest.Request) bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := model.Wait(ctx, "/api/chat", ok); err != nil {
		h.t.Fatalf("%s: %v; Ollama saw %+v", what, err, model.Requests("/api/chat"))
	}
}

// cut waits until Ollama has seen the stream closed before its end.
func (h *testHouse) cut(model *llmtest.Server) {
	h.t.Helper()
	h.requests(model, "the answer was not cancelled", func(all []llmtest.Request) bool {
		return slices.ContainsFunc(all, func(r llmtest.Request) bool { return r.Cancelled })
	})
}

func TestPersonTakesOverInMidAnswer(t *testing.T) {
	h, model, v := talking(t)
	a := h.agent()
	conv := one[int64](h, `select id from conversations`)
	a.call("POST", "/api/conversations/"+itoa(conv)+"/take", nil, nil)
	through := v.hears("who it is", event(channels.CodeThrough))
	h.cut(model)
	v.forget()
	a.replies(conv, "Ana here, 1.9 kg.")
	f := v.await("the person's words", func(f frame) bool {
		m := f.sub("message")
		return m != nil && m.str("kind") == "text" || f.str("type") == "draft" && f.str("text") != ""
	})
	if f.sub("message").str("author") != "agent" {
		t.Errorf("the model went on: %v", f)
	}
	if n := one[int](h, `select count(*) from messages where author = 'ai' and seq > $1`, through.num("seq")); n != 0 {
		t.Errorf("%d messages of the model after the person took over", n)
	}
}

func TestVisitorWritesOn(t *testing.T) {
	h, model, v := talking(t)
	model.SetMood(llmtest.Oracle)
	v.says("And how long can I send it back?")
	h.cut(model)
	v.hears("an answer to both", func(m frame) bool { return by("ai")(m) && m["cut"] == nil })
	if n := one[int](h, `select count(*) from messages where author = 'ai' and not coalesce((data->>'cut')::bool, false)`); n != 1 {
		t.Errorf("%d whole answers, want one", n)
	}
}

func TestVisitorEndsInMidAnswer(t *testing.T) {
	h, model, v := talking(t)
	if err := v.send(frame{"type": "end"}); err != nil {
		t.Fatal(err)
	}
	v.state(channels.Closed)
	h.cut(model)
}

// TestCallDeclinedAndMissed: the caller keeps the place and the music, and is offered again.
func TestCallDeclinedAndMissed(t *testing.T) {
	t.Parallel()
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	if _, err := h.pool.Exec(t.Context(), `update queues set offer_seconds = 5`); err != nil {
		t.Fatal(err)
	}
	a := h.agent()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	phone := voicetest.NewPhone(t, "+4930999", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	call.RTP.Press(ctx, '0')
	first := a.offer()
	if first.str("channel") != "voice" || first.str("contact_name") != "+4930999" {
		t.Errorf("offer %v", first)
	}
	a.call("POST", "/api/offers/"+itoa(first.num("id"))+"/decline", nil, nil)
	second := a.offer() // the only one present is asked again, and does not answer
	if end := a.await("missed", func(f frame) bool { return f.str("type") == "offer_ended" && f.num("offer_id") == second.num("id") }); end.str("outcome") != "missed" {
		t.Errorf("ended %v", end)
	}
	if rms := voicetest.RMS(listen(t, call.RTP, 2*time.Second)); rms < 100 {
		t.Errorf("the caller hears nothing while waiting: %.0f", rms)
	}
	if !one[bool](h, `select c.state = 'waiting' and c.front and k.state = 'waiting' from conversations c join calls k on k.conversation_id = c.id`) {
		t.Error("the caller is not at the front of the line")
	}
	a.available()
	if third := a.offer(); third.num("conversation_id") != first.num("conversation_id") {
		t.Errorf("offered again: %v", third)
	}
	if err := call.Bye(ctx); err != nil {
		t.Error(err)
	}
	h.eventually("the caller left, the offer is withdrawn, the promise is closed by the customer", `select not exists (select from offers where outcome is null)
		and exists (select from promises where closed_by = 'contact') and (select state from conversations) = 'closed'`)
}
