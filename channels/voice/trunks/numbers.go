package trunks

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// bareNumber makes numbers comparable: +49 30 1, 0049301 and 49301 are the same.
func bareNumber(s string) string {
	return strings.TrimPrefix(normalNumber(s), "+")
}

// normalNumber brings a telephone number to E.164 as far as it can be known without a dial plan: separators and
// parameters gone, 00 becomes +. What is no number (a SIP user name) stays as it is.
func normalNumber(s string) string {
	s, number := Digits(s)
	if rest, ok := strings.CutPrefix(s, "00"); ok && number && rest != "" {
		return "+" + rest
	}
	return s
}

// Digits takes separators and parameters from a telephone number; false: it is none, but a name.
func Digits(s string) (string, bool) {
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

// Dialled is the number called: the request URI's, or that of To where a trunk sends all calls to one address.
func Dialled(req *sip.Request) string {
	uri := req.Recipient
	if raw := uri.Raw(); raw != "" {
		return raw
	}
	if uri.User == "" {
		return req.To().Address.User
	}
	return uri.User
}

// CleanName makes a claimed display name fit to be stored.
func CleanName(s string) string {
	s = strings.TrimSpace(edge.Plain(strings.ToValidUTF8(strings.ReplaceAll(s, `\`, ""), "")))
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80])
	}
	return s
}
