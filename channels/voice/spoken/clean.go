package spoken

import (
	"html"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

var (
	blocks    = regexp.MustCompile(`(?is)<(script|style|head|svg|template)\b.*?(</(script|style|head|svg|template)\s*>|$)|<!--.*?(-->|$)`)
	breaks    = regexp.MustCompile(`(?i)<\s*/?\s*(br|p|div|li|tr|h[1-6]|ul|ol|table|blockquote)\b[^<>]*>`)
	tags      = regexp.MustCompile(`</?[a-zA-Z!?][^<>]*>`)
	autolinks = regexp.MustCompile(`<((?:https?://|mailto:)?[^<>\s]+[.@:][^<>\s]+)>`)
	images    = regexp.MustCompile(`!\[([^\[\]]*)\](\([^()\n]*\)|\[[^\[\]\n]*\])`)
	links     = regexp.MustCompile(`\[([^\[\]]*)\](\((?:[^()\n]|\([^()\n]*\))*\)|\[[^\[\]\n]*\])`)
	footnotes = regexp.MustCompile(`\[\^?\d{1,3}\](:[ \t])?`)
	fences    = regexp.MustCompile("(?m)^[ \t]*(```|~~~)[^\n]*$")
	headings  = regexp.MustCompile(`(?m)^[ \t]*#{1,6}[ \t]+(.*?)[ \t#]*$`)
	rulers    = regexp.MustCompile(`(?m)^[ \t]*([-*_=|:+] ?){3,}[ \t]*$`)
	items     = regexp.MustCompile(`(?m)^[ \t>]*[-*+•‣◦–][ \t]+(.*?)$`)
	numbered  = regexp.MustCompile(`(?m)^[ \t>]*\d{1,2}[.)][ \t]+(.*?)$`)
	quoted    = regexp.MustCompile(`(?m)^[ \t]*(>[ \t]?)+`)
	emphasis  = regexp.MustCompile("(\\*{1,3}|_{2,3}|~~|`+)")
	smileys   = regexp.MustCompile(`(^|\s)[:;=8][-o']?[)(\]\[DPpOo/|*3]+(\s|$|[.,!?])`)
	lines     = regexp.MustCompile(`\s*\n\s*`)
	endsLine  = regexp.MustCompile(`[.!?…:;,。！？]["'”’)]*$`)
)

// clean takes all markup out and leaves one line of plain text in NFKC.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\r", "\n")
	s = blocks.ReplaceAllString(s, " ")
	s = breaks.ReplaceAllString(s, "\n")
	s = autolinks.ReplaceAllString(s, " $1 ")
	s = tags.ReplaceAllString(s, " ")
	s = html.UnescapeString(s)
	s = tags.ReplaceAllString(s, " ") // "&lt;b&gt;" is markup too
	s = images.ReplaceAllString(s, " $1 ")
	s = links.ReplaceAllString(s, " $1 ")
	s = footnotes.ReplaceAllString(s, " ")
	s = fences.ReplaceAllString(s, "")
	s = rulers.ReplaceAllString(s, "")
	s = quoted.ReplaceAllString(s, "")
	s = sentences(headings, s)
	s = sentences(items, s)
	s = sentences(numbered, s)
	s = emphasis.ReplaceAllString(s, "")
	s = vulgar.Replace(s)
	s = norm.NFKC.String(s)
	s = strings.Map(visible, s)
	s = smileys.ReplaceAllString(s, "$1$2")
	return strings.TrimSpace(strings.Join(strings.Fields(lines.ReplaceAllString(s, " ")), " "))
}

// sentences makes a sentence of each line that matches: a list is read item by item, with a breath between them.
func sentences(line *regexp.Regexp, s string) string {
	return line.ReplaceAllStringFunc(s, func(all string) string {
		words := strings.TrimSpace(line.FindStringSubmatch(all)[1])
		if words != "" && !endsLine.MatchString(words) {
			words += "."
		}
		return words
	})
}

// vulgar writes fractions so that NFKC does not make 41/2 of 4½.
var vulgar = strings.NewReplacer("½", " 1/2", "⅓", " 1/3", "⅔", " 2/3", "¼", " 1/4", "¾", " 3/4", "…", ". ", "‥", ". ", "№", "No. ",
	"²", "^2", "³", "^3", "—", " — ", "−", "-", "‐", "-", "‑", "-", "‒", "–", "―", " — ", "→", ", ", "⇒", ", ")

// visible drops what has no sound: control and format characters, emoji and other pictures, modifiers.
func visible(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return r
	case r == '°' || r == '€' || strings.ContainsRune("$£¥₽₺₹+=<>|~^`", r):
		return r
	case unicode.Is(unicode.Cf, r), r == '\uFE0F', r == '\uFE0E', unicode.Is(unicode.Me, r):
		return -1
	case unicode.IsSpace(r):
		return ' '
	case unicode.In(r, unicode.C, unicode.So, unicode.Sk, unicode.Co):
		return ' '
	}
	return r
}

// breaths are the signs at which a reader takes one.
var breaths = strings.NewReplacer("(", " , ", ")", " , ", "[", " , ", "]", " , ", "{", " , ", "}", " , ", "—", " , ", "–", " , ", "|", " , ")

var (
	spaces    = regexp.MustCompile(` +`)
	commas    = regexp.MustCompile(`( ?,)+( ?,)*`)
	beforeEnd = regexp.MustCompile(`[ ,;:]+([.!?])`)
	hyphens   = regexp.MustCompile(`(^|[^\pL\pM\pN])[-'’]+|[-'’]+($|[^\pL\pM\pN])`)
	doubled   = regexp.MustCompile(`([.!?])( ?[.,;:])+`)
	manyMarks = regexp.MustCompile(`([!?])[!?]{2,}`)
)

// tidy lets only letters, spaces and punctuation by, and with words false also figures with what belongs to them.
func tidy(s string, words bool) string {
	s = breaths.Replace(s)
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsMark(r), strings.ContainsRune(" .,!?;:¿¡。、！？，；：،؟؛।॥·'’-", r):
			return r
		case words:
			return ' '
		case unicode.IsDigit(r), unicode.Is(unicode.Sc, r), strings.ContainsRune("%/+&@§°", r):
			return r
		}
		return ' '
	}, s)
	for before := ""; before != s; { // each step only takes away, so it comes to rest
		before = s
		s = squeeze(s)
	}
	if strings.IndexFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) < 0 {
		return ""
	}
	return s
}

// squeeze takes out what the others have left: hyphens without a word, commas before a full stop, two marks in a row.
func squeeze(s string) string {
	s = hyphens.ReplaceAllString(s, "$1 $2")
	s = spaces.ReplaceAllString(s, " ")
	s = commas.ReplaceAllString(s, ",")
	s = beforeEnd.ReplaceAllString(s, "$1")
	s = doubled.ReplaceAllString(s, "$1")
	s = manyMarks.ReplaceAllString(s, "$1")
	s = strings.TrimLeft(s, " ,.;:!?-")
	s = strings.TrimRight(s, " ,;:-")
	return s
}
