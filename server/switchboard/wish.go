package switchboard

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/sentences"
	"patchbay/llm"
	"patchbay/llm/human"
)

// The wish for a person, and the way into line: read from the customer's own words by plain code, taken back by nobody else.

// askOnce: the recogniser is not sure. Code asks, the model is not asked; "yes" then is a wish.
func (s *Switchboard) askOnce(ctx context.Context, ch *change) error {
	lang, err := ch.language(ctx)
	if err != nil {
		return err
	}
	if _, err := ch.send(ctx, &channels.Message{Author: channels.ByAI, Body: wordsSure.In(lang), Data: channels.MessageData{Mode: llm.ModeQuote, Reason: reasonOffered}}); err != nil {
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
	wish, declined = human.Read(words, human.Context{Offered: offered, Channel: in.Channel}), human.Declined(words)
	if in.Channel == channels.Email && !wish.Yes && !declined {
		own, err := ch.ownSubject(ctx, in)
		if err != nil {
			return wish, false, err
		}
		if w := subjectWish(own, strings.TrimSpace(words) == ""); w.Yes || w.Unsure && !wish.Unsure {
			wish = w
		}
	}
	wish.Unsure = wish.Unsure && !offered // it asks once
	return wish, declined, nil
}

// answeredSubject begins the subject of a mail that answers or forwards another: the words behind it are older, or somebody
// else's. Mail programs write it in their own language, some with a count (Re[2]:), list programs set their name before it.
var answeredSubject = regexp.MustCompile(`(?i)^\s*(\[[^\]]*\]\s*)*(re|ref|aw|antw|antwort|sv|vs|vl|svar|rif|r|res|odp|ynt|ilt|bls|atb|vá|vb|továbbítás|απ|πρθ|на|hs|fs|fw|fwd|wg|tr|rv|enc|doorst|i|pd|` +
	`回复|回覆|答复|答覆|转发|轉寄|返信|転送|답장|회신|전달|رد|إعادة توجيه|השב|תשובה|הועבר)\s*([\[(]\d+[\])])?\s*[:：]`)

// ownSubject is a mail's subject where its words are the sender's own of now; "": it answers or forwards something, or the thread
// has had it before (some mail programs answer without a mark).
func (ch *change) ownSubject(ctx context.Context, in channels.Inbound) (string, error) {
	if in.Subject == "" || answeredSubject.MatchString(in.Subject) {
		return "", nil
	}
	if in.ConversationID == 0 {
		return in.Subject, nil
	}
	var before bool
	err := ch.tx.QueryRow(ctx, `select exists (select from conversations where id = $1 and lower(trim(subject)) = lower(trim($2)))
		or exists (select from messages where conversation_id = $1 and lower(trim(data ->> 'subject')) = lower(trim($2)))`, ch.c.ID, in.Subject).Scan(&before)
	if err != nil {
		return "", fmt.Errorf("subject: %w", err)
	}
	if before {
		return "", nil
	}
	return in.Subject, nil
}

// subjectWish reads a mail's subject. A bare name ("Customer service", "For the manager") says whom a letter is for and is no
// wish, unless there is nothing else; so it is read once more as the beginning of a sentence, where only words that ask are left.
func subjectWish(subject string, nothingElse bool) human.Wish {
	asked := human.Context{Channel: channels.Email}
	wish := human.Read(subject, asked)
	switch {
	case nothingElse, wish.Yes && wish.Rule != "alone":
		return wish
	case wish.Yes:
		if w := human.Read(subject+" 4711 4712", asked); w.Yes {
			return w
		}
	}
	return human.Wish{}
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
func (s *Switchboard) toPeople(ctx context.Context, ch *change, source, code string, words sentences.Said) error {
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
	had := ch.c.AgentID
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
	if !nobody.Nothing() {
		if code == channels.CodeModelDown {
			nobody = wordsModelAway.Then(nobody)
		}
		code, words = channels.CodeNobodyHere, nobody
	}
	if err := s.acknowledge(ctx, ch, code, words, channels.MessageData{Source: source, DueAt: &due}); err != nil {
		return err
	}
	ch.wakeRouters(had)
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
func (s *Switchboard) backInLine(ctx context.Context, ch *change, source, code string, words sentences.Said) error {
	had := ch.c.AgentID
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
	ch.wakeRouters(had)
	return s.acknowledge(ctx, ch, code, words, channels.MessageData{Source: source, DueAt: &due})
}

// acknowledge tells the customer that a person comes.
func (s *Switchboard) acknowledge(ctx context.Context, ch *change, code string, words sentences.Said, data channels.MessageData) error {
	if !ch.more.Nothing() {
		words, ch.more = words.Then(ch.more), sentences.Said{}
	}
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
