package voice

import (
	"context"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// caller is a customer at the trunk, in line.
func (d *desks) caller(ctx context.Context) *voicetest.Call {
	d.t.Helper()
	c := voicetest.NewPhone(d.t, "+4930111", outsideAddr).Dial(ctx, d.voice.Addr(), number, voicetest.Invite{From: "+4930111"})
	d.expect(ctx, channels.CallStarted)
	waitChan(d.t, ctx, c.RTP.HeardSome(), "greeting")
	c.RTP.Press(ctx, '0')
	d.expect(ctx, channels.Wish)
	return c
}

// offers tells the telephone what the router tells.
func (d *desks) offers(offer, conversation, agent int64, outcome string) {
	d.t.Helper()
	if err := d.bus.Publish(channels.OfferSubject, channels.OfferNews{OfferID: offer, ConversationID: conversation, AgentID: agent, Outcome: outcome}); err != nil {
		d.t.Fatal(err)
	}
}

// accepts is a switchboard that takes an offer which was answered on a telephone, and joins the agent.
func (d *desks) accepts() {
	d.script(func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
		if in.Type == channels.OfferTaken {
			d.offers(in.OfferID, in.ConversationID, in.AgentID, channels.OfferAccepted)
			d.must(ctx, channels.CallSignal{Type: "join", CallID: in.CallID, AgentID: in.AgentID})
		}
		return d.agree(in)
	})
}

// TestAnswerOnTelephone: an offer rings on a real telephone; who answers there has accepted, both hear each other, the
// telephone's hold is the caller's music, and its hanging up ends the call.
func TestAnswerOnTelephone(t *testing.T) {
	t.Parallel()
	d := newDesks(t, nil)
	d.agent(7, "ana", "md5")
	ctx := testCtx(t)
	agentWords, callerWords := voicetest.Speech(91, 35*time.Second, voicetest.Rate), voicetest.Speech(92, 35*time.Second, voicetest.Rate)
	phone := d.baresip("ana", "", agentWords)
	d.accepts()
	frames := d.agentFrames(7)
	c := d.caller(ctx)
	d.offers(5, 1001, 7, "")
	phone.Wait(ctx, "CALL_INCOMING")
	phone.Command(ctx, "accept", "")
	if in := d.expect(ctx, channels.OfferTaken); in.OfferID != 5 || in.AgentID != 7 {
		t.Errorf("taken: %+v", in)
	}
	if n := frame(t, ctx, frames, "bridged", func(n callNews) bool { return n.State == channels.CallBridged }); !n.Device || n.Role != "agent" {
		t.Errorf("the desk is told %+v", n)
	}
	go c.RTP.Play(ctx, voicetest.ULaw(callerWords))
	voicetest.Check(t, "caller hears", hear(t, ctx, c.RTP, 11*time.Second), agentWords, callerWords)

	phone.Command(ctx, "hold", "")
	frame(t, ctx, frames, "hold", func(n callNews) bool { return n.Held })
	hearsMusic(t, ctx, "caller on hold", phoneEar(t, ctx, c))
	phone.Command(ctx, "resume", "")
	frame(t, ctx, frames, "no hold", func(n callNews) bool { return !n.Held })
	phone.Hangup(ctx)
	waitChan(t, ctx, c.Ended(), "BYE to the caller")
	if in := d.expect(ctx, channels.CallEndedIn); in.Result != completed || in.Reason != "agent hung up" {
		t.Errorf("ended: %+v", in)
	}
	phone.Close()
	voicetest.Check(t, "telephone hears", phone.Heard(), callerWords, agentWords)
}

// TestTelephoneDeclines: declining on the telephone is declining the offer; an offer that ends otherwise stops the ringing.
func TestTelephoneDeclines(t *testing.T) {
	t.Parallel()
	d := newDesks(t, nil)
	d.agent(7, "ana", "md5")
	ctx := testCtx(t)
	phone := d.baresip("ana", "", nil)
	d.accepts()
	d.caller(ctx)
	d.offers(5, 1001, 7, "")
	phone.Wait(ctx, "CALL_INCOMING")
	d.offers(5, 1001, 7, "withdrawn")
	phone.Wait(ctx, "CALL_CLOSED")
	d.offers(6, 1001, 7, "")
	phone.Wait(ctx, "CALL_INCOMING")
	phone.Hangup(ctx)
	if in := d.expect(ctx, channels.OfferDeclined); in.OfferID != 6 || in.AgentID != 7 {
		t.Errorf("declined: %+v", in)
	}
}

// TestAcceptedByClick: the telephone rings on, or begins to; the sound is the telephone's. When it does not answer, the
// browser gets it, with words.
func TestAcceptedByClick(t *testing.T) {
	t.Parallel()
	d := newDesks(t, func(cfg *Config) { cfg.Times.ConsultRing = 2 * time.Second })
	d.agent(7, "ana", "md5")
	ctx := testCtx(t)
	frames := d.agentFrames(7)
	d.caller(ctx)
	d.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	if n := frame(t, ctx, frames, "connecting", func(n callNews) bool { return n.State == channels.CallConnecting }); n.Device || n.Reason != wordsNotRegistered {
		t.Errorf("without a telephone: %+v", n)
	}
	d.must(ctx, channels.CallSignal{Type: "release", CallID: 1})

	phone := d.baresip("ana", "", nil)
	d.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	frame(t, ctx, frames, "the telephone rings", func(n callNews) bool { return n.State == channels.CallConnecting && n.Device })
	phone.Wait(ctx, "CALL_INCOMING")
	if n := frame(t, ctx, frames, "it rings in vain", func(n callNews) bool { return !n.Device && n.State == channels.CallConnecting }); n.Reason != wordsNotReached {
		t.Errorf("a telephone that nobody answers: %+v", n)
	}
	b := d.connect(ctx, 1, 7)
	frame(t, ctx, frames, "bridged in the browser", func(n callNews) bool { return n.State == channels.CallBridged && !n.Device })
	d.must(ctx, channels.CallSignal{Type: "release", CallID: 1})
	b.Close()

	d.offers(5, 1001, 7, "")
	phone.Wait(ctx, "CALL_INCOMING")
	d.offers(5, 1001, 7, channels.OfferAccepted)
	d.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
	frame(t, ctx, frames, "it rings on", func(n callNews) bool { return n.State == channels.CallConnecting && n.Device })
	phone.Command(ctx, "accept", "")
	frame(t, ctx, frames, "bridged on the telephone", func(n callNews) bool { return n.State == channels.CallBridged && n.Device })
	d.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	phone.Wait(ctx, "CALL_CLOSED")
}
