package spoken

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// tongue is one language's figures. What differs by grammar is a function, the rest is words.
type tongue struct {
	code     string
	digits   [10]string
	cardinal func(n int64) string                        // counted alone: "eins", "un", "vingt et un"
	counting func(n int64, feminine bool) string         // before a noun: "ein", "una", "vingt et une"
	ordinal  func(n int64, before, ending string) string // before: the word before; ending: "st", "ª", "er" as written
	year     func(n int64) string
	date     func(d, m int, year string, before string) string // year in words, "" = none
	clock    func(h, m int, half, before string) string        // half: "am", "pm" or ""
	money    func(whole, cents int64, c coin) string

	dayFirst  bool // 3/4 is the third of April
	comma     bool // the comma is the decimal point: 1.299,00
	fraction  bool // two decimals are read as one number: "virgule vingt-cinq"
	monthName [13]string
	months    map[string]int // as written, lower case
	weekdays  map[string]string
	coins     map[string]coin   // by ISO code
	coinWords map[string]string // "euros" -> EUR
	units     map[string]unit
	scales    map[string]scale
	abbrev    []string          // pairs: as written, as said
	w         map[string]string // the small words: point, minus, percent, to, and ...
	parts     map[string]string // "1/2" -> "half"

	rules []rule
}

type coin struct {
	one, many, cent, cents string
	feminine               bool
}

type unit struct {
	one, many string
	feminine  bool
}

// scale is what stands behind a number: thousand, million.
type scale struct {
	one, many, of string // of: what stands between it and the noun
	feminine      bool
}

// rule makes words of what re finds; say refuses with ok false and the text stays for the rules behind it.
type rule struct {
	re  *regexp.Regexp
	say func(m found) (words string, ok bool)
}

// found is a match with what stands around it.
type found struct {
	m             []string
	before, after string
}

// word is the word before the match, lower case.
func (f found) word() string {
	s := strings.TrimRight(f.before, " ,")
	if i := strings.LastIndexAny(s, " ("); i >= 0 {
		s = s[i+1:]
	}
	return strings.ToLower(s)
}

// whole says that the match is not a part of a longer number or word.
func (f found) whole() bool {
	b, a := lastByte(f.before), firstByte(f.after)
	if isAlnum(b) || isAlnum(a) {
		return false
	}
	if (b == '.' || b == ',' || b == ':' || b == '/') && isDigit(lastByte(f.before[:len(f.before)-1])) {
		return false
	}
	return !((a == '.' || a == ',' || a == ':' || a == '/') && isDigit(firstByte(f.after[1:])))
}

func lastByte(s string) byte {
	if s == "" {
		return ' '
	}
	return s[len(s)-1]
}

func firstByte(s string) byte {
	if s == "" {
		return ' '
	}
	return s[0]
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// isAlnum counts every byte of a letter beyond ASCII as one.
func isAlnum(b byte) bool {
	return isDigit(b) || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0xC3 && b <= 0xC9
}

// read runs the rules in their order; none sees what an earlier one has made words of, because words have no figures.
func (t *tongue) read(text string) string {
	text = westernDigits(text)
	for _, r := range t.rules {
		text = r.apply(text)
	}
	return t.symbols(text)
}

func (r rule) apply(text string) string {
	all := r.re.FindAllStringSubmatchIndex(text, -1)
	if all == nil {
		return text
	}
	var b strings.Builder
	end := 0
	for _, at := range all {
		f := found{before: text[:at[0]], after: text[at[1]:]}
		for i := 0; i < len(at); i += 2 {
			if at[i] < 0 {
				f.m = append(f.m, "")
			} else {
				f.m = append(f.m, text[at[i]:at[i+1]])
			}
		}
		words, ok := r.say(f)
		if !ok {
			continue
		}
		b.WriteString(text[end:at[0]])
		if b.Len() > 0 && isAlnum(lastByte(b.String())) {
			b.WriteByte(' ')
		}
		b.WriteString(words)
		if isAlnum(firstByte(f.after)) {
			b.WriteByte(' ')
		}
		end = at[1]
	}
	b.WriteString(text[end:])
	return b.String()
}

// value reads a number as written in either way: "1,299.00", "1.299,00", "1 299", "12,5". decimals is as written.
func (t *tongue) value(s string) (n int64, decimals string, ok bool) {
	s = strings.NewReplacer(" ", "", "'", "", "’", "").Replace(s)
	dot, comma := strings.LastIndexByte(s, '.'), strings.LastIndexByte(s, ',')
	at := max(dot, comma)
	switch {
	case at < 0:
	case dot >= 0 && comma >= 0: // both: the last is the point
		decimals, s = s[at+1:], s[:at]
	case strings.Count(s, s[at:at+1]) > 1: // 1.299.000
	case len(s)-at-1 == 3 && (s[at] == ',') != t.comma && at <= 3 && s[0] != '0': // the language's own thousands
	default:
		decimals, s = s[at+1:], s[:at]
	}
	n, err := strconv.ParseInt(strings.NewReplacer(".", "", ",", "").Replace(s), 10, 64)
	return n, decimals, err == nil && n < 1e15
}

// number reads a number with its decimals; what is too long for a number is spelled.
func (t *tongue) number(s string) string {
	n, decimals, ok := t.value(s)
	switch {
	case !ok || len(s) > 1 && s[0] == '0' && isDigit(s[1]):
		return t.spell(s)
	case decimals == "":
		return t.cardinal(n)
	}
	return t.cardinal(n) + " " + t.w["point"] + " " + t.decimals(decimals)
}

func (t *tongue) decimals(s string) string {
	if t.fraction && len(s) <= 2 && s[0] != '0' {
		n, _ := strconv.ParseInt(s, 10, 64)
		return t.cardinal(n)
	}
	return t.spell(s)
}

// amount reads a number before a noun and says whether the noun is one.
func (t *tongue) amount(s string, feminine bool) (words string, one bool) {
	n, decimals, ok := t.value(s)
	if !ok || decimals != "" {
		return t.number(s), false
	}
	return t.counting(n, feminine), n == 1
}

// spell reads the figures and letters of s one by one and leaves the rest out.
func (t *tongue) spell(s string) string {
	var out []string
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			out = append(out, t.digits[r-'0'])
		case r == '+':
			out = append(out, t.w["plus"])
		case unicode.IsLetter(r):
			out = append(out, strings.ToUpper(string(r)))
		}
	}
	return strings.Join(out, " ")
}

// groups spells a long number with a breath after each group, as people do on the telephone.
func (t *tongue) groups(s string) string {
	var out []string
	for _, g := range strings.FieldsFunc(s, func(r rune) bool { return !(r >= '0' && r <= '9') && r != '+' }) {
		for _, part := range chunks(g) {
			out = append(out, t.spell(part))
		}
	}
	return strings.Join(out, ", ")
}

// chunks cuts a run of figures into threes, the last one of two to four.
func chunks(s string) (out []string) {
	for len(s) > 4 {
		n := 3
		if len(s) == 5 && s[0] != '+' {
			n = 2
		}
		if s[0] == '+' {
			n = 4
		}
		out, s = append(out, s[:min(n, len(s))]), s[min(n, len(s)):]
	}
	if s != "" {
		out = append(out, s)
	}
	return out
}

// abbreviations are written out early: "Nr. 5" is no end of a sentence. A unit behind its number is left for the units.
func (t *tongue) abbreviations(rule add) {
	written := map[string]string{}
	for i := 0; i < len(t.abbrev); i += 2 {
		written[t.abbrev[i]] = t.abbrev[i+1]
	}
	rule("("+keys(written)+")", func(f found) (string, bool) {
		from := f.m[1]
		_, isUnit := t.units[strings.TrimSuffix(from, ".")]
		if isLetterByte(lastByte(f.before)) || isAlnum(lastByte(from)) && isAlnum(firstByte(f.after)) ||
			isUnit && isDigit(lastByte(strings.TrimRight(f.before, " "))) {
			return "", false
		}
		words := written[from]
		if strings.HasSuffix(from, ".") && strings.TrimSpace(f.after) == "" {
			words += "." // it ends the sentence as well
		}
		return words, true
	})
}

// symbols are the signs that people say.
func (t *tongue) symbols(text string) string {
	for _, s := range []string{"&", "@", "+", "=", "×", "§", "%", "°", "€", "$", "£", "¥"} {
		if strings.Contains(text, s) {
			text = strings.ReplaceAll(text, s, " "+t.w[s]+" ")
		}
	}
	return strings.ReplaceAll(text, "/", " ")
}

// westernDigits makes 4 of ٤ and of every other script's four.
func westernDigits(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r > 0x2FF && digitValue(r) >= 0 }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if v := digitValue(r); v >= 0 {
			return rune('0' + v)
		}
		return r
	}, s)
}

// keys makes an alternative of regexp of a map's keys, the longest first.
func keys[V any](m map[string]V) string {
	var all []string
	for k := range m {
		all = append(all, regexp.QuoteMeta(k))
	}
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return strings.Join(all, "|")
}
