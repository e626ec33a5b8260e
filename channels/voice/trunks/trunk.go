package trunks

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/sipleg"
)

// Trunk is one trunk as this node runs it. What is stored does not change: a changed row makes a new trunk.
type Trunk struct {
	channels.Trunk
	numbering
	sources []netip.Prefix
	calls   *atomic.Int64   // on this node, both directions; the one of the trunk before, when the row has changed
	before  <-chan struct{} // closed when the keepers of the trunk before have gone; nil: there was none
	ended   chan struct{}   // closed when ours have

	storing sync.Mutex // one keeper writes the state at a time: an older look must not overwrite a newer one

	mu         sync.Mutex // guards the rest
	servers    []*server
	registered bool
	registrar  string // the server that holds the registration
	refused    string // why it does not
	stop       func() // ends the keepers; nil: none run
}

// server is one of a trunk's servers.
type server struct {
	name    string
	hops    []edge.Hop // the one that answered last stands first
	down    bool
	why     string
	answer  time.Duration // of the last OPTIONS
	suspect chan struct{} // a call could not get through: look at once
}

func newTrunk(row channels.Trunk) *Trunk {
	t := &Trunk{Trunk: row, numbering: numberingOf(&row), calls: new(atomic.Int64), ended: make(chan struct{})}
	for _, s := range row.Sources {
		if p, err := netip.ParsePrefix(s); err == nil {
			t.sources = append(t.sources, p)
		} else if a, err := netip.ParseAddr(s); err == nil {
			t.sources = append(t.sources, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, s := range row.Servers {
		t.servers = append(t.servers, &server{name: s, suspect: make(chan struct{}, 1)})
	}
	return t
}

// follow makes t go on where old, an earlier reading of the same row, ends: its keepers have unregistered before ours
// begin, or their farewell would undo our registration.
func (t *Trunk) follow(old *Trunk) {
	t.calls = old.calls
	old.mu.Lock()
	defer old.mu.Unlock()
	if t.before = old.before; old.stop != nil {
		t.before = old.ended
	}
	for _, s := range t.servers {
		for _, o := range old.servers {
			if o.name == s.name && old.Transport == t.Transport {
				s.hops, s.down, s.why, s.answer = o.hops, o.down, o.why, o.answer
			}
		}
	}
}

// domain stands behind the @ of From, To and who is called.
func (t *Trunk) domain() (host string, port int) {
	if t.Domain != "" {
		return t.Domain, 0
	}
	if len(t.Servers) == 0 {
		return "", 0
	}
	var uri sip.Uri
	if err := sip.ParseUri("sip:"+bracketed(t.Servers[0]), &uri); err != nil {
		return t.Servers[0], 0
	}
	return uri.Host, uri.Port
}

// bracketed makes an IPv6 address without a port fit for a URI.
func bracketed(server string) string {
	if ip, err := netip.ParseAddr(server); err == nil && ip.Is6() {
		return "[" + server + "]"
	}
	return server
}

// Login is the name that the carrier asks a password for.
func (t *Trunk) Login() string {
	if t.AuthUsername != "" {
		return t.AuthUsername
	}
	return t.Username
}

// hears tells whether an address may send us calls: one of the sources, or the server where we are registered.
func (t *Trunk) hears(ip netip.Addr) bool {
	if !t.Enabled {
		return false
	}
	if slices.ContainsFunc(t.sources, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return true
	}
	return t.Register && slices.Contains(t.addresses(), ip)
}

// addresses of the servers, as far as they are known.
func (t *Trunk) addresses() []netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []netip.Addr
	for _, s := range t.servers {
		for _, h := range s.hops {
			list = append(list, h.Addr.Addr())
		}
	}
	return list
}

// hops are where a call may be sent to: what is known to answer first, the rest behind it; healthy tells whether there
// is any of the first kind.
func (t *Trunk) hops() (list []edge.Hop, healthy bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var down []edge.Hop
	for _, s := range t.servers {
		switch {
		case s.down:
			down = append(down, s.hops...)
		case s.name == t.registrar: // it knows us
			list = append(slices.Clone(s.hops), list...)
		default:
			list = append(list, s.hops...)
		}
	}
	healthy = len(list) > 0 && (!t.Register || t.registered)
	return append(list, down...), healthy
}

// failed notes that a call got no answer, or none that helps, from a hop: the server is looked at again before the next
// call counts on it.
func (t *Trunk) failed(addr netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.servers {
		if slices.ContainsFunc(s.hops, func(h edge.Hop) bool { return h.Addr == addr }) {
			s.down, s.why = true, "a call got no answer"
			select {
			case s.suspect <- struct{}{}:
			default:
			}
		}
	}
}

// prefs is what may be spoken over the trunk.
func (t *Trunk) prefs() sdp.Prefs {
	p := sdp.Prefs{SRTP: t.SRTP, Keys: t.SRTPKeys, Comfort: true, Mux: true}
	for _, c := range t.Codecs {
		if c != sdp.Opus || media.HasOpus() {
			p.Codecs = append(p.Codecs, c)
		}
	}
	return p
}

// at which addresses of ours the trunk finds us; invalid: those that face it.
func (t *Trunk) announced(external netip.Addr) (signal, sound netip.Addr) {
	signal = external
	if a, err := netip.ParseAddr(t.SignalIP); err == nil {
		signal = a
	}
	if a, err := netip.ParseAddr(t.MediaIP); err == nil {
		sound = a
	}
	return signal, sound
}

var latches = map[string]media.LatchMode{"auto": media.LatchAuto, "on": media.LatchOn, "off": media.LatchOff}

// Accept is how a call from the trunk is taken.
func (t *Trunk) Accept(tell func(sipleg.Event), external netip.Addr) sipleg.Accept {
	a := sipleg.Accept{Tell: tell, Prefs: t.prefs(), Latch: latches[t.Latch]}
	a.External, a.ExternalMedia = t.announced(external)
	return a
}

// Begin counts a call on this node until over is called.
func (t *Trunk) Begin() (over func()) {
	t.calls.Add(1)
	return func() { t.calls.Add(-1) }
}

// state is what this node knows of the trunk.
func (t *Trunk) state(node string) channels.TrunkState {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := channels.TrunkState{TrunkID: t.ID, NodeID: node, Registered: t.registered, Server: t.registrar, Error: t.refused}
	for _, x := range t.servers {
		if x.down {
			if s.Error == "" {
				s.Error = x.name + ": " + x.why
			}
			continue
		}
		s.Healthy = true
		if s.Server == "" || s.Server == x.name {
			s.Server, s.AnswerMS = x.name, int(x.answer.Milliseconds())
		}
	}
	if t.Register && !t.registered {
		s.Healthy = false
	}
	return s
}

// called lists what may be the number that was called, the likeliest first.
func (t *Trunk) called(req *sip.Request) []string {
	var list []string
	switch t.CalledHeader {
	case "to":
		list = append(list, req.To().Address.User)
	case "pcpid":
		list = append(list, identities(req, "p-called-party-id")...)
	case "diversion":
		list = append(list, identities(req, "diversion")...)
	}
	number := Dialled(req)
	if list = append(list, number); number == t.Username { // a registrar calls our Contact, which says nothing
		list = append(list, req.To().Address.User)
	}
	return list
}

// identities are the users in the addresses of a header.
func identities(req *sip.Request, name string) []string {
	var list []string
	for _, h := range req.GetHeaders(name) {
		for rest, more := h.Value(), true; more; {
			var first string
			first, rest, more = edge.CutElement(rest)
			if user, _ := identity(first); user != "" {
				list = append(list, user)
			}
		}
	}
	return list
}

// callerHeaders are where a trunk may say who calls, by its setting; From is the last resort of all.
var callerHeaders = map[string][]string{
	"pai": {"p-asserted-identity"}, "ppi": {"p-preferred-identity", "p-asserted-identity"}, "rpid": {"remote-party-id"},
}

// caller is who calls: the number by which the contact is known, and the name they claim. A trunk vouches for what stands
// in its header (RFC 3325); nobody else is asked here. Who wants to stay unknown does (RFC 3323).
func (t *Trunk) caller(req *sip.Request) (number, name string) {
	uri, name := req.From().Address, req.From().DisplayName
	raw := uri.Raw() // tel: and others keep their text
	if raw == "" {
		raw = uri.User
	}
	private := isPrivate(req)
headers:
	for _, header := range callerHeaders[t.CallerHeader] {
		for _, h := range req.GetHeaders(header) {
			first, _, _ := edge.CutElement(h.Value())
			if user, display := identity(first); user != "" {
				raw = user
				if display != "" {
					name = display
				}
				private = private || header == "remote-party-id" && remotePrivate(first)
				break headers
			}
		}
	}
	number = t.E164(raw)
	if lower := strings.ToLower(number); private || number == "" || lower == "anonymous" || lower == "restricted" || lower == "unavailable" {
		// Nobody known: a contact of its own, not one that all anonymous callers share.
		return "anonymous-" + req.CallID().Value(), ""
	}
	return number, CleanName(name)
}

func isPrivate(req *sip.Request) bool {
	for _, h := range req.GetHeaders("privacy") {
		for _, p := range strings.Split(h.Value(), ";") {
			switch strings.ToLower(strings.TrimSpace(p)) {
			case "id", "user", "header":
				return true
			}
		}
	}
	return false
}

func remotePrivate(value string) bool {
	value = strings.ToLower(value)
	return strings.Contains(value, "privacy=full") || strings.Contains(value, "privacy=uri")
}

// who are the headers that say who calls, for a call of ours over this trunk. number is E.164; "" hides it.
type who struct {
	From    string // URI
	Name    string
	Headers [][2]string
}

// anonymous is From of who wants to stay unknown (RFC 3323 section 4.1.1.3).
const anonymous = "sip:anonymous@anonymous.invalid"

// shows writes a caller's number and name where the trunk wants them. A carrier that knows us by an account and takes
// the number elsewhere wants the account in From.
func (t *Trunk) shows(number, name string, hidden bool) who {
	at := t.at(t.spell(number, number, t.NumberFormat))
	w := who{From: at, Name: name}
	if t.Username != "" && t.CallerHeader != "from" || number == "" {
		w.From = t.at(t.Username)
	}
	if hidden {
		w.From, w.Name = anonymous, "Anonymous"
	}
	if number != "" {
		display := ""
		if name != "" {
			display = `"` + sipleg.HeaderText(name) + `" `
		}
		switch t.CallerHeader {
		case "pai":
			w.Headers = append(w.Headers, [2]string{"P-Asserted-Identity", display + "<" + at + ">"})
		case "ppi":
			w.Headers = append(w.Headers, [2]string{"P-Preferred-Identity", display + "<" + at + ">"})
		case "rpid":
			privacy := "off"
			if hidden {
				privacy = "full"
			}
			w.Headers = append(w.Headers, [2]string{"Remote-Party-ID", display + "<" + at + ">;party=calling;screen=yes;privacy=" + privacy})
		}
	}
	if hidden {
		w.Headers = append(w.Headers, [2]string{"Privacy", "id"})
	}
	return w
}

// at is a user's URI in the trunk's domain.
func (t *Trunk) at(user string) string {
	host, port := t.domain()
	uri := sip.Uri{Scheme: "sip", User: user, Host: host, Port: port}
	return uri.String()
}
