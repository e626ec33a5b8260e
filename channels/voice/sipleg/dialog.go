package sipleg

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/sdp"
)

// dialog is our half of a SIP dialog (RFC 3261 section 12), whoever began it. The leg's goroutine owns it.
type dialog struct {
	callID, localTag, remoteTag string

	local     sip.FromHeader // we, with our tag
	remote    sip.ToHeader   // they, with theirs
	localSeq  uint32
	remoteSeq uint32    // 0: nothing heard yet
	routes    []sip.Uri // the route set, in the order of our requests
	target    sip.Uri   // their Contact, refreshed by re-INVITE and UPDATE
	path      path
	contact   sip.ContactHeader
	authorise []sip.Header // credentials that the INVITE carried; its ACK carries them too

	// Of an early dialog that the called side made.
	rseq    uint32    // of their last reliable answer
	terms   sdp.Terms // what its description said
	sounds  bool      // there was one
	settled bool      // in a reliable answer: nothing after it counts
}

// path is the way between us and the other side.
type path struct {
	transport string         // UDP, TCP, TLS: as a Via says it
	here      netip.AddrPort // our signalling address as announced to them
	hop       edge.Hop       // where they were heard from, or called at
	toPeer    bool           // whatever they name, they are reached there (a device behind NAT)
	dialled   bool           // we made the connection, and can make it again
}

var (
	errOldSeq  = errors.New("CSeq not above the last one")
	errNoRoute = errors.New("no usable route")
)

// answering is the dialog of an INVITE that came in (RFC 3261 section 12.1.1).
func answering(req *sip.Request, localTag string, p path) *dialog {
	d := &dialog{callID: req.CallID().Value(), localTag: localTag, remoteSeq: req.CSeq().SeqNo, path: p}
	local := sip.HeaderClone(req.To()).(*sip.ToHeader)
	local.Params.Add("tag", localTag)
	d.local, d.remote = local.AsFrom(), req.From().AsTo()
	d.remoteTag = tagOf(req.From().Params)
	for _, h := range req.GetHeaders("record-route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			d.routes = append(d.routes, *rr.Address.Clone())
		}
	}
	d.target = *req.From().Address.Clone() // an RFC 2543 caller may have no Contact
	d.refresh(req.Contact())
	d.contact = contactOf(p)
	return d
}

// calling is the dialog that an answer to our INVITE makes (RFC 3261 section 12.1.2). Its routes are the Record-Route
// backwards.
func calling(invite *sip.Request, res *sip.Response, p path) *dialog {
	d := &dialog{callID: invite.CallID().Value(), localSeq: invite.CSeq().SeqNo, path: p,
		local: *sip.HeaderClone(invite.From()).(*sip.FromHeader), remote: *sip.HeaderClone(res.To()).(*sip.ToHeader)}
	d.localTag, d.remoteTag = tagOf(d.local.Params), tagOf(d.remote.Params)
	if src, err := netip.ParseAddrPort(res.Source()); err == nil && p.transport == "UDP" {
		d.path.hop.Addr = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
	}
	d.target = *invite.Recipient.Clone()
	d.learn(res)
	d.contact = contactOf(p)
	for _, name := range []string{"authorization", "proxy-authorization"} {
		d.authorise = append(d.authorise, invite.GetHeaders(name)...)
	}
	return d
}

// learn takes target and routes of an answer to our INVITE: those of the 2xx count, early ones until then.
func (d *dialog) learn(res *sip.Response) {
	rr := res.GetHeaders("record-route")
	d.routes = nil
	for i := len(rr) - 1; i >= 0; i-- {
		if r, ok := rr[i].(*sip.RecordRouteHeader); ok {
			d.routes = append(d.routes, *r.Address.Clone())
		}
	}
	d.refresh(res.Contact())
}

func tagOf(p sip.HeaderParams) string {
	tag, _ := p.Get("tag")
	return tag
}

func contactOf(p path) sip.ContactHeader {
	uri := sip.Uri{Scheme: "sip", User: "patchbay", Host: p.here.Addr().String(), Port: int(p.here.Port())}
	if p.transport != "UDP" {
		uri.UriParams = sip.HeaderParams{{K: "transport", V: strings.ToLower(p.transport)}}
	}
	return sip.ContactHeader{Address: uri}
}

// refresh takes the remote target of a target refresh request, or of an answer to one (RFC 3261 section 12.2).
func (d *dialog) refresh(c *sip.ContactHeader) {
	if c != nil && !c.Address.Wildcard {
		d.target = *c.Address.Clone()
		d.target.Headers = nil // headers in a URI are not ours to act on
	}
}

// advance checks and takes the CSeq of a request inside the dialog.
func (d *dialog) advance(req *sip.Request) error {
	seq := req.CSeq().SeqNo
	if seq <= d.remoteSeq && d.remoteSeq != 0 {
		return errOldSeq
	}
	d.remoteSeq = seq
	return nil
}

// respond builds an answer inside the dialog: our tag, and our Contact where the answer may carry one.
func (d *dialog) respond(req *sip.Request, code int, reason string, body []byte) *sip.Response {
	res := newResponse(req, code, reason, body)
	if to := res.To(); to != nil && code != 100 {
		to.Params.Add("tag", d.localTag)
	}
	refreshes := req.Method == sip.INVITE || req.Method == sip.UPDATE || req.Method == sip.REFER
	if code < 300 && code != 100 && refreshes {
		res.AppendHeader(&d.contact)
		if code >= 200 || req.Method == sip.INVITE {
			res.AppendHeader(rules.Allow())
		}
		if code >= 200 {
			res.AppendHeader(rules.Supported())
		}
	}
	if len(body) > 0 {
		res.AppendHeader(sip.NewHeader("Content-Type", edge.TypeSDP))
	}
	return res
}

// newResponse is sipgo's, with the version of ours instead of the sender's.
func newResponse(req *sip.Request, code int, reason string, body []byte) *sip.Response {
	res := sip.NewResponseFromRequest(req, code, reason, body)
	res.SipVersion = "SIP/2.0"
	return res
}

// request builds the next request inside the dialog (RFC 3261 section 12.2.1.1).
func (d *dialog) request(method sip.RequestMethod) (outbound, error) {
	d.localSeq++
	return d.numbered(method, d.localSeq)
}

// numbered builds a request with a CSeq of its own: an ACK has the number of its INVITE, whatever was sent since.
func (d *dialog) numbered(method sip.RequestMethod, seq uint32) (outbound, error) {
	target, routes := d.target, d.routes
	if len(routes) > 0 && !routes[0].UriParams.Has("lr") { // a strict router goes first and gets the target last
		target = routes[0]
		routes = append(append([]sip.Uri{}, routes[1:]...), d.target)
	}
	if target.Host == "" {
		return outbound{}, errNoRoute
	}
	from, to := d.local, d.remote
	req := newRequest(method, target, d.path, &from, &to, d.callID, seq)
	for i := range routes {
		req.AppendHeader(&sip.RouteHeader{Address: routes[i]})
	}
	req.AppendHeader(&d.contact)
	if method == sip.ACK {
		for _, h := range d.authorise { // RFC 3261 section 13.2.2.4
			req.AppendHeader(h)
		}
	}
	return outbound{req, d.path, d.destination()}, nil
}

// newRequest writes what every request of ours has.
func newRequest(method sip.RequestMethod, target sip.Uri, p path, from *sip.FromHeader, to *sip.ToHeader, callID string, seq uint32) *sip.Request {
	req := sip.NewRequest(method, target)
	req.AppendHeader(newVia(p))
	id, hops := sip.CallIDHeader(callID), sip.MaxForwardsHeader(70)
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	req.AppendHeader(&hops)
	req.SetBody(nil)
	req.SetTransport(p.transport)
	return req
}

func newVia(p path) *sip.ViaHeader {
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: p.transport,
		Host: p.here.Addr().String(), Port: int(p.here.Port())}
	via.Params.Add("branch", sip.GenerateBranch())
	via.Params.Add("rport", "")
	return via
}

// destination is the next hop. A peer that names a private address while it speaks from a public one sits behind NAT:
// then the way back is the way it came.
func (d *dialog) destination() string {
	hop := d.target
	if len(d.routes) > 0 {
		hop = d.routes[0]
	}
	peer := d.path.hop.Addr
	if peer.IsValid() && (d.path.toPeer || d.path.transport != "UDP" && len(d.routes) == 0) {
		return peer.String() // a connection is its own way back (RFC 5923)
	}
	if ip, err := netip.ParseAddr(strings.Trim(hop.Host, "[]")); err == nil && peer.IsValid() && hidden(ip) && !hidden(peer.Addr()) {
		return peer.String()
	}
	return hostPort(hop, d.path.transport)
}

// hidden tells whether an address means nothing outside the network it comes from.
func hidden(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsPrivate() || ip.IsUnspecified() || ip.IsLoopback() || ip.IsLinkLocalUnicast()
}
