package dialogue

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is how long one piece is at most, in bytes: a list without a full stop is cut at a comma or a space.
const longest = 300

// sentence is the length of the first sentence of an answer, with the white space behind it; the whole text when there
// is no end in it. An answer comes in whole sentences (llm's splitter), often several at once: each is a piece of its
// own, so that the first one's sound is there soon. A full stop within one ("9 a.m. to 5") is told by what follows.
func sentence(text string) int {
	for i, r := range text {
		if i >= longest {
			return atComma(text)
		}
		switch r {
		case '\n':
			if strings.TrimSpace(text[:i]) != "" {
				return space(text, i)
			}
		case '.', '!', '?':
			end := i + utf8.RuneLen(r)
			next := space(text, end)
			if next == len(text) {
				return next
			}
			first, _ := utf8.DecodeRuneInString(text[next:])
			if next > end && (unicode.IsUpper(first) || r != '.') && !short(text[:i]) {
				return next
			}
		}
	}
	return len(text)
}

// short says whether the full stop behind before may belong to an abbreviation, an initial or an ordinal ("am 3. Mai").
func short(before string) bool {
	word := before[strings.LastIndexFunc(before, unicode.IsSpace)+1:]
	return len(word) <= 2 && word != "" && strings.Trim(word, "0123456789") == "" ||
		len(word) <= 3 && strings.ContainsFunc(word, unicode.IsLetter) && !strings.ContainsAny(word, "0123456789") && word != strings.ToLower(word) ||
		strings.Contains(word, ".")
}

func space(text string, from int) int {
	for from < len(text) {
		r, n := utf8.DecodeRuneInString(text[from:])
		if !unicode.IsSpace(r) {
			break
		}
		from += n
	}
	return from
}

// atComma cuts what has no end in time.
func atComma(text string) int {
	head := text[:min(longest, len(text))]
	for _, sep := range []string{"; ", ": ", ", ", " "} {
		if i := strings.LastIndex(head, sep); i > longest/4 {
			return i + len(sep)
		}
	}
	n := len(head)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return n
}
