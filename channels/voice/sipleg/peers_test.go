package sipleg

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/voicetest"
)

// siphon are the scenarios of siphon-rs that a user agent's peer must pass. What is left out and why: message (405, we take
// none), subscribe_* (405), proxy_invite_bye and max_forwards_* (written for a proxy), uas_invite (calls nobody), and
// prack_bad_rack, which wants 400 where RFC 3262 section 3 says 481 (TestReliableIn shows that).
var siphon = []string{"options", "invite", "invite_bye", "invite_multi_codec", "reinvite", "session_timer", "session_timer_refresh", "update", "info",
	"refer", "refer_fail", "cancel", "prack", "forking_invite", "unsupported_method", "max_forwards_zero", "malformed_sdp", "info_out_of_dialog",
	"update_out_of_dialog", "prack_missing_rack", "route_bye", "register", "register_multiple", "register_wildcard"}

// TestSiphon runs them (corpora/sip/ORIGIN.md says what each must do).
func TestSiphon(t *testing.T) {
	dir := ""
	for _, root := range []string{os.Getenv("PATCHBAY_CORPORA"), "../../../../shared/corpora", "../../../../../shared/corpora"} {
		if d := filepath.Join(root, "sip/sipp/siphon-rs"); root != "" && dir == "" {
			if _, err := os.Stat(d); err == nil {
				dir = d
			}
		}
	}
	if dir == "" {
		t.Skip("SKIPPED: no corpora/sip/sipp/siphon-rs beside the checkout (set PATCHBAY_CORPORA)")
	}
	owner := func(s *setup) {
		s.FirstRSeq = 1
		s.OnRequest = func(req *sip.Request) *edge.Refusal {
			if req.Method != sip.REGISTER {
				return nil
			}
			contact := headerValue(req, "contact")
			if contact == "" || contact == "*" {
				return edge.Refuse(200, "OK")
			}
			return edge.Refuse(200, "OK", sip.NewHeader("Contact", contact+";expires=60"))
		}
	}
	for _, name := range siphon {
		t.Run(name, func(t *testing.T) {
			o, hear := newOffice(t, owner)
			stop := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					select {
					case leg := <-o.calls:
						leg.Ring()
						switch {
						case strings.HasPrefix(name, "prack"): // they want to hear it ring
							time.AfterFunc(300*time.Millisecond, leg.Answer)
						case name != "cancel":
							leg.Answer()
						}
					case got := <-hear:
						if r, ok := got.event.(Referred); ok {
							r.Answer(202) // and one NOTIFY: they hang up then
						}
					case <-stop:
						return
					}
				}
			}()
			defer func() { close(stop); <-done }()
			xml, err := os.ReadFile(filepath.Join(dir, name+".xml"))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(xml), "Route: [routes]", "[routes]")
			cfg := voicetest.SIPpConfig{Scenario: text, Target: o.addr(), Service: "100", Args: []string{"-m", "1"}}
			if regexp.MustCompile(`\[field\d`).MatchString(text) {
				cfg.Files = map[string][]byte{}
				for _, csv := range []string{"refer_target.csv", "proxy_target.csv"} {
					if cfg.Files[csv], err = os.ReadFile(filepath.Join(dir, csv)); err != nil {
						t.Fatal(err)
					}
				}
				cfg.Args = append(cfg.Args, "-inf", "refer_target.csv")
			}
			if res := voicetest.RunSIPp(testCtx(t), t, cfg); res.Code != 0 {
				t.Errorf("sipp: %d\n%s", res.Code, tail(res.Output, 3000))
			}
		})
	}
}

func tail(s string, n int) string {
	if s = strings.TrimSpace(s); len(s) > n {
		return s[len(s)-n:]
	}
	return s
}

// TestBaresipCalled: a real telephone is called, puts us on hold, takes us back, asks for a transfer and is hung up on.
func TestBaresipCalled(t *testing.T) {
	o, _ := newOffice(t, nil)
	ctx := testCtx(t)
	phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "bob", AutoAnswer: true})
	leg, hear := o.dial(phone.Addr(), nil)
	for {
		got := <-hear
		if _, ok := got.event.(Answered); ok {
			break
		}
		if _, ok := got.event.(Ringing); !ok {
			t.Fatalf("%T %+v", got.event, got.event)
		}
	}
	phone.Wait(ctx, "CALL_ESTABLISHED")
	phone.Command(ctx, "hold", "")
	if e := next[Held](t, ctx, hear); !e.Held {
		t.Error("hold is not told")
	}
	phone.Command(ctx, "resume", "")
	if e := next[Held](t, ctx, hear); e.Held {
		t.Error("resume is not told")
	}
	leg.Refresh()
	phone.Command(ctx, "transfer", "sip:carol@127.0.0.1")
	for { // it holds before it asks
		got := <-hear
		if e, ok := got.event.(Referred); ok {
			if !strings.HasPrefix(e.To, "sip:carol@127.0.0.1") {
				t.Errorf("%+v", e)
			}
			e.Answer(603)
			break
		}
	}
	leg.Hangup("done")
	for {
		if e, ok := (<-hear).event.(Ended); ok {
			if e.By != ByUs {
				t.Errorf("%+v", e)
			}
			break
		}
	}
}
