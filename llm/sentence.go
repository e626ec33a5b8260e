package llm

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSentence bounds what the splitter holds back; a longer "sentence" is handed out as it is and the guard stops it.
const maxSentence = 700

// splitter cuts a stream of tokens into sentences. The pieces put together are the input, byte for byte.
type splitter struct{ rest string }

// add takes the next token and returns the sentences that are now whole.
func (s *splitter) add(token string) []string {
	s.rest += token
	var out []string
	for {
		n := sentenceEnd(s.rest)
		if n == 0 {
			if len(s.rest) <= maxSentence {
				return out
			}
			n = maxSentence
			for n > 0 && !utf8.RuneStart(s.rest[n]) {
				n--
			}
			if n == 0 {
				n = maxSentence
			}
		}
		out = append(out, s.rest[:n])
		s.rest = s.rest[n:]
	}
}

// flush returns what is left when the stream has ended properly.
func (s *splitter) flush() string {
	rest := s.rest
	s.rest = ""
	return rest
}

// sentenceEnd returns the length of the first whole sentence with the white space behind it, 0 when there is none yet.
// A full stop ends a sentence only when white space follows; what is behind the white space must be known too, because
// "a.m. " and "3. March" go on.
func sentenceEnd(s string) int {
	for i, r := range s {
		switch r {
		case '\n':
			if strings.TrimSpace(s[:i]) != "" {
				return skipSpace(s, i)
			}
		case '。', '！', '？':
			return i + utf8.RuneLen(r)
		case '.', '!', '?', '…':
			end := i + utf8.RuneLen(r)
			for end < len(s) {
				c, n := utf8.DecodeRuneInString(s[end:])
				if !strings.ContainsRune(".!?…\"'”’»)]*_`", c) {
					break
				}
				end += n
			}
			c, _ := utf8.DecodeRuneInString(s[end:])
			if end >= len(s) || !unicode.IsSpace(c) {
				continue
			}
			next := skipSpace(s, end)
			if c != '\n' && undecided(s[:i], s[next:]) {
				return 0
			}
			if next < len(s) && s[next] == '[' { // "It weighs 1.9 kg. [1]": the citation belongs to the sentence
				if j := strings.IndexByte(s[next:], ']'); j > 0 && j <= 4 {
					if next+j+1 == len(s) {
						return 0
					}
					return skipSpace(s, next+j+1)
				} else if j < 0 && len(s)-next <= 4 {
					return 0
				}
			}
			if r == '.' && c != '\n' && goesOn(s[:i], s[next:]) {
				continue
			}
			return next
		}
	}
	return 0
}

func skipSpace(s string, from int) int {
	for from < len(s) {
		c, n := utf8.DecodeRuneInString(s[from:])
		if !unicode.IsSpace(c) {
			break
		}
		from += n
	}
	return from
}

// undecided says whether more must come to tell whether the full stop between before and next ends a sentence: the next
// letter, and behind a number the next word, which may be a month.
func undecided(before, next string) bool {
	return next == "" || isOrdinal(lastWord(before)) && len(next) < 12 && strings.IndexFunc(next, func(r rune) bool { return !unicode.IsLetter(r) && r != utf8.RuneError }) < 0
}

// goesOn says whether the full stop between before and next stays inside a sentence.
func goesOn(before, next string) bool {
	w := lastWord(before)
	first, _ := utf8.DecodeRuneInString(next)
	switch {
	case strings.TrimSpace(before) == w && isOrdinal(w): // "1. Dry the tent": a list
		return true
	case neverEnds[strings.ToLower(w)]:
		return true
	case abbreviations[strings.ToLower(w)]:
		return !unicode.IsUpper(first) && next != ""
	case isOrdinal(w): // "am 3. März", "on 3. March"
		for m := range months {
			if strings.HasPrefix(strings.ToLower(next), m) {
				return true
			}
		}
		return unicode.IsLower(first)
	case len([]rune(w)) == 1 && unicode.IsUpper([]rune(w)[0]): // initials
		return w != "I"
	}
	return false
}

func lastWord(s string) string {
	i := strings.LastIndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '(' || r == '"' })
	if i < 0 {
		return s
	}
	_, n := utf8.DecodeRuneInString(s[i:])
	return s[i+n:]
}

func isOrdinal(w string) bool {
	if len(w) == 0 || len(w) > 2 {
		return false
	}
	for _, c := range w {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

var neverEnds = set("e.g i.e mr mrs ms dr prof st vs ca z.b d.h bzw u.a p.ej p.ex np nr no fig approx incl excl evtl ggf inkl exkl sog tel")

var abbreviations = set("etc a.m p.m usw ecc enz itd min max std kg cm mm km inc ltd co gmbh")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
