package agents

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// TestWhatTheRouterHears: news name agents, or only the line, or may mean anything.
func TestWhatTheRouterHears(t *testing.T) {
	for _, c := range []struct {
		news []string
		of   []int64
		all  bool
	}{
		{nil, nil, false},
		{[]string{`{"line":true}`}, nil, false},
		{[]string{`{"line":true,"agents":[7]}`, `{"agents":[3,7]}`}, []int64{3, 7}, false},
		{[]string{`{"agents":[3]}`, `{}`}, []int64{3}, true},
		{[]string{``}, nil, true},
		{[]string{`null`}, nil, true},
		{[]string{`not JSON`}, nil, true},
	} {
		var h heard
		for _, n := range c.news {
			h.add([]byte(n))
		}
		of, all := h.take()
		if slices.Sort(of); !cmp.Equal(of, c.of) || all != c.all {
			t.Errorf("%q: %v, all %v; want %v, %v", c.news, of, all, c.of, c.all)
		}
		if of, all = h.take(); len(of) > 0 || all {
			t.Errorf("%q is heard twice", c.news)
		}
	}
}

// TestOnlyWhoHasChangedIsLookedAt: while all have their hands full a customer who comes costs no question to the database, and who
// becomes free is found without a look at the others. Who was free before is remembered, and looked at again.
func TestOnlyWhoHasChangedIsLookedAt(t *testing.T) {
	h := newHouse(t)
	mira, ana := h.agent("Mira"), h.agent("Ana")
	h.exec(`update agents set capacity = 1`)
	for _, id := range []int64{mira, ana} {
		h.exec(`update conversations set state = 'agent', agent_id = $2 where id = $1`, h.waits(channels.Chat), id)
	}
	r, sql := h.asking()
	_, err := r.pass(h.ctx)
	h.ok(err)
	passOf := func(changed ...int64) []string {
		h.Helper()
		sql.list = nil
		_, err := r.passOf(h.ctx, changed)
		h.ok(err)
		return sql.list
	}
	rings := func(agent int64) int64 {
		return ask[int64](h, `select coalesce((select conversation_id from offers where agent_id = $1 and outcome is null), 0)`, agent)
	}
	first, second := h.waits(channels.Chat), h.waits(channels.Chat)
	if list := passOf(); len(list) > 0 {
		t.Errorf("nobody is free, and the database is asked %v", list)
	}
	h.exec(`update conversations set state = 'closed' where agent_id = $1`, mira)
	list := passOf(mira)
	if desks := slices.DeleteFunc(list, func(s string) bool { return !strings.Contains(s, "with there as") }); len(desks) == 0 || !strings.Contains(desks[0], fmt.Sprintf("[false true [%d]]", mira)) {
		t.Errorf("Mira has become free: %v", desks)
	}
	if rings(mira) != first || rings(ana) != 0 {
		t.Errorf("conversation %d rings at Mira, %d at Ana", rings(mira), rings(ana))
	}
	if list := passOf(); len(list) > 0 {
		t.Errorf("all are busy again, and the database is asked %v", list)
	}
	h.exec(`update conversations set state = 'closed' where id = $1`, second)
	h.exec(`update conversations set state = 'closed' where agent_id = $1`, ana)
	passOf(ana)
	third := h.waits(channels.Chat)
	if passOf(); rings(ana) != third {
		t.Errorf("Ana was free before it came: conversation %d rings, not %d", rings(ana), third)
	}
}

// TestLostNewsIsHealed: an agent who becomes free and is named by nobody is found by the sweep.
func TestLostNewsIsHealed(t *testing.T) {
	h := newHouse(t)
	mira := h.agent("Mira")
	h.exec(`update agents set capacity = 1`)
	h.exec(`update conversations set state = 'agent', agent_id = $2 where id = $1`, h.waits(channels.Chat), mira)
	ana := h.agent("Ana")
	toAna, frames := h.frames(ana), h.frames(mira)
	h.routes()
	h.waits(channels.Chat)
	h.next(toAna, "offer") // it has looked at all
	id := h.waits(channels.Chat)
	h.exec(`update conversations set state = 'closed' where agent_id = $1`, mira)
	h.ok(h.bus.Publish(channels.RouteSubject, channels.RouteNews{Line: true}))
	if o := h.next(frames, "offer").Offer; o.ConversationID != id {
		t.Errorf("%+v", o)
	}
}

// TestFewAgentsAreReadByThemselves: what is read of some agents does not grow with the desk, and of all only as it does, whatever the planner believes:
// that nobody works, as before the morning's rush, or how it is.
func TestFewAgentsAreReadByThemselves(t *testing.T) {
	tables := []string{"agents", "agent_sockets", "agent_queues", "agent_skills", "conversations", "offers", "calls", "call_parties"}
	for _, when := range []string{"before the rush", "in it"} {
		t.Run("statistics from "+when, func(t *testing.T) {
			h := newHouse(t)
			for _, table := range tables {
				h.exec(`alter table ` + table + ` set (autovacuum_enabled = false)`)
			}
			h.exec(`insert into contacts (name) values ('Line')`)
			h.exec(`insert into agents (login, name, presence, capacity) select n, n, 'available', 1 from generate_series(1, 1000) n`)
			h.exec(`insert into agent_queues (agent_id, queue_id) select id, $1 from agents`, h.queue)
			const talk = `insert into conversations (contact_id, queue_id, channel, state, agent_id) select (select max(id) from contacts), $1, 'voice', $2, id from agents`
			h.exec(talk, h.queue, "closed")
			h.exec(`insert into calls (conversation_id, direction, from_address, to_address, state) select id, 'in', '', '', 'ended' from conversations`)
			h.exec(`analyze`)
			h.exec(`insert into agent_sockets (id, agent_id, node_id) select id, id, 'n1' from agents`)
			h.exec(talk, h.queue, "agent")
			h.exec(`insert into calls (conversation_id, direction, from_address, to_address) select id, 'in', '', '' from conversations where state = 'agent'`)
			h.exec(`insert into offers (conversation_id, agent_id, expires_at) select id, agent_id, now() + interval '1 hour' from conversations where state = 'agent'`)
			some := ask[[]int64](h, `select array_agg(id) from (select id from agents order by id limit 5) a`)
			h.exec(`update offers set outcome = 'missed' where agent_id = any($1)`, some[:3])
			h.exec(`update calls set state = 'ended' where conversation_id in (select id from conversations where agent_id = any($1))`, some[:3])
			h.exec(`update conversations set state = 'closed' where agent_id = any($1)`, some[:3])
			h.exec(`insert into call_parties (call_id, agent_id, role) select max(id), $1, 'consulted' from calls`, some[2])
			if when == "in it" {
				h.exec(`analyze`)
			}
			var desk []candidate
			read := h.reads(tables, func(tx pgx.Tx) (err error) {
				for range 7 { // the sixth is planned for whichever they are
					if desk, err = atTheDesk(h.ctx, tx, whom{Only: some, Free: true}); err != nil {
						return err
					}
				}
				return nil
			})
			if len(desk) != 2 || desk[0].ID != some[0] || desk[1].ID != some[1] {
				t.Errorf("free are %+v, want %v", desk, some[:2])
			}
			t.Logf("%d rows are read for %d agents", read/7, len(some))
			if read/7 > 12*int64(len(some)) {
				t.Errorf("%d rows are read for %d of 1000 agents", read/7, len(some))
			}
			var all []candidate
			read = h.reads(tables, func(tx pgx.Tx) (err error) {
				all, err = atTheDesk(h.ctx, tx, whom{})
				return err
			})
			t.Logf("%d rows are read for all", read)
			if read > 20_000 {
				t.Errorf("%d rows are read for 1000 agents", read)
			}
			if len(all) != 1000 || slices.ContainsFunc(all, func(c candidate) bool { return (c.Busy == "") != slices.Contains(some[:2], c.ID) }) {
				t.Errorf("%d are at the desk, or the wrong ones are free", len(all))
			}
		})
	}
}
