// Package human says by code alone whether a customer wants a person. It is asked before the model sees any turn, and
// works without it.
package human

import (
	"slices"
	"strings"

	"patchbay/channels"
)

// Wish says whether the customer wants a person now. Unsure means: ask once whether a person is wanted.
type Wish struct {
	Yes    bool
	Unsure bool
	Rule   string // key, offered, words, alone, presence, machine, safety, maybe
	Why    string // the words that decided, for the log and the desk
}

// Context is what the recogniser may know beside the words themselves.
type Context struct {
	Channel channels.Kind
	Offered bool // our last message offered a person (see Offered): "yes please" is then a wish
}

// readRunes bounds what is looked at: a wish stands at the start or at the end of a long text.
const readRunes = 6000

// Read decides by code alone whether the customer wants a person: same input, same output, microseconds, no call to
// the model (promise P1). text must be what this customer wrote now: no quotes, no footers, no words of ours (P3).
//
// A list of key words would not do: the words occur without the wish ("my insurance agent told me") and the wish
// without the words. Each clause is read as a row of symbols (wanting, reaching, person, negation ...), and a wish is
// a path from a verb of wanting or reaching to a person over words that may stand between.
func Read(text string, ctx Context) Wish {
	text = bounded(text, readRunes)
	all := tokens(text)
	if len(all) == 0 {
		return Wish{}
	}
	langs := grammars()
	if why := anyPhrase(langs, all, safety); why != "" {
		return Wish{Yes: true, Rule: "safety", Why: why}
	}
	if len(all) == 1 && (all[0] == "0" || all[0] == "00" || all[0] == "000") {
		return Wish{Yes: true, Rule: "key", Why: all[0]}
	}
	if ctx.Offered && answers(langs, all, yes) && !answers(langs, all, no) {
		return Wish{Yes: true, Rule: "offered", Why: strings.Join(all, " ")}
	}
	w := byClauses(langs, text)
	switch {
	case w.Yes:
		return w
	case Declined(text) || ctx.Offered && answers(langs, all, no):
		return Wish{}
	case w.Unsure:
		return w
	}
	if why := anyPhrase(langs, all, maybe); why != "" {
		return Wish{Unsure: true, Rule: "maybe", Why: why}
	}
	return Wish{}
}

// byClauses returns the first wish, else the first doubt.
func byClauses(langs []*grammar, text string) Wish {
	var unsure Wish
	for _, clause := range clauses(text) {
		for _, g := range langs {
			w := g.clause(clause)
			if w.Yes {
				return w
			}
			if w.Unsure && !unsure.Unsure {
				unsure = w
			}
		}
	}
	return unsure
}

// Said is one message of the dialogue so far.
type Said struct {
	Author string `json:"author"` // contact, customer, user, visitor or caller: the customer; all others are ours
	Text   string `json:"text"`
}

func (s Said) ours() bool {
	switch strings.ToLower(s.Author) {
	case "contact", "customer", "user", "visitor", "caller", "client":
		return false
	}
	return true
}

// Heard is the Context that a dialogue makes: whether the last words of ours offered a person.
func Heard(dialog []Said, kind channels.Kind) Context {
	ctx := Context{Channel: kind}
	for _, m := range dialog {
		ctx.Offered = m.ours() && Offered(m.Text)
	}
	return ctx
}

// Declined says whether the customer takes a wish back in clear words ("I no longer need a person, go on"). Silence, a
// new topic or thanks are no decline (promise P2).
func Declined(text string) bool {
	text = bounded(text, readRunes)
	langs := grammars()
	for _, clause := range clauses(text) {
		for _, g := range langs {
			if g.has(clause, goOn) {
				return !byClauses(langs, text).Yes
			}
		}
	}
	return false
}

// Refused says whether text is a plain "no" to our own offer of a person.
func Refused(text string) bool {
	all := tokens(bounded(text, readRunes))
	return len(all) > 0 && answers(grammars(), all, no)
}

// Agreed says whether text is a plain "yes".
func Agreed(text string) bool {
	all := tokens(bounded(text, readRunes))
	return len(all) > 0 && answers(grammars(), all, yes)
}

// Offered says whether text, a message of ours, offers a person, so that a bare "yes" to it is a wish.
func Offered(text string) bool {
	low := strings.ToLower(text)
	if !strings.Contains(low, "?") {
		return false
	}
	all := " " + strings.Join(tokens(text), " ") + " "
	for _, o := range offerWords {
		if strings.Contains(all, o) {
			return true
		}
	}
	return false
}

var offerWords = []string{
	" get a person ", " get one ", " want a person ", " like a person ", " talk to a person ", " speak to a person ",
	" connect you ", " get you a person ", " einen menschen ", " une personne ", " una persona ", " uma pessoa ", " iemand halen ",
	" een medewerker ", " czlowieka ",
}

// clause reads one clause with one language's grammar.
func (g *grammar) clause(words []string) Wish {
	row := g.read(words)
	if len(row) == 0 {
		return Wish{}
	}
	if g.alone(words, row) {
		return Wish{Yes: true, Rule: "alone", Why: strings.Join(words, " ")}
	}
	var found Wish
	for i, s := range row {
		w := Wish{}
		if s.is(want | talk | get) {
			w = g.path(row, i)
		}
		if !w.Yes && s.is(ask|exist) {
			w = presence(row, i)
		}
		if !w.Yes && s.is(person|weak) && !(i > 0 && row[i-1].is(before)) {
			w = deed(row, i)
		}
		if w.Yes {
			return w
		}
		if w.Unsure {
			found = w
		}
	}
	return found
}

// path walks from a verb of wanting or reaching to a person, over words that may stand between.
func (g *grammar) path(row []symbol, from int) Wish {
	negated := negatedBefore(row, from)
	reaching := row[from].is(talk | get)
	for j := from + 1; j < len(row); j++ {
		s := row[j]
		switch {
		case s.is(machine) && negated:
			return Wish{Yes: true, Rule: "machine", Why: words(row, from, j)}
		case s.is(machine):
			return Wish{}
		case s.is(not):
			negated = true
		case s.is(person):
			if negated || !isPerson(row, j) {
				return Wish{}
			}
			return Wish{Yes: true, Rule: "words", Why: words(row, from, j)}
		case s.is(weak):
			later := reaching || g.reverse && anyLater(row, j, talk|get) || helpFollows(row, j)
			if later && !negated && isPerson(row, j) {
				return Wish{Yes: true, Rule: "words", Why: words(row, from, j)}
			}
			if !s.is(fill) {
				return Wish{}
			}
		case s.is(never | before):
			return Wish{}
		case s.is(want | talk | get | help | fill):
			reaching = reaching || s.is(talk|get) || s.is(help) && !s.is(soft)
		default:
			// one unknown word is an adjective when it stands between an article and the person
			if !(j+1 < len(row) && row[j+1].is(person) && row[j-1].is(fill) && s.class == 0 && !strings.HasSuffix(s.text, "ing")) {
				return Wish{}
			}
		}
	}
	return g.reversed(row, from, negated)
}

// reversed is the order of German, Dutch and Polish: "einen Menschen sprechen" without a verb of wanting in front.
func (g *grammar) reversed(row []symbol, from int, negated bool) Wish {
	if !g.reverse || !row[from].is(talk|get) || negated {
		return Wish{}
	}
	for j := from - 1; j >= 0; j-- {
		switch {
		case row[j].is(not):
			return Wish{}
		case row[j].is(person|weak) && isPerson(row, j) && !negatedBefore(row, j):
			return Wish{Yes: true, Rule: "words", Why: words(row, j, from)}
		case !row[j].is(fill):
			return Wish{}
		}
	}
	return Wish{}
}

// presence is "is there a person I can talk to" and "can a human call me".
func presence(row []symbol, from int) Wish {
	j := from + 1
	for j < len(row) && row[j].is(fill) && !row[j].is(person|weak) {
		j++
	}
	deedFirst := j < len(row) && row[j].is(help) && !row[j].is(soft|person|weak) // "¿me puede atender una persona?"
	for deedFirst && j < len(row) && row[j].is(fill|help) && !row[j].is(person|weak) {
		j++
	}
	if j >= len(row) || !row[j].is(person|weak) || !isPerson(row, j) || negatedBefore(row, from) {
		return Wish{}
	}
	if deedFirst {
		return Wish{Yes: true, Rule: "presence", Why: words(row, from, j)}
	}
	k := j + 1
	for k < len(row) && row[k].is(fill) && !row[k].is(help|talk) {
		k++
	}
	ends := k == len(row)
	helps := !ends && row[k].is(help|talk)
	soft := ends || row[k].is(soft) && !row[k].is(talk)
	why := words(row, from, min(k, len(row)-1))
	switch {
	case row[j].is(person) && (helps || ends && row[from].is(exist)):
		return Wish{Yes: true, Rule: "presence", Why: why}
	case row[j].is(weak) && helps && !soft:
		return Wish{Yes: true, Rule: "presence", Why: why}
	case row[j].is(weak) && (helps || ends && row[from].is(exist)):
		return Wish{Unsure: true, Rule: "presence", Why: why}
	}
	return Wish{}
}

// deed is "somebody contact me" and "quelqu'un peut m'appeler": what only a person would do, asked of a person.
func deed(row []symbol, at int) Wish {
	if negatedBefore(row, at) || at > 0 && row[at-1].is(never|not|machine) {
		return Wish{}
	}
	for j := at + 1; j < len(row); j++ {
		if row[j].is(help) && !row[j].is(soft) {
			return Wish{Yes: true, Rule: "words", Why: words(row, at, j)}
		}
		if !row[j].is(fill | ask) {
			return Wish{}
		}
	}
	return Wish{}
}

// isPerson looks at the neighbours: a "2 person tent", an "agent fee" and "my insurance agent" are no person of ours.
func isPerson(row []symbol, at int) bool {
	if at > 0 && row[at-1].is(before) && !row[at-1].is(fill) {
		return false
	}
	next := at + 1
	for next < len(row) && row[next].is(person) {
		next++
	}
	return next >= len(row) || !row[next].is(after)
}

// negatedBefore looks back over words that belong to the same phrase.
func negatedBefore(row []symbol, at int) bool {
	for j := at - 1; j >= 0; j-- {
		if row[j].is(not) {
			return true
		}
		if !row[j].is(fill|want|talk|get) || row[j].is(never|machine|person) {
			return false
		}
	}
	return false
}

// alone is a clause that is nothing but a person ("AGENT!!", "a real person please") or a phrase listed as such.
func (g *grammar) alone(clause []string, row []symbol) bool {
	if len(clause) > 9 {
		return false
	}
	if g.whole(clause, alone) {
		return true
	}
	from, to := 0, len(row)
	for {
		for end := to; end > from; end-- {
			if g.whole(strings.Fields(words(row, from, end-1)), alone) {
				return true
			}
			if !row[end-1].is(fill) {
				break
			}
		}
		if from >= to || !row[from].is(fill) || row[from].is(person) {
			break
		}
		from++
	}
	for from < to && row[to-1].is(fill) && !row[to-1].is(person) {
		to--
	}
	persons := from < to
	core := make([]string, 0, to-from)
	for _, s := range row[from:to] {
		persons = persons && s.is(person|fill) && !s.is(before)
		if n := len(core); n == 0 || core[n-1] != s.text {
			core = append(core, s.text)
		}
	}
	return persons && row[to-1].is(person) && to-from <= 3 || len(core) > 0 && g.whole(strings.Fields(strings.Join(core, " ")), alone)
}

// helpFollows is "someone to call me": what only a person would do.
func helpFollows(row []symbol, at int) bool {
	for j := at + 1; j < len(row); j++ {
		if row[j].is(help) {
			return !row[j].is(soft)
		}
		if !row[j].is(fill) {
			return false
		}
	}
	return false
}

func anyLater(row []symbol, at int, c class) bool {
	return slices.ContainsFunc(row[at+1:], func(s symbol) bool { return s.is(c) })
}

func words(row []symbol, from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		if i > from {
			b.WriteByte(' ')
		}
		b.WriteString(row[i].text)
	}
	return b.String()
}

// answers says whether the whole message is made of phrases of that class and politeness.
func answers(langs []*grammar, all []string, c class) bool {
	if len(all) > 8 {
		return false
	}
	for _, g := range langs {
		if g.whole(all, c) || g.startsWith(all, c) && len(all) <= 5 && !g.anyOther(all, c) {
			return true
		}
	}
	return false
}

func anyPhrase(langs []*grammar, all []string, c class) string {
	for _, g := range langs {
		if p := g.find(all, c); p != "" {
			return p
		}
	}
	return ""
}

func bounded(s string, runes int) string {
	if len(s) <= runes {
		return s
	}
	r := []rune(strings.ToValidUTF8(s, " "))
	if len(r) <= runes {
		return string(r)
	}
	return string(r[:runes*3/4]) + "\n" + string(r[len(r)-runes/4:])
}
