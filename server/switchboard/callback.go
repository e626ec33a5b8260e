package switchboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
	"patchbay/server/bus"
)

// Call backs: the customer leaves the line and keeps the place; the same conversation waits on, with its promise open, and is
// called by the telephone itself when an agent has accepted it. It is all in rows: who dies on the way costs a try at most.

var (
	wordsKeepPlace  = sentences.Say("You keep your place in line.")
	wordsCallLonger = sentences.Say("It takes longer than usual. Shall we call you back?").Then(wordsKeepPlace)
	wordsShallCall  = sentences.Say("Shall we call you?").Then(wordsKeepPlace)
	wordsNoCall     = sentences.Say("We do not call you. You wait here, and keep your place.")
	wordsPlaceKept  = sentences.Say("You have your place in line again.")
	wordsAtTurn     = sentences.Say("when it is your turn")
)

const (
	wordsCallSet    = "We call you at %s, %s."
	wordsNotReached = "We called you at %s and did not reach you (%s)."
	wordsCallAgain  = "We call again %s."
	wordsYourMove   = "Write or call when it suits you: you keep your place."

	sourceCall = "call_back" // the wish of who asks to be called

	dialLimit = 10 * time.Second // for the telephone to begin a call
)

// mayCall asks the telephone whether a customer may be called there, under the dial policy; "" asks whether anybody may be. It
// returns the number in the form in which it is called.
func (s *Switchboard) mayCall(ctx context.Context, number string) (string, error) {
	if number != "" {
		clean, err := channels.CleanAddress(channels.Address{Kind: channels.Phone, Value: number})
		if err != nil {
			return "", channels.FailField(channels.Invalid, "number", "A phone number has 2 to 15 digits, such as +49 30 23125410.")
		}
		number = clean.Value
	}
	var reply channels.CallReply
	err := s.Bus.Request(ctx, channels.VoiceSubject(s.NodeID), channels.VoiceRequest{Type: "may_dial", Number: number}, &reply)
	switch {
	case errors.Is(err, bus.ErrNoOwner):
		return "", channels.FailField(channels.Unavailable, "number", "We cannot call anybody: there is no telephone.")
	case err != nil:
		return "", fmt.Errorf("ask the telephone: %w", err)
	case reply.Error != nil:
		return "", reply.Error
	}
	return reply.Number, nil
}

// callMe: the customer wants to be called. in.To is checked.
func (s *Switchboard) callMe(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	if err := ch.mayPromise(ctx, in.To); err != nil {
		return err
	}
	at, err := agents.CallTime(ctx, ch.tx, ch.c.ID, in.At)
	if err != nil {
		return err
	}
	when := wordsAtTurn
	if at != nil {
		if when, err = agents.CalledAt(ctx, ch.tx, ch.c.ID, *at); err != nil {
			return err
		}
	}
	words := sentences.Say(wordsCallSet, in.To, when).Then(wordsKeepPlace)
	if in.Channel == channels.Email {
		ch.more = words.Then(wordsCorrect)
	}
	if err := s.toPeople(ctx, ch, sourceCall, channels.CodeWaiting, wordsWaiting); err != nil {
		return err
	}
	r.Later = at != nil && in.At == nil
	if at != nil && ch.c.State == channels.Offered {
		if err := s.withdraw(ctx, ch); err != nil {
			return err
		}
	}
	if _, err := agents.PromiseCall(ctx, ch.tx, ch.c.ID, in.To, at); err != nil {
		return err
	}
	if in.Name != "" {
		if err := ch.exec(ctx, "name", `update contacts set name = $2 where id = $1 and name = ''`, ch.c.ContactID, in.Name); err != nil {
			return err
		}
	}
	ch.carded = true
	ch.line(channels.CodeTried, fmt.Sprintf("Wants to be called at %s, %s. Keeps the place in line.", in.To, strings.Replace(when.In("en"), "your", "their", 1)), channels.MessageData{DueAt: at})
	ch.standsAnew()
	return ch.inOneMail(ctx, in, channels.CodeCallSet, words, channels.MessageData{DueAt: at})
}

// mayPromise tells why that number is not called for this customer.
func (ch *change) mayPromise(ctx context.Context, number string) error {
	twin := false
	if err := ch.tx.QueryRow(ctx, `select exists (select from promises where number = $1 and closed_at is null and conversation_id <> $2)`, number, ch.c.ID).Scan(&twin); err != nil {
		return fmt.Errorf("call back: %w", err)
	}
	switch {
	case twin: // nobody is rung up again and again by somebody else
		return channels.FailField(channels.Conflict, "number", "We are to call this number already.")
	case ch.c.State == channels.Agent:
		return channels.Fail(channels.Conflict, "A person is here already.")
	}
	return nil
}

// standsAnew tells the customer's page, the desk and the routers that a call back has changed, though the state has not.
func (ch *change) standsAnew() {
	id, s := ch.c.ID, ch.s
	ch.after(func() {
		s.publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventState, ConversationID: id, Seq: ch.c.LastSeq, State: ch.c.State})
		s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: id})
		s.publish(channels.RouteSubject, struct{}{})
	})
}

// noCall: the customer waits where they are again.
func (s *Switchboard) noCall(ctx context.Context, ch *change) error {
	cb, err := agents.OpenCallBack(ctx, ch.tx, ch.c.ID)
	if err != nil || cb == nil || ch.c.State == channels.Agent {
		return err
	}
	if err := agents.DropCall(ctx, ch.tx, ch.c.ID); err != nil {
		return err
	}
	ch.standsAnew()
	return ch.notice(ctx, channels.CodeNoCall, wordsNoCall, channels.MessageData{})
}

// offerCall asks the customer whether they want to be called; who writes mails is asked in the first answer (mailcall.go).
func (s *Switchboard) offerCall(ctx context.Context, ch *change, words sentences.Said, why channels.MessageData) error {
	cb, err := agents.OpenCallBack(ctx, ch.tx, ch.c.ID)
	if err != nil || cb != nil || ch.c.Channel == channels.Email {
		return err
	}
	return ch.notice(ctx, channels.CodeCallback, words, why)
}

// shallWeCall offers a call to who has asked for one in words, if anybody may be called; a person comes anyway.
func (s *Switchboard) shallWeCall(ctx context.Context, id int64) error {
	if _, err := s.mayCall(ctx, ""); err != nil {
		return err
	}
	return s.change(ctx, id, func(ch *change) error {
		if ch.c.State != channels.Waiting && ch.c.State != channels.Offered { // somebody was faster
			return nil
		}
		return s.offerCall(ctx, ch, wordsShallCall, channels.MessageData{})
	})
}

// dialBack calls the customer of a call back for the agent who has just got it: the call's row now, the telephone after the
// commit.
func (s *Switchboard) dialBack(ctx context.Context, ch *change, agentID int64, name string, cb *agents.CallBack) error {
	if err := agents.FreeToTalk(ctx, ch.tx, agentID); err != nil {
		return err
	}
	from, err := agents.CallerNumber(ctx, ch.tx, ch.c.ID)
	if err != nil {
		return err
	}
	call, err := channels.OpenCall(ctx, ch.tx, channels.Call{ConversationID: ch.c.ID, Direction: channels.CallOut, From: from, To: cb.Number,
		NodeID: &s.NodeID, State: channels.CallDialling, AgentID: &agentID})
	if err != nil {
		return fmt.Errorf("open call: %w", err)
	}
	if err := agents.CallBegins(ctx, ch.tx, ch.c.ID); err != nil {
		return err
	}
	ch.line(channels.CodeDialled, fmt.Sprintf("%s calls back %s, as promised.", name, cb.Number), channels.MessageData{CallID: call.ID, AgentName: firstName(name)})
	id, out := ch.c.ID, context.WithoutCancel(ctx)
	ch.after(func() {
		out, cancel := context.WithTimeout(out, dialLimit)
		defer cancel()
		var reply channels.CallReply
		err := s.Bus.Request(out, channels.VoiceSubject(s.NodeID), channels.VoiceRequest{Type: "dial", AgentID: agentID, ConversationID: id,
			CallID: call.ID, Number: cb.Number, From: from}, &reply)
		if err == nil && reply.Error != nil {
			err = reply.Error
		}
		if err == nil {
			return
		}
		ch.late = err
		late := context.WithoutCancel(out)
		if err := s.change(late, id, func(ch *change) error {
			if err := s.callNeverBegan(late, ch, call.ID, err); err != nil || ch.c.State != channels.Agent {
				return err
			}
			return s.notReached(late, ch, cmp.Or(wordsOf(err), "not dialled"))
		}); err != nil {
			s.Log.Error("call back not ended", "call", call.ID, "err", err)
		}
	})
	return nil
}

// wordsOf is an error's sentence where it has one for people.
func wordsOf(err error) string {
	var known *channels.Error
	if errors.As(err, &known) {
		return strings.TrimSuffix(known.Text, ".")
	}
	return ""
}

// calledBack settles the end of a call of somebody who was promised one; false: the promise has nothing to do with it.
func (s *Switchboard) calledBack(ctx context.Context, ch *change, call *channels.EndedCall) (bool, error) {
	cb, err := agents.OpenCallBack(ctx, ch.tx, ch.c.ID)
	if err != nil || cb == nil {
		return false, err
	}
	inLine := ch.c.State == channels.Waiting || ch.c.State == channels.Offered
	if call.Direction == channels.CallIn {
		if inLine { // they have hung up and are called
			return true, agents.CustomerCalls(ctx, ch.tx, ch.c.ID, false)
		}
		return false, nil
	}
	switch {
	case call.BridgedAt != nil && call.Result == "completed" && !strings.HasPrefix(call.Reason, "agent "): // the customer has hung up on a person
		return false, nil
	case ch.c.State != channels.Agent:
		return inLine, nil // passed on while it rang
	}
	var rang bool
	if err := ch.tx.QueryRow(ctx, `select ringing_at is not null from calls where id = $1`, call.ID).Scan(&rang); err != nil {
		return false, fmt.Errorf("call back: %w", err)
	}
	if !rang {
		return true, s.notConnected(ctx, ch, call.Reason)
	}
	why := call.Reason
	if call.BridgedAt != nil {
		why = "ended before a word: " + why
	}
	return true, s.notReached(ctx, ch, why)
}

// notReached puts a call back in line for its next try, or before a supervisor. The agent is free again.
func (s *Switchboard) notReached(ctx context.Context, ch *change, why string) error {
	if err := s.callAgain(ctx, ch); err != nil {
		return err
	}
	t, err := agents.CallFailed(ctx, ch.tx, ch.c.ID, why)
	if err != nil {
		return err
	}
	words := sentences.Say(wordsNotReached, t.Number, sentences.Say(why))
	line := fmt.Sprintf("Not reached at %s: %s. Next try %s.", t.Number, why, t.When.In("en"))
	if !t.GivenUp {
		words = words.Then(sentences.Say(wordsCallAgain, t.When))
	} else {
		words = words.Then(sentences.Say(wordsYourMove))
		line = fmt.Sprintf("Not reached at %s: %s. That was the last try: a supervisor decides.", t.Number, why)
		alarm, err := agents.GaveUp(ctx, ch.tx, ch.c.ID, t)
		if err != nil {
			return err
		}
		if err := s.raise(ctx, ch, alarm); err != nil {
			return err
		}
	}
	ch.line(channels.CodeTried, line, channels.MessageData{Reason: why, DueAt: t.NotBefore})
	return ch.tellInWriting(ctx, channels.CodeNotReached, words)
}

// notConnected: the agent's sound did not come; the customer's telephone has not rung. First in line, the agent is away.
func (s *Switchboard) notConnected(ctx context.Context, ch *change, why string) error {
	agentID := ch.c.AgentID
	if err := s.callAgain(ctx, ch); err != nil {
		return err
	}
	ch.line(channels.CodeTried, "Not called: "+why+". First in line again.", channels.MessageData{Reason: why})
	if agentID != nil {
		ch.after(func() { s.away(context.WithoutCancel(ctx), *agentID) })
	}
	return agents.CallUntried(ctx, ch.tx, ch.c.ID)
}

// callAgain takes a call back from its agent.
func (s *Switchboard) callAgain(ctx context.Context, ch *change) error {
	if ch.c.AgentID != nil {
		if err := agents.Idle(ctx, ch.tx, *ch.c.AgentID); err != nil {
			return err
		}
	}
	if ok, err := ch.move(ctx, channels.Waiting); err != nil || !ok {
		return cmp.Or[error](err, fmt.Errorf("conversation %d: %s cannot wait", ch.c.ID, ch.c.State))
	}
	ch.carded = true
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	return nil
}

// tellInWriting tells a customer who can be written to.
func (ch *change) tellInWriting(ctx context.Context, code string, words sentences.Said) error {
	var way channels.Kind
	err := ch.tx.QueryRow(ctx, `select coalesce((select channel from messages where conversation_id = $1 and author = 'contact' and kind = 'text'
		and channel <> 'voice' order by seq desc limit 1), (select 'chat' from visitors where conversation_id = $1 limit 1), '')`, ch.c.ID).Scan(&way)
	if err != nil {
		return fmt.Errorf("written way: %w", err)
	}
	if way == "" {
		return nil
	}
	lang, err := ch.language(ctx)
	if err != nil {
		return err
	}
	_, err = ch.send(ctx, &channels.Message{Author: channels.BySystem, Kind: channels.Happened, Channel: way, Body: words.In(lang), Data: channels.MessageData{Code: code}})
	return err
}

// raise writes an alarm and tells who watches.
func (s *Switchboard) raise(ctx context.Context, ch *change, a agents.Alarm) error {
	s.Log.Warn("call back", "conversation", a.ConversationID, "queue", a.QueueName, "kind", a.Kind)
	ch.after(func() { s.publish(channels.AlarmSubject, struct{}{}) })
	return agents.Raise(ctx, ch.tx, a)
}

// sweepCallsDue brings call backs that nobody makes before all others and before a supervisor, while there is time.
func (s *Switchboard) sweepCallsDue(ctx context.Context) error {
	ids, err := agents.CallsDue(ctx, s.Pool, sweepMost)
	for _, id := range ids {
		err = errors.Join(err, s.change(ctx, id, func(ch *change) error {
			a, err := agents.EscalateCall(ctx, ch.tx, ch.c.ID)
			if err != nil || a == nil {
				return err
			}
			ch.line(channels.CodeTried, a.Words+" First in line.", channels.MessageData{})
			ch.standsAnew()
			return s.raise(ctx, ch, *a)
		}))
	}
	return err
}

// CallNow is a supervisor's: a call back is offered at once, whatever its time was and however often it was tried.
func (s *Switchboard) CallNow(ctx context.Context, agentID, conversationID int64) error {
	return s.supervised(ctx, agentID, conversationID, func(ch *change, name string) error {
		ch.line(channels.CodeTried, name+" has the customer called now.", channels.MessageData{AgentName: firstName(name)})
		if err := agents.CallNow(ctx, ch.tx, ch.c.ID); err != nil {
			return err
		}
		ch.standsAnew()
		return ch.exec(ctx, "front", `update conversations set front = true where id = $1`, ch.c.ID)
	})
}

// CancelCall is a supervisor's: nobody calls. The promise ends without a person's word, and counts as broken.
func (s *Switchboard) CancelCall(ctx context.Context, agentID, conversationID int64) error {
	return s.supervised(ctx, agentID, conversationID, func(ch *change, name string) error {
		if ch.c.State == channels.Offered {
			if err := s.withdraw(ctx, ch); err != nil {
				return err
			}
		}
		ch.line(channels.CodeTried, name+" has cancelled the call back.", channels.MessageData{AgentName: firstName(name)})
		if err := s.withoutWord(ctx, ch, agentID, endedSilent); err != nil {
			return err
		}
		if err := ch.tellInWriting(ctx, channels.CodeEnded, wordsEnded); err != nil {
			return err
		}
		_, err := ch.move(ctx, channels.Closed)
		return err
	})
}

// supervised does something to a call back that waits, for a supervisor.
func (s *Switchboard) supervised(ctx context.Context, agentID, conversationID int64, do func(ch *change, name string) error) error {
	return s.change(ctx, conversationID, func(ch *change) error {
		may, err := agents.Supervises(ctx, ch.tx, agentID)
		if err != nil {
			return err
		}
		if !may {
			return channels.Fail(channels.Forbidden, "Only a supervisor may do this.")
		}
		cb, err := agents.OpenCallBack(ctx, ch.tx, ch.c.ID)
		if err != nil {
			return err
		}
		if cb == nil || ch.c.State != channels.Waiting && ch.c.State != channels.Offered {
			return channels.Fail(channels.Conflict, "There is no call back in line any more.")
		}
		name, err := agents.Name(ctx, ch.tx, agentID)
		if err != nil {
			return err
		}
		ch.after(func() { s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: ch.c.ID}) })
		return do(ch, name)
	})
}

// hungUp notes that a caller has left the line by hanging up: who calls again soon has the place again.
func (ch *change) hungUp(ctx context.Context, since *time.Time) error {
	return ch.exec(ctx, "left the line", `update conversations set left_at = clock_timestamp(), left_since = $2 where id = $1`, ch.c.ID, since)
}

// placeKept puts a caller who hung up in line a moment ago back into the place they had; false: it is somebody else, another
// queue, or too late.
func (s *Switchboard) placeKept(ctx context.Context, ch *change, queueID int64) (bool, error) {
	if ch.c.State != channels.Closed {
		return false, nil
	}
	var since *time.Time
	err := ch.tx.QueryRow(ctx, `select (select c.left_since from queues q where q.id = c.queue_id and ($2::bigint = 0 or q.id = $2)
		and c.left_at > clock_timestamp() - make_interval(mins => q.recall_minutes)) from conversations c where c.id = $1`, ch.c.ID, queueID).Scan(&since)
	if err != nil {
		return false, fmt.Errorf("place in line: %w", err)
	}
	if since == nil {
		return false, nil
	}
	if err := s.intoLine(ctx, ch); err != nil {
		return false, err
	}
	if err := ch.exec(ctx, "place in line", `update conversations set waiting_since = $2, channel = 'voice', answered_seq = customer_seq where id = $1`, ch.c.ID, *since); err != nil {
		return false, err
	}
	ch.c.Channel, ch.c.WaitingSince = channels.Voice, since
	due, _, err := agents.OpenPromise(ctx, ch.tx, ch.c.ID, "recall")
	if err != nil {
		return false, err
	}
	ch.line(channels.CodeTried, "Calls again: back in line since "+since.UTC().Format("15:04")+" UTC.", channels.MessageData{})
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	return true, s.acknowledge(ctx, ch, channels.CodePlaceKept, wordsPlaceKept, channels.MessageData{Source: "recall", DueAt: &due})
}
