package human

import (
	"slices"
	"strings"
	"unicode"

	"patchbay/channels"
)

// Said is one message of the dialogue so far.
type Said struct {
	Author string `json:"author"` // contact, customer, user, visitor or caller: the customer; agent: a person of ours; else ours
	Text   string `json:"text"`
}

func (s Said) byCustomer() bool {
	switch strings.ToLower(s.Author) {
	case "contact", "customer", "user", "visitor", "caller", "client":
		return true
	}
	return false
}

func (s Said) byPerson() bool {
	switch strings.ToLower(s.Author) {
	case "agent", "human", "person", "operator", "representative":
		return true
	}
	return false
}

// dialogLines bounds how far back a dialogue is read.
const dialogLines = 100

// Heard is the Context that a dialogue makes: whether our last words offered a person, and whether the customer has
// asked for one before.
func Heard(dialog []Said, kind channels.Kind) Context {
	ctx := Context{Channel: kind}
	for _, m := range dialog[max(0, len(dialog)-dialogLines):] {
		switch {
		case m.byCustomer():
			w := Read(m.Text, ctx)
			ctx.Wished, ctx.Offered = w.Yes, false
		case m.byPerson(): // the promise is kept
			ctx.Wished, ctx.Offered = false, false
		default:
			ctx.Offered = Offered(m.Text)
		}
	}
	return ctx
}

// Language is the one of some languages, by their codes, in which a customer writes; English when nothing speaks for
// another, or most for one that is not among them. Lines that a mail quotes with > do not count.
func Language(text string, among []string) string {
	all := slices.DeleteFunc(words(own(text, channels.Email), false), func(w word) bool { return !strings.ContainsFunc(w.text, unicode.IsLetter) })
	lib := books()
	if slices.ContainsFunc(all, func(w word) bool { return !lib.speakers(w.text).has(lib.en.index) }) {
		for _, g := range lib.languages(all) {
			if slices.Contains(among, g.lang) {
				return g.lang
			}
		}
	}
	return lib.en.lang
}

// Offered says whether text, a message of ours, offers a person, so that a bare "yes" to it is a wish: a question that
// speaks of a person, or of putting through.
func Offered(text string) bool {
	text = bounded(text, readRunes)
	if !strings.ContainsAny(text, "?？؟;\u037e՞፧") && !strings.Contains(text, "か。") && !strings.HasSuffix(strings.TrimSpace(text), "か") {
		return false
	}
	lib := books()
	speak := lib.languages(words(text, false))
	for sentence := range questions(text) {
		c := words(sentence, false)
		if len(c) == 0 {
			continue
		}
		for _, g := range speak {
			row := lib.row(g, c)
			for i, s := range row {
				if s.is(person) && isPerson(row, i) || s.is(weak) && strings.Contains(sentence, " ") && anyOf(row, talk|get|help) || s.is(get|call) {
					return true
				}
			}
		}
	}
	return false
}

// questions yields the sentences that end with a question mark.
func questions(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		from := 0
		for i, r := range text {
			switch r {
			case '?', '？', '؟', ';', '\u037e', '՞', '፧':
				if !yield(text[from:i]) {
					return
				}
				from = i + len(string(r))
			case '.', '!', '\n', '。', '！', '।':
				if r == '。' && strings.HasSuffix(text[:i], "か") && !yield(text[from:i]) {
					return
				}
				from = i + len(string(r))
			}
		}
		if rest := strings.TrimSpace(text[from:]); strings.HasSuffix(rest, "か") {
			yield(rest)
		}
	}
}

func anyOf(row []symbol, c class) bool {
	for _, s := range row {
		if s.is(c) {
			return true
		}
	}
	return false
}
