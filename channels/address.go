package channels

import (
	"net/mail"
	"strings"
	"unicode"
)

// CleanAddress brings an address to the form in which it is stored and compared: a phone number without its
// decoration (E.164 when it begins with + or 00), a mail address in lower case. The error names the field.
func CleanAddress(a Address) (Address, error) {
	switch a.Kind {
	case Phone:
		v := CleanPhone(a.Value)
		if digits := strings.TrimPrefix(v, "+"); len(digits) < 2 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
			return a, FailField(Invalid, "value", "A phone number has 2 to 15 digits, such as +49 30 23125410.")
		}
		return Address{Kind: Phone, Value: v}, nil
	case Mail:
		p, err := mail.ParseAddress(strings.TrimSpace(a.Value))
		if err != nil || strings.ContainsFunc(p.Address, unicode.IsControl) {
			return a, FailField(Invalid, "value", "A mail address looks like name@example.org.")
		}
		return Address{Kind: Mail, Value: strings.ToLower(p.Address)}, nil
	}
	return a, FailField(Invalid, "kind", "An address is a phone or an email.")
}

// CleanPhone keeps what dials: digits and a leading +. 00 is the international prefix. What has no digit (an
// anonymous caller, a SIP name) stays as it is, in lower case.
func CleanPhone(s string) string {
	s = strings.TrimSpace(s)
	var b strings.Builder
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r == '+' && i == 0:
			b.WriteRune(r)
		case strings.ContainsRune(" -./()", r):
		default:
			return strings.ToLower(s) // letters: a SIP user name is an address of its own
		}
	}
	v := b.String()
	if rest, ok := strings.CutPrefix(v, "00"); ok && len(rest) > 5 {
		v = "+" + rest
	}
	if v == "" || v == "+" {
		return strings.ToLower(s)
	}
	return v
}
