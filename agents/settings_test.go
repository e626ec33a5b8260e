package agents

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

func (h *house) tx(do func(tx pgx.Tx) error) error { return pgx.BeginFunc(h.ctx, h.pool, do) }

func (h *house) saved(q QueueSettings) QueueSettings {
	h.Helper()
	h.ok(h.tx(func(tx pgx.Tx) error { return SaveQueue(h.ctx, tx, &q) }))
	return q
}

func TestQueueSettingsComeBackAsTheyWere(t *testing.T) {
	h := newHouse(t)
	french := Skill{Name: " French  language "}
	h.ok(h.tx(func(tx pgx.Tx) error { return SaveSkill(h.ctx, tx, &french) }))
	q := NewQueue()
	never, until := 600, time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	q.Name, q.Strategy, q.Sticky, q.Priority, q.AgeBonus, q.Weight, q.ChatLoad, q.AnybodySeconds, q.ClosedUntil, q.PromiseShare = "Sales", RingAll, true, 5, 2, 3, 2, &never, &until, 90
	q.Hours = Hours{Zone: "Europe/Berlin", Week: []Span{{"monday", "09:00", "17:00"}}, Holidays: []Holiday{{Date: "12-25", Name: "Christmas"}}}
	q.Skills = []Step{{french.ID, 0, 3}, {french.ID, 60, 0}}
	q.Overflows = []Overflow{{CauseLength, 10, ToMessage, nil, "We are many."}, {CauseWait, 120, ToQueue, &h.queue, ""}}
	q = h.saved(q)
	q.Hours.loc = nil
	s, err := ReadLineSettings(h.ctx, h.pool)
	h.ok(err)
	if diff := cmp.Diff(q, s.Queues[0], cmpopts.IgnoreUnexported(Hours{}), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
	if s.Skills[0].Name != "French language" || s.FirstID != h.queue || len(s.Breaks) != 3 {
		t.Errorf("%+v", s)
	}
	// a rule that stays keeps its row: a wait remembers by it what was done
	kept := ask[int64](h, `select id from queue_overflows where cause = 'wait'`)
	q.Overflows = q.Overflows[1:]
	q = h.saved(q)
	if n := ask[int64](h, `select max(id) from queue_overflows`); n != kept {
		t.Errorf("rule %d is %d now", kept, n)
	}
	refusedWith(t, h.tx(func(tx pgx.Tx) error { return DeleteSkill(h.ctx, tx, french.ID) }), channels.Conflict, "The queue Sales asks for it.")
}

func TestBadQueueSettings(t *testing.T) {
	h := newHouse(t)
	other := NewQueue()
	other.Name = "Other"
	other = h.saved(other)
	zero := 0
	far := time.Now().AddDate(3, 0, 0)
	for field, change := range map[string][]func(q *QueueSettings){
		"name":            {func(q *QueueSettings) { q.Name = "  " }, func(q *QueueSettings) { q.Name = "Service" }},
		"strategy":        {func(q *QueueSettings) { q.Strategy = "loudest" }},
		"offer_seconds":   {func(q *QueueSettings) { q.OfferSeconds = 4 }, func(q *QueueSettings) { q.OfferSeconds = 121 }},
		"promise_seconds": {func(q *QueueSettings) { q.PromiseSeconds = 0 }},
		"promise_share":   {func(q *QueueSettings) { q.PromiseShare = 0 }, func(q *QueueSettings) { q.PromiseShare = 100 }}, // 100: a budget of nothing burns without end
		"weight":          {func(q *QueueSettings) { q.Weight = 0 }},
		"chat_load":       {func(q *QueueSettings) { q.ChatLoad = 21 }},
		"anybody_seconds": {func(q *QueueSettings) { q.AnybodySeconds = &zero }},
		"closed_until":    {func(q *QueueSettings) { q.ClosedUntil = &far }},
		"hours.zone":      {func(q *QueueSettings) { q.Hours.Zone = "Mars/Olympus" }},
		"skills": {func(q *QueueSettings) { q.Skills = []Step{{1, 30, 3}} }, func(q *QueueSettings) { q.Skills = []Step{{1, 0, 2}, {1, 60, 3}} },
			func(q *QueueSettings) { q.Skills = []Step{{77, 0, 2}} }, func(q *QueueSettings) { q.Skills = []Step{{1, 0, 6}} }},
		"overflows": {func(q *QueueSettings) { q.Overflows = []Overflow{{"boredom", 1, ToSkills, nil, ""}} },
			func(q *QueueSettings) { q.Overflows = []Overflow{{CauseWait, 0, ToSkills, nil, ""}} },
			func(q *QueueSettings) { q.Overflows = []Overflow{{CauseWait, 60, ToQueue, nil, ""}} },
			func(q *QueueSettings) { q.Overflows = []Overflow{{CauseWait, 60, ToQueue, &q.ID, ""}} },
			func(q *QueueSettings) { n := int64(999); q.Overflows = []Overflow{{CauseWait, 60, ToQueue, &n, ""}} },
			func(q *QueueSettings) { q.Overflows = []Overflow{{CauseWait, 60, ToMessage, nil, " "}} },
			func(q *QueueSettings) { q.Overflows = []Overflow{{CauseWait, 60, "drop", nil, ""}} },
			func(q *QueueSettings) {
				q.Overflows = []Overflow{{CauseWait, 60, ToSkills, nil, ""}, {CauseWait, 60, ToSkills, nil, ""}}
			}},
	} {
		for i, f := range change {
			q := other
			f(&q)
			err := h.tx(func(tx pgx.Tx) error { return SaveQueue(h.ctx, tx, &q) })
			var e *channels.Error
			if !asError(err, &e) || e.Field != field {
				t.Errorf("%s %d: %v", field, i, err)
			}
		}
	}
	gone := NewQueue()
	gone.ID, gone.Name = 4711, "Gone"
	refusedWith(t, h.tx(func(tx pgx.Tx) error { return SaveQueue(h.ctx, tx, &gone) }), channels.NotFound, "There is no such queue.")
}

func TestAgentSettings(t *testing.T) {
	h := newHouse(t)
	mira := h.agent("Mira")
	french := Skill{Name: "French"}
	h.ok(h.tx(func(tx pgx.Tx) error { return SaveSkill(h.ctx, tx, &french) }))
	h.exec(`update agent_queues set offered_at = now()`)
	want := AgentSettings{ID: mira, Login: "mira", Name: "Mira", Role: "agent", Capacity: 2, Queues: []Membership{{h.queue, 7, 3}}, Skills: []Level{{french.ID, 4}}}
	in := AgentSettings{ID: mira, Login: "other", Role: "admin", Capacity: 2, Queues: want.Queues, Skills: want.Skills}
	h.ok(h.tx(func(tx pgx.Tx) error { return SaveAgent(h.ctx, tx, &in) }))
	s, err := ReadLineSettings(h.ctx, h.pool)
	h.ok(err)
	if diff := cmp.Diff(want, s.Agents[0]); diff != "" {
		t.Error(diff)
	}
	if n := ask[int64](h, `select count(*) from agent_queues where offered_at is not null`); n != 1 {
		t.Error("the turn was lost")
	}
	for field, bad := range map[string]AgentSettings{
		"capacity": {ID: mira, Capacity: 0},
		"queues":   {ID: mira, Capacity: 1, Queues: []Membership{{999, 1, 1}}},
		"skills":   {ID: mira, Capacity: 1, Skills: []Level{{french.ID, 6}}},
	} {
		err := h.tx(func(tx pgx.Tx) error { return SaveAgent(h.ctx, tx, &bad) })
		var e *channels.Error
		if !asError(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	names, err := []string(nil), error(nil)
	h.ok(h.tx(func(tx pgx.Tx) error { names, err = SaveBreaks(h.ctx, tx, []string{" tea ", "lunch"}); return err }))
	if again, _ := Breaks(h.ctx, h.pool); !cmp.Equal(again, names) || again[0] != "tea" {
		t.Errorf("%v", again)
	}
	refusedWith(t, h.tx(func(tx pgx.Tx) error { _, err := SaveBreaks(h.ctx, tx, []string{"missed"}); return err }), channels.Invalid, "")
}

func TestADeletedQueueLosesNobody(t *testing.T) {
	h := newHouse(t)
	sales := NewQueue()
	sales.Name = "Sales"
	sales = h.saved(sales)
	id := h.waits(channels.Chat)
	h.exec(`update conversations set queue_id = $1, waiting_since = waiting_since - interval '1 hour'`, sales.ID)
	h.exec(`insert into promises (conversation_id, source, due_at) values ($1, 'words', now())`, id)
	h.exec(`insert into queue_overflows (queue_id, cause, threshold, action, to_queue_id) values ($1, 'wait', 60, 'queue', $2)`, h.queue, sales.ID)
	h.exec(`insert into numbers (number, queue_id) values ('+4930', $1)`, sales.ID)
	later := h.waits(channels.Chat)
	del := func(id, to int64) (moved []int64, err error) {
		err = h.tx(func(tx pgx.Tx) error { moved, err = DeleteQueue(h.ctx, tx, id, to); return err })
		return moved, err
	}
	_, err := del(h.queue, sales.ID)
	refusedWith(t, err, channels.Conflict, "")
	_, err = del(sales.ID, sales.ID)
	refusedWith(t, err, channels.Invalid, "")
	_, err = del(sales.ID, 999)
	refusedWith(t, err, channels.Invalid, "")
	_, err = del(999, h.queue)
	refusedWith(t, err, channels.NotFound, "There is no such queue.")
	moved, err := del(sales.ID, h.queue)
	if err != nil || !cmp.Equal(moved, []int64{id}) {
		t.Fatalf("%v, %v", moved, err)
	}
	if place, _, _, _ := NewLine(h.pool).Expect(h.ctx, id); place != 1 {
		t.Errorf("place %d, before one who came an hour later (%d)", place, later)
	}
	row := ask[string](h, `select format('%s %s %s %s', (select count(*) from promises where closed_at is null), (select body from messages where conversation_id = $1 order by seq desc limit 1),
		(select last_seq from conversations where id = $1) - (select max(seq) from messages where conversation_id = $1), (select queue_id = $2 from numbers))`, id, h.queue)
	if row != "1 The queue Sales was deleted. It belongs to Service now and keeps its place. 0 t" {
		t.Error(row)
	}
	if n := ask[int64](h, `select count(*) from queue_overflows`); n != 0 {
		t.Error("a rule leads to its own queue")
	}
}

func TestOverflowsComeOnce(t *testing.T) {
	h := newHouse(t)
	q := NewQueue()
	q.ID, q.Name = h.queue, "Service"
	q.Overflows = []Overflow{{CauseWait, 60, ToSkills, nil, ""}, {CauseLength, 1, ToMessage, nil, "It takes longer."}, {CauseNobody, 30, ToMessage, nil, "Alone."}}
	h.saved(q)
	list := func() (causes []string) {
		t.Helper()
		rows, err := Overflows(h.ctx, h.pool, 10)
		h.ok(err)
		for _, o := range rows {
			causes = append(causes, o.Cause)
		}
		return causes
	}
	first := h.waits(channels.Chat)
	if got := list(); len(got) != 0 {
		t.Errorf("at once: %v", got)
	}
	second := h.waits(channels.Chat)
	if got := list(); !cmp.Equal(got, []string{CauseLength}) {
		t.Errorf("one before it: %v", got)
	}
	h.exec(`update conversations set waiting_since = waiting_since - interval '61 seconds' where id = $1`, first)
	if got := list(); !cmp.Equal(got, []string{CauseNobody, CauseWait, CauseLength}) {
		t.Errorf("nobody is there: %v", got)
	}
	mira := h.agent("Mira")
	if got := list(); !cmp.Equal(got, []string{CauseWait, CauseLength}) {
		t.Errorf("Mira came: %v", got)
	}
	rows, err := Overflows(h.ctx, h.pool, 10)
	h.ok(err)
	took := 0
	for range 2 {
		for _, o := range rows {
			h.ok(h.tx(func(tx pgx.Tx) error {
				mine, err := TakeOverflow(h.ctx, tx, o)
				if mine {
					took++
				}
				return err
			}))
		}
	}
	if got := list(); took != 2 || len(got) != 0 {
		t.Errorf("%d taken, %v left", took, got)
	}
	if rows[0].ConversationID != first || rows[0].Reason() != "it has waited 1 min in Service" || rows[1].Reason() != "1 conversation before it in Service" {
		t.Errorf("%q, %q", rows[0].Reason(), rows[1].Reason())
	}
	h.exec(`delete from agent_sockets where agent_id = $1`, mira)
	h.exec(`update conversations set waiting_since = clock_timestamp() - interval '31 seconds' where id = $1`, second) // a new wait
	if got := list(); !cmp.Equal(got, []string{CauseNobody, CauseLength, CauseNobody}) {
		t.Errorf("a new wait begins anew: %v", got)
	}
}
