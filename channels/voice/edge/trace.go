package edge

import (
	"bytes"
	"net/netip"
	"time"
)

const maxTraced = 8 << 10

// Message is one SIP message as it stood on the wire, without what nobody may read: digest answers, SRTP keys and
// pressed keys are masked with x of the same length.
type Message struct {
	At            time.Time
	In            bool
	Transport     string // "udp", "tcp", "tls"
	Local, Remote netip.AddrPort
	CallID        string
	Raw           []byte // at most 8 kB; the listener's own
}

// tell hands a message to the listener. It costs a comparison when there is none.
func (g *gate) tell(in bool, transport string, local, remote netip.AddrPort, p []byte) {
	if g.trace == nil || len(p) <= 4 {
		return
	}
	raw := bytes.Clone(p[:min(len(p), maxTraced)])
	mask(raw)
	g.trace(Message{At: time.Now(), In: in, Transport: transport, Local: local, Remote: remote, CallID: callIDOf(p), Raw: raw})
}

// mask blots out secrets in place.
func mask(raw []byte) {
	var (
		body, keys bool
		field      []byte // the header that a folded line goes on with
	)
	for rest := raw; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		line = bytes.TrimRight(line, "\r")
		switch {
		case !body && len(line) == 0:
			body = true
			continue
		case !body:
			if line[0] != ' ' && line[0] != '\t' {
				field, _, _ = bytes.Cut(line, []byte(":"))
				field = bytes.TrimSpace(field)
			}
			switch {
			case fold(field, "authorization"), fold(field, "proxy-authorization"):
				blot(behind(line, "response="))
			case fold(field, "content-type"), fold(field, "c"):
				keys = keys || indexFold(line, "application/dtmf") >= 0
			}
		case indexFold(line, "a=crypto:") == 0:
			blot(behind(line, "inline:"))
		case indexFold(line, "signal") == 0:
			blot(behind(line, "="))
		case keys && !bytes.Contains(line, []byte("=")):
			blot(line)
		}
	}
}

func fold(b []byte, word string) bool { return bytes.EqualFold(b, []byte(word)) }

// indexFold finds an ASCII word in any case. (bytes.ToLower may change the length of what is not UTF-8.)
func indexFold(b []byte, word string) int {
	for i := 0; i+len(word) <= len(b); i++ {
		if fold(b[i:i+len(word)], word) {
			return i
		}
	}
	return -1
}

// behind is what stands after a word: a quoted string, or what comes up to a comma.
func behind(line []byte, word string) []byte {
	i := indexFold(line, word)
	if i < 0 {
		return nil
	}
	line = line[i+len(word):]
	end := byte(',')
	if len(line) > 0 && line[0] == '"' {
		line, end = line[1:], '"'
	}
	if i := bytes.IndexByte(line, end); i >= 0 {
		return line[:i]
	}
	return line
}

func blot(secret []byte) {
	for i := range secret {
		secret[i] = 'x'
	}
}
