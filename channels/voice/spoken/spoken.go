// Package spoken is between what is written and what is said. It is pure: no clock, no state, no network.
//
// Text makes what people say out of what a model or an agent wrote; the voices of channels/voice/speech get nothing
// else. A written sentence goes through three rooms:
//
//	clean   markdown, HTML, links, emoji, control characters go; brackets become commas     every language
//	rules   addresses, numbers, codes, dates, times, money, units become words              English, German, Spanish, French
//	tidy    what is neither a letter nor punctuation goes, whatever the first two let by    every language
//
// so that the last room alone keeps the promise that no markup is ever read out. Other languages are only cleaned:
// their figures stay figures, and the voice reads them as it can. A sentence takes about half a millisecond: nothing for
// the audio path, and nothing beside a voice.
//
// Digits is the way back, for where a caller was asked for a number and answers by voice.
package spoken

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Bounds of Text in bytes: what is longer than MaxInput is cut at a word, and no answer is longer than MaxText.
const (
	MaxInput = 4096
	MaxText  = 16384
)

// Text is what people say for a written sentence. language is a tag as in "de", "en-GB"; of the region only en-GB and
// the like count: there 03/04 is the third of April. The answer holds letters, spaces and punctuation only, and digits
// where the language is none of the four; "" means that there is nothing to say.
func Text(language, sentence string) string {
	t := tongueOf(language)
	text := clean(cut(sentence, MaxInput))
	if t != nil {
		text = t.read(text)
	}
	return cut(tidy(text, t != nil), MaxText)
}

// tongueOf is nil for a language whose figures we cannot say. It takes "en", "en-GB", "en_GB.UTF-8".
func tongueOf(language string) *tongue {
	code, region, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(language), "_", "-"), "-")
	region, _, _ = strings.Cut(region, ".")
	if t := tongues()[code+"-"+region]; t != nil {
		return t
	}
	return tongues()[code]
}

// tongues are built once: their rules are regular expressions made of their words.
var tongues = sync.OnceValue(func() map[string]*tongue {
	british := english()
	british.dayFirst = true
	all := map[string]*tongue{"en": english(), "de": german(), "es": spanish(), "fr": french(), "it": italian(), "en-gb": british}
	for _, t := range all {
		t.build()
	}
	for _, region := range []string{"ie", "au", "nz", "in", "za"} {
		all["en-"+region] = british
	}
	return all
})

// cut shortens to at most n bytes, at a space where there is one, and mends broken UTF-8.
func cut(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
		if i := strings.LastIndexByte(s, ' '); i > n/2 {
			s = s[:i]
		}
	}
	return strings.ToValidUTF8(s, " ")
}
