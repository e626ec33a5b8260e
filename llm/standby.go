package llm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// NewStandby builds the quote-mode responder; cfg's Host and Model are left aside.
func NewStandby(cfg Config) (*Standby, error) {
	s := &Standby{cfg: cfg, chosen: make(chan struct{})}
	cfg.Host, cfg.Model = "", ""
	r, err := New(cfg)
	if err != nil {
		return nil, err
	}
	s.now.Store(r)
	return s, nil
}

// Responder is the one in force; a turn that has begun keeps the one it began with.
func (s *Standby) Responder() *Responder { return s.now.Load() }

// Want is what Serve may use, in this order.
type Want struct {
	Model string // by the settings: nothing else is used when it is set
	Best  string // else the one that fits this machine, pulled when the network allows
	Small string // else this one, imported from
	File  string // this GGUF file
}

// Chosen is closed when the first choice has been made.
func (s *Standby) Chosen() <-chan struct{} { return s.chosen }

const (
	askAgain   = 30 * time.Second // while there is no model at all
	readyLimit = 5 * time.Second
)

// Serve finds a model at the Ollama of that address, changes over to it and keeps it until ctx ends. say tells in plain
// words what goes on. A model of the settings is used at once, there or not: what is missing is said to every customer
// and pulled meanwhile. Without any model the responder stays in quote mode, and it is looked again.
func (s *Standby) Serve(ctx context.Context, host string, want Want, say func(words string)) error {
	cfg := s.cfg
	cfg.Host = host
	var pulling sync.WaitGroup
	defer pulling.Wait()
	if want.Model != "" {
		cfg.Model = want.Model
		pulling.Go(func() {
			if err := s.obtain(ctx, cfg, want.Model, say); err != nil && ctx.Err() == nil {
				say(fmt.Sprintf("model %s cannot be had: %v", want.Model, err))
			}
		})
	}
	for cfg.Model == "" {
		if cfg.Model, cfg.Weak = s.choose(ctx, cfg, want, say); cfg.Model != "" {
			break
		}
		if ctx.Err() == nil {
			say("quote mode: no model at " + host)
		}
		s.once.Do(func() { close(s.chosen) })
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(askAgain):
		}
	}
	r, err := New(cfg)
	if err != nil {
		return err
	}
	s.now.Store(r)
	say(r.Describe())
	s.once.Do(func() { close(s.chosen) })
	return r.Run(ctx)
}

// choose returns the model's name, "" for none, and whether it is the small one.
func (s *Standby) choose(ctx context.Context, cfg Config, want Want, say func(string)) (model string, weak bool) {
	err := s.obtain(ctx, cfg, want.Best, say)
	if err == nil {
		return want.Best, false
	}
	if ctx.Err() != nil || want.File == "" {
		return "", false
	}
	say(fmt.Sprintf("model %s cannot be had (%v), taking the small one", want.Best, err))
	if err := Import(ctx, cfg.Host, want.Small, want.File, ""); err != nil {
		if ctx.Err() == nil {
			say(fmt.Sprintf("the small model cannot be had either: %v", err))
		}
		return "", false
	}
	return want.Small, true
}

// obtain makes sure that the model is there, by pulling it when it is not.
func (s *Standby) obtain(ctx context.Context, cfg Config, model string, say func(string)) error {
	cfg.Model, cfg.Metrics, cfg.Log = model, nil, slog.New(slog.DiscardHandler)
	r, err := New(cfg)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, readyLimit)
	err = r.Ready(asking)
	cancel()
	var f *Failure
	if err == nil || !errors.As(err, &f) || f.Reason != "missing" {
		return err
	}
	last := ""
	return r.Pull(ctx, func(status string, done, total int64) {
		words := "pulling " + model + ": " + status
		if total > 0 {
			words = fmt.Sprintf("pulling %s: %d of %d MB", model, done>>20, total>>20)
			if percent := done * 10 / total; percent*10 != 100 {
				words = fmt.Sprintf("pulling %s: %d0 %% of %d MB", model, percent, total>>20)
			}
		}
		if words != last && !strings.Contains(words, "verifying") {
			last = words
			say(words)
		}
	})
}
