package human

import "slices"

// verdict of one clause in one language.
type verdict struct {
	wish Wish
	veto bool // it speaks of a person, and says clearly that none is wanted
}

// read judges one clause. A wish is a person of ours with a cue near by: wanting, talking, being put through, asking
// whether one is there. Words that tell, ask about or forbid stand between them and keep them apart.
func (g *grammar) read(c clause, row []symbol) verdict {
	if len(row) > 1 && row[0].is(reply) && row[1].is(want|get|over|call|self|ask|refuse) {
		row = row[1:] // "no, give me a person" answers what was said before
	}
	for i := len(row) - 1; i > 0 && row[i].is(tag|fill|hello); i-- {
		if row[i].is(tag) {
			row[i].class = fill // "có ai không", "ada orang tak": at the end it only asks
			break
		}
	}
	if len(row) == 0 {
		return verdict{}
	}
	if g.aloneIn(c, row) {
		if slices.ContainsFunc(row, func(s symbol) bool { return s.is(call) }) {
			return yesBecause("call", c.String())
		}
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
		case (s.is(over) || g.leads(s)) && take(g.overAt(row, i)):
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
		case s.is(weak) && !s.is(trade):
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
	next    bool    // the negation belongs to the next sentence: "a person I want to talk to, the money not came"
	blocked bool    // by a telling or asking word right beside it
	open    bool    // it goes on with words that belong to something else
	told    bool    // somebody said it
	must    bool    // "I have to", which may be "do I have to"
	to      bool    // "to", "with" stands between
	with    bool    // "with" does
	object  bool    // "me" does: somebody is to do something with the customer
	own     bool    // the customer is who says it: "I", or a sentence that begins here
}

// verbLast says whether the verb stands last in this language, and its negation with it.
func (g *grammar) verbLast() bool { return g.right&want != 0 && g.right&ask != 0 }

// bridge is how many unknown words a cue may be away.
const bridge = 2.5

func (g *grammar) walk(row []symbol, at, step int) (w walk) {
	w = walk{end: at, want: 99, wish: 99, talk: 99, exist: 99}
	var cost, cued float32
	defer func() { w.own = w.own || w.end <= 0 }()
	for j := at + step; j >= 0 && j < len(row); j += step {
		s := row[j]
		switch {
		case s.is(not|refuse) && !s.is(want|exist):
			if absorbed(row, j, at) {
				return w
			}
			w.negated, w.refused, w.gap = true, s.is(refuse), cost-min(cued, w.wish)
			w.still = j+1 < len(row) && row[j+1].is(want|talk|get|help)
			w.next = step > 0 && g.verbLast() && w.cues&(want|get) != 0 && w.gap >= 1 && j+1 < len(row) && row[j+1].class == 0
			w.end = j
			return w
		case s.is(self) && (step < 0 && (w.cues|s.class)&(want|ask|get) != 0 || step > 0 && w.cues&talk != 0 && !row[j-1].is(want|ask)):
			w.begin(row, j, step, cost)
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
			w.told = step < 0 && s.is(machine) && row[j+1].is(talk|get) && w.cues&want == 0 && !anyOf(row[:j], not|enough|refuse) && j > 0 && row[j-1].is(fill|never) && !row[j-1].is(to)
			return w
		case s.is(talk) && !s.is(want|get|help) && j > 0 && row[j-1].qualifies(): // "my calls"
			w.open = true
			return w
		case s.is(want | talk | get | help | exist | ask):
			if s.is(want) && cost > w.wish { // the wish of another sentence, spoken without a stop
				return w
			}
			w.cue(s, cost)
			cued = cost
		case s.is(fill | title | person | weak | name | here | hello):
		default:
			w.open = true
			if cost += max(s.cost, 0.4); cost > bridge {
				return w
			}
			continue
		}
		w.to, w.with, w.object = w.to || s.is(to), w.with || s.is(with), w.object || s.is(object)
		w.end = j
	}
	return w
}

// begin ends the walk where a sentence begins: what stands beyond is another one.
func (w *walk) begin(row []symbol, j, step int, cost float32) {
	s := row[j]
	w.cues |= s.class & (want | ask | get)
	w.own = true
	if s.is(want) {
		w.cues |= s.class & talk // "cho tôi gặp", let me meet, in one phrase
		w.want, w.end = min(w.want, cost), j
	}
	if s.is(get) {
		w.talk, w.end = min(w.talk, cost), j
	}
	// "I don't think I want", "non voglio": a verb that holds its person has the negation right before it
	w.negated = step < 0 && j > 0 && (row[j-1].is(refuse) || s.is(mine) && row[j-1].is(not) && !row[j-1].is(reply))
	w.refused = w.negated
}

// cue notes how far away a cue stands.
func (w *walk) cue(s symbol, cost float32) {
	if s.is(want) {
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
}

// forbids says whether the negation before a person is about it. When an unknown word stands between it and the wanting it
// belongs to another sentence, which people who speak do not end: "es geht nicht voran ich will einen Menschen".
func (w walk) forbids() bool { return w.negated && (w.cues&(want|get|ask) == 0 || w.gap < 0.3) }

// absorbed says whether a negation is about a machine that stands nearer to it than the person: "not a bot, a human".
func absorbed(row []symbol, at, from int) bool {
	for _, step := range []int{1, -1} {
		strange := false // one unknown word may stand between: "machine answers I don't want, give me a human"
		for j := at + step; j >= 0 && j < len(row) && j != from; j += step {
			if row[j].is(machine) {
				return true
			}
			if row[j].class == 0 && !strange && step < 0 {
				strange = true
				continue
			}
			if !row[j].is(fill|want|talk|get|to) || row[j].is(person|not) {
				break
			}
		}
	}
	return false
}

// mention is one person spoken of in a clause, with the cues that stand on its two sides.
type mention struct {
	row          []symbol
	at           int
	l, r         walk
	cues, behind class // all cues, and those behind the person
	talk, want   float32
	exist        float32
	strong       bool // a person of ours by itself, not only somebody
	tongued      bool // "do your agents speak Spanish" is no talk with them
}

// personAt judges one mention of a person.
func (g *grammar) personAt(row []symbol, at int) verdict {
	l, r := g.walk(row, at, -1), g.walk(row, at, +1)
	s := row[at]
	if g.verbLast() && (r.cues&(want|get) != 0 || r.cues&talk != 0 && g.right&not != 0) && !r.negated && !l.refused {
		l.negated = false // where the verb stands last its negation does too: what is denied before is another sentence
	}
	if l.told || r.told && l.cues&(want|talk|get) == 0 || l.must && r.open {
		return verdict{}
	}
	if s.is(person) && conditional(row, at) {
		return yesBecause("condition", text(row, 0, len(row)-1))
	}
	l.cues |= s.class & get
	if l.forbids() && (r.cues&(want|get) == 0 || l.gap < 0.3) || r.negated && !r.next && (l.cues&(want|talk|get) == 0 || r.still || r.cues&(want|talk|get) != 0 && r.gap == 0) {
		return verdict{veto: s.is(person | weak)}
	}
	m := g.mention(row, at, l, r)
	if m.cues&want == 0 && (anyOf(row, hours) || pastNear(row, at)) { // "yesterday I talked to an agent"
		return verdict{}
	}
	if m.strong && !l.blocked && (demanded(row, at) || ordered(row, at)) {
		return yesBecause("alone", text(row, 0, len(row)-1))
	}
	if s.is(name) && !s.is(person|weak) {
		if !l.blocked && m.named() {
			return yesBecause("name", m.why())
		}
		return verdict{}
	}
	return g.reached(m)
}

// mention gathers what the two sides of a person say. Behind it counts only what the language puts there; a relative clause
// ("that I can talk to") does in all.
func (g *grammar) mention(row []symbol, at int, l, r walk) mention {
	s := row[at]
	allowed := g.right | help
	if l.cues&(exist|want|ask) != 0 {
		allowed |= talk
	}
	if allowed&talk != 0 {
		allowed |= get & g.right
	}
	behind := r.cues & allowed
	if l.blocked {
		behind &^= exist | ask | want | help
	}
	m := mention{row: row, at: at, l: l, r: r, cues: l.cues | behind, behind: behind, talk: l.talk, want: l.want, exist: l.exist, strong: s.is(person)}
	if s.is(exist) && s.is(weak) { // "anybody there" in one phrase
		m.cues, m.exist = m.cues|exist, 0
	}
	if s.is(want|ask) && s.is(weak) { // "could someone" in one phrase
		m.cues |= s.class & (want | ask)
	}
	if s.is(talk | get) { // "reach somebody" in one phrase
		m.cues, m.talk = m.cues|s.class&(talk|get), 0
	}
	if behind&(talk|get) != 0 {
		m.talk = min(m.talk, r.talk)
	}
	switch {
	case behind&want == 0 || r.want != 0:
	case l.cues == 0 && r.open && behind&(talk|get) == 0 && g.right&ask == 0: // "the manager wants an invoice"
		m.cues &^= want
	default:
		m.want = 0
	}
	if behind&(exist|ask) != 0 {
		m.exist = min(m.exist, r.exist)
	}
	m.tongued = hasTongue(row) && m.cues&(want|get) == 0
	return m
}

func (m mention) why() string { return text(m.row, min(m.at, m.l.end), max(m.at, m.r.end)) }

// named says whether somebody is asked for by name: "is Maria in today", "put me on to Mr Okonkwo", "I need Steve in accounts".
func (m mention) named() bool {
	row, at := m.row, m.at
	around := m.l.cues | m.r.cues
	if at > 0 && row[at-1].is(before) && m.cues&talk == 0 { // "give me a Mastercard": with an article it is a thing
		return false
	}
	switch {
	case around&(exist|ask) != 0 && present(row, at), anyOf(row, here) && anyOf(row, weak) && present(row, at):
		return true
	case row[at].titled && m.cues&(exist|want|ask) != 0 && (m.exist == 0 || m.want == 0) && !m.r.open:
		return true
	case row[at].titled && m.l.to && m.l.cues&want != 0 && m.l.want == 0: // "ich möchte mit Herrn Weber über den Preis sprechen"
		return true
	case row[at].titled && (at < 2 || row[at-2].is(fill|hello|want|ask|exist)) && fromHouse(row, at): // "Frau Berger aus der Schadenabteilung bitte"
		return true
	case m.cues&want != 0 && m.want == 0 && at+2 < len(row) && row[at+1].is(fill) && (row[at+2].is(weak) || row[at+2].is(fill) && at+3 < len(row) && row[at+3].is(weak)):
		return true
	case m.cues&want != 0 && m.want < bridge && (helps(row, at) || m.behind&talk != 0) && !m.l.negated:
		return true
	}
	return m.cues&(talk|get) != 0 && m.talk == 0 && !m.tongued && (m.l.to || m.r.to || row[at].cased || m.cues&get != 0)
}

// reached weighs the cues of a person without a name: talking to it, wanting it, asking whether one is there, wanting its help.
func (g *grammar) reached(m mention) verdict {
	row, at, cues := m.row, m.at, m.cues
	s, strong := row[at], m.strong
	limit := float32(1.2)
	switch {
	case strong:
		limit = 2
	case m.l.to: // "discuss my diagnosis with a nurse"
		limit = 1.5
	}
	switch {
	case s.is(trade) && !strong && (cues&talk == 0 && !m.l.to && !m.r.to && !g.handsTo(row[:at]) || slices.ContainsFunc(row, symbol.appointment)): // "find me a dentist", "an appointment with the vet"
		return verdict{}
	case cues&(talk|get) != 0 && m.talk <= limit && !m.tongued:
		return yesBecause("words", m.why())
	case strong && cues&want != 0 && m.l.want == 0 && acts(row, at): // "must a manager sign"
		return verdict{}
	case strong && cues&want != 0 && (m.want == 0 || m.want <= 1 && !m.r.open && described(row, at)):
		return yesBecause("words", m.why())
	case s.is(weak) && !s.is(trade) && m.l.cues&want != 0 && m.l.want == 0 && m.l.own && !m.l.negated && (lastIn(row, at) || relates(row, at)), // "I just want somebody", "I want somebody who can decide"
		cues&exist != 0 && m.exist == 0 && hasTongue(row) && relates(row, at): // "is there anyone who speaks Polish"
		return yesBecause("words", m.why())
	case strong && cues&exist != 0 && m.exist == 0 && (!m.r.open || m.behind&help != 0),
		strong && cues&help != 0 && cues&(want|ask|exist) != 0,
		strong && m.l.cues&ask != 0 && m.l.exist == 0 && anyOf(row, urge) && !anyOf(row, hours|past|said): // "can a person please check it"
		return yesBecause("presence", m.why())
	case s.is(weak) && cues&help != 0 && helps(row, at) && (cues&(want|ask|exist) != 0 || g.right&help != 0 || at == 0 || row[at-1].is(fill)),
		s.is(weak) && !s.is(trade) && cues&help != 0 && (cues&want != 0 && m.want == 0 || cues&exist != 0 && m.exist == 0):
		return yesBecause("presence", m.why())
	case strong && wishesThat(row, at):
		return yesBecause("words", text(row, 0, at))
	case strong && !m.r.open && !m.l.negated && !m.tongued && (m.l.with && m.l.cues&want != 0 && m.l.own || m.l.object && m.l.to && m.l.cues&(want|ask) != 0):
		return yesBecause("words", m.why()) // "I'd rather deal with real people", "can you patch me over to a colleague", whatever the verb is
	case s.is(weak) && !s.is(trade) && cues&(exist|ask) != 0 && m.exist == 0 && (!m.r.open || cues&help != 0) || strong && cues&(talk|get|want) != 0 && !m.tongued:
		return verdict{wish: Wish{Unsure: true, Rule: "near", Why: m.why()}}
	}
	return verdict{}
}
