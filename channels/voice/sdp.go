package voice

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"net/netip"
	"strconv"
	"strings"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
)

// description is what a session description says, as far as a telephone call is concerned.
type description struct {
	streams []stream
}

// stream is one m-line. Everything but the first usable audio stream is refused with port 0, in its place.
type stream struct {
	kind     string // audio, video, ...
	port     int
	protocol string
	formats  []string
	addr     string // its own c-line, or the session's
	dir      string // sendrecv, sendonly, recvonly, inactive
	rtpmap   map[string]string
	rtcpMux  bool
}

// terms is what two descriptions agree on for one call.
type terms struct {
	format  media.Format
	remote  netip.AddrPort
	held    bool // the peer wants to hear nothing
	dir     string
	index   int // which stream
	rtcpMux bool
}

var (
	errSDP     = errors.New("unreadable SDP")
	errNoCodec = errors.New("no common codec")
)

const (
	maxSDP     = 8 << 10
	maxStreams = 16
	// ourEvents is the payload type under which we offer telephone-event.
	ourEvents = 101
)

// parseSDP reads a description leniently: unknown lines are skipped, what a call needs must be there.
func parseSDP(body []byte) (*description, error) {
	if len(body) == 0 || len(body) > maxSDP {
		return nil, errSDP
	}
	d := &description{}
	var sessionAddr string
	sessionDir := "sendrecv"
	var cur *stream
	for n, line := range strings.FieldsFunc(string(body), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if len(line) < 2 || line[1] != '=' {
			return nil, errSDP
		}
		value := strings.TrimSpace(line[2:])
		switch line[0] {
		case 'v':
			if value != "0" {
				return nil, errSDP
			}
		case 'm':
			s, err := parseMedia(value)
			if err != nil || len(d.streams) == maxStreams {
				return nil, errSDP
			}
			s.addr, s.dir = sessionAddr, sessionDir
			d.streams = append(d.streams, s)
			cur = &d.streams[len(d.streams)-1]
		case 'c':
			addr, err := parseConnection(value)
			if err != nil {
				return nil, err
			}
			if cur != nil {
				cur.addr = addr
			} else {
				sessionAddr = addr
			}
		case 'a':
			if cur != nil {
				cur.attribute(value)
			} else if isDirection(value) {
				sessionDir = value
			}
		default:
			if n == 0 { // RFC 4566 section 5: v= comes first
				return nil, errSDP
			}
		}
	}
	if len(d.streams) == 0 {
		return nil, errSDP
	}
	return d, nil
}

// parseMedia reads "audio 49170 RTP/AVP 0 8 101".
func parseMedia(value string) (stream, error) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return stream{}, errSDP
	}
	ports, _, _ := strings.Cut(f[1], "/")
	port, err := strconv.Atoi(ports)
	if err != nil || port < 0 || port > 65535 {
		return stream{}, errSDP
	}
	return stream{kind: strings.ToLower(f[0]), port: port, protocol: strings.ToUpper(f[2]), formats: f[3:], rtpmap: map[string]string{}}, nil
}

// parseConnection reads "IN IP4 192.0.2.1", perhaps with "/ttl" behind it.
func parseConnection(value string) (string, error) {
	f := strings.Fields(value)
	if len(f) != 3 || f[0] != "IN" || f[1] != "IP4" && f[1] != "IP6" {
		return "", errSDP
	}
	addr, _, _ := strings.Cut(f[2], "/")
	return addr, nil
}

func (s *stream) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	switch {
	case isDirection(value):
		s.dir = value
	case name == "rtpmap":
		pt, codec, ok := strings.Cut(strings.TrimSpace(rest), " ")
		if ok && len(s.rtpmap) < 64 {
			s.rtpmap[pt] = strings.ToLower(strings.TrimSpace(codec))
		}
	case value == "rtcp-mux":
		s.rtcpMux = true
	}
}

func isDirection(s string) bool {
	return s == "sendrecv" || s == "sendonly" || s == "recvonly" || s == "inactive"
}

// agree picks the first audio stream that a telephone call can use. It serves for offers and for answers.
func (d *description) agree() (terms, error) {
	for i, s := range d.streams {
		if s.kind != "audio" || s.port == 0 || s.protocol != "RTP/AVP" && s.protocol != "RTP/AVPF" {
			continue
		}
		t := terms{index: i, dir: s.dir, rtcpMux: s.rtcpMux}
		found := false
		for _, f := range s.formats {
			pt, name := s.codec(f)
			switch codec, known := media.ParseCodec(name); {
			case name == "telephone-event" && t.format.Events == 0:
				t.format.Events = pt
			case !found && known:
				found = true
				t.format.Codec, t.format.PayloadType = codec, pt
			}
		}
		if !found {
			continue
		}
		if s.addr == "" {
			return terms{}, errSDP
		}
		ip, err := netip.ParseAddr(s.addr)
		if err != nil { // a host name: nothing here resolves names while a call waits
			continue
		}
		ip = ip.Unmap()
		t.remote = netip.AddrPortFrom(ip, uint16(s.port))
		// RFC 3264 section 8.4; 0.0.0.0 is how RFC 2543 put somebody on hold.
		t.held = s.dir == "sendonly" || s.dir == "inactive" || ip.IsUnspecified()
		return t, nil
	}
	return terms{}, errNoCodec
}

// codec names a format: by its rtpmap, else by the static table (RFC 3551). A G.711 under another number than its
// static one is left alone: no phone needs it.
func (s *stream) codec(format string) (uint8, string) {
	pt, err := strconv.ParseUint(format, 10, 7)
	if err != nil {
		return 0, ""
	}
	m, mapped := s.rtpmap[format]
	switch {
	case pt == uint64(media.TypePCMU) && (!mapped || strings.HasPrefix(m, "pcmu/8000")):
		return media.TypePCMU, "pcmu"
	case pt == uint64(media.TypePCMA) && (!mapped || strings.HasPrefix(m, "pcma/8000")):
		return media.TypePCMA, "pcma"
	case pt >= 96 && strings.HasPrefix(m, "telephone-event/8000"):
		return uint8(pt), "telephone-event"
	}
	return 0, ""
}

// local is our side of a call's description. Version rises only when what we say has changed (RFC 3264 section 8).
type local struct {
	ip      string
	port    int
	session uint64
	version uint64
	last    string // what we said last, without the o-line
}

// offer describes us to a caller that sent no SDP.
func (l *local) offer() []byte {
	return l.render([]string{fmt.Sprintf("m=audio %d RTP/AVP %d %d %d", l.port, media.TypePCMU, media.TypePCMA, ourEvents),
		"a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
		fmt.Sprintf("a=rtpmap:%d telephone-event/8000", ourEvents), fmt.Sprintf("a=fmtp:%d 0-16", ourEvents),
		"a=ptime:20", "a=sendrecv"})
}

// answer mirrors the offer: every m-line in its place, all but the one of t refused.
func (l *local) answer(d *description, t terms) []byte {
	var lines []string
	for i, s := range d.streams {
		if i != t.index {
			if len(s.formats) == 0 {
				s.formats = []string{"0"} // one must stand there
			}
			lines = append(lines, fmt.Sprintf("m=%s 0 %s %s", edge.Plain(s.kind), edge.Plain(s.protocol), edge.Plain(strings.Join(s.formats, " "))))
			continue
		}
		f := t.format
		m := fmt.Sprintf("m=audio %d %s %d", l.port, s.protocol, f.PayloadType)
		if f.Events != 0 {
			m += fmt.Sprintf(" %d", f.Events)
		}
		lines = append(lines, m, fmt.Sprintf("a=rtpmap:%d %s/%d", f.PayloadType, f.Codec.Name(), f.Codec.ClockRate()))
		if f.Events != 0 {
			lines = append(lines, fmt.Sprintf("a=rtpmap:%d telephone-event/8000", f.Events), fmt.Sprintf("a=fmtp:%d 0-16", f.Events))
		}
		lines = append(lines, "a=ptime:20", "a="+mirror(t.dir))
	}
	return l.render(lines)
}

// mirror is our direction for theirs (RFC 3264 section 6.1).
func mirror(dir string) string {
	switch dir {
	case "sendonly":
		return "recvonly"
	case "recvonly":
		return "sendonly"
	case "inactive":
		return "inactive"
	}
	return "sendrecv"
}

func (l *local) render(lines []string) []byte {
	family := "IP4"
	if strings.Contains(l.ip, ":") {
		family = "IP6"
	}
	rest := fmt.Sprintf("s=-\r\nc=IN %s %s\r\nt=0 0\r\n%s\r\n", family, l.ip, strings.Join(lines, "\r\n"))
	if rest != l.last {
		l.version++
		l.last = rest
	}
	return fmt.Appendf(nil, "v=0\r\no=patchbay %d %d IN %s %s\r\n%s", l.session, l.version, family, l.ip, rest)
}

// sdpOf finds the session description in a message's body; nil when there is none.
func sdpOf(contentType string, body []byte) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	if contentType == "" {
		return body, nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil && !strings.HasPrefix(strings.ToLower(contentType), edge.TypeMultipart):
		return body, nil // a parameter nobody needs is broken; validate has seen the type
	case err != nil:
		return nil, errSDP
	case kind == edge.TypeSDP:
		return body, nil
	case !strings.HasPrefix(kind, edge.TypeMultipart):
		return nil, nil
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for range maxStreams {
		part, err := parts.NextRawPart()
		if err != nil {
			break
		}
		if t, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); t != edge.TypeSDP {
			continue
		}
		var sdp bytes.Buffer
		if _, err := sdp.ReadFrom(part); err != nil {
			return nil, errSDP
		}
		return sdp.Bytes(), nil
	}
	return nil, errSDP
}
