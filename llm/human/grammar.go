package human

import (
	"embed"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

//go:embed words/*.txt
var humanFiles embed.FS

// class is a set of roles that a phrase may play; words/README.txt explains each.
type class uint32

const (
	want class = 1 << iota
	talk
	get
	person
	weak
	fill
	not
	never
	machine
	help
	soft
	ask
	exist
	after
	before
	alone
	maybe
	safety
	yes
	no
	goOn

	// inRow are the classes that a clause is read into; the others are looked up as phrases.
	inRow = want | talk | get | person | weak | fill | not | never | machine | help | soft | ask | exist | after | before
)

var classNames = map[string]class{
	"want": want, "talk": talk, "get": get, "person": person, "weak": weak, "fill": fill, "not": not, "never": never,
	"machine": machine, "help": help, "soft": soft, "ask": ask, "exist": exist, "after": after, "before": before,
	"alone": alone, "maybe": maybe, "safety": safety, "yes": yes, "no": no, "go on": goOn,
}

// grammar is one language's phrases, by first word, longest first.
type grammar struct {
	lang    string
	reverse bool
	first   map[string][]phrase
	persons []string // single words that may be misspelt
}

type phrase struct {
	words []string
	class class
}

// symbol is one phrase of a clause with its roles; class 0 is an unknown word.
type symbol struct {
	class class
	text  string
}

func (s symbol) is(c class) bool { return s.class&c != 0 }

// grammars are compiled in: a constant, read once.
var grammars = sync.OnceValue(func() []*grammar {
	var all []*grammar
	entries, err := humanFiles.ReadDir("words")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		lang, ok := strings.CutSuffix(e.Name(), ".txt")
		if !ok || lang == "README" {
			continue
		}
		data, err := humanFiles.ReadFile("words/" + e.Name())
		if err != nil {
			panic(err)
		}
		all = append(all, parseGrammar(lang, string(data)))
	}
	return all
})

func parseGrammar(lang, data string) *grammar {
	g := &grammar{lang: lang, first: map[string][]phrase{}}
	for line := range strings.Lines(data) {
		name, items, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		if name == "reverse" {
			g.reverse = true
			continue
		}
		c, known := classNames[name]
		if !known {
			panic("human: words/" + lang + ".txt: no class " + name)
		}
		for item := range strings.SplitSeq(items, "|") {
			g.add(tokens(item), c)
		}
	}
	return g
}

func (g *grammar) add(words []string, c class) {
	if len(words) == 0 {
		return
	}
	list := g.first[words[0]]
	for i := range list {
		if equal(list[i].words, words) {
			list[i].class |= c
			return
		}
	}
	if c == person && len(words) == 1 && len(words[0]) >= 5 {
		g.persons = append(g.persons, words[0])
	}
	at := 0
	for at < len(list) && len(list[at].words) >= len(words) {
		at++
	}
	list = append(list, phrase{})
	copy(list[at+1:], list[at:])
	list[at] = phrase{words: words, class: c}
	g.first[words[0]] = list
}

// read turns words into symbols, the longest phrase first.
func (g *grammar) read(words []string) []symbol {
	row := make([]symbol, 0, len(words))
	for i := 0; i < len(words); {
		s, n := symbol{text: words[i]}, 1
		for _, p := range g.first[words[i]] {
			if p.class&inRow != 0 && starts(words[i:], p.words) {
				s, n = symbol{class: p.class & inRow, text: strings.Join(p.words, " ")}, len(p.words)
				break
			}
		}
		if s.class == 0 && g.misspelt(words[i]) {
			s.class = person
		}
		row = append(row, s)
		i += n
	}
	return row
}

// misspelt finds "representitive" and "hunan"; the first letter is hardly ever wrong.
func (g *grammar) misspelt(word string) bool {
	if len(word) < 5 {
		return false
	}
	for _, p := range g.persons {
		allowed := 1
		if len(p) >= 11 {
			allowed = 2
		}
		if word[0] == p[0] && near(word, p, allowed) {
			return true
		}
	}
	return false
}

// near says whether a and b are at most max edits (insert, delete, replace, swap neighbours) apart.
func near(a, b string, max int) bool {
	if d := len(a) - len(b); d > max || -d > max || len(a) > 40 {
		return false
	}
	var rows [3][42]int
	for j := 0; j <= len(b); j++ {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur, prev, older := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], older[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)] <= max
}

// find returns the first phrase of class c that occurs anywhere in words.
func (g *grammar) find(words []string, c class) string {
	for i := range words {
		for _, p := range g.first[words[i]] {
			if p.class&c != 0 && starts(words[i:], p.words) {
				return strings.Join(p.words, " ")
			}
		}
	}
	return ""
}

func (g *grammar) has(words []string, c class) bool { return g.find(words, c) != "" }

// whole says whether words are exactly one phrase of class c.
func (g *grammar) whole(words []string, c class) bool {
	if len(words) == 0 {
		return false
	}
	for _, p := range g.first[words[0]] {
		if p.class&c != 0 && equal(p.words, words) {
			return true
		}
	}
	return false
}

func (g *grammar) startsWith(words []string, c class) bool {
	for _, p := range g.first[words[0]] {
		if p.class&c != 0 && starts(words, p.words) {
			return true
		}
	}
	return false
}

// anyOther says whether words hold something beyond phrases of class c and filling words.
func (g *grammar) anyOther(words []string, c class) bool {
next:
	for i := 0; i < len(words); {
		for _, p := range g.first[words[i]] {
			if p.class&(c|fill) != 0 && starts(words[i:], p.words) {
				i += len(p.words)
				continue next
			}
		}
		return true
	}
	return false
}

func starts(words, with []string) bool {
	return len(words) >= len(with) && equal(words[:len(with)], with)
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// clauses cuts text at sentence ends, at "but" and, a second time, at commas; both readings are tried.
func clauses(text string) [][]string {
	var out [][]string
	for _, sentence := range strings.FieldsFunc(text, func(r rune) bool {
		return strings.ContainsRune(".!?;:\n\r…。！？()\"“”„«»", r)
	}) {
		whole := tokens(sentence)
		if len(whole) == 0 {
			continue
		}
		parts := cutAtBut(whole)
		out = append(out, parts...)
		if strings.ContainsAny(sentence, ",–—") {
			for part := range strings.FieldsFuncSeq(sentence, func(r rune) bool { return r == ',' || r == '–' || r == '—' }) {
				if t := tokens(part); len(t) > 0 {
					out = append(out, cutAtBut(t)...)
				}
			}
		}
	}
	return out
}

func cutAtBut(words []string) [][]string {
	var out [][]string
	from := 0
	for i, w := range words {
		switch w {
		case "but", "aber", "sondern", "mais", "pero", "sino", "maar", "ale", "tylko", "mas":
			if i > from {
				out = append(out, words[from:i])
			}
			from = i + 1
		}
	}
	if from < len(words) {
		out = append(out, words[from:])
	}
	return out
}

// tokens lowers, removes accents, joins what apostrophes cut off (don't -> dont; l'agent -> l agent) and shortens
// letters repeated three times or more.
func tokens(text string) []string {
	var out []string
	var word []byte
	var last rune
	var run, letters int
	flush := func() {
		if len(word) > 0 {
			out = append(out, string(word))
			word = nil
		}
		last, run, letters = 0, 0, 0
	}
	var raw [utf8.UTFMax]byte
	for _, r := range norm.NFKD.String(text) {
		r = unicode.ToLower(r)
		switch {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r):
			continue
		case r == '\'' || r == '’' || r == 'ʼ' || r == '`' || r == '´':
			if letters <= 2 {
				flush()
			}
			continue
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case r == 'ß':
			word, letters, last = append(word, "ss"...), letters+2, 's'
			continue
		case r == 'ł':
			r = 'l'
		case r == 'ø':
			r = 'o'
		}
		if r == last && unicode.IsLetter(r) {
			run++
		} else {
			last, run = r, 1
		}
		if run == 3 { // take back the second one: huuuman -> human
			word = word[:len(word)-utf8.RuneLen(r)]
		}
		if run < 3 {
			word = append(word, raw[:utf8.EncodeRune(raw[:], r)]...)
		}
		letters++
	}
	flush()
	return out
}
