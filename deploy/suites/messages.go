package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// line is a way to the server that sends raw messages: UDP, TCP or TLS.
type line struct {
	conn net.Conn
	left []byte // of a stream, that belongs to the next message
}

func (s *server) dial(transport, from string) (*line, error) {
	switch transport {
	case "udp":
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.port})
		return &line{conn: conn}, err
	case "tls":
		d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}, Config: &tls.Config{InsecureSkipVerify: true}} // it made its own certificate a moment ago
		conn, err := d.Dial("tcp", s.tls())
		return &line{conn: conn}, err
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", s.at())
	return &line{conn: conn}, err
}

var serial atomic.Int64

// options asks whether the server is there, and takes what comes before its answer.
func (s *server) options(l *line, from string, limit time.Duration) (before []string, ok bool) {
	id := fmt.Sprintf("alive%d-%d", os.Getpid(), serial.Add(1))
	_, err := fmt.Fprintf(l.conn, "OPTIONS sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:probe@%s>;tag=p\r\n"+
		"To: <sip:%s@%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", number, s.at(), l.via(), l.conn.LocalAddr(), id, from, number, s.at(), id)
	if err != nil {
		return nil, false
	}
	for end := time.Now().Add(limit); ; {
		text, err := l.read(end)
		if err != nil {
			return before, false
		}
		if strings.Contains(text, id) {
			return before, strings.HasPrefix(text, "SIP/2.0 200")
		}
		before = append(before, text)
	}
}

func (s *server) alive(from string) bool {
	l, err := s.dial("udp", from)
	if err != nil {
		return false
	}
	defer l.conn.Close()
	_, ok := s.options(l, from, 300*time.Millisecond)
	return ok
}

func (l *line) via() string {
	switch l.conn.(type) {
	case *net.UDPConn:
		return "UDP"
	case *tls.Conn:
		return "TLS"
	}
	return "TCP"
}

var contentLength = regexp.MustCompile(`(?i)\r\n(?:Content-Length|l)\s*:\s*(\d+)`)

// read reads one message.
func (l *line) read(end time.Time) (string, error) {
	_ = l.conn.SetReadDeadline(end)
	buf := make([]byte, 65536)
	for {
		if head := strings.Index(string(l.left), "\r\n\r\n"); head >= 0 {
			size := head + 4
			if m := contentLength.FindStringSubmatch(string(l.left[:head+2])); m != nil {
				body := 0
				_, _ = fmt.Sscan(m[1], &body)
				size += body
			}
			if len(l.left) >= size {
				text := string(l.left[:size])
				l.left = l.left[size:]
				return text, nil
			}
		}
		n, err := l.conn.Read(buf)
		if err != nil {
			return "", err
		}
		if l.via() == "UDP" {
			return string(buf[:n]), nil
		}
		l.left = append(l.left, buf[:n]...)
	}
}

var statusLine = regexp.MustCompile(`^SIP/2\.0 (\d{3})`)

// final waits for the final answer to what was sent; "" is none within the limit.
func (l *line) final(limit time.Duration) (code, text string) {
	for end := time.Now().Add(limit); ; {
		text, err := l.read(end)
		if err != nil {
			return "", ""
		}
		if m := statusLine.FindStringSubmatch(text); m != nil && m[1] >= "200" && !strings.Contains(text, "Call-ID: alive") {
			return m[1], text
		}
	}
}

var header = func(text, name string) string {
	m := regexp.MustCompile(`(?im)^` + name + `\s*:\s*(.*?)\r?$`).FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

// over ends what a request has begun: ACK, and BYE after a 200.
func (l *line) over(request, answer, code string) {
	if !strings.HasPrefix(request, "INVITE") {
		return
	}
	say := func(method, branch string, cseq int) {
		target := "sip:" + number + "@127.0.0.1"
		if m := regexp.MustCompile(`<(sips?:[^>]+)>`).FindStringSubmatch(header(answer, "Contact")); m != nil {
			target = m[1]
		}
		fmt.Fprintf(l.conn, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
			method, target, l.via(), l.conn.LocalAddr(), branch, header(answer, "From"), header(answer, "To"), header(answer, "Call-ID"), cseq, method)
	}
	cseq := 1
	_, _ = fmt.Sscan(header(answer, "CSeq"), &cseq)
	branch := fmt.Sprintf("z9hG4bKend%d", serial.Add(1))
	if code != "200" {
		if m := regexp.MustCompile(`branch=([^;,\s]+)`).FindStringSubmatch(header(answer, "Via")); m != nil {
			branch = m[1]
		}
		say("ACK", branch, cseq)
		return
	}
	say("ACK", branch, cseq)
	say("BYE", branch+"bye", cseq+1)
	_, _ = l.final(time.Second)
}

var ids = regexp.MustCompile(`z9hG4bK[^\s;,]|(?im:^(?:Call-ID|i)[ \t]*:[ \t]*)`)

// anew gives a request a branch and a Call-ID that have not been: else it is taken for a retransmission or a merged one. A
// branch that is only the cookie stays.
func anew(request []byte) []byte {
	return ids.ReplaceAll(request, fmt.Appendf(nil, "${0}x%d", serial.Add(1)))
}

// torture sends the messages of RFC 4475, by UDP and by TCP. After each the server must answer a good request.
func torture(ctx context.Context, s *server, corpora string) (results []result, err error) {
	dir := filepath.Join(corpora, "sip", "rfc4475")
	table, err := os.ReadFile(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		return nil, err
	}
	for _, transport := range []string{"udp", "tcp"} {
		for _, row := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
			f := strings.Split(row, "\t")
			text, err := os.ReadFile(filepath.Join(dir, f[0]))
			if err != nil {
				return results, err
			}
			text = anew(text)
			code, alive, err := s.odd(transport, text, strings.Contains(f[4], "DROP"))
			if err != nil {
				return results, err
			}
			if code == "" {
				code = "DROP"
			}
			got := code
			if !alive {
				got += ", then dead"
			}
			results = append(results, judge("rfc4475", transport+" "+filepath.Base(f[0]), f[4], got, alive && asTold(f[4], code)))
			if ctx.Err() != nil {
				return results, nil
			}
		}
	}
	return results, nil
}

// asTold: CALL, REG and OPT stand for what a well-formed request gets: 404, as most call numbers that are not ours, and
// 401, as a telephone has to show its password (403 from where none may be).
func asTold(want, code string) bool {
	like := map[string]string{"CALL": "200 404 488", "REG": "200 401 403", "OPT": "200 404", "401": "401 403"}
	for _, w := range strings.Split(want, ", ") {
		if w == code || strings.Contains(like[w], code) {
			return true
		}
	}
	return false
}

// odd sends one message, and an OPTIONS behind it: by its answer it is known when there is none for the first. A stream
// that was cut short by a broken message is opened anew.
func (s *server) odd(transport string, text []byte, silent bool) (code string, alive bool, err error) {
	l, err := s.dial(transport, trusted)
	if err != nil {
		return "", false, err
	}
	defer l.conn.Close()
	if _, err := l.conn.Write(text); err != nil {
		return "", false, err
	}
	limit := 1500 * time.Millisecond
	if silent {
		limit = 300 * time.Millisecond
	}
	code, answer := l.final(limit)
	for code != "" && !firstOf(string(text), answer) {
		code, answer = l.final(limit)
	}
	if code != "" {
		l.over(string(text), answer, code)
	}
	return code, s.alive(trusted), nil
}

// firstOf tells whether an answer is not one to a second request in the text (dblreq): both are answered, in either order.
func firstOf(text, answer string) bool {
	head, rest, _ := strings.Cut(text, "\r\n\r\n")
	id := header(answer, "Call-ID")
	return strings.Contains(head, id) || !strings.Contains(rest, id)
}

// kamailio sends the messages of Kamailio's own tests. There are no right answers; the next request must be answered.
func kamailio(_ context.Context, s *server, corpora string) (results []result, err error) {
	dir := filepath.Join(corpora, "sip-gpl", "kamailio-sip")
	names, err := files(dir, "*.sip")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return results, err
		}
		code, alive, err := s.odd("udp", text, true)
		if err != nil {
			return results, err
		}
		got := "silence"
		if code != "" {
		}
		results = append(results, judge("kamailio", name, "next is answered", got, alive))
	}
	return results, nil
}

// sendtoCase is one of pjsip's: a request and what its answer must be.
type sendtoCase struct {
	ID       string   `json:"id"`
	Code     int      `json:"expect_code"`
	Message  string   `json:"complete_msg"`
	SDP      string   `json:"sdp"`
	Body     string   `json:"body"`
	Headers  string   `json:"extra_headers"`
	Must     []string `json:"must_match"`
	MustNot  []string `json:"must_not_match"`
	Upstream string   `json:"upstream_callee_options"`
}

func sendto(_ context.Context, s *server, corpora string) (results []result, err error) {
	text, err := os.ReadFile(filepath.Join(corpora, "sip-gpl", "pjsip-scripts-sendto", "cases.json"))
	var cases []sendtoCase
	if err = errors.Join(err, json.Unmarshal(text, &cases)); err != nil {
		return nil, err
	}
	for _, c := range cases {
		got, ok, err := s.sendto(c)
		if err != nil {
			return results, fmt.Errorf("%s: %w", c.ID, err)
		}
		results = append(results, judge("sendto", c.ID, fmt.Sprint(c.Code), got, ok))
	}
	return results, nil
}

func (s *server) sendto(c sendtoCase) (got string, ok bool, err error) {
	transport, from := "udp", trusted
	switch {
	case strings.Contains(c.Upstream, "--use-srtp 1"):
		transport, from = "tls", optional
	case strings.Contains(c.Upstream, "--use-srtp 2"):
		transport, from = "tls", required
	}
	l, err := s.dial(transport, from)
	if err != nil {
		return "", false, err
	}
	defer l.conn.Close()
	request := c.request(l)
	if _, err := l.conn.Write([]byte(request)); err != nil {
		return "", false, err
	}
	code, answer := l.final(5 * time.Second)
	if code == "" {
		return "silence", false, nil
	}
	l.over(request, answer, code)
	if os.Getenv("VERBOSE") != "" && code != fmt.Sprint(c.Code) {
		fmt.Fprintf(os.Stderr, "--- %s\n%s\n%s\n", c.ID, request, answer)
	}
	if code != fmt.Sprint(c.Code) {
		return code, false, nil
	}
	for i, list := range [][]string{c.Must, c.MustNot} {
		for _, pattern := range list {
			re, err := regexp.Compile("(?im)" + pattern)
			if err != nil {
				return "", false, err
			}
			if re.MatchString(answer) == (i == 1) {
				return code + ", " + map[int]string{0: "lacks ", 1: "has "}[i] + pattern, false, nil
			}
		}
	}
	return code, true, nil
}

// request is the case's message, or an ordinary INVITE round its body.
func (c sendtoCase) request(l *line) string {
	id := fmt.Sprintf("%d%d", os.Getpid(), serial.Add(1))
	host, port, _ := net.SplitHostPort(l.conn.LocalAddr().String())
	fill := strings.NewReplacer("$LOCAL_IP", host, "$LOCAL_PORT", port, "$BRANCH", "z9hG4bK"+id, "$FROM_TAG", ";tag="+id)
	if c.Message != "" {
		if !strings.Contains(c.Message, "\n\n") { // the data have lost the empty line that ends the headers
			c.Message += "\n"
		}
		text := fill.Replace(strings.ReplaceAll(c.Message, "\n", "\r\n"))
		if _, body, _ := strings.Cut(text, "\r\n\r\n"); strings.Contains(c.Message, "c=IN IP4 $LOCAL_IP") { // the address is in the body, too
			text = contentLength.ReplaceAllString(text, fmt.Sprintf("\r\nContent-Length: %d", len(body)))
		}
		return string(anew([]byte(text)))
	}
	headers, body := strings.TrimSpace(c.Headers), strings.TrimPrefix(c.SDP, "\n")
	if c.Body != "" {
		body = c.Body
	} else {
		headers = strings.TrimSpace("Content-Type: application/sdp\n" + headers)
	}
	body = fill.Replace(strings.ReplaceAll(body, "\n", "\r\n"))
	text := fmt.Sprintf("INVITE sip:%s@127.0.0.1 SIP/2.0\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK%s\nMax-Forwards: 70\nFrom: <sip:+4930555@%s>;tag=%s\nTo: <sip:%s@127.0.0.1>\n"+
		"Call-ID: %s\nCSeq: 1 INVITE\nContact: <sip:caller@%s>\nSupported: replaces, 100rel, norefersub\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK\n%s\nContent-Length: %d\n\n",
		number, l.via(), l.conn.LocalAddr(), id, host, id, number, id, l.conn.LocalAddr(), headers, len(body))
	return strings.ReplaceAll(text, "\n", "\r\n") + body
}
