package turn

// How loud somebody is tells the caller from who talks behind them: a street, a television, an office. A recogniser makes words
// of that too, other ones at each look. So the machine learns from the turns that were taken how loud this caller is, and
// what stays far below that while we speak neither holds nor stops us. Words that are clear do: the wish for a person, a zero,
// and words that go on as they began, which no murmur does; a caller who has turned away from the telephone is heard by them.
// What is heard while nobody else speaks is taken as it is, and teaches how loud a caller is who has become softer. Where
// nothing is known of the caller, or of the sound, everything counts.

const (
	farBelow = 14.0 // dB below the caller that are somebody else
	softer   = 3.0  // dB at most that one turn lowers what is known
	clear    = 3    // words that are heard again, with others behind them,
	often    = 3    // so often, are clear
	opening  = 20   // within so many: later on much of them is certain, and goes on whatever comes
	round    = 4    // words that nobody says twice in one breath
)

// levels are in dB of full scale; 0: not known.
type levels struct {
	caller float64 // in the turns so far
	now    float64 // what is heard
	most   float64 // of this turn
	near   bool    // it was the caller's, once in this turn
	again  int     // so often its words have gone on as they had begun
}

// hear notes how loud the sound is that is heard now.
func (l *levels) hear(level float64) {
	l.now = level
	if level != 0 && (l.most == 0 || level > l.most) {
		l.most = level
	}
	l.near = l.near || !l.far()
}

// far says whether what is heard now is too soft for the caller.
func (l *levels) far() bool { return l.caller != 0 && l.now != 0 && l.now < l.caller-farBelow }

// words are what is heard of this turn, and what was heard of it before.
func (l *levels) words(before, words string) {
	if l.again == often || l.near {
		return
	}
	a, b, same := tokens(before), tokens(words), 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	switch goesOn := same >= clear && same >= len(a)-1; {
	case !goesOn || loops(b) || len(b) > opening:
		l.again = 0
	case len(b) > len(a):
		l.again++
	}
}

// loops says whether the same words come again and again: what recognisers make of noise does so.
func loops(words []string) bool {
	seen := map[[round]string]bool{}
	for i := range max(0, len(words)-round+1) {
		w := [round]string(words[i : i+round])
		if seen[w] {
			return true
		}
		seen[w] = true
	}
	return false
}

// learn: these words were the caller's turn.
func (l *levels) learn() {
	switch {
	case l.most == 0:
	case l.caller == 0:
		l.caller = l.most
	case l.most > l.caller:
		l.caller += (l.most - l.caller) / 2
	default:
		l.caller = max(l.most, l.caller-softer)
	}
}

// next begins a turn; goes says that the sound goes on.
func (l *levels) next(goes bool) {
	l.most, l.near, l.again = 0, false, 0
	if goes {
		l.hear(l.now)
	}
}

// Level: the voice that is heard has become so loud, in dB of full scale; 0: nobody knows.
func (m *Machine) Level(level float64) { m.level.hear(level) }

// Stranger: the caller's voice comes another way from now on; how loud it is there is not known.
func (m *Machine) Stranger() { m.level = levels{} }

// aside says whether the words of this turn may be nobody's: they were heard while we spoke, far below the caller.
func (m *Machine) aside(words string) bool {
	over := m.overlap() || !m.ours && m.began.Before(m.quiet)
	return over && m.level.caller != 0 && m.level.most != 0 && !m.level.near && m.level.again < often && m.nobodys(words)
}

// nobodys says whether words are none that count however far they are said.
func (m *Machine) nobodys(words string) bool {
	return !m.lang.zero(words) && (m.cfg.Wish == nil || !m.cfg.Wish(words))
}
