package switchboard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/agents"
	"patchbay/channels"
)

// Leases and their owners. A node is a row with a heartbeat; what it owned (answers, calls, sockets, offers' timers)
// is free when the row says that it stopped or was not seen for ten seconds. Everything here may run on every node at
// once: each step takes its rows with SKIP LOCKED or by a guarded UPDATE.

const (
	heartbeat = 2 * time.Second
	sweepEach = time.Second
	nodeLease = 10 * time.Second // a node unseen for so long is dead; the SQL says the same
	sweepMost = 50               // rows a step; the rest comes a second later
)

// Join makes the node row of this process. The caller holds the listening port that name stands for, so every older
// process of that name is dead, whatever its heartbeat says: its leases are free at once and a restart needs no wait.
func Join(ctx context.Context, pool *pgxpool.Pool, id, name string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update nodes set stopped_at = now() where name = $1 and stopped_at is null`, name); err != nil {
			return fmt.Errorf("end older processes: %w", err)
		}
		if _, err := tx.Exec(ctx, `insert into nodes (id, name) values ($1, $2)`, id, name); err != nil {
			return fmt.Errorf("join as node: %w", err)
		}
		return nil
	})
}

// Leave ends this process' leases.
func Leave(ctx context.Context, pool *pgxpool.Pool, id string) error {
	_, err := pool.Exec(ctx, `update nodes set stopped_at = now() where id = $1`, id)
	return err
}

// Run keeps the node's heartbeat and sweeps until ctx ends, then waits for the loops.
func (s *Switchboard) Run(ctx context.Context) error {
	s.loops.mu.Lock()
	s.loops.ctx = ctx
	s.loops.mu.Unlock()
	defer func() {
		s.loops.mu.Lock() // a wake that has seen ctx alive has added its loop by now
		s.loops.mu.Unlock()
		s.loops.wg.Wait()
	}()
	beat, sweep := time.NewTicker(heartbeat), time.NewTicker(sweepEach)
	defer beat.Stop()
	defer sweep.Stop()
	s.steady = time.Now().Add(-nodeLease)
	s.sweep(ctx)
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if _, err := s.Pool.Exec(ctx, `update nodes set seen_at = now(), stopped_at = null where id = $1`, s.NodeID); err != nil {
				if ctx.Err() == nil {
					s.Log.Error("heartbeat", "err", err)
				}
				continue
			}
			if time.Since(last) > 2*heartbeat { // the database was away for us: then for the others too
				s.steady = time.Now()
			}
			last = time.Now()
		case <-sweep.C:
			s.sweep(ctx)
		}
	}
}

func (s *Switchboard) sweep(ctx context.Context) {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"dead nodes", s.sweepNodes},
		{"lost calls", s.sweepCalls},
		{"unanswered", s.sweepUnanswered},
		{"wrap-up", s.sweepWrapup},
		{"agents gone", s.sweepAgentsGone},
		{"overflow", s.sweepOverflow},
		{"without agent", s.sweepOrphans},
		{"calls due", s.sweepCallsDue},
		{"promises", s.sweepPromises},
		{"budgets", s.sweepBudgets},
	} {
		if err := step.do(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("sweep", "step", step.name, "err", err)
		}
	}
}

func (s *Switchboard) sweepNodes(ctx context.Context) error {
	if time.Since(s.steady) < nodeLease {
		return nil // after an outage of the database everybody looks dead: let them beat first
	}
	// a node that was only cut off comes back by its own heartbeat
	tag, err := s.Pool.Exec(ctx, `update nodes set stopped_at = now() where stopped_at is null and seen_at < now() - interval '10 s' and id <> $1`, s.NodeID)
	if err != nil {
		return err
	}
	// tabs of a dead node count for nothing, but a node that comes back has them again
	if _, err := s.Pool.Exec(ctx, `delete from agent_sockets using nodes n where n.id = node_id and n.stopped_at < now() - interval '1 hour'`); err != nil {
		return err
	}
	if tag.RowsAffected() > 0 {
		s.publish(channels.RouteSubject, struct{}{})
	}
	return nil
}

// ids collects one column.
func (s *Switchboard) ids(ctx context.Context, sql string, args ...any) ([]int64, error) {
	rows, err := s.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// sweepCalls: a call dies with its node. Its caller stands first in line, as a call to return.
func (s *Switchboard) sweepCalls(ctx context.Context) error {
	lost, err := s.ids(ctx, `select k.id from calls k left join nodes n on n.id = k.node_id
		where k.state <> 'ended' and (n.id is null or n.stopped_at is not null) limit $1`, sweepMost)
	var all error
	for _, id := range lost {
		all = errors.Join(all, s.loseCall(ctx, id))
	}
	return errors.Join(err, all)
}

func (s *Switchboard) loseCall(ctx context.Context, callID int64) error {
	return s.change(ctx, 0, func(ch *change) error {
		var conversation int64
		err := ch.tx.QueryRow(ctx, `select conversation_id from calls where id = $1 and state <> 'ended'`, callID).Scan(&conversation)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // another node was faster
		}
		if err != nil {
			return err
		}
		if err := ch.take(ctx, conversation); err != nil {
			return err
		}
		call, err := channels.EndCall(ctx, ch.tx, callID, "lost", "server stopped", nil)
		if err != nil || call == nil {
			return err
		}
		customer := call.From
		if call.Direction == channels.CallOut {
			customer = call.To
		}
		ch.line(channels.CodeCallLost, "Our server failed during the call. Call "+customer+" back.",
			channels.MessageData{CallID: call.ID, Reason: "server stopped"})
		if ch.c.State == channels.Offered {
			if err := s.withdraw(ctx, ch); err != nil {
				return err
			}
		}
		if ch.c.State == channels.Agent || ch.c.State == channels.Wrapup {
			if err := s.backInLine(ctx, ch, "lost", channels.CodeBackInLine, wordsBack); err != nil {
				return err
			}
		} else if err := s.toPeople(ctx, ch, "lost", channels.CodeWaiting, wordsWaiting); err != nil {
			return err
		}
		if cb, err := agents.OpenCallBack(ctx, ch.tx, ch.c.ID); err != nil {
			return err
		} else if cb != nil {
			if err := agents.CallUntried(ctx, ch.tx, ch.c.ID); err != nil {
				return err
			}
		}
		ch.after(func() {
			s.publish(channels.RouteSubject, struct{}{})
			s.publish(channels.VoicemailSubject, struct{}{})
		})
		return ch.exec(ctx, "call to return", `update conversations set front = true, return_call = true where id = $1`, ch.c.ID)
	})
}

// sweepUnanswered: visitors whose node died before it answered.
func (s *Switchboard) sweepUnanswered(ctx context.Context) error {
	ids, err := s.ids(ctx, `select c.id from conversations c left join nodes n on n.id = c.owner_id
		where c.state in ('new', 'bot') and c.customer_seq > c.answered_seq
		and (n.id is null or n.stopped_at is not null or (n.id = $2 and c.changed_at < now() - interval '2 s')) limit $1`, sweepMost, s.NodeID)
	for _, id := range ids {
		s.wake(id)
	}
	return err
}

func (s *Switchboard) sweepWrapup(ctx context.Context) error {
	ids, err := s.ids(ctx, `select id from conversations where state = 'wrapup' and wrapup_until < now() limit $1`, sweepMost)
	var all error
	for _, id := range ids {
		all = errors.Join(all, s.change(ctx, id, func(ch *change) error {
			if ch.c.State != channels.Wrapup || ch.c.WrapupUntil == nil || ch.c.WrapupUntil.After(time.Now()) {
				return nil
			}
			return s.close(ctx, ch, ch.c.Disposition)
		}))
	}
	return errors.Join(err, all)
}

// sweepAgentsGone: the customer wrote, the agent's browser is gone and does not come back. Front of the line.
func (s *Switchboard) sweepAgentsGone(ctx context.Context) error {
	ids, err := s.ids(ctx, `select c.id from conversations c where c.state = 'agent' and c.customer_seq > c.answered_seq
		and c.changed_at < now() - make_interval(secs => $2)
		and not exists (select from agent_sockets k join nodes n on n.id = k.node_id
			where k.agent_id = c.agent_id and n.stopped_at is null and n.seen_at > now() - interval '10 s')
		and not exists (select from calls where conversation_id = c.id and state <> 'ended') limit $1`, sweepMost, s.AgentGone.Seconds())
	var all error
	for _, id := range ids {
		all = errors.Join(all, s.change(ctx, id, func(ch *change) error {
			if ch.c.State != channels.Agent || ch.c.AgentID == nil {
				return nil
			}
			there, err := agents.Online(ctx, ch.tx, *ch.c.AgentID)
			if err != nil || there {
				return err
			}
			return s.agentLost(ctx, ch)
		}))
	}
	return errors.Join(err, all)
}
