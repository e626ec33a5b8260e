package voice

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// TestReplacedCaller: at the customer's end somebody else takes the call over; the agent goes on with them, in the same call.
func TestReplacedCaller(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c, a := h.bridgedCall(ctx, voicetest.Invite{})
	go c.RTP.Play(ctx, tone(callerTone))
	go a.Play(ctx, tone(agentTone))
	hearsOnly(t, ctx, "agent", tabEar(ctx, a), callerTone)

	next := voicetest.NewPhone(t, "bob", loopback).Dial(ctx, h.voice.Addr(), number, voicetest.Invite{Headers: []string{c.Replaces()}})
	waitChan(t, ctx, c.Ended(), "BYE to the first phone")
	go next.RTP.Play(ctx, tone(colleagueTone))
	hearsOnly(t, ctx, "agent", tabEar(ctx, a), colleagueTone)
	hearsOnly(t, ctx, "second phone", phoneEar(t, ctx, next), agentTone)
	if h.voice.Calls() != 1 {
		t.Errorf("%d calls, want one", h.voice.Calls())
	}
	if err := next.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	if in := h.expect(ctx, channels.CallEndedIn); in.CallID != 1 || in.Result != completed {
		t.Errorf("ended: %+v", in)
	}
}

// TestReplacedCallee: the same with a customer whom we have called, and real telephones: the customer asks a colleague on a
// second line and joins the two of us. That colleague's INVITE names a dialog that we began, and calls no number of ours.
func TestReplacedCallee(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	customer := voicetest.StartPJSUA(t, voicetest.PJSUAConfig{User: "+4940222", Says: hum(callerTone)})
	o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{customer.Addr().String()}})
	theirs := voicetest.StartPJSUA(t, voicetest.PJSUAConfig{User: "boss", Says: hum(colleagueTone), Proxy: o.voice.Addr()})
	call, refused := o.ask(ctx, "+4940222")
	if refused != nil {
		t.Fatal(refused)
	}
	b := o.connect(ctx, call, 1)
	customer.Incoming(ctx)
	customer.Do("answer", 1, nil)
	o.moved(ctx, channels.CallBridged)
	go b.Play(ctx, tone(agentTone))
	hearsOnly(t, ctx, "agent", tabEar(ctx, b), callerTone)

	customer.Do("hold", 1, nil)
	customer.Do("dial", 0, map[string]any{"to": "sip:boss@" + theirs.Addr().String()})
	theirs.Incoming(ctx)
	theirs.Do("answer", 1, nil)
	customer.State(ctx, 2, "CONFIRMED")
	customer.Do("replace", 2, map[string]any{"other": 1})
	hearsOnly(t, ctx, "agent", tabEar(ctx, b), colleagueTone)
	customer.State(ctx, 1, "DISCONNECTED")
	if n := o.voice.Calls(); n != 1 {
		t.Errorf("%d calls, want one", n)
	}
	theirs.Do("hangup", 2, nil)
	if in := o.ended(ctx, call); in.Result != completed {
		t.Errorf("ended: %+v", in)
	}
}

// TestReferOut: a trunk that takes REFER connects caller and number without us; when it cannot, we do.
func TestReferOut(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	at, invites := answering(t, 486)
	o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{at}})
	change := func(sql string) {
		if _, err := o.voice.cfg.Pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
		if err := o.bus.Publish(channels.TrunkSubject, nil); err != nil {
			t.Fatal(err)
		}
	}
	change(`update trunks set may_refer = true, sources = '{127.0.0.1}'`)
	change(`insert into numbers (number, trunk_id) values ('200', 1)`)
	until(t, ctx, "trunk read again", func() bool {
		_, known := o.voice.trunks.Number("200")
		return known && o.first().MayRefer
	})
	pass := func() *voicetest.Call {
		c := o.phone().Dial(ctx, o.voice.Addr(), "200", voicetest.Invite{})
		call := o.expect(ctx, channels.CallStarted)
		waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
		c.RTP.Press(ctx, '0')
		o.expect(ctx, channels.Wish)
		_ = call
		o.join(ctx, o.lastCall, 7)
		o.must(ctx, channels.CallSignal{Type: "transfer", CallID: o.lastCall, AgentID: 7, Target: &channels.CallTarget{Kind: "number", Number: "+4940222"}})
		for req := range c.Requests() {
			if to := req.GetHeader("Refer-To"); to != nil {
				if !strings.Contains(to.Value(), "4940222") {
					t.Errorf("Refer-To: %s", to.Value())
				}
				return c
			}
		}
		return c
	}
	notify := func(c *voicetest.Call, status string) {
		code, err := c.Do(ctx, "NOTIFY", []string{"Event: refer", "Subscription-State: terminated;reason=noresource", "Content-Type: message/sipfrag"}, "SIP/2.0 "+status+"\r\n")
		if err != nil || code != 200 {
			t.Errorf("NOTIFY: %d %v", code, err)
		}
	}
	c := pass()
	notify(c, "200 OK")
	o.expect(ctx, channels.HandedOut)
	waitChan(t, ctx, c.Ended(), "BYE: they have each other")
	if in := o.expect(ctx, channels.CallEndedIn); in.Result != completed || in.Reason != "passed on to +4940222" {
		t.Errorf("ended: %+v", in)
	}
	if len(invites) != 0 {
		t.Error("we called though the trunk did")
	}

	c = pass()
	news := o.agentFrames(7)
	notify(c, "503 Service Unavailable")
	waitChan(t, ctx, invites, "our own INVITE")
	frame(t, ctx, news, "busy", func(n callNews) bool { return n.Third != nil && n.Third.Reason == "busy" })
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestRedirected: a 3xx is followed where the trunk's row lets it, and asked of the dial policy like any other number.
func TestRedirected(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	at, invites := answering(t, 302, 486)
	o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{at}})
	if err := pgx.BeginFunc(ctx, o.voice.cfg.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update trunks set may_redirect = true`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := o.bus.Publish(channels.TrunkSubject, nil); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "trunk read again", func() bool { return o.first().MayRedirect })
	call, refused := o.ask(ctx, "+4940222")
	if refused != nil {
		t.Fatal(refused)
	}
	b := voicetest.NewBrowser(t)
	b.Accept(o.must(ctx, channels.CallSignal{Type: "connect", CallID: call, AgentID: 1, SDP: b.Offer(ctx)}).SDP)
	var called []string
	for range 2 {
		called = append(called, waitChan(t, ctx, invites, "INVITE").Recipient.User)
	}
	if called[0] != "+4940222" || called[1] != "+4940999" {
		t.Errorf("called %v", called)
	}
	if in := o.ended(ctx, call); in.Reason != "busy" {
		t.Errorf("ended: %+v", in)
	}
}
