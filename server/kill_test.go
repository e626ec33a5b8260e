package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// dataDir is a folder that also a Postgres that runs as somebody else may pass through.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "patchbay-kill")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		limit := time.After(patience)
		for tick := time.NewTicker(50 * time.Millisecond); ; { // what a killed Postgres has left behind may still write
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			select {
			case <-tick.C:
			case <-limit:
				t.Error(err)
				return
			}
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownPostgres says which process the server's own Postgres is, and where it answers (postmaster.pid).
func (h *testHouse) ownPostgres() (pid int, at string) {
	h.t.Helper()
	for _, e := range slices.Backward(h.env) { // the last one counts
		dir, ok := strings.CutPrefix(e, "PATCHBAY_DATA_DIR=")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "pg", "postmaster.pid"))
		if err != nil {
			h.t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		pid, err := strconv.Atoi(lines[0])
		if err != nil || len(lines) < 5 {
			h.t.Fatalf("postmaster.pid: %q", text)
		}
		return pid, "postgres://patchbay@/patchbay?sslmode=disable&port=5432&host=" + url.QueryEscape(lines[4])
	}
	h.t.Fatal("the server has no data directory")
	return 0, ""
}

func (h *testHouse) ownDatabase() {
	_, at := h.ownPostgres()
	h.pool.Close()
	h.connect(at)
}

// killPostgres returns when the next one takes connections: the old one's processes answer until they see that it is gone, and
// who is asked in between must not take that for the house's return.
func (h *testHouse) killPostgres() {
	h.t.Helper()
	pid, at := h.ownPostgres()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := pgx.Connect(ctx, at); err == nil { // never by the old one: it listens no more
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			h.t.Fatal("Postgres does not come back")
		}
	}
}

// crowded tells whether more wants to run here than can: then times say more of the others than of us.
func crowded() bool {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return false
	}
	var load float64
	_, err = fmt.Sscan(string(text), &load)
	return err == nil && load > 1.5*float64(runtime.NumCPU())
}

// serves returns when a new visitor's words are acknowledged. The test's own connections are from before.
func (h *testHouse) serves() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	defer h.pool.Reset()
	for h.probe(ctx) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			h.t.Fatal("the house does not serve again")
		}
	}
}

// probe writes as a new visitor; nil: it was stored.
func (h *testHouse) probe(ctx context.Context) error {
	id := clientID()
	_, err := h.exchange(ctx, "", frame{"type": "say", "client_id": id, "body": "How long may I send back boots?"}, acknowledged(id))
	return err
}

// acknowledged tells whether the frame says that this was stored.
func acknowledged(id string) func(frame) bool {
	return func(f frame) bool { return f.str("type") == "ack" && f.str("client_id") == id }
}

// exchange sends one frame as the visitor of this token ("": a new one) and waits until they are told. The server may die under
// it; the token is theirs all the same.
func (h *testHouse) exchange(ctx context.Context, token string, f frame, told func(frame) bool) (string, error) {
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, "ws"+h.url[len("http"):]+"/chat/socket", nil)
	if err != nil {
		return token, err
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for _, f := range []frame{{"type": "hello", "token": token, "after": 0}, f} {
		if err := conn.WriteJSON(f); err != nil {
			return token, err
		}
	}
	for {
		var f frame
		if err := conn.ReadJSON(&f); err != nil {
			return token, err
		}
		if t := f.str("token"); t != "" {
			token = t
		}
		switch {
		case told(f):
			return token, nil
		case f.str("type") == "error":
			return token, fmt.Errorf("%v", f)
		}
	}
}

// lineUnderFire is people who ask for a person, and an agent who answers them, while everything is killed.
type lineUnderFire struct {
	h      *testHouse
	agent  *agentClient
	held   int64
	wishes []wished
	kept   int // first words that were acknowledged
	served []int64
}

// wished is a customer who has been told that a person comes.
type wished struct {
	token string
	since time.Time // the place
}

// asks brings two more who are told; what is not told may be lost.
func (l *lineUnderFire) asks(round int) {
	for range 2 {
		token, err := l.h.exchange(context.Background(), "", frame{"type": "say", "client_id": clientID(), "body": fmt.Sprintf("a human please, this is round %d", round)},
			func(f frame) bool { return f.sub("message").str("code") == channels.CodeWaiting })
		if err != nil {
			continue
		}
		if since := l.h.place(token); since != nil {
			l.wishes = append(l.wishes, wished{token, *since})
		}
	}
}

// place is since when the visitor stands in line; nil: the database does not say.
func (h *testHouse) place(token string) (since *time.Time) {
	_ = h.pool.QueryRow(context.Background(), `select c.waiting_since from conversations c join visitors v on v.conversation_id = c.id where v.token_hash = sha256($1::text::bytea)`, token).Scan(&since)
	return since
}

// answers has the agent take and answer so many; the last is cut off by whatever comes next.
func (l *lineUnderFire) answers(most int) {
	if err := l.comesBack(); err != nil {
		return
	}
	defer l.agent.conn.Close()
	for n := 0; n < most; {
		var id int64
		var call bool
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		tick := time.NewTicker(10 * time.Millisecond)
		for id == 0 && ctx.Err() == nil {
			<-tick.C
			_ = l.h.pool.QueryRow(ctx, `select o.id, c.channel = 'voice' or exists (select from promises where conversation_id = c.id and closed_at is null and number <> '')
				from offers o join conversations c on c.id = o.conversation_id where o.agent_id = $1 and o.outcome is null order by o.id desc limit 1`, l.agent.id).Scan(&id, &call)
		}
		tick.Stop()
		cancel()
		if call { // this one only writes
			if status, _, err := l.agent.quiet("POST", fmt.Sprintf("/api/offers/%d/decline", id), nil); err != nil || status/100 != 2 {
				return
			}
			continue
		}
		n++
		if status, _, err := l.agent.quiet("POST", fmt.Sprintf("/api/offers/%d/accept", id), nil); err != nil || status/100 != 2 {
			return
		}
		var conversation int64
		if err := l.h.pool.QueryRow(context.Background(), `select conversation_id from offers where id = $1`, id).Scan(&conversation); err != nil {
			return
		}
		if status, _, err := l.agent.quiet("POST", fmt.Sprintf("/api/conversations/%d/messages", conversation), frame{"client_id": clientID(), "body": "Ana here."}); err != nil || status/100 != 2 {
			return
		}
		l.kept, l.served = l.kept+1, append(l.served, conversation)
		_, _, _ = l.agent.quiet("POST", fmt.Sprintf("/api/conversations/%d/end", conversation), nil)
		_, _, _ = l.agent.quiet("POST", fmt.Sprintf("/api/conversations/%d/close", conversation), frame{"disposition": "solved"})
	}
}

// comesBack opens the agent's live socket again.
func (l *lineUnderFire) comesBack() error {
	if status, _, err := l.agent.quiet("PUT", "/api/me/presence", frame{"presence": "available"}); err != nil || status/100 != 2 {
		return fmt.Errorf("presence: %d %w", status, err)
	}
	l.agent.live()
	return nil
}

// check: nothing of the wishes is lost.
func (l *lineUnderFire) check(t *testing.T) {
	t.Helper()
	for i, w := range l.wishes {
		var state, by string
		var promises int
		var since *time.Time
		if err := l.h.pool.QueryRow(t.Context(), `select c.state, c.waiting_since, (select count(*) from promises p where p.conversation_id = c.id),
			coalesce((select closed_by from promises p where p.conversation_id = c.id order by id desc limit 1), 'none')
			from conversations c join visitors v on v.conversation_id = c.id where v.token_hash = sha256($1::text::bytea)`, w.token).Scan(&state, &since, &promises, &by); err != nil {
			t.Errorf("wish %d, which was told that a person comes, is gone: %v", i, err)
			continue
		}
		if promises != 1 {
			t.Errorf("wish %d has %d promises", i, promises)
		}
		if (state == "waiting" || state == "offered") && (by != "" || since == nil || !since.Equal(w.since)) {
			t.Errorf("wish %d is %s, promise closed by %q, in line since %v, was %v", i, state, by, since, w.since)
		}
	}
	for what, sql := range map[string]string{
		"wait or are offered without an open promise": `select count(*) from conversations c where state in ('waiting', 'offered') and not exists (select from promises p where p.conversation_id = c.id and p.closed_at is null)`,
		"open promises that nobody works on":          `select count(*) from promises p join conversations c on c.id = p.conversation_id where p.closed_at is null and c.state not in ('waiting', 'offered', 'agent')`,
		"promises closed by nobody":                   `select count(*) from promises where closed_at is not null and closed_by = ''`,
		"broken promises without their one alarm":     `select count(*) from promises p where broken_at is not null and closed_at is null and (select count(*) from alarms a where a.promise_id = p.id and a.kind = 'promise_broken') <> 1`,
		"alarms that tell of nothing":                 `select count(*) from alarms a left join promises p on p.id = a.promise_id where a.kind = 'promise_broken' and p.broken_at is null`,
		"conversations with two open offers":          `select count(*) from (select conversation_id from offers where outcome is null group by 1 having count(*) > 1) o`,
		"offered conversations without an offer":      `select count(*) from conversations c where state = 'offered' and not exists (select from offers o where o.conversation_id = c.id and outcome is null)`,
	} {
		if n := one[int](l.h, sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	times := map[int64]int{}
	for _, id := range l.served {
		times[id]++
	}
	for id, n := range times { // one of the writers may get a person more than once: who asks on after the end, and gets no answer, is owed one again
		if kept := one[int](l.h, `select count(*) from promises where conversation_id = $1 and closed_by = 'agent'`, id); kept < n {
			t.Errorf("conversation %d heard a person %d times, and %d of its promises are closed by one: %s", id, n, kept,
				one[string](l.h, `select json_agg(p)::text from promises p where conversation_id = $1`, id))
		}
	}
	if len(l.wishes) == 0 || l.kept == 0 || one[int](l.h, `select count(*) from alarms`) == 0 {
		t.Errorf("%d wishes, %d answered, %d alarms: too few to prove anything", len(l.wishes), l.kept, one[int](l.h, `select count(*) from alarms`))
	}
}
