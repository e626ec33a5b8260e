package llm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Standby holds the responder in force. It begins in quote mode, so that customers are answered from the first minute,
// and changes over when a model is ready.
type Standby struct {
	cfg Config
	now atomic.Pointer[Responder]

	once   sync.Once
	chosen chan struct{}
}

// NewStandby builds the quote-mode responder; cfg's Hosts are left aside.
func NewStandby(cfg Config) (*Standby, error) {
	s := &Standby{cfg: cfg, chosen: make(chan struct{})}
	cfg.Hosts, s.cfg.Hosts = nil, nil
	r, err := New(cfg)
	if err != nil {
		return nil, err
	}
	s.now.Store(r)
	return s, nil
}

// Responder is the one in force; a turn that has begun keeps the one it began with.
func (s *Standby) Responder() *Responder { return s.now.Load() }

// Want is what Serve may use, in this order, at a host whose model the settings do not name.
type Want struct {
	Best  string // the one that fits this machine, pulled when the network allows
	Small string // else this one, imported from
	File  string // this GGUF file
}

// Chosen is closed when the first choice has been made.
func (s *Standby) Chosen() <-chan struct{} { return s.chosen }

const (
	askAgain   = 30 * time.Second // while there is no model at all
	readyLimit = 5 * time.Second
)

// Serve finds a model at each of those Ollamas, changes over to them and keeps them until ctx ends. say tells in plain
// words what goes on. A model of the settings is used at once, there or not: what is missing
// is said to every customer and pulled meanwhile. Hosts without any model are asked again from time to time and join the
// others; without any host the responder stays in quote mode.
func (s *Standby) Serve(ctx context.Context, hosts []Host, want Want, say func(words string)) error {
	hosts = slices.Clone(hosts)
	var pulling sync.WaitGroup
	defer pulling.Wait()
	for _, h := range hosts {
		if h.Model != "" {
			pulling.Go(func() {
				if err := s.obtain(ctx, h, say); err != nil && ctx.Err() == nil {
					say(fmt.Sprintf("model %s cannot be had: %v", h.Model, err))
				}
			})
		}
	}
	for ctx.Err() == nil {
		for i, h := range hosts {
			if h.Model == "" {
				hosts[i] = s.choose(ctx, h, want, say)
			}
		}
		if err := s.serve(ctx, hosts, say); err != nil {
			return err
		}
	}
	return nil
}

// serve changes over to the hosts that have a model. While some have none it returns after a time, so that they are asked
// again.
func (s *Standby) serve(ctx context.Context, hosts []Host, say func(string)) error {
	ready := slices.DeleteFunc(slices.Clone(hosts), func(h Host) bool { return h.Model == "" })
	if len(ready) < len(hosts) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askAgain)
		defer cancel()
	}
	defer s.once.Do(func() { close(s.chosen) })
	switch {
	case ctx.Err() != nil:
		return nil
	case len(ready) == 0:
		say("quote mode: no model at " + hosts[0].URL)
		s.once.Do(func() { close(s.chosen) })
		<-ctx.Done()
		return nil
	}
	r := s.now.Load()
	if !slices.Equal(r.cfg.Hosts, ready) {
		cfg := s.cfg
		cfg.Hosts = ready
		var err error
		if r, err = New(cfg); err != nil {
			return err
		}
		s.now.Store(r)
		say(r.Describe())
	}
	s.once.Do(func() { close(s.chosen) })
	return r.Run(ctx)
}

// choose finds a model for a host that has none by the settings; it comes back without one when none can be had.
func (s *Standby) choose(ctx context.Context, h Host, want Want, say func(string)) Host {
	best := Host{URL: h.URL, Model: want.Best}
	err := s.obtain(ctx, best, say)
	if err == nil {
		return best
	}
	if ctx.Err() != nil || want.File == "" {
		return h
	}
	say(fmt.Sprintf("model %s cannot be had (%v), taking the small one", want.Best, err))
	if err := Import(ctx, h.URL, want.Small, want.File, ""); err != nil {
		if ctx.Err() == nil {
			say(fmt.Sprintf("the small model cannot be had either: %v", err))
		}
		return h
	}
	return Host{URL: h.URL, Model: want.Small, Weak: true}
}

// obtain makes sure that the model is there, by pulling it when it is not.
func (s *Standby) obtain(ctx context.Context, wanted Host, say func(string)) error {
	h, err := newHost(wanted, 0, 1)
	if err != nil {
		return err
	}
	defer h.ollama.close()
	asking, cancel := context.WithTimeout(ctx, readyLimit)
	err = h.ready(asking)
	cancel()
	var f *Failure
	if err == nil || !errors.As(err, &f) || f.Reason != "missing" {
		return err
	}
	last := ""
	return h.ollama.pull(ctx, func(status string, done, total int64) {
		words := "pulling " + h.Model + ": " + status
		if total > 0 {
			words = fmt.Sprintf("pulling %s: %d of %d MB", h.Model, done>>20, total>>20)
			if percent := done * 10 / total; percent*10 != 100 {
				words = fmt.Sprintf("pulling %s: %d0 %% of %d MB", h.Model, percent, total>>20)
			}
		}
		if words != last && !strings.Contains(words, "verifying") {
			last = words
			say(words)
		}
	})
}
