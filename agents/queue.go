package agents

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// deskRow is a candidate as the database sees it.
type deskRow struct {
	ID        int64     `db:"id"`
	Queues    []int64   `db:"queues"`
	Free      bool      `db:"free"`
	IdleSince time.Time `db:"idle_since"`
}

// freeSQL tells in SQL whether an agents row a can be asked: no open offer, no live call, own or a colleague's, not in the
// wrap-up of a call, and fewer conversations in hand than the agent's capacity.
const freeSQL = `(not exists (select from offers o where o.agent_id = a.id and o.outcome is null)
			and not exists (select from conversations c where c.agent_id = a.id and c.state in ('agent', 'wrapup')
				and (c.state = 'wrapup' and c.channel = 'voice'
					or exists (select from calls l where l.conversation_id = c.id and l.state <> 'ended')))
			and not exists (select from call_parties p join calls l on l.id = p.call_id where p.agent_id = a.id and l.state <> 'ended')
			and (select count(*) from conversations c where c.agent_id = a.id and c.state in ('agent', 'wrapup')) < a.capacity)`

// atTheDesk reads who is present, all of them or one.
func atTheDesk(ctx context.Context, q channels.Querier, only *int64) ([]candidate, error) {
	rows, err := all[deskRow](ctx, q, "who is at the desk", `select a.id, a.idle_since,
			array(select queue_id from agent_queues aq where aq.agent_id = a.id) as queues,
			`+freeSQL+` as free
		from agents a where a.presence = 'available' and `+atDesk+` and ($1::bigint is null or a.id = $1)`, only)
	desk := make([]candidate, len(rows))
	for i, row := range rows {
		desk[i] = candidate(row)
	}
	return desk, err
}

// lineRow is a conversation in line as the database sees it.
type lineRow struct {
	ID         int64     `db:"id"`
	QueueID    int64     `db:"queue_id"`
	QueueName  string    `db:"queue_name"`
	Front      bool      `db:"front"`
	ReturnCall bool      `db:"return_call"`
	Since      time.Time `db:"since"`
	Wanted     int64     `db:"wanted"`
	PassedBy   int64     `db:"passed_by"`
}

type refusalRow struct {
	ConversationID int64     `db:"conversation_id"`
	AgentID        int64     `db:"agent_id"`
	At             time.Time `db:"at"`
}

// head reads the first conversations in line of each queue, limit of each, and those that a transfer has for one of the
// free agents, with who refused them lately.
func head(ctx context.Context, q channels.Querier, queues, free []int64, limit int) ([]waiting, error) {
	rows, err := all[lineRow](ctx, q, "waiting line", `select c.id, c.queue_id, q.name as queue_name, c.front, c.return_call,
			coalesce(c.waiting_since, c.state_at) as since, coalesce(c.wanted_agent_id, 0) as wanted, coalesce(c.passed_by_id, 0) as passed_by
		from (select w.* from unnest($1::bigint[]) f (queue_id)
				cross join lateral (select * from conversations w where w.queue_id = f.queue_id and w.state = 'waiting'
					order by w.front desc, w.return_call desc, w.waiting_since, w.id limit $2) w
			union select w.* from conversations w where w.state = 'waiting' and (w.wanted_agent_id = any($3) or w.passed_by_id = any($3))) c
		join queues q on q.id = c.queue_id`, queues, limit, free)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	line := make([]waiting, len(rows))
	ids := make([]int64, len(rows))
	byID := make(map[int64]*waiting, len(rows))
	for i, row := range rows {
		line[i] = waiting{ID: row.ID, QueueID: row.QueueID, QueueName: row.QueueName, Front: row.Front,
			ReturnCall: row.ReturnCall, Since: row.Since, Wanted: row.Wanted, PassedBy: row.PassedBy, Refused: map[int64]time.Time{}}
		ids[i], byID[row.ID] = row.ID, &line[i]
	}
	refusals, err := all[refusalRow](ctx, q, "refusals", `select conversation_id, agent_id, max(ended_at) as at from offers
		where conversation_id = any($1) and outcome in ('declined', 'missed') and ended_at > clock_timestamp() - $2::interval
		group by conversation_id, agent_id`, ids, refusedFor)
	for _, row := range refusals {
		byID[row.ConversationID].Refused[row.AgentID] = row.At
	}
	return line, err
}

// freeQueues lists the queues in which somebody is free, and who is.
func freeQueues(desk []candidate) (queues, free []int64) {
	for _, c := range desk {
		if c.Free {
			free = append(free, c.ID)
			queues = append(queues, c.Queues...)
		}
	}
	slices.Sort(queues)
	return slices.Compact(queues), free
}

// claim takes a waiting conversation and a free agent for this transaction; false when either is in other hands.
func claim(ctx context.Context, tx pgx.Tx, a assignment) (bool, error) {
	ids, err := all[struct{ ID, QueueID int64 }](ctx, tx, "claim conversation",
		`select id, queue_id from conversations where id = $1 and state = 'waiting' for update skip locked`, a.ConversationID)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	free, err := all[struct{ ID int64 }](ctx, tx, "claim agent", `select id from agents where id = $1 for update skip locked`, a.AgentID)
	if err != nil || len(free) == 0 {
		return false, err
	}
	desk, err := atTheDesk(ctx, tx, &a.AgentID)
	if err != nil || len(desk) == 0 {
		return false, err
	}
	return desk[0].Free && (a.Favoured || slices.Contains(desk[0].Queues, ids[0].QueueID)), nil
}
