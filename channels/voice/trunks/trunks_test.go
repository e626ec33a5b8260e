package trunks

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func id(n int64) *int64 { return &n }

// shelf is trunks as rows would make them, without a database.
func shelf(t testing.TB, rows []channels.Trunk, numbers ...channels.Number) *Shelf {
	t.Helper()
	s := New(Config{BuiltIn: channels.Trunk{Name: "the settings", Enabled: true, Sources: []string{"192.0.2.9"}, CallerHeader: "pai", CalledHeader: "ruri"},
		Numbers: []string{"100"}, Hear: func(_, _ []netip.Prefix) {}})
	b := &book{numbers: map[string]channels.Number{}}
	for _, n := range numbers {
		b.numbers[bareNumber(n.Number)] = n
	}
	for _, row := range rows {
		x := newTrunk(row)
		for _, srv := range x.servers {
			srv.hops = []edge.Hop{{Transport: "udp", Addr: netip.MustParseAddrPort("198.51.100.1:5060"), Name: srv.name}}
		}
		b.trunks = append(b.trunks, x)
	}
	s.builtIn(b, s.book.Load())
	s.book.Store(b)
	return s
}

// TestArrive: by which trunk a call comes, for which number, and who calls.
func TestArrive(t *testing.T) {
	german := channels.Trunk{ID: 1, Name: "one", Enabled: true, Sources: []string{"203.0.113.0/24"}, CountryCode: "49", NationalPrefix: "0", CallerHeader: "pai", CalledHeader: "to", MaxCalls: 2}
	pbx := channels.Trunk{ID: 2, Name: "pbx", Enabled: true, Sources: []string{"203.0.113.0/24", "2001:db8::/32"}, CallerHeader: "rpid", CalledHeader: "ruri"}
	account := channels.Trunk{ID: 3, Name: "account", Enabled: true, Servers: []string{"carrier"}, Register: true, Username: "user3", CallerHeader: "from", CalledHeader: "diversion", Challenge: true}
	off := channels.Trunk{ID: 4, Name: "off", Sources: []string{"192.0.2.77"}}
	s := shelf(t, []channels.Trunk{german, pbx, account, off}, channels.Number{Number: "+49301000", QueueID: id(7)}, channels.Number{Number: "300", TrunkID: id(2), Kind: channels.EchoNumber},
		channels.Number{Number: "+4930300", TrunkID: id(3)})
	for name, c := range map[string]struct {
		from, to string // source; request URI's user
		headers  []string
		code     int
		trunk    int64
		number   string
		caller   string
		login    bool
	}{
		"settings":           {"192.0.2.9", "100", nil, 0, 0, "100", "+4930123", false},
		"stranger":           {"192.0.2.10", "100", nil, 403, 0, "", "", false},
		"switched off":       {"192.0.2.77", "100", nil, 403, 0, "", "", false},
		"unknown number":     {"203.0.113.5", "999", []string{"To: <sip:999@c>"}, 404, 0, "", "", false},
		"national":           {"203.0.113.5", "x", []string{"To: <sip:0301000@c>", "From: <sip:03012345@c>;tag=a"}, 0, 1, "+49301000", "+493012345", false},
		"plain":              {"203.0.113.5", "x", []string{"To: <sip:49301000@c>", "From: <sip:33123456789@c>;tag=a"}, 0, 1, "+49301000", "+33123456789", false},
		"asserted":           {"203.0.113.5", "x", []string{"To: <sip:+49301000@c>", `P-Asserted-Identity: "Ben" <tel:+4940999999>`}, 0, 1, "+49301000", "+4940999999", false},
		"private":            {"203.0.113.5", "x", []string{"To: <sip:+49301000@c>", `P-Asserted-Identity: <tel:+4940999999>`, "Privacy: id;critical"}, 0, 1, "+49301000", "anonymous-c1", false},
		"number of a trunk":  {"203.0.113.5", "300", []string{"Remote-Party-ID: <sip:77@c>;privacy=off"}, 0, 2, "300", "77", false},
		"remote party hides": {"2001:db8::5", "300", []string{"Remote-Party-ID: <sip:77@c>;privacy=full"}, 0, 2, "300", "anonymous-c1", false},
		"other trunk's":      {"192.0.2.9", "300", nil, 404, 0, "", "", false},
		"registered":         {"198.51.100.1", "user3", []string{"Diversion: <sip:1@c>;reason=x, <sip:+4930300@c>"}, 0, 3, "+4930300", "+4930123", true},
		"account's only":     {"198.51.100.1", "user3", []string{"To: <sip:user3@c>"}, 0, 3, "+4930300", "+4930123", true},
	} {
		t.Run(name, func(t *testing.T) {
			lines := []string{"INVITE sip:" + c.to + "@198.51.100.9 SIP/2.0", "Via: SIP/2.0/UDP a;branch=z9hG4bKa", "Call-ID: c1", "CSeq: 1 INVITE"}
			for _, h := range []string{"From: <sip:+4930123@c>;tag=a", "To: <sip:100@c>"} {
				if !strings.Contains(strings.Join(c.headers, "\n"), h[:4]) {
					lines = append(lines, h)
				}
			}
			a, r := s.Arrive(netip.MustParseAddr(c.from), voicetest.ParseRequest(t, append(lines, c.headers...)...), false)
			if c.code != 0 {
				if r == nil || r.Code != c.code {
					t.Errorf("%+v, want %d", r, c.code)
				}
				return
			}
			if r != nil {
				t.Fatal(r)
			}
			if a.Trunk.ID != c.trunk || a.Number.Number != c.number || a.Caller != c.caller || a.Login != c.login {
				t.Errorf("trunk %d, number %s, caller %s, login %v", a.Trunk.ID, a.Number.Number, a.Caller, a.Login)
			}
		})
	}
	req := voicetest.ParseRequest(t, "INVITE sip:x@y SIP/2.0", "Via: SIP/2.0/UDP a;branch=z9hG4bKa", "Call-ID: c1", "CSeq: 1 INVITE", "From: <sip:1@c>;tag=a", "To: <sip:+49301000@c>")
	one, r := s.Arrive(netip.MustParseAddr("203.0.113.5"), req, false)
	if r != nil {
		t.Fatal(r)
	}
	first, second := one.Trunk.Begin(), one.Trunk.Begin()
	if _, r := s.Arrive(netip.MustParseAddr("203.0.113.5"), req, false); r == nil || r.Code != 503 {
		t.Errorf("a third call on two lines: %+v", r)
	}
	first()
	second()
	if _, r := s.Arrive(netip.MustParseAddr("203.0.113.5"), req, false); r != nil {
		t.Errorf("lines that are free again: %+v", r)
	}
}

// TestRoutes: which trunk calls, in which order, and what it is told.
func TestRoutes(t *testing.T) {
	row := func(id int64, name string, change func(*channels.Trunk)) channels.Trunk {
		x := *carrier(func(t *channels.Trunk) {
			t.ID, t.Name, t.NumberFormat, t.CallerHeader, t.CallerNumber = id, name, "e164", "pai", "+49301000"
			t.Servers = []string{name + ".example"}
		})
		if change != nil {
			change(&x)
		}
		return x
	}
	sick := row(1, "sick", nil)
	good := row(2, "good", func(t *channels.Trunk) { t.Username, t.AuthUsername, t.Password = "acc", "auth", "secret" })
	cheap := row(3, "cheap", func(t *channels.Trunk) {
		t.International, t.CallerHeader, t.NumberFormat, t.Domain = true, "from", "national", "sip.cheap"
	})
	s := shelf(t, []channels.Trunk{sick, good, cheap}, channels.Number{Number: "+4930200", CallerID: true}, channels.Number{Number: "+4930300", CallerID: true, TrunkID: id(3)},
		channels.Number{Number: "+4930400"})
	s.book.Load().trunks[0].failed(netip.MustParseAddrPort("198.51.100.1:5060"))
	names := func(list []Route) (names []string) {
		for _, r := range list {
			names = append(names, r.Trunk.Name)
		}
		return names
	}
	for name, c := range map[string]struct {
		number, from string
		want         []string
		err          string
	}{
		"healthy first":           {"040 12345", "", []string{"good", "cheap", "sick"}, ""},
		"abroad":                  {"+33 123456789", "", []string{"cheap"}, ""},
		"number of a trunk":       {"040 12345", "+4930300", []string{"cheap"}, ""},
		"emergency":               {"112", "", []string{"good", "cheap", "sick"}, ""},
		"nowhere":                 {"0900 123456", "", nil, "cost extra"},
		"not ours":                {"040 12345", "+4930999", nil, "not a number that may be shown"},
		"not to be shown":         {"040 12345", "+4930400", nil, "not a number that may be shown"},
		"not with that number":    {"+33 123456789", "+4930200", []string{"cheap"}, ""},
		"abroad, number of other": {"112", "anonymous", []string{"good", "cheap", "sick"}, ""},
	} {
		list, err := s.Routes(c.number, c.from, "")
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, names(list)); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	told := func(number, from, name string) map[string]Route {
		list, err := s.Routes(number, from, name)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]Route{}
		for _, r := range list {
			m[r.Trunk.Name] = r
		}
		return m
	}
	for name, c := range map[string]struct {
		got  Route
		uri  string
		want who
	}{
		"account and asserted": {told("040 12345", "", "Shop")["good"], "sip:+494012345@good.example",
			who{"sip:acc@good.example", "Shop", [][2]string{{"P-Asserted-Identity", `"Shop" <sip:+49301000@good.example>`}}}},
		"no account": {told("040 12345", "+4930200", "")["sick"], "sip:+494012345@sick.example",
			who{"sip:+4930200@sick.example", "", [][2]string{{"P-Asserted-Identity", "<sip:+4930200@sick.example>"}}}},
		"from, national": {told("040 12345", "", "")["cheap"], "sip:04012345@sip.cheap", who{"sip:0301000@sip.cheap", "", nil}},
		"abroad":         {told("+33 123456789", "", "")["cheap"], "sip:0033123456789@sip.cheap", who{"sip:0301000@sip.cheap", "", nil}},
		"hidden": {told("040 12345", "anonymous", "Shop")["good"], "sip:+494012345@good.example",
			who{anonymous, "Anonymous", [][2]string{{"P-Asserted-Identity", `"Shop" <sip:+49301000@good.example>`}, {"Privacy", "id"}}}},
		"emergency is never hidden": {told("112", "anonymous", "")["cheap"], "sip:112@sip.cheap", who{"sip:0301000@sip.cheap", "", nil}},
	} {
		if c.got.URI != c.uri {
			t.Errorf("%s: calls %s, want %s", name, c.got.URI, c.uri)
		}
		if diff := cmp.Diff(c.want, c.got.who); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if r := told("112", "", "")["good"]; r.user != "auth" || r.password != "secret" || r.hops[0].Name != "good.example" {
		t.Errorf("%+v", r)
	}
	rpid := newTrunk(row(9, "rpid", func(t *channels.Trunk) { t.CallerHeader = "rpid" }))
	if w := rpid.shows("+49301000", `Sh"op`+"\r\nX: y", true); w.Headers[0][1] != `"Sh'opX: y" <sip:+49301000@rpid.example>;party=calling;screen=yes;privacy=full` {
		t.Errorf("%q", w.Headers)
	}
}

// bank is a database with one trunk, and calls to be made on it.
type bank struct {
	t    *testing.T
	pool *pgxpool.Pool
	*Shelf
	conversation int64
	agents       []int64
}

func newBank(t *testing.T, change func(*channels.Trunk)) *bank {
	ctx := testCtx(t)
	b := &bank{t: t, pool: dbtest.Pool(t)}
	x := carrier(func(x *channels.Trunk) {
		x.ID, x.Transport, x.Digest, x.RegisterSeconds, x.Codecs = 0, "udp", "md5", 600, []string{"PCMU"}
		x.SRTP, x.SRTPKeys, x.Latch, x.NumberFormat, x.CallerHeader, x.CalledHeader = "off", "sdes", "auto", "e164", "pai", "ruri"
		if change != nil {
			change(x)
		}
	})
	tx, err := b.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := channels.SaveTrunk(ctx, tx, x); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	b.one(`insert into nodes (id, name) values ('test', 'test') returning 0`)
	queue := b.one(`insert into queues (name) values ('bank') returning id`)
	for _, name := range []string{"a", "b"} {
		b.agents = append(b.agents, b.one(`insert into agents (login, name) values ($1, $1) returning id`, name))
	}
	contact := b.one(`insert into contacts (name) values ('') returning id`)
	b.conversation = b.one(`insert into conversations (contact_id, queue_id, channel, state) values ($1, $2, 'voice', 'agent') returning id`, contact, queue)
	b.Shelf = shelf(t, []channels.Trunk{*x})
	b.Shelf.cfg.Pool = b.pool
	b.Shelf.now = func() time.Time { return time.Date(2026, 3, 9, 12, 0, 0, 0, time.Local) } // no night
	if b.Shelf.cfg.Bus, err = bus.Open(ctx, "", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Shelf.cfg.Bus.Close() })
	return b
}

func (b *bank) one(sql string, args ...any) (n int64) {
	b.t.Helper()
	if err := b.pool.QueryRow(testCtx(b.t), sql, args...).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// call opens the row of a call that an agent wants to make.
func (b *bank) call(agent int64) int64 {
	return b.one(`insert into calls (conversation_id, direction, from_address, to_address, state, dialled_by) values ($1, 'out', '', '', 'dialling', $2) returning id`, b.conversation, agent)
}

func (b *bank) dial(number string, agent int64) (call int64, r Route, err error) {
	list, err := b.Routes(number, "", "")
	if err != nil {
		return 0, Route{}, err
	}
	call = b.call(agent)
	err = b.Reserve(testCtx(b.t), &list[0], call, agent)
	if err != nil { // as the switchboard does with a call that never began
		b.one(`update calls set state = 'ended', ended_at = now() where id = $1 returning 0`, call)
	}
	return call, list[0], err
}

// TestOddCalls: the first call to a country, and a series of short ones, are told once, by row and on the bus; the calls
// themselves go out.
func TestOddCalls(t *testing.T) {
	t.Parallel()
	b := newBank(t, func(x *channels.Trunk) { x.International = true })
	b.log = slog.New(slog.DiscardHandler)
	told := make(chan channels.TrunkAlarm, 10)
	cancel, err := b.cfg.Bus.Subscribe(channels.TrunkAlarmSubject, func(_ string, data []byte) {
		var a channels.TrunkAlarm
		if err := json.Unmarshal(data, &a); err != nil {
			t.Error(err)
		}
		told <- a
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	past := func(n int, to string, ago, length time.Duration) {
		b.one(`with made as (insert into calls (conversation_id, direction, from_address, to_address, state, dialled_by, started_at, answered_at, ended_at)
			select $1, 'out', '', $2, 'ended', $3, now() - $4::interval, now() - $4::interval, now() - $4::interval + $5::interval from generate_series(1, $6) returning 1) select count(*) from made`,
			b.conversation, to, b.agents[0], ago, length, n)
	}
	dial := func(number string) {
		t.Helper()
		if _, _, err := b.dial(number, b.agents[0]); err != nil {
			t.Fatal(err)
		}
	}
	dial("+33 1 23456789") // of a house without a past nothing is odd
	past(50, "+493012345", 40*24*time.Hour, time.Minute)
	dial("+44 20 79460000")
	if a := waitChan(t, testCtx(t), told, "alarm"); a.Kind != channels.AlarmCountry || a.AgentID == nil || *a.AgentID != b.agents[0] || !strings.Contains(a.Words, "+44") {
		t.Errorf("%+v", a)
	}
	past(1, "+442079460001", 2*time.Hour, time.Minute)
	dial("+44 20 79460000") // known now
	past(10, "+493012345", 10*time.Minute, 3*time.Second)
	dial("030 12345")
	short := waitChan(t, testCtx(t), told, "alarm")
	if short.Kind != channels.AlarmShort || !strings.HasPrefix(short.Words, "10 calls") {
		t.Errorf("%+v", short)
	}
	dial("030 12345") // told already
	if list, err := channels.TrunkAlarms(testCtx(t), b.pool); err != nil || len(list) != 2 || list[0].ID != short.ID {
		t.Errorf("on the desk: %+v, %v", list, err)
	}
	if err := channels.SeeAlarm(testCtx(t), b.pool, short.ID, b.agents[1]); err != nil {
		t.Fatal(err)
	}
	if err := channels.SeeAlarm(testCtx(t), b.pool, short.ID, b.agents[0]); channels.CodeOf(err) != channels.NotFound {
		t.Errorf("seen twice: %v", err)
	}
	dial("030 12345") // within a day of the last
	if list, err := channels.TrunkAlarms(testCtx(t), b.pool); err != nil || len(list) != 1 || len(told) != 0 {
		t.Errorf("on the desk: %+v, %v; %d more were told", list, err, len(told))
	}
}

// TestReserve: the policy with what was really dialled; two that want the last line do not both get it.
func TestReserve(t *testing.T) {
	t.Parallel()
	b := newBank(t, func(x *channels.Trunk) { x.MaxCallsOut, x.MaxCallsHour, x.MaxCallsDay, x.MaxMoneyDay = 5, 4, 8, 2 })
	var mu sync.Mutex
	b.log = slog.New(slog.DiscardHandler)
	refused := func(err error, words string) {
		t.Helper()
		var e *channels.Error
		if !errors.As(err, &e) || !strings.Contains(e.Text, words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
	var got, lost int
	var calls sync.WaitGroup
	for i := range 12 { // at the same time
		calls.Go(func() {
			_, _, err := b.dial("030 12345", b.agents[i%2])
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got++
			} else {
				refused(err, "lines for calls out")
				lost++
			}
		})
	}
	calls.Wait()
	if got != 5 || lost != 7 {
		t.Fatalf("%d calls on 5 lines, %d refused", got, lost)
	}
	if _, _, err := b.dial("112", b.agents[0]); err != nil {
		t.Errorf("emergency call: %v", err)
	}
	if n := b.one(`select count(*) from calls where trunk_id is not null and dialled_by is not null`); n != 6 {
		t.Errorf("%d rows are noted as the trunk's", n)
	}
	b.one(`with gone as (update calls set state = 'ended', started_at = now() - interval '2 hours' where trunk_id is not null returning 1) select count(*) from gone`)
	call, r, err := b.dial("0171 2345678", b.agents[0])
	if err != nil || r.PerMinute != 0.05 || r.Longest.Round(time.Minute) != 40*time.Minute {
		t.Fatalf("%+v %v", r.Verdict, err)
	}
	b.one(`update calls set answered_at = now() - interval '29 minutes 30 seconds' where id = $1 returning id`, call)
	if _, r, err = b.dial("0171 2345678", b.agents[0]); err != nil || r.Longest.Round(time.Minute) != 10*time.Minute {
		t.Errorf("beside a call that has run for 30 minutes: %+v %v", r.Verdict, err)
	}
	if err := b.Settle(testCtx(t), call, 0.05, 31*time.Minute+time.Second); err != nil {
		t.Fatal(err)
	}
	if cents := b.one(`update calls set state = 'ended' where id = $1 returning (money * 100)::bigint`, call); cents != 160 {
		t.Errorf("32 minutes cost %d cents", cents)
	}
	if _, _, err := b.dial("030 12345", b.agents[0]); err == nil { // free: the 9th of the day
		t.Error("8 calls a day, and one more")
	} else {
		refused(err, "8 calls within 24 hours")
	}
	raised, err := channels.TrunkAlarms(testCtx(t), b.cfg.Pool)
	var kinds []string
	for _, a := range raised {
		kinds = append(kinds, strings.TrimSpace(a.Kind+" "+a.About))
	}
	slices.Sort(kinds)
	if want := "spent, used calls 100, used calls 50, used calls 80, used money 50, used money 80"; err != nil || strings.Join(kinds, ", ") != want {
		t.Errorf("alarms %q, %v, want %q", kinds, err, want)
	}
	b.one(`with gone as (update calls set state = 'ended', started_at = now() - interval '2 days' where trunk_id is not null returning 1) select count(*) from gone`)
	for range 4 {
		if _, _, err := b.dial("030 12345", b.agents[1]); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = b.dial("030 12345", b.agents[1])
	refused(err, "4 calls within an hour")
	if _, _, err := b.dial("030 12345", b.agents[0]); err != nil {
		t.Errorf("another agent: %v", err)
	}
	// What was allowed when the routes were looked up need not be now.
	list, err := b.Routes("030 12345", "", "")
	if err != nil {
		t.Fatal(err)
	}
	b.one(`update trunks set dial_out = false returning id`)
	refused(b.Reserve(testCtx(t), &list[0], b.call(b.agents[0]), b.agents[0]), "not allowed")
	gone, cancel := context.WithCancel(testCtx(t))
	cancel()
	refused(b.Reserve(gone, &list[0], 1, b.agents[0]), "cannot be looked up")
	if list, err = b.Routes("112", "", ""); err != nil {
		t.Fatal(err)
	}
	if err := b.Reserve(gone, &list[0], 1, b.agents[0]); err != nil {
		t.Errorf("an emergency call while the database is away: %v", err)
	}
}
