package speech

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
)

// MaxText is the longest text of one Utterance, in bytes. Say sentence by sentence: the first sound is there sooner.
const MaxText = 2000

// maxSound bounds what an engine may make of it; one that goes on and on has gone mad.
const maxSound = 4 * time.Minute

// SayConfig says how to speak.
type SayConfig struct {
	Language string // ISO 639-1, "en"; empty: the engine's own choice
	Voice    string // of Engine; empty, or not there, or of another language: its first of the language
	Engine   string // a name of Describe, which is tried first; empty: the house's order
	Rate     int    // of the sound: Narrow or Wide
}

// Utterance is one text being made into sound, faster than it is played. Read is for the media path, by one goroutine;
// the rest may be called by anybody.
type Utterance struct {
	text   string
	rate   int
	cancel context.CancelFunc
	first  chan struct{} // closed by the first sound, or the end
	done   chan struct{}

	mu     sync.Mutex // held for copying a frame at most
	chunks [][]int16  // made and not yet read
	made   int        // samples
	ends   []int      // the samples at which each of breaths(text) ends that is made, if the engine tells
	engine string     // whose they are
	err    error      // io.EOF: all is made
}

// maker makes the sound of text at the Utterance's rate; put's error ends it, and put(nil) says that one of breaths(text) is complete. It
// returns soon after ctx ends.
type maker func(ctx context.Context, text string, rate int, put func(pcm []int16) error) error

func openUtterance(ctx context.Context, e *Engines, text string, rate int, open func(*Utterance) maker) *Utterance {
	u := &Utterance{text: text, rate: rate, first: make(chan struct{}), done: make(chan struct{})}
	ctx, u.cancel = context.WithCancel(ctx)
	from := open(u)
	e.wg.Go(func() {
		defer u.cancel()
		defer context.AfterFunc(e.ctx, u.cancel)()
		defer context.AfterFunc(ctx, func() { u.end(ctx.Err(), true) })() // Read knows at once, whatever the maker is busy with
		trim := trimmer{keep: rate / 100, most: rate / 2}
		err := from(ctx, text, rate, func(pcm []int16) error {
			if pcm == nil {
				u.breathed()
				return nil
			}
			return u.put(trim.cut(pcm))
		})
		switch {
		case ctx.Err() != nil:
			u.end(ctx.Err(), true)
		case err != nil:
			u.end(err, false)
		default:
			u.end(io.EOF, false)
		}
	})
	return u
}

// Read fills pcm with the next samples and never waits: 0, nil means that they are not made yet, not all of them; only the last
// samples may be fewer. io.EOF is the end; another error means that the rest will
// not come: the engine failed, or the context ended, and then what was made is dropped too.
func (u *Utterance) Read(pcm []int16) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ready := 0
	for i := 0; i < len(u.chunks) && ready < len(pcm); i++ {
		ready += len(u.chunks[i])
	}
	if ready < len(pcm) && u.err == nil { // a frame that is filled up with silence would click in the middle of a word
		return 0, nil
	}
	n := 0
	for n < len(pcm) && len(u.chunks) > 0 {
		c := copy(pcm[n:], u.chunks[0])
		n += c
		if u.chunks[0] = u.chunks[0][c:]; len(u.chunks[0]) == 0 {
			u.chunks = u.chunks[1:]
		}
	}
	if n == 0 && len(pcm) > 0 {
		return 0, u.err
	}
	return n, nil
}

// First is closed when the first sound can be read, or none will come.
func (u *Utterance) First() <-chan struct{} { return u.first }

// Done is closed when all is made, or nothing more will come: Err tells.
func (u *Utterance) Done() <-chan struct{} { return u.done }

// Err is nil while the sound is being made and when it was made to the end.
func (u *Utterance) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == io.EOF {
		return nil
	}
	return u.err
}

// Engine is the name of the one whose sound it is; empty before the first.
func (u *Utterance) Engine() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.engine
}

// by sets it.
func (u *Utterance) by(engine string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.engine = engine
}

// Made is how much sound has been made so far.
func (u *Utterance) Made() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.length(u.made)
}

// Close stops the making and drops what was not read.
func (u *Utterance) Close() error {
	u.cancel()
	u.end(ErrClosed, true)
	return nil
}

// Spoken is the part of the text that somebody has heard who heard the first so long of the sound: whole words, told by
// their share of it, because engines do not say when they speak which, but for the ends of breaths.
func (u *Utterance) Spoken(heard time.Duration) string {
	u.mu.Lock()
	total, complete, ends := u.length(u.made), u.err == io.EOF, u.ends
	u.mu.Unlock()
	if complete && heard >= total-spare {
		return u.text
	}
	text, from, rate := 0, time.Duration(0), weightsPerSecond // what was heard to the end, and how fast it was
	rest := u.text
	for i, part := range breaths(u.text) {
		if i == len(ends) {
			break
		}
		if end := u.length(ends[i]); heard < end-spare {
			rest, total, complete = part, end, true
			break
		}
		text += strings.Index(u.text[text:], part) + len(part)
		from = u.length(ends[i])
		rest = u.text[text:]
		rate = float64(weight(u.text[:text])) / from.Seconds()
	}
	if total -= from; !complete {
		total = max(total, time.Duration(float64(weight(rest))/rate*float64(time.Second)))
	}
	said := u.text[:text] + u.text[text:][:strings.Index(u.text[text:], rest)]
	if total > 0 {
		said += rest[:share(rest, float64(heard-from)/float64(total))]
	}
	return strings.TrimSpace(said)
}

// spare is how much of a piece's sound may be missing, and it was heard to its end.
const spare = 20 * time.Millisecond

// share is the length of the whole words of a text that so much of its sound has.
func share(text string, of float64) (end int) {
	budget, at := int(float64(weight(text))*of), 0
	for i, r := range text {
		if unicode.IsSpace(r) && at <= budget {
			end = i
		}
		if at += weigh(r); at > budget {
			break
		}
	}
	return end
}

func weight(text string) (sum int) {
	for _, r := range text {
		sum += weigh(r)
	}
	return sum
}

// weigh is the time that a character takes, in letters: a stop takes several.
func weigh(r rune) int {
	switch {
	case strings.ContainsRune(".!?…", r):
		return 5
	case strings.ContainsRune(",;:", r):
		return 3
	case unicode.IsDigit(r):
		return 4
	}
	return 1
}

const weightsPerSecond = 16.0

func (u *Utterance) length(samples int) time.Duration {
	return time.Duration(samples) * time.Second / time.Duration(u.rate)
}

func (u *Utterance) put(pcm []int16) error {
	if len(pcm) == 0 {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return u.err
	}
	if u.made == 0 {
		close(u.first)
	}
	u.chunks = append(u.chunks, pcm)
	if u.made += len(pcm); u.length(u.made) > maxSound {
		return fmt.Errorf("%w: more than %s of sound for %d bytes of text", ErrEngine, maxSound, len(u.text))
	}
	return nil
}

// breathed: one more of the text's breaths is made.
func (u *Utterance) breathed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ends = append(u.ends, u.made)
}

// end sets why no more sound comes, once.
func (u *Utterance) end(err error, drop bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if drop {
		u.chunks = nil
	}
	if u.err != nil {
		return
	}
	if u.err = err; u.made == 0 {
		close(u.first)
	}
	close(u.done)
}

// trimmer takes the silence away that engines put before the first word: it costs the caller time.
type trimmer struct {
	keep, most int // samples: kept before the first sound; the most that is taken
	cutOff     int
	begun      bool
}

const silence = 150 // below it is none, of 32768

func (t *trimmer) cut(pcm []int16) []int16 {
	if t.begun {
		return pcm
	}
	for i, s := range pcm {
		if s > silence || s < -silence || t.cutOff+i >= t.most {
			t.begun = true
			return pcm[max(0, i-t.keep):]
		}
	}
	t.cutOff += len(pcm)
	return nil
}
