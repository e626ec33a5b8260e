package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/icholy/digest"
)

// phone is an agent's SIP telephone: it calls out through the server, which then calls a scenario of somebody else's.
type phone struct {
	*line
	user         string
	rtp          *net.UDPConn
	tag, callID  string
	seq          int
	invite       string // the last one, for CANCEL and ACK
	to, target   string // of the dialog
	up, over     bool
	code, reason string // of a refusal
}

// openPhone makes one. It speaks from its own address, for the server hears telephones there only.
func (s *server) openPhone(user string) (*phone, error) {
	l, err := s.dial("udp", telephone)
	if err != nil {
		return nil, err
	}
	rtp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(telephone)})
	if err != nil {
		return nil, errors.Join(err, l.conn.Close())
	}
	return &phone{line: l, user: user, rtp: rtp}, nil
}

func (p *phone) close() { _, _ = p.conn.Close(), p.rtp.Close() }

// call calls a number and stays in the call until the other side ends it, or as long as patience says: then it takes the
// call back, or hangs up. It speaks all the while.
func (s *server) call(ctx context.Context, p *phone, to string, ring, talk time.Duration) error {
	p.tag, p.callID = fmt.Sprintf("p%d", serial.Add(1)), fmt.Sprintf("call%d", serial.Add(1))
	p.to, p.target = fmt.Sprintf("<sip:%s@%s>", to, s.at()), fmt.Sprintf("sip:%s@%s", to, s.at())
	p.sendInvite("")
	ctx, cancel := context.WithCancel(ctx)
	var speaking sync.WaitGroup
	defer speaking.Wait()
	defer cancel()
	limit, leaving := time.Now().Add(ring), false
	for !p.over {
		text, err := p.read(limit)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && strings.HasPrefix(text, "SIP/2.0"):
			if p.onAnswer(text) {
				limit = time.Now().Add(talk)
				if m := regexp.MustCompile(`m=audio (\d+)`).FindStringSubmatch(text); m != nil {
					speaking.Go(func() { p.speak(ctx, "127.0.0.1:"+m[1]) })
				}
			}
		case err == nil:
			p.onRequest(text)
		case leaving:
			return nil
		default:
			leaving, limit = true, time.Now().Add(3*time.Second)
			if p.up {
				p.send("BYE", p.target, fmt.Sprintf("z9hG4bKbye%d", serial.Add(1)), p.seq+1, "", "")
			} else {
				p.send("CANCEL", p.first(), branchOf.FindStringSubmatch(p.invite)[1], p.seq, "", "")
			}
		}
	}
	return nil
}

// first is the request URI of the last INVITE.
func (p *phone) first() string { return strings.Fields(p.invite)[1] }

func (p *phone) offer() string {
	at := p.rtp.LocalAddr().(*net.UDPAddr)
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n", at.IP, at.Port)
}

func (p *phone) sendInvite(login string) {
	p.seq++
	p.invite = p.send("INVITE", p.target, fmt.Sprintf("z9hG4bKphone%d", serial.Add(1)), p.seq, login, p.offer())
}

func (p *phone) send(method, uri, branch string, seq int, login, body string) string {
	kind := ""
	if body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	text := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@patchbay>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:%s@%s>\r\n%s%sContent-Length: %d\r\n\r\n%s",
		method, uri, p.conn.LocalAddr(), branch, p.user, p.tag, p.to, p.callID, seq, method, p.user, p.conn.LocalAddr(), login, kind, len(body), body)
	_, _ = p.conn.Write([]byte(text)) // the server sees to what is missing
	return text
}

var branchOf = regexp.MustCompile(`branch=([^;,\s]+)`)

// onAnswer takes an answer to a request of ours; true: the call has just begun.
func (p *phone) onAnswer(text string) (begun bool) {
	code := text[8:11]
	if strings.HasSuffix(header(text, "CSeq"), "BYE") {
		p.over = true
		return false
	}
	if !strings.HasSuffix(header(text, "CSeq"), "INVITE") || code < "200" {
		return false
	}
	if code == "200" {
		p.to = header(text, "To")
		if m := regexp.MustCompile(`<(sips?:[^>]+)>`).FindStringSubmatch(header(text, "Contact")); m != nil {
			p.target = m[1]
		}
		p.send("ACK", p.target, fmt.Sprintf("z9hG4bKack%d", serial.Add(1)), p.seq, "", "")
		begun, p.up = !p.up, true
		return begun
	}
	asked := p.to
	p.to = header(text, "To")
	p.send("ACK", p.first(), branchOf.FindStringSubmatch(p.invite)[1], p.seq, "", "")
	p.to = asked
	challenge, err := digest.ParseChallenge(header(text, "WWW-Authenticate"))
	if code == "401" && err == nil && p.seq == 1 {
		if c, err := digest.Digest(challenge, digest.Options{Method: "INVITE", URI: p.target, Username: p.user, Password: password}); err == nil {
			p.sendInvite("Authorization: " + c.String() + "\r\n")
			return false
		}
	}
	p.over, p.code, p.reason = true, code, strings.TrimSpace(strings.SplitN(text, "\r\n", 2)[0][12:])
	return false
}

// onRequest answers what the server asks within the call.
func (p *phone) onRequest(text string) {
	method, _, _ := strings.Cut(text, " ")
	if method == "ACK" {
		return
	}
	body := ""
	if method == "INVITE" || method == "UPDATE" && strings.Contains(text, "application/sdp") {
		body = p.offer()
	}
	var out strings.Builder
	out.WriteString("SIP/2.0 200 OK\r\n")
	for _, row := range strings.Split(text, "\r\n") {
		switch name, _, _ := strings.Cut(row, ":"); strings.ToLower(strings.TrimSpace(name)) {
		case "via", "from", "to", "call-id", "cseq":
			out.WriteString(row + "\r\n")
		}
	}
	fmt.Fprintf(&out, "Contact: <sip:%s@%s>\r\n", p.user, p.conn.LocalAddr())
	if body != "" {
		out.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&out, "Content-Length: %d\r\n\r\n%s", len(body), body)
	_, _ = p.conn.Write([]byte(out.String()))
	p.over = p.over || method == "BYE"
}

// speak sends silence each 20 ms: the server ends calls in which nobody is heard.
func (p *phone) speak(ctx context.Context, to string) {
	at, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		return
	}
	packet := append([]byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}, []byte(strings.Repeat("\xff", 160))...)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		stamp := n * 160
		packet[2], packet[3] = byte(n>>8), byte(n)
		packet[4], packet[5], packet[6], packet[7] = byte(stamp>>24), byte(stamp>>16), byte(stamp>>8), byte(stamp)
		_, _ = p.rtp.WriteToUDP(packet, at)
	}
}
