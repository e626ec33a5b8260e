// Package human says by code alone whether a customer wants a person. It is asked before the model sees any turn, and
// it works without it: same text, same answer, in microseconds.
//
//	text --unquoted--> clauses --one language's words--> rows of symbols --rules--> wish, doubt or nothing
//
// A list of key words would not do: the words occur without the wish ("my insurance agent told me") and the wish
// without the words. So each clause is read as a row of symbols (wanting, talking, person, negation ...) by the
// languages that know most of its words, and a wish is a person with a cue near by and nothing between them that
// tells, asks or forbids. What a language needs stands in words/*.txt and nowhere else.
package human

import (
	"cmp"
	"slices"
	"strings"

	"patchbay/channels"
)

// Wish says whether the customer wants a person now. Unsure means: ask once whether a person is wanted.
type Wish struct {
	Yes    bool
	Unsure bool
	Only   bool   // and never wants the machine again: "I never want to talk to a robot"
	Rule   string // key, offered, sticky, words, name, alone, presence, call, machine, safety, maybe, near, sound
	Why    string // the words that decided, for the log and the desk
}

// Context is what the recogniser may know beside the words themselves.
type Context struct {
	Channel channels.Kind
	Offered bool // our last message offered a person (see Offered): "yes please" is then a wish
	Wished  bool // the customer asked for a person before and nobody has come: only clear words end that (promise P2)
}

// readRunes bounds what is looked at: a wish stands at the start or at the end of a long text.
const readRunes = 6000

// Read decides whether the customer wants a person (promise P1). text must be what this customer wrote now (P3);
// lines that a mail quotes with > and words in quotation marks are left out.
func Read(text string, ctx Context) Wish {
	text = own(text, ctx.Channel)
	all := words(strings.ReplaceAll(text, "\n", " "), false)
	if len(all) == 0 {
		return Wish{}
	}
	lib := books()
	speak := lib.languages(all)
	if why := anyPhrase(speak, all, safety); why != "" {
		return Wish{Yes: true, Rule: "safety", Why: why}
	}
	if len(all) == 1 && (all[0].text == "0" || all[0].text == "00" || all[0].text == "000") {
		return Wish{Yes: true, Rule: "key", Why: all[0].text}
	}
	w, declined := lib.read(speak, text)
	switch {
	case w.Yes:
		return w
	case ctx.Offered && agrees(speak, all):
		return Wish{Yes: true, Rule: "offered", Why: short(all)}
	case declined || ctx.Offered && refuses(speak, all):
		return Wish{}
	case ctx.Wished:
		return Wish{Yes: true, Rule: "sticky", Why: "asked before, and has not taken it back"}
	}
	if ctx.spoken() && lib.asEnglish(all) {
		if heard := soundsLike(text); heard.Yes || heard.Unsure && !w.Unsure {
			return heard
		}
	}
	if w.Unsure {
		return w
	}
	if why := anyPhrase(speak, all, maybe); why != "" {
		return Wish{Unsure: true, Rule: "maybe", Why: why}
	}
	return Wish{}
}

// Declined says whether the customer takes a wish back in clear words ("I no longer need a person, go on"). Silence, a
// new topic or thanks are no decline (promise P2).
func Declined(text string) bool {
	text = own(text, "")
	lib := books()
	w, declined := lib.read(lib.languages(words(text, false)), text)
	return declined && !w.Yes
}

// Refused says whether text is a plain "no" to our own offer of a person.
func Refused(text string) bool {
	all := words(bounded(text, readRunes), false)
	return len(all) > 0 && refuses(books().languages(all), all)
}

// Agreed says whether text is a plain "yes".
func Agreed(text string) bool {
	all := words(bounded(text, readRunes), false)
	return len(all) > 0 && agrees(books().languages(all), all)
}

// own is what may be read for a wish: the beginning and the end of a long text, without quotations.
func own(text string, kind channels.Kind) string {
	if kind == channels.Email {
		var b strings.Builder
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(strings.TrimSpace(line), ">") {
				b.WriteString(line)
			}
		}
		text = b.String()
	}
	return unquoted(bounded(text, readRunes))
}

// languages are those that know most of the words, best first.
func (lib *library) languages(all clause) []*grammar {
	if len(all) == 0 {
		return nil
	}
	var score [128]float32
	for _, w := range all[:min(len(all), rowWords)] {
		who := lib.speakers(w.text)
		n := 0
		for i := range lib.all {
			if who.has(i) {
				n++
			}
		}
		if n == 0 {
			continue
		}
		weight := float32(1)
		switch {
		case n <= 2:
			weight = 3
		case n <= 6:
			weight = 2
		}
		for i := range lib.all {
			if who.has(i) {
				score[i] += weight
			}
		}
	}
	var out []*grammar
	best := slices.Max(score[:])
	for i, g := range lib.all {
		if score[i] > 0 && score[i] >= best*0.8 || g == lib.en && all[0].text[0] < 0x250>>2 {
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b *grammar) int { return cmp.Compare(score[b.index], score[a.index]) })
	return lib.beside(out[:min(len(out), 8)], all)
}

// beside adds the languages that know most of what English does not: "live agent tak".
func (lib *library) beside(out []*grammar, all clause) []*grammar {
	if len(out) == 0 || out[0] != lib.en || len(all) > 6 {
		return out
	}
	var score [128]int8
	best := int8(0)
	for _, w := range all {
		who := lib.speakers(w.text)
		if w.char || who.has(lib.en.index) {
			continue
		}
		for i := range lib.all {
			if who.has(i) {
				score[i]++
				best = max(best, score[i])
			}
		}
	}
	for i, g := range lib.all {
		if best > 0 && score[i] == best && len(out) < 10 && !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// also adds the language of one clause to those of the whole text: people sign and quote in other languages.
func (lib *library) also(speak []*grammar, c clause) []*grammar {
	own := lib.languages(c)
	if len(own) > 2 {
		own = own[:2]
	}
	for _, g := range own {
		if !slices.Contains(speak, g) {
			speak = append(slices.Clone(speak), g)
		}
	}
	return speak
}

// read returns the first wish of any clause, else the first doubt, and whether the customer takes a wish back.
func (lib *library) read(speak []*grammar, text string) (found Wish, declined bool) {
	vetoed := false // a part of this sentence says that nobody is wanted: the whole is not read against it
	quoted := false // what follows is what somebody else said or wrote
	all, parts := clauses(text)
	for i, c := range all {
		if quoted {
			quoted = parts[i]
			continue
		}
		if parts[i] && (begins(speak, c, until) || begins(speak, all[i+1], relative)) { // ", until an agent checks it"; "the agent, who sold it, left": the whole decides
			continue
		}
		for _, g := range speak {
			if g.find(c, goOn) != "" {
				declined = true
				break
			}
		}
		whole := !parts[i] && i > 0 && parts[i-1]
		if whole && vetoed {
			vetoed = false
			continue
		}
		quoted = c[len(c)-1].lead && lib.tells(speak, c)
		v := lib.clause(lib.also(speak, c), c)
		if v.wish.Yes {
			return v.wish, declined
		}
		vetoed = parts[i] && (v.veto || vetoed)
		if v.wish.Unsure && !found.Unsure {
			found = v.wish
		}
	}
	return found, declined
}

// begins says whether a part of a sentence begins with a word of that class.
func begins(speak []*grammar, c clause, with class) bool {
	for _, g := range speak {
		if _, n := g.match(c, with); n > 0 {
			return true
		}
	}
	return false
}

// tells says whether a clause ends with a word of saying: "my son wrote:".
func (lib *library) tells(speak []*grammar, c clause) bool {
	for _, g := range speak {
		for from := max(0, len(c)-3); from < len(c); from++ {
			if cl, n := g.match(c[from:], said|hello); n > 0 && from+n == len(c) { // the longest phrase decides: "I said:" leads to one's own words
				if cl&said != 0 && cl&hello == 0 {
					return true
				}
				break
			}
		}
	}
	return false
}

// clause asks the languages one after the other; the first that understands decides.
func (lib *library) clause(speak []*grammar, c clause) verdict {
	var doubt verdict
	for k, g := range speak {
		known, strange := 0, 0
		for _, part := range g.cutAtBut(c) {
			row := lib.row(g, part)
			for _, s := range row {
				if s.class == 0 {
					strange++
				} else {
					known += 1 + strings.Count(s.text, " ")
				}
			}
			v := g.read(part, row)
			if v.wish.Yes {
				v.wish.Only = forGood(row)
				return v
			}
			if v.wish.Unsure || v.veto {
				doubt.wish, doubt.veto = v.wish, doubt.veto || v.veto
			}
		}
		if doubt.veto || known >= 3 && strange*4 <= known && !lib.knowsAll(speak, k+1, c) { // it is this language: its neighbours would misunderstand
			return doubt
		}
	}
	return doubt
}

// knowsAll says whether the next language knows each word, so that the text is as likely its own.
func (lib *library) knowsAll(speak []*grammar, next int, c clause) bool {
	if next >= len(speak) {
		return false
	}
	for _, s := range lib.row(speak[next], c) {
		if s.class == 0 {
			return false
		}
	}
	return true
}

// forGood says whether the wish is meant for always: never a machine, only people, and "never", "always" in it.
func forGood(row []symbol) bool {
	forever := false
	for _, s := range row {
		forever = forever || s.is(always)
	}
	return forever
}

func (g *grammar) cutAtBut(c clause) []clause {
	var out []clause
	from := 0
	for i := range c {
		if cl, n := g.match(c[i:], but); n > 0 && cl&but != 0 {
			if i > from {
				out = append(out, c[from:i])
			}
			from = i + n
		}
	}
	if from < len(c) {
		out = append(out, c[from:])
	}
	return out
}

// agrees says whether the whole message is a yes: it begins with one and holds no no.
func agrees(speak []*grammar, all clause) bool {
	for _, g := range speak {
		_, n := g.match(all, yes)
		if n == 0 {
			continue
		}
		if g.only(all[n:], yes|fill|want|get|talk|person|weak|call|help|to|title) {
			return true
		}
	}
	return false
}

func refuses(speak []*grammar, all clause) bool {
	for _, g := range speak {
		if _, n := g.match(all, no); n > 0 && (len(all) <= 8 || g.only(all[n:], no|yes|fill)) {
			return true
		}
	}
	return false
}

// only says whether words hold nothing beyond phrases of these classes.
func (g *grammar) only(all clause, c class) bool {
	for i := 0; i < len(all); {
		if _, n := g.match(all[i:], no|not|never); n > 0 {
			if _, y := g.match(all[i:], yes); y < n {
				return false
			}
		}
		_, n := g.match(all[i:], c)
		if n == 0 {
			return false
		}
		i += n
	}
	return true
}

func anyPhrase(speak []*grammar, all clause, c class) string {
	for _, g := range speak {
		if p := g.find(all, c); p != "" {
			return p
		}
	}
	return ""
}

func short(all clause) string { return all[:min(len(all), 12)].String() }
