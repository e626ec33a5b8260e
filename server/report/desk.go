package report

import (
	"context"
	"time"

	"patchbay/channels"
)

// Queue is a queue with how many wait in it, those who ring included.
type Queue struct {
	ID                 int64  `json:"id" db:"id"`
	Name               string `json:"name" db:"name"`
	Waiting            int    `json:"waiting" db:"waiting"`
	LongestWaitSeconds int    `json:"longest_wait_seconds" db:"longest_wait_seconds"`
}

// inLine is true in SQL for a conversations row c that waits or rings. An index serves each half of it (0013_heads.sql).
const inLine = `(c.state = 'waiting' or c.state = 'offered')`

// Queues lists all queues by name.
func Queues(ctx context.Context, q channels.Querier) ([]Queue, error) {
	return rows[Queue](ctx, q, "queues", `select q.id, q.name, count(c.id) as waiting,
			greatest(0, coalesce(extract(epoch from clock_timestamp() - min(coalesce(c.waiting_since, c.state_at))), 0))::int as longest_wait_seconds
		from queues q left join conversations c on c.queue_id = q.id and `+inLine+`
		group by q.id order by q.name`)
}

// online is true in SQL for an agents row a with a tab open on a living node (unseen for 10 s means dead).
const online = `exists (select from agent_sockets s join nodes n on n.id = s.node_id where s.agent_id = a.id
	and n.stopped_at is null and n.seen_at > clock_timestamp() - interval '10 seconds')`

// Colleague is an agent as the others see it.
type Colleague struct {
	ID             int64     `json:"id" db:"id"`
	Name           string    `json:"name" db:"name"`
	Presence       string    `json:"presence" db:"presence"`
	PresenceReason string    `json:"presence_reason" db:"presence_reason"`
	PresenceAt     time.Time `json:"presence_at" db:"presence_at"`
	Online         bool      `json:"online" db:"online"`
}

// Colleagues lists all agents by name.
func Colleagues(ctx context.Context, q channels.Querier) ([]Colleague, error) {
	return rows[Colleague](ctx, q, "colleagues", `select a.id, a.name, a.presence, a.presence_reason, a.presence_at, `+online+` as online
		from agents a order by a.name, a.id`)
}

// Profile is an agent as it sees itself, without what rings and what it speaks on.
type Profile struct {
	ID             int64     `db:"id"`
	Login          string    `db:"login"`
	Name           string    `db:"name"`
	Role           string    `db:"role"`
	Presence       string    `db:"presence"`
	PresenceReason string    `db:"presence_reason"`
	PresenceAt     time.Time `db:"presence_at"`
	QueueIDs       []int64   `db:"queue_ids"`
	HasPassword    bool      `db:"has_password"`
	NextPresence   string    `db:"next_presence"` // when the work in hand is done; "": as now
	NextReason     string    `db:"next_reason"`
}

// MyCall is the running call that an agent takes part in.
type MyCall struct {
	channels.Call
	Role string `db:"role"` // agent, consulted, supervisor
}

// Me reads an agent's profile and its running call, nil when there is none; not_found for an unknown agent.
func Me(ctx context.Context, q channels.Querier, agentID int64) (*Profile, *MyCall, error) {
	list, err := rows[Profile](ctx, q, "profile", `select id, login, name, role, presence, presence_reason, presence_at,
			array(select queue_id from agent_queues where agent_id = a.id order by queue_id) as queue_ids, password_hash <> '' as has_password,
			coalesce(next_presence, '') as next_presence, next_reason
		from agents a where id = $1`, agentID)
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, channels.Fail(channels.NotFound, "There is no such agent.")
	}
	// By the conversation, as the call learns its agent only when the browser has connected; or as a guest in a colleague's.
	calls, err := rows[MyCall](ctx, q, "my call", `select `+callColumns+`, role from (
			select l.*, 'agent' as role from conversations c join calls l on l.conversation_id = c.id
				where c.agent_id = $1 and c.state = 'agent' and l.state <> 'ended'
			union all select l.*, p.role from call_parties p join calls l on l.id = p.call_id
				where p.agent_id = $1 and l.state <> 'ended') mine order by id desc limit 1`, agentID)
	if err != nil || len(calls) == 0 {
		return &list[0], nil, err
	}
	return &list[0], &calls[0], nil
}
