package email

import (
	"bytes"
	"fmt"
	"mime"
	netmail "net/mail"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/jhillyerd/enmime/v2"
	"golang.org/x/net/html/charset"
)

// How much of a mail is shown; the stored raw mail keeps the rest.
const (
	shownBody   = 100 << 10
	shownFull   = 400 << 10
	shownBroken = 64 << 10
	readText    = 1 << 20
	// deepest is how many multipart headers a mail may have before it is shown raw: the parser recurses, and a mail
	// made of 100,000 nested parts would cost its stack.
	deepest = 300
)

// letter is one mail as parse understood it. Every field may be empty: mails are what people send.
type letter struct {
	header     header
	From       string // the sender's address, lower case; "" when there is none
	FromName   string
	To         string
	Subject    string
	MessageID  string // with < and >
	References []string
	Visible    string // the sender's own words
	Whole      string // all the text, with quotes and a list of attached files
	Broken     bool   // shown raw
	status     string // the machine's part of a delivery report
	original   string // headers of the mail that a report is about
	mediaType  string
	calendar   bool // an answer to an invitation; an invitation itself may come from a person
}

// parse never fails and never panics: what it cannot read it shows as it came.
func parse(raw []byte) (l letter) {
	if !bytes.ContainsRune(raw, '\n') {
		raw = bytes.ReplaceAll(raw, []byte{'\r'}, []byte{'\n'}) // the line ends of an old Macintosh
	}
	l = letter{header: readHeader(raw)}
	l.readEnvelope()
	defer func() {
		if p := recover(); p != nil {
			l.showRaw(raw)
		}
	}()
	if bytes.Count(bytes.ToLower(raw), []byte("multipart/")) > deepest {
		l.showRaw(raw)
		return l
	}
	source := dropMailboxLine(raw)
	if !l.header.has("content-type") && utf8.Valid(source) {
		// RFC 2045, 5.2 would read this as US-ASCII; what comes without a type today is UTF-8
		source = append([]byte("Content-Type: text/plain; charset=utf-8\r\n"), source...)
	}
	parser := enmime.NewParser(enmime.DisableTextConversion(true), enmime.SkipMalformedParts(true), enmime.MaxStoredPartErrors(20),
		enmime.MultipartWOBoundaryAsSinglePart(true), enmime.SetReadPartErrorPolicy(func(*enmime.Part, error) bool { return true }))
	env, err := parser.ReadEnvelope(bytes.NewReader(source))
	if err != nil || env == nil {
		l.showRaw(raw)
		return l
	}
	l.readParts(env)
	own := env.Text
	if strings.TrimSpace(strayRunes.Replace(own)) == "" && env.HTML != "" {
		own = htmlText(env.HTML)
	}
	own = clip(clean(own), readText)
	l.Visible = clip(Visible(own), shownBody)
	l.Whole = clip(strings.TrimSpace(own), shownFull)
	if files := attachedFiles(env); files != "" {
		l.Whole = strings.TrimSpace(l.Whole + "\n\n" + files)
	}
	if l.Whole == "" && l.status != "" {
		l.Whole = clip(clean(l.status), shownFull)
	}
	if l.Whole == "" && l.Subject == "" {
		l.showRaw(raw)
	}
	return l
}

// Body is what the timeline shows as this message. A mail that only repeats or forwards another has no words of its
// own: it is shown as a quote, so that nobody takes our own footer in it, which names the reply word, for a wish.
func (l *letter) Body() string {
	if l.Visible != "" {
		return l.Visible
	}
	if l.Whole == "" {
		return "(empty mail)"
	}
	return "> " + strings.ReplaceAll(clip(l.Whole, 8<<10), "\n", "\n> ")
}

// Full is the whole text when there is more than Body.
func (l *letter) Full() string {
	if l.Whole == l.Visible {
		return ""
	}
	return l.Whole
}

func (l *letter) showRaw(raw []byte) {
	l.Broken = true
	text := clip(clean(string(raw[:min(len(raw), shownBroken)])), shownBroken)
	l.Whole = text
	if _, body, found := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n"); found {
		text = body
	}
	l.Visible = clip(Visible(text), shownBody)
	if l.Visible == "" {
		l.Visible = strings.TrimSpace(l.Whole)
	}
}

func (l *letter) readEnvelope() {
	h := l.header
	l.From, l.FromName = address(h.get("from"))
	if l.From == "" {
		l.From, _ = address(h.get("sender"))
	}
	l.To, _ = address(h.get("to"))
	l.Subject = oneLine(decodeWords(h.get("subject")))
	if ids := messageIDs(h.get("message-id")); len(ids) > 0 {
		l.MessageID = ids[0]
	}
	l.References = append(messageIDs(h.get("in-reply-to")), messageIDs(strings.Join(h["references"], " "))...)
	l.mediaType, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(h.get("content-type"))), ";")
	l.mediaType = strings.TrimSpace(l.mediaType)
}

// readParts takes out what a machine wrote for machines (RFC 3464): the status of a delivery and the original's head.
func (l *letter) readParts(env *enmime.Envelope) {
	if env.Root == nil {
		return
	}
	env.Root.DepthMatchAll(func(p *enmime.Part) bool {
		switch strings.ToLower(p.ContentType) {
		case "message/delivery-status", "message/global-delivery-status", "message/disposition-notification", "message/feedback-report":
			l.status += string(p.Content) + "\n"
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers", "message/rfc822-headers":
			if l.original == "" {
				l.original = string(p.Content[:min(len(p.Content), shownBroken)])
			}
		case "text/calendar":
			l.calendar = l.calendar || calendarReply.Match(p.Content)
		}
		return false
	})
}

// calendarReply is iTIP's word in what a calendar program sends by itself (RFC 5546, section 3.2.3).
var calendarReply = regexp.MustCompile(`(?im)^METHOD:\s*(REPLY|REFRESH|COUNTER|DECLINECOUNTER)\b`)

func attachedFiles(env *enmime.Envelope) string {
	var b strings.Builder
	for _, parts := range [][]*enmime.Part{env.Attachments, env.Inlines, env.OtherParts} {
		for _, p := range parts {
			name := oneLine(p.FileName)
			if name == "" {
				name = "no name"
			}
			if b.Len() < 8<<10 {
				fmt.Fprintf(&b, "[file: %s, %s, %d bytes]\n", clip(name, 200), oneLine(p.ContentType), len(p.Content))
			}
		}
	}
	return strings.TrimSpace(b.String())
}

// header is a mail's header, read by a reader that refuses nothing: names in lower case, values unfolded. The rules
// against mail loops rest on it, so that no broken MIME can switch them off.
type header map[string][]string

func (h header) get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (h header) has(name string) bool { return len(h[name]) > 0 }

// dropMailboxLine removes the "From " line of an mbox and blank lines above the header.
func dropMailboxLine(raw []byte) []byte {
	raw = bytes.TrimLeft(raw, "\r\n")
	for bytes.HasPrefix(raw, []byte("From ")) || bytes.HasPrefix(raw, []byte(">From ")) {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			break
		}
		raw = raw[end+1:]
	}
	return raw
}

func readHeader(raw []byte) header {
	h := header{}
	raw = dropMailboxLine(raw[:min(len(raw), 1<<20)])
	last := ""
	for len(raw) > 0 {
		line := raw
		if end := bytes.IndexByte(raw, '\n'); end >= 0 {
			line, raw = raw[:end], raw[end+1:]
		} else {
			raw = nil
		}
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if v := h[last]; len(v) > 0 {
				v[len(v)-1] += " " + strings.TrimSpace(string(line))
			}
			continue
		}
		name, value, found := strings.Cut(string(line), ":")
		if !found || strings.ContainsAny(name, " \t") && strings.TrimRight(name, " \t") != strings.TrimSpace(name) {
			last = ""
			continue
		}
		last = strings.ToLower(strings.TrimSpace(name))
		h[last] = append(h[last], strings.TrimSpace(value))
	}
	return h
}

var looseAddress = regexp.MustCompile(`[^\s<>"'(),;:\[\]\\]+@[^\s<>"'(),;:\[\]\\]+`)

// address reads one sender: strictly first, then whatever looks like one.
func address(value string) (addr, name string) {
	words := &mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	parser := &netmail.AddressParser{WordDecoder: words}
	if list, err := parser.ParseList(value); err == nil && len(list) > 0 {
		return strings.ToLower(clean(list[0].Address)), oneLine(list[0].Name)
	}
	found := looseAddress.FindAllString(value, -1)
	if len(found) == 0 {
		return "", oneLine(decodeWords(value))
	}
	addr = found[len(found)-1]
	if open := strings.IndexByte(value, '<'); open >= 0 {
		name = strings.Trim(oneLine(decodeWords(value[:open])), `" `)
		if inside := looseAddress.FindString(value[open:]); inside != "" {
			addr = inside
		}
	}
	return strings.ToLower(clean(addr)), clip(name, 200)
}

func decodeWords(value string) string {
	words := &mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	if out, err := words.DecodeHeader(value); err == nil {
		return out
	}
	return value
}

var messageID = regexp.MustCompile(`<[^<>\s]{1,900}>`)

// messageIDs lists the ids in a header field; 100 are more than any honest thread has.
func messageIDs(value string) []string {
	ids := messageID.FindAllString(value, 100)
	for i := range ids {
		ids[i] = clean(ids[i])
	}
	return ids
}

// clean makes s storable: valid UTF-8 without NUL, which Postgres refuses.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return strings.ReplaceAll(s, "\x00", "")
}

// oneLine makes s fit into one header line or one line of a list.
func oneLine(s string) string {
	return clip(strings.Join(strings.FieldsFunc(clean(s), func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }), " "), 990)
}

func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + " […]"
}
