package edge

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Refusal is an answer that ends a request: a code, its words, and the headers that go with it.
type Refusal struct {
	Code    int
	Reason  string
	Headers []sip.Header
}

// Refuse makes one.
func Refuse(code int, reason string, headers ...sip.Header) *Refusal {
	return &Refusal{Code: code, Reason: reason, Headers: headers}
}

// Rules are what a server of ours can: the methods it serves and the extensions it knows (RFC 3261 section 8.2).
type Rules struct {
	Methods []sip.RequestMethod
	Extends []string // option tags that a Require may name
}

// known are the methods that exist: what is not among Rules.Methods gets 405 instead of 501.
var known = []sip.RequestMethod{sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.INFO, sip.UPDATE, sip.REGISTER,
	sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.MESSAGE, sip.PRACK, sip.PUBLISH}

// Content types that requests bring.
const (
	TypeSDP       = "application/sdp"
	TypeRelay     = "application/dtmf-relay"
	TypeDTMF      = "application/dtmf"
	TypeFragment  = "message/sipfrag"
	TypeMultipart = "multipart/"
)

// Allow lists the methods.
func (r Rules) Allow() sip.Header {
	names := make([]string, len(r.Methods))
	for i, m := range r.Methods {
		names[i] = string(m)
	}
	return sip.NewHeader("Allow", strings.Join(names, ", "))
}

// Supported lists the extensions.
func (r Rules) Supported() sip.Header {
	return sip.NewHeader("Supported", strings.Join(r.Extends, ", "))
}

// Validate looks at one request by itself, in the order of RFC 3261 section 8.2 with the transport's checks before it.
// Nil: nothing against it. What needs the running calls (merged requests, unknown dialogs) is for those who know them.
func Validate(req *sip.Request, rules Rules) *Refusal {
	if req.SipVersion != "SIP/2.0" {
		return Refuse(505, "Version Not Supported")
	}
	if r := validateHeaders(req); r != nil {
		return r
	}
	if !OurScheme(req.Recipient.Scheme) {
		return Refuse(416, "Unsupported URI Scheme")
	}
	switch {
	case slices.Contains(rules.Methods, req.Method):
	case slices.Contains(known, req.Method):
		return Refuse(405, "Method Not Allowed", rules.Allow())
	default:
		return Refuse(501, "Not Implemented", rules.Allow())
	}
	if r := validateRequire(req, rules.Extends); r != nil {
		return r
	}
	if mf := req.MaxForwards(); mf != nil && mf.Val() == 0 && req.Method == sip.INVITE {
		return Refuse(483, "Too Many Hops")
	}
	return validateBody(req)
}

// single headers may stand in a request once.
var single = []string{"from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"}

func validateHeaders(req *sip.Request) *Refusal {
	for _, name := range single {
		if len(req.GetHeaders(name)) > 1 {
			return Refuse(400, "Repeated "+name)
		}
	}
	from, to, callID, cseq := req.From(), req.To(), req.CallID(), req.CSeq()
	switch {
	case req.Via() == nil:
		return Refuse(400, "Missing Via")
	case from == nil || !OurScheme(from.Address.Scheme):
		return Refuse(400, "Bad From")
	case to == nil || !OurScheme(to.Address.Scheme):
		return Refuse(400, "Bad To")
	case callID == nil || callID.Value() == "" || !Clean(callID.Value()):
		return Refuse(400, "Bad Call-ID")
	case cseq == nil || !strings.EqualFold(string(cseq.MethodName), string(req.Method)): // sipgo has raised the case of one of them
		return Refuse(400, "Bad CSeq")
	}
	if tag, ok := from.Params.Get("tag"); !ok || tag == "" {
		return Refuse(400, "Missing From tag")
	}
	if req.Method == sip.INVITE {
		contacts := req.GetHeaders("contact")
		if len(contacts) > 1 {
			return Refuse(400, "Repeated contact")
		}
		// RFC 3261 section 8.1.1.8; RFC 2543 had it optional, and within a dialog it is a SHOULD (section 12.2.1.1).
		if _, inside := to.Params.Get("tag"); len(contacts) == 0 && !inside && !IsLent(from) {
			return Refuse(400, "Missing Contact")
		}
		if c := req.Contact(); c != nil && (c.Address.Wildcard || !OurScheme(c.Address.Scheme)) {
			return Refuse(400, "Bad Contact")
		}
	}
	return nil
}

func validateRequire(req *sip.Request, extends []string) *Refusal {
	if req.Method == sip.ACK || req.Method == sip.CANCEL { // RFC 3261 section 8.2.2.3
		return nil
	}
	var unknown []string
	for _, h := range req.GetHeaders("require") {
		for _, tag := range strings.Split(h.Value(), ",") {
			if tag = strings.TrimSpace(tag); tag != "" && !slices.Contains(extends, strings.ToLower(tag)) {
				unknown = append(unknown, tag)
			}
		}
	}
	if len(unknown) > 0 {
		return Refuse(420, "Bad Extension", sip.NewHeader("Unsupported", Plain(strings.Join(unknown, ", "))))
	}
	return nil
}

func validateBody(req *sip.Request) *Refusal {
	if e := req.GetHeader("content-encoding"); e != nil && !strings.EqualFold(strings.TrimSpace(e.Value()), "identity") {
		return Refuse(415, "Unsupported Content-Encoding", sip.NewHeader("Accept-Encoding", "identity"))
	}
	media := MediaType(req)
	switch {
	case len(req.Body()) == 0:
	case req.Method == sip.INVITE || req.Method == sip.UPDATE || req.Method == sip.PRACK:
		if media != TypeSDP && !strings.HasPrefix(media, TypeMultipart) {
			return Refuse(415, "Unsupported Media Type", sip.NewHeader("Accept", TypeSDP))
		}
	case req.Method == sip.INFO:
		if media != TypeRelay && media != TypeDTMF {
			return Refuse(415, "Unsupported Media Type", sip.NewHeader("Accept", TypeRelay+", "+TypeDTMF))
		}
	case req.Method == sip.NOTIFY:
		if media != TypeFragment {
			return Refuse(415, "Unsupported Media Type", sip.NewHeader("Accept", TypeFragment))
		}
	}
	if req.Method == sip.INVITE && !accepts(req, TypeSDP) {
		return Refuse(406, "Not Acceptable")
	}
	return nil
}

// MediaType is the request's content type without parameters, lower case; SDP where a body has none.
func MediaType(req *sip.Request) string {
	h := req.ContentType()
	if h == nil {
		return TypeSDP
	}
	t, _, _ := strings.Cut(h.Value(), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// accepts: no Accept header means SDP (RFC 3261 section 20.1).
func accepts(req *sip.Request, media string) bool {
	headers := req.GetHeaders("accept")
	if len(headers) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(media, "/")
	for _, h := range headers {
		for _, item := range strings.Split(h.Value(), ",") {
			item, _, _ = strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(item)) {
			case media, "*/*", kind + "/*":
				return true
			}
		}
	}
	return false
}

// IsLent: the request is of RFC 2543 times, its From tag is one that we lent it.
func IsLent(from *sip.FromHeader) bool {
	tag, _ := from.Params.Get("tag")
	return strings.HasPrefix(";tag="+tag, lentTag)
}

// Clean tells whether outside text may stand in a header: no control characters (RFC 3261 section 25.1).
func Clean(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// Plain makes outside text fit for a header.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
