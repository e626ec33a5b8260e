// Package turn decides, during a call with the responder, who speaks: when the caller has said what they want to say,
// what of their sound interrupts us, when to fill a silence, ask again, and give up and get a person.
//
//	ear:    Began, Paused, Heard ──▶ ┌─────────┐ ──▶ Finish, Look, Take   (the caller's turn)
//	mouth:  Ready, Quiet, Settled ─▶ │ Machine │ ──▶ Speak, Hold, Resume, Cut    (ours)
//	keys:   Key ───────────────────▶ └─────────┘ ──▶ Fill, Again, Person   (when it does not go on)
//
// It has no clock, no goroutine and no sound: every verb gets the time and returns what is to be done now; Deadline says
// when Tick is wanted. A turn ends by meaning as much as by silence: a finished question or a "yes" after 350 ms, digits
// that are being told after 1.5 s, a trailing "and" or "my number is" after 2 s (meaning.go). Sound of the caller while
// we speak holds us at once, because nobody can know yet what it becomes; when it was a cough or an "mm-hm" we go on
// where we stopped, when it was words what is unsaid is dropped. What is far softer than this caller is somebody behind them
// (level.go). The caller's turn ends in end.go; what has its time is in due.go.
package turn

import (
	"strings"
	"time"
)

// Times are the machine's clocks; zero fields get the default.
type Times struct {
	Short   time.Duration // after words that are complete: 350 ms
	Normal  time.Duration // after others: 700 ms
	Long    time.Duration // within digits and spelling: 1.5 s
	Longer  time.Duration // after "and", "um", "my number is": 2 s
	Longest time.Duration // one turn at most: 40 s
	Sure    time.Duration // sound of the caller that holds us: 40 ms
	Doubt   time.Duration // after a sound while we speak, before its words are asked for: 100 ms
	Noise   time.Duration // sound without a word that we stop holding for: 1.5 s
	Babble  time.Duration // sound without a word while nobody speaks that counts as not understood: 10 s
	Final   time.Duration // for the ear's last words, when we go on without them: 1.5 s
	Late    time.Duration // and when the turn hangs on them: 8 s
	Fill    time.Duration // nothing to say yet: 1.5 s
	Person  time.Duration // and still nothing: 10 s
	Silence time.Duration // of the caller: 8 s
	Keys    time.Duration // after the last key of a number: 2.5 s
}

// Config is what a Machine needs to know of the call.
type Config struct {
	Language   string  // of the words: "en", "de" ...; of others only digits are understood
	Partial    bool    // the ear is known to tell words while they are spoken; else it is taken to when it has done so once
	Confidence float64 // words heard with less are not understood: 0.3
	Times      Times
	Wish       func(words string) bool // a person is wanted by them: they count however far they are said; nil: not known
}

func (t Times) withDefaults() Times {
	for _, f := range []struct {
		d   *time.Duration
		def time.Duration
	}{
		{&t.Short, 350 * time.Millisecond}, {&t.Normal, 700 * time.Millisecond}, {&t.Long, 1500 * time.Millisecond},
		{&t.Longer, 2 * time.Second}, {&t.Longest, 40 * time.Second}, {&t.Sure, 40 * time.Millisecond},
		{&t.Doubt, 100 * time.Millisecond}, {&t.Noise, 1500 * time.Millisecond}, {&t.Babble, 10 * time.Second}, {&t.Final, 1500 * time.Millisecond}, {&t.Late, 8 * time.Second},
		{&t.Fill, 1500 * time.Millisecond}, {&t.Person, 10 * time.Second}, {&t.Silence, 8 * time.Second}, {&t.Keys, 2500 * time.Millisecond},
	} {
		if *f.d == 0 {
			*f.d = f.def
		}
	}
	return t
}

// Do is what a caller of the machine has to do.
type Do uint8

const (
	Finish Do = iota + 1 // ask the ear for the last words; they come by Heard with final set
	Take                 // Words are the caller's turn: hand them up; an answer is owed
	Speak                // what is ready may be said
	Hold                 // be silent at once, keep the place
	Resume               // go on there
	Cut                  // be silent; what was not said is dropped
	Fill                 // say that it takes a moment
	Again                // Why is silence: ask whether they are there; no_match: say that it was not understood
	Person               // Why: silence, no_match, failure: the caller gets a person
	Look                 // ask the ear what there is so far of a sound that goes on; it comes by Looked
)

var doNames = [...]string{"", "finish", "take", "speak", "hold", "resume", "cut", "fill", "again", "person", "look"}

func (d Do) String() string { return doNames[d] }

// Act is one thing to do.
type Act struct {
	Do    Do
	Words string // of Take
	Why   string // of Again and Person

	Number bool // of Take: we had asked for a number
}

// Why it does not go on.
const (
	Silence = "silence"  // the caller says nothing
	NoMatch = "no_match" // twice nothing was understood
	Failure = "failure"  // we have nothing to say
)

// Kind is what we say.
type Kind uint8

const (
	Answer Kind = iota // the caller may interrupt it
	Filler             // the same, and an answer is owed still
	Notice             // is said to its end: a hand-over, what must be told
)

// caller is what the caller does.
type caller uint8

const (
	silent   caller = iota
	sounding        // a voice is heard
	paused          // it was; perhaps it goes on
	ending          // the ear was asked for the last words
)

// Machine is one call's. Its owner calls it from one goroutine, with times that do not go back.
type Machine struct {
	cfg  Config
	t    Times
	lang *lexicon
	acts []Act

	caller  caller
	since   time.Time // of the caller's state
	began   time.Time // of this turn's first sound
	pausing time.Time // since when, of the last pause
	voice   bool      // one is heard now, whatever the state
	final   string    // words that are certain
	part    string    // and that are not
	typed   string    // keys of a number
	keyAt   time.Time // of the last one; zero: none
	unsure  bool      // words were heard with too little confidence
	known   bool      // all words of the turn are certain: nothing was heard since the last final
	probing bool      // the last words were asked for while we spoke
	capping bool      // and here in mid-speech
	level   levels
	awaits  int    // Finishes that the ear has not answered yet; it answers them in their order
	behind  bool   // since the last of them it has answered one before
	more    bool   // and the caller has begun to speak again
	gave    string // words that were handed up before the ear was sure of them: it tells them once more
	late    bool   // the ear still owes the words of a turn that was put aside

	looked  time.Time // when the ear was asked to look at a sound that goes on
	looking bool      // and has not told yet
	interim bool      // whether there are any words in it is all that counts

	ours   bool      // we speak
	first  time.Time // our first word in this call
	echoes bool      // the line brings our voice back
	kind   Kind      // what
	held   bool      // but keep still for the moment
	holds  int       // by sound that had no words in it, while we say this
	deaf   bool      // to such sound: there was too much of it
	ready  bool      // there is something to say, when the caller is done
	said   said
	asks   bool      // what we say, or said last, is a question
	number bool      // for a number
	owed   time.Time // since when the caller waits for an answer; zero: not
	filled bool

	quiet  time.Time // since when nobody speaks
	asked  bool      // whether they are still there
	misses int
	capped int
	over   bool // a person was asked for
}

// New makes a machine that waits for the caller's or our first words.
func New(cfg Config, at time.Time) *Machine {
	if cfg.Confidence == 0 {
		cfg.Confidence = 0.3
	}
	return &Machine{cfg: cfg, t: cfg.Times.withDefaults(), lang: lexiconOf(cfg.Language), quiet: at}
}

// Language goes over to another one, of the words that come.
func (m *Machine) Language(language string) {
	m.cfg.Language, m.lang = language, lexiconOf(language)
	m.unasked()
}

// unasked: the ear is another one, or nobody has listened to it for a while.
func (m *Machine) unasked() { m.awaits, m.gave = 0, "" }

func (m *Machine) act(do Do, words, why string) {
	m.acts = append(m.acts, Act{Do: do, Words: words, Why: why})
}

// done returns what has gathered.
func (m *Machine) done() []Act {
	acts := m.acts
	m.acts = nil
	return acts
}

// words is the turn so far.
func (m *Machine) words() string { return strings.Join(strings.Fields(m.final+" "+m.part), " ") }

func (m *Machine) to(s caller, at time.Time) { m.caller, m.since = s, at }

// overlap says whether the caller's sound now would be an interruption.
func (m *Machine) overlap() bool { return m.ours && m.kind != Notice }

// Began: a voice is heard, so loud (see Level).
func (m *Machine) Began(at time.Time, level float64) []Act {
	m.voice, m.known, m.looking, m.interim = true, false, false, false
	m.level.hear(level)
	if m.began.IsZero() {
		m.began = at
	}
	if m.more = m.caller == ending; !m.more {
		m.to(sounding, at)
	}
	return m.done()
}

// Paused: it is not heard any more.
func (m *Machine) Paused(at time.Time) []Act {
	m.voice, m.pausing = false, at
	if m.caller == sounding {
		m.to(paused, at)
	}
	return m.done()
}

// Heard: the ear has understood text. Not final: it may change, is all since the last final, and is told while it is spoken.
// confidence is 0 to 1; 0 is unknown.
func (m *Machine) Heard(at time.Time, text string, final bool, confidence float64) []Act {
	m.cfg.Partial = m.cfg.Partial || !final
	m.hear(at, text, final, confidence)
	return m.done()
}

// Looked: the ear has told what it understands so far, because it was asked to or because it has cut a long speech; else it would not have.
// Text may be empty.
func (m *Machine) Looked(at time.Time, text string, confidence float64) []Act {
	if confidence > 0 && confidence < m.cfg.Confidence {
		text = ""
	}
	m.hear(at, text, false, confidence)
	if m.looking && m.caller == sounding {
		m.sounded(at)
	}
	m.looking = false
	return m.done()
}

func (m *Machine) hear(at time.Time, text string, final bool, confidence float64) {
	text = m.rest(strings.TrimSpace(text))
	if final {
		m.answered()
	}
	if final && text != "" && confidence > 0 && confidence < m.cfg.Confidence {
		m.unsure, text = true, ""
	}
	if m.late && m.caller != ending && m.nobodys(text) {
		text = ""
	}
	m.late = m.late && !final
	was := m.words()
	if final {
		m.final, m.part = tail(m.final+" "+text), ""
	} else {
		m.part, m.known = tail(text), false
	}
	if text != "" && m.words() != was && !m.voice && (m.caller == silent || m.caller == paused) { // words whose sound was not told
		if m.began.IsZero() {
			m.began = at
		}
		m.to(paused, at)
		m.pausing = at
	}
	m.level.words(was, m.words())
	if w := m.words(); m.overlap() && m.meant() && !m.aside(w) &&
		(final || strings.Contains(w, " ") && !(m.echoes && m.said.holds(w, 2))) { // one word may become another
		m.cut(at)
	}
	if final && m.caller == ending && m.awaits == 0 {
		m.ended(at)
	}
}

// answered: the ear has told of what was said up to a Finish, or that it has lost it.
func (m *Machine) answered() {
	m.awaits, m.gave, m.behind = max(0, m.awaits-1), "", m.awaits > 1
}

// rest is what of the ear's words was not handed up yet.
func (m *Machine) rest(text string) string {
	given, words, same := strings.Fields(m.gave), strings.Fields(text), 0
	for i := range min(len(given), len(words)) {
		if whole(given[i]) == whole(words[i]) {
			same++
		}
	}
	if 2*same < len(given) { // they are others
		return text
	}
	return strings.Join(words[min(len(given), len(words)):], " ")
}

// Lost: the ear has lost what was said since its last final.
func (m *Machine) Lost(at time.Time) []Act {
	m.answered()
	m.unsure, m.part, m.late = true, "", false
	if m.caller == ending && m.awaits == 0 {
		m.ended(at)
	}
	return m.done()
}

// Key: the caller pressed a key that belongs to a number; # ends it.
func (m *Machine) Key(at time.Time, digit byte) []Act {
	if m.began.IsZero() {
		m.began = at
	}
	m.cut(at)
	switch {
	case digit == '#':
		m.take(at)
	case len(m.typed) < maxTyped:
		m.typed += string(digit)
		fallthrough
	default:
		m.keyAt = at
	}
	return m.done()
}

const (
	maxTyped = 40
	maxWords = 2000 // bytes of a turn: no 40 seconds have so many
)

// tail keeps the last words of too many.
func tail(words string) string {
	if len(words) <= maxWords {
		return words
	}
	words = words[len(words)-maxWords:]
	_, words, _ = strings.Cut(words, " ")
	return words
}

// Ready: there is something to say. While we speak it follows by itself.
func (m *Machine) Ready(at time.Time, kind Kind) []Act {
	switch {
	case kind == Notice || !m.ours && m.free():
		m.speak(kind)
	case !m.ours:
		m.ready = true
	}
	return m.done()
}

// free says whether the caller leaves us the word.
func (m *Machine) free() bool { return m.caller == silent && m.keyAt.IsZero() }

func (m *Machine) speak(kind Kind) {
	if !m.ours || kind == Notice {
		m.kind = kind
	}
	speaks := m.ours && !m.held
	if !m.ours {
		m.holds, m.deaf = 0, false
	}
	m.ready, m.held, m.ours = false, false, true
	if !speaks {
		m.act(Speak, "", "")
	}
}

// Saying: we begin with this sentence.
func (m *Machine) Saying(at time.Time, sentence string, kind Kind) {
	if m.kind = kind; m.first.IsZero() {
		m.first = at
	}
	m.asks = strings.HasSuffix(strings.TrimRight(sentence, " \"'”’»)"), "?")
	m.number = m.asks && m.lang.asksNumber(sentence) || kind == Filler && m.number
	m.said.add(sentence)
}

// WantsNumber says whether we have asked for a number: then keys are its digits.
func (m *Machine) WantsNumber() bool { return m.number || !m.keyAt.IsZero() }

// Quiet: we have said what there was, or were silenced by somebody else.
func (m *Machine) Quiet(at time.Time) []Act {
	if !m.owed.IsZero() && m.kind == Answer && m.ours { // an answer that stands still has its time from here
		m.owed = later(m.owed, at)
	}
	m.ours, m.held, m.quiet = false, false, at
	m.release(at)
	return m.done()
}

// Drop: what was to be said is dropped, and the caller waits for nothing.
func (m *Machine) Drop(at time.Time) {
	m.ours, m.held, m.ready, m.owed, m.quiet = false, false, false, time.Time{}, at
}

// Settled: nothing more is owed; the answer is complete, or there will be none.
func (m *Machine) Settled(at time.Time) []Act {
	m.owed = time.Time{}
	if !m.ours {
		m.quiet = at
	}
	return m.done()
}

// Owes says whether the caller waits for an answer.
func (m *Machine) Owes() bool { return !m.owed.IsZero() }

// Wake: nothing could be heard until now; the caller's silence begins anew.
func (m *Machine) Wake(at time.Time) {
	m.voice, m.quiet = false, at
	m.unasked()
	m.forget(at)
	if !m.owed.IsZero() {
		m.owed = at
	}
}

// Over: the caller is in line, or with a person: nothing is asked or given up any more. Words are still taken.
func (m *Machine) Over(over bool, at time.Time) {
	m.over, m.quiet, m.misses, m.capped, m.asked = over, at, 0, 0, false
}

// meant says whether the words of the caller are more than a sign of listening, and their own.
func (m *Machine) meant() bool {
	w := m.words()
	return w != "" && !m.echo(w) && !(m.lang.listens(w) && !(m.asks && m.lang.answers(w)))
}

// echo says whether words are ours, come back from a loudspeaker: on a line that is known to do so, some of them in a row;
// and any in the call's first moments, when nothing is known of the line yet. Elsewhere a caller may well repeat what we
// said ("speak to a person").
func (m *Machine) echo(words string) bool {
	switch {
	case !m.ours && m.began.After(m.quiet.Add(echoTail)):
		return false
	case m.began.Before(m.first.Add(unknownLine)):
		return m.said.holds(words, 1)
	}
	return m.echoes && m.said.holds(words, echoWords)
}

const (
	unknownLine = 2 * time.Second
	echoTail    = 500 * time.Millisecond
)

// Echoes: the line is known to bring our own voice back.
func (m *Machine) Echoes() { m.echoes = true }

// cut drops what is unsaid.
func (m *Machine) cut(at time.Time) {
	if !m.overlap() {
		return
	}
	m.ours, m.held, m.quiet, m.owed = false, false, at, time.Time{}
	m.act(Cut, "", "")
}
