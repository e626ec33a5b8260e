// Package llm is the first responder: it answers from the knowledge base before a person does, and never stands
// between a customer and a person.
//
// The switchboard asks Human first whether the customer wants a person; only then Answer. Answer searches the passages,
// lets the model write, and the guard lets only sentences out whose figures stand in those passages:
//
//	Human --no--> by code (hello, "are you human") --> Search --> model --> splitter --> guard --> emit
//	                                                     |          |                      '- twice blocked: Failure
//	                                                     |          '- dead, slow, cut ...: Failure (a person comes)
//	                                                     '- no model, or its breaker is open: the best passage, word
//	                                                        for word, when it is strong; else the truth
//
// Everything that decides is code: human.go, guard.go, the time limits and the breaker. The prompt only sets manners.
package llm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"patchbay/channels"
)

// Config is what a Responder needs; durations and Places that are zero get their defaults.
type Config struct {
	Pool    *pgxpool.Pool
	Host    string // Ollama's base URL; "" = quote mode
	Model   string // "" = quote mode
	Company string
	Weak    bool // a model too small to be trusted: only sentences that stand in a passage pass, else the passage is quoted

	Bridge        time.Duration // nothing shown by then: say that it takes a moment (4 s)
	FirstToken    time.Duration // no word of the answer by then: failure (8 s)
	FirstSentence time.Duration // nothing to show by then: failure (19/16 of FirstToken: 9.5 s)
	Stall         time.Duration // silence between two tokens (4 s)
	Total         time.Duration // the whole answer (30 s)
	Search        time.Duration // the knowledge base (2 s)
	Probe         time.Duration // how often an open breaker is probed (3 s)
	Threads       int           // of the CPU for the model (all but one, at least one)
	Places        int           // turns that the model serves at once (1, or 2 with more than 4 cores)

	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Turn is one question of a conversation.
type Turn struct {
	ConversationID int64
	Channel        channels.Kind
	History        []channels.Message // newest last; may hold the question itself
	Question       string
}

// Progress is what may be shown now: all sentences released so far, or (Bridging) that it takes a moment.
type Progress struct {
	Text     string
	Bridging bool
}

// Modes of an answer.
const (
	ModeModel = "model"
	ModeQuote = "quote" // a passage word for word, or a fixed sentence of ours
)

// Answer is a finished answer. With an error beside it, Text is what had been shown until then.
type Answer struct {
	Text     string
	Sources  []channels.Source
	Mode     string
	HandOver bool   // a person must come: the answer promised it, or had to stop in the middle
	Reason   string // of HandOver: model, ungrounded, cut ...
	Unknown  bool   // it says that it does not know and offers a person
}

// Failure says why there is no answer. All of them mean hand-over.
type Failure struct {
	Reason string // dead, missing, slow, busy, cut, garbage, empty, looping, ungrounded, too_long, knowledge
	Err    error
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return "responder: " + f.Reason
	}
	return "responder: " + f.Reason + ": " + f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// fault says whether the model or its server is ill, as opposed to one answer that was no good, or too many customers.
func (f *Failure) fault() bool {
	switch f.Reason {
	case "dead", "missing", "slow", "cut", "garbage", "empty":
		return true
	}
	return false
}

// Responder answers first. Safe for many conversations at once; Run must run beside it.
type Responder struct {
	cfg     Config
	log     *slog.Logger
	ollama  *ollama // nil: quote mode
	prompt  prompt
	breaker breaker
	places  chan struct{}
	metrics metrics
}

// New builds a Responder; it opens no connection.
func New(cfg Config) (*Responder, error) {
	fill := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	fill(&cfg.Bridge, 4*time.Second)
	fill(&cfg.FirstToken, 8*time.Second)
	fill(&cfg.FirstSentence, cfg.FirstToken*19/16)
	fill(&cfg.Stall, 4*time.Second)
	fill(&cfg.Total, 30*time.Second)
	fill(&cfg.Search, 2*time.Second)
	fill(&cfg.Probe, 3*time.Second)
	if cfg.Places <= 0 {
		cfg.Places = 1
		if runtime.NumCPU() > 4 {
			cfg.Places = 2
		}
	}
	if cfg.Threads <= 0 { // its threads spin: two on one busy core took 650 ms to the first token, one 9 ms
		cfg.Threads = max(1, runtime.NumCPU()-1)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Responder{
		cfg: cfg, log: cfg.Log, prompt: newPrompt(cfg.Company, rand.Text()[:12]),
		breaker: breaker{kick: make(chan struct{}, 1)}, places: make(chan struct{}, cfg.Places),
	}
	if cfg.Host != "" && cfg.Model != "" {
		var err error
		if r.ollama, err = newOllama(cfg.Host, cfg.Model, cfg.Threads); err != nil {
			return nil, err
		}
	}
	var err error
	r.metrics, err = newMetrics(cfg.Metrics)
	return r, err
}

// Describe says in one line which mode the responder is in and why.
func (r *Responder) Describe() string {
	switch open, why := r.breaker.state(); {
	case r.cfg.Host == "":
		return "quote mode: no Ollama"
	case r.cfg.Model == "":
		return "quote mode: no model at " + r.cfg.Host
	case open:
		return fmt.Sprintf("quote mode until model %s at %s answers again (%s)", r.cfg.Model, r.cfg.Host, why)
	default:
		return fmt.Sprintf("model %s at %s", r.cfg.Model, r.cfg.Host)
	}
}

var errQuoteMode = errors.New("quote mode: no Ollama or no model is set")

// Models lists what Ollama has.
func (r *Responder) Models(ctx context.Context) ([]string, error) {
	if r.ollama == nil {
		return nil, errQuoteMode
	}
	return r.ollama.models(ctx)
}

// Ready says whether the model is there; nil means that Ollama answers and has it.
func (r *Responder) Ready(ctx context.Context) error {
	all, err := r.Models(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m == r.cfg.Model || m == r.cfg.Model+":latest" {
			return nil
		}
	}
	return &Failure{Reason: "missing", Err: fmt.Errorf("model %s is not at %s", r.cfg.Model, r.cfg.Host)}
}

// Pull fetches the model; progress may be nil.
func (r *Responder) Pull(ctx context.Context, progress func(status string, done, total int64)) error {
	if r.ollama == nil {
		return errQuoteMode
	}
	return r.ollama.pull(ctx, progress)
}

// Answer answers one question. emit is called on Answer's own goroutine, with growing text. It returns within
// FirstSentence when nothing can be shown and within Total in any case; when ctx ends the stream to Ollama is closed at
// once and ctx's error comes back. The only other errors are *Failure; what was shown until then is in the Answer.
func (r *Responder) Answer(ctx context.Context, t Turn, emit func(Progress)) (Answer, error) {
	start := time.Now()
	a, err := r.answer(ctx, t, emit, start)
	r.metrics.note(a, err, time.Since(start))
	var f *Failure
	if errors.As(err, &f) {
		r.log.Warn("no answer", "conversation", t.ConversationID, "reason", f.Reason, "error", f.Err, "after", time.Since(start).Round(time.Millisecond))
	}
	return a, err
}

func (r *Responder) answer(ctx context.Context, t Turn, emit func(Progress), start time.Time) (Answer, error) {
	show := func(a Answer) (Answer, error) {
		emit(Progress{Text: a.Text})
		return a, nil
	}
	if h, ok := heard()[strings.Join(tokens(bounded(t.Question, 200)), " ")]; ok {
		return show(Answer{Text: say(h[0], h[1]), Mode: ModeQuote})
	}
	passages, err := r.lookUp(ctx, t)
	if ctx.Err() != nil {
		return Answer{}, ctx.Err()
	}
	if err != nil {
		return Answer{}, &Failure{Reason: "knowledge", Err: err}
	}
	unknown := Answer{Text: say(language(t.Question), "unknown"), Mode: ModeQuote, Unknown: true}
	strong := len(passages) > 0 && passages[0].Strong()
	if r.ollama != nil && len(passages) > 0 {
		if open, why := r.breaker.state(); !open {
			a, err := r.byModel(ctx, t, passages, emit, start)
			if ctx.Err() == nil && r.breaker.note(err) {
				r.log.Warn("model is left alone until it answers a probe", "model", r.cfg.Model, "error", err)
			}
			if !(r.cfg.Weak && a.Text == "" && blocked(err)) {
				return a, err
			}
		} else if !strong {
			return Answer{}, &Failure{Reason: "dead", Err: errors.New("breaker is open: " + why)}
		}
	}
	if !strong {
		return show(unknown)
	}
	best := passages[0]
	return show(Answer{Text: best.Body, Sources: []channels.Source{best.source()}, Mode: ModeQuote})
}

// blocked: the model is well, but what it said may not be shown.
func blocked(err error) bool {
	var f *Failure
	return errors.As(err, &f) && !f.fault() && f.Reason != "busy"
}

// minCovered is what a passage must cover to be shown to the model at all: nearer to nothing than that, even a good
// model invents.
const minCovered = 0.2

// lookUp searches by the question, and when that finds nothing strong also with the customer's words before it ("and
// how much is it?").
func (r *Responder) lookUp(ctx context.Context, t Turn) ([]Passage, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Search)
	defer cancel()
	found, err := Search(ctx, r.cfg.Pool, t.Question, passageCount)
	before := wordsBefore(t)
	if err != nil || len(found) > 0 && found[0].Strong() && (before == "" || found[0].Asked > 1) {
		return found, err
	}
	if before != "" && len(tokens(t.Question)) <= followUpWords {
		more, err := Search(ctx, r.cfg.Pool, before+"\n"+t.Question, passageCount)
		if err != nil {
			return nil, err
		}
		found = merged(more, found)
	}
	kept := found[:0]
	for _, p := range found {
		if p.Covered >= minCovered {
			kept = append(kept, p)
		}
	}
	return kept, nil
}

// followUpWords is how long a question may be that leans on what was said before.
const followUpWords = 8

// merged puts the passages for the question with its context first, and keeps the best one for the question alone: it
// may be a new topic. Only the latter can be strong.
func merged(context, alone []Passage) []Passage {
	for i := range context {
		context[i].Words, context[i].Asked = 0, 0
	}
	switch {
	case len(alone) == 0:
		return context
	case len(context) == 0 || context[0].ID == alone[0].ID:
		return alone
	}
	for _, p := range context {
		if p.ID == alone[0].ID {
			return context
		}
	}
	return append(context[:min(len(context), passageCount-1)], alone[0])
}

// wordsBefore is the customer's message before the question.
func wordsBefore(t Turn) string {
	for i := len(t.History) - 1; i >= 0; i-- {
		m := t.History[i]
		if _, small := heard()[strings.Join(tokens(bounded(m.Body, 200)), " ")]; small {
			continue
		}
		if m.Author == channels.ByContact && m.Kind == channels.Text && m.Body != t.Question {
			return bounded(m.Body, 400)
		}
	}
	return ""
}
