package edge

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"golang.org/x/time/rate"
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
	g := &gate{parser: sip.NewParser(), log: slog.New(slog.DiscardHandler), shout: rate.NewLimiter(0, 0)}
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

// TestGateFlood: one trunk address over its rate is cut; others are not touched; the buckets stay few.
func TestGateFlood(t *testing.T) {
	g := &gate{buckets: make(map[netip.Addr]*bucket)}
	now := time.Unix(0, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	passed := 0
	for range 2 * perIPBurst {
		if g.spend(a, now) {
			passed++
		}
	}
	if passed != perIPBurst || !g.spend(b, now) {
		t.Errorf("%d passed, want %d", passed, perIPBurst)
	}
	if !g.spend(a, now.Add(time.Second)) {
		t.Error("a second later it is still closed")
	}
	for i := range 3 * maxGateStates {
		g.spend(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(g.buckets); n > maxGateStates {
		t.Errorf("%d buckets", n)
	}
}
