package sdp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// corpora finds the big test data beside the checkout; it is not ours to copy.
func corpora(t *testing.T, name string) string {
	t.Helper()
	for _, root := range []string{os.Getenv("PATCHBAY_CORPORA"), "../../../../shared/corpora", "../../../shared/corpora", "../../../../../shared/corpora"} {
		if root == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return filepath.Join(root, name)
		}
	}
	t.Skipf("SKIPPED: no corpora/%s beside the checkout (set PATCHBAY_CORPORA)", name)
	return ""
}

// TestPjsip answers the offers of pjsip's own suite: what it refuses we refuse, what it takes we take, and what must stand
// in its answers stands in ours.
func TestPjsip(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(corpora(t, "sip-gpl"), "pjsip-scripts-sendto", "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID       string   `json:"id"`
		Group    string   `json:"group"`
		SDP      string   `json:"sdp"`
		Code     int      `json:"expect_code"`
		Must     []string `json:"must_match"`
		MustNot  []string `json:"must_not_match"`
		Upstream string   `json:"upstream_callee_options"`
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	// What we do otherwise, and why.
	ours := map[string]int{
		"321_srtp2_recv_avp": 200, // RTP/AVP with keys: encrypted all the same (RFC 8643)
	}
	ran := 0
	for _, c := range cases {
		others := regexp.MustCompile(`ICE|codec not ours|session timer|SUBSCRIBE`)
		if c.SDP == "" || others.MatchString(c.Group) || c.Code == 420 || strings.Contains(c.ID, "replaces") {
			continue // not the description is tested there
		}
		ran++
		prefs := Prefs{Codecs: []string{PCMU, PCMA, G722, Opus}, Comfort: true, Keys: SDES, Secure: true}
		if _, srtp, ok := strings.Cut(c.Upstream, "--use-srtp "); ok {
			prefs.SRTP = map[byte]string{'0': Off, '1': Optional, '2': Required}[srtp[0]]
		}
		code := 200
		var answer []byte
		s, err := Parse([]byte(strings.TrimLeft(c.SDP, "\r\n")))
		if err == nil {
			answer, _, err = NewLocal(here).Answer(s, prefs)
			if err != nil {
				code = 488
			}
		} else {
			code = 400
		}
		want, known := ours[c.ID]
		if !known {
			want = c.Code
		}
		if want == 406 { // theirs for broken or missing keys
			want = 488
		}
		if code != want {
			t.Errorf("%s: %d (%v), want %d\n%s", c.ID, code, err, want, c.SDP)
			continue
		}
		if code != 200 || known {
			continue
		}
		text := strings.ReplaceAll("Content-Type: application/sdp\r\n\r\n"+string(answer), "\r", "")
		for _, m := range slices.Concat(c.Must, c.MustNot) {
			found := regexp.MustCompile("(?im)" + m).MatchString(text)
			if found == slices.Contains(c.MustNot, m) {
				t.Errorf("%s: %q\n%s", c.ID, m, answer)
			}
		}
	}
	if ran < 30 {
		t.Errorf("only %d descriptions", ran)
	}
	t.Logf("%d descriptions", ran)
}
