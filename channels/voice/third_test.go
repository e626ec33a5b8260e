package voice

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// Everybody in these calls has a tone of their own, so that one can say who hears whom.
const (
	callerTone     = 500.0
	agentTone      = 900.0
	colleagueTone  = 1300.0
	supervisorTone = 1700.0
)

var tones = []float64{callerTone, agentTone, colleagueTone, supervisorTone}

func tone(hz float64) []byte {
	return voicetest.ULaw(voicetest.Sine(hz, 30*time.Second, voicetest.Rate))
}

// among tells which of the tones are in the sound.
func among(sound []int16) (heard []float64) {
	for _, hz := range tones {
		if voicetest.Tone(sound, voicetest.Rate, hz) > 0.15 {
			heard = append(heard, hz)
		}
	}
	return heard
}

// ear is somebody's ear: the next 200 ms of sound.
type ear func() []int16

func phoneEar(t testing.TB, ctx context.Context, c *voicetest.Call) ear {
	return func() []int16 { return hear(t, ctx, c.RTP, 200*time.Millisecond) }
}

func tabEar(ctx context.Context, b *voicetest.Browser) ear {
	return func() []int16 { return b.Hear(ctx, 200*time.Millisecond) }
}

// hearsOnly waits until an ear hears these tones and no other.
func hearsOnly(t testing.TB, ctx context.Context, who string, e ear, want ...float64) {
	t.Helper()
	var got []float64
	for ctx.Err() == nil {
		if got = among(e()); slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("%s hears %v, want %v", who, got, want)
}

// hearsMusic waits until an ear hears music, or the ringing tone, and nobody's tone.
func hearsMusic(t testing.TB, ctx context.Context, who string, e ear) {
	t.Helper()
	for ctx.Err() == nil {
		if sound := e(); len(among(sound)) == 0 && voicetest.RMS(sound) > 100 {
			return
		}
	}
	t.Fatalf("%s hears no music", who)
}

// colleagues is a desk with one colleague who can be borrowed.
func colleagues(given *atomic.Int64) func(*Config) {
	return func(cfg *Config) {
		cfg.Borrow = func(_ context.Context, _, _ int64, to channels.CallTarget) (int64, string, error) {
			if to.AgentID == 5 {
				return 0, "", channels.Fail(channels.Conflict, "Tom is busy.")
			}
			return 9, "Bo Lind", nil
		}
		cfg.GiveBack = func(_ context.Context, _, agentID int64) error { given.Add(agentID); return nil }
	}
}

// frame waits for news of a call that fits.
func frame(t testing.TB, ctx context.Context, frames <-chan string, what string, fits func(callNews) bool) callNews {
	t.Helper()
	for {
		var f struct {
			Type string
			Call callNews
		}
		text := waitChan(t, ctx, frames, what)
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		if f.Type == "call" && fits(f.Call) {
			return f.Call
		}
	}
}

// TestConsultation: the agent talks with a colleague while the caller hears music, swaps, has all three talk, and leaves
// the two to each other.
func TestConsultation(t *testing.T) {
	t.Parallel()
	var given atomic.Int64
	h := newHouse(t, colleagues(&given))
	ctx := testCtx(t)
	agentNews, colleagueNews := h.agentFrames(7), h.agentFrames(9)
	c, a := h.bridgedCall(ctx, voicetest.Invite{From: "+49301"})
	go c.RTP.Play(ctx, tone(callerTone))
	go a.Play(ctx, tone(agentTone))
	caller, agent := phoneEar(t, ctx, c), tabEar(ctx, a)
	hearsOnly(t, ctx, "caller", caller, agentTone)

	say := func(kind string) { h.must(ctx, channels.CallSignal{Type: kind, CallID: 1, AgentID: 7}) }
	refused := func(sig channels.CallSignal, want channels.Code) {
		t.Helper()
		sig.CallID = 1
		if reply, err := h.command(ctx, sig); err != nil || reply.Error == nil || reply.Error.Code != want {
			t.Errorf("%s: %+v, %v; want %s", sig.Type, reply.Error, err, want)
		}
	}
	refused(channels.CallSignal{Type: "swap", AgentID: 7}, channels.Conflict)
	refused(channels.CallSignal{Type: "consult", AgentID: 7}, channels.Invalid)
	refused(channels.CallSignal{Type: "consult", AgentID: 7, Target: &channels.CallTarget{Kind: "agent", AgentID: 5}}, channels.Conflict)
	refused(channels.CallSignal{Type: "consult", AgentID: 7, Target: &channels.CallTarget{Kind: "number", Number: "+49302"}}, channels.Forbidden)
	hearsOnly(t, ctx, "caller after refusals", caller, agentTone)

	h.must(ctx, channels.CallSignal{Type: "consult", CallID: 1, AgentID: 7, Target: &channels.CallTarget{Kind: "agent", AgentID: 9}})
	frame(t, ctx, colleagueNews, "ringing at the colleague", func(n callNews) bool {
		return n.State == "ringing" && n.Role == "consulted" && n.Third != nil && n.Third.Name == "Ana Lund" && n.Third.State == "ringing"
	})
	hearsMusic(t, ctx, "caller", caller)
	hearsMusic(t, ctx, "agent, the ringing tone", agent)
	refused(channels.CallSignal{Type: "consult", AgentID: 7, Target: &channels.CallTarget{Kind: "agent", AgentID: 9}}, channels.Conflict)
	refused(channels.CallSignal{Type: "merge", AgentID: 7}, channels.Conflict)
	refused(channels.CallSignal{Type: "merge", AgentID: 9}, channels.Forbidden) // the colleague does not decide

	b := h.connect(ctx, 1, 9)
	go b.Play(ctx, tone(colleagueTone))
	colleague := tabEar(ctx, b)
	frame(t, ctx, agentNews, "the colleague talks", func(n callNews) bool { return n.Third != nil && n.Third.State == "talking" })
	hearsOnly(t, ctx, "colleague", colleague, agentTone)
	hearsOnly(t, ctx, "agent", agent, colleagueTone)
	hearsMusic(t, ctx, "caller", caller)

	say("swap")
	hearsOnly(t, ctx, "caller", caller, agentTone)
	hearsOnly(t, ctx, "agent", agent, callerTone)
	hearsMusic(t, ctx, "colleague", colleague)

	say("merge")
	hearsOnly(t, ctx, "caller of three", caller, agentTone, colleagueTone)
	hearsOnly(t, ctx, "agent of three", agent, callerTone, colleagueTone)
	hearsOnly(t, ctx, "colleague of three", colleague, callerTone, agentTone)

	say("complete")
	hearsOnly(t, ctx, "caller handed on", caller, colleagueTone)
	hearsOnly(t, ctx, "colleague with the caller", colleague, callerTone)
	if in := h.expect(ctx, channels.HandedOn); in.AgentID != 9 {
		t.Errorf("handed on: %+v", in)
	}
	frame(t, ctx, agentNews, "the end for the agent", func(n callNews) bool { return n.State == "ended" && n.Reason == "passed on" })
	frame(t, ctx, colleagueNews, "the call is the colleague's", func(n callNews) bool { return n.Role == "agent" && n.State == "bridged" })
	refused(channels.CallSignal{Type: "hold", AgentID: 7, On: true}, channels.Forbidden)
	h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 9})
	waitChan(t, ctx, c.Ended(), "BYE to the caller")
	if given.Load() != 0 {
		t.Error("who has the call was given back")
	}
}

// TestConsultationFails: whatever goes wrong with the colleague, the agent is back with the caller, with words.
func TestConsultationFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, state, reason string
		connect             bool
		fail                func(h *house, ctx context.Context, b *voicetest.Browser)
	}{
		{"declined", "failed", "declined", false, func(h *house, ctx context.Context, _ *voicetest.Browser) {
			h.must(ctx, channels.CallSignal{Type: "decline", CallID: 1, AgentID: 9})
		}},
		{"did not answer", "failed", "did not answer", false, func(h *house, ctx context.Context, _ *voicetest.Browser) {}},
		{"hung up", "gone", "hung up", true, func(h *house, ctx context.Context, _ *voicetest.Browser) {
			h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 9})
		}},
		{"lost", "gone", "connection lost", true, func(_ *house, _ context.Context, b *voicetest.Browser) { b.Close() }},
		{"taken back", "", "", true, func(h *house, ctx context.Context, _ *voicetest.Browser) {
			h.must(ctx, channels.CallSignal{Type: "cancel", CallID: 1, AgentID: 7})
		}},
		{"agent hangs up", "", "", true, func(h *house, ctx context.Context, _ *voicetest.Browser) { // only the consultation ends
			h.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var given atomic.Int64
			h := newHouse(t, func(cfg *Config) {
				colleagues(&given)(cfg)
				cfg.Times.ConsultRing, cfg.Times.AgentBack = 2*time.Second, time.Second
			})
			ctx := testCtx(t)
			news := h.agentFrames(7)
			phone, a := h.bridgedCall(ctx, voicetest.Invite{})
			go phone.RTP.Play(ctx, tone(callerTone))
			go a.Play(ctx, tone(agentTone))
			h.must(ctx, channels.CallSignal{Type: "consult", CallID: 1, AgentID: 7, Target: &channels.CallTarget{Kind: "agent", AgentID: 9}})
			hearsMusic(t, ctx, "caller", phoneEar(t, ctx, phone))
			var b *voicetest.Browser
			if c.connect {
				b = h.connect(ctx, 1, 9)
				frame(t, ctx, news, "talking", func(n callNews) bool { return n.Third != nil && n.Third.State == "talking" })
			}
			c.fail(h, ctx, b)
			if c.reason != "" {
				frame(t, ctx, news, c.reason, func(n callNews) bool {
					return n.Third != nil && n.Third.State == c.state && n.Third.Reason == c.reason && n.TalkingTo == toCaller
				})
			}
			hearsOnly(t, ctx, "caller", phoneEar(t, ctx, phone), agentTone)
			hearsOnly(t, ctx, "agent", tabEar(ctx, a), callerTone)
			until(t, ctx, "the colleague is free again", func() bool { return given.Load() == 9 })
		})
	}
}

// TestHiddenListening: where it is set so, the agent learns of a supervisor only when they speak.
func TestHiddenListening(t *testing.T) {
	t.Parallel()
	var given atomic.Int64
	h := newHouse(t, func(cfg *Config) {
		colleagues(&given)(cfg)
		cfg.Pool, cfg.HideListening = dbtest.Pool(t), true
	})
	ctx := testCtx(t)
	h.bridgedCall(ctx, voicetest.Invite{})
	frames := h.agentFrames(7)
	s := voicetest.NewBrowser(t)
	s.Accept(h.must(ctx, channels.CallSignal{Type: "supervise", CallID: 1, AgentID: 3, Mode: listen, SDP: s.Offer(ctx)}).SDP)
	waitChan(t, ctx, s.Up, "supervisor connected")
	h.must(ctx, channels.CallSignal{Type: "supervise", CallID: 1, AgentID: 3, Mode: whisper})
	if n := frame(t, ctx, frames, "somebody is there", func(n callNews) bool { return n.Supervisor != "" }); n.Supervisor != whisper {
		t.Errorf("the agent is told %+v", n)
	}
	h.must(ctx, channels.CallSignal{Type: "unsupervise", CallID: 1, AgentID: 3})
	until(t, ctx, "the supervisor is free again", func() bool { return given.Load() == 3 })
}

// TestSupervisor: listens, whispers to the agent, barges in, leaves.
func TestSupervisor(t *testing.T) {
	t.Parallel()
	var given atomic.Int64
	h := newHouse(t, func(cfg *Config) {
		colleagues(&given)(cfg)
		cfg.Pool = dbtest.Pool(t)
	})
	ctx := testCtx(t)
	c, a := h.bridgedCall(ctx, voicetest.Invite{})
	go c.RTP.Play(ctx, tone(callerTone))
	go a.Play(ctx, tone(agentTone))
	caller, agent := phoneEar(t, ctx, c), tabEar(ctx, a)

	frames := h.agentFrames(7)
	s := voicetest.NewBrowser(t)
	reply := h.must(ctx, channels.CallSignal{Type: "supervise", CallID: 1, AgentID: 3, Mode: listen, SDP: s.Offer(ctx)})
	s.Accept(reply.SDP)
	waitChan(t, ctx, s.Up, "supervisor connected")
	go s.Play(ctx, tone(supervisorTone))
	if n := frame(t, ctx, frames, "listening is shown", func(n callNews) bool { return n.Supervisor != "" }); n.Supervisor != listen {
		t.Errorf("the agent is told %+v", n)
	}
	supervisor := tabEar(ctx, s)
	hearsOnly(t, ctx, "supervisor", supervisor, callerTone, agentTone)
	hearsOnly(t, ctx, "caller", caller, agentTone)
	hearsOnly(t, ctx, "agent", agent, callerTone)
	for _, bad := range []channels.CallSignal{
		{Type: "supervise", CallID: 1, AgentID: 4, Mode: listen, SDP: "v=0"},
		{Type: "supervise", CallID: 1, AgentID: 4, Mode: listen},
		{Type: "supervise", CallID: 1, AgentID: 3, Mode: "shout"},
		{Type: "supervise", CallID: 1, AgentID: 7, Mode: listen},
	} {
		if r, err := h.command(ctx, bad); err != nil || r.Error == nil {
			t.Errorf("%+v: %+v, %v; want a refusal", bad, r, err)
		}
	}
	mode := func(m string) { h.must(ctx, channels.CallSignal{Type: "supervise", CallID: 1, AgentID: 3, Mode: m}) }
	mode(whisper)
	hearsOnly(t, ctx, "agent, whispered to", agent, callerTone, supervisorTone)
	hearsOnly(t, ctx, "caller of the whisper", caller, agentTone)
	mode(barge)
	hearsOnly(t, ctx, "caller, barged in", caller, agentTone, supervisorTone)
	h.must(ctx, channels.CallSignal{Type: "unsupervise", CallID: 1, AgentID: 3})
	hearsOnly(t, ctx, "caller again", caller, agentTone)
	hearsOnly(t, ctx, "agent again", agent, callerTone)
	until(t, ctx, "the supervisor is free again", func() bool { return given.Load() == 3 })
}
