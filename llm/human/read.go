package human

import (
	"strings"
	"unicode"
)

// verdict of one clause in one language.
type verdict struct {
	wish Wish
	veto bool // it speaks of a person, and says clearly that none is wanted
}

// read judges one clause. A wish is a person of ours with a cue near by: wanting, talking, being put through, asking
// whether one is there. Words that tell, ask about or forbid stand between them and keep them apart.
func (g *grammar) read(c clause, row []symbol) verdict {
	if len(row) == 0 {
		return verdict{}
	}
	if g.aloneIn(c, row) {
		return yesBecause("alone", c.String())
	}
	var out verdict
	take := func(v verdict) bool {
		out.veto = out.veto || v.veto
		if v.wish.Yes || v.wish.Unsure && !out.wish.Unsure {
			out.wish = v.wish
		}
		return v.wish.Yes
	}
	if g.anybody(row) || whoever(row) {
		return yesBecause("presence", c.String())
	}
	for i, s := range row {
		switch {
		case s.is(machine) && take(g.machineAt(row, i)), s.is(whom) && take(g.whomAt(row, i)), s.is(call) && take(g.callAt(row, i)):
			return out
		case s.is(over) && take(g.overAt(row, i)):
			return out
		case s.is(person|weak|name) && isPerson(row, i) && take(g.personAt(row, i)):
			return out
		case s.is(they) && take(g.theyAt(row, i)):
			return out
		}
	}
	if out.veto {
		out.wish = Wish{}
	}
	return out
}

// anybody is a clause that asks for nothing but somebody's presence: "hello is anyone there". Without a word for the place
// only the person can be meant: "is there anyone real".
func (g *grammar) anybody(row []symbol) bool {
	var all class
	for _, s := range row {
		if !s.is(exist|ask|weak|person|here|fill|hello|help) || s.is(never|before|after|hours) && !s.is(here|fill) {
			return false
		}
		all |= s.class
	}
	return all&exist != 0 && all&weak != 0 && all&here != 0
}

// whoever is "somebody please": anybody will do, at once.
func whoever(row []symbol) bool {
	called, hurry := false, false
	for _, s := range row {
		switch {
		case s.is(not | never):
			return false
		case s.is(urge) && !s.is(hello):
			hurry = true
		case s.is(weak):
			called = true
		case !s.is(fill | hello):
			return false
		}
	}
	return called && hurry && len(row) <= 5
}

func yesBecause(rule, why string) verdict {
	return verdict{wish: Wish{Yes: true, Rule: rule, Why: why}}
}

// walk is what stands on one side of a symbol, as far as it belongs to it.
type walk struct {
	cues    class
	want    float32 // the distance, in unknown words, at which the cue was met
	wish    float32 // want or get
	talk    float32
	exist   float32
	end     int // the last symbol that belongs to it
	negated bool
	refused bool    // "without", "I refuse"
	gap     float32 // unknown words between the last cue and the negation
	still   bool    // behind the negation comes what it forbids: "nicht sprechen"
	blocked bool    // by a telling or asking word right beside it
	open    bool    // it goes on with words that belong to something else
	told    bool    // somebody said it
	must    bool    // "I have to", which may be "do I have to"
	to      bool    // "to", "with" stands between
}

// bridge is how many unknown words a cue may be away.
const bridge = 2.5

func (g *grammar) walk(row []symbol, at, step int) walk {
	w := walk{end: at, want: 99, wish: 99, talk: 99, exist: 99}
	var cost, cued float32
	for j := at + step; j >= 0 && j < len(row); j += step {
		s := row[j]
		switch {
		case s.is(not|refuse) && !s.is(want):
			if absorbed(row, j, at) {
				return w
			}
			w.negated, w.refused, w.gap = true, s.is(refuse), cost-min(cued, w.wish)
			w.still = j+1 < len(row) && row[j+1].is(want|talk|get|help)
			w.end = j
			return w
		case s.is(self) && (step < 0 && (w.cues|s.class)&(want|ask|get) != 0 || step > 0 && w.cues&talk != 0 && !row[j-1].is(want|ask)):
			w.cues |= s.class & (want | ask | get) // here a sentence begins: what stands beyond is another one
			if s.is(want) {
				w.want, w.end = min(w.want, cost), j
			}
			if s.is(get) {
				w.talk, w.end = min(w.talk, cost), j
			}
			w.negated = step < 0 && j > 0 && row[j-1].is(refuse) // "I don't think I want"
			w.refused = w.negated
			return w
		case s.is(said):
			if step < 0 && (w.cues&want == 0 || w.want == cost) { // somebody's words or advice: "she told me to contact an agent"
				w.cues, w.told = 0, true
			}
			w.told = w.told || step > 0 && w.cues&^fill == 0 // "the agent at my bank says"
			w.open = true
			return w
		case s.is(past):
			w.open = true
			return w
		case s.is(never):
			w.blocked = cost == 0 && w.cues == 0
			w.open = true
			return w
		case s.is(machine | call):
			w.open = step < 0 || s.is(call)
			// "does your bot hand over to people": a machine with an article is who does it
			w.told = step < 0 && s.is(machine) && row[j+1].is(talk|get) && w.cues&want == 0 && j > 0 && row[j-1].is(fill|never) && !row[j-1].is(to)
			return w
		case s.is(talk) && !s.is(want|get|help) && j > 0 && row[j-1].is(before) && !row[j-1].is(fill): // "my calls"
			w.open = true
			return w
		case s.is(want | talk | get | help | exist | ask):
			if s.is(want) {
				if cost > w.wish { // the wish of another sentence, spoken without a stop
					return w
				}
				w.want = cost
				w.must = w.must || s.is(not)
			}
			if s.is(want | get) {
				w.wish = min(w.wish, cost)
			}
			if s.is(talk | get) {
				w.talk = min(w.talk, cost)
			}
			if s.is(exist | ask) {
				w.exist = min(w.exist, cost)
			}
			w.cues |= s.class
			cued = cost
		case s.is(fill | title | person | weak | name):
		default:
			w.open = true
			if cost += max(s.cost, 0.4); cost > bridge {
				return w
			}
			continue
		}
		w.to = w.to || s.is(to)
		w.end = j
	}
	return w
}

// forbids says whether the negation before a person is about it. When an unknown word stands between it and the wanting it
// belongs to another sentence, which people who speak do not end: "es geht nicht voran ich will einen Menschen".
func (w walk) forbids() bool { return w.negated && (w.cues&(want|get|ask) == 0 || w.gap < 0.3) }

// absorbed says whether a negation is about a machine that stands nearer to it than the person: "not a bot, a human".
func absorbed(row []symbol, at, from int) bool {
	for _, step := range []int{1, -1} {
		for j := at + step; j >= 0 && j < len(row) && j != from; j += step {
			if row[j].is(machine) {
				return true
			}
			if !row[j].is(fill|want|talk|get|to) || row[j].is(person|not) {
				break
			}
		}
	}
	return false
}

// personAt judges one mention of a person.
func (g *grammar) personAt(row []symbol, at int) verdict {
	l, r := g.walk(row, at, -1), g.walk(row, at, +1)
	s := row[at]
	if g.right&want != 0 && g.right&ask != 0 && r.cues&(want|talk|get) != 0 && !r.negated && !l.refused {
		l.negated = false // where the verb stands last its negation does too: what is denied before is another sentence
	}
	if l.told || r.told && l.cues&(want|talk|get) == 0 || l.must && r.open {
		return verdict{}
	}
	if s.is(person) && conditional(row, at) {
		return yesBecause("condition", text(row, 0, len(row)-1))
	}
	l.cues |= s.class & get
	if l.forbids() && (r.cues&(want|get) == 0 || l.gap < 0.3) || r.negated && (l.cues&(want|talk|get) == 0 || r.still || r.cues&(want|talk|get) != 0 && r.gap == 0) {
		return verdict{veto: s.is(person | weak)}
	}
	// behind the person only what the language puts there; a relative clause ("that I can talk to") in all
	allowed := g.right | help
	if l.cues&(exist|want|ask) != 0 {
		allowed |= talk
	}
	if allowed&talk != 0 {
		allowed |= get & g.right
	}
	rc := r.cues & allowed
	if l.blocked {
		rc &^= exist | ask | want | help
	}
	cues := l.cues | rc
	talkAt, wantAt, existAt := l.talk, l.want, l.exist
	if s.is(exist) && s.is(weak) { // "anybody there" in one phrase
		cues, existAt = cues|exist, 0
	}
	if s.is(talk | get) { // "reach somebody" in one phrase
		cues, talkAt = cues|s.class&(talk|get), 0
	}
	if rc&(talk|get) != 0 {
		talkAt = min(talkAt, r.talk)
	}
	switch {
	case rc&want == 0 || r.want != 0:
	case l.cues == 0 && r.open && rc&(talk|get) == 0 && g.right&ask == 0: // "the manager wants an invoice"
		cues &^= want
	default:
		wantAt = 0
	}
	if rc&(exist|ask) != 0 {
		existAt = min(existAt, r.exist)
	}
	if cues&want == 0 && anyOf(row, past|hours) { // "yesterday I talked to an agent"
		return verdict{}
	}
	strong := s.is(person)
	if strong && !l.blocked && (demanded(row, at) || ordered(row, at)) {
		return yesBecause("alone", text(row, 0, len(row)-1))
	}
	// "do your agents speak Spanish" is no talk with them
	tongued := hasTongue(row) && cues&(want|get) == 0
	why := text(row, min(at, l.end), max(at, r.end))
	yes := func(rule string) verdict { return yesBecause(rule, why) }
	unsure := verdict{wish: Wish{Unsure: true, Rule: "near", Why: why}}
	if s.is(name) && !s.is(person|weak) {
		if (l.cues|r.cues)&(exist|ask) != 0 && present(row, at) {
			return yes("name")
		}
		if row[at].titled && cues&(exist|want|ask) != 0 && (existAt == 0 || wantAt == 0) && !r.open {
			return yes("name")
		}
		if cues&want != 0 && wantAt == 0 && at+2 < len(row) && row[at+1].is(fill) && (row[at+2].is(weak) || row[at+2].is(fill) && at+3 < len(row) && row[at+3].is(weak)) {
			return yes("name") // "I need Steve in accounts"
		}
		if cues&want != 0 && wantAt < bridge && (helps(row, at) || rc&talk != 0) && !l.negated {
			return yes("name")
		}
		if cues&(talk|get) != 0 && talkAt == 0 && !tongued && (l.to || r.to || cues&get != 0) {
			return yes("name")
		}
		return verdict{}
	}
	limit := float32(1.2)
	if strong {
		limit = 2
	}
	switch {
	case cues&(talk|get) != 0 && talkAt <= limit && !tongued:
		return yes("words")
	case strong && cues&want != 0 && l.want == 0 && acts(row, at): // "must a manager sign"
		return verdict{}
	case strong && cues&want != 0 && (wantAt == 0 || wantAt <= 1 && !r.open && described(row, at)):
		return yes("words")
	case strong && cues&exist != 0 && existAt == 0 && (!r.open || rc&help != 0):
		return yes("presence")
	case strong && cues&help != 0 && cues&(want|ask|exist) != 0,
		strong && l.cues&ask != 0 && l.exist == 0 && anyOf(row, urge) && !anyOf(row, hours|past|said): // "can a person please check it"
		return yes("presence")
	case s.is(weak) && cues&help != 0 && helps(row, at) && (cues&(want|ask|exist) != 0 || g.right&help != 0 || at == 0 || row[at-1].is(fill)):
		return yes("presence")
	case s.is(weak) && cues&help != 0 && (cues&want != 0 && wantAt == 0 || cues&exist != 0 && existAt == 0):
		return yes("presence")
	case s.is(weak) && cues&(exist|ask) != 0 && existAt == 0 && (!r.open || cues&help != 0) || strong && cues&(talk|get|want) != 0 && !tongued:
		return unsure
	}
	return verdict{}
}

// conditional says whether the person is what the customer waits for: "until a human answers", "unless a person comes".
func conditional(row []symbol, at int) bool {
	if anyOf(row, hours) || at+1 < len(row) && row[at+1].is(hours) {
		return false
	}
	var cost float32
	for _, step := range []int{-1, 1} {
		for j := at + step; j >= 0 && j < len(row); j += step {
			if row[j].is(until) {
				return true
			}
			if cost += row[j].cost; row[j].is(never|machine) || cost > bridge {
				break
			}
		}
	}
	return false
}

// demanded says whether a clause ends with the bare person and a word of hurry: "this is a joke real person now".
func demanded(row []symbol, at int) bool {
	hurry := false
	for _, s := range row[at+1:] {
		if !s.is(fill) || s.is(to|want|ask) && !s.is(urge) {
			return false
		}
		hurry = hurry || s.is(urge)
	}
	if !hurry || anyOf(row, said|past|hours|before|not) {
		return false
	}
	j := at - 1
	for j >= 0 && row[j].is(fill) && !row[j].is(to) {
		j--
	}
	return j < 0 || row[j].class == 0 || row[j].is(hello|machine)
}

// ordered says whether a clause begins with a word of hurry and the bare person: "please an agent I do not understand".
func ordered(row []symbol, at int) bool {
	hurry := false
	for _, s := range row[:at] {
		if !s.is(fill|hello) || s.is(not|to|want) {
			return false
		}
		hurry = hurry || s.is(urge)
	}
	return hurry && (at+1 == len(row) || row[at+1].is(fill|hello|not) || row[at+1].class == 0) && !anyOf(row, said|past|hours)
}

// described says whether the unknown words between the wanting and the person belong to the person: "I want a qualified
// person", "I want that it is seen by a person". A verb of its own does not: "I want to rate an agent", "to send it to a person".
func described(row []symbol, at int) bool {
	led := false // to a person
	for j := at - 1; j >= 0; j-- {
		switch s := row[j]; {
		case s.is(to):
			led = true
		case s.class == 0:
			if led || j > 0 && (row[j-1].is(to) || row[j-1].is(want) && !row[j-1].is(fill)) {
				return false
			}
		case s.is(want):
			return true
		}
	}
	return true
}

// acts says whether the person is the one who does something else: "must a manager sign", "may an employee open my parcel".
func acts(row []symbol, at int) bool {
	from := at - 1
	for from > 0 && row[from].is(fill) && !row[from].is(want) {
		from--
	}
	next := at + 1
	if next < len(row) && row[next].is(fill) && row[next].is(ask) { // "to"
		next++
	}
	if from >= 0 && row[from].is(want) && row[from].is(ask) && next+1 < len(row) && row[next].class == 0 {
		return true
	}
	for _, s := range row[at+1:] {
		if !s.is(fill) || s.is(never) {
			return s.is(never) && !s.is(fill|said|hours|hello)
		}
	}
	return false
}

// present says whether somebody named is asked after: "is Maria in today", beside the name only words of the house.
func present(row []symbol, at int) bool {
	found, others := len(row) <= 4 && anyOf(row, exist), 0
	for i, s := range row {
		switch {
		case i == at:
		case s.is(here):
			found = true
		case s.is(fill|ask|exist|hello|name|title|want|weak|help|past) || s.is(after) && i > at:
		case s.class == 0: // "from billing"
			others++
		default:
			return false
		}
	}
	return found && others <= 1
}

// helps says whether beside the weak person stands something that only a person would do: "call me", "take over".
func helps(row []symbol, at int) bool {
	for _, step := range []int{1, -1} {
		for j := at + step; j >= 0 && j < len(row); j += step {
			if row[j].is(help) && !row[j].is(soft) {
				return true
			}
			if !row[j].is(fill | ask | want | to | help | exist | hello) {
				break
			}
		}
	}
	return false
}

func hasTongue(row []symbol) bool {
	for _, s := range row {
		if s.is(tongue) {
			return true
		}
	}
	return false
}

// isPerson looks at the neighbours: a "2 person tent", an "agent fee" and "my insurance agent" are no person of ours.
func isPerson(row []symbol, at int) bool {
	if at > 0 && (row[at-1].is(before) && !row[at-1].is(fill) || counts(row[at-1].text)) {
		return false
	}
	next := at + 1
	for next < len(row) && row[next].is(person) && !row[next].is(after) {
		next++
	}
	return next >= len(row) || !row[next].is(after)
}

// counts says whether w is a number above one.
func counts(w string) bool {
	for _, r := range w {
		if !unicode.IsDigit(r) {
			return false
		}
	}
	return w != "" && w != "1"
}

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
			if row[j].is(never|before|after|said) || !row[j].is(fill|want|talk|get|to|person|weak|machine) {
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
	if last := row[at].text[strings.LastIndexByte(row[at].text, ' ')+1:]; g.is(last, to) && at+1 < len(row) && row[at+1].class == 0 {
		return yesBecause("words", text(row, at, len(row)-1))
	}
	for _, s := range row[at+1:] {
		switch {
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
	if cues&want == 0 || cues&(talk|get) == 0 || near > 1 || l.forbids() || r.negated || l.blocked || l.told {
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
		if row[j].is(not | never | enough | refuse) {
			return verdict{veto: row[j].is(not | refuse)}
		}
		asked = asked || row[j].is(want|ask)
		if !row[j].is(fill|want|ask|weak|person|get|help|talk|name|exist) && row[j].cost > 0.5 {
			break
		}
	}
	if at+1 < len(row) {
		ends := at+2 < len(row) && row[at+1].is(not) && row[at+2].class == 0 // "call me I don't see it" is two sentences
		if next := row[at+1]; next.is(not|after|name|enough|refuse|never) && !next.is(fill) && !(ends && next.is(not)) {
			return verdict{veto: next.is(not | refuse)}
		}
	}
	if row[at].is(soft) && !wanted(row, at) {
		return verdict{}
	}
	return yesBecause("call", row[at].text)
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
	for to > 0 && unicode.Is(unicode.So, []rune(c[to-1].text)[0]) { // a face behind the words
		to--
	}
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
