package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/spoken"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// talkers are the settings of a house whose callers talk with the responder: its ears and voice are a speech server that
// speaks and hears sound of known words.
func talkers(t *testing.T) (*speechtest.Server, []string) {
	s := speechtest.New(t)
	return s, []string{"PATCHBAY_SPEECH_REMOTE_URL=" + s.URL + "/v1", "PATCHBAY_SPEECH_REMOTE_HEAR_MODEL=ear", "PATCHBAY_SPEECH_REMOTE_SAY_MODEL=mouth",
		"PATCHBAY_SPEECH_REMOTE_LANGUAGES=en"}
}

// talker calls the house and hears the first words.
func (h *testHouse) talker(ctx context.Context, number string) *voicetest.Talker {
	h.t.Helper()
	phone := voicetest.NewPhone(h.t, number, netip.MustParseAddr("127.0.0.1"))
	c := &voicetest.Talker{T: h.t, Ctx: ctx, Call: phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{}), Voice: speechtest.Voice, Understand: speechtest.Understand}
	c.Hears("Hello,")
	return c
}

// TestCallerTalks: a caller asks, hears the knowledge base's answer, interrupts it, asks for a person in words, and is
// handed over; the timeline holds what was said and heard, in that order.
func TestCallerTalks(t *testing.T) {
	t.Parallel()
	_, ears := talkers(t)
	_, model := ollama(t, llmtest.Oracle)
	h := open(t, append(ears, model...)...)
	a := h.agent()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	c := h.talker(ctx, "+4930777")
	c.Says("how long can i send back a tent that i do not like")
	h.eventually("the first answer was heard", `select exists (select from messages where author = 'ai' and channel = 'voice' and data->>'cut' is null)`)
	answer := one[string](h, `select body from messages where author = 'ai'`)
	c.Hears(spoken.Text("en", answer))
	if !strings.Contains(answer, "30 days") && !strings.Contains(answer, "thirty") {
		t.Logf("the answer: %q", answer)
	}
	t.Log(one[string](h, `select to_json(t)::text from call_turns t`))
	c.Says("and when are you open on saturday")
	h.eventually("the second question is here", `select count(*) = 2 from messages where author = 'contact'`)
	c.Says("a human being please")
	c.Hears(dialogue.Phrase("en", "waiting"))
	h.eventually("a person is owed", `select state in ('waiting', 'offered') and exists (select from promises where closed_at is null) from conversations`)
	offer := a.offer()
	if offer.str("channel") != "voice" {
		t.Errorf("offer %v", offer)
	}
	rows := one[string](h, `select string_agg(author || ': ' || body, ' | ' order by seq) from messages where kind = 'text'`)
	t.Log(rows)
	if !strings.HasPrefix(rows, "contact: how long can i send back a tent that i do not like | ai: "+answer+" | contact: and when are you open on saturday") ||
		!strings.HasSuffix(rows, "contact: a human being please") {
		t.Errorf("timeline: %s", rows)
	}
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	h.eventually("the call is over", `select state = 'closed' from conversations`)
}
