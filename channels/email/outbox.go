package email

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// The loop stop, which trusts no header: whatever answers us, a vacation note without a mark or another house like
// this one, gets at most so many mails that no person of ours wrote.
const (
	automaticPerHour  = 2 // to one address
	automaticInARow   = 5 // in one conversation, since a person of ours wrote last
	reasonLoop        = "not sent, to stop a mail loop: "
	reasonNoRecipient = "not sent: this contact has no mail address"
)

// reply is what an answer needs to know of the mail that it answers.
type reply struct {
	recipient, subject, inReplyTo, refs string
	automatic                           bool // the newest mail of the contact is automatic
}

// Send writes m into the outbox, inside the flow's transaction. Only words on this channel go out as mails; of the
// events only the notice that a person is coming, once for each mail of the customer's, and news of a call back.
func (c *Channel) Send(ctx context.Context, tx pgx.Tx, conversation *channels.Conversation, m *channels.Message) (after func(), err error) {
	if m.Channel != channels.Email || m.Private || m.Author == channels.ByContact || m.Kind == channels.Note {
		return nil, nil
	}
	notice := m.Kind == channels.Happened
	if notice {
		if wanted, err := c.noticeWanted(ctx, tx, m); !wanted || err != nil {
			return nil, err
		}
	}
	byMachine := m.Author != channels.ByAgent
	r, err := answers(ctx, tx, conversation)
	if err != nil {
		return nil, err
	}
	if byMachine && r.automatic {
		return nil, nil // RFC 3834, section 2: automatic mail gets no automatic answer
	}
	stop := ""
	if r.recipient == "" {
		stop = reasonNoRecipient
	} else if byMachine {
		if stop, err = loops(ctx, tx, m.ConversationID, r.recipient); err != nil {
			return nil, err
		}
	}
	body, err := c.body(ctx, tx, m)
	if err != nil {
		return nil, err
	}
	state := "queued"
	if stop != "" {
		state = "failed"
	}
	rfcID := c.newID()
	if _, err := tx.Exec(ctx, `insert into mails_out (conversation_id, message_id, rfc_id, recipient, subject, in_reply_to, refs, body, automatic, state, error)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, m.ConversationID, m.ID, rfcID, r.recipient, r.subject, r.inReplyTo, r.refs,
		body, byMachine, state, stop); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if err := remember(ctx, tx, rfcID, m.ConversationID); err != nil {
		return nil, err
	}
	if stop == "" {
		return c.wakeOutboxes, nil
	}
	line, err := note(ctx, tx, m.ConversationID, "", "A mail was "+stop+".", channels.MessageData{Reason: stop})
	if err != nil {
		return nil, err
	}
	return func() { c.tell(line); c.wakeOutboxes() }, nil
}

func (c *Channel) wakeOutboxes() {
	c.wakeSenders()
	if err := c.Bus.Publish(OutSubject, struct{}{}); err != nil {
		c.Log.Warn("mail: outboxes not told", "err", err) // the sweep finds it
	}
}

func (c *Channel) wakeSenders() {
	for range senders {
		signal(c.posted)
	}
}

// noticeWanted: the customer is told once that a person is coming, whatever the reason was, and of their call back. All other
// events are lines of a live timeline and no mails.
func (c *Channel) noticeWanted(ctx context.Context, tx pgx.Tx, m *channels.Message) (bool, error) {
	switch m.Data.Code {
	case channels.CodeCallback, channels.CodeCallSet, channels.CodeNotReached: // what answers the customer, or tells of a call
		return true, nil
	case channels.CodeWaiting, channels.CodeModelDown, channels.CodeNoAnswer, channels.CodeNobodyHere:
	default:
		return false, nil
	}
	var told bool
	err := tx.QueryRow(ctx, `select exists (select from mails_out o join messages m on m.id = o.message_id
		where o.conversation_id = $1 and m.author = 'system'
		and m.seq > coalesce((select max(seq) from messages where conversation_id = $1 and author = 'contact'), 0))`, m.ConversationID).Scan(&told)
	if err != nil {
		return false, fmt.Errorf("notice: %w", err)
	}
	return !told, nil
}

// answers finds the mail to answer: the newest that a person wrote, else the newest. Its sender, a claim that already
// decided which contact this is, gets the answer; nothing of its body is copied back.
func answers(ctx context.Context, tx pgx.Tx, conversation *channels.Conversation) (reply, error) {
	var r reply
	var head []byte
	err := tx.QueryRow(ctx, `select substring(i.raw for 262144) from messages m
		join mails_in i on i.id = (m.data->>'mail_in_id')::bigint
		where m.conversation_id = $1 and m.author = 'contact' and m.channel = 'email'
		order by coalesce((m.data->>'automatic')::boolean, false), m.seq desc limit 1`, conversation.ID).Scan(&head)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("mail to answer: %w", err)
	}
	var l letter
	if err == nil {
		l.header = readHeader(head)
		l.readEnvelope()
		if err := replyFields(&r, &l); err != nil {
			return r, err
		}
	}
	if r.subject == "" {
		r.subject = reSubject(conversation.Subject)
	}
	var newest []byte
	err = tx.QueryRow(ctx, `select data from messages where conversation_id = $1 and author = 'contact' order by seq desc limit 1`, conversation.ID).Scan(&newest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("newest message: %w", err)
	}
	var data channels.MessageData
	if newest != nil && json.Unmarshal(newest, &data) == nil {
		r.automatic = data.Automatic
	}
	// The sender must still be an address of this contact (a merge or an erasure may have come between).
	// Where a visitor has said that answers go is another: it is theirs to say for this conversation, and no more.
	err = tx.QueryRow(ctx, `select value from (select value, id from addresses where contact_id = $1 and kind = 'email' and value <> $3
			union all select $4, 0 where $4 <> '') a
		order by (value = $2) desc, (value = $4) desc, id desc limit 1`, conversation.ContactID, l.From, nobody, conversation.ReplyTo).Scan(&r.recipient)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("recipient: %w", err)
	}
	return r, nil
}

// replyFields fills In-Reply-To and References as RFC 5322, 3.6.4 says; a long list keeps its first and its last ids.
func replyFields(r *reply, l *letter) error {
	r.subject = reSubject(l.Subject)
	r.inReplyTo = l.MessageID
	refs := messageIDs(strings.Join(l.header["references"], " "))
	if len(refs) == 0 {
		refs = messageIDs(l.header.get("in-reply-to"))
	}
	if l.MessageID != "" {
		refs = append(refs, l.MessageID)
	}
	if len(refs) > 20 {
		refs = append(refs[:1:1], refs[len(refs)-19:]...)
	}
	short := refs[:0]
	for _, id := range refs {
		if len(id) <= 250 && !strings.ContainsFunc(id, func(c rune) bool { return c > 126 || c < 33 }) {
			short = append(short, id)
		}
	}
	r.refs = strings.Join(short, " ")
	if len(r.inReplyTo) > 250 || strings.ContainsFunc(r.inReplyTo, func(c rune) bool { return c > 126 || c < 33 }) {
		r.inReplyTo = ""
	}
	return nil
}

func reSubject(subject string) string {
	subject = clip(oneLine(subject), 500)
	if subject == "" {
		return "Re: your message"
	}
	if len(subject) >= 3 && strings.EqualFold(subject[:3], "re:") {
		return subject
	}
	return "Re: " + subject
}

// loops tells why an automatic mail must not go out, "" when it may.
func loops(ctx context.Context, tx pgx.Tx, conversationID int64, recipient string) (string, error) {
	// two transactions of two conversations with one recipient must not both see a free place
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended('patchbay mail to ' || $1, 0))`, recipient); err != nil {
		return "", fmt.Errorf("loop stop: %w", err)
	}
	var hour, row int
	err := tx.QueryRow(ctx, `select
		(select count(*) from mails_out where recipient = $2 and automatic and created_at > clock_timestamp() - interval '1 hour' and error not like $3 || '%'),
		(select count(*) from mails_out where conversation_id = $1 and automatic and error not like $3 || '%'
			and id > coalesce((select max(id) from mails_out where conversation_id = $1 and not automatic), 0))`,
		conversationID, recipient, reasonLoop).Scan(&hour, &row)
	if err != nil {
		return "", fmt.Errorf("loop stop: %w", err)
	}
	switch {
	case hour >= automaticPerHour:
		return fmt.Sprintf("%s%s got %d automatic mails within an hour", reasonLoop, recipient, hour), nil
	case row >= automaticInARow:
		return fmt.Sprintf("%s%d automatic mails in a row", reasonLoop, row), nil
	}
	return "", nil
}

// body is the mail's text. Whatever the model wrote says that an AI wrote it and how to reach a person; the first one
// of a conversation says it before anything else.
func (c *Channel) body(ctx context.Context, tx pgx.Tx, m *channels.Message) (string, error) {
	text := strings.TrimSpace(strings.Join(splitLines(clean(m.Body)), "\n"))
	if m.Author != channels.ByAI {
		if m.Author == channels.ByAgent && m.Data.AgentName != "" {
			text += "\n\n-- \n" + oneLine(m.Data.AgentName)
			if c.Name != "" {
				text += ", " + oneLine(c.Name)
			}
		}
		left, err := leftWords(ctx, tx, m)
		return text + left, err
	}
	var before bool
	err := tx.QueryRow(ctx, `select exists (select from mails_out o join messages m on m.id = o.message_id
		where o.conversation_id = $1 and m.author = 'ai')`, m.ConversationID).Scan(&before)
	if err != nil {
		return "", fmt.Errorf("first answer: %w", err)
	}
	if !before {
		text = "You are writing with an AI. To reach a person, reply with the word " + c.HumanWord + ".\n\n" + text
	}
	for _, s := range m.Data.Sources {
		if s.Title != "" {
			text += "\n\nSource: " + oneLine(s.Title)
			if s.URL != "" {
				text += " " + oneLine(s.URL)
			}
		}
	}
	return text + "\n\n-- \n" + c.footer, nil
}

// leftWords quotes what a visitor has left on the page, below the first mail that answers it: a mail that opens a thread
// must say by itself what it is about.
func leftWords(ctx context.Context, tx pgx.Tx, m *channels.Message) (string, error) {
	var said *string
	var at *time.Time
	err := tx.QueryRow(ctx, `select string_agg(body, E'\n' order by seq), max(at) from (select seq, body, at from messages
		where conversation_id = $1 and seq < $2 and author = 'contact' and channel = 'chat' and kind = 'text'
		and not exists (select from mails_out where conversation_id = $1)
		and not exists (select from messages where conversation_id = $1 and author = 'contact' and channel = 'email') order by seq desc limit 5) s`,
		m.ConversationID, m.Seq).Scan(&said, &at)
	if err != nil {
		return "", fmt.Errorf("words left: %w", err)
	}
	if said == nil {
		return "", nil
	}
	quote := "\n\nYou wrote to us on " + at.UTC().Format("2 January 2006, 15:04") + " UTC:"
	for _, line := range splitLines(clean(*said)) {
		quote += "\n> " + line
	}
	return quote, nil
}

// newID makes a Message-ID in our domain; its randomness is what nobody can guess.
func (c *Channel) newID() string {
	_, domain, _ := strings.Cut(c.Address, "@")
	return "<" + strings.ToLower(rand.Text()) + "@" + domain + ">"
}

// watchLoop looks after rows that no sender of this process will: those of dead nodes, and conversations whose loop
// was stopped and which a person should see.
func (c *Channel) watchLoop(ctx context.Context) {
	for {
		if err := c.takeOver(ctx); err != nil && ctx.Err() == nil {
			c.Log.Error("mail: outbox of dead nodes", "err", err)
		}
		if err := c.raiseLoops(ctx); err != nil && ctx.Err() == nil {
			c.Log.Error("mail: stopped loops", "err", err)
		}
		if !sleep(ctx, c.Sweep) {
			return
		}
	}
}

// takeOver finds mails that a node was sending when it died. The server may have said 250: each is unsure and is sent
// once more, with the same Message-ID; one that was unsure before stays so, and the desk is told.
func (c *Channel) takeOver(ctx context.Context) error {
	mine := []int64{}
	c.sending.Range(func(id, _ any) bool { mine = append(mine, id.(int64)); return true })
	rows, err := c.Pool.Query(ctx, `select o.id from mails_out o left join nodes n on n.id = o.owner_id
		where o.state = 'sending' and not (o.id = any($2)) and case
			when o.owner_id = $1 then o.due_at < now() - interval '1 minute' -- claimed or settled while the database was away
			else n.id is null or n.stopped_at is not null or n.seen_at < now() - interval '10 seconds' end`, c.node(), mine)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := c.settle(ctx, id, nil, outcome{kind: unsure, text: "the server that was sending it stopped"}); err != nil {
			return err
		}
	}
	if len(ids) > 0 {
		c.wakeSenders()
	}
	return nil
}

// raiseLoops puts conversations with a stopped answer in line for a person. attempts marks those that are done.
func (c *Channel) raiseLoops(ctx context.Context) error {
	rows, err := c.Pool.Query(ctx, `select o.id, o.conversation_id, m.author from mails_out o join messages m on m.id = o.message_id
		where o.state = 'failed' and o.attempts = 0 and o.automatic and o.created_at > now() - interval '1 day' and o.error like $1 || '%'`, reasonLoop)
	if err != nil {
		return err
	}
	type stopped struct {
		ID, ConversationID int64
		Author             string
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stopped])
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Author == string(channels.ByAI) { // a notice that was stopped already has its place in line
			_, err := c.Receive(ctx, channels.Inbound{Type: channels.Wish, Channel: channels.Email, ConversationID: s.ConversationID,
				ClientID: fmt.Sprintf("mail-out-%d", s.ID), Source: "turns", Reason: "loop"})
			if err != nil {
				return fmt.Errorf("hand over conversation %d: %w", s.ConversationID, err)
			}
		}
		if _, err := c.Pool.Exec(ctx, `update mails_out set attempts = 1 where id = $1`, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// outcome of one attempt to send.
type outcome struct {
	kind string // sent, retry, refused, unsure
	text string
}

const (
	sent    = "sent"
	retry   = "retry"
	refused = "refused"
	unsure  = "unsure"
)

const (
	giveUpAfter  = 48 * time.Hour
	longestPause = 4 * time.Hour
)

// settle writes an attempt's outcome into its row and, where a person should know, into the timeline. owner guards
// against a row that another node has meanwhile declared unsure; nil: whoever owns it.
func (c *Channel) settle(ctx context.Context, id int64, owner *string, o outcome) error {
	var line *channels.Message
	err := pgx.BeginFunc(ctx, c.Pool, func(tx pgx.Tx) error {
		var conversation int64
		var attempts int
		var recipient, before string
		var created time.Time
		err := tx.QueryRow(ctx, `select conversation_id, attempts, recipient, error, created_at from mails_out
			where id = $1 and state = 'sending' and ($2::text is null or owner_id = $2) for update`, id, owner).
			Scan(&conversation, &attempts, &recipient, &before, &created)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		doubted := strings.HasPrefix(before, unsure)
		state, text, words, pause := "sent", "", "", time.Duration(0)
		switch {
		case o.kind == sent && doubted:
			state, text = "sent", unsure+": sent twice at most"
		case o.kind == sent:
		case o.kind == unsure && doubted:
			state, text = "unsure", unsure+" twice: "+o.text
			pause = 100 * 365 * 24 * time.Hour // never again by itself
			words = "It is not sure that the mail to " + recipient + " was delivered: " + o.text
		case o.kind == unsure:
			state, text = "unsure", unsure+": "+o.text
		case o.kind == retry && time.Since(created) < giveUpAfter:
			state, text = "queued", o.text
			if doubted {
				state, text = "unsure", before
			}
			pause = min(c.RetryFirst<<min(max(attempts-1, 0), 20), longestPause)
		default:
			state, text = "failed", o.text
			words = "A mail to " + recipient + " could not be sent: " + o.text
		}
		if _, err := tx.Exec(ctx, `update mails_out set state = $2, error = $3, owner_id = null, due_at = clock_timestamp() + $4 * interval '1 microsecond',
			sent_at = case when $2 = 'sent' then clock_timestamp() end where id = $1`, id, state, clean(text), pause.Microseconds()); err != nil {
			return err
		}
		if words != "" {
			line, err = note(ctx, tx, conversation, "", words, channels.MessageData{Reason: o.text})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("outcome of mail %d: %w", id, err)
	}
	if line != nil {
		c.tell(line)
	}
	return nil
}
