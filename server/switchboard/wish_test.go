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

// TestSubjectWish: a mail's subject alone may ask for a person. A name on the envelope does not, nor do words that are older
// than the mail.
func TestSubjectWish(t *testing.T) {
	const body = "My order is 4471, the blue tent."
	for _, c := range []struct {
		subject, body string
		want          string // the rule; "": none
	}{
		{"Please call me", body, "call"}, {"URGENT: call me", body, "call"}, {"Callback request", body, "call"}, {"Bitte um Rückruf", body, "call"},
		{"Merci de me rappeler", body, "call"}, {"Llámenme por favor", body, "call"}, {"I want to speak to a human", body, "words"},
		{"Human please", body, "words"}, {"No robots, I need a human!!", body, "alone"}, {"Ich möchte mit einem Menschen sprechen", body, "words"},
		{"Quero falar com um atendente", body, "words"}, {"人と話したい", body, "words"}, {"Хочу поговорить с человеком", body, "words"},
		{"somebody hacked my account, this is fraud", body, "safety"}, {"[Shop] I want to speak to a human", body, "words"},
		{"Human", "", "alone"}, {"Customer service", "", "alone"},
		{"Customer service", body, ""}, {"For the manager", body, ""}, {"An den Kundenservice", body, ""}, {"Service client", body, ""}, {"Atención al cliente", body, ""},
		{"Tent poles", body, ""}, {"My call with your agent", body, ""}, {"Mein Gespräch mit Frau Brekke", body, ""}, {"Insurance agent", body, ""}, {"Missed call", body, ""},
	} {
		if w := subjectWish(c.subject, c.body == ""); w.Yes != (c.want != "") || w.Yes && w.Rule != c.want {
			t.Errorf("%q: %+v, want %q", c.subject, w, c.want)
		}
	}
	for subject, answered := range map[string]bool{
		"Re: Please call me": true, "AW: Bitte um Rückruf": true, "RE[2]: call me": true, "SV: call me": true, "Fwd: I want a human": true, "WG: Rückruf bitte": true,
		"[list] Re: call me": true, "TR : rappelez-moi": true, "回复：转人工": true, "Re : call me": true, "Antw: call me": true, "re(3): call me": true,
		"Please call me": false, "Reach me by phone: call me": false, "URGENT: call me": false, "Real person": false, "[Order 12] call me": false, "Rückruf: bitte": false,
	} {
		if got := answeredSubject.MatchString(subject); got != answered {
			t.Errorf("%q answers: %v", subject, got)
		}
	}
}

// TestSubjectWishInItsThread: the first mail's subject is read, its copy over later mails is not; a subject that the customer
// changes in the thread is their own again. Automatic mails ask for nobody.
func TestSubjectWishInItsThread(t *testing.T) {
	f := newFlow(t)
	mail := func(from, subject, body string, conversation int64, automatic bool) channels.Receipt {
		t.Helper()
		return f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Email, From: channels.Address{Kind: channels.Mail, Value: from},
			ConversationID: conversation, Subject: subject, Body: body, Automatic: automatic})
	}
	first := mail("ole@example.com", "Please call me", "My order is 4471.", 0, false)
	f.state(first.ConversationID, channels.Waiting)
	f.receive(channels.Inbound{Type: channels.NoWish, Channel: channels.Email, ConversationID: first.ConversationID})
	for _, again := range []string{"Re: Please call me", "please call me", "AW: Please call me", "Fwd: I want a human"} {
		mail("ole@example.com", again, "And how long are the poles?", first.ConversationID, false)
		f.state(first.ConversationID, channels.Bot)
	}
	mail("ole@example.com", "I want to speak to a human", "The poles are too long.", first.ConversationID, false)
	f.state(first.ConversationID, channels.Waiting)
	for i, subject := range []string{"Re: Please call me", "Fwd: I want to speak to a human", "Customer service", "Poles"} {
		r := mail(string(rune('a'+i))+"@example.com", subject, "How long are the poles?", 0, false)
		f.state(r.ConversationID, channels.Bot)
	}
	r := mail("news@example.com", "Please call me", "A newsletter.", 0, true)
	f.state(r.ConversationID, channels.Closed)
	r = mail("mia@example.com", "Please call me", "No, I no longer need a person, go on", 0, false)
	f.state(r.ConversationID, channels.Bot)
}
