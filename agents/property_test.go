package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"patchbay/channels"
)

// Beside TestPickProperties, which plays with the pure rule: the same promises for the rule, its SQL and two nodes together,
// on a real database. What must hold is asked of the rows by queries of the test's own.

// unserved are pairs of a conversation that waits and an agent who could have it now.
const unserved = `select coalesce(string_agg(format('conversation %s waits, agent %s is free', c.id, a.id), '; '), '')
	from conversations c join queues q on q.id = c.queue_id join agent_queues m on m.queue_id = q.id join agents a on a.id = m.agent_id
	where c.state = 'waiting' and a.presence = 'available' and exists (select from agent_sockets s where s.agent_id = a.id and s.node_id <> 'dead')
	and not exists (select from offers o where o.agent_id = a.id and o.outcome is null)
	and (` + loadOf + ` = 0 or ` + loadOf + ` + case c.channel when 'chat' then q.chat_load when 'email' then q.email_load else 1 end <= a.capacity)
	and ` + mayHave + ` and not exists (select from offers o where o.conversation_id = c.id and o.agent_id = a.id and o.outcome in ('declined', 'missed') and o.ended_at > now() - interval '61 s')`

const loadOf = `(select coalesce(sum(case h.channel when 'chat' then hq.chat_load when 'email' then hq.email_load else 1 end), 0)::int
	from conversations h join queues hq on hq.id = h.queue_id where h.agent_id = a.id and h.state = 'agent')`

// mayHave: the agent has the skills that the queue asks for after this wait.
const mayHave = `not exists (select from (select distinct on (skill_id) skill_id, level from queue_skills k where k.queue_id = q.id
		and k.after_seconds <= extract(epoch from clock_timestamp() - c.waiting_since) order by skill_id, after_seconds desc) need
	where need.level > coalesce((select level from agent_skills s where s.agent_id = a.id and s.skill_id = need.skill_id), 0))`

// overtaken are offers by which somebody was passed by who stood before, and whom the same agent could have had.
const overtaken = `select coalesce(string_agg(format('conversation %s rings at agent %s, %s stood before', x.id, a.id, c.id), '; '), '')
	from offers o join agents a on a.id = o.agent_id join conversations x on x.id = o.conversation_id join queues xq on xq.id = x.queue_id
	join conversations c on c.state = 'waiting' and c.channel = x.channel join queues q on q.id = c.queue_id join agent_queues m on m.queue_id = q.id and m.agent_id = a.id
	where o.outcome is null and o.id > $1 and (c.front, q.priority, x.waiting_since) > (x.front, xq.priority, c.waiting_since)
	and case c.channel when 'email' then q.email_load <= xq.email_load else q.chat_load <= xq.chat_load end
	and ` + mayHave + ` and not exists (select from offers r where r.conversation_id = c.id and r.agent_id = a.id and r.outcome in ('declined', 'missed') and r.ended_at > now() - interval '61 s')`

// broken are states that must never be: two agents, two offers, an agent beyond capacity, an offer for what is not offered.
const broken = `select coalesce(string_agg(what, '; '), '') from (
	select format('conversation %s is offered %s times', conversation_id, count(*)) as what from offers where outcome is null group by conversation_id having count(*) > 1
	union all select format('agent %s is asked %s times at once', agent_id, count(*)) from offers where outcome is null group by agent_id having count(*) > 1
	union all select format('conversation %s is %s with %s open offers', c.id, c.state, n) from conversations c, lateral (select count(*) as n from offers o where o.conversation_id = c.id and o.outcome is null) o
		where (c.state = 'offered') <> (n > 0)
	union all select format('conversation %s is with nobody', id) from conversations where state = 'agent' and agent_id is null
	union all select format('agent %s holds %s of %s', a.id, ` + loadOf + `, a.capacity) from agents a where ` + loadOf + ` > a.capacity
		and (select count(*) from conversations h where h.agent_id = a.id and h.state = 'agent') > 1) b`

// lineWorld is the random world on the database.
type lineWorld struct {
	*house
	rt     *rapid.T
	nodes  [2]*Router
	queues []int64
	people []int64
}

func newLineWorld(h *house) *lineWorld {
	w := &lineWorld{house: h, queues: []int64{h.queue}}
	for i := range w.nodes {
		w.nodes[i] = NewRouter(RouterConfig{Pool: h.pool, Bus: h.bus, NodeID: fmt.Sprint("n", i+1), Log: slog.New(slog.DiscardHandler)})
	}
	for _, name := range []string{"Repairs", "Billing"} {
		id, err := EnsureQueue(h.ctx, h.pool, name)
		h.ok(err)
		w.queues = append(w.queues, id)
	}
	h.exec(`insert into skills (name) values ('French')`)
	for _, name := range []string{"Mira", "Ana", "Jo", "Kim"} {
		w.people = append(w.people, h.agent(name))
	}
	return w
}

// begin clears the world and draws queues and agents anew.
func (w *lineWorld) begin(rt *rapid.T) {
	w.rt = rt
	w.exec(`delete from conversations`)
	w.exec(`delete from queue_skills`)
	w.exec(`delete from agent_skills`)
	w.exec(`delete from agent_queues`)
	for i, q := range w.queues {
		w.exec(`update queues set priority = $2, chat_load = $3, email_load = $4, age_bonus = 0, weight = 1, strategy = $5 where id = $1`, q, rapid.IntRange(0, 2).Draw(rt, "priority"),
			rapid.IntRange(1, 2).Draw(rt, "chat load"), rapid.IntRange(2, 3).Draw(rt, "mail load"), rapid.SampledFrom([]string{LongestIdle, RoundRobin, FewestCalls, TopDown, WeightedRandom}).Draw(rt, "strategy"))
		if i > 0 && rapid.Bool().Draw(rt, "asks") {
			w.exec(`insert into queue_skills (queue_id, skill_id, after_seconds, level) select $1, id, s, l from skills, (values (0, 3), (60, 1)) v (s, l)`, q)
		}
	}
	for _, a := range w.people {
		w.exec(`update agents set presence = 'available', next_presence = null, capacity = $2 where id = $1`, a, rapid.IntRange(2, 4).Draw(rt, "capacity"))
		w.exec(`update agent_sockets set node_id = 'n1' where agent_id = $1`, a)
		if level := rapid.IntRange(0, 3).Draw(rt, "French"); level > 0 {
			w.exec(`insert into agent_skills (agent_id, skill_id, level) select $1, id, $2 from skills`, a, level)
		}
		for _, q := range rapid.SliceOfNDistinct(rapid.SampledFrom(w.queues), 1, 3, rapid.ID).Draw(rt, "queues") {
			w.exec(`insert into agent_queues (agent_id, queue_id) values ($1, $2)`, a, q)
		}
	}
}

func (w *lineWorld) step() {
	rt := w.rt
	switch rapid.SampledFrom([]string{"come", "come", "answers", "answers", "answers", "declines", "misses", "ends", "ends", "passes on", "tab dies", "tab is back", "away", "node dies", "news", "time goes"}).Draw(rt, "event") {
	case "come":
		for range rapid.IntRange(1, 4).Draw(rt, "at once") {
			id := w.waits(rapid.SampledFrom([]channels.Kind{channels.Chat, channels.Email}).Draw(rt, "channel"))
			w.exec(`update conversations set queue_id = $2 where id = $1`, id, rapid.SampledFrom(w.queues).Draw(rt, "queue"))
		}
	case "answers":
		if id, agent := w.open(); id != 0 {
			w.tolerate(w.accept(id, agent))
		}
	case "declines":
		if id, agent := w.open(); id != 0 {
			w.tolerate(w.decline(id, agent))
		}
	case "misses":
		if id, agent := w.open(); id != 0 {
			w.exec(`update offers set expires_at = clock_timestamp() where id = $1`, id)
			w.settle()
			w.tolerate(SetPresence(w.ctx, w.pool, w.bus, agent, Available, "")) // comes back
		}
	case "ends":
		w.exec(`update conversations set state = 'closed', agent_id = null where id = (select id from conversations where state = 'agent' order by id limit 1)`)
	case "passes on":
		w.exec(`update conversations set state = 'waiting', agent_id = null, front = true, waiting_since = clock_timestamp() where id = (select id from conversations where state = 'agent' order by id desc limit 1)`)
	case "tab dies":
		w.exec(`update agent_sockets set node_id = 'dead' where agent_id = $1`, rapid.SampledFrom(w.people).Draw(rt, "agent"))
	case "tab is back":
		w.exec(`update agent_sockets set node_id = 'n1' where agent_id = $1`, rapid.SampledFrom(w.people).Draw(rt, "agent"))
	case "away":
		presence := rapid.SampledFrom([]Presence{Available, Available, Away}).Draw(rt, "presence")
		w.tolerate(SetPresence(w.ctx, w.pool, w.bus, rapid.SampledFrom(w.people).Draw(rt, "agent"), presence, ""))
	case "node dies": // in the middle of its work
		ctx, cancel := context.WithTimeout(w.ctx, time.Duration(rapid.IntRange(100, 6000).Draw(rt, "microseconds"))*time.Microsecond)
		_, _ = w.nodes[0].pass(ctx)
		cancel()
	case "news": // of some agents only, true or not
		_, err := w.nodes[rapid.IntRange(0, 1).Draw(rt, "node")].passOf(w.ctx, rapid.SliceOfNDistinct(rapid.SampledFrom(w.people), 0, 3, rapid.ID).Draw(rt, "of"))
		w.tolerate(err)
	case "time goes":
		w.exec(`update conversations set waiting_since = waiting_since - interval '40 s' where state = 'waiting'`)
		w.exec(`update offers set ended_at = ended_at - interval '40 s' where outcome is not null`)
	}
}

// open is one of the open offers.
func (w *lineWorld) open() (offer, agent int64) {
	list, err := all[struct{ ID, AgentID int64 }](w.ctx, w.pool, "open offers", `select id, agent_id from offers where outcome is null order by id`)
	w.ok(err)
	if len(list) == 0 {
		return 0, 0
	}
	o := list[rapid.IntRange(0, len(list)-1).Draw(w.rt, "offer")]
	return o.ID, o.AgentID
}

func (w *lineWorld) tolerate(err error) {
	if err != nil && channels.CodeOf(err) == "" {
		w.rt.Fatal(err)
	}
}

// settle lets both nodes route at the same time until neither finds anything.
func (w *lineWorld) settle() {
	for quiet := false; !quiet; {
		before := ask[int64](w.house, `select coalesce(max(id), 0) from offers`)
		var both sync.WaitGroup
		var errs [2]error
		var next [2]time.Duration
		for i, n := range w.nodes {
			both.Go(func() { next[i], errs[i] = n.pass(w.ctx) })
		}
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			w.rt.Fatal(err)
		}
		quiet = next[0] != retryAfter && next[1] != retryAfter && before == ask[int64](w.house, `select coalesce(max(id), 0) from offers`)
	}
}

func (w *lineWorld) holds(what, sql string, args ...any) {
	if wrong := ask[string](w.house, sql, args...); wrong != "" {
		w.rt.Fatalf("%s: %s", what, wrong)
	}
}

// TestLineProperties: random arrivals, answers, refusals, misses, ends, passings-on, dying tabs and a node that dies in
// mid-work, with two nodes routing at once. Whenever they have come to rest nobody waits while somebody who fits is free,
// nobody stands with two, nobody was overtaken within their priority, and nobody holds more than they can.
func TestLineProperties(t *testing.T) {
	w := newLineWorld(newHouse(t))
	limit := time.Now().Add(15 * time.Second)
	worlds, steps := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if steps >= 20 && time.Now().After(limit) {
			return
		}
		worlds++
		w.begin(rt)
		for range rapid.IntRange(5, 30).Draw(rt, "steps") {
			steps++
			last := ask[int64](w.house, `select coalesce(max(id), 0) from offers`)
			w.step()
			w.settle()
			w.holds("waits beside a free agent", unserved)
			w.holds("must never be", broken)
			w.holds("overtaken", overtaken, last)
		}
	})
	t.Logf("%d worlds, %d steps", worlds, steps)
	if !t.Failed() && steps < 20 {
		t.Errorf("%d steps: too few to prove anything", steps)
	}
}
