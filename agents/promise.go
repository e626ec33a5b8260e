package agents

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/sentences"
)

// A promise is what we owe a customer who asked for a person: who, over which channel, until when. It is opened in the
// transaction that stores the wish and closed by a person's first word to the customer or by the customer, by nothing else.
// One that is late, or whose conversation an agent ends without a word, is broken: that is told and stays on record.

// OpenPromise notes what we owe a customer who asked for a person, in the transaction that puts the conversation in
// line. It is due after the queue's target, counted from the next opening when nobody answers now. A conversation has at
// most one open promise: asking again keeps the first one and its due time.
func OpenPromise(ctx context.Context, tx pgx.Tx, conversationID int64, source string) (due time.Time, opened bool, err error) {
	// Most queues are always open: theirs take one statement.
	err = tx.QueryRow(ctx, insertPromise+`, clock_timestamp() + make_interval(secs => q.promise_seconds), true`+ofConversation+`
		and q.hours = '{}'::jsonb and coalesce(q.closed_until < clock_timestamp(), true) `+onceOpen, conversationID, source).Scan(&due)
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
	state, _ := h.hours.Open(h.now)
	row, err := one[struct {
		DueAt time.Time
		Fresh bool
	}](ctx, tx, "open promise", `with made as (`+insertPromise+`, $3::timestamptz, $4::boolean`+ofConversation+onceOpen+`)
		select due_at, true as fresh from made union all
		select due_at, false from promises where conversation_id = $1 and closed_at is null and not exists (select from made)`,
		conversationID, source, h.hours.Due(h.now, h.target), state == Open)
	if err == nil && row == nil {
		err = fmt.Errorf("open promise: conversation %d has none", conversationID)
	}
	if err != nil {
		return due, false, err
	}
	return row.DueAt, row.Fresh, nil
}

// A promise's row says by itself who is owed what, where.
const (
	insertPromise = `insert into promises (conversation_id, source, contact_id, queue_id, queue_name, channel, synthetic, due_at, in_hours)
		select c.id, $2, c.contact_id, q.id, q.name, c.channel, t.synthetic`
	ofConversation = ` from conversations c join queues q on q.id = c.queue_id join contacts t on t.id = c.contact_id where c.id = $1 `
	onceOpen       = `on conflict (conversation_id) where closed_at is null do nothing returning due_at`
)

// NobodyHere is what a customer is told who asks for a person when nobody answers, and when a person will; "" when
// people answer now. due is the promise's.
func NobodyHere(ctx context.Context, q channels.Querier, conversationID int64, due time.Time) (words sentences.Said, err error) {
	h, err := hoursOf(ctx, q, conversationID)
	if err != nil {
		return words, err
	}
	state, _ := h.hours.Open(h.now)
	if state == Open {
		return words, nil
	}
	words = sentences.Say("Nobody is here right now.")
	if state == EmergencyOff && h.words != "" {
		words = sentences.Say(h.words)
	}
	return words.Then(sentences.Say("A person answers %s.", h.hours.Back(due, h.now))), nil
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

// AcknowledgePromise notes that the customer is told, in the transaction of the notice. What goes by mail is told when it
// is sent.
func AcknowledgePromise(ctx context.Context, tx pgx.Tx, conversationID int64) error {
	_, err := tx.Exec(ctx, `update promises p set acknowledged_at = clock_timestamp() where conversation_id = $1 and closed_at is null
		and acknowledged_at is null and channel <> 'email'`, conversationID)
	if err != nil {
		return fmt.Errorf("acknowledge promise: %w", err)
	}
	return nil
}

// KeepPromise closes the open promise, if there is one: a person has spoken or written. One that was late stays broken.
func KeepPromise(ctx context.Context, tx pgx.Tx, conversationID, agentID int64) error {
	return closePromise(ctx, tx, conversationID, "agent", &agentID)
}

// ClosePromiseByContact closes the open promise, if there is one: the customer no longer wants a person, or has left.
func ClosePromiseByContact(ctx context.Context, tx pgx.Tx, conversationID int64) error {
	return closePromise(ctx, tx, conversationID, "contact", nil)
}

func closePromise(ctx context.Context, tx pgx.Tx, conversationID int64, by string, agentID *int64) error {
	_, err := tx.Exec(ctx, `update promises set closed_at = clock_timestamp(), closed_by = $2, agent_id = $3,
			broken_at = coalesce(broken_at, case when due_at < clock_timestamp() then due_at end)
		where conversation_id = $1 and closed_at is null`, conversationID, by, agentID)
	if err != nil {
		return fmt.Errorf("close promise: %w", err)
	}
	return nil
}

// Broken is a promise that has just been found broken.
type Broken struct {
	ID        int64
	QueueName string
	Channel   channels.Kind
	OpenedAt  time.Time
	DueAt     time.Time
}

// BreakOverdue marks the conversation's open promise as broken when it is late; nil: it is not, or was marked before.
func BreakOverdue(ctx context.Context, tx pgx.Tx, conversationID int64) (*Broken, error) {
	return one[Broken](ctx, tx, "break promise", `update promises set broken_at = clock_timestamp()
		where conversation_id = $1 and closed_at is null and broken_at is null and due_at < clock_timestamp()
		returning id, queue_name, channel, opened_at, due_at`, conversationID)
}

// BreakPromise closes the open promise as broken: the agent ends the conversation, and no person has said a word. Nil:
// there is none open.
func BreakPromise(ctx context.Context, tx pgx.Tx, conversationID, agentID int64) (*Broken, error) {
	return one[Broken](ctx, tx, "break promise", `update promises set closed_at = clock_timestamp(), closed_by = 'broken', agent_id = $2,
			broken_at = coalesce(broken_at, clock_timestamp())
		where conversation_id = $1 and closed_at is null returning id, queue_name, channel, opened_at, due_at`, conversationID, agentID)
}

// Overdue lists conversations whose promises are late and not yet marked as broken, the latest first.
func Overdue(ctx context.Context, q channels.Querier, limit int) ([]int64, error) {
	rows, err := all[struct{ ConversationID int64 }](ctx, q, "overdue promises", `select conversation_id from promises
		where closed_at is null and broken_at is null and due_at < clock_timestamp() order by due_at limit $1`, limit)
	ids := make([]int64, len(rows))
	for i, row := range rows {
		ids[i] = row.ConversationID
	}
	return ids, err
}

// Raise writes an alarm in the transaction that found its cause; the web hook is told until it has taken it.
func Raise(ctx context.Context, tx pgx.Tx, a Alarm) error {
	_, err := tx.Exec(ctx, `insert into alarms (kind, promise_id, conversation_id, queue_name, channel, words)
		values ($1, nullif($2::bigint, 0), nullif($3::bigint, 0), $4, $5, $6)`, a.Kind, a.PromiseID, a.ConversationID, a.QueueName, a.Channel, a.Words)
	if err != nil {
		return fmt.Errorf("raise alarm: %w", err)
	}
	return nil
}

// Alarm is something that a supervisor must hear of at once.
type Alarm struct {
	Kind           string // one of the kinds below
	PromiseID      int64
	ConversationID int64
	QueueName      string
	Channel        channels.Kind
	Words          string
}

// Kinds of alarms.
const (
	PromiseBroken   = "promise_broken"
	PeopleFirst     = "people_first"
	PeopleFirstOver = "people_first_over"
	CallBackDue     = "call_back_due"    // nobody makes it, and it is about to break
	CallBackFailed  = "call_back_failed" // the customer was not reached in all tries
	VoicemailFailed = "voicemail_failed" // the disk has refused what a caller wanted to leave, or the rest of it
)

// Answered tells whether a person's first word has kept the contact's last promise.
func Answered(ctx context.Context, q channels.Querier, contactID int64) (bool, error) {
	row, err := one[struct{ ClosedBy string }](ctx, q, "answered", `select closed_by from promises where contact_id = $1 order by id desc limit 1`, contactID)
	return row != nil && row.ClosedBy == "agent", err
}
