package agents

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// The error budget of a queue: of its promises in hours so many per cent may be broken. While more than that was broken
// within the last hour, the responder steps back and people come first, where there are people.

// Budget is one queue's last hour. What is open and late counts as broken; synthetic customers do not count, nor do those
// whom a burning budget itself brought to people: they had not asked.
type Budget struct {
	QueueID   int64
	QueueName string
	Share     int // per cent that must be kept
	Promises  int // due within the hour
	Broken    int
	Burning   bool // people come first now
}

const (
	burnFrom = 2.0 // times the budget: people first
	burnTo   = 1.0 // back within the budget: the responder answers again
	burnMin  = 2   // a single broken promise is a broken promise, not a trend
)

// Burn is how many times its budget the queue has used in the hour: 1 is all of it.
func (b Budget) Burn() float64 {
	if b.Promises == 0 {
		return 0
	}
	return float64(100*b.Broken) / float64(b.Promises*(100-b.Share))
}

// Next tells whether people come first from now on. Between the two limits it stays as it is.
func (b Budget) Next() bool {
	switch burn := b.Burn(); {
	case b.Broken >= burnMin && burn >= burnFrom:
		return true
	case burn <= burnTo:
		return false
	}
	return b.Burning
}

// Why says it in words.
func (b Budget) Why() string {
	return fmt.Sprintf("%d of %d promises of the last hour were broken; %d %% must be kept.", b.Broken, b.Promises, b.Share)
}

// Budgets reads all queues'.
func Budgets(ctx context.Context, q channels.Querier) ([]Budget, error) {
	return all[Budget](ctx, q, "error budgets", `select q.id as queue_id, q.name as queue_name, q.promise_share as share,
			count(p.id)::int as promises, (count(p.id) filter (where p.broken_at is not null or p.closed_at is null))::int as broken,
			f.queue_id is not null as burning
		from queues q left join people_first f on f.queue_id = q.id
		left join promises p on p.queue_id = q.id and p.in_hours and not p.synthetic and p.source <> 'people_first' and (p.closed_by <> 'contact' or p.broken_at is not null)
			and p.due_at between clock_timestamp() - interval '1 hour' and clock_timestamp()
		group by q.id, f.queue_id order by q.id`)
}

// SetPeopleFirst turns a queue's people first on or off, with an alarm; false: it was so already.
func SetPeopleFirst(ctx context.Context, tx pgx.Tx, b Budget, on bool) (changed bool, err error) {
	kind, words := PeopleFirstOver, b.QueueName+": the responder answers first again. "+b.Why()
	sql, args := `delete from people_first where queue_id = $1`, []any{b.QueueID}
	if on {
		kind, words = PeopleFirst, b.QueueName+": people first, the responder steps back. "+b.Why()
		sql, args = `insert into people_first (queue_id, why) values ($1, $2) on conflict do nothing`, append(args, b.Why())
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return false, fmt.Errorf("people first: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	return true, Raise(ctx, tx, Alarm{Kind: kind, QueueName: b.QueueName, Words: words})
}

// PeopleFirstNow says why the queue's people come before the responder; "": they do not, or nobody of them is at the desk.
// Then the responder is better than nobody.
func PeopleFirstNow(ctx context.Context, q channels.Querier, queueID int64) (why string, err error) {
	row, err := one[struct{ Why string }](ctx, q, "people first", `select f.why from people_first f where f.queue_id = $1 and exists (
		select from agents a join agent_queues m on m.agent_id = a.id where m.queue_id = f.queue_id and a.presence = 'available' and `+atDesk+`)`, queueID)
	if err != nil || row == nil {
		return "", err
	}
	return row.Why, nil
}
