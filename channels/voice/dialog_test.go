package voice

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/voicetest"
)

func parseRequest(t testing.TB, lines ...string) *sip.Request {
	t.Helper()
	msg, err := sip.ParseMessage([]byte(strings.Join(append(lines, "", ""), "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	req := msg.(*sip.Request)
	req.SetSource("192.0.2.9:5060")
	req.SetTransport("UDP")
	return req
}

func invitation(t testing.TB, more ...string) *sip.Request {
	t.Helper()
	return parseRequest(t, append([]string{"INVITE sip:100@198.51.100.1 SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa", "Max-Forwards: 70",
		`From: "Ana" <sip:+4930123@carrier.example>;tag=them`, "To: <sip:100@198.51.100.1>", "Call-ID: c1", "CSeq: 7 INVITE",
		"Contact: <sip:ana@192.0.2.10:5070>"}, more...)...)
}

// TestRouteSet: our requests go by the Record-Route of the INVITE, loose or strict (RFC 3261 section 12.2.1.1).
func TestRouteSet(t *testing.T) {
	here := netip.MustParseAddrPort("198.51.100.1:5060")
	for name, c := range map[string]struct {
		routes      []string
		target      string
		wantRoutes  []string
		destination string
	}{
		"none":   {nil, "sip:ana@192.0.2.10:5070", nil, "192.0.2.10:5070"},
		"loose":  {[]string{"Record-Route: <sip:192.0.2.1;lr>, <sip:192.0.2.2:5080;lr>"}, "sip:ana@192.0.2.10:5070", []string{"<sip:192.0.2.1;lr>", "<sip:192.0.2.2:5080;lr>"}, "192.0.2.1:5060"},
		"strict": {[]string{"Record-Route: <sip:192.0.2.1>", "Record-Route: <sip:192.0.2.2;lr>"}, "sip:192.0.2.1", []string{"<sip:192.0.2.2;lr>", "<sip:ana@192.0.2.10:5070>"}, "192.0.2.1:5060"},
		"nat":    {[]string{"Record-Route: <sip:10.0.0.1;lr>"}, "sip:ana@192.0.2.10:5070", []string{"<sip:10.0.0.1;lr>"}, "192.0.2.9:5060"},
	} {
		d := newDialog(invitation(t, c.routes...), here)
		req, err := d.request(sip.BYE)
		if err != nil {
			t.Fatal(err)
		}
		var routes []string
		for _, h := range req.GetHeaders("route") {
			routes = append(routes, h.Value())
		}
		if got := req.Recipient.String(); got != c.target {
			t.Errorf("%s: to %s, want %s", name, got, c.target)
		}
		if diff := cmp.Diff(c.wantRoutes, routes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if req.Destination() != c.destination {
			t.Errorf("%s: sent to %s, want %s", name, req.Destination(), c.destination)
		}
		from, _ := req.From().Params.Get("tag")
		to, _ := req.To().Params.Get("tag")
		if from != d.localTag || to != "them" || req.CSeq().SeqNo != 1 || req.CallID().Value() != "c1" {
			t.Errorf("%s: %s", name, req)
		}
	}
}

// TestCaller: who calls, and what they are called.
func TestCaller(t *testing.T) {
	for _, c := range []struct{ from, pai, number, name string }{
		{`"Ana" <sip:+4930123@x>;tag=a`, "", "+4930123", "Ana"},
		{`<sip:004930123@x>;tag=a`, "", "+4930123", ""},
		{`<sip:030-12.3(4)@x;user=phone>;tag=a`, "", "0301234", ""},
		{`<tel:+49-30-123;phone-context=x>;tag=a`, "", "+4930123", ""},
		{`<sip:anna@x>;tag=a`, "", "anna", ""},
		{`"Anonymous" <sip:anonymous@anonymous.invalid>;tag=a`, "", "anonymous-c1", ""},
		{`<sip:x.example>;tag=a`, "", "anonymous-c1", ""},
		{`<sip:anonymous@anonymous.invalid>;tag=a`, `"Ben" <sip:+491@x>, <tel:+492>`, "+491", "Ben"},
		{`"Ana" <sip:1@x>;tag=a`, "<tel:+492>", "+492", "Ana"},
		{`"Ana" <sip:1@x>;tag=a`, "nonsense", "1", "Ana"},
	} {
		lines := []string{"INVITE sip:100@y SIP/2.0", "Via: SIP/2.0/UDP a;branch=z9hG4bKa", "From: " + c.from, "To: <sip:100@y>", "Call-ID: c1", "CSeq: 1 INVITE"}
		if c.pai != "" {
			lines = append(lines, "P-Asserted-Identity: "+c.pai)
		}
		number, name := newTrunk(channels.Trunk{CallerHeader: "pai"}).caller(parseRequest(t, lines...))
		if number != c.number || name != c.name {
			t.Errorf("%s, %s: %q %q, want %q %q", c.from, c.pai, number, name, c.number, c.name)
		}
	}
}

func TestKeyOfInfo(t *testing.T) {
	for _, c := range []struct {
		kind, body string
		want       byte
	}{
		{edge.TypeRelay, "Signal=5\r\nDuration=160\r\n", '5'}, {edge.TypeRelay, "Signal= *", '*'}, {edge.TypeRelay, "signal=11\n", '#'}, {edge.TypeDTMF, "7", '7'},
		{edge.TypeDTMF, "10\r\n", '*'}, {edge.TypeRelay, "Duration=5", 0}, {edge.TypeDTMF, "55", 0}, {edge.TypeRelay, "", 0}, {edge.TypeRelay, "Signal=x", 0},
	} {
		if got, _ := keyOfInfo(c.kind, []byte(c.body)); got != c.want {
			t.Errorf("%s %q: %c, want %c", c.kind, c.body, got, c.want)
		}
	}
}

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
		{"refer", "REFER", []string{"Refer-To: <sip:x@y>"}, "", 405},
		{"prack", "PRACK", []string{"RAck: 1 1 INVITE"}, "", 405},
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
