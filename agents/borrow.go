package agents

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Borrow finds a free colleague for an agent who wants to talk to somebody before passing a caller on: the one named, or
// the longest idle of a queue. From the return on the colleague counts as busy, until GiveBack or the call's end, so two
// agents never get the same one. Refused in words that the asking agent can read.
func Borrow(ctx context.Context, pool *pgxpool.Pool, callID, by int64, t channels.CallTarget) (agentID int64, name string, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		c, err := freeColleague(ctx, tx, by, t)
		if err != nil {
			return err
		}
		agentID = c.ID
		if name, err = Name(ctx, tx, agentID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into call_parties (call_id, agent_id, role) values ($1, $2, 'consulted')`, callID, agentID); err != nil {
			return fmt.Errorf("borrow agent: %w", err)
		}
		return nil
	})
	return agentID, name, err
}

// freeColleague holds the row of the one it finds until tx ends.
func freeColleague(ctx context.Context, tx pgx.Tx, by int64, t channels.CallTarget) (*candidate, error) {
	if t.Kind == channels.TargetAgent {
		name, err := Name(ctx, tx, t.AgentID)
		switch {
		case err != nil:
			return nil, err
		case t.AgentID == by:
			return nil, channels.FailField(channels.Invalid, "target", "This is yourself.")
		}
		if err := lockAgent(ctx, tx, t.AgentID); err != nil {
			return nil, err
		}
		desk, err := atTheDesk(ctx, tx, whom{Only: []int64{t.AgentID}})
		switch {
		case err != nil:
			return nil, err
		case len(desk) == 0:
			return nil, channels.Fail(channels.Conflict, name+" is not at the desk.")
		case desk[0].Busy != "":
			return nil, channels.Fail(channels.Conflict, name+" is busy.")
		}
		return &desk[0], nil
	}
	queue, err := QueueName(ctx, tx, t.QueueID)
	if err != nil {
		return nil, err
	}
	desk, err := atTheDesk(ctx, tx, whom{})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(desk, func(a, b candidate) int { return cmp.Or(a.IdleSince.Compare(b.IdleSince), cmp.Compare(a.ID, b.ID)) })
	for _, c := range desk {
		if c.ID == by || c.Busy != "" || c.in(t.QueueID).QueueID != t.QueueID {
			continue
		}
		if err := lockAgent(ctx, tx, c.ID); err != nil {
			return nil, err
		}
		now, err := atTheDesk(ctx, tx, whom{Only: []int64{c.ID}}) // what it was before the lock may have passed
		if err != nil {
			return nil, err
		}
		if len(now) == 1 && now[0].Busy == "" {
			return &c, nil
		}
	}
	return nil, channels.Fail(channels.Conflict, "Nobody in "+queue+" is free.")
}

// FreeNow refuses, in words, a colleague to whom by cannot pass something on now; the name comes with it. The colleague's
// row is held until tx ends.
func FreeNow(ctx context.Context, tx pgx.Tx, by, agentID int64) (name string, err error) {
	if _, err := freeColleague(ctx, tx, by, channels.CallTarget{Kind: channels.TargetAgent, AgentID: agentID}); err != nil {
		return "", err
	}
	return Name(ctx, tx, agentID)
}

func lockAgent(ctx context.Context, tx pgx.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `select from agents where id = $1 for update`, id); err != nil {
		return fmt.Errorf("lock agent: %w", err)
	}
	return nil
}

// GiveBack ends what Borrow began: the colleague is free again.
func GiveBack(ctx context.Context, pool *pgxpool.Pool, b *bus.Bus, callID, agentID int64) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from call_parties where call_id = $1 and agent_id = $2`, callID, agentID); err != nil {
			return fmt.Errorf("give agent back: %w", err)
		}
		return Idle(ctx, tx, agentID)
	})
	if err != nil {
		return err
	}
	return b.Publish(channels.RouteSubject, channels.RouteNews{Agents: []int64{agentID}})
}

// FreeToTalk refuses, in words, an agent who has a call already; who is away may still call out.
func FreeToTalk(ctx context.Context, tx pgx.Tx, agentID int64) error {
	if err := lockAgent(ctx, tx, agentID); err != nil {
		return err
	}
	busy, err := scalar[bool](ctx, tx, "on the phone", `select exists (select from calls l left join conversations c on c.id = l.conversation_id
			where l.state <> 'ended' and (c.agent_id = $1 and c.state = 'agent' or l.dialled_by = $1 and l.state in ('dialling', 'ringing')))
		or exists (select from call_parties p join calls l on l.id = p.call_id where p.agent_id = $1 and l.state <> 'ended')`, agentID)
	if err == nil && busy {
		err = channels.Fail(channels.Conflict, "You are in a call already.")
	}
	return err
}
