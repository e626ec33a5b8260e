package agents

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
)

// The books of the line, kept once a second by one of the routers, beside the decisions and never in their way: what was
// expected when a wait began, how it ended, and why those in front still wait.

const (
	booksLock   int64 = 0x6c696e65      // "line": one router at a time
	endsEvery         = 10              // sweeps
	explainTop        = 3               // of each queue and channel, and as many of the calls back for later
	bookAgain         = 5 * time.Second // each sweep looks back so far, as a wait may be committed late,
	bookOverlap       = time.Minute     // and each of endsEvery so far, as another machine's clock may differ
)

func (r *Router) keepBooks(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil { // the books, never the routing
			r.cfg.Log.Error("keeping the books panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var booked time.Time // everything before it is in the books
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		switch err := r.book(ctx, booked, n%endsEvery == 0); {
		case err == nil:
			booked = began
		case ctx.Err() == nil:
			r.cfg.Log.Error("books of the line", "err", err)
		}
	}
}

func (r *Router) book(ctx context.Context, booked time.Time, ends bool) error {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	return pgx.BeginFunc(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		mine, err := scalar[bool](ctx, tx, "books' lock", `select pg_try_advisory_xact_lock($1)`, booksLock)
		if err != nil || !mine {
			return err
		}
		paces, err := bookPaces(ctx, tx)
		if err != nil {
			return err
		}
		again := bookAgain
		if ends {
			again = bookOverlap
		}
		if err := bookBegun(ctx, tx, paces, booked.Add(-again)); err != nil {
			return err
		}
		if err := bookReasons(ctx, tx); err != nil {
			return err
		}
		if ends {
			return bookEnded(ctx, tx)
		}
		return nil
	})
}

// bookPaces stores the pace of each queue with a line, for everybody who is told what to expect.
func bookPaces(ctx context.Context, tx pgx.Tx) (map[int64]pace, error) {
	queues, err := all[struct{ ID int64 }](ctx, tx, "queues with a line", `select id from queues q
		where exists (select from conversations c where c.queue_id = q.id and c.state = 'waiting')`)
	if err != nil || len(queues) == 0 {
		return nil, err
	}
	ids := make([]int64, len(queues))
	for i, q := range queues {
		ids[i] = q.ID
	}
	paces, err := readPaces(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	for id, p := range paces {
		if _, err := tx.Exec(ctx, `insert into paces (queue_id, at, pace) values ($1, clock_timestamp(), $2)
			on conflict (queue_id) do update set at = excluded.at, pace = excluded.pace`, id, p); err != nil {
			return nil, fmt.Errorf("note pace: %w", err)
		}
	}
	return paces, nil
}

// bookBegun notes what is expected of each wait that has begun after that time; zero: of all. Only the new ones are looked
// for, as the planner may take the whole table for a small one.
func bookBegun(ctx context.Context, tx pgx.Tx, paces map[int64]pace, after time.Time) error {
	fresh, err := all[struct{ ID int64 }](ctx, tx, "new waits", `select id from conversations c where state = 'waiting' and waiting_since > $1
		and not exists (select from waits w where w.conversation_id = c.id and w.since = c.waiting_since)`, after)
	if err != nil || len(fresh) == 0 {
		return err
	}
	look := make([]int64, len(fresh))
	for i, w := range fresh {
		look[i] = w.ID
	}
	begun, err := all[struct {
		ID, QueueID int64
		Place       int
	}](ctx, tx, "waits begun", `select id, queue_id, place::int from (select id, queue_id, waiting_since, row_number() over (partition by queue_id
			order by not `+inTurn(`c`)+`, front desc, return_call desc, waiting_since, id) as place from conversations c where state = 'waiting') l where id = any($1)`, look)
	if err != nil {
		return err
	}
	ids, places, people := make([]int64, len(begun)), make([]int, len(begun)), make([]int, len(begun))
	lows, highs := make([]*int, len(begun)), make([]*int, len(begun))
	for i, w := range begun {
		p := paces[w.QueueID]
		ids[i], places[i], people[i] = w.ID, w.Place, p.People
		if low, high, ok := p.wait(w.Place); ok {
			l, h := int(low.Seconds()), int(high.Seconds())
			lows[i], highs[i] = &l, &h
		}
	}
	// what was expected counts from now, and is kept as seconds of the whole wait
	// Rows in other hands are left for the next time: the insert would wait for their lock, and who holds it (accepting) for our row.
	_, err = tx.Exec(ctx, `with c as (select * from conversations c where id = any($1) and `+stillInLine+` order by id for key share skip locked)
		insert into waits (conversation_id, since, queue_id, channel, place, people, low_seconds, high_seconds)
		select c.id, c.waiting_since, c.queue_id, c.channel, p.place, p.people, p.low + passed, p.high + passed
		from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::int[]) p (id, place, people, low, high) join c on c.id = p.id
		cross join lateral (select greatest(0, extract(epoch from clock_timestamp() - c.waiting_since))::int as passed) t
		where c.waiting_since is not null on conflict do nothing`, ids, places, people, lows, highs)
	if err != nil {
		return fmt.Errorf("note waits begun: %w", err)
	}
	return nil
}

// bookEnded closes the waits that no person ended, and notes when a person was done.
func bookEnded(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `update waits w set ended_at = c.state_at, outcome = 'contact' from conversations c
		where c.id = w.conversation_id and w.ended_at is null and (c.state not in ('waiting', 'offered') or c.waiting_since <> w.since)`); err != nil {
		return fmt.Errorf("note waits ended: %w", err)
	}
	if _, err := tx.Exec(ctx, `update waits w set done_at = c.state_at from conversations c
		where c.id = w.conversation_id and w.outcome = 'agent' and w.done_at is null and c.state not in ('agent', 'wrapup')`); err != nil {
		return fmt.Errorf("note conversations done: %w", err)
	}
	return nil
}

// bookReasons keeps a row for each of the first in line whose reason has changed.
func bookReasons(ctx context.Context, tx pgx.Tx) error {
	top, err := all[struct {
		ID    int64
		Ahead int
		Code  string
	}](ctx, tx, "first in line", `select w.id, w.ahead::int, coalesce((select code from wait_reasons r where r.conversation_id = w.id and r.at >= w.waiting_since
			order by r.id desc limit 1), '') as code
		from queues q cross join unnest(array['voice', 'chat', 'email']) k (channel) cross join unnest(array[true, false]) t (now)
		cross join lateral (select id, waiting_since, row_number() over (order by front desc, return_call desc, waiting_since, id) - 1 as ahead
			from conversations where queue_id = q.id and channel = k.channel and state = 'waiting' and (not_before is null) = t.now
			order by front desc, return_call desc, waiting_since, id limit $1) w`, explainTop)
	if err != nil || len(top) == 0 {
		return err
	}
	ids := make([]int64, len(top))
	ahead, before := make(map[int64]int, len(top)), make(map[int64]string, len(top))
	for i, w := range top {
		ids[i], ahead[w.ID], before[w.ID] = w.ID, w.Ahead, w.Code
	}
	s, err := readStanding(ctx, tx, ids)
	if err != nil {
		return err
	}
	var changed []int64
	var codes, whys []string
	for i := range s.Line {
		w := &s.Line[i]
		code, why := s.stillWaits(w, ahead[w.ID])
		if code != whyNext && code != before[w.ID] {
			changed, codes, whys = append(changed, w.ID), append(codes, code), append(whys, why)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if _, err = tx.Exec(ctx, `with c as (select id from conversations where id = any($1) order by id for key share skip locked)
		insert into wait_reasons (conversation_id, code, why) select p.* from unnest($1::bigint[], $2::text[], $3::text[]) p (id, code, why) join c using (id)`, changed, codes, whys); err != nil {
		return fmt.Errorf("note reasons: %w", err)
	}
	return nil
}
