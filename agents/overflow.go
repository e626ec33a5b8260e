package agents

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// When a line takes too long: which rule of its queue a waiting conversation has come to. The flow carries it out
// (switchboard), as the customer is told; whatever a rule does, the conversation stays in a line, with its promise.

// Overflowing is a conversation that a rule of its queue has come to.
type Overflowing struct {
	ConversationID int64
	RuleID         int64
	Cause          string
	Action         string
	Words          string
	ToQueueID      int64 // of ToQueue
	ToQueueName    string
	QueueName      string
	Waited         int // seconds
	Ahead          int // of CauseLength: conversations before it
}

// Overflows lists at most limit conversations that a rule has come to and has not acted on in this wait, the rules of each
// in the order of their thresholds. The limit
// and the second of the sweep spread a long line that comes to a rule at once.
func Overflows(ctx context.Context, q channels.Querier, limit int) ([]Overflowing, error) {
	return all[Overflowing](ctx, q, "overflowing", `with rules as (select o.*, q.name as queue_name from queue_overflows o join queues q on q.id = o.queue_id),
		there as (select distinct m.queue_id from agent_queues m join agents a on a.id = m.agent_id
			where m.queue_id in (select queue_id from rules where cause = 'nobody') and a.presence = 'available' and `+atDesk+`),
		line as (select l.* from (select distinct queue_id from rules) r cross join lateral (
			select c.id, c.queue_id, c.waiting_since, extract(epoch from clock_timestamp() - c.waiting_since)::int as waited,
				row_number() over (order by c.front desc, c.return_call desc, c.waiting_since, c.id) - 1 as ahead
			from conversations c where c.state = 'waiting' and c.queue_id = r.queue_id and `+inTurn(`c`)+`) l)
		select l.id as conversation_id, r.id as rule_id, r.cause, r.action, r.words, coalesce(r.to_queue_id, 0) as to_queue_id,
			coalesce((select name from queues where id = r.to_queue_id), '') as to_queue_name, r.queue_name, l.waited, l.ahead::int as ahead
		from line l join rules r on r.queue_id = l.queue_id
		where case r.cause when 'wait' then l.waited >= r.threshold when 'length' then l.ahead >= r.threshold
				else l.waited >= r.threshold and r.queue_id not in (select queue_id from there) end
			and not exists (select from overflows_done d where d.conversation_id = l.id and d.overflow_id = r.id and d.waiting_since = l.waiting_since)
		order by l.waited desc, l.id, r.threshold limit $1`, limit)
}

// TakeOverflow notes, in the transaction that carries the rule out, that it has acted in this wait; false when the
// conversation no longer waits in that queue, or another node was faster. The caller has locked the conversation.
func TakeOverflow(ctx context.Context, tx pgx.Tx, o Overflowing) (bool, error) {
	tag, err := tx.Exec(ctx, `insert into overflows_done (conversation_id, overflow_id, waiting_since)
		select c.id, r.id, c.waiting_since from conversations c join queue_overflows r on r.id = $2 and r.queue_id = c.queue_id
		where c.id = $1 and c.state = 'waiting' and c.waiting_since is not null on conflict do nothing`, o.ConversationID, o.RuleID)
	if err != nil {
		return false, fmt.Errorf("take overflow: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// Reason is the cause in words, for the timeline.
func (o Overflowing) Reason() string {
	switch o.Cause {
	case CauseLength:
		return fmt.Sprintf("%s before it in %s", count(o.Ahead, "conversation"), o.QueueName)
	case CauseNobody:
		return "nobody of " + o.QueueName + " is at the desk"
	}
	return fmt.Sprintf("it has waited %s in %s", ago(seconds(o.Waited)), o.QueueName)
}
