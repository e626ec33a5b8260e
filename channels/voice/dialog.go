package voice

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// dialog is our half of a SIP dialog that the other side began (RFC 3261 section 12.1.1). The call's goroutine owns it.
type dialog struct {
	callID    string
	localTag  string
	remoteTag string
	local     *sip.ToHeader   // the INVITE's To: we
	remote    *sip.FromHeader // the INVITE's From: they
	localSeq  uint32
	remoteSeq uint32
	routes    []sip.Uri // Record-Route as it came: the route set of the called side
	target    sip.Uri   // their Contact, refreshed by re-INVITE and UPDATE
	source    string    // where the INVITE came from
	contact   sip.ContactHeader
	here      netip.AddrPort // our announced signalling address

	accepted *accepted // our last 2xx to an INVITE, until its ACK
}

// accepted is a 2xx on its way to its ACK. We repeat it ourselves: the transaction layer does not (RFC 6026 section
// 7.1, RFC 3261 section 13.3.1.4).
type accepted struct {
	tx       sip.ServerTransaction
	res      *sip.Response
	seq      uint32
	offer    bool // the SDP in it is an offer: the ACK must bring the answer
	wait     time.Duration
	next     time.Time
	deadline time.Time
}

var (
	errOldSeq   = errors.New("CSeq not above the last one")
	errBadRoute = errors.New("no usable Record-Route")
)

func newDialog(req *sip.Request, here netip.AddrPort) *dialog {
	d := &dialog{
		callID: req.CallID().Value(), localTag: sip.GenerateTagN(16),
		local: sip.HeaderClone(req.To()).(*sip.ToHeader), remote: sip.HeaderClone(req.From()).(*sip.FromHeader),
		remoteSeq: req.CSeq().SeqNo, source: req.Source(), here: here,
	}
	d.remoteTag, _ = req.From().Params.Get("tag")
	d.local.Params.Add("tag", d.localTag)
	for _, h := range req.GetHeaders("record-route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			d.routes = append(d.routes, *rr.Address.Clone())
		}
	}
	d.target = *req.From().Address.Clone() // an RFC 2543 caller may have no Contact
	d.refresh(req)
	d.contact = sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "patchbay", Host: here.Addr().String(), Port: int(here.Port())}}
	return d
}

// refresh takes the remote target of a target refresh request (RFC 3261 section 12.2.2).
func (d *dialog) refresh(req *sip.Request) {
	if c := req.Contact(); c != nil && !c.Address.Wildcard {
		d.target = *c.Address.Clone()
		d.target.Headers = nil // headers in a URI are not ours to act on
	}
}

// advance checks and takes the CSeq of a request inside the dialog.
func (d *dialog) advance(req *sip.Request) error {
	seq := req.CSeq().SeqNo
	if seq <= d.remoteSeq {
		return errOldSeq
	}
	d.remoteSeq = seq
	return nil
}

// respond builds an answer inside the dialog: our tag, our Contact.
func (d *dialog) respond(req *sip.Request, code int, reason string, body []byte) *sip.Response {
	res := newResponse(req, code, reason, body)
	if to := res.To(); to != nil && code != 100 {
		to.Params.Add("tag", d.localTag)
	}
	if code < 300 && code != 100 && (req.Method == sip.INVITE || req.Method == sip.UPDATE) {
		res.AppendHeader(&d.contact)
		if code >= 200 {
			res.AppendHeader(rules.Allow())
			res.AppendHeader(sip.NewHeader("Supported", ""))
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

// request builds a request inside the dialog (RFC 3261 section 12.2.1.1).
func (d *dialog) request(method sip.RequestMethod) (*sip.Request, error) {
	d.localSeq++
	target := d.target
	routes := d.routes
	if len(routes) > 0 && !routes[0].UriParams.Has("lr") { // a strict router goes first and gets the target last
		target = routes[0]
		routes = append(append([]sip.Uri{}, routes[1:]...), d.target)
	}
	if target.Host == "" {
		return nil, errBadRoute
	}
	req := sip.NewRequest(method, target)
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP",
		Host: d.here.Addr().String(), Port: int(d.here.Port())}
	via.Params.Add("branch", sip.GenerateBranch())
	via.Params.Add("rport", "")
	req.AppendHeader(via)
	for i := range routes {
		req.AppendHeader(&sip.RouteHeader{Address: routes[i]})
	}
	from, to := d.local.AsFrom(), d.remote.AsTo()
	callID, hops := sip.CallIDHeader(d.callID), sip.MaxForwardsHeader(70)
	req.AppendHeader(&from)
	req.AppendHeader(&to)
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: d.localSeq, MethodName: method})
	req.AppendHeader(&hops)
	req.AppendHeader(&d.contact)
	req.SetBody(nil)
	req.SetTransport("UDP")
	req.SetDestination(d.destination())
	return req, nil
}

// destination is the next hop. A peer that names a private address while it speaks from a public one sits behind NAT:
// then the way back is the way it came.
func (d *dialog) destination() string {
	hop := d.target
	if len(d.routes) > 0 {
		hop = d.routes[0]
	}
	host, port := strings.Trim(hop.Host, "[]"), hop.Port
	if port == 0 {
		port = 5060
	}
	ip, err := netip.ParseAddr(host)
	src, srcErr := netip.ParseAddrPort(d.source)
	if err == nil && srcErr == nil {
		from := src.Addr().Unmap()
		if (ip.IsPrivate() || ip.IsUnspecified() || ip.IsLoopback()) && !from.IsPrivate() && !from.IsLoopback() {
			return d.source
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// wait notes the 2xx that we have just sent.
func (d *dialog) wait(tx sip.ServerTransaction, res *sip.Response, seq uint32, offer bool, t1 time.Duration, now time.Time) {
	d.accepted = &accepted{tx: tx, res: res, seq: seq, offer: offer, wait: t1, next: now.Add(t1), deadline: now.Add(64 * t1)}
}

// acked takes the ACK of the 2xx we wait for; false: it is a repeated or a foreign one.
func (d *dialog) acked(req *sip.Request) (*accepted, bool) {
	if d.accepted == nil || req.CSeq() == nil || req.CSeq().SeqNo != d.accepted.seq {
		return nil, false
	}
	a := d.accepted
	d.accepted = nil
	return a, true
}

// again sends the 2xx once more when it is time; gone tells that nobody will ever acknowledge it.
func (a *accepted) again(now time.Time, t2 time.Duration) (send, gone bool) {
	if !now.Before(a.deadline) {
		return false, true
	}
	if now.Before(a.next) {
		return false, false
	}
	a.wait = min(2*a.wait, t2)
	a.next = now.Add(a.wait)
	return true, false
}

// due is when to look at it again.
func (a *accepted) due() time.Time {
	if a.deadline.Before(a.next) {
		return a.deadline
	}
	return a.next
}

// identity reads the user of `"Ana" <sip:+4930...@example.com>` or `<tel:+4930...>`.
func identity(value string) (user, display string) {
	if before, after, ok := strings.Cut(value, "<"); ok {
		display = strings.Trim(strings.TrimSpace(before), `"`)
		value, _, _ = strings.Cut(after, ">")
	}
	scheme, rest, ok := strings.Cut(strings.TrimSpace(value), ":")
	if !ok || !edge.OurScheme(scheme) {
		return "", ""
	}
	if strings.EqualFold(scheme, "tel") {
		user = rest
	} else {
		var at bool
		if user, _, at = strings.Cut(rest, "@"); !at {
			return "", ""
		}
	}
	return user, display
}

// normalNumber brings a telephone number to E.164 as far as it can be known without a dial plan: separators and
// parameters gone, 00 becomes +. What is no number (a SIP user name) stays as it is.
func normalNumber(s string) string {
	s, number := barePhone(s)
	if rest, ok := strings.CutPrefix(s, "00"); ok && number && rest != "" {
		return "+" + rest
	}
	return s
}

// barePhone takes separators and parameters from a telephone number; false: it is none, but a name.
func barePhone(s string) (string, bool) {
	s, _, _ = strings.Cut(s, ";")
	s, _, _ = strings.Cut(s, ":") // a password never belongs here
	s = strings.TrimSpace(edge.Plain(s))
	digits := strings.NewReplacer("-", "", ".", "", "(", "", ")", "", " ", "", "/", "", "%20", "").Replace(s)
	rest := strings.TrimPrefix(digits, "+")
	if rest == "" || strings.Trim(rest, "0123456789") != "" {
		if len(s) > 64 {
			s = s[:64]
		}
		return strings.ToValidUTF8(s, ""), false
	}
	return digits, true
}

// cleanName makes a claimed display name fit to be stored.
func cleanName(s string) string {
	s = strings.TrimSpace(edge.Plain(strings.ToValidUTF8(strings.ReplaceAll(s, `\`, ""), "")))
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80])
	}
	return s
}
