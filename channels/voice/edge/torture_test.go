package edge

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// hard is a message of RFC 4475 and what must come back.
type hard struct {
	name, want string
	text       []byte
}

// torture reads the table: the whole one where it lies beside us, else our copy.
func torture(t testing.TB) (all []hard) {
	t.Helper()
	dir, flat := filepath.Join("..", "..", "..", "..", "shared", "corpora", "sip", "rfc4475"), false
	table, err := os.ReadFile(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		dir, flat = "testdata/rfc4475", true
		if table, err = os.ReadFile(filepath.Join(dir, "expected.tsv")); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		f := strings.Split(row, "\t")
		file := f[0]
		if flat {
			file = filepath.Base(file)
		}
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hard{filepath.Base(file), f[4], text})
	}
	if len(all) < 50 {
		t.Fatalf("%d messages", len(all))
	}
	return all
}

var branches = regexp.MustCompile(`z9hG4bK[0-9A-Za-z]+`)

func (m hard) unique(i int) []byte {
	return branches.ReplaceAll(m.text, fmt.Appendf(nil, "${0}x%d", i))
}
func (m hard) silent() bool { return strings.Contains(m.want, "DROP") }

// accepts: a code, several, or a class of the table. What a call or a registration gets beyond the wire is not ours.
func (m hard) accepts(got int) bool {
	for _, w := range strings.Split(m.want, ", ") {
		switch w {
		case "CALL", "REG", "OPT", "401":
			if got == 200 {
				return true
			}
		case "DROP":
			if got == 0 {
				return true
			}
		default:
			if fmt.Sprint(got) == w {
				return true
			}
		}
	}
	return false
}

// tortureUDP sends one message and returns the final code of the answer, 0 for none. Where none is right, that none comes
// is known when good requests, sent behind it, have been answered.
func (s *station) tortureUDP(ctx context.Context, text []byte, silent bool) int {
	s.t.Helper()
	p := newPeer(s.t, "127.0.0.1", s.Addr("udp"))
	defer p.Close()
	p.send(string(text))
	for i := 0; ; i++ {
		ping := request("OPTIONS", "ping", p.LocalAddr(), "UDP")
		p.send(ping)
		for ponged := false; !ponged; {
			a := p.answer(ctx)
			ponged = callIDOf([]byte(a)) == callIDOf([]byte(ping))
			var code int
			if _, err := fmt.Sscanf(a, "SIP/2.0 %d", &code); err != nil {
				s.t.Fatalf("no answer of SIP: %q", a)
			}
			if !ponged && code >= 200 && !strings.Contains(a, "ping") {
				return code
			}
		}
		if silent && i == 3 || i == 200 {
			return 0
		}
	}
}

// tortureTCP is the same; ended tells that the connection did not live on.
func (s *station) tortureTCP(ctx context.Context, text []byte, silent bool) (code int, ended bool) {
	s.t.Helper()
	l := dialTCP(s.t, "127.0.0.1", s.Addr("tcp"))
	defer l.Close()
	l.send(string(text))
	if silent {
		_, _ = l.Write([]byte(request("OPTIONS", "ping", l.LocalAddr(), "TCP")))
	}
	for {
		a := l.answer(ctx)
		if a == "" {
			return code, true
		}
		var got int
		if _, err := fmt.Sscanf(a, "SIP/2.0 %d", &got); err != nil {
			s.t.Fatalf("no answer of SIP: %q", a)
		}
		if !firstOf(text, a) {
			continue
		}
		ping := strings.Contains(a, "sip:ping@")
		if got >= 200 && !ping {
			if got != 400 {
				return got, false
			}
			// does it end?
			if err := l.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
				s.t.Fatal(err)
			}
			_, err := l.r.ReadByte()
			return got, err != nil && !os.IsTimeout(err)
		}
		if ping && silent {
			return 0, false
		}
	}
}

// firstOf tells whether an answer is not one to the second request in a text; both are answered, in either order.
func firstOf(text []byte, answer string) bool {
	head, rest, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	id := []byte(callIDOf([]byte(answer)))
	return bytes.Contains(head, id) || !bytes.Contains(rest, id)
}
