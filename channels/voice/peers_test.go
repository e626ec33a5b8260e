package voice

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// TestBaresip: a real telephone calls, presses 0, and talks to the agent's browser; then it holds and comes back.
func TestBaresip(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"PCMU", "PCMA"} {
		t.Run(codec, func(t *testing.T) {
			h := newHouse(t, nil)
			ctx := testCtx(t)
			phoneWords := voicetest.Speech(71, 35*time.Second, voicetest.Rate)
			agentWords, agentULaw := speech(72)
			phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{Says: phoneWords, Codecs: codec + "/8000/1"})
			phone.Dial(ctx, "sip:"+number+"@"+h.voice.Addr().String())
			h.expect(ctx, channels.CallStarted)
			phone.Press(ctx, "0")
			if in := h.expect(ctx, channels.Wish); in.Source != "key" {
				t.Errorf("wish: %+v", in)
			}
			b := h.join(ctx, 1, 7)
			go b.Play(ctx, agentULaw)
			heard := b.Hear(ctx, 11*time.Second)
			voicetest.Check(t, "agent hears", heard, phoneWords, agentWords)
			phone.Hangup(ctx)
			if in := h.expect(ctx, channels.CallEndedIn); in.Result != completed || in.Stats.(callStats).Codec != codec {
				t.Errorf("ended: %+v", in)
			}
			phone.Close()
			all := phone.Heard()
			if len(all) < 9*voicetest.Rate {
				t.Fatalf("the phone heard %d samples", len(all))
			}
			voicetest.Check(t, "phone hears", all[len(all)-9*voicetest.Rate:], agentWords, phoneWords, promptSamples(t, promptMusic))
		})
	}
}

// TestBaresipHangup: the agent hangs up on a real telephone.
func TestBaresipHangup(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{})
	phone.Dial(ctx, "sip:"+number+"@"+h.voice.Addr().String())
	h.expect(ctx, channels.CallStarted)
	phone.Command(ctx, "hold", "")
	phone.Command(ctx, "resume", "")
	phone.Press(ctx, "0")
	h.expect(ctx, channels.Wish)
	h.join(ctx, 1, 7)
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	phone.Wait(ctx, "CALL_CLOSED")
	h.expect(ctx, channels.CallEndedIn)
}

// TestSIPp: a flock of calls set up, acknowledged and hung up by sipp's own caller.
func TestSIPp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	res := runSIPp(ctx, t, voicetest.SIPpConfig{Builtin: "uac", Target: h.voice.Addr(), Service: number,
		Args: []string{"-m", "200", "-r", "100", "-l", "100", "-d", "200"}})
	if res.Code != 0 {
		t.Fatalf("sipp: %d\n%s", res.Code, last(res.Output, 4000))
	}
	ended := 0
	for range 400 {
		select {
		case in := <-h.inbound:
			if in.Type == channels.CallEndedIn {
				ended++
			}
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	if ended != 200 {
		t.Errorf("%d calls ended", ended)
	}
}

// TestSIPpScenarios: somebody else's idea of a correct peer.
func TestSIPpScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/sipp/*.xml")
	if err != nil || len(files) != 15 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	h := newHouse(t, nil)
	ctx := testCtx(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".xml")
		t.Run(name, func(t *testing.T) {
			answered := make(chan struct{})
			if name != "cancel" {
				close(answered)
			}
			h.script(func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
				if in.Type == channels.CallStarted {
					select { // rings
					case <-answered:
					case <-ctx.Done():
					}
				}
				return h.agree(in)
			})
			xml, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			res := runSIPp(ctx, t, voicetest.SIPpConfig{Scenario: string(xml), Target: h.voice.Addr(), Service: number, Args: []string{"-m", "1"}})
			if res.Code != 0 {
				t.Errorf("sipp: %d\n%s", res.Code, last(res.Output, 3000))
			}
			if name == "cancel" {
				close(answered)
			}
		})
	}
}

// runSIPp tries again when somebody took a port between its being found free and sipp's binding it.
func runSIPp(ctx context.Context, t *testing.T, cfg voicetest.SIPpConfig) voicetest.SIPpResult {
	t.Helper()
	for range 3 {
		if res := voicetest.RunSIPp(ctx, t, cfg); res.Code == 0 || !strings.Contains(res.Output, "Unable to bind") {
			return res
		}
	}
	return voicetest.RunSIPp(ctx, t, cfg)
}

func last(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		return s[len(s)-n:]
	}
	return s
}
