package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Hop is where a request can be sent.
type Hop struct {
	Transport string // "udp", "tcp", "tls"
	Addr      netip.AddrPort
	Name      string // the domain that was asked for: what a TLS certificate must be for (RFC 5922 section 4)
}

func (h Hop) String() string { return h.Transport + ":" + h.Addr.String() }

// services are the SRV names (RFC 3263 section 4.1). TLS is sips by tcp.
var services = map[string]struct {
	service, proto string
	port           uint16
}{"udp": {"sip", "udp", 5060}, "tcp": {"sip", "tcp", 5060}, "tls": {"sips", "tcp", 5061}}

// Resolver finds a server's hops.
type Resolver struct {
	DNS *net.Resolver // nil: the system's
}

// Resolve gives all hops of a server ("sip.example.com", "sip.example.com:5070", "192.0.2.1", "[2001:db8::1]:5070") in the
// order in which they are to be tried: by SRV priority and weight; without a port and without SRV, and always with a port,
// by A and AAAA.
func (r *Resolver) Resolve(ctx context.Context, server, transport string) ([]Hop, error) {
	transport = strings.ToLower(transport)
	s, ok := services[transport]
	if !ok {
		return nil, fmt.Errorf("resolve %q: transport %q, expected udp, tcp or tls", server, transport)
	}
	host, port, err := cutPort(server)
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", server, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if port == 0 {
			port = s.port
		}
		return []Hop{{transport, netip.AddrPortFrom(ip.Unmap(), port), host}}, nil
	}
	dns := r.DNS
	if dns == nil {
		dns = net.DefaultResolver
	}
	if port != 0 {
		return addresses(ctx, dns, host, port, Hop{Transport: transport, Name: host})
	}
	_, records, err := dns.LookupSRV(ctx, s.service, s.proto, host)
	var missing *net.DNSError
	switch {
	case len(records) == 1 && records[0].Target == ".": // RFC 2782: decidedly not
		return nil, fmt.Errorf("resolve %s: it has no sip by %s", host, transport)
	case len(records) > 0: // some may be unusable: the rest still serves
	case err != nil && !(errors.As(err, &missing) && missing.IsNotFound):
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	default:
		return addresses(ctx, dns, host, s.port, Hop{Transport: transport, Name: host})
	}
	var (
		hops []Hop
		errs []error
	)
	for _, record := range records { // sorted by priority, shuffled by weight
		found, err := addresses(ctx, dns, record.Target, record.Port, Hop{Transport: transport, Name: host})
		hops = append(hops, found...)
		errs = append(errs, err)
	}
	if len(hops) == 0 {
		return nil, errors.Join(errs...)
	}
	return hops, nil
}

// addresses of one host, IPv4 first: where both exist, that is the one that carriers look after.
func addresses(ctx context.Context, dns *net.Resolver, host string, port uint16, like Hop) ([]Hop, error) {
	ips, err := dns.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	var v4, v6 []Hop
	for _, ip := range ips {
		like.Addr = netip.AddrPortFrom(ip.Unmap(), port)
		if ip.Unmap().Is4() {
			v4 = append(v4, like)
		} else {
			v6 = append(v6, like)
		}
	}
	return append(v4, v6...), nil
}

// cutPort takes host, host:port, an address of either family, [v6] and [v6]:port. Port 0: none was given.
func cutPort(server string) (host string, port uint16, err error) {
	if _, err := netip.ParseAddr(server); err == nil {
		return server, 0, nil
	}
	if strings.HasPrefix(server, "[") && strings.HasSuffix(server, "]") {
		return server[1 : len(server)-1], 0, nil
	}
	host, digits, ok := server, "", false
	if strings.Contains(server, ":") {
		if host, digits, err = net.SplitHostPort(server); err != nil {
			return "", 0, fmt.Errorf("host or host:port expected")
		}
		ok = true
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n/@<>\"") {
		return "", 0, errors.New("a host name or an address expected")
	}
	if !ok {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("port %q, expected 1 to 65535", digits)
	}
	return host, uint16(n), nil
}
