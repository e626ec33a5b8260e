package email

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"patchbay/channels"
	"patchbay/channels/email/emailtest"
)

// conversation opens one by a stored mail of the customer's, without an IMAP server.
func (d *desk) conversation(t *testing.T, h *house, from string, raw []byte) int64 {
	t.Helper()
	var uid int64
	if err := d.pool.QueryRow(t.Context(), `select count(*) + 1 from mails_in`).Scan(&uid); err != nil {
		t.Fatal(err)
	}
	if err := h.store(t.Context(), 1, imap.UID(uid), raw); err != nil {
		t.Fatal(err)
	}
	signal(h.parsed)
	in := d.await(t)
	if in.From.Value != from {
		t.Fatalf("mail of %s came up as %+v", from, in)
	}
	d.idle(t, int(uid))
	return in.ConversationID
}

func receiveMail(t *testing.T, k *emailtest.Sink) (emailtest.Received, letter) {
	t.Helper()
	select {
	case m := <-k.Mails:
		return m, parse(m.Raw)
	case <-time.After(patience):
		t.Fatal("no mail went out")
		return emailtest.Received{}, letter{}
	}
}

func none(t *testing.T, k *emailtest.Sink) {
	t.Helper()
	select {
	case m := <-k.Mails:
		t.Errorf("also went out: %s", m.Raw)
	default:
	}
}

func TestAnswerSaysItIsAnAIAndThreads(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	c := d.conversation(t, h, ana, mailFrom(ana, "=?utf-8?q?Stra=C3=9Fe?=", "Where?", "Message-ID: <q@customer.test>", "References: <older@customer.test>"))
	h.answer(c, "Here.\nÜbrigens: danke.\n.\nA dot alone.")
	got, l := receiveMail(t, k)
	if got.From != help || got.To != ana {
		t.Errorf("envelope %s -> %s", got.From, got.To)
	}
	for name, want := range map[string]string{"auto-submitted": "auto-replied", "in-reply-to": "<q@customer.test>", "references": "<older@customer.test> <q@customer.test>"} {
		if v := l.header.get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if l.Subject != "Re: Straße" || l.FromName != "Example Shop" || l.From != help {
		t.Errorf("%q from %q %q", l.Subject, l.FromName, l.From)
	}
	for _, words := range []string{"You are writing with an AI. To reach a person, reply with the word HUMAN.", "Übrigens: danke.\n.\nA dot alone.", "-- \n" + h.footer} {
		if !strings.Contains(strings.ReplaceAll(l.Whole, "\r", ""), words) {
			t.Errorf("%q is missing in %q", words, l.Whole)
		}
	}
	if bare := strings.ReplaceAll(string(got.Raw), "\r\n", ""); strings.ContainsAny(bare, "\r\n") {
		t.Error("a lone CR or LF went out")
	}
	h.answer(c, "Second.")
	if _, l = receiveMail(t, k); strings.Contains(l.Whole, "You are writing with an AI") || !strings.Contains(l.Whole, h.footer) {
		t.Errorf("second answer: %q", l.Whole)
	}
}

func TestOnlyTheWaitingNoticeIsMailedOnce(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello"))
	event := func(code, body string) {
		h.say(channels.Message{ConversationID: c, Author: channels.BySystem, Kind: channels.Happened, Body: body, Data: channels.MessageData{Code: code}})
	}
	event(channels.CodeHello, "hello")
	event(channels.CodeModelDown, "We are getting a person.")
	event(channels.CodeWaiting, "We are getting a person again.")
	event(channels.CodeThrough, "through")
	event(channels.CodeEnded, "ended")
	h.say(channels.Message{ConversationID: c, Author: channels.ByAgent, Kind: channels.Note, Private: true, Body: "a note"})
	h.say(channels.Message{ConversationID: c, Author: channels.ByAI, Channel: channels.Chat, Body: "in the chat"})
	last := h.agentAnswers(c, "A person's words")
	h.row(last, "sent")
	got, l := receiveMail(t, k)
	if got.From != "" || l.header.get("auto-submitted") != "auto-replied" || !strings.Contains(l.Whole, "We are getting a person.") {
		t.Errorf("notice from %q: %s", got.From, got.Raw)
	}
	if got, _ := receiveMail(t, k); !strings.Contains(string(got.Raw), "A person's words") {
		t.Errorf("also went out: %s", got.Raw)
	}
	none(t, k)
}

func TestNoHeaderCanBeInjected(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port, func(c *Config) { c.Name = "Shop\r\nBcc: eve@stranger.test\r\n\r\nowned" })
	c := d.conversation(t, h, ana, mailFrom(ana, "=?utf-8?q?a=0D=0ABcc:_eve@stranger.test=0D=0A=0D=0Aowned?=", "hello",
		"Message-ID: <a@b>", "References: <x\r@y> <ok@z>"))
	h.say(channels.Message{ConversationID: c, Author: channels.ByAgent, Body: "text\r.\r\nMAIL FROM:<eve@stranger.test>\n.\n\r.\n",
		Data: channels.MessageData{AgentName: "Eva\r\nX-Bad: 1"}})
	got, l := receiveMail(t, k)
	for _, name := range []string{"bcc", "x-bad", "owned"} {
		if l.header.has(name) {
			t.Errorf("%s was injected: %s", name, got.Raw)
		}
	}
	if strings.ContainsAny(strings.ReplaceAll(string(got.Raw), "\r\n", ""), "\r\n") {
		t.Error("a lone CR or LF went out")
	}
	if !strings.Contains(l.Whole, "MAIL FROM:<eve@stranger.test>") {
		t.Errorf("the text was cut at a dot: %q", l.Whole)
	}
	none(t, k)
	raw, err := h.build(&mailOut{RFCID: "<a\r\nX-Bad: 1@b>", Recipient: ana, Subject: "s\nX-Bad: 1", InReplyTo: "<a@b>\r\nX-Bad: 1", Refs: "<a@b>\nX-Bad: 1", Body: "x"})
	if err != nil || readHeader(raw).has("x-bad") {
		t.Errorf("%v: %s", err, raw)
	}
	if _, err := h.build(&mailOut{RFCID: "<a@b>", Recipient: "a@b>\r\nRCPT TO:<eve@stranger.test", Body: "x"}); err == nil {
		t.Error("a recipient with a line end was taken")
	}
}

func TestBadMoodsOfTheServer(t *testing.T) {
	for name, mood := range map[string]emailtest.Mood{
		"421 at MAIL":       {AtMail: emailtest.Refuse(421, "try later")},
		"451 at RCPT":       {AtRcpt: emailtest.Refuse(451, "greylisted")},
		"452 after the dot": {AtData: emailtest.Refuse(452, "disk full")},
	} {
		t.Run(name, func(t *testing.T) {
			k, d := emailtest.StartSink(t), newDesk(t)
			h := d.open(t, "one", nil, k.Port)
			c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello"))
			k.Moods <- mood
			k.Moods <- mood
			m := h.agentAnswers(c, "Hi")
			if _, _, _, attempts := h.row(m, "sent"); attempts != 3 {
				t.Errorf("%d attempts", attempts)
			}
		})
	}
	for name, mood := range map[string]emailtest.Mood{
		"550 at RCPT":       {AtRcpt: emailtest.Refuse(550, "no such user here")},
		"554 after the dot": {AtData: emailtest.Refuse(554, "no such user here")},
	} {
		t.Run(name, func(t *testing.T) {
			k, d := emailtest.StartSink(t), newDesk(t)
			h := d.open(t, "one", nil, k.Port)
			c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello"))
			k.Moods <- mood
			m := h.agentAnswers(c, "Hi")
			if _, text, _, attempts := h.row(m, "failed"); attempts != 1 || !strings.Contains(text, "no such user here") {
				t.Errorf("%d attempts, %q", attempts, text)
			}
			if lines := d.lines(t, c, channels.CodeDelivery); len(lines) != 1 || !strings.Contains(lines[0], "no such user here") {
				t.Errorf("the desk reads %q", lines)
			}
		})
	}
	t.Run("4xx for two days", func(t *testing.T) {
		k, d := emailtest.StartSink(t), newDesk(t)
		h := d.open(t, "one", nil, k.Port)
		c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello"))
		for range 50 {
			k.Moods <- emailtest.Mood{AtRcpt: emailtest.Refuse(450, "not now")}
		}
		m := h.agentAnswers(c, "Hi")
		exec(t, d.pool, `update mails_out set created_at = now() - interval '49 hours' where message_id = $1`, m)
		h.row(m, "failed")
	})
}

func TestNoAnswerToTheDotIsSentOnceMoreWithTheSameID(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello"))
	k.Moods <- emailtest.Mood{DropAfterData: true}
	m := h.agentAnswers(c, "Hi")
	_, first := receiveMail(t, k)
	_, second := receiveMail(t, k)
	if first.MessageID != second.MessageID || first.MessageID == "" {
		t.Errorf("ids %s and %s", first.MessageID, second.MessageID)
	}
	h.row(m, "sent")
	// twice without an answer: never a third time, and the desk is told
	k.Moods <- emailtest.Mood{DropAfterData: true}
	k.Moods <- emailtest.Mood{DropAfterData: true}
	m = h.agentAnswers(c, "Hi again")
	receiveMail(t, k)
	receiveMail(t, k)
	for lines := []string{}; len(lines) == 0; lines = d.lines(t, c, channels.CodeDelivery) {
		h.row(m, "unsure")
		if t.Context().Err() != nil {
			t.Fatal("the desk was not told")
		}
	}
	last := h.agentAnswers(c, "And on it goes")
	h.row(last, "sent")
	receiveMail(t, k)
	none(t, k)
}

func TestDeadNodesMailIsSentOnceMore(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello"))
	exec(t, d.pool, `insert into nodes (id, name, seen_at) values ('dead', 'dead', now() - interval '1 minute'), ('alive', 'alive', now() + interval '1 hour')`)
	h.stop() // so that nobody takes the rows before they look as a crash leaves them
	m := h.agentAnswers(c, "was on its way")
	exec(t, d.pool, `update mails_out set state = 'sending', owner_id = 'dead', attempts = 1 where message_id = $1`, m)
	other := d.conversationRow(t, "bob@customer.test")
	busy := h.agentAnswers(other, "another node is at it")
	exec(t, d.pool, `update mails_out set state = 'sending', owner_id = 'alive', attempts = 1 where message_id = $1`, busy)
	again := d.open(t, "two", nil, k.Port)
	if _, text, id, _ := again.row(m, "sent"); !strings.HasPrefix(text, unsure) {
		t.Errorf("%s: %q", id, text)
	}
	if got, l := receiveMail(t, k); !strings.Contains(l.Whole, "was on its way") {
		t.Errorf("sent: %s", got.Raw)
	}
	again.row(busy, "sending")
	none(t, k)
	// a row that this very process claimed and lost sight of
	exec(t, d.pool, `update mails_out set owner_id = 'two', due_at = now() - interval '2 minutes' where message_id = $1`, busy)
	again.row(busy, "sent")
	receiveMail(t, k)
}

func (d *desk) conversationRow(t *testing.T, address string) int64 {
	t.Helper()
	r, err := d.receive(t.Context(), channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: address}, Body: "x", ClientID: address})
	if err != nil {
		t.Fatal(err)
	}
	<-d.news
	return r.ConversationID
}

func TestServerAwayThenBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hangups := make(chan struct{}, 100)
	done := make(chan struct{})
	go func() { // takes calls and hangs up
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			hangups <- struct{}{}
		}
	}()
	d := newDesk(t)
	h := d.open(t, "one", nil, l.Addr().(*net.TCPAddr).Port)
	c := d.conversationRow(t, ana)
	m := h.agentAnswers(c, "Hi")
	<-hangups
	<-hangups
	h.row(m, "queued", "sending")
	h.stop()
	_ = l.Close()
	<-done
	k := emailtest.StartSink(t)
	d.open(t, "two", nil, k.Port)
	h.row(m, "sent")
}

func TestStopFinishesTheMailOnItsWay(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	c := d.conversationRow(t, ana)
	hold := make(chan struct{})
	k.Moods <- emailtest.Mood{Hold: hold}
	m := h.agentAnswers(c, "Hi")
	receiveMail(t, k)
	go func() { close(hold) }()
	h.stop()
	if state, _, _, _ := h.row(m, "sent", "queued", "sending", "unsure"); state != "sent" {
		t.Errorf("the mail is %s", state)
	}
}

func TestTwoProcessesSendNothingTwice(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	one, two := d.open(t, "one", nil, k.Port), d.open(t, "two", nil, k.Port)
	want := map[string]bool{}
	for i := range 20 {
		c := d.conversationRow(t, fmt.Sprintf("c%d@customer.test", i))
		body := fmt.Sprintf("mail %d.", i)
		want[body] = true
		[]*house{one, two}[i%2].agentAnswers(c, body)
	}
	for range 20 {
		_, l := receiveMail(t, k)
		line, _, _ := strings.Cut(l.Whole, "\n")
		if !want[strings.TrimSpace(line)] {
			t.Errorf("twice: %q", line)
		}
		delete(want, strings.TrimSpace(line))
	}
	one.stop()
	two.stop()
	none(t, k)
}

// Two responders without any header that would tell them apart from people: the loop ends by counting.
func TestLoopStopTrustsNoHeader(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello"))
	out := 0
	for range 6 {
		m := h.answer(c, "Thank you for your mail.")
		state, text, _, _ := h.row(m, "sent", "failed")
		if state == "failed" {
			if !strings.Contains(text, "loop") {
				t.Errorf("failed by %q", text)
			}
			break
		}
		out++
		receiveMail(t, k)
		d.conversation(t, h, ana, mailFrom(ana, "Re: x", "Thank you for YOUR mail."))
	}
	if out != automaticPerHour {
		t.Errorf("%d automatic mails went out", out)
	}
	if in := d.await(t); in.Type != channels.Wish || in.ConversationID != c || in.Source != "turns" {
		t.Errorf("no person was asked for: %+v", in)
	}
	if lines := d.lines(t, c, channels.CodeDelivery); len(lines) != 1 || !strings.Contains(lines[0], "loop") {
		t.Errorf("the desk reads %q", lines)
	}
	// a person's mail goes out all the same, and only five automatic ones in a row ever
	h.row(h.agentAnswers(c, "A person."), "sent")
	receiveMail(t, k)
	for i := range automaticInARow + 1 {
		exec(t, d.pool, `update mails_out set created_at = created_at - interval '2 hours'`)
		want := "sent"
		if i == automaticInARow {
			want = "failed"
		}
		h.row(h.answer(c, "Again."), want)
	}
}

func TestBounceMarksTheMail(t *testing.T) {
	s := emailtest.Start(t)
	p := emailtest.StartPostfix(t, s, help)
	d := newDesk(t)
	h := d.open(t, "one", s, p.Port)
	c := d.conversation(t, h, ana, mailFrom(ana, "x", "hello")) // postfix does not know ana
	m := h.agentAnswers(c, "Hi")
	if _, text, _, _ := h.row(m, "failed"); !strings.Contains(text, "5.1.1") {
		t.Errorf("reason %q", text)
	}
	d.idle(t, 2)
	if lines := d.lines(t, c, channels.CodeDelivery); len(lines) != 1 || !strings.Contains(lines[0], "unknown user") {
		t.Errorf("the desk reads %q", lines)
	}
	select {
	case in := <-d.news:
		t.Errorf("the report came up as %+v", in)
	default:
	}
}

func TestSendAndStoreSurviveAnyText(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	raw := append(bytes.Repeat([]byte{0xff, 0x00}, 50), []byte("\r\n\r\nbody \x00 with NUL")...)
	c := d.conversation(t, h, nobody, append([]byte("Subject: \xff\x00\r\nFrom: \x00\r\n"), raw...))
	m := h.agentAnswers(c, "To nobody")
	if _, text, _, _ := h.row(m, "failed"); text != reasonNoRecipient {
		t.Errorf("%q", text)
	}
}

func TestCheckNamesEveryMistake(t *testing.T) {
	_, err := New(Config{Address: "no address", IMAPTLS: "maybe", SMTPPort: 70000, HumanWord: "two words"})
	for _, field := range []string{"imap_host", "address", "imap_tls", "smtp_port", "human_word"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not in %v", field, err)
		}
	}
	if ctx := context.Background(); (&Channel{}).End(ctx, nil, "") != nil || (&Channel{}).Join(ctx, nil, 1) != nil || (&Channel{}).Release(ctx, nil) != nil {
		t.Error("a mail has no live part")
	}
}

// TestAnswerToWhatWasLeftOnThePage: the first mail opens a thread and says what it answers; the reply from that address comes
// into the conversation, and goes on from there; a stranger who quotes it begins their own.
func TestAnswerToWhatWasLeftOnThePage(t *testing.T) {
	k, d := emailtest.StartSink(t), newDesk(t)
	h := d.open(t, "one", nil, k.Port)
	r, err := d.receive(t.Context(), channels.Inbound{Type: channels.Words, Channel: channels.Chat, From: channels.Address{Kind: channels.Visitor, Value: "v1"}, Body: "My stove leaks.\n.", ClientID: "left"})
	if err != nil {
		t.Fatal(err)
	}
	<-d.news
	exec(t, d.pool, `update conversations set left_message = 'email', reply_to = $2, channel = 'email' where id = $1`, r.ConversationID, ana)
	h.agentAnswers(r.ConversationID, "We send you a valve.")
	got, l := receiveMail(t, k)
	text := strings.ReplaceAll(l.Whole, "\r", "")
	if got.To != ana || l.Subject != "Re: your message" || l.header.get("auto-submitted") != "" || !strings.Contains(text, "We send you a valve.") ||
		!strings.Contains(text, "UTC:\n> My stove leaks.\n> .") {
		t.Errorf("to %s: %s", got.To, got.Raw)
	}
	reply := mailFrom(ana, "Re: your message", "Thank you!", "Message-ID: <thanks@customer.test>", "In-Reply-To: "+l.MessageID)
	if id := d.conversation(t, h, ana, reply); id != r.ConversationID {
		t.Errorf("the reply began conversation %d", id)
	}
	h.agentAnswers(r.ConversationID, "It is on its way.")
	if got, l = receiveMail(t, k); got.To != ana || l.header.get("in-reply-to") != "<thanks@customer.test>" || strings.Contains(l.Whole, "stove") {
		t.Errorf("second answer: %s", got.Raw)
	}
	const eve = "eve@elsewhere.test"
	if id := d.conversation(t, h, eve, mailFrom(eve, "Re: your message", "Let me in", "In-Reply-To: "+l.MessageID)); id == r.ConversationID {
		t.Error("a stranger is in the conversation")
	}
}
