package voice

import (
	"strings"

	"patchbay/channels/voice/edge"
)

// known is by which number a caller is known, and by which name.
func known(user, claimed, callID string) (number, name string) {
	number = normalNumber(user)
	if lower := strings.ToLower(number); number == "" || lower == "anonymous" || lower == "restricted" || lower == "unavailable" {
		// Nobody known: a contact of its own, not one that all anonymous callers share.
		return "anonymous-" + callID, ""
	}
	return number, cleanName(claimed)
}

// bareNumber makes numbers comparable: +49 30 1, 0049301 and 49301 are the same.
func bareNumber(s string) string {
	return strings.TrimPrefix(normalNumber(s), "+")
}

// normalNumber brings a telephone number to E.164 as far as it can be known without a dial plan: separators and
// parameters gone, 00 becomes +. What is no number (a SIP user name) stays as it is.
func normalNumber(s string) string {
	s, _, _ = strings.Cut(s, ";")
	s, _, _ = strings.Cut(s, ":") // a password never belongs here
	s = strings.TrimSpace(edge.Plain(s))
	digits := strings.NewReplacer("-", "", ".", "", "(", "", ")", "", " ", "", "/", "", "%20", "").Replace(s)
	rest := strings.TrimPrefix(digits, "+")
	if rest == "" || strings.Trim(rest, "0123456789") != "" {
		if len(s) > 64 {
			s = s[:64]
		}
		return strings.ToValidUTF8(s, "")
	}
	if len(rest) > 2 && digits == rest && strings.HasPrefix(rest, "00") {
		return "+" + rest[2:]
	}
	return digits
}

// cleanName makes a claimed display name fit to be stored.
func cleanName(s string) string {
	s = strings.TrimSpace(edge.Plain(strings.ToValidUTF8(strings.ReplaceAll(s, `\`, ""), "")))
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80])
	}
	return s
}
