package sipleg

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// rack is the RAck of a PRACK (RFC 3262 section 7.2): which reliable answer to which request.
type rack struct {
	rseq, cseq uint32
	method     string
}

// parseRAck reads "776656 1 INVITE".
func parseRAck(value string) (rack, bool) {
	f := strings.Fields(value)
	if len(f) != 3 {
		return rack{}, false
	}
	rseq, err := strconv.ParseUint(f[0], 10, 32)
	cseq, err2 := strconv.ParseUint(f[1], 10, 32)
	if err != nil || err2 != nil {
		return rack{}, false
	}
	return rack{rseq: uint32(rseq), cseq: uint32(cseq), method: strings.ToUpper(f[2])}, true
}

// parseRSeq reads the number of a reliable answer; 0 is none (RFC 3262 section 7.1: from 1 to 2^32-1).
func parseRSeq(value string) uint32 {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// expires is a Session-Expires header (RFC 4028 section 4).
type expires struct {
	interval  time.Duration // 0: none
	refresher string        // uac, uas, "" = open
}

// parseExpires reads "1800;refresher=uac"; what cannot be read is none.
func parseExpires(value string) expires {
	first, params, _ := strings.Cut(value, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(first), 10, 32)
	if err != nil || n == 0 {
		return expires{}
	}
	e := expires{interval: time.Duration(n) * time.Second}
	for _, p := range strings.Split(params, ";") {
		name, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "refresher") {
			if v = strings.ToLower(strings.TrimSpace(v)); v == "uac" || v == "uas" {
				e.refresher = v
			}
		}
	}
	return e
}

func (e expires) String() string {
	s := strconv.Itoa(int(e.interval / time.Second))
	if e.refresher != "" {
		s += ";refresher=" + e.refresher
	}
	return s
}

// replaces names a dialog as the one who is asked to give it up knows it (RFC 3891 section 6.1): toTag is its own tag.
type replaces struct {
	callID, toTag, fromTag string
	earlyOnly              bool
}

// parseReplaces reads "98732@x;from-tag=r33;to-tag=a6c".
func parseReplaces(value string) (replaces, bool) {
	parts := strings.Split(value, ";")
	r := replaces{callID: strings.TrimSpace(parts[0])}
	for _, p := range parts[1:] {
		name, v, _ := strings.Cut(p, "=")
		v = strings.TrimSpace(v)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "to-tag":
			if r.toTag != "" {
				return replaces{}, false
			}
			r.toTag = v
		case "from-tag":
			if r.fromTag != "" {
				return replaces{}, false
			}
			r.fromTag = v
		case "early-only":
			r.earlyOnly = true
		}
	}
	// A tag of 0 stands for a missing one (RFC 2543).
	return r, r.callID != "" && r.toTag != "" && r.fromTag != "" && edge.Clean(value)
}

func (r replaces) String() string {
	s := r.callID + ";to-tag=" + r.toTag + ";from-tag=" + r.fromTag
	if r.earlyOnly {
		s += ";early-only"
	}
	return s
}

// referTo is what a Refer-To header asks for: a URI, perhaps to be called with a Replaces.
type referTo struct {
	uri      string
	replaces string // the header's value, unescaped; "" = none
}

// parseReferTo reads `"Bob" <sip:bob@example.com;x=y?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>`. Methods but INVITE and
// other headers in the URI are refused: they would let the other side write our requests (RFC 3515 section 2.1).
func parseReferTo(value string) (referTo, bool) {
	if _, after, ok := strings.Cut(value, "<"); ok {
		value, _, ok = strings.Cut(after, ">")
		if !ok {
			return referTo{}, false
		}
	} else {
		value, _, _ = strings.Cut(value, ";")
	}
	value = strings.TrimSpace(value)
	uri, query, _ := strings.Cut(value, "?")
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || !edge.OurScheme(scheme) || rest == "" || !edge.Clean(value) || strings.ContainsAny(uri, " <>\"") {
		return referTo{}, false
	}
	r := referTo{uri: uri}
	if i := strings.Index(strings.ToLower(uri), ";method="); i >= 0 {
		method, tail, more := strings.Cut(uri[i+len(";method="):], ";")
		if !strings.EqualFold(method, "INVITE") {
			return referTo{}, false
		}
		r.uri = uri[:i]
		if more {
			r.uri += ";" + tail
		}
	}
	for _, pair := range strings.Split(query, "&") {
		name, v, _ := strings.Cut(pair, "=")
		if !strings.EqualFold(name, "Replaces") {
			continue
		}
		text, err := url.PathUnescape(v)
		if err != nil || r.replaces != "" {
			return referTo{}, false
		}
		if _, ok := parseReplaces(text); !ok {
			return referTo{}, false
		}
		r.replaces = text
	}
	return r, true
}

// headerValue is the first header of a name, "" without.
func headerValue(m interface{ GetHeader(string) sip.Header }, name string) string {
	if h := m.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// lists tells whether one of the comma-separated headers of a name holds the token.
func lists(m interface{ GetHeaders(string) []sip.Header }, token string, names ...string) bool {
	for _, name := range names {
		for _, h := range m.GetHeaders(name) {
			for _, item := range strings.Split(h.Value(), ",") {
				if strings.EqualFold(strings.TrimSpace(item), token) {
					return true
				}
			}
		}
	}
	return false
}

// HeaderText makes words of ours safe inside a quoted string.
func HeaderText(s string) string {
	return strings.NewReplacer(`"`, "'", `\`, "/").Replace(edge.Plain(s))
}
