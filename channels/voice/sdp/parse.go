package sdp

import (
	"bytes"
	"fmt"
	"mime"
	"mime/multipart"
	"net/netip"
	"strconv"
	"strings"
)

// Session is a description as the other side sent it.
type Session struct {
	// Origin is the o-line: the same one again says that nothing has changed (RFC 3264 section 8).
	Origin  string
	times   string
	streams []stream
}

// stream is one m-line with what belongs to it, the session's own lines included where it has none.
type stream struct {
	kind     string // audio, video, ...
	port     int
	protocol string // RTP/AVP, UDP/TLS/RTP/SAVPF, ...
	formats  []string
	addr     string
	dir      string
	rtpmap   map[string]string // lower case, "/1" behind it gone
	fmtp     map[string]string
	mux      bool
	rtcp     string
	ptime    int
	maxptime int
	cryptos  []string
	prints   []string
	setup    string
}

const (
	maxSDP     = 8 << 10
	maxStreams = 16
	maxNotes   = 64 // lines of one kind in one stream: what is above is not read

	// Type is the media type of a description.
	Type = "application/sdp"

	typeMultipart = "multipart/"
)

// Parse reads a description leniently: unknown lines are skipped, what a call needs must be readable. Its errors wrap
// ErrUnreadable.
func Parse(body []byte) (*Session, error) {
	if len(body) == 0 || len(body) > maxSDP {
		return nil, fmt.Errorf("%w: %d bytes, 1 to %d expected", ErrUnreadable, len(body), maxSDP)
	}
	s := &Session{times: "0 0"}
	all := stream{dir: SendRecv} // what the session says for its streams
	cur := &all
	for n, line := range strings.FieldsFunc(string(body), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if len(line) < 2 || line[1] != '=' || n == 0 && strings.TrimSpace(line) != "v=0" {
			return nil, fmt.Errorf("%w: line %d", ErrUnreadable, n+1)
		}
		value := strings.TrimSpace(line[2:])
		switch line[0] {
		case 'o':
			s.Origin = value
		case 't':
			s.times = times(value)
		case 'm':
			m, err := parseMedia(value)
			if err != nil {
				return nil, err
			}
			if len(s.streams) == maxStreams {
				return nil, fmt.Errorf("%w: more than %d streams", ErrUnreadable, maxStreams)
			}
			m.addr, m.dir, m.setup = all.addr, all.dir, all.setup
			s.streams = append(s.streams, m)
			cur = &s.streams[len(s.streams)-1]
		case 'c':
			addr, err := parseConnection(value)
			if err != nil {
				return nil, err
			}
			cur.addr = addr
		case 'a':
			cur.attribute(value)
		}
	}
	if len(s.streams) == 0 {
		return nil, fmt.Errorf("%w: no m-line", ErrUnreadable)
	}
	for i := range s.streams {
		if len(s.streams[i].prints) == 0 {
			s.streams[i].prints = all.prints
		}
	}
	return s, nil
}

// times keeps a t-line of two numbers: an answer must repeat it (RFC 3264 section 6). Anything else counts as "0 0".
func times(value string) string {
	f := strings.Fields(value)
	if len(f) != 2 || len(value) > 40 || strings.Trim(f[0]+f[1], "0123456789") != "" {
		return "0 0"
	}
	return f[0] + " " + f[1]
}

// parseMedia reads "audio 49170 RTP/AVP 0 8 101".
func parseMedia(value string) (stream, error) {
	f := strings.Fields(value)
	if len(f) < 3 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return stream{}, fmt.Errorf("%w: m-line", ErrUnreadable)
	}
	ports, _, _ := strings.Cut(f[1], "/")
	port, err := strconv.ParseUint(ports, 10, 16)
	if err != nil {
		return stream{}, fmt.Errorf("%w: port of the m-line", ErrUnreadable)
	}
	return stream{kind: strings.ToLower(f[0]), port: int(port), protocol: strings.ToUpper(f[2]), formats: f[3:],
		rtpmap: map[string]string{}, fmtp: map[string]string{}}, nil
}

// parseConnection reads "IN IP4 192.0.2.1", perhaps with "/ttl" behind it.
func parseConnection(value string) (string, error) {
	f := strings.Fields(value)
	if len(f) != 3 || f[0] != "IN" || f[1] != "IP4" && f[1] != "IP6" {
		return "", fmt.Errorf("%w: c-line, \"IN IP4 address\" expected", ErrUnreadable)
	}
	addr, _, _ := strings.Cut(f[2], "/")
	if f[1] == "IP6" { // as in a URI: wrong here, and meant well
		addr = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
	}
	return addr, nil
}

func (s *stream) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(name) {
	case SendRecv, SendOnly, RecvOnly, Inactive:
		s.dir = strings.ToLower(name)
	case "rtpmap":
		if pt, codec, ok := strings.Cut(rest, " "); ok {
			note(s.rtpmap, pt, strings.TrimSuffix(strings.ToLower(strings.TrimSpace(codec)), "/1"))
		}
	case "fmtp":
		if pt, params, ok := strings.Cut(rest, " "); ok {
			note(s.fmtp, pt, strings.ToLower(strings.TrimSpace(params)))
		}
	case "rtcp-mux":
		s.mux = true
	case "rtcp":
		s.rtcp = rest
	case "ptime":
		s.ptime, _ = strconv.Atoi(rest) // unreadable: as if it were not there
	case "maxptime":
		s.maxptime, _ = strconv.Atoi(rest)
	case "crypto":
		if len(s.cryptos) < maxNotes {
			s.cryptos = append(s.cryptos, rest)
		}
	case "fingerprint":
		if len(s.prints) < maxNotes {
			s.prints = append(s.prints, rest)
		}
	case "setup":
		s.setup = strings.ToLower(rest)
	}
}

// note keeps the first of two lines about the same format. The session's own part has no formats.
func note(m map[string]string, format, value string) {
	if _, twice := m[format]; m != nil && !twice && len(m) < maxNotes {
		m[format] = value
	}
}

// remote is where the stream's RTP and RTCP go (RFC 3605, RFC 5761).
func (s *stream) remote(mux bool) (rtp, rtcp netip.AddrPort, err error) {
	if s.addr == "" {
		return rtp, rtcp, fmt.Errorf("%w: no c-line", ErrUnreadable)
	}
	ip, err := netip.ParseAddr(s.addr)
	if err != nil { // nothing here resolves names while a call waits
		return rtp, rtcp, fmt.Errorf("%w: their media address is no IP address", ErrNotAcceptable)
	}
	ip = ip.Unmap().WithZone("")
	if ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return rtp, rtcp, fmt.Errorf("%w: their media address is no single host's", ErrNotAcceptable)
	}
	rtp = netip.AddrPortFrom(ip, uint16(s.port))
	if mux {
		return rtp, rtp, nil
	}
	if s.port < 65535 {
		rtcp = netip.AddrPortFrom(ip, uint16(s.port+1))
	}
	f := strings.Fields(s.rtcp)
	if len(f) == 0 {
		return rtp, rtcp, nil
	}
	port, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil || port == 0 {
		return rtp, rtcp, nil
	}
	if len(f) == 4 {
		if named, err := netip.ParseAddr(f[3]); err == nil && !named.IsMulticast() {
			ip = named.Unmap().WithZone("")
		}
	}
	return rtp, netip.AddrPortFrom(ip, uint16(port)), nil
}

// packetTime is how many milliseconds of sound they want in a packet: 20 when they do not say, in steps of 10.
func (s *stream) packetTime() int {
	t := s.ptime
	if t < 10 || t > 60 || t%10 != 0 {
		t = 20
	}
	if s.maxptime >= 10 && t > s.maxptime {
		t = s.maxptime / 10 * 10
	}
	return t
}

// FromBody finds the description in a SIP body of that Content-Type, also in a multipart one (RFC 5621); nil when there
// is none. Its errors wrap ErrUnreadable, or ErrNoDescription when a multipart body has other parts only.
func FromBody(contentType string, body []byte) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	if contentType == "" {
		return body, nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil && !strings.HasPrefix(strings.ToLower(contentType), typeMultipart):
		return body, nil // a parameter that nobody needs is broken
	case err != nil:
		return nil, fmt.Errorf("%w: type of the body: %w", ErrUnreadable, err)
	case kind == Type:
		return body, nil
	case !strings.HasPrefix(kind, typeMultipart):
		return nil, nil
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for range maxStreams {
		part, err := parts.NextRawPart()
		if err != nil {
			break
		}
		if t, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); t != Type {
			continue
		}
		var found bytes.Buffer
		if _, err := found.ReadFrom(part); err != nil {
			return nil, fmt.Errorf("%w: part of the body: %w", ErrUnreadable, err)
		}
		return found.Bytes(), nil
	}
	return nil, ErrNoDescription
}
