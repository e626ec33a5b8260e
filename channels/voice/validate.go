package voice

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// refusal is an answer that ends a request: a code, its words, and the headers that go with it.
type refusal struct {
	code    int
	reason  string
	headers []sip.Header
}

func refuse(code int, reason string, headers ...sip.Header) *refusal {
	return &refusal{code: code, reason: reason, headers: headers}
}

// Methods we serve, and what else we know by name but do not serve (405 instead of 501).
var (
	served = []sip.RequestMethod{sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.INFO, sip.UPDATE}
	known  = []sip.RequestMethod{sip.REGISTER, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.MESSAGE, sip.PRACK, sip.PUBLISH}
)

const (
	typeSDP       = "application/sdp"
	typeRelay     = "application/dtmf-relay"
	typeDTMF      = "application/dtmf"
	typeMultipart = "multipart/"
)

func allowHeader() sip.Header {
	names := make([]string, len(served))
	for i, m := range served {
		names[i] = string(m)
	}
	return sip.NewHeader("Allow", strings.Join(names, ", "))
}

// validate looks at one request by itself, in the order of RFC 3261 section 8.2 with the transport's checks before it.
// Nil: nothing against it. What needs the running calls (merged requests, unknown dialogs) follows in sip.go.
func validate(req *sip.Request) *refusal {
	if req.SipVersion != "SIP/2.0" {
		return refuse(505, "Version Not Supported")
	}
	if r := validateHeaders(req); r != nil {
		return r
	}
	if !ourScheme(req.Recipient.Scheme) {
		return refuse(416, "Unsupported URI Scheme")
	}
	switch {
	case hasMethod(served, req.Method):
	case hasMethod(known, req.Method):
		return refuse(405, "Method Not Allowed", allowHeader())
	default:
		return refuse(501, "Not Implemented", allowHeader())
	}
	if r := validateRequire(req); r != nil {
		return r
	}
	if mf := req.MaxForwards(); mf != nil && mf.Val() == 0 && req.Method == sip.INVITE {
		return refuse(483, "Too Many Hops")
	}
	return validateBody(req)
}

// single headers may stand in a request once.
var single = []string{"from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"}

func validateHeaders(req *sip.Request) *refusal {
	for _, name := range single {
		if len(req.GetHeaders(name)) > 1 {
			return refuse(400, "Repeated "+name)
		}
	}
	from, to, callID, cseq := req.From(), req.To(), req.CallID(), req.CSeq()
	switch {
	case req.Via() == nil:
		return refuse(400, "Missing Via")
	case from == nil || !ourScheme(from.Address.Scheme):
		return refuse(400, "Bad From")
	case to == nil || !ourScheme(to.Address.Scheme):
		return refuse(400, "Bad To")
	case callID == nil || callID.Value() == "" || !clean(callID.Value()):
		return refuse(400, "Bad Call-ID")
	case cseq == nil || !strings.EqualFold(string(cseq.MethodName), string(req.Method)): // sipgo has raised the case of one of them
		return refuse(400, "Bad CSeq")
	}
	if tag, ok := from.Params.Get("tag"); !ok || tag == "" {
		return refuse(400, "Missing From tag")
	}
	if req.Method == sip.INVITE {
		contacts := req.GetHeaders("contact")
		if len(contacts) > 1 {
			return refuse(400, "Repeated contact")
		}
		// RFC 3261 section 8.1.1.8; RFC 2543 had it optional.
		if len(contacts) == 0 && !isLent(from) {
			return refuse(400, "Missing Contact")
		}
		if c := req.Contact(); c != nil && (c.Address.Wildcard || !ourScheme(c.Address.Scheme)) {
			return refuse(400, "Bad Contact")
		}
	}
	return nil
}

func validateRequire(req *sip.Request) *refusal {
	if req.Method == sip.ACK || req.Method == sip.CANCEL { // RFC 3261 section 8.2.2.3
		return nil
	}
	var unknown []string
	for _, h := range req.GetHeaders("require") {
		for _, tag := range strings.Split(h.Value(), ",") {
			if tag = strings.TrimSpace(tag); tag != "" { // we require nothing and extend nothing
				unknown = append(unknown, tag)
			}
		}
	}
	if len(unknown) > 0 {
		return refuse(420, "Bad Extension", sip.NewHeader("Unsupported", plain(strings.Join(unknown, ", "))))
	}
	return nil
}

func validateBody(req *sip.Request) *refusal {
	if e := req.GetHeader("content-encoding"); e != nil && !strings.EqualFold(strings.TrimSpace(e.Value()), "identity") {
		return refuse(415, "Unsupported Content-Encoding", sip.NewHeader("Accept-Encoding", "identity"))
	}
	media := mediaType(req)
	switch {
	case len(req.Body()) == 0:
	case req.Method == sip.INVITE || req.Method == sip.UPDATE:
		if media != typeSDP && !strings.HasPrefix(media, typeMultipart) {
			return refuse(415, "Unsupported Media Type", sip.NewHeader("Accept", typeSDP))
		}
	case req.Method == sip.INFO:
		if media != typeRelay && media != typeDTMF {
			return refuse(415, "Unsupported Media Type", sip.NewHeader("Accept", typeRelay+", "+typeDTMF))
		}
	}
	if req.Method == sip.INVITE && !accepts(req, typeSDP) {
		return refuse(406, "Not Acceptable")
	}
	return nil
}

// mediaType is the request's content type without parameters, lower case; SDP where a body has none.
func mediaType(req *sip.Request) string {
	h := req.ContentType()
	if h == nil {
		return typeSDP
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

func hasMethod(list []sip.RequestMethod, m sip.RequestMethod) bool {
	for _, x := range list {
		if x == m {
			return true
		}
	}
	return false
}

func isLent(from *sip.FromHeader) bool {
	tag, _ := from.Params.Get("tag")
	return strings.HasPrefix(";tag="+tag, lentTag)
}

// clean tells whether outside text may stand in a header: no control characters (RFC 3261 section 25.1).
func clean(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// plain makes outside text fit for a header.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
