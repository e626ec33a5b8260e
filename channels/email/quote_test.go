package email

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

type replyCase struct {
	ID       string `json:"id"`
	Format   string `json:"format"`
	File     string `json:"file"`
	Input    string `json:"input"`
	Expected string `json:"expected"`
	Compare  string `json:"compare"`
}

func replyCases(t *testing.T, dir string) []replyCase {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []replyCase
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 4<<20)
	for scan.Scan() {
		var c replyCase
		if err := json.Unmarshal(scan.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if c.File != "" {
			b, err := os.ReadFile(filepath.Join(dir, c.File))
			if err != nil {
				t.Fatal(err)
			}
			c.Input = string(b)
		}
		cases = append(cases, c)
	}
	return cases
}

func replyText(c replyCase) string {
	switch c.Format {
	case "html":
		return Visible(htmlText(c.Input))
	case "mail":
		return parse([]byte(c.Input)).Visible
	default:
		return Visible(c.Input)
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }
func nospace(s string) string { return strings.Join(strings.Fields(s), "") }

// sameReply compares as the corpus says; cut tells that words which the corpus calls the customer's are missing.
func sameReply(c replyCase, got string) (same, cut bool) {
	want := c.Expected
	if c.Compare == "html_nospace" {
		want = htmlText(want)
	}
	g, w := squeeze(got), squeeze(want)
	switch c.Compare {
	case "starts":
		same = strings.HasPrefix(g, w)
	case "nospace", "html_nospace":
		strip := strings.NewReplacer(">", "", "_", "") // our marks of a quote and of a <hr>
		same = strip.Replace(nospace(got)) == strip.Replace(nospace(want))
	default:
		same = g == w
	}
	return same, !strings.HasPrefix(nospace(got), nospace(want)) && len(nospace(got)) < len(nospace(want))
}

// corpora finds the big test data beside the checkout; without them the small set in testdata has to do.
func corpora(t *testing.T, name string) string {
	t.Helper()
	for _, root := range []string{os.Getenv("PATCHBAY_CORPORA"), "../../../shared/corpora", "../../shared/corpora"} {
		if root == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return filepath.Join(root, name)
		}
	}
	t.Skipf("SKIPPED: the corpus %q is not beside the checkout (PATCHBAY_CORPORA); only the small set in testdata was read", name)
	return ""
}

// The small set is what we agree with. Not in it: mails whose author calls a forwarded text the writer's own; it is no
// wish of the writer's, so it is shown as a quote.
func TestVisibleReply(t *testing.T) {
	for _, c := range replyCases(t, "testdata/replies") {
		if same, _ := sameReply(c, replyText(c)); !same {
			t.Errorf("%s:\n got %q\nwant %q", c.ID, tail(replyText(c)), tail(c.Expected))
		}
	}
}

func TestVisibleReplyInDoubtShows(t *testing.T) {
	for _, text := range []string{
		"On Monday Bob wrote:\nthat I get a refund. Where is it?",
		"On 3 May 2024 your colleague Ana wrote:\nI would get a refund.\nWhere is it?",
		"I want to book:\nFrom: Berlin\nTo: Hamburg\nDate: 3 May 2024 10:00\n\nPlease confirm.",
		"Sent from my brother's phone because mine was sent from your shop broken.\nPlease help.",
		"See -- that is what I mean -- and\n--\nI want to talk to somebody, is that so hard?",
		"-----\nPlease call me",
		"> the only line",
		"My mail to bob@example.org says\nerror 550.\nWho wrote: that?",
		"Subject: my order\nFrom: the shop in Berlin\nI never got it.",
		"Original message was lost.\nForwarded message: none.",
	} {
		if got := Visible(text); squeeze(got) != squeeze(text) {
			t.Errorf("cut:\n%q\n%q", text, got)
		}
	}
	// answers between and below the quotes stay
	got := Visible("Hi\n\nOn 3 May 2024 at 10:00, Bob <b@x.org> wrote:\n> Red or blue?\n\nBlue.\n\n> When?\n\nI want a person.")
	for _, words := range []string{"Hi", "Blue.", "I want a person.", "> Red or blue?"} {
		if !strings.Contains(got, words) {
			t.Errorf("%q is missing in %q", words, got)
		}
	}
}

func TestVisibleReplyCorpus(t *testing.T) {
	dir := corpora(t, "replies")
	cases := replyCases(t, dir)
	right, cuts := map[string]int{}, map[string][]string{}
	all := map[string]int{}
	for _, c := range cases {
		set, _, _ := strings.Cut(c.ID, "/")
		all[set]++
		got := replyText(c)
		same, cut := sameReply(c, got)
		if same {
			right[set]++
			continue
		}
		if cut {
			cuts[set] = append(cuts[set], c.ID)
		}
		if os.Getenv("SHOW_REPLIES") != "" {
			t.Logf("%s cut=%v\n got: %q\nwant: %q", c.ID, cut, tail(got), tail(c.Expected))
		}
	}
	sum, sumAll := 0, 0
	for set := range all {
		t.Logf("%s: %d of %d exact; shorter than expected: %v", set, right[set], all[set], cuts[set])
		sum, sumAll = sum+right[set], sumAll+all[set]
	}
	t.Logf("visible reply: %d of %d exact (%.1f %%)", sum, sumAll, 100*float64(sum)/float64(sumAll))
	if right["discourse"] < 58 {
		t.Errorf("discourse's hard part: %d of %d, want 58", right["discourse"], all["discourse"])
	}
	if sum*100 < sumAll*95 {
		t.Errorf("exact: %d of %d", sum, sumAll)
	}
}

func tail(s string) string {
	if len(s) > 600 {
		return "..." + s[len(s)-600:]
	}
	return s
}

// Twice the mail must not cost four times. Measured by the processor's time: the clock also counts the neighbours.
func TestVisibleReplyIsLinear(t *testing.T) {
	for name, text := range map[string]func(n int) string{
		"quotes": func(n int) string {
			return "Hi\n\n" + strings.Repeat("On 3 May 2024 at 10:00, Bob <bob@example.org> wrote:\n> > word word\n", n)
		},
		"words between": func(n int) string {
			return strings.Repeat("word\n> On 3 May 2024 at 10:00, Bob <b@x.org> wrote:\n> > x\n", n)
		},
		"half headers": func(n int) string { return strings.Repeat("From: bob@example.org\n", n) },
		"half intros":  func(n int) string { return strings.Repeat("On 3 May 2024\n", n) },
		"colons":       func(n int) string { return strings.Repeat("3 May 10:00 <a@b>:\nOn 3 May x:\n", n) },
		"signatures":   func(n int) string { return strings.Repeat("--\n", n) },
		"rulers":       func(n int) string { return "x\n" + strings.Repeat("-----\n> y\n", n) },
		"one line":     func(n int) string { return strings.Repeat("On 3 May 2024 wrote: > ", n) },
	} {
		cost := func(n int) time.Duration {
			input, begin := text(n), processorTime(t)
			Visible(input)
			return processorTime(t) - begin
		}
		cost(500)
		small, big := cost(4000), cost(16000)
		if big > 12*small && big > 300*time.Millisecond {
			t.Errorf("%s: 4 times the text took %v instead of %v", name, big, small)
		}
		t.Logf("%s: %v, four times: %v", name, small, big)
	}
}

func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
