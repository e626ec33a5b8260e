package human

import (
	"os"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
)

// table reads a file of marked lines and reports each line that is judged wrongly.
func table(t *testing.T, name string) (wishes, recalled, none, alarms int) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	unsure := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		text := line[2:]
		w := Read(text, Context{})
		switch line[0] {
		case '+':
			wishes++
			if w.Yes {
				recalled++
			} else {
				t.Logf("missed (unsure=%v): %s", w.Unsure, text)
			}
		case '-':
			none++
			if w.Yes {
				alarms++
				t.Logf("false alarm by %s %q: %s", w.Rule, w.Why, text)
			} else if w.Unsure {
				unsure++
				t.Logf("unsure by %s %q: %s", w.Rule, w.Why, text)
			}
		case '?':
			if !w.Yes && !w.Unsure {
				t.Errorf("not even unsure: %s", text)
			}
		default:
			t.Fatalf("bad line %q", line)
		}
	}
	t.Logf("recall %d/%d, false alarms %d/%d, asked in vain %d/%d", recalled, wishes, alarms, none, unsure, none)
	return wishes, recalled, none, alarms
}

func TestHumanTable(t *testing.T) {
	wishes, recalled, none, alarms := table(t, "testdata/human.txt")
	if recalled < wishes || alarms > 0 {
		t.Error("the table that the grammar was written with must hold whole")
	}
	if wishes+none < 150 {
		t.Errorf("table has only %d lines", wishes+none)
	}
}

func TestHumanSecondTable(t *testing.T) {
	wishes, recalled, none, alarms := table(t, "testdata/human-second.txt")
	if recalled*100 < wishes*95 || alarms > 0 {
		t.Errorf("recall %d of %d, false alarms %d of %d", recalled, wishes, alarms, none)
	}
}

// TestHumanUnseen measures; its bounds only stop it from getting worse. The goal, 95 % over 40 languages, needs more
// than this grammar.
func TestHumanUnseen(t *testing.T) {
	wishes, recalled, none, alarms := table(t, "testdata/human-unseen.txt")
	if recalled*100 < wishes*80 || alarms*100 > none*10 {
		t.Errorf("recall %d of %d, false alarms %d of %d", recalled, wishes, alarms, none)
	}
}

func TestHumanAfterAnOffer(t *testing.T) {
	offer := "I don't know that. Shall I get a person?"
	if !Offered(offer) || Offered("The tent weighs 1.9 kg.") || Offered("You are writing with an AI.") {
		t.Error("Offered does not tell our offer from other words")
	}
	for text, wish := range map[string]bool{
		"yes": true, "yes please": true, "Ja": true, "ja bitte!": true, "oui": true, "sí": true, "tak": true, "OK": true, "sure!!": true,
		"no": false, "no thanks": false, "nein danke": false, "non merci": false, "nee": false, "nie": false,
		"how much is it?": false, "what about the boots": false,
	} {
		if got := Read(text, Context{Offered: true}).Yes; got != wish {
			t.Errorf("after an offer %q: wish %v", text, got)
		}
		if wish && Read(text, Context{}).Yes {
			t.Errorf("without an offer %q is a wish", text)
		}
	}
	if !Refused("no thanks") || !Refused("Nein danke") || Refused("yes") || Refused("not the blue one, the red one") {
		t.Error("Refused")
	}
}

func TestSpelled(t *testing.T) {
	if got := strings.Join(spelled("call {me,us} {back,}"), "|"); got != "call me back|call me |call us back|call us " {
		t.Errorf("choices in braces: %q", got)
	}
	if got := spelled("call me"); len(got) != 1 || got[0] != "call me" {
		t.Errorf("without choices: %q", got)
	}
}

// Somebody named before is asked for by a pronoun; a pronoun that does something is not.
func TestHumanByPronoun(t *testing.T) {
	for text, wish := range map[string]bool{
		"Ich habe gestern mit Frau Krüger gesprochen, könnten Sie mich wieder zu ihr durchstellen": true,
		"Wczoraj rozmawiałem z panią Ewą, proszę mnie znów z nią połączyć.":                        true,
		"我正在跟我的会计说话，他需要什么资料":                                                                       false,
	} {
		if got := Read(text, Context{}).Yes; got != wish {
			t.Errorf("%q: wish %v", text, got)
		}
	}
}

func TestDeclined(t *testing.T) {
	for text, want := range map[string]bool{
		"I no longer need a person, go on":          true,
		"never mind the agent":                      true,
		"Ich brauche keinen Menschen mehr":          true,
		"je n'ai plus besoin d'un conseiller":       true,
		"no thanks":                                 false,
		"thanks":                                    false,
		"how much is the tent?":                     false,
		"I want a person":                           false,
		"Why can I no longer reach a person?":       false,
		"don't transfer me again, get me a person!": false,
	} {
		if got := Declined(text); got != want {
			t.Errorf("Declined(%q) = %v", text, got)
		}
	}
	if !Read("don't transfer me again, get me a person!", Context{}).Yes {
		t.Error("the wish beside the refusal was lost")
	}
}

// TestWhoWantsWhat holds one pair or two for each rule: the wish, and what looks like it.
func TestWhoWantsWhat(t *testing.T) {
	for text, want := range map[string]bool{
		"is Maria there?": true, "is Paris there in the catalogue of destinations?": false,
		"can I speak to Mrs. Fairweather": true, "Mrs. Fairweather lives next door": false,
		"I need Steve in accounts":         true,
		"who can I talk to about a refund": true, "who do I make the cheque out to": false,
		"is there someone I can moan to": true, "there is nobody I talked to": false,
		"can you transfer me": true, "can you transfer me 20 euros": false, "don't transfer me, just answer": false,
		"this is going nowhere hand me over": true, "please don't hand me over": false,
		"she told me to contact an agent": false, "they told me so but I want to speak to an agent": true,
		"my son wrote: I want a human, lol": false, "I wrote it twice. I want a human": true,
		"the mail says 'press 1 to speak with an agent', is it genuine?": false,
		"I don't think I need a human":                                   false, "you don't understand I need a human": true,
		"I refuse to talk to a machine": true, "my computer doesn't turn on": false, "I hate this computer": false,
		"you are a machine and I don't want a machine": true, "does your chatbot hand over to humans": false,
		"this bot is a joke real person now": true, "we need a room for 4 people now": false,
		"somebody please": true, "somebody stole my parcel": false,
		"I want a qualified person": true, "I want to rate an agent": false, "I want to send it to a person in Spain": false,
		"when can somebody call me": true, "stop calling me": false, "the callback function returns 404": false, "callback please": true,
	} {
		if got := Read(text, Context{}); got.Yes != want {
			t.Errorf("%q: wish %v by %s %q", text, got.Yes, got.Rule, got.Why)
		}
	}
}

// A wish must cost microseconds whatever is written (promise P1: under 5 ms).
func TestHumanIsFast(t *testing.T) {
	Load() // which takes its time, once
	texts := []string{strings.Repeat("I want to not talk to the ", 40000), strings.Repeat("a", 1<<20), strings.Repeat("ä'", 1<<18), strings.Repeat("want ", 1<<16)}
	for _, text := range texts {
		start := time.Now()
		Read(text, Context{})
		if d := time.Since(start); d > 3*time.Second { // milliseconds; minutes, were it to grow with the square of the length
			t.Errorf("%d bytes took %v", len(text), d)
		}
	}
}

func BenchmarkHuman(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Read("The zipper broke on day two, can I talk to somebody in repairs? My order is NL-20418.", Context{})
	}
}

func FuzzHuman(f *testing.F) {
	for _, s := range []string{"I want to talk to a human", "kein Bot", "l'agent", "AGENT!!", "\xff\x00 aaa", "İ ŉ ﷺ"} {
		f.Add(s, true)
		f.Add("", false)
		f.Add("...", false)
		f.Add("😡", true)
	}
	f.Fuzz(func(t *testing.T, text string, offered bool) {
		w := Read(text, Context{Offered: offered})
		if again := Read(text, Context{Offered: offered}); again != w {
			t.Fatalf("not the same twice: %+v %+v", w, again)
		}
		Declined(text)
		Refused(text)
		Agreed(text)
		Offered(text)
		Heard([]Said{{"ai", text}, {"customer", text}}, channels.Email)
	})
}
