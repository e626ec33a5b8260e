// Package report answers read-only questions to the database. It is the only place that joins the rooms' tables, so
// that a list, a count and a detail never disagree about what a row means. Every function takes a pool or a
// transaction and stores nothing; its structs are the JSON that server/api/openapi.yaml describes.
package report

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// ConversationRow is what a list shows of a conversation: its own columns that leave the house, and what belongs to it.
type ConversationRow struct {
	channels.Conversation
	ContactName     string     `json:"contact_name" db:"contact_name"` // name, else a phone number, mail address, or "Visitor 12"
	QueueName       string     `json:"queue_name" db:"queue_name"`
	AgentName       string     `json:"agent_name" db:"agent_name"`
	PromiseDueAt    *time.Time `json:"promise_due_at" db:"promise_due_at"`
	PromiseOpenedAt *time.Time `json:"promise_opened_at" db:"promise_opened_at"`
	CallID          *int64     `json:"call_id" db:"call_id"` // the running call
	CallState       string     `json:"call_state" db:"call_state"`
	CallBack        string     `json:"call_back" db:"call_back"`       // the number that was promised to be called; "": none
	CallBackAt      *time.Time `json:"call_back_at" db:"call_back_at"` // not before then
	CallBackTries   int        `json:"call_back_tries" db:"call_back_tries"`
	CallBackLast    string     `json:"call_back_last" db:"call_back_last"` // what became of the last try
	CallBackAlarm   string     `json:"call_back_alarm" db:"call_back_alarm"`
}

// What a ConversationRow's CallBackAlarm says; "": nobody need look.
const (
	CallDue    = "due"    // nobody makes it, and its promise is about to break, or has
	CallFailed = "failed" // nobody was reached in all tries: somebody decides
)

const rowSQL = `select c.id, c.contact_id,
		coalesce(nullif(ct.name, ''), (select a.value from addresses a where a.contact_id = ct.id and a.kind in ('phone', 'email')
			order by a.kind desc, a.id limit 1), 'Visitor ' || ct.id) as contact_name,
		c.queue_id, q.name as queue_name, c.state, c.channel, c.agent_id, coalesce(ag.name, '') as agent_name,
		c.subject, c.summary, c.last_words, c.last_author, c.created_at, c.state_at, c.changed_at, c.waiting_since,
		c.front, c.return_call, c.left_message, c.wrapup_until, c.disposition, c.last_seq,
		p.due_at as promise_due_at, p.opened_at as promise_opened_at, l.id as call_id, coalesce(l.state, '') as call_state,
		coalesce(p.number, '') as call_back, case when isfinite(c.not_before) then c.not_before end as call_back_at, coalesce(p.tries, 0) as call_back_tries,
		coalesce(p.last_try, '') as call_back_last,
		case when p.number = '' or c.state not in ('waiting', 'offered') then '' when p.given_up_at is not null then 'failed' when p.escalated_at is not null then 'due' else '' end as call_back_alarm
	from conversations c join contacts ct on ct.id = c.contact_id join queues q on q.id = c.queue_id
	left join agents ag on ag.id = c.agent_id
	left join promises p on p.conversation_id = c.id and p.closed_at is null
	left join lateral (select id, state from calls where conversation_id = c.id and state <> 'ended' order by id desc limit 1) l on true `

// View is one of the desk's lists.
type View string

const (
	Mine    View = "mine"    // the agent's own work: in conversation and in wrap-up
	Waiting View = "waiting" // in line or ringing, in the agent's queues; a supervisor sees all queues
	All     View = "all"     // everything, the newest change first
	Urgent  View = "urgent"  // call backs of Waiting that somebody must look at now, the first due first
)

const listLimit = 100

// What a view holds. $1 is the agent.
const (
	isMine    = `c.agent_id = $1 and c.state in ('agent', 'wrapup')`
	isWaiting = inLine + ` and (
		exists (select from agents where id = $1 and role <> 'agent') or
		c.queue_id in (select queue_id from agent_queues where agent_id = $1))`
	isUrgent = isWaiting + ` and p.number <> '' and (p.given_up_at is not null or p.escalated_at is not null)`
)

// List returns at most 100 rows of a view as that agent sees it; before pages through All.
func List(ctx context.Context, q channels.Querier, view View, agentID int64, before *time.Time) ([]ConversationRow, error) {
	switch view {
	case Mine:
		return rows[ConversationRow](ctx, q, "my conversations", rowSQL+`where `+isMine+`
			order by coalesce(c.waiting_since, c.state_at), c.id limit $2`, agentID, listLimit)
	case Waiting:
		return rows[ConversationRow](ctx, q, "waiting conversations", rowSQL+`where `+isWaiting+`
			order by coalesce(c.not_before > clock_timestamp(), false), c.front desc, c.return_call desc, coalesce(c.waiting_since, c.state_at), c.id limit $2`, agentID, listLimit)
	case Urgent:
		return rows[ConversationRow](ctx, q, "urgent call backs", rowSQL+`where `+isUrgent+` order by p.due_at, c.id limit $2`, agentID, listLimit)
	case All:
		return rows[ConversationRow](ctx, q, "all conversations", rowSQL+`where $1::timestamptz is null or c.changed_at < $1
			order by c.changed_at desc, c.id desc limit $2`, before, listLimit)
	}
	return nil, channels.FailField(channels.Invalid, "view", "The view is mine, waiting, urgent or all.")
}

// Rows reads the rows of these conversations, in no order; unknown ids have none.
func Rows(ctx context.Context, q channels.Querier, ids []int64) ([]ConversationRow, error) {
	return rows[ConversationRow](ctx, q, "conversation rows", rowSQL+`where c.id = any($1)`, ids)
}

// Counts is how many conversations each view holds; All counts those that are not closed.
type Counts struct {
	Mine    int `json:"mine" db:"mine"`
	Waiting int `json:"waiting" db:"waiting"`
	All     int `json:"all" db:"all"`
}

// Count counts for each of these agents.
func Count(ctx context.Context, q channels.Querier, agentIDs ...int64) (map[int64]Counts, error) {
	list, err := rows[struct {
		AgentID int64
		Counts
	}](ctx, q, "counts", `with line as (select queue_id, count(*) as n from conversations c
				where `+inLine+` group by queue_id),
			open as (select count(*) as n from conversations where state = 'waiting' or state <> 'waiting' and state <> 'closed')
		select a.id as agent_id, (select count(*) from conversations c where c.agent_id = a.id and c.state in ('agent', 'wrapup')) as mine,
			(select coalesce(sum(n), 0)::bigint from line where a.role <> 'agent'
				or line.queue_id in (select queue_id from agent_queues where agent_id = a.id)) as waiting,
			open.n as "all"
		from agents a, open where a.id = any($1)`, agentIDs)
	counts := make(map[int64]Counts, len(list))
	for _, row := range list {
		counts[row.AgentID] = row.Counts
	}
	return counts, err
}

// ConversationDetail is one conversation with its contact.
type ConversationDetail struct {
	Conversation ConversationRow    `json:"conversation"`
	Contact      channels.Contact   `json:"contact"`
	Addresses    []channels.Address `json:"addresses"`
	Earlier      []ConversationRow  `json:"earlier"` // other conversations of the contact
	Calls        []channels.Call    `json:"calls"`
	Recordings   []Recording        `json:"recordings"` // of those calls
	Card         *channels.Card     `json:"card"`       // the hand-over; nil while it was never on its way to a person
}

const earlierLimit = 20

// Detail reads one conversation; not_found when there is none.
func Detail(ctx context.Context, q channels.Querier, id int64) (*ConversationDetail, error) {
	row, err := Rows(ctx, q, []int64{id})
	if err != nil {
		return nil, err
	}
	if len(row) == 0 {
		return nil, noSuchConversation()
	}
	d := &ConversationDetail{Conversation: row[0]}
	contact, err := rows[channels.Contact](ctx, q, "contact", `select id, name, created_at, people_only from contacts where id = $1`, row[0].ContactID)
	if err != nil {
		return nil, err
	}
	if len(contact) == 0 {
		return nil, noSuchConversation()
	}
	d.Contact = contact[0]
	if d.Addresses, err = Addresses(ctx, q, row[0].ContactID); err != nil {
		return nil, err
	}
	if d.Earlier, err = rows[ConversationRow](ctx, q, "earlier conversations", rowSQL+`where c.contact_id = $1 and c.id <> $2
		order by c.id desc limit $3`, row[0].ContactID, id, earlierLimit); err != nil {
		return nil, err
	}
	d.Calls, err = rows[channels.Call](ctx, q, "calls", `select `+callColumns+` from calls where conversation_id = $1 order by id`, id)
	if err != nil {
		return nil, err
	}
	if d.Card, err = Card(ctx, q, id); err != nil {
		return nil, err
	}
	d.Recordings, err = rows[Recording](ctx, q, "recordings", `select `+recordingColumns+` from recordings r where conversation_id = $1 order by id`, id)
	return d, err
}

// Addresses lists the contact's addresses, the oldest first.
func Addresses(ctx context.Context, q channels.Querier, contactID int64) ([]channels.Address, error) {
	return rows[channels.Address](ctx, q, "addresses", `select kind, value from addresses where contact_id = $1 order by id`, contactID)
}

const callColumns = `id, conversation_id, direction, from_address, to_address, sip_call_id, node_id, agent_id, media, state,
	started_at, bridged_at, ended_at, result, reason, stats`

// MessagesLimit is how many messages one question returns at most.
const MessagesLimit = 500

// Messages returns messages oldest first: those with seq > after, else the last ones with seq < before, else the newest.
func Messages(ctx context.Context, q channels.Querier, conversationID int64, after, before *int64, limit int) ([]channels.Message, error) {
	const columns = `id, conversation_id, seq, author, agent_id, channel, kind, body, private, client_id, data, at`
	limit = min(max(limit, 1), MessagesLimit)
	var list []channels.Message
	var err error
	if after != nil {
		list, err = rows[channels.Message](ctx, q, "messages", `select `+columns+` from messages
			where conversation_id = $1 and seq > $2 and ($3::bigint is null or seq < $3) order by seq limit $4`, conversationID, *after, before, limit)
	} else {
		list, err = rows[channels.Message](ctx, q, "messages", `select * from (select `+columns+` from messages
			where conversation_id = $1 and ($2::bigint is null or seq < $2) order by seq desc limit $3) m order by seq`, conversationID, before, limit)
	}
	if err != nil || len(list) > 0 {
		return list, err
	}
	known, err := rows[struct{ ID int64 }](ctx, q, "conversation", `select id from conversations where id = $1`, conversationID)
	if err == nil && len(known) == 0 {
		err = noSuchConversation()
	}
	return list, err
}

// LastSeqs reads how far each of these conversations has come.
func LastSeqs(ctx context.Context, q channels.Querier, ids []int64) (map[int64]int64, error) {
	list, err := rows[struct{ ID, LastSeq int64 }](ctx, q, "last seqs", `select id, last_seq from conversations where id = any($1)`, ids)
	seqs := make(map[int64]int64, len(list))
	for _, row := range list {
		seqs[row.ID] = row.LastSeq
	}
	return seqs, err
}

func noSuchConversation() error {
	return channels.Fail(channels.NotFound, "There is no such conversation.")
}

func rows[T any](ctx context.Context, q channels.Querier, what, sql string, args ...any) ([]T, error) {
	r, err := q.Query(ctx, sql, args...)
	if err == nil {
		list := []T{} // never nil: an empty list is [] in JSON
		if list, err = pgx.AppendRows(list, r, pgx.RowToStructByNameLax[T]); err == nil {
			return list, nil
		}
	}
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}
