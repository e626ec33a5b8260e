package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"patchbay/channels/email/emailtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

const (
	shopMail = "help@nordlicht.test"
	oleMail  = "ole@customer.test"
)

func mailFrom(from, subject, body string, headers ...string) []byte {
	h := append([]string{"From: Ole Tannberg <" + from + ">", "To: " + shopMail, "Subject: " + subject, "Message-ID: <" + clientID() + "@customer.test>",
		"Date: Sun, 22 Nov 2026 10:00:00 +0100", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8"}, headers...)
	return []byte(strings.Join(h, "\r\n") + "\r\n\r\n" + strings.ReplaceAll(body, "\n", "\r\n") + "\r\n")
}

func header(raw []byte, name string) string {
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	head = strings.ReplaceAll(strings.ReplaceAll(head, "\r\n ", " "), "\r\n\t", " ")
	for line := range strings.SplitSeq(head, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// mailSettings let a house read and write one mailbox.
func mailSettings(dovecot *emailtest.Server, postfix *emailtest.Postfix, mailbox string) []string {
	return []string{
		"PATCHBAY_MAIL_IMAP_HOST=127.0.0.1", fmt.Sprintf("PATCHBAY_MAIL_IMAP_PORT=%d", dovecot.IMAPPort), "PATCHBAY_MAIL_IMAP_TLS=none",
		"PATCHBAY_MAIL_SMTP_HOST=127.0.0.1", fmt.Sprintf("PATCHBAY_MAIL_SMTP_PORT=%d", postfix.Port), "PATCHBAY_MAIL_SMTP_TLS=none",
		"PATCHBAY_MAIL_USER=" + mailbox, "PATCHBAY_MAIL_PASSWORD=" + emailtest.Password, "PATCHBAY_MAIL_ADDRESS=" + mailbox}
}

// TestMailStreet: a customer writes to a real dovecot; the responder answers through a real postfix; the reply word
// brings a person; the agent's words arrive in the same thread; an automatic reply is seen and not answered.
func TestMailStreet(t *testing.T) {
	dovecot := emailtest.Start(t)
	postfix := emailtest.StartPostfix(t, dovecot, shopMail, oleMail)
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, append(env, mailSettings(dovecot, postfix, shopMail)...)...)
	a := h.agent()

	dovecot.Deliver(t, oleMail, shopMail, mailFrom(oleMail, "Sending back a tent", "Hello,\nhow long can I send back a tent?\n\nOle"))
	answer := dovecot.AwaitMail(t, oleMail, 1)[0].Raw
	if !strings.Contains(string(answer), "60 days") || !strings.Contains(string(answer), "HUMAN") {
		t.Errorf("the answer does not say it, or not how to reach a person:\n%s", answer)
	}
	if header(answer, "Auto-Submitted") != "auto-replied" || header(answer, "In-Reply-To") == "" || header(answer, "Subject") != "Re: Sending back a tent" {
		t.Errorf("headers of the answer:\n%s", answer)
	}

	dovecot.Deliver(t, oleMail, shopMail, mailFrom(oleMail, "Re: Sending back a tent", "HUMAN\n\n> An AI wrote this. For a person, reply with the word HUMAN.",
		"In-Reply-To: "+header(answer, "Message-ID"), "References: "+header(answer, "Message-ID")))
	o := a.offer()
	if o.str("channel") != "email" || o.str("contact_name") != "Ole Tannberg" {
		t.Errorf("offer %v", o)
	}
	a.accept(o)
	a.replies(o.num("conversation_id"), "Hello Ole, Ana here. I send you a label.")
	h.eventually("the agent's mail is sent", `select exists (select from mails_out o join messages m on m.id = o.message_id where m.author = 'agent' and o.state = 'sent')`)
	var ana []byte
	for n := 2; ana == nil && n < 6; n++ {
		for _, m := range dovecot.AwaitMail(t, oleMail, n) {
			if strings.Contains(string(m.Raw), "Ana here") {
				ana = m.Raw
			}
		}
	}
	if !strings.Contains(header(ana, "References"), header(answer, "Message-ID")) || header(ana, "Auto-Submitted") != "" {
		t.Errorf("the agent's mail is not in the thread, or calls itself automatic:\n%s", ana)
	}

	before := one[int](h, `select count(*) from mails_out`)
	dovecot.Deliver(t, "", shopMail, mailFrom(oleMail, "Out of office: Re: Sending back a tent", "I am on holiday. I want to talk to a human.",
		"Auto-Submitted: auto-replied", "In-Reply-To: "+header(ana, "Message-ID")))
	h.eventually("the automatic mail is seen", `select exists (select from mails_in where verdict = 'automatic' and handled_at is not null)`)
	if n := one[int](h, `select count(*) from mails_out`); n != before {
		t.Errorf("an automatic mail was answered: %d mails went out, before %d", n, before)
	}
	if n := one[int](h, `select count(*) from conversations`); n != 1 {
		t.Errorf("%d conversations, want one thread", n)
	}
}

// TestMailCallBack: "please call me", in the subject alone, is answered with how; the reply's number is read back, and the agent who
// accepts is connected with the customer's telephone.
func TestMailCallBack(t *testing.T) {
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222"})
	dovecot := emailtest.Start(t)
	postfix := emailtest.StartPostfix(t, dovecot, shopMail, oleMail)
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, append(env, mailSettings(dovecot, postfix, shopMail)...)...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	h.admin().trunk("Fjordtel", customer.Addr(), "+4940")

	dovecot.Deliver(t, oleMail, shopMail, mailFrom(oleMail, "Please call me", "Hello,\nthe poles of my tent are too long.\n\nOle"))
	how := dovecot.AwaitMail(t, oleMail, 1)[0].Raw
	if text := string(how); !strings.Contains(text, "getting a person") || !strings.Contains(text, "answer this mail") || !strings.Contains(text, "telephone number") {
		t.Errorf("it does not say how to be called:\n%s", how)
	}
	dovecot.Deliver(t, oleMail, shopMail, mailFrom(oleMail, "Re: Please call me", "+49 40 222\n\n> We are getting a person.",
		"In-Reply-To: "+header(how, "Message-ID"), "References: "+header(how, "Message-ID")))
	set := dovecot.AwaitMail(t, oleMail, 2)[1].Raw
	if text := string(set); !strings.Contains(text, "+4940222") || !strings.Contains(text, "when it is your turn") {
		t.Errorf("it does not read the number back:\n%s", set)
	}
	if n := one[int](h, `select count(*) from promises where number = '+4940222' and closed_at is null`); n != 1 {
		t.Fatalf("%d promises of a call", n)
	}

	a := h.agent()
	o := a.offer()
	if o.str("call_back") != "+4940222" || o.str("contact_name") != "Ole Tannberg" {
		t.Fatalf("offer %v", o)
	}
	a.accept(o)
	tab := a.connects(ctx)
	customer.Wait(ctx, "CALL_INCOMING")
	customer.Command(ctx, "accept", "")
	h.eventually("they are joined", `select exists (select from calls where direction = 'out' and state = 'bridged')`)
	go tab.Play(ctx, voicetest.ULaw(voiceOf(agentSeed)))
	h.eventually("the agent's word keeps the promise", `select exists (select from promises where number = '+4940222' and closed_by = 'agent')`)
	customer.Hangup(ctx)
}
