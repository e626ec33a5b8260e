package switchboard

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
)

// returnWithin: a caller or chatter who comes back this soon after the end comes back to the same conversation.
const returnWithin = 7 * 24 * time.Hour

// Words of ours that stand in the timeline. Plain, and true with the model dead.
var (
	wordsHello      = sentences.Say("You are writing with an AI. For a person, use the button or just say so.")
	wordsWaiting    = sentences.Say("We are getting a person.").Then(wordsGoAlong)
	wordsGoAlong    = sentences.Say("Your messages go along.")
	wordsModelAway  = sentences.Say("Our AI is not answering right now.")
	wordsModelDown  = wordsModelAway.Then(wordsInLine)
	wordsInLine     = sentences.Say("You are in line for a person.")
	wordsBusy       = sentences.Say("Our AI is talking with as many people as it can.").Then(wordsInLine, wordsGoAlong)
	wordsNoAnswer   = sentences.Say("I can't answer this.").Then(wordsWaiting)
	wordsFirst      = sentences.Say("You are first in line.")
	wordsBack       = sentences.Say("The connection to your agent was lost.").Then(wordsFirst)
	wordsPassFailed = sentences.Say("Passing you on did not work.").Then(wordsFirst)
	wordsSure       = sentences.Say("Would you like to talk to a person?")
	wordsMoment     = sentences.Say("One moment, I am looking this up.")
	wordsEnded      = sentences.Say("This conversation has ended. Write again at any time, it goes on right here.")
)

const (
	wordsHelloCall   = "An automatic assistant answered. Key 0 gets a person."
	wordsThrough     = "You're through to %s."
	wordsThroughRead = "You're through to %s, who has read your messages." // only when it is true
)

// Receive takes what a channel hands up. It returns after the commit; the receipt then is the truth.
func (s *Switchboard) Receive(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
	var r channels.Receipt
	if in.Type == channels.Words && in.Body == "" && in.Full == "" && in.Subject == "" {
		return r, channels.FailField(channels.Invalid, "body", "The message is empty.")
	}
	switch in.Type {
	case channels.OfferTaken:
		_, err := s.Accept(ctx, in.AgentID, in.OfferID)
		return r, err
	case channels.OfferDeclined:
		return r, s.Decline(ctx, in.AgentID, in.OfferID)
	case channels.DialOut:
		var err error
		r.CallID, r.ConversationID, err = s.Dial(ctx, in.AgentID, in.To, "", 0)
		return r, err
	case channels.PassOn:
		return r, s.TransferCall(ctx, in.AgentID, in.CallID, *in.Target)
	}
	if in.Type == channels.CallMe {
		var err error
		if in.To, err = s.mayCall(ctx, in.To); err != nil {
			return r, err
		}
	}
	if in.Type == channels.CallEndedIn && in.CallID == 0 {
		if err := s.knownCall(ctx, &in); err != nil {
			return r, err
		}
	}
	var asks *callMail
	if in.Type == channels.Words && in.Channel == channels.Email && !in.Automatic {
		asks = s.readCallMail(ctx, in)
	}
	err := s.change(ctx, in.ConversationID, func(ch *change) error {
		ch.mail = asks
		if ch.c == nil {
			if err := s.open(ctx, ch, in); err != nil {
				return err
			}
		}
		r.ContactID, r.ConversationID = ch.c.ContactID, ch.c.ID
		err := s.receive(ctx, ch, in, &r)
		r.State = ch.c.State
		return err
	})
	if err != nil {
		return channels.Receipt{}, err
	}
	if in.Type == channels.Words && (r.State == channels.Bot || in.Channel == channels.Voice) {
		s.wake(r.ConversationID)
	}
	return r, nil
}

// knownCall finds the call that voice does not know by its number: our answer to its CallStarted came too late or was
// lost after the commit.
func (s *Switchboard) knownCall(ctx context.Context, in *channels.Inbound) error {
	call, err := channels.CallOf(ctx, s.Pool, s.NodeID, in.SIPCallID)
	if err != nil {
		return fmt.Errorf("find call: %w", err)
	}
	if call == nil {
		return channels.Fail(channels.NotFound, "There is no such call.")
	}
	in.CallID, in.ConversationID = call.ID, call.ConversationID
	return nil
}

// open finds the conversation that in belongs to by its contact, or begins one.
func (s *Switchboard) open(ctx context.Context, ch *change, in channels.Inbound) error {
	contact, err := channels.OpenContact(ctx, ch.tx, in.From, in.Name)
	if err != nil {
		return err
	}
	if contact.Fresh && in.Type == channels.CallStarted {
		if ch.c, err = channels.BeginCall(ctx, ch.tx, contact.ID, cmp.Or(in.QueueID, s.QueueID)); err != nil {
			return fmt.Errorf("begin conversation: %w", err)
		}
		ch.fresh = true
		return nil
	}
	var c *channels.Conversation
	if !contact.Fresh {
		if c, err = channels.Latest(ctx, ch.tx, contact.ID); err != nil {
			return fmt.Errorf("latest conversation: %w", err)
		}
	}
	if c != nil && c.State == channels.Closed {
		// a mail outside any thread is a new matter; a caller or visitor who returns soon goes on with the old one
		if in.Channel == channels.Email || in.Channel == channels.Voice && time.Since(c.ChangedAt) > returnWithin {
			c = nil
		}
	}
	if c == nil {
		if c, err = channels.Begin(ctx, ch.tx, contact.ID, cmp.Or(in.QueueID, s.QueueID), in.Channel, in.Subject); err != nil {
			return fmt.Errorf("begin conversation: %w", err)
		}
	}
	ch.c = c
	return nil
}

func (s *Switchboard) receive(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	switch in.Type {
	case channels.Words:
		return s.words(ctx, ch, in, r)
	case channels.Wish:
		if in.CallID != 0 && ch.c.State == channels.Agent {
			return s.callTwice(ctx, ch, in)
		}
		return s.toPeople(ctx, ch, in.Source, channels.CodeWaiting, wordsWaiting)
	case channels.NoWish:
		return s.noWish(ctx, ch)
	case channels.CallMe:
		return s.callMe(ctx, ch, in, r)
	case channels.NoCall:
		return s.noCall(ctx, ch)
	case channels.Said:
		return s.said(ctx, ch, in)
	case channels.MessageLeft:
		return s.leaveMessage(ctx, ch, in, r)
	case channels.VoicemailLeft:
		return s.voicemail(ctx, ch, in, r)
	case channels.Left:
		return s.left(ctx, ch)
	case channels.CallStarted:
		return s.callStarted(ctx, ch, in, r)
	case channels.CallMoved:
		return s.callMoved(ctx, ch, in)
	case channels.CallEndedIn:
		return s.callEnded(ctx, ch, in)
	case channels.HandedOn:
		return s.handedOn(ctx, ch, in)
	case channels.HandedOut:
		return s.handedOut(ctx, ch, in)
	case channels.PassFailed:
		return s.passFailed(ctx, ch, in)
	case channels.Spoke:
		return s.spoke(ctx, ch, in)
	case channels.Transcribed:
		return s.transcribed(ctx, ch, in)
	case channels.AgentLost:
		if ch.c.State != channels.Agent {
			return nil
		}
		return s.agentLost(ctx, ch)
	}
	return fmt.Errorf("receive: unknown type %q", in.Type)
}

// words stores what the customer said and decides, by plain code, who deals with it.
func (s *Switchboard) words(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	wish, declined, err := s.readWish(ctx, ch, in)
	if err != nil {
		return err
	}
	if in.Channel != channels.Voice {
		ch.said = ownWords(in)
	}
	automatic := in.Automatic
	if ch.c.State == channels.New && !automatic && in.Channel != channels.Email {
		if err := ch.notice(ctx, channels.CodeHello, wordsHello, channels.MessageData{}); err != nil {
			return err
		}
	}
	m := &channels.Message{Author: channels.ByContact, Channel: in.Channel, Body: in.Body, Data: channels.MessageData{
		Subject: in.Subject, Full: in.Full, Automatic: automatic, MailInID: in.MailInID, CallID: in.CallID}}
	if in.ClientID != "" {
		m.ClientID = &in.ClientID
	}
	dup, err := ch.append(ctx, m)
	r.Message, r.Duplicate = m, dup
	if err != nil || dup {
		return err
	}
	if ch.c.Subject == "" && in.Subject != "" {
		if err := ch.exec(ctx, "subject", `update conversations set subject = $2 where id = $1`, ch.c.ID, in.Subject); err != nil {
			return err
		}
	}
	ch.c.Channel = in.Channel
	if err := ch.owned(ctx, in); err != nil {
		return err
	}
	if err := ch.stillByMail(ctx); err != nil {
		return err
	}
	ch.carded = ch.c.State == channels.Waiting || ch.c.State == channels.Offered
	if automatic { // stored, threaded and visible; it wakes nobody
		if ch.c.State == channels.New {
			_, err = ch.move(ctx, channels.Closed)
		}
		return err
	}
	if wish.Only {
		if _, err := channels.SetPeopleOnly(ctx, ch.tx, ch.c.ContactID, "contact", true); err != nil {
			return err
		}
	}
	if !declined {
		if done, err := s.callByMail(ctx, ch, in, r, wish.Rule == "call"); done || err != nil {
			return err
		}
	}
	if wish.Yes {
		source := "words"
		if wish.Rule == "safety" {
			source = "safety"
		}
		if id := ch.c.ID; wish.Rule == "call" && ch.c.State != channels.Agent { // the wish does not wait for what the telephone says
			ch.after(func() { s.beside("no call back offered", id, s.shallWeCall) })
		}
		return s.toPeople(ctx, ch, source, channels.CodeWaiting, wordsWaiting)
	}
	switch ch.c.State {
	case channels.New:
		err = s.toResponder(ctx, ch)
	case channels.Closed:
		ch.line(channels.CodeReopened, "The customer writes again.", channels.MessageData{})
		err = s.toResponder(ctx, ch)
	case channels.Wrapup:
		err = s.writesInWrapup(ctx, ch)
	case channels.Bot:
		_, err = s.onlyPeople(ctx, ch)
	case channels.Waiting:
		if declined {
			err = s.noWish(ctx, ch)
		}
	}
	if err == nil && wish.Unsure && ch.c.State == channels.Bot {
		err = s.askOnce(ctx, ch)
	}
	return err
}

// agentLost: the agent's browser did not come back to the call. The caller is first in line, the agent is away.
func (s *Switchboard) agentLost(ctx context.Context, ch *change) error {
	agentID := ch.c.AgentID
	if err := s.backInLine(ctx, ch, "lost", channels.CodeBackInLine, wordsBack); err != nil {
		return err
	}
	if agentID != nil {
		ch.after(func() { s.away(context.WithoutCancel(ctx), *agentID) })
	}
	return nil
}

// away: the agent's sound is lost; nothing more is offered to them until they are back.
func (s *Switchboard) away(ctx context.Context, agentID int64) {
	if err := agents.SetAway(ctx, s.Pool, s.Bus, agentID, "connection lost"); err != nil {
		s.Log.Warn("agent not set away", "agent", agentID, "err", err)
	}
}

// withdraw takes back the open offer: offered -> waiting.
func (s *Switchboard) withdraw(ctx context.Context, ch *change) error {
	after, err := agents.Withdraw(ctx, ch.tx, s.Bus, ch.c.ID)
	if err != nil {
		return err
	}
	if after != nil {
		ch.after(after)
	}
	_, err = ch.move(ctx, channels.Waiting)
	return err
}

// left: the customer ended the conversation. Who has left a message goes, and is owed the answer.
func (s *Switchboard) left(ctx context.Context, ch *change) error {
	if ch.c.LeftMessage != "" && (ch.c.State == channels.Waiting || ch.c.State == channels.Offered) {
		return nil
	}
	if ch.c.State == channels.Offered {
		if err := s.withdraw(ctx, ch); err != nil {
			return err
		}
	}
	switch ch.c.State {
	case channels.New, channels.Bot, channels.Waiting:
		if ch.c.State == channels.Waiting { // nothing is owed to who is not in line
			if err := agents.ClosePromiseByContact(ctx, ch.tx, ch.c.ID); err != nil {
				return err
			}
		}
		ch.line(channels.CodeLeft, "The customer left.", channels.MessageData{})
		_, err := ch.move(ctx, channels.Closed)
		return err
	case channels.Agent:
		if err := agents.ClosePromiseByContact(ctx, ch.tx, ch.c.ID); err != nil {
			return err
		}
		ch.line(channels.CodeLeft, "The customer left.", channels.MessageData{})
		return s.toWrapup(ctx, ch)
	}
	return nil
}

// writesInWrapup: the customer goes on while the agent wraps up. The agent has it again, or, gone meanwhile, the line.
func (s *Switchboard) writesInWrapup(ctx context.Context, ch *change) error {
	if ch.c.AgentID != nil {
		there, err := agents.Online(ctx, ch.tx, *ch.c.AgentID)
		if err != nil {
			return err
		}
		if there {
			_, err = ch.move(ctx, channels.Agent)
			return err
		}
	}
	return s.toPeople(ctx, ch, "words", channels.CodeWaiting, wordsWaiting)
}
