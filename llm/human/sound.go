package human

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"patchbay/channels"
)

// What an ear writes down of a bad line has the sound of what was said more often than its words: "Talked her a human",
// "Gat me your manager", "Could you drown for me, Danae, Jean". So what a caller says and Read finds no wish in is held against the
// sound of whole wishes: their phones, consonants above all, one set of words after the other ("open talk a any"), each of
// which must be near, and the whole nearer. A key word that sounds near alone is no wish; at most it is worth the question.
// All of it is done in one pass over the phones of a short utterance, in one or two hundred microseconds.

//go:embed words/sound/en.txt
var englishSounds string

// A spoken wish stands in few words, at the beginning or behind a stop.
const (
	soundPhones = 64
	soundStarts = 4
)

// sounds are the wishes of one language as they sound.
type sounds struct {
	say      map[string]string
	negation map[string]bool // they forbid: no wish is guessed beside them, but one for no machine
	telling  map[string]bool // words, and pairs of them, that tell or do something else: no wish is guessed beside them
	tail     map[string]bool // with them another part of the sentence begins: what was asked for stands before
	routes   []route
}

// route is one way of saying a wish: sets of phones that follow each other.
type route struct {
	name  string
	sets  [][]sound
	each  []int // percent of the sound of a set that may be wrong
	total int   // and of the whole
	whole bool  // nothing else is said
	ask   bool
}

type sound struct {
	phones string
	weight int // what it costs to leave all of it out
}

var english = sync.OnceValue(func() *sounds {
	s, err := readSounds(englishSounds)
	if err != nil {
		panic(err) // a file of ours, which is part of the program
	}
	return s
})

// readSounds reads a file of words/sound.
func readSounds(file string) (*sounds, error) {
	s := &sounds{say: map[string]string{}, negation: map[string]bool{}, telling: map[string]bool{}, tail: map[string]bool{}}
	plain := map[string]map[string]bool{"negation": s.negation, "telling": s.telling, "tail": s.tail}
	sets := map[string][]sound{}
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		head, rest, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("sounds: no colon in %q", line)
		}
		rt := route{name: strings.TrimSpace(rest)}
		kind, whole := strings.CutPrefix(head, "whole ")
		switch {
		case plain[head] != nil:
			for phrase := range strings.SplitSeq(rest, "|") {
				plain[head][strings.TrimSpace(phrase)] = true
			}
		case head == "say":
			for pair := range strings.FieldsSeq(rest) {
				word, as, _ := strings.Cut(pair, "=")
				s.say[word] = as
			}
		case strings.HasPrefix(kind, "wish ") || strings.HasPrefix(kind, "ask "):
			var verb string
			each := 0
			if _, err := fmt.Sscan(kind, &verb, &rt.total, &each); err != nil {
				return nil, fmt.Errorf("sounds: %q: %w", line, err)
			}
			rt.whole, rt.ask = whole, verb == "ask"
			for field := range strings.FieldsSeq(rest) {
				name, own, _ := strings.Cut(field, "@")
				if sets[name] == nil {
					return nil, fmt.Errorf("sounds: no set %q in %q", name, line)
				}
				may, err := strconv.Atoi(cmp.Or(own, strconv.Itoa(each)))
				if err != nil {
					return nil, fmt.Errorf("sounds: %q: %w", line, err)
				}
				rt.sets, rt.each = append(rt.sets, sets[name]), append(rt.each, may)
			}
			s.routes = append(s.routes, rt)
		default:
			for alternative := range strings.SplitSeq(rest, "|") {
				var phones []byte
				if alternative = strings.TrimSpace(alternative); alternative != "-" {
					for _, w := range words(alternative, false) {
						phones = s.phones(phones, w.text)
					}
				}
				sets[head] = append(sets[head], sound{string(phones), weigh(string(phones))})
			}
		}
	}
	return s, nil
}

// soundsLike says whether what a caller said has the sound of a wish.
func soundsLike(text string) Wish {
	var asked Wish
	s := english()
	all, starts, ends := spokenWords(text)
	for k := len(starts) - 1; k >= max(0, len(starts)-soundStarts); k-- {
		from := starts[k]
		phones := make([]byte, 0, soundPhones)
		stops := make([]bool, soundPhones+1)
		var last int
		for i := from; i < len(all) && len(phones) <= soundPhones-16; i++ {
			if i > from && s.tail[all[i]] {
				stops[len(phones)] = true
			}
			phones = s.phones(phones, all[i])
			if len(phones) > soundPhones {
				phones = phones[:soundPhones]
			}
			if ends[i] || i == len(all)-1 {
				stops[len(phones)] = true
			}
			last = i
		}
		heard := utterance{phones: phones, stops: stops, whole: from == 0 && last == len(all)-1}
		for i := from; i <= last; i++ {
			heard.negated = heard.negated || s.negation[all[i]]
			heard.told = heard.told || s.telling[all[i]] || i > from && s.telling[all[i-1]+" "+all[i]]
		}
		for i := range s.routes {
			rt := &s.routes[i]
			if rt.ask && asked.Unsure || !rt.near(&heard) {
				continue
			}
			w := Wish{Yes: !rt.ask, Unsure: rt.ask, Rule: "sound", Why: strings.Join(all[from:last+1], " ")}
			if w.Yes {
				return w
			}
			asked = w
		}
	}
	return asked
}

// utterance is what is held against the routes.
type utterance struct {
	phones  []byte
	stops   []bool // where what is asked for may end
	whole   bool   // it is all that the caller says
	negated bool   // words in it forbid
	told    bool   // words in it tell, or do something else
}

func (rt *route) denies() bool {
	return strings.HasPrefix(rt.name, "no ") || strings.HasPrefix(rt.name, "not ")
}

// spokenWords are the words of a text, where sentences and their parts begin, and which words end one.
func spokenWords(text string) (all []string, starts []int, ends map[int]bool) {
	ends = map[int]bool{}
	begin := true
	for _, field := range strings.Fields(text) {
		w := strings.ToLower(strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) && r < 0x80 {
				return r
			}
			return -1
		}, field))
		if w != "" {
			if begin {
				starts = append(starts, len(all))
			}
			all = append(all, w)
			begin = false
		}
		if strings.ContainsAny(field[len(field)-1:], ".,!?;") {
			begin = true
			if len(all) > 0 {
				ends[len(all)-1] = true
			}
		}
	}
	return all, starts, ends
}

// far is a cost that nothing reaches.
const far = 1 << 20

// places are, for each place between the phones, by how much the sound before it stays below what it may cost; far: not at all.
type places [soundPhones + 1]int

// near says whether the phones up to one of the stops are this route, with no more wrong than it allows.
func (rt *route) near(u *utterance) bool {
	if rt.whole && !u.whole || u.told || u.negated && !rt.denies() {
		return false
	}
	var at, next places
	for j := range at {
		at[j] = far
	}
	at[0] = 0
	n := len(u.phones)
	for k, set := range rt.sets {
		alive := false
		for j := range next {
			next[j] = far
		}
		for _, sd := range set {
			if sd.weight == 0 {
				for j := 0; j <= n; j++ {
					next[j] = min(next[j], at[j])
				}
				alive = true
				continue
			}
			alive = sd.align(u.phones, &at, &next, rt.each[k]*sd.weight/100, rt.total*sd.weight/100) || alive
		}
		if !alive {
			return false
		}
		at = next
	}
	if rt.whole {
		return at[n] <= 0
	}
	for j := 1; j <= n; j++ {
		if u.stops[j] && at[j] <= 0 {
			return true
		}
	}
	return false
}

// align lays one sound over the phones from each place that was reached, and sets in next the places where it may end: no more
// than limit of it is wrong, of which granted is free. Cells that are wrong beyond it are not looked at again.
func (sd sound) align(phones []byte, at, next *places, limit, granted int) bool {
	type cell struct{ cost, own int } // own: of this sound alone
	var rows [2][soundPhones + 1]cell
	n := len(phones)
	before, row := &rows[0], &rows[1]
	low, high := n+1, -1 // the cells that live
	for j := 0; j <= n; j++ {
		before[j] = cell{at[j], 0}
		if at[j] < far {
			low, high = min(low, j), j
		}
	}
	dead := cell{far, far}
	for i := 0; i < len(sd.phones) && low <= high; i++ {
		p := sd.phones[i]
		out := leave(p)
		from, to := low, high
		low, high = n+1, -1
		if from > 0 {
			row[from-1] = dead
		}
		for j := from; j <= n; j++ {
			c := dead
			if j <= to {
				c = cell{before[j].cost + out, before[j].own + out}
			}
			if j > from && j <= to+1 {
				if d := swap(p, phones[j-1]); before[j-1].cost+d < c.cost {
					c = cell{before[j-1].cost + d, before[j-1].own + d}
				}
			}
			if j > from {
				if d := leave(phones[j-1]); row[j-1].cost+d < c.cost {
					c = cell{row[j-1].cost + d, row[j-1].own + d}
				}
			}
			if c.own > limit || c.cost >= far {
				c = dead
			} else {
				low, high = min(low, j), j
			}
			row[j] = c
			if j > to && c.own > limit {
				break
			}
		}
		before, row = row, before
	}
	if low > high {
		return false
	}
	for j := max(low, 1); j <= high; j++ {
		if before[j].own <= limit {
			next[j] = min(next[j], before[j].cost-granted)
		}
	}
	return true
}

func weigh(phones string) int {
	n := 0
	for i := range len(phones) {
		n += leave(phones[i])
	}
	return n
}

// leave is what a phone counts that is left out or too many, swap what one counts that stands for another, in hundredths.
func leave(p byte) int { return int(leaves[p&31]) }

func swap(a, b byte) int { return int(swaps[a&31][b&31]) }

// The phones are p b t d k g f v s z m n l r w y h, T (th), S (sh), C (ch), J (j), and the vowels a (back) and i (front). Each has
// its own last five bits.
const (
	phTh = 'c'
	phSh = 'x'
	phCh = 'q'
	phJ  = 'j'
)

var leaves = func() (out [32]uint8) {
	for group, cost := range map[string]uint8{"ai": 30, "h": 25, "lrwy": 45, "mn": 60, "ptkbdg": 60, "fvszcxqj": 70} {
		for _, p := range group {
			out[p&31] = cost
		}
	}
	return out
}()

var swaps = func() (out [32][32]uint8) {
	for a := range out {
		for b := range out[a] {
			if a != b {
				out[a][b] = 100
			}
		}
	}
	set := func(group string, cost uint8) {
		for _, a := range group {
			for _, b := range group {
				if a != b && out[a&31][b&31] > cost {
					out[a&31][b&31], out[b&31][a&31] = cost, cost
				}
			}
		}
	}
	for _, g := range []string{"pb", "td", "kg", "fv", "ai"} {
		set(g, 20)
	}
	set("sz", 10)
	set("xqj", 25)
	set("mn", 30)
	set("td"+string(rune(phTh)), 40)
	for _, g := range []string{"sx", "zj", "f" + string(rune(phTh)), "bv", "lr", "lw"} {
		set(g, 40)
	}
	for _, g := range []string{"s" + string(rune(phTh)), "tq", "dj", "ry", "wr", "szxqj"} {
		set(g, 50)
	}
	for _, g := range []string{"ptk", "bdg", "bm", "dn", "dr", "vw", "hf", "hp", "hs", "hk"} {
		set(g, 60)
	}
	set("ln", 70)
	return out
}()

// phones appends how a word sounds, by the habits of English spelling.
func (s *sounds) phones(out []byte, w string) []byte {
	if as, ok := s.say[w]; ok {
		w = as
	}
	start := len(out)
	put := func(p byte) {
		if n := len(out); n == start || out[n-1] != p {
			out = append(out, p)
		}
	}
	for i := 0; i < len(w); {
		n := 1
		switch rest := w[i:]; {
		case strings.HasPrefix(rest, "tion"), strings.HasPrefix(rest, "sion"):
			put(phSh)
			put('a')
			put('n')
			n = 4
		case strings.HasPrefix(rest, "tch"), strings.HasPrefix(rest, "dge"):
			put(phCh)
			n = 3
		case len(rest) > 1 && pairs[rest[:2]] != 0:
			put(pairs[rest[:2]])
			n = 2
		case strings.HasPrefix(rest, "gh"):
			n = 2
		case strings.HasPrefix(rest, "qu"):
			put('k')
			put('w')
			n = 2
		case i == 0 && strings.HasPrefix(rest, "kn"), i == 0 && strings.HasPrefix(rest, "wr"):
		case rest == "e" && i > 1, rest == "es" && i > 2: // silent
		case rest == "ed" && i > 2 && w[i-1] != 't' && w[i-1] != 'd':
		case rest[0] == 'G': // of a say line: hard before any vowel
			put('g')
		case rest[0] == 'x':
			put('k')
			put('s')
		case rest[0] == 'c':
			put(beforeFront(rest, 's', 'k'))
		case rest[0] == 'g':
			put(beforeFront(rest, phJ, 'g'))
		case rest[0] == 'y' && i == 0 && len(w) > 1:
			put('y')
		case strings.IndexByte("eiy", rest[0]) >= 0:
			n = vowels(rest)
			put('i')
		case strings.IndexByte("aou", rest[0]) >= 0:
			n = vowels(rest)
			put('a')
		default:
			put(rest[0])
		}
		i += n
	}
	return out
}

// vowels is how many letters one vowel is written with.
func vowels(rest string) int {
	n := 1
	for n < len(rest) && n < 3 && strings.IndexByte("aeiouy", rest[n]) >= 0 {
		n++
	}
	return n
}

// beforeFront is the sound of a c or g before e, i, y; else the hard one.
func beforeFront(rest string, yes, no byte) byte {
	if len(rest) > 1 && strings.IndexByte("eiy", rest[1]) >= 0 {
		return yes
	}
	return no
}

var pairs = map[string]byte{"ch": phCh, "sh": phSh, "ph": 'f', "th": phTh, "wh": 'w', "ck": 'k', "ng": 'n'}

// spoken says whether the words of this context were heard, not written.
func (ctx Context) spoken() bool { return ctx.Channel == channels.Voice }

// asEnglish says whether a text may be English that was misheard: no other language knows more of its words than one.
func (lib *library) asEnglish(all clause) bool {
	var known [128]int
	for _, w := range all[:min(len(all), rowWords)] {
		who := lib.speakers(w.text)
		for i := range lib.all {
			if who.has(i) {
				known[i]++
			}
		}
	}
	return known[lib.en.index]+1 >= slices.Max(known[:])
}
