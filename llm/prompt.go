package llm

import (
	"embed"
	"fmt"
	"strings"
	"sync"

	"patchbay/channels"
	"patchbay/channels/sentences"
	"patchbay/llm/human"
)

//go:embed prompts/*.txt
var promptFiles embed.FS

// Bounds of what goes to the model: on a processor each hundred tokens of prompt cost about a second.
const (
	historyMessages = 4
	historyRunes    = 240
	questionRunes   = 1200
	passageCount    = 3
)

// prompt is the instruction part. It never holds a customer's word, and it is the same for every turn, so that the
// model's cache keeps it.
type prompt struct {
	system string
	canary string
	runs   map[string]bool // its runs of words, for the guard
}

// said is one message to the model.
type said struct{ Role, Content string }

func newPrompt(company, canary string) prompt {
	if company == "" {
		company = "this company"
	}
	text := strings.NewReplacer("{{company}}", company, "{{canary}}", canary).Replace(file("system"))
	runs := wordRuns(text)
	for r := range wordRuns(file("again")) {
		runs[r] = true
	}
	return prompt{system: strings.TrimSpace(text), canary: canary, runs: runs}
}

// messages puts a turn together: the instructions, what was said, and last the passages with the customer's words
// behind them. Passages stand in the customer's turn because small models read them there best.
func (p prompt) messages(t Turn, passages []Passage, again bool) []said {
	out := []said{{"system", p.system}}
	out = append(out, history(t.History, t.Question)...)
	var b strings.Builder
	b.WriteString("Passages:\n")
	for i, s := range passages {
		fmt.Fprintf(&b, "[%d] %s\n%s\n\n", i+1, s.Heading, s.Body)
	}
	if again {
		b.WriteString(strings.TrimSpace(file("again")) + "\n\n")
	}
	b.WriteString("Customer: " + bounded(cleaned(t.Question), questionRunes))
	return append(out, said{"user", b.String()})
}

// history is the last words of both sides, shortened; private lines and events are not the customer's to hear again.
func history(all []channels.Message, question string) []said {
	var out []said
	for i := len(all) - 1; i >= 0 && len(out) < historyMessages; i-- {
		m := all[i]
		if m.Private || m.Kind != channels.Text || strings.TrimSpace(m.Body) == "" {
			continue
		}
		if m.Author == channels.ByContact && m.Body == question && len(out) == 0 {
			continue // the question itself
		}
		role := "assistant"
		if m.Author == channels.ByContact {
			role = "user"
		}
		out = append([]said{{role, short(cleaned(m.Body), historyRunes)}}, out...)
	}
	return out
}

// short cuts at a word's end.
func short(s string, runes int) string {
	s = strings.Join(strings.Fields(s), " ")
	r := []rune(s)
	if len(r) <= runes {
		return s
	}
	cut := string(r[:runes-1])
	if i := strings.LastIndexByte(cut, ' '); i > runes/2 {
		cut = cut[:i]
	}
	return cut + "…"
}

func file(name string) string {
	data, err := promptFiles.ReadFile("prompts/" + name + ".txt")
	if err != nil {
		panic(err)
	}
	return string(data)
}

// lines reads "key: value" files.
func lines(name string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(file(name)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			out[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return out
}

// What the house says by itself to a greeting, to thanks, to "are you human", and when it has no answer.
var (
	saysHello   = sentences.Say("Hello! I am an AI and answer from our own pages. What can I look up for you? If you would rather have a person, just say so.")
	saysThanks  = sentences.Say("You're welcome. Is there anything else?")
	saysAI      = sentences.Say("I am an AI, not a person. If you would like a person, just say so or use the button.")
	saysUnknown = sentences.Say("I don't know that. Shall I get a person?")
	saysRest    = sentences.Say("For the rest I have no source. I am getting a person.")

	answers = map[string]sentences.Said{"hello": saysHello, "thanks": saysThanks, "ai": saysAI}
)

// heard maps a greeting, thanks or "are you human" to language and kind.
var heard = sync.OnceValue(func() map[string][2]string {
	out := map[string][2]string{}
	for key, value := range lines("heard") {
		lang, kind, _ := strings.Cut(key, ".")
		for p := range strings.SplitSeq(value, "|") {
			k := strings.Join(tokens(p), " ")
			if _, taken := out[k]; !taken || lang == "en" {
				out[k] = [2]string{lang, kind}
			}
		}
	}
	return out
})

// language guesses; it only chooses the words of our own sentences.
func language(text string) string { return human.Language(text, sentences.Languages()) }
