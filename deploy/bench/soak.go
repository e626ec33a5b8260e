package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const soakCalls = 20 // at once

// soak: the same load again and again for a long time. In each round callers are joined with agents and recorded, half of
// them are passed on to the line and taken by a colleague, all talk, all hang up, and visitors ask on the web page
// meanwhile. Whatever grows from round to round is a leak.
func (b *bench) soak(ctx context.Context) error {
	if b.sip == "" {
		return fmt.Errorf("%w: no telephone line", errSkipped)
	}
	b.table.section(fmt.Sprintf("soak: %d recorded calls at once, half of them passed on, and chats, again and again for %s", soakCalls, b.soakFor))
	agents, err := b.agents(ctx, soakCalls+soakCalls/2, 1)
	if err != nil {
		return err
	}
	if err := b.recordAll(ctx); err != nil {
		return err
	}
	var seen []gauges
	var calls, questions, rounds int
	var wrong error
	for began := time.Now(); time.Since(began) < b.soakFor && ctx.Err() == nil && wrong == nil; rounds++ {
		var n int
		n, seen, wrong = b.round(ctx, agents, seen)
		calls, questions = calls+soakCalls, questions+n
	}
	b.table.row("rounds, calls, passed on, questions answered", "%d, %d, %d, %d", rounds, calls, rounds*soakCalls/2, questions)
	return errors.Join(wrong, b.flat(seen, min(time.Minute, b.soakFor/3)))
}

const (
	talkFor   = 5 * time.Second
	soakChats = 5
)

// round is one of them; the gauges are read while everybody talks.
func (b *bench) round(ctx context.Context, agents []*agent, seen []gauges) (questioned int, _ []gauges, err error) {
	f, err := b.floor(ctx)
	if err != nil {
		return 0, seen, err
	}
	defer f.close(context.WithoutCancel(ctx))
	chats := make(chan error, 1)
	go func() {
		var none times
		for range soakChats {
			v, err := b.visitor(ctx)
			for i := 0; err == nil && i < len(questions); i++ {
				err = b.ask(ctx, v, questions[i], i, &none, &none, &none)
				questioned++
			}
			v.leave()
			if err != nil {
				chats <- fmt.Errorf("chat: %w", err)
				return
			}
		}
		chats <- nil
	}()
	err = errors.Join(f.grow(ctx, soakCalls, agents), f.passOn(ctx, agents[soakCalls:]))
	err = errors.Join(err, <-chats)
	if err != nil {
		return questioned, seen, err
	}
	for phase := uint32(1); phase <= uint32(talkFor/time.Second); phase++ {
		w, err := f.measure(ctx, phase, time.Second)
		g, gerr := b.gauges(ctx)
		if err := errors.Join(err, gerr); err != nil {
			return questioned, seen, err
		}
		g.lost = w.ways[0].sent + w.ways[1].sent - w.ways[0].heard - w.ways[1].heard
		seen = append(seen, g)
	}
	err = errors.Join(f.close(ctx), f.home(ctx))
	_, unrecorded := b.recordings(ctx, soakCalls)
	return questioned, seen, errors.Join(err, unrecorded)
}

// passOn has half of the agents send their callers back to the line, where whoever is free takes them: a colleague, or one
// who has passed on another.
func (f *floor) passOn(ctx context.Context, colleagues []*agent) error {
	givers := slices.Clone(f.desks[:len(colleagues)])
	for _, a := range colleagues {
		if err := a.work(ctx); err != nil {
			return err
		}
		f.desks = append(f.desks, f.seat(ctx, a))
	}
	for i, c := range givers {
		c.mu.Lock()
		holds := c.holds
		c.mu.Unlock()
		var queue int64
		if f.b.rows != nil {
			if err := f.b.rows.QueryRow(ctx, `select queue_id from conversations where id = $1`, holds).Scan(&queue); err != nil {
				return err
			}
		}
		f.desks[i] = f.seat(ctx, c.agent)
		if err := c.agent.call(ctx, "POST", fmt.Sprintf("/api/conversations/%d/transfer", holds), map[string]any{"queue_id": queue}, nil); err != nil {
			return fmt.Errorf("pass on: %w", err)
		}
	}
	return f.joinedBy(ctx, len(colleagues))
}

// home ends everybody's wrap-up and closes their tabs.
func (f *floor) home(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make(chan error, len(f.desks))
	for _, c := range f.desks {
		all.Go(func() {
			_ = c.close(ctx, c.holds) // who passed their caller on and got no other has no wrap-up
			errs <- c.rest(ctx)
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// gauges are what must not grow.
type gauges struct {
	at                             time.Time
	heap, goroutines, files, alive float64 // of the server: live after a collection in MB, counts, RSS in MB
	children                       float64 // RSS of those that hear and speak, in MB
	lost                           int
}

// gauges reads the server's own account of itself.
func (b *bench) gauges(ctx context.Context) (g gauges, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", b.url+"/metrics", nil)
	if err != nil {
		return g, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return g, err
	}
	defer resp.Body.Close()
	g.at = time.Now()
	found := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var value float64
		if name, rest, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			if _, err := fmt.Sscan(rest, &value); err == nil {
				found[name] = value
			}
		}
	}
	g.heap, g.goroutines, g.files = found["go_gc_heap_live_bytes"]/1e6, found["go_goroutines"], found["process_open_fds"]
	g.alive = found["process_resident_memory_bytes"] / 1e6
	for _, pid := range b.speechChildren() {
		g.children += memoryOf(pid, "VmRSS")
	}
	if g.goroutines == 0 || g.files == 0 {
		return g, errors.New("the server's /metrics say nothing of goroutines and descriptors")
	}
	return g, nil
}

// flat compares the first third with the last. The beginning is left out: ports of ended calls stay bound for half a
// minute, transactions too, and caches fill.
func (b *bench) flat(seen []gauges, warm time.Duration) error {
	lost := 0
	for _, g := range seen {
		lost += g.lost
	}
	if len(seen) > 0 {
		begun := seen[0].at
		seen = slices.DeleteFunc(seen, func(g gauges) bool { return g.at.Sub(begun) < warm })
	}
	if len(seen) < 6 {
		b.table.note("too short a soak to compare its thirds")
		return nil
	}
	third := len(seen) / 3
	var grown []error
	for _, what := range []struct {
		name  string
		of    func(gauges) float64
		spare float64 // what may come and go
	}{
		{"heap, live (MB)", func(g gauges) float64 { return g.heap }, 8},
		{"goroutines", func(g gauges) float64 { return g.goroutines }, 40},
		{"open descriptors", func(g gauges) float64 { return g.files }, 40},
		{"memory, RSS (MB)", func(g gauges) float64 { return g.alive }, 60},
		{"memory of the children that hear and speak (MB)", func(g gauges) float64 { return g.children }, 60},
	} {
		if what.of(seen[len(seen)-1]) == 0 {
			continue
		}
		first, last := middle(seen[:third], what.of), middle(seen[len(seen)-third:], what.of)
		b.table.row(what.name+": first third, last third, slope", "%.0f, %.0f, %+.1f an hour   target: flat", first, last, slope(seen, what.of))
		if last > 1.1*first+what.spare {
			grown = append(grown, fmt.Errorf("%s grew from %.0f to %.0f", what.name, first, last))
		}
	}
	b.table.row("packets lost in all", "%d", lost)
	return errors.Join(grown...)
}

func middle(all []gauges, of func(gauges) float64) float64 {
	values := make([]float64, len(all))
	for i, g := range all {
		values[i] = of(g)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// slope is the growth in an hour by least squares.
func slope(all []gauges, of func(gauges) float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for _, g := range all {
		x, y := g.at.Sub(all[0].at).Hours(), of(g)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; d > 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}
