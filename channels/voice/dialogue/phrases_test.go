package dialogue

import (
	"slices"
	"strings"
	"testing"
)

// TestEveryLanguageHasEveryPhrase: English words in a French voice are understood by nobody.
func TestEveryLanguageHasEveryPhrase(t *testing.T) {
	names := map[string][]string{}
	for key := range phrases() {
		lang, name, _ := strings.Cut(key, ".")
		names[lang] = append(names[lang], name)
	}
	slices.Sort(names["en"])
	for lang, have := range names {
		slices.Sort(have)
		if !slices.Equal(have, names["en"]) {
			t.Errorf("%s has %d phrases, English %d: %v", lang, len(have), len(names["en"]), have)
		}
		for _, company := range []string{"", "Nordlicht"} {
			if g := Greeting(lang, company); strings.ContainsAny(g, "{}") || strings.Contains(g, "Nordlicht") != (company != "") || !strings.Contains(g, "0") {
				t.Errorf("%s: %s", lang, g)
			}
		}
	}
}
