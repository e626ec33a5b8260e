package spoken

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

//go:embed languages.txt
var frequentWords string

// frequent maps a word, without accents, to the languages in which it is among the most frequent.
var frequent = sync.OnceValue(func() map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(frequentWords) {
		lang, words, _ := strings.Cut(line, ":")
		for _, w := range lettersOf(words) {
			if !slices.Contains(out[w], lang) {
				out[w] = append(out[w], lang)
			}
		}
	}
	return out
})

// scripts that belong to one language for our purpose; Cyrillic and Han letters are looked at closer.
var scripts = []struct {
	lang  string
	table *unicode.RangeTable
}{
	{"el", unicode.Greek}, {"he", unicode.Hebrew}, {"hi", unicode.Devanagari}, {"th", unicode.Thai}, {"ko", unicode.Hangul}, {"ja", unicode.Hiragana},
	{"ja", unicode.Katakana}, {"ar", unicode.Arabic}, {"ru", unicode.Cyrillic}, {"zh", unicode.Han},
}

// signs counts what speaks for each language: a text in a script of its own, else frequent words.
func signs(text string) map[string]int {
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
				lang = "uk"
			}
			return map[string]int{lang: n}
		}
	}
	score := map[string]int{}
	for _, w := range lettersOf(text) {
		for _, lang := range frequent()[w] {
			score[lang]++
		}
	}
	return score
}

// western are the languages told by their frequent words; of two that score alike the first is meant.
var western = []string{"en", "de", "fr", "es", "it", "pt", "nl", "pl"}

// Tongue tells which language a text is in, as a code; "" means that nothing speaks for one.
func Tongue(text string) string {
	score := signs(cut(text, MaxInput))
	best := ""
	for _, lang := range western {
		if score[lang] > score[best] {
			best = lang
		}
	}
	for lang, n := range score {
		if n > score[best] { // a script's is alone
			best = lang
		}
	}
	return best
}

// Language guesses in which of some languages a sentence is. among may be tags like "de-AT", and the answer is one of them.
// sure: there is more than one sign for it and no other of them is near; a greeting or a name alone is no reason to
// change the language of a call. Without any sign it is the first of among.
func Language(text string, among []string) (language string, sure bool) {
	score := signs(cut(text, MaxInput))
	of := func(tag string) int {
		code, _, _ := strings.Cut(strings.ToLower(tag), "-")
		return score[code]
	}
	for i, tag := range among {
		if i == 0 || of(tag) > of(language) {
			language = tag
		}
	}
	if language == "" {
		return "", false
	}
	mine, near := of(language), 0
	for _, tag := range among {
		if tag != language {
			near = max(near, of(tag))
		}
	}
	for _, n := range score { // who speaks a language that is not offered is not to be guessed at
		if n > mine {
			return language, false
		}
	}
	return language, mine >= 2 && mine >= 2*near
}

// lettersOf are the words without accents, lower case.
func lettersOf(text string) []string {
	plain := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKD.String(text))
	return strings.FieldsFunc(plain, func(r rune) bool { return !unicode.IsLetter(r) && r != '-' })
}
