package voice

import (
	"context"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// twoLines is an agent whose real telephone has a customer on its first line, on hold, and a colleague's telephone or an
// outside number on the second.
type twoLines struct {
	*desks
	ana      *voicetest.PJSUA
	customer *voicetest.Call
	frames   <-chan string
	given    chan int64 // colleagues given back
}

func newTwoLines(t *testing.T, ctx context.Context) *twoLines {
	t.Helper()
	o := &twoLines{given: make(chan int64, 10)}
	o.desks = newDesks(t, func(cfg *Config) {
		cfg.Borrow = func(context.Context, int64, int64, channels.CallTarget) (int64, string, error) {
			return 9, "Bo Lind", nil
		}
		cfg.GiveBack = func(_ context.Context, _, agent int64) error { o.given <- agent; return nil }
	})
	o.agent(7, "ana", "md5")
	o.agent(9, "bo", "md5")
	o.ana = voicetest.StartPJSUA(t, voicetest.PJSUAConfig{User: "ana", Password: o.passwords["ana"], Registrar: o.voice.Addr(), Says: hum(agentTone)})
	o.frames = o.agentFrames(7)
	o.customer = o.caller(ctx)
	o.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	o.ana.Do("answer", o.ana.Incoming(ctx), nil)
	frame(t, ctx, o.frames, "bridged", func(n callNews) bool { return n.State == channels.CallBridged && n.Device })
	o.ana.Do("hold", 1, nil)
	frame(t, ctx, o.frames, "held", func(n callNews) bool { return n.Held })
	return o
}

func hum(hz float64) []int16 { return voicetest.Sine(hz, 35*time.Second, voicetest.Rate) }

func baresipEar(ctx context.Context, b *voicetest.Baresip) ear {
	return func() []int16 { return b.Listen(ctx, 200*time.Millisecond) }
}

// dial is the second line's call; it returns when it rings there.
func (o *twoLines) dial(ctx context.Context, whom string) {
	o.t.Helper()
	o.ana.Do("dial", 0, map[string]any{"to": "sip:" + whom + "@" + o.voice.Addr().String()})
	frame(o.t, ctx, o.frames, "rings", func(n callNews) bool { return n.Third != nil && n.Third.State == "ringing" && n.TalkingTo == toThird })
}

// refer is the telephone's transfer button: the REFER goes out on one line and names the other. It returns when it is known
// to have worked and the telephone's two calls are over.
func (o *twoLines) refer(ctx context.Context, on, other int) {
	o.t.Helper()
	o.ana.Do("replace", on, map[string]any{"other": other})
	told, over := 0, 0
	for told == 0 || over < 2 {
		e := o.ana.Wait(ctx, func(e voicetest.PJSUAEvent) bool {
			return e.Event == "transfer" || e.Event == "state" && e.State == "DISCONNECTED"
		})
		if e.Event == "state" {
			over++
		} else if e.Final {
			told = e.Code
		}
	}
	if told != 200 {
		o.t.Errorf("the telephone is told %d, want 200", told)
	}
}

// TestAttendedTransferByTelephone: the agent asks a colleague on the second line of a real telephone and joins customer and
// colleague by its own button; with the REFER in either of its calls. All hear whom they should, before and after.
func TestAttendedTransferByTelephone(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][2]int{"refer in the first": {1, 2}, "refer in the second": {2, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testCtx(t)
			o := newTwoLines(t, ctx)
			bo := o.baresip("bo", "", hum(colleagueTone))
			go o.customer.RTP.Play(ctx, tone(callerTone))
			hearsMusic(t, ctx, "customer on hold", phoneEar(t, ctx, o.customer))
			o.dial(ctx, "bo")
			bo.Wait(ctx, "CALL_INCOMING")
			bo.Command(ctx, "accept", "")
			o.ana.State(ctx, 2, "CONFIRMED")
			frame(t, ctx, o.frames, "talks to the colleague", func(n callNews) bool { return n.Third != nil && n.Third.State == "talking" })
			boEar := baresipEar(ctx, bo)
			hearsOnly(t, ctx, "colleague", boEar, agentTone)
			o.refer(ctx, lines[0], lines[1])
			if in := o.expect(ctx, channels.HandedOn); in.AgentID != 9 || in.CallID != 1 {
				t.Errorf("handed on: %+v", in)
			}
			hearsOnly(t, ctx, "colleague", boEar, callerTone)
			hearsOnly(t, ctx, "customer", phoneEar(t, ctx, o.customer), colleagueTone)
			bo.Hangup(ctx)
			waitChan(t, ctx, o.customer.Ended(), "BYE to the customer")
			if in := o.expect(ctx, channels.CallEndedIn); in.Result != completed {
				t.Errorf("ended: %+v", in)
			}
		})
	}
}

// TestSecondLineOut: the second line goes to an outside number, under the dial policy; the telephone swaps, makes a
// conference, takes back, and passes the customer on before the number has answered.
func TestSecondLineOut(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	o := newTwoLines(t, ctx)
	outsider := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", Says: hum(colleagueTone)})
	o.carrier(ctx, outsider.Addr().String())
	o.sql(t, `insert into calls (id, conversation_id, direction, from_address, to_address, node_id, state) overriding system value values (1, 1, 'in', '', '', 'test', 'bridged')`)
	go o.customer.RTP.Play(ctx, tone(callerTone))
	outside := baresipEar(ctx, outsider)
	customer := phoneEar(t, ctx, o.customer)

	o.ana.Do("dial", 0, map[string]any{"to": "sip:004420700000@" + o.voice.Addr().String()})
	if e := o.ana.State(ctx, 2, "DISCONNECTED"); e.Code != 403 || !strings.Contains(e.Reason, "abroad") {
		t.Errorf("a number that is not allowed: %+v", e)
	}
	o.dial(ctx, "+4940222")
	o.ana.State(ctx, 3, "EARLY")
	o.ana.Do("hangup", 3, nil) // taken back while it rings
	outsider.Wait(ctx, "CALL_CLOSED")
	frame(t, ctx, o.frames, "alone with the customer, who is on hold", func(n callNews) bool { return n.Third == nil && n.Held })

	o.dial(ctx, "+4940222")
	outsider.Wait(ctx, "CALL_INCOMING")
	outsider.Command(ctx, "accept", "")
	o.ana.State(ctx, 4, "CONFIRMED")
	hearsOnly(t, ctx, "number", outside, agentTone)
	o.ana.Do("hold", 4, nil)
	o.ana.Do("resume", 1, nil)
	frame(t, ctx, o.frames, "swapped", func(n callNews) bool { return n.Third != nil && n.Third.State == "held" && n.TalkingTo == toCaller })
	hearsOnly(t, ctx, "customer", customer, agentTone)
	o.ana.Do("resume", 4, nil)
	frame(t, ctx, o.frames, "conference", func(n callNews) bool { return n.TalkingTo == toBoth })
	hearsOnly(t, ctx, "customer", customer, agentTone, colleagueTone)
	hearsOnly(t, ctx, "number", outside, callerTone, agentTone)
	o.ana.Do("hold", 1, nil)
	frame(t, ctx, o.frames, "alone with the number", func(n callNews) bool { return n.TalkingTo == toThird })
	outsider.Hangup(ctx)
	if e := o.ana.State(ctx, 4, "DISCONNECTED"); e.Code != 200 {
		t.Errorf("the number hung up: %+v", e)
	}
	o.ana.Do("resume", 1, nil)
	frame(t, ctx, o.frames, "with the customer", func(n callNews) bool { return n.Third == nil && !n.Held && n.State == channels.CallBridged })
	hearsOnly(t, ctx, "customer", customer, agentTone)

	o.ana.Do("hold", 1, nil)
	frame(t, ctx, o.frames, "held", func(n callNews) bool { return n.Held })
	o.dial(ctx, "+4940222")
	outsider.Wait(ctx, "CALL_INCOMING")
	o.ana.State(ctx, 5, "EARLY")
	o.ana.Do("replace", 1, map[string]any{"other": 5}) // before it was answered
	o.ana.Wait(ctx, func(e voicetest.PJSUAEvent) bool { return e.Event == "transfer" })
	outsider.Command(ctx, "accept", "")
	if in := o.expect(ctx, channels.HandedOut); in.To != "+4940222" {
		t.Errorf("handed out: %+v", in)
	}
	o.ana.State(ctx, 1, "DISCONNECTED")
	hearsOnly(t, ctx, "number", outside, callerTone)
	hearsOnly(t, ctx, "customer", customer, colleagueTone)
	outsider.Hangup(ctx)
	waitChan(t, ctx, o.customer.Ended(), "BYE to the customer")
}

// TestTransferRefused: what a telephone may not join stays as it was.
func TestTransferRefused(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	o := newTwoLines(t, ctx)
	bo := o.baresip("bo", "", nil)
	o.dial(ctx, "bo")
	bo.Wait(ctx, "CALL_INCOMING")
	o.ana.State(ctx, 2, "EARLY")
	o.ana.Do("replace", 1, map[string]any{"other": 2}) // the colleague has not answered
	o.ana.Wait(ctx, func(e voicetest.PJSUAEvent) bool { return e.Event == "transfer" && e.Code == 603 })
	bo.Hangup(ctx)
	if e := o.ana.State(ctx, 2, "DISCONNECTED"); e.Code != 603 {
		t.Errorf("the colleague declined: %+v", e)
	}
	if agent := waitChan(t, ctx, o.given, "colleague given back"); agent != 9 {
		t.Errorf("given back %d", agent)
	}
	o.ana.Do("resume", 1, nil)
	frame(t, ctx, o.frames, "with the customer", func(n callNews) bool { return n.State == channels.CallBridged && !n.Held && n.Third == nil })
	hearsOnly(t, ctx, "customer", phoneEar(t, ctx, o.customer), agentTone)

	o.ana.Do("hold", 1, nil)
	frame(t, ctx, o.frames, "held", func(n callNews) bool { return n.Held })
	o.dial(ctx, "bo")
	o.ana.Do("hangup", 1, nil) // the customer's line: that was the call
	waitChan(t, ctx, o.customer.Ended(), "BYE to the customer")
	o.ana.State(ctx, 3, "DISCONNECTED")
	bo.Wait(ctx, "CALL_CLOSED")
	select {
	case <-o.given:
	case <-time.After(5 * time.Second):
		t.Error("the colleague was not given back")
	}
}
