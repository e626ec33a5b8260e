package llm

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// tokens lowers, removes accents, joins what apostrophes cut off (don't -> dont; l'agent -> l agent) and shortens
// letters repeated three times or more.
func tokens(text string) []string {
	var out []string
	var word []byte
	var last rune
	var run, letters int
	flush := func() {
		if len(word) > 0 {
			out = append(out, string(word))
			word = nil
		}
		last, run, letters = 0, 0, 0
	}
	var raw [utf8.UTFMax]byte
	for _, r := range norm.NFKD.String(text) {
		r = unicode.ToLower(r)
		switch {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r):
			continue
		case r == '\'' || r == '’' || r == 'ʼ' || r == '`' || r == '´':
			if letters <= 2 {
				flush()
			}
			continue
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case r == 'ß':
			word, letters, last = append(word, "ss"...), letters+2, 's'
			continue
		case r == 'ł':
			r = 'l'
		case r == 'ø':
			r = 'o'
		}
		if r == last && unicode.IsLetter(r) {
			run++
		} else {
			last, run = r, 1
		}
		if run == 3 { // take back the second one: huuuman -> human
			word = word[:len(word)-utf8.RuneLen(r)]
		}
		if run < 3 {
			word = append(word, raw[:utf8.EncodeRune(raw[:], r)]...)
		}
		letters++
	}
	flush()
	return out
}

func bounded(s string, runes int) string {
	if len(s) <= runes {
		return s
	}
	r := []rune(strings.ToValidUTF8(s, " "))
	if len(r) <= runes {
		return string(r)
	}
	return string(r[:runes*3/4]) + "\n" + string(r[len(r)-runes/4:])
}
