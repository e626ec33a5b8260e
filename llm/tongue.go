package llm

import (
	"slices"
	"unicode"
)

// tongueNames are the languages that Tongue tells apart, as a desk shows them.
var tongueNames = map[string]string{
	"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese", "nl": "Dutch", "pl": "Polish",
	"ru": "Russian", "uk": "Ukrainian", "el": "Greek", "ar": "Arabic", "he": "Hebrew", "hi": "Hindi", "th": "Thai", "zh": "Chinese", "ja": "Japanese", "ko": "Korean",
}

// scripts that belong to one language for our purpose; Cyrillic, Han and Arabic letters are looked at closer.
var scripts = []struct {
	lang  string
	table *unicode.RangeTable
}{
	{"el", unicode.Greek}, {"he", unicode.Hebrew}, {"hi", unicode.Devanagari}, {"th", unicode.Thai}, {"ko", unicode.Hangul}, {"ja", unicode.Hiragana},
	{"ja", unicode.Katakana}, {"ar", unicode.Arabic}, {"ru", unicode.Cyrillic}, {"zh", unicode.Han},
}

// Tongue tells by plain rules which language a text is in: its script, else its frequent words. "" means that nothing
// speaks for one. It is told to people and never decides what a customer gets.
func Tongue(text string) string {
	text = bounded(text, cardRunes)
	letters, of := 0, map[string]int{}
	ukrainian := false
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		letters++
		ukrainian = ukrainian || slices.Contains([]rune("їєґі"), unicode.ToLower(r))
		for _, s := range scripts {
			if unicode.Is(s.table, r) {
				of[s.lang]++
				break
			}
		}
	}
	if of["ja"] > 0 { // kana among Han is Japanese
		of["ja"] += of["zh"]
		of["zh"] = 0
	}
	for lang, n := range of {
		if 2*n > letters {
			if lang == "ru" && ukrainian {
				return "uk"
			}
			return lang
		}
	}
	lang, score := frequentWords(text)
	if score == 0 {
		return ""
	}
	return lang
}
