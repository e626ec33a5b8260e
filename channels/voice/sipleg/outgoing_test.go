package sipleg

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/edge"
)

// TestCallOut: ringing twenty times, the answer, the ACK again for each repeated 200, and BYE from either side.
func TestCallOut(t *testing.T) {
	o, _ := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, hear := o.dial(p.addr(), func(d *Dial) { d.Headers = [][2]string{{"X-Number", "7"}}; d.Name = "Shop" })
	inv := p.request(ctx, "INVITE")
	if inv.GetHeader("X-Number") == nil || inv.From().DisplayName != "Shop" || !strings.Contains(string(inv.Body()), "m=audio ") ||
		headerValue(inv, "session-expires") != "1800" || headerValue(inv, "min-se") != "90" {
		t.Errorf("INVITE:\n%s", inv)
	}
	p.reply(inv, 100, "", "")
	for range 20 {
		p.reply(inv, 180, "t1", "")
	}
	if e := next[Ringing](t, ctx, hear); e.Early {
		t.Error("ringing without sound is told as sound")
	}
	p.reply(inv, 200, "t1", p.sdp(1, "sendrecv"), "Record-Route: <sip:"+p.addr().String()+";lr;x=1>", "Record-Route: <sip:"+p.addr().String()+";lr;x=2>")
	ack := p.request(ctx, "ACK")
	if r := ack.GetHeaders("route"); len(r) != 2 || !strings.Contains(r[0].Value(), "x=2") || ack.CSeq().SeqNo != inv.CSeq().SeqNo {
		t.Errorf("ACK:\n%s", ack)
	}
	next[Answered](t, ctx, hear)
	p.reply(inv, 200, "t1", p.sdp(1, "sendrecv"))
	p.request(ctx, "ACK")
	leg.Hangup("enough")
	p.reply(p.request(ctx, "BYE"), 481, "", "") // any final answer ends it
	if e := next[Ended](t, ctx, hear); e.By != ByUs {
		t.Errorf("%+v", e)
	}

	_, hear = o.dial(p.addr(), nil)
	inv = p.request(ctx, "INVITE")
	p.reply(inv, 200, "t2", p.sdp(1, "sendrecv"))
	p.request(ctx, "ACK")
	next[Answered](t, ctx, hear)
	p.inside(inv, "t2", "BYE", 1, "")
	if r := p.response(ctx, "BYE"); r.StatusCode != 200 {
		t.Errorf("BYE: %d", r.StatusCode)
	}
	if e := next[Ended](t, ctx, hear); e.By != ByPeer {
		t.Errorf("%+v", e)
	}
}

// TestForks: two phones answer; the first has the call, the other gets ACK and BYE. Early sound, then other early sound.
func TestForks(t *testing.T) {
	o, _ := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, hear := o.dial(p.addr(), nil)
	inv := p.request(ctx, "INVITE")
	p.reply(inv, 180, "a", "")
	next[Ringing](t, ctx, hear)
	p.reply(inv, 183, "b", p.sdp(1, "sendrecv"))
	if e := next[Ringing](t, ctx, hear); !e.Early {
		t.Error("early sound is not told")
	}
	p.reply(inv, 200, "a", p.sdp(1, "sendrecv"))
	if ack := p.request(ctx, "ACK"); tagOf(ack.To().Params) != "a" {
		t.Errorf("ACK to %s", ack.To().Value())
	}
	next[Answered](t, ctx, hear)
	p.reply(inv, 200, "b", p.sdp(1, "sendrecv"))
	if ack := p.request(ctx, "ACK"); tagOf(ack.To().Params) != "b" {
		t.Errorf("ACK to %s", ack.To().Value())
	}
	bye := p.request(ctx, "BYE")
	if tagOf(bye.To().Params) != "b" {
		t.Errorf("BYE to %s", bye.To().Value())
	}
	p.reply(bye, 200, "", "")
	none(t, hear, 50*time.Millisecond)
	leg.Hangup("")
	p.reply(p.request(ctx, "BYE"), 200, "", "")
	next[Ended](t, ctx, hear)
}

// TestTakeBack: CANCEL waits for a provisional answer; a 200 that crosses it gets ACK and BYE; ringing has its limit.
func TestTakeBack(t *testing.T) {
	o, _ := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, hear := o.dial(p.addr(), nil)
	inv := p.request(ctx, "INVITE")
	leg.Hangup("changed my mind")
	next[Ended](t, ctx, hear)
	p.quiet("CANCEL", 100*time.Millisecond)
	p.reply(inv, 180, "x", "")
	cancel := p.request(ctx, "CANCEL")
	if branchOf(cancel) != branchOf(inv) || cancel.CSeq().SeqNo != inv.CSeq().SeqNo {
		t.Errorf("CANCEL:\n%s", cancel)
	}
	p.reply(cancel, 200, "x", "")
	p.reply(inv, 487, "x", "")
	p.request(ctx, "ACK")

	leg, hear = o.dial(p.addr(), nil)
	inv = p.request(ctx, "INVITE")
	p.reply(inv, 180, "y", "")
	next[Ringing](t, ctx, hear)
	leg.Hangup("")
	p.reply(p.request(ctx, "CANCEL"), 200, "y", "")
	p.reply(inv, 200, "y", p.sdp(1, "sendrecv"))
	p.request(ctx, "ACK")
	p.reply(p.request(ctx, "BYE"), 200, "", "")
	next[Ended](t, ctx, hear)

	_, hear = o.dial(p.addr(), func(d *Dial) { d.NoAnswer = 100 * time.Millisecond })
	inv = p.request(ctx, "INVITE")
	p.reply(inv, 180, "z", "")
	next[Ringing](t, ctx, hear)
	p.reply(p.request(ctx, "CANCEL"), 200, "z", "")
	p.reply(inv, 487, "z", "")
	if e := next[Ended](t, ctx, hear); e.Code != 408 || e.By != ByUs {
		t.Errorf("%+v", e)
	}
}

// TestRefused: every way a call out does not become one.
func TestRefused(t *testing.T) {
	o, _ := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	for _, code := range []int{404, 486, 603, 500} {
		_, hear := o.dial(p.addr(), nil)
		p.reply(p.request(ctx, "INVITE"), code, "r", "")
		p.request(ctx, "ACK")
		if e := next[Ended](t, ctx, hear); e.Code != code || e.By != ByPeer {
			t.Errorf("%+v, want %d", e, code)
		}
	}
	_, hear := o.dial(p.addr(), nil)
	p.reply(p.request(ctx, "INVITE"), 302, "r", "", "Contact: <sip:carol@192.0.2.9>")
	if e := next[Redirected](t, ctx, hear); len(e.Targets) != 2 || e.Targets[1] != "sip:carol@192.0.2.9" {
		t.Errorf("%+v", e)
	}
	next[Ended](t, ctx, hear)

	_, hear = o.dial(p.addr(), nil) // an answer that is none
	p.reply(p.request(ctx, "INVITE"), 200, "r", "")
	p.request(ctx, "ACK")
	p.reply(p.request(ctx, "BYE"), 200, "", "")
	if e := next[Ended](t, ctx, hear); e.By != ByFault {
		t.Errorf("%+v", e)
	}

	_, hear = o.dial(p.addr(), nil) // a minimum of theirs
	p.reply(p.request(ctx, "INVITE"), 422, "r", "", "Min-SE: 3600")
	p.request(ctx, "ACK")
	inv := p.request(ctx, "INVITE")
	if headerValue(inv, "min-se") != "3600" || headerValue(inv, "session-expires") != "3600" || inv.CSeq().SeqNo != 2 {
		t.Errorf("again:\n%s", inv)
	}
	p.reply(inv, 486, "r", "")
	next[Ended](t, ctx, hear)
}

// TestChallenged: the strongest of several challenges is answered, once.
func TestChallenged(t *testing.T) {
	o, _ := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	auth := func(d *Dial) { d.User, d.Password = "u", "p" }
	_, hear := o.dial(p.addr(), auth)
	inv := p.request(ctx, "INVITE")
	p.reply(inv, 407, "r", "", `Proxy-Authenticate: Digest realm="r", nonce="n1", algorithm=MD5, qop="auth"`,
		`Proxy-Authenticate: Digest realm="r", nonce="n2", algorithm=SHA-256, qop="auth"`, `Proxy-Authenticate: Digest realm="r", nonce="n3", algorithm=UNKNOWN`)
	p.request(ctx, "ACK")
	inv2 := p.request(ctx, "INVITE")
	if a := headerValue(inv2, "proxy-authorization"); !strings.Contains(a, `nonce="n2"`) || !strings.Contains(a, "SHA-256") || inv2.CallID().Value() != inv.CallID().Value() {
		t.Errorf("answer to the challenge: %s", a)
	}
	p.reply(inv2, 200, "s", p.sdp(1, "sendrecv"))
	if ack := p.request(ctx, "ACK"); ack.GetHeader("proxy-authorization") == nil || ack.CSeq().SeqNo != 2 {
		t.Errorf("ACK:\n%s", ack)
	}
	next[Answered](t, ctx, hear)
	p.inside(inv2, "s", "BYE", 1, "")
	next[Ended](t, ctx, hear)

	_, hear = o.dial(p.addr(), auth) // a wrong password
	for range 2 {
		p.reply(p.request(ctx, "INVITE"), 401, "r", "", `WWW-Authenticate: Digest realm="r", nonce="n1"`)
	}
	if e := next[Ended](t, ctx, hear); e.Code != 401 {
		t.Errorf("%+v", e)
	}
}

// TestHops: the first is dead, the second out of service, the third takes it.
func TestHops(t *testing.T) {
	o, _ := newOffice(t, func(s *setup) { s.Times.NextHop = 100 * time.Millisecond })
	ctx := testCtx(t)
	dead, full, good := newPeer(t, o.addr()), newPeer(t, o.addr()), newPeer(t, o.addr())
	_, hear := o.dial(dead.addr(), func(d *Dial) {
		d.Hops = []edge.Hop{{Transport: "tcp", Addr: dead.addr()}, {Transport: "udp", Addr: dead.addr()}, {Transport: "udp", Addr: full.addr()}, {Transport: "udp", Addr: good.addr()}}
	})
	dead.request(ctx, "INVITE")
	full.reply(full.request(ctx, "INVITE"), 503, "f", "")
	inv := good.request(ctx, "INVITE")
	good.reply(inv, 486, "g", "")
	if e := next[Ended](t, ctx, hear); e.Code != 486 {
		t.Errorf("%+v", e)
	}
}

// TestReliableOut: each reliable 18x gets one PRACK; the ACK keeps the INVITE's number; the 200 needs no description.
func TestReliableOut(t *testing.T) {
	o, _ := newOffice(t, nil)
	ctx := testCtx(t)
	p := newPeer(t, o.addr())
	leg, hear := o.dial(p.addr(), nil)
	inv := p.request(ctx, "INVITE")
	if !lists(inv, "100rel", "supported") {
		t.Error("100rel is not offered")
	}
	rel := func(rseq int) []string { return []string{"Require: 100rel", fmt.Sprintf("RSeq: %d", rseq)} }
	p.reply(inv, 183, "a", p.sdp(1, "sendrecv"), rel(77)...)
	prack := p.request(ctx, "PRACK")
	if headerValue(prack, "rack") != "77 1 INVITE" || prack.CSeq().SeqNo != 2 {
		t.Errorf("PRACK:\n%s", prack)
	}
	p.reply(prack, 200, "", "")
	next[Ringing](t, ctx, hear)
	p.reply(inv, 183, "a", p.sdp(1, "sendrecv"), rel(77)...) // repeated
	p.reply(inv, 180, "a", "", rel(79)...)                   // out of order
	p.quiet("PRACK", 100*time.Millisecond)
	p.reply(inv, 180, "a", "", rel(78)...)
	prack = p.request(ctx, "PRACK")
	if headerValue(prack, "rack") != "78 1 INVITE" || prack.CSeq().SeqNo != 3 {
		t.Errorf("PRACK:\n%s", prack)
	}
	p.reply(prack, 200, "", "")
	p.inside(inv, "a", "UPDATE", 1, p.sdp(2, "sendonly")) // the called side holds before it answers
	if r := p.response(ctx, "UPDATE"); r.StatusCode != 200 || !strings.Contains(string(r.Body()), "recvonly") {
		t.Errorf("UPDATE:\n%s", r)
	}
	if e := next[Held](t, ctx, hear); !e.Held {
		t.Error("hold is not told")
	}
	p.reply(inv, 200, "a", "")
	if ack := p.request(ctx, "ACK"); ack.CSeq().SeqNo != 1 {
		t.Errorf("ACK has CSeq %d", ack.CSeq().SeqNo)
	}
	for {
		if _, ok := (<-hear).event.(Answered); ok {
			break
		}
	}
	leg.Hangup("")
	if bye := p.request(ctx, "BYE"); bye.CSeq().SeqNo != 4 {
		t.Errorf("BYE has CSeq %d", bye.CSeq().SeqNo)
	}
}
