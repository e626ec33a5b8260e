package agents

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"patchbay/channels"
)

// TestHeadsAreTheRulesOrder: on random lines the database gives the first of each queue and channel in the order of the pure
// rule, and what is picked from these few is what would be picked first from the whole line.
func TestHeadsAreTheRulesOrder(t *testing.T) {
	w := newLineWorld(newHouse(t))
	limit := time.Now().Add(5 * time.Second)
	lines, picks := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if lines >= 20 && picks >= 10 && time.Now().After(limit) { // on a slow machine too some are read
			return
		}
		lines++
		w.begin(rt)
		for _, q := range w.queues {
			w.exec(`update queues set age_bonus = $2, weight = $3 where id = $1`, q, rapid.IntRange(0, 3).Draw(rt, "bonus"), rapid.IntRange(1, 3).Draw(rt, "weight"))
		}
		w.stand(rt)
		whole, err := readStanding(w.ctx, w.pool, ask[[]int64](w.house, `select coalesce(array_agg(id), '{}') from conversations`))
		w.ok(err)
		desk, err := atTheDesk(w.ctx, w.pool, whom{Free: true})
		w.ok(err)
		whole.Desk = desk
		queues, people, free := freeQueues(desk)
		slices.SortFunc(whole.Line, whole.order)
		inTurn := func(id int64, k channels.Kind, later bool, most int) (first []int64) {
			for _, c := range whole.Line {
				if c.QueueID == id && c.Channel == k && (c.NotBefore != nil) == later && !c.later(whole.Now) && len(first) < most {
					first = append(first, c.ID)
				}
			}
			return first
		}
		s := standing{Rules: whole.Rules, Desk: desk, Now: whole.Now}
		var limits []int
		for range people {
			limits = append(limits, rapid.IntRange(1, 4).Draw(rt, "at most"))
		}
		s.Line, s.Ends, err = head(w.ctx, w.pool, queues, limits, free)
		w.ok(err)
		slices.SortFunc(s.Line, s.order)
		for i, id := range queues {
			for _, k := range []channels.Kind{channels.Voice, channels.Chat, channels.Email} {
				for _, later := range []bool{false, true} {
					var got []int64
					for _, c := range s.Line {
						if c.QueueID == id && c.Channel == k && (c.NotBefore != nil) == later && c.Wanted == 0 {
							got = append(got, c.ID)
						}
					}
					if want := inTurn(id, k, later, limits[i]); !slices.Equal(want, got) {
						rt.Fatalf("queue %d, %s, called back %v, at most %d: %v, the rule's order is %v", id, k, later, limits[i], got, want)
					}
				}
			}
		}
		some, all := pick(s), pick(whole)
		picks += len(some)
		if got, want := fmt.Sprintf("%+v", some), fmt.Sprintf("%+v", all[:min(len(some), len(all))]); got != want {
			rt.Fatalf("from the heads %s, first from the whole line %s", got, want)
		}
		if len(s.Ends) == 0 && len(some) < len(all) {
			rt.Fatalf("from all of them %d are picked, from the whole line %d", len(some), len(all))
		}
	})
	t.Logf("%d lines, %d picks", lines, picks)
	if !t.Failed() && (lines < 10 || picks < 10) {
		t.Errorf("%d lines, %d picks: too few to prove anything", lines, picks)
	}
}

// stand puts a random line there, in which many came at the same moment.
func (w *lineWorld) stand(rt *rapid.T) {
	contact := ask[int64](w.house, `insert into contacts (name) values ('Line') returning id`)
	row := rapid.Custom(func(rt *rapid.T) []any {
		return []any{contact, rapid.SampledFrom(w.queues).Draw(rt, "queue"), rapid.SampledFrom([]string{"voice", "chat", "email"}).Draw(rt, "channel"),
			rapid.IntRange(0, 9).Draw(rt, "front") == 0, rapid.IntRange(0, 9).Draw(rt, "return") == 0, rapid.IntRange(0, 200).Draw(rt, "waited"),
			rapid.SampledFrom([]*string{nil, nil, nil, ptr("-1 min"), ptr("1 min"), ptr("infinity")}).Draw(rt, "not before")}
	})
	batch := &pgx.Batch{}
	for _, args := range rapid.SliceOfN(row, 1, 120).Draw(rt, "line") {
		batch.Queue(`with c as (insert into conversations (contact_id, queue_id, channel, state, front, return_call, waiting_since, not_before)
				values ($1, $2, $3, 'waiting', $4, $5, date_trunc('day', now()) - make_interval(secs => $6),
					case when $7 = 'infinity' then 'infinity' else clock_timestamp() + $7::interval end) returning *)
			insert into promises (conversation_id, source, due_at, given_up_at)
				select id, 'words', now(), case when not_before = 'infinity' then now() end from c`, args...)
	}
	w.ok(w.pool.SendBatch(w.ctx, batch).Close())
}

func ptr(s string) *string { return &s }

// TestALongLineCostsNoMore: what is read to find the first in line does not grow with the line, nor with the calls promised for later
// that stand in it, whatever the planner believes: that nobody waits, as before a rush, or how it is.
func TestALongLineCostsNoMore(t *testing.T) {
	for _, when := range []string{"before the rush", "in it"} {
		t.Run("statistics from "+when, func(t *testing.T) {
			h := newHouse(t)
			h.exec(`alter table conversations set (autovacuum_enabled = false)`)
			h.exec(`alter table promises set (autovacuum_enabled = false)`)
			h.exec(`insert into queues (name) select 'queue ' || n from generate_series(1, 9) n`)
			h.exec(`insert into contacts (name) values ('Line')`)
			queues := ask[[]int64](h, `select array_agg(id order by id) from queues`)
			limits := slices.Repeat([]int{9}, len(queues))
			come := func(n int, state, notBefore string) {
				h.exec(`with c as (insert into conversations (contact_id, queue_id, channel, state, waiting_since, not_before)
						select (select max(id) from contacts), ($2::bigint[])[1 + n % 10], (array['voice', 'chat', 'email'])[1 + n % 3], $3, clock_timestamp() - interval '1 hour' * random(), `+notBefore+`
						from generate_series(1, $1) n returning *)
					insert into promises (conversation_id, source, due_at, closed_at) select id, 'words', now(), case when state = 'closed' then now() end from c`, n, queues, state)
			}
			come(2000, "closed", "null")
			h.exec(`analyze`)
			come(3000, "waiting", "now() + interval '1 hour'")
			for _, n := range []int{300, 6000} {
				come(n, "waiting", "null")
				if when == "in it" {
					h.exec(`analyze`)
				}
				var rows int
				read := h.reads([]string{"conversations", "promises"}, func(tx pgx.Tx) error {
					line, _, err := head(h.ctx, tx, queues, limits, []int64{1, 2, 3})
					rows = len(line)
					return err
				})
				t.Logf("%d more wait: %d rows read for %d", n, read, rows)
				if most := 30 * limits[0]; rows < most*9/10 || rows > most {
					t.Errorf("%d conversations, want %d", rows, most)
				}
				if read > int64(2*rows)+10 { // each with its promise
					t.Errorf("%d rows are read for the first %d in line", read, rows)
				}
			}
		})
	}
}

// TestFewAreClaimedByTheirIDs: to claim some of a long line, and to move them on, no more than these are read.
func TestFewAreClaimedByTheirIDs(t *testing.T) {
	h := newHouse(t)
	h.exec(`alter table conversations set (autovacuum_enabled = false)`)
	h.exec(`insert into contacts (name) values ('Line')`)
	come := func(n int, state string) {
		h.exec(`insert into conversations (contact_id, queue_id, channel, state, waiting_since)
			select (select max(id) from contacts), $2, 'chat', $3, clock_timestamp() from generate_series(1, $1) n`, n, h.queue, state)
	}
	come(2000, "closed")
	h.exec(`analyze`)
	come(5000, "waiting")
	var picked []assignment
	var ids []int64
	for i := range 20 {
		a := assignment{ConversationID: ask[int64](h, `select id from conversations where state = 'waiting' order by id limit 1 offset $1`, i), QueueID: h.queue,
			AgentID: h.agent(fmt.Sprint("agent ", i))}
		picked, ids = append(picked, a), append(ids, a.ConversationID)
	}
	read := h.reads([]string{"conversations"}, func(tx pgx.Tx) error {
		claimed, err := claim(h.ctx, tx, picked)
		if len(claimed) != len(picked) {
			t.Errorf("%d of %d are claimed", len(claimed), len(picked))
		}
		return err
	})
	moved := h.reads([]string{"conversations"}, func(tx pgx.Tx) error {
		list, err := channels.MoveAll(h.ctx, tx, ids, channels.Offered)
		if len(list) != len(ids) {
			t.Errorf("%d of %d are moved", len(list), len(ids))
		}
		return err
	})
	if read > 100 || moved > 100 {
		t.Errorf("of 5000 who wait %d rows are read to claim 20, %d to move them", read, moved)
	}
}

// reads counts the rows of these tables that something reads.
func (h *house) reads(tables []string, do func(pgx.Tx) error) (rows int64) {
	h.Helper()
	const sql = `select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::bigint from pg_stat_xact_user_tables where relname = any($1)`
	h.ok(h.tx(func(tx pgx.Tx) error {
		before, err := scalar[int64](h.ctx, tx, "rows read", sql, tables)
		if err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		after, err := scalar[int64](h.ctx, tx, "rows read", sql, tables)
		rows = after - before
		return err
	}))
	return rows
}

// asked notes what the database is asked.
type asked struct{ list []string }

func (a *asked) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	a.list = append(a.list, q.SQL+fmt.Sprint(q.Args))
	return ctx
}

func (a *asked) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// asking is a router whose questions to the database are written down.
func (h *house) asking() (*Router, *asked) {
	h.Helper()
	pc, sql := h.pool.Config(), &asked{}
	pc.MaxConns = 1
	pc.ConnConfig.Tracer = sql
	pool, err := pgxpool.NewWithConfig(h.ctx, pc)
	h.ok(err)
	h.Cleanup(pool.Close)
	return NewRouter(RouterConfig{Pool: pool, Bus: h.bus, NodeID: "n1", Log: slog.New(slog.DiscardHandler)}), sql
}

// TestWhoCannotBeServedCostsNothing: of a queue in which nobody is free no line is read, and no rules where no line is.
func TestWhoCannotBeServedCostsNothing(t *testing.T) {
	h := newHouse(t)
	other, err := EnsureQueue(h.ctx, h.pool, "Other")
	h.ok(err)
	r, sql := h.asking()
	pass := func() (list []string) {
		h.Helper()
		sql.list = nil
		if _, err := r.pass(h.ctx); err != nil {
			h.Fatal(err)
		}
		return sql.list
	}
	lines := func(list []string) (of []string) {
		for _, s := range list {
			if strings.Contains(s, "conversations_line") || strings.Contains(s, "f (queue_id, most)") {
				of = append(of, s[strings.LastIndex(s, "[["):])
			}
		}
		return of
	}
	h.waits(channels.Chat)
	if list := pass(); len(lines(list)) > 0 || len(list) > 4 {
		t.Errorf("nobody is there: %d statements, %v", len(list), lines(list))
	}
	mira := h.agent("Mira")
	h.exec(`update agent_queues set queue_id = $2 where agent_id = $1`, mira, other)
	if list, want := pass(), []string{fmt.Sprintf("[[%d] [%d] [%d]]", other, 1+lineAtLeast, mira)}; !slices.Equal(lines(list), want) || len(list) > 5 {
		t.Errorf("somebody of another queue is free: %d statements, %v, want %v", len(list), lines(list), want)
	}
}

// TestManyAreFreeAtOnce: a pass looks at a few, and still nobody of the queue that comes first is passed over, nor an agent left out.
func TestManyAreFreeAtOnce(t *testing.T) {
	h := newHouse(t)
	urgent, err := EnsureQueue(h.ctx, h.pool, "Urgent")
	h.ok(err)
	h.exec(`update queues set priority = 10 where id = $1`, urgent)
	h.exec(`insert into contacts (name) values ('Line')`)
	h.exec(`insert into conversations (contact_id, queue_id, channel, state, waiting_since)
		select (select max(id) from contacts), q, 'chat', 'waiting', now() - make_interval(secs => 100 - n) from generate_series(1, 60) n, unnest($1::bigint[]) q`, []int64{h.queue, urgent})
	h.exec(`with a as (insert into agents (login, name, presence) select n, n, 'available' from generate_series(1, 70) n returning id),
			s as (insert into agent_sockets (id, agent_id, node_id) select id, id, 'n1' from a)
		insert into agent_queues (agent_id, queue_id) select id, q from a, unnest($1::bigint[]) q`, []int64{h.queue, urgent})
	r := NewRouter(RouterConfig{Pool: h.pool, Bus: h.bus, NodeID: "n1", Log: slog.New(slog.DiscardHandler)})
	passes := 0
	for next := time.Duration(0); next == 0; passes++ {
		next, err = r.offerTo(h.ctx, whom{Free: true})
		h.ok(err)
	}
	offered := func(queue int64) int {
		return ask[int](h, `select count(*)::int from offers o join conversations c on c.id = o.conversation_id where c.queue_id = $1 and o.outcome is null`, queue)
	}
	if offered(urgent) != 60 || offered(h.queue) != 10 {
		t.Errorf("%d of 60 who come first and %d of the others are offered to 70 agents, in %d passes", offered(urgent), offered(h.queue), passes)
	}
	if most := ask[int64](h, `select count(*) from conversations c join offers o on o.conversation_id = c.id where c.queue_id = $1
		and c.id > (select min(id) from conversations where queue_id = $1 and state = 'waiting')`, h.queue); most > 0 {
		t.Errorf("%d were passed over", most)
	}
}
