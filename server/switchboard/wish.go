package switchboard

import (
	"context"
	"fmt"
	"strings"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/llm"
	"patchbay/llm/human"
)

// The wish for a person, and the way into line: read from the customer's own words by plain code, taken back by nobody else.

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
