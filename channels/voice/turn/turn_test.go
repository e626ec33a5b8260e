package turn

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// play runs a script against a machine. A step is "ms verb words": what happens then; what the machine does by itself
// comes at its deadlines. The result is what it did, with the time.
//
//	began [DB], level DB, paused, part WORDS, final WORDS, faint WORDS (a final of little confidence), key K,
//	ready, notice, filler, saying SENTENCE, quiet, settled, end
//
// The ear answers Finish and Look after 30 ms, or "slowear MS", with what "part" has told last until then, unless the script says "deafear".
func play(t *testing.T, cfg Config, script string) string {
	t.Helper()
	start := time.Unix(0, 0)
	m := New(cfg, start)
	var did []string
	var part string
	type answer struct {
		at    time.Time
		words string
		final bool
	}
	var answers []answer
	deaf, slow := false, 30*time.Millisecond
	note := func(at time.Time, acts []Act) {
		for _, a := range acts {
			text := fmt.Sprintf("%d %s", at.Sub(start).Milliseconds(), a.Do)
			if a.Words != "" {
				text += " " + a.Words
			}
			if a.Number {
				text += " (a number)"
			}
			if a.Why != "" {
				text += " " + a.Why
			}
			did = append(did, text)
			if (a.Do == Finish || a.Do == Look) && !deaf {
				answers = append(answers, answer{at.Add(slow), part, a.Do == Finish})
			}
			if a.Do == Finish && !deaf {
				part = ""
			}
		}
	}
	now := start
	until := func(to time.Time) {
		for {
			next := m.Deadline()
			if len(answers) > 0 && (next.IsZero() || !next.Before(answers[0].at)) && !answers[0].at.After(to) {
				a := answers[0]
				now, answers = a.at, answers[1:]
				if a.final {
					note(now, m.Heard(now, a.words, true, 0))
				} else {
					note(now, m.Looked(now, a.words, 0))
				}
				continue
			}
			if next.IsZero() || next.After(to) {
				now = to
				return
			}
			now = later(now, next)
			note(now, m.Tick(now))
		}
	}
	for line := range strings.Lines(script) {
		var ms int
		var verb string
		n, _ := fmt.Sscan(line, &ms, &verb)
		if n == 0 {
			continue
		}
		_, words, _ := strings.Cut(strings.TrimSpace(line), verb)
		words = strings.TrimSpace(words)
		at := start.Add(time.Duration(ms) * time.Millisecond)
		until(at)
		switch verb {
		case "began":
			note(at, m.Began(at, number(words)))
		case "level":
			m.Level(number(words))
		case "paused":
			note(at, m.Paused(at))
		case "part":
			part = words
			note(at, m.Heard(at, words, false, 0))
		case "hears": // words that the ear will tell when it is asked
			part = words
		case "final":
			part = ""
			note(at, m.Heard(at, words, true, 0.9))
		case "faint":
			part = ""
			note(at, m.Heard(at, words, true, 0.1))
		case "deafear":
			deaf = true
		case "slowear":
			slow = time.Duration(number(words)) * time.Millisecond
		case "key":
			note(at, m.Key(at, words[0]))
		case "ready":
			note(at, m.Ready(at, Answer))
		case "notice":
			note(at, m.Ready(at, Notice))
			m.Saying(at, words, Notice)
		case "filler":
			note(at, m.Ready(at, Filler))
			m.Saying(at, words, Filler)
		case "saying":
			m.Saying(at, words, Answer)
		case "quiet":
			note(at, m.Quiet(at))
		case "settled":
			note(at, m.Settled(at))
		case "echoes":
			m.Echoes()
		case "over":
			m.Over(true, at)
		case "end":
		default:
			t.Fatalf("no such step: %s", line)
		}
	}
	return strings.Join(did, "; ")
}

// number is a loudness of a script; none: 0.
func number(text string) float64 {
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

func TestTurns(t *testing.T) {
	streaming := Config{Language: "en", Partial: true}
	whole := Config{Language: "en"} // an engine that hears whole utterances
	speaking := "0 ready\n0 saying We are open from nine to five on weekdays.\n"
	for name, test := range map[string]struct {
		cfg    Config
		script string
		want   string
	}{
		"a finished question ends soon": {streaming, "100 began\n900 part what are your opening hours\n1000 paused\n1500 end",
			"1350 finish; 1380 take what are your opening hours"},
		"a statement has a moment": {streaming, "100 began\n900 part i bought a tent last week\n1000 paused\n2000 end",
			"1700 finish; 1730 take i bought a tent last week"},
		"yes is enough": {streaming, "0 ready\n0 saying Shall I go on?\n500 quiet\n500 settled\n600 began\n800 part yes\n850 paused\n1500 end",
			"0 speak; 1200 finish; 1230 take yes"},
		"and waits": {streaming, "100 began\n900 part i need a tent and\n1000 paused\n2500 began\n2900 part i need a tent and two poles\n3000 paused\n4000 end",
			"3700 finish; 3730 take i need a tent and two poles"},
		"my number is waits": {streaming, "100 began\n900 part my number is\n1000 paused\n2900 end", ""},
		"digits wait":        {streaming, "100 began\n900 part it is four nine two\n1000 paused\n2400 end\n2600 end", "2500 finish; 2530 take it is four nine two"},
		"digits that were asked for wait, one too": {streaming,
			"0 ready\n0 saying What is your order number?\n500 quiet\n500 settled\n600 began\n800 part four nine double two oh\n900 paused\n3000 end",
			"0 speak; 2400 finish; 2430 take four nine double two oh (a number)"},
		"a comma of the recogniser waits": {streaming, "100 began\n900 part Well, I have a tent,\n1000 paused\n2900 end", ""},
		"zero is the key":                 {streaming, "100 began\n300 part zero\n400 paused\n2000 end", "1100 finish; 1130 take 0"},
		"goes on while the last words are asked for": {streaming,
			"100 began\n900 part can you tell me\n1000 paused\n1360 began\n1900 part your address\n2000 paused\n3000 end",
			"1350 finish; 2350 finish; 2380 take can you tell me your address"},
		"an ear that is silent at the end": {streaming, "0 deafear\n100 began\n900 part what is it\n1000 paused\n9400 end", "1350 finish; 9350 take what is it; 9350 fill"},
		"last words that come late": {streaming, "0 slowear 3000\n100 began\n900 part can you tell me\n1000 paused\n1100 hears can you tell me your address\n5000 end",
			"1350 finish; 4350 take can you tell me your address"},
		"last words that come very late": {streaming, "0 slowear 5000\n100 began\n900 part can you tell me\n1000 paused\n1100 hears can you tell me your address\n7000 end",
			"1350 finish; 6350 take can you tell me your address; 6350 fill"},
		"goes on, and the words before come late": {streaming, "0 slowear 3000\n100 began\n900 part can you tell me\n1000 paused\n2000 began\n3000 paused\n3000 hears your address\n7400 end",
			"1350 finish; 4350 finish; 7350 take can you tell me your address; 7350 fill"},
		"an ear that does not know partial words is late": {whole, "0 slowear 3000\n100 began\n900 hears what do you sell\n1000 paused\n1300 began\n2500 paused\n2500 hears in summer\n8500 end",
			"1100 finish; 4100 finish; 7100 take what do you sell in summer; 7100 fill"},
		"words that come when we have gone on without them are no second turn": {streaming, "0 slowear 9000\n100 began\n900 part what is it\n1000 paused\n11000 end",
			"1350 finish; 9350 take what is it; 9350 fill"},
		"but what is new in them is": {streaming, "0 slowear 9000\n100 began\n900 part what is it\n1000 paused\n1100 hears What is it that you sell?\n11200 end",
			"1350 finish; 9350 take what is it; 9350 fill; 10700 finish"},
		"late words of a sound that held us are not all of the next": {streaming, "0 slowear 3000\n" + speaking + "1000 began\n1300 hears no\n1350 paused\n3500 began\n3900 hears what does it cost\n4000 paused\n7200 end",
			"0 speak; 1040 hold; 1450 finish; 2950 resume; 3540 hold; 4100 finish; 4450 cut; 7100 take no what does it cost"},
		"a cough does not keep us, though the ear is late": {streaming, "0 slowear 3000\n100 final what is it\n3700 began\n3900 paused\n3950 ready\n6000 end",
			"450 finish; 3450 take what is it; 4000 finish; 5500 speak"},
		"words without a sound told": {streaming, "500 final what do you sell\n1500 end", "850 finish; 880 take what do you sell"},

		"noise is no turn":              {streaming, "100 began\n300 paused\n2000 end", "400 finish"},
		"a murmur is not understood":    {streaming, "100 began\n1300 paused\n2000 end", "1400 finish; 1430 again no_match"},
		"twice not understood":          {streaming, "100 began\n1300 paused\n3000 began\n4500 paused\n5000 end", "1400 finish; 1430 again no_match; 4600 finish; 4630 person no_match"},
		"faint words are not words":     {streaming, "100 began\n500 deafear\n1300 paused\n1410 faint blue mouse\n2000 end", "1400 finish; 1410 again no_match"},
		"noise without end":             {streaming, "100 began\n25000 end", "10100 again no_match; 20100 person no_match"},
		"silence asks once":             {streaming, "20000 end", "8000 again silence; 16000 person silence"},
		"silence after our question":    {streaming, "0 ready\n1000 quiet\n1000 settled\n20000 end", "0 speak; 9000 again silence; 17000 person silence"},
		"words end the silence's count": {streaming, "9000 began\n9500 part hello\n9600 paused\n12000 settled\n21000 end", "8000 again silence; 10300 finish; 10330 take hello; 11830 fill; 20000 again silence"},
		"never stops": {streaming, "100 began\n5000 part and another thing\n39000 part and another thing and one more\n45000 part then\n79000 part and so on\n90000 end",
			"40100 finish; 40130 take and another thing and one more; 80130 take and so on; 80130 person no_match"},
		"over: nothing is given up, words are taken": {streaming, "0 over\n30000 began\n30500 part how long does it take\n30600 paused\n45000 end", "30950 finish; 30980 take how long does it take"},

		"slow: filler, then a person": {streaming, "100 final what is it\n30000 end", "450 finish; 480 take what is it; 1980 fill; 10480 person failure"},
		"an answer in time":           {streaming, "100 final what is it\n1500 ready\n9000 end", "450 finish; 480 take what is it; 1500 speak"},
		"a filler is followed": {streaming, "100 final what is it\n1990 filler One moment.\n2900 quiet\n3000 ready\n4000 quiet\n4000 settled\n5000 end",
			"450 finish; 480 take what is it; 1980 fill; 1990 speak; 3000 speak"},
		"a filler does not stop the clock": {streaming, "100 final what is it\n1990 filler One moment.\n2900 quiet\n11000 end",
			"450 finish; 480 take what is it; 1980 fill; 1990 speak; 10480 person failure"},
		"an answer that stands still": {streaming, "100 final what is it\n1000 ready\n1000 saying It is a tent.\n2000 quiet\n20000 end",
			"450 finish; 480 take what is it; 1000 speak; 3500 fill; 12000 person failure"},
		"goes on while we think": {streaming, "100 final what is it\n600 began\n900 ready\n1200 part that red one\n1300 paused\n2200 end",
			"450 finish; 480 take what is it; 2000 finish; 2030 take that red one"},
		"coughs while we think": {streaming, "100 final what is it\n600 began\n800 paused\n850 ready\n1200 end",
			"450 finish; 480 take what is it; 900 finish; 930 speak"},

		"words stop us": {streaming, speaking + "1000 began\n1400 part no i mean\n1900 part no i mean the shop\n2000 paused\n3000 end",
			"0 speak; 1040 hold; 1400 cut; 2700 finish; 2730 take no i mean the shop"},
		"one word stops us when it is final": {streaming, speaking + "1000 began\n1300 part stop\n1350 paused\n3000 end",
			"0 speak; 1040 hold; 1450 finish; 1480 cut; 2050 take stop"},
		"mm-hm does not": {streaming, speaking + "1000 began\n1200 part mm-hm\n1350 paused\n3000 end",
			"0 speak; 1040 hold; 1450 finish; 1480 resume"},
		"okay does not": {streaming, speaking + "1000 began\n1300 part okay\n1350 paused\n3000 end", "0 speak; 1040 hold; 1450 finish; 1480 resume"},
		"noise again and again does not keep us": {streaming, speaking +
			"1000 began\n1500 paused\n2000 began\n2500 paused\n3000 began\n3500 paused\n4000 began\n4500 paused\n5000 end",
			"0 speak; 1040 hold; 1600 finish; 1630 resume; 2040 hold; 2600 finish; 2630 resume; 3040 hold; 3600 finish; 3630 resume; 4600 finish"},
		"an ear that fails while the caller stops us": {streaming, "0 deafear\n" + speaking + "1000 began\n2200 paused\n2310 faint blue mouse\n3000 end",
			"0 speak; 1040 hold; 2300 finish; 2310 cut; 2310 again no_match"},
		"words that come late are weighed then": {whole, "100 began\n900 hears my number is\n1000 paused\n2950 end", "1100 finish"},
		"and taken without asking again":        {whole, "100 began\n900 hears my number is\n1000 paused\n3500 end", "1100 finish; 3000 take my number is"},
		"a click does not even hold us":         {streaming, speaking + "1000 began\n1020 paused\n3000 end", "0 speak; 1120 finish"},
		"a cough does not":                      {streaming, speaking + "1000 began\n1300 paused\n3000 end", "0 speak; 1040 hold; 1400 finish; 1430 resume"},
		"music behind the caller does not": {streaming, speaking + "1000 began\n9000 paused\n9500 end",
			"0 speak; 1040 hold; 2500 resume; 9100 finish"},
		"music goes on when we have spoken": {streaming, "0 ready\n0 saying We are open.\n1000 began\n9000 quiet\n9000 settled\n18000 end", "0 speak; 1040 hold; 2500 resume"},
		"an answer is given over music":     {streaming, "100 final what is it\n700 began\n1000 ready\n4000 end", "450 finish; 480 take what is it; 2200 speak"},
		"words behind music do":             {streaming, speaking + "1000 began\n4000 part please stop\n4500 end", "0 speak; 1040 hold; 2500 resume; 4000 cut"},
		"a caller who says our words does": {streaming, speaking + "3000 began\n3300 part open from\n3500 part open from nine\n3600 paused\n5000 end",
			"0 speak; 3040 hold; 3300 cut; 4300 finish; 4330 take open from nine"},
		"our own words from a loudspeaker do not, when the line is known": {streaming, "0 echoes\n" + speaking + "3000 began\n3300 part open from\n3500 part open from nine\n3600 paused\n4500 end",
			"0 speak; 3040 hold; 3700 finish; 3730 resume"},
		"our own first words from a loudspeaker do not": {streaming, speaking + "1000 began\n1300 part open from\n1500 part open from nine\n1600 paused\n2500 end",
			"0 speak; 1040 hold; 1700 finish; 1730 resume"},
		"yes into our question is an answer": {streaming, "0 ready\n0 saying Would you like that?\n1000 began\n1200 part yes\n1300 paused\n3000 end",
			"0 speak; 1040 hold; 1400 finish; 1430 cut; 1650 take yes"},
		"an engine without partial words: a long sound": {whole, speaking + "1000 began\n1800 hears i have\n2500 paused\n2500 hears i have a question\n4000 end",
			"0 speak; 1040 hold; 1900 look; 1930 cut; 2600 finish; 3200 take i have a question"},
		"an engine without partial words: one long word":                   {whole, speaking + "1000 began\n1800 hears stop\n2000 end", "0 speak; 1040 hold; 1900 look; 1930 cut"},
		"an engine without partial words: a long mm-hm":                    {whole, speaking + "1000 began\n1800 hears mm-hm\n2100 paused\n3000 end", "0 speak; 1040 hold; 1900 look; 1930 resume; 2200 finish"},
		"an engine without partial words that does not look":               {whole, "0 deafear\n" + speaking + "1000 began\n4000 end", "0 speak; 1040 hold; 1900 look; 3400 cut"},
		"an engine without partial words that looks for too long":          {whole, "0 slowear 2000\n" + speaking + "1000 began\n1800 hears stop it\n5000 end", "0 speak; 1040 hold; 1900 look; 3400 cut"},
		"an engine without partial words: music behind the caller":         {whole, speaking + "1000 began\n5500 paused\n6000 end", "0 speak; 1040 hold; 1900 look; 1930 resume; 3900 look; 5600 finish"},
		"an engine without partial words: words behind music":              {whole, speaking + "1000 began\n3000 hears please stop\n4500 end", "0 speak; 1040 hold; 1900 look; 1930 resume; 3900 look; 3930 cut"},
		"an engine without partial words: an answer over music":            {whole, "100 final what is it\n700 began\n1000 ready\n3000 end", "200 finish; 450 take what is it; 1600 look; 1630 speak"},
		"an engine without partial words: an answer that waits for words":  {whole, "100 final what is it\n700 began\n1000 ready\n1500 hears in your\n4000 end", "200 finish; 450 take what is it; 1600 look"},
		"an engine without partial words: its own turn is not looked into": {whole, "100 began\n9000 paused\n9000 hears i have bought a tent\n10000 end", "9100 finish; 9700 take i have bought a tent"},
		"an engine without partial words: noise without end":               {whole, "100 began\n25000 end", "10100 look; 10130 again no_match; 20130 look; 20160 person no_match"},
		"an engine without partial words: a long story": {whole, "100 began\n9000 hears i have bought\n13000 paused\n13000 hears i have bought a tent\n15000 end",
			"10100 look; 13100 finish; 13700 take i have bought a tent"},
		"an engine without partial words: a short one": {whole, speaking + "1000 began\n1300 hears right\n1300 paused\n4000 end",
			"0 speak; 1040 hold; 1400 finish; 1430 resume"},
		"a notice is not stopped, its listener is heard": {streaming,
			"0 notice I am getting a colleague.\n500 began\n1000 part how long will it take\n1100 paused\n2000 quiet\n2900 end",
			"0 speak; 1450 finish; 1480 take how long will it take"},

		"keys of a number": {streaming, "0 ready\n0 saying What is your order number?\n500 key 4\n900 key 7\n1200 key 1\n4000 end",
			"0 speak; 500 cut; 3700 take 471 (a number)"},
		"the hash ends them": {streaming, "500 key 4\n900 key 7\n1000 key #\n2000 end", "1000 take 47"},
		"keys in the middle of words": {streaming, "100 began\n800 part my order is\n900 key 4\n1200 key 2\n1300 paused\n5000 end",
			"3800 finish; 3830 take my order is 42"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := play(t, test.cfg, test.script); got != test.want {
				t.Errorf("did  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestWeight(t *testing.T) {
	for text, want := range map[string]weight{
		"what is your address": complete, "is it open": complete, "yes": complete, "no thanks": complete, "Where are you?": complete, "Is it possible to pay by?": open, "Do you have it in a?": open, "that's all": complete,
		"i bought it": open, "hello": open, "hi there": open,
		"i would like to": unfinished, "um": unfinished, "the tent and": unfinished, "what is the": unfinished, "my name is": unfinished, "one moment...": unfinished,
		"four nine": spelling, "it's m a r": spelling, "0 1 5 2": spelling, "01522": spelling, "number four": open,
	} {
		if got := lexiconOf("en-GB").weigh(text, false); got != want {
			t.Errorf("%q weighs %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]weight{"meine nummer ist": unfinished, "wann haben sie geöffnet": complete, "vier neun": spelling, "ja bitte": complete} {
		if got := lexiconOf("de").weigh(text, false); got != want {
			t.Errorf("%q weighs %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]weight{"il mio numero è": unfinished, "quando aprite la domenica": complete, "quattro nove": spelling, "sì grazie": complete, "Posso pagare con?": open} {
		if got := lexiconOf("it").weigh(text, false); got != want {
			t.Errorf("%q weighs %d, want %d", text, got, want)
		}
	}
	if got := lexiconOf("xx").weigh("1 2", false); got != spelling {
		t.Errorf("digits of an unknown language weigh %d", got)
	}
}

// FuzzMachine: whatever comes in whatever order, the machine never stands still: it has a deadline, or is told to be
// quiet about a caller who is in line, or we speak.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("bpwfrsqtk"))
	f.Fuzz(func(t *testing.T, events []byte) {
		at := time.Unix(0, 0)
		m := New(Config{Language: "en", Partial: true}, at)
		speaks := false
		see := func(acts []Act) {
			for _, a := range acts {
				switch a.Do {
				case Speak:
					speaks = true
				case Cut:
					speaks = false
				case Take:
					if strings.TrimSpace(a.Words) == "" {
						t.Fatal("an empty turn")
					}
				}
			}
		}
		for _, e := range events {
			at = at.Add(time.Duration(e) * 3 * time.Millisecond)
			see(m.Tick(at))
			switch e % 13 {
			case 0:
				see(m.Began(at, -float64(e)/4))
			case 10:
				m.Level(-float64(e) / 3)
			case 11:
				m.Stranger()
			case 12:
				see(m.Looked(at, "", 0))
			case 1:
				see(m.Paused(at))
			case 2:
				see(m.Heard(at, "what is it", false, 0))
			case 3:
				see(m.Heard(at, "and so", true, 0))
			case 4:
				see(m.Heard(at, "", true, 0))
			case 5:
				see(m.Ready(at, Answer))
			case 6:
				see(m.Ready(at, Notice))
			case 7:
				if speaks {
					speaks = false
					see(m.Quiet(at))
				}
			case 8:
				see(m.Settled(at))
			case 9:
				see(m.Key(at, '0'+e%10))
			}
			if m.Deadline().IsZero() && !speaks && !m.over {
				t.Fatalf("stands still: %+v", m)
			}
		}
	})
}
