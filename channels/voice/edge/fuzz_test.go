package edge

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// FuzzGate: no datagram breaks the way from the socket to the handlers: straightening, refusing, parsing, validating. A refusal of ours is one SIP response, whatever the request held.
func FuzzGate(f *testing.F) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
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
	g := newGate(Config{Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > maxDatagram || firstToken(p) != tokenMethod {
			return
		}
		straight := straighten(bytes.Clone(p), src)
		if again := straighten(bytes.Clone(straight), src); !bytes.Equal(again, straight) {
			t.Fatalf("straightened twice:\n%q\n%q", straight, again)
		}
		if bytes.Contains(unlend(straight), []byte(lentTag)) && !bytes.Contains(p, []byte(lentTag[1:])) {
			t.Fatalf("a lent tag stays: %q", unlend(straight))
		}
		if !g.parses(straight) {
			answer := refuseUnread(straight, src)
			if answer == nil {
				return
			}
			if !bytes.HasPrefix(answer, []byte("SIP/2.0 ")) || bytes.Count(answer, []byte("\r\n\r\n")) != 1 || !bytes.HasSuffix(answer, []byte("\r\n\r\n")) {
				t.Fatalf("refusal %q", answer)
			}
			return
		}
		msg, err := sip.ParseMessage(straight)
		if err != nil {
			t.Fatal(err)
		}
		req, ok := msg.(*sip.Request)
		if !ok {
			return
		}
		req.SetSource(src.String())
		Validate(req, Rules{Methods: known})
	})
}

// corpus is the messages of RFC 4475.
func corpus(t testing.TB) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil || len(files) != 50 {
		t.Fatalf("%d messages: %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}
