package sipleg

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// Caller is who calls, as it came: a user name or number, and the name they claim. A trunk's P-Asserted-Identity (RFC
// 3325) goes before From; only whom the edge trusts gets this far.
func (l *Leg) Caller() (user, name string) {
	if l.info.request == nil {
		return "", ""
	}
	return caller(l.info.request)
}

func caller(req *sip.Request) (user, name string) {
	uri, name := req.From().Address, req.From().DisplayName
	if user = uri.Raw(); user == "" { // tel: and others keep their text
		user = uri.User
	}
	for _, h := range req.GetHeaders("p-asserted-identity") {
		first, _, _ := edge.CutElement(h.Value())
		if u, display := identity(first); u != "" {
			user = u
			if display != "" {
				name = display
			}
			break
		}
	}
	return user, name
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

// Called is the number called: the request URI's, or that of To where a trunk sends all calls to one address.
func (l *Leg) Called() string {
	req := l.info.request
	if req == nil {
		return ""
	}
	uri := req.Recipient
	if raw := uri.Raw(); raw != "" {
		return raw
	}
	if uri.User == "" {
		return req.To().Address.User
	}
	return uri.User
}

// Header lists the values of one header of an inbound leg's INVITE.
func (l *Leg) Header(name string) []string {
	if l.info.request == nil {
		return nil
	}
	var list []string
	for _, h := range l.info.request.GetHeaders(strings.ToLower(name)) {
		list = append(list, h.Value())
	}
	return list
}

// Invite is an inbound leg's INVITE, for the digest server; not to be changed.
func (l *Leg) Invite() *sip.Request { return l.info.request }
