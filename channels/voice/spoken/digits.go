package spoken

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// MaxDigits is the longest number that Digits takes down.
const MaxDigits = 32

// Digits takes down a number that was asked for: "double five oh", "twenty one", "zwei und zwanzig", "4711". ok is false
// when nothing else than a number was expected and something else was said, or no figure at all: then ask again. A plus
// at the beginning is kept, as in "plus four nine". Words that people put around a number ("it's", "um", "please") do
// not count. Two figures said as one number are written as they sound: "twenty twenty six" is 2026.
func Digits(language, heard string) (digits string, ok bool) {
	code, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(language), "_", "-"), "-")
	e := ears()[code]
	if e == nil {
		e = ears()[""]
	}
	words := e.atoms(westernDigits(cut(heard, MaxInput)))
	var out strings.Builder
	for i := 0; i < len(words); {
		w := words[i]
		times := e.times[w]
		if times > 0 && i+1 < len(words) {
			if n, used := e.longest(words[i+1:]); used == 1 && n < 10 {
				out.WriteString(strings.Repeat(strconv.Itoa(n), times))
				i += 2
				continue
			}
		}
		n, used := e.longest(words[i:])
		switch {
		case used > 0:
			out.WriteString(strconv.Itoa(n))
			i += used
			continue
		case isDigit(w[0]):
			out.WriteString(w)
		case e.plus[w] && out.Len() == 0:
			out.WriteByte('+')
		case e.around[w]:
		default:
			return "", false
		}
		i++
	}
	digits = out.String()
	return digits, digits != "" && digits != "+" && len(digits) <= MaxDigits
}

// ear hears one language's numbers. Its numbers are those that the tongue says, taken apart into atoms ("zwei und
// zwanzig"), so that a recogniser may write them in one word or in three.
type ear struct {
	parts  map[string]bool // atoms that stand together in one word
	root   *branch
	times  map[string]int // double, triple
	plus   map[string]bool
	around map[string]bool
}

type branch struct {
	next  map[string]*branch
	value int // -1: no number ends here
}

const loneNumbers = 10000 // "nine thousand nine hundred ninety nine"; longer ones are said in parts

var ears = sync.OnceValue(func() map[string]*ear {
	all := map[string]*ear{"": {root: &branch{value: -1}, plus: set("+")}}
	for code, e := range map[string]*ear{
		"en": {
			times:  map[string]int{"double": 2, "triple": 3, "treble": 3},
			plus:   set("plus +"),
			around: set("uh um er erm and so well ok okay yes yeah it it's its is that that's thats my the number order code pin please thanks thank you dash hyphen space then i have here comma sure phone zip postal"),
		},
		"de": {
			times:  map[string]int{"doppel": 2, "zweimal": 2, "dreimal": 3},
			plus:   set("plus +"),
			around: set("äh ähm hm also und ja es ist das die der meine mein nummer bestellnummer kundennummer lautet bitte danke bindestrich strich dann ich habe hier komma klar postleitzahl mal"),
		},
		"es": {
			times:  map[string]int{"doble": 2, "triple": 3},
			plus:   set("más mas +"),
			around: set("eh em pues y sí si es el la mi número numero pedido código codigo por favor gracias guion guión luego aquí tengo espacio vale"),
		},
		"it": {
			times:  map[string]int{"doppio": 2, "triplo": 3},
			plus:   set("più piu +"),
			around: set("eh ehm allora sì si è e il la mio numero ordine codice per favore grazie trattino poi ecco ho spazio va bene"),
		},
		"fr": {
			times:  map[string]int{"double": 2, "triple": 3},
			plus:   set("plus +"),
			around: set("euh alors et oui c'est le la mon ma numéro numero commande code s'il vous plaît plait merci tiret puis voici ensuite est donc espace"),
		},
	} {
		e.root = &branch{value: -1}
		e.parts = map[string]bool{}
		t := tongues()[code]
		if code == "de" { // a recogniser writes its numbers in one word or in three
			for _, w := range strings.Fields("null eins ein eine zwo zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn und " +
				"zwanzig dreißig dreissig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend") {
				e.parts[w] = true
			}
		}
		for n := range loneNumbers {
			e.learn(t.cardinal(int64(n)), n)
			if n >= 1100 && n < 2100 && code == "de" {
				e.learn(t.year(int64(n)), n)
			}
		}
		for word, n := range map[string]map[string]int{
			"en": {"oh": 0, "o": 0, "nought": 0, "nil": 0, "niner": 9, "fife": 5, "tree": 3, "won": 1, "too": 2, "for": 4, "ate": 8, "a hundred": 100, "a thousand": 1000},
			"de": {"zwo": 2, "ein": 1, "eine": 1, "hundert": 100, "tausend": 1000, "fuenf": 5, "zwoelf": 12},
			"es": {"un": 1, "una": 1, "ciento": 100},
			"it": {"un": 1, "una": 1},
			"fr": {"une": 1, "zero": 0, "septante": 70, "huitante": 80, "nonante": 90},
		}[code] {
			e.learn(word, n)
		}
		all[code] = e
	}
	return all
})

// learn puts a number's words into the tree, with and without what people leave out or put between: "hundred (and)
// five", "(ein)hundert(und)fünf".
func (e *ear) learn(words string, n int) {
	atoms := e.atoms(words)
	e.plant(atoms, n)
	for i, a := range atoms {
		if and := between[a]; and != "" && i+1 < len(atoms) && atoms[i+1] != and {
			e.plant(slices.Insert(slices.Clone(atoms), i+1, and), n)
			if atoms[0] == "ein" && i == 1 {
				e.plant(slices.Insert(slices.Clone(atoms[1:]), 1, and), n)
			}
		}
	}
	if len(atoms) > 1 && atoms[0] == "ein" && between[atoms[1]] != "" {
		e.plant(atoms[1:], n)
	}
}

// between is what may stand behind a hundred or a thousand.
var between = map[string]string{"hundred": "and", "thousand": "and", "hundert": "und", "tausend": "und"}

func (e *ear) plant(atoms []string, n int) {
	b := e.root
	for _, a := range atoms {
		if b.next == nil {
			b.next = map[string]*branch{}
		}
		if b.next[a] == nil {
			b.next[a] = &branch{value: -1}
		}
		b = b.next[a]
	}
	if b.value < 0 {
		b.value = n
	}
}

// longest is the longest number that words begin with, and of how many words.
func (e *ear) longest(words []string) (n, used int) {
	b := e.root
	for i, w := range words {
		if b = b.next[w]; b == nil {
			break
		}
		if b.value >= 0 {
			n, used = b.value, i+1
		}
	}
	return n, used
}

// atoms cuts what was heard into words, figures, and the parts of a number that was written in one word.
func (e *ear) atoms(heard string) (out []string) {
	for _, w := range strings.FieldsFunc(strings.ToLower(heard), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' && r != '’' && r != '+'
	}) {
		w = strings.ReplaceAll(w, "’", "'")
		if w == "" {
			continue
		}
		for len(w) > 1 && w[0] == '+' {
			out, w = append(out, "+"), w[1:]
		}
		if parts := e.split(w); parts != nil {
			out = append(out, parts...)
		} else {
			out = append(out, w)
		}
	}
	return out
}

// split cuts "zweiundzwanzig" into its atoms; nil when it is no number.
func (e *ear) split(w string) []string {
	if len(e.parts) == 0 || e.parts[w] || len(w) > 120 {
		return nil
	}
	return e.cutUp(w, map[string]bool{})
}

func (e *ear) cutUp(w string, dead map[string]bool) []string {
	if w == "" {
		return []string{}
	}
	if dead[w] {
		return nil
	}
	for n := min(len(w), len("fünfzehnx")+2); n > 0; n-- { // the longest first: dreizehn before drei
		if e.parts[w[:n]] {
			if rest := e.cutUp(w[n:], dead); rest != nil {
				return append([]string{w[:n]}, rest...)
			}
		}
	}
	dead[w] = true
	return nil
}

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
