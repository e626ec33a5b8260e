package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/email/emailtest"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// What brings a person without the plain words "a human, please", and what does not; over the wire of each channel.

// unanswerable are questions that no article answers.
var unanswerable = []string{"Who won the chess world championship in 1972?", "Who painted the portrait of Mona Lisa?"}

// reached waits until somebody rings at the agent, for the reason; the agent says a word.
func (a *agentClient) reached(ctx context.Context, way, source string) {
	a.t.Helper()
	_, conversation := a.serve(ctx, way)
	if got := one[string](a.h, `select source from promises where conversation_id = $1 order by id desc limit 1`, conversation); got != source {
		a.t.Errorf("%s: the promise was opened by %q, want %q", way, got, source)
	}
}

// done hangs up or leaves, and frees the agent.
func (a *agentClient) done(end func()) {
	a.t.Helper()
	conversation := one[int64](a.h, `select id from conversations where state = 'agent'`)
	end()
	a.settle(conversation)
}

func (h *testHouse) caller(ctx context.Context, number string) *voicetest.Call {
	h.t.Helper()
	return voicetest.NewPhone(h.t, number, netip.MustParseAddr("127.0.0.1")).Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
}

// TestWaysInWriting: two failed answers, safety words and "people only", by chat and by mail.
func TestWaysInWriting(t *testing.T) {
	const first, second = "kari@customer.test", "odd@customer.test"
	dovecot := emailtest.Start(t)
	postfix := emailtest.StartPostfix(t, dovecot, shopMail, first, second)
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, append(env, mailSettings(dovecot, postfix, shopMail)...)...)
	a := h.agent()
	ctx := t.Context()
	write := func(from, subject, body string, headers ...string) {
		t.Helper()
		dovecot.Deliver(t, from, shopMail, mailFrom(from, subject, body, headers...))
	}

	v := h.visitor("", 0)
	v.says(unanswerable[0])
	v.hears("that it is not known", by("ai"))
	v.forget()
	v.says(unanswerable[1])
	v.hears("the truth", event(channels.CodeNoAnswer))
	a.reached(ctx, "chat", "unknown")
	a.done(func() { v.conn.Close() })

	v = h.visitor("", 0)
	v.says("there is a gas leak in my tent")
	a.reached(ctx, "chat", "safety")
	a.done(func() { v.conn.Close() })

	v = h.visitor("", 0)
	v.says("I never want to talk to a robot again")
	a.reached(ctx, "chat", "words")
	a.done(func() { v.conn.Close() })
	again := h.visitor(v.token, 1<<30)
	again.says("How long can I send back a tent?")
	a.reached(ctx, "chat", "people_only")
	if n := one[int](h, `select count(*) from messages where author = 'ai' and kind = 'text' and conversation_id = $1`, again.id(h)); n != 0 {
		t.Errorf("%d answers by the model to a customer who wants people only", n)
	}
	a.done(func() { again.conn.Close() })

	write(first, "Chess", unanswerable[0])
	answer := dovecot.AwaitMail(t, first, 1)[0].Raw
	write(first, "Re: Chess", unanswerable[1], "In-Reply-To: "+header(answer, "Message-ID"))
	a.reached(ctx, "mail", "unknown")
	a.done(func() {})

	write(second, "My account", "My account was hacked and I am afraid of fraud!")
	a.reached(ctx, "mail", "safety")
	contact := one[int64](h, `select contact_id from addresses where value = $1`, second)
	a.call("PUT", "/api/contacts/"+itoa(contact)+"/people-only", frame{"people_only": true}, nil)
	a.done(func() {})
	write(second, "Poles", "How long are the poles of the Skarv 2?")
	a.reached(ctx, "mail", "people_only")
	a.done(func() {})
}

// TestWaysByTelephone: two failed answers in words, safety words, and a customer for whom an agent has said "people only".
func TestWaysByTelephone(t *testing.T) {
	t.Parallel()
	_, ears := talkers(t)
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, append(env, ears...)...)
	a := h.agent()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()

	c := h.talker(ctx, "+4930771")
	for i, q := range unanswerable {
		c.Says(strings.ToLower(strings.TrimSuffix(q, "?")))
		if i == 0 {
			h.eventually("the first is not known", `select failed_turns = 1 from conversations`)
		}
	}
	a.reached(ctx, "phone", "unknown")
	contact := one[int64](h, `select contact_id from addresses where value = '+4930771'`)
	a.call("PUT", "/api/contacts/"+itoa(contact)+"/people-only", frame{"people_only": true}, nil)
	a.done(hangUp(ctx, t, c.Call))

	again := h.caller(ctx, "+4930771") // says nothing, presses nothing
	a.reached(ctx, "phone", "people_only")
	a.done(hangUp(ctx, t, again))

	c = h.talker(ctx, "+4930772")
	c.Says("there is a gas leak in my tent")
	a.reached(ctx, "phone", "safety")
	a.done(hangUp(ctx, t, c.Call))
}

// TestWaysWithoutWords: two keys that mean nothing, and silence; no engine hears, no model answers.
func TestWaysWithoutWords(t *testing.T) {
	t.Parallel()
	_, env := ollama(t, llmtest.Refuse)
	h := open(t, env...)
	a := h.agent()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	silent := h.caller(ctx, "+4930773") // its two times of patience run beside the other's
	go silent.RTP.Play(ctx, slices.Repeat([]byte{media.ULawSilence}, 100*voicetest.Rate))
	lost := h.caller(ctx, "+4930774")
	for range 2 {
		lost.RTP.Press(ctx, '7')
	}
	a.reached(ctx, "phone", "no_match")
	a.done(hangUp(ctx, t, lost))
	wait(t, ctx, "silence is a wish", func() bool { return one[bool](h, `select exists (select from promises where source = 'silence')`) })
	a.reached(ctx, "phone", "silence")
	a.done(hangUp(ctx, t, silent))
}

// TestWishSticks: a model that argues and denies, and whatever the customer writes meanwhile, moves nothing; the customer's own
// "no, go on" does. On the telephone key and words are the same wish.
func TestWishSticks(t *testing.T) {
	_, ears := talkers(t)
	model, env := ollama(t, llmtest.Stubborn)
	h := open(t, append(env, ears...)...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	later := []string{"thanks", "ok", "how much is the tent?", "good bye"}
	waits := func(id int64, what string) {
		t.Helper()
		if st := one[string](h, `select state from conversations where id = $1`, id); st != "waiting" {
			t.Errorf("%s: %s", what, st)
		}
		if n := one[int](h, `select count(*) from promises where conversation_id = $1 and closed_at is null`, id); n != 1 {
			t.Errorf("%s: %d open promises", what, n)
		}
	}
	v := h.visitor("", 0)
	v.says(question)
	v.says("let me talk to somebody who works there")
	v.hears("that a person comes", event(channels.CodeWaiting))
	id := v.id(h)
	for n, words := range later {
		v.says(words)
		h.eventually("it is stored", `select exists (select from messages where conversation_id = $1 and author = 'contact' and body = $2)`, id, words)
		waits(id, fmt.Sprintf("%d: %q", n, words))
	}
	if n := one[int](h, `select count(*) from messages where conversation_id = $1 and author = 'ai' and (body ilike '%nobody is available%' or body ilike '%why do you want%' or body ilike '%cannot connect%')`, id); n != 0 {
		t.Errorf("%d sentences argue with the customer", n)
	}
	v.says("I no longer need a person, go on")
	v.state(channels.Bot)
	if by := one[string](h, `select closed_by from promises where conversation_id = $1`, id); by != "contact" {
		t.Errorf("closed by %q", by)
	}

	c := h.talker(ctx, "+4930775")
	c.RTP.Press(ctx, '0')
	h.eventually("the caller is in line", `select exists (select from conversations where channel = 'voice' and state = 'waiting')`)
	call := one[int64](h, `select id from conversations where channel = 'voice'`)
	c.Says("thank you how much is the tent")
	h.eventually("it was heard", `select exists (select from messages where conversation_id = $1 and author = 'contact' and body like '%how much is the tent%')`, call)
	waits(call, "a question in line")
	c.RTP.Press(ctx, '0')
	waits(call, "0 once more")
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	h.eventually("who hangs up has left", `select closed_by = 'contact' from promises where conversation_id = $1`, call)
	if len(model.Requests("/api/chat")) == 0 {
		t.Error("the model was never asked: nothing was shown")
	}
}

// TestOthersWordsAreNoWish: a wish in a quoted, forwarded or earlier mail, in the article that the model quotes, or in the
// agent's signature is nobody's wish of now.
func TestOthersWordsAreNoWish(t *testing.T) {
	dovecot := emailtest.Start(t)
	var people []string
	for n := range 6 {
		people = append(people, fmt.Sprintf("p%d@customer.test", n))
	}
	postfix := emailtest.StartPostfix(t, dovecot, append(people, shopMail)...)
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, append(env, mailSettings(dovecot, postfix, shopMail)...)...)
	const wish = "I want to talk to a human being now!"
	for n, body := range []string{
		"How long can I send back a tent?\n\nOn Fri, 20 Nov 2026 at 10:00, Ida <ida@other.test> wrote:\n> " + wish + "\n> Ida",
		"> " + wish + "\n\nThat is what Ida wrote. How long can I send back a tent?",
		"How long can I send back a tent?\n\n-----Original Message-----\nFrom: Ida <ida@other.test>\nSent: Friday, November 20, 2026 10:00 AM\nTo: Ole <ole@customer.test>\nSubject: tent\n\n" + wish,
		"---------- Forwarded message ---------\nFrom: Ida <ida@other.test>\nDate: Fri, 20 Nov 2026 at 10:00\nSubject: tent\nTo: <ole@customer.test>\n\n" + wish + "\nHUMAN",
		"How long can I send back a tent?\n\nBegin forwarded message:\n\nFrom: Ida <ida@other.test>\nSubject: tent\nDate: 20 November 2026 at 10:00:00 CET\nTo: ole@customer.test\n\n" + wish,
		"How long can I send back a tent?\n\n> An AI wrote this. For a person, reply with the word HUMAN.\n> HUMAN",
	} {
		dovecot.Deliver(t, people[n], shopMail, mailFrom(people[n], "A tent", body))
		h.eventually("it was read", `select exists (select from conversations c join addresses a using (contact_id) where a.value = $1 and customer_seq > 0)`, people[n])
		if n == 3 { // without a word of their own: whether it is answered does not matter here
			continue
		}
		h.eventually("it was answered", `select answered_seq >= customer_seq from conversations c join addresses a using (contact_id) where a.value = $1`, people[n])
		if st := one[string](h, `select state from conversations c join addresses a using (contact_id) where a.value = $1`, people[n]); st != "bot" {
			t.Errorf("mail %d, somebody else's wish: %s", n, st)
		}
	}
	if got := one[string](h, `select coalesce(string_agg(source || ': ' || a.value, ', '), '') from promises p join addresses a using (contact_id)`); got != "" {
		t.Errorf("promises: %s", got)
	}
	// the same sentence of their own, below somebody else's, is one
	dovecot.Deliver(t, people[0], shopMail, mailFrom(people[0], "Once more", "> Ida: how are you?\n\nFine. "+wish))
	h.eventually("a person is owed", `select count(*) = 1 from promises where source = 'words' and opened_at > now() - $1::interval`, time.Minute)
}
