package turn

import (
	"strings"
	"testing"
)

// TestLevels: a caller has said something, and is answered; then something else is heard. What is far below the caller's own voice
// neither holds nor stops us, but clear words do. A level of 0 is one that the ear does not tell.
func TestLevels(t *testing.T) {
	cfg := Config{Language: "en", Partial: true, Wish: func(words string) bool { return strings.Contains(words, "a person") }}
	const (
		known   = "100 began -22\n300 level -20\n900 part what is it\n1000 paused\n2000 ready\n2000 saying We are open from nine to five on weekdays.\n"
		answers = "1350 finish; 1380 take what is it; 2000 speak; "
	)
	for name, test := range map[string]struct{ script, want string }{
		"as loud as before": {"3000 began -21\n3400 part no i mean\n3500 end", "3040 hold; 3400 cut"},
		"thirteen below":    {"3000 began -33\n3400 part no i mean\n3500 end", "3040 hold; 3400 cut"},
		"not known":         {"3000 began\n3400 part no i mean\n3500 end", "3040 hold; 3400 cut"},
		"soft at first":     {"3000 began -40\n3060 level -30\n3400 part no i mean\n3500 end", "3060 hold; 3400 cut"},
		"far behind":        {"3000 began -36\n3400 part cut down\n3900 part i'm not going\n4000 paused\n9000 quiet\n9000 settled\n15000 end", "4100 finish"},
		"far behind, and for long": {"3000 began -36\n3500 level -39\n4000 part let me\n5000 part i don't know what\n9000 level -35\n14000 quiet\n14000 settled\n14500 paused\n17000 end",
			"16500 finish"},
		"far behind, then the caller": {"3000 began -36\n3400 part i'm not going\n4000 level -25\n4400 part i'm not stop it\n4500 end", "4000 hold; 4400 cut"},
		"far, and its words go on": {"3000 began -36\n3400 part what are your\n3900 part what are your opening\n4400 part what are your opening hours\n4900 part what are your opening hours on friday\n5000 paused\n5400 end",
			"4900 cut; 5350 finish; 5380 take what are your opening hours on friday"},
		"far, and its words go round": {"3000 began -36\n3400 part you can do it\n3900 part you can do it you can do it\n4400 part you can do it you can do it you can do it\n4500 end", ""},
		"far words are clear, and teach nothing": {"3000 began -36\n3400 part what are your\n3900 part what are your opening\n4400 part what are your opening hours\n4500 part what are your opening hours today\n4600 paused\n" +
			"5500 ready\n5500 saying From nine to five.\n6000 began -36\n6400 part the rain\n6500 end", "4500 cut; 4950 finish; 4980 take what are your opening hours today; 5500 speak"},
		"far, and goes on for too long to tell": {"3000 began -36\n3400 part so many words that are said by no one at all and then more of them still\n4400 part so many words that are said by no one at all and then more of them still and then some\n" +
			"4900 part so many words that are said by no one at all and then more of them still and then some other\n5300 part so many words that are said by no one at all and then more of them still and then some other ones\n5400 end", ""},
		"far, and its words come late": {"2500 deafear\n3000 began -36\n3400 part cut down\n4000 paused\n5500 quiet\n5500 settled\n6000 final you can cut it down\n6100 began -20\n6500 final what is it\n6600 paused\n7500 end",
			"4100 finish; 6950 finish"},
		"far, and its late words want a person": {"2500 deafear\n3000 began -36\n3400 part cut down\n4000 paused\n5500 quiet\n5500 settled\n6000 final a person please\n7000 end",
			"4100 finish; 6000 take a person please"},
		"far, and wants a person": {"3000 began -36\n3400 part a person please\n3500 paused\n5000 end", "3400 cut; 4200 finish; 4230 take a person please"},
		"far, and says zero":      {"3000 began -36\n3400 part zero\n3500 paused\n5000 end", "3600 finish; 3630 cut; 4200 take 0"},
		"far, when we are silent": {"3000 quiet\n3000 settled\n4000 began -36\n4400 part yes\n4500 paused\n5500 end", "4850 finish; 4880 take yes"},
		"softer in the turn before, and is known to be": {"3000 quiet\n3000 settled\n4000 began -36\n4900 part what does it cost\n5000 paused\n6000 ready\n6000 saying It costs five.\n" +
			"7000 began -36\n7400 part and two\n7500 end", "5350 finish; 5380 take what does it cost; 6000 speak; 7040 hold; 7400 cut"},
		"louder in the turn before": {"3000 quiet\n3000 settled\n4000 began -10\n4900 part what does it cost\n5000 paused\n6000 ready\n6000 saying It costs five.\n" +
			"7000 began -30\n7400 part the rain\n7500 end", "5350 finish; 5380 take what does it cost; 6000 speak"},
		"keys are keys": {"3000 began -36\n3100 key 4\n3200 key #\n3300 end", "3100 cut; 3200 take 4"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.TrimSuffix(strings.TrimPrefix(play(t, cfg, known+test.script)+"; ", answers), "; "); got != test.want {
				t.Errorf("did  %s\nwant %s", got, test.want)
			}
		})
	}
	if got := play(t, cfg, "0 ready\n0 saying Hello.\n1000 began -60\n1400 part no i mean\n1500 end"); got != "0 speak; 1040 hold; 1400 cut" {
		t.Errorf("of a caller who is not known: %s", got)
	}
}
