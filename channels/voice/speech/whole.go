package speech

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// transcript is what an engine made of a piece of sound; times are of the piece.
type transcript struct {
	text       string
	confidence float64
	words      []Word
	language   string // if the engine told it apart from others
	engine     string // whose it is; empty in a child
}

// transcriber turns a piece of speech into text; whole says that it is a piece that ended, not a look at one that goes on. It
// returns soon after ctx ends.
type transcriber func(ctx context.Context, pcm []int16, whole bool) (transcript, error)

// detector tells speech from all other sound.
type detector interface {
	// hear takes the samples from a place on and has edge called at each change, now or later on the Ear's goroutine: with the
	// place where speech began or ended, by the detector's best knowledge, which lies a little before what it was told last.
	hear(at int64, pcm []int16, edge func(speaking bool, at int64))
	close()
}

// whole hears with an engine that knows whole utterances: a detector finds the speech, which is cut into pieces at pauses; each piece is
// transcribed as soon as it ends, while the caller may go on, so that little is left to do when the turn is over.
type whole struct {
	ear        *Ear
	detector   detector
	transcribe transcriber
	longest    time.Duration // of a piece
	results    chan func()
	ctx        context.Context
	cancel     context.CancelFunc
	running    int // transcriptions whose goroutines have not reported

	loud     meter
	now      int64 // samples since the start
	speaking bool
	began    int64   // of this stretch of speech
	quiet    int64   // where the speech ended, while nobody speaks
	audio    []int16 // of the open piece, or what came before one
	start    int64   // the sample at which audio begins
	open     bool    // audio is a piece
	looked   int64   // when a partial text was asked for
	looking  *glance // the one under way
	eager    bool    // transcribing costs nobody but us: it begins at a pause that may be the end of the piece
	early    *piece  // what was begun so, while nobody speaks on

	pieces []*piece // of this turn, in order
	ended  []ending // Finishes that wait

	again int64 // sound before this place is heard again: of its edges only what is so at last is told; 0: none is
	told  bool  // it is known that somebody speaks, when that begins
}

// piece is a stretch of speech and what became of it.
type piece struct {
	from, to int64
	text     transcript
	ready    bool
	err      error
	dropped  bool // spoken on: the piece was none
}

// ending is a Finish: it waits for the first so many pieces.
type ending struct {
	pieces int
	to     int64
}

const (
	before     = 300 * time.Millisecond  // kept in front of a piece: detectors are late for soft sounds
	preroll    = time.Second             // kept while nobody speaks: a detector may tell late
	behind     = 160 * time.Millisecond  // behind it
	cutPause   = 320 * time.Millisecond  // such a pause ends a piece
	together   = 6 * time.Second         // but not a shorter one of an eager engine's,
	cutSilence = 1500 * time.Millisecond // which a silence ends
	longest    = 14 * time.Second        // so does this length, at the softest place of its last third,
	moonshine  = 9 * time.Second         // and this one for our own engine: of 9.3 s it makes no words at all, and no error
	lookEvery  = 500 * time.Millisecond  // for a partial text
	lookFirst  = 300 * time.Millisecond  // of speech, before the first
	patience   = 8 * time.Second         // for one transcription
)

func newWhole(ear *Ear, t transcriber, eager bool) *whole {
	w := &whole{ear: ear, transcribe: t, eager: eager, longest: longest, results: make(chan func()), now: ear.ring.taken, start: ear.ring.taken}
	if eager {
		w.longest = moonshine
	}
	w.ctx, w.cancel = context.WithCancel(ear.ctx)
	return w
}

func (w *whole) samples(d time.Duration) int64 {
	return int64(d) * int64(w.ear.rate) / int64(time.Second)
}

func (w *whole) frame(at int64, pcm []int16) {
	if gap := at - w.now; gap > 0 { // frames were dropped: silence keeps the clock right, but not for minutes
		silent := min(gap, w.samples(time.Second))
		w.take(make([]int16, silent))
		if gap > silent {
			if w.open {
				w.cut(w.now)
			}
			w.forget(w.now)
			w.now, w.start = at, at
		}
	}
	w.take(pcm)
}

func (w *whole) take(pcm []int16) {
	if !w.open && len(w.audio) == 0 {
		w.start = w.now
	}
	w.audio = append(w.audio, pcm...)
	w.now += int64(len(pcm))
	w.loud.hear(pcm)
	if w.speaking && w.again == 0 && w.loud.moved() {
		w.ear.tell(Heard{Kind: Level, Level: w.loud.tell(), To: w.ear.after(w.now)})
	}
	w.detector.hear(w.now-int64(len(pcm)), pcm, w.edge)
	if w.again > 0 && w.now >= w.again {
		w.caughtUp()
	}
	switch {
	case w.open && !w.speaking && w.pieceEnds():
		w.cut(w.quiet + w.samples(behind))
	case w.open && w.now-w.start >= w.samples(w.longest):
		w.cut(w.softest())
	case w.open && w.speaking:
		w.glimpse()
	case !w.open:
		w.forget(w.now - w.samples(preroll))
	}
}

// pieceEnds tells whether a pause ends the piece. What is transcribed at each pause anyhow may stay together for a while: more context
// makes better words.
func (w *whole) pieceEnds() bool {
	pause := w.samples(cutPause)
	if w.eager && w.quiet-w.start < w.samples(together) {
		pause = w.samples(cutSilence)
	}
	return w.now-w.quiet >= pause
}

// edge is the detector's word for the begin or end of speech.
func (w *whole) edge(speaking bool, at int64) {
	w.speaking = speaking
	if speaking {
		if w.early != nil {
			w.early.dropped, w.early = true, nil
		}
		if !w.open {
			w.forget(min(at, w.now) - w.samples(before))
		}
		w.began, w.open = at, true
		if w.looked < at {
			w.looked = at - w.samples(lookEvery) + w.samples(lookFirst)
		}
		if w.again == 0 {
			w.ear.tell(Heard{Kind: Began, From: w.ear.after(at), To: w.ear.after(w.now), Level: w.loud.tell()})
		}
		return
	}
	if w.quiet = at; w.again == 0 {
		w.paused()
	}
}

// paused: nobody speaks any more.
func (w *whole) paused() {
	w.ear.tell(Heard{Kind: Paused, From: w.ear.after(w.began), To: w.ear.after(w.quiet)})
	if w.eager && w.open {
		w.early, w.looked = &piece{from: w.start, to: w.now}, w.now
		w.send(w.early, append([]int16(nil), w.audio...))
	}
}

// hear again what m holds, all at once; told: it is known that somebody speaks.
func (w *whole) hearAgain(m *memory, told bool) {
	w.now, w.start, w.again, w.told = m.from, m.from, m.end(), told
	m.replay(20*time.Millisecond, w.frame, w.finish)
}

// caughtUp: all that was heard before has been heard again.
func (w *whole) caughtUp() {
	w.again = 0
	heard := w.quiet > 0 || w.speaking
	if !w.told && heard {
		w.ear.tell(Heard{Kind: Began, From: w.ear.after(w.began), To: w.ear.after(w.now), Level: w.loud.tell()})
	}
	if !w.speaking && (w.told || heard) {
		if !heard { // the other engine took for speech what is none
			w.began, w.quiet = w.now, w.now
		}
		w.paused()
	}
}

// send has a piece transcribed.
func (w *whole) send(p *piece, pcm []int16) {
	w.run(w.ctx, pcm, true, func(t transcript, err error) {
		p.text, p.err, p.ready = t, err, true
		switch {
		case p.dropped:
		case p == w.early:
			w.partial(t)
		default:
			w.settle()
		}
	})
}

// forget drops the sound before a sample.
func (w *whole) forget(until int64) {
	if n := until - w.start; n > 0 {
		w.audio = append(w.audio[:0], w.audio[min(n, int64(len(w.audio))):]...)
		w.start = until
	}
}

// cut ends the open piece at a sample and sends it off.
func (w *whole) cut(until int64) {
	if w.looking != nil && !w.eager { // the whole piece counts
		w.looking.forsake()
		w.looking = nil
	}
	until = max(w.start, min(until, w.now))
	if until == w.start { // its speech is told of so late that it is gone
		w.open, w.early = w.speaking, nil
		return
	}
	p, pcm := w.early, append([]int16(nil), w.audio[:until-w.start]...)
	if w.early = nil; p == nil {
		p = &piece{from: w.start, to: until}
		w.send(p, pcm)
	}
	w.forget(until)
	w.open = w.speaking
	w.pieces = append(w.pieces, p)
	if p.ready {
		w.settle()
	}
}

// softest is the place in the last third of the open piece with the least sound, for cutting there.
func (w *whole) softest() int64 {
	step := int(w.samples(20 * time.Millisecond))
	best, place := math.Inf(1), len(w.audio)
	for i := len(w.audio) * 2 / 3; i+step <= len(w.audio); i += step {
		if e := energy(w.audio[i : i+step]); e < best {
			best, place = e, i+step/2
		}
	}
	return w.start + int64(place)
}

func energy(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum
}

// glance is a look at the open piece as it stands.
type glance struct{ forsake context.CancelFunc }

// glimpse asks an eager engine for the text of the open piece as it stands, the more seldom the longer it is.
func (w *whole) glimpse() {
	if !w.eager || w.again > 0 || w.looking != nil || w.now-w.looked < max(w.samples(lookEvery), (w.now-w.start)/8) {
		return
	}
	w.peek(func(t transcript) {
		if h, _ := w.soFar(t); h.Text != "" {
			h.Live = true
			w.ear.tell(h)
		}
	})
}

// look does so once, with an engine that others use too.
func (w *whole) look() {
	if w.eager || w.looking != nil || !w.open {
		return
	}
	w.peek(func(t transcript) {
		if h, all := w.soFar(t); all {
			w.ear.tell(h)
		}
	})
}

// peek has the open piece transcribed as it stands; then is not called when it has ended meanwhile.
func (w *whole) peek(then func(transcript)) {
	ctx, forsake := context.WithCancel(w.ctx)
	g, of := &glance{forsake}, len(w.pieces)
	w.looking, w.looked = g, w.now
	w.run(ctx, append([]int16(nil), w.audio...), false, func(t transcript, err error) {
		forsake()
		if w.looking != g {
			return
		}
		if w.looking = nil; err == nil && of == len(w.pieces) && w.open {
			then(t)
		}
	})
}

// run transcribes beside the Ear's goroutine and gives the result back to it.
func (w *whole) run(ctx context.Context, pcm []int16, last bool, done func(transcript, error)) {
	w.running++
	go func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		t, err := w.transcribe(ctx, pcm, last)
		if err != nil && w.ctx.Err() == nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: no text within %s", ErrEngine, patience)
		}
		w.results <- func() { // close waits for it
			w.running--
			done(t, err)
		}
	}()
}

func (w *whole) work() <-chan func() { return w.results }

func (w *whole) finish() {
	if w.open {
		until := w.now
		if !w.speaking {
			until = w.quiet + w.samples(behind)
		}
		w.cut(until)
	}
	w.ended = append(w.ended, ending{pieces: len(w.pieces), to: w.now})
	w.settle()
}

// settle tells what can be told, now that a piece is ready or the turn was ended.
func (w *whole) settle() {
	for len(w.ended) > 0 {
		end := w.ended[0]
		for _, p := range w.pieces[:end.pieces] {
			if !p.ready {
				w.partial(transcript{})
				return
			}
		}
		w.ear.tell(w.sum(w.pieces[:end.pieces], end.to))
		w.pieces, w.ended = w.pieces[end.pieces:], w.ended[1:]
		for i := range w.ended {
			w.ended[i].pieces -= end.pieces
		}
	}
	w.partial(transcript{})
}

// partial tells the text so far, if there is one.
func (w *whole) partial(open transcript) {
	if h, _ := w.soFar(open); h.Text != "" {
		w.ear.tell(h)
	}
}

// soFar is the text of the pieces before the first that is not ready, and of the open one if all are.
func (w *whole) soFar(open transcript) (h Heard, all bool) {
	var texts []string
	language := ""
	all = true
	for _, p := range w.pieces {
		if !p.ready {
			open, all = transcript{}, false
			break
		}
		if p.text.text != "" {
			texts, language = append(texts, p.text.text), cmp.Or(p.text.language, language)
		}
	}
	if open.text != "" {
		texts = append(texts, open.text)
	}
	return Heard{Kind: Partial, Text: strings.Join(texts, " "), Confidence: open.confidence, Language: cmp.Or(open.language, language), To: w.ear.after(w.now)}, all
}

// sum makes one Final of pieces; an error in one loses them all, half a turn may mean the contrary.
func (w *whole) sum(pieces []*piece, to int64) Heard {
	h := Heard{Kind: Final, From: w.ear.after(to), To: w.ear.after(to)}
	var texts []string
	for i, p := range pieces {
		if p.err != nil {
			return Heard{Kind: Failed, Err: p.err, From: w.ear.after(pieces[0].from), To: w.ear.after(to)}
		}
		if i == 0 {
			h.From = w.ear.after(p.from)
		}
		if p.text.text == "" {
			continue
		}
		texts, h.Engine = append(texts, p.text.text), p.text.engine
		h.Language = cmp.Or(p.text.language, h.Language)
		if c := p.text.confidence; h.Confidence == 0 || c < h.Confidence {
			h.Confidence = c
		}
		for _, word := range p.text.words {
			word.From += w.ear.after(p.from)
			word.To += w.ear.after(p.from)
			h.Words = append(h.Words, word)
		}
	}
	h.Text = strings.Join(texts, " ")
	return h
}

func (w *whole) close() {
	w.cancel()
	for w.running > 0 {
		do := <-w.results
		do()
	}
	w.detector.close()
}
