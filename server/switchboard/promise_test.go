package switchboard

import (
	"testing"

	"patchbay/agents"
	"patchbay/channels"
)

func (f *flow) exec(sql string, args ...any) {
	f.t.Helper()
	_, err := f.Pool.Exec(f.t.Context(), sql, args...)
	f.ok(err)
}

func count(f *flow, sql string, args ...any) (n int) {
	f.t.Helper()
	f.ok(f.Pool.QueryRow(f.t.Context(), sql, args...).Scan(&n))
	return n
}

// there puts an agent at the desk.
func (f *flow) there(agentID int64) {
	f.t.Helper()
	f.ok(agents.OpenSocket(f.t.Context(), f.Pool, f.Bus, "tab", agentID, "node-1"))
	f.exec(`update agents set presence = 'available' where id = $1`, agentID)
}

// TestPromiseSaysWho: it stands with the wish, and says who is owed what, and that the customer was told.
func TestPromiseSaysWho(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("a person please")
	var who, queue int64
	var name, channel string
	var told, inHours bool
	f.ok(f.Pool.QueryRow(t.Context(), `select contact_id, queue_id, queue_name, channel, acknowledged_at >= opened_at, in_hours and due_at between opened_at + interval '179 s' and opened_at + interval '181 s'
		from promises where conversation_id = $1`, id).Scan(&who, &queue, &name, &channel, &told, &inHours))
	if who == 0 || queue != f.QueueID || name != "Service" || channel != "chat" || !told || !inHours {
		t.Errorf("owed to %d in %d %s by %s, told %v, in hours %v", who, queue, name, channel, told, inHours)
	}
	// out of hours the time counts from when people are back
	f.exec(`update queues set closed_until = now() + interval '2 hours'`)
	late := f.visitor("a person please")
	if n := count(f, `select count(*) from promises where conversation_id = $1 and not in_hours and due_at > now() + interval '2 hours'`, late); n != 1 {
		t.Error("a promise out of hours is due before anybody is back")
	}
}

// TestNothingLosesAPromise: whatever falls away between the wish and the first word, the promise stays open and the
// conversation is in line again.
func TestNothingLosesAPromise(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(f *flow, id int64)
		queue   string
	}{
		"the agent is deleted": {func(f *flow, id int64) {
			f.ok(f.Take(t.Context(), f.ana, id))
			f.exec(`delete from agents where id = $1`, f.ana)
		}, "Service"},
		"the agent is deleted while it rings": {func(f *flow, id int64) {
			f.exec(`update conversations set state = 'offered' where id = $1`, id)
			f.exec(`insert into offers (conversation_id, agent_id, expires_at) values ($1, $2, now() + interval '1 hour')`, id, f.ana)
			f.sweep(t.Context())
			f.state(id, channels.Offered)
			f.exec(`delete from agents where id = $1`, f.ana)
		}, "Service"},
		"the queue is deleted": {func(f *flow, id int64) {
			f.exec(`insert into queues (name) values ('Heirs')`)
			f.exec(`delete from queues where id = $1`, f.QueueID)
		}, "Heirs"},
		"the agent's tab is closed": {func(f *flow, id int64) {
			f.ok(f.Take(t.Context(), f.ana, id))
			f.says(id, "hello?")
			f.exec(`update conversations set changed_at = now() - interval '2 min' where id = $1`, id)
		}, "Service"},
		"a transfer to a queue": {func(f *flow, id int64) {
			f.ok(f.Take(t.Context(), f.ana, id))
			f.ok(f.Transfer(t.Context(), f.ana, id, channels.CallTarget{Kind: channels.TargetQueue, QueueID: f.QueueID}, ""))
		}, "Service"},
		"a transfer that fails": {func(f *flow, id int64) {
			f.ok(f.Take(t.Context(), f.ana, id))
			f.receive(channels.Inbound{Type: channels.PassFailed, Channel: channels.Voice, ConversationID: id, AgentID: f.ana, Reason: "busy"})
		}, "Service"},
		"the node dies": {func(f *flow, id int64) {
			f.exec(`update nodes set stopped_at = now()`)
			f.ok(Join(t.Context(), f.Pool, "node-2", "another"))
		}, "Service"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(t)
			id := f.visitor("a person please")
			due := count(f, `select extract(epoch from due_at)::int from promises where conversation_id = $1`, id)
			c.happens(f, id)
			f.sweep(t.Context())
			f.state(id, channels.Waiting)
			if n := count(f, `select count(*) from promises where conversation_id = $1 and closed_at is null and extract(epoch from due_at)::int = $2`, id, due); n != 1 {
				t.Error("the promise is not open any more as it was given")
			}
			if n := count(f, `select count(*) from conversations c join queues q on q.id = c.queue_id join promises p on p.conversation_id = c.id and p.queue_id = q.id where c.id = $1 and q.name = $2`, id, c.queue); n != 1 {
				t.Errorf("it does not wait in %s", c.queue)
			}
		})
	}
}

// TestBrokenPromise: a late one alarms once, stays open and shown, and stays broken when a person comes; one that an agent ends
// without a word is broken, too; one whose customer leaves is neither.
func TestBrokenPromise(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	late, silent, left := f.visitor("a person please"), f.visitor("a person please"), f.visitor("a person please")
	alarms := func(id int64) int {
		return count(f, `select count(*) from alarms where kind = 'promise_broken' and conversation_id = $1`, id)
	}
	f.exec(`update promises set due_at = now() - interval '1 s' where conversation_id = $1`, late)
	f.sweep(ctx)
	f.sweep(ctx)
	if n := alarms(late); n != 1 || f.promises(late, "") != 1 {
		t.Errorf("%d alarms, open: %d", n, f.promises(late, ""))
	}
	if n := count(f, `select count(*) from messages where conversation_id = $1 and private and data ->> 'code' = 'promise_broken'`, late); n != 1 {
		t.Errorf("%d lines in the timeline", n)
	}
	f.ok(f.Take(ctx, f.ana, late))
	if f.promises(late, "") != 1 {
		t.Error("taking it keeps the promise")
	}
	_, err := f.Reply(ctx, f.ana, late, "x", "Hello, Ana here.", false)
	f.ok(err)
	if n := count(f, `select count(*) from promises where conversation_id = $1 and closed_by = 'agent' and broken_at is not null`, late); n != 1 {
		t.Error("a late word makes a broken promise a kept one")
	}

	f.ok(f.Take(ctx, f.ana, silent))
	f.ok(f.End(ctx, f.ana, silent))
	if n := alarms(silent); n != 1 || f.promises(silent, "broken") != 1 {
		t.Errorf("ended without a word: %d alarms", n)
	}
	f.ok(f.Take(ctx, f.ana, left))
	f.receive(channels.Inbound{Type: channels.Left, Channel: channels.Chat, ConversationID: left})
	if n := alarms(left); n != 0 || f.promises(left, "contact") != 1 {
		t.Errorf("the customer left: %d alarms", n)
	}
}

// TestWhoHangsUp: on the telephone, before a word was said: the caller gives up, or the agent breaks the promise.
func TestWhoHangsUp(t *testing.T) {
	f := newFlow(t)
	for reason, want := range map[string]string{"caller hung up": "contact", "agent hung up": "broken"} {
		r := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+49301" + want}, To: "100", SIPCallID: want})
		f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Source: "key"})
		f.ok(f.Take(t.Context(), f.ana, r.ConversationID))
		f.receive(channels.Inbound{Type: channels.CallMoved, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, CallState: channels.CallBridged})
		f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID, Result: "completed", Reason: reason})
		if f.promises(r.ConversationID, want) != 1 {
			t.Errorf("%s: the promise is not closed as %s", reason, want)
		}
		f.ok(f.Close(t.Context(), f.ana, r.ConversationID, "", ""))
	}
}

// TestPeopleFirst: while the budget burns, the responder steps back where people are there; with nobody there it answers; when
// the hour is good again it answers first.
func TestPeopleFirst(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	for range 3 {
		f.exec(`update promises set due_at = now() - interval '1 s' where conversation_id = $1`, f.visitor("a person please"))
	}
	f.sweep(ctx)
	if n := count(f, `select count(*) from people_first`); n != 1 {
		t.Fatal("three of three promises are broken, and the responder goes on as if nothing were")
	}
	f.state(f.visitor("do you sell tents?"), channels.Bot) // nobody is there
	f.there(f.ana)
	first := f.visitor("do you sell stoves?")
	f.state(first, channels.Waiting)
	if n := count(f, `select count(*) from promises where conversation_id = $1 and source = 'people_first'`, first); n != 1 {
		t.Error("it waits without a promise")
	}
	if n := count(f, `select count(*) from messages where conversation_id = $1 and private and data ->> 'code' = 'people_first'`, first); n != 1 {
		t.Error("the timeline does not say why")
	}
	r := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+49302"}, To: "100", SIPCallID: "x"})
	f.state(r.ConversationID, channels.Waiting)
	f.exec(`update promises set due_at = now() - interval '2 hours' where broken_at is not null`)
	f.sweep(ctx)
	if n := count(f, `select count(*) from people_first`); n != 0 {
		t.Error("the good hour is not seen")
	}
	f.state(f.visitor("do you sell maps?"), channels.Bot)
	if n := count(f, `select count(*) from alarms where kind <> 'promise_broken'`); n != 2 {
		t.Errorf("%d alarms of it, want on and off", n)
	}
}
