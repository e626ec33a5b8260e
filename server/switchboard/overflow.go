package switchboard

import (
	"context"
	"errors"
	"fmt"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
)

// What happens when a line takes too long. Every branch ends in a line: the conversation keeps its time, its place by it,
// and its promise; a rule changes where and by whom it is taken, and what the customer is told.

const overflowMost = 200 // conversations a sweep; the rest comes a second later

func (s *Switchboard) sweepOverflow(ctx context.Context) error {
	list, err := agents.Overflows(ctx, s.Pool, overflowMost)
	all := err
	for _, o := range list {
		all = errors.Join(all, s.overflow(ctx, o))
	}
	return all
}

func (s *Switchboard) overflow(ctx context.Context, o agents.Overflowing) error {
	var cannot error // nobody is offered what cannot be done
	if o.Action == agents.ToCallBack {
		if _, cannot = s.mayCall(ctx, ""); cannot != nil && channels.CodeOf(cannot) == "" {
			return cannot
		}
	}
	return s.change(ctx, o.ConversationID, func(ch *change) error {
		if mine, err := agents.TakeOverflow(ctx, ch.tx, o); err != nil || !mine {
			return err
		}
		why := channels.MessageData{Reason: o.Cause}
		switch o.Action {
		case agents.ToQueue:
			if err := ch.exec(ctx, "overflow", `update conversations set queue_id = $2 where id = $1`, ch.c.ID, o.ToQueueID); err != nil {
				return err
			}
			ch.line(channels.CodeOverflow, fmt.Sprintf("Moved to the queue %s: %s.", o.ToQueueName, o.Reason()), why)
		case agents.ToSkills:
			ch.line(channels.CodeOverflow, fmt.Sprintf("Anybody of %s may take it: %s.", o.QueueName, o.Reason()), why)
		case agents.ToCallBack:
			if cannot != nil {
				ch.line(channels.CodeOverflow, "No call back was offered: "+cannot.Error(), why)
				break
			}
			words := wordsCallLonger
			if o.Words != "" {
				why.Source, words = channels.OwnWords, sentences.Say(o.Words)
			}
			if err := s.offerCall(ctx, ch, words, why); err != nil {
				return err
			}
			ch.line(channels.CodeOverflow, "The customer was offered a call back: "+o.Reason()+".", why)
		default:
			if err := ch.notice(ctx, channels.CodeLonger, sentences.Say(o.Words), why); err != nil {
				return err
			}
			ch.line(channels.CodeOverflow, "The customer was told so: "+o.Reason()+".", why)
		}
		ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
		return nil
	})
}

// RemoveQueue deletes a queue; its conversations wait in the queue to, keep their place by their time, and are told so in
// their timelines. moved says how many are not closed.
func (s *Switchboard) RemoveQueue(ctx context.Context, id, to int64) (moved int, err error) {
	var list []int64
	err = s.change(ctx, 0, func(ch *change) error {
		list, err = agents.DeleteQueue(ctx, ch.tx, id, to)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: c})
	}
	s.publish(channels.RouteSubject, struct{}{})
	return len(list), nil
}

// RemoveAgent deletes an agent. What it has in hand goes to the front of its line first, with the promise open again; its
// wrap-ups end. Refused while it is in a call.
func (s *Switchboard) RemoveAgent(ctx context.Context, by, agentID int64) (returned int, err error) {
	if by == agentID {
		return 0, channels.Fail(channels.Conflict, "Somebody else must delete you.")
	}
	name, err := agents.Name(ctx, s.Pool, agentID)
	if err != nil {
		return 0, err
	}
	if err := agents.SetPresence(ctx, s.Pool, s.Bus, agentID, agents.Offline, ""); err != nil { // nothing new comes meanwhile
		return 0, err
	}
	ids, err := s.ids(ctx, `select id from conversations where agent_id = $1 and state in ('agent', 'wrapup')
		union select conversation_id from offers where agent_id = $1 and outcome is null order by 1`, agentID)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		back := false
		err := s.change(ctx, id, func(ch *change) (err error) {
			back, err = s.takeBack(ctx, ch, agentID, name)
			return err
		})
		if err != nil {
			return returned, err
		}
		if back {
			returned++
		}
	}
	return returned, s.change(ctx, 0, func(ch *change) error { return agents.DeleteAgent(ctx, ch.tx, by, agentID) })
}

// takeBack takes the conversation, or the offer of it, from an agent who leaves for good; back says that the customer waits again.
func (s *Switchboard) takeBack(ctx context.Context, ch *change, agentID int64, name string) (back bool, err error) {
	mine := ch.c.AgentID != nil && *ch.c.AgentID == agentID
	switch {
	case ch.c.State == channels.Offered:
		return true, s.withdraw(ctx, ch)
	case ch.c.State == channels.Wrapup && mine:
		return false, s.close(ctx, ch, ch.c.Disposition)
	case ch.c.State != channels.Agent || !mine:
		return false, nil
	}
	call, err := channels.LiveCall(ctx, ch.tx, ch.c.ID)
	if err != nil {
		return false, fmt.Errorf("live call: %w", err)
	}
	if call != nil {
		return false, channels.Fail(channels.Conflict, name+" is in a call. Wait until it has ended.")
	}
	return true, s.backInLine(ctx, ch, "transfer", channels.CodeTransfer, sentences.Say("You are passed on to a colleague.").Then(wordsFirst))
}
