// Package llm is the first responder: it answers from the knowledge base before a person does, and never stands
// between a customer and a person.
//
// The switchboard asks Human first whether the customer wants a person; only then Answer. Answer searches the passages,
// lets the model write, and the guard lets only sentences out whose figures stand in those passages:
//
//	Human --no--> by code (hello, "are you human") --> Search --> model --> splitter --> guard --> emit
//	                                                     |          |                      '- twice blocked: Failure
//	                                                     |          '- dead, slow, cut ...: Failure (a person comes)
//	                                                     '- no model, its breaker is open, or no place there: the best
//	                                                        passage, word for word, when it is strong; else the truth
//
// The model may be served by several Ollamas (hosts.go): each turn goes to the least loaded one, each has its breaker, and
// one that dies before its first word is replaced by another. How many turns and calls are let in at once is measured and
// kept (admission.go, tend.go): who would wait too long gets a person at once instead of a slow answer.
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
	"patchbay/llm/human"
)

// Config is what a Responder needs; durations and Places that are zero get their defaults.
type Config struct {
	Pool    *pgxpool.Pool
	Hosts   []Host // none = quote mode
	Company string

	Bridge        time.Duration // nothing shown by then: say that it takes a moment (4 s); the places at the model are counted so that it is rare
	BridgeVoice   time.Duration // the same for a caller (1.5 s)
	FirstToken    time.Duration // no word of the answer by then: failure (8 s)
	FirstSentence time.Duration // nothing to show by then: failure (19/16 of FirstToken: 9.5 s)
	Stall         time.Duration // silence between two tokens (4 s)
	Total         time.Duration // the whole answer (30 s)
	Search        time.Duration // the knowledge base (2 s)
	Probe         time.Duration // how often an open breaker is probed (3 s)
	Idle          time.Duration // without a turn for so long a model is warmed up again (4 min)
	Threads       int           // of the CPU for the model (on this machine all but one, at least one; elsewhere Ollama's choice)
	Places        int           // turns that each host serves at once (measured at the start, then adjusted)

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

	FirstToken time.Duration // since the question was put, with the first text; 0: no model was asked
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

	// since Answer was called; 0: none came
	Own           time.Duration // until a place at the model was asked for: our search
	Waited        time.Duration // for that place
	FirstToken    time.Duration
	FirstSentence time.Duration // released by the guard
	Model         string        // whose words or silence it was; "" = none was asked
}

// Failure says why there is no answer. All of them mean hand-over.
type Failure struct {
	Reason string // dead, missing, broken (its file), slow, busy, cut, garbage, empty, looping, ungrounded, too_long, knowledge
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
	case "dead", "missing", broken, "slow", "cut", "garbage", "empty":
		return true
	}
	return false
}

// Responder answers first. Safe for many conversations at once; Run must run beside it.
type Responder struct {
	cfg     Config
	log     *slog.Logger
	prompt  prompt
	gate    gate // no hosts: quote mode
	metrics metrics

	measured chan struct{} // tests: a host has been measured
}

// New builds a Responder; it opens no connection.
func New(cfg Config) (*Responder, error) {
	human.Load() // they tell the customer's language: the first one does not wait for the books
	fill := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	fill(&cfg.Bridge, 4*time.Second)
	fill(&cfg.BridgeVoice, min(cfg.Bridge, 1500*time.Millisecond))
	fill(&cfg.FirstToken, 8*time.Second)
	fill(&cfg.FirstSentence, cfg.FirstToken*19/16)
	fill(&cfg.Stall, 4*time.Second)
	fill(&cfg.Total, 30*time.Second)
	fill(&cfg.Search, 2*time.Second)
	fill(&cfg.Probe, 3*time.Second)
	fill(&cfg.Idle, 4*time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Responder{
		cfg: cfg, log: cfg.Log, prompt: newPrompt(cfg.Company, rand.Text()[:12]),
		gate: gate{fixed: cfg.Places > 0, perPlace: callsStart, aim: [classes]time.Duration{cfg.BridgeVoice, cfg.Bridge},
			patience: [classes]time.Duration{2 * cfg.BridgeVoice, 2 * cfg.Bridge}},
	}
	places := float64(cfg.Places)
	if places == 0 { // until it is measured
		places = 1
		if runtime.NumCPU() > 4 {
			places = 2
		}
	}
	for _, h := range cfg.Hosts {
		one, err := newHost(h, cfg.Threads, runtime.NumCPU())
		if err != nil {
			return nil, err
		}
		one.limit = [classes]float64{places, places}
		r.gate.hosts = append(r.gate.hosts, one)
	}
	var err error
	if r.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, err
	}
	r.gate.told = func(g *gate) { r.metrics.show(g.state()) }
	return r, nil
}

// Describe says in one line which mode the responder is in and why.
func (r *Responder) Describe() string {
	var up, down []string
	for _, h := range r.gate.hosts {
		switch open, why := h.breaker.state(); {
		case !open:
			up = append(up, h.String())
		case why.Reason == broken:
			down = append(down, fmt.Sprintf("%s can be loaded: %v", h, why.Err))
		default:
			down = append(down, fmt.Sprintf("%s answers again (%s)", h, why.Reason))
		}
	}
	switch {
	case len(up)+len(down) == 0:
		return "quote mode: no model"
	case len(up) == 0:
		return "quote mode until " + strings.Join(down, " or ")
	case len(down) > 0:
		return strings.Join(up, ", ") + "; waiting until " + strings.Join(down, ", ")
	}
	return strings.Join(up, ", ")
}

var errQuoteMode = errors.New("quote mode: no model is set")

// Answer answers one question. emit is called on Answer's own goroutine, with growing text. It returns within
// FirstSentence when nothing can be shown and within Total in any case; when ctx ends the stream to Ollama is closed at
// once and ctx's error comes back. The only other errors are *Failure; what was shown until then is in the Answer.
func (r *Responder) Answer(ctx context.Context, t Turn, emit func(Progress)) (Answer, error) {
	start := time.Now()
	a, err := r.answer(ctx, t, emit, start)
	r.metrics.note(t.Channel, a, err, time.Since(start))
	var f *Failure
	if errors.As(err, &f) {
		r.log.Warn("no answer", "conversation", t.ConversationID, "reason", f.Reason, "error", f.Err, "after", time.Since(start).Round(time.Millisecond))
	}
	return a, err
}

func (r *Responder) answer(ctx context.Context, t Turn, emit func(Progress), start time.Time) (Answer, error) {
	show := func(a Answer) (Answer, error) {
		a.FirstSentence = time.Since(start)
		if a.Model == "" {
			a.Own = a.FirstSentence
		}
		emit(Progress{Text: a.Text})
		return a, nil
	}
	if h, ok := heard()[strings.Join(tokens(bounded(t.Question, 200)), " ")]; ok {
		return show(Answer{Text: answers[h[1]].In(h[0]), Mode: ModeQuote})
	}
	passages, err := r.lookUp(ctx, t)
	if ctx.Err() != nil {
		return Answer{}, ctx.Err()
	}
	if err != nil {
		return Answer{}, &Failure{Reason: "knowledge", Err: err}
	}
	strong := len(passages) > 0 && passages[0].Strong()
	asked := Answer{} // what the model's silence has cost
	if len(r.gate.hosts) > 0 && len(passages) > 0 {
		a, err := r.byModel(ctx, t, passages, emit, start)
		switch {
		case errors.Is(err, errAllDown) && strong:
		case errors.Is(err, errAllDown):
			return Answer{}, &Failure{Reason: "dead", Err: err}
		case a.Text == "" && (a.weak && blocked(err) || strong && full(err)): // word for word needs no place
			asked = Answer{Own: a.Own, Waited: a.Waited, FirstToken: a.FirstToken, Model: a.Model}
		default:
			return a.Answer, err
		}
	}
	if !strong {
		return show(Answer{Text: saysUnknown.In(language(t.Question)), Mode: ModeQuote, Unknown: true})
	}
	best := passages[0]
	asked.Text, asked.Sources, asked.Mode = best.Body, []channels.Source{best.source()}, ModeQuote
	return show(asked)
}

// blocked: the model is well, but what it said may not be shown.
func blocked(err error) bool {
	var f *Failure
	return errors.As(err, &f) && !f.fault() && !full(err)
}

// full: the model is well, but others were first.
func full(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Reason == "busy"
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
