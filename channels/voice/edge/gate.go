package edge

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"golang.org/x/time/rate"
)

const (
	maxDatagram = 9000           // longer than any honest SIP message
	maxPhones   = 20_000         // addresses that have logged in
	phoneTerm   = 24 * time.Hour // since the last login
)

// standing is what an address is to us.
type standing int

const (
	stranger standing = iota // gets no answer to anything
	knocker                  // from where phones may come: may log in, and nothing else
	phone                    // somebody has logged in from there
	trunk                    // by its address
)

// paces: what one address, its neighbours, and all of one standing together may send. A trunk alone has no neighbours:
// its own addresses are beside it.
var paces = [...]struct{ one, near, all pace }{
	knocker: {perSecond(10, 40), perSecond(100, 400), perSecond(2000, 4000)},
	phone:   {one: perSecond(200, 400), near: perSecond(4000, 8000)},
	trunk:   {one: perSecond(4000, 8000)},
}

// gate decides over every message of every transport before it is parsed.
type gate struct {
	log    *slog.Logger
	policy atomic.Pointer[Policy]
	digest *Digest // nil: nobody logs in
	trace  func(Message)
	parser *sip.Parser
	drops  dropCounts
	deaf   atomic.Bool // the end is near: drop everything
	shout  *rate.Limiter

	mu      sync.Mutex // guards the three below
	buckets *buckets
	bans    *bans
	phones  map[netip.Addr]time.Time // until when
}

// dropCounts says why messages never reached sipgo.
type dropCounts struct {
	foreign, banned, flooded, large, garbage, refused, challenged atomic.Int64
}

func newGate(cfg Config) *gate {
	g := &gate{log: cfg.Log, digest: cfg.Digest, trace: cfg.Trace, parser: sip.NewParser(), shout: rate.NewLimiter(1, 5),
		buckets: newBuckets(), bans: newBans(cfg.Log), phones: make(map[netip.Addr]time.Time)}
	g.policy.Store(&cfg.Policy)
	return g
}

// standingOf an address. A trunk is asked for first: nothing that others do in its name may shut it out.
func (g *gate) standingOf(ip netip.Addr, now time.Time) standing {
	p := g.policy.Load()
	if p.Trusts(ip) {
		return trunk
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bans.banned(ip, now) {
		g.drops.banned.Add(1)
		return stranger
	}
	switch {
	case now.Before(g.phones[ip]):
		return phone
	case g.digest != nil && contains(p.Phones, ip):
		return knocker
	}
	return stranger
}

// paced takes a message's tokens; false: there are none.
func (g *gate) paced(ip netip.Addr, s standing, now time.Time) bool {
	p := paces[s]
	g.mu.Lock()
	defer g.mu.Unlock()
	ok := g.buckets.spend(oneOf(ip), p.one, now)
	if !ok && s == knocker { // its own fault, not that of a crowd
		g.bans.blame(ip, Flood, now)
	}
	ok = ok && (p.near.each == 0 || g.buckets.spend(nearOf(ip), p.near, now)) && (p.all.each == 0 || g.buckets.spend(netip.Prefix{}, p.all, now))
	if !ok {
		g.drops.flooded.Add(1)
	}
	return ok
}

// verdict is what becomes of one message.
type verdict struct {
	pass   []byte // to the stack
	answer []byte // to the sender, from us
	hangUp bool   // a stream ends here
	later  bool   // a stream may wait: no tokens just now
}

// admit decides over one whole message. It returns p itself or a copy, never changes it.
func (g *gate) admit(p []byte, src netip.AddrPort, udp bool) verdict {
	now, ip := time.Now(), bare(src.Addr())
	if g.deaf.Load() {
		return verdict{}
	}
	s := g.standingOf(ip, now)
	if s == stranger {
		g.drops.foreign.Add(1)
		if isScanner(p) {
			g.ban(ip, Scanner)
		}
		return verdict{hangUp: true}
	}
	if udp && len(p) > maxDatagram {
		g.drops.large.Add(1)
		return verdict{}
	}
	if !g.paced(ip, s, now) {
		if s == trunk {
			g.complain("sip flood", "ip", ip)
		}
		return verdict{later: s != knocker, hangUp: s == knocker}
	}
	kind := firstToken(p)
	switch {
	case kind == tokenNone:
		if len(p) > 4 { // shorter ones are keep-alives
			return g.garbage(ip, s)
		}
		return verdict{}
	case s != trunk && isScanner(p):
		g.ban(ip, Scanner)
		return verdict{hangUp: true}
	case kind == tokenStatus:
		if s == knocker || !g.parses(p) {
			return g.garbage(ip, s)
		}
		return verdict{pass: p}
	case s == knocker:
		return g.knock(p, src, udp)
	}
	return g.request(p, src)
}

// request straightens a request of somebody we know; what cannot be read is answered from its bytes.
func (g *gate) request(p []byte, src netip.AddrPort) verdict {
	straight := straighten(p, src, g.policy.Load().toSource(bare(src.Addr())))
	if g.parses(straight) {
		return verdict{pass: straight}
	}
	g.drops.refused.Add(1)
	return verdict{answer: refuseUnread(straight, src)}
}

// knock is a request from where phones may come and none has logged in. It is challenged here, from its bytes, so that
// who does not answer the challenge leaves nothing behind: sipgo would keep the source's address.
func (g *gate) knock(p []byte, src netip.AddrPort, udp bool) verdict {
	ip := bare(src.Addr())
	method, _, _ := bytes.Cut(p, []byte(" "))
	switch string(method) {
	case "REGISTER", "INVITE":
	case "ACK", "CANCEL": // of an INVITE that was challenged
		return verdict{}
	default:
		g.drops.foreign.Add(1)
		g.blame(ip, Scanner)
		return verdict{hangUp: true}
	}
	straight := straighten(p, src, true)
	if !g.parses(straight) {
		return g.garbage(ip, knocker)
	}
	line, headers, _ := skim(straight)
	if !g.policy.Load().ours(line) {
		g.drops.foreign.Add(1)
		g.blame(ip, Scanner)
		return verdict{hangUp: true}
	}
	nonce, user := loginOf(headers)
	known, fresh := g.digest.recognises(nonce, ip)
	if known && fresh {
		return verdict{pass: straight}
	}
	g.drops.challenged.Add(1)
	if !known { // one whose nonce grew old has been let in before
		g.blame(ip, Scanner)
	}
	answer := stateless(headers, src, 401, "Unauthorized", "WWW-Authenticate: "+g.digest.challenge(user, ip, nonce != "")+"\r\n")
	if answer = fit(answer, p, udp); answer == nil {
		g.complain("sip request too small to be challenged", "ip", ip, "bytes", len(p))
	}
	return verdict{answer: answer}
}

// fit keeps an answer to a request that proves nothing from being larger than it: who sends in another's name must not
// gain by it. Short header names come first.
func fit(answer, request []byte, udp bool) []byte {
	if !udp || len(answer) <= len(request) {
		return answer
	}
	if answer = shorten(answer); len(answer) <= len(request) {
		return answer
	}
	return nil
}

func (g *gate) garbage(ip netip.Addr, s standing) verdict {
	g.drops.garbage.Add(1)
	if s == knocker {
		g.blame(ip, Garbage)
	}
	return verdict{hangUp: true}
}

// parses tells whether sipgo's parser takes p. A panic of the parser counts as no: sipgo would not survive it.
func (g *gate) parses(p []byte) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			g.complain("sip parser panic", "panic", r)
			ok = false
		}
	}()
	_, err := g.parser.ParseSIP(p)
	return err == nil
}

// ban shuts an address out, unless it is a trunk's.
func (g *gate) ban(ip netip.Addr, why Reason) {
	if ip = bare(ip); g.policy.Load().Trusts(ip) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bans.ban(ip, why, time.Now())
	delete(g.phones, ip)
}

func (g *gate) blame(ip netip.Addr, why Reason) {
	if ip = bare(ip); g.policy.Load().Trusts(ip) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bans.blame(ip, why, time.Now())
}

// welcome notes that somebody has logged in from an address.
func (g *gate) welcome(ip netip.Addr) {
	g.know(ip)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bans.forgive(ip)
}

// know hears an address as one from where somebody has logged in.
func (g *gate) know(ip netip.Addr) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.phones[ip]; !ok && len(g.phones) >= maxPhones {
		for old := range g.phones { // any: its next login brings it back
			delete(g.phones, old)
			break
		}
	}
	g.phones[ip] = now.Add(phoneTerm)
}

func (g *gate) complain(msg string, args ...any) {
	if g.shout.Allow() {
		g.log.Warn(msg, args...)
	}
}

// scanners are names that only those tools give themselves which look for open doors.
var scanners = []string{"friendly-scanner", "friendly-request", "sipvicious", "sundayddr", "sip-scan", "sipcli", "sivus",
	"siparmyknife", "vaxsipuseragent", "vaxipuseragent", "iwar", "pplsip", "smap", "sipptk", "scanner", "gulp"}

// isScanner looks at the User-Agent line.
func isScanner(p []byte) bool {
	head := p[:min(len(p), 4096)]
	for len(head) > 0 {
		line, rest, _ := bytes.Cut(head, []byte("\n"))
		head = rest
		if len(line) < 12 || line[0]|0x20 != 'u' || !bytes.EqualFold(line[:10], []byte("user-agent")) {
			continue
		}
		agent := strings.ToLower(string(line[10:]))
		return slices.ContainsFunc(scanners, func(s string) bool { return strings.Contains(agent, s) })
	}
	return false
}

// bare is an address as the policy writes it.
func bare(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
