package switchboard

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/llm"
	"patchbay/llm/human"
)

// returnWithin: a caller or chatter who comes back this soon after the end comes back to the same conversation.
const returnWithin = 7 * 24 * time.Hour

// Words of ours that stand in the timeline. Plain, and true with the model dead.
const (
	wordsHello       = "You are writing with an AI. For a person, use the button or just say so."
	wordsHelloCall   = "An automatic assistant answered. Key 0 gets a person."
	wordsWaiting     = "We are getting a person. Your messages go along."
	wordsModelAway   = "Our AI is not answering right now."
	wordsModelDown   = wordsModelAway + " You are in line for a person."
	wordsBusy        = "Our AI is talking with as many people as it can. You are in line for a person. Your messages go along."
	wordsNoAnswer    = "I can't answer this. We are getting a person. Your messages go along."
	wordsBack        = "The connection to your agent was lost. You are first in line."
	wordsSure        = "Would you like to talk to a person?"
	wordsMoment      = "One moment, I am looking this up."
	wordsPassFailed  = "Passing you on did not work. You are first in line."
	wordsThrough     = "You're through to %s."
	wordsThroughRead = "You're through to %s, who has read your messages." // only when it is true
	wordsEnded       = "This conversation has ended. Write again at any time, it goes on right here."
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
	err := s.change(ctx, in.ConversationID, func(ch *change) error {
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

// askOnce: the recogniser is not sure. Code asks, the model is not asked; "yes" then is a wish.
func (s *Switchboard) askOnce(ctx context.Context, ch *change) error {
	if _, err := ch.send(ctx, &channels.Message{Author: channels.ByAI, Body: wordsSure, Data: channels.MessageData{Mode: llm.ModeQuote, Reason: reasonOffered}}); err != nil {
		return err
	}
	return ch.exec(ctx, "answered", `update conversations set answered_seq = customer_seq where id = $1`, ch.c.ID)
}

// readWish asks human.Read, which is plain code. What only answers our own offer of a person ("yes please") is read
// together with that offer.
func (s *Switchboard) readWish(ctx context.Context, ch *change, in channels.Inbound) (wish human.Wish, declined bool, err error) {
	if in.Automatic {
		return wish, false, nil
	}
	offered := false
	if ch.c.State == channels.Bot || ch.c.State == channels.Closed {
		rows, err := channels.History(ctx, ch.tx, ch.c.ID, 0, 3)
		if err != nil {
			return wish, false, fmt.Errorf("history: %w", err)
		}
		for _, m := range rows {
			if m.Kind == channels.Text {
				offered = m.Author == channels.ByAI && (m.Data.Reason == reasonOffered || human.Offered(m.Body))
			}
		}
	}
	words := ownWords(in)
	wish = human.Read(words, human.Context{Offered: offered, Channel: in.Channel})
	wish.Unsure = wish.Unsure && !offered // it asks once
	return wish, human.Declined(words), nil
}

// ownWords leaves out what a mail quotes: who answers between the lines keeps them visible, but an old "I want a human"
// in a quote is no wish of now.
func ownWords(in channels.Inbound) string {
	if in.Channel != channels.Email {
		return in.Body
	}
	var own strings.Builder
	for line := range strings.Lines(in.Body) {
		if !strings.HasPrefix(strings.TrimSpace(line), ">") {
			own.WriteString(line)
		}
	}
	return own.String()
}

// toPeople puts the conversation in line and opens the promise, in this transaction. It is idempotent: a second wish
// while waiting changes nothing.
func (s *Switchboard) toPeople(ctx context.Context, ch *change, source, code, words string) error {
	if ch.c.State == channels.Agent {
		return nil // a person has it
	}
	// A caller may go on talking with the responder in line; what was said until now is the person's to answer.
	if err := ch.exec(ctx, "answered", `update conversations set answered_seq = customer_seq where id = $1 and channel = 'voice'`, ch.c.ID); err != nil {
		return err
	}
	switch ch.c.State {
	case channels.Waiting, channels.Offered:
		_, _, err := agents.OpenPromise(ctx, ch.tx, ch.c.ID, source)
		return err
	}
	if err := s.intoLine(ctx, ch); err != nil {
		return err
	}
	due, _, err := agents.OpenPromise(ctx, ch.tx, ch.c.ID, source)
	if err != nil {
		return err
	}
	nobody, err := agents.NobodyHere(ctx, ch.tx, ch.c.ID, due)
	if err != nil {
		return err
	}
	if nobody != "" {
		if code == channels.CodeModelDown {
			nobody = wordsModelAway + " " + nobody
		}
		code, words = channels.CodeNobodyHere, nobody
	}
	if err := s.acknowledge(ctx, ch, code, words, channels.MessageData{Source: source, DueAt: &due}); err != nil {
		return err
	}
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	return nil
}

// intoLine moves the conversation to the line, with the hand-over card of what was said so far.
func (s *Switchboard) intoLine(ctx context.Context, ch *change) error {
	moved, err := ch.move(ctx, channels.Waiting)
	if err == nil && !moved {
		err = fmt.Errorf("conversation %d: %s cannot wait", ch.c.ID, ch.c.State)
	}
	ch.carded, ch.entered = true, true
	return err
}

// backInLine takes the conversation from its agent and puts it before all others, with the promise open again.
func (s *Switchboard) backInLine(ctx context.Context, ch *change, source, code, words string) error {
	if moved, err := ch.move(ctx, channels.Waiting); err != nil || !moved {
		return err
	}
	if err := ch.exec(ctx, "front", `update conversations set front = true where id = $1`, ch.c.ID); err != nil {
		return err
	}
	ch.carded, ch.entered = true, true
	due, _, err := agents.OpenPromise(ctx, ch.tx, ch.c.ID, source)
	if err != nil {
		return err
	}
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	return s.acknowledge(ctx, ch, code, words, channels.MessageData{Source: source, DueAt: &due})
}

// acknowledge tells the customer that a person comes.
func (s *Switchboard) acknowledge(ctx context.Context, ch *change, code, words string, data channels.MessageData) error {
	if err := ch.notice(ctx, code, words, data); err != nil {
		return err
	}
	return agents.AcknowledgePromise(ctx, ch.tx, ch.c.ID)
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

// noWish: the customer's own "no, go on". The only thing that ends a wish besides a person's first word.
func (s *Switchboard) noWish(ctx context.Context, ch *change) error {
	if ch.c.State == channels.Offered {
		if err := s.withdraw(ctx, ch); err != nil {
			return err
		}
	}
	if ch.c.State != channels.Waiting {
		return nil
	}
	if err := agents.ClosePromiseByContact(ctx, ch.tx, ch.c.ID); err != nil {
		return err
	}
	if err := ch.exec(ctx, "answered", `update conversations set answered_seq = customer_seq where id = $1`, ch.c.ID); err != nil {
		return err
	}
	if _, err := channels.SetPeopleOnly(ctx, ch.tx, ch.c.ContactID, "", true); err != nil {
		return err
	}
	ch.line(channels.CodeLeft, "The customer no longer needs a person.", channels.MessageData{})
	_, err := ch.move(ctx, channels.Bot)
	return err
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

func (s *Switchboard) callStarted(ctx context.Context, ch *change, in channels.Inbound, r *channels.Receipt) error {
	if !ch.fresh {
		var err error
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
		gone, err := s.peopleFirst(ctx, ch)
		if err != nil || gone || !in.Talks {
			return err
		}
		ok, err := s.admit(ctx, ch, call.ID)
		r.Busy = !ok
		return err
	}
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
