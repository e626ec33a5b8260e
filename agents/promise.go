package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// OpenPromise notes what we owe a customer who asked for a person, in the transaction that puts the conversation in
// line. It is due after the queue's target, counted from the next opening when nobody answers now. A conversation has at
// most one open promise: asking again keeps the first one and its due time.
func OpenPromise(ctx context.Context, tx pgx.Tx, conversationID int64, source string) (due time.Time, opened bool, err error) {
	// Most queues are always open: theirs take one statement.
	err = tx.QueryRow(ctx, `insert into promises (conversation_id, source, due_at)
		select c.id, $2, clock_timestamp() + make_interval(secs => q.promise_seconds)
		from conversations c join queues q on q.id = c.queue_id where c.id = $1 and q.hours = '{}'::jsonb and coalesce(q.closed_until < clock_timestamp(), true)
		on conflict (conversation_id) where closed_at is null do nothing returning due_at`, conversationID, source).Scan(&due)
	if err == nil {
		return due, true, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return due, false, fmt.Errorf("open promise: %w", err)
	}
	h, err := hoursOf(ctx, tx, conversationID)
	if err != nil {
		return due, false, err
	}
	row, err := one[struct {
		DueAt time.Time
		Fresh bool
	}](ctx, tx, "open promise", `with made as (insert into promises (conversation_id, source, due_at) values ($1, $2, $3)
			on conflict (conversation_id) where closed_at is null do nothing returning due_at)
		select due_at, true as fresh from made union all
		select due_at, false from promises where conversation_id = $1 and closed_at is null and not exists (select from made)`,
		conversationID, source, h.hours.Due(h.now, h.target))
	if err == nil && row == nil {
		err = fmt.Errorf("open promise: conversation %d has none", conversationID)
	}
	if err != nil {
		return due, false, err
	}
	return row.DueAt, row.Fresh, nil
}

// NobodyHere is what a customer is told who asks for a person when nobody answers, and when a person will; "" when
// people answer now. due is the promise's.
func NobodyHere(ctx context.Context, q channels.Querier, conversationID int64, due time.Time) (words string, err error) {
	h, err := hoursOf(ctx, q, conversationID)
	if err != nil {
		return "", err
	}
	state, _ := h.hours.Open(h.now)
	if state == Open {
		return "", nil
	}
	words = "Nobody is here right now."
	if state == EmergencyOff && h.words != "" {
		words = h.words
	}
	return words + " A person answers " + h.hours.Back(due, h.now) + ".", nil
}

type queueHours struct {
	hours  Hours
	target time.Duration
	words  string
	now    time.Time
}

func hoursOf(ctx context.Context, q channels.Querier, conversationID int64) (h queueHours, err error) {
	row, err := one[struct {
		Hours          Hours
		ClosedUntil    *time.Time
		PromiseSeconds int
		ClosedWords    string
		Now            time.Time
	}](ctx, q, "queue's hours", `select hours, closed_until, promise_seconds, closed_words, clock_timestamp() as now
		from queues where id = (select queue_id from conversations where id = $1)`, conversationID)
	if err != nil || row == nil {
		return h, err
	}
	h = queueHours{row.Hours, seconds(row.PromiseSeconds), row.ClosedWords, row.Now}
	if row.ClosedUntil != nil {
		h.hours.ClosedUntil = *row.ClosedUntil
	}
	return h, nil
}

// KeepPromise closes the open promise, if there is one: a person has spoken or written.
func KeepPromise(ctx context.Context, tx pgx.Tx, conversationID, agentID int64) error {
	return closePromise(ctx, tx, conversationID, "agent", &agentID)
}

// ClosePromiseByContact closes the open promise, if there is one: the customer no longer wants a person, or has left.
func ClosePromiseByContact(ctx context.Context, tx pgx.Tx, conversationID int64) error {
	return closePromise(ctx, tx, conversationID, "contact", nil)
}

func closePromise(ctx context.Context, tx pgx.Tx, conversationID int64, by string, agentID *int64) error {
	_, err := tx.Exec(ctx, `update promises set closed_at = clock_timestamp(), closed_by = $2, agent_id = $3
		where conversation_id = $1 and closed_at is null`, conversationID, by, agentID)
	if err != nil {
		return fmt.Errorf("close promise: %w", err)
	}
	return nil
}
