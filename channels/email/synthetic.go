package email

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	gomail "github.com/wneessen/go-mail"

	"patchbay/channels"
)

// Synthetic writes to our mailbox as our own test customer: by the SMTP server that takes our answers, from a +tag of the
// mailbox's own address, so that answers come back to where they harm nobody (receive knows them for ours). The contact
// is made anew for each mail and marked, which no sender can do: only the exact address is known, and nobody can guess it.
func (c *Channel) Synthetic(ctx context.Context, name, subject, words string) (contactID int64, err error) {
	local, domain, _ := strings.Cut(strings.ToLower(c.Address), "@")
	from := local + "+test-" + strings.ToLower(rand.Text()) + "@" + domain
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP), gomail.WithCharset(gomail.CharsetUTF8))
	msg.FromMailAddress(&netmail.Address{Name: name, Address: from})
	msg.ToMailAddress(&netmail.Address{Address: c.Address})
	msg.Subject(subject)
	msg.SetMessageIDWithValue(rand.Text() + "@" + domain)
	msg.SetDateWithValue(time.Now())
	msg.SetBodyString(gomail.TypeTextPlain, words)
	var raw bytes.Buffer
	if _, err := msg.WriteTo(&raw); err != nil {
		return 0, fmt.Errorf("build test mail: %w", err)
	}
	conn, client, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	// before the mail is out: it may come in at once
	if err := pgx.BeginFunc(ctx, c.Pool, func(tx pgx.Tx) (err error) {
		contactID, err = channels.OpenSynthetic(ctx, tx, channels.Address{Kind: channels.Mail, Value: from}, name)
		return err
	}); err != nil {
		return 0, err
	}
	if o := transmit(client, c.Address, c.Address, onlyCRLF(raw.Bytes())); o.kind != sent {
		return 0, errors.New(o.text)
	}
	_ = client.Quit()
	return contactID, nil
}

// testCustomer tells whether a sender is our own test customer.
func testCustomer(ctx context.Context, tx pgx.Tx, from string) (is bool, err error) {
	err = tx.QueryRow(ctx, `select exists (select from addresses a join contacts c on c.id = a.contact_id
		where a.kind = 'email' and a.value = $1 and c.synthetic)`, strings.ToLower(from)).Scan(&is)
	if err != nil {
		return false, fmt.Errorf("test customer: %w", err)
	}
	return is, nil
}
