package human

import (
	"cmp"
	"embed"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

//go:embed words/*.txt
var files embed.FS

// class is a set of roles that a phrase may play; words/README.txt explains each.
type class uint64

const (
	want class = 1 << iota
	talk
	get
	call
	person
	weak
	title
	to
	fill
	not
	never
	enough
	machine
	help
	soft
	ask
	exist
	after
	before
	tongue
	but
	alone
	maybe
	safety
	yes
	no
	goOn
	always
	until
	past
	whom
	over
	hello
	said
	here
	hours
	urge
	they
	self
	refuse
	reply
	relative
	mine
	name
	tag
	trade
	with
	object
	that
	yours

	// inRow are the classes that a clause is read into; the others are looked up as phrases.
	inRow = want | talk | get | call | person | weak | title | to | fill | not | never | enough | machine | help | soft | ask | exist |
		after | before | tongue | but | always | until | past | whom | over | hello | said | here | hours | urge | they | self | refuse | reply | relative | mine | tag | trade | with | object | that | yours
	// content are the classes that make a language out and that English lends to others.
	content = talk | get | call | person | weak | machine
)

var classNames = map[string]class{
	"want": want, "talk": talk, "get": get, "call": call, "person": person, "weak": weak, "title": title, "to": to | fill, "fill": fill,
	"not": not, "never": never, "enough": enough, "machine": machine, "help": help, "soft": soft, "ask": ask, "exist": exist,
	"after": after, "before": before, "tongue": tongue, "but": but, "alone": alone, "maybe": maybe, "safety": safety, "yes": yes, "no": no,
	"go on": goOn, "always": always, "until": until, "past": past, "whom": whom, "over": over, "hello": hello, "said": said, "here": here,
	"hours": hours, "urge": urge | fill, "they": they | fill, "self": self | fill, "refuse": refuse,
	"reply": reply | not, "relative": relative, "own": mine | self, "tag": tag, "trade": weak | trade,
	"with": with | to | fill, "me": object | fill, "that": that, "your": yours | fill,
}

// grammar is one language's phrases by first word, longest first, and by the stem of the first word.
type grammar struct {
	lang     string
	index    int
	right    class // the cues that may stand behind the person
	prefixes []string
	letters  *strings.Replacer   // how the language is written without its own letters: ä as ae, х as h
	folded   map[string][]string // words as written -> as read, while the book is read
	filed    []phrase            // in the book's order, while it is read
	place    map[string]int      // where in filed a phrase stands
	alone    map[string]class    // phrases of one word
	first    map[string][]phrase
	stems    map[string][]phrase
	near     map[string]typo // what is left of a word without one letter -> the word
	long     []typo          // words long enough for two mistakes
	skeleton map[string]bool // persons by their consonants
}

type typo struct {
	word  string
	class class
}

type phrase struct {
	words []string // the last letter * stands for any ending
	class class
}

// library holds all grammars, and which languages know a word.
type library struct {
	all    []*grammar
	en     *grammar
	names  map[string]bool
	things map[string]bool // written with a capital, and nobody's name
	known  map[string]langs
	stem   map[string]langs
}

// langs is a set of languages by index.
type langs [2]uint64

func (l *langs) set(i int)     { l[i/64] |= 1 << (i % 64) }
func (l langs) has(i int) bool { return l[i/64]&(1<<(i%64)) != 0 }
func (l langs) or(m langs) langs {
	return langs{l[0] | m[0], l[1] | m[1]}
}

// Load reads the word books, some 200 ms, so that the first customer does not wait for it.
func Load() {
	books()
	english()
}

// books are compiled in: a constant, read once.
var books = sync.OnceValue(readBooks)

// readBooks reads all word books at once, one goroutine each.
func readBooks() *library {
	lib := &library{known: map[string]langs{}, stem: map[string]langs{}, names: map[string]bool{}, things: map[string]bool{}}
	entries, err := files.ReadDir("words")
	if err != nil {
		panic(err)
	}
	var reading sync.WaitGroup
	for _, e := range entries {
		lang, ok := strings.CutSuffix(e.Name(), ".txt")
		if !ok || lang == "README" {
			continue
		}
		data, err := files.ReadFile("words/" + e.Name())
		if err != nil {
			panic(err)
		}
		if list, ok := map[string]map[string]bool{"names": lib.names, "things": lib.things}[lang]; ok {
			for n := range strings.FieldsSeq(string(data)) {
				list[strings.Join(fold(n), "")] = true
			}
			continue
		}
		g := newGrammar(lang, len(lib.all))
		lib.all = append(lib.all, g)
		if lang == "en" {
			lib.en = g
		}
		reading.Go(func() { g.parse(string(data)) })
	}
	reading.Wait()
	for _, g := range lib.all {
		g.announce(lib)
	}
	return lib
}

func (g *grammar) announce(lib *library) {
	note := func(m map[string]langs, w string) {
		l := m[w]
		l.set(g.index)
		m[w] = l
	}
	for _, index := range []map[string][]phrase{g.first, g.stems} {
		for _, list := range index {
			for _, p := range list {
				for _, w := range p.words {
					if s, ok := strings.CutSuffix(w, "*"); ok {
						note(lib.stem, s)
					} else {
						note(lib.known, w)
					}
				}
			}
		}
	}
}

// speakers are the languages that know the word.
func (lib *library) speakers(w string) langs {
	l := lib.known[w]
	for end := len(w); end > 0; {
		if s, ok := lib.stem[w[:end]]; ok {
			l = l.or(s)
		}
		_, n := utf8.DecodeLastRuneInString(w[:end])
		end -= n
	}
	return l
}

func newGrammar(lang string, index int) *grammar {
	return &grammar{
		lang: lang, index: index, folded: map[string][]string{}, place: map[string]int{}, alone: map[string]class{}, first: map[string][]phrase{}, stems: map[string][]phrase{},
		near: map[string]typo{}, skeleton: map[string]bool{},
	}
}

// parse reads the lines of a word book.
func (g *grammar) parse(data string) {
	for line := range strings.Lines(data) {
		key, items, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		switch key {
		case "reverse":
			for n := range strings.FieldsSeq(items) {
				g.right |= g.class(n)
			}
			continue
		case "letters":
			var pairs []string
			for p := range strings.FieldsSeq(items) {
				from, to, _ := strings.Cut(p, "=")
				pairs = append(pairs, from, to)
			}
			g.letters = strings.NewReplacer(pairs...)
			continue
		case "prefix":
			for p := range strings.SplitSeq(items, "|") {
				g.prefixes = append(g.prefixes, strings.Join(fold(p), ""))
			}
			continue
		}
		c := g.class(key)
		for item := range strings.SplitSeq(items, "|") {
			for _, phrase := range spelled(item) {
				g.add(phrase, c)
				if g.letters == nil {
					continue
				}
				if plain := g.letters.Replace(phrase); plain != phrase && utf8.RuneCountInString(plain) > 2 { // short words are every language's
					g.add(plain, c)
				}
			}
		}
	}
	g.sort()
	g.widen()
	g.folded, g.filed, g.place = nil, nil, nil
}

// sort files what was read by its first word: the longest phrase is asked first, and of two one without an open ending.
func (g *grammar) sort() {
	slices.SortStableFunc(g.filed, func(a, b phrase) int {
		return cmp.Or(cmp.Compare(len(b.words), len(a.words)), cmp.Compare(open(a.words), open(b.words)))
	})
	for _, p := range g.filed {
		if s, ok := strings.CutSuffix(p.words[0], "*"); ok {
			g.stems[s] = append(g.stems[s], p)
		} else {
			g.first[p.words[0]] = append(g.first[p.words[0]], p)
		}
	}
}

// widen gives what asks for somebody the roles of the words it holds: "is anybody", "is there", "could someone".
func (g *grammar) widen() {
	for _, list := range g.first {
		for i, p := range list {
			if n := len(p.words); n > 1 && p.class&talk != 0 && (g.is(p.words[0], to) || g.is(p.words[n-1], to)) { // "prata med"
				list[i].class |= to
			}
			if n := len(p.words); n > 1 && p.class&want != 0 && g.is(p.words[n-1], that) { // "chcem aby"
				list[i].class |= that
			}
			if p.class&(exist|want|ask) == 0 || p.class&(not|never|no) != 0 || len(p.words) < 2 {
				continue
			}
			for _, w := range p.words {
				for _, role := range []class{weak, here} {
					if g.is(w, role) && (role == weak || p.class&exist != 0) {
						list[i].class |= role
					}
				}
			}
		}
	}
}

func (g *grammar) class(name string) class {
	c, known := classNames[name]
	if !known {
		panic("human: words/" + g.lang + ".txt: no class " + name)
	}
	return c
}

// spelled lists the phrases that an item with choices stands for: "call {me,us,} back" is three.
func spelled(item string) []string {
	from := strings.IndexByte(item, '{')
	if from < 0 {
		return []string{item}
	}
	to := from + strings.IndexByte(item[from:], '}')
	if to < from {
		panic("human: words: no } in " + item)
	}
	var out []string
	for choice := range strings.SplitSeq(item[from+1:to], ",") {
		for _, rest := range spelled(item[to+1:]) {
			out = append(out, item[:from]+choice+rest)
		}
	}
	return out
}

// add files one phrase; a * behind a word stands for any ending.
func (g *grammar) add(item string, c class) {
	var all []string
	for part := range strings.FieldsSeq(item) {
		w, known := g.folded[part]
		if !known {
			w = fold(strings.TrimSuffix(part, "*"))
			if len(w) > 0 && strings.HasSuffix(part, "*") {
				w[len(w)-1] += "*"
			}
			g.folded[part] = w
		}
		all = append(all, w...)
	}
	if len(all) == 0 {
		return
	}
	if c&want != 0 && slices.ContainsFunc(all, func(w string) bool { return g.is(w, self) }) {
		c |= self
	}
	key := strings.Join(all, " ")
	if len(all) == 1 {
		g.alone[key] |= c
	}
	if at, known := g.place[key]; known {
		g.filed[at].class |= c
		return
	}
	g.place[key] = len(g.filed)
	g.filed = append(g.filed, phrase{all, c})
	if c&(person|talk|machine|get) != 0 && len(all) == 1 {
		g.spell(strings.TrimSuffix(key, "*"), c)
	}
}

// open says 1 for a phrase that leaves an ending open, else 0.
func open(words []string) int {
	if slices.ContainsFunc(words, func(w string) bool { return strings.HasSuffix(w, "*") }) {
		return 1
	}
	return 0
}

// is says whether w alone has been filed with class c.
func (g *grammar) is(w string, c class) bool { return g.alone[w]&c != 0 }

// match returns the longest phrase with one of the classes that words begin with, and how many words it is.
func (g *grammar) match(words clause, c class) (class, int) {
	if cl, n := g.matchAs(words, words[0].text, c); n > 0 {
		return cl, n
	}
	for _, p := range g.prefixes { // the article or preposition that is written together with the word
		if rest, ok := strings.CutPrefix(words[0].text, p); ok && utf8.RuneCountInString(rest) >= 2 {
			if cl, n := g.matchAs(words, rest, c); n > 0 {
				return cl, n
			}
		}
	}
	return 0, 0
}

func (g *grammar) matchAs(words clause, first string, c class) (class, int) {
	var best class
	n := 0
	for _, p := range g.first[first] {
		if p.class&c != 0 && rest(words, p.words) {
			best, n = p.class&c, len(p.words)
			break
		}
	}
	for end := len(first); end > 0; {
		for _, p := range g.stems[first[:end]] {
			if len(p.words) > n && p.class&c != 0 && rest(words, p.words) {
				best, n = p.class&c, len(p.words)
			}
		}
		_, size := utf8.DecodeLastRuneInString(first[:end])
		end -= size
	}
	return best, n
}

// rest says whether words go on as the phrase does behind its first word.
func rest(words clause, with []string) bool {
	if len(words) < len(with) {
		return false
	}
	for i := 1; i < len(with); i++ {
		if s, ok := strings.CutSuffix(with[i], "*"); ok {
			if !strings.HasPrefix(words[i].text, s) {
				return false
			}
		} else if words[i].text != with[i] {
			return false
		}
	}
	return true
}

// find returns the first phrase of class c that occurs anywhere in words.
func (g *grammar) find(words clause, c class) string {
	for i := range words {
		if _, n := g.matchAs(words[i:], words[i].text, c); n > 0 {
			return words[i : i+n].String()
		}
	}
	return ""
}

// whole says whether words are exactly one phrase of class c.
func (g *grammar) whole(words clause, c class) bool {
	if len(words) == 0 {
		return false
	}
	_, n := g.match(words, c)
	return n == len(words)
}

func (c clause) String() string {
	var b strings.Builder
	for i, w := range c {
		if i > 0 && !(w.char && c[i-1].char) {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}
