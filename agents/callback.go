package agents

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/sentences"
)

// A call back is a promise with a number: the customer has hung up, or never phoned, and keeps the place in line. It is
// offered like every conversation, not before its time, and who accepts it is connected with the customer by the telephone
// itself. A try that reaches nobody is made again; before the promise breaks, and after the last try, a supervisor is told.

// CallBack is the promise of a call. Number is "" where the customer waits in line, or chats.
type CallBack struct {
	Number    string     // E.164
	NotBefore *time.Time // the appointment, or the next try; nil: at its turn
	GivenUp   bool       // after the last try: a supervisor decides
	Appointed bool       // the customer has chosen the time
	Tries     int
	LastTry   string // what became of it
}

const callBackColumns = `coalesce(p.number, '') as number, case when isfinite(c.not_before) then c.not_before end as not_before,
	p.given_up_at is not null as given_up, p.appointment_at is not null and p.tries = 0 as appointed, coalesce(p.tries, 0) as tries,
	coalesce(p.last_try, '') as last_try`

// inTurn tells in SQL whether a conversations row of that name counts in the line now: a call back whose time has not come does
// not keep others waiting.
func inTurn(c string) string { return `coalesce(` + c + `.not_before <= clock_timestamp(), true)` }

// by is how the customer is served: a call back is a call, wherever it was asked for.
func (w *waiting) by() channels.Kind {
	if w.Number != "" {
		return channels.Voice
	}
	return w.Channel
}

// later tells whether a call back's time has not come.
func (cb CallBack) later(now time.Time) bool {
	return cb.GivenUp || cb.NotBefore != nil && now.Before(*cb.NotBefore)
}

// kind is what it is, in an offer's words.
func (cb CallBack) kind() string {
	switch {
	case cb.Tries > 0:
		return "a call back, " + ordinal(cb.Tries+1) + " try"
	case cb.Appointed:
		return "a call back by appointment"
	}
	return "a call back"
}

// waits says why it is not offered yet.
func (cb CallBack) waits(r *rule) string {
	switch {
	case cb.GivenUp:
		return fmt.Sprintf("The customer was not reached in %s (%s): a supervisor decides.", tries(cb.Tries), cb.LastTry)
	case cb.Tries > 0:
		return fmt.Sprintf("%s try not before %s: %s.", ordinal(cb.Tries+1), r.clock(*cb.NotBefore), cb.LastTry)
	}
	return "Not before " + r.clock(*cb.NotBefore) + ": the customer's choice."
}

func tries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}

func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}

// clock is a moment in the queue's zone.
func (r *rule) clock(t time.Time) string {
	return t.In(r.Hours.location()).Format("Mon 2 Jan, 15:04")
}

// PromiseCall makes the conversation's open promise one to call that number, at the customer's turn or not before at. The
// caller has put the conversation in line, in tx. Due is when a person's word is owed then.
func PromiseCall(ctx context.Context, tx pgx.Tx, conversationID int64, number string, at *time.Time) (due time.Time, err error) {
	err = tx.QueryRow(ctx, `update promises p set number = $2, appointment_at = $3::timestamptz, place_since = coalesce(c.waiting_since, p.opened_at), tries = 0, tried_at = null,
			last_try = '', escalated_at = null, given_up_at = null,
			due_at = coalesce($3::timestamptz + make_interval(secs => q.promise_seconds), p.due_at)
		from conversations c join queues q on q.id = c.queue_id where c.id = $1 and p.conversation_id = c.id and p.closed_at is null returning p.due_at`,
		conversationID, number, at).Scan(&due)
	if err != nil {
		return due, fmt.Errorf("promise a call: %w", err)
	}
	return due, notBefore(ctx, tx, conversationID, at)
}

func notBefore(ctx context.Context, tx pgx.Tx, conversationID int64, at *time.Time) error {
	if _, err := tx.Exec(ctx, `update conversations set not_before = $2::timestamptz where id = $1`, conversationID, at); err != nil {
		return fmt.Errorf("time of a call: %w", err)
	}
	return nil
}

// OpenCallBack reads the conversation's promise of a call; nil: there is none.
func OpenCallBack(ctx context.Context, q channels.Querier, conversationID int64) (*CallBack, error) {
	return one[CallBack](ctx, q, "promise of a call", `select `+callBackColumns+` from conversations c join promises p on p.conversation_id = c.id
		where c.id = $1 and p.closed_at is null and p.number <> ''`, conversationID)
}

// CallerNumber is the number of ours that a call back shows: the one that the customer called, else one of the queue's; "": the
// trunk's.
func CallerNumber(ctx context.Context, q channels.Querier, conversationID int64) (string, error) {
	return scalar[string](ctx, q, "number to show", `select coalesce((select n.number from conversations c join numbers n on n.caller_id
			and (n.trunk_id is null or exists (select from trunks t where t.id = n.trunk_id and t.enabled and t.dial_out))
		left join lateral (select id from calls k where k.conversation_id = c.id and k.direction = 'in' and k.to_address = n.number order by id desc limit 1) k on true
		where c.id = $1 and (k.id is not null or n.queue_id = c.queue_id) order by k.id desc nulls last, n.number limit 1), '')`, conversationID)
}

// CallBegins counts a try that begins now.
func CallBegins(ctx context.Context, tx pgx.Tx, conversationID int64) error {
	if _, err := tx.Exec(ctx, `update promises set tries = tries + 1, tried_at = clock_timestamp() where conversation_id = $1 and closed_at is null`, conversationID); err != nil {
		return fmt.Errorf("count a try: %w", err)
	}
	return nil
}

// Tried is what follows a try that has reached nobody.
type Tried struct {
	CallBack
	Next time.Time      // the next try; zero: there is none
	When sentences.Said // Next in words, for the customer
}

// CallFailed notes that a try has reached nobody, in the transaction that puts the conversation back in line: it has its place
// again, and comes after the queue's pause, in its hours. After the last try it is held for a supervisor. What the customer is
// owed then is a person's word in time after that try.
func CallFailed(ctx context.Context, tx pgx.Tx, conversationID int64, why string) (t Tried, err error) {
	h, err := hoursOf(ctx, tx, conversationID)
	if err != nil {
		return t, err
	}
	row, err := one[struct {
		Tries, Most, Minutes int
		Number               string
	}](ctx, tx, "try of a call", `select p.tries, q.call_back_tries as most, q.call_back_minutes as minutes, p.number from promises p
		join conversations c on c.id = p.conversation_id join queues q on q.id = c.queue_id where c.id = $1 and p.closed_at is null`, conversationID)
	if err != nil || row == nil {
		return t, err
	}
	next := h.hours.Due(h.now.Add(time.Duration(row.Minutes)*time.Minute), 0)
	t = Tried{CallBack: CallBack{Number: row.Number, Tries: row.Tries, LastTry: why, GivenUp: row.Tries >= row.Most}}
	if !t.GivenUp {
		t.Next, t.NotBefore, t.When = next, &next, h.hours.When(next, h.now)
	}
	_, err = tx.Exec(ctx, `with p as (update promises set last_try = $2, escalated_at = null, given_up_at = case when $3 then clock_timestamp() end,
				due_at = case when $3 then due_at else greatest(due_at, $4::timestamptz + make_interval(secs => $5)) end
			where conversation_id = $1 and closed_at is null returning conversation_id, place_since)
		update conversations c set waiting_since = coalesce(p.place_since, c.waiting_since), front = false, return_call = false,
			not_before = case when $3 then 'infinity'::timestamptz else $4 end
		from p where c.id = p.conversation_id`, conversationID, why, t.GivenUp, next, h.target.Seconds())
	if err != nil {
		return t, fmt.Errorf("try of a call: %w", err)
	}
	return t, nil
}

// CallUntried takes a try back that never came to the customer's telephone: the place is the first, now.
func CallUntried(ctx context.Context, tx pgx.Tx, conversationID int64) error {
	_, err := tx.Exec(ctx, `with p as (update promises set tries = greatest(0, tries - 1) where conversation_id = $1 and closed_at is null
			returning conversation_id, place_since)
		update conversations c set waiting_since = coalesce(p.place_since, c.waiting_since), front = true, not_before = null
		from p where c.id = p.conversation_id`, conversationID)
	if err != nil {
		return fmt.Errorf("try of a call: %w", err)
	}
	return nil
}

// CallNow lets a call back be offered at once, with all its tries again.
func CallNow(ctx context.Context, tx pgx.Tx, conversationID int64) error {
	_, err := tx.Exec(ctx, `update promises set given_up_at = null, tries = 0, appointment_at = null where conversation_id = $1 and closed_at is null`, conversationID)
	if err != nil {
		return fmt.Errorf("call now: %w", err)
	}
	return notBefore(ctx, tx, conversationID, nil)
}

// DropCall makes the promise one without a call again: the customer waits where they are.
func DropCall(ctx context.Context, tx pgx.Tx, conversationID int64) error {
	_, err := tx.Exec(ctx, `update promises set number = '', appointment_at = null, given_up_at = null where conversation_id = $1 and closed_at is null`, conversationID)
	if err != nil {
		return fmt.Errorf("drop a call: %w", err)
	}
	return notBefore(ctx, tx, conversationID, nil)
}

// CustomerCalls: the customer with a promised call is on the telephone, or has left it again: meanwhile they are served at
// their turn, whatever time they had chosen.
func CustomerCalls(ctx context.Context, tx pgx.Tx, conversationID int64, there bool) error {
	_, err := tx.Exec(ctx, `update conversations c set not_before = case when $2 then null when p.given_up_at is not null then 'infinity'::timestamptz
			when p.appointment_at > clock_timestamp() then p.appointment_at end
		from promises p where c.id = $1 and p.conversation_id = c.id and p.closed_at is null and p.number <> ''`, conversationID, there)
	if err != nil {
		return fmt.Errorf("customer calls: %w", err)
	}
	return nil
}

// CallsDue lists conversations with a promised call that nobody makes, near the end of what was promised. The promises come
// first (materialized, offset 0): where there is none, no plan reads those who wait.
func CallsDue(ctx context.Context, q channels.Querier, limit int) ([]int64, error) {
	rows, err := all[struct{ ConversationID int64 }](ctx, q, "calls due", `with p as materialized (select * from promises p where `+callOpen+`
				and p.due_at < statement_timestamp() + interval '300 seconds')
		select p.conversation_id from p cross join lateral (select * from conversations where id = p.conversation_id offset 0) c
		join queues q on q.id = c.queue_id where `+callDue+` order by p.due_at limit $1`, limit)
	ids := make([]int64, len(rows))
	for i, row := range rows {
		ids[i] = row.ConversationID
	}
	return ids, err
}

// callDue: half of the target, at most five minutes, before a call's promise breaks, while nobody is making it.
const callDue = callOpen + ` and c.state = 'waiting'
	and p.due_at - make_interval(secs => least(300, q.promise_seconds / 2.0)) < clock_timestamp()`

// callOpen: a promise of a call that may come to be due.
const callOpen = `p.number <> '' and p.closed_at is null and p.escalated_at is null and p.given_up_at is null`

// EscalateCall brings such a call before all others and returns what to tell; nil: it is not due, or was brought before.
func EscalateCall(ctx context.Context, tx pgx.Tx, conversationID int64) (*Alarm, error) {
	row, err := one[struct {
		ID        int64
		QueueName string
		Number    string
		DueAt     time.Time
	}](ctx, tx, "escalate call", `update promises set escalated_at = clock_timestamp() where id = (select p.id from promises p
			join conversations c on c.id = p.conversation_id join queues q on q.id = c.queue_id where c.id = $1 and `+callDue+`)
		returning id, queue_name, number, due_at`, conversationID)
	if err != nil || row == nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `update conversations set front = true, not_before = null where id = $1`, conversationID); err != nil {
		return nil, fmt.Errorf("escalate call: %w", err)
	}
	return &Alarm{Kind: CallBackDue, PromiseID: row.ID, ConversationID: conversationID, QueueName: row.QueueName, Channel: channels.Voice,
		Words: fmt.Sprintf("A call back to %s is promised by %s UTC and nobody has taken it yet.", row.Number, row.DueAt.UTC().Format("15:04:05"))}, nil
}

// GaveUp is the alarm after a call back's last try.
func GaveUp(ctx context.Context, q channels.Querier, conversationID int64, t Tried) (Alarm, error) {
	row, err := one[struct {
		ID        int64
		QueueName string
	}](ctx, q, "promise of a call", `select id, queue_name from promises where conversation_id = $1 and closed_at is null`, conversationID)
	if err != nil || row == nil {
		return Alarm{}, err
	}
	return Alarm{Kind: CallBackFailed, PromiseID: row.ID, ConversationID: conversationID, QueueName: row.QueueName, Channel: channels.Voice,
		Words: fmt.Sprintf("%s was not reached in %s (%s): call now, or end it.", t.Number, tries(t.Tries), t.LastTry)}, nil
}

const (
	slotEach  = 30 * time.Minute
	slotsMost = 80
	slotsDays = 7
	slotSoon  = 15 * time.Minute // nothing is appointed sooner
)

// CallTimes is when the people of the conversation's queue can call.
func CallTimes(ctx context.Context, q channels.Querier, conversationID int64) (t channels.CallTimes, err error) {
	h, err := hoursOf(ctx, q, conversationID)
	if err != nil {
		return t, err
	}
	row, err := one[struct{ CallBackTries, CallBackMinutes int }](ctx, q, "tries of a call", `select call_back_tries, call_back_minutes from queues
		where id = (select queue_id from conversations where id = $1)`, conversationID)
	if err != nil || row == nil {
		return t, err
	}
	state, _ := h.hours.Open(h.now)
	return channels.CallTimes{Open: state == Open, Times: h.hours.slots(h.now), Zone: h.hours.location().String(), Tries: row.CallBackTries, Minutes: row.CallBackMinutes}, nil
}

// slots are every half hour in which people answer, of the next days that have any.
func (h Hours) slots(now time.Time) (list []time.Time) {
	at := now.Add(slotSoon)
	if state, next := h.Open(now); state != Open {
		if next.IsZero() {
			return nil
		}
		at = next
		list = append(list, next)
	}
	loc := h.location()
	for end := at.AddDate(0, 0, slotsDays); at.Before(end) && len(list) < slotsMost; {
		local := at.In(loc)
		if late := local.Minute()%30*60 + local.Second(); late > 0 || local.Nanosecond() > 0 {
			at = at.Add(slotEach - time.Duration(late)*time.Second).Truncate(time.Second)
		}
		state, next := h.Open(at)
		if state != Open {
			if next.IsZero() {
				break
			}
			at = next
			continue
		}
		if len(list) == 0 || at.After(list[len(list)-1]) {
			list = append(list, at)
		}
		at = at.Add(slotEach)
	}
	return list
}

const appointmentsFor = 14 * 24 * time.Hour

// CallTime is when to call at the earliest: the customer's choice, or the next opening where nobody answers now; nil: at their
// turn. A time at which nobody could call is refused.
func CallTime(ctx context.Context, q channels.Querier, conversationID int64, chosen *time.Time) (*time.Time, error) {
	h, err := hoursOf(ctx, q, conversationID)
	if err != nil {
		return nil, err
	}
	if chosen == nil {
		if state, next := h.hours.Open(h.now); state != Open && !next.IsZero() {
			return &next, nil
		}
		return nil, nil
	}
	switch state, _ := h.hours.Open(*chosen); {
	case !chosen.After(h.now):
		return nil, invalid("at", "That time has passed.")
	case chosen.Sub(h.now) > appointmentsFor:
		return nil, invalid("at", "We can call you within the next 14 days.")
	case state != Open:
		return nil, invalid("at", "Nobody is here at that time.")
	}
	return chosen, nil
}

// CalledAt is a moment in the words for the customer of that conversation.
func CalledAt(ctx context.Context, q channels.Querier, conversationID int64, at time.Time) (words sentences.Said, err error) {
	h, err := hoursOf(ctx, q, conversationID)
	if err != nil {
		return words, err
	}
	return h.hours.When(at, h.now), nil
}
