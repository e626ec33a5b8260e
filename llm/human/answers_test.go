package human

import "testing"

// TestAnswersToAnOffer holds how people take and leave an offered hand-over, in all languages.
func TestAnswersToAnOffer(t *testing.T) {
	var taken, left tally
	for _, s := range samples(t, "testdata/answers.txt") {
		w := Read(s.text, Context{Offered: true})
		if w.Yes != s.wish {
			t.Logf("%s %q: taken %v by %s", s.lang, s.text, w.Yes, w.Rule)
		}
		if s.wish {
			taken.wishes++
			if w.Yes {
				taken.heard++
			}
			continue
		}
		left.misses++
		if w.Yes {
			left.alarms++
		}
	}
	t.Logf("%d of %d taken, %d of %d taken wrongly", taken.heard, taken.wishes, left.alarms, left.misses)
	if taken.heard*100 < taken.wishes*98 || left.alarms*100 > left.misses {
		t.Error("an offer was not understood as it was answered")
	}
}
