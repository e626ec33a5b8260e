package switchboard

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/llm"
)

// atDesk brings an agent to the desk: available, with a tab open.
func (f *flow) atDesk(agentID int64, tab string) {
	f.t.Helper()
	f.ok(agents.SetPresence(f.t.Context(), f.Pool, f.Bus, agentID, agents.Available, ""))
	f.ok(agents.OpenSocket(f.t.Context(), f.Pool, f.Bus, tab, agentID, "node-1"))
}

// caller is a conversation with a running call that the agent has.
func (f *flow) caller(agentID int64) (conversation, call int64) {
	f.t.Helper()
	r := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+4930111"},
		To: "100", SIPCallID: "call-1"})
	f.ok(f.Take(f.t.Context(), agentID, r.ConversationID))
	return r.ConversationID, r.CallID
}

func (f *flow) conversation(id int64) (state channels.State, agent, wanted, passedBy int64) {
	f.t.Helper()
	f.ok(f.Pool.QueryRow(f.t.Context(), `select state, coalesce(agent_id, 0), coalesce(wanted_agent_id, 0), coalesce(passed_by_id, 0)
		from conversations where id = $1`, id).Scan(&state, &agent, &wanted, &passedBy))
	return state, agent, wanted, passedBy
}

func TestTransferToAColleague(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	id, call := f.caller(f.ana)
	to := channels.CallTarget{Kind: channels.TargetAgent, AgentID: f.bo}
	f.refused(f.TransferCall(ctx, f.ana, call, to), channels.Conflict) // not at the desk
	f.atDesk(f.bo, "tab-bo")
	f.refused(f.TransferCall(ctx, f.bo, call, to), channels.Conflict) // not bo's to pass on
	f.refused(f.TransferCall(ctx, f.ana, call, channels.CallTarget{Kind: channels.TargetAgent, AgentID: f.ana}), channels.Invalid)
	f.refused(f.TransferCall(ctx, f.ana, call, channels.CallTarget{Kind: channels.TargetAgent, AgentID: 999}), channels.NotFound)
	f.refused(f.TransferCall(ctx, f.ana, call+1, to), channels.NotFound)
	f.ok(f.TransferCall(ctx, f.ana, call, to))
	if state, agent, wanted, by := f.conversation(id); state != channels.Waiting || agent != 0 || wanted != f.bo || by != f.ana {
		t.Errorf("state %s, agent %d, wanted %d, passed by %d", state, agent, wanted, by)
	}
	if f.voice.has("release") != 1 || f.promises(id, "") != 1 {
		t.Error("the caller is not back in line with a promise")
	}
}

func TestHandedOnAfterAConsultation(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	id, call := f.caller(f.ana)
	f.atDesk(f.bo, "tab-bo")
	agent, name, err := agents.Borrow(ctx, f.Pool, call, f.ana, channels.CallTarget{Kind: channels.TargetQueue, QueueID: f.QueueID})
	f.ok(err)
	if agent != f.bo || name != "Bo Lind" {
		t.Errorf("borrowed %d %s", agent, name)
	}
	_, _, err = agents.Borrow(ctx, f.Pool, call, f.ana, channels.CallTarget{Kind: channels.TargetAgent, AgentID: f.bo})
	f.refused(err, channels.Conflict) // nobody gets bo twice
	f.receive(channels.Inbound{Type: channels.HandedOn, Channel: channels.Voice, ConversationID: id, CallID: call, AgentID: f.bo})
	if state, has, _, _ := f.conversation(id); state != channels.Agent || has != f.bo {
		t.Errorf("state %s, agent %d", state, has)
	}
	var guests int
	f.ok(f.Pool.QueryRow(ctx, `select count(*) from call_parties`).Scan(&guests))
	if guests != 0 {
		t.Error("who has the call is still its guest")
	}
}

func TestHandedOutAndBack(t *testing.T) {
	f := newFlow(t)
	asks := func(number string, agentID int64) (id, call int64) { // and the agent takes it
		t.Helper()
		r := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: number}, To: "100", SIPCallID: "call" + number})
		f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Source: "key"})
		f.ok(f.Take(t.Context(), agentID, r.ConversationID))
		return r.ConversationID, r.CallID
	}
	id, call := asks("+4930111", f.ana)
	f.receive(channels.Inbound{Type: channels.HandedOut, Channel: channels.Voice, ConversationID: id, CallID: call, To: "+4940222"})
	f.state(id, channels.Wrapup)
	if by, alarms := f.closedBy(id); by != "broken" || alarms != 1 {
		t.Errorf("passed on without a word: closed by %q, %d alarms", by, alarms)
	}
	f.receive(channels.Inbound{Type: channels.PassFailed, Channel: channels.Voice, ConversationID: id, CallID: call, AgentID: f.ana, Reason: "busy"})
	if state, _, _, by := f.conversation(id); state != channels.Waiting || by != f.ana {
		t.Errorf("state %s, passed by %d", state, by)
	}
	if f.promises(id, "") != 1 {
		t.Error("a failed transfer owes the caller a person")
	}

	id, call = asks("+4930112", f.bo)
	f.receive(channels.Inbound{Type: channels.Spoke, Channel: channels.Voice, ConversationID: id, CallID: call, AgentID: f.bo})
	f.receive(channels.Inbound{Type: channels.HandedOut, Channel: channels.Voice, ConversationID: id, CallID: call, To: "+4940222"})
	if by, alarms := f.closedBy(id); by != "agent" || alarms != 0 {
		t.Errorf("passed on after a word: closed by %q, %d alarms", by, alarms)
	}
}

// closedBy is how the conversation's first promise ended, and how many alarms tell of it.
func (f *flow) closedBy(id int64) (by string, alarms int) {
	f.t.Helper()
	f.ok(f.Pool.QueryRow(f.t.Context(), `select closed_by, (select count(*) from alarms where promise_id = p.id) from promises p where conversation_id = $1 order by id limit 1`, id).Scan(&by, &alarms))
	return by, alarms
}

func TestDial(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	var asked channels.VoiceRequest
	answer := channels.CallReply{}
	stop, err := f.Bus.Respond(channels.VoiceSubject("node-1"), func(data []byte) (any, error) {
		asked = channels.VoiceRequest{}
		return answer, json.Unmarshal(data, &asked)
	})
	f.ok(err)
	defer stop()

	_, _, err = f.Dial(ctx, f.ana, "call me", "", 0)
	f.refused(err, channels.Invalid)
	call, id, err := f.Dial(ctx, f.ana, "0049 30/222", "+4930100", 0)
	f.ok(err)
	if asked.Type != "dial" || asked.Number != "+4930222" || asked.CallID != call || asked.ConversationID != id || asked.AgentID != f.ana || asked.From != "+4930100" {
		t.Errorf("voice was asked %+v", asked)
	}
	if state, agent, _, _ := f.conversation(id); state != channels.Agent || agent != f.ana {
		t.Errorf("state %s, agent %d", state, agent)
	}
	_, _, err = f.Dial(ctx, f.ana, "+4930333", "", 0) // one call at a time
	f.refused(err, channels.Conflict)
	_, _, err = f.Dial(ctx, f.bo, "+4930222", "", 0) // the customer is being called
	f.refused(err, channels.Conflict)
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: id, CallID: call, Result: "failed", Reason: "busy"})
	f.state(id, channels.Agent) // nobody answered: the agent decides

	answer.Error = channels.Fail(channels.Forbidden, "Calls abroad are not allowed.")
	_, _, err = f.Dial(ctx, f.ana, "+4930222", "", id)
	f.refused(err, channels.Forbidden)
	var open int
	f.ok(f.Pool.QueryRow(ctx, `select count(*) from calls where state <> 'ended'`).Scan(&open))
	if open != 0 {
		t.Error("a refused call is still open")
	}
	f.state(id, channels.Agent)
	_, _, err = f.Dial(ctx, f.ana, "+19005550100", "", 0)
	f.refused(err, channels.Forbidden)
	f.ok(f.Pool.QueryRow(ctx, `select count(*) from conversations where state <> 'closed'`).Scan(&open))
	if open != 1 {
		t.Error("a call that was never made leaves a conversation to work on")
	}
}

// TestOfferAnsweredOnATelephone: answering there is the same as a click, and so is declining.
func TestOfferAnsweredOnATelephone(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	r := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+4930111"},
		To: "100", SIPCallID: "call-1"})
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Source: "key"})
	offer := f.offer(r.ConversationID, f.ana)
	_, err := f.Receive(ctx, channels.Inbound{Type: channels.OfferTaken, Channel: channels.Voice, ConversationID: r.ConversationID, AgentID: f.bo, OfferID: offer})
	f.refused(err, channels.NotFound) // not bo's
	f.receive(channels.Inbound{Type: channels.OfferDeclined, Channel: channels.Voice, ConversationID: r.ConversationID, AgentID: f.ana, OfferID: offer})
	f.state(r.ConversationID, channels.Waiting)
	offer = f.offer(r.ConversationID, f.ana)
	f.receive(channels.Inbound{Type: channels.OfferTaken, Channel: channels.Voice, ConversationID: r.ConversationID, AgentID: f.ana, OfferID: offer})
	if state, agent, _, _ := f.conversation(r.ConversationID); state != channels.Agent || agent != f.ana || f.voice.has("join") != 1 {
		t.Errorf("state %s, agent %d, %d joins", state, agent, f.voice.has("join"))
	}
	_, err = f.Receive(ctx, channels.Inbound{Type: channels.OfferTaken, Channel: channels.Voice, ConversationID: r.ConversationID, AgentID: f.ana, OfferID: offer})
	f.refused(err, channels.Conflict)
}

// offer shows a waiting conversation to an agent, as the router does.
func (f *flow) offer(conversation, agent int64) (id int64) {
	f.t.Helper()
	ctx := f.t.Context()
	f.ok(pgx.BeginFunc(ctx, f.Pool, func(tx pgx.Tx) error {
		if _, err := channels.Move(ctx, tx, conversation, channels.Offered); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `insert into offers (conversation_id, agent_id, expires_at, why) values ($1, $2, now() + interval '1 minute', 'a test')
			returning id`, conversation, agent).Scan(&id)
	}))
	return id
}

// TestTelephoneDialsAndPassesOn: what an agent does with the telephone's own buttons is what they do at the desk.
func TestTelephoneDialsAndPassesOn(t *testing.T) {
	f := newFlow(t)
	stop, err := f.Bus.Respond(channels.VoiceSubject("node-1"), func([]byte) (any, error) { return channels.CallReply{}, nil })
	f.ok(err)
	defer stop()
	r := f.receive(channels.Inbound{Type: channels.DialOut, Channel: channels.Voice, AgentID: f.ana, To: "+4930222"})
	if state, agent, _, _ := f.conversation(r.ConversationID); state != channels.Agent || agent != f.ana || r.CallID == 0 {
		t.Errorf("state %s, agent %d, call %d", state, agent, r.CallID)
	}
	f.atDesk(f.bo, "tab-bo")
	to := &channels.CallTarget{Kind: channels.TargetAgent, AgentID: f.bo}
	f.receive(channels.Inbound{Type: channels.PassOn, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, AgentID: f.ana, Target: to})
	if state, _, wanted, by := f.conversation(r.ConversationID); state != channels.Waiting || wanted != f.bo || by != f.ana {
		t.Errorf("state %s, wanted %d, passed by %d", state, wanted, by)
	}
}

// TestDialsWhileTheLastCallEnds: both change the same rows at the same moment; neither may be refused for that.
func TestDialsWhileTheLastCallEnds(t *testing.T) {
	f := newFlow(t)
	from := channels.Address{Kind: channels.Phone, Value: "+4930111"}
	start := func(n int) (channels.Receipt, error) {
		return f.Receive(t.Context(), channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: from, To: "100", SIPCallID: fmt.Sprint("call-", n)})
	}
	last, err := start(0)
	f.ok(err)
	for n := range 60 {
		var both sync.WaitGroup
		var ended error
		both.Go(func() {
			_, ended = f.Receive(t.Context(), channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, From: from, ConversationID: last.ConversationID,
				CallID: last.CallID, Result: "completed", Reason: "caller hung up"})
		})
		next, err := start(n + 1)
		both.Wait()
		f.ok(err)
		f.ok(ended)
		last = next
	}
}

// TestCallsHoldPlaces: as many calls talk with the responder as it has places for; the next caller is told and gets a
// person. A place is given back when a person has the call, when it ends, and when it was never stored.
func TestCallsHoldPlaces(t *testing.T) {
	f := newFlow(t)
	r, err := llm.New(llm.Config{Pool: f.Pool, Hosts: []llm.Host{{URL: "http://127.0.0.1:1", Model: "m"}}, Places: 1})
	f.ok(err)
	f.Responder = func() *llm.Responder { return r }
	callers := 0
	ring := func(talks bool) channels.Receipt {
		callers++
		return f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: fmt.Sprintf("+4930%d", callers)},
			To: "100", SIPCallID: fmt.Sprintf("place-%d", callers), Talks: talks})
	}
	held := func(want int) {
		t.Helper()
		if n := r.State().Calls; n != want {
			t.Fatalf("%d places are held, want %d", n, want)
		}
	}
	first, second, third := ring(true), ring(true), ring(true)
	if first.Busy || second.Busy || !third.Busy || third.State != channels.Waiting {
		t.Fatalf("%+v %+v %+v", first, second, third)
	}
	held(2)
	if keys := ring(false); keys.Busy || keys.State != channels.Bot { // a call without engines takes none
		t.Errorf("%+v", keys)
	}
	var n int
	f.ok(f.Pool.QueryRow(t.Context(), `select count(*) from promises where source = 'busy' and conversation_id = $1`, third.ConversationID).Scan(&n))
	if n != 1 {
		t.Error("no promise")
	}
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, CallID: first.CallID, ConversationID: first.ConversationID, Result: "completed"})
	held(1)
	fourth := ring(true)
	if fourth.Busy {
		t.Error("the place of a call that has ended is not given on")
	}
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: fourth.ConversationID, CallID: fourth.CallID, Source: "key"})
	held(2) // in line it goes on
	f.ok(f.Take(t.Context(), f.bo, fourth.ConversationID))
	held(1)
	// what is not stored holds nothing
	if _, err := f.Receive(t.Context(), channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+49309"},
		To: "100", SIPCallID: "place-9", Media: "carrier pigeon", Talks: true}); err == nil {
		t.Error("a call by pigeon was stored")
	}
	held(1)
}
