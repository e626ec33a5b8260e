// Package synthetic is the house's own test customer: every few minutes it comes in by one of the doors that customers use,
// in turns, asks for a person, and waits for a person's first word. It leaves by itself; agents see by its name that it is
// a test. Its promises are ordinary ones, but for the mark on its contact: their times stand apart in the proof and spend
// no error budget.
//
//	chat.go    the web page's socket: words
//	phone.go   a SIP telephone on an address of its own (127.x.y.z) that calls the house's number and presses 0
//	mail.go    a mail to the house's own mailbox, by its SMTP server
//
// It runs on the node that it belongs to and knows the house from outside: it has no verb of the flow. What a caller and a
// correspondent cannot tell by machine, whether the voice or the mail was a person's, it is told (Asked.Answered).
package synthetic

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Door is a way in.
type Door struct {
	Channel string
	// Visit asks for a person and waits for one, at most so long; waited is from the wish to the first word.
	Visit func(ctx context.Context, patient time.Duration) (waited time.Duration, err error)
}

// Config is what the customer needs. Every 0: it never comes.
type Config struct {
	Every   time.Duration // from one visit to the next, give or take a tenth, so that nodes and clocks do not come in step
	Doors   []Door        // in turns
	Patient time.Duration // how long it waits for a person; longer than any promise
	Log     *slog.Logger
}

const (
	// Name is what agents see.
	Name   = "Test customer (synthetic)"
	wish   = "Could I talk to a person, please?"
	thanks = "Thank you. This was a test by the house itself: nothing is left to do."

	greet = 10 * time.Second // for a door to open

	// Patience is longer than promises are, so that a broken one is seen broken.
	Patience = 30 * time.Minute
)

var errNobody = errors.New("nobody came")

// Run comes again and again until ctx ends. A visit that fails is logged, and the next one tries anew. A visit that waits
// long keeps nobody from the other doors; its own door is passed by meanwhile.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Every <= 0 || len(cfg.Doors) == 0 {
		return nil
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	var visits sync.WaitGroup
	defer visits.Wait()
	inside := make([]chan struct{}, len(cfg.Doors)) // holds one while a visit goes on
	for i := range inside {
		inside[i] = make(chan struct{}, 1)
	}
	for turn := 0; ; turn = (turn + 1) % len(cfg.Doors) {
		pause := time.NewTimer(cfg.Every*9/10 + rand.N(cfg.Every/5+1))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		select {
		case inside[turn] <- struct{}{}:
			door, leave := cfg.Doors[turn], inside[turn]
			visits.Go(func() {
				defer func() { <-leave }()
				visit(ctx, cfg, door)
			})
		default:
		}
	}
}

func visit(ctx context.Context, cfg Config, d Door) {
	defer func() {
		if r := recover(); r != nil {
			cfg.Log.Error("synthetic customer panic", "channel", d.Channel, "panic", r)
		}
	}()
	waited, err := d.Visit(ctx, cfg.Patient)
	waited = waited.Round(time.Millisecond)
	if err == nil {
		cfg.Log.Info("synthetic customer", "channel", d.Channel, "waited", waited)
	} else if ctx.Err() == nil {
		cfg.Log.Error("synthetic customer", "channel", d.Channel, "waited", waited, "err", err)
	}
}

// Asked is a wish whose answer the customer is told of.
type Asked struct {
	Contact int64
	// Answered tells whether a person has said or written a word to the contact since.
	Answered func(ctx context.Context, contact int64) (bool, error)
}

// wait looks until a person has answered; gone ends it, with the reason.
func (a Asked) wait(ctx context.Context, look, patient time.Duration, gone <-chan error) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	patience := time.NewTimer(patient)
	defer patience.Stop()
	for {
		select {
		case <-tick.C:
			asking, cancel := context.WithTimeout(ctx, greet)
			answered, err := a.Answered(asking, a.Contact)
			cancel()
			if answered && err == nil {
				return nil
			} // an error is the database's, and passes
		case err := <-gone:
			return err
		case <-patience.C:
			return errNobody
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
