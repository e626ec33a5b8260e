package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The load: visitors and their agents write to each other at a fixed rate, whatever the server does. A message's time
// runs from the moment when it was due, not when the generator came round to it.
const (
	loadRate    = 500 // messages a second, from both sides
	agentsShare = 3   // each third one is the agent's
	loadAgents  = 15
	loadEach    = 20  // conversations of an agent, the most that the house allows
	colleagues  = 185 // who are away, with their desks open, in a second round
	drainFor    = 10 * time.Second
)

// post is one message on its way.
type post struct {
	due   time.Time
	acked atomic.Int64 // ns after due; 0: not yet
	seen  atomic.Int64 // the same, at the visitor's page (agents' messages)
	times atomic.Int32 // how often the visitor saw it
}

// chatLoad is the run's state. Everything is laid out before the first message.
type chatLoad struct {
	b        *bench
	visitors []*visitor
	agents   []*agent
	owner    []*agent // of each visitor's conversation
	mark     string   // begins the id of this round's messages
	title    string   // begins its rows in the table
	posts    []post
	refused  atomic.Int64
	refusal  atomic.Pointer[string]
	open     sync.WaitGroup
}

func (b *bench) load(ctx context.Context) error {
	b.table.section(fmt.Sprintf("chat under load: %d conversations with %d agents", loadAgents*loadEach, loadAgents))
	if !b.loopback() {
		return fmt.Errorf("%w: all visitors would come from one address, and the house limits that", errSkipped)
	}
	agents, err := b.agents(ctx, loadAgents, loadEach)
	if err != nil {
		return err
	}
	l := &chatLoad{b: b, agents: agents}
	defer l.leave(context.WithoutCancel(ctx))
	if err := l.handOver(ctx); err != nil {
		return fmt.Errorf("hand-over: %w", err)
	}
	if err := l.round(ctx, "load", "", quickly(b, 20*time.Second, 5*time.Second)); err != nil || b.quick {
		return err
	}
	away, err := b.agents(ctx, colleagues, 1)
	if err != nil {
		return err
	}
	defer func() {
		for _, a := range away {
			_ = a.rest(context.WithoutCancel(ctx))
		}
	}()
	for _, a := range away {
		if err := errors.Join(a.work(ctx), a.presence(ctx, "away")); err != nil {
			return err
		}
		a.answers(ctx, func(*news) {})
	}
	return l.round(ctx, "colleagues", fmt.Sprintf("%d desks open: ", loadAgents+colleagues), 5*time.Second)
}

// round writes for a while at the fixed rate and reports.
func (l *chatLoad) round(ctx context.Context, name, title string, span time.Duration) error {
	l.mark, l.title = fmt.Sprintf("%s-%s-", l.b.run, name), title
	l.posts = make([]post, int(span.Seconds()*loadRate))
	l.refused.Store(0)
	l.refusal.Store(nil)
	l.listen()
	profiled := l.b.profiled(ctx, name, span)
	before := l.b.spent()
	took := l.write(ctx)
	cpu := l.b.since(before)
	<-profiled
	l.drain(ctx)
	return l.report(ctx, took, cpu)
}

// handOver: every visitor asks for a person; the agents accept what rings.
func (l *chatLoad) handOver(ctx context.Context) error {
	byConversation := sync.Map{} // conversation -> *agent
	trouble := make(chan error, 1)
	fail := func(err error) {
		select {
		case trouble <- err:
		default:
		}
	}
	for _, a := range l.agents {
		if err := a.work(ctx); err != nil {
			return err
		}
		a.answers(ctx, func(n *news) {
			if n.Type != "offer" {
				return
			}
			if _, known := byConversation.LoadOrStore(n.Offer.ConversationID, a); known {
				return // heard twice, after a resync
			}
			go func() {
				if err := a.accept(ctx, n.Offer.ID); err != nil && ctx.Err() == nil {
					fail(err)
				}
			}()
		})
	}
	through := make(chan struct{}, loadAgents*loadEach)
	began := time.Now()
	for range loadAgents * loadEach {
		v, err := l.b.visitor(ctx)
		if err != nil {
			return err
		}
		l.visitors = append(l.visitors, v)
		hear := func(n *news) {
			switch {
			case n.Type == "ack":
				v.conversation = n.ConversationID
			case n.Type == "state" && n.State == "agent":
				through <- struct{}{}
			case n.Type == "error":
				fail(fmt.Errorf("visitor: %s %s", n.Code, n.Message))
			}
		}
		v.hear.Store(&hear)
		if err := v.send(map[string]any{"type": "person", "client_id": l.b.clientID(0)}); err != nil {
			return err
		}
	}
	limit := time.After(30 * time.Second)
	for i := range l.visitors {
		select {
		case <-through:
		case err := <-trouble:
			return err
		case <-limit:
			return fmt.Errorf("only %d of %d visitors reached an agent", i, len(l.visitors))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	took := time.Since(began)
	l.b.table.row("all ask for a person at once, agents accept at once: all through", "%.1f s (%.0f hand-overs/s)", took.Seconds(), float64(len(l.visitors))/took.Seconds())
	owner := make([]*agent, len(l.visitors))
	for i, v := range l.visitors {
		a, ok := byConversation.Load(v.conversation)
		if !ok {
			return fmt.Errorf("conversation %d: through, but nobody accepted it", v.conversation)
		}
		owner[i] = a.(*agent)
	}
	l.owner = owner
	return nil
}

// listen notes acks and what the visitors see.
func (l *chatLoad) listen() {
	posts, mark := l.posts, l.mark // this round's: what comes late of the last one is not counted
	for _, v := range l.visitors {
		hear := func(n *news) {
			switch n.Type {
			case "ack":
				if p := find(posts, n.ClientID, mark); p != nil {
					p.acked.CompareAndSwap(0, max(1, int64(n.at.Sub(p.due))))
				}
			case "message":
				m := n.said()
				if p := find(posts, m.Body, mark); p != nil && m.Author == "agent" {
					p.times.Add(1)
					p.seen.CompareAndSwap(0, max(1, int64(n.at.Sub(p.due))))
				}
			case "error":
				l.refuse(n.Code + " " + string(n.Message))
			}
		}
		v.hear.Store(&hear)
	}
}

func (l *chatLoad) refuse(why string) {
	l.refused.Add(1)
	l.refusal.CompareAndSwap(nil, &why)
}

// find reads the number of a message from its id, or from its words, which begin with it.
func find(posts []post, text, mark string) *post {
	rest, ok := strings.CutPrefix(text, mark)
	if !ok {
		return nil
	}
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(posts) {
		return nil
	}
	return &posts[n]
}

// write sends every message when it is due.
func (l *chatLoad) write(ctx context.Context) time.Duration {
	began := time.Now()
	for n := range l.posts {
		l.posts[n].due = began.Add(time.Duration(n) * time.Second / loadRate)
	}
	for n := range l.posts {
		if d := time.Until(l.posts[n].due); d > 0 {
			wait(ctx, d)
		}
		if ctx.Err() != nil {
			break
		}
		k := n % len(l.visitors)
		id := fmt.Sprintf("%s%d", l.mark, n)
		words := id + " and some more words, as people write them to each other."
		if n%agentsShare == agentsShare-1 {
			l.open.Add(1)
			go l.reply(ctx, k, n, id, words)
			continue
		}
		if err := l.visitors[k].send(map[string]any{"type": "say", "client_id": id, "body": words}); err != nil {
			l.refuse(err.Error())
		}
	}
	return time.Since(began)
}

func (l *chatLoad) reply(ctx context.Context, k, n int, id, words string) {
	defer l.open.Done()
	if err := l.owner[k].reply(ctx, l.visitors[k].conversation, id, words); err != nil {
		l.refuse(err.Error())
		return
	}
	l.posts[n].acked.Store(max(1, int64(time.Since(l.posts[n].due))))
}

// drain waits until all that was sent is answered and seen, or does not come any more.
func (l *chatLoad) drain(ctx context.Context) {
	l.open.Wait()
	for began := time.Now(); time.Since(began) < drainFor && ctx.Err() == nil; wait(ctx, 50*time.Millisecond) {
		missing := 0
		for n := range l.posts {
			if p := &l.posts[n]; p.acked.Load() == 0 || n%agentsShare == agentsShare-1 && p.seen.Load() == 0 {
				missing++
			}
		}
		if missing <= int(l.refused.Load()) {
			return
		}
	}
}

// report holds what was acknowledged against the rows.
func (l *chatLoad) report(ctx context.Context, took time.Duration, cpu string) error {
	rows, err := l.b.rows.Query(ctx, `select client_id, count(*) from messages where client_id like $1 group by client_id`, l.mark+"%")
	if err != nil {
		return err
	}
	stored := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return err
		}
		stored[id] = n
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var visitors, agents, pages times
	acked, lost, unseen, doubled := 0, 0, 0, 0
	last := time.Duration(0)
	for n := range l.posts {
		p, byAgent := &l.posts[n], n%agentsShare == agentsShare-1
		id := fmt.Sprintf("%s%d", l.mark, n)
		if stored[id] > 1 || p.times.Load() > 1 {
			doubled++
		}
		d := time.Duration(p.acked.Load())
		if d == 0 {
			continue
		}
		acked++
		last = max(last, p.due.Add(d).Sub(l.posts[0].due))
		if stored[id] == 0 {
			lost++
		}
		if !byAgent {
			visitors.add(d)
			continue
		}
		agents.add(d)
		if s := time.Duration(p.seen.Load()); s > 0 {
			pages.add(s)
		} else {
			unseen++
		}
	}
	row := func(what, format string, args ...any) { l.b.table.row(l.title+what, format, args...) }
	row("offered for "+took.Round(100*time.Millisecond).String(), "%d messages/s", loadRate)
	row("stored and acknowledged", "%.0f messages/s   target 500/s", float64(acked)/max(last, took).Seconds())
	row("visitor's message, due -> acknowledged", "%s   target p99 < 150 ms", &visitors)
	row("agent's message, due -> answered", "%s", &agents)
	row("agent's message, due -> visitor's page", "%s", &pages)
	row("CPU meanwhile", "%s", cpu)
	row("memory (RSS)", "%.0f MB", l.b.rss("VmRSS"))
	row("lost, never shown, doubled, refused", "%d, %d, %d, %d of %d", lost, unseen, doubled, l.refused.Load(), len(l.posts))
	if why := l.refusal.Load(); why != nil {
		l.b.table.note("first refusal: %s", *why)
	}
	if lost+unseen+doubled > 0 || acked+int(l.refused.Load()) < len(l.posts) {
		return errors.New("messages were lost, doubled or never answered")
	}
	return nil
}

// leave lets everybody go home: no one who still waits shall ring in the next part, no wrap-up run out in it.
func (l *chatLoad) leave(ctx context.Context) {
	for _, v := range l.visitors {
		_ = v.send(map[string]any{"type": "end"})
	}
	wait(ctx, 500*time.Millisecond)
	for _, v := range l.visitors {
		v.leave()
	}
	desks := map[*agent][]*visitor{}
	for _, a := range l.agents {
		desks[a] = nil
	}
	for i, a := range l.owner {
		desks[a] = append(desks[a], l.visitors[i])
	}
	var home sync.WaitGroup
	for a, held := range desks {
		home.Go(func() {
			for _, v := range held {
				_ = a.close(ctx, v.conversation) // one that nobody had has no wrap-up
			}
			_ = a.rest(ctx)
		})
	}
	home.Wait()
}
