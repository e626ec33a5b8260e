package sentences

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// speakers are the packages that say something to customers.
var speakers = []string{"../../agents", "../../llm", "../../server/switchboard"}

// TestEverySentence: each sentence that the code says stands in each language, with what it holds, and no other does.
func TestEverySentence(t *testing.T) {
	var said []string
	for _, dir := range speakers {
		said = append(said, sentencesIn(t, dir)...)
	}
	for day := range 7 {
		said = append(said, "on "+time.Weekday(day).String())
	}
	slices.Sort(said)
	said = slices.Compact(said)
	if len(said) < 40 {
		t.Fatalf("%d sentences found in the code", len(said))
	}
	for lang, of := range catalogues() {
		for _, english := range said {
			theirs := of[english]
			if theirs == "" {
				t.Errorf("%s: no %q", lang, english)
			}
			if got, want := holds(theirs), holds(english); got != want {
				t.Errorf("%s: %q holds %v, want %v", lang, theirs, got, want)
			}
		}
		for english := range of {
			if !slices.Contains(said, english) && !slices.Contains(reasons, english) {
				t.Errorf("%s: nobody says %q", lang, english)
			}
		}
		for _, english := range reasons {
			if of[english] == "" {
				t.Errorf("%s: no %q", lang, english)
			}
		}
	}
}

// reasons why a call did not reach the customer come from the telephone.
var reasons = []string{"busy", "no answer"}

var verb = regexp.MustCompile(`%(?:\[\d\])?s|%`)

// holds counts what a sentence is given.
func holds(sentence string) int { return len(verb.FindAllString(sentence, -1)) }

// sentencesIn are the sentences that a package says.
func sentencesIn(t *testing.T, dir string) (out []string) {
	names, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(dir, names, err)
	}
	var code []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, f)
	}
	constant := map[string]string{}
	text := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(e.Value)
			return s
		case *ast.Ident:
			return constant[e.Name]
		}
		return ""
	}
	for _, pass := range []func(n ast.Node) bool{
		func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
				for i := range v.Names {
					constant[v.Names[i].Name] = text(v.Values[i])
				}
			}
			return true
		},
		func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Say" || f.Sel.Name == "inWords") {
				if s := text(call.Args[0]); s != "" && s != "UTC" && s != "on " {
					out = append(out, s)
				}
			}
			return true
		},
	} {
		for _, f := range code {
			ast.Inspect(f, pass)
		}
	}
	return out
}

func TestIn(t *testing.T) {
	first := Say("You are first in line.")
	passed := Say("You are passed on to %s.", "Mira").Then(first)
	by := Say("A person answers %s.", Say("%s by %s, %s", Say("%s, %s", Say("on Monday"), Date(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))), "11:00", Say("%s time", "Berlin")))
	own := Say("We are at the trade fair: 50% off.").Then(by)
	for _, c := range []struct {
		said       Said
		lang, want string
	}{
		{passed, "en", "You are passed on to Mira. You are first in line."},
		{passed, "de", "Wir geben Sie an Mira weiter. Sie sind als Nächstes an der Reihe."},
		{passed, "xx", "You are passed on to Mira. You are first in line."},
		{first.Then(first), "zh", "您排在第一位。您排在第一位。"},
		{by, "en", "A person answers on Monday, 2 March by 11:00, Berlin time."},
		{by, "de", "Ein Mensch antwortet am Montag, 2026-03-02 bis 11:00 (Berlin)."},
		{own, "de", "We are at the trade fair: 50% off. Ein Mensch antwortet am Montag, 2026-03-02 bis 11:00 (Berlin)."},
		{Said{}.Then(first), "en", "You are first in line."},
	} {
		if got := c.said.In(c.lang); got != c.want {
			t.Errorf("%s: %q, want %q", c.lang, got, c.want)
		}
	}
	if !(Said{}).Nothing() || first.Nothing() {
		t.Error("nothing")
	}
}
