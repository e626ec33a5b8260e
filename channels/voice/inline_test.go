package voice

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/voicetest"
)

// standing is where the house says that the caller stands.
type standing struct {
	mu sync.Mutex
	placed
	asked int
}

func (s *standing) set(p placed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placed = p
}

func (s *standing) expect(context.Context, int64) (int, time.Duration, time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.place, s.low, s.high, s.known
}

// hearsPrompts waits until the caller has heard those prompts, in that order. They go out byte for byte.
func hearsPrompts(t *testing.T, ctx context.Context, c *voicetest.Call, names ...string) {
	t.Helper()
	for _, name := range names {
		until(t, ctx, name, func() bool { return heardPrompt(t, c, name) })
	}
}

// heardPrompt tells whether the middle of a prompt was heard.
func heardPrompt(t *testing.T, c *voicetest.Call, name string) bool {
	words := voicetest.ULaw(promptSamples(t, name))
	return bytes.Contains(voicetest.ULaw(said(t, c.RTP)), words[len(words)/4:len(words)*3/4])
}

func TestLinePrompts(t *testing.T) {
	for _, c := range []struct {
		p    placed
		want []string
	}{
		{placed{place: 1}, []string{"place_1"}},
		{placed{place: 2, low: time.Minute, high: 2 * time.Minute, known: true}, []string{"place_2", "wait_2"}},
		{placed{place: 10, high: 20 * time.Second, known: true}, []string{"place_10", "wait_1"}},
		{placed{place: 11, high: 2*time.Minute + 1, known: true}, []string{"place_more", "wait_3"}},
		{placed{place: 3, high: 20*time.Minute + 1, known: true}, []string{"place_3", "wait_more"}},
	} {
		if got := linePrompts(c.p); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.p, got, c.want)
		}
	}
}

// TestToldInLine: place and time as soon as the house knows them, again when the caller has moved up, and music between.
func TestToldInLine(t *testing.T) {
	t.Parallel()
	var at standing
	h := newHouse(t, func(cfg *Config) {
		cfg.Expect = at.expect
		cfg.Times.LineFirst, cfg.Times.LineLook, cfg.Times.LineMoved, cfg.Times.LineAgain = 20*time.Millisecond, 50*time.Millisecond, time.Millisecond, time.Hour
	})
	ctx := testCtx(t)
	at.set(placed{}) // the wish is on its way
	c := h.waitingCall(ctx, voicetest.Invite{})
	at.set(placed{place: 2, low: 30 * time.Second, high: 100 * time.Second, known: true})
	hearsPrompts(t, ctx, c, promptWaiting)
	hearsPrompts(t, ctx, c, "place_2", "wait_2")
	hearsMusic(t, ctx, "after the place", phoneEar(t, ctx, c))
	at.set(placed{place: 1}) // nothing is known of the time any more
	hearsPrompts(t, ctx, c, "place_1")
	hearsMusic(t, ctx, "after the next place", phoneEar(t, ctx, c))
	at.set(placed{place: 2}) // others came before: no word of it
	at.mu.Lock()
	asked := at.asked
	at.mu.Unlock()
	until(t, ctx, "asked again", func() bool { at.mu.Lock(); defer at.mu.Unlock(); return at.asked > asked+2 })
	hearsMusic(t, ctx, "no better place", phoneEar(t, ctx, c))
	c.RTP.Forget()
	c.RTP.Press(ctx, '*') // the place again
	hearsPrompts(t, ctx, c, "place_2")

	b := h.join(ctx, 1, 7)
	defer b.Close()
	at.mu.Lock()
	asked = at.asked
	at.mu.Unlock()
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	h.expect(ctx, channels.CallEndedIn)
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.asked > asked+1 {
		t.Errorf("asked %d times for a call that has left the line", at.asked-asked)
	}
}

// TestIntroduced: the caller hears that somebody is there right before they are, the agent hears it too; that they have read
// what was said is told only when their screen has shown it.
func TestIntroduced(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{true, false} {
		prompt := map[bool]string{true: promptThroughRead, false: promptThrough}[read]
		t.Run(prompt, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(cfg *Config) {
				cfg.HasRead = func(_ context.Context, agentID, conversationID int64) (bool, error) {
					return read && agentID == 7 && conversationID == 1001, nil
				}
			})
			ctx := testCtx(t)
			c := h.waitingCall(ctx, voicetest.Invite{})
			h.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
			begun := time.Now()
			b := h.connect(ctx, 1, 7)
			up := time.Now()
			h.moved(ctx, channels.CallBridged)
			words := time.Duration(len(promptSamples(t, prompt))) * time.Second / voicetest.Rate
			t.Logf("bridged %s after the connection, words %s, connection %s", time.Since(up), words, up.Sub(begun))
			if late := time.Since(up) - words; late > 700*time.Millisecond {
				t.Errorf("the bridge came %s after the words", late)
			}
			hearsPrompts(t, ctx, c, prompt)
			hears(t, ctx, c, b)

			again := h.connect(ctx, 1, 7) // the page is reloaded: nothing more to say
			c.RTP.Forget()
			h.moved(ctx, channels.CallBridged)
			if heardPrompt(t, c, prompt) {
				t.Error("introduced twice")
			}
			hears(t, ctx, c, again)
		})
	}
}

// hears: the caller hears this browser.
func hears(t *testing.T, ctx context.Context, c *voicetest.Call, b *voicetest.Browser) {
	t.Helper()
	go b.Play(ctx, tone(agentTone))
	hearsOnly(t, ctx, "caller", phoneEar(t, ctx, c), agentTone)
}

// TestNotTaken: an agent has accepted and does not come: the caller is told, and where they stand.
func TestNotTaken(t *testing.T) {
	t.Parallel()
	var at standing
	at.set(placed{place: 1})
	h := newHouse(t, func(cfg *Config) {
		cfg.Expect = at.expect
		cfg.Times.AgentConnect = 50 * time.Millisecond
		cfg.Times.LineFirst, cfg.Times.LineLook, cfg.Times.LineAgain = 20*time.Millisecond, time.Hour, time.Hour
	})
	ctx := testCtx(t)
	c := h.waitingCall(ctx, voicetest.Invite{})
	hearsPrompts(t, ctx, c, "place_1")
	h.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	h.expect(ctx, channels.AgentLost)
	hearsPrompts(t, ctx, c, promptNotTaken)
	hearsPrompts(t, ctx, c, "place_1")
	hearsMusic(t, ctx, "in line again", phoneEar(t, ctx, c))
}

// TestTalkersAreTold: who has talked with the responder hears place, time and agent by the same voice; the agent's name is in it.
func TestTalkersAreTold(t *testing.T) {
	t.Parallel()
	var at standing
	at.set(placed{place: 2, high: 90 * time.Second, known: true})
	h := newTalkHouse(t, func(cfg *Config) {
		cfg.Expect = at.expect
		cfg.HasRead = func(context.Context, int64, int64) (bool, error) { return true, nil }
		cfg.Times.LineFirst = 20 * time.Millisecond
	})
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		switch in.Type {
		case channels.CallStarted, channels.CallMoved, channels.Wish, channels.CallEndedIn:
			return h.agree(in)
		}
		return channels.Receipt{}, nil
	})
	ctx := testCtx(t)
	c := h.call(t, ctx)
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	c.Hears("You are second in line. It takes one to two minutes.")
	h.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	b := h.connect(ctx, 1, 7)
	c.Hears("You are through to Ana, who has read what you said.")
	h.moved(ctx, channels.CallBridged)
	hears(t, ctx, c.Call, b)
}

// The files say what the voice says.
func TestPromptsAndPhrasesAgree(t *testing.T) {
	made, err := os.ReadFile("prompts/make.sh")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(made)) {
		name, text, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "say "), " ")
		if !ok || !strings.HasPrefix(name, "place_") && !strings.HasPrefix(name, "wait_") && !strings.HasPrefix(name, "voicemail") && !strings.HasPrefix(name, "callback_") &&
			!strings.HasPrefix(name, "hour_") && !strings.HasPrefix(name, "day_") && !strings.HasPrefix(name, "press_") && name != promptNotTaken && name != promptBack && name != promptNotReached {
			continue
		}
		seen++
		if got := dialogue.Phrase("en", name); got != strings.Trim(text, `"`) {
			t.Errorf("%s: the file says %s, the voice %q", name, text, got)
		}
		if dialogue.Phrase("de", name) == dialogue.Phrase("en", name) {
			t.Errorf("%s: no German", name)
		}
	}
	if seen != 12+7+3+6+14+24+9+3 {
		t.Errorf("%d prompts", seen)
	}
}
