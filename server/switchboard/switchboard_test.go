package switchboard

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/llm"
	"patchbay/llm/llmtest"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// record is a channel that writes down what the flow asks of it.
type record struct {
	mu   sync.Mutex
	done []string
}

func (r *record) note(what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, what)
	return nil
}

func (r *record) Send(_ context.Context, _ pgx.Tx, _ *channels.Conversation, m *channels.Message) (func(), error) {
	return nil, r.note("send " + m.Data.Code)
}
func (r *record) Join(context.Context, *channels.Conversation, int64) error { return r.note("join") }
func (r *record) Release(context.Context, *channels.Conversation) error     { return r.note("release") }
func (r *record) End(context.Context, *channels.Conversation, string) error { return r.note("end") }
func (r *record) has(what string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.done {
		if d == what {
			n++
		}
	}
	return n
}

// flow is a switchboard on a real database and bus, in quote mode without knowledge, with two agents. Its loops do not
// run: what Receive decides is looked at alone.
type flow struct {
	*Switchboard
	t        *testing.T
	voice    *record
	ana, bo  int64
	visitors int
}

func newFlow(t *testing.T) *flow {
	pool := dbtest.Pool(t)
	b, err := bus.Open(t.Context(), "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	r, err := llm.New(llm.Config{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	f := &flow{t: t, voice: &record{}}
	queue := must(t)(agents.EnsureQueue(t.Context(), pool, "Service"))
	f.ana = must(t)(agents.EnsureAgent(t.Context(), pool, agents.Agent{Login: "ana", Name: "Ana Brekke", Role: "agent", Queues: []int64{queue}}))
	f.bo = must(t)(agents.EnsureAgent(t.Context(), pool, agents.Agent{Login: "bo", Name: "Bo Lind", Role: "supervisor", Queues: []int64{queue}}))
	if err := Join(t.Context(), pool, "node-1", "node"); err != nil {
		t.Fatal(err)
	}
	f.Switchboard = New(Config{Pool: pool, Bus: b, NodeID: "node-1", Log: slog.New(slog.DiscardHandler), Responder: func() *llm.Responder { return r },
		Channels: map[channels.Kind]Channel{channels.Voice: f.voice, channels.Chat: &record{}}, QueueID: queue})
	return f
}

func must(t *testing.T) func(int64, error) int64 {
	return func(id int64, err error) int64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
}

func (f *flow) receive(in channels.Inbound) channels.Receipt {
	f.t.Helper()
	r, err := f.Receive(f.t.Context(), in)
	if err != nil {
		f.t.Fatalf("%s: %v", in.Type, err)
	}
	return r
}

// visitor begins a conversation with these words.
func (f *flow) visitor(words string) int64 {
	f.t.Helper()
	f.visitors++
	return f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Chat,
		From: channels.Address{Kind: channels.Visitor, Value: f.t.Name() + string(rune('0'+f.visitors))}, Body: words}).ConversationID
}

func (f *flow) says(id int64, words string) channels.Receipt {
	f.t.Helper()
	return f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Chat, ConversationID: id, Body: words})
}

func (f *flow) state(id int64, want channels.State) {
	f.t.Helper()
	c, err := channels.Get(f.t.Context(), f.Pool, id)
	if err != nil || c == nil || c.State != want {
		f.t.Fatalf("conversation %d: %+v, %v; want state %s", id, c, err, want)
	}
}

func (f *flow) promises(id int64, closedBy string) (n int) {
	f.t.Helper()
	if err := f.Pool.QueryRow(f.t.Context(), `select count(*) from promises where conversation_id = $1 and closed_by = $2
		and (closed_at is null) = ($2 = '')`, id, closedBy).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *flow) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *flow) refused(err error, want channels.Code) {
	f.t.Helper()
	if channels.CodeOf(err) != want {
		f.t.Fatalf("got %v, want %s", err, want)
	}
}

func TestWishIsOnePromiseAndSticky(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("hello there")
	f.state(id, channels.Bot)
	f.says(id, "I want to speak to a human being")
	f.state(id, channels.Waiting)
	f.says(id, "HUMAN!!! now")
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Chat, ConversationID: id, Source: "button"})
	f.says(id, "and by the way, do you sell tents?")
	f.state(id, channels.Waiting)
	if n := f.promises(id, ""); n != 1 {
		t.Errorf("%d open promises, want 1", n)
	}
	f.receive(channels.Inbound{Type: channels.NoWish, Channel: channels.Chat, ConversationID: id})
	f.state(id, channels.Bot)
	if f.promises(id, "") != 0 || f.promises(id, "contact") != 1 {
		t.Error("the customer's own 'no' does not close the promise")
	}
}

func TestSameWordsTwiceAreOneMessage(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("hello")
	in := channels.Inbound{Type: channels.Words, Channel: channels.Chat, ConversationID: id, Body: "a person please", ClientID: "once"}
	first, second := f.receive(in), f.receive(in)
	if first.Duplicate || !second.Duplicate || first.Message.Seq != second.Message.Seq || second.State != channels.Waiting {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

func TestOnlyWhoHasItMayReply(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	id := f.visitor("a person please")
	_, err := f.Reply(ctx, f.ana, id, "client-1", "hi", false)
	f.refused(err, channels.Conflict)
	f.ok(f.Take(ctx, f.ana, id))
	f.state(id, channels.Agent)
	_, err = f.Reply(ctx, f.bo, id, "client-2", "hi", false)
	f.refused(err, channels.Conflict)
	m, err := f.Reply(ctx, f.ana, id, "client-3", "hi", false)
	f.ok(err)
	again, err := f.Reply(ctx, f.ana, id, "client-3", "hi", false)
	f.ok(err)
	if m.Seq != again.Seq || m.Data.AgentName != "Ana" {
		t.Errorf("first %+v, again %+v", m, again)
	}
	if f.promises(id, "agent") != 1 {
		t.Error("the first word of a person does not keep the promise")
	}
	note, err := f.Reply(ctx, f.bo, id, "client-4", "a note", true)
	f.ok(err)
	if !note.Private || note.Kind != channels.Note {
		t.Errorf("note %+v", note)
	}
	_, err = f.Reply(ctx, f.ana, 999, "client-5", "hi", false)
	f.refused(err, channels.NotFound)
}

// TestTakeFromTheResponder: nobody asked for a person, so the customer hears only who is there now, and nothing is owed.
func TestTakeFromTheResponder(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("hello")
	f.ok(f.Take(t.Context(), f.ana, id))
	f.state(id, channels.Agent)
	rows, err := channels.History(t.Context(), f.Pool, id, 0, 10)
	f.ok(err)
	if last := rows[len(rows)-1]; last.Data.Code != channels.CodeThrough || len(rows) != 3 || f.promises(id, "") != 0 {
		t.Errorf("%d messages, last %+v", len(rows), last)
	}
}

func TestTakingFromAColleagueIsASupervisorsRight(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("a person please")
	f.ok(f.Take(t.Context(), f.bo, id))
	f.refused(f.Take(t.Context(), f.ana, id), channels.Conflict)
	other := f.visitor("operator")
	f.ok(f.Take(t.Context(), f.ana, other))
	f.ok(f.Take(t.Context(), f.bo, other))
	c, err := channels.Get(t.Context(), f.Pool, other)
	if err != nil || c.AgentID == nil || *c.AgentID != f.bo {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTransferGoesToTheFront(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	id := f.visitor("a person please")
	f.ok(f.Take(ctx, f.ana, id))
	f.refused(f.Transfer(ctx, f.ana, id, channels.CallTarget{Kind: channels.TargetQueue, QueueID: 999}, ""), channels.NotFound)
	f.ok(f.Transfer(ctx, f.ana, id, channels.CallTarget{Kind: channels.TargetQueue, QueueID: f.QueueID}, "knows tents"))
	c, err := channels.Get(ctx, f.Pool, id)
	if err != nil || c.State != channels.Waiting || !c.Front || c.AgentID != nil {
		t.Errorf("%+v, %v", c, err)
	}
	if f.promises(id, "") != 1 || f.voice.has("release") != 1 {
		t.Error("a transfer owes the customer a person, and lets a call go back to the line")
	}
	f.refused(f.End(ctx, f.ana, id), channels.Conflict)
}

func TestEndWrapupCloseReopen(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	id := f.visitor("a person please")
	f.ok(f.Take(ctx, f.ana, id))
	f.refused(f.Close(ctx, f.ana, id, "solved", ""), channels.Conflict)
	f.ok(f.End(ctx, f.ana, id))
	f.state(id, channels.Wrapup)
	f.refused(f.Close(ctx, f.bo, id, "solved", ""), channels.Conflict)
	f.ok(f.Close(ctx, f.ana, id, "solved", "done"))
	f.state(id, channels.Closed)
	r := f.says(id, "one more thing")
	if r.ConversationID != id || r.State != channels.Bot {
		t.Errorf("reopened as %+v", r)
	}
}

func TestWordsInWrapup(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	id := f.visitor("a person please")
	f.ok(f.Take(ctx, f.ana, id))
	f.ok(f.End(ctx, f.ana, id))
	f.says(id, "wait, one more") // no browser of Ana is open: the line, with a promise
	f.state(id, channels.Waiting)
	f.ok(f.Take(ctx, f.ana, id))
	f.ok(f.End(ctx, f.ana, id))
	f.ok(agents.OpenSocket(ctx, f.Pool, f.Bus, "tab-1", f.ana, "node-1"))
	f.says(id, "and another")
	f.state(id, channels.Agent)
}

func TestAutomaticMailWakesNobody(t *testing.T) {
	f := newFlow(t)
	r := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: "a@b.test"},
		Body: "I am away. For urgent matters ask for a human.", Subject: "Out of office", Automatic: true})
	f.state(r.ConversationID, channels.Closed)
	id := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: "c@d.test"},
		Body: "Hello\n> I want to talk to a human\nThanks", Subject: "Re: x"}).ConversationID
	f.state(id, channels.Bot) // an old wish in a quote is none
}

// TestCallLife: started, wish, ended while waiting; the second call of a contact; the answer to CallStarted was lost.
func TestCallLife(t *testing.T) {
	f := newFlow(t)
	ole := channels.Address{Kind: channels.Phone, Value: "+4930111"}
	start := func(sip string) channels.Receipt {
		return f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: ole, To: "100", SIPCallID: sip})
	}
	r := start("sip-1")
	if r.State != channels.Bot || r.CallID == 0 {
		t.Fatalf("started %+v", r)
	}
	if told := start("sip-1"); told.CallID != r.CallID || told.QueueID != r.QueueID || told.State != r.State {
		t.Errorf("told again, as the answer was lost after the commit: %+v, want %+v", told, r)
	}
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Source: "key"})
	f.state(r.ConversationID, channels.Waiting)
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Result: "abandoned", Reason: "caller hung up",
		Stats: map[string]any{"worst": map[string]any{"mos": 4.237, "lost_percent": 1.5, "jitter_ms": 3.6}}})
	var quality string
	f.ok(f.Pool.QueryRow(t.Context(), `select concat_ws(' ', mos, lost_percent, jitter_ms) from calls where id = $1`, r.CallID).Scan(&quality))
	if quality != "4.24 1.50 4" {
		t.Errorf("the call's quality is stored as %q", quality)
	}
	f.state(r.ConversationID, channels.Closed)
	if f.promises(r.ConversationID, "contact") != 1 {
		t.Error("hanging up does not close the promise")
	}

	again := start("sip-2")
	if again.ConversationID != r.ConversationID {
		t.Error("a caller who returns soon gets another conversation")
	}
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: again.CallID, Source: "key"})
	f.ok(f.Take(t.Context(), f.ana, r.ConversationID))
	if f.voice.has("join") != 1 {
		t.Error("the call was not told to expect the agent")
	}
	f.receive(channels.Inbound{Type: channels.CallMoved, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: again.CallID, CallState: channels.CallBridged})
	if f.promises(r.ConversationID, "") != 1 {
		t.Error("the mere bridge keeps the promise")
	}
	f.receive(channels.Inbound{Type: channels.Spoke, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: again.CallID, AgentID: f.ana})
	if f.promises(r.ConversationID, "agent") != 1 {
		t.Error("the agent's first word does not keep the promise")
	}
	f.receive(channels.Inbound{Type: channels.AgentLost, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: again.CallID})
	f.state(r.ConversationID, channels.Waiting)

	lost := start("sip-3")
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, From: ole, SIPCallID: "sip-3", Result: "failed", Reason: "not received"})
	var result string
	f.ok(f.Pool.QueryRow(t.Context(), `select result from calls where id = $1`, lost.CallID).Scan(&result))
	if result != "failed" {
		t.Errorf("the call whose answer was lost ended as %q", result)
	}
	_, err := f.Receive(t.Context(), channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, From: ole, SIPCallID: "never", Result: "failed"})
	f.refused(err, channels.NotFound)
}

// TestSweep: what the dead leave behind, each with its owner and its deadline.
func TestSweep(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	f.ok(Join(ctx, f.Pool, "dead-1", "other"))
	call := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+4930222"}, To: "100", SIPCallID: "x"})
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := f.Pool.Exec(ctx, sql, args...)
		f.ok(err)
	}
	exec(`update calls set node_id = 'dead-1' where id = $1`, call.CallID)
	wrap := f.visitor("a person please")
	f.ok(f.Take(ctx, f.ana, wrap))
	f.ok(f.End(ctx, f.ana, wrap))
	exec(`update conversations set wrapup_until = now() - interval '1 s' where id = $1`, wrap)
	gone := f.visitor("agent!")
	f.ok(f.Take(ctx, f.ana, gone))
	f.says(gone, "hello?")
	exec(`update conversations set changed_at = now() - interval '2 min' where id = $1`, gone)
	f.ok(agents.OpenSocket(ctx, f.Pool, f.Bus, "tab-dead", f.bo, "dead-1"))

	f.sweep(ctx)
	f.state(call.ConversationID, channels.Bot) // its node lives
	exec(`update nodes set seen_at = now() - interval '11 s' where id = 'dead-1'`)
	f.sweep(ctx)
	c, err := channels.Get(ctx, f.Pool, call.ConversationID)
	f.ok(err)
	if c.State != channels.Waiting || !c.Front || !c.ReturnCall || f.promises(c.ID, "") != 1 {
		t.Errorf("the lost caller: %+v", c)
	}
	f.state(wrap, channels.Closed)
	f.state(gone, channels.Waiting)
	for _, dead := range []bool{true, false} {
		if there, err := agents.Online(ctx, f.Pool, f.bo); err != nil || there == dead {
			t.Errorf("node dead: %v, its tab counts: %v, %v", dead, there, err)
		}
		exec(`update nodes set seen_at = now(), stopped_at = null where id = 'dead-1'`) // it was only cut off
	}
}

// TestLoopAnswersOnce: two switchboards on one database; every question gets one answer.
func TestLoopAnswersOnce(t *testing.T) {
	f := newFlow(t)
	f.ok(Join(t.Context(), f.Pool, "node-2", "second"))
	second := New(f.Config)
	second.NodeID = "node-2"
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, s := range []*Switchboard{f.Switchboard, second} {
		running.Go(func() { _ = s.Run(ctx) })
	}
	defer running.Wait()
	defer stop()
	ids := make([]int64, 12)
	for i := range ids {
		ids[i] = f.visitor("zebra quantum?")
		second.wake(ids[i])
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for open := 1; open > 0; {
		select {
		case <-tick.C:
			f.ok(f.Pool.QueryRow(ctx, `select count(*) from conversations where customer_seq > answered_seq`).Scan(&open))
		case <-limit:
			t.Fatal("not answered")
		}
	}
	var answers int
	f.ok(f.Pool.QueryRow(ctx, `select count(*) from messages where author = 'ai'`).Scan(&answers))
	if answers != len(ids) {
		t.Errorf("%d answers to %d questions", answers, len(ids))
	}
}

// TestBusyResponder: who finds no place at the model is told so and is in line at once, while the other is still served.
func TestBusyResponder(t *testing.T) {
	f := newFlow(t)
	srv := llmtest.New(t, llmtest.Oracle)
	release := srv.Hold()
	defer release()
	articles, err := llm.DemoArticles()
	f.ok(err)
	f.ok(llm.Load(t.Context(), f.Pool, articles))
	r, err := llm.New(llm.Config{Pool: f.Pool, Hosts: []llm.Host{{URL: srv.URL, Model: srv.Model}}, Places: 1, Bridge: 100 * time.Millisecond})
	f.ok(err)
	f.Responder = func() *llm.Responder { return r }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		f.ok(<-done)
	}()
	first := f.visitor("How much does the Skarv 2 tent weigh?")
	f.ok(srv.Wait(t.Context(), "/api/chat", func(r []llmtest.Request) bool { return len(r) == 1 }))
	for range 3 { // the line holds one or two at these patiences; one of three finds it full
		f.visitor("Does the ferry operator accept a tent made of weird recycled unobtainium fabric?")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for n := 0; n == 0; {
		select {
		case <-tick.C:
			f.ok(f.Pool.QueryRow(t.Context(), `select count(*) from promises where source = 'busy' and closed_at is null`).Scan(&n))
		case <-limit:
			t.Fatal("nobody was sent to people")
		}
	}
	f.state(first, channels.Bot)
	var words string
	f.ok(f.Pool.QueryRow(t.Context(), `select body from messages where data->>'source' = 'busy' limit 1`).Scan(&words))
	if words != wordsBusy.In("en") {
		t.Error(words)
	}
}
