package speech

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Which engine does a job: the one that is named, then the house's in their order; those that have just failed come last.
// When one fails before it was of use the next is asked with the same sound or text, so that nothing is lost; one that
// breaks off in the middle of a sentence costs that sentence.

const (
	rest        = 15 * time.Second        // an engine that failed is asked after the others for so long
	textWithin  = 3 * time.Second         // for an engine with others behind it: longer, and they are asked
	soundWithin = 1500 * time.Millisecond // the same, to the first sound
)

var errLate = fmt.Errorf("%w: no sound within %s", ErrEngine, soundWithin)

// engine is one that can do a job; either local or remote is set.
type engine struct {
	name   string
	local  *local
	remote *remote
	voice  string // asked of it; no engine but the named one knows the caller's
}

// able are the engines for a job, the ones that are well first.
func (e *Engines) able(job Job, wanted, language, voice string) []engine {
	names := e.names
	if wanted != "" {
		names = append([]string{wanted}, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == wanted })...)
	}
	var all []engine
	for _, name := range names {
		en := engine{name: name}
		if wanted == "" || wanted == name {
			en.voice = voice
		}
		if l := e.local[job]; name == Local && l != nil && l.can(language) {
			en.local = l
			all = append(all, en)
		}
		if r := e.remote[name]; r != nil && r.does(job) && r.knows(language) {
			en.remote = r
			all = append(all, en)
		}
	}
	return wellFirst(all, job)
}

// wellFirst puts the engines that have just failed behind the others.
func wellFirst(all []engine, job Job) []engine {
	var well, ill []engine
	for _, en := range all {
		if en.ill(job) {
			ill = append(ill, en)
		} else {
			well = append(well, en)
		}
	}
	return append(well, ill...)
}

func (en engine) ill(job Job) bool {
	if en.local != nil {
		return en.local.describe().Standing == Broken
	}
	return en.remote.ill(job)
}

// byPieces hears with engines that want whole pieces; where we have a child, it tells speech from other sound. What m holds, which
// may be nil, is heard again first; told: it is known that somebody speaks.
func (e *Engines) byPieces(ear *Ear, able []engine, cfg HearConfig, m *memory, told bool) *whole {
	w := newWhole(ear, e.transcriber(able, cfg), false)
	loudness := newEnergy(cfg.Rate)
	w.detector = loudness
	if m != nil {
		w.hearAgain(m, told)
	}
	if l := e.local[Hearing]; l != nil {
		w.detector = newLentDetector(w, l, cfg, loudness)
	}
	return w
}

// transcriber has whole pieces heard by the first engine that can.
func (e *Engines) transcriber(able []engine, cfg HearConfig) transcriber {
	return func(ctx context.Context, pcm []int16, whole bool) (transcript, error) {
		if !whole {
			return wellFirst(able, Hearing)[0].look(ctx, cfg, pcm)
		}
		var errs []error
		queue := wellFirst(able, Hearing)
		for i, en := range queue {
			t, err := en.transcribe(ctx, cfg, pcm, i+1 == len(queue))
			if err == nil {
				t.engine = en.name
				return t, nil
			}
			if errs = append(errs, err); ctx.Err() != nil {
				break
			}
			e.goOn(Hearing, queue[i:], err)
		}
		return transcript{}, errors.Join(errs...)
	}
}

func (en engine) transcribe(ctx context.Context, cfg HearConfig, pcm []int16, last bool) (transcript, error) {
	if !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, textWithin)
		defer cancel()
	}
	if en.local != nil {
		return en.local.transcribe(ctx, cfg, pcm)
	}
	t, err := en.remote.hear(ctx, cfg, pcm)
	return t, en.remote.note(ctx, Hearing, err)
}

// mostUnderWay transcriptions are asked of a server at once, and it is not asked to look at unfinished speech.
const mostUnderWay = 4

// look is worth nothing to an engine that is busy, and says nothing about how well it is.
func (en engine) look(ctx context.Context, cfg HearConfig, pcm []int16) (transcript, error) {
	if en.remote == nil || en.remote.hearing.Load() >= mostUnderWay {
		return transcript{}, errBusy
	}
	return en.remote.hear(ctx, cfg, pcm)
}

// goOn logs that the first of these has failed and the next is asked.
func (e *Engines) goOn(job Job, queue []engine, err error) {
	if len(queue) > 1 {
		e.log.Warn("speech: an engine has failed, the next one is asked", "job", job, "engine", queue[0].name, "next", queue[1].name, "err", err)
	}
}

// speaker has a text spoken by the first engine that can; used is told which it is, before its first sound.
func (e *Engines) speaker(able []engine, cfg SayConfig, used func(name string)) maker {
	return func(ctx context.Context, text string, rate int, put func([]int16) error) error {
		var errs []error
		queue := wellFirst(able, Speaking)
		for i, en := range queue {
			sounded, err := en.speak(ctx, cfg, text, rate, i+1 == len(queue), func(pcm []int16) error {
				used(en.name)
				return put(pcm)
			})
			if err == nil {
				return nil
			}
			if errs = append(errs, err); sounded || ctx.Err() != nil {
				break
			}
			e.goOn(Speaking, queue[i:], err)
		}
		return errors.Join(errs...)
	}
}

// speak tells whether anything was put.
func (en engine) speak(ctx context.Context, cfg SayConfig, text string, rate int, last bool, put func([]int16) error) (bool, error) {
	var sounded atomic.Bool // by a goroutine of the engine's
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(soundWithin, func() {
		if !last {
			cancel(errLate)
		}
	})
	defer late.Stop()
	first := func(pcm []int16) error {
		if len(pcm) == 0 && (en.local == nil || !sounded.Load()) { // nothing of ours is the end of a breath
			return nil
		}
		if !sounded.Load() && !late.Stop() && !last {
			return errLate
		}
		sounded.Store(true)
		return put(pcm)
	}
	cfg.Voice = en.voice
	var err error
	if en.local != nil {
		err = en.local.say(ctx, cfg, text, rate, first)
	} else {
		err = en.remote.note(ctx, Speaking, en.remote.say(ctx, cfg, text, rate, first))
	}
	return sounded.Load(), because(ctx, err)
}
