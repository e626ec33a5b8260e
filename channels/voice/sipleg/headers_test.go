package sipleg

import (
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/edge"
)

func TestHeaders(t *testing.T) {
	for value, want := range map[string]expires{"1800": {interval: 1800 * time.Second}, "90;refresher=UAS": {90 * time.Second, "uas"}, " 60 ; x=y ; refresher = uac": {60 * time.Second, "uac"},
		"0": {}, "x": {}, "": {}, "99999999999": {}, "90;refresher=me": {interval: 90 * time.Second}} {
		if got := parseExpires(value); got != want {
			t.Errorf("Session-Expires %q: %+v, want %+v", value, got, want)
		}
	}
	for value, ok := range map[string]bool{"1 2 INVITE": true, " 1  2  invite ": true, "1 INVITE": false, "1 2 INVITE x": false, "-1 2 INVITE": false, "4294967296 1 INVITE": false} {
		if _, got := parseRAck(value); got != ok {
			t.Errorf("RAck %q: %v", value, got)
		}
	}
	for value, want := range map[string]referTo{
		"<sip:a@b>": {uri: "sip:a@b"}, `"Bob, B" <sip:a@b;x=1>;q=1`: {uri: "sip:a@b;x=1"}, "sip:a@b;x=1": {uri: "sip:a@b"}, "<tel:+491>": {uri: "tel:+491"},
		"<sip:a@b;method=INVITE;x>": {uri: "sip:a@b;x"},
		"<sip:a@b?Replaces=c%40d%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>": {"sip:a@b", "c@d;to-tag=1;from-tag=2"},
	} {
		if got, ok := parseReferTo(value); !ok || got != want {
			t.Errorf("Refer-To %q: %+v %v", value, got, ok)
		}
	}
	for _, value := range []string{"", "<sip:a@b", "<mailto:a@b>", "<sip:a@b;method=BYE>", "<sip:>", "<sip:a@b?Replaces=%zz>", "<sip:a b@c>",
		"<sip:a@b?Replaces=c%3Bto-tag%3D1>", "<sip:a@b?Replaces=c%0D%0A%3Bto-tag%3D1%3Bfrom-tag%3D2>"} {
		if got, ok := parseReferTo(value); ok {
			t.Errorf("Refer-To %q: %+v", value, got)
		}
	}
}

// FuzzHeaders: whatever stands in these headers, what is taken of it can be said again and means the same.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"776656 1 INVITE", "1800;refresher=uac", "98732@x;from-tag=r33;to-tag=a6c;early-only",
		`"Bob" <sip:bob@example.com;x=y?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>`, "SIP/2.0 180 Ringing\r\n", "Signal=5\r\nDuration=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := parseRAck(s); ok && strings.ContainsAny(r.method, " \t") {
			t.Fatalf("RAck %+v", r)
		}
		if e := parseExpires(s); e.interval > 0 && parseExpires(e.String()) != e {
			t.Fatalf("Session-Expires %q: %+v", s, e)
		}
		if r, ok := parseReplaces(s); ok {
			if again, ok := parseReplaces(r.String()); !ok || again != r {
				t.Fatalf("Replaces %q: %+v, again %+v", s, r, again)
			}
		}
		if r, ok := parseReferTo(s); ok && (!edge.Clean(r.uri) || strings.ContainsAny(r.uri, "<>\" ") || !edge.Clean(r.replaces)) {
			t.Fatalf("Refer-To %q: %+v", s, r)
		}
		if d, ok := keyOfInfo(edge.TypeRelay, []byte(s)); ok && strings.IndexByte("0123456789*#ABCD", d) < 0 {
			t.Fatalf("key %c", d)
		}
		fragmentCode([]byte(s))
	})
}
