package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// OpenPromise notes what we owe a customer who asked for a person, in the transaction that puts the conversation in
// line. A conversation has at most one open promise: asking again keeps the first one and its due time.
func OpenPromise(ctx context.Context, tx pgx.Tx, conversationID int64, source string) (due time.Time, opened bool, err error) {
	err = tx.QueryRow(ctx, `insert into promises (conversation_id, source, due_at)
		select c.id, $2, clock_timestamp() + make_interval(secs => q.promise_seconds)
		from conversations c join queues q on q.id = c.queue_id where c.id = $1
		on conflict (conversation_id) where closed_at is null do nothing returning due_at`, conversationID, source).Scan(&due)
	if err == nil {
		return due, true, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return due, false, fmt.Errorf("open promise: %w", err)
	}
	due, err = scalar[time.Time](ctx, tx, "open promise",
		`select due_at from promises where conversation_id = $1 and closed_at is null`, conversationID)
	return due, false, err
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
