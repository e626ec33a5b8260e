package doctor

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mask takes everything personal out of a trace and keeps its shape: the same number, name or address has the same
// stand-in everywhere, private addresses stay private, ports stay. It lets through only what it knows to be harmless;
// whatever it does not know is left out. It remembers what stands for what: give one mask the whole trace.
type mask struct {
	names map[string]map[string]string // kind -> original -> stand-in
	addrs map[netip.Addr]netip.Addr
	next  map[string]int // of each kind of address
}

func newMask() *mask {
	return &mask{names: map[string]map[string]string{}, addrs: map[netip.Addr]netip.Addr{}, next: map[string]int{}}
}

// as is the stand-in for something of a kind: "number-2".
func (k *mask) as(kind, original string) string {
	if original == "" {
		return ""
	}
	known := k.names[kind]
	if known == nil {
		known = map[string]string{}
		k.names[kind] = known
	}
	if known[original] == "" {
		known[original] = kind + "-" + strconv.Itoa(len(known)+1)
	}
	return known[original]
}

// number takes a telephone number however it is written.
func (k *mask) number(s string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	if len(digits) < len(s)/2 || digits == "" {
		return k.as("user", strings.ToLower(s))
	}
	return k.as("number", strings.TrimLeft(digits, "0"))
}

// ranges that stand for the world outside: RFC 5737, RFC 2544, RFC 3849.
var stands = map[string]netip.Addr{
	"private": netip.MustParseAddr("10.0.0.0"), "carrier": netip.MustParseAddr("100.64.0.0"), "link": netip.MustParseAddr("169.254.0.0"),
	"public": netip.MustParseAddr("198.18.0.0"), "private6": netip.MustParseAddr("fd00::"), "link6": netip.MustParseAddr("fe80::"),
	"public6": netip.MustParseAddr("2001:db8::"),
}

// addr keeps loopback and unspecified addresses: they name nobody.
func (k *mask) addr(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() {
		return a
	}
	if known, ok := k.addrs[a]; ok {
		return known
	}
	kind := "public"
	switch {
	case a.IsPrivate():
		kind = "private"
	case carrierNAT.Contains(a):
		kind = "carrier"
	case a.IsLinkLocalUnicast():
		kind = "link"
	}
	if a.Is6() {
		kind += "6"
	}
	k.next[kind]++
	n, b := k.next[kind], stands[kind].AsSlice()
	b[len(b)-1], b[len(b)-2] = byte(n), byte(n>>8)
	k.addrs[a], _ = netip.AddrFromSlice(b)
	return k.addrs[a]
}

func (k *mask) addrPort(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(k.addr(a.Addr()), a.Port())
}

// host is an address or a name, perhaps with a port.
func (k *mask) host(s string) string {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return k.addrPort(a).String()
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return bracket(k.addr(a))
	}
	name, port, _ := strings.Cut(s, ":")
	if a, err := netip.ParseAddr(name); err == nil {
		name = k.addr(a).String()
	} else {
		name = k.as("host", strings.ToLower(name)) + ".invalid"
	}
	if small.MatchString(port) {
		return name + ":" + port
	}
	return name
}

func bracket(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

var (
	small = regexp.MustCompile(`^[0-9]{1,5}$`) // ports, seconds: too short to be anybody's
	word  = regexp.MustCompile(`[\p{L}\p{N}]+`)
)

// plain keeps the words of our own vocabulary; any other becomes an ellipsis.
func (k *mask) plain(text string) string {
	return word.ReplaceAllStringFunc(text, func(w string) string {
		if _, ok := vocabulary[strings.ToLower(w)]; ok || len(w) <= 3 && small.MatchString(w) {
			return w
		}
		return "…"
	})
}

func (k *mask) trace(t Trace) Trace {
	t.Number, t.Ours, t.Name = k.number(t.Number), k.number(t.Ours), k.as("name", t.Name)
	t.Node, t.Reason, t.Result, t.State = k.as("node", t.Node), k.plain(t.Reason), k.plain(t.Result), k.plain(t.State)
	t.Direction, t.Media = k.plain(t.Direction), k.plain(t.Media)
	t.Legs = slices.Clone(t.Legs)
	for i := range t.Legs {
		k.leg(&t.Legs[i])
	}
	t.Messages = slices.Clone(t.Messages)
	for i := range t.Messages {
		m := &t.Messages[i]
		m.Raw = k.message(m)
		m.Local, m.Remote, m.CallID, m.Transport = k.addrPort(m.Local), k.addrPort(m.Remote), k.as("call", m.CallID), k.plain(m.Transport)
	}
	t.Events = slices.Clone(t.Events)
	for i := range t.Events {
		t.Events[i].Kind, t.Events[i].Text = k.plain(t.Events[i].Kind), k.plain(t.Events[i].Text)
	}
	return t
}

func (k *mask) leg(l *Leg) {
	l.Role, l.By, l.Transport, l.Codec, l.Secured = k.plain(l.Role), k.plain(l.By), k.plain(l.Transport), k.plain(l.Codec), k.plain(l.Secured)
	l.Name, l.Number, l.SIPCallID = k.as("name", l.Name), k.number(l.Number), k.as("call", l.SIPCallID)
	for _, a := range []*netip.AddrPort{&l.Source, &l.Local, &l.Announced, &l.Seen, &l.SendsTo} {
		*a = k.addrPort(*a)
	}
	l.Latch = slices.Clone(l.Latch)
	for i := range l.Latch {
		d := &l.Latch[i]
		d.From, d.To, d.Why = k.addrPort(d.From), k.addrPort(d.To), k.plain(d.Why)
	}
	if l.Pair != nil {
		p := *l.Pair
		for _, c := range []*Candidate{&p.Local, &p.Remote} {
			c.Addr, c.Kind, c.Protocol = k.addrPort(c.Addr), k.plain(c.Kind), k.plain(c.Protocol)
		}
		l.Pair = &p
	}
	if l.End != nil {
		e := *l.End
		e.By, e.Reason = k.plain(e.By), k.plain(e.Reason)
		l.End = &e
	}
	if l.AgentID != 0 {
		l.AgentID, _ = strconv.ParseInt(strings.TrimPrefix(k.as("agent", strconv.FormatInt(l.AgentID, 10)), "agent-"), 10, 64)
	}
}

// vocabulary is what reasons, events and settings are made of: no word in it says anything about anybody.
var vocabulary = func() map[string]struct{} {
	all := map[string]struct{}{}
	for _, w := range strings.Fields(vocabularyText) {
		all[w] = struct{}{}
	}
	for _, table := range []map[int]string{codeWords, causeWords, phrases} {
		for _, text := range table {
			for _, w := range word.FindAllString(text, -1) {
				all[strings.ToLower(w)] = struct{}{}
			}
		}
	}
	return all
}()

const vocabularyText = `
	e164 national asis pai ppi rpid ruri pcpid diversion optional required
	a ack acl address agent agreed all and announced answer answered any asked asks at auto back barge before begun below between bot both bridged broken
	browser by bye call called caller called cancel cancelled candidate carrier codec colleague completed complete comes come confirmed connect connected
	connecting connection consult consulted corner customer cut decline declined dialled dialling did digest direction does down dtls dtlssrtp dtmf early
	else empty end ended error event events expires failed false fault fault first flows for force found from g711 g722 gone goes goodbye
	grace handed handshake hang hangup has head heard hears hello hold house host hung i in inactive inband info internal invite inward it
	joined key later latch latched left leg line listen listens lost mans max md5 media merge message min mode move moved music mute muted my negotiated no nobody
	none not nothing number of off offer offered ok on once one only opus or other our out outside outward over packet packets parted parting passed
	paused payload pcma pcmu peer person phone plain player pressed prflx private protected public queue recording refer referred refreshed refused
	register registered relay released remote resumed restart retry ring ringing rport rtcp rtp said same sdes sdp second seconds seen send sender sends
	sendonly sendrecv sent server session sha256 silence sip sips skipped some sound source spoken srflx srtp started state still stopped stranger stream supervise
	supervisor supervised swap swapped system taken takes taken talk talks tcp telephone than that the their them they third this timer tls to too tone torn transfer true trunk turn type
	udp unable unanswered understood unsupervise until up us video voice waiting was way we web webrtc while with within without wrong x yet you your 3 4 5 s`

// message is a SIP message with stand-ins; see header for what stays.
func (k *mask) message(m *Message) string {
	t := read(m)
	var b strings.Builder
	if t.code != 0 {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", t.code, phrases[t.code])
	} else {
		_, uri, _ := strings.Cut(m.Raw, " ")
		uri, _, _ = strings.Cut(uri, " ")
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", method(t.method), k.uri(uri))
	}
	body := k.body(t)
	for _, h := range t.headers {
		if n, err := strconv.Atoi(h.value); h.name == "content-length" && err == nil && n >= 0 && n < 1<<16 {
			h.value = strconv.Itoa(max(n-len(t.body)+len(body), 0)) // as wrong as it was
		}
		b.WriteString(k.header(h))
		b.WriteString("\r\n")
	}
	return b.String() + "\r\n" + body
}

func (k *mask) body(t told) string {
	switch {
	case t.body == "":
		return ""
	case k.kind(t.get("content-type")) == "application/sdp":
		return k.description(t.body)
	}
	return fmt.Sprintf("(a body of %d bytes is left out)\r\n", len(t.body))
}

func method(m string) string {
	if slices.Contains(methods, m) {
		return m
	}
	return "UNKNOWN"
}
