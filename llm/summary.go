package llm

import (
	"strings"

	"patchbay/channels"
	"patchbay/llm/human"
)

const summaryRunes = 300

// NothingSaid is the summary of somebody who has said nothing besides their wish.
const NothingSaid = "The customer asks for a person and has said nothing else yet."

// Summary is the hand-over note: made by code from the rows, so that it holds with the model dead, and cannot say what
// was not said. What the customer says is marked as a claim.
func Summary(history []channels.Message) string {
	var wants, last, source string
	answers := 0
	for _, m := range history {
		if m.Private || m.Kind != channels.Text {
			continue
		}
		switch m.Author {
		case channels.ByContact:
			text := strings.TrimSpace(m.Body)
			if text == "" || emptyWords(text) {
				continue
			}
			if wants == "" {
				wants = text
			}
			last = text
		case channels.ByAI:
			if len(m.Data.Sources) > 0 {
				answers++
				source = m.Data.Sources[0].Title
			}
		}
	}
	if wants == "" {
		return NothingSaid
	}
	out := "Says: “" + short(wants, 120) + "”."
	if last != wants {
		out += " Last: “" + short(last, 80) + "”."
	}
	switch {
	case answers == 1:
		out += " AI answered from “" + short(source, 50) + "”."
	case answers > 1:
		out += " AI answered, last from “" + short(source, 50) + "”."
	default:
		out += " Not answered yet."
	}
	return short(out, summaryRunes)
}

// emptyWords are messages without a matter: greetings, yes and no, and the bare wish for a person.
func emptyWords(text string) bool {
	all := tokens(text)
	if len(all) == 0 {
		return true
	}
	if _, ok := heard()[strings.Join(all, " ")]; ok || human.Refused(text) || human.Agreed(text) {
		return true
	}
	w := human.Read(text, human.Context{})
	return len(all) <= 8 && w.Yes && w.Rule != "safety" && !strings.Contains(text, ".")
}
