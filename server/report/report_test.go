package report

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gopkg.in/yaml.v3"

	"patchbay/channels"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// One small house, known by heart: Mira (agent, queue Service) and Ada (supervisor, no queue).
const seed = `
insert into nodes (id, name, seen_at) values ('n1', 'n', now() + interval '1 hour'), ('dead', 'd', now() - interval '1 minute');
insert into queues (name) values ('Service'), ('Sales');
insert into agents (login, name, role) values ('mira', 'Mira', 'agent'), ('ada', 'Ada', 'supervisor'), ('jo', 'Jo', 'agent');
insert into agent_queues values (1, 1);
insert into agent_sockets values ('t1', 1, 'n1'), ('t2', 3, 'dead');
insert into contacts (name) values ('Rosa Lindt'), (''), ('');
insert into addresses (contact_id, kind, value) values (1, 'email', 'rosa@example.org'), (2, 'email', 'x@example.org'),
	(2, 'phone', '+49301234567'), (3, 'visitor', 'abc');
insert into conversations (contact_id, queue_id, state, channel, agent_id, waiting_since, front, changed_at) values
	(1, 1, 'agent',   'voice', 1, null, false, now() - interval '1 minute'),
	(2, 1, 'waiting', 'chat',  null, now() - interval '9 minutes', false, now() - interval '2 minutes'),
	(3, 1, 'offered', 'chat',  null, now() - interval '3 minutes', true,  now() - interval '3 minutes'),
	(1, 2, 'waiting', 'email', null, now() - interval '5 minutes', false, now() - interval '4 minutes'),
	(1, 1, 'closed',  'chat',  1, null, false, now() - interval '5 minutes'),
	(2, 1, 'wrapup',  'chat',  1, null, false, now() - interval '6 minutes');
insert into calls (conversation_id, direction, from_address, to_address, state) values (1, 'in', '+49', '+50', 'ended'), (1, 'in', '+49', '+50', 'bridged');
insert into promises (conversation_id, source, due_at, closed_at) values (2, 'words', now(), now()), (2, 'button', now() + interval '1 minute', null);
insert into messages (conversation_id, seq, author, channel, kind, body) select 2, n, 'contact', 'chat', 'text', 'word ' || n from generate_series(1, 600) n;
update conversations set last_seq = 600, last_words = 'word 600', last_author = 'contact' where id = 2;`

func seeded(t *testing.T) (context.Context, *pgxpool.Pool) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	pool := dbtest.Pool(t)
	if _, err := pool.Exec(ctx, seed, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return ctx, pool
}

func TestList(t *testing.T) {
	ctx, pool := seeded(t)
	for _, c := range []struct {
		view  View
		agent int64
		want  []int64
	}{
		{Mine, 1, []int64{1, 6}}, {Mine, 2, nil},
		{Waiting, 1, []int64{3, 2}}, {Waiting, 2, []int64{3, 2, 4}}, {Waiting, 3, nil},
		{All, 3, []int64{1, 2, 3, 4, 5, 6}},
	} {
		list, err := List(ctx, pool, c.view, c.agent, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := idsOf(list); !slices.Equal(got, c.want) {
			t.Errorf("%s of %d: %v, want %v", c.view, c.agent, got, c.want)
		}
		counts, err := Count(ctx, pool, c.agent)
		if err != nil {
			t.Fatal(err)
		}
		n := map[View]int{Mine: counts[c.agent].Mine, Waiting: counts[c.agent].Waiting, All: counts[c.agent].All + 1} // one is closed
		if n[c.view] != len(c.want) {
			t.Errorf("%s of %d counts %d, lists %d", c.view, c.agent, n[c.view], len(c.want))
		}
	}
	first, err := List(ctx, pool, All, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	older, err := List(ctx, pool, All, 1, &first[3].ChangedAt)
	if err != nil || !slices.Equal(idsOf(older), []int64{5, 6}) {
		t.Errorf("page: %v, %v", idsOf(older), err)
	}
	if _, err := List(ctx, pool, "theirs", 1, nil); channels.CodeOf(err) != channels.Invalid {
		t.Error(err)
	}
}

func TestRows(t *testing.T) {
	ctx, pool := seeded(t)
	list, err := Rows(ctx, pool, []int64{1, 2, 3, 99})
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	slices.SortFunc(list, func(a, b ConversationRow) int { return int(a.ID - b.ID) })
	if r := list[0]; r.ContactName != "Rosa Lindt" || r.AgentName != "Mira" || r.CallID == nil || *r.CallID != 2 || r.CallState != "bridged" {
		t.Errorf("%+v", r)
	}
	if r := list[1]; r.ContactName != "+49301234567" || r.LastWords != "word 600" || r.LastAuthor != channels.ByContact ||
		r.PromiseDueAt == nil || r.PromiseOpenedAt == nil || r.CallID != nil || r.AgentID != nil {
		t.Errorf("%+v", r)
	}
	if r := list[2]; r.ContactName != "Visitor 3" || !r.Front || r.QueueName != "Service" {
		t.Errorf("%+v", r)
	}
}

func TestDetail(t *testing.T) {
	ctx, pool := seeded(t)
	d, err := Detail(ctx, pool, 1)
	if err != nil {
		t.Fatal(err)
	}
	if d.Contact.Name != "Rosa Lindt" || len(d.Addresses) != 1 || !slices.Equal(idsOf(d.Earlier), []int64{5, 4}) || len(d.Calls) != 2 {
		t.Errorf("%+v", d)
	}
	if d.Card != nil {
		t.Errorf("it never waited: %+v", d.Card)
	}
	card := channels.Card{Seq: 7, Lines: []channels.CardLine{{Kind: channels.CardWho, Text: "Rosa", Seqs: []int64{1}}}}
	if _, err := pool.Exec(ctx, `update conversations set card = $1 where id = 1`, card); err != nil {
		t.Fatal(err)
	}
	if d, err = Detail(ctx, pool, 1); err != nil || d.Card == nil || d.Card.Seq != 7 || d.Card.Find(channels.CardWho).Text != "Rosa" {
		t.Errorf("%+v, %v", d.Card, err)
	}
	if _, err := Detail(ctx, pool, 99); channels.CodeOf(err) != channels.NotFound {
		t.Error(err)
	}
	d, err = Detail(ctx, pool, 3)
	if raw, _ := json.Marshal(d); err != nil || !strings.Contains(string(raw), `"earlier":[],"calls":[]`) {
		t.Errorf("empty lists: %s, %v", raw, err)
	}
}

func TestMessages(t *testing.T) {
	ctx, pool := seeded(t)
	p := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name          string
		after, before *int64
		limit         int
		first, last   int64
	}{
		{"newest", nil, nil, 200, 401, 600},
		{"after", p(0), nil, 3, 1, 3},
		{"after the middle", p(598), nil, 200, 599, 600},
		{"before", nil, p(401), 200, 201, 400},
		{"between", p(10), p(13), 200, 11, 12},
		{"too many", p(0), nil, 9999, 1, 500},
	} {
		list, err := Messages(ctx, pool, 2, c.after, c.before, c.limit)
		if err != nil || len(list) == 0 {
			t.Fatal(c.name, err)
		}
		if list[0].Seq != c.first || list[len(list)-1].Seq != c.last || int64(len(list)) != c.last-c.first+1 {
			t.Errorf("%s: %d..%d", c.name, list[0].Seq, list[len(list)-1].Seq)
		}
	}
	if list, err := Messages(ctx, pool, 1, nil, nil, 10); err != nil || list == nil || len(list) != 0 {
		t.Error("no messages:", list, err)
	}
	if _, err := Messages(ctx, pool, 99, p(3), nil, 10); channels.CodeOf(err) != channels.NotFound {
		t.Error(err)
	}
	if seqs, err := LastSeqs(ctx, pool, []int64{1, 2, 99}); err != nil || len(seqs) != 2 || seqs[2] != 600 {
		t.Error(seqs, err)
	}
}

func TestDesk(t *testing.T) {
	ctx, pool := seeded(t)
	queues, err := Queues(ctx, pool)
	if err != nil || len(queues) != 2 || queues[1].Waiting != 2 || queues[1].LongestWaitSeconds < 540 || queues[1].LongestWaitSeconds > 600 {
		t.Errorf("%+v, %v", queues, err)
	}
	all, err := Colleagues(ctx, pool)
	if err != nil || len(all) != 3 || all[0].Name != "Ada" || all[0].Online || all[1].Online || !all[2].Online {
		t.Errorf("%+v, %v", all, err)
	}
	me, call, err := Me(ctx, pool, 1)
	if err != nil || me.Name != "Mira" || me.HasPassword || !slices.Equal(me.QueueIDs, []int64{1}) || call == nil || call.ID != 2 {
		t.Errorf("%+v, %+v, %v", me, call, err)
	}
	if me, call, err := Me(ctx, pool, 2); err != nil || call != nil || me.QueueIDs == nil {
		t.Errorf("%+v, %+v, %v", me, call, err)
	}
	if _, _, err := Me(ctx, pool, 99); channels.CodeOf(err) != channels.NotFound {
		t.Error(err)
	}
}

// TestUrgent: call backs that are about to break or were given up, while nobody has them; agents see those of their queues.
func TestUrgent(t *testing.T) {
	ctx, pool := seeded(t)
	do := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(agent int64, want string) {
		t.Helper()
		list, err := List(ctx, pool, Urgent, agent, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, r := range list {
			got = append(got, fmt.Sprint(r.ID, " ", r.CallBackAlarm, " ", r.CallBackLast))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("agent %d: %v, want %s", agent, got, want)
		}
	}
	do(`insert into promises (conversation_id, source, due_at, number, tries, last_try) values (3, 'call_back', now(), '+4940222', 0, ''),
		(4, 'call_back', now() + interval '1 minute', '+4940333', 3, 'busy'), (1, 'call_back', now(), '+4940444', 1, 'busy')`)
	sees(2, "")
	do(`update promises set escalated_at = now() where number in ('+4940222', '+4940444')`)
	do(`update promises set given_up_at = now(), escalated_at = now() where number = '+4940333'`)
	sees(1, "3 due ")
	sees(2, "3 due , 4 failed busy")
	sees(3, "")
	do(`update conversations set state = 'agent', agent_id = 1 where id = 3`)
	do(`update promises set number = '' where number = '+4940333'`)
	sees(2, "")
	if row, err := Rows(ctx, pool, []int64{2, 3, 4}); err != nil || row[0].CallBackAlarm+row[1].CallBackAlarm+row[2].CallBackAlarm != "" {
		t.Errorf("%+v, %v", row, err)
	}
}

func idsOf(list []ConversationRow) (ids []int64) {
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	return ids
}

// The structs that travel as they are have exactly the fields of their schemas.
func TestStructsMatchTheSpec(t *testing.T) {
	raw, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var spec struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
			}
		}
	}
	if err := yaml.Unmarshal(raw, &spec); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"ConversationRow": ConversationRow{}, "Counts": Counts{}, "ConversationDetail": ConversationDetail{},
		"Queue": Queue{}, "Colleague": Colleague{}} {
		var want, got []string
		for field := range spec.Components.Schemas[name].Properties {
			want = append(want, field)
		}
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
			if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); !field.Anonymous && tag != "-" {
				got = append(got, tag)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s: spec %v, struct %v", name, want, got)
		}
	}
}
