package human

import "unicode/utf8"

// Words that are nearly a word of the book: misspelt, with letters doubled or left out.

// spell files a word so that it is known with mistakes in it.
func (g *grammar) spell(w string, c class) {
	runes := utf8.RuneCountInString(w)
	if runes < 5 || w[0] > 0x7f && runes < 6 {
		return
	}
	if c&person != 0 {
		if runes >= 9 {
			g.long = append(g.long, typo{w, c})
		}
		if s := skeleton(w); len(s) >= 3 {
			g.skeleton[s] = true
		}
	}
	for _, v := range shorter(w) {
		if _, taken := g.near[v]; !taken {
			g.near[v] = typo{w, c}
		}
	}
	g.near[w] = typo{w, c}
}

// shorter lists w without one of its letters; the first stays, it is hardly ever wrong.
func shorter(w string) []string {
	var out []string
	first := true
	for i, r := range w {
		if !first {
			out = append(out, w[:i]+w[i+utf8.RuneLen(r):])
		}
		first = false
	}
	return out
}

// misspelt returns the class of the word that w was meant to be, at most one mistake away (two in long words).
func (g *grammar) misspelt(w string) class {
	if len(w) < 4 || len(w) > 40 {
		return 0
	}
	if utf8.RuneCountInString(w) >= 5 {
		if t, ok := g.near[w]; ok { // a letter too few
			return t.class & (person | talk | machine | get)
		}
		for _, v := range shorter(w) {
			if t, ok := g.near[v]; ok && withinOne(w, t.word) {
				return t.class & (person | talk | machine | get)
			}
		}
	}
	for _, t := range g.long {
		if w[0] == t.word[0] && near(w, t.word, 2) {
			return t.class & (person | talk | machine | get)
		}
	}
	return 0
}

func withinOne(a, b string) bool {
	return utf8.RuneCountInString(a)-utf8.RuneCountInString(b) <= 1 && near(a, b, 2)
}

// near says whether a and b are at most max edits (insert, delete, replace, swap neighbours) apart, in bytes.
func near(a, b string, max int) bool {
	if d := len(a) - len(b); d > max || -d > max || len(a) > 40 || len(b) > 40 {
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

// skeleton is a word's consonants as an ear, or a recogniser of speech, takes them: "pursin" is a person.
func skeleton(w string) string {
	var out []byte
	for i := range len(w) {
		c := w[i]
		switch c {
		case 'a', 'e', 'i', 'o', 'u', 'h', 'w', 'y':
			continue
		case 'z':
			c = 's'
		case 'c', 'q':
			c = 'k'
		}
		if len(out) == 0 || out[len(out)-1] != c {
			out = append(out, c)
		}
	}
	return string(out)
}
