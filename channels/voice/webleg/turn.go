package webleg

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
	"golang.org/x/time/rate"
)

// TURNConfig is the relay for browsers in closed networks. It is off while Listen and TLSListen are "".
type TURNConfig struct {
	Listen    string           // UDP and TCP: "0.0.0.0:3478"; "" = neither
	TLSListen string           // TCP with TLS: "0.0.0.0:443"; "" = none
	TLS       *tls.Config      // the certificate for TLSListen
	Host      string           // how browsers reach us; "" = Config.ExternalIP, else the address of Listen
	Secret    string           // of the credentials, the same on all nodes; "" = one made at the start
	Media     []netip.AddrPort // where other nodes' browser legs listen, as they announce it
}

const (
	turnRealm    = "patchbay"
	turnLife     = 10 * time.Minute // of credentials: to begin with them; what has begun goes on
	turnCallLife = 24 * time.Hour   // and ends at the latest
	turnPerUser  = 24               // allocations: each address of a browser takes one of each listener, a restart as many again
	turnConns    = 2000             // TCP and TLS, each
	turnConnsIP  = 400

	turnStrangers      = 20 // requests a second of one address that show no credentials
	turnStrangersBurst = 60
)

// turnServer relays between browsers and our own browser legs, and nowhere else. That is more than permissions can say,
// which know only IP addresses: with ours every port of this machine would be open to whoever has credentials, SIP from
// "127.0.0.1" among them. So each relay's socket takes and sends packets of the media ports alone.
type turnServer struct {
	server *turn.Server
	secret string
	urls   []string
	log    *slog.Logger

	media map[netip.AddrPort]netip.AddrPort // as announced -> where it is from here
	port  uint16                            // of this node's media, on every address of this machine; 0 = only what media says

	mu    sync.Mutex
	users map[string]int // their allocations
}

// Relay is what a browser is told of our relay.
type Relay struct {
	URLs                 []string
	Username, Credential string
}

// Relay gives a user credentials; false: there is no relay. Any goroutine may ask.
func (s *Stack) Relay(user string) (Relay, bool) {
	if s.turn == nil {
		return Relay{}, false
	}
	return s.turn.credentials(user)
}

// newTURN opens the listeners. web is where this node's media is.
func newTURN(cfg TURNConfig, web netip.AddrPort, external netip.Addr, log *slog.Logger) (_ *turnServer, err error) {
	s := &turnServer{secret: cfg.Secret, log: log, media: map[netip.AddrPort]netip.AddrPort{}, users: map[string]int{}}
	if s.secret == "" {
		s.secret = rand.Text()
	}
	relay := s.reach(web, external, cfg.Media)
	var closers []interface{ Close() error }
	defer func() {
		if err != nil {
			for _, c := range closers {
				_ = c.Close()
			}
		}
	}()
	sc := turn.ServerConfig{Realm: turnRealm, LoggerFactory: pionLog{log}, AuthHandler: s.auth, QuotaHandler: s.mayAllocate,
		EventHandler: turn.EventHandler{
			OnAllocationCreated: func(_, _ net.Addr, _, user, _ string, _ net.Addr, _ int) { s.allocated(user, 1) },
			OnAllocationDeleted: func(_, _ net.Addr, _, user, _ string) { s.allocated(user, -1) },
		}}
	stream := func(l net.Listener) {
		closers = append(closers, l)
		sc.ListenerConfigs = append(sc.ListenerConfigs, turn.ListenerConfig{Listener: l, RelayAddressGenerator: relay, PermissionHandler: s.permits})
	}
	if cfg.Listen != "" {
		udp, err := net.ListenPacket("udp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("turn listener: %w", err)
		}
		closers = append(closers, udp)
		sc.PacketConnConfigs = []turn.PacketConnConfig{{PacketConn: newStrangers(udp), RelayAddressGenerator: relay, PermissionHandler: s.permits}}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err != nil {
			return nil, fmt.Errorf("turn listener: %w", err)
		}
		stream(newCapped(tcp, turnConns, turnConnsIP))
		where := hostPort(cfg.Host, external, udp.LocalAddr())
		s.urls = append(s.urls, "turn:"+where+"?transport=udp", "turn:"+where+"?transport=tcp")
	}
	if cfg.TLSListen != "" {
		l, err := listenTLS(cfg)
		if err != nil {
			return nil, fmt.Errorf("turn listener: %w", err)
		}
		stream(l)
		s.urls = append(s.urls, "turns:"+hostPort(cfg.Host, external, l.Addr())+"?transport=tcp")
	}
	if s.server, err = turn.NewServer(sc); err != nil {
		return nil, fmt.Errorf("turn: %w", err)
	}
	return s, nil
}

func listenTLS(cfg TURNConfig) (net.Listener, error) {
	l, err := net.Listen("tcp", cfg.TLSListen)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(newCapped(l, turnConns, turnConnsIP), cfg.TLS), nil
}

// hostPort is how browsers reach a listener of ours.
func hostPort(host string, external netip.Addr, listener net.Addr) string {
	ip, port, _ := net.SplitHostPort(listener.String())
	switch {
	case host != "":
	case external.IsValid():
		host = external.String()
	default:
		if host = ip; net.ParseIP(ip).IsUnspecified() {
			host = firstAddress().String()
		}
	}
	return net.JoinHostPort(host, port)
}

// firstAddress is this machine's own, as others see it.
func firstAddress() netip.Addr {
	for _, ip := range machineAddresses() {
		if ip.Is4() && !ip.IsLoopback() {
			return ip
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func machineAddresses() (ips []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				ips = append(ips, ip.Unmap())
			}
		}
	}
	return ips
}

// reach notes which media there is, and makes the relays' sockets. They need not be open to the network: nobody but our
// own media talks to them.
func (s *turnServer) reach(media netip.AddrPort, external netip.Addr, others []netip.AddrPort) *relays {
	local := media.Addr()
	switch {
	case external.IsValid():
		if local.IsUnspecified() {
			local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		s.media[netip.AddrPortFrom(external, media.Port())] = netip.AddrPortFrom(local, media.Port())
	case local.IsUnspecified():
		s.port = media.Port()
	default:
		s.media[media] = media
	}
	for _, o := range others {
		s.media[o] = o
	}
	bind, named := local, local
	if media.Addr().IsUnspecified() || len(others) > 0 {
		bind, named = netip.IPv4Unspecified(), firstAddress()
	}
	r := &relays{turnServer: s, ports: turn.RelayAddressGeneratorPortRange{RelayAddress: named.AsSlice(), Address: bind.String(),
		MinPort: 49152, MaxPort: 65535, MaxRetries: 50}, network: "udp4"}
	if bind.Is6() {
		r.network = "udp6"
	}
	return r
}

// permits tells whether a browser may name that address as its peer.
func (s *turnServer) permits(_ net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	if !ok {
		return false
	}
	ip = ip.Unmap()
	for at := range s.media {
		if at.Addr() == ip {
			return true
		}
	}
	return s.port != 0 && slices.Contains(machineAddresses(), ip)
}

// credentials are good for that user and ten minutes.
func (s *turnServer) credentials(user string) (Relay, bool) {
	name, password, err := turn.GenerateLongTermTURNRESTCredentials(s.secret, user, turnLife)
	if err != nil {
		s.log.Error("turn credentials", "err", err)
		return Relay{}, false
	}
	return Relay{URLs: s.urls, Username: name, Credential: password}, true
}

// auth is the long-term credential of a name that holds its own end (draft-uberti-behave-turn-rest). The end is asked
// when a relay is taken; a relay that was taken in time may be kept up to a day: the library's own handler would cut a
// call off when its credentials are ten minutes old.
func (s *turnServer) auth(r *turn.RequestAttributes) (user string, key []byte, ok bool) {
	until, user, ok := strings.Cut(r.Username, ":")
	t, err := strconv.ParseInt(until, 10, 64)
	if !ok || err != nil || user == "" {
		return "", nil, false
	}
	end := time.Unix(t, 0)
	if r.Method != stun.MethodAllocate {
		end = end.Add(turnCallLife)
	}
	if time.Now().After(end) {
		return "", nil, false
	}
	mac := hmac.New(sha1.New, []byte(s.secret))
	mac.Write([]byte(r.Username))
	return user, turn.GenerateAuthKey(r.Username, r.Realm, base64.StdEncoding.EncodeToString(mac.Sum(nil))), true
}

func (s *turnServer) mayAllocate(user, _ string, from net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[user] < turnPerUser {
		return true
	}
	s.log.Warn("turn: too many relays of one user", "user", user, "ip", from)
	return false
}

func (s *turnServer) allocated(user string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[user] += n; s.users[user] <= 0 {
		delete(s.users, user)
	}
}

func (s *turnServer) close() error { return s.server.Close() }

// relays makes the sockets that speak for a browser.
type relays struct {
	*turnServer
	ports   turn.RelayAddressGeneratorPortRange
	network string
}

func (r *relays) Validate() error { return r.ports.Validate() }

// AllocatePacketConn takes the family that our media has, whatever the browser's own is.
func (r *relays) AllocatePacketConn(cfg turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	cfg.Network = r.network
	conn, addr, err := r.ports.AllocatePacketConn(cfg)
	if err != nil {
		return nil, nil, err
	}
	return &relayConn{PacketConn: conn, relays: r}, addr, nil
}

var errNoTCPRelay = errors.New("no relay of TCP")

// AllocateListener and AllocateConn are RFC 6062's, which no browser speaks.
func (r *relays) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCPRelay
}

func (r *relays) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCPRelay }

// relayConn sees to it that a relay leads to our media and back, and nowhere else.
type relayConn struct {
	net.PacketConn
	relays *relays
}

var errNotMedia = errors.New("not a media address of ours")

func (c *relayConn) WriteTo(b []byte, to net.Addr) (int, error) {
	at := addrPort(to)
	if real, ok := c.relays.media[at]; ok {
		return c.PacketConn.WriteTo(b, net.UDPAddrFromAddrPort(real))
	}
	if c.relays.port == 0 || at.Port() != c.relays.port { // its IP was looked at when it was permitted
		return 0, errNotMedia
	}
	return c.PacketConn.WriteTo(b, to)
}

func (c *relayConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		at := addrPort(from)
		for announced, real := range c.relays.media {
			if real == at {
				return n, net.UDPAddrFromAddrPort(announced), nil
			}
		}
		if c.relays.port != 0 && at.Port() == c.relays.port {
			return n, from, nil // the permission on its IP is the library's to check
		}
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		p := u.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// strangers is the UDP listener: who shows no credentials gets few answers, which are larger than the questions.
type strangers struct {
	net.PacketConn

	buckets map[netip.Addr]*rate.Limiter // the one reader's
	swept   time.Time
}

func newStrangers(conn net.PacketConn) *strangers {
	return &strangers{PacketConn: conn, buckets: map[netip.Addr]*rate.Limiter{}}
}

func (s *strangers) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(b)
		if err != nil || !isRequest(b[:n]) || hasIntegrity(b[:n]) || s.allow(addrPort(from).Addr()) {
			return n, from, err
		}
	}
}

const strangersLife = time.Minute // by then every bucket is full again

func (s *strangers) allow(ip netip.Addr) bool {
	now := time.Now()
	if now.Sub(s.swept) > strangersLife || len(s.buckets) > 100_000 {
		clear(s.buckets)
		s.swept = now
	}
	l := s.buckets[ip]
	if l == nil {
		l = rate.NewLimiter(turnStrangers, turnStrangersBurst)
		s.buckets[ip] = l
	}
	return l.AllowN(now, 1)
}

// isRequest: to what wants an answer (RFC 8489 section 5).
func isRequest(b []byte) bool { return stun.IsMessage(b) && b[0]&1 == 0 && b[1]&0x10 == 0 }

// hasIntegrity looks for MESSAGE-INTEGRITY without reading the whole message (RFC 8489 section 14).
func hasIntegrity(b []byte) bool {
	for at := 20; at+4 <= len(b); {
		kind, size := uint16(b[at])<<8|uint16(b[at+1]), int(b[at+2])<<8|int(b[at+3])
		if kind == uint16(stun.AttrMessageIntegrity) {
			return true
		}
		at += 4 + (size+3)&^3
	}
	return false
}
