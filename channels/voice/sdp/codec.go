package sdp

import (
	"slices"
	"strconv"
	"strings"
)

// Names of the codecs, as Prefs and Terms spell them.
const (
	PCMU = "PCMU"
	PCMA = "PCMA"
	G722 = "G722"
	Opus = "opus"
)

const (
	comfort  = "CN"
	events8  = "telephone-event/8000"
	events48 = "telephone-event/48000"
)

// format is one payload type of a stream whose meaning we know.
type format struct {
	name string // one of the names above
	pt   uint8
}

// clock is a codec's RTP clock. G.722 samples at 16000 and says 8000 (RFC 3551 section 4.5.2).
func clock(codec string) int {
	if codec == Opus {
		return 48000
	}
	return 8000
}

// rtpmap is how a format is written.
func (f format) rtpmap() string {
	switch f.name {
	case Opus:
		return "opus/48000/2" // always, whatever is sent (RFC 7587 section 7)
	case events8, events48:
		return f.name
	}
	return f.name + "/8000"
}

// known names the format behind a payload type: by its rtpmap, else by the static table (RFC 3551 section 6).
func (s *stream) known(text string) (format, bool) {
	pt, err := strconv.ParseUint(text, 10, 7)
	if err != nil || len(text) > 1 && text[0] == '0' {
		return format{}, false
	}
	f := format{pt: uint8(pt)}
	m, mapped := s.rtpmap[text]
	if !mapped {
		m = map[uint8]string{0: "pcmu/8000", 8: "pcma/8000", 9: "g722/8000", 13: "cn/8000"}[f.pt]
	}
	switch {
	case m == "pcmu/8000":
		f.name = PCMU
	case m == "pcma/8000":
		f.name = PCMA
	case m == "g722/8000":
		f.name = G722
	case strings.HasPrefix(m, "opus/48000"):
		f.name = Opus
	case m == "cn/8000":
		f.name = comfort
	case m == events8:
		f.name = events8
	case m == events48:
		f.name = events48
	default:
		return format{}, false
	}
	// 64 to 95 would be taken for RTCP (RFC 5761 section 4); 0 is PCMU or "none".
	if f.pt >= 64 && f.pt < 96 || f.pt == 0 && f.name != PCMU {
		return format{}, false
	}
	return f, true
}

// known lists what we know of a stream's formats, in its order.
func (s *stream) knownFormats() []format {
	var list []format
	for _, text := range s.formats {
		if f, ok := s.known(text); ok {
			list = append(list, f)
		}
	}
	return list
}

func find(list []format, name string) (format, bool) {
	i := slices.IndexFunc(list, func(f format) bool { return strings.EqualFold(f.name, name) })
	if i < 0 {
		return format{}, false
	}
	return list[i], true
}

// choose fills in the codec and what goes with it. Keys use the codec's clock (RFC 4733 section 2.1); baresip and others
// have only the one at 8000 beside Opus: then that one.
func (t *Terms) choose(s *stream, codec format, list []format, quiet bool) {
	t.Codec, t.PayloadType = codec.name, codec.pt
	names := []string{events8}
	if clock(codec.name) == 48000 {
		names = []string{events48, events8}
	}
	for _, name := range names {
		if f, ok := find(list, name); ok && t.Events == 0 {
			t.Events, t.EventsClock = f.pt, 8000
			if name == events48 {
				t.EventsClock = 48000
			}
		}
	}
	if f, ok := find(list, comfort); ok && quiet && clock(codec.name) == 8000 {
		t.Comfort = f.pt
	}
	if codec.name == Opus {
		params := strings.Split(strings.ReplaceAll(s.fmtp[strconv.Itoa(int(codec.pt))], " ", ""), ";")
		t.FEC = slices.Contains(params, "useinbandfec=1")
	}
	t.Ptime = s.packetTime()
}

// number is the payload type under which we offer a format. Within one session a number never changes its meaning (RFC
// 3264 section 8.3.2), so what either side has used before goes first.
func (l *Local) number(name string) uint8 {
	static := map[string]uint8{PCMU: 0, PCMA: 8, G722: 9, comfort: 13}
	if pt, ok := static[name]; ok {
		return pt
	}
	for pt := uint8(96); pt < 128; pt++ {
		if l.numbers[pt] == name {
			return pt
		}
	}
	pt := map[string]uint8{Opus: 96, events8: 101, events48: 102}[name]
	for l.numbers[pt] != "" && pt < 127 {
		pt++
	}
	l.numbers[pt] = name
	return pt
}

// learn notes what the other side's dynamic numbers mean.
func (l *Local) learn(s *stream) {
	for _, text := range s.formats {
		pt, err := strconv.ParseUint(text, 10, 7)
		if err != nil || pt < 96 || l.numbers[pt] != "" {
			continue
		}
		l.numbers[pt] = "theirs"
		if f, ok := s.known(text); ok {
			l.numbers[pt] = f.name
		}
	}
}

// formatLines describes formats: numbers for the m-line, and the lines behind it.
func formatLines(list []format) (numbers string, lines []string) {
	for _, f := range list {
		pt := strconv.Itoa(int(f.pt))
		numbers += " " + pt
		lines = append(lines, "a=rtpmap:"+pt+" "+f.rtpmap())
		switch f.name {
		case Opus:
			lines = append(lines, "a=fmtp:"+pt+" useinbandfec=1")
		case events8, events48:
			lines = append(lines, "a=fmtp:"+pt+" 0-16")
		}
	}
	return numbers, lines
}

// agreed are the formats of an answer: the codec chosen and what goes with it.
func (t *Terms) agreed() []format {
	list := []format{{t.Codec, t.PayloadType}}
	if t.Events != 0 {
		list = append(list, format{"telephone-event/" + strconv.Itoa(t.EventsClock), t.Events})
	}
	if t.Comfort != 0 {
		list = append(list, format{comfort, t.Comfort})
	}
	return list
}
