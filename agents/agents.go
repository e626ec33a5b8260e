// Package agents is the human side: who may sign in, who is at the desk, which conversation rings at whom, and what a
// customer who asked for a person has been promised.
//
//	waiting ──router──▶ offered ──Accept──▶ agent        login.go     passwords, sessions, sign-in links
//	   ▲                  │                              presence.go  available, away, offline; what comes next; open tabs
//	   └─ missed, declined, withdrawn ◀┘                 pick.go      the rule, pure: who gets what
//	                                                     hours.go     when people answer, pure
//	                                                     queue.go     the line and the desk as rows, and the claim
//	                                                     router.go    Run: what ran out, then who gets what
//	                                                     offer.go     accept, decline, withdraw
//	                                                     why.go       why a conversation still waits
//	                                                     expect.go    the expected wait
//	                                                     place.go     the place in line, for everybody who waits
//	                                                     books.go     what was expected, what it became, why it waited
//	                                                     promise.go   opened by a wish, kept by a person's first word
//
// The router decides by events: news on channels.RouteSubject and deadlines wake it, a sweep each second covers what was
// lost. Whom it remembers as free, or has heard of, it reads again for each decision, and every decision is claimed under the
// rows' locks, so any number of routers may run on one database.
//
// Locks are always taken in the order conversation, offer, agent, so that no two transactions wait for each other.
package agents

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// Agent is a person who answers.
type Agent struct {
	Login  string
	Name   string
	Role   string  // agent, supervisor, admin
	Queues []int64 // where this agent answers
}

// EnsureQueue returns the queue of that name and makes it when there is none.
func EnsureQueue(ctx context.Context, q channels.Querier, name string) (int64, error) {
	// The update changes nothing; without it a conflict returns no row.
	return scalar[int64](ctx, q, "ensure queue", `insert into queues (name) values ($1)
		on conflict (name) do update set name = excluded.name returning id`, name)
}

// EnsureAgent returns the agent with that login and makes it when there is none; queues are added, never taken away.
func EnsureAgent(ctx context.Context, q channels.Querier, a Agent) (int64, error) {
	if a.Role == "" {
		a.Role = "agent"
	}
	return scalar[int64](ctx, q, "ensure agent", `with a as (
			insert into agents (login, name, role) values ($1, $2, $3)
			on conflict (login) do update set login = excluded.login returning id
		), joined as (
			insert into agent_queues (agent_id, queue_id) select a.id, queue_id from a, unnest($4::bigint[]) queue_id
			on conflict do nothing)
		select id from a`, login(a.Login), a.Name, a.Role, a.Queues)
}

// Name returns the agent's full name.
func Name(ctx context.Context, q channels.Querier, agentID int64) (string, error) {
	return name(ctx, q, `select name from agents where id = $1`, agentID, noSuchAgent())
}

// HasPassword tells whether the agent can sign in without a link.
func HasPassword(ctx context.Context, q channels.Querier, agentID int64) (bool, error) {
	return scalar[bool](ctx, q, "read password", `select password_hash <> '' from agents where id = $1`, agentID)
}

// Supervises tells whether the agent may take work from colleagues.
func Supervises(ctx context.Context, q channels.Querier, agentID int64) (bool, error) {
	return scalar[bool](ctx, q, "read role", `select exists (select from agents where id = $1 and role in ('supervisor', 'admin'))`, agentID)
}

// QueueName returns the queue's name.
func QueueName(ctx context.Context, q channels.Querier, queueID int64) (string, error) {
	return name(ctx, q, `select name from queues where id = $1`, queueID,
		channels.FailField(channels.NotFound, "queue_id", "There is no such queue."))
}

func name(ctx context.Context, q channels.Querier, sql string, id int64, none error) (string, error) {
	row, err := one[struct{ Name string }](ctx, q, "read name", sql, id)
	if err == nil && row == nil {
		err = none
	}
	if err != nil {
		return "", err
	}
	return row.Name, nil
}

func scalar[T any](ctx context.Context, q channels.Querier, what, sql string, args ...any) (v T, err error) {
	rows, err := q.Query(ctx, sql, args...)
	if err == nil {
		v, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	}
	if err != nil {
		return v, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}

func all[T any](ctx context.Context, q channels.Querier, what, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err == nil {
		var list []T
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByName[T]); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

// one returns nil when there is no row.
func one[T any](ctx context.Context, q channels.Querier, what, sql string, args ...any) (*T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err == nil {
		var v *T
		if v, err = pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[T]); err == nil {
			return v, nil
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

func noSuchAgent() error { return channels.Fail(channels.NotFound, "There is no such agent.") }
