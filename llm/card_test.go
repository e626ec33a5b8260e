package llm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
)

// numbered numbers messages as the database does.
func numbered(messages ...channels.Message) []channels.Message {
	for i := range messages {
		messages[i].Seq = int64(i + 1)
		if messages[i].Kind == "" {
			messages[i].Kind = channels.Text
		}
	}
	return messages
}

func byContact(s string) channels.Message {
	return channels.Message{Author: channels.ByContact, Body: s}
}

func byAI(s string, titles ...string) channels.Message {
	m := channels.Message{Author: channels.ByAI, Body: s}
	for _, t := range titles {
		m.Data.Sources = append(m.Data.Sources, channels.Source{Title: t})
	}
	return m
}

func byAna(s string) channels.Message {
	return channels.Message{Author: channels.ByAgent, Body: s, Data: channels.MessageData{AgentName: "Ana"}}
}

func event(code, source string) channels.Message {
	due := time.Date(2026, 11, 22, 14, 41, 0, 0, time.UTC)
	return channels.Message{Author: channels.BySystem, Kind: channels.Happened, Data: channels.MessageData{Code: code, Source: source, DueAt: &due}}
}

// show is a card as lines: kind, text, messages.
func show(c channels.Card) (lines []string) {
	for _, l := range c.Lines {
		s := fmt.Sprintf("%s %s", l.Kind, l.Text)
		for _, more := range []string{l.Value, l.Address, l.Source, string(l.By)} {
			if more != "" {
				s += " | " + more
			}
		}
		if l.Claim {
			s += " (claim)"
		}
		if l.DueAt != nil {
			s += " by " + l.DueAt.Format("15:04")
		}
		lines = append(lines, fmt.Sprintf("%s %v", s, l.Seqs))
	}
	return lines
}

func TestCard(t *testing.T) {
	due := time.Date(2026, 11, 22, 14, 41, 0, 0, time.UTC)
	offered := byAI("I don't know that. Shall I get a person?")
	offered.Data.Reason = "offered"
	secret := channels.Message{Author: channels.ByAgent, Kind: channels.Note, Private: true, Body: "Wants a call back", Data: channels.MessageData{AgentName: "Ana"}}
	heardByMachine := channels.Message{Author: channels.ByContact, Kind: channels.Transcript, Private: true, Body: "I want a person"}
	for _, c := range []struct {
		name  string
		facts Facts
		want  []string
	}{
		{"nothing was said: a caller pressed 0", Facts{Address: channels.Address{Kind: channels.Phone, Value: "+4930123456"}, Identity: channels.Claimed, Due: &due,
			History: numbered(event(channels.CodeCallStart, ""), event(channels.CodeWaiting, "key"))},
			[]string{"who  | +4930123456 (claim) [1]", "identity Not verified | claimed []", "wish By the key 0 [2]", "promised A person answers by 14:41 [2]"}},
		{"a visitor without a word", Facts{Address: channels.Address{Kind: channels.Visitor, Value: "abc"}, Identity: channels.Unknown, History: numbered(event(channels.CodeWaiting, "button"))},
			[]string{"who A visitor of the website (claim) []", "identity Not verified | unknown []", "wish By the button [1]"}},
		{"question, answer, question, wish", Facts{Contact: channels.Contact{Name: "Jonas Falkenried"}, Identity: channels.Claimed, Due: &due,
			History: numbered(byContact("hi"), byContact("The sleeve split again, what does a section cost?"), byAI("A section costs 9 EUR. It takes a day.", "Spare parts"),
				byContact("Fine. Do you have one in stock?"), byContact("agent please"), event(channels.CodeWaiting, "words"))},
			[]string{"who Jonas Falkenried (claim) [1]", "identity Not verified | claimed []", "language English | en [1 2 4 5]", "mood Calm | calm [5]",
				"wish “agent please” (claim) [5 6]",
				"matter “The sleeve split again, what does a section cost?” (claim) [2]", "matter “Fine. Do you have one in stock?” (claim) [4]",
				"tried “A section costs 9 EUR.” | Spare parts | ai [2 3]", "promised A person answers by 14:41 [6]", "question “Do you have one in stock?” (claim) [4]"}},
		{"an answered question is not open", Facts{Contact: channels.Contact{Name: "Jo"}, Identity: channels.Claimed,
			History: numbered(byContact("Wie viel kostet das Zelt?"), byAI("Es kostet 9 EUR.", "Zelte"), byContact("Ich will einen Menschen sprechen"), event(channels.CodeWaiting, "words"))},
			[]string{"who Jo (claim) [1]", "identity Not verified | claimed []", "language German | de [1 3]", "mood Calm | calm [3]",
				"wish “Ich will einen Menschen sprechen” (claim) [3 4]", "matter “Wie viel kostet das Zelt?” (claim) [1]", "tried “Es kostet 9 EUR.” | Zelte | ai [1 2]"}},
		{"claims, anger, the AI did not know", Facts{Contact: channels.Contact{Name: "Jo"}, Identity: channels.Claimed,
			History: numbered(byContact("My name is Rosa Lindt, order NL-20418. THIS IS RIDICULOUS, WHERE IS IT??"), offered, event(channels.CodeNoAnswer, "unknown"))},
			[]string{"who Jo (claim) [1]", "identity Not verified. Says the name “Rosa Lindt”, the number “NL-20418”. | claimed (claim) [1]", "language English | en [1]",
				"mood Upset: capitals, “ridiculous” | upset [1]", "wish The AI did not know [3]",
				"matter “My name is Rosa Lindt, order NL-20418. THIS IS RIDICULOUS, WHERE IS IT??” (claim) [1]", "tried The AI did not know | ai [1 2]",
				"question “THIS IS RIDICULOUS, WHERE IS IT??” (claim) [1]"}},
		{"passed on: what the colleague said and promised", Facts{Contact: channels.Contact{Name: "Jo"}, Identity: channels.Claimed,
			History: numbered(byContact("The stove leaks"), byAna("Hello. We'll send a new valve on Friday."), byContact("And the refund?"), secret, event(channels.CodeTransfer, "transfer"))},
			[]string{"who Jo (claim) [1]", "identity Not verified | claimed []", "language English | en [1 3]", "mood Calm | calm [3]", "wish Passed on by a colleague [5]",
				"matter “The stove leaks” (claim) [1]", "matter “And the refund?” (claim) [3]", "tried “Hello. We'll send a new valve on Friday.” | Ana | agent [1 2]",
				"tried Note: “Wants a call back” | Ana | agent [4]", "promised “We'll send a new valve on Friday.” | Ana | agent [2]", "question “And the refund?” (claim) [3]"}},
		{"danger", Facts{Identity: channels.Unknown, History: numbered(byContact("There is a gas leak and I smell smoke, help"), event(channels.CodeWaiting, "safety"))}, nil},
		{"what was before the close, and what a machine wrote down, is not in it", Facts{Contact: channels.Contact{Name: "Jo"}, Identity: channels.Claimed,
			History: numbered(byContact("My tent burned"), event(channels.CodeClosed, ""), byContact("Ho bisogno di una fattura per la tenda"), heardByMachine)},
			[]string{"who Jo (claim) [3]", "identity Not verified | claimed []", "language Italian | it [3]", "mood Calm | calm [3]",
				"matter “Ho bisogno di una fattura per la tenda” (claim) [3]", "question “Ho bisogno di una fattura per la tenda” (claim) [3]"}},
		{"verified by code", Facts{Contact: channels.Contact{Name: "Jo"}, Identity: channels.Verified, History: numbered(byContact("My name is Boss"))}, nil},
	} {
		card := Card(c.facts)
		if got := show(card); c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got  %s\n want %s", c.name, strings.Join(got, "\n      "), strings.Join(c.want, "\n      "))
		}
		switch c.name {
		case "danger":
			if m := card.Find(channels.CardMood); m == nil || m.Value != moodDanger {
				t.Errorf("danger: %+v", show(card))
			}
		case "verified by code":
			if i := card.Find(channels.CardIdentity); i.Text != "Verified" || card.Find(channels.CardWho).Claim {
				t.Errorf("%+v", show(card))
			}
		}
		if raw, err := json.Marshal(card); err != nil || strings.Contains(string(raw), `"seqs":null`) {
			t.Errorf("%s: %s, %v", c.name, raw, err)
		}
	}
}

// TestCardOfAVoicemail: what a caller has left after the wish is what is open.
func TestCardOfAVoicemail(t *testing.T) {
	spoken := channels.Message{Author: channels.ByContact, Kind: channels.Voicemail, Body: "my stove leaks at the valve"}
	c := Card(Facts{History: numbered(event(channels.CodeCallStart, ""), event(channels.CodeWaiting, "key"), spoken)})
	if l := c.Find(channels.CardQuestion); l == nil || !strings.Contains(l.Text, "stove leaks") || l.Seqs[0] != 3 {
		t.Errorf("%v", show(c))
	}
}

func TestCardMasksAndBounds(t *testing.T) {
	c := Card(Facts{Contact: channels.Contact{Name: "Jo"}, Address: channels.Address{Kind: channels.Phone, Value: "+4930123456"}, Identity: channels.Claimed,
		History: numbered(byContact("My card 4111 1111 1111 1111 was charged twice, why?"), byContact(strings.Repeat("words ", 5000)))})
	raw, err := json.Marshal(c)
	if err != nil || strings.Contains(string(raw), "4111 1111") || !strings.Contains(string(raw), "•••• 1111") {
		t.Errorf("%s, %v", raw, err)
	}
	if len(raw) > 4000 {
		t.Errorf("%d bytes", len(raw))
	}
	if got := c.Masked().Lines[0].Address; got != "+493•••456" && got != "+493••••456" {
		t.Error(got)
	}
	if c.Lines[0].Address != "+4930123456" {
		t.Error("masking changed the card itself")
	}
}

func TestSummary(t *testing.T) {
	ai := byAI("9 EUR.", "Skarv 2 spare parts")
	for _, c := range []struct {
		history []channels.Message
		want    string
	}{
		{nil, NothingSaid},
		{numbered(byContact("hello"), byContact("I want a person")), NothingSaid},
		{numbered(byContact("hi"), byContact("The sleeve split again, what does a section cost?"), ai, byContact("Do you have one in stock?"), byContact("agent please")),
			"Says: “The sleeve split again, what does a section cost?”. Last: “Do you have one in stock?”. AI answered from “Skarv 2 spare parts”."},
		{numbered(byContact("My tent burned, I want to speak to a person.")), "Says: “My tent burned, I want to speak to a person.”. Not answered yet."},
	} {
		if got := Summary(Card(Facts{History: c.history})); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	long := Summary(Card(Facts{History: numbered(byContact(strings.Repeat("first words ", 90)), ai, byContact(strings.Repeat("last words ", 90)))}))
	if n := len([]rune(long)); n > summaryRunes {
		t.Errorf("%d runes", n)
	}
}

func FuzzCard(f *testing.F) {
	f.Add("My name is Jo Lind, NL-204", "4111111111111111 !!", "İ my name is")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		card := Card(Facts{History: numbered(byContact(a), byAI(b, c), byAna(c), byContact(b))})
		if raw, err := json.Marshal(card); err != nil || len(raw) > 40_000 {
			t.Fatal(len(raw), err)
		}
		Summary(card)
	})
}
