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

// mailHouse is a house with a mailbox on a real dovecot and postfix.
func mailHouse(t *testing.T, env []string) (*testHouse, *emailtest.Server) {
	t.Helper()
	dovecot := emailtest.Start(t)
	postfix := emailtest.StartPostfix(t, dovecot, shopMail, oleMail)
	return open(t, append(env,
		"PATCHBAY_MAIL_IMAP_HOST=127.0.0.1", fmt.Sprintf("PATCHBAY_MAIL_IMAP_PORT=%d", dovecot.IMAPPort), "PATCHBAY_MAIL_IMAP_TLS=none",
		"PATCHBAY_MAIL_SMTP_HOST=127.0.0.1", fmt.Sprintf("PATCHBAY_MAIL_SMTP_PORT=%d", postfix.Port), "PATCHBAY_MAIL_SMTP_TLS=none",
		"PATCHBAY_MAIL_USER="+shopMail, "PATCHBAY_MAIL_PASSWORD="+emailtest.Password, "PATCHBAY_MAIL_ADDRESS="+shopMail)...), dovecot
}

// TestBrowserMessageStreet: outside hours a visitor asks for a person, hears when people are back and leaves a message. The
// address is checked, the place stays, also for who comes back; the agent's words arrive as a mail, and the reply to it comes
// into the conversation.
func TestBrowserMessageStreet(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h, dovecot := mailHouse(t, env)
	if _, err := h.pool.Exec(t.Context(), `update queues set closed_until = now() + interval '30 seconds'`); err != nil {
		t.Fatal(err)
	}
	h.openShop(b, "ole", frame{"person": "ole"})
	b.visitor("ole", "write", "My Primula stove leaks at the valve. I want to talk to a person")
	b.visitor("ole", "inLine")
	b.do("see", frame{"page": "ole", "text": "Nobody is here right now. A person answers"})
	b.visitor("ole", "leave", "ole@customer", "It is order 4711.")
	b.do("see", frame{"page": "ole", "role": "alert", "text": "A mail address looks like name@example.org."})
	b.look("ole", "message-refused")
	b.visitor("ole", "leave", oleMail, "It is order 4711.")
	b.do("see", frame{"page": "ole", "text": "We have your message. A person answers it by e-mail to " + oleMail})
	b.do("see", frame{"page": "ole", "text": "by e-mail to o•••@customer.test, by"})
	b.look("ole", "message-left")
	if n := one[int](h, `select count(*) from mails_out`); n != 0 {
		t.Errorf("%d mails to an address that anybody may have typed", n)
	}

	b.do("reload", frame{"page": "ole"}) // comes back
	b.visitor("ole", "openChat")
	b.do("see", frame{"page": "ole", "text": "by e-mail to o•••@customer.test, by"})
	before := one[string](h, `select waiting_since::text from conversations`)

	h.openDesk(b, "ana", nil)
	h.eventually("the queue has opened", `select bool_and(closed_until < clock_timestamp()) from queues`)
	b.desk("ana", "acceptOffer")
	b.do("see", frame{"page": "ana", "text": "left a message, to be answered by e-mail"})
	b.desk("ana", "sendReply", "Hello Ole, Ana here. A new valve is on its way.")
	mail := dovecot.AwaitMail(t, oleMail, 1)[0].Raw
	if body := string(mail); !strings.Contains(body, "A new valve is on its way.") || !strings.Contains(body, "> It is order 4711.") || header(mail, "Auto-Submitted") != "" {
		t.Errorf("the answer:\n%s", mail)
	}
	if kept := one[string](h, `select w.since::text from waits w`); kept != before {
		t.Errorf("waited since %s, asked at %s: the place was lost", kept, before)
	}
	if n := one[int](h, `select count(*) from promises where closed_by = 'agent'`); n != 1 {
		t.Errorf("%d promises kept by the answer", n)
	}

	dovecot.Deliver(t, oleMail, shopMail, mailFrom(oleMail, "Re: your message", "Thank you, Ana!", "In-Reply-To: "+header(mail, "Message-ID")))
	b.desk("ana", "waitForMessage", "Thank you, Ana!", frame{"author": "contact"})
	b.look("ana", "message-answered")
	if n := one[int](h, `select count(*) from conversations`); n != 1 {
		t.Errorf("%d conversations, want one thread", n)
	}
}

// TestBrowserVoicemail: a caller's message rings at the desk when somebody is there; its waveform plays, and the list shows
// what it is.
func TestBrowserVoicemail(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	call := h.speaksMessage(ctx, voiceOf(callerSeed)[:6*voicetest.Rate])
	h.eventually("six seconds are spoken", `select exists (select from recordings where kind = 'voicemail' and started_at < clock_timestamp() - interval '7 seconds')`)
	if err := call.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.eventually("the message is there", `select exists (select from messages where kind = 'voicemail')`)
	h.openDesk(b, "ana", nil)
	b.desk("ana", "waitForOffer", "Voicemail to answer")
	b.look("ana", "voicemail-offer")
	b.desk("ana", "acceptOffer")
	b.do("see", frame{"page": "ana", "text": "Not written down: there was nothing to write it down with."})
	b.do("click", frame{"page": "ana", "role": "button", "name": "Play the recording"})
	b.do("until", frame{"page": "ana", "js": `document.querySelector('.voicemail audio').currentTime > 2`})
	b.look("ana", "voicemail-played")
}
