package voice

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
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

// carrier opens a trunk that leads to a telephone of the outside, and a switchboard that dials as agents ask.
func (d *desks) carrier(ctx context.Context, at string) {
	d.t.Helper()
	d.sql(d.t, `insert into queues (name) values ('Service')`)
	d.sql(d.t, `insert into contacts (name) values ('Ole')`)
	d.sql(d.t, `insert into conversations (contact_id, queue_id, channel) values (1, 1, 'voice')`)
	x := channels.NewTrunk()
	x.Name, x.Servers, x.Priority, x.NumberFormat = "one", []string{at}, 1, "plain"
	x.DialOut, x.CountryCode, x.CallerNumber, x.OptionsSeconds = true, "49", "+4930100", 0
	if err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error { return channels.SaveTrunk(ctx, tx, &x) }); err != nil {
		d.t.Fatal(err)
	}
	if err := d.bus.Publish(channels.TrunkSubject, nil); err != nil {
		d.t.Fatal(err)
	}
	until(d.t, ctx, "the trunk", func() bool { _, err := d.voice.trunks.Routes("+4940222", "", ""); return err == nil })
	d.script(func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
		if in.Type != channels.DialOut {
			return d.agree(in)
		}
		d.inbound <- in
		return channels.Receipt{}, d.call(ctx, in.AgentID, in.To)
	})
}

// call has the agent call a number, as the switchboard does.
func (d *desks) call(ctx context.Context, agent int64, number string) error {
	var call int64
	if err := d.pool.QueryRow(ctx, `insert into calls (conversation_id, direction, from_address, to_address, node_id, state, dialled_by)
		values (1, 'out', '', $1, 'test', 'dialling', $2) returning id`, number, agent).Scan(&call); err != nil {
		return err
	}
	var reply channels.CallReply
	if err := d.bus.Request(ctx, channels.VoiceSubject("test"), channels.VoiceRequest{Type: "dial", AgentID: agent, ConversationID: 1, CallID: call, Number: number}, &reply); err != nil {
		return err
	}
	if reply.Error != nil {
		return reply.Error
	}
	return nil
}

// TestCallFromTelephone: what an agent dials there goes out over the trunk under the dial policy, which refuses in words.
func TestCallFromTelephone(t *testing.T) {
	t.Parallel()
	d := newDesks(t, nil)
	d.agent(7, "ana", "md5")
	ctx := testCtx(t)
	agentWords, customerWords := voicetest.Speech(93, 35*time.Second, voicetest.Rate), voicetest.Speech(94, 35*time.Second, voicetest.Rate)
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", Says: customerWords})
	d.carrier(ctx, customer.Addr().String())
	phone := d.baresip("ana", "", agentWords)
	at := "@" + d.voice.Addr().String()

	for number, words := range map[string]string{"004420700000": "Calls abroad are not allowed over one.", "bo": "A Telephone Number Was Expected",
		"*44": "The Echo Test Is *43"} {
		phone.Command(ctx, "dial", "sip:"+number+at)
		if e := phone.Wait(ctx, "CALL_CLOSED"); !strings.Contains(e.Param, words) {
			t.Errorf("%s: %q, want %q", number, e.Param, words)
		}
		if strings.HasPrefix(number, "00") {
			d.expect(ctx, channels.DialOut)
			d.sql(t, `update calls set state = 'ended'`)
		}
	}
	phone.Dial(ctx, "sip:*43"+at)
	phone.Hangup(ctx)
	frames := d.agentFrames(7)
	phone.Command(ctx, "dial", "sip:+4940222"+at)
	if in := d.expect(ctx, channels.DialOut); in.AgentID != 7 || in.To != "+4940222" {
		t.Errorf("dialled: %+v", in)
	}
	customer.Wait(ctx, "CALL_INCOMING")
	frame(t, ctx, frames, "ringing", func(n callNews) bool { return n.State == channels.CallRinging && n.Device })
	phone.Wait(ctx, "CALL_PROGRESS") // the ringing tone is ours
	customer.Command(ctx, "accept", "")
	frame(t, ctx, frames, "bridged", func(n callNews) bool {
		return n.State == channels.CallBridged && n.Device && n.Direction == channels.CallOut
	})
	phone.Wait(ctx, "CALL_ESTABLISHED")
	waitChan(t, ctx, time.After(10*time.Second), "talk") // what both telephones have recorded is the proof
	phone.Hangup(ctx)
	customer.Wait(ctx, "CALL_CLOSED")
	d.expect(ctx, channels.CallEndedIn)
	phone.Close()
	customer.Close()
	voicetest.Check(t, "the agent's telephone hears", phone.Heard(), customerWords, agentWords)
	voicetest.Check(t, "the customer hears", customer.Heard(), agentWords, customerWords)
}

// TestCallRingsTheTelephoneFirst: who calls out from the desk and has a telephone is rung there, then the number.
func TestCallRingsTheTelephoneFirst(t *testing.T) {
	t.Parallel()
	d := newDesks(t, nil)
	d.agent(8, "bo", "md5")
	ctx := testCtx(t)
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", AutoAnswer: true})
	d.carrier(ctx, customer.Addr().String())
	phone := d.baresip("bo", "", nil)
	frames := d.agentFrames(8)
	if err := d.call(ctx, 8, "+4940222"); err != nil {
		t.Fatal(err)
	}
	phone.Wait(ctx, "CALL_INCOMING")
	frame(t, ctx, frames, "dialling by telephone", func(n callNews) bool { return n.State == channels.CallDialling && n.Device })
	phone.Command(ctx, "accept", "")
	frame(t, ctx, frames, "bridged", func(n callNews) bool { return n.State == channels.CallBridged })
	customer.Hangup(ctx)
	phone.Wait(ctx, "CALL_CLOSED")
	d.expect(ctx, channels.CallEndedIn)

	if err := d.call(ctx, 8, "+4940222"); err != nil {
		t.Fatal(err)
	}
	phone.Wait(ctx, "CALL_INCOMING")
	phone.Hangup(ctx)
	if in := d.expect(ctx, channels.CallEndedIn); in.Reason != "declined on your telephone" {
		t.Errorf("declined: %+v", in)
	}
}

// TestTelephonePassesOn: the telephone's own transfer is the agent's: to a colleague by their telephone's name, to a number
// under the dial policy, or refused.
func TestTelephonePassesOn(t *testing.T) {
	t.Parallel()
	d := newDesks(t, nil)
	d.agent(7, "ana", "md5")
	d.agent(9, "bo", "md5")
	ctx := testCtx(t)
	outsider := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", AutoAnswer: true})
	d.carrier(ctx, outsider.Addr().String())
	phone := d.baresip("ana", "", nil)
	frames := d.agentFrames(7)
	c := d.caller(ctx)
	answered := func() {
		t.Helper()
		d.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
		phone.Wait(ctx, "CALL_INCOMING")
		phone.Command(ctx, "accept", "")
		frame(t, ctx, frames, "bridged", func(n callNews) bool { return n.State == channels.CallBridged })
	}
	answered()
	at := "@" + d.voice.Addr().String()
	phone.Command(ctx, "transfer", "sip:004420700000"+at)
	frame(t, ctx, frames, "refused", func(n callNews) bool {
		return strings.HasPrefix(n.Reason, "Calls abroad") && n.State == channels.CallBridged
	})
	phone.Wait(ctx, "CALL_INCOMING") // it has hung up by itself; its agent still has the caller
	phone.Command(ctx, "accept", "")
	frame(t, ctx, frames, "back", func(n callNews) bool { return n.State == channels.CallBridged && n.Device })
	phone.Command(ctx, "transfer", "sip:bo"+at)
	if in := d.expect(ctx, channels.PassOn); in.AgentID != 7 || in.CallID != 1 || in.Target == nil || in.Target.AgentID != 9 || in.Target.Kind != channels.TargetAgent {
		t.Errorf("passed on: %+v", in)
	}
	d.must(ctx, channels.CallSignal{Type: "release", CallID: 1}) // the switchboard's part
	phone.Wait(ctx, "CALL_CLOSED")
	answered()
	d.sql(t, `insert into calls (id, conversation_id, direction, from_address, to_address, node_id, state) overriding system value values (1, 1, 'in', '', '', 'test', 'bridged')`)
	phone.Command(ctx, "transfer", "sip:+4940222"+at)
	d.expect(ctx, channels.HandedOut)
	phone.Wait(ctx, "CALL_CLOSED")
	outsider.Hangup(ctx)
	waitChan(t, ctx, c.Ended(), "BYE to the caller")
}

// TestKeysFromTelephone: what an agent presses on a real telephone reaches the customer once, whether it says so by events
// or by INFO, and whether the customer's telephone takes events or not.
func TestKeysFromTelephone(t *testing.T) {
	t.Parallel()
	d := newDesks(t, nil)
	d.agent(7, "ana", "md5")
	ctx := testCtx(t)
	ana := voicetest.StartPJSUA(t, voicetest.PJSUAConfig{User: "ana", Password: d.passwords["ana"], Registrar: d.voice.Addr()})
	bridge := func(c *voicetest.Call) (line int) {
		t.Helper()
		frames := d.agentFrames(7)
		d.must(ctx, channels.CallSignal{Type: "join", CallID: d.lastCall, AgentID: 7})
		line = ana.Incoming(ctx)
		ana.Do("answer", line, nil)
		frame(t, ctx, frames, "bridged", func(n callNews) bool { return n.State == channels.CallBridged && n.Device })
		go c.RTP.Play(ctx, tone(callerTone))
		hearsOnly(t, ctx, "customer", phoneEar(t, ctx, c)) // the agent's silence: both are latched
		return line
	}
	press := func(line int, heard func() byte) (all string) { // one after the other, as a finger does
		for _, k := range [][2]string{{"keys", "5"}, {"info", "8"}, {"keys", "#"}} {
			ana.Do(k[0], line, map[string]any{"keys": k[1]})
			all += string(heard())
		}
		return all
	}

	c := d.caller(ctx)
	got := press(bridge(c), func() byte { return waitChan(t, ctx, c.RTP.Keys(), "key") })
	d.must(ctx, channels.CallSignal{Type: "dtmf", CallID: d.lastCall, AgentID: 7, Digit: "9"}) // from the desk, behind the others
	if last := waitChan(t, ctx, c.RTP.Keys(), "key from the desk"); last != '9' || got != "58#" {
		t.Errorf("keys heard: %q and then %q", got, last)
	}
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	d.expect(ctx, channels.CallEndedIn)

	rtp := voicetest.NewRTP(t, outsideAddr)
	plain := strings.NewReplacer("0 8 101", "0 8", "a=rtpmap:101 telephone-event/8000\r\n", "", "a=fmtp:101 0-16\r\n", "").Replace(voicetest.Offer(rtp.Addr(), 1, "sendrecv"))
	c = voicetest.NewPhone(t, "+4930111", outsideAddr).Dial(ctx, d.voice.Addr(), number, voicetest.Invite{From: "+4930111", RTP: rtp, SDP: plain})
	d.expect(ctx, channels.CallStarted)
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	if code, err := c.Info(ctx, '0'); code != 200 {
		t.Fatal(code, err)
	}
	d.expect(ctx, channels.Wish)
	got = press(bridge(c), func() byte {
		for {
			if req := waitChan(t, ctx, c.Requests(), "key by INFO"); req.Method == sip.INFO {
				digit, _, _ := strings.Cut(strings.TrimPrefix(string(req.Body()), "Signal="), "\r")
				return digit[0]
			}
		}
	})
	if got != "58#" {
		t.Errorf("keys by INFO: %q", got)
	}
}

// TestDeadTelephone: one that dies in a call without a word is noticed soon, also while it is on hold; one that only says
// nothing is not. The customer hears music, then words, and is in line again.
func TestDeadTelephone(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]bool{"in the talk": false, "on hold": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesks(t, func(cfg *Config) { cfg.Times.PhoneQuiet, cfg.Times.AgentBack = 500*time.Millisecond, time.Second })
			d.agent(7, "ana", "md5")
			ctx := testCtx(t)
			ana := voicetest.StartPJSUA(t, voicetest.PJSUAConfig{User: "ana", Password: d.passwords["ana"], Registrar: d.voice.Addr(), Says: hum(agentTone)})
			frames := d.agentFrames(7)
			c := d.caller(ctx)
			go c.RTP.Play(ctx, tone(callerTone))
			d.must(ctx, channels.CallSignal{Type: "join", CallID: 1, AgentID: 7})
			ana.Do("answer", ana.Incoming(ctx), nil)
			frame(t, ctx, frames, "bridged", func(n callNews) bool { return n.State == channels.CallBridged && n.Device })
			hearsOnly(t, ctx, "customer", phoneEar(t, ctx, c), agentTone)
			ana.Do("hold", 1, nil)
			frame(t, ctx, frames, "held", func(n callNews) bool { return n.Held })
			waitChan(t, ctx, time.After(3*time.Second), "no packet for longer than the limit, and answers")
			if !held {
				ana.Do("resume", 1, nil)
				frame(t, ctx, frames, "no hold", func(n callNews) bool { return !n.Held && n.State == channels.CallBridged })
				hearsOnly(t, ctx, "customer", phoneEar(t, ctx, c), agentTone)
			}
			ana.Kill()
			frame(t, ctx, frames, "lost", func(n callNews) bool { return n.Reason == wordsPhoneLost && n.State == channels.CallConnecting })
			hearsMusic(t, ctx, "customer", phoneEar(t, ctx, c))
			d.expect(ctx, channels.AgentLost)
			d.moved(ctx, channels.CallWaiting)
			hearsMusic(t, ctx, "customer in line", phoneEar(t, ctx, c)) // the words first
		})
	}
}

// TestConsultRingsTheTelephone: whom an agent consults is rung on their telephone too, registered by TCP; from there they
// get the caller.
func TestConsultRingsTheTelephone(t *testing.T) {
	t.Parallel()
	d := newDesks(t, func(cfg *Config) {
		cfg.ListenAlso = []edge.Listen{{Transport: "tcp", Addr: "127.0.0.1:0"}}
		cfg.Borrow = func(context.Context, int64, int64, channels.CallTarget) (int64, string, error) {
			return 9, "Bo Lind", nil
		}
		cfg.GiveBack = func(context.Context, int64, int64) error { return nil }
	})
	d.agent(9, "bo", "md5")
	ctx := testCtx(t)
	words := voicetest.Speech(95, 35*time.Second, voicetest.Rate)
	phone := d.baresip("bo", ";transport=tcp", words)
	if rows := d.registered(); rows[0].Transport != "tcp" {
		t.Errorf("registered %+v", rows)
	}
	c := d.caller(ctx)
	d.join(ctx, 1, 7)
	frames := d.agentFrames(9)
	consult := func() {
		t.Helper()
		d.must(ctx, channels.CallSignal{Type: "consult", CallID: 1, AgentID: 7, Target: &channels.CallTarget{Kind: channels.TargetAgent, AgentID: 9}})
		phone.Wait(ctx, "CALL_INCOMING")
	}
	consult()
	d.must(ctx, channels.CallSignal{Type: "cancel", CallID: 1, AgentID: 7})
	phone.Wait(ctx, "CALL_CLOSED")
	consult()
	phone.Command(ctx, "accept", "")
	frame(t, ctx, frames, "consulted", func(n callNews) bool { return n.Role == "consulted" && n.State == channels.CallBridged && n.Device })
	d.must(ctx, channels.CallSignal{Type: "complete", CallID: 1, AgentID: 7})
	d.expect(ctx, channels.HandedOn)
	voicetest.Check(t, "the caller hears the colleague", hear(t, ctx, c.RTP, 9*time.Second), words)
	phone.Hangup(ctx)
	waitChan(t, ctx, c.Ended(), "BYE to the caller")
}
