package turn

import (
	"strings"
	"time"
)

// How a caller's turn ends: with the ear's last words it is taken, goes on, or was nothing.

// ended: the ear has told the last words.
func (m *Machine) ended(at time.Time) {
	probing := m.probing
	m.probing = false
	aside := m.aside(m.words())
	meant := m.meant() && !aside
	m.known = !m.voice && !m.more
	switch {
	case m.voice && !m.capping: // the caller has gone on meanwhile
		m.to(sounding, at)
	case m.more && !m.capping: // and has paused again: the ear has not told these words
		m.to(paused, at)
	case m.words() != "" && !aside && (probing && meant || !probing && !m.capping && at.Before(later(m.pausing, m.keyAt).Add(m.patience()))):
		m.to(paused, at) // they have stopped us, or there is more to come by what was said: their turn goes on
	case meant, m.words() != "" && !aside && !probing && m.owed.IsZero() && !m.echo(m.words()), m.typed != "":
		m.take(at)
	default:
		long := m.capping || m.pausing.Sub(m.began) >= murmur
		if probing && m.unsure && long { // there were words, and we have not understood them
			m.cut(at)
		}
		lost := m.owed.IsZero() && !m.ours && !m.ready && !aside && (m.unsure || long && !probing)
		m.forget(at)
		if lost {
			m.miss(at)
		}
		m.release(at)
	}
}

// unanswered: the ear was asked for words and says nothing. What it tells later of a turn that was put aside is put aside too.
func (m *Machine) unanswered(at time.Time) {
	if m.behind { // one of its answers was lost on the way
		m.awaits = 0
	}
	m.late = m.aside(m.words())
	m.ended(at)
}

// sounded: the ear has looked what words there are in a sound that goes on.
func (m *Machine) sounded(at time.Time) {
	interim := m.interim
	m.interim = false
	switch {
	case m.held:
		m.noise(at)
	case m.words() != "" || m.ours:
	case m.ready:
		m.overNoise(at)
	case interim:
		m.forget(at)
		m.miss(at)
	}
}

// maxHolds is how often noise may hold us in one speech.
const maxHolds = 3

// murmur is a sound so long that somebody said something in it, and that no "mm-hm" has.
const murmur = 900 * time.Millisecond

// forget ends the caller's turn.
func (m *Machine) forget(at time.Time) {
	m.final, m.part, m.typed, m.unsure, m.probing, m.known, m.looking, m.interim = "", "", "", false, false, false, false, false
	m.keyAt, m.began = time.Time{}, time.Time{}
	m.level.next(m.voice)
	m.to(silent, at)
	if m.voice { // it goes on: so does a turn
		m.began = at
		m.to(sounding, at)
	}
	m.capping = false
}

// release lets us go on, or begin, when the caller is done.
func (m *Machine) release(time.Time) {
	switch {
	case !m.free():
	case m.held:
		m.held = false
		m.holds++
		m.deaf = m.holds >= maxHolds
		m.act(Resume, "", "")
	case m.ready:
		m.speak(Answer)
	}
}

// take hands up the caller's turn.
func (m *Machine) take(at time.Time) {
	w := m.words()
	if m.lang.zero(w) { // the key 0, spoken
		w = "0"
	}
	if w != "" && (m.level.near || m.began.After(m.quiet)) {
		m.level.learn()
	}
	w = strings.TrimSpace(w + " " + m.typed)
	slow := !m.voice && at.Sub(later(m.pausing, m.keyAt)) > m.t.Longer+m.t.Final
	if m.awaits > 0 {
		m.gave = m.part
	}
	m.forget(at)
	if w == "" {
		m.release(at)
		return
	}
	m.cut(at)
	m.ready, m.misses, m.asked = false, 0, false
	m.owed, m.filled, m.quiet = at, false, at
	m.acts = append(m.acts, Act{Do: Take, Words: w, Number: m.number})
	if slow && !m.over { // they have waited for long already
		m.fill(at)
	}
}

// miss: words were said and not understood.
func (m *Machine) miss(at time.Time) {
	m.quiet = at
	if m.misses++; m.misses >= 2 {
		m.person(NoMatch)
	} else if !m.over {
		m.act(Again, "", NoMatch)
	}
}

func (m *Machine) person(why string) {
	if m.over {
		return
	}
	m.over, m.owed = true, time.Time{}
	m.act(Person, "", why)
}
