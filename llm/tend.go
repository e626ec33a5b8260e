package llm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	warmLimit  = 2 * time.Minute // a model that must be loaded first
	askEach    = 10 * time.Second
	sampleSize = 24 // tokens: about a sentence
	samples    = 8  // at once, at most: what more a host can do it shows in service
)

// Run tends the hosts until ctx ends: each is warmed up, measured, kept warm, asked for a sign of life, and probed when
// its breaker has opened. Without Run an open breaker stays open.
func (r *Responder) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, h := range r.gate.hosts {
		wg.Go(func() { r.tend(ctx, h) })
	}
	if len(r.gate.hosts) == 0 {
		<-ctx.Done()
	}
	wg.Wait()
	return nil
}

func (r *Responder) tend(ctx context.Context, h *host) {
	defer h.ollama.close()
	r.gate.mu.Lock()
	known := !h.used.IsZero()
	r.gate.mu.Unlock()
	if !known {
		r.warm(ctx, h)
		if open, _ := h.breaker.state(); !open && r.cfg.Places <= 0 && ctx.Err() == nil {
			r.measure(ctx, h)
		}
	}
	look := time.NewTicker(askEach)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.breaker.kick:
			if !r.untilWell(ctx, h) {
				return
			}
			r.gate.changed()
		case <-look.C:
			r.check(ctx, h)
		}
	}
}

// untilWell probes until the model answers again.
func (r *Responder) untilWell(ctx context.Context, h *host) bool {
	tick := time.NewTicker(r.cfg.Probe)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if r.probe(ctx, h) {
				return true
			}
		}
	}
}

// probe asks for a sign of life and a word, on nobody's time.
func (r *Responder) probe(ctx context.Context, h *host) bool {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.FirstToken)
	defer cancel()
	if _, err := h.ollama.version(ctx); err != nil {
		return false
	}
	words := 0
	if err := h.ollama.chat(ctx, r.prompt.greeting(), 1, func(c chunk) error {
		words += len(c.text) + len(c.thinking)
		return nil
	}); err != nil || words == 0 {
		return false
	}
	h.breaker.close()
	r.log.Info("model answers again", "model", h.Model, "host", h.URL)
	return true
}

// warm loads the model and puts the instructions into its cache before the next customer comes. A model that cannot be
// loaded is left alone from then on; any other failure is only logged: the customers' turns decide about the breaker.
func (r *Responder) warm(ctx context.Context, h *host) {
	warming, cancel := context.WithTimeout(ctx, warmLimit)
	defer cancel()
	err := h.ollama.chat(warming, r.prompt.greeting(), 1, func(chunk) error { return nil })
	var f *Failure
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.As(err, &f) && f.Reason == broken:
		r.note(h, err)
	default:
		r.log.Warn("model is not warm", "model", h.Model, "host", h.URL, "error", err)
	}
	r.gate.mu.Lock()
	h.used = time.Now()
	r.gate.mu.Unlock()
}

// check looks after a host that no turn has looked at for a while: with others beside it, a dead one must be known
// before a customer meets it; and one that others use too forgets our instructions.
func (r *Responder) check(ctx context.Context, h *host) {
	r.gate.mu.Lock()
	idle := time.Since(h.used)
	if len(h.visits) > 0 {
		idle = 0
	}
	r.gate.mu.Unlock()
	switch {
	case idle >= r.cfg.Idle:
		r.warm(ctx, h)
	case idle >= askEach && len(r.gate.hosts) > 1:
		asking, cancel := context.WithTimeout(ctx, readyLimit)
		_, err := h.ollama.version(asking)
		cancel()
		if err != nil && ctx.Err() == nil {
			r.note(h, &Failure{Reason: "dead", Err: err})
		}
	}
}

// note tells the host's breaker how a turn has ended.
func (r *Responder) note(h *host, err error) {
	if h.breaker.note(err) {
		r.log.Warn("model is left alone until it answers a probe", "model", h.Model, "host", h.URL, "error", err)
		r.gate.changed()
	}
}

// measure finds out how many turns at once the host serves in time: one alone, then two, four and eight, each with a
// prompt of the usual length. It stops as soon as customers come; their turns go on measuring.
func (r *Responder) measure(ctx context.Context, h *host) {
	g := &r.gate
	began := time.Now()
	for n := 1; n <= samples; n *= 2 {
		g.mu.Lock()
		customers := len(h.visits) > 0 || len(g.line) > 0
		g.mu.Unlock()
		if customers && n > 1 {
			break
		}
		slowest, err := r.sample(ctx, h, n)
		if err != nil {
			if ctx.Err() == nil {
				r.log.Info("model was not measured", "model", h.Model, "host", h.URL, "at_once", n, "error", err)
			}
			break
		}
		g.mu.Lock()
		if n == 1 {
			h.alone = slowest
		}
		good := false
		for c := range classes {
			if slowest <= g.aimAt(h, c) {
				h.limit[c], good = max(h.limit[c], float64(n)), true
			} else {
				h.limit[c] = min(h.limit[c], float64(max(1, n/2)))
			}
		}
		if good {
			h.full = busy{places: n}
			h.full.first.add(slowest)
		}
		g.tell()
		g.mu.Unlock()
		if !good {
			break
		}
	}
	g.mu.Lock()
	r.log.Info("model measured", "model", h.Model, "host", h.URL, "alone", h.alone.Round(time.Millisecond), "voice_places", int(h.limit[calling]),
		"text_places", int(h.limit[writing]), "took", time.Since(began).Round(time.Millisecond))
	g.mu.Unlock()
	select {
	case r.measured <- struct{}{}:
	default:
	}
}

// sample lets n turns go at once and returns the slowest one's time to about a sentence.
func (r *Responder) sample(ctx context.Context, h *host, n int) (slowest time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.Bridge)
	defer cancel()
	began := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			first, words := time.Duration(0), 0
			failed := h.ollama.chat(ctx, r.prompt.example(n*100+i), sampleSize, func(c chunk) error {
				if words += len(c.text); words > 0 && (first == 0 || !c.done) {
					first = time.Since(began)
				}
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if failed == nil && words == 0 {
				failed = &Failure{Reason: "empty"}
			}
			if err == nil {
				err = failed
			}
			slowest = max(slowest, first)
		})
	}
	wg.Wait()
	return slowest, err
}

// greeting is the shortest turn: the instructions and hello.
func (p prompt) greeting() []said { return []said{{"system", p.system}, {"user", "Customer: hello"}} }

// example is a turn of the usual length. No two are alike, or the model's cache would answer for it.
func (p prompt) example(n int) []said {
	passage := strings.Repeat("Unused goods can be sent back; the parcel needs its number on the outside. ", 6)
	return []said{{"system", p.system}, {"user", fmt.Sprintf("Passages:\n[1] Example %d\n%s\n\n[2] Another %d\n%s\n\nCustomer: Please tell me about example %d.", n, passage, n, passage, n)}}
}
