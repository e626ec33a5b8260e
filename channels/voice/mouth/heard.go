package mouth

import (
	"sort"
	"strings"
	"unicode"
)

// share is the part of a text that was heard, when said is the part that was heard of words, how it is said: as many of
// the text's words as take no more to say than was said. "costs 4.90 EUR" is far longer in the mouth than on the screen.
func share(text, words, said string, say func(string) string) string {
	switch {
	case said == "":
		return ""
	case said == words:
		return text
	case words == text:
		return said
	}
	var ends []int // of the text's words
	for i, r := range text {
		if unicode.IsSpace(r) && i > 0 {
			ends = append(ends, i)
		}
	}
	n := sort.Search(len(ends), func(i int) bool { return len(say(text[:ends[i]])) > len(said) })
	if n == 0 {
		return ""
	}
	return strings.TrimSpace(text[:ends[n-1]])
}

// after is what follows the heard words of a text.
func after(text, heard string) string {
	if rest, ok := strings.CutPrefix(strings.TrimSpace(text), heard); ok {
		return strings.TrimSpace(rest)
	}
	return text
}
