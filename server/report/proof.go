package report

import (
	"context"
	"time"

	"patchbay/channels"
)

// The proof: what became of every wish for a person. It is counted from the promises' own rows, so that a figure on a
// screen, in a file and in an alarm are the same.

// Times are seconds from the wish; null where nothing was measured. A percentile is a time that really was: no figure lies
// between two.
type Times struct {
	P50 *float64 `json:"p50"`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
}

// ProofRow is one queue and channel, or one channel's synthetic customer.
type ProofRow struct {
	QueueName string `json:"queue_name" db:"queue_name"`
	Channel   string `json:"channel" db:"channel"`
	Target    int    `json:"target_seconds" db:"target_seconds"` // of the newest promise
	Wishes    int    `json:"wishes" db:"wishes"`                 // of customers; not those whom people-first brought
	InHours   int    `json:"in_hours" db:"in_hours"`             // of them; times and the share are theirs
	Open      int    `json:"open" db:"open"`
	Kept      int    `json:"kept" db:"kept"`
	Broken    int    `json:"broken" db:"broken"` // late, or ended without a word; open ones too
	Left      int    `json:"left" db:"left_"`    // the customer went on without a person, in time
	// Share is kept / (kept + broken) in hours, in per cent; null: none is decided yet.
	Share        *float64 `json:"share" db:"share"`
	Acknowledged Times    `json:"acknowledged" db:"-"` // the customer was told
	Offered      Times    `json:"offered" db:"-"`      // it rang at an agent
	FirstWord    Times    `json:"first_word" db:"-"`   // a person's, typed or heard
}

type proofRow struct {
	ProofRow
	Synthetic        bool
	Acks, Rang, Said []*float64
}

// ProofDay is a day's (UTC) customers' promises in hours, all queues and channels together.
type ProofDay struct {
	Day    string   `json:"day" db:"day"` // 2026-11-22, of the wish
	Kept   int      `json:"kept" db:"kept"`
	Broken int      `json:"broken" db:"broken"`
	Share  *float64 `json:"share" db:"share"` // per cent kept
	P50    *float64 `json:"p50" db:"p50"`     // seconds to a person's first word
	P95    *float64 `json:"p95" db:"p95"`
}

const daysSQL = `select to_char(opened_at at time zone 'UTC', 'YYYY-MM-DD') as day,
		(count(*) filter (where closed_by = 'agent' and not bad))::int as kept, (count(*) filter (where bad))::int as broken,
		100.0::float8 * count(*) filter (where closed_by = 'agent' and not bad) / count(*) as share,
		percentile_disc(0.5) within group (order by said::float8) as p50, percentile_disc(0.95) within group (order by said::float8) as p95
	from (select opened_at, closed_by, case when closed_by = 'agent' then extract(epoch from closed_at - opened_at) end as said,
			broken_at is not null or closed_at is null and due_at < clock_timestamp() as bad
		from promises where opened_at >= $1 and opened_at < $2 and in_hours and not synthetic and source <> 'people_first') p
	where bad or closed_by = 'agent' group by 1 order by 1`

// Unmeasured is a channel by which the synthetic customer does not come.
type Unmeasured struct {
	Channel string `json:"channel"`
	Why     string `json:"why"`
}

// ModelRow is the responder's share beside the people's: it never stands alone.
type ModelRow struct {
	QueueName     string   `json:"queue_name" db:"queue_name"`
	Channel       string   `json:"channel" db:"channel"`
	Conversations int      `json:"conversations" db:"conversations"`
	Alone         int      `json:"alone" db:"alone"` // the responder answered, nobody was wished for and no person took part
	Share         *float64 `json:"share" db:"share"` // per cent
}

// BudgetRow is a queue's error budget: the month's, and how fast it burns now.
type BudgetRow struct {
	QueueName string     `json:"queue_name" db:"queue_name"`
	Share     int        `json:"share" db:"share"`               // per cent that must be kept in hours
	Promises  int        `json:"promises" db:"promises"`         // decided in the period
	Allowed   float64    `json:"allowed" db:"allowed"`           // of them that may be broken
	Broken    int        `json:"broken" db:"broken"`             //
	Used      *float64   `json:"used" db:"used"`                 // per cent of the budget; null: there is none yet
	HourBurn  float64    `json:"hour_burn" db:"hour_burn"`       // times the budget, of the promises due in the last hour
	Since     *time.Time `json:"people_first" db:"people_first"` // the responder steps back since then
	Why       string     `json:"why" db:"why"`
}

// Proof is the whole page.
type Proof struct {
	From      time.Time  `json:"from"`
	To        time.Time  `json:"to"`
	Rows      []ProofRow `json:"rows"`
	Synthetic []ProofRow `json:"synthetic"`
	// Unmeasured are channels without a synthetic customer: no news of them is no good news. As the house is set now.
	Unmeasured []Unmeasured `json:"unmeasured"`
	Days       []ProofDay   `json:"days"` // those with a decided promise, the oldest first
	Model      []ModelRow   `json:"model"`
	Budgets    []BudgetRow  `json:"budgets"`
}

const proofSQL = `with p as (
		select p.*, extract(epoch from coalesce(p.acknowledged_at, case when p.channel = 'email' then (
				select min(m.sent_at) from mails_out m where m.conversation_id = p.conversation_id and m.created_at >= p.opened_at - interval '1 s') end) - p.opened_at) as ack,
			extract(epoch from (select min(o.offered_at) from offers o where o.conversation_id = p.conversation_id and o.offered_at >= p.opened_at
				and o.offered_at <= coalesce(p.closed_at, o.offered_at)) - p.opened_at) as rang,
			case when p.closed_by = 'agent' then extract(epoch from p.closed_at - p.opened_at) end as said,
			p.broken_at is not null or p.closed_at is null and p.due_at < clock_timestamp() as bad
		from promises p where p.opened_at >= $1 and p.opened_at < $2 and p.source <> 'people_first')
	select queue_name, channel, synthetic, max(extract(epoch from due_at - opened_at)) filter (where in_hours)::int as target_seconds,
		count(*)::int as wishes, (count(*) filter (where in_hours))::int as in_hours,
		(count(*) filter (where closed_at is null and not bad))::int as open,
		(count(*) filter (where closed_by = 'agent' and not bad))::int as kept,
		(count(*) filter (where bad))::int as broken,
		(count(*) filter (where closed_by = 'contact' and not bad))::int as left_,
		100.0::float8 * count(*) filter (where in_hours and closed_by = 'agent' and not bad)
			/ nullif(count(*) filter (where in_hours and (bad or closed_by = 'agent')), 0) as share,
		percentile_disc(array[0.5, 0.95, 0.99]) within group (order by ack::float8) filter (where in_hours) as acks,
		percentile_disc(array[0.5, 0.95, 0.99]) within group (order by rang::float8) filter (where in_hours) as rang,
		percentile_disc(array[0.5, 0.95, 0.99]) within group (order by said::float8) filter (where in_hours) as said
	from p group by queue_name, channel, synthetic order by synthetic, queue_name, channel`

// ReadProof counts the wishes of a period, from its beginning to before its end.
func ReadProof(ctx context.Context, q channels.Querier, from, to time.Time) (*Proof, error) {
	p := &Proof{From: from, To: to, Rows: []ProofRow{}, Synthetic: []ProofRow{}, Unmeasured: []Unmeasured{}}
	list, err := rows[proofRow](ctx, q, "proof", `select queue_name, channel, coalesce(target_seconds, 0) as target_seconds, wishes, in_hours, open, kept, broken, left_, share,
		synthetic, acks, rang, said from (`+proofSQL+`) p`, from, to)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		r.Acknowledged, r.Offered, r.FirstWord = times(r.Acks), times(r.Rang), times(r.Said)
		if r.Synthetic {
			p.Synthetic = append(p.Synthetic, r.ProofRow)
		} else {
			p.Rows = append(p.Rows, r.ProofRow)
		}
	}
	if p.Days, err = rows[ProofDay](ctx, q, "days", daysSQL, from, to); err != nil {
		return nil, err
	}
	p.Model, err = rows[ModelRow](ctx, q, "the model's share", `with c as (
			select q.name, c.channel, exists (select from messages m where m.conversation_id = c.id and m.author = 'ai')
				and not exists (select from promises p where p.conversation_id = c.id)
				and not exists (select from messages m where m.conversation_id = c.id and m.author = 'agent' and not m.private) as alone
			from conversations c join queues q on q.id = c.queue_id join contacts t on t.id = c.contact_id
			where c.created_at >= $1 and c.created_at < $2 and not t.synthetic)
		select name as queue_name, channel, count(*)::int as conversations, (count(*) filter (where alone))::int as alone,
			100.0::float8 * count(*) filter (where alone) / nullif(count(*), 0) as share
		from c group by name, channel order by name, channel`, from, to)
	if err != nil {
		return nil, err
	}
	p.Budgets, err = rows[BudgetRow](ctx, q, "budgets", `with p as (select p.*, p.broken_at is not null or p.closed_at is null and p.due_at < clock_timestamp() as bad
			from promises p where p.in_hours and not p.synthetic and p.source <> 'people_first'),
		n as (select q.id, q.name, q.promise_share,
			count(*) filter (where p.opened_at >= $1 and p.opened_at < $2 and (p.bad or p.closed_by = 'agent')) as promises,
			count(*) filter (where p.opened_at >= $1 and p.opened_at < $2 and p.bad) as broken,
			count(*) filter (where p.due_at between clock_timestamp() - interval '1 hour' and clock_timestamp() and (p.bad or p.closed_by = 'agent')) as hour_all,
			count(*) filter (where p.due_at between clock_timestamp() - interval '1 hour' and clock_timestamp() and p.bad) as hour_broken
			from queues q left join p on p.queue_id = q.id group by q.id)
		select n.name as queue_name, n.promise_share as share, n.promises::int, n.broken::int, (n.promises * (100 - n.promise_share) / 100.0)::float8 as allowed,
			(100.0 * 100 * n.broken / nullif(n.promises * (100 - n.promise_share), 0))::float8 as used,
			coalesce(100.0 * n.hour_broken / nullif(n.hour_all * (100 - n.promise_share), 0), 0)::float8 as hour_burn,
			f.since as people_first, coalesce(f.why, '') as why
		from n left join people_first f on f.queue_id = n.id order by n.name`, from, to)
	return p, err
}

func times(p []*float64) (t Times) {
	if len(p) == 3 {
		t = Times{p[0], p[1], p[2]}
	}
	return t
}

// LatePromise is one that is broken and still owed: the customer waits.
type LatePromise struct {
	ConversationID int64     `json:"conversation_id" db:"conversation_id"`
	ContactName    string    `json:"contact_name" db:"contact_name"`
	QueueName      string    `json:"queue_name" db:"queue_name"`
	Channel        string    `json:"channel" db:"channel"`
	State          string    `json:"state" db:"state"`
	OpenedAt       time.Time `json:"opened_at" db:"opened_at"`
	DueAt          time.Time `json:"due_at" db:"due_at"`
	Synthetic      bool      `json:"synthetic" db:"synthetic"`
}

// Late lists at most 100 broken promises that are still owed, the longest overdue first.
func Late(ctx context.Context, q channels.Querier) ([]LatePromise, error) {
	return rows[LatePromise](ctx, q, "late promises", `select p.conversation_id, r.contact_name, p.queue_name, p.channel, r.state, p.opened_at, p.due_at, p.synthetic
		from promises p join (`+rowSQL+`where c.id in (select conversation_id from promises where closed_at is null and broken_at is not null)) r
		on r.id = p.conversation_id where p.closed_at is null and p.broken_at is not null order by p.due_at limit 100`)
}

// AlarmRow is an alarm of the last days.
type AlarmRow struct {
	ID             int64      `json:"id" db:"id"`
	At             time.Time  `json:"at" db:"at"`
	Kind           string     `json:"kind" db:"kind"`
	ConversationID *int64     `json:"conversation_id" db:"conversation_id"`
	QueueName      string     `json:"queue_name" db:"queue_name"`
	Channel        string     `json:"channel" db:"channel"`
	Words          string     `json:"words" db:"words"`
	DeliveredAt    *time.Time `json:"delivered_at" db:"delivered_at"` // by the web hook
	Error          string     `json:"error" db:"error"`               // of its last try
}

// Alarms lists the newest 50.
func Alarms(ctx context.Context, q channels.Querier) ([]AlarmRow, error) {
	return rows[AlarmRow](ctx, q, "alarms", `select id, at, kind, conversation_id, queue_name, channel, words, delivered_at, error from alarms order by id desc limit 50`)
}
