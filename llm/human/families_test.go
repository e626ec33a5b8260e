package human

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// sample is one line of development data: a wish or a near miss of one phrase family.
type sample struct {
	lang, text string
	family     byte
	wish       bool
}

func samples(t testing.TB, name string) []sample {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []sample
	lang := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			lang = strings.Trim(line, "[]")
		case len(line) > 3 && line[2] == ' ' && (line[0] == '+' || line[0] == '-'):
			out = append(out, sample{lang, line[3:], line[1], line[0] == '+'})
		default:
			t.Fatalf("%s: bad line %q", name, line)
		}
	}
	return out
}

// variants are the ways in which people write and machines transcribe the same words. None of them changes what is asked.
func (s sample) variants() []string {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune("?!.,;:¿¡…-؟،।。？！，", r) {
			return ' '
		}
		return r
	}, s.text)
	out := []string{s.text, strings.ToUpper(s.text), s.text + "!!!", strings.ToLower(plain), "  " + s.text + " 😡", "ok. " + s.text, s.text + "\n\nSent from my phone 12:04"}
	if last, size := utf8.DecodeLastRuneInString(s.text); last < 0x250 && last >= 'a' {
		out = append(out, s.text+strings.Repeat(s.text[len(s.text)-size:], 3))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tally counts what a recogniser did with wishes and near misses.
type tally struct{ wishes, heard, misses, alarms, unsure int }

func (c tally) recall() (rate, low, high float64) { return wilson(c.heard, c.wishes) }
func (c tally) alarm() (rate, low, high float64)  { return wilson(c.alarms, c.misses) }

// wilson is the interval that holds the true rate with 95 %.
func wilson(k, n int) (rate, low, high float64) {
	if n == 0 {
		return 0, 0, 1
	}
	const z = 1.96
	p, m := float64(k)/float64(n), float64(n)
	mid, half := p+z*z/(2*m), z*math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return p, (mid - half) / (1 + z*z/m), (mid + half) / (1 + z*z/m)
}

// measure reads all variants; misses are logged when show is set.
func measure(t *testing.T, list []sample, show bool) (perLang map[string]*tally, order []string, total tally) {
	perLang = map[string]*tally{}
	for _, s := range list {
		c := perLang[s.lang]
		if c == nil {
			c = &tally{}
			perLang[s.lang] = c
			order = append(order, s.lang)
		}
		wrong := ""
		for _, v := range s.variants() {
			w := Read(v, Context{})
			for _, c := range []*tally{c, &total} {
				switch {
				case s.wish:
					c.wishes++
					if w.Yes {
						c.heard++
					}
				default:
					c.misses++
					if w.Yes {
						c.alarms++
					}
				}
				if !w.Yes && w.Unsure {
					c.unsure++
				}
			}
			if w.Yes != s.wish && (wrong == "" || v == s.text) {
				wrong = fmt.Sprintf("%s %c%c %s -> %v %s %q", s.lang, map[bool]rune{true: '+', false: '-'}[s.wish], s.family, v, w.Unsure, w.Rule, w.Why)
			}
		}
		if wrong != "" && show {
			t.Log(wrong)
		}
	}
	return perLang, order, total
}

func tabled(t *testing.T, perLang map[string]*tally, order []string, total tally) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\nlang  wishes  recall   95 % interval    near misses  false   95 % interval    asked\n")
	for _, lang := range append(order, "all") {
		c := total
		if lang != "all" {
			c = *perLang[lang]
		}
		r, rl, rh := c.recall()
		a, al, ah := c.alarm()
		fmt.Fprintf(&b, "%-5s %6d  %5.1f %%  %5.1f - %5.1f %%  %10d  %5.1f %%  %5.1f - %5.1f %%  %5d\n", lang, c.wishes, 100*r, 100*rl, 100*rh, c.misses, 100*a, 100*al, 100*ah, c.unsure)
	}
	t.Log(b.String())
}

// The goal is 95 % recall at 4 % false alarms (trust.md, section 3). The bar is what was reached: it may only rise.
const (
	goalAlarms = 0.04
	barRecall  = 0.78
	barBiggest = 0.95
)

// TestFamiliesHeldOut judges phrase families that no grammar was tuned on, over the languages that have one. It never shows
// the lines.
func TestFamiliesHeldOut(t *testing.T) {
	known := map[string]bool{}
	for _, g := range books().all {
		known[g.lang] = true
	}
	all := samples(t, "testdata/heldout.txt")
	perLang, order, total := measure(t, slices.DeleteFunc(all, func(s sample) bool { return !known[s.lang] }), false)
	tabled(t, perLang, order, total)
	if len(order) < 40 {
		t.Errorf("%d languages, want 40 or more", len(order))
	}
	if r, _, _ := total.recall(); r < barRecall {
		t.Errorf("recall %.3f is below %.2f", r, barRecall)
	}
	if a, _, _ := total.alarm(); a > goalAlarms {
		t.Errorf("false alarms %.3f are above %.2f", a, goalAlarms)
	}
	var biggest tally
	for _, lang := range []string{"en", "zh", "hi", "es", "fr", "ar", "bn", "pt"} {
		c := perLang[lang]
		biggest.wishes, biggest.heard, biggest.misses, biggest.alarms = biggest.wishes+c.wishes, biggest.heard+c.heard, biggest.misses+c.misses, biggest.alarms+c.alarms
	}
	r, _, _ := biggest.recall()
	a, _, _ := biggest.alarm()
	t.Logf("the eight biggest: recall %.1f %% of %d, false %.1f %% of %d", 100*r, biggest.wishes, 100*a, biggest.misses)
	if r < barBiggest || a > goalAlarms {
		t.Errorf("the eight biggest languages: recall %.3f, want %.2f; false alarms %.3f, want %.2f at most", r, barBiggest, a, goalAlarms)
	}
}

// TestFamiliesTuned holds what was reached with the lines that may be tuned on, as many people have written them, and shows what is judged wrongly.
func TestFamiliesTuned(t *testing.T) {
	type bar struct{ recall, alarms float64 }
	usual := bar{0.96, 0.02}
	others := map[string]bar{
		"tune-callers.txt": {0.95, 0.03}, "tune-campaign-f.txt": {0.87, 0.02}, "tune-fresh.txt": {0.95, 0.02}, "tune-retired.txt": {0.91, 0.02}, "tune-rounds.txt": {0.94, 0.02},
		"tune-seen.txt": {0.93, 0.025}, "tune-strangers.txt": {0.97, 0.03}, "tune-visitors.txt": {0.95, 0.02},
	}
	names, err := filepath.Glob("testdata/tune*.txt")
	if err != nil || len(names) < 15 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		want, special := others[filepath.Base(name)]
		if !special {
			want = usual
		}
		perLang, order, total := measure(t, samples(t, name), true)
		tabled(t, perLang, order, total)
		if r, _, _ := total.recall(); r < want.recall {
			t.Errorf("%s: recall %.3f is below %.2f", name, r, want.recall)
		}
		if a, _, _ := total.alarm(); a > want.alarms {
			t.Errorf("%s: false alarms %.3f are above %.3f", name, a, want.alarms)
		}
	}
}

// TestOrdinaryTexts reads what customers write to banks and assistants, kept beside the repository: whoever asks for a person
// there is rare, so alarms must be too.
func TestOrdinaryTexts(t *testing.T) {
	name := "../../../shared/corpora/intents/banking77/test.csv" // beside the checkout
	if from := os.Getenv("PATCHBAY_CORPORA"); from != "" {
		name = from + "/intents/banking77/test.csv"
	}
	file, err := os.Open(name)
	if err != nil {
		t.Skipf("NOT TESTED: no customer texts (set PATCHBAY_CORPORA to their folder): %v", err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	alarms, unsure := map[string]int{}, 0
	for _, row := range rows[1:] {
		w := Read(row[0], Context{})
		if w.Yes {
			alarms[w.Rule]++
			if w.Rule != "safety" {
				t.Logf("%s %q: %s", w.Rule, w.Why, row[0])
			}
		} else if w.Unsure {
			unsure++
		}
	}
	words := 0
	for rule, n := range alarms {
		if rule != "safety" {
			words += n
		}
	}
	t.Logf("%d texts: %v taken for wishes, asked in vain %d", len(rows)-1, alarms, unsure)
	if words*100 > len(rows) {
		t.Errorf("%d of %d ordinary texts taken for a wish, more than 1 %%", words, len(rows)-1)
	}
}
