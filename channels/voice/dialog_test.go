package voice

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// TestRFC2543: a caller of the last century: no From tag, no branch. The answer has no tag it did not send.
func TestRFC2543(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	p := h.phone()
	old := "INVITE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s\r\nFrom: <sip:old@127.0.0.1>\r\nTo: <sip:100@127.0.0.1>\r\nCall-ID: old1\r\nCSeq: 1 INVITE\r\n" +
		"Content-Type: application/sdp\r\n\r\n" + voicetest.Offer(p.Addr(), 1, "sendrecv")
	p.SendRaw(h.voice.Addr(), fmt.Appendf(nil, old, p.Addr()))
	for {
		answer := waitChan(t, ctx, p.Strays(), "answer")
		if !strings.Contains(answer, "From: <sip:old@127.0.0.1>\r\n") {
			t.Errorf("From was changed:\n%s", answer)
		}
		if strings.HasPrefix(answer, "SIP/2.0 200") {
			break
		}
	}
	h.expect(ctx, channels.CallStarted)
}

// TestDialogRules: what a peer may get wrong inside a call, each with its code.
func TestDialogRules(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c := h.dial(ctx, voicetest.Invite{Headers: []string{"Record-Route: <sip:" + h.voice.Addr().String() + ";lr>"}})
	sdp := voicetest.Offer(c.RTP.Addr(), 2, "sendrecv")
	for _, x := range []struct {
		name, method string
		headers      []string
		body         string
		want         int
	}{
		{"options", "OPTIONS", nil, "", 200},
		{"update without SDP", "UPDATE", nil, "", 200},
		{"update", "UPDATE", nil, sdp, 200},
		{"update without codec", "UPDATE", nil, strings.Replace(sdp, "AVP 0 8", "AVP 9 18", 1), 488},
		{"empty info", "INFO", nil, "", 200},
		{"foreign info", "INFO", []string{"Content-Type: text/x"}, "hello", 415},
		{"broken key", "INFO", []string{"Content-Type: application/dtmf"}, "hello", 400},
		{"refer", "REFER", []string{"Refer-To: <sip:x@y>"}, "", 603},
		{"refer to nobody", "REFER", nil, "", 400},
		{"prack", "PRACK", []string{"RAck: 1 1 INVITE"}, "", 481},
		{"unknown", "DANCE", nil, "", 501},
	} {
		if code, err := c.Do(ctx, x.method, x.headers, x.body); err != nil || code != x.want {
			t.Errorf("%s: %d %v, want %d", x.name, code, err, x.want)
		}
	}
	if res, err := c.Reinvite(ctx, "sendrecv"); err != nil || res.StatusCode != 200 {
		t.Fatalf("re-INVITE: %v %v", res, err)
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.expect(ctx, channels.CallEndedIn)
	if code, err := c.Do(ctx, "OPTIONS", nil, ""); err != nil || code != 481 {
		t.Errorf("after BYE: %d %v, want 481", code, err)
	}
}

// TestReInviteOvertakesACK: sipgo runs each message on its own goroutine; a re-INVITE that comes first waits.
func TestReInviteOvertakesACK(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Times.ReInviteHold = 50 * time.Millisecond })
	ctx := testCtx(t)
	c := h.phone().Invite(h.voice.Addr(), number, voicetest.Invite{NoACK: true})
	if res, err := c.Answer(ctx); err != nil || res.StatusCode != 200 {
		t.Fatalf("%v %v", res, err)
	}
	h.expect(ctx, channels.CallStarted)
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		res, err := c.Reinvite(short, "sendrecv")
		if err != nil {
			t.Fatal(err)
		}
		if res.CSeq().SeqNo == 2 && res.StatusCode == 200 {
			break
		}
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
}
