// Package speech hears and speaks: sound in and text out, text in and sound out. It knows no call and no conversation;
// whoever has a caller's 20 ms frames gives them to an Ear, whoever has a sentence gets an Utterance to read sound from.
//
//	frames -> Ear.Write -> ring -> hearing -> Ear.Events: Began, Partial, Paused, Final, Failed
//	text   -> Engines.Say -> maker -> Utterance.Read -> frames
//
// Two kinds of engine stand behind these verbs. Local ones are native libraries, opened without cgo in child processes of
// this same binary ("server speech"), so that a crash in native code costs one sentence at most, of the one whose it was: a
// new child is there within a second or two, and the Ears move over to it by themselves, with the sound that was not
// understood yet (memory.go). Who was being heard or spoken for when a child died is in its black box (blackbox.go): sound that kills
// two of them is not given to a third. Native code that hangs is found out by what it is at (hang.go). Remote ones are servers that speak OpenAI's audio API, which is what self-hosters run.
//
// Nothing here blocks a media path: Write copies into a ring, Read takes what has been made.
package speech

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Rates that frames may have.
const (
	Narrow = 8000
	Wide   = 16000
)

// What went wrong, for errors.Is; the error's text has the particulars.
var (
	// ErrNoEngine: no engine can do this (language, voice or name unknown, or its model is not here).
	ErrNoEngine = errors.New("no speech engine")
	// ErrEngine: the engine broke off: it crashed, hangs, refuses, or answers nonsense. The next try may work.
	ErrEngine = errors.New("speech engine failed")
	// ErrClosed: the Ear, the Utterance or Engines was closed.
	ErrClosed = errors.New("speech closed")
)

// Config says which engines there are.
type Config struct {
	// Models is the folder that deploy/models.sh fills. Empty: no local engines.
	Models string
	// Command starts a child that serves the local engines: the program and its arguments. Empty: this binary, whose main
	// calls Serve. A test names itself, and calls Serve in its TestMain.
	Command []string
	// Threads for the native code of each child. 0: one less than the machine has, at least one.
	Threads int
	// Hang is how long a child may give no sign of life before it is killed. 0: 1.5 seconds.
	Hang time.Duration
	// Remote are servers beside the local engines. The house's order is: the local ones, then these as they stand here.
	Remote []Remote
	// Prefer is the name of an engine that is tried before them, where nobody names another one. Empty: none.
	Prefer string
	Log    *slog.Logger
}

// Engines are all that hear and speak here. Its methods may be called by any goroutine.
type Engines struct {
	log    *slog.Logger
	names  []string // of all, in the order in which they are tried
	remote map[string]*remote
	local  map[Job]*local // empty without Config.Models

	ctx  context.Context // of everything that was opened here
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Open makes the engines ready in the background. A missing model or a remote server that is down is no error here:
// Describe tells. An error means that the configuration is wrong.
func Open(cfg Config) (*Engines, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engines{log: cfg.Log, names: []string{Local}, remote: map[string]*remote{}}
	for _, r := range cfg.Remote {
		if err := r.check(); err != nil {
			return nil, err
		}
		if slices.Contains(e.names, r.Name) {
			return nil, fmt.Errorf("speech: two engines are called %q", r.Name)
		}
		e.names, e.remote[r.Name] = append(e.names, r.Name), newRemote(r)
	}
	if cfg.Prefer != "" && !slices.Contains(e.names, cfg.Prefer) {
		return nil, fmt.Errorf("speech: no engine is called %q", cfg.Prefer)
	}
	if at := slices.Index(e.names, cfg.Prefer); at > 0 {
		e.names = slices.Insert(slices.Delete(e.names, at, at+1), 0, cfg.Prefer)
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	if cfg.Models != "" {
		e.local = map[Job]*local{Hearing: newLocal(Hearing, cfg), Speaking: newLocal(Speaking, cfg)}
	}
	for _, l := range e.local {
		e.wg.Go(func() { l.run(e.ctx) })
	}
	return e, nil
}

// Close ends every Ear and Utterance, and the children. It returns when nothing runs any more.
func (e *Engines) Close() error {
	e.stop()
	e.wg.Wait()
	for _, r := range e.remote {
		r.client.CloseIdleConnections()
	}
	return nil
}

// Local is the name of the engines in our own children.
const Local = "local"

// Job is what an engine is for.
type Job string

const (
	Hearing  Job = "hear"
	Speaking Job = "say"
)

// Standing is how an engine does.
type Standing string

const (
	Ready    Standing = "ready"
	Starting Standing = "starting"
	Missing  Standing = "missing" // Detail says which file, and which command fetches it
	Broken   Standing = "broken"  // Detail has the last error; it is tried again
)

// Description is one engine's state, for the log, the health page and the call doctor.
type Description struct {
	Engine    string
	Job       Job
	Standing  Standing
	Languages []string // ISO 639-1; empty for a remote engine means any
	Voices    []string // of a speaking engine
	Detail    string
}

// Describe tells each engine's state, in the house's order.
func (e *Engines) Describe() []Description {
	var all []Description
	for _, name := range e.names {
		for _, job := range []Job{Hearing, Speaking} {
			if l := e.local[job]; name == Local && l != nil {
				all = append(all, l.describe())
			}
		}
		if r := e.remote[name]; r != nil {
			all = append(all, r.describe()...)
		}
	}
	return all
}

// Languages that can be heard and spoken now, sorted. An engine that takes any adds those of the others.
func (e *Engines) Languages() []string {
	can, any := map[Job]map[string]bool{Hearing: {}, Speaking: {}}, map[Job]bool{}
	for _, d := range e.Describe() {
		if d.Standing != Ready {
			continue
		}
		any[d.Job] = any[d.Job] || len(d.Languages) == 0
		for _, l := range d.Languages {
			can[d.Job][l] = true
		}
	}
	all := maps.Clone(can[Hearing])
	maps.Copy(all, can[Speaking])
	maps.DeleteFunc(all, func(l string, _ bool) bool {
		return !can[Hearing][l] && !any[Hearing] || !can[Speaking][l] && !any[Speaking]
	})
	return slices.Sorted(maps.Keys(all))
}

// Await returns when callers of a language, "en" or "en-GB", can be heard: our own child has loaded its models, or there is a server to be
// asked. An error tells why nothing hears it by the end of ctx; where nothing ever will, it comes at once.
func (e *Engines) Await(ctx context.Context, language string) error {
	l := e.local[Hearing]
	if l == nil {
		if !e.hears(language) {
			return e.none(Hearing, language)
		}
		return nil
	}
	for {
		change := l.changes() // before it is asked
		if e.hears(language) {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return errors.Join(e.none(Hearing, language), ctx.Err())
		}
	}
}

// hears says whether an engine is ready to. A server that has failed is: nobody knows before it is asked again.
func (e *Engines) hears(language string) bool {
	base, _, _ := strings.Cut(language, "-")
	return slices.ContainsFunc(e.Describe(), func(d Description) bool {
		return d.Job == Hearing && (d.Standing == Ready || d.Engine != Local) &&
			(len(d.Languages) == 0 || slices.Contains(d.Languages, language) || slices.Contains(d.Languages, base))
	})
}

// Hear opens an Ear for one caller. It lives until ctx ends or it is closed.
func (e *Engines) Hear(ctx context.Context, cfg HearConfig) (*Ear, error) {
	if cfg.Rate != Narrow && cfg.Rate != Wide {
		return nil, fmt.Errorf("speech: frames of %d Hz: 8000 or 16000 were expected", cfg.Rate)
	}
	if e.ctx.Err() != nil {
		return nil, ErrClosed
	}
	able := e.able(Hearing, cfg.Engine, cfg.Language, "")
	if len(able) == 0 {
		return nil, e.none(Hearing, cfg.Language)
	}
	l := able[0].local
	if l == nil {
		return openEar(ctx, e, cfg.Rate, func(ear *Ear) hearing { return e.byPieces(ear, able, cfg, nil, false) }), nil
	}
	return openEar(ctx, e, cfg.Rate, func(ear *Ear) hearing {
		d := newDistant(ear, l, cfg)
		if len(able) > 1 {
			d.instead = func() hearing {
				e.goOn(Hearing, able, errNoChild)
				return e.byPieces(ear, able, cfg, d.memory, d.speaking)
			}
		}
		return d
	}), nil
}

// Say starts to make the sound of text, plain words without markup, at most MaxText bytes. ctx cancels it.
func (e *Engines) Say(ctx context.Context, text string, cfg SayConfig) (*Utterance, error) {
	if cfg.Rate != Narrow && cfg.Rate != Wide {
		return nil, fmt.Errorf("speech: sound of %d Hz: 8000 or 16000 were expected", cfg.Rate)
	}
	if text = strings.TrimSpace(text); text == "" || len(text) > MaxText {
		return nil, fmt.Errorf("speech: a text of %d bytes: 1 to %d were expected", len(text), MaxText)
	}
	if e.ctx.Err() != nil {
		return nil, ErrClosed
	}
	able := e.able(Speaking, cfg.Engine, cfg.Language, cfg.Voice)
	if len(able) == 0 {
		return nil, e.none(Speaking, cfg.Language)
	}
	return openUtterance(ctx, e, text, cfg.Rate, func(u *Utterance) maker { return e.speaker(able, cfg, u.by) }), nil
}

// none explains why no engine was found.
func (e *Engines) none(job Job, language string) error {
	var why []string
	for _, d := range e.Describe() {
		if d.Job == job {
			why = append(why, fmt.Sprintf("%s is %s (%s)", d.Engine, d.Standing, d.Detail))
		}
	}
	if len(why) == 0 {
		why = []string{"none is configured"}
	}
	return fmt.Errorf("%w to %s language %q: %s", ErrNoEngine, job, language, strings.Join(why, "; "))
}
