package doctor

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// inOrder sorts messages by time; those of one moment stay as they came.
func inOrder(all []Message) {
	slices.SortStableFunc(all, func(a, b Message) int { return a.At.Compare(b.At) })
}

// told is a SIP message as far as the doctor reads it. He reads leniently: what is strange here is what he looks for.
type told struct {
	*Message
	method  string // of the request, or that an answer is to (CSeq)
	code    int    // 0: a request
	reason  string
	cseq    string // the number
	headers []header
	body    string
}

type header struct{ name, value string } // name: lower case, long form

// compact forms (RFC 3261 section 7.3.3 and later ones).
var compact = map[string]string{
	"i": "call-id", "m": "contact", "e": "content-encoding", "l": "content-length", "c": "content-type", "f": "from", "s": "subject",
	"k": "supported", "t": "to", "v": "via", "o": "event", "r": "refer-to", "b": "referred-by", "x": "session-expires", "u": "allow-events",
}

func read(m *Message) told {
	t := told{Message: m}
	head, body, found := strings.Cut(m.Raw, "\r\n\r\n")
	if !found {
		head, body, _ = strings.Cut(m.Raw, "\n\n")
	}
	t.body = body
	lines := strings.Split(strings.ReplaceAll(head, "\r\n", "\n"), "\n")
	words := strings.SplitN(lines[0], " ", 3)
	t.method = words[0]
	if words[0] == "SIP/2.0" && len(words) > 1 {
		if code, err := strconv.Atoi(words[1]); err == nil && code >= 100 && code < 700 {
			t.code = code
		}
		if len(words) > 2 {
			t.reason = words[2]
		}
	}
	for _, line := range lines[1:] {
		if line != "" && (line[0] == ' ' || line[0] == '\t') && len(t.headers) > 0 { // folded
			t.headers[len(t.headers)-1].value += " " + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		t.headers = append(t.headers, header{cmp.Or(compact[name], name), strings.TrimSpace(value)})
	}
	number, method, _ := strings.Cut(t.get("cseq"), " ")
	t.cseq = number
	if t.code != 0 {
		t.method = strings.TrimSpace(method)
	}
	return t
}

// get is the first header of that name.
func (t *told) get(name string) string {
	for _, h := range t.headers {
		if h.name == name {
			return h.value
		}
	}
	return ""
}

// line is the message in two words.
func (t *told) line() string {
	if t.code == 0 {
		return t.method
	}
	return strings.TrimSpace(strconv.Itoa(t.code) + " " + t.reason)
}

// request tells whether it is a request of that method.
func (t *told) request(method string) bool { return t.code == 0 && t.method == method }

// answers tells whether it is an answer to that method.
func (t *told) answers(method string) bool { return t.code != 0 && t.method == method }

// spoken is the sound that a description announces.
type spoken struct {
	addr    netip.AddrPort
	origin  netip.Addr // of the o-line
	codecs  []string
	secured bool
	ok      bool
}

// sound reads the description in a message's body.
func (t *told) sound() (s spoken) {
	if !strings.HasPrefix(t.get("content-type"), "application/sdp") || t.body == "" {
		return s
	}
	var host string
	var port uint64
	static := map[string]string{"0": "PCMU", "8": "PCMA", "9": "G722", "3": "GSM", "18": "G729", "4": "G723", "13": ""}
	var formats []string
	names := map[string]string{}
	media := false
	for line := range strings.Lines(t.body) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		f := strings.Fields(value)
		switch {
		case key == "o" && len(f) == 6:
			s.origin, _ = netip.ParseAddr(f[5])
		case key == "c" && len(f) == 3:
			host, _, _ = strings.Cut(f[2], "/")
		case key == "m" && media:
			key = "" // only the first stream: see below
		case key == "m" && len(f) > 3:
			media = true
			port, _ = strconv.ParseUint(f[1], 10, 16)
			s.secured = strings.Contains(f[2], "SAVP")
			formats = f[3:]
		case key == "a" && strings.HasPrefix(value, "crypto:"), key == "a" && strings.HasPrefix(value, "fingerprint:"):
			s.secured = true
		case key == "a" && strings.HasPrefix(value, "rtpmap:") && len(f) > 1:
			name, _, _ := strings.Cut(f[1], "/")
			names[strings.TrimPrefix(f[0], "rtpmap:")] = name
		}
	}
	for _, number := range formats {
		if name := cmp.Or(names[number], static[number]); name != "" && !strings.EqualFold(name, "telephone-event") && !strings.EqualFold(name, "CN") {
			s.codecs = append(s.codecs, name)
		}
	}
	ip, err := netip.ParseAddr(host)
	s.addr, s.ok = netip.AddrPortFrom(ip, uint16(port)), err == nil && media
	return s
}

// hostOf is the address in a URI or Via, "sip:a@192.0.2.1:5060;x"; invalid: it is a name.
func hostOf(text string) netip.Addr {
	_, after, found := strings.Cut(text, "sip:")
	if !found {
		if _, after, found = strings.Cut(text, "sips:"); !found {
			after = text
		}
	}
	if i := strings.LastIndexByte(strings.SplitN(after, ">", 2)[0], '@'); i >= 0 {
		after = after[i+1:]
	}
	after = strings.TrimLeft(after, "[")
	end := strings.IndexFunc(after, func(r rune) bool { return strings.ContainsRune(";>?,] \t", r) })
	if end >= 0 {
		after = after[:end]
	}
	if a, err := netip.ParseAddr(after); err == nil {
		return a
	}
	host, _, _ := strings.Cut(after, ":")
	a, _ := netip.ParseAddr(host)
	return a
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// private addresses cannot be reached from outside their own network.
func private(a netip.Addr) bool {
	return a.IsValid() && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || carrierNAT.Contains(a.Unmap()))
}

// sinceText is a moment of the call as the doctor says it.
func sinceText(d time.Duration) string {
	d = d.Round(time.Second)
	if d < time.Minute {
		return strconv.Itoa(int(d.Seconds())) + " s"
	}
	return strconv.Itoa(int(d.Minutes())) + ":" + string([]byte{'0' + byte(int(d.Seconds())%60/10), '0' + byte(int(d.Seconds())%10)}) + " min"
}
