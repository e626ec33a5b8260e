package main

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"

	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
)

// TestRealOllamaTalks is one conversation by telephone in which nothing is scripted: a stranger's voice, the ear and the voice that we
// ship, the real Ollama as the house's child with a real small model. An answer is heard, and the wish for a
// person reaches the line. What the small model makes of the question is printed, not judged.
func TestRealOllamaTalks(t *testing.T) {
	binary, model := os.Getenv("PATCHBAY_TEST_OLLAMA"), os.Getenv("PATCHBAY_TEST_MODEL")
	if binary == "" || model == "" {
		t.Skip("SKIP: the real Ollama runs by deploy/ollama-test.sh")
	}
	caller := speechtest.Foreign(t)
	h := openTalking(t, "PATCHBAY_OLLAMA_BINARY="+binary, "PATCHBAY_OLLAMA_MODEL_FILE="+model, "PATCHBAY_OLLAMA_FIRST_TOKEN_SECONDS=30", "PATCHBAY_OLLAMA_TOTAL_SECONDS=60", "PATCHBAY_OLLAMA_PLACES=1")
	ctx, cancel := context.WithTimeout(t.Context(), 8*patience)
	defer cancel()
	wait(t, ctx, "a real model", func() bool { return strings.Contains(h.house.responder.Responder().Describe(), "smollm2") })
	phone := voicetest.NewPhone(t, "+4930778", netip.MustParseAddr("127.0.0.1"))
	c := &voicetest.Talker{T: t, Ctx: ctx, Call: phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})}
	talk := talkOf{h, "4930778"}
	c.Plays(make([]int16, 12*voicetest.Rate)) // the greeting
	c.Forget()
	c.Plays(append(caller.Says(t, hoursQuestion, voicetest.Rate), make([]int16, 40*voicetest.Rate)...))
	t.Log(one[string](h, `select coalesce(string_agg(author || ' (' || coalesce(data->>'mode', '') || '): ' || body, ' | ' order by seq), '') from messages where kind = 'text'`))
	t.Log(one[string](h, `select coalesce(string_agg(to_json(t)::text, ' '), '') from call_turns t`))
	heard, _ := c.RTP.Joined()
	text := voicetest.Understand(t, voicetest.Engines(t, nil))(heard, voicetest.Rate)
	t.Logf("the telephone heard %q", text)
	if one[int](h, `select count(*) from messages where author <> 'contact'`) == 0 || len(speechtest.Words(text)) < 5 {
		t.Errorf("no answer was heard: %q", text)
	}
	go c.Plays(append(caller.Says(t, spokenWish, voicetest.Rate), make([]int16, 5*voicetest.Rate)...))
	talk.inLine()
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	h.eventually("the call is over", `select not exists (select from calls where state <> 'ended')`)
}
