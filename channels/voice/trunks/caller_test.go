package trunks

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/voicetest"
)

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
		number, name := newTrunk(channels.Trunk{CallerHeader: "pai"}).caller(voicetest.ParseRequest(t, lines...))
		if number != c.number || name != c.name {
			t.Errorf("%s, %s: %q %q, want %q %q", c.from, c.pai, number, name, c.number, c.name)
		}
	}
}

// FuzzCaller: what a call reads of a request that was found valid is fit to be stored.
func FuzzCaller(f *testing.F) {
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
	f.Fuzz(func(t *testing.T, p []byte) {
		msg, err := sip.ParseMessage(p)
		if err != nil {
			return
		}
		req, ok := msg.(*sip.Request)
		if !ok || edge.Validate(req, edge.Rules{Methods: []sip.RequestMethod{sip.INVITE}}) != nil {
			return
		}
		number, name := newTrunk(channels.Trunk{CallerHeader: "pai"}).caller(req)
		if !edge.Clean(number) || !edge.Clean(name) {
			t.Fatalf("caller %q %q", number, name)
		}
		Dialled(req)
	})
}
