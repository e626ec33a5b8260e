package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"patchbay/channels"
	"patchbay/server/bus"
)

const (
	sweepEvery  = time.Second           // heals a lost wake-up
	retryAfter  = 50 * time.Millisecond // another router held a row that we wanted
	passLimit   = 10 * time.Second
	lineAtLeast = 5   // how deep a pass looks into each queue and channel, beyond the number of its free agents,
	freeAtMost  = 20  // of which it counts no more than these: however many are free, they are served a few at a time
	deeper      = 100 // and so much deeper when that leaves somebody free
	atOnce      = 100 // offers in one transaction
	oneByOne    = 100 // agents: of more than these all are read
)

// RouterConfig is what a router needs.
type RouterConfig struct {
	Pool   *pgxpool.Pool
	Bus    *bus.Bus
	NodeID string
	Log    *slog.Logger
	// Metrics gets patchbay_routing_seconds: what a decision takes, from reading the line to the committed offers; no labels.
	// nil: none.
	Metrics prometheus.Registerer
}

// Router brings waiting conversations to free agents. Every node runs one; the rows decide who gets what.
type Router struct {
	cfg       RouterConfig
	decisions prometheus.Histogram
	free      map[int64]bool // who was free when they were last looked at; belongs to Run's goroutine
}

// NewRouter builds a router; Run does its work.
func NewRouter(cfg RouterConfig) *Router {
	cfg.Log = cfg.Log.With("room", "agents", "node", cfg.NodeID)
	r := &Router{cfg: cfg, decisions: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "patchbay_routing_seconds",
		Help:    "What a routing decision takes, from reading the line to the committed offers.",
		Buckets: []float64{.002, .005, .01, .02, .03, .04, .05, .075, .1, .2, .5, 1, 5}})}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(r.decisions)
	}
	return r
}

// Run routes until ctx ends. It wakes by news on channels.RouteSubject and then looks at the agents whom these name, and at all of
// them when they name nobody, when the nearest offer runs out, and each second, as news may be lost and time alone relaxes what a
// queue asks for. Beside it the books are kept (books.go).
func (r *Router) Run(ctx context.Context) error {
	var news heard
	wake := make(chan struct{}, 1)
	cancel, err := r.cfg.Bus.Subscribe(channels.RouteSubject, func(_ string, data []byte) {
		news.add(data)
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("router: %w", err)
	}
	defer cancel()
	var books sync.WaitGroup
	books.Go(func() { r.keepBooks(ctx) })
	defer books.Wait()
	for due := time.Now(); ; { // then all agents are looked at
		of, all := news.take()
		all = all || !time.Now().Before(due)
		next, err := time.Duration(0), error(nil)
		if all {
			next, err = r.pass(ctx)
		} else {
			next, err = r.passOf(ctx, of)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.cfg.Log.Error("routing pass", "err", err)
			next = sweepEvery
		}
		if at := time.Now().Add(min(next, sweepEvery)); all || at.Before(due) {
			due = at
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// heard is what the router has been told since it last listened.
type heard struct {
	mu     sync.Mutex
	all    bool
	agents map[int64]bool
}

func (h *heard) add(data []byte) {
	var news channels.RouteNews
	unread := json.Unmarshal(data, &news) != nil
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = h.all || unread || !news.Line && len(news.Agents) == 0
	if h.agents == nil {
		h.agents = map[int64]bool{}
	}
	for _, id := range news.Agents {
		h.agents[id] = true
	}
}

// take says whose work has changed; all: anything may have.
func (h *heard) take() (of []int64, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	of, all = slices.Collect(maps.Keys(h.agents)), h.all
	h.agents, h.all = nil, false
	return of, all
}

// pass ends what ran out, offers what waits, and says when to come again.
func (r *Router) pass(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	if err := r.endMissed(ctx); err != nil {
		return 0, err
	}
	if err := r.takeNextPresence(ctx, nil); err != nil {
		return 0, err
	}
	if next, err := r.offerTo(ctx, whom{Free: true}); err != nil || next < sweepEvery {
		return next, err
	}
	seconds, err := scalar[float64](ctx, r.cfg.Pool, "nearest deadline", `select coalesce(
		extract(epoch from min(expires_at) - clock_timestamp()), 3600)::float8 from offers where outcome is null`)
	return max(time.Duration(seconds*float64(time.Second)), time.Millisecond), err
}

// passOf is a pass for these agents, whose work has changed, and those who were free already: nobody else can be asked. Whoever
// was missed is found by the next pass of all.
func (r *Router) passOf(ctx context.Context, changed []int64) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	if len(changed) > 0 {
		if err := r.takeNextPresence(ctx, changed); err != nil {
			return 0, err
		}
	}
	of := whom{Only: slices.AppendSeq(changed, maps.Keys(r.free)), Free: true}
	if len(of.Only) == 0 {
		return sweepEvery, nil
	}
	if len(of.Only) > oneByOne {
		of.Only = nil
	}
	return r.offerTo(ctx, of)
}

type openOffer struct {
	ID             int64
	ConversationID int64
	AgentID        int64
	AgentName      string
	Shared         bool
}

// endMissed puts conversations whose offer ran out before all others, and their agents away.
func (r *Router) endMissed(ctx context.Context) error {
	late, err := all[openOffer](ctx, r.cfg.Pool, "offers that ran out", `select o.id, o.conversation_id, o.agent_id, a.name as agent_name, o.shared
		from offers o join agents a on a.id = o.agent_id
		where o.outcome is null and o.expires_at <= clock_timestamp() order by o.expires_at limit 100`)
	if err != nil {
		return err
	}
	for _, o := range late {
		if err := r.endMissedOne(ctx, o); err != nil {
			return fmt.Errorf("offer %d: %w", o.ID, err)
		}
	}
	return nil
}

// endMissedOne: of offers that rang at all the last one brings the conversation back, and nobody is sent away: who did
// not run for it may be at work for somebody else.
func (r *Router) endMissedOne(ctx context.Context, o openOffer) error {
	outcome := Missed
	var away bool
	var back *channels.Conversation
	line := &channels.Message{ConversationID: o.ConversationID, Author: channels.BySystem, Kind: channels.Happened, Private: true,
		Body: o.AgentName + " did not answer the offer.", Data: channels.MessageData{Code: channels.CodeMissed, AgentName: o.AgentName}}
	if o.Shared {
		line.Body, line.Data.AgentName = "It rang at all who were free. Nobody answered.", ""
	}
	err := pgx.BeginFunc(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		c, err := channels.Lock(ctx, tx, o.ConversationID)
		if err != nil || c == nil {
			return err
		}
		if c.State != channels.Offered { // should not be: whoever moves an offered conversation ends its offer
			outcome = Withdrawn
		}
		tag, err := tx.Exec(ctx, `update offers set outcome = $2, ended_at = clock_timestamp()
			where id = $1 and outcome is null and expires_at <= clock_timestamp()`, o.ID, outcome)
		if err != nil || tag.RowsAffected() == 0 { // zero: another router was faster
			outcome = ""
			return err
		}
		if outcome != Missed {
			return nil
		}
		if o.Shared {
			if rings, err := scalar[bool](ctx, tx, "other offers", `select exists (select from offers where conversation_id = $1 and outcome is null)`, c.ID); err != nil || rings {
				return err
			}
		}
		if back, err = channels.Move(ctx, tx, c.ID, channels.Waiting); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update conversations set front = true where id = $1`, c.ID); err != nil {
			return err
		}
		line.Channel = c.Channel
		if _, err := channels.Append(ctx, tx, line); err != nil || o.Shared {
			return err
		}
		away, err = setAway(ctx, tx, o.AgentID, MissedReason)
		return err
	})
	if err != nil || outcome == "" {
		return err
	}
	r.cfg.Log.Info("offer ended", "offer", o.ID, "conversation", o.ConversationID, "agent", o.AgentID, "outcome", outcome)
	ended(r.cfg.Bus, channels.OfferNews{OfferID: o.ID, ConversationID: o.ConversationID, AgentID: o.AgentID, Outcome: outcome})()
	if away {
		r.tell(r.cfg.Bus.Publish(channels.AgentSubject(o.AgentID), frame{Type: "presence"}))
	}
	if back != nil {
		r.tell(r.cfg.Bus.Publish(channels.ConversationSubject(back.ID), channels.Event{
			Type: channels.EventMessage, ConversationID: back.ID, Seq: line.Seq, Message: line}))
		r.tellMoved(back.ID, line.Seq, channels.Waiting)
	}
	return nil
}

// takeNextPresence lets those of these agents (nil: all) go who chose to when their work in hand is done.
func (r *Router) takeNextPresence(ctx context.Context, of []int64) error {
	gone, err := all[struct{ ID int64 }](ctx, r.cfg.Pool, "next presence", `update agents a set presence = next_presence, presence_reason = next_reason,
			presence_at = clock_timestamp(), next_presence = null, next_reason = '',
			idle_since = case when next_presence = 'available' and presence <> 'available' then clock_timestamp() else idle_since end
		where next_presence is not null and ($1::bigint[] is null or a.id = any($1)) and `+idleHanded+` returning id`, of)
	for _, a := range gone {
		r.tell(r.cfg.Bus.Publish(channels.AgentSubject(a.ID), frame{Type: "presence"}))
	}
	return err
}

// offerTo offers what waits to those of these agents who are free, and says when to come again: soon when something was in other hands
// for a moment, at once when more could be offered than one pass looks at.
func (r *Router) offerTo(ctx context.Context, of whom) (next time.Duration, err error) {
	began := time.Now()
	s := standing{}
	if s.Desk, err = atTheDesk(ctx, r.cfg.Pool, of); err != nil {
		return 0, err
	}
	r.free = make(map[int64]bool, len(s.Desk))
	for _, c := range s.Desk {
		r.free[c.ID] = true
	}
	skipped, more := false, false
	for _, depth := range []int{lineAtLeast, deeper} { // who declined the first may take one from behind
		if more = false; len(s.Desk) == 0 {
			break
		}
		if err := r.look(ctx, &s, depth); err != nil {
			return 0, err
		}
		picked := pick(s)
		offered, err := r.offerPicked(ctx, picked, s.Rules, began)
		if err != nil {
			return 0, fmt.Errorf("offer: %w", err)
		}
		r.cfg.Log.Debug("routed", "offers", offered, "line", len(s.Line), "free", len(s.Desk), "took", time.Since(began))
		skipped = skipped || offered < len(picked)
		if len(s.Ends) == 0 {
			break
		}
		asked := make(map[int64]bool, len(picked))
		for _, a := range picked {
			asked[a.AgentID] = true
		}
		s.Desk = slices.DeleteFunc(s.Desk, func(c candidate) bool { return asked[c.ID] })
		more = offered > 0 && len(s.Desk) > 0
		began = time.Now()
	}
	switch {
	case skipped:
		return retryAfter, nil
	case more:
		return 0, nil
	}
	return sweepEvery, nil
}

// look reads the line of the queues in which somebody is free, so much deeper than people are free in each, and what else
// pick must know of it.
func (r *Router) look(ctx context.Context, s *standing, depth int) (err error) {
	queues, people, free := freeQueues(s.Desk)
	for i := range people {
		people[i] = min(people[i], freeAtMost) + depth
	}
	if s.Line, s.Ends, err = head(ctx, r.cfg.Pool, queues, people, free); err != nil || len(s.Line) == 0 {
		return err
	}
	if slices.ContainsFunc(s.Line, func(w waiting) bool { return len(w.Refused) > 0 }) {
		if s.Serve, err = servingNow(ctx, r.cfg.Pool, queuesOf(s.Line)); err != nil {
			return err
		}
	}
	if s.Rules != nil {
		return nil
	}
	if s.Rules, err = readRules(ctx, r.cfg.Pool); err != nil {
		return err
	}
	if err = tally(ctx, r.cfg.Pool, s.Rules, s.Desk); err != nil {
		return err
	}
	s.Now, err = scalar[time.Time](ctx, r.cfg.Pool, "clock", `select clock_timestamp()`)
	return err
}

// offerPicked makes these offers, some in each transaction; offered is how many were still to be had.
func (r *Router) offerPicked(ctx context.Context, picked []assignment, rules map[int64]*rule, began time.Time) (offered int, err error) {
	for len(picked) > 0 {
		n := min(atOnce, len(picked))
		for n < len(picked) && picked[n].ConversationID == picked[n-1].ConversationID { // what rings at all rings at once
			n++
		}
		done, err := r.offer(ctx, picked[:n], rules)
		if err != nil {
			return offered, err
		}
		r.decisions.Observe(time.Since(began).Seconds())
		picked, offered = picked[n:], offered+done
	}
	return offered, nil
}

// offer makes these offers in one transaction and tells them; done is how many were still to be had.
func (r *Router) offer(ctx context.Context, picked []assignment, rules map[int64]*rule) (done int, err error) {
	var made []Offer
	var moved []channels.Conversation
	agentOf := map[int64]int64{}
	err = pgx.BeginFunc(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		claimed, err := claim(ctx, tx, picked)
		if err != nil || len(claimed) == 0 {
			return err
		}
		rows, err := insertOffers(ctx, tx, claimed)
		if err != nil || len(rows) == 0 {
			return err
		}
		ids, conversations := make([]int64, len(rows)), make([]int64, len(rows))
		for i, o := range rows {
			ids[i], conversations[i], agentOf[o.ID] = o.ID, o.ConversationID, o.AgentID
		}
		slices.Sort(conversations)
		conversations = slices.Compact(conversations)
		if moved, err = channels.MoveAll(ctx, tx, conversations, channels.Offered); err != nil {
			return err
		}
		if len(moved) != len(conversations) {
			return fmt.Errorf("%d of %d conversations are locked and waiting but do not move", len(conversations)-len(moved), len(conversations))
		}
		if err := takeTurns(ctx, tx, claimed, rules); err != nil {
			return err
		}
		made, err = all[Offer](ctx, tx, "offers made", offerSQL+` and o.id = any($1) order by o.id`, ids)
		return err
	})
	if err != nil {
		return 0, err
	}
	for i := range made {
		o := &made[i]
		delete(r.free, agentOf[o.ID])
		r.cfg.Log.Info("offered", "offer", o.ID, "conversation", o.ConversationID, "agent", agentOf[o.ID], "why", o.Why)
		r.tell(r.cfg.Bus.Publish(channels.AgentSubject(agentOf[o.ID]), frame{Type: "offer", Offer: o}))
		r.tell(r.cfg.Bus.Publish(channels.OfferSubject, channels.OfferNews{OfferID: o.ID, ConversationID: o.ConversationID, AgentID: agentOf[o.ID]}))
	}
	for _, c := range moved {
		r.tellMoved(c.ID, c.LastSeq, channels.Offered)
	}
	return len(made), nil
}

type madeOffer struct{ ID, ConversationID, AgentID int64 }

// insertOffers: the unique indexes on open offers guard what the claim may have missed. All that is made together ends together.
func insertOffers(ctx context.Context, tx pgx.Tx, claimed []assignment) ([]madeOffer, error) {
	conversations, people := make([]int64, len(claimed)), make([]int64, len(claimed))
	whys, shared := make([]string, len(claimed)), make([]bool, len(claimed))
	for i, a := range claimed {
		conversations[i], people[i], whys[i], shared[i] = a.ConversationID, a.AgentID, a.Why, a.Shared
	}
	return all[madeOffer](ctx, tx, "make offers", `insert into offers (conversation_id, agent_id, expires_at, why, shared, waited)
		select c.id, p.agent_id, statement_timestamp() + make_interval(secs => q.offer_seconds), p.why, p.shared,
			coalesce((select r.why from wait_reasons r where r.conversation_id = c.id and r.at >= c.waiting_since order by r.id desc limit 1), '')
		from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bool[]) p (conversation_id, agent_id, why, shared)
		join conversations c on c.id = p.conversation_id join queues q on q.id = c.queue_id
		on conflict do nothing returning id, conversation_id, agent_id`, conversations, people, whys, shared)
}

// takeTurns notes whom a queue that goes round has asked.
func takeTurns(ctx context.Context, tx pgx.Tx, claimed []assignment, rules map[int64]*rule) error {
	var queues, people []int64
	for _, a := range claimed {
		if r := rules[a.QueueID]; r != nil && r.Strategy == RoundRobin {
			queues, people = append(queues, a.QueueID), append(people, a.AgentID)
		}
	}
	if len(queues) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `update agent_queues m set offered_at = clock_timestamp() from unnest($1::bigint[], $2::bigint[]) p (queue_id, agent_id)
		where m.queue_id = p.queue_id and m.agent_id = p.agent_id`, queues, people)
	return err
}

func (r *Router) tellMoved(id, seq int64, state channels.State) {
	r.tell(r.cfg.Bus.Publish(channels.ConversationSubject(id), channels.Event{
		Type: channels.EventState, ConversationID: id, Seq: seq, State: state}))
	r.tell(r.cfg.Bus.Publish(channels.DeskSubject, channels.DeskNews{ConversationID: id}))
}

// tell notes news that could not be sent: it costs freshness, the rows are right.
func (r *Router) tell(err error) {
	if err != nil {
		r.cfg.Log.Warn("news not sent", "err", err)
	}
}
