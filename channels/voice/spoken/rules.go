package spoken

import (
	"regexp"
	"strings"
	"unicode"
)

// num is a number as written, with thousands by comma, dot, apostrophe or space and decimals by either.
const num = `(?:\d{1,3}(?:[.,'’ ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d+)?)`

// coinSigns are the signs beside the codes.
var coinSigns = map[string]string{"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "zł": "PLN", "Kč": "CZK", "₹": "INR", "R$": "BRL", "C$": "CAD", "A$": "AUD", "₺": "TRY"}

// build puts the language's rules into their order: what has the clearest form first, the bare number last.
func (t *tongue) build() {
	rule := func(expr string, say func(f found) (string, bool)) {
		t.rules = append(t.rules, makeRule(expr, say))
	}
	t.addresses(rule)
	t.streets(rule)
	t.abbreviations(rule)
	t.telephones(rule)
	t.dates(rule)
	t.times(rule)
	t.amounts(rule)
	t.codes(rule)
	t.numbers(rule)
}

func makeRule(expr string, say func(f found) (string, bool)) rule {
	return rule{regexp.MustCompile(expr), say}
}

type add func(expr string, say func(f found) (string, bool))

// addresses are those of e-mail and the web.
func (t *tongue) addresses(rule add) {
	rule(`(?:mailto:)?([\pL\pN][\pL\pN._%+-]*)@((?:[\pL\pN-]+\.)+\pL{2,24})`, func(f found) (string, bool) {
		return t.internet(f.m[1]) + " " + t.w["at"] + " " + t.internet(f.m[2]), true
	})
	rule(`https?://([^\s/?#<>"']+)([^\s<>"')\]]*)`, func(f found) (string, bool) { return t.site(f.m[1], f.m[2]) })
	rule(`\bwww\.([^\s/?#<>"']+)([^\s<>"')\]]*)`, func(f found) (string, bool) { return t.site(f.m[1], f.m[2]) })
	rule(`\b((?:[a-zA-Z0-9-]+\.)+(?:com|org|net|de|fr|es|eu|at|ch|uk|io|info|shop|dev|app|example))\b(/[^\s<>"')\]]*)?`, func(f found) (string, bool) {
		if isAlnum(firstByte(f.after)) || strings.Contains(f.m[1], "..") || lastByte(f.before) == '.' {
			return "", false
		}
		return t.site(f.m[1], f.m[2])
	})
}

// streets are the abbreviations that mean two things.
func (t *tongue) streets(rule add) {
	switch t.code {
	case "en":
		rule(`\b(St|Dr)\.`, func(f found) (string, bool) {
			after := strings.TrimSpace(f.after)
			before := strings.TrimRight(f.before, " ")
			name := before[strings.LastIndexByte(before, ' ')+1:]
			title := after != "" && after[0] >= 'A' && after[0] <= 'Z' && (name == "" || !unicode.IsUpper([]rune(name)[0]) || !isAlnum(lastByte(name)))
			words := map[string]string{"St": "Street", "Dr": "Drive"}[f.m[1]]
			if title {
				words = map[string]string{"St": "Saint", "Dr": "Doctor"}[f.m[1]]
			} else if after == "" {
				words += "."
			}
			return words, true
		})
	case "de":
		rule(`(\pL+)str\.`, func(f found) (string, bool) { return f.m[1] + "straße", true })
	}
}

// site says a web address as people do: without its scheme, and its path only when that can be kept in mind.
func (t *tongue) site(host, path string) (string, bool) {
	stop := ""
	whole := host + path
	trimmed := strings.TrimRight(whole, ".,!?;:")
	if rest := whole[len(trimmed):]; rest != "" {
		stop = rest[:1]
	}
	host, path, _ = strings.Cut(trimmed, "/")
	if i := strings.IndexAny(host, ":@?#"); i >= 0 {
		host = host[:i]
	}
	host = strings.TrimPrefix(host, "www.")
	words := t.internet(host)
	if path = strings.TrimSuffix(path, "/"); path != "" && len(path) <= 24 && !strings.ContainsAny(path, "?#%=&") {
		for part := range strings.SplitSeq(path, "/") {
			words += " " + t.w["slash"] + " " + t.internet(part)
		}
	}
	return words + stop, true
}

// internet says the parts of an address; figures one by one.
func (t *tongue) internet(s string) string {
	var b strings.Builder
	for _, r := range s {
		word := ""
		switch r {
		case '.':
			word = t.w["dot"]
		case '-':
			word = t.w["dash"]
		case '_':
			word = t.w["underscore"]
		case '+':
			word = t.w["plus"]
		default:
			switch v := digitValue(r); {
			case v >= 0:
				word = t.digits[v]
			case unicode.IsLetter(r) || unicode.IsMark(r):
				b.WriteRune(r)
			}
		}
		if word != "" {
			b.WriteString(" " + word + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

var (
	isoDate   = regexp.MustCompile(`^\d{4}-\d\d-\d\d\b`)
	anyDate   = regexp.MustCompile(`^\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d\d)?$`)
	usNumber  = regexp.MustCompile(`^(1[-. ])?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}$`)
	dialWords = regexp.MustCompile(`(?i)(phone|call|dial|tel|fax|mobile|ruf|wähl|fon|handy|mobil|llam|marc|móvil|appel|compos|portable|joign|sms|text|whatsapp)[^.!?]{0,30}$`)
	nonDigits = regexp.MustCompile(`\D+`)
)

// telephones are read in groups of figures.
func (t *tongue) telephones(rule add) {
	rule(`(?:\+|\()?\(?\d[\d()]*(?:(?:[./-]| ?/ ?| )\(?\d[\d()]*)*`, func(f found) (string, bool) {
		s := strings.TrimRight(f.m[0], "(")
		all := nonDigits.ReplaceAllString(s, "")
		tail := f.m[0][len(s):]
		switch {
		case len(all) < 7 && !(len(all) == 6 && s[0] == '0'), len(all) > 15, isAlnum(lastByte(f.before)), isAlnum(firstByte(f.after)) && firstByte(f.after) != 'x':
			return "", false
		case isoDate.MatchString(s), anyDate.MatchString(s), strings.HasPrefix(s, "0.") && strings.Count(s, ".") == 1:
			return "", false
		case firstByte(f.after) == ',' && isDigit(firstByte(f.after[1:])), firstByte(f.after) == ':', lastByte(f.before) == ':', strings.ContainsAny(string(lastByte(f.before)), "$#-"):
			return "", false
		case s[0] == '+', s[0] == '0', s[0] == '(' && strings.Contains(s, ")"), usNumber.MatchString(s), dialWords.MatchString(f.before):
		default:
			return "", false
		}
		if s[0] == '+' {
			s = strings.ReplaceAll(s, "(0)", " ")
		}
		return t.groups(s) + tail, true
	})
}
