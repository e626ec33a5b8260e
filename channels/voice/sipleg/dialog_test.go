package sipleg

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/voicetest"
)

func invitation(t testing.TB, more ...string) *sip.Request {
	t.Helper()
	return voicetest.ParseRequest(t, append([]string{"INVITE sip:100@198.51.100.1 SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa", "Max-Forwards: 70",
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
		d := answering(invitation(t, c.routes...), "us", path{transport: "UDP", here: here, hop: edge.Hop{Transport: "udp", Addr: netip.MustParseAddrPort("192.0.2.9:5060")}})
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
		if req.to != c.destination {
			t.Errorf("%s: sent to %s, want %s", name, req.to, c.destination)
		}
		from, _ := req.From().Params.Get("tag")
		to, _ := req.To().Params.Get("tag")
		if from != d.localTag || to != "them" || req.CSeq().SeqNo != 1 || req.CallID().Value() != "c1" {
			t.Errorf("%s: %s", name, req)
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

// FuzzRequest: what a leg reads of a request that was found valid is fit to be sent again.
func FuzzRequest(f *testing.F) {
	files, err := filepath.Glob("../edge/testdata/rfc4475/*.dat")
	if err != nil || len(files) != 50 {
		f.Fatalf("%d messages: %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	src := netip.MustParseAddrPort("192.0.2.1:5060")
	f.Fuzz(func(t *testing.T, p []byte) {
		msg, err := sip.ParseMessage(p)
		if err != nil {
			return
		}
		req, ok := msg.(*sip.Request)
		if !ok {
			return
		}
		req.SetSource(src.String())
		if edge.Validate(req, rules) != nil {
			return
		}
		d := answering(req, "us", path{transport: "UDP", here: src, hop: edge.Hop{Transport: "udp", Addr: src}})
		if bye, err := d.request(sip.BYE); err == nil {
			if n := strings.Count(bye.String(), "\r\n\r\n"); n != 1 {
				t.Fatalf("BYE of %d messages: %q", n, bye)
			}
		}
		_, _ = offered(req)
	})
}
