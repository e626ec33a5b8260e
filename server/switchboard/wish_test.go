package switchboard

import (
	"context"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/llm"
	"patchbay/llm/llmtest"
)

// source says what the conversation's open promise was opened by.
func (f *flow) source(id int64) (source string) {
	f.t.Helper()
	f.ok(f.Pool.QueryRow(f.t.Context(), `select source from promises where conversation_id = $1 and closed_at is null`, id).Scan(&source))
	return source
}

// TestPeopleOnlyIsRememberedOnAllChannels: said once, and from then on this customer goes straight to people, until they take
// it back themselves.
func TestPeopleOnlyIsRememberedOnAllChannels(t *testing.T) {
	f := newFlow(t)
	visitor := channels.Address{Kind: channels.Visitor, Value: "only"}
	first := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Chat, From: visitor, Body: "I never want to talk to a robot again"})
	f.state(first.ConversationID, channels.Waiting)
	f.receive(channels.Inbound{Type: channels.Left, Channel: channels.Chat, ConversationID: first.ConversationID})
	if _, err := f.Pool.Exec(t.Context(), `insert into addresses (contact_id, kind, value) values ($1, 'phone', '+4790001234'), ($1, 'email', 'only@example.com')`, first.ContactID); err != nil {
		t.Fatal(err)
	}
	closed := func(id int64) {
		if _, err := f.Pool.Exec(t.Context(), `update conversations set state = 'closed', agent_id = null where id = $1`, id); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Pool.Exec(t.Context(), `update promises set closed_at = now(), closed_by = 'contact' where conversation_id = $1 and closed_at is null`, id); err != nil {
			t.Fatal(err)
		}
	}
	closed(first.ConversationID)
	mail := f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: "only@example.com"},
		Subject: "Poles", Body: "How long are the tent poles?"})
	f.state(mail.ConversationID, channels.Waiting)
	if got := f.source(mail.ConversationID); got != sourcePeopleOnly {
		t.Errorf("the mail's promise was opened by %q", got)
	}
	closed(mail.ConversationID)
	call := f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: channels.Address{Kind: channels.Phone, Value: "+4790001234"}, SIPCallID: "only-1", Talks: true})
	f.state(call.ConversationID, channels.Waiting)
	f.receive(channels.Inbound{Type: channels.NoWish, Channel: channels.Voice, ConversationID: call.ConversationID})
	f.state(call.ConversationID, channels.Bot)
	f.says(call.ConversationID, "how long are the poles?")
	f.state(call.ConversationID, channels.Bot)
}

// TestPeopleOnlyByAnAgent: the agent's mark takes effect at once, stays when the customer goes on alone, and is in the timeline.
func TestPeopleOnlyByAnAgent(t *testing.T) {
	f := newFlow(t)
	id := f.visitor("hello there")
	var contact int64
	f.ok(f.Pool.QueryRow(t.Context(), `select contact_id from conversations where id = $1`, id).Scan(&contact))
	f.ok(f.PeopleOnly(t.Context(), f.ana, contact, true))
	f.state(id, channels.Waiting)
	f.ok(f.PeopleOnly(t.Context(), f.ana, contact, true))
	f.receive(channels.Inbound{Type: channels.NoWish, Channel: channels.Chat, ConversationID: id})
	f.says(id, "how much is the tent?")
	f.state(id, channels.Waiting)
	f.receive(channels.Inbound{Type: channels.NoWish, Channel: channels.Chat, ConversationID: id})
	f.ok(f.PeopleOnly(t.Context(), f.bo, contact, false))
	f.says(id, "and the boots?")
	f.state(id, channels.Bot)
	var lines int
	f.ok(f.Pool.QueryRow(t.Context(), `select count(*) from messages where conversation_id = $1 and data->>'code' = 'people_only'`, id).Scan(&lines))
	if lines != 2 {
		t.Errorf("%d lines about the mark, want 2", lines)
	}
	f.refused(f.PeopleOnly(t.Context(), f.ana, 987654, true), channels.NotFound)
}

// TestStubbornModelKeepsNobody: a model that argues and denies moves nothing; only the customer's own words end the wish.
func TestStubbornModelKeepsNobody(t *testing.T) {
	f := newFlow(t)
	srv := llmtest.New(t, llmtest.Stubborn)
	articles, err := llm.DemoArticles()
	f.ok(err)
	f.ok(llm.Load(t.Context(), f.Pool, articles))
	r, err := llm.New(llm.Config{Pool: f.Pool, Hosts: []llm.Host{{URL: srv.URL, Model: srv.Model}}})
	f.ok(err)
	f.Responder = func() *llm.Responder { return r }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		f.ok(<-done)
	}()
	id := f.visitor("How much does the Skarv 2 tent weigh?")
	tick, limit := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for answered := false; !answered; {
		select {
		case <-tick.C:
			f.ok(f.Pool.QueryRow(ctx, `select customer_seq <= answered_seq or state <> 'bot' from conversations where id = $1`, id).Scan(&answered))
		case <-limit:
			t.Fatal("not answered")
		}
	}
	f.says(id, "let me talk to somebody who works there")
	for _, words := range []string{"thanks", "ok", "how much is the tent?", "that was solved, or was it?", "good bye"} {
		f.says(id, words)
		f.state(id, channels.Waiting)
	}
	var argued int
	f.ok(f.Pool.QueryRow(ctx, `select count(*) from messages where conversation_id = $1 and author = 'ai' and (body ilike '%nobody is available%' or body ilike '%why do you want%' or body ilike '%cannot connect%')`, id).Scan(&argued))
	if argued != 0 || f.promises(id, "") != 1 {
		t.Errorf("%d arguing sentences shown, %d open promises", argued, f.promises(id, ""))
	}
	f.says(id, "I no longer need a person, go on")
	f.state(id, channels.Bot)
}

// TestSafetyWordsReachPeople in several languages, with the source named.
func TestSafetyWordsReachPeople(t *testing.T) {
	f := newFlow(t)
	for _, words := range []string{"there is a gas leak in my tent", "ich will mich umbringen", "mon compte a été piraté, c'est une fraude", "los voy a demandar", "我想自杀"} {
		id := f.visitor(words)
		f.state(id, channels.Waiting)
		if got := f.source(id); got != "safety" {
			t.Errorf("%q: the promise was opened by %q", words, got)
		}
	}
}
