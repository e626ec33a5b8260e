// Package sentences is what the house itself says to a customer in writing, in the customer's language. Code writes a
// sentence in English and keeps it as one until it is known who reads it:
//
//	sentences.Say("You're through to %s.", "Mira").In("de") // "Mira ist jetzt für Sie da."
//
// words/LANG.txt holds a language's sentences, one "English = theirs" a line, with as many %s; where another order is
// needed they are numbered (%[2]s). What people of the house wrote themselves is in no file and stays as it is.
package sentences

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Said is one or several sentences. The zero value says nothing.
type Said struct {
	english string
	args    []any // string, Said or Date
	then    []Said
}

// Date is a day of the year among the arguments of a sentence.
type Date time.Time

// Say is a sentence in English, with %s for what differs: strings, and a Said or Date, which the reader gets in their language too.
func Say(english string, args ...any) Said { return Said{english: english, args: args} }

// Then is s and what is said after it.
func (s Said) Then(next ...Said) Said {
	s.then = append(slices.Clip(s.then), next...)
	return s
}

// Nothing says whether there is nothing to say.
func (s Said) Nothing() bool { return s.english == "" && len(s.then) == 0 }

// In is the text in a language by its code (ISO 639-1), sentence by sentence in English where it has none.
func (s Said) In(lang string) string {
	text := s.alone(lang)
	for _, next := range s.then {
		if text != "" && !slices.Contains(unspaced, lang) {
			text += " "
		}
		text += next.In(lang)
	}
	return text
}

// unspaced are the languages that write no space between sentences.
var unspaced = []string{"ja", "zh"}

func (s Said) alone(lang string) string {
	text, translated := catalogues()[lang][s.english]
	if !translated {
		text, lang = s.english, english
	}
	if len(s.args) == 0 {
		return text
	}
	args := make([]any, len(s.args))
	for i, a := range s.args {
		switch a := a.(type) {
		case Said:
			args[i] = a.In(lang)
		case Date:
			args[i] = a.in(lang)
		default:
			args[i] = a
		}
	}
	return fmt.Sprintf(text, args...)
}

// in is the day as English people say it, and by figures in an order that nobody takes for another elsewhere.
func (d Date) in(lang string) string {
	if lang == english {
		return time.Time(d).Format("2 January")
	}
	return time.Time(d).Format(time.DateOnly)
}

const english = "en"

//go:embed words/*.txt
var files embed.FS

// Languages are those in which the house has sentences, English first.
func Languages() []string {
	all := []string{english}
	for lang := range catalogues() {
		all = append(all, lang)
	}
	slices.Sort(all[1:])
	return all
}

// catalogues are the sentences by language and English.
var catalogues = sync.OnceValue(func() map[string]map[string]string {
	out := map[string]map[string]string{}
	entries, err := files.ReadDir("words")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		data, err := files.ReadFile("words/" + e.Name())
		if err != nil {
			panic(err)
		}
		of := map[string]string{}
		for line := range strings.Lines(string(data)) {
			if ours, theirs, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
				of[ours] = theirs
			}
		}
		out[strings.TrimSuffix(e.Name(), ".txt")] = of
	}
	return out
})
