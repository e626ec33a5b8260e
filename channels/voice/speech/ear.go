package speech

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// HearConfig says whom an Ear hears.
type HearConfig struct {
	Language string // ISO 639-1, "en"; empty: the engine's own choice
	Engine   string // a name of Describe, which is tried first; empty: the house's order
	Rate     int    // of the frames: Narrow or Wide
	// Among are languages that may be spoken in place of Language. An engine that can tell them apart by their sound hears the first sentences in
	// the one that is spoken, and says which: Heard.Language. Others hear in Language.
	Among []string
	// Foreign: where Among is empty, an engine that can says of the first sentences when they are in another language than Language. Their text is
	// nonsense then.
	Foreign bool
	Expect  string // "digits" when a number was asked for: engines that can listen for nothing else; else empty
}

// HeardKind tells what an Ear noticed.
type HeardKind int

const (
	// Began: somebody speaks since From; noticed at To. Sound that is no speech does not count. Told once more behind a Paused when an
	// engine has died that owed its text: another one hears it, and a Paused follows.
	Began HeardKind = iota
	// Paused: the speech ended at To; it had begun at From. Said a few frames later, when it was clear.
	Paused
	// Partial: what was said since the last Final as far as it can be told now, whole, not only what is new. It may change.
	Partial
	// Final answers a Finish: all that was said since the last Final, "" if nothing.
	Final
	// Failed: what was said since the last Final is lost; Err tells why. It answers a Finish that waited. The Ear goes on with the next
	// sentence, unless Events is closed after it. A child that dies is no reason yet: the next one hears the sound again (memory).
	Failed
	// Level: what is heard has become louder by 1 dB, or softer by 3, while somebody speaks.
	Level
)

// String is the name, for logs.
func (k HeardKind) String() string {
	return [...]string{"began", "paused", "partial", "final", "failed", "level"}[k]
}

// Heard is one thing that an Ear noticed. Times are of the sound written to it, dropped frames included.
type Heard struct {
	Kind       HeardKind
	Text       string
	Confidence float64 // of Text, 0 to 1; 0: the engine does not tell
	From, To   time.Duration
	Level      float64 // of a Began and a Level: how loud it is, in dB of full scale, below 0: the loudest 60 ms of the last half second
	Words      []Word  // of a Final, if the engine tells
	Live       bool    // of a Partial: it was told by itself while somebody speaks; else it answers a Look, or a piece of a long speech is complete
	Language   string  // of a Partial or Final with Text: what is spoken, of HearConfig.Among or foreign (HearConfig.Foreign); empty: the engine does not tell, or is not sure
	Engine     string  // of a Final with Text: whose it is
	Err        error
}

// Word is one word with its place in the sound.
type Word struct {
	Text       string
	From, To   time.Duration
	Confidence float64
}

// Ear hears one caller. Write is for the media path, by one goroutine; the rest may be called by anybody.
type Ear struct {
	ring   ring
	rate   int
	events chan Heard
	asked  atomic.Int32 // Finishes not yet taken
	looks  atomic.Bool  // a Look is not yet
	ctx    context.Context
	stop   context.CancelFunc
	done   chan struct{}

	pending []Heard         // for events; of the Ear's goroutine, like next:
	next    func() hearing  // takes over from the present one, which has failed
	attend  func(do func()) // in a child: do is about this Ear's sound
}

// maxPending events wait for a reader; one who lets more gather does not listen any more.
const maxPending = 256

// hearing is what an Ear does with its frames: in this process (whole) or in a child (distant). All is called on the Ear's goroutine.
type hearing interface {
	frame(at int64, pcm []int16) // at: samples since the start
	finish()
	look()
	work() <-chan func() // results that came in, to be run on the Ear's goroutine; after close nobody reads it
	close()
}

func openEar(ctx context.Context, e *Engines, rate int, open func(*Ear) hearing) *Ear {
	ear := &Ear{rate: rate, events: make(chan Heard, 16), done: make(chan struct{}), attend: func(do func()) { do() }}
	ear.ring.init()
	ear.ctx, ear.stop = context.WithCancel(ctx)
	h := open(ear)
	e.wg.Go(func() {
		stop := context.AfterFunc(e.ctx, ear.stop)
		defer stop()
		ear.run(h)
	})
	return ear
}

// Write takes what the caller said in the last 20 ms (any length up to 40 ms will do). It copies, never blocks and never
// allocates. When the Ear cannot keep up, frames are dropped and counted.
func (e *Ear) Write(pcm []int16) { e.ring.put(pcm) }

// Dropped is how many frames found no room.
func (e *Ear) Dropped() int64 { return e.ring.dropped.Load() }

// Finish says that the caller's turn is over: one Final, or Failed, answers it at once. What was written before counts.
func (e *Ear) Finish() {
	e.asked.Add(1)
	e.ring.knock()
}

// Look asks what was said up to now in a speech that goes on, of an engine that does not tell by itself. One Partial answers it, with an empty
// text where there are no words, or nothing: nobody speaks, another look is under way, the engine is busy or has failed. No word is cut.
func (e *Ear) Look() {
	e.looks.Store(true)
	e.ring.knock()
}

// Events is what was heard, in order; it is closed when the Ear ends. A Partial that nobody has read yet is replaced
// by the next one, a Level by a louder one: how loud a caller was is not lost on who reads late.
func (e *Ear) Events() <-chan Heard { return e.events }

// Close ends the Ear and returns when its goroutine has gone. What was said since the last Final is lost.
func (e *Ear) Close() error {
	e.stop()
	<-e.done
	return nil
}

func (e *Ear) run(h hearing) {
	defer close(e.done)
	defer close(e.events)
	defer func() { h.close() }()
	defer e.stop() // first: nobody waits for this goroutine any more
	for {
		var out chan Heard
		var next Heard
		if len(e.pending) > 0 {
			out, next = e.events, e.pending[0]
		}
		select {
		case <-e.ctx.Done():
			return
		case out <- next:
			e.pending = e.pending[1:]
		case do := <-h.work():
			do()
		case <-e.ring.wake:
			asked, look := e.asked.Swap(0), e.looks.Swap(false) // before the ring is emptied: what was written before Finish belongs to it
			e.attend(func() {
				e.ring.drain(h.frame)
				for range asked {
					h.finish()
				}
				if look {
					h.look()
				}
			})
		}
		if e.next != nil {
			h.close()
			h, e.next = e.next(), nil
		}
		if len(e.pending) > maxPending {
			return
		}
	}
}

// tell queues an event; on the Ear's goroutine.
func (e *Ear) tell(h Heard) {
	if n := len(e.pending); n > 0 && e.pending[n-1].Kind == h.Kind && (h.Kind == Partial || h.Kind == Level && h.Level >= e.pending[n-1].Level) {
		e.pending[n-1] = h
		return
	}
	e.pending = append(e.pending, h)
}

// after is the time at which a sample stands.
func (e *Ear) after(samples int64) time.Duration {
	return time.Duration(samples) * time.Second / time.Duration(e.rate)
}

// A ring holds frames between one writer, which never waits, and one reader.
const (
	ringSlots = 128 // 2.5 s of 20 ms frames
	slotSize  = Wide / 50
)

type slot struct {
	at  int64
	n   int
	pcm [slotSize]int16
}

type ring struct {
	slots   []slot
	in, out atomic.Uint64
	written int64 // samples; the writer's
	taken   int64 // samples; the reader's
	dropped atomic.Int64
	wake    chan struct{}
	room    chan struct{}
}

func (r *ring) init() {
	r.slots = make([]slot, ringSlots)
	r.wake, r.room = make(chan struct{}, 1), make(chan struct{}, 1)
}

func (r *ring) put(pcm []int16) {
	for len(pcm) > 0 {
		in := r.in.Load()
		n := min(len(pcm), slotSize)
		if in-r.out.Load() == ringSlots {
			r.dropped.Add(1)
		} else {
			s := &r.slots[in%ringSlots]
			s.at, s.n = r.written, copy(s.pcm[:], pcm[:n])
			r.in.Store(in + 1)
		}
		r.written += int64(n)
		pcm = pcm[n:]
	}
	r.knock()
}

// putAt is put at a place, for one who may wait for room, until done; between the places lies what was dropped elsewhere.
func (r *ring) putAt(at int64, pcm []int16, done <-chan struct{}) {
	for part := range slices.Chunk(pcm, slotSize) {
		for r.in.Load()-r.out.Load() == ringSlots {
			select {
			case <-r.room:
			case <-done:
				return
			}
		}
		r.written = at
		r.put(part)
		at += int64(len(part))
	}
}

func (r *ring) knock() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *ring) drain(take func(at int64, pcm []int16)) {
	for out := r.out.Load(); out < r.in.Load(); out++ {
		s := &r.slots[out%ringSlots]
		take(s.at, s.pcm[:s.n])
		r.taken = s.at + int64(s.n)
		r.out.Store(out + 1)
		select {
		case r.room <- struct{}{}:
		default:
		}
	}
}
