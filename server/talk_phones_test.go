package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/spoken"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// Callers who speak through other people's telephones, with voices that are none of ours, to the engines that we ship.

// openTalking runs a house that hears and speaks with its own engines, and returns when they are ready.
func openTalking(t *testing.T, more ...string) *testHouse {
	t.Helper()
	h := open(t, append(more, "PATCHBAY_SPEECH_MODELS="+speechtest.Folder(t))...)
	voicetest.Ready(t, h.house.speech)
	return h
}

// talkOf is one caller's conversation, found by a part of their address.
type talkOf struct {
	*testHouse
	from string
}

func (h talkOf) await(what, sql string) {
	h.t.Helper()
	h.eventually(what, `select exists (select from calls k join conversations c on c.id = k.conversation_id where k.from_address like '%' || $1 || '%' and `+sql+`)`, h.from)
}

// answered waits until so many answers were heard to their end.
func (h talkOf) answered(n int) {
	h.t.Helper()
	h.await("an answer was heard", fmt.Sprintf(`(select count(*) from messages m where m.conversation_id = c.id and author = 'ai' and data->>'cut' is null) >= %d`, n))
}

func (h talkOf) inLine() {
	h.t.Helper()
	h.await("the caller is in line", `c.state in ('waiting', 'offered') and exists (select from promises p where p.conversation_id = c.id and closed_at is null)`)
}

// check compares what the telephone heard, recognised back to text, with what the timeline says that the house has said.
func (h talkOf) check(heard string) {
	h.t.Helper()
	const texts = `select coalesce(string_agg(m.body, ' ' order by m.seq), '') from messages m join calls k on k.conversation_id = m.conversation_id
		where k.from_address like '%' || $1 || '%' and m.kind = 'text' and m.author = $2`
	caller, answer := one[string](h.testHouse, texts, h.from, "contact"), one[string](h.testHouse, texts, h.from, "ai")
	said := spoken.Text("en", answer+" "+dialogue.Phrase("en", "waiting"))
	lost, of := missing(heard, said)
	h.t.Logf("the house understood %q", caller)
	h.t.Logf("the telephone heard %q: %d of %d words are missing", heard, lost, of)
	if !strings.Contains(answer, "Saturday") {
		h.t.Errorf("understood %q, answered %q", caller, answer)
	}
	if low := strings.ToLower(heard); !strings.Contains(low, "person") || lost*3 > of {
		h.t.Errorf("%d of %d words are missing: heard %q, said %q", lost, of, heard, said)
	}
}

// missing counts the words of what was said that were not heard. Others may be there: what a telephone on a starved machine drops or
// adds is not ours.
func missing(heard, said string) (lost, of int) {
	words := speechtest.Words(said)
	for _, w := range words {
		if !slices.Contains(speechtest.Words(heard), w) {
			lost++
		}
	}
	return lost, len(words)
}

const (
	hoursQuestion = "What are your opening hours on Saturday?"
	spokenWish    = "I would like to talk to a real person please."
)

// TestOtherPhonesTalk: question, answer, wish and line, by a telephone of somebody else's make and with another engine's voice;
// what the telephone hears is what the timeline says.
func TestOtherPhonesTalk(t *testing.T) {
	t.Parallel()
	_, model := ollama(t, llmtest.Oracle)
	caller := speechtest.Foreign(t)
	h := openTalking(t, append(model, "PATCHBAY_SIP_TRUNKS=127.0.0.0/8")...)
	understand := voicetest.Understand(t, voicetest.Engines(t, nil))
	question, wish := caller.Says(t, hoursQuestion, voicetest.Rate), caller.Says(t, spokenWish, voicetest.Rate)

	t.Run("baresip", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
		defer cancel()
		phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "mira"})
		phone.Dial(ctx, "sip:100@"+h.sip)
		talk := talkOf{h, "mira"}
		phone.Listened(ctx)
		phone.Says(ctx, question)
		talk.answered(1)
		phone.Says(ctx, wish)
		talk.inLine()
		phone.Listen(ctx, 8*time.Second)
		phone.Hangup(ctx)
		phone.Close()
		talk.check(understand(phone.Heard(), voicetest.Rate))
	})
	t.Run("sipp", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
		defer cancel()
		xml, err := os.ReadFile("testdata/talker.xml")
		if err != nil {
			t.Fatal(err)
		}
		at := netip.MustParseAddr("127.0.0.6")
		ears := voicetest.Overhear(t, at)
		pause := make([]int16, 90*voicetest.Rate)
		res := voicetest.RunSIPp(ctx, t, voicetest.SIPpConfig{Scenario: string(xml), Target: netip.MustParseAddrPort(h.sip), Service: "100", Timeout: 80 * time.Second,
			Files: map[string][]byte{"question.ul": voicetest.ULaw(append(question, pause...)), "wish.ul": voicetest.ULaw(append(wish, pause...))},
			Args:  []string{"-m", "1", "-i", at.String(), "-mi", at.String()}})
		if res.Code != 0 {
			t.Fatalf("sipp: %d\n%s", res.Code, res.Output)
		}
		heard, _ := ears.Joined()
		talk := talkOf{h, "sipp"}
		talk.check(understand(heard, voicetest.Rate))
	})
}
