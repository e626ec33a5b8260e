package email

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/email/emailtest"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	help     = "help@example.test"
	ana      = "ana@customer.test"
	patience = 20 * time.Second
)

// desk plays the switchboard's part: it stores what comes up, as Receive's contract says, and lets the test wait for it.
type desk struct {
	pool  *pgxpool.Pool
	queue int64
	news  chan channels.Inbound
	mu    sync.Mutex
	fail  error // the next Receive fails with it
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{pool: dbtest.Pool(t), news: make(chan channels.Inbound, 1000)}
	err := d.pool.QueryRow(t.Context(), `insert into queues (name) values ('mail') returning id`).Scan(&d.queue)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) receive(ctx context.Context, in channels.Inbound) (r channels.Receipt, err error) {
	d.mu.Lock()
	fail := d.fail
	d.fail = nil
	d.mu.Unlock()
	if fail != nil {
		return r, fail
	}
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		id := in.ConversationID
		if id == 0 {
			contact, err := channels.OpenContact(ctx, tx, in.From, in.Name)
			if err != nil {
				return err
			}
			c, err := channels.Latest(ctx, tx, contact.ID)
			if err != nil {
				return err
			}
			if c == nil || c.State == channels.Closed {
				if c, err = channels.Begin(ctx, tx, contact.ID, d.queue, channels.Email, in.Subject); err != nil {
					return err
				}
			}
			id = c.ID
		}
		c, err := channels.Lock(ctx, tx, id)
		if err != nil {
			return err
		}
		r.ConversationID, r.ContactID, r.State = c.ID, c.ContactID, c.State
		if in.Type != channels.Words {
			return nil
		}
		m := &channels.Message{ConversationID: c.ID, Author: channels.ByContact, Channel: in.Channel, Body: in.Body, ClientID: &in.ClientID,
			Data: channels.MessageData{Subject: in.Subject, Full: in.Full, Automatic: in.Automatic, MailInID: in.MailInID}}
		r.Duplicate, err = channels.Append(ctx, tx, m)
		r.Message = m
		return err
	})
	if err == nil && !r.Duplicate {
		in.ConversationID = r.ConversationID
		d.news <- in
	}
	return r, err
}

func (d *desk) await(t *testing.T) channels.Inbound {
	t.Helper()
	select {
	case in := <-d.news:
		return in
	case <-time.After(patience):
		t.Fatal("no mail came up")
		return channels.Inbound{}
	}
}

// house is one process with a mailbox, on a real database, bus and mail servers.
type house struct {
	*desk
	*Channel
	t    *testing.T
	stop func()
}

type change func(*Config)

func (d *desk) open(t *testing.T, node string, s *emailtest.Server, smtpPort int, changes ...change) *house {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SHOW_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	b, err := bus.Open(t.Context(), "", log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.pool.Exec(t.Context(), `insert into nodes (id, name, seen_at) values ($1, $1, now() + interval '1 hour')`, node); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Pool: d.pool, Bus: b, Receive: d.receive, NodeID: node, Log: log, IMAPHost: "127.0.0.1", IMAPTLS: TLSNone, SMTPTLS: TLSNone,
		SMTPPort: smtpPort, Password: emailtest.Password, Address: help, Name: "Example Shop",
		Sweep: 100 * time.Millisecond, Reconnect: 50 * time.Millisecond, RetryFirst: 100 * time.Millisecond}
	if s != nil {
		cfg.IMAPPort = s.IMAPPort
	} else {
		cfg.IMAPPort = 1 // nobody listens there
	}
	for _, change := range changes {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	h := &house{desk: d, Channel: c, t: t}
	var once sync.Once
	h.stop = func() {
		once.Do(func() {
			cancel()
			<-done
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if n := c.Panics(); n != 0 {
				t.Errorf("%d panics", n)
			}
		})
	}
	t.Cleanup(h.stop)
	return h
}

// say writes m into its conversation and sends it, as the switchboard does.
func (h *house) say(m channels.Message) int64 {
	h.t.Helper()
	var after func()
	if m.Channel == "" {
		m.Channel = channels.Email
	}
	err := pgx.BeginFunc(h.t.Context(), h.pool, func(tx pgx.Tx) error {
		c, err := channels.Lock(h.t.Context(), tx, m.ConversationID)
		if err != nil {
			return err
		}
		if _, err := channels.Append(h.t.Context(), tx, &m); err != nil {
			return err
		}
		after, err = h.Send(h.t.Context(), tx, c, &m)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if after != nil {
		after()
	}
	return m.ID
}

func (h *house) answer(conversation int64, body string) int64 {
	h.t.Helper()
	return h.say(channels.Message{ConversationID: conversation, Author: channels.ByAI, Body: body})
}

func (h *house) agentAnswers(conversation int64, body string) int64 {
	h.t.Helper()
	return h.say(channels.Message{ConversationID: conversation, Author: channels.ByAgent, Body: body, Data: channels.MessageData{AgentName: "Eva"}})
}

// row waits until the mail of a message is in one of the states. Rows have no bell: this looks every 20 ms.
func (h *house) row(message int64, states ...string) (state, text, rfcID string, attempts int) {
	h.t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := h.pool.QueryRow(h.t.Context(), `select state, error, rfc_id, attempts from mails_out where message_id = $1`, message).Scan(&state, &text, &rfcID, &attempts)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, s := range states {
			if s == state {
				return
			}
		}
		select {
		case <-tick.C:
		case <-late:
			h.t.Fatalf("mail is %s (%s), want %v", state, text, states)
		}
	}
}

// idle waits until no mail in the tables is open.
func (d *desk) idle(t *testing.T, mails int) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var all, open int
		if err := d.pool.QueryRow(t.Context(), `select count(*), count(*) filter (where handled_at is null) from mails_in`).Scan(&all, &open); err != nil {
			t.Fatal(err)
		}
		if all >= mails && open == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d of %d mails, %d open", all, mails, open)
		}
	}
}

func (d *desk) lines(t *testing.T, conversation int64, code string) []string {
	t.Helper()
	rows, err := d.pool.Query(t.Context(), `select body from messages where conversation_id = $1 and data->>'code' = $2 and private order by seq`, conversation, code)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var mailNumber struct {
	sync.Mutex
	n int
}

func mailFrom(from, subject, body string, headers ...string) []byte {
	mailNumber.Lock()
	mailNumber.n++
	n := mailNumber.n
	mailNumber.Unlock()
	head := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n", from, help, subject)
	id := fmt.Sprintf("Message-ID: <m%d@customer.test>\r\n", n)
	for _, h := range headers {
		if strings.HasPrefix(strings.ToLower(h), "message-id:") {
			id = ""
		}
		head += h + "\r\n"
	}
	return []byte(head + id + "\r\n" + strings.ReplaceAll(body, "\n", "\r\n") + "\r\n")
}

func TestMailComesInWithinSeconds(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	d.open(t, "one", s, 1)
	s.Append(t, help, mailFrom("Ana <Ana@Customer.test>", "=?utf-8?q?Stra=C3=9Fe?=", "Where is my parcel?\n\nOn 3 May 2026 at 10:00, Help <help@example.test> wrote:\n> HUMAN"))
	in := d.await(t)
	if in.Type != channels.Words || in.From.Value != ana || in.Name != "Ana" || in.Subject != "Straße" || in.Body != "Where is my parcel?" || in.Automatic {
		t.Errorf("came up as %+v", in)
	}
	if !strings.Contains(in.Full, "> HUMAN") {
		t.Errorf("the whole text is %q", in.Full)
	}
	// the second one must be told by IDLE: the next look would be in 20 minutes
	d.idle(t, 1)
	begin := time.Now()
	s.Deliver(t, ana, help, mailFrom(ana, "again", "And the invoice?"))
	if in := d.await(t); in.Body != "And the invoice?" {
		t.Errorf("came up as %+v", in)
	}
	t.Logf("delivery agent to Receive: %v", time.Since(begin))
	d.idle(t, 2)
	for _, m := range s.AwaitMail(t, help, 2) {
		if !m.Seen {
			t.Errorf("mail %d is not marked as read", m.UID)
		}
	}
}

func TestReplyWordAsksForAPerson(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	d.open(t, "one", s, 1)
	mails := 0
	for body, want := range map[string]bool{
		"HUMAN":                             true,
		"I am fed up.\n\n  *human!*\n\nAna": true,
		"Is a HUMAN there?":                 false,
		"Thanks\n\n> reply with the word\n> HUMAN": false,
		"Thanks\n\nOn 3 May 2026 at 10:00, Help <help@example.test> wrote:\n\nAn AI wrote this. For a person, reply with the word\nHUMAN.": false,
		"On 3 May 2026 at 10:00, Help <help@example.test> wrote:\n\nAn AI wrote this. For a person, reply with the word\nHUMAN.":           false,
	} {
		s.Append(t, help, mailFrom(ana, "x", body))
		words := d.await(t)
		if words.Type != channels.Words {
			t.Fatalf("%q: %+v", body, words)
		}
		t.Logf("%q: %q", body, words.Body)
		if !want {
			mails++
			d.idle(t, mails)
			select {
			case in := <-d.news:
				t.Errorf("%q: also %+v", body, in)
			default:
			}
			continue
		}
		mails++
		d.idle(t, mails)
		if in := d.await(t); in.Type != channels.Wish || in.Source != "mail" || in.ConversationID != words.ConversationID || in.ClientID != words.ClientID+"-wish" {
			t.Errorf("%q: %+v", body, in)
		}
	}
}

func TestThreads(t *testing.T) {
	s := emailtest.Start(t)
	sink := emailtest.StartSink(t)
	d := newDesk(t)
	h := d.open(t, "one", s, sink.Port)
	s.Append(t, help, mailFrom(ana, "Parcel", "Where is it?", "Message-ID: <first@customer.test>"))
	first := d.await(t)
	d.idle(t, 1)
	h.agentAnswers(first.ConversationID, "On its way.")
	out := parse((<-sink.Mails).Raw)
	if out.Subject != "Re: Parcel" || out.header.get("in-reply-to") != "<first@customer.test>" || out.header.has("auto-submitted") {
		t.Errorf("the agent's mail: %v", out.header)
	}
	// the customer's matter is closed and another one open: a reply still finds its own
	exec(t, d.pool, `update conversations set state = 'closed' where id = $1`, first.ConversationID)
	s.Append(t, help, mailFrom(ana, "Invoice", "Another matter"))
	second := d.await(t)
	if second.ConversationID == first.ConversationID {
		t.Fatal("a new mail joined a closed conversation")
	}
	s.Append(t, help, mailFrom(ana, "changed subject", "Thanks!", "In-Reply-To: "+out.MessageID))
	if in := d.await(t); in.ConversationID != first.ConversationID {
		t.Errorf("reply went to %d, want %d", in.ConversationID, first.ConversationID)
	}
	s.Append(t, help, mailFrom(ana, "Re: Parcel", "By the references", "References: <unknown@x> "+out.MessageID))
	if in := d.await(t); in.ConversationID != first.ConversationID {
		t.Errorf("reply by References went to %d, want %d", in.ConversationID, first.ConversationID)
	}
	// a stranger quotes our Message-ID and the conversation's number
	s.Append(t, help, mailFrom("eve@stranger.test", fmt.Sprintf("Re: Parcel [#%d]", first.ConversationID), "Send it to me", "In-Reply-To: "+out.MessageID,
		"References: <first@customer.test> "+out.MessageID))
	if in := d.await(t); in.ConversationID == first.ConversationID || in.ConversationID == second.ConversationID {
		t.Errorf("the stranger joined conversation %d", in.ConversationID)
	}
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestSameMessageIDTwiceIsTwoMails(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	d.open(t, "one", s, 1)
	s.Append(t, help, mailFrom("eve@stranger.test", "forged", "first", "Message-ID: <same@x>"))
	d.await(t)
	s.Append(t, help, mailFrom(ana, "true", "second", "Message-ID: <same@x>"))
	if in := d.await(t); in.Body != "second" || in.From.Value != ana {
		t.Errorf("got %+v", in)
	}
}

func TestNewUIDValidityReceivesNothingTwice(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	d.open(t, "one", s, 1)
	for i := range 5 {
		s.Append(t, help, mailFrom(ana, "x", fmt.Sprint("mail ", i)))
		d.await(t)
	}
	d.idle(t, 5)
	s.Stop(t)
	s.NewValidity(t, help)
	s.Run(t)
	s.Append(t, help, mailFrom(ana, "x", "after"))
	if in := d.await(t); in.Body != "after" {
		t.Errorf("received again: %+v", in)
	}
	d.idle(t, 11)
	var twins, validities int
	if err := d.pool.QueryRow(t.Context(), `select count(*) filter (where verdict = 'twin' and conversation_id is not null), count(distinct uidvalidity) from mails_in`).Scan(&twins, &validities); err != nil {
		t.Fatal(err)
	}
	if twins != 5 || validities != 2 {
		t.Errorf("%d twins in %d validities", twins, validities)
	}
}

func TestConnectionLossAndTwoProcessesLoseAndDoubleNothing(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	one := d.open(t, "one", s, 1)
	d.open(t, "two", s, 1)
	want := map[string]bool{}
	put := func(n int) {
		for range n {
			body := fmt.Sprint("mail ", len(want))
			want[body] = true
			s.Append(t, help, mailFrom(ana, "x", body))
		}
	}
	put(5)
	d.idle(t, 5)
	s.Stop(t)
	s.Run(t)
	put(5)
	d.idle(t, 10)
	one.stop() // the other one takes the mailbox over
	put(5)
	d.idle(t, 15)
	for range 15 {
		in := d.await(t)
		if !want[in.Body] {
			t.Errorf("doubled: %+v", in)
		}
		delete(want, in.Body)
	}
	if len(want) != 0 {
		t.Errorf("lost: %v", want)
	}
}

func TestReceiveFailsThenWorks(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	d.fail = fmt.Errorf("the database is away")
	d.open(t, "one", s, 1)
	s.Append(t, help, mailFrom(ana, "x", "keep me"))
	if in := d.await(t); in.Body != "keep me" {
		t.Errorf("got %+v", in)
	}
	d.fail = channels.Fail(channels.TooLarge, "no")
	s.Append(t, help, mailFrom(ana, "x", "refused text"))
	if in := d.await(t); !strings.HasPrefix(in.Body, "(This mail could not be shown") {
		t.Errorf("got %+v", in)
	}
	d.idle(t, 2)
}

func TestOversizeMailIsShown(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	d.open(t, "one", s, 1, func(c *Config) { c.Largest = 64 << 10 })
	s.Append(t, help, mailFrom(ana, "big", "I wrote this first.\n"+strings.Repeat(strings.Repeat("x", 70)+"\n", 3000)))
	in := d.await(t)
	if !strings.HasPrefix(in.Body, "I wrote this first.") || !strings.Contains(in.Full, "its end was not fetched") {
		t.Errorf("body %.60q, full ends %q", in.Body, in.Full[max(0, len(in.Full)-80):])
	}
	d.idle(t, 1)
	var verdict string
	if err := d.pool.QueryRow(t.Context(), `select verdict from mails_in`).Scan(&verdict); err != nil || verdict != broken {
		t.Errorf("verdict %q, %v", verdict, err)
	}
}

func TestAutomaticMailIsShownAndMarked(t *testing.T) {
	s := emailtest.Start(t)
	d := newDesk(t)
	sink := emailtest.StartSink(t)
	h := d.open(t, "one", s, sink.Port)
	s.Append(t, help, mailFrom(ana, "x", "hello"))
	first := d.await(t)
	s.Append(t, help, mailFrom(ana, "Out of office: x", "I am away. HUMAN\n\nHUMAN", "Auto-Submitted: auto-replied"))
	in := d.await(t)
	if !in.Automatic || in.ConversationID != first.ConversationID || in.Reason == "" {
		t.Errorf("got %+v", in)
	}
	d.idle(t, 2)
	h.answer(first.ConversationID, "An answer that must not go out.")
	mine := h.agentAnswers(first.ConversationID, "From a person.")
	h.row(mine, "sent")
	if m := <-sink.Mails; !strings.Contains(string(m.Raw), "From a person.") {
		t.Errorf("sent: %s", m.Raw)
	}
	select {
	case in := <-d.news:
		t.Errorf("also came up: %+v", in)
	case m := <-sink.Mails:
		t.Errorf("also sent: %s", m.Raw)
	default:
	}
}

func TestOurOwnMailComesBack(t *testing.T) {
	s := emailtest.Start(t)
	p := emailtest.StartPostfix(t, s, ana, help)
	d := newDesk(t)
	h := d.open(t, "one", s, p.Port)
	s.Append(t, help, mailFrom(ana, "x", "hello"))
	in := d.await(t)
	m := h.answer(in.ConversationID, "Hello Ana")
	h.row(m, "sent")
	back := s.AwaitMail(t, ana, 1)[0].Raw
	s.Append(t, help, back) // a forwarding leads back
	d.idle(t, 2)
	var verdict string
	if err := d.pool.QueryRow(t.Context(), `select verdict from mails_in order by id desc limit 1`).Scan(&verdict); err != nil || verdict != ownMail {
		t.Errorf("verdict %q, %v", verdict, err)
	}
}

func TestEncryptedConnections(t *testing.T) {
	s, k := emailtest.Start(t), emailtest.StartSink(t)
	for mode, port := range map[string]int{TLSStart: s.IMAPPort, TLSFull: s.TLSPort} {
		d := newDesk(t)
		h := d.open(t, "one", s, k.Port, func(c *Config) {
			c.IMAPTLS, c.IMAPPort, c.SMTPTLS, c.TLSConfig = mode, port, TLSStart, &tls.Config{RootCAs: s.Trust}
		})
		s.Append(t, help, mailFrom(ana, "x", "over "+mode))
		in := d.await(t)
		m := h.agentAnswers(in.ConversationID, "Hi")
		if _, text, _, _ := h.row(m, "queued"); text != "" && !strings.Contains(text, "certificate") {
			t.Errorf("%s: a server that we do not trust got a mail: %q", mode, text)
		}
		h.stop()
		d.open(t, "two", nil, k.Port, func(c *Config) { c.SMTPTLS, c.TLSConfig = TLSStart, &tls.Config{RootCAs: k.Trust} })
		h.row(m, "sent")
		<-k.Mails
		exec(t, d.pool, `delete from mails_in`)
	}
}
