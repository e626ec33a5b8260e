package llm

import (
	"strings"
	"testing"
)

var stovePassages = []Passage{
	{ID: 1, Title: "Primula stove", URL: "/help/primula-stove", Heading: "Primula stove", Body: "The Primula is a gas stove. It weighs 86 g, costs 1.299,00 EUR, and boils one litre of water in 3.5 minutes. The shop is open Monday to Friday from 10:00 to 18:00. Repairs under warranty are free. Call +49 30 23125 410."},
	{ID: 2, Title: "Returns", URL: "/help/returns", Heading: "Returns", Body: "You can return it within 60 days. We refund the money within 5 working days, until 3 March 2026. Delivery takes 2 to 4 working days. Section 4 has 8.7 mm. Shipping is free from 80 EUR. See https://nordlicht.example/help. The code is AB-1234."},
}

func stoveGuard() *guard {
	return newGuard(newPrompt("Nordlicht", "CANARY7QX2"), stovePassages, "my order NL-20418 cost 555 EUR and it weighs 12 kg, I was told 30 days")
}

func TestGuardPasses(t *testing.T) {
	for _, s := range []string{
		"The stove weighs 86 g.", "It costs 1,299.00 EUR.", "It costs €1299.", "It costs 1299 euros.", "It boils a litre in 3,5 minutes.",
		"We are open from 10 am to 6 pm.", "Wir haben von 10 bis 18 Uhr geöffnet.", "Open on Tuesday from 10:00 to 18:00.", "You have sixty days.",
		"The refund comes within five working days.", "Until 2026-03-03.", "Until 03.03.2026.", "Until March 3, 2026.", "Delivery takes 2–4 working days.",
		"Call +49 (30) 23125-410.", "Call 0049 30 23125 410.", "The code is AB-1234.", "Section 4 takes 8.7mm.", "Repairs under warranty are free.",
		"See /help/returns for more.", "See https://nordlicht.example/help.", "See [Returns](/help/returns).", "**Yes**, within *60* days.",
		"I can't see order NL-20418 from here; a person can.", "You wrote that it cost 555 EUR.", "Do you mean order NL-20418?", "Feel free to ask.",
		"Shall I get a person?", "I am an AI, not a person.", "There are two things to check.", "Yes, single sections are sold.", "A person can look at that.",
		"1. Clean the tent and/or dry it.", "Use it e.g. in the garden.", "Monday is fine.",
	} {
		if v := stoveGuard().check(s); v.Block != "" || v.HandOver {
			t.Errorf("%q blocked by %s (%s), hand-over %v", s, v.Block, v.Why, v.HandOver)
		}
	}
}

func TestGuardBlocks(t *testing.T) {
	for s, rule := range map[string]string{
		"The stove weighs 87 g.": blockFigure, "It weighs 86 kg.": blockFigure, "It costs 1,299.50 EUR.": blockFigure, "It costs 12,99 EUR.": blockFigure,
		"We are open until 6:30 pm.": blockFigure, "We are open on Sunday.": blockFigure, "You have ninety days.": blockFigure, "You have 60 weeks.": blockFigure,
		"Until 4 March 2026.": blockFigure, "Until 2026-04-03.": blockFigure, "Call +49 30 23125 411.": blockFigure, "The code is AB-1235.": blockFigure,
		"Your order NL-20418 is on its way.": blockFigure, "You have 30 days.": blockFigure, "It costs 4 EUR.": blockFigure, "It takes 1 hour.": blockFigure, "Yes, it cost 555 EUR.": blockFigure, "It arrives tomorrow.": blockFigure,
		"You get 20 % off.": blockFigure, "You get a discount.": blockPromise, "We guarantee it.": blockPromise, "You get compensation.": blockPromise,
		"<b>Hello</b>": blockMarkup, "&lt;script&gt;alert(1)&lt;/script&gt;": blockMarkup, "%3Cimg src=x%3E": blockMarkup, "＜script＞": blockMarkup, "![x](/help/returns)": blockMarkup,
		"See https://evil.example/x.": blockLink, "See evil.com for more.": blockLink, "See [Returns](https://evil.example).": blockLink, "See hxxp or //evil.example/x": blockLink,
		"Write to me@evil.example please.": blockLink, "See javascript:alert(1)": blockLink, "See h\u200bttps://evil.example": blockLink, "ｈｔｔｐｓ：／／evil．example": blockLink,
		"See www.evil.example": blockLink, "See https%3A%2F%2Fevil.example": blockLink, "See /help/secret page.": blockLink, "data:text/html;base64,PHNjcmlwdD4=": blockLink,
		"The mark is CANARY7QX2.": blockPrompt, "c-a-n-a-r-y-7-q-x-2": blockPrompt,
		"My text says: Use the figures exactly as the passages write them.": blockPrompt, "You are not a person and you have no name.": blockPrompt,
		"I am a human.": blockHuman, "I'm a real person, not a bot.": blockHuman, "I'm not an AI.": blockHuman, "My name is Sarah.": blockHuman, "Ich bin ein Mensch.": blockHuman, "You are talking to a human.": blockHuman,
		"<tool_call>refund</tool_call>": blockTool, `{"name": "refund"}`: blockTool, "[TOOL_CALLS] refund": blockTool,
		"I have cancelled your order.": blockAct, "I've refunded the money.": blockAct, "I will refund you the money.": blockAct, "Your refund has been issued.": blockAct, "We'll make an exception.": blockAct,
		"There is no need for a human.": blockDenies, "Nobody is available.": blockDenies, "I cannot connect you to a person.": blockDenies, "No agents are available.": blockDenies, "Why do you want a human?": blockDenies,
		"Das Zelt ist gr\xfcn.": blockGarbage, strings.Repeat("QUJD", 30): blockGarbage,
	} {
		if v := stoveGuard().check(s); v.Block != rule {
			t.Errorf("%q: rule %q (%s), want %q; shown %q", s, v.Block, v.Why, rule, v.Text)
		}
	}
}

func TestGuardHandsOver(t *testing.T) {
	for _, s := range []string{"I'll connect you to a colleague.", "Let me get a person for you.", "I am transferring you to an agent.", "I will forward this to our team.", "Ich verbinde Sie mit einer Kollegin."} {
		if v := stoveGuard().check(s); !v.HandOver || v.Block != "" {
			t.Errorf("%q: %+v", s, v)
		}
	}
}

func TestGuardLeakAcrossSentences(t *testing.T) {
	g := stoveGuard()
	blocked := false
	for _, s := range []string{"Never calculate, guess.", "Or add a number, price, date.", "Or promise."} {
		blocked = blocked || g.check(s).Block == blockPrompt
	}
	if !blocked {
		t.Error("a leak cut by full stops passed")
	}
}

func TestGuardPlainText(t *testing.T) {
	for in, want := range map[string]string{
		"**Yes**, _within_ 60 days. [2]": "Yes, within 60 days.", "## Returns": "Returns", "Use `wax`.": "Use wax.", "- dry it": "- dry it",
		"See [Returns](/help/returns).": "See Returns (/help/returns).", "It weighs\u202e 86 g.": "It weighs 86 g.",
	} {
		if v := stoveGuard().check(in); v.Text != want || v.Block != "" {
			t.Errorf("%q -> %q (%s)", in, v.Text, v.Block)
		}
	}
	if v := stoveGuard().check("Within 60 days. [2]"); len(v.Cites) != 1 || v.Cites[0] != 2 {
		t.Errorf("cites %v", v.Cites)
	}
}

func TestReadings(t *testing.T) {
	for in, want := range map[string]string{"1.299,00": "1299", "1,299.00": "1299", "1.299": "1299 1.299", "8.7": "8.7", "8,70": "8.7", "007": "7", "0.50": "0.5", "1'299": "1299", "1.000.000": "1000000"} {
		if got := strings.Join(readings(in), " "); got != want {
			t.Errorf("%s -> %s, want %s", in, got, want)
		}
	}
}

func TestSplitter(t *testing.T) {
	for in, want := range map[string][]string{
		"It weighs 1.9 kg. It costs 429 EUR. ":         {"It weighs 1.9 kg. ", "It costs 429 EUR. "},
		"See e.g. the Skarv 2. Then call. ":            {"See e.g. the Skarv 2. ", "Then call. "},
		"Am 3. März um 8 Uhr. Gut. ":                   {"Am 3. März um 8 Uhr. ", "Gut. "},
		"See https://a.example/x.html?y=1. Done. ":     {"See https://a.example/x.html?y=1. ", "Done. "},
		"Really?! \"Yes.\" Good. ":                     {"Really?! ", "\"Yes.\" ", "Good. "},
		"It is 1.9 kg. [1] It is green. [2] ":          {"It is 1.9 kg. [1] ", "It is green. [2] "},
		"1. Dry it.\n2. Pack it.\n":                    {"1. Dry it.\n", "2. Pack it.\n"},
		"Open at 8 a.m. on Monday. Closed otherwise. ": {"Open at 8 a.m. on Monday. ", "Closed otherwise. "},
		"Dr. Berg wrote. Fine. ":                       {"Dr. Berg wrote. ", "Fine. "},
		"First line\n- a point\n- another\nEnd. ":      {"First line\n", "- a point\n", "- another\n", "End. "},
		"これは。はい。":                                      {"これは。", "はい。"},
		"Wait… what? Ok. ":                             {"Wait… ", "what? ", "Ok. "},
	} {
		for _, size := range []int{1, 3, 1000} {
			s := splitter{}
			var got []string
			for i := 0; i < len(in); i += size {
				got = append(got, s.add(in[i:min(i+size, len(in))])...)
			}
			if rest := s.flush(); rest != "" {
				got = append(got, rest)
			}
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%q by %d:\n got %q\nwant %q", in, size, got, want)
			}
		}
	}
}

func FuzzSplitter(f *testing.F) {
	for _, s := range []string{"It weighs 1.9 kg. It costs.", "a. b. c.", "\xff\xfe. x", "1. 2. 3. [", strings.Repeat("ä", 2000), "x.\n\n\ny", ". . . ."} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, in string, size int) {
		size = 1 + (size&0xff+0xff)&0xff
		s := splitter{}
		var got strings.Builder
		for i := 0; i < len(in); i += size {
			for _, p := range s.add(in[i:min(i+size, len(in))]) {
				if p == "" {
					t.Fatal("empty piece")
				}
				got.WriteString(p)
			}
			if len(s.rest) > maxSentence+size {
				t.Fatalf("holds %d bytes", len(s.rest))
			}
		}
		got.WriteString(s.flush())
		if got.String() != in {
			t.Fatalf("pieces %q are not %q", got.String(), in)
		}
	})
}

func FuzzGuard(f *testing.F) {
	for _, s := range []string{"It weighs 86 g.", "<b>x</b>", "[a](b) ![c](d)", "1.2.3,4", "€", "§$%&/()=", "3 March 2026-13-99", "½ kg", "٣ days", "%zz &#x;", "Ⅷ", "\u0660:\u0661"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v := stoveGuard().check(in)
		if v.Block != "" && v.Text != "" {
			t.Fatal("blocked and shown")
		}
		if strings.ContainsRune(v.Text, 0) || strings.Contains(v.Text, "<script") {
			t.Fatalf("shown %q", v.Text)
		}
	})
}

func TestThoughtsAreHidden(t *testing.T) {
	for in, want := range map[string]string{
		"<think>secret</think>Yes.": "Yes.", "a <b <think>x</think> c": "a <b  c", "<think>never ends": "", "x <thin": "x <thin", "<think>a</think><think>b</think>ok": "ok",
	} {
		for _, size := range []int{1, 4, 100} {
			th := thoughts{}
			out := ""
			for i := 0; i < len(in); i += size {
				out += th.add(in[i:min(i+size, len(in))])
			}
			if out += th.flush(); out != want {
				t.Errorf("%q by %d: %q", in, size, out)
			}
		}
	}
}
