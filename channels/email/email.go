// Package email is one mailbox: IMAP in, SMTP out.
//
//	IMAP server ──▶ imap.go: raw bytes, committed ──▶ mails_in ──▶ inbound.go: parse, thread ──▶ Receive
//	switchboard ──▶ outbox.go: Send writes mails_out in the flow's transaction ──▶ smtp.go ──▶ SMTP server
//
// The two tables are the whole state, so any process may die at any point. In: a mail is a row before it is read or
// flagged, and stays an open row until Receive has committed it. Out: a mail is a row in the transaction of its
// message, with the Message-ID that it keeps for ever; it is never lost and at most doubled once (trust.md, 5).
//
// Of many processes one holds the mailbox (an advisory lock) and fetches; all of them parse and send, taking rows with
// SKIP LOCKED. Automatic mail is never answered automatically (auto.go); that a From line is a claim and a quoted
// Message-ID no right is decided in thread.go.
package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	netmail "net/mail"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Config is one mailbox. Zero values of the fields below the blank line get their defaults.
type Config struct {
	Pool    *pgxpool.Pool
	Bus     *bus.Bus
	Receive channels.Receive
	NodeID  string
	Log     *slog.Logger

	IMAPHost string
	IMAPPort int    // 993 for tls, else 143
	IMAPTLS  string // none, starttls, tls (default)
	SMTPHost string // default: IMAPHost
	SMTPPort int    // 465 for tls, else 587
	SMTPTLS  string // none, starttls, tls (default)
	User     string // default: Address
	Password string
	Address  string // our address: customers write to it, answers come from it
	Name     string // the name beside it
	Mailbox  string // default INBOX

	HumanWord  string        // alone on a line it asks for a person; default HUMAN
	Largest    int64         // bytes of a mail that are fetched; of a larger one the first part is shown; default 25 MB
	TLSConfig  *tls.Config   // for a server with its own certificate authority
	Sweep      time.Duration // how often the tables are looked at without news; default 2 s
	RetryFirst time.Duration // first pause after a 4xx; doubles up to 4 h, for 2 days; default 1 min
	Reconnect  time.Duration // first pause after a lost IMAP connection; doubles up to 1 min; default 1 s
}

// TLS modes.
const (
	TLSNone  = "none"
	TLSStart = "starttls"
	TLSFull  = "tls"
)

// OutSubject wakes every outbox: a mail was committed. No payload.
const OutSubject = "mail.out"

// Check lists every mistake in the settings, by field.
func (c *Config) Check() error {
	var wrong []error
	bad := func(field, text string) { wrong = append(wrong, channels.FailField(channels.Invalid, field, text)) }
	if c.IMAPHost == "" {
		bad("imap_host", "The IMAP server's name is missing.")
	}
	if a, err := netmail.ParseAddress(c.Address); err != nil || a.Address != c.Address {
		bad("address", "The mailbox's address looks like help@example.org.")
	}
	for field, mode := range map[string]string{"imap_tls": c.IMAPTLS, "smtp_tls": c.SMTPTLS} {
		if mode != "" && mode != TLSNone && mode != TLSStart && mode != TLSFull {
			bad(field, "Expected tls, starttls or none.")
		}
	}
	for field, port := range map[string]int{"imap_port": c.IMAPPort, "smtp_port": c.SMTPPort} {
		if port < 0 || port > 65535 {
			bad(field, "A port is between 1 and 65535.")
		}
	}
	if len(strings.Fields(c.HumanWord)) > 1 {
		bad("human_word", "The reply word is one word.")
	}
	return errors.Join(wrong...)
}

func (c *Config) defaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	text := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	number := func(n *int, mode string, full, plain int) {
		if *n == 0 && mode == TLSFull {
			*n = full
		} else if *n == 0 {
			*n = plain
		}
	}
	pause := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	text(&c.IMAPTLS, TLSFull)
	text(&c.SMTPTLS, TLSFull)
	text(&c.SMTPHost, c.IMAPHost)
	number(&c.IMAPPort, c.IMAPTLS, 993, 143)
	number(&c.SMTPPort, c.SMTPTLS, 465, 587)
	text(&c.User, c.Address)
	text(&c.Mailbox, "INBOX")
	text(&c.HumanWord, "HUMAN")
	if c.Largest <= 0 {
		c.Largest = 25 << 20
	}
	pause(&c.Sweep, 2*time.Second)
	pause(&c.RetryFirst, time.Minute)
	pause(&c.Reconnect, time.Second)
}

// Channel is the mailbox at work. Send, Join, Release and End may be called from any goroutine, Run once.
type Channel struct {
	Config
	mailbox string         // key of our rows in mails_in: the address, so that a moved server does not fetch all again
	footer  string         // the line that tells how to reach a person
	ours    *regexp.Regexp // the footer as it comes back in quotes, wrapped and marked
	parsed  chan struct{}  // wakes the parse loop
	posted  chan struct{}  // wakes the outbox
	held    held
	sending sync.Map // ids of the rows that this process is sending
	panics  atomic.Int64
}

// New checks the settings and builds the channel; Run starts it.
func New(cfg Config) (*Channel, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.defaults()
	c := &Channel{
		Config:  cfg,
		mailbox: strings.ToLower(cfg.Address) + "/" + cfg.Mailbox,
		footer:  "An AI wrote this. For a person, reply with the word " + cfg.HumanWord + ".",
		parsed:  make(chan struct{}, 1),
		posted:  make(chan struct{}, senders),
	}
	words := strings.Fields(c.footer)
	for i := range words {
		words[i] = regexp.QuoteMeta(words[i])
	}
	c.ours = regexp.MustCompile(`(?i)` + strings.Join(words, `[\s>]+`))
	c.held.until = map[int64]time.Time{}
	return c, nil
}

// Run fetches, parses and sends until ctx ends. It comes back only then.
func (c *Channel) Run(ctx context.Context) error {
	cancel, err := c.Bus.Subscribe(OutSubject, func(string, []byte) { c.wakeSenders() })
	if err != nil {
		return fmt.Errorf("listen for mail: %w", err)
	}
	defer cancel()
	var wg sync.WaitGroup
	begin := func(name string, work func(context.Context)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				c.guard(name, func() { work(ctx) })
			}
		}()
	}
	begin("fetch", c.fetchLoop)
	begin("parse", c.parseLoop)
	for range senders {
		begin("send", c.sendLoop)
	}
	begin("watch", c.watchLoop)
	wg.Wait()
	return ctx.Err()
}

// guard keeps a panic in one mail from ending the mailbox.
func (c *Channel) guard(name string, work func()) {
	defer func() {
		if p := recover(); p != nil {
			c.panics.Add(1)
			c.Log.Error("mail: panic", "loop", name, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	work()
}

// Panics counts those that guard has caught.
func (c *Channel) Panics() int64 { return c.panics.Load() }

// Join does nothing: an agent who has accepted a mail just writes.
func (c *Channel) Join(context.Context, *channels.Conversation, int64) error { return nil }

// Release does nothing: a mail has no live part.
func (c *Channel) Release(context.Context, *channels.Conversation) error { return nil }

// End does nothing: there is no line to hang up, and a mail "this has ended" helps nobody.
func (c *Channel) End(context.Context, *channels.Conversation, string) error { return nil }

// own tells whether addr is ours, a +tag included.
func (c *Channel) own(addr string) bool {
	addr, ours := strings.ToLower(addr), strings.ToLower(c.Address)
	if addr == ours || addr == strings.ToLower(c.User) {
		return true
	}
	local, domain, _ := strings.Cut(ours, "@")
	rest, found := strings.CutPrefix(addr, local+"+")
	return found && strings.HasSuffix(rest, "@"+domain)
}

func (c *Channel) node() *string {
	if c.NodeID == "" {
		return nil
	}
	return &c.NodeID
}

// tell sends news of a private line that this package has put into a timeline.
func (c *Channel) tell(m *channels.Message) {
	event := channels.Event{Type: channels.EventMessage, ConversationID: m.ConversationID, Seq: m.Seq, Message: m}
	for subject, v := range map[string]any{
		channels.ConversationSubject(m.ConversationID): event,
		channels.DeskSubject:                           channels.DeskNews{ConversationID: m.ConversationID},
	} {
		if err := c.Bus.Publish(subject, v); err != nil {
			c.Log.Warn("mail: news not sent", "conversation", m.ConversationID, "err", err)
		}
	}
}

// note appends a private line about a mail's delivery. The caller tells it after the commit.
func note(ctx context.Context, tx pgx.Tx, conversationID int64, clientID, words string, data channels.MessageData) (*channels.Message, error) {
	if _, err := channels.Lock(ctx, tx, conversationID); err != nil {
		return nil, fmt.Errorf("lock conversation: %w", err)
	}
	data.Code = channels.CodeDelivery
	m := &channels.Message{ConversationID: conversationID, Author: channels.BySystem, Channel: channels.Email,
		Kind: channels.Happened, Body: words, Private: true, Data: data}
	if clientID != "" {
		m.ClientID = &clientID
	}
	if _, err := channels.Append(ctx, tx, m); err != nil {
		return nil, err
	}
	return m, nil
}

// wait blocks until news, d or the end of ctx; false at the end.
func wait(ctx context.Context, news <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-news:
	case <-t.C:
	}
	return true
}
