package speech

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

var errNoChild = fmt.Errorf("%w: no child is ready", ErrEngine)

// distant is hearing by a child: frames go there, and what it heard comes back. When the child dies the next one hears again what the
// memory holds, and the Ear's owner is told of it only where that takes too long, or where it was this sound that two children have died of.
type distant struct {
	ear     *Ear
	local   *local
	ask     wireHear
	results chan func()
	tell    func(Heard)
	instead func() hearing // by other engines; nil: there are none
	gone    chan struct{}  // closed by close: nothing posted is read any more

	child    *child // of the Ear's goroutine, like all below
	session  uint32
	memory   *memory // nil: a lent detector's, who owes nobody a text
	said     bool    // something was heard since the last Final
	speaking bool    // Began was told, and no Paused yet
	losses   losses
	patience *time.Timer // for the next child; nil: there is one, or it did not come
	alone    bool        // it did not come: what is said now is lost
}

// losses are the children that have died with the same sound.
type losses struct {
	children int // in which it was
	thinking int // that died while they worked on it
	ever     int // the same, of all sounds of this Ear
}

const (
	mostThinking = 2                // children that may die of a sound, before it is dropped
	mostChildren = 4                // that may die with it in whatever way
	mostEver     = 5                // that may die of one caller's sounds
	nextChild    = 12 * time.Second // waited for with somebody's words in hand: a starved machine takes long to load the models
	replayed     = 2 * time.Second  // of sound in one message
)

var errDeadly = fmt.Errorf("%w: the sound has ended %d children", ErrEngine, mostThinking)

func newDistant(ear *Ear, l *local, cfg HearConfig) *distant {
	d := &distant{ear: ear, local: l, ask: wireHear{HearConfig: cfg}, memory: newMemory(cfg.Rate), results: make(chan func(), 64), gone: make(chan struct{}), tell: ear.tell}
	return d.join()
}

func (d *distant) join() *distant {
	if c := d.local.join(d); c != nil {
		d.open(c)
	} else {
		d.wait(errNoChild)
	}
	return d
}

// post runs something on the Ear's goroutine.
func (d *distant) post(do func()) {
	select {
	case d.results <- do:
	case <-d.gone:
	case <-d.ear.ctx.Done():
	}
}

func (d *distant) work() <-chan func() { return d.results }

func (d *distant) attach(c *child) { d.post(func() { d.open(c) }) }

// open begins a session with a child, with what is remembered; frames go there from now on.
func (d *distant) open(c *child) {
	if c == d.child || !c.alive() {
		return
	}
	d.child, d.alone = c, false
	d.waited()
	ask := d.ask
	if m := d.memory; m != nil && len(m.pcm) > 0 {
		ask.Again, ask.Told, ask.Suspect = m.end(), d.speaking, d.losses.thinking > 0
	}
	d.session = c.open(kindHear, ask, func(m message) {
		if w, err := readHeard(m); err == nil {
			d.post(func() { d.heard(c, w) })
		} else {
			c.fail(err)
		}
	})
	if d.memory != nil {
		d.memory.replay(replayed, func(at int64, pcm []int16) { c.order(d.sound(at, pcm)) }, func() { c.order(appendMessage(nil, kindFinish, d.session)) })
	}
}

// sound is the message that brings it to the child.
func (d *distant) sound(at int64, pcm []int16) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+2*len(pcm)), uint64(at))
	return appendMessage(make([]byte, 0, headSize+8+2*len(pcm)), kindSound, d.session, appendSamples(b, pcm))
}

func (d *distant) detach(err error) { d.post(func() { d.lose(err) }) }

func readHeard(m message) (wireHeard, error) {
	var w wireHeard
	if m.kind == kindEnded {
		var e wireEnd
		err := json.Unmarshal(m.body, &e)
		return wireHeard{Kind: Failed, Error: e.Error}, err
	}
	if err := json.Unmarshal(m.body, &w); err != nil || m.kind != kindHeard || w.Kind < Began || w.Kind > Level {
		return w, fmt.Errorf("the child heard %.100q: %v", m.body, err)
	}
	return w, nil
}

func (d *distant) heard(c *child, w wireHeard) {
	if c != d.child { // from one that is gone
		return
	}
	h := Heard{Kind: w.Kind, Text: w.Text, Confidence: w.Confidence, From: w.From, To: w.To, Level: w.Level, Words: w.Words, Language: w.Language, Live: w.Live}
	switch w.Kind {
	case Began:
		d.said, d.speaking = true, true
	case Paused:
		d.speaking = false
	case Final:
		h.Engine = Local
		d.settled()
	case Failed:
		h.Err = fmt.Errorf("%w: %s", ErrEngine, w.Error)
		d.settled()
	}
	d.tell(h)
}

// settled: the child has answered a Finish.
func (d *distant) settled() {
	d.said = d.speaking
	if d.memory == nil {
		return
	}
	d.memory.settled()
	d.losses = losses{ever: d.losses.ever}
}

// lose: the child is dead, or the next one was stillborn. What was said since the last Final is for the next one, or for another engine.
func (d *distant) lose(err error) {
	if d.child != nil && d.child.accused[d.session] {
		d.losses.thinking++
		d.losses.ever++
	}
	d.child = nil
	if d.memory == nil {
		if d.speaking {
			d.tell(Heard{Kind: Paused, To: d.ear.after(d.ear.ring.taken)})
		}
		d.said, d.speaking = false, false
		return
	}
	at, owed := d.ear.after(d.memory.end()), d.said || len(d.memory.ends) > 0
	if owed {
		d.losses.children++
	}
	switch {
	case d.losses.ever >= mostEver:
		d.giveUp(errDeadly)
		d.ear.stop()
		return
	case d.losses.thinking >= mostThinking:
		d.giveUp(errDeadly)
	case owed && (d.memory.short || d.losses.children >= mostChildren):
		d.giveUp(err)
	case owed && d.instead != nil:
		d.ear.next = d.instead
		return
	case owed && !d.speaking: // their turn is not over before its text is here
		d.speaking = true
		d.tell(Heard{Kind: Began, From: at, To: at})
	}
	d.wait(err)
}

// wait for the next child, but not too long; err is why there is none.
func (d *distant) wait(err error) {
	if d.memory == nil || d.patience != nil || d.alone {
		return
	}
	d.patience = time.AfterFunc(nextChild, func() {
		d.post(func() {
			if d.patience != nil {
				d.patience, d.alone = nil, true
				d.giveUp(err)
			}
		})
	})
}

// waited: nobody waits any more.
func (d *distant) waited() {
	if d.patience != nil {
		d.patience.Stop()
		d.patience = nil
	}
}

// giveUp tells that what was said is lost.
func (d *distant) giveUp(err error) {
	at := d.ear.after(d.memory.end())
	if d.speaking {
		d.tell(Heard{Kind: Paused, From: at, To: at})
	}
	if owed := len(d.memory.ends); d.said || owed > 0 {
		for range max(1, owed) {
			d.tell(Heard{Kind: Failed, Err: err, To: at})
		}
	}
	d.said, d.speaking, d.losses = false, false, losses{ever: d.losses.ever}
	d.memory.clear()
}

func (d *distant) frame(at int64, pcm []int16) {
	if d.memory != nil {
		d.memory.keep(at, pcm)
		if !d.said && len(d.memory.ends) == 0 && (d.child != nil || d.alone) { // a child that hangs is found out late
			d.memory.idle(max(d.local.hang, hungAfter) + 2*time.Second)
		}
	}
	if d.child != nil && !d.child.send(d.sound(at, pcm)) {
		d.ear.ring.dropped.Add(1)
	}
}

func (d *distant) finish() {
	if d.alone { // what was lost has been told
		at := d.ear.after(d.ear.ring.taken)
		d.tell(Heard{Kind: Final, From: at, To: at})
		return
	}
	d.memory.ends = append(d.memory.ends, d.memory.end())
	if d.child != nil {
		d.child.order(appendMessage(nil, kindFinish, d.session))
	}
}

func (d *distant) look() {} // a child tells by itself

func (d *distant) close() {
	close(d.gone) // before leave, which waits for who posts
	d.local.leave(d)
	d.waited()
	if d.child != nil {
		d.child.close(d.session)
	}
}

// lentDetector lends the ears of a remote engine our own child's detector; while there is none, loudness must do.
type lentDetector struct {
	*distant
	energy *energyDetector
	edge   func(speaking bool, at int64)
}

func newLentDetector(w *whole, l *local, cfg HearConfig, energy *energyDetector) *lentDetector {
	d := &lentDetector{energy: energy, edge: w.edge}
	d.distant = &distant{ear: w.ear, local: l, ask: wireHear{HearConfig: HearConfig{Rate: cfg.Rate}, DetectOnly: true}, results: w.results, gone: make(chan struct{}), tell: func(h Heard) {
		switch h.Kind {
		case Began:
			d.edge(true, w.samples(h.From))
		case Paused:
			d.edge(false, w.samples(h.To))
		}
	}}
	d.distant.join()
	return d
}

func (d *lentDetector) hear(at int64, pcm []int16, edge func(speaking bool, at int64)) {
	if d.child == nil {
		d.energy.hear(at, pcm, edge)
		return
	}
	if d.energy.on { // a child came in the middle of a word
		d.energy = newEnergy(d.ear.rate)
		edge(false, at)
	}
	d.frame(at, pcm)
}
