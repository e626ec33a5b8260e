package dialogue

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed phrases.txt
var phraseFile string

var phrases = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(phraseFile) {
		if name, words, ok := strings.Cut(line, ":"); ok {
			all[name] = strings.TrimSpace(words)
		}
	}
	return all
})

// Phrase is a sentence of ours in a language ("de", "en-GB"), in English where we have none in it.
func Phrase(language, name string) string {
	base, _, _ := strings.Cut(strings.ToLower(language), "-")
	if words := phrases()[base+"."+name]; words != "" {
		return words
	}
	return phrases()["en."+name]
}

// Greeting is the first words: who we are, that it is no person, and how to reach one.
func Greeting(language, company string) string {
	if company == "" {
		return strings.NewReplacer(" for calling {{company}}", " for calling", " bei {{company}}", "", " a {{company}}", "", " d'appeler {{company}}", " de votre appel",
			" per aver chiamato {{company}}", " per la sua chiamata").Replace(Phrase(language, "greeting"))
	}
	return strings.ReplaceAll(Phrase(language, "greeting"), "{{company}}", company)
}
