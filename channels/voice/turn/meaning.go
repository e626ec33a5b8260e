package turn

import (
	"embed"
	"strings"
	"sync"
	"time"
	"unicode"
)

// What the machine understands of words: not what they mean, but whether they are at their end. The lists are one file a
// language (words/en.txt); of a language without a file only digits are understood.

//go:embed words/*.txt
var wordFiles embed.FS

// weight is how much is to be expected behind some words.
type weight uint8

const (
	open       weight = iota // nothing is known
	complete                 // a finished question, "yes"
	spelling                 // digits, letters: the next one comes
	unfinished               // "and", "um", "my number is"
)

func (t Times) of(w weight) time.Duration {
	return [...]time.Duration{open: t.Normal, complete: t.Short, spelling: t.Long, unfinished: t.Longer}[w]
}

// lexicon is one language's lists.
type lexicon struct {
	listening map[string]bool // whole utterances that do not interrupt: mm-hm, okay
	yesNo     map[string]bool // whole utterances that answer
	trailing  map[string]bool // last words behind which more comes
	question  map[string]bool // first words of a question
	double    map[string]bool // double, triple
	digit     map[string]string
	number    map[string]bool // nouns of numbers that are asked for
}

var lexicons = sync.OnceValue(func() map[string]*lexicon {
	all := map[string]*lexicon{}
	files, err := wordFiles.ReadDir("words")
	if err != nil {
		panic(err) // embedded
	}
	for _, f := range files {
		text, err := wordFiles.ReadFile("words/" + f.Name())
		if err != nil {
			panic(err)
		}
		all[strings.TrimSuffix(f.Name(), ".txt")] = readLexicon(string(text))
	}
	return all
})

// lexiconOf finds a language's lists: "en-US" reads "en".
func lexiconOf(language string) *lexicon {
	base, _, _ := strings.Cut(strings.ToLower(language), "-")
	if l := lexicons()[base]; l != nil {
		return l
	}
	return readLexicon("")
}

// readLexicon reads "name: a | b | c" lines.
func readLexicon(text string) *lexicon {
	lists := map[string][]string{}
	for line := range strings.Lines(text) {
		name, list, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		for item := range strings.SplitSeq(list, "|") {
			if item = strings.Join(tokens(item), " "); item != "" {
				lists[name] = append(lists[name], item)
			}
		}
	}
	set := func(name string) map[string]bool {
		m := map[string]bool{}
		for _, item := range lists[name] {
			m[item] = true
		}
		return m
	}
	l := &lexicon{listening: set("listening"), yesNo: set("yesno"), trailing: set("trailing"), question: set("question"), number: set("number"),
		double: set("double"), digit: map[string]string{}}
	for i := range 10 {
		d := string(rune('0' + i))
		l.digit[d] = d
		for _, word := range lists[d] {
			l.digit[word] = d
		}
	}
	return l
}

// tokens are the words of a text in small letters, without punctuation; apostrophes and hyphens stay within words.
func tokens(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && r != '\'' && r != '’' && r != '-'
	})
}

func whole(text string) string { return strings.Join(tokens(text), " ") }

// listens says whether text is a sign of listening: "mm-hm", "okay", "okay okay".
func (l *lexicon) listens(text string) bool {
	all := tokens(text)
	if l.listening[strings.Join(all, " ")] {
		return true
	}
	for _, w := range all {
		if !l.listening[w] {
			return false
		}
	}
	return len(all) > 0 && len(all) <= 3
}

// answers says whether text is "yes" or "no", also in a few words.
func (l *lexicon) answers(text string) bool {
	all := tokens(text)
	if l.yesNo[strings.Join(all, " ")] {
		return true
	}
	return len(all) > 0 && len(all) <= 3 && l.yesNo[all[0]]
}

// asksNumber says whether a question of ours wants digits.
func (l *lexicon) asksNumber(question string) bool {
	for _, w := range tokens(question) {
		if l.number[w] {
			return true
		}
	}
	return false
}

// weigh says whether text is at its end.
func (l *lexicon) weigh(text string, number bool) weight {
	all := tokens(text)
	if len(all) == 0 {
		return open
	}
	last := all[len(all)-1]
	switch end := text[len(text)-1]; {
	case end == '?' && l.trailing[last]: // the recogniser makes a whole of "is it possible to pay by"; "where are you from" is one
		return open
	case end == '?':
		return complete
	case l.trailing[last] || end == ',' || end == '-' || strings.HasSuffix(text, "...") || strings.HasSuffix(text, "…"):
		return unfinished
	case l.spells(all, number):
		return spelling
	case l.answers(text):
		return complete
	}
	if len(all) >= 3 && (l.question[all[0]] || l.question[all[0]+" "+all[1]]) {
		return complete
	}
	return open
}

// spells says whether the text ends in digits or single letters that are being told: one is enough when we asked for a
// number, else two.
func (l *lexicon) spells(all []string, number bool) bool {
	n := 0
	for i := len(all) - 1; i >= 0 && l.sign(all[i]); i-- {
		n++
		if len(all[i]) > 1 && unicode.IsDigit(rune(all[i][0])) { // the recogniser writes digits together
			n += 2
		}
	}
	return n >= 2 || number && n >= 1
}

func (l *lexicon) sign(word string) bool {
	return l.digit[word] != "" || l.double[word] || len([]rune(word)) == 1 && unicode.IsLetter([]rune(word)[0]) || strings.Trim(word, "0123456789-") == ""
}

// zero says whether text is a lone "zero".
func (l *lexicon) zero(text string) bool {
	all := tokens(text)
	return len(all) == 1 && l.digit[all[0]] == "0"
}

// said is what we have said last, to know our own words when they come back from a loudspeaker.
type said struct{ words [2]string }

func (s *said) add(sentence string) { s.words[0], s.words[1] = s.words[1], whole(sentence) }

// echoWords is how many of our words in a row the caller does not repeat by chance.
const echoWords = 3

// holds says whether text is a piece of what we have said, of so many words at least.
func (s *said) holds(text string, least int) bool {
	all := tokens(text)
	if len(all) < least {
		return false
	}
	return strings.Contains(" "+s.words[0]+" "+s.words[1]+" ", " "+strings.Join(all, " ")+" ")
}
