package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The waiting line: 1,000 agents at their desks, a line of so many conversations, 500 arrivals a second and as many agents
// who become free. Agents and customers are rows, as sockets of 1,000 browsers would measure the browsers; the server is the
// real one and routes what it finds. It is started again on a NATS of ours, where we hear what would ring in a tab, and
// wake it by the news that the flow sends after its commits, for some at once.
const (
	lineAgents  = 1000
	lineRate    = 500 // arrivals a second, and agents who become free
	lineQueues  = 10
	lineBatch   = 20 * time.Millisecond
	lineSettles = 3 * time.Second
)

// lineRun is one measurement.
type lineRun struct {
	b      *bench
	bus    *nats.Conn
	queues []int64
	agents []int64

	mu    sync.Mutex
	freed map[int64]time.Time // agent -> when its row said that it is free
	rings chan int64          // agents at whom it rings
	ring  times
	costs []lineCost
}

// lineCost is what each conversation costs that comes, rings and is taken while so many wait. Unlike times it is the same when
// others work on the machine, too; the rows' own work (ours, in the same Postgres) is in it and does not grow.
type lineCost struct {
	length           int
	server, postgres time.Duration
	blocks           float64 // 8 kB, that Postgres looked at
}

func (b *bench) line(ctx context.Context) error {
	b.table.section(fmt.Sprintf("the waiting line: %d agents, %d arrivals a second", lineAgents, lineRate))
	if b.child == nil {
		return fmt.Errorf("%w: it needs a server of its own", errSkipped)
	}
	d, err := natsd.NewServer(&natsd.Options{Host: "127.0.0.1", Port: natsd.RANDOM_PORT, NoSigs: true})
	if err != nil {
		return err
	}
	d.Start()
	defer d.Shutdown()
	if !d.ReadyForConnections(10 * time.Second) {
		return errors.New("our NATS does not start")
	}
	for _, a := range b.desk {
		a.leave()
	}
	b.desk = nil
	if err := b.stop(); err != nil {
		return err
	}
	if err := os.Setenv("NATS_URL", d.ClientURL()); err != nil {
		return err
	}
	if _, err := b.start(ctx, b.server, b.dir, b.model); err != nil {
		return err
	}
	if err := b.connect(ctx); err != nil {
		return err
	}
	bus, err := nats.Connect(d.ClientURL())
	if err != nil {
		return err
	}
	defer bus.Close()
	l := &lineRun{b: b, bus: bus, rings: make(chan int64, 100_000)}
	if err := l.lay(ctx); err != nil {
		return fmt.Errorf("lay out: %w", err)
	}
	heard, err := bus.Subscribe("agent.*", l.heard)
	if err != nil {
		return err
	}
	defer func() { _ = heard.Unsubscribe() }()
	if err := heard.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	for _, length := range quickly(b, []int{100, 1000, 10_000, 30_000}, []int{100, 1000, 10_000}) {
		if err := l.measure(ctx, length, quickly(b, 15*time.Second, 6*time.Second)); err != nil {
			return err
		}
	}
	for _, c := range l.costs {
		l.b.table.row(fmt.Sprintf("%d wait: each conversation costs", c.length), "server %.2f ms, Postgres %.2f ms and %.0f blocks", ms(c.server), ms(c.postgres), c.blocks)
	}
	return nil
}

// lay makes queues, agents with a tab on the living node, and for each one a conversation in hand.
func (l *lineRun) lay(ctx context.Context) error {
	err := l.b.rows.QueryRow(ctx, `with q as (insert into queues (name, strategy, offer_seconds) select 'bench ' || n,
				(array['longest_idle', 'round_robin', 'top_down', 'weighted_random'])[1 + n % 4], 120 from generate_series(1, $1) n
				on conflict (name) do update set name = excluded.name returning id)
		select array_agg(id) from q`, lineQueues).Scan(&l.queues)
	if err != nil {
		return err
	}
	err = l.b.rows.QueryRow(ctx, `with a as (insert into agents (login, name, presence, capacity) select $1 || '-' || n, 'Agent ' || n, 'available', 1
				from generate_series(1, $2) n returning id),
			m as (insert into agent_queues (agent_id, queue_id) select a.id, q from a, unnest($3::bigint[]) with ordinality t (q, i) where (a.id + i) % 5 < 2),
			s as (insert into agent_sockets (id, agent_id, node_id) select 'bench-' || a.id, a.id, (select id from nodes where stopped_at is null order by started_at desc limit 1) from a)
		select array_agg(id) from a`, l.b.run+"-line", lineAgents, l.queues).Scan(&l.agents)
	if err != nil {
		return err
	}
	_, err = l.b.rows.Exec(ctx, `with c as (insert into contacts (name) values ('Bench line') returning id)
		insert into conversations (contact_id, queue_id, channel, state, agent_id) select c.id, $2, 'chat', 'agent', a from c, unnest($1::bigint[]) a`, l.agents, l.queues[0])
	if err == nil {
		_, err = l.b.rows.Exec(ctx, `analyze`)
	}
	return err
}

// heard notes what rings.
func (l *lineRun) heard(m *nats.Msg) {
	at := time.Now()
	var f struct{ Type string }
	id, err := strconv.ParseInt(strings.TrimPrefix(m.Subject, "agent."), 10, 64)
	if err != nil || json.Unmarshal(m.Data, &f) != nil || f.Type != "offer" {
		return
	}
	l.mu.Lock()
	freed, known := l.freed[id]
	delete(l.freed, id)
	l.mu.Unlock()
	if known {
		l.ring.add(at.Sub(freed))
		l.rings <- id
	}
}

// measure keeps a line of that length for a while, in which customers come and agents become free at the same rate.
func (l *lineRun) measure(ctx context.Context, length int, span time.Duration) error {
	if err := l.fill(ctx, length); err != nil {
		return err
	}
	wait(ctx, lineSettles) // the books note the new waits
	l.mu.Lock()
	l.freed, l.ring = map[int64]time.Time{}, times{}
	l.mu.Unlock()
	decided, err := l.b.decisions(ctx)
	if err != nil {
		return err
	}
	looked, err := l.blocks(ctx)
	if err != nil {
		return err
	}
	profiled := l.b.profiled(ctx, fmt.Sprintf("line%d", length), span)
	before := l.b.spent()
	busy := append([]int64{}, l.agents...)
	rand.Shuffle(len(busy), func(i, j int) { busy[i], busy[j] = busy[j], busy[i] })
	tick := time.NewTicker(lineBatch)
	defer tick.Stop()
	began := time.Now()
	var came, late int
	for time.Since(began) < span && ctx.Err() == nil {
		<-tick.C
		rung := l.drain()
		if err := l.accept(ctx, rung); err != nil {
			return err
		}
		busy = append(busy, rung...)
		// by the clock, not by the tick: a batch that took longer is made up for by the next, as customers do not wait for a bench
		each := int(lineRate*time.Since(began).Seconds()) - came
		if err := l.arrive(ctx, each); err != nil {
			return err
		}
		came += each
		n := min(each, len(busy))
		late += each - n
		if err := l.free(ctx, busy[:n]); err != nil {
			return err
		}
		busy = busy[n:]
	}
	rate := float64(came) / time.Since(began).Seconds()
	used := l.b.spent()
	cpu := l.b.since(before)
	<-profiled
	after, err := l.b.decisions(ctx)
	if err != nil {
		return err
	}
	wait(ctx, time.Second) // Postgres counts as late as that, too
	all, err := l.blocks(ctx)
	if err != nil {
		return err
	}
	l.costs = append(l.costs, lineCost{length: length, server: (used.server - before.server) / time.Duration(came),
		postgres: (used.postgres - before.postgres) / time.Duration(came), blocks: (all - looked) / float64(came)})
	if err := l.accept(ctx, l.drain()); err != nil {
		return err
	}
	l.mu.Lock()
	unrung := len(l.freed)
	l.mu.Unlock()
	var left int
	if err := l.b.rows.QueryRow(ctx, `select count(*) from conversations where state = 'waiting'`).Scan(&left); err != nil {
		return err
	}
	l.b.table.row(fmt.Sprintf("%d wait: arrivals", length), "%.0f a second   %d wait at the end", rate, left)
	l.b.table.row(fmt.Sprintf("%d wait: agent free -> it rings", length), "%s   target p99 < 300 ms", l.ring.String())
	l.b.table.row(fmt.Sprintf("%d wait: a decision", length), "%s   target p99 < 50 ms", after.minus(decided))
	l.b.table.row(fmt.Sprintf("%d wait: CPU", length), "%s", cpu)
	if unrung > 0 {
		l.b.table.note("%d free agents were not rung a second after the end: they are not in the percentiles", unrung)
	}
	if late > 0 {
		l.b.table.note("%d agents short: those before them were not rung or not freed in time", late)
	}
	return l.check(ctx)
}

// blocks is how many Postgres has looked at since its start.
func (l *lineRun) blocks(ctx context.Context) (n float64, err error) {
	err = l.b.rows.QueryRow(ctx, `select (blks_hit + blks_read)::float8 from pg_stat_database where datname = current_database()`).Scan(&n)
	return n, err
}

func (l *lineRun) drain() (rung []int64) {
	for {
		select {
		case id := <-l.rings:
			rung = append(rung, id)
		default:
			return rung
		}
	}
}

// fill brings the line to that length.
func (l *lineRun) fill(ctx context.Context, length int) error {
	var now int
	if err := l.b.rows.QueryRow(ctx, `select count(*) from conversations where state = 'waiting'`).Scan(&now); err != nil {
		return err
	}
	if now > length {
		_, err := l.b.rows.Exec(ctx, `update conversations set state = 'closed', waiting_since = null where id in (select id from conversations
			where state = 'waiting' order by waiting_since desc limit $1)`, now-length)
		return err
	}
	return l.arrive(ctx, length-now)
}

func (l *lineRun) arrive(ctx context.Context, n int) error {
	_, err := l.b.rows.Exec(ctx, `with c as (insert into conversations (contact_id, queue_id, channel, state, waiting_since)
			select (select max(id) from contacts where name = 'Bench line'), ($2::bigint[])[1 + floor(random() * cardinality($2::bigint[]))::int],
				(array['voice', 'chat', 'email'])[1 + n % 3], 'waiting', clock_timestamp() from generate_series(1, $1) n returning id)
		insert into promises (conversation_id, source, due_at) select id, 'words', clock_timestamp() + interval '1 hour' from c`, n, l.queues)
	if err != nil {
		return err
	}
	return l.wake(nil)
}

// wake tells the routers that somebody waits, and whose work has changed.
func (l *lineRun) wake(agents []int64) error {
	news, err := json.Marshal(struct {
		Line   bool    `json:"line"`
		Agents []int64 `json:"agents,omitempty"`
	}{true, agents})
	if err != nil {
		return err
	}
	return l.bus.Publish("route", news)
}

// free ends what these agents have in hand; their time runs from the commit.
func (l *lineRun) free(ctx context.Context, agents []int64) error {
	if len(agents) == 0 {
		return nil
	}
	l.mu.Lock()
	at := time.Now()
	for _, id := range agents {
		l.freed[id] = at // what rings before the commit's answer is here counts from before it
	}
	l.mu.Unlock()
	_, err := l.b.rows.Exec(ctx, `with c as (update conversations set state = 'closed', state_at = clock_timestamp() where agent_id = any($1) and state = 'agent')
		update agents set idle_since = clock_timestamp() where id = any($1)`, agents)
	if err != nil {
		return err
	}
	return l.wake(agents)
}

// accept takes what rings at these agents. Each statement is planned for what there is now (QueryExecModeExec) and finds its rows by their ids: a
// plan from when nobody waited would make a long batch of ours slow, and the next one longer.
func (l *lineRun) accept(ctx context.Context, agents []int64) error {
	if len(agents) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, l.b.rows, func(tx pgx.Tx) error {
		var conversations, people []int64
		err := tx.QueryRow(ctx, `with o as (update offers set outcome = 'accepted', ended_at = clock_timestamp() where agent_id = any($1::bigint[]) and outcome is null
				returning conversation_id, agent_id)
			select array_agg(conversation_id), array_agg(agent_id) from o`, pgx.QueryExecModeExec, agents).Scan(&conversations, &people)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update conversations c set state = 'agent', state_at = clock_timestamp(), agent_id = o.agent_id, waiting_since = null
			from unnest($1::bigint[], $2::bigint[]) o (id, agent_id) where c.id = o.id and (c.state = 'offered') is true`, pgx.QueryExecModeExec, conversations, people)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update promises set closed_at = clock_timestamp(), closed_by = 'agent' where conversation_id = any($1::bigint[]) and closed_at is null`,
			pgx.QueryExecModeExec, conversations)
		return err
	})
	if err != nil {
		return err
	}
	return l.wake(agents)
}

// check: nobody belongs to two, and nobody has more than one.
func (l *lineRun) check(ctx context.Context) error {
	var twice int
	err := l.b.rows.QueryRow(ctx, `select (select count(*) from (select from offers where outcome is null group by conversation_id having count(*) > 1) a)
		+ (select count(*) from (select from conversations where state = 'agent' and agent_id is not null group by agent_id having count(*) > 1) b)`).Scan(&twice)
	if err == nil && twice > 0 {
		err = fmt.Errorf("%d conversations or agents are given twice", twice)
	}
	return err
}

// histogram is patchbay_routing_seconds: how many decisions took no longer than each bound.
type histogram struct {
	bounds []float64
	counts []float64
}

func (b *bench) decisions(ctx context.Context) (h histogram, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", b.url+"/metrics", nil)
	if err != nil {
		return h, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), `patchbay_routing_seconds_bucket{le="`)
		if !ok {
			continue
		}
		bound, count, _ := strings.Cut(rest, `"} `)
		le, err := strconv.ParseFloat(bound, 64) // +Inf, too
		n, err2 := strconv.ParseFloat(count, 64)
		if errors.Join(err, err2) != nil {
			return h, fmt.Errorf("metrics: %q", lines.Text())
		}
		h.bounds, h.counts = append(h.bounds, le), append(h.counts, n)
	}
	if len(h.counts) == 0 {
		return h, errors.New("the server's /metrics say nothing of routing")
	}
	return h, nil
}

// minus says the percentiles of what was decided since, as the bounds that they lie under.
func (h histogram) minus(before histogram) string {
	all := h.counts[len(h.counts)-1] - before.counts[len(before.counts)-1]
	under := func(p float64) string {
		for i, bound := range h.bounds {
			if h.counts[i]-before.counts[i] >= p*all {
				return fmt.Sprintf("%.0f ms", bound*1000)
			}
		}
		return "?"
	}
	return fmt.Sprintf("p50 < %s   p99 < %s   (%.0f transactions of offers)", under(.5), under(.99), all)
}
