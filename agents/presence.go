package agents

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Presence is what an agent says about itself.
type Presence string

const (
	Available Presence = "available"
	Away      Presence = "away"
	Offline   Presence = "offline"
)

// MissedReason stands as the reason of an agent who is away because an offer was not answered.
const MissedReason = "missed"

// living is true in SQL for a nodes row n whose process runs: unseen for 10 s means dead.
const living = `n.stopped_at is null and n.seen_at > clock_timestamp() - interval '10 seconds'`

// atDesk is true in SQL for an agents row a with an open tab on a living node.
const atDesk = `exists (select from agent_sockets s join nodes n on n.id = s.node_id where s.agent_id = a.id and ` + living + `)`

// idleHanded is true in SQL for an agents row a that has no work in hand.
const idleHanded = `not exists (select from offers o where o.agent_id = a.id and o.outcome is null)
	and not exists (select from conversations c where c.agent_id = a.id and c.state in ('agent', 'wrapup'))
	and not exists (select from call_parties p join calls l on l.id = p.call_id where p.agent_id = a.id and l.state <> 'ended')`

// SetPresence stores what the agent says about itself and tells its tabs and the routers. Who becomes available is
// idle from now on.
func SetPresence(ctx context.Context, pool *pgxpool.Pool, b *bus.Bus, agentID int64, p Presence, reason string) error {
	reason, err := cleanPresence(p, reason)
	if err != nil {
		return err
	}
	tag, err := pool.Exec(ctx, `update agents set presence = $2, presence_reason = $3, next_presence = null, next_reason = '',
		presence_at = case when presence = $2 and presence_reason = $3 then presence_at else clock_timestamp() end,
		idle_since = case when $2 = 'available' and presence <> 'available' then clock_timestamp() else idle_since end
		where id = $1`, agentID, p, reason)
	if err != nil {
		return fmt.Errorf("set presence: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return noSuchAgent()
	}
	if err := b.Publish(channels.AgentSubject(agentID), frame{Type: "presence"}); err != nil {
		return err
	}
	return b.Publish(channels.RouteSubject, channels.RouteNews{Agents: []int64{agentID}})
}

// SetNextPresence stores what the agent will be when its work in hand is done; until then nothing new is offered. Without work it
// is so at once.
func SetNextPresence(ctx context.Context, pool *pgxpool.Pool, b *bus.Bus, agentID int64, p Presence, reason string) error {
	reason, err := cleanPresence(p, reason)
	if err != nil {
		return err
	}
	idle, err := one[struct{ Idle bool }](ctx, pool, "set next presence", `update agents a set next_presence = $2, next_reason = $3
		where id = $1 returning `+idleHanded+` as idle`, agentID, p, reason)
	switch {
	case err != nil:
		return err
	case idle == nil:
		return noSuchAgent()
	case idle.Idle:
		return SetPresence(ctx, pool, b, agentID, p, reason)
	}
	return b.Publish(channels.AgentSubject(agentID), frame{Type: "presence"})
}

func cleanPresence(p Presence, reason string) (string, error) {
	switch p {
	case Away:
		return reason, nil
	case Available, Offline:
		return "", nil
	}
	return "", channels.FailField(channels.Invalid, "presence", "The presence is available, away or offline.")
}

// SetAway is SetPresence for the house: the agent did not answer or was lost. It changes only who is available.
func SetAway(ctx context.Context, pool *pgxpool.Pool, b *bus.Bus, agentID int64, reason string) error {
	away, err := setAway(ctx, pool, agentID, reason)
	if err != nil || !away {
		return err
	}
	return b.Publish(channels.AgentSubject(agentID), frame{Type: "presence"})
}

func setAway(ctx context.Context, q channels.Querier, agentID int64, reason string) (bool, error) {
	n, err := scalar[int64](ctx, q, "set away", `with u as (
		update agents set presence = 'away', presence_reason = $2, presence_at = clock_timestamp()
		where id = $1 and presence = 'available' returning 1) select count(*) from u`, agentID, reason)
	return n > 0, err
}

// Online tells whether the agent has a tab open on a living node.
func Online(ctx context.Context, q channels.Querier, agentID int64) (bool, error) {
	return scalar[bool](ctx, q, "online", `select exists (select from agents a where a.id = $1 and `+atDesk+`)`, agentID)
}

// Idle says that the agent's work has changed at this moment, more or less of it: the longest idle is offered first.
// The caller wakes the routers after the commit.
func Idle(ctx context.Context, tx pgx.Tx, agentID int64) error {
	if _, err := tx.Exec(ctx, `update agents set idle_since = clock_timestamp() where id = $1`, agentID); err != nil {
		return fmt.Errorf("idle agent: %w", err)
	}
	return nil
}

// OpenSocket notes a browser tab of the agent on this node and wakes the routers.
func OpenSocket(ctx context.Context, pool *pgxpool.Pool, b *bus.Bus, tab string, agentID int64, nodeID string) error {
	_, err := pool.Exec(ctx, `insert into agent_sockets (id, agent_id, node_id) values ($1, $2, $3)`, tab, agentID, nodeID)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	return b.Publish(channels.RouteSubject, channels.RouteNews{Agents: []int64{agentID}})
}

// CloseSocket forgets the tab. The agent's presence stays: who reloads the page goes on as before, and without a tab
// nobody is offered anything.
func CloseSocket(ctx context.Context, pool *pgxpool.Pool, tab string) error {
	if _, err := pool.Exec(ctx, `delete from agent_sockets where id = $1`, tab); err != nil {
		return fmt.Errorf("close socket: %w", err)
	}
	return nil
}

// frame is what the router sends to an agent's tabs, on channels.AgentSubject; server/api forwards it as it is. It
// fills in "me" of a presence frame, which only server/report can read.
type frame struct {
	Type    string `json:"type"`
	Offer   *Offer `json:"offer,omitempty"`
	OfferID int64  `json:"offer_id,omitempty"`
	Outcome string `json:"outcome,omitempty"`
}

func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
