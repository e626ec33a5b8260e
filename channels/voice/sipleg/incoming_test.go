package sipleg

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// call has the peer call the office, which answers at once; the 200 is returned, acknowledged.
func (o *office) call(ctx context.Context, p *peer, hear chan telling, callID string, headers ...string) (*Leg, *sip.Response) {
	o.t.Helper()
	p.invite(callID, p.sdp(1, "sendrecv"), headers...)
	leg := o.called(ctx)
	leg.Answer()
	res := p.response(ctx, "INVITE")
	if res.StatusCode != 200 {
		o.t.Fatalf("%s", res.StartLine())
	}
	p.again(res, "ACK", 1, "")
	next[Acked](o.t, ctx, hear)
	return leg, res
}

// TestReliableIn: an 18x is repeated until its PRACK; the 200 waits for the one that had our answer; wrong PRACKs.
func TestReliableIn(t *testing.T) {
	o, hear := newOffice(t, func(s *setup) { s.FirstRSeq = 1 })
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	p.invite("rel1", p.sdp(1, "sendrecv"), "Supported: 100rel")
	leg := o.called(ctx)
	leg.Early()
	leg.Answer()
	first := p.response(ctx, "INVITE")
	if first.StatusCode != 183 || headerValue(first, "rseq") != "1" || !lists(first, "100rel", "require") || len(first.Body()) == 0 {
		t.Fatalf("reliable answer:\n%s", first)
	}
	if again := p.response(ctx, "INVITE"); again.StatusCode != 183 || headerValue(again, "rseq") != "1" {
		t.Errorf("repetition:\n%s", again)
	}
	for _, c := range []struct {
		rack string
		want int
	}{{"RAck: 2 1 INVITE", 481}, {"RAck: 1 2 INVITE", 481}, {"RAck: 1 1 UPDATE", 481}, {"RAck: x", 400}, {"X: y", 400}, {"RAck: 1 1 INVITE", 200}, {"RAck: 1 1 INVITE", 481}} {
		p.again(first, "PRACK", p.seq(), "", c.rack)
		for {
			select {
			case m := <-p.got:
				r, ok := m.(*sip.Response)
				if ok && r.CSeq().MethodName == "INVITE" && r.StatusCode == 200 {
					if c.want != 200 && c.rack != "RAck: 1 1 INVITE" {
						t.Errorf("200 before the PRACK")
					}
					if len(r.Body()) != 0 {
						t.Errorf("the answer is said twice")
					}
				}
				if !ok || r.CSeq().MethodName != "PRACK" {
					continue
				}
				if r.StatusCode != c.want {
					t.Errorf("%s: %d, want %d", c.rack, r.StatusCode, c.want)
				}
			case <-ctx.Done():
				t.Fatal("no answer to PRACK")
			}
			break
		}
	}
	p.again(first, "ACK", 1, "")
	next[Acked](t, ctx, hear)
	leg.Hangup("")
	p.reply(p.request(ctx, "BYE"), 200, "", "")
	next[Ended](t, ctx, hear)

	// A caller without an offer: ours comes in the 183, the answer in the PRACK.
	p.invite("rel2", "", "Require: 100rel")
	leg = o.called(ctx)
	leg.Early()
	first = p.response(ctx, "INVITE")
	p.again(first, "PRACK", p.seq(), p.sdp(1, "sendrecv"), "RAck: 1 1 INVITE")
	if r := p.response(ctx, "PRACK"); r.StatusCode != 200 {
		t.Errorf("PRACK with an answer: %d", r.StatusCode)
	}
	leg.Answer()
	if r := p.response(ctx, "INVITE"); r.StatusCode != 200 || len(r.Body()) != 0 {
		t.Errorf("200:\n%s", r)
	}
	p.again(first, "ACK", 1, "")
	next[Acked](t, ctx, hear)
	p.again(first, "BYE", p.seq(), "")
	next[Ended](t, ctx, hear)

	// Nobody acknowledges: 504.
	p.invite("rel3", p.sdp(1, "sendrecv"), "Supported: 100rel")
	o.called(ctx).Ring()
	for {
		if r := p.response(ctx, "INVITE"); r.StatusCode != 180 {
			if r.StatusCode != 504 {
				t.Errorf("%d, want 504", r.StatusCode)
			}
			break
		}
	}
	if e := next[Ended](t, ctx, hear); e.Code != 504 {
		t.Errorf("%+v", e)
	}
}

// seq counts the peer's CSeqs.
func (p *peer) seq() int { p.cseq++; return p.cseq }

// TestSessionTimers: both roles, by UPDATE and by re-INVITE; a silent refresher is hung up on.
func TestSessionTimers(t *testing.T) {
	o, hear := newOffice(t, func(s *setup) { s.Times.MinSession = time.Second })
	ctx := testCtx(t)
	p := newPeer(t, o.addr())

	// They have no timer, a proxy asked: we refresh by re-INVITE, word by word.
	leg, res := o.call(ctx, p, hear, "st1", "Session-Expires: 2")
	if v := headerValue(res, "session-expires"); v != "2;refresher=uas" {
		t.Errorf("Session-Expires: %s", v)
	}
	inv := p.request(ctx, "INVITE")
	if string(inv.Body()) != string(res.Body()) || headerValue(inv, "session-expires") != "2;refresher=uac" {
		t.Errorf("refresh:\n%s\nwant the description\n%s", inv, res.Body())
	}
	p.reply(inv, 200, "", p.sdp(1, "sendrecv"))
	p.request(ctx, "ACK")
	p.reply(p.request(ctx, "INVITE"), 481, "", "") // the second one: they know nothing any more
	p.request(ctx, "ACK")
	if e := next[Ended](t, ctx, hear); e.By != ByFault {
		t.Errorf("%+v", e)
	}
	p.reply(p.request(ctx, "BYE"), 481, "", "")
	_ = leg

	// They take UPDATE and want us to refresh.
	_, _ = o.call(ctx, p, hear, "st2", "Session-Expires: 2;refresher=uas", "Supported: timer", "Allow: INVITE, UPDATE")
	upd := p.request(ctx, "UPDATE")
	if len(upd.Body()) != 0 || headerValue(upd, "session-expires") != "2;refresher=uac" {
		t.Errorf("refresh:\n%s", upd)
	}
	p.reply(upd, 200, "", "", "Session-Expires: 2;refresher=uac")
	p.reply(p.request(ctx, "UPDATE"), 405, "", "") // changed their mind
	inv = p.request(ctx, "INVITE")
	p.reply(inv, 491, "", "")
	p.request(ctx, "ACK")
	p.reply(p.request(ctx, "INVITE"), 408, "", "")
	next[Ended](t, ctx, hear)
	p.reply(p.request(ctx, "BYE"), 481, "", "")

	// They take UPDATE, but not without a description.
	_, _ = o.call(ctx, p, hear, "st6", "Session-Expires: 2;refresher=uas", "Supported: timer", "Allow: INVITE, UPDATE")
	p.reply(p.request(ctx, "UPDATE"), 400, "", "")
	p.reply(p.request(ctx, "INVITE"), 481, "", "")
	p.request(ctx, "ACK")
	next[Ended](t, ctx, hear)
	p.reply(p.request(ctx, "BYE"), 481, "", "")

	// They refresh, once, then no more.
	begin := time.Now()
	_, res = o.call(ctx, p, hear, "st3", "Session-Expires: 1;refresher=uac", "Supported: timer")
	if v := headerValue(res, "session-expires"); v != "1;refresher=uac" || !lists(res, "timer", "require") {
		t.Errorf("Session-Expires: %s", v)
	}
	<-time.After(400 * time.Millisecond)
	p.again(res, "UPDATE", 2, "", "Session-Expires: 1;refresher=uac", "Supported: timer")
	if r := p.response(ctx, "UPDATE"); r.StatusCode != 200 || headerValue(r, "session-expires") != "1;refresher=uac" {
		t.Errorf("UPDATE:\n%s", r)
	}
	p.request(ctx, "BYE")
	if d := time.Since(begin); d < time.Second {
		t.Errorf("hung up after %s", d)
	}
	next[Ended](t, ctx, hear)

	p.invite("st4", p.sdp(1, "sendrecv"), "Session-Expires: 1", "Supported: timer", "Min-SE: 1")
	leg = o.called(ctx)
	leg.Refuse(486, "")
	p.response(ctx, "INVITE")
	next[Ended](t, ctx, hear)
	o2, _ := newOffice(t, nil)
	p2 := newPeer(t, o2.addr())
	p2.invite("st5", p2.sdp(1, "sendrecv"), "Session-Expires: 60", "Supported: timer")
	if r := p2.response(ctx, "INVITE"); r.StatusCode != 422 || headerValue(r, "min-se") != "90" {
		t.Errorf("%s", r)
	}
}

// TestGlare: both offer at once; we refuse theirs, wait when they refuse ours, and say ours again.
func TestGlare(t *testing.T) {
	o, hear := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, res := o.call(ctx, p, hear, "glare")
	leg.Refresh()
	ours := p.request(ctx, "INVITE")
	p.again(res, "INVITE", 2, p.sdp(2, "sendonly"))
	if r := p.response(ctx, "INVITE"); r.StatusCode != 491 {
		t.Errorf("theirs: %d", r.StatusCode)
	}
	p.again(res, "UPDATE", 3, p.sdp(2, "sendonly"))
	if r := p.response(ctx, "UPDATE"); r.StatusCode != 491 {
		t.Errorf("theirs by UPDATE: %d", r.StatusCode)
	}
	p.reply(ours, 491, "", "")
	p.request(ctx, "ACK")
	ours = p.request(ctx, "INVITE")
	p.reply(ours, 200, "", p.sdp(2, "sendonly"))
	p.request(ctx, "ACK")
	if e := next[Held](t, ctx, hear); !e.Held {
		t.Error("hold by an answer is not told")
	}
	// Two INVITEs of theirs, the first without its ACK.
	p.again(res, "INVITE", 4, p.sdp(3, "sendrecv"))
	p.response(ctx, "INVITE")
	p.again(res, "INVITE", 5, p.sdp(4, "inactive"))
	p.again(res, "INVITE", 6, p.sdp(5, "sendrecv"))
	for {
		if r := p.response(ctx, "INVITE"); r.StatusCode == 500 { // they may arrive in any order
			break
		}
	}
	leg.Hangup("")
	p.reply(p.request(ctx, "BYE"), 200, "", "")
}

// TestReInviteWithoutContact: within a dialog a Contact is a SHOULD (RFC 3261 section 12.2.1.1); without it the target stays.
func TestReInviteWithoutContact(t *testing.T) {
	o, hear := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, res := o.call(ctx, p, hear, "bare")
	body := p.sdp(2, "sendonly")
	p.send(strings.Join([]string{"INVITE " + res.Contact().Address.String() + " SIP/2.0", "Via: SIP/2.0/UDP " + p.addr().String() + ";branch=" + sip.GenerateBranch() + ";rport",
		"Max-Forwards: 70", "From: " + res.From().Value(), "To: " + res.To().Value(), "Call-ID: " + res.CallID().Value(), "CSeq: 2 INVITE",
		"Content-Type: application/sdp", fmt.Sprintf("Content-Length: %d", len(body)), "", body}, "\r\n"))
	if r := p.response(ctx, "INVITE"); r.StatusCode != 200 {
		t.Fatalf("re-INVITE without Contact: %d %s", r.StatusCode, r.Reason)
	}
	p.again(res, "ACK", 2, "")
	if e := next[Held](t, ctx, hear); !e.Held {
		t.Error("not held")
	}
	leg.Hangup("")
	p.reply(p.request(ctx, "BYE"), 200, "", "")
}

// TestReferIn: what they may ask, and what they hear of it.
func TestReferIn(t *testing.T) {
	o, hear := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, res := o.call(ctx, p, hear, "refer1")
	other, res2 := o.call(ctx, p, hear, "refer2")
	p.cseq = 1
	for _, c := range []struct {
		headers []string
		want    int
	}{
		{nil, 400},
		{[]string{"Refer-To: <sip:a@b>", "Refer-To: <sip:c@d>"}, 400},
		{[]string{"Refer-To: <mailto:a@b>"}, 400},
		{[]string{"Refer-To: <sip:a@b;method=BYE>"}, 400},
		{[]string{"Refer-To: <sip:a@b?Replaces=x>"}, 400},
	} {
		p.again(res, "REFER", p.seq(), "", c.headers...)
		if r := p.response(ctx, "REFER"); r.StatusCode != c.want {
			t.Errorf("%q: %d, want %d", c.headers, r.StatusCode, c.want)
		}
	}
	p.again(res, "REFER", p.seq(), "", "Refer-To: <sip:carol@example.com>", "Referred-By: <sip:bob@x>")
	e := next[Referred](t, ctx, hear)
	if e.To != "sip:carol@example.com" || e.By != "<sip:bob@x>" || e.Replaces != nil {
		t.Errorf("%+v", e)
	}
	e.Answer(603)
	if r := p.response(ctx, "REFER"); r.StatusCode != 603 {
		t.Errorf("refused: %d", r.StatusCode)
	}

	// Consulted: it names our other leg.
	to, _ := res2.To().Params.Get("tag")
	p.again(res, "REFER", p.seq(), "", fmt.Sprintf("Refer-To: <sip:carol@example.com?Replaces=refer2%%3Bto-tag%%3D%s%%3Bfrom-tag%%3Dbobs>", to))
	e = next[Referred](t, ctx, hear)
	if e.Replaces != other || e.Foreign {
		t.Errorf("%+v", e)
	}
	e.Answer(202)
	p.request202(ctx)
	leg.Notify(180)
	leg.Notify(200)
	for _, want := range []string{"SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"} {
		n := p.request(ctx, "NOTIFY")
		if !strings.HasPrefix(string(n.Body()), want) || !strings.HasPrefix(headerValue(n, "event"), "refer") {
			t.Errorf("NOTIFY:\n%s\nwant %s", n, want)
		}
		if last := strings.HasPrefix(headerValue(n, "subscription-state"), "terminated"); last != strings.Contains(want, "200") {
			t.Errorf("%s: %s", want, headerValue(n, "subscription-state"))
		}
		p.reply(n, 200, "", "")
	}

	p.again(res, "REFER", p.seq(), "", "Refer-To: <sip:carol@example.com>", "Refer-Sub: false")
	e = next[Referred](t, ctx, hear)
	e.Answer(202)
	p.request202(ctx)
	leg.Notify(200)
	p.quiet("NOTIFY", 100*time.Millisecond)
	for _, l := range []*Leg{leg, other} {
		l.Hangup("")
		p.reply(p.request(ctx, "BYE"), 200, "", "")
		next[Ended](t, ctx, hear)
	}
	p.say("REFER", "sip:100@"+p.server.String(), "<sip:bob@127.0.0.1>;tag=z", "<sip:100@127.0.0.1>", "lonely", 1, "", "Refer-To: <sip:a@b>")
	if r := p.response(ctx, "REFER"); r.StatusCode != 603 {
		t.Errorf("outside a dialog: %d", r.StatusCode)
	}
}

// request202 waits for the 202 to a REFER; a NOTIFY that comes before it is kept.
func (p *peer) request202(ctx context.Context) {
	p.t.Helper()
	var kept []sip.Message
	for {
		select {
		case m := <-p.got:
			if r, ok := m.(*sip.Response); ok && r.CSeq().MethodName == "REFER" {
				if r.StatusCode != 202 {
					p.t.Errorf("REFER: %d", r.StatusCode)
				}
				for _, k := range kept {
					p.got <- k
				}
				return
			}
			kept = append(kept, m)
		case <-ctx.Done():
			p.t.Fatal("no answer to REFER")
		}
	}
}

// TestReferOut: we ask them to call somebody else, and hear how it goes.
func TestReferOut(t *testing.T) {
	o, hear := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, res := o.call(ctx, p, hear, "out1")
	other, res2 := o.call(ctx, p, hear, "out2")
	leg.Refer("", other)
	ref := p.request(ctx, "REFER")
	tag, _ := res2.To().Params.Get("tag")
	if to := headerValue(ref, "refer-to"); to != fmt.Sprintf("<sip:bob@%s?Replaces=out2%%3Bto-tag%%3Dbobs%%3Bfrom-tag%%3D%s>", p.addr(), tag) {
		t.Errorf("Refer-To: %s", to)
	}
	p.reply(ref, 202, "", "")
	for i, c := range []struct {
		body, state string
		want        ReferProgress
	}{{"SIP/2.0 100 Trying\r\n", "active;expires=60", ReferProgress{100, false}}, {"SIP/2.0 503 Gone\r\n", "terminated;reason=noresource", ReferProgress{503, true}}} {
		p.again(res, "NOTIFY", 2+i, c.body, "Event: refer", "Subscription-State: "+c.state, "Content-Type: message/sipfrag")
		if r := p.response(ctx, "NOTIFY"); r.StatusCode != 200 {
			t.Errorf("NOTIFY: %d", r.StatusCode)
		}
		if e := next[ReferProgress](t, ctx, hear); e != c.want {
			t.Errorf("%+v, want %+v", e, c.want)
		}
	}
	p.again(res, "NOTIFY", 4, "SIP/2.0 200 OK\r\n", "Event: refer", "Subscription-State: active", "Content-Type: message/sipfrag")
	if r := p.response(ctx, "NOTIFY"); r.StatusCode != 481 {
		t.Errorf("NOTIFY after the last: %d", r.StatusCode)
	}
	leg.Refer("sip:carol@example.com", nil)
	p.reply(p.request(ctx, "REFER"), 603, "", "")
	if e := next[ReferProgress](t, ctx, hear); e != (ReferProgress{603, true}) {
		t.Errorf("%+v", e)
	}
	for _, l := range []*Leg{leg, other} {
		l.Hangup("")
		p.reply(p.request(ctx, "BYE"), 200, "", "")
	}
}

// TestReplacesIn: an INVITE that takes a leg's place, and all the ways it may not.
func TestReplacesIn(t *testing.T) {
	o, hear := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, res := o.call(ctx, p, hear, "old")
	to, _ := res.To().Params.Get("tag")
	for i, c := range []struct {
		headers []string
		want    int
	}{
		{[]string{"Replaces: none;to-tag=x;from-tag=y"}, 481},
		{[]string{"Replaces: old;to-tag=" + to + ";from-tag=wrong"}, 481},
		{[]string{"Replaces: old;to-tag=" + to}, 400},
		{[]string{"Replaces: old;to-tag=" + to + ";from-tag=bobs", "Replaces: old;to-tag=" + to + ";from-tag=bobs"}, 400},
		{[]string{"Replaces: old;to-tag=" + to + ";from-tag=bobs;early-only"}, 486},
	} {
		p.invite(fmt.Sprintf("new%d", i), p.sdp(1, "sendrecv"), c.headers...)
		if r := p.response(ctx, "INVITE"); r.StatusCode != c.want {
			t.Errorf("%q: %d, want %d", c.headers, r.StatusCode, c.want)
		}
	}
	p.invite("new", p.sdp(1, "sendrecv"), "Replaces: old;to-tag="+to+";from-tag=bobs", "Require: replaces")
	by := o.called(ctx)
	if by.Replaces() != leg {
		t.Fatal("it replaces nothing")
	}
	leg.Replace(by)
	if e := next[Replaced](t, ctx, hear); e.By != by {
		t.Errorf("%+v", e)
	}
	by.Answer()
	p.again(p.response(ctx, "INVITE"), "ACK", 1, "")
	next[Acked](t, ctx, hear)
	for _, l := range []*Leg{leg, by} {
		l.Hangup("replaced")
		p.reply(p.request(ctx, "BYE"), 200, "", "")
		next[Ended](t, ctx, hear)
	}
}

// TestMerged: the same INVITE by another way, while the call runs and after it was refused.
func TestMerged(t *testing.T) {
	o, hear := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	p.invite("m", p.sdp(1, "sendrecv"))
	leg := o.called(ctx)
	p.invite("m", p.sdp(1, "sendrecv"))
	if r := p.response(ctx, "INVITE"); r.StatusCode != 482 {
		t.Errorf("while it rings: %d", r.StatusCode)
	}
	leg.Refuse(486, "")
	if r := p.response(ctx, "INVITE"); r.StatusCode != 486 {
		t.Errorf("refused: %d", r.StatusCode)
	}
	next[Ended](t, ctx, hear)
	for len(o.stack.Legs()) > 0 {
		<-time.After(time.Millisecond)
	}
	p.invite("m", p.sdp(1, "sendrecv"))
	if r := p.response(ctx, "INVITE"); r.StatusCode != 482 {
		t.Errorf("after it was refused: %d", r.StatusCode)
	}
}

// TestKeysOnce: one press by two ways is one key.
func TestKeysOnce(t *testing.T) {
	o, hear := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, res := o.call(ctx, p, hear, "keys")
	leg.pressed('5')
	p.again(res, "INFO", 2, "Signal=5\r\nDuration=160\r\n", "Content-Type: application/dtmf-relay")
	p.response(ctx, "INFO")
	p.again(res, "INFO", 3, "6", "Content-Type: application/dtmf")
	p.response(ctx, "INFO")
	if a, b := next[Key](t, ctx, hear), next[Key](t, ctx, hear); a.Digit != '5' || b.Digit != '6' {
		t.Errorf("%c %c", a.Digit, b.Digit)
	}
	leg.Hangup("")
	p.reply(p.request(ctx, "BYE"), 200, "", "")
}

// TestLongRinging: the last 18x is said again, so that no proxy's timer C ends the call; an owner who never decides gets 500.
func TestLongRinging(t *testing.T) {
	o, hear := newOffice(t, func(s *setup) { s.Times.RingAgain = 50 * time.Millisecond })
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	p.invite("long", p.sdp(1, "sendrecv"))
	leg := o.called(ctx)
	leg.Ring()
	for range 4 {
		if r := p.response(ctx, "INVITE"); r.StatusCode != 180 {
			t.Fatalf("%d", r.StatusCode)
		}
	}
	leg.Refuse(486, "")
	next[Ended](t, ctx, hear)
	nobody, _ := newOffice(t, func(s *setup) {
		s.Times.T1 = 5 * time.Millisecond
		s.OnInvite = func(*Leg) {}
	})
	p = newPeer(t, nobody.addr())
	p.invite("nobody", p.sdp(1, "sendrecv"))
	if r := p.response(ctx, "INVITE"); r.StatusCode != 500 {
		t.Errorf("nobody decides: %d", r.StatusCode)
	}
}
