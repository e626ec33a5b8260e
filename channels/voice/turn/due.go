package turn

import "time"

// What happens by itself when its time has come.

// Deadline is when Tick is wanted; zero: not.
func (m *Machine) Deadline() (next time.Time) {
	for _, d := range m.due() {
		if next.IsZero() || d.at.Before(next) {
			next = d.at
		}
	}
	return next
}

// Tick does all that is due.
func (m *Machine) Tick(at time.Time) []Act {
	for range 8 { // what is done may make something else due
		var first *deadline
		for _, d := range m.due() {
			if !d.at.After(at) && (first == nil || d.at.Before(first.at)) {
				first = &d
			}
		}
		if first == nil {
			break
		}
		first.do(at)
	}
	return m.done()
}

type deadline struct {
	at time.Time
	do func(at time.Time)
}

// due is everything that happens by itself.
func (m *Machine) due() []deadline {
	var all []deadline
	add := func(from time.Time, d time.Duration, do func(time.Time)) {
		all = append(all, deadline{from.Add(d), do})
	}
	switch m.caller {
	case sounding:
		if m.overlap() && !m.held && !m.deaf && !m.level.far() {
			add(m.since, m.t.Sure, m.hold)
		}
		switch {
		case m.cfg.Partial:
			if m.held {
				add(m.since, m.t.Noise, m.noise)
			}
		case m.looking:
			add(m.looked, m.t.Final, m.blind)
		case m.overlap() || m.ready && m.words() == "":
			add(later(m.since.Add(murmur), m.looked.Add(lookAgain)), 0, m.look)
		}
		if m.words() == "" && !m.ours {
			if m.ready && m.cfg.Partial {
				add(m.since, m.t.Noise, m.overNoise)
			}
			add(later(m.began, m.quiet), m.t.Babble, m.tooLong)
		}
		add(m.began, m.t.Longest, m.tooLong)
	case paused:
		add(later(m.pausing, m.keyAt), m.patience(), m.finish)
	case ending:
		add(m.since, m.lastWords(), m.unanswered)
	case silent:
		if !m.keyAt.IsZero() {
			add(m.keyAt, m.t.Keys, m.take)
		}
	}
	if m.over || m.ours || !m.free() {
		return all
	}
	if m.owed.IsZero() {
		add(m.quiet, m.t.Silence, m.nothing)
		return all
	}
	if !m.filled {
		add(m.owed, m.t.Fill, m.fill)
	}
	add(m.owed, m.t.Person, func(time.Time) { m.person(Failure) })
	return all
}

// patience is how long a pause may be before the turn is over.
func (m *Machine) patience() time.Duration {
	switch {
	case m.overlap() || m.words() == "" || !m.known && !m.cfg.Partial: // or they are not all of the turn
		return m.t.Doubt
	case !m.keyAt.IsZero():
		return m.t.Keys
	}
	return m.t.of(m.lang.weigh(m.words(), m.number))
}

func (m *Machine) hold(time.Time) {
	m.held = true
	m.act(Hold, "", "")
}

func (m *Machine) fill(time.Time) {
	m.filled = true
	m.act(Fill, "", "")
}

func (m *Machine) finish(at time.Time) {
	if m.known {
		m.take(at)
		return
	}
	m.probing = m.overlap()
	m.ask(at)
}

// ask the ear for the last words.
func (m *Machine) ask(at time.Time) {
	m.to(ending, at)
	m.awaits, m.behind, m.more = m.awaits+1, false, false
	m.act(Finish, "", "")
}

// lastWords is how long the ear may take for them. What it tells later would be a turn of its own, so it has its time, unless the caller
// may have said nothing and we have.
func (m *Machine) lastWords() time.Duration {
	if m.awaits == 0 || m.probing && m.overlap() || m.ready && m.words() == "" {
		return m.t.Final
	}
	return m.t.Late
}

// noise: a voice goes on that stopped us, and there is not a word of the caller in it.
func (m *Machine) noise(at time.Time) {
	if m.meant() {
		m.cut(at)
		return
	}
	m.deaf, m.held = true, false
	m.act(Resume, "", "")
}

// lookAgain is how often an ear is asked that tells no words while they are spoken. Each time an engine hears all of the sound once more.
const lookAgain = 2 * time.Second

// look asks such an ear what a sound is that has gone on for so long. To finish would cut a word in two.
func (m *Machine) look(at time.Time) {
	m.looked, m.looking = at, true
	m.act(Look, "", "")
}

// blind: it does not tell. What stops us for so long has words in it then.
func (m *Machine) blind(at time.Time) {
	m.looking = false
	if m.held {
		m.cut(at)
	} else if m.interim {
		m.sounded(at)
	}
}

// overNoise: we have something to say, and what is heard is nobody who speaks.
func (m *Machine) overNoise(time.Time) {
	m.speak(Answer)
	m.deaf = true
}

// tooLong: of who never stops what was said is taken once in between; then a person comes.
func (m *Machine) tooLong(at time.Time) {
	m.began = at
	if m.words() == "" && !m.ours && !m.cfg.Partial {
		if m.interim = true; !m.looking {
			m.look(at)
		}
		return
	}
	switch m.capped++; {
	case m.words() == "" && m.ours:
	case m.words() == "":
		m.miss(at)
	case m.capped >= 2:
		m.take(at)
		m.person(NoMatch)
	default:
		m.capping = true
		m.finish(at)
	}
}

// nothing: the caller does not speak.
func (m *Machine) nothing(at time.Time) {
	m.quiet = at
	if m.asked {
		m.person(Silence)
		return
	}
	m.asked = true
	m.act(Again, "", Silence)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
