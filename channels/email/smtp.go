package email

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/jackc/pgx/v5"
	gomail "github.com/wneessen/go-mail"
)

const (
	senders      = 3                // mails on their way at once
	commandLimit = 30 * time.Second // RFC 5321, 4.5.3.2 allows minutes; a mail that waits is only tried again
	dotLimit     = 5 * time.Minute  // here it costs a double to be impatient
	lastMail     = 20 * time.Second // a mail on its way when the process stops
)

// mailOut is a claimed row.
type mailOut struct {
	ID        int64     `db:"id"`
	RFCID     string    `db:"rfc_id"`
	Recipient string    `db:"recipient"`
	Subject   string    `db:"subject"`
	InReplyTo string    `db:"in_reply_to"`
	Refs      string    `db:"refs"`
	Body      string    `db:"body"`
	Automatic bool      `db:"automatic"`
	CreatedAt time.Time `db:"created_at"`
	Notice    bool      `db:"notice"`
}

func (c *Channel) sendLoop(ctx context.Context) {
	for ctx.Err() == nil {
		found := false
		c.guard("send", func() {
			var err error
			if found, err = c.sendNext(ctx); err != nil && ctx.Err() == nil {
				c.Log.Error("mail: outbox", "err", err)
			}
		})
		if !found && !wait(ctx, c.posted, c.Sweep) {
			return
		}
	}
}

// sendNext claims the oldest due mail and sends it. The claim is committed before the first byte goes out: whatever
// happens then, the row says that somebody was at it. A conversation's mails go out in their order.
func (c *Channel) sendNext(ctx context.Context) (found bool, err error) {
	// A stop in the middle of the claim would leave a row that nobody is at.
	claim, done := context.WithTimeout(context.WithoutCancel(ctx), lastMail)
	defer done()
	rows, err := c.Pool.Query(claim, `update mails_out set state = 'sending', owner_id = $1, attempts = attempts + 1, due_at = clock_timestamp()
		where id = (select o.id from mails_out o
			where o.state in ('queued', 'unsure') and o.due_at <= now() and not exists (
				select from mails_out b where b.conversation_id = o.conversation_id and b.id < o.id
				and (b.state = 'sending' or b.state in ('queued', 'unsure') and b.due_at <= now()))
			order by o.due_at, o.id for update skip locked limit 1)
		returning id, rfc_id, recipient, subject, in_reply_to, refs, body, automatic, created_at,
			exists (select from messages m where m.id = message_id and m.author = 'system') as notice`, c.node())
	if err != nil {
		return false, fmt.Errorf("claim mail: %w", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[mailOut])
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("claim mail: %w", err)
	}
	c.sending.Store(m.ID, true)
	defer c.sending.Delete(m.ID)
	// A stop of the process does not cut a mail that is on its way: that would make it unsure for nothing.
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	grace := context.AfterFunc(ctx, func() { time.AfterFunc(lastMail, cancel) })
	defer grace()
	o := outcome{kind: unsure, text: "sending broke off"}
	defer func() {
		// also after a panic: the row must not stay "sending" while its owner lives
		write, done := context.WithTimeout(context.WithoutCancel(ctx), lastMail)
		defer done()
		e := c.settle(write, m.ID, c.node(), o)
		for e != nil && sleep(write, time.Second) { // the database may come back; if not, takeOver calls it unsure
			e = c.settle(write, m.ID, c.node(), o)
		}
		err = errors.Join(err, e)
		signal(c.posted)
	}()
	o = c.deliver(out, &m)
	c.Log.Info("mail: attempt", "mail", m.ID, "outcome", o.kind, "text", o.text)
	return true, nil
}

// deliver makes one attempt. Its outcome knows the one line that matters: before the final dot nothing can have been
// delivered, after it everything can.
func (c *Channel) deliver(ctx context.Context, m *mailOut) outcome {
	raw, err := c.build(m)
	if err != nil {
		return outcome{refused, err.Error()}
	}
	conn, client, err := c.dial(ctx)
	if err != nil {
		return outcome{retry, oneLine(err.Error())}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	from := c.Address
	if m.Notice {
		from = "" // nobody can bounce or answer a pure notice (RFC 3834, section 3.3)
	}
	return transmit(client, from, m.Recipient, raw)
}

// transmit hands one mail to the server.
func transmit(client *smtp.Client, from, to string, raw []byte) outcome {
	if err := client.Mail(from, nil); err != nil {
		return verdict("sender", err)
	}
	if err := client.Rcpt(to, nil); err != nil {
		return verdict("recipient", err)
	}
	data, err := client.Data()
	if err != nil {
		return verdict("data", err)
	}
	if _, err := data.Write(raw); err != nil {
		return outcome{retry, "connection lost before the end: " + oneLine(err.Error())}
	}
	if err := data.Close(); err != nil {
		var said *smtp.SMTPError
		if errors.As(err, &said) {
			return verdict("mail", err)
		}
		return outcome{unsure, "connection lost after the mail, before the answer"}
	}
	_ = client.Quit()
	return outcome{kind: sent}
}

// verdict reads the server's answer: 5xx is final, 421 and all 4xx are not (RFC 5321, 4.2.1).
func verdict(what string, err error) outcome {
	var said *smtp.SMTPError
	if errors.As(err, &said) {
		text := fmt.Sprintf("%d %s (%s)", said.Code, oneLine(said.Message), what)
		if said.Code >= 500 {
			return outcome{refused, text}
		}
		return outcome{retry, text}
	}
	return outcome{retry, what + ": " + oneLine(err.Error())}
}

// dial connects, encrypts and signs in. A refusal here is about us, not about the mail: it is always tried again.
func (c *Channel) dial(ctx context.Context) (net.Conn, *smtp.Client, error) {
	addr := net.JoinHostPort(c.SMTPHost, strconv.Itoa(c.SMTPPort))
	conn, err := (&net.Dialer{Timeout: commandLimit}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("reach smtp: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var client *smtp.Client
	switch c.SMTPTLS {
	case TLSFull:
		client = smtp.NewClient(tls.Client(conn, c.tlsFor(c.SMTPHost)))
	case TLSStart:
		late := time.AfterFunc(commandLimit, func() { _ = conn.Close() })
		client, err = smtp.NewClientStartTLS(conn, c.tlsFor(c.SMTPHost))
		late.Stop()
		if err != nil {
			_ = conn.Close()
			return nil, nil, fmt.Errorf("smtp starttls: %w", err)
		}
	default:
		client = smtp.NewClient(conn)
	}
	client.CommandTimeout, client.SubmissionTimeout = commandLimit, dotLimit
	_, domain, _ := strings.Cut(c.Address, "@")
	if err := client.Hello(domain); err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("smtp hello: %w", err)
	}
	if c.Password != "" && client.SupportsAuth(sasl.Plain) {
		if err := client.Auth(sasl.NewPlainClient("", c.User, c.Password)); err != nil {
			_ = conn.Close()
			return nil, nil, fmt.Errorf("smtp sign-in: %w", err)
		}
	}
	return conn, client, nil
}

// build makes the mail's bytes: the same for every attempt, lines ended by CRLF and by nothing else, so that no lone
// CR or LF can end the mail early at some server (SMTP smuggling) and no field can hold a second one.
func (c *Channel) build(m *mailOut) ([]byte, error) {
	to, err := netmail.ParseAddress(m.Recipient)
	if err != nil || oneLine(m.Recipient) != m.Recipient {
		return nil, fmt.Errorf("not a mail address: %s", oneLine(m.Recipient))
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP), gomail.WithCharset(gomail.CharsetUTF8))
	msg.FromMailAddress(&netmail.Address{Name: oneLine(c.Name), Address: c.Address})
	msg.ToMailAddress(&netmail.Address{Address: to.Address})
	msg.Subject(oneLine(m.Subject))
	msg.SetMessageIDWithValue(strings.Trim(oneLine(m.RFCID), "<>"))
	msg.SetDateWithValue(m.CreatedAt)
	if ids := messageIDs(m.InReplyTo); len(ids) > 0 {
		msg.SetGenHeaderPreformatted(gomail.HeaderInReplyTo, ids[0])
	}
	if ids := messageIDs(m.Refs); len(ids) > 0 {
		msg.SetGenHeaderPreformatted(gomail.HeaderReferences, strings.Join(ids, "\r\n "))
	}
	if m.Automatic {
		msg.SetGenHeader("Auto-Submitted", "auto-replied")
		msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	}
	msg.SetBodyString(gomail.TypeTextPlain, strings.Join(splitLines(clean(m.Body)), "\r\n"))
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("build mail: %w", err)
	}
	return onlyCRLF(b.Bytes()), nil
}

func onlyCRLF(raw []byte) []byte {
	lines := splitLines(string(raw))
	return []byte(strings.Join(lines, "\r\n"))
}
