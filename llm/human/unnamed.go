package human

import (
	"slices"
	"strings"
	"unicode"
)

// Wishes in which no person need be named: no machine, who can I talk to, hand me over, call me, and a message that is nothing else.

// machineAt is the refusal of a machine: "no bots", "I don't want to talk to a robot", "enough of this computer". A machine
// that is soft too may be one that the customer owns: it must be talked to.
func (g *grammar) machineAt(row []symbol, at int) verdict {
	if row[at].is(enough | refuse) {
		return yesBecause("machine", row[at].text)
	}
	for _, step := range []int{-1, 1} {
		talked := !row[at].is(soft) || twice(row)
		spoken, strange := talkedTo(row, at), false // one unknown word may stand between: "no longer talk to a machine"
		for j := at + step; j >= 0 && j < len(row); j += step {
			if row[j].is(refuse) || row[j].is(enough) && talked || row[j].is(not) && talked && (step < 0 || g.right&talk != 0 || j+1 < len(row) && row[j+1].is(talk)) {
				return yesBecause("machine", text(row, min(at, j), max(at, j)))
			}
			talked, spoken = talked || row[j].is(talk), spoken || row[j].is(talk)
			if row[j].class == 0 && !strange && spoken {
				strange = true
				continue
			}
			if row[j].is(never|after|said) || row[j].qualifies() || !row[j].is(fill|want|talk|get|to|person|weak|machine) {
				break
			}
		}
	}
	return verdict{}
}

// talkedTo says whether the machine is what somebody talks to, said behind it: "mit einem Roboter sprechen".
func talkedTo(row []symbol, at int) bool {
	return at+1 < len(row) && row[at+1].is(talk) || at+2 < len(row) && row[at+1].is(fill) && row[at+2].is(talk)
}

// twice says whether machines are spoken of more than once: "you are a machine and I don't want a machine".
func twice(row []symbol) bool {
	n := 0
	for _, s := range row {
		if s.is(machine) {
			n++
		}
	}
	return n > 1
}

// whomAt is "who can I talk to": the person asked for is the question itself.
func (g *grammar) whomAt(row []symbol, at int) verdict {
	if g.find(words(row[at].text, false), talk|get) != "" {
		return yesBecause("words", row[at].text)
	}
	var cost float32
	for j := at + 1; j < len(row); j++ {
		switch s := row[j]; {
		case s.is(talk | get | call):
			return yesBecause("words", text(row, at, j))
		case s.is(never | not | said):
			return verdict{}
		case s.class == 0:
			if cost += s.cost; cost > bridge {
				return verdict{}
			}
		}
	}
	return verdict{}
}

// overAt is "put me through to reservations" and "this is going nowhere hand me over": where to is open, but a person is
// there. The bare verb ("transfer") counts only alone.
func (g *grammar) overAt(row []symbol, at int) verdict {
	if at > 1 && row[at-1].is(machine) && row[at-2].is(fill) { // "does your bot hand over to people"
		return verdict{}
	}
	for j := at - 1; j >= 0 && (row[j].class == 0 || row[j].is(fill|want|ask|not|never|said|refuse)); j-- {
		if row[j].is(not | never | said | refuse) {
			return verdict{veto: row[j].is(not | refuse)}
		}
	}
	if g.right&get != 0 && g.right&ask != 0 && at > 1 && row[at-1].is(to) && row[at-2].class == 0 { // "to the office put me through"
		return yesBecause("words", text(row, 0, at))
	}
	if g.leads(row[at]) && at+1 < len(row) && !row[at+1].is(not|after|machine|never) {
		return yesBecause("words", text(row, at, len(row)-1))
	}
	for i, s := range row[at+1:] {
		switch {
		case g.verbLast() && s.class == 0 && i+2 < len(row[at+1:]) && row[at+2+i].is(not) && row[at+3+i].class == 0: // another sentence: "the pension not came"
			return yesBecause("words", text(row, 0, at))
		case s.is(not | after | machine | never):
			return verdict{veto: s.is(not)}
		case s.is(to):
			return yesBecause("words", text(row, at, len(row)-1))
		case !s.is(fill | hello | weak):
			return verdict{}
		}
	}
	if !strings.Contains(row[at].text, " ") {
		return verdict{}
	}
	return yesBecause("words", text(row, at, len(row)-1))
}

// handsTo says whether a row holds handing over that ends with the word that leads to somebody: "comunicar con".
func (g *grammar) handsTo(row []symbol) bool {
	return slices.ContainsFunc(row, func(s symbol) bool {
		return s.is(get) && g.is(s.text[strings.LastIndexByte(s.text, ' ')+1:], to)
	})
}

// leads says whether a phrase of handing over ends with the word that leads to its aim: "transfer me to".
func (g *grammar) leads(s symbol) bool {
	last := strings.LastIndexByte(s.text, ' ')
	if s.is(get) && !s.is(over) && strings.Count(s.text, " ") < 2 { // the bare verb: "transfer to"
		return false
	}
	return s.is(over|get) && g.is(s.text[last+1:], to) && (s.is(over) || last > 0 && slices.ContainsFunc(g.first[s.text[:strings.IndexByte(s.text, ' ')]], func(p phrase) bool {
		return p.class&over != 0 && strings.Join(p.words, " ") == s.text[:last]
	}))
}

// theyAt is "can I talk to her": somebody of ours named before, or the one who should be reached.
func (g *grammar) theyAt(row []symbol, at int) verdict {
	l, r := g.walk(row, at, -1), g.walk(row, at, +1)
	cues, near := l.cues, l.talk
	if row[at].is(talk) { // "lui parler", "onunla konuşmak" in one phrase
		cues, near = cues|talk, 0
	}
	if g.right&talk != 0 {
		cues |= r.cues
		if g.right&ask == 0 {
			cues &^= want &^ l.cues // "he needs" is no wish of the customer
		}
		near = min(near, r.talk)
	}
	if cues&want == 0 && cues&(talk|get) != talk|get || cues&(talk|get) == 0 || near > 1 || l.forbids() || r.negated || l.blocked || l.told {
		return verdict{}
	}
	return yesBecause("name", text(row, min(at, l.end), max(at, r.end)))
}

// callAt is "call me back": a person is asked for without being named.
func (g *grammar) callAt(row []symbol, at int) verdict {
	asked := g.find(words(row[at].text, false), weak|want|ask) != "" // "when can somebody call me" asks for the call, whatever the question is
	for j := at - 1; j >= 0 && !row[at].is(self); j-- {
		if row[j].is(never) && asked {
			break
		}
		if row[j].is(not) && g.right&not != 0 && strings.Contains(row[at].text, " ") {
			break // where the verb stands last its negation does too: "mother cannot type, to her a call give"
		}
		if row[j].is(not | never | enough | refuse) {
			return verdict{veto: row[j].is(not | refuse)}
		}
		asked = asked || row[j].is(want|ask)
		if !row[j].is(fill|want|ask|weak|person|get|help|talk|name|exist) && row[j].cost > 0.5 {
			break
		}
	}
	if at+1 < len(row) {
		next := row[at+1]
		ends := at+2 < len(row) && next.is(not) && row[at+2].class == 0 // "call me I don't see it" is two sentences
		apart := next.is(not|after|name|enough|refuse) || next.is(never) && !asked
		if apart && !next.is(fill) && !(ends && next.is(not)) && !g.begins(next, to) { // "a call with my adviser"
			return verdict{veto: next.is(not | refuse)}
		}
	}
	if row[at].is(soft) && !wanted(row, at) || row[at].is(past) && !asked { // "somebody called me", not "that somebody calls me"
		return verdict{}
	}
	return yesBecause("call", row[at].text)
}

// begins says whether a phrase begins with a word of class c.
func (g *grammar) begins(s symbol, c class) bool {
	first, _, _ := strings.Cut(s.text, " ")
	return g.is(first, c)
}

// wanted says whether the noun "a call" is asked for: words of wanting before it, or nothing else beside it.
func wanted(row []symbol, at int) bool {
	for j := at - 1; j >= 0 && row[j].cost == 0; j-- {
		if row[j].is(want | get | ask) {
			return true
		}
	}
	for i, s := range row {
		if i != at && !s.is(fill|hello|help|call|want|ask) {
			return false
		}
	}
	return true
}

// aloneIn is a clause that is nothing but a person ("AGENT!!", "a real person please") or a phrase listed as such.
func (g *grammar) aloneIn(c clause, row []symbol) bool {
	for len(row) > 0 && row[0].is(hello) && !row[0].is(not) {
		row = row[1:]
	}
	if len(row) > 9 || len(row) == 0 {
		return false
	}
	for len(c) > 0 && unicode.Is(unicode.So, []rune(c[len(c)-1].text)[0]) { // a face behind the words
		c = c[:len(c)-1]
	}
	persons, others, handed := 0, false, false
	for i, s := range row {
		handed = handed || s.is(over)
		if s.is(never) && !s.is(fill) {
			return g.whole(c, alone)
		}
		switch {
		case s.is(hello) && persons > 0:
		case s.is(not|never|before|after|tongue|machine|exist|enough|said|past|hours|refuse) && !s.is(fill), s.class == 0, s.is(name) && !s.is(person|fill):
			others = true
		case s.is(person) && isPerson(row, i):
			persons++
		case !s.is(fill | want | get | weak | to | title | talk | help | over | ask):
			others = true
		}
	}
	if (persons > 0 || handed) && !others {
		return true
	}
	from, to := 0, len(c)
	for {
		for end := to; end > from; end-- {
			if g.whole(c[from:end], alone) {
				return true
			}
			if cl, n := g.match(c[end-1:end], inRow); n == 0 || cl&(fill|hello) == 0 {
				break
			}
		}
		if from >= to {
			return false
		}
		cl, n := g.match(c[from:to], inRow)
		if n == 0 || cl&(fill|hello) == 0 || cl&not != 0 {
			return false
		}
		from += n
	}
}
