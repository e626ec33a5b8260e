package email

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// Verdicts in mails_in.
const (
	personal = "personal"
	machine  = "automatic"
	bounced  = "bounce"
	ownMail  = "own"
	broken   = "broken"
)

// nobody stands for the sender of a mail that names none; .invalid can be nobody's (RFC 2606).
const nobody = "no-sender@unknown.invalid"

// held are mails whose Receive failed: they are tried again later and do not keep the others waiting.
type held struct {
	sync.Mutex
	until map[int64]time.Time
	tries map[int64]int
}

func (h *held) ids() []int64 {
	h.Lock()
	defer h.Unlock()
	ids := []int64{}
	for id, t := range h.until {
		if time.Now().Before(t) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *held) hold(id int64, first time.Duration) {
	h.Lock()
	defer h.Unlock()
	if h.tries == nil {
		h.tries = map[int64]int{}
	}
	h.until[id] = time.Now().Add(min(first<<min(h.tries[id], 6), time.Minute))
	h.tries[id]++
}

func (h *held) release(id int64) {
	h.Lock()
	defer h.Unlock()
	delete(h.until, id)
	delete(h.tries, id)
}

func (c *Channel) parseLoop(ctx context.Context) {
	for ctx.Err() == nil {
		more := false
		c.guard("parse", func() {
			var err error
			if more, err = c.handleNext(ctx); err != nil && ctx.Err() == nil {
				c.Log.Error("mail: not received, trying again", "err", err)
			}
		})
		if !more && !wait(ctx, c.parsed, c.Sweep) {
			return
		}
	}
}

// handleNext receives the oldest open mail. It holds the row while it works: another process skips it, and if this one
// dies the row is open again. The second Receive of a mail stores nothing twice, by its ClientID.
func (c *Channel) handleNext(ctx context.Context) (found bool, err error) {
	var id int64
	var news []*channels.Message
	defer func() {
		if p := recover(); p != nil {
			c.held.hold(id, c.Reconnect) // the others go on
			panic(p)
		}
	}()
	err = pgx.BeginFunc(ctx, c.Pool, func(tx pgx.Tx) error {
		var raw []byte
		err := tx.QueryRow(ctx, `select id, raw from mails_in where handled_at is null and mailbox = $1 and not (id = any($2))
			order by id for update skip locked limit 1`, c.mailbox, c.held.ids()).Scan(&id, &raw)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("next mail: %w", err)
		}
		found = true
		in := &inbound{c: c, id: id, raw: raw}
		if err := in.receive(ctx, tx); err != nil {
			return fmt.Errorf("mail %d: %w", id, err)
		}
		var conversation *int64
		if in.conversation != 0 {
			conversation = &in.conversation
		}
		if _, err := tx.Exec(ctx, `update mails_in set handled_at = now(), verdict = $2, conversation_id = $3 where id = $1`,
			id, in.verdict, conversation); err != nil {
			return fmt.Errorf("mail %d handled: %w", id, err)
		}
		news = in.news
		return nil
	})
	switch {
	case err != nil && id != 0:
		c.held.hold(id, c.Reconnect)
	case found:
		c.held.release(id)
		for _, m := range news {
			c.tell(m)
		}
	}
	return found, err
}

// inbound is one mail on its way up.
type inbound struct {
	c            *Channel
	id           int64
	raw          []byte
	letter       letter
	verdict      string
	conversation int64
	news         []*channels.Message // private lines to tell after the commit
}

func (in *inbound) receive(ctx context.Context, tx pgx.Tx) error {
	c := in.c
	in.letter = parse(in.raw)
	l := &in.letter
	l.Visible = strings.TrimSpace(c.ours.ReplaceAllString(l.Visible, ""))
	if size := int64(len(in.raw)); size > c.Largest {
		l.Broken = true
		l.Whole = strings.TrimSpace(l.Whole + "\n\n[This mail is larger than " + fmt.Sprint(c.Largest>>20) + " MB; its end was not fetched.]")
	}
	test, err := testCustomer(ctx, tx, l.From)
	if err != nil {
		return err
	}
	why := automatic(l, func(addr string) bool { return c.own(addr) && !test })
	in.verdict = personal
	if l.Broken {
		in.verdict = broken
	}
	if why != "" {
		in.verdict = machine
		if done, err := in.ourOwn(ctx, tx); done || err != nil {
			return err
		}
		if b, ok := readBounce(l); ok {
			in.verdict = bounced
			if done, err := in.bounce(ctx, tx, b); done || err != nil {
				return err
			}
		}
	}
	return in.words(ctx, tx, why)
}

// ourOwn recognises a mail that we have sent (a copy to ourselves, a forwarding that leads back): it is in the timeline.
func (in *inbound) ourOwn(ctx context.Context, tx pgx.Tx) (done bool, err error) {
	if in.letter.MessageID == "" || !in.c.own(in.letter.From) {
		return false, nil
	}
	err = tx.QueryRow(ctx, `select conversation_id from mails_out where rfc_id = $1`, in.letter.MessageID).Scan(&in.conversation)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("own mail: %w", err)
	}
	in.verdict = ownMail
	return true, nil
}

// bounce marks the mail of ours that a report is about, and says so in its conversation. done is false when the report
// is about none of ours; it is then shown like any automatic mail.
func (in *inbound) bounce(ctx context.Context, tx pgx.Tx, b bounce) (done bool, err error) {
	var out int64
	var recipient string
	err = tx.QueryRow(ctx, `select id, conversation_id, recipient from mails_out where rfc_id = any($1) order by id desc limit 1`, b.IDs).
		Scan(&out, &in.conversation, &recipient)
	if errors.Is(err, pgx.ErrNoRows) || b.IDs == nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("bounced mail: %w", err)
	}
	reason := b.Reason
	if reason == "" {
		reason = "the report gives no reason"
	}
	if b.Status != "" && !strings.Contains(reason, b.Status) {
		reason = b.Status + " " + reason
	}
	words := "A mail to " + recipient + " was delivered."
	switch {
	case b.Failed && b.Final:
		words = "A mail to " + recipient + " could not be delivered: " + reason
		if _, err := tx.Exec(ctx, `update mails_out set state = 'failed', error = $2, owner_id = null where id = $1`, out, reason); err != nil {
			return false, fmt.Errorf("bounced mail: %w", err)
		}
	case b.Failed:
		words = "A mail to " + recipient + " is delayed: " + reason
	}
	m, err := note(ctx, tx, in.conversation, in.clientID(), words,
		channels.MessageData{Reason: reason, Subject: in.letter.Subject, Full: in.letter.Whole, MailInID: in.id, Automatic: true})
	if err != nil {
		return false, err
	}
	in.news = append(in.news, m)
	return true, nil
}

func (in *inbound) clientID() string { return fmt.Sprintf("mail-%d", in.id) }

// words hands the mail up, then the wish in it.
func (in *inbound) words(ctx context.Context, tx pgx.Tx, why string) error {
	c, l := in.c, &in.letter
	conversation, err := thread(ctx, tx, l)
	if err != nil {
		return err
	}
	from := l.From
	if from == "" {
		from = nobody
	}
	up := channels.Inbound{
		Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: from}, Name: l.FromName, To: c.Address,
		ConversationID: conversation, Body: l.Body(), Full: l.Full(), Subject: l.Subject, ClientID: in.clientID(),
		Automatic: why != "", Reason: why, MailInID: in.id,
	}
	got, err := c.Receive(ctx, up)
	if code := channels.CodeOf(err); code == channels.Invalid || code == channels.TooLarge || code == channels.NotFound {
		// Refused for good in this form. It is shown all the same, by what surely passes.
		c.Log.Warn("mail: refused, shown without its text", "mail", in.id, "err", err)
		up.Body, up.Full, up.ConversationID = "(This mail could not be shown. Its raw text is stored.)", "", 0
		got, err = c.Receive(ctx, up)
	}
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	in.conversation = got.ConversationID
	if why == "" && (asksHuman(l.Visible, c.HumanWord) || asksHuman(l.Subject, c.HumanWord)) {
		_, err = c.Receive(ctx, channels.Inbound{Type: channels.Wish, Channel: channels.Email, From: up.From, To: c.Address,
			ConversationID: got.ConversationID, ClientID: in.clientID() + "-wish", Source: "mail"})
		if err != nil {
			return fmt.Errorf("receive wish: %w", err)
		}
	}
	// Last: its foreign key locks the conversation until tx ends, and Receive locks it in a transaction of its own.
	return remember(ctx, tx, l.MessageID, got.ConversationID)
}

// asksHuman tells whether the reply word stands alone on a line of the customer's own.
func asksHuman(visible, word string) bool {
	for _, line := range splitLines(visible) {
		if quoted(line) {
			continue
		}
		line = strings.TrimFunc(strayRunes.Replace(line), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if line != "" && strings.EqualFold(line, word) {
			return true
		}
	}
	return false
}
