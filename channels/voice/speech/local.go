package speech

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
)

// local is the engines of one job in a child, and the goroutine that keeps a child alive.
type local struct {
	job     Job
	models  shelf
	command []string
	threads int
	hang    time.Duration
	log     *slog.Logger

	mu      sync.Mutex
	child   *child                // nil while none is ready
	why     error                 // while none is
	missing bool                  // and why is a missing file
	last    offer                 // of the last child
	members map[*distant]struct{} // Ears that use whichever child there is
	change  chan struct{}         // closed when child or why changes
}

const (
	hangDefault = 1500 * time.Millisecond // without a word from a child
	loadLimit   = 60 * time.Second        // for the models
	lookAgain   = 2 * time.Second         // for missing models
	shortLife   = 10 * time.Second        // a child that ends sooner is not started again at once
	longestWait = 10 * time.Second        // between two starts
	backlog     = 1 << 14                 // messages to a child: seconds of a hundred callers
)

var errStarting = errors.New("starting")

func newLocal(job Job, cfg Config) *local {
	threads := cfg.Threads
	if threads == 0 {
		threads = max(1, runtime.NumCPU()-1)
	}
	return &local{job: job, models: shelf(cfg.Models), command: cfg.Command, threads: threads, hang: cmp.Or(cfg.Hang, hangDefault), log: cfg.Log,
		why: errStarting, members: map[*distant]struct{}{}, change: make(chan struct{})}
}

// run starts one child after the other until ctx ends.
func (l *local) run(ctx context.Context) {
	wait := time.Duration(0)
	for {
		if err := l.check(); err != nil {
			if l.become(nil, err, true) {
				l.log.Warn("speech: models are missing", "job", l.job, "error", err)
			}
			wait = lookAgain
		} else {
			began := time.Now()
			err := l.live(ctx)
			if ctx.Err() == nil {
				l.log.Error("speech: a child ended", "job", l.job, "after", time.Since(began).Round(time.Millisecond), "error", err)
			}
			l.become(nil, err, false)
			if wait = min(max(100*time.Millisecond, 2*wait), longestWait); time.Since(began) > shortLife {
				wait = 0
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// check looks whether the files are there.
func (l *local) check() error {
	var err error
	if l.job == Hearing {
		_, err = l.models.ears()
	} else {
		_, err = l.models.voices()
	}
	return err
}

// become says which child there is now, to all who use one; news is whether the reason is another one than before.
func (l *local) become(c *child, why error, missing bool) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news = why != nil && (l.why == nil || l.why.Error() != why.Error())
	if l.child, l.why, l.missing = c, why, missing; c != nil {
		l.last = c.offer
	}
	for m := range l.members {
		if c != nil {
			m.attach(c)
		} else {
			m.detach(fmt.Errorf("%w: %w", ErrEngine, why))
		}
	}
	close(l.change)
	l.change = make(chan struct{})
	return news
}

// changes is closed when there is another child, or none.
func (l *local) changes() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

// join makes m hear of the next children, and returns the present one.
func (l *local) join(m *distant) *child {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[m] = struct{}{}
	return l.child
}

func (l *local) leave(m *distant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.members, m)
}

// describe is the job's state.
func (l *local) describe() Description {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Description{Engine: Local, Job: l.job, Languages: l.last.Languages, Voices: l.last.Voices}
	switch {
	case l.child != nil && l.child.alive():
		d.Standing, d.Detail = Ready, l.last.Engine
	case l.missing:
		d.Standing, d.Detail = Missing, l.why.Error()
	case l.child != nil || l.why == errStarting:
		d.Standing, d.Detail = Starting, "the models are being loaded"
	default:
		d.Standing, d.Detail = Broken, l.why.Error()
	}
	return d
}

// can says whether a language is offered, by the present child or by the one that is being started.
func (l *local) can(language string) bool {
	d := l.describe()
	if d.Standing == Missing || d.Standing == Broken && d.Languages == nil {
		return false
	}
	if d.Standing == Starting {
		return true
	}
	return language == "" || slices.Contains(d.Languages, language)
}

// live is a child's life, from its start to its end.
func (l *local) live(ctx context.Context) error {
	c, err := l.start()
	if err != nil {
		return err
	}
	defer c.bury()
	ready := make(chan offer, 1)
	go func() { c.fail(c.read(ready)) }()
	go func() { c.fail(c.write()) }()
	var o offer
	select {
	case o = <-ready:
	case <-c.dead:
	case <-time.After(loadLimit):
		c.fail(fmt.Errorf("the models were not loaded within %s", loadLimit))
	case <-ctx.Done():
		c.fail(ctx.Err())
	}
	if o.Error != "" {
		c.fail(errors.New(o.Error))
	}
	if c.alive() {
		c.offer = o
		l.become(c, nil, false)
		l.log.Info("speech: a child is ready", "job", l.job, "languages", o.Languages, "voices", o.Voices, "pid", c.cmd.Process.Pid)
		c.fail(c.watch(ctx, l.hang))
	}
	return c.last()
}
