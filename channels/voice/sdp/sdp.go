// Package sdp knows session descriptions (RFC 8866) and the offer/answer rules (RFC 3264), as far as a telephone call
// needs them: one audio stream, its codecs, keys (telephone-event), direction and encryption. It knows no SIP and opens
// nothing; whoever owns a leg of a call holds one Local and asks it:
//
//	they offer:  s, err := sdp.Parse(body);  answer, terms, err := local.Answer(s, prefs)
//	we offer:    offer, err := local.Offer(prefs);  ...;  s, err := sdp.Parse(body);  terms, err := local.Accept(s)
//	refresh:     local.Again()
//
// Parse is lenient, the rules are not: an answer that breaks the offer is an error. What cannot be read wraps
// ErrUnreadable (400), what can be read but not taken wraps ErrNotAcceptable (488); then what was agreed before stays.
package sdp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

var (
	// ErrUnreadable: the description breaks the grammar.
	ErrUnreadable = errors.New("unreadable SDP")
	// ErrNoDescription: the body is something else (415).
	ErrNoDescription = errors.New("no session description in the body")
	// ErrNotAcceptable: it is readable, and no sound can come of it.
	ErrNotAcceptable = errors.New("not acceptable")
)

// Directions, always as the one sees them who says them.
const (
	SendRecv = "sendrecv"
	SendOnly = "sendonly"
	RecvOnly = "recvonly"
	Inactive = "inactive"
)

// Prefs is what we want of a session.
type Prefs struct {
	Codecs      []string // in our order: PCMU, PCMA, G722, opus. It goes before theirs (RFC 3264 section 6.1 leaves that to us)
	Comfort     bool     // comfort noise (CN) is understood
	Mux         bool     // RTCP may come on the RTP port
	Dir         string   // what we do with the sound; "" = sendrecv
	SRTP        string   // off, optional, required; "" = off
	Keys        string   // sdes, dtls: what we offer, and take first when both are offered
	Secure      bool     // signalling is inside TLS: SDES keys are safe there only
	Fingerprint string   // of our certificate, as in a=fingerprint: "sha-256 AB:CD:..."; "" = no DTLS
}

// Terms is what both sides have agreed on.
type Terms struct {
	Codec       string
	PayloadType uint8
	Events      uint8          // telephone-event's payload type; 0: none
	EventsClock int            // 8000, 48000
	Comfort     uint8          // CN's payload type; 0: none
	FEC         bool           // Opus: they use the redundancy in packets
	Ptime       int            // milliseconds of sound they want in a packet
	Remote      netip.AddrPort // where RTP goes; unspecified address: nowhere
	RTCP        netip.AddrPort
	Mux         bool
	Held        bool   // they want to hear nothing: sendonly, inactive, 0.0.0.0 or ::
	Dir         string // what we do now
	SDES        *Crypto
	DTLS        *Fingerprint
}

// Encrypted tells whether sound is SRTP.
func (t Terms) Encrypted() bool { return t.SDES != nil || t.DTLS != nil }

// Local is our side of one session. It belongs to one goroutine.
type Local struct {
	addr    netip.AddrPort
	session uint64
	version uint64 // the highest said so far

	said  said      // what stands: the last answer, or the last offer that was accepted
	prefs Prefs     // it was said with these
	open  *proposal // our last offer

	// What the session has settled: later offers keep number, place and protocol of its streams (RFC 3264 section 8).
	times    string
	shape    []string // the m-lines, refused ones as text, ours as ""
	protocol string
	keyed    string // "", sdes or dtls
	numbers  [128]string
	keys     map[string][]byte
	isClient bool
}

// said is a description of ours; rest is all of it but the o-line.
type said struct {
	rest string
	body []byte
}

// proposal is an offer of ours.
type proposal struct {
	said
	index   int // which m-line is ours
	streams int
	prefs   Prefs
	keys    string // "", sdes or dtls: what stands in it
	must    bool   // an answer without keys is none
}

// NewLocal begins a session whose sound is awaited at addr, as the other side sees it.
func NewLocal(addr netip.AddrPort) *Local {
	return &Local{addr: addr, session: rand.Uint64() >> 2, times: "0 0", shape: []string{""}, keys: map[string][]byte{}}
}

// Again is what we said last and was agreed, word by word: a refresh must change nothing (RFC 4028 section 7.4). Before
// anything was agreed it is our open offer. Accept takes what comes back, also when we have only answered so far.
func (l *Local) Again() []byte {
	if l.said.body == nil && l.open != nil {
		return l.open.body
	}
	return l.said.body
}

// Offer describes us. In a session that runs, encryption stays as it was agreed; what may change is codecs and direction.
//
// Optional encryption is offered as RTP/AVP with keys beside it (RFC 8643): who knows them answers with keys, everybody
// else with plain sound. Two m-lines, or RFC 5939, are understood by few; baresip's "srtp" and pjsip's optional mode do
// the same. Required encryption is RTP/SAVP or UDP/TLS/RTP/SAVP, which nobody can answer in the clear.
func (l *Local) Offer(p Prefs) ([]byte, error) {
	o := &proposal{prefs: p, streams: len(l.shape), index: slices.Index(l.shape, "")}
	protocol := "RTP/AVP"
	switch {
	case l.protocol != "":
		protocol, o.keys = l.protocol, l.keyed
		o.must = o.keys != ""
	case p.SRTP == Optional || p.SRTP == Required:
		o.must = p.SRTP == Required
		switch {
		case p.Keys == DTLS && p.Fingerprint != "":
			o.keys = DTLS
		case p.Keys != DTLS && p.Secure:
			o.keys = SDES
		case o.must:
			return nil, fmt.Errorf("%w: encryption is required and there is no safe way to agree on keys", ErrNotAcceptable)
		}
		if o.must {
			protocol = map[string]string{SDES: "RTP/SAVP", DTLS: "UDP/TLS/RTP/SAVP"}[o.keys]
		}
	}
	formats := l.offered(p)
	if len(formats) == 0 {
		return nil, fmt.Errorf("%w: no codec to offer", ErrNotAcceptable)
	}
	numbers, lines := formatLines(formats)
	lines = append([]string{fmt.Sprintf("m=audio %d %s%s", l.addr.Port(), protocol, numbers)}, lines...)
	lines = append(lines, "a=ptime:20")
	if p.Mux {
		lines = append(lines, "a=rtcp-mux")
	}
	switch o.keys {
	case SDES:
		for i, s := range suites {
			lines = append(lines, cryptoLine(i+1, s.name, l.key(s.name)))
		}
	case DTLS:
		lines = append(lines, "a=fingerprint:"+p.Fingerprint, "a=setup:actpass")
	}
	lines = append(lines, "a="+p.dir())
	all := slices.Clone(l.shape)
	all[o.index] = strings.Join(lines, "\r\n")
	o.said = l.render(l.times, all)
	l.open = o
	return o.body, nil
}

// offered are the formats of an offer.
func (l *Local) offered(p Prefs) []format {
	var list []format
	add := func(name string) {
		if _, twice := find(list, name); !twice {
			list = append(list, format{name, l.number(name)})
		}
	}
	narrow, wide := false, false
	for _, want := range p.Codecs {
		for _, name := range []string{PCMU, PCMA, G722, Opus} {
			if strings.EqualFold(want, name) {
				add(name)
				narrow, wide = narrow || clock(name) == 8000, wide || clock(name) == 48000
			}
		}
	}
	if narrow {
		add(events8)
		if p.Comfort {
			add(comfort)
		}
	}
	if wide {
		add(events48)
	}
	return list
}

func (p Prefs) dir() string {
	if p.Dir == "" {
		return SendRecv
	}
	return p.Dir
}

// Answer answers their offer: every m-line in its place, all but one refused with port 0. Of several audio streams that
// we could take an encrypted one goes first, unless encryption is off.
func (l *Local) Answer(offer *Session, p Prefs) ([]byte, Terms, error) {
	index, best := -1, Terms{}
	var refused error
	for i := range offer.streams {
		t, err := l.take(&offer.streams[i], p)
		switch {
		case err != nil && (refused == nil || !errors.Is(err, errNoAudio)):
			refused = err
		case err == nil && (index < 0 || t.Encrypted() && !best.Encrypted()):
			index, best = i, t
		}
	}
	if index < 0 {
		return nil, Terms{}, refused
	}
	s := &offer.streams[index]
	l.learn(s)
	l.times, l.protocol = offer.times, s.protocol
	l.settle(best)
	l.shape = make([]string, len(offer.streams))
	for i, other := range offer.streams {
		if i != index {
			formats := strings.Join(other.formats, " ")
			if formats == "" {
				formats = "0" // one must stand there
			}
			l.shape[i] = fmt.Sprintf("m=%s 0 %s %s", other.kind, other.protocol, formats)
		}
	}
	numbers, lines := formatLines(best.agreed())
	lines = append([]string{fmt.Sprintf("m=audio %d %s%s", l.addr.Port(), s.protocol, numbers)}, lines...)
	lines = append(lines, "a=ptime:20")
	if best.Mux {
		lines = append(lines, "a=rtcp-mux")
	}
	switch {
	case best.SDES != nil:
		lines = append(lines, cryptoLine(best.SDES.Tag, best.SDES.said, best.SDES.Local))
	case best.DTLS != nil:
		lines = append(lines, "a=fingerprint:"+p.Fingerprint, "a=setup:"+map[bool]string{true: "active", false: "passive"}[best.DTLS.Client])
	}
	lines = append(lines, "a="+best.Dir)
	all := slices.Clone(l.shape)
	all[index] = strings.Join(lines, "\r\n")
	l.said, l.prefs = l.render(l.times, all), p
	l.open = nil // an offer of ours that was under way has lost (RFC 3261 section 14.2)
	return l.said.body, best, nil
}

var errNoAudio = fmt.Errorf("%w: no sound is offered", ErrNotAcceptable)

// take looks whether one offered stream can become a call's sound.
func (l *Local) take(s *stream, p Prefs) (Terms, error) {
	known, _ := s.secureProtocol()
	if s.kind != "audio" || s.port == 0 || !known {
		return Terms{}, errNoAudio
	}
	list := s.knownFormats()
	var codec format
	found := false
	for _, want := range p.Codecs {
		if codec, found = find(list, want); found && codec.isCodec() {
			break
		}
		found = false
	}
	if !found {
		return Terms{}, fmt.Errorf("%w: no common codec", ErrNotAcceptable)
	}
	t := Terms{Mux: p.Mux && s.mux}
	t.choose(s, codec, list, p.Comfort)
	if err := l.secure(s, p, &t); err != nil {
		return Terms{}, err
	}
	return t, t.path(s, p.dir())
}

func (f format) isCodec() bool {
	return f.name == PCMU || f.name == PCMA || f.name == G722 || f.name == Opus
}

// path fills in where sound goes, and which way, when we would like to do ours (RFC 3264 sections 6.1 and 8.4; an
// unspecified address is how RFC 2543 put somebody on hold: we may still hear them, they are told so).
func (t *Terms) path(s *stream, ours string) (err error) {
	if t.Remote, t.RTCP, err = s.remote(t.Mux); err != nil {
		return err
	}
	t.Held = !receives(s.dir) || t.Remote.Addr().IsUnspecified()
	send, receive := sends(ours) && !t.Held, receives(ours) && sends(s.dir)
	switch {
	case send && receive:
		t.Dir = SendRecv
	case send:
		t.Dir = SendOnly
	case receive:
		t.Dir = RecvOnly
	default:
		t.Dir = Inactive
	}
	return nil
}

func sends(dir string) bool    { return dir == SendRecv || dir == SendOnly }
func receives(dir string) bool { return dir == SendRecv || dir == RecvOnly }

// settle keeps what later offers of ours must not change.
func (l *Local) settle(t Terms) {
	l.keyed = ""
	switch {
	case t.SDES != nil:
		l.keyed = SDES
	case t.DTLS != nil:
		l.keyed, l.isClient = DTLS, t.DTLS.Client
	}
}

// Accept takes the answer to our last offer. Of a forked call each answer is accepted on its own; the last one counts.
func (l *Local) Accept(answer *Session) (Terms, error) {
	o := l.open
	if o == nil && l.said.body != nil { // to Again
		o = &proposal{said: l.said, index: slices.Index(l.shape, ""), streams: len(l.shape), prefs: l.prefs, keys: l.keyed, must: l.keyed != ""}
	}
	if o == nil {
		return Terms{}, fmt.Errorf("%w: an answer without an offer", ErrNotAcceptable)
	}
	if len(answer.streams) != o.streams {
		return Terms{}, fmt.Errorf("%w: %d streams offered, %d answered", ErrNotAcceptable, o.streams, len(answer.streams))
	}
	s := &answer.streams[o.index]
	known, _ := s.secureProtocol()
	switch {
	case s.kind != "audio" || !known:
		return Terms{}, fmt.Errorf("%w: sound offered, %s over %s answered", ErrNotAcceptable, s.kind, s.protocol)
	case s.port == 0:
		return Terms{}, fmt.Errorf("%w: the answer refuses sound", ErrNotAcceptable)
	}
	list := s.knownFormats()
	i := slices.IndexFunc(list, func(f format) bool {
		return f.isCodec() && slices.ContainsFunc(o.prefs.Codecs, func(c string) bool { return strings.EqualFold(c, f.name) })
	})
	if i < 0 {
		return Terms{}, fmt.Errorf("%w: the answer has no codec that we offered", ErrNotAcceptable)
	}
	t := Terms{Mux: o.prefs.Mux && s.mux}
	t.choose(s, list[i], list, o.prefs.Comfort)
	if err := l.answered(s, o, &t); err != nil {
		return Terms{}, err
	}
	if err := t.path(s, o.prefs.dir()); err != nil {
		return Terms{}, err
	}
	if !sends(o.prefs.dir()) && !t.Remote.Addr().IsUnspecified() {
		t.Held = false // they only mirror us
	}
	l.learn(s)
	l.protocol = s.protocol
	l.settle(t)
	l.said, l.prefs = o.said, o.prefs
	return t, nil
}

// render writes a description. The version rises only when it differs from what stands, or from an offer that is open
// (RFC 3264 section 8).
func (l *Local) render(times string, streams []string) said {
	family := "IP4"
	if l.addr.Addr().Unmap().Is6() {
		family = "IP6"
	}
	ip := l.addr.Addr().Unmap()
	rest := fmt.Sprintf("s=-\r\nc=IN %s %s\r\nt=%s\r\n%s\r\n", family, ip, times, strings.Join(streams, "\r\n"))
	switch {
	case l.said.rest == rest:
		return l.said
	case l.open != nil && l.open.rest == rest:
		return l.open.said
	}
	l.version++
	return said{rest, fmt.Appendf(nil, "v=0\r\no=patchbay %d %d IN %s %s\r\n%s", l.session, l.version, family, ip, rest)}
}
