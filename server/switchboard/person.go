package switchboard

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
)

// What agents do. Every verb checks who has the conversation inside its transaction.

// Reply stores the agent's words and carries them to the customer, or stores a private note. Sent twice with one
// clientID it is stored once. Only the agent who has the conversation may reply; any agent may leave a note.
func (s *Switchboard) Reply(ctx context.Context, agentID, conversationID int64, clientID, body string, note bool) (*channels.Message, error) {
	m := &channels.Message{Author: channels.ByAgent, AgentID: &agentID, Body: body, ClientID: &clientID}
	err := s.change(ctx, conversationID, func(ch *change) error {
		name, err := agents.Name(ctx, ch.tx, agentID)
		if err != nil {
			return err
		}
		m.Data.AgentName = firstName(name)
		if note {
			m.Kind, m.Private = channels.Note, true
			ch.carded = ch.c.State == channels.Waiting || ch.c.State == channels.Offered
			_, err := ch.append(ctx, m)
			return err
		}
		if err := ch.mine(agentID, channels.Agent, channels.Wrapup); err != nil {
			return err
		}
		if m.Channel, err = ch.writingChannel(ctx); err != nil {
			return err
		}
		if dup, err := ch.send(ctx, m); err != nil || dup {
			return err
		}
		if err := ch.exec(ctx, "answered", `update conversations set answered_seq = customer_seq where id = $1`, ch.c.ID); err != nil {
			return err
		}
		return ch.keepPromise(ctx, agentID)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// mine checks that the agent has the conversation in one of these states.
func (ch *change) mine(agentID int64, states ...channels.State) error {
	for _, st := range states {
		if ch.c.State == st && ch.c.AgentID != nil && *ch.c.AgentID == agentID {
			return nil
		}
	}
	return channels.Fail(channels.Conflict, "You do not have this conversation (any more).")
}

// writingChannel is where written words reach the customer: where they wrote last.
func (ch *change) writingChannel(ctx context.Context) (channels.Kind, error) {
	if ch.c.Channel != channels.Voice {
		return ch.c.Channel, nil
	}
	var kind *string
	err := ch.tx.QueryRow(ctx, `select coalesce((select channel from messages where conversation_id = $1 and author = 'contact' and kind = 'text'
		and channel <> 'voice' order by seq desc limit 1), (select 'chat' from calls where conversation_id = $1 and media = 'web' limit 1),
		(select 'email' from conversations c where id = $1 and $2 and (reply_to <> '' or exists (select from addresses where contact_id = c.contact_id and kind = 'email'))))`,
		ch.c.ID, ch.s.Channels[channels.Email] != nil).Scan(&kind)
	if err != nil {
		return "", fmt.Errorf("writing channel: %w", err)
	}
	if kind == nil {
		return "", channels.FailField(channels.Invalid, "body", "The customer is only on the phone: there is no chat or mail to write to. Leave a note instead.")
	}
	return channels.Kind(*kind), nil
}

func firstName(name string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(name), " ")
	return first
}

// Accept gives the offered conversation to the agent, and tells the customer.
func (s *Switchboard) Accept(ctx context.Context, agentID, offerID int64) (conversationID int64, err error) {
	err = s.change(ctx, 0, func(ch *change) error {
		id, after, err := agents.Accept(ctx, ch.tx, s.Bus, offerID, agentID)
		if err != nil {
			return err
		}
		conversationID = id
		ch.after(after)
		if err := ch.take(ctx, id); err != nil {
			return err
		}
		return s.through(ctx, ch, agentID)
	})
	return conversationID, err
}

// through: offered -> agent, the agent's name to the customer, and the agent's browser to the call if there is one.
func (s *Switchboard) through(ctx context.Context, ch *change, agentID int64) error {
	if err := ch.give(ctx, agentID); err != nil {
		return err
	}
	name, err := agents.Name(ctx, ch.tx, agentID)
	if err != nil {
		return err
	}
	cb, err := agents.OpenCallBack(ctx, ch.tx, ch.c.ID)
	if err != nil {
		return err
	}
	if cb != nil {
		if call, err := channels.LiveCall(ctx, ch.tx, ch.c.ID); err != nil {
			return fmt.Errorf("live call: %w", err)
		} else if call == nil { // else they have phoned by themselves
			return s.dialBack(ctx, ch, agentID, name, cb)
		}
	}
	first := firstName(name)
	words := sentences.Say(wordsThrough, first)
	if read, err := agents.HasRead(ctx, ch.tx, agentID, ch.c.ID); err != nil {
		return err
	} else if read {
		words = sentences.Say(wordsThroughRead, first)
	}
	if err := ch.notice(ctx, channels.CodeThrough, words, channels.MessageData{AgentName: first}); err != nil {
		return err
	}
	c, out := *ch.c, context.WithoutCancel(ctx)
	ch.after(func() { s.live(out, &c, "join", func(v Channel) error { return v.Join(out, &c, agentID) }) })
	return nil
}

// give moves the conversation from offered to agent.
func (ch *change) give(ctx context.Context, agentID int64) error {
	if ok, err := ch.move(ctx, channels.Agent); err != nil {
		return err
	} else if !ok {
		return channels.Fail(channels.Conflict, "The customer has left meanwhile.")
	}
	ch.c.AgentID = &agentID
	id := ch.c.ID
	ch.after(func() { ch.s.places.release(0, id) })
	return ch.exec(ctx, "agent", `update conversations set agent_id = $2 where id = $1`, ch.c.ID, agentID)
}

// Decline gives the offer back; the conversation goes to the front of the line, the agent stays available.
func (s *Switchboard) Decline(ctx context.Context, agentID, offerID int64) error {
	return s.change(ctx, 0, func(ch *change) error {
		id, rings, after, err := agents.Decline(ctx, ch.tx, s.Bus, offerID, agentID)
		if err != nil {
			return err
		}
		ch.after(after)
		if err := ch.take(ctx, id); err != nil || rings { // the others may still take it
			return err
		}
		if _, err := ch.move(ctx, channels.Waiting); err != nil {
			return err
		}
		if err := ch.exec(ctx, "front", `update conversations set front = true where id = $1`, id); err != nil {
			return err
		}
		ch.wakeRouters(&agentID)
		ch.line(channels.CodeDeclined, "Declined. Back to the front of the line.", channels.MessageData{})
		return nil
	})
}

// Take gives an agent a conversation by hand: from the responder, the line, or the closed ones.
func (s *Switchboard) Take(ctx context.Context, agentID, conversationID int64) error {
	return s.change(ctx, conversationID, func(ch *change) error {
		if ch.c.State == channels.Agent && ch.c.AgentID != nil && *ch.c.AgentID == agentID {
			return nil
		}
		if err := s.grab(ctx, ch, agentID); err != nil {
			return err
		}
		return s.through(ctx, ch, agentID)
	})
}

// grab moves the conversation, from wherever it may be taken, to offered for this agent.
func (s *Switchboard) grab(ctx context.Context, ch *change, agentID int64) error {
	switch ch.c.State {
	case channels.Offered:
		if _, err := agents.OfferedTo(ctx, ch.tx, ch.c.ID, agentID); err != nil {
			return err
		}
		if err := s.withdraw(ctx, ch); err != nil {
			return err
		}
	case channels.New, channels.Bot, channels.Closed:
		// nobody asked for a person: no promise and no notice, only who is there now
		if err := s.intoLine(ctx, ch); err != nil {
			return err
		}
	case channels.Agent, channels.Wrapup:
		if err := s.takeFromColleague(ctx, ch, agentID); err != nil {
			return err
		}
	}
	if ok, err := ch.move(ctx, channels.Offered); err != nil || !ok {
		return cmp.Or[error](err, channels.Fail(channels.Conflict, "Somebody was faster."))
	}
	return agents.TakenByHand(ctx, ch.tx, ch.c.ID, agentID)
}

// takeFromColleague is a supervisor's right. A running call comes along.
func (s *Switchboard) takeFromColleague(ctx context.Context, ch *change, agentID int64) error {
	if ch.c.State == channels.Wrapup && ch.c.AgentID != nil && *ch.c.AgentID == agentID {
		return s.intoLine(ctx, ch) // one's own wrap-up: taken up again
	}
	may, err := agents.Supervises(ctx, ch.tx, agentID)
	if err != nil {
		return err
	}
	if !may {
		return channels.Fail(channels.Conflict, "A colleague has this conversation.")
	}
	if ch.c.State == channels.Wrapup {
		return s.intoLine(ctx, ch)
	}
	s.release(ctx, ch)
	return s.backInLine(ctx, ch, "transfer", channels.CodeTransfer, sentences.Say("A colleague takes over."))
}

// release takes the agent who has the conversation out of its call, after the commit and before anybody is told that it waits:
// the next agent may accept within a millisecond.
func (s *Switchboard) release(ctx context.Context, ch *change) {
	c, out := *ch.c, context.WithoutCancel(ctx)
	ch.after(func() { s.live(out, &c, "release", func(v Channel) error { return v.Release(out, &c) }) })
}

// End: the agent ends the conversation. A running call is hung up; wrap-up begins.
func (s *Switchboard) End(ctx context.Context, agentID, conversationID int64) error {
	return s.change(ctx, conversationID, func(ch *change) error {
		if err := ch.mine(agentID, channels.Agent); err != nil {
			return err
		}
		if err := s.withoutWord(ctx, ch, agentID, endedSilent); err != nil {
			return err
		}
		if err := ch.notice(ctx, channels.CodeEnded, wordsEnded, channels.MessageData{}); err != nil {
			return err
		}
		c, out := *ch.c, context.WithoutCancel(ctx)
		ch.after(func() {
			s.live(out, &c, "end", func(v Channel) error { return v.End(out, &c, "agent ended the conversation") })
		})
		return s.toWrapup(ctx, ch)
	})
}

// toWrapup: agent -> wrapup, with the queue's deadline. The agent's place is free again after it.
func (s *Switchboard) toWrapup(ctx context.Context, ch *change) error {
	if ok, err := ch.move(ctx, channels.Wrapup); err != nil || !ok {
		return err
	}
	return ch.exec(ctx, "wrap-up", `update conversations c set wrapup_until = clock_timestamp() + make_interval(secs => q.wrapup_seconds),
		answered_seq = customer_seq from queues q where c.id = $1 and q.id = c.queue_id`, ch.c.ID)
}

// Close ends wrap-up with a disposition.
func (s *Switchboard) Close(ctx context.Context, agentID, conversationID int64, disposition, note string) error {
	return s.change(ctx, conversationID, func(ch *change) error {
		if err := ch.mine(agentID, channels.Wrapup); err != nil {
			return err
		}
		if note != "" {
			if _, err := ch.append(ctx, &channels.Message{Author: channels.ByAgent, AgentID: &agentID, Kind: channels.Note, Private: true, Body: note}); err != nil {
				return err
			}
		}
		return s.close(ctx, ch, disposition)
	})
}

func (s *Switchboard) close(ctx context.Context, ch *change, disposition string) error {
	agentID := ch.c.AgentID
	if ok, err := ch.move(ctx, channels.Closed); err != nil || !ok {
		return err
	}
	if err := ch.exec(ctx, "disposition", `update conversations set disposition = $2 where id = $1`, ch.c.ID, disposition); err != nil {
		return err
	}
	if agentID != nil {
		if err := agents.Idle(ctx, ch.tx, *agentID); err != nil {
			return err
		}
	}
	ch.wakeRouters(agentID)
	ch.line(channels.CodeClosed, "Closed.", channels.MessageData{Reason: disposition})
	return nil
}

// AddAddress gives the contact one more address: an agent's act, written into the newest conversation's timeline.
func (s *Switchboard) AddAddress(ctx context.Context, agentID, contactID int64, a channels.Address) error {
	a, err := channels.CleanAddress(a)
	if err != nil {
		return err
	}
	return s.change(ctx, 0, func(ch *change) error {
		c, err := channels.Latest(ctx, ch.tx, contactID)
		if err != nil {
			return fmt.Errorf("latest conversation: %w", err)
		}
		if c == nil {
			return channels.Fail(channels.NotFound, "There is no such contact.")
		}
		ch.c = c
		added, err := channels.AddAddress(ctx, ch.tx, contactID, a)
		if err != nil {
			return err
		}
		if !added {
			return channels.FailField(channels.Conflict, "value", "A contact has this address already.")
		}
		name, err := agents.Name(ctx, ch.tx, agentID)
		if err != nil {
			return err
		}
		_, err = ch.append(ctx, &channels.Message{Author: channels.BySystem, AgentID: &agentID, Kind: channels.Happened, Private: true,
			Body: fmt.Sprintf("%s added the address %s.", name, a.Value), Data: channels.MessageData{Code: "address_added"}})
		return err
	})
}

// PeopleOnly marks a contact to be served by people only, on every channel, or takes the mark away. It is an agent's act,
// written into the timeline; what waits for the responder's answer now goes to people at once.
func (s *Switchboard) PeopleOnly(ctx context.Context, agentID, contactID int64, on bool) error {
	return s.change(ctx, 0, func(ch *change) error {
		c, err := channels.Latest(ctx, ch.tx, contactID)
		if err != nil {
			return fmt.Errorf("latest conversation: %w", err)
		}
		if c == nil {
			return channels.Fail(channels.NotFound, "There is no such contact.")
		}
		ch.c = c
		by, text := "", "%s let the responder answer this customer again."
		if on {
			by, text = "agent", "%s marked this customer: people only."
		}
		changed, err := channels.SetPeopleOnly(ctx, ch.tx, contactID, by, false)
		if err != nil || !changed {
			return err
		}
		name, err := agents.Name(ctx, ch.tx, agentID)
		if err != nil {
			return err
		}
		if _, err = ch.append(ctx, &channels.Message{Author: channels.BySystem, AgentID: &agentID, Kind: channels.Happened, Private: true,
			Body: fmt.Sprintf(text, name), Data: channels.MessageData{Code: "people_only"}}); err != nil || ch.c.State != channels.Bot {
			return err
		}
		_, err = s.onlyPeople(ctx, ch)
		return err
	})
}

// onlyPeople takes the conversation of a customer who is marked so away from the responder. True: it has gone.
func (s *Switchboard) onlyPeople(ctx context.Context, ch *change) (bool, error) {
	only, err := channels.PeopleOnly(ctx, ch.tx, ch.c.ContactID)
	if err != nil || !only {
		return false, err
	}
	ch.line(channels.CodePeopleFirst, "This customer wants people only: the responder steps back.", channels.MessageData{})
	return true, s.toPeople(ctx, ch, sourcePeopleOnly, channels.CodeWaiting, wordsWaiting)
}

// sourcePeopleOnly is the wish of a customer who is served by people only.
const sourcePeopleOnly = "people_only"
