package edge

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

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

// seeds are those and what once broke sipgo.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/fuzz-sipgo/[0-9a-f]*")
	if err != nil || len(files) != 8 {
		t.Fatalf("%d seeds: %v", len(files), err)
	}
	all := corpus(t)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, quoted, _ := strings.Cut(string(b), "(")
		text, err := strconv.Unquote(strings.TrimSuffix(strings.TrimSpace(quoted), ")"))
		if err != nil {
			t.Fatal(file, err)
		}
		all = append(all, []byte(text))
	}
	return all
}

// FuzzGate: no datagram breaks the way from the socket to the handlers: straightening, refusing, parsing, validating. A
// refusal of ours is one SIP response, whatever the request held; to who is not known it is never larger than that.
func FuzzGate(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	src := netip.MustParseAddrPort("192.0.2.1:5060")
	trunks := newGate(Config{Log: slog.New(slog.DiscardHandler)})
	d := accounts(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > maxDatagram || firstToken(p) != tokenMethod {
			return
		}
		phones := gate{digest: d, parser: trunks.parser, shout: trunks.shout, buckets: trunks.buckets, bans: newBans(trunks.log), log: trunks.log}
		phones.policy.Store(&Policy{})
		before := bytes.Clone(p)
		if v := phones.knock(p, src, true); len(v.answer) > len(p) {
			t.Fatalf("%d bytes for %d: %q", len(v.answer), len(p), v.answer)
		} else if v.answer != nil {
			isOneResponse(t, v.answer)
		}
		straight := straighten(p, src, false)
		if !bytes.Equal(p, before) {
			t.Fatal("the message itself was changed")
		}
		if again := straighten(bytes.Clone(straight), src, false); !bytes.Equal(again, straight) {
			t.Fatalf("straightened twice:\n%q\n%q", straight, again)
		}
		if bytes.Contains(unlend(straight), []byte(lentTag)) && !bytes.Contains(p, []byte(lentTag[1:])) {
			t.Fatalf("a lent tag stays: %q", unlend(straight))
		}
		if !trunks.parses(straight) {
			if answer := refuseUnread(straight, src); answer != nil {
				isOneResponse(t, answer)
			}
			return
		}
		msg, err := sip.ParseMessage(straight)
		if err != nil {
			t.Fatal(err)
		}
		if req, ok := msg.(*sip.Request); ok {
			req.SetSource(src.String())
			Validate(req, Rules{Methods: known})
			if l := d.check(req, src.Addr()); l.err == nil {
				t.Fatalf("logged in with %q", p)
			}
		}
	})
}

func isOneResponse(t *testing.T, p []byte) {
	t.Helper()
	if !bytes.HasPrefix(p, []byte("SIP/2.0 ")) || bytes.Count(p, []byte("\r\n\r\n")) != 1 || !bytes.HasSuffix(p, []byte("\r\n\r\n")) {
		t.Fatalf("answer %q", p)
	}
}

// sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }
func (sink) Close() error                     { return nil }
func (sink) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (sink) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

// FuzzStream: how TCP cuts the bytes decides nothing: a stream gives the same messages by single bytes as in one piece,
// each of which sipgo can read.
func FuzzStream(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, b)
	}
	f.Add([]byte("\r\n\r\n\r"), []byte("\nOPTIONS sip:x SIP/2.0\r\nl: 2\r\nl: 2\r\n\r\nab"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		stream := slices.Concat(one, two)
		if len(stream) > 8<<10 {
			return
		}
		whole, rest := deliver(stream, len(stream)+1)
		bytewise, rest2 := deliver(stream, 1)
		if !slices.EqualFunc(whole, bytewise, bytes.Equal) || rest != rest2 {
			t.Fatalf("in one piece %q (%v), by bytes %q (%v)", whole, rest, bytewise, rest2)
		}
		for _, p := range whole {
			if _, n, err := sip.NewParser().Parse(p, true); err != nil || n != len(p) {
				t.Fatalf("%d of %d bytes, %v: %q", n, len(p), err, p)
			}
		}
	})
}

// deliver feeds a connection; open tells that it went on to the end.
func deliver(stream []byte, step int) (got [][]byte, open bool) {
	e := &Edge{gate: newGate(Config{Log: slog.New(slog.DiscardHandler), Policy: Policy{Trusted: []netip.Prefix{loopback}}}), limits: Limits{}.withDefaults()}
	c := e.newConn(sink{}, "tcp", false)
	for len(stream) > 0 {
		n := min(step, len(stream))
		c.buf, stream = append(c.buf, stream[:n]...), stream[n:]
		for {
			p, ok := c.next()
			if !ok {
				return got, false
			}
			if p == nil {
				break
			}
			got = append(got, p)
		}
	}
	return got, true
}

// FuzzMask: secrets are blotted out in place, whatever surrounds them.
func FuzzMask(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Add([]byte("A sip:b SIP/2.0\r\nAuthorization: Digest response=\"\r\n \xff"))
	f.Fuzz(func(t *testing.T, p []byte) {
		raw := bytes.Clone(p)
		mask(raw)
		if len(raw) != len(p) || bytes.Count(raw, []byte("\n")) != bytes.Count(p, []byte("\n")) {
			t.Fatalf("%q became %q", p, raw)
		}
		callIDOf(raw)
	})
}
