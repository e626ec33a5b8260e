package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"patchbay/channels/email/emailtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
	"patchbay/server/synthetic"
)

// door is the test customer's way in by a channel.
func (h *testHouse) door(channel string) synthetic.Door {
	h.t.Helper()
	for _, d := range h.house.testCustomer().Doors {
		if d.Channel == channel {
			return d
		}
	}
	h.t.Fatalf("the test customer has no %s", channel)
	return synthetic.Door{}
}

// visit lets the test customer come in by a door; the result is what its log would say.
func (h *testHouse) visit(ctx context.Context, channel string) <-chan error {
	d, ended := h.door(channel), make(chan error, 1)
	go func() {
		waited, err := d.Visit(ctx, patience)
		if err == nil && (waited <= 0 || waited > patience) {
			err = fmt.Errorf("waited %v", waited)
		}
		ended <- err
	}()
	return ended
}

// provedApart: the visit stands on the proof's page and in its files, among the synthetic ones and nowhere else.
func (h *testHouse) provedApart(a *agentClient, channel string) {
	h.t.Helper()
	var proof frame
	a.call("GET", "/api/proof?days=1", nil, &proof)
	rows, _ := proof["synthetic"].([]any)
	found := false
	for _, r := range rows {
		row := frame(r.(map[string]any))
		word, _ := row.sub("first_word")["p95"].(float64)
		told, isTold := row.sub("acknowledged")["p95"].(float64)
		found = found || row.str("channel") == channel && row.num("kept") == 1 && word > 0 && isTold && told < 5
	}
	if !found {
		h.t.Errorf("no synthetic %s in %v", channel, proof["synthetic"])
	}
	if real, _ := proof["rows"].([]any); len(real) != 0 {
		h.t.Errorf("a test stands among the customers: %v", real)
	}
	month := time.Now().UTC().Format("2006-01")
	if _, csv := a.try("GET", "/api/proof/"+month+"/csv", nil); !strings.Contains(string(csv), "\nsynthetic,") || strings.Contains(string(csv), "\nreal,") {
		h.t.Errorf("CSV:\n%s", csv)
	}
	status, signed := a.try("GET", "/api/proof/"+month+"/signed", nil)
	var key frame
	a.call("GET", "/api/proof/key", nil, &key)
	var out bytes.Buffer
	if err := verify("-", key.str("public_key"), bytes.NewReader(signed), &out); status != http.StatusOK || err != nil {
		h.t.Errorf("signed: %d, %v", status, err)
	}
	changed := strings.Replace(string(signed), `"kept": 1`, `"kept": 2`, 1)
	if err := verify("-", key.str("public_key"), strings.NewReader(changed), &out); err == nil || changed == string(signed) {
		h.t.Error("a report with another figure verifies")
	}
}

// TestTestCustomerCalls: the house's own test customer calls by SIP from its own address, which nobody had to allow, presses
// 0, hears sound, and leaves after a person's first word; its time is in the proof, apart. Nobody there: it says so.
func TestTestCustomerCalls(t *testing.T) {
	_, env := ollama(t, llmtest.Refuse) // no model is needed
	h := open(t, append(env, "PATCHBAY_SYNTHETIC_EVERY_MINUTES=1440", "PATCHBAY_SIP_TRUNKS=192.0.2.1", "PATCHBAY_SIP_PHONES=192.0.2.1")...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	if _, err := h.door("voice").Visit(ctx, time.Second); err == nil || !strings.Contains(err.Error(), "nobody came") {
		t.Errorf("with nobody there: %v", err)
	}
	h.eventually("it has hung up, and is owed nothing", `select not exists (select from promises where closed_at is null) and (select state from calls) = 'ended'`)
	if _, err := h.pool.Exec(ctx, `delete from promises`); err != nil { // the proof below is of the next one
		t.Fatal(err)
	}
	a := h.agent()
	visited := h.visit(ctx, "voice")
	o := a.offer()
	if o.str("contact_name") != synthetic.Name || o.str("channel") != "voice" {
		t.Errorf("offer %v", o)
	}
	tab := a.picksUp(ctx, o)
	go tab.Play(ctx, voicetest.ULaw(voiceOf(agentSeed)))
	select {
	case err := <-visited:
		if err != nil {
			t.Fatal(err)
		}
	case <-ctx.Done():
		t.Fatal("it does not notice that a person speaks")
	}
	h.eventually("it has hung up", `select not exists (select from calls where state <> 'ended')`)
	h.provedApart(a, "voice")
	if n := one[int](h, `select count(*) from people_first`); n != 0 {
		t.Error("a test has spent the error budget")
	}
}

// TestTestCustomerWrites: a mail by the house's SMTP server into its own mailbox, read as any customer's; the person's answer
// comes back to the mailbox and begins nothing.
func TestTestCustomerWrites(t *testing.T) {
	dovecot := emailtest.Start(t)
	postfix := emailtest.StartPostfix(t, dovecot, shopMail)
	_, env := ollama(t, llmtest.Refuse)
	h := open(t, append(append(env, "PATCHBAY_SYNTHETIC_EVERY_MINUTES=1440"), mailSettings(dovecot, postfix, shopMail)...)...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	a := h.agent()
	visited := h.visit(ctx, "email")
	o := a.offer()
	if o.str("contact_name") != synthetic.Name || o.str("channel") != "email" {
		t.Errorf("offer %v", o)
	}
	a.accept(o)
	a.replies(o.num("conversation_id"), "Ana here, all is well.")
	select {
	case err := <-visited:
		if err != nil {
			t.Fatal(err)
		}
	case <-ctx.Done():
		t.Fatal("it does not notice that a person has answered")
	}
	h.eventually("the notice and the answer came back and were known", `select count(*) = 2 from mails_in where verdict = 'own'`)
	if n := one[int](h, `select count(*) from conversations`); n != 1 {
		t.Errorf("%d conversations, want one", n)
	}
	h.provedApart(a, "email")
	// whoever else writes from such an address is our own address, and no test customer
	dovecot.Deliver(t, oleMail, shopMail, mailFrom("help+test-guess@nordlicht.test", "I am the test", "A human please."))
	h.eventually("it is seen", `select exists (select from mails_in where verdict = 'automatic')`)
	if n := one[int](h, `select count(*) from promises`); n != 1 {
		t.Errorf("%d promises: a stranger passed for the test customer", n)
	}
}

// TestNotMeasured: where the test customer cannot come, the page says so and why.
func TestNotMeasured(t *testing.T) {
	_, env := ollama(t, llmtest.Refuse)
	h := open(t, append(env, "PATCHBAY_SYNTHETIC_EVERY_MINUTES=1440", "PATCHBAY_SIP_LISTEN=[::1]:0")...)
	a := h.agent()
	var proof frame
	a.call("GET", "/api/proof?days=1", nil, &proof)
	if got := fmt.Sprint(proof["unmeasured"]); !strings.Contains(got, "channel:voice") || !strings.Contains(got, "channel:email") || strings.Contains(got, "channel:chat") {
		t.Errorf("unmeasured: %v", got)
	}
	if n := len(h.house.testCustomer().Doors); n != 1 {
		t.Errorf("%d doors", n)
	}
	visited := h.visit(t.Context(), "chat")
	o := a.offer()
	a.accept(o)
	a.replies(o.num("conversation_id"), "Hello.")
	if err := <-visited; err != nil {
		t.Error(errors.Unwrap(err))
	}
	h.provedApart(a, "chat")
}
