package edge

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"

	"github.com/icholy/digest"
)

// This file reads SIP from raw bytes, as little as is needed to straighten a request that sipgo reads too strictly and
// to refuse one that it cannot read at all.

type token int

const (
	tokenNone   token = iota // neither: not SIP
	tokenMethod              // a request
	tokenStatus              // a response
)

// firstToken looks at the first word of a datagram.
func firstToken(p []byte) token {
	end := bytes.IndexAny(p, " \t\r\n")
	if end < 1 || end > 64 || p[end] == '\r' || p[end] == '\n' {
		return tokenNone
	}
	word := p[:end]
	if len(word) > 4 && strings.EqualFold(string(word[:4]), "SIP/") {
		return tokenStatus
	}
	for _, c := range word {
		if !isTokenByte(c) {
			return tokenNone
		}
	}
	return tokenMethod
}

// isTokenByte: RFC 3261 section 25.1.
func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-.!%*_+`'~", c) >= 0
}

// rawHeader is one header of a message, unfolded; name is in canonical short-to-long lower case.
type rawHeader struct {
	name  string
	field string // the name as it was written
	value string
}

var longNames = map[string]string{"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact",
	"l": "content-length", "c": "content-type", "k": "supported", "e": "content-encoding"}

// skim cuts a request into its first line, its headers and its body. It never fails: what is not a header is left out.
func skim(p []byte) (line string, headers []rawHeader, body []byte) {
	head, body, _ := bytes.Cut(p, []byte("\r\n\r\n"))
	rows := strings.Split(string(head), "\r\n")
	line = rows[0]
	for _, row := range rows[1:] {
		if row == "" {
			continue
		}
		if (row[0] == ' ' || row[0] == '\t') && len(headers) > 0 { // folded, RFC 3261 section 7.3.1
			last := &headers[len(headers)-1]
			last.value = strings.TrimSpace(last.value + " " + strings.TrimSpace(row))
			continue
		}
		field, value, ok := strings.Cut(row, ":")
		if !ok {
			continue
		}
		field = strings.TrimSpace(field)
		name := strings.ToLower(field)
		if long := longNames[name]; long != "" {
			name = long
		}
		headers = append(headers, rawHeader{name: name, field: field, value: strings.TrimSpace(value)})
	}
	return line, headers, body
}

// lentTag marks a From tag that we lent to a request of RFC 2543 times, which has none: sipgo answers 400 to those by
// itself. unlend takes it off again on the way out.
const (
	lentTag    = ";tag=rfc2543-"
	lentDigits = 16
)

// straighten returns p as sipgo wants it: blanks round "=" in parameters gone, a From tag lent where RFC 2543 had none,
// rport asked for where the answer must go to the source (forceRport), and of an INVITE's Contacts those that a dialog can
// use. Mostly it returns p itself.
func straighten(p []byte, src netip.AddrPort, toSource bool) []byte {
	line, headers, body := skim(p)
	changed, seenVia := false, false
	if strings.HasPrefix(line, "INVITE ") {
		changed = sipContacts(headers)
	}
	for i := range headers {
		h := &headers[i]
		value := h.value
		switch h.name {
		case "via":
			value = tightenParams(value)
			if !seenVia && (forceRport(value, src) || toSource && lacksRport(value)) {
				first, rest, more := CutElement(value)
				value = strings.TrimSpace(first) + ";rport"
				if more {
					value += "," + rest
				}
			}
			seenVia = true
		case "from":
			value = tightenParams(value)
			if !hasParam(value, "tag") {
				value += lentTag + lent(headers)
			}
		case "to", "contact":
			value = tightenParams(value)
		}
		if value != h.value {
			h.value, changed = value, true
		}
	}
	if !changed {
		return p
	}
	var out bytes.Buffer
	out.Grow(len(p) + 64)
	out.WriteString(line + "\r\n")
	for _, h := range headers {
		if h.name != "" {
			out.WriteString(h.field + ": " + h.value + "\r\n")
		}
	}
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes()
}

// sipContacts takes the Contacts away that are no SIP URI, where one that is stands beside them: gateways add a tel URI, and
// RFC 3261 section 8.1.1.8 wants exactly one SIP or SIPS URI, whatever else there is. What is taken away loses its name.
func sipContacts(headers []rawHeader) (changed bool) {
	kept, others := make(map[int]string), false
	for i, h := range headers {
		if h.name != "contact" {
			continue
		}
		for more, rest := true, h.value; more; {
			var first string
			first, rest, more = CutElement(rest)
			uri := first
			if _, inner, ok := strings.Cut(first, "<"); ok {
				uri = inner
			}
			scheme, _, _ := strings.Cut(strings.TrimSpace(uri), ":")
			switch {
			case !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips"):
				others = true
			case kept[i] != "":
				kept[i] += "," + first
			default:
				kept[i] = strings.TrimSpace(first)
			}
		}
	}
	if len(kept) == 0 || !others {
		return false
	}
	for i := range headers {
		if h := &headers[i]; h.name == "contact" {
			if h.value = kept[i]; h.value == "" {
				h.name = ""
			}
		}
	}
	return true
}

// lent derives the same tag for every request of one Call-ID.
func lent(headers []rawHeader) string {
	sum := fnv.New64a()
	for _, h := range headers {
		if h.name == "call-id" {
			sum.Write([]byte(h.value))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// unlend removes lent tags.
func unlend(p []byte) []byte {
	for from := 0; ; {
		i := bytes.Index(p[from:], []byte(lentTag))
		if i < 0 {
			return p
		}
		i += from
		end := i + len(lentTag) + lentDigits
		if end > len(p) {
			return p
		}
		p = append(append(make([]byte, 0, len(p)), p[:i]...), p[end:]...)
		from = i
	}
}

// forceRport tells whether the answer must go to the datagram's source though the sender did not ask (RFC 3581). Who
// names an address that is not its own sits behind NAT; who names its own address and another port wants the answer
// there (RFC 3261 section 18.2.2).
func forceRport(via string, src netip.AddrPort) bool {
	first, _, _ := CutElement(via)
	if !lacksRport(via) {
		return false
	}
	fields := strings.FieldsFunc(first, func(r rune) bool { return r == ' ' || r == '\t' || r == ';' })
	for i, f := range fields {
		if i == 0 || strings.ContainsRune(f, '/') || strings.HasSuffix(fields[i-1], "/") {
			continue // SIP/2.0/UDP, perhaps with blanks
		}
		if ip, err := netip.ParseAddr(strings.Trim(f, "[]")); err == nil {
			return ip.Unmap() != src.Addr().Unmap() || src.Port() == 5060
		}
		if at, err := netip.ParseAddrPort(f); err == nil {
			return at.Addr().Unmap() != src.Addr().Unmap() || at.Port() == src.Port()
		}
		return true // a host name
	}
	return false
}

func lacksRport(via string) bool {
	first, _, _ := CutElement(via)
	return !hasParam(first, "rport")
}

// CutElement cuts a comma-separated list behind its first element; commas in quotes and <> do not count.
func CutElement(value string) (first, rest string, more bool) {
	quoted, angle := false, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			return value[:i], value[i+1:], true
		}
	}
	return value, "", false
}

// hasParam looks for a header parameter: behind the ">", or behind the first ";" where there is no "<".
func hasParam(value, name string) bool {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	parts := strings.Split(value, ";")
	for _, part := range parts[1:] {
		key, _, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return true
		}
	}
	return false
}

// tightenParams removes blanks round "=" and ";" outside quotes: legal by RFC 3261 section 25.1 (EQUAL, SEMI), but
// sipgo does not strip them.
func tightenParams(value string) string {
	if !strings.ContainsAny(value, " \t") || !strings.ContainsAny(value, "=;") {
		return value
	}
	out := make([]byte, 0, len(value))
	quoted := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case quoted && c == '\\' && i+1 < len(value):
			out = append(out, c, value[i+1])
			i++
			continue
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '=' || c == ';'):
			out = bytes.TrimRight(out, " \t")
			out = append(out, c)
			for i+1 < len(value) && (value[i+1] == ' ' || value[i+1] == '\t') {
				i++
			}
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

// refuseUnread builds the stateless answer to a request that the parser refuses, from what can be skimmed. Nil: no
// answer is possible (no Via to send it by) or allowed (ACK).
func refuseUnread(p []byte, src netip.AddrPort) []byte {
	line, headers, _ := skim(p)
	method, _, _ := strings.Cut(line, " ")
	if method == "ACK" {
		return nil
	}
	code, reason := refusalOfLine(line)
	return stateless(headers, src, code, reason, "")
}

// stateless builds an answer from skimmed headers; extra are whole lines of ours. The same request gets the same tag.
func stateless(headers []rawHeader, src netip.AddrPort, code int, reason, extra string) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "SIP/2.0 %d %s\r\n", code, reason)
	vias := 0
	seen := map[string]bool{}
	for _, h := range headers {
		value := unsafeBytes.Replace(h.value)
		switch h.name {
		case "via":
			if vias == 0 {
				value = stamp(value, src)
			}
			vias++
			out.WriteString("Via: " + value + "\r\n")
			continue
		case "to":
			if !seen["to"] && !hasParam(value, "tag") {
				value += ";tag=" + lent(headers)
			}
		case "from", "call-id", "cseq":
		default:
			continue
		}
		if seen[h.name] {
			continue
		}
		seen[h.name] = true
		out.WriteString(titles[h.name] + ": " + value + "\r\n")
	}
	if vias == 0 {
		return nil
	}
	out.WriteString(extra + "Content-Length: 0\r\n\r\n")
	return unlend(out.Bytes())
}

// stamp fills in where the request came from, if its first Via asks for that (RFC 3581 section 4).
func stamp(via string, src netip.AddrPort) string {
	first, rest, more := CutElement(via)
	parts := strings.Split(first, ";")
	for i, part := range parts[1:] {
		if strings.EqualFold(strings.TrimSpace(part), "rport") {
			parts[i+1] = "rport=" + strconv.Itoa(int(src.Port())) + ";received=" + src.Addr().Unmap().String()
			first = strings.Join(parts, ";")
			break
		}
	}
	if more {
		return first + "," + rest
	}
	return first
}

// shorten writes an answer of ours with the short header names (RFC 3261 section 7.3.3) and without the length of the body
// that a datagram need not have.
func shorten(answer []byte) []byte {
	return []byte(shortNames.Replace(string(answer)))
}

var shortNames = strings.NewReplacer("\r\nVia: ", "\r\nv:", "\r\nFrom: ", "\r\nf:", "\r\nTo: ", "\r\nt:",
	"\r\nCall-ID: ", "\r\ni:", "\r\nCSeq: ", "\r\nCSeq:", "\r\nContent-Length: 0", "")

// loginOf reads what a gate needs of a request's login: the nonce it answers, and for whom (who has none yet: the
// address-of-record, which is To's for REGISTER and From's for a call; they are the same in a REGISTER of one's own).
func loginOf(headers []rawHeader) (nonce, user string) {
	for _, h := range headers {
		switch h.name {
		case "from":
			if user == "" {
				user = userOf(h.value)
			}
		case "authorization":
			if c, err := digest.ParseCredentials(h.value); err == nil {
				return c.Nonce, c.Username
			}
		}
	}
	return "", user
}

// userOf is the user part of a skimmed address.
func userOf(value string) string {
	if _, after, ok := strings.Cut(value, "<"); ok {
		value = after
	}
	_, rest, _ := strings.Cut(value, ":")
	user, _, ok := strings.Cut(rest, "@")
	if !ok {
		return ""
	}
	user, _, _ = strings.Cut(user, ":")
	return user
}

// callIDOf finds the Call-ID in a message's bytes.
func callIDOf(p []byte) string {
	for len(p) > 0 {
		line, rest, _ := bytes.Cut(p, []byte("\n"))
		p = rest
		if len(line) < 2 { // the end of the head
			return ""
		}
		switch c := line[0] | 0x20; {
		case c == 'i' && (line[1] == ':' || line[1] == ' '):
			line = line[1:]
		case c == 'c' && len(line) > 7 && bytes.EqualFold(line[:7], []byte("call-id")):
			line = line[7:]
		default:
			continue
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && len(bytes.TrimSpace(name)) == 0 {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// unsafeBytes keeps a skimmed value inside its line.
var unsafeBytes = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

var titles = map[string]string{"to": "To", "from": "From", "call-id": "Call-ID", "cseq": "CSeq"}

// refusalOfLine: what is wrong with a request line decides before what is wrong with the headers.
func refusalOfLine(line string) (int, string) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return 400, "Bad Request Line"
	}
	if v := strings.ToUpper(parts[2]); strings.HasPrefix(v, "SIP/") && v != "SIP/2.0" {
		return 505, "Version Not Supported"
	}
	if scheme, _, ok := strings.Cut(parts[1], ":"); ok && isScheme(scheme) && !OurScheme(scheme) {
		return 416, "Unsupported URI Scheme"
	}
	return 400, "Bad Request"
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if !(c >= 'a' && c <= 'z' || i > 0 && (s[i] >= '0' && s[i] <= '9' || strings.IndexByte("+-.", s[i]) >= 0)) {
			return false
		}
	}
	return s != ""
}

// OurScheme: the URI schemes that name somebody here (RFC 3261 section 19.1, RFC 3966).
func OurScheme(s string) bool {
	switch strings.ToLower(s) {
	case "sip", "sips", "tel":
		return true
	}
	return false
}
