// Package transcript writes down what people say to each other in a call: an Ear on each side's leg, partial words while
// somebody speaks, and the words when they pause.
//
//	leg of a side ─▶ speech.Ear ─▶ Config.Partial (as often as the engine tells), Config.Final (once for each utterance)
//
// Nothing of it touches the call's sound: the Ear copies frames and never waits. An engine that dies or is missing costs
// the words that it would have written, and nothing else.
package transcript

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/speech"
)

// Hearing opens Ears; *speech.Engines does.
type Hearing interface {
	Hear(ctx context.Context, cfg speech.HearConfig) (*speech.Ear, error)
}

// Config is one call's. The funcs are called on a goroutine of the side that speaks, each in the order of its words; they
// must not block for long.
type Config struct {
	Hearing  Hearing
	Language string
	Log      *slog.Logger

	Partial func(side int64, text string) // what that side is saying; "": it is withdrawn
	Final   func(side int64, text string) // what it has said
}

// Transcript is one call's. Its verbs belong to the call's goroutine; a nil Transcript hears nothing.
type Transcript struct {
	cfg    Config
	sides  map[int64]*side
	failed bool // there is no engine: it is not asked again in this call
	wg     sync.WaitGroup
}

// side is one of those who speak, on the leg that they have now.
type side struct {
	leg  *media.Leg
	stop func() // the leg's listening
	ear  *speech.Ear
	end  chan struct{} // closed: nothing more is said on this leg
	last time.Duration // how long the words may take then
	fast bool          // the sound came faster than it was spoken: the engine may not have told yet that somebody speaks
}

// lastWords is how long an Ear may take for what was said right before its side has gone.
const lastWords = 3 * time.Second

// failures in a row, and a side is not heard any more on its leg.
const failures = 3

// New writes nothing down until Hears.
func New(cfg Config) *Transcript { return &Transcript{cfg: cfg, sides: map[int64]*side{}} }

// Hears sets who is heard, and on which legs: whoever is not named is not heard any more. It never waits. The legs must
// stay until they are no longer named.
func (t *Transcript) Hears(legs map[int64]*media.Leg) {
	if t == nil {
		return
	}
	for who, s := range t.sides {
		if legs[who] != s.leg {
			s.leave()
			delete(t.sides, who)
		}
	}
	for who, leg := range legs {
		if leg != nil && t.sides[who] == nil && !t.failed {
			t.open(who, leg)
		}
	}
}

// Forget hears whoever is on this leg no more: it is being closed.
func (t *Transcript) Forget(leg *media.Leg) {
	if t == nil {
		return
	}
	for who, s := range t.sides {
		if s.leg == leg {
			s.leave()
			delete(t.sides, who)
		}
	}
}

// Close hears nobody any more. What was said last may still come for some seconds; Wait waits for it.
func (t *Transcript) Close() { t.Hears(nil) }

// Wait returns when the last words have come, or nothing comes any more.
func (t *Transcript) Wait() {
	if t != nil {
		t.wg.Wait()
	}
}

func (t *Transcript) open(who int64, leg *media.Leg) {
	rate := speech.Narrow
	if leg.Format().Codec.SampleRate() > media.Rate {
		rate = speech.Wide
	}
	ear, err := t.cfg.Hearing.Hear(context.Background(), speech.HearConfig{Language: t.cfg.Language, Rate: rate}) // lives until leave
	if err != nil {
		t.failed = true
		t.cfg.Log.Warn("the call is not written down", "err", err)
		return
	}
	s := &side{leg: leg, ear: ear, end: make(chan struct{}), last: lastWords}
	s.stop = leg.Listen(ear.Write)
	t.sides[who] = s
	t.wg.Go(func() { t.read(who, s) })
}

// leave takes the side's ear off its leg.
func (s *side) leave() {
	s.stop()
	close(s.end)
}

// read takes what the ear hears. Every way in which a side's transcript ends stands in its select.
func (t *Transcript) read(who int64, s *side) {
	defer func() {
		if err := s.ear.Close(); err != nil {
			t.cfg.Log.Debug("close ear", "err", err)
		}
	}()
	w := words{t: t, who: who, ear: s.ear}
	end, late := s.end, (<-chan time.Time)(nil)
	for {
		select {
		case h, ok := <-s.ear.Events():
			if !ok || !w.take(h) || end == nil && w.asked == 0 {
				w.withdraw()
				return
			}
		case <-end: // one more answer, and it is over
			end = nil
			if !w.open && w.asked == 0 && !s.fast {
				w.withdraw()
				return
			}
			w.finish()
			timer := time.NewTimer(s.last)
			defer timer.Stop()
			late = timer.C
		case <-late:
			w.withdraw()
			return
		}
	}
}

// words are one side's utterances.
type words struct {
	t     *Transcript
	who   int64
	ear   *speech.Ear
	open  bool // something was said that no Final has answered
	shown bool // a partial stands
	asked int  // Finishes on their way
	fails int
}

func (w *words) finish() {
	w.asked++
	w.open = false
	w.ear.Finish()
}

// take returns false when the engine has failed too often.
func (w *words) take(h speech.Heard) bool {
	switch h.Kind {
	case speech.Began:
		w.open = true
	case speech.Paused:
		w.finish()
	case speech.Partial:
		if text := strings.TrimSpace(h.Text); text != "" {
			w.open, w.shown = true, true
			w.t.cfg.Partial(w.who, text)
		}
	case speech.Final:
		w.asked, w.fails = max(0, w.asked-1), 0
		w.withdraw()
		if text := strings.TrimSpace(h.Text); text != "" {
			w.t.cfg.Final(w.who, text)
		}
	case speech.Failed:
		w.asked = max(0, w.asked-1)
		w.withdraw()
		w.t.cfg.Log.Info("words are lost to the transcript", "err", h.Err)
		if w.fails++; w.fails >= failures {
			w.t.cfg.Log.Warn("one side of the call is not written down any more", "err", errors.Join(errGivenUp, h.Err))
			return false
		}
	}
	return true
}

var errGivenUp = errors.New("the speech engine failed again and again")

func (w *words) withdraw() {
	if w.shown {
		w.shown = false
		w.t.cfg.Partial(w.who, "")
	}
}
