package channels_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gopkg.in/yaml.v3"

	"patchbay/channels"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestMovesAreWhatTheHouseSays(t *testing.T) {
	want := map[channels.State][]channels.State{
		channels.New:     {channels.Bot, channels.Waiting, channels.Closed},
		channels.Bot:     {channels.Waiting, channels.Closed},
		channels.Waiting: {channels.Bot, channels.Offered, channels.Closed},
		channels.Offered: {channels.Waiting, channels.Agent, channels.Closed},
		channels.Agent:   {channels.Waiting, channels.Wrapup},
		channels.Wrapup:  {channels.Waiting, channels.Agent, channels.Closed},
		channels.Closed:  {channels.Bot, channels.Waiting},
	}
	for _, from := range channels.States {
		var got []channels.State
		for _, to := range channels.States {
			if channels.CanMove(from, to) {
				got = append(got, to)
			}
		}
		if d := cmp.Diff(want[from], got); d != "" {
			t.Errorf("from %s (-want +got):\n%s", from, d)
		}
	}
}

// TestOneListOfStates: SQL's check and the API's enum are the list in state.go.
func TestOneListOfStates(t *testing.T) {
	var want []string
	for _, s := range channels.States {
		want = append(want, string(s))
	}
	sql, err := os.ReadFile("../server/db/migrations/0001_house.sql")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`check \(state in \(('new'[^)]*)\)`).FindSubmatch(sql)
	if m == nil {
		t.Fatal("the migration has no check of conversations.state")
	}
	if d := cmp.Diff(want, strings.Split(strings.NewReplacer("'", "", " ", "").Replace(string(m[1])), ",")); d != "" {
		t.Errorf("migration (-state.go +sql):\n%s", d)
	}
	var spec struct {
		Components struct {
			Schemas map[string]struct{ Enum []string }
		}
	}
	text, err := os.ReadFile("../server/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, spec.Components.Schemas["State"].Enum); d != "" {
		t.Errorf("openapi.yaml (-state.go +yaml):\n%s", d)
	}
}

func begin(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	var queue, id int64
	if err := pool.QueryRow(t.Context(), `insert into queues (name) values ('q') on conflict (name) do update set name = 'q' returning id`).Scan(&queue); err != nil {
		t.Fatal(err)
	}
	in(t, pool, func(tx pgx.Tx) {
		contact, err := channels.OpenContact(t.Context(), tx, channels.Address{Kind: channels.Visitor, Value: t.Name()}, "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := channels.Begin(t.Context(), tx, contact.ID, queue, channels.Chat, "")
		if err != nil {
			t.Fatal(err)
		}
		id = c.ID
	})
	return id
}

func in(t *testing.T, pool *pgxpool.Pool, do func(pgx.Tx)) {
	t.Helper()
	if err := pgx.BeginFunc(context.Background(), pool, func(tx pgx.Tx) error { do(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestAppendCountsWithoutGap: many writers, some of them twice with one client id.
func TestAppendCountsWithoutGap(t *testing.T) {
	pool := dbtest.Pool(t)
	id := begin(t, pool)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for n := range 10 {
				client := string(rune('a'+w/2)) + string(rune('0'+n)) // two writers share each id
				in(t, pool, func(tx pgx.Tx) {
					if _, err := channels.Lock(t.Context(), tx, id); err != nil {
						t.Error(err)
					}
					m := channels.Message{ConversationID: id, Author: channels.ByContact, Channel: channels.Chat, Body: client, ClientID: &client}
					dup, err := channels.Append(t.Context(), tx, &m)
					if err != nil || m.Seq == 0 || m.Body != client {
						t.Errorf("append: %v %+v dup %v", err, m, dup)
					}
				})
			}
		})
	}
	all.Wait()
	rows, err := channels.History(t.Context(), pool, id, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 40 {
		t.Errorf("%d messages stored, want 40: each client id once", len(rows))
	}
	for i, m := range rows {
		if m.Seq != int64(i+1) {
			t.Fatalf("message %d has seq %d", i, m.Seq)
		}
	}
	c, err := channels.Get(t.Context(), pool, id)
	if err != nil || c.LastSeq != 40 || c.CustomerSeq != 40 || c.LastAuthor != channels.ByContact {
		t.Errorf("conversation %+v, err %v", c, err)
	}
}

func TestMoveIsGuarded(t *testing.T) {
	pool := dbtest.Pool(t)
	id := begin(t, pool)
	walk := []struct {
		to   channels.State
		want bool
	}{
		{channels.Agent, false}, {channels.Offered, false}, {channels.Bot, true}, {channels.New, false}, {channels.Agent, false},
		{channels.Waiting, true}, {channels.Offered, true}, {channels.Bot, false}, {channels.Waiting, true}, {channels.Offered, true},
		{channels.Agent, true}, {channels.Closed, false}, {channels.Wrapup, true}, {channels.Closed, true}, {channels.Bot, true},
	}
	var since any
	for i, step := range walk {
		in(t, pool, func(tx pgx.Tx) {
			c, err := channels.Move(t.Context(), tx, id, step.to)
			if err != nil || (c != nil) != step.want {
				t.Fatalf("step %d to %s: moved %v, err %v", i, step.to, c != nil, err)
			}
			if c == nil {
				return
			}
			if c.State != step.to {
				t.Errorf("step %d: state %s", i, c.State)
			}
			if step.to == channels.Waiting {
				if since == nil {
					since = *c.WaitingSince
				} else if since != *c.WaitingSince {
					t.Errorf("step %d: came back to the line with another place: %v, was %v", i, *c.WaitingSince, since)
				}
			}
		})
	}
}

// TestOneContactPerAddress: the first messages of a new visitor may come at once.
func TestOneContactPerAddress(t *testing.T) {
	pool := dbtest.Pool(t)
	got := make([]int64, 16)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			in(t, pool, func(tx pgx.Tx) {
				c, err := channels.OpenContact(t.Context(), tx, channels.Address{Kind: channels.Phone, Value: "+4930123"}, "Ole")
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = c.ID
			})
		})
	}
	all.Wait()
	slices.Sort(got)
	if got[0] == 0 || got[0] != got[len(got)-1] {
		t.Errorf("contacts %v, want one", got)
	}
	var n int
	if err := pool.QueryRow(t.Context(), `select count(*) from contacts`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d contacts stored, err %v", n, err)
	}
}

func TestCleanAddress(t *testing.T) {
	for _, c := range []struct {
		in   channels.Address
		want string // "" = refused
	}{
		{channels.Address{Kind: "phone", Value: " +49 (30) 23125-410 "}, "+493023125410"},
		{channels.Address{Kind: "phone", Value: "0049 30 23125410"}, "+493023125410"},
		{channels.Address{Kind: "phone", Value: "030/23125410"}, "03023125410"},
		{channels.Address{Kind: "phone", Value: "+"}, ""},
		{channels.Address{Kind: "phone", Value: "call me"}, ""},
		{channels.Address{Kind: "phone", Value: "12345678901234567"}, ""},
		{channels.Address{Kind: "email", Value: "Ole <Ole@Example.ORG>"}, "ole@example.org"},
		{channels.Address{Kind: "email", Value: "ole@"}, ""},
		{channels.Address{Kind: "email", Value: "a@b.c\r\nBcc: x@y.z"}, ""},
		{channels.Address{Kind: "visitor", Value: "x"}, ""},
	} {
		got, err := channels.CleanAddress(c.in)
		if (err == nil) != (c.want != "") || err == nil && got.Value != c.want {
			t.Errorf("%+v: %+v, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestEventsAreNumberedInOrder(t *testing.T) {
	pool := dbtest.Pool(t)
	id := begin(t, pool)
	first, second := &channels.Message{Channel: channels.Voice, Body: "rings", Private: true, Data: channels.MessageData{Code: channels.CodeCallStart}},
		&channels.Message{Channel: channels.Voice, Body: "hello"}
	in(t, pool, func(tx pgx.Tx) {
		if err := channels.AppendEvents(t.Context(), tx, id, []*channels.Message{first, second}); err != nil {
			t.Fatal(err)
		}
		if channels.AppendEvents(t.Context(), tx, id+1, []*channels.Message{{Channel: channels.Voice}}) == nil {
			t.Error("events of a conversation that does not exist")
		}
	})
	if first.ID == 0 || second.Seq != first.Seq+1 || first.Author != channels.BySystem || !first.Private || second.Private ||
		first.Data.Code != channels.CodeCallStart || second.Kind != channels.Happened {
		t.Errorf("%+v\n%+v", first, second)
	}
}
