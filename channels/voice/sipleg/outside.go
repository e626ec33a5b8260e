package sipleg

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
)

// Request sends a request of the caller's making outside any leg (REGISTER, OPTIONS) and waits for its final answer. Via,
// Call-ID, CSeq, From tag, Max-Forwards and Contact are added where they are missing.
func (s *Stack) Request(ctx context.Context, req *sip.Request, hop edge.Hop) (*sip.Response, error) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil, errStopping
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	p := s.pathTo(hop, netip.Addr{}, false)
	if req.Via() == nil {
		req.PrependHeader(newVia(p))
	}
	if from := req.From(); from != nil && tagOf(from.Params) == "" {
		from.Params.Add("tag", sip.GenerateTagN(16))
	}
	if req.CallID() == nil {
		id := sip.CallIDHeader(sip.GenerateTagN(24))
		req.AppendHeader(&id)
	}
	if req.CSeq() == nil {
		req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: req.Method})
	}
	if req.MaxForwards() == nil {
		hops := sip.MaxForwardsHeader(70)
		req.AppendHeader(&hops)
	}
	if req.Contact() == nil {
		contact := contactOf(p)
		req.AppendHeader(&contact)
	}
	if req.Body() == nil {
		req.SetBody(nil)
	}
	return s.transact(ctx, outbound{req, p, p.hop.Addr.String()})
}

// outbound is a request of ours and where it goes.
type outbound struct {
	*sip.Request
	path path
	to   string // host and port
}

// transact sends a request and waits for its final answer.
func (s *Stack) transact(ctx context.Context, req outbound) (*sip.Response, error) {
	if err := s.route(ctx, req); err != nil {
		return nil, err
	}
	tx, err := s.ua.TransactionLayer().Request(ctx, req.Request)
	if err != nil {
		return nil, err
	}
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done():
			return nil, tx.Err()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// write sends a request that has no transaction: an ACK. One that needs a name resolved or a connection made goes beside
// the leg, which must not wait; the caller is one of s.running.
func (s *Stack) write(req outbound) {
	send := func() {
		ctx, cancel := context.WithTimeout(s.ctx, 64*s.times.T1)
		defer cancel()
		err := s.route(ctx, req)
		if err == nil {
			err = s.ua.TransportLayer().WriteMsg(req.Request)
		}
		if err != nil {
			s.log.Info("sip send", "method", req.Method, "err", err)
		}
	}
	if _, err := netip.ParseAddrPort(req.to); err == nil && (req.path.transport == "UDP" || s.connected(req)) {
		send()
		return
	}
	s.beside(send)
}

func (s *Stack) connected(req outbound) bool {
	c, err := s.ua.TransportLayer().GetConnection(req.path.transport, req.to)
	if err == nil {
		_, _ = c.TryClose() // only looked at
	}
	return err == nil
}

// route readies the request for its way: socket or connection. When the peer's own connection is gone, the peer is called
// at its Contact, or at the first route.
func (s *Stack) route(ctx context.Context, req outbound) error {
	hop := req.path.hop
	to := req.to
	if req.path.transport != "UDP" && to == hop.Addr.String() && !req.path.dialled && !s.connected(req) {
		to = aim(req.Request)
	}
	hops := []edge.Hop{hop}
	if at, err := netip.ParseAddrPort(to); err == nil {
		hops[0].Addr = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	} else {
		resolver := edge.Resolver{}
		if hops, err = resolver.Resolve(ctx, to, hop.Transport); err != nil {
			return err
		}
	}
	_, err := s.cfg.Edge.Route(ctx, req.Request, hops[0])
	return err
}

// aim is where a request says that it goes: its first route, else its URI.
func aim(req *sip.Request) string {
	uri := req.Recipient
	if r := req.GetHeaders("route"); len(r) > 0 {
		if first, ok := r[0].(*sip.RouteHeader); ok {
			uri = first.Address
		}
	}
	return hostPort(uri, req.Transport())
}

func hostPort(uri sip.Uri, transport string) string {
	port := uri.Port
	if port == 0 {
		port = sip.DefaultPort(transport)
	}
	return net.JoinHostPort(strings.Trim(uri.Host, "[]"), strconv.Itoa(port))
}

// pathTo is how a peer is reached from here; external is the address to announce, invalid: the one that faces the peer.
func (s *Stack) pathTo(hop edge.Hop, external netip.Addr, toPeer bool) path {
	hop.Transport = strings.ToLower(hop.Transport)
	p := path{hop: hop, transport: strings.ToUpper(hop.Transport), toPeer: toPeer}
	bound := s.cfg.Edge.AddrFor(hop.Transport, hop.Addr.Addr())
	if !external.IsValid() {
		external = facing(bound.Addr(), hop.Addr)
	}
	p.here = netip.AddrPortFrom(external, bound.Port())
	return p
}

// open makes a leg's sound, on ports of the family in which the peer is spoken to.
func (l *Leg) open(family netip.Addr, latch media.LatchMode) (*media.UDPLeg, error) {
	cfg := l.stack.cfg
	ports := cfg.Ports
	if family.Is6() && cfg.Ports6 != nil {
		ports = cfg.Ports6
	}
	return media.NewUDPLeg(media.Config{Ports: ports, Pacer: cfg.Pacer, Latch: latch, OnDTMF: l.pressed, InBand: true, Log: l.log})
}

// complete adds to an owner's wishes what only the stack knows.
func (s *Stack) complete(p *sdp.Prefs, way path) {
	p.Secure, p.Fingerprint = way.transport == "TLS", s.fingerprint
}

// Here is our signalling address as a peer sees it; external replaces what the socket and the routing table say.
func (s *Stack) Here(hop edge.Hop, external netip.Addr) netip.AddrPort {
	return s.pathTo(hop, external, false).here
}

// facing is the address of ours that a peer sees: the socket's, or what the routing table says.
func facing(bound netip.Addr, peer netip.AddrPort) netip.Addr {
	if bound.IsValid() && !bound.IsUnspecified() {
		return bound.Unmap()
	}
	if c, err := net.Dial("udp", peer.String()); err == nil { // sends nothing
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	}
	if peer.Addr().Is6() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
