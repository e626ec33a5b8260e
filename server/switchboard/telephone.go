package switchboard

import (
	"context"
	"fmt"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
)

// Calls: what agents do with them beyond answering, calling out and passing on, and how customers' begin and end. Voice carries it
// out; who has the conversation is decided here.

// Dial calls a number for the agent, who has the conversation from then on: the given one, the contact's open one, or a
// new one. It returns when voice has begun to connect the agent, or with the words why not (busy line, dial policy).
func (s *Switchboard) Dial(ctx context.Context, agentID int64, number, from string, conversationID int64) (callID, id int64, err error) {
	to, err := channels.CleanAddress(channels.Address{Kind: channels.Phone, Value: number})
	if err != nil {
		return 0, 0, channels.FailField(channels.Invalid, "number", "A phone number has 2 to 15 digits, such as +49 30 23125410.")
	}
	begun := false // the conversation, by this call
	err = s.change(ctx, conversationID, func(ch *change) error {
		if err := agents.FreeToTalk(ctx, ch.tx, agentID); err != nil {
			return err
		}
		if ch.c == nil {
			if err := s.open(ctx, ch, channels.Inbound{Channel: channels.Voice, From: to}); err != nil {
				return err
			}
			begun = ch.c.State == channels.New
		}
		if err := s.takeToCall(ctx, ch, agentID); err != nil {
			return err
		}
		call, err := channels.OpenCall(ctx, ch.tx, channels.Call{ConversationID: ch.c.ID, Direction: channels.CallOut, From: from,
			To: to.Value, NodeID: &s.NodeID, State: channels.CallDialling, AgentID: &agentID})
		if err != nil {
			return fmt.Errorf("open call: %w", err)
		}
		callID, id = call.ID, ch.c.ID
		name, err := agents.Name(ctx, ch.tx, agentID)
		if err != nil {
			return err
		}
		ch.line(channels.CodeDialled, name+" calls "+to.Value, channels.MessageData{CallID: call.ID, AgentName: firstName(name)})
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	var reply channels.CallReply
	err = s.Bus.Request(ctx, channels.VoiceSubject(s.NodeID), channels.VoiceRequest{Type: "dial", AgentID: agentID, ConversationID: id,
		CallID: callID, Number: to.Value, From: from}, &reply)
	if err == nil && reply.Error != nil {
		err = reply.Error
	}
	if err == nil {
		return callID, id, nil
	}
	// A call that never began: its row ends here, and so does a conversation that nothing else was for. Another stays with
	// the agent.
	out := context.WithoutCancel(ctx)
	endErr := s.change(out, id, func(ch *change) error {
		if err := s.callNeverBegan(out, ch, callID, err); err != nil || !begun {
			return err
		}
		if err := s.toWrapup(out, ch); err != nil {
			return err
		}
		return s.close(out, ch, "other")
	})
	if endErr != nil {
		s.Log.Error("call not ended", "call", callID, "err", endErr)
	}
	return 0, 0, err
}

func (s *Switchboard) callNeverBegan(ctx context.Context, ch *change, callID int64, why error) error {
	reason := "not dialled"
	if channels.CodeOf(why) != "" {
		reason = why.Error()
	}
	if call, err := channels.EndCall(ctx, ch.tx, callID, "failed", reason, nil); err != nil || call == nil {
		return err
	}
	ch.line(channels.CodeCallEnd, "Not called: "+reason, channels.MessageData{CallID: callID, Reason: reason})
	return nil
}

// takeToCall gives the conversation to the agent who calls its contact; nobody is told that they are through.
func (s *Switchboard) takeToCall(ctx context.Context, ch *change, agentID int64) error {
	call, err := channels.LiveCall(ctx, ch.tx, ch.c.ID)
	if err != nil {
		return fmt.Errorf("live call: %w", err)
	}
	if call != nil {
		return channels.Fail(channels.Conflict, "The customer is on the phone already.")
	}
	if ch.c.State == channels.Agent && ch.c.AgentID != nil && *ch.c.AgentID == agentID {
		return nil
	}
	if err := s.grab(ctx, ch, agentID); err != nil {
		return err
	}
	return ch.give(ctx, agentID)
}

// TransferCall passes the conversation of a running call on to a colleague or a queue.
func (s *Switchboard) TransferCall(ctx context.Context, agentID, callID int64, to channels.CallTarget) error {
	var conversation int64
	err := s.Pool.QueryRow(ctx, `select coalesce((select conversation_id from calls where id = $1 and state <> 'ended'), 0)`, callID).Scan(&conversation)
	if err != nil {
		return fmt.Errorf("find call: %w", err)
	}
	if conversation == 0 {
		return channels.Fail(channels.NotFound, "The call is over.")
	}
	return s.Transfer(ctx, agentID, conversation, to, "")
}

// Transfer passes the conversation on, first in line, with the agent's note: to a colleague, who must be free now and is
// asked before all others, or to a queue. When the colleague does not answer it comes back to who passed it on.
func (s *Switchboard) Transfer(ctx context.Context, agentID, conversationID int64, to channels.CallTarget, note string) error {
	return s.change(ctx, conversationID, func(ch *change) error {
		if err := ch.mine(agentID, channels.Agent); err != nil {
			return err
		}
		name, err := s.aim(ctx, ch, agentID, to)
		if err != nil {
			return err
		}
		if note != "" {
			if _, err := ch.append(ctx, &channels.Message{Author: channels.ByAgent, AgentID: &agentID, Kind: channels.Note, Private: true, Body: note}); err != nil {
				return err
			}
		}
		s.release(ctx, ch)
		return s.backInLine(ctx, ch, "transfer", channels.CodeTransfer, sentences.Say("You are passed on to %s.", name).Then(wordsFirst))
	})
}

// aim notes whom the conversation is meant for, and returns the name that the customer is told.
func (s *Switchboard) aim(ctx context.Context, ch *change, agentID int64, to channels.CallTarget) (string, error) {
	switch to.Kind {
	case channels.TargetQueue:
		name, err := agents.QueueName(ctx, ch.tx, to.QueueID)
		if err != nil {
			return "", err
		}
		return name, ch.exec(ctx, "queue", `update conversations set queue_id = $2, wanted_agent_id = null, passed_by_id = null where id = $1`, ch.c.ID, to.QueueID)
	case channels.TargetAgent:
		name, err := agents.FreeNow(ctx, ch.tx, agentID, to.AgentID)
		if err != nil {
			return "", err
		}
		return firstName(name), ch.exec(ctx, "wanted", `update conversations set wanted_agent_id = $2, passed_by_id = $3 where id = $1`,
			ch.c.ID, to.AgentID, agentID)
	}
	return "", channels.FailField(channels.Invalid, "target", "A conversation is passed on to a colleague or a queue.")
}

// handedOn: after a consultation the caller talks with the colleague, who has the conversation from here.
func (s *Switchboard) handedOn(ctx context.Context, ch *change, in channels.Inbound) error {
	if ch.c.State != channels.Agent {
		return nil
	}
	name, err := agents.Name(ctx, ch.tx, in.AgentID)
	if err != nil {
		return err
	}
	if err := ch.exec(ctx, "hand on", `update conversations set agent_id = $2, changed_at = clock_timestamp() where id = $1`, ch.c.ID, in.AgentID); err != nil {
		return err
	}
	if err := ch.exec(ctx, "hand on", `delete from call_parties where call_id = $1 and agent_id = $2`, in.CallID, in.AgentID); err != nil {
		return err
	}
	if err := ch.exec(ctx, "hand on", `update calls set agent_id = $2 where id = $1 and state <> 'ended'`, in.CallID, in.AgentID); err != nil {
		return err
	}
	if ch.c.AgentID != nil {
		if err := agents.Idle(ctx, ch.tx, *ch.c.AgentID); err != nil {
			return err
		}
	}
	ch.c.AgentID = &in.AgentID
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	ch.line(channels.CodeHandedOn, "The caller now talks with "+name+".", channels.MessageData{CallID: in.CallID, AgentName: firstName(name)})
	return nil
}

// handedOut: the caller talks with an outside number; the agent is done with it.
func (s *Switchboard) handedOut(ctx context.Context, ch *change, in channels.Inbound) error {
	if ch.c.State != channels.Agent {
		return nil
	}
	ch.line(channels.CodeHandedOut, "The caller now talks with "+in.To+".", channels.MessageData{CallID: in.CallID})
	if ch.c.AgentID != nil {
		// whoever talks with them outside, nobody of ours can tell that it is a person
		if err := s.withoutWord(ctx, ch, *ch.c.AgentID, "passed on to "+in.To+" without a word of a person"); err != nil {
			return err
		}
	}
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	return s.toWrapup(ctx, ch)
}

// passFailed: nobody took the caller over and the agent who passed them on has gone: first in line, that agent before
// all others.
func (s *Switchboard) passFailed(ctx context.Context, ch *change, in channels.Inbound) error {
	if ch.c.State == channels.Waiting || ch.c.State == channels.Offered {
		return nil
	}
	if err := s.backInLine(ctx, ch, "pass_failed", channels.CodePassFailed, wordsPassFailed); err != nil {
		return err
	}
	return ch.exec(ctx, "passed by", `update conversations set wanted_agent_id = null, passed_by_id = nullif($2::bigint, 0) where id = $1`, ch.c.ID, in.AgentID)
}

func (s *Switchboard) callStarted(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	if !ch.fresh {
		// told before, and our answer was lost after the commit
		known, err := channels.CallOf(ctx, ch.tx, s.NodeID, in.SIPCallID)
		if err != nil {
			return fmt.Errorf("find call: %w", err)
		}
		if known != nil && known.ConversationID == ch.c.ID {
			r.CallID, r.QueueID = known.ID, ch.c.QueueID
			return s.greets(ctx, ch, in, r)
		}
		if r.Kept, err = s.placeKept(ctx, ch, in.QueueID); err != nil {
			return err
		}
		if !r.Kept {
			err = s.takeUpCall(ctx, ch, in)
		}
		if err != nil {
			return err
		}
	}
	call, err := channels.OpenCall(ctx, ch.tx, channels.Call{ConversationID: ch.c.ID, Direction: channels.CallIn, From: callFrom(in),
		To: in.To, SIPCallID: in.SIPCallID, NodeID: &s.NodeID, Media: in.Media})
	if err != nil {
		return fmt.Errorf("open call: %w", err)
	}
	r.CallID, r.QueueID = call.ID, ch.c.QueueID
	ch.callNews(call.Media)
	ch.line(channels.CodeCallStart, callLine(in), channels.MessageData{CallID: call.ID})
	if ch.c.State == channels.Wrapup { // calls back while the agent wraps up: straight to people
		return s.toPeople(ctx, ch, "key", channels.CodeWaiting, wordsWaiting)
	}
	if ch.c.State == channels.Bot {
		// nothing to send: voice speaks its own greeting, and the line is stored together with the one before
		ch.lines = append(ch.lines, &channels.Message{ConversationID: ch.c.ID, Channel: channels.Voice, Author: channels.BySystem, Kind: channels.Happened,
			Body: wordsHelloCall, Data: channels.MessageData{Code: channels.CodeHello, CallID: call.ID}})
		if gone, err := s.peopleFirst(ctx, ch); err != nil || gone {
			return err
		}
	}
	return s.greets(ctx, ch, in, r)
}

// greets finds a caller who talks with the responder a place there.
func (s *Switchboard) greets(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	if ch.c.State != channels.Bot || !in.Talks {
		return nil
	}
	ok, err := s.admit(ctx, ch, r.CallID)
	r.Busy = !ok
	return err
}

// takeUpCall: the caller has a conversation already, and it goes on by telephone.
func (s *Switchboard) takeUpCall(ctx context.Context, ch *change, in channels.Inbound) error {
	if ch.c.State == channels.New || ch.c.State == channels.Closed {
		if _, err := ch.move(ctx, channels.Bot); err != nil {
			return err
		}
	}
	// the number that is called now says which queue; a conversation that waits or is with a person keeps its own
	var queue int64
	err := ch.tx.QueryRow(ctx, `update conversations set channel = 'voice', return_call = false,
		queue_id = case when state = 'bot' then coalesce(nullif($2::bigint, 0), queue_id) else queue_id end where id = $1
		returning queue_id`, ch.c.ID, in.QueueID).Scan(&queue)
	if err != nil {
		return fmt.Errorf("take up call: %w", err)
	}
	ch.c.Channel, ch.c.QueueID = channels.Voice, queue
	return agents.CustomerCalls(ctx, ch.tx, ch.c.ID, true)
}

func (s *Switchboard) callMoved(ctx context.Context, ch *change, in channels.Inbound) error {
	call, err := channels.MoveCall(ctx, ch.tx, in.CallID, in.CallState, ch.c.AgentID)
	if err != nil || call == nil {
		return err
	}
	ch.callNews(call.Media)
	ch.after(func() { s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: ch.c.ID}) })
	return nil
}

func (s *Switchboard) callEnded(ctx context.Context, ch *change, in channels.Inbound) error {
	ch.after(func() { s.places.release(in.CallID, 0) })
	call, err := channels.EndCall(ctx, ch.tx, in.CallID, in.Result, in.Reason, in.Stats)
	if err != nil || call == nil {
		return err
	}
	seconds := int(call.EndedAt.Sub(call.StartedAt).Seconds())
	ch.line(channels.CodeCallEnd, "Call ended: "+in.Reason,
		channels.MessageData{CallID: call.ID, Seconds: seconds, Reason: in.Reason})
	ch.callNews(call.Media)
	if err := ch.backToTheChat(ctx, &call.Call); err != nil {
		return err
	}
	if call.Others == 0 {
		if settled, err := s.calledBack(ctx, ch, call); err != nil || settled {
			return err
		}
	}
	if ch.c.Channel != channels.Voice {
		return nil // the customer has gone on in writing: the conversation goes on
	}
	if call.Others > 0 { // the contact calls a second time
		if ch.c.State == channels.Agent && call.BridgedAt != nil {
			return s.backInLine(ctx, ch, "key", channels.CodeWaiting, wordsWaiting)
		}
		return nil
	}
	switch ch.c.State {
	case channels.Agent:
		if call.Direction == channels.CallOut && call.BridgedAt == nil {
			return nil // nobody answered: the agent tries again, or ends it
		}
		if err := s.callOver(ctx, ch, in.Reason); err != nil {
			return err
		}
		return s.toWrapup(ctx, ch)
	case channels.Bot:
		return s.left(ctx, ch)
	case channels.Waiting, channels.Offered:
		since := ch.c.WaitingSince
		if err := s.left(ctx, ch); err != nil || call.Direction != channels.CallIn || ch.c.State != channels.Closed {
			return err // or a message keeps the place
		}
		return ch.hungUp(ctx, since)
	}
	return nil
}
