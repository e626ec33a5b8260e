package switchboard

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/agents"
	"patchbay/channels"
)

func (f *flow) queue(change func(*agents.QueueSettings)) agents.QueueSettings {
	f.t.Helper()
	q := agents.NewQueue()
	change(&q)
	if err := pgx.BeginFunc(f.t.Context(), f.Pool, func(tx pgx.Tx) error { return agents.SaveQueue(f.t.Context(), tx, &q) }); err != nil {
		f.t.Fatal(err)
	}
	return q
}

func text(f *flow, sql string, args ...any) (s string) {
	f.t.Helper()
	if err := f.Pool.QueryRow(f.t.Context(), sql, args...).Scan(&s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// Who asks for a person when nobody answers hears when one will, and has a promise that is due then.
func TestAWishOutOfHours(t *testing.T) {
	f := newFlow(t)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	opens := today.Add(36 * time.Hour)
	f.queue(func(q *agents.QueueSettings) {
		q.ID, q.Name = f.QueueID, "Service"
		q.Hours.Week = []agents.Span{{Day: strings.ToLower(opens.Weekday().String()), From: opens.Format("15:04"), To: opens.Add(time.Minute).Format("15:04")}}
	})
	id := f.visitor("I want to talk to a human")
	f.state(id, channels.Waiting)
	due := text(f, `select to_char(due_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') from promises where conversation_id = $1`, id)
	if want := opens.Add(3 * time.Minute).Format("2006-01-02 15:04"); due != want {
		t.Errorf("due %s, want %s", due, want)
	}
	words := text(f, `select body from messages where conversation_id = $1 and data->>'code' = 'nobody_here'`, id)
	if want := "Nobody is here right now. A person answers tomorrow by " + opens.Add(3*time.Minute).Format("15:04") + ", UTC."; words != want && time.Now().UTC().Truncate(24*time.Hour).Equal(today) {
		t.Errorf("%q, want %q", words, want)
	}

	f.queue(func(q *agents.QueueSettings) {
		until := time.Now().Add(2 * time.Hour)
		q.ID, q.Name, q.ClosedUntil, q.ClosedWords = f.QueueID, "Service", &until, "The house is on fire."
	})
	id = f.visitor("I want to talk to a human")
	if words := text(f, `select body from messages where conversation_id = $1 and data->>'code' = 'nobody_here'`, id); !strings.HasPrefix(words, "The house is on fire. A person answers to") {
		t.Errorf("%q", words)
	}
}

// Each branch of an overflow keeps the conversation in a line, with its place and its promise.
func TestOverflowKeepsPlaceAndPromise(t *testing.T) {
	f := newFlow(t)
	sales := f.queue(func(q *agents.QueueSettings) { q.Name = "Sales" })
	f.queue(func(q *agents.QueueSettings) {
		q.ID, q.Name = f.QueueID, "Service"
		q.Overflows = []agents.Overflow{{Cause: agents.CauseWait, Threshold: 10, Action: agents.ToSkills}, {Cause: agents.CauseWait, Threshold: 20, Action: agents.ToMessage, Words: "It takes longer than usual."},
			{Cause: agents.CauseNobody, Threshold: 30, Action: agents.ToMessage, Words: "Everybody is out."}, {Cause: agents.CauseWait, Threshold: 40, Action: agents.ToQueue, ToQueueID: &sales.ID}}
	})
	id := f.visitor("I want to talk to a human")
	since := func() string { return text(f, `select waiting_since::text from conversations where id = $1`, id) }
	if _, err := f.Pool.Exec(t.Context(), `update conversations set waiting_since = waiting_since - interval '41 seconds' where id = $1`, id); err != nil {
		t.Fatal(err)
	}
	before := since()
	for range 2 { // the second finds nothing to do
		if err := f.sweepOverflow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.state(id, channels.Waiting)
	if since() != before || f.promises(id, "") != 1 {
		t.Errorf("since %s, was %s; %d promises", since(), before, f.promises(id, ""))
	}
	got := text(f, `select string_agg(case when private then '' else 'told: ' end || body, ' | ' order by seq) from messages
		where conversation_id = $1 and data->>'code' in ('overflow', 'longer')`, id)
	for _, want := range []string{"Anybody of Service may take it: it has waited 41 s in Service.", "told: It takes longer than usual.", "told: Everybody is out.",
		"nobody of Service is at the desk", "Moved to the queue Sales: it has waited 41 s in Service."} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not there once: %s", want, got)
		}
	}
	if q := text(f, `select q.name from conversations c join queues q on q.id = c.queue_id where c.id = $1`, id); q != "Sales" {
		t.Errorf("it is in %s", q)
	}

	moved, err := f.RemoveQueue(t.Context(), sales.ID, f.QueueID)
	if err != nil || moved != 1 {
		t.Fatalf("%d moved, %v", moved, err)
	}
	f.state(id, channels.Waiting)
	if since() != before || f.promises(id, "") != 1 {
		t.Error("the place or the promise was lost with the queue")
	}
}

// An agent who is deleted leaves nobody alone.
func TestADeletedAgentLeavesNobodyAlone(t *testing.T) {
	f := newFlow(t)
	admin := must(t)(agents.EnsureAgent(t.Context(), f.Pool, agents.Agent{Login: "root", Name: "Root", Role: "admin"}))
	mine, done, rings := f.visitor("I want a human"), f.visitor("I want a human"), f.visitor("I want a human")
	for _, id := range []int64{mine, done} {
		if err := f.Take(t.Context(), f.ana, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.End(t.Context(), f.ana, done); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Pool.Exec(t.Context(), `with o as (insert into offers (conversation_id, agent_id, expires_at) values ($1, $2, now() + interval '20 s'))
		update conversations set state = 'offered' where id = $1`, rings, f.ana); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RemoveAgent(t.Context(), f.ana, f.ana); channels.CodeOf(err) != channels.Conflict {
		t.Errorf("by itself: %v", err)
	}
	back, err := f.RemoveAgent(t.Context(), admin, f.ana)
	if err != nil || back != 2 {
		t.Fatalf("%d went back, %v", back, err)
	}
	f.state(mine, channels.Waiting)
	f.state(rings, channels.Waiting)
	f.state(done, channels.Closed)
	if f.promises(mine, "") != 1 || f.promises(rings, "") != 1 {
		t.Error("a promise was lost")
	}
	if _, err := f.RemoveAgent(t.Context(), f.bo, admin); channels.CodeOf(err) != channels.Conflict {
		t.Errorf("the last administrator: %v", err)
	}
}
