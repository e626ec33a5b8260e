package speech

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

var errNoChild = fmt.Errorf("%w: no child is ready", ErrEngine)

// distant is hearing by a child: frames go there, and what it heard comes back.
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
	said     bool // something was heard since the last Final
	speaking bool
	ended    int // Finishes that wait
}

func newDistant(ear *Ear, l *local, cfg HearConfig) *distant {
	d := &distant{ear: ear, local: l, ask: wireHear{HearConfig: cfg}, results: make(chan func(), 64), gone: make(chan struct{}), tell: ear.tell}
	return d.join()
}

func (d *distant) join() *distant {
	if c := d.local.join(d); c != nil {
		d.open(c)
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

// open begins a session with a child; frames go there from now on.
func (d *distant) open(c *child) {
	if c == d.child || !c.alive() {
		return
	}
	d.child = c
	d.session = c.open(kindHear, d.ask, func(m message) {
		if w, err := readHeard(m); err == nil {
			d.post(func() { d.heard(c, w) })
		} else {
			c.fail(err)
		}
	})
}

func (d *distant) detach(err error) { d.post(func() { d.lose(err) }) }

func readHeard(m message) (wireHeard, error) {
	var w wireHeard
	if m.kind == kindEnded {
		var e wireEnd
		err := json.Unmarshal(m.body, &e)
		return wireHeard{Kind: Failed, Error: e.Error}, err
	}
	if err := json.Unmarshal(m.body, &w); err != nil || m.kind != kindHeard || w.Kind < Began || w.Kind > Failed {
		return w, fmt.Errorf("the child heard %.100q: %v", m.body, err)
	}
	return w, nil
}

func (d *distant) heard(c *child, w wireHeard) {
	if c != d.child { // from one that is gone
		return
	}
	h := Heard{Kind: w.Kind, Text: w.Text, Confidence: w.Confidence, From: w.From, To: w.To, Words: w.Words, Language: w.Language}
	switch w.Kind {
	case Began:
		d.said, d.speaking = true, true
	case Paused:
		d.speaking = false
	case Final:
		h.Engine = Local
		d.said = d.speaking
		d.ended = max(0, d.ended-1)
	case Failed:
		d.ended = max(0, d.ended-1)
		h.Err = fmt.Errorf("%w: %s", ErrEngine, w.Error)
	}
	d.tell(h)
}

// lose tells what went with the child; a caller who said nothing has lost nothing.
func (d *distant) lose(err error) {
	if d.child = nil; !d.said && d.ended == 0 {
		return
	}
	if d.speaking {
		d.tell(Heard{Kind: Paused, To: d.ear.after(d.ear.ring.taken)})
	}
	for range max(1, d.ended) {
		d.tell(Heard{Kind: Failed, Err: err, To: d.ear.after(d.ear.ring.taken)})
	}
	d.said, d.speaking, d.ended = false, false, 0
	d.ear.next = d.instead
}

func (d *distant) frame(at int64, pcm []int16) {
	if d.child == nil {
		return
	}
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, headSize+8+2*len(pcm)), uint64(at))
	if !d.child.send(appendMessage(nil, kindSound, d.session, appendSamples(b, pcm))) {
		d.ear.ring.dropped.Add(1)
	}
}

func (d *distant) finish() {
	if d.child == nil { // what was lost with the last one has been told
		at := d.ear.after(d.ear.ring.taken)
		d.tell(Heard{Kind: Final, From: at, To: at})
		return
	}
	d.ended++
	d.child.order(appendMessage(nil, kindFinish, d.session))
}

func (d *distant) close() {
	close(d.gone) // before leave, which waits for who posts
	d.local.leave(d)
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

func newLentDetector(w *whole, l *local, cfg HearConfig) *lentDetector {
	d := &lentDetector{energy: newEnergy(cfg.Rate), edge: w.edge}
	d.distant = &distant{ear: w.ear, local: l, ask: wireHear{HearConfig{Rate: cfg.Rate}, true}, results: w.results, gone: make(chan struct{}), tell: func(h Heard) {
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

// transcribe has a piece of speech heard by a child, for an Ear whose own engine has failed.
func (l *local) transcribe(ctx context.Context, cfg HearConfig, pcm []int16) (transcript, error) {
	c, err := l.wait(ctx)
	if err != nil {
		return transcript{}, err
	}
	ended := newOutcomes()
	id := c.open(kindHear, wireHear{HearConfig: cfg}, func(m message) {
		if w, err := readHeard(m); err != nil || w.Kind == Failed || w.Kind == Final {
			if err == nil && w.Kind == Failed {
				err = fmt.Errorf("%w: %s", ErrEngine, w.Error)
			}
			ended.put(w, err)
		}
	})
	defer c.close(id)
	for at := 0; at < len(pcm); at += slotSize {
		part := pcm[at:min(at+slotSize, len(pcm))]
		c.order(appendMessage(nil, kindSound, id, binary.LittleEndian.AppendUint64(nil, uint64(at)), appendSamples(nil, part)))
	}
	c.order(appendMessage(nil, kindFinish, id))
	w, err := ended.wait(ctx, c)
	return transcript{text: w.Text, confidence: w.Confidence, words: w.Words}, err
}

// say makes sound in a child.
func (l *local) say(ctx context.Context, cfg SayConfig, text string, rate int, put func([]int16) error) error {
	c, err := l.wait(ctx)
	if err != nil {
		return err
	}
	ended := newOutcomes()
	id := c.open(kindSay, sayWish{text, cfg.Language, cfg.Voice, rate}, func(m message) {
		if end, err := takeMade(m, put); end {
			ended.put(wireHeard{}, err)
		}
	})
	defer c.close(id)
	_, err = ended.wait(ctx, c)
	return err
}

// outcome is how a session with a child ended.
type outcome struct {
	heard wireHeard
	err   error
}

// outcomes holds one; what comes after it is dropped.
type outcomes chan outcome

func newOutcomes() outcomes { return make(outcomes, 1) }

func (o outcomes) put(heard wireHeard, err error) {
	select {
	case o <- outcome{heard, err}:
	default:
	}
}

func (o outcomes) wait(ctx context.Context, c *child) (wireHeard, error) {
	select {
	case is := <-o:
		return is.heard, is.err
	case <-ctx.Done():
		return wireHeard{}, ctx.Err()
	case <-c.dead:
		return wireHeard{}, fmt.Errorf("%w: %w", ErrEngine, c.last())
	}
}

// takeMade is a child's answer to kindSay; end says that no more comes.
func takeMade(m message, put func([]int16) error) (end bool, err error) {
	switch m.kind {
	case kindMade:
		err = put(samplesOf(m.body))
		return err != nil, err
	case kindEnded:
		var e wireEnd
		if err := json.Unmarshal(m.body, &e); err != nil {
			return true, fmt.Errorf("%w: %w", ErrEngine, err)
		}
		if e.Error != "" {
			return true, fmt.Errorf("%w: %s", ErrEngine, e.Error)
		}
		return true, nil
	}
	return true, fmt.Errorf("%w: a message of kind %d in place of sound", ErrEngine, m.kind)
}

// wait for a child that is being started.
func (l *local) wait(ctx context.Context) (*child, error) {
	limit := time.After(3 * time.Second)
	for {
		l.mu.Lock()
		c, why, change := l.child, l.why, l.change
		l.mu.Unlock()
		if c != nil && c.alive() {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit:
			return nil, fmt.Errorf("%w: %w", ErrEngine, cmp.Or(why, errStarting))
		case <-change:
		}
	}
}
