// Package mouth says sentences on a leg, one after the other, and knows to the word what of them was heard.
//
//	call ── Add, Hold, Resume, Cut ──▶ queue of pieces ── Read, by the pacer, 20 ms at a time ──▶ leg
//	  ◀── News, Events ── began, ended, failed, dry
//
// The sound is made ahead by the engine (one sentence more than the one that is said), but nothing is queued in the leg:
// a frame is taken when it is sent. So a Hold is silence within a frame, and what was read is what was sent. When it
// goes on after a Hold it begins at the last gap between words, not in the middle of one.
package mouth

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/speech"
)

// Config is what a Mouth needs.
type Config struct {
	// Say begins to make a sentence's sound at Rate.
	Say   func(ctx context.Context, language, text string) (*speech.Utterance, error)
	Words func(language, sentence string) string // how people say it; nil: as it is written
	Rate  int                                    // 8000 or 16000
	Sent  func(pcm []int16)                      // may be nil: sees each frame with sound as it is sent, on the pacer's goroutine; must not block or keep it
	Stall time.Duration                          // an engine that makes no sound for so long has failed: 2.5 s
}

// Piece is one sentence to be said.
type Piece struct {
	Text     string // as it is written, and shown
	Language string // of the text and the voice, for Say and Words
	Kind     uint8  // its owner's, comes back with events
	Turn     int64  // the same
	Note     string // the same
}

// EventKind tells what became of a piece.
type EventKind uint8

const (
	Began  EventKind = iota // its first sound was sent
	Ended                   // its last
	Failed                  // the engine broke off; Heard is what was said of it. The rest of the queue waits: see Again
	Dry                     // nothing is left to say
)

// Event is news of a piece.
type Event struct {
	Kind  EventKind
	Piece Piece
	Heard string // Ended, Failed: the words that were sent
	Err   error  // Failed

	words, said     string    // Failed: how it is said, and as much of that was sent
	Engine          string    // Began: whose voice it is
	Asked, Made, At time.Time // Began: when the engine was asked, when it had the first sound, when that was sent
}

// Mouth says pieces. Read is for the pacer; all else is called by one goroutine, the call's.
type Mouth struct {
	cfg    Config
	frame  int // samples
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	news   chan struct{}

	mu     sync.Mutex // held for a frame at most
	queue  []*piece
	events []Event
	broken bool // the first of the queue has failed: nothing is said until the owner decides
	held   bool
	fade   bool // this frame is the last before silence
	gap    int  // frames of silence behind the last piece
	replay []int16
	past   []int16 // what was sent last of the first piece
}

// piece is one in the queue.
type piece struct {
	Piece
	words   string
	sound   *speech.Utterance
	asked   time.Time
	made    time.Time
	played  int // samples sent
	begun   bool
	waiting int // frames without sound; below 0: so many more are allowed
}

const (
	ahead     = 2 // pieces that are made at once
	anew      = 3 // so many times longer is waited for an engine that has just been started anew: to fail again ends the talk
	pause     = 6 // frames between two sentences
	rewind    = 700 * time.Millisecond
	rewindMin = 100 * time.Millisecond
	fadeOut   = 5 * time.Millisecond
)

var errStall = errors.New("no sound in time")

// New makes a mouth; Close ends it.
func New(cfg Config) *Mouth {
	if cfg.Stall == 0 {
		cfg.Stall = 2500 * time.Millisecond
	}
	if cfg.Words == nil {
		cfg.Words = func(_, s string) string { return s }
	}
	m := &Mouth{cfg: cfg, frame: cfg.Rate / 50, news: make(chan struct{}, 1)}
	m.past = make([]int16, 0, 2*m.samples(rewind))
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

func (m *Mouth) samples(d time.Duration) int { return int(d * time.Duration(m.cfg.Rate) / time.Second) }

func (m *Mouth) length(samples int) time.Duration {
	return time.Duration(samples) * time.Second / time.Duration(m.cfg.Rate)
}

// Player is the mouth on a leg. It never ends by itself: between pieces it sends silence.
func (m *Mouth) Player() *media.Player { return media.Stream(m.cfg.Rate, m.Read) }

// News has something in it when Events has.
func (m *Mouth) News() <-chan struct{} { return m.news }

// Events takes what has happened, and has the next sentences made.
func (m *Mouth) Events() []Event {
	m.mu.Lock()
	events := m.events
	m.events = nil
	m.mu.Unlock()
	for i, e := range events {
		if e.Kind == Failed {
			events[i].Heard = m.heard(e.Piece, e.words, e.said)
		}
	}
	m.prepare()
	return events
}

// Add queues a piece. An engine that cannot be asked is a Failed event.
func (m *Mouth) Add(p Piece) {
	words := m.cfg.Words(p.Language, p.Text)
	if words == "" { // nothing that can be said
		return
	}
	m.mu.Lock()
	m.queue = append(m.queue, &piece{Piece: p, words: words})
	m.mu.Unlock()
	m.prepare()
}

// prepare has the first pieces of the queue made.
func (m *Mouth) prepare() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range m.queue {
		if i == ahead {
			return
		}
		if p.sound != nil {
			continue
		}
		p.asked = time.Now()
		sound, err := m.cfg.Say(m.ctx, p.Language, p.words)
		if err != nil {
			if i == 0 && !m.broken {
				m.fail(p, err)
			}
			return
		}
		p.sound = sound
		m.wg.Go(func() {
			<-sound.First() // closed at the latest by its Close
			m.mu.Lock()
			p.made = time.Now()
			m.mu.Unlock()
		})
	}
}

// tell notes an event. The lock is held.
func (m *Mouth) tell(e Event) {
	m.events = append(m.events, e)
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// fail stops at the first piece. The lock is held.
func (m *Mouth) fail(p *piece, err error) {
	m.broken = true
	m.tell(Event{Kind: Failed, Piece: p.Piece, Err: err, words: p.words, said: m.said(p)})
}

// Again goes on behind a failure: with what was not heard of the piece, or without it.
func (m *Mouth) Again(rest bool) {
	m.mu.Lock()
	if m.broken { // and so nobody else touches the queue
		p := m.queue[0]
		said := m.said(p)
		m.mu.Unlock()
		left := after(p.Text, m.heard(p.Piece, p.words, said))
		words := m.cfg.Words(p.Language, left)
		m.mu.Lock()
		m.broken = false
		p.discard()
		if rest && words != "" {
			p.Text = left
			*p = piece{Piece: p.Piece, words: words, waiting: -anew * int(m.cfg.Stall/media.Frame)}
			m.past, m.replay = m.past[:0], nil
		} else {
			m.drop()
		}
	}
	m.mu.Unlock()
	m.prepare()
}

// drop takes the first piece off. The lock is held.
func (m *Mouth) drop() {
	m.queue = m.queue[1:]
	m.past, m.replay, m.gap = m.past[:0], nil, pause
	if len(m.queue) == 0 {
		m.tell(Event{Kind: Dry})
	}
}

// Hold is silent from the next frame on and keeps the place.
func (m *Mouth) Hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.held {
		m.held, m.fade = true, true
	}
}

// Resume goes on behind the last gap between words before the place.
func (m *Mouth) Resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.held {
		return
	}
	m.held, m.fade = false, false
	if back := m.lastGap(); back > 0 && len(m.queue) > 0 {
		m.replay = append(append([]int16{}, m.past[len(m.past)-back:]...), m.replay...)
		m.past = m.past[:len(m.past)-back]
		m.queue[0].played -= back
	}
}

// lastGap is how many samples ago the quietest frame of the last moments was. The lock is held.
func (m *Mouth) lastGap() int {
	if len(m.queue) == 0 || !m.queue[0].begun {
		return 0
	}
	best, back := int64(-1), 0
	for at := m.samples(rewindMin); at <= min(m.samples(rewind), len(m.past)); at += m.frame / 2 {
		energy := int64(0)
		for _, s := range m.past[len(m.past)-at:][:m.frame/2] {
			energy += int64(s) * int64(s)
		}
		if best < 0 || energy < best {
			best, back = energy, at
		}
	}
	return back
}

// Cut is silent and forgets the queue. What of the first piece was heard is returned, if anything.
func (m *Mouth) Cut() (p Piece, heard string) {
	p, words, said := m.cut()
	return p, m.heard(p, words, said)
}

func (m *Mouth) cut() (p Piece, words, said string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, q := range m.queue {
		if i == 0 && q.begun {
			p, words, said = q.Piece, q.words, m.said(q)
		}
		q.discard()
	}
	m.queue, m.broken, m.held, m.gap, m.replay, m.past = nil, false, false, 0, nil, m.past[:0]
	kept := m.events[:0]
	for _, e := range m.events {
		if e.Kind != Dry && e.Kind != Failed {
			kept = append(kept, e)
		}
	}
	m.events = kept
	return p, words, said
}

// Empty says whether there is nothing to say.
func (m *Mouth) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) == 0
}

// Close ends the mouth; what was not said is forgotten.
func (m *Mouth) Close() {
	m.cancel()
	m.Cut()
	m.wg.Wait()
}

func (p *piece) discard() {
	if p.sound != nil {
		_ = p.sound.Close() // it only forgets
		p.sound = nil
	}
}

// said is how much of the piece's words was sent. The lock is held.
func (m *Mouth) said(p *piece) string {
	if !p.begun || p.sound == nil {
		return ""
	}
	return p.sound.Spoken(m.length(p.played))
}

// heard is the part of a piece that was sent, when that is said of its words. Words takes a while: the lock is not held.
func (m *Mouth) heard(p Piece, words, said string) string {
	return share(p.Text, words, said, func(part string) string { return m.cfg.Words(p.Language, part) })
}

// Read is the pacer's: the next frame. Silence is 0, nil.
func (m *Mouth) Read(pcm []int16) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.gap > 0: // it passes with nothing to say, too: an answer that comes later does not wait for it
		m.gap--
		m.fade = false
		return 0, nil
	case m.held && !m.fade, len(m.queue) == 0, m.broken:
		m.fade = false
		return 0, nil
	}
	p := m.queue[0]
	n, err := m.next(p, pcm)
	if m.fade {
		m.fade = false
		m.replay = append(append([]int16{}, pcm[:n]...), m.replay...) // it is heard when it goes on
		return m.fadeFrame(pcm[:n]), nil
	}
	switch {
	case n > 0:
		m.sent(p, pcm[:n])
		return n, nil
	case err == io.EOF:
		m.tell(Event{Kind: Ended, Piece: p.Piece, Heard: p.Text})
		p.discard()
		m.drop()
	case err != nil:
		m.fail(p, err)
	default:
		if p.waiting++; time.Duration(p.waiting)*media.Frame > m.cfg.Stall {
			m.fail(p, errStall)
		}
	}
	return 0, nil
}

// next takes what a Resume has put back, then what the engine has made. The lock is held.
func (m *Mouth) next(p *piece, pcm []int16) (int, error) {
	if len(m.replay) > 0 {
		n := copy(pcm, m.replay)
		m.replay = m.replay[n:]
		return n, nil
	}
	if p.sound == nil {
		return 0, nil
	}
	return p.sound.Read(pcm)
}

// sent notes a frame that goes out. The lock is held.
func (m *Mouth) sent(p *piece, pcm []int16) {
	p.waiting = 0
	p.played += len(pcm)
	if m.cfg.Sent != nil {
		m.cfg.Sent(pcm)
	}
	if !p.begun {
		p.begun = true
		now := time.Now()
		if p.made.IsZero() {
			p.made = now
		}
		m.tell(Event{Kind: Began, Piece: p.Piece, Engine: p.sound.Engine(), Asked: p.asked, Made: p.made, At: now})
	}
	if keep := m.samples(rewind); len(m.past)+len(pcm) > cap(m.past) {
		n := copy(m.past, m.past[len(m.past)-keep:])
		m.past = m.past[:n]
	}
	m.past = append(m.past, pcm...)
}

// fadeFrame lets a frame go down to silence, so that it does not click.
func (m *Mouth) fadeFrame(pcm []int16) int {
	n := m.samples(fadeOut)
	for i := range pcm {
		if i >= n {
			pcm[i] = 0
			continue
		}
		pcm[i] = int16(int(pcm[i]) * (n - i) / n)
	}
	return len(pcm)
}
