package llm

import (
	"strings"
	"testing"
)

func TestLoadTwiceChangesNothing(t *testing.T) {
	pool := demoPool(t)
	read := func() string {
		var s string
		if err := pool.QueryRow(t.Context(), `select string_agg(p.id || a.slug || p.position || p.heading || p.body, '|' order by p.id) from passages p join articles a on a.id = p.article_id`).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := read()
	articles, err := DemoArticles()
	if err != nil {
		t.Fatal(err)
	}
	if len(articles) < 10 {
		t.Errorf("%d articles", len(articles))
	}
	if err := Load(t.Context(), pool, articles); err != nil {
		t.Fatal(err)
	}
	if read() != before {
		t.Error("loading again changed passages")
	}
	articles[0].Body = "Only one passage is left."
	if err := Load(t.Context(), pool, articles[:1]); err != nil {
		t.Fatal(err)
	}
	if after := read(); !strings.Contains(after, "Only one passage") || strings.Count(after, articles[0].Slug) != 1 {
		t.Error("a shorter article keeps old passages")
	}
}

func TestSplitArticle(t *testing.T) {
	got := split(Article{Title: "Tent", Body: "Intro.\r\n\r\n## Size\n" + strings.Repeat("Long line.\n\n", 3) + strings.Repeat("x", 600) + "\n\n" + strings.Repeat("y", 600) + "\n\n## Empty\n\n### Deep\n\nText **bold**."})
	var b []string
	for _, p := range got {
		b = append(b, p.Heading+"="+p.Body[:min(6, len(p.Body))])
	}
	if s := strings.Join(b, " "); s != "Tent=Intro. Tent: Size=Long l Tent: Size=yyyyyy Tent: Deep=Text b" {
		t.Error(s)
	}
}

func TestSearchBadInput(t *testing.T) {
	pool := demoPool(t)
	for _, q := range []string{"", "'", `\`, `a\b'c:*&!|()<->`, "\x00\xff", strings.Repeat("tent & | ! ", 500), "🏕️", "%_"} {
		if _, err := Search(t.Context(), pool, q, 3); err != nil {
			t.Errorf("%q: %v", q, err)
		}
	}
}

func TestSearchFinds(t *testing.T) {
	pool := demoPool(t)
	right, strong, n := 0, 0, 0
	for q, url := range map[string]string{
		"How heavy is the tent? I mean the weight of the Skarv 2": "/help/skarv-2-tent",
		"My pole sleeve split, can I buy a single section?":       "/help/spare-parts",
		"is the rucksack ok as cabin baggage":                     "/help/fjell-38-rucksack",
		"how often should I wax the leather":                      "/help/ur-mid-boots",
		"can boots be resoled":                                    "/help/ur-mid-boots",
		"which gas cartridges fit the stove":                      "/help/primula-stove",
		"can I use the stove inside a tent":                       "/help/primula-stove",
		"how do I send something back":                            "/help/returns",
		"when do I get my refund":                                 "/help/returns",
		"what does a repair of a zip cost":                        "/help/repairs",
		"opening hours on saturday":                               "/help/opening-hours",
		"where can I park":                                        "/help/opening-hours",
		"where is my parcel":                                      "/help/shipping",
		"how much is express delivery":                            "/help/shipping",
		"how many years of warranty on a rucksack":                "/help/warranty",
		"how long is a gift card valid":                           "/help/gift-cards",
		"can I pay by PayPal":                                     "/help/payment",
		"I want to cancel my order":                               "/help/payment",
		"do you ship to Switzerland":                              "/help/shipping",
		"what is the water column of the fly sheet":               "/help/skarv-2-tent",
	} {
		n++
		found, err := Search(t.Context(), pool, q, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 || found[0].URL != url {
			t.Logf("%s: %+v", q, found)
			continue
		}
		right++
		if found[0].Strong() {
			strong++
		} else {
			t.Logf("not strong (%.2f, %d of %d): %s", found[0].Covered, found[0].Words, found[0].Asked, q)
		}
	}
	t.Logf("first passage right %d/%d, strong %d", right, n, strong)
	if right < n*9/10 || strong < n*7/10 {
		t.Errorf("first passage right %d/%d, strong %d", right, n, strong)
	}
}

// TestSearchForAFigure: of passages that hold the same words, the one with a figure answers a question for a figure.
func TestSearchForAFigure(t *testing.T) {
	found, err := Search(t.Context(), demoPool(t), "How long can I send back a tent?", 3)
	if err != nil || len(found) == 0 || !strings.Contains(found[0].Body, "60 days") {
		t.Errorf("first: %+v, %v", found, err)
	}
}
