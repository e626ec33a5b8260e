package switchboard

import (
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/llm/llmtest"
)

// telephone answers what the flow asks of one, and notes whom it calls. (Real ones: server/callback_test.go.)
type telephone struct {
	mu     sync.Mutex
	calls  []channels.VoiceRequest
	refuse *channels.Error
	asked  chan struct{} // may_dial says here that it is asked, and is answered after a word from hold; nil: at once
	hold   chan struct{}
}

func (p *telephone) answer(data []byte) (any, error) {
	var req channels.VoiceRequest
	if err := json.Unmarshal(data, &req); err != nil {
		return nil, err
	}
	if req.Type == "may_dial" && p.asked != nil {
		p.asked <- struct{}{}
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if req.Type == "may_dial" {
		if strings.HasPrefix(req.Number, "+49900") {
			return channels.CallReply{Error: channels.FailField(channels.Forbidden, "number", "Numbers that begin with +49900 are not allowed.")}, nil
		}
		return channels.CallReply{Number: req.Number}, nil
	}
	p.calls = append(p.calls, req)
	return channels.CallReply{Error: p.refuse}, nil
}

func (p *telephone) called() []channels.VoiceRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func newCallFlow(t *testing.T) (*flow, *telephone) {
	f, p := newFlow(t), &telephone{}
	stop, err := f.Bus.Respond(channels.VoiceSubject(f.NodeID), p.answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return f, p
}

// wantsCall is a visitor in line who wants to be called.
func (f *flow) wantsCall(number string, at *time.Time) int64 {
	f.t.Helper()
	id := f.visitor("a person please")
	f.receive(channels.Inbound{Type: channels.CallMe, Channel: channels.Chat, ConversationID: id, To: number, At: at})
	return id
}

// takes a call back by hand and returns its call.
func (f *flow) takes(agent, id int64) (call int64) {
	f.t.Helper()
	f.ok(f.Take(f.t.Context(), agent, id))
	return int64(count(f, `select max(id) from calls where conversation_id = $1 and state = 'dialling'`, id))
}

// ends a call that rang at the customer.
func (f *flow) ends(id, call int64, result, reason string, bridged bool) {
	f.t.Helper()
	f.receive(channels.Inbound{Type: channels.CallMoved, Channel: channels.Voice, ConversationID: id, CallID: call, CallState: channels.CallRinging})
	if bridged {
		f.receive(channels.Inbound{Type: channels.CallMoved, Channel: channels.Voice, ConversationID: id, CallID: call, CallState: channels.CallBridged})
	}
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: call, Result: result, Reason: reason})
}

// TestWishWaitsForNoTelephone: who asks in words to be called is owed a person at once, also while the telephone does not say
// whether it may call; the offer follows when it has.
func TestWishWaitsForNoTelephone(t *testing.T) {
	f, phone := newCallFlow(t)
	phone.asked, phone.hold = make(chan struct{}), make(chan struct{})
	f.withModel(llmtest.Refuse)
	f.visitor("hello")
	received := make(chan int64, 1)
	go func() { received <- f.visitor("please call me back") }()
	limit := time.After(30 * time.Second)
	select {
	case <-phone.asked:
	case <-limit:
		t.Fatal("the telephone was not asked")
	}
	if n := count(f, `select count(*) from promises where closed_at is null`); n != 1 {
		t.Errorf("%d promises while the telephone is asked", n)
	}
	select {
	case id := <-received:
		if n := count(f, `select count(*) from messages where conversation_id = $1 and data->>'code' = 'callback'`, id); n != 0 {
			t.Error("offered before it was known")
		}
		close(phone.hold)
		for tick := time.NewTicker(20 * time.Millisecond); count(f, `select count(*) from messages where conversation_id = $1 and data->>'code' = 'callback'`, id) != 1; {
			select {
			case <-tick.C:
			case <-limit:
				t.Fatal("never offered")
			}
		}
	case <-limit:
		close(phone.hold)
		t.Fatal("the customer's words wait for the telephone")
	}
}

// TestCallBackTries: each try that reaches nobody brings the call back into line with its place, later and later; the customer
// reads of it; after the last a supervisor is told and decides. The promise stays open all the while.
func TestCallBackTries(t *testing.T) {
	f, phone := newCallFlow(t)
	ctx := t.Context()
	f.queue(func(q *agents.QueueSettings) {
		q.ID, q.Name, q.CallBackTries, q.CallBackMinutes = f.QueueID, "Service", 2, 7
	})
	id := f.visitor("a person please")
	since := text(f, `select waiting_since::text from conversations where id = $1`, id)
	f.receive(channels.Inbound{Type: channels.CallMe, Channel: channels.Chat, ConversationID: id, To: "+49 40 222", Name: "Ole"})
	if got := text(f, `select number || ' ' || name from promises p join contacts c on c.id = p.contact_id where conversation_id = $1`, id); got != "+4940222 Ole" {
		t.Errorf("promised: %s", got)
	}
	if _, err := f.Receive(ctx, channels.Inbound{Type: channels.CallMe, Channel: channels.Chat, ConversationID: id, To: "+49 900 1"}); channels.CodeOf(err) != channels.Forbidden {
		t.Errorf("a forbidden number: %v", err)
	}
	other := f.visitor("a person please")
	if _, err := f.Receive(ctx, channels.Inbound{Type: channels.CallMe, Channel: channels.Chat, ConversationID: other, To: "+4940222"}); channels.CodeOf(err) != channels.Conflict {
		t.Errorf("the same number for somebody else: %v", err)
	}

	f.ends(id, f.takes(f.ana, id), "failed", "busy", false)
	f.state(id, channels.Waiting)
	if n := count(f, `select count(*) from conversations c join promises p on p.conversation_id = c.id where c.id = $1 and c.waiting_since::text = $2 and not c.front
		and c.not_before between now() + interval '6 minutes' and now() + interval '7 minutes' and p.tries = 1 and p.given_up_at is null and p.closed_at is null`, id, since); n != 1 {
		t.Error("the first try: " + text(f, `select row_to_json(p)::text || row_to_json(c)::text from conversations c join promises p on p.conversation_id = c.id where c.id = $1`, id))
	}
	waits, err := agents.Waits(ctx, f.Pool, []int64{id, other})
	if err != nil || len(waits) != 2 || waits[0].Place+waits[1].Place != 3 {
		t.Errorf("waits %+v, %v", waits, err)
	}
	for _, w := range waits { // who waits now is before who is called later
		if w.ConversationID == id && (w.Place != 2 || w.Code != "later" || !strings.HasPrefix(w.Why, "2nd try not before ") || !strings.HasSuffix(w.Why, ": busy.")) {
			t.Errorf("%+v", w)
		}
	}

	f.refused(f.CallNow(ctx, f.ana, id), channels.Forbidden)
	f.ends(id, f.takes(f.ana, id), "failed", "did not answer", false)
	if n := count(f, `select count(*) from conversations c join promises p on p.conversation_id = c.id where c.id = $1 and c.not_before = 'infinity'
		and p.given_up_at is not null and p.closed_at is null`, id); n != 1 {
		t.Error("the last try does not bring it before a supervisor")
	}
	if n := count(f, `select count(*) from alarms where kind = 'call_back_failed' and conversation_id = $1`, id); n != 1 {
		t.Errorf("%d alarms", n)
	}
	got := text(f, `select string_agg(body, ' | ' order by seq) from messages where conversation_id = $1 and not private and data ->> 'code' in ('call_set', 'not_reached')`, id)
	for _, want := range []string{"We call you at +4940222, when it is your turn. You keep your place in line.", "did not reach you (busy). We call again today at ",
		"did not reach you (did not answer). Write or call when it suits you: you keep your place."} {
		if !strings.Contains(got, want) {
			t.Errorf("the customer reads %s, not %q", got, want)
		}
	}
	f.ok(f.CallNow(ctx, f.bo, id))
	call := f.takes(f.ana, id)
	f.ends(id, call, "completed", "agent hung up", true) // without a word
	if n := count(f, `select count(*) from promises where conversation_id = $1 and closed_at is null and tries = 1 and last_try like 'ended before a word%'`, id); n != 1 {
		t.Error("an agent who hangs up without a word has kept or lost the promise")
	}
	f.ok(f.CancelCall(ctx, f.bo, id))
	f.state(id, channels.Closed)
	if f.promises(id, "broken") != 1 || count(f, `select count(*) from alarms where kind = 'promise_broken' and conversation_id = $1`, id) != 1 {
		t.Error("a cancelled call back is not shown as a broken promise")
	}
	if n := len(phone.called()); n != 3 {
		t.Errorf("%d calls", n)
	}
}

// TestCallBackEnds: by the agent's first word, and by a customer who hangs up on a person; a customer who phones by themselves is
// served at once and not called, and is called after all when they give up.
func TestCallBackEnds(t *testing.T) {
	f, phone := newCallFlow(t)
	id := f.wantsCall("+4940222", nil)
	call := f.takes(f.ana, id)
	f.receive(channels.Inbound{Type: channels.CallMoved, Channel: channels.Voice, ConversationID: id, CallID: call, CallState: channels.CallBridged})
	f.receive(channels.Inbound{Type: channels.Spoke, Channel: channels.Voice, ConversationID: id, CallID: call, AgentID: f.ana})
	if f.promises(id, "agent") != 1 {
		t.Error("the agent's word does not keep the promise")
	}
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: call, Result: "completed", Reason: "agent hung up"})

	id = f.wantsCall("+4940333", nil)
	f.ends(id, f.takes(f.bo, id), "completed", "caller hung up", true)
	f.state(id, channels.Agent) // who has chatted goes on in writing
	if f.promises(id, "") != 1 {
		t.Error("a promise ends without a word while the chat goes on")
	}

	from := channels.Address{Kind: channels.Phone, Value: "+4940444"}
	in := channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: from, To: "100", SIPCallID: "one"}
	r := f.receive(in)
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Source: "key"})
	soon := time.Now().Add(time.Hour)
	f.receive(channels.Inbound{Type: channels.CallMe, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, To: from.Value, At: &soon})
	end := channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Result: "completed", Reason: "is called back"}
	f.receive(end)
	f.state(r.ConversationID, channels.Waiting)
	in.SIPCallID = "two"
	again := f.receive(in)
	if again.ConversationID != r.ConversationID || again.State != channels.Waiting || count(f, `select count(*) from conversations where id = $1 and not_before is null`, r.ConversationID) != 1 {
		t.Errorf("who phones before the appointment waits for it: %+v", again)
	}
	end.CallID = again.CallID
	f.receive(end)
	f.state(r.ConversationID, channels.Waiting)
	if count(f, `select count(*) from conversations where id = $1 and not_before > now() + interval '59 minutes'`, r.ConversationID) != 1 {
		t.Error("the appointment is lost with the second call")
	}
	f.ends(r.ConversationID, f.takes(f.ana, r.ConversationID), "completed", "caller hung up", true)
	f.state(r.ConversationID, channels.Wrapup)
	if f.promises(r.ConversationID, "contact") != 1 {
		t.Error("who hangs up on a person is called again")
	}

	from.Value, in.From.Value, in.SIPCallID = "+4940555", "+4940555", "three"
	r = f.receive(in)
	f.receive(channels.Inbound{Type: channels.CallMe, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, To: from.Value})
	before := len(phone.called())
	f.ok(f.Take(t.Context(), f.bo, r.ConversationID))
	if len(phone.called()) != before || f.voice.has("join") == 0 {
		t.Error("who is on the telephone is called")
	}
}

// TestCallBackIsNeverLost: a telephone that cannot dial, an agent whose sound does not come, a queue that nobody serves: the
// first are tries, the second is none, and of the last a supervisor hears before the promise breaks.
func TestCallBackIsNeverLost(t *testing.T) {
	f, phone := newCallFlow(t)
	ctx := t.Context()
	id := f.wantsCall("+4940222", nil)
	phone.refuse = channels.Fail(channels.TooMany, "All lines are in use.")
	f.refused(f.Take(ctx, f.ana, id), channels.TooMany)
	f.state(id, channels.Waiting)
	if got := text(f, `select tries || ' ' || last_try from promises where conversation_id = $1 and closed_at is null`, id); got != "1 All lines are in use" {
		t.Errorf("try: %s", got)
	}
	phone.refuse = nil
	if _, err := f.Pool.Exec(ctx, `update agents set presence = 'available'`); err != nil {
		t.Fatal(err)
	}
	f.ok(f.CallNow(ctx, f.bo, id))
	f.ok(f.Take(ctx, f.ana, id))
	call := int64(count(f, `select max(id) from calls where conversation_id = $1`, id))
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: call, Result: "failed", Reason: "your browser did not connect"})
	f.state(id, channels.Waiting)
	if count(f, `select count(*) from conversations c join promises p on p.conversation_id = c.id where c.id = $1 and c.front and c.not_before is null and p.tries = 0`, id) != 1 {
		t.Error("an agent without sound costs the customer a try")
	}
	if got := text(f, `select presence from agents where id = $1`, f.ana); got != "away" {
		t.Errorf("the agent without sound is %s", got)
	}

	f.ok(f.sweepCallsDue(ctx))
	if n := count(f, `select count(*) from alarms where kind = 'call_back_due'`); n != 0 {
		t.Errorf("%d alarms too early", n)
	}
	if _, err := f.Pool.Exec(ctx, `update promises set due_at = clock_timestamp() + interval '80 seconds' where conversation_id = $1`, id); err != nil {
		t.Fatal(err)
	}
	f.ok(f.sweepCallsDue(ctx))
	f.ok(f.sweepCallsDue(ctx))
	if n := count(f, `select count(*) from alarms where kind = 'call_back_due' and conversation_id = $1`, id); n != 1 {
		t.Errorf("%d alarms, want one before it breaks", n)
	}
}

// TestCallBackOfTwoNodes: two nodes take it at the same moment, many times over: it is dialled once.
func TestCallBackOfTwoNodes(t *testing.T) {
	f, phone := newCallFlow(t)
	if err := Join(t.Context(), f.Pool, "node-2", "other"); err != nil {
		t.Fatal(err)
	}
	cfg := f.Config
	cfg.NodeID, cfg.Log = "node-2", slog.New(slog.DiscardHandler)
	second := New(cfg)
	stop, err := f.Bus.Respond(channels.VoiceSubject("node-2"), phone.answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	for round := range 10 {
		id := f.wantsCall("+494022"+string(rune('0'+round)), nil)
		var both sync.WaitGroup
		both.Go(func() { _ = f.Take(t.Context(), f.ana, id) })
		both.Go(func() { _ = second.Take(t.Context(), f.bo, id) })
		both.Wait()
		if n := count(f, `select count(*) from calls where conversation_id = $1`, id); n != 1 || len(phone.called()) != round+1 {
			t.Fatalf("round %d: %d calls, dialled %d times", round, n, len(phone.called()))
		}
		call := int64(count(f, `select id from calls where conversation_id = $1`, id))
		f.ends(id, call, "completed", "caller hung up", true)
		f.ok(f.change(t.Context(), id, func(ch *change) error { return f.close(t.Context(), ch, "solved") }))
	}
}
