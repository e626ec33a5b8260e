package human

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// symbol is one phrase of a clause with the roles it may play; class 0 is an unknown word.
type symbol struct {
	class  class
	text   string
	titled bool    // a name with a title: "Mr Henderson"
	cased  bool    // a name with an ending that leads to it: "Máriával", "மரியாவுடன்"
	cost   float32 // how far an unknown word keeps its neighbours apart, in words
}

func (s symbol) is(c class) bool { return s.class&c != 0 }

// qualifies says whether s makes another thing of the person behind it. An article does so with a name only.
func (s symbol) qualifies() bool { return s.is(before) && !s.is(fill) }

// appointment says whether s is a visit to arrange: soft alone, and neither help nor a machine that is.
func (s symbol) appointment() bool { return s.is(soft) && !s.is(help|machine|call) }

// rowWords bounds how much of one clause is read.
const rowWords = 400

// row reads a clause with one language's grammar, the longest phrase first. What that language does not know may be
// English, misspelt, run together, or a name.
func (lib *library) row(g *grammar, c clause) []symbol {
	c = c[:min(len(c), rowWords)]
	row := make([]symbol, 0, len(c))
	guesses := 12 // unknown words that are looked at closely
	for i := 0; i < len(c); {
		cl, n := g.match(c[i:], inRow)
		if n == 0 && g != lib.en && !c[i].char && len(c[i].text) >= 4 {
			if cl, n = lib.en.match(c[i:], inRow); cl&content == 0 {
				cl, n = 0, 0
			}
		}
		if n > 0 {
			row = append(row, symbol{class: cl, text: c[i : i+n].String()})
			i += n
			continue
		}
		s := symbol{text: c[i].text, cost: 1}
		switch {
		case c[i].char:
			s.cost = 0.4
		case unicode.Is(unicode.So, []rune(c[i].text)[0]):
			s.class, s.cost = fill, 0
		case guesses > 0:
			guesses--
			if parts := lib.guess(g, c[i].text, &s); parts != nil {
				row = append(row, parts...)
				i++
				continue
			}
		}
		if s.class == 0 && !lib.things[c[i].text] {
			var known bool
			if known, s.cased = lib.isName(c[i].text); known || c[i].name && g.lang != "de" {
				s.class = name
			}
		}
		row = append(row, s)
		i++
	}
	return yourOwn(titled(row))
}

// yourOwn makes somebody of the unknown word in "talk to your florist", "to one of your geologists".
func yourOwn(row []symbol) []symbol {
	for i := range row {
		if !row[i].is(yours) {
			continue
		}
		end := i + 1
		for end < len(row) && end < i+3 && row[end].class == 0 && row[end].cost == 1 && !strings.ContainsAny(row[end].text, "0123456789") {
			end++
		}
		from := i - 1
		for from > 0 && row[from].is(fill) && !row[from].is(to) {
			from--
		}
		if end == i+1 || from < 0 || !row[from].is(to) || !row[from].is(talk) && (from == 0 || !row[from-1].is(talk)) {
			continue
		}
		for j := i + 1; j < end; j++ {
			row[j].cost = 0
		}
		row[end-1].class = weak
	}
	return row
}

// guess takes an unknown word for a known one with mistakes in it, or for several run together.
func (lib *library) guess(g *grammar, w string, s *symbol) []symbol {
	if strings.ContainsAny(w, "0123456789") {
		if plain := unleet(w); plain != w {
			if cl, n := g.match(clause{{text: plain}}, inRow); n > 0 && cl&content != 0 {
				s.class, s.cost = cl, 0
				return nil
			}
			if cl := g.misspelt(plain); cl != 0 {
				s.class, s.cost = cl, 0
				return nil
			}
		}
	}
	if s.class = g.misspelt(w); s.class == 0 && g != lib.en {
		s.class = lib.en.misspelt(w) & person
	}
	if s.class != 0 {
		s.cost = 0
		return nil
	}
	return g.segments(w)
}

// unleet reads digits as the letters they look like.
func unleet(w string) string {
	letters := 0
	for _, r := range w {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	if letters < 2 {
		return w
	}
	return leet.Replace(w)
}

var leet = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b")

// segments splits "talktohuman" and "talk2agent" into words that the grammar knows, a person or a call among them.
func (g *grammar) segments(w string) []symbol {
	if len(w) < 8 || len(w) > 40 || w[0] > 0x7f {
		return nil
	}
	type step struct {
		from  int
		class class
	}
	best := make([]step, len(w)+1)
	best[0].from = -1
	for i := 1; i <= len(w); i++ {
		best[i].from = -2
		for j := max(0, i-16); j < i; j++ {
			if best[j].from == -2 || i-j < 2 && (w[j] < '0' || w[j] > '9') {
				continue
			}
			for _, p := range g.first[w[j:i]] {
				if len(p.words) == 1 && p.class&inRow != 0 {
					best[i] = step{j, p.class & inRow}
					break
				}
			}
			if best[i].from != -2 {
				break
			}
		}
	}
	if best[len(w)].from < 0 {
		return nil
	}
	var row []symbol
	useful := false
	for i := len(w); i > 0; i = best[i].from {
		row = append([]symbol{{class: best[i].class, text: w[best[i].from:i]}}, row...)
		useful = useful || best[i].class&(person|call|talk|get) != 0
	}
	if !useful || len(row) < 2 {
		return nil
	}
	return row
}

// isName says whether w is a common first name, and whether it has an ending of its language.
func (lib *library) isName(w string) (is, cased bool) {
	if lib.names[w] {
		return true, false
	}
	n := utf8.RuneCountInString(w)
	if n < 5 || n > 14 {
		return false, false
	}
	r := []rune(w)
	for cut := 1; cut <= 3 && n-cut >= 4; cut++ {
		stem := string(r[:n-cut])
		if lib.names[stem] && n-cut >= 5 || r[0] > 0x370 && (lib.names[stem+"а"] || lib.names[stem+"я"]) {
			return true, true
		}
	}
	return false, false
}

// titled makes a person of our house of "Mr Henderson", "Herr Hoffmann", "田中さん", "शर्मा जी".
func titled(row []symbol) []symbol {
	for i := range row {
		if !row[i].is(title) {
			continue
		}
		if i+1 < len(row) && row[i+1].class&^name == 0 && row[i+1].cost > 0 {
			long := 3
			if row[i+1].cost < 0.5 { // characters
				long = 8
			}
			for j := i + 1; j < len(row) && j <= i+long && row[j].class&^name == 0; j++ {
				row[j].class, row[j].cost, row[j].titled = name, 0, true
			}
		}
		for j := i - 1; j >= 0 && j >= i-3 && row[j].class&^name == 0; j-- {
			row[j].class, row[j].cost, row[j].titled = name, 0, true
		}
	}
	for i := range row {
		if row[i].is(name) {
			row[i].cost = 0.5
		}
	}
	return row
}

func text(row []symbol, from, to int) string {
	var b strings.Builder
	for i := max(0, from); i <= to && i < len(row); i++ {
		if i > from && !(row[i].cost == 0.4 && row[i-1].cost == 0.4) {
			b.WriteByte(' ')
		}
		b.WriteString(row[i].text)
	}
	return b.String()
}
