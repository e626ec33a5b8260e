package agents

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
)

const (
	sweepEvery  = time.Second           // heals a lost wake-up
	retryAfter  = 50 * time.Millisecond // another router held a row that we wanted
	passLimit   = 10 * time.Second
	lineAtLeast = 50 // how deep a pass looks into each queue, beyond the number of free agents
)

// RouterConfig is what a router needs.
type RouterConfig struct {
	Pool   *pgxpool.Pool
	Bus    *bus.Bus
	NodeID string
	Log    *slog.Logger
}

// Router brings waiting conversations to free agents. Every node runs one; the rows decide who gets what.
type Router struct{ cfg RouterConfig }

// NewRouter builds a router; Run does its work.
func NewRouter(cfg RouterConfig) *Router {
	cfg.Log = cfg.Log.With("room", "agents", "node", cfg.NodeID)
	return &Router{cfg: cfg}
}

// Run routes until ctx ends. It wakes by news on channels.RouteSubject, when the nearest offer runs out, and each
// second, as a wake-up may be lost.
func (r *Router) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	cancel, err := r.cfg.Bus.Subscribe(channels.RouteSubject, func(string, []byte) {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("router: %w", err)
	}
	defer cancel()
	for {
		next, err := r.pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.cfg.Log.Error("routing pass", "err", err)
			next = sweepEvery
		}
		timer := time.NewTimer(min(next, sweepEvery))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pass ends what ran out, offers what waits, and says when to come again.
func (r *Router) pass(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	if err := r.endMissed(ctx); err != nil {
		return 0, err
	}
	skipped, err := r.offerAll(ctx)
	if err != nil {
		return 0, err
	}
	if skipped {
		return retryAfter, nil
	}
	seconds, err := scalar[float64](ctx, r.cfg.Pool, "nearest deadline", `select coalesce(
		extract(epoch from min(expires_at) - clock_timestamp()), 3600)::float8 from offers where outcome is null`)
	return max(time.Duration(seconds*float64(time.Second)), time.Millisecond), err
}

type openOffer struct {
	ID             int64
	ConversationID int64
	AgentID        int64
	AgentName      string
}

// endMissed puts conversations whose offer ran out before all others, and their agents away.
func (r *Router) endMissed(ctx context.Context) error {
	late, err := all[openOffer](ctx, r.cfg.Pool, "offers that ran out", `select o.id, o.conversation_id, o.agent_id, a.name as agent_name
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

func (r *Router) endMissedOne(ctx context.Context, o openOffer) error {
	outcome := Missed
	var away bool
	var back *channels.Conversation
	line := &channels.Message{ConversationID: o.ConversationID, Author: channels.BySystem, Kind: channels.Happened, Private: true,
		Body: o.AgentName + " did not answer the offer.", Data: channels.MessageData{Code: channels.CodeMissed, AgentName: o.AgentName}}
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
		if back, err = channels.Move(ctx, tx, c.ID, channels.Waiting); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update conversations set front = true where id = $1`, c.ID); err != nil {
			return err
		}
		line.Channel = c.Channel
		if _, err := channels.Append(ctx, tx, line); err != nil {
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

// offerAll makes every offer that the rule allows now; skipped when a row was in other hands.
func (r *Router) offerAll(ctx context.Context) (skipped bool, err error) {
	desk, err := atTheDesk(ctx, r.cfg.Pool, nil)
	if err != nil {
		return false, err
	}
	queues, free := freeQueues(desk)
	if len(free) == 0 {
		return false, nil
	}
	line, err := head(ctx, r.cfg.Pool, queues, free, lineAtLeast+len(free))
	if err != nil || len(line) == 0 {
		return false, err
	}
	now, err := scalar[time.Time](ctx, r.cfg.Pool, "clock", `select clock_timestamp()`)
	if err != nil {
		return false, err
	}
	for _, a := range pick(line, desk, now) {
		o, err := r.offer(ctx, a)
		if err != nil {
			return false, fmt.Errorf("offer conversation %d: %w", a.ConversationID, err)
		}
		if o == nil {
			skipped = true
			continue
		}
		r.cfg.Log.Info("offered", "offer", o.ID, "conversation", o.ConversationID, "agent", a.AgentID)
	}
	return skipped, nil
}

// offer makes one offer and tells it; nil when the conversation or the agent is in other hands.
func (r *Router) offer(ctx context.Context, a assignment) (*Offer, error) {
	var o *Offer
	var moved *channels.Conversation
	err := pgx.BeginFunc(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		ok, err := claim(ctx, tx, a)
		if err != nil || !ok {
			return err
		}
		// The two unique indexes on open offers guard what the claim may have missed.
		tag, err := tx.Exec(ctx, `insert into offers (conversation_id, agent_id, expires_at, why)
			select c.id, $2, clock_timestamp() + make_interval(secs => q.offer_seconds), $3
			from conversations c join queues q on q.id = c.queue_id where c.id = $1
			on conflict do nothing`, a.ConversationID, a.AgentID, a.Why)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if moved, err = channels.Move(ctx, tx, a.ConversationID, channels.Offered); err != nil {
			return err
		}
		if moved == nil {
			return fmt.Errorf("conversation %d is locked and waiting but does not move", a.ConversationID)
		}
		o, err = OpenOffer(ctx, tx, a.AgentID)
		return err
	})
	if err != nil || o == nil {
		return nil, err
	}
	r.tell(r.cfg.Bus.Publish(channels.AgentSubject(a.AgentID), frame{Type: "offer", Offer: o}))
	r.tell(r.cfg.Bus.Publish(channels.OfferSubject, channels.OfferNews{OfferID: o.ID, ConversationID: a.ConversationID, AgentID: a.AgentID}))
	r.tellMoved(moved.ID, moved.LastSeq, channels.Offered)
	return o, nil
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
