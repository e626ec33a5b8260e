package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Whole talks, again and again: greeting, a question into it, an answer, and the caller hangs up in the middle of it, which
// is how most calls of a day end. Whatever grows from the first third to the last is a leak: the server's memory,
// goroutines and descriptors, and the memory of the children that hear and speak.

const leakSeats = 8 // talks at once

// leaks has b.leak talks.
func (b *bench) leaks(ctx context.Context, t *trunk) error {
	b.table.note("%d whole talks, %d at once", b.leak, leakSeats)
	var next, failed atomic.Int64
	var first atomic.Pointer[error]
	var none times
	var open sync.WaitGroup
	numbers := make(chan string)
	for range leakSeats {
		open.Go(func() {
			for number := range numbers {
				limit, cancel := context.WithTimeout(ctx, time.Minute)
				if err := talkShort(limit, t, number, &none); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, &err)
				}
				cancel()
				next.Add(1)
			}
		})
	}
	go func() {
		defer close(numbers)
		for range b.leak {
			select {
			case numbers <- b.number():
			case <-ctx.Done():
				return
			}
		}
	}()
	over := make(chan struct{})
	go func() {
		open.Wait()
		close(over)
	}()
	began := time.Now()
	seen, err := b.watch(ctx, over)
	if err != nil {
		return err
	}
	b.table.row("talks, of them failed, in", "%d, %d, %s", next.Load(), failed.Load(), time.Since(began).Round(time.Second))
	if err := first.Load(); err != nil {
		b.table.note("first failure: %v", *err)
	}
	b.table.row("voice to voice of the question into the greeting", "p50 %.0f ms   p95 %.0f ms   (%d)", ms(none.at(50)), ms(none.at(95)), none.count())
	if err := b.flat(seen, time.Since(began)/6); err != nil {
		return err
	}
	if failed.Load()*20 > next.Load() {
		return fmt.Errorf("%d of %d talks failed", failed.Load(), next.Load())
	}
	return nil
}

// watch reads the gauges until over is closed.
func (b *bench) watch(ctx context.Context, over <-chan struct{}) (seen []gauges, err error) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return seen, nil
		case <-ctx.Done():
			<-over
			return seen, ctx.Err()
		case <-tick.C:
		}
		g, err := b.gauges(ctx)
		if err != nil {
			return seen, err
		}
		seen = append(seen, g)
	}
}

// talkShort is one talk of the many.
func talkShort(ctx context.Context, t *trunk, number string, answer *times) error {
	return talking(ctx, t, number, func(ctx context.Context, c *talker) error {
		if _, err := c.hears(ctx, time.Now(), nil); err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
		c.say()
		spoken, err := c.spoken(ctx)
		if err != nil {
			return err
		}
		at, err := c.hears(ctx, spoken.Add(50*time.Millisecond), nil)
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		answer.add(at.Sub(spoken))
		wait(ctx, 500*time.Millisecond)
		return nil
	})
}

// speechChildren are the processes that hear and speak: the server's own program, below it.
func (h *house) speechChildren() (pids []int) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.pid))
	if err != nil {
		return nil
	}
	for _, pid := range childrenOf(h.pid) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && strings.TrimSuffix(exe, " (deleted)") == own {
			pids = append(pids, pid)
		}
	}
	return pids
}
