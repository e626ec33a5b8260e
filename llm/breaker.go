package llm

import (
	"context"
	"errors"
	"sync"
	"time"
)

// breaker stops customers from waiting for a model that has failed three times in a row. While it is open Run probes
// the model without customers.
type breaker struct {
	mu     sync.Mutex
	failed int
	open   bool
	why    string
	kick   chan struct{} // wakes Run; buffered
}

const failuresToOpen = 3

// note counts the end of a turn: nil or a failure that is the model's fault.
func (b *breaker) note(err error) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var f *Failure
	if !errors.As(err, &f) {
		b.failed = 0
		return false
	}
	if !f.fault() {
		return false
	}
	b.failed++
	if b.open || b.failed < failuresToOpen {
		return false
	}
	b.open, b.why = true, f.Reason
	select {
	case b.kick <- struct{}{}:
	default:
	}
	return true
}

func (b *breaker) state() (open bool, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.why
}

func (b *breaker) close() {
	b.mu.Lock()
	b.open, b.failed, b.why = false, 0, ""
	b.mu.Unlock()
}

// Run warms the model up, then waits for the breaker to open and probes the model until it answers again. It blocks
// until ctx ends. Without Run an open breaker stays open.
func (r *Responder) Run(ctx context.Context) error {
	if r.ollama == nil {
		<-ctx.Done()
		return nil
	}
	defer r.ollama.close()
	r.warm(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.breaker.kick:
		}
		tick := time.NewTicker(r.cfg.Probe)
		for open := true; open; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return nil
			case <-tick.C:
				open = !r.probe(ctx)
			}
		}
		tick.Stop()
	}
}

// probe asks for a sign of life and a word, on nobody's time.
func (r *Responder) probe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.FirstToken)
	defer cancel()
	if _, err := r.ollama.version(ctx); err != nil {
		return false
	}
	words := 0
	err := r.ollama.chat(ctx, []said{{"system", r.prompt.system}, {"user", "Customer: hello"}}, 1, func(c chunk) error {
		words += len(c.text) + len(c.thinking)
		return nil
	})
	if err != nil || words == 0 {
		return false
	}
	r.breaker.close()
	r.log.Info("model answers again", "model", r.cfg.Model)
	return true
}

// warm loads the model and puts the instructions into its cache before the first customer comes. Its failure is only
// logged: the first customers' turns decide about the breaker.
func (r *Responder) warm(ctx context.Context) {
	warming, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := r.ollama.chat(warming, []said{{"system", r.prompt.system}, {"user", "Customer: hello"}}, 1, func(chunk) error { return nil })
	if err != nil && ctx.Err() == nil {
		r.log.Warn("model is not warm", "model", r.cfg.Model, "error", err)
	}
}
