package mouth

import (
	"strings"
	"unicode"
)

// share is the part of a text that was heard, when said is the part that was heard of how it is said: words. Where both
// are the same it is said itself; else the same share of it, in whole words.
func share(text, words, said string) string {
	switch {
	case said == "":
		return ""
	case said == words:
		return text
	case words == text:
		return said
	}
	budget := len([]rune(text)) * len(said) / len(words)
	end, at := 0, 0
	for i, r := range text {
		if unicode.IsSpace(r) && at <= budget {
			end = i
		}
		if at++; at > budget {
			break
		}
	}
	return strings.TrimSpace(text[:end])
}

// after is what follows the heard words of a text.
func after(text, heard string) string {
	if rest, ok := strings.CutPrefix(strings.TrimSpace(text), heard); ok {
		return strings.TrimSpace(rest)
	}
	return text
}
