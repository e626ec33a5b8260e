package voice

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// outside is a telephone house with trunks in a real database, and a row for each call that is dialled.
type outside struct {
	*house
	calls int64
}

func newOutside(t testing.TB, ctx context.Context, trunks ...channels.Trunk) *outside {
	t.Helper()
	return newOutsideAt(t, ctx, "127.0.0.1:0", trunks...)
}

// newOutsideAt is newOutside at a known address.
func newOutsideAt(t testing.TB, ctx context.Context, listen string, trunks ...channels.Trunk) *outside {
	t.Helper()
	db := dbtest.Pool(t)
	if _, err := db.Exec(ctx, `insert into nodes (id, name) values ('test', 'test');
		insert into queues (name) values ('Service'); insert into agents (login, name) values ('ana', 'Ana'), ('bo', 'Bo');
		insert into contacts (name) values ('Ole'); insert into conversations (contact_id, queue_id, channel) values (1, 1, 'voice')`); err != nil {
		t.Fatal(err)
	}
	for i := range trunks {
		x := channels.NewTrunk()
		given := trunks[i]
		x.Name, x.Servers, x.Priority = given.Name, given.Servers, max(given.Priority, 1)
		x.NumberFormat, x.MoneyPerMinute = orElse(given.NumberFormat, x.NumberFormat), given.MoneyPerMinute
		x.DialOut, x.CountryCode, x.CallerNumber, x.OptionsSeconds = true, "49", "+4930100", 0
		if err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return channels.SaveTrunk(ctx, tx, &x) }); err != nil {
			t.Fatal(err)
		}
	}
	o := &outside{house: newHouse(t, func(cfg *Config) { cfg.Pool, cfg.Listen = db, listen })}
	until(t, ctx, "trunks read", func() bool {
		routes, err := o.voice.trunks.Routes("112", "", "") // goes by every trunk
		return err == nil && len(routes) == len(trunks)
	})
	return o
}

// first is the trunk that is tried first, as it is run now.
func (o *outside) first() channels.Trunk {
	routes, err := o.voice.trunks.Routes("112", "", "")
	if err != nil {
		o.t.Fatal(err)
	}
	return routes[0].Trunk.Trunk
}

// ask has agent 1 call a number, as the switchboard does.
func (o *outside) ask(ctx context.Context, number string) (call int64, refused *channels.Error) {
	o.t.Helper()
	if err := o.voice.cfg.Pool.QueryRow(ctx, `insert into calls (conversation_id, direction, from_address, to_address, node_id, state, dialled_by)
		values (1, 'out', '', $1, 'test', 'dialling', 1) returning id`, number).Scan(&call); err != nil {
		o.t.Fatal(err)
	}
	var reply channels.CallReply
	err := o.bus.Request(ctx, channels.VoiceSubject("test"), channels.VoiceRequest{Type: "dial", AgentID: 1, ConversationID: 1, CallID: call, Number: number}, &reply)
	if err != nil {
		o.t.Fatal(err)
	}
	return call, reply.Error
}

func (o *outside) ended(ctx context.Context, call int64) channels.Inbound {
	o.t.Helper()
	in := o.expect(ctx, channels.CallEndedIn)
	if in.CallID != call {
		o.t.Errorf("ended: %+v, want call %d", in, call)
	}
	return in
}

// answering is a carrier that answers each INVITE with the next of the codes (0: with silence), and says which it got.
func answering(t testing.TB, codes ...int) (at string, invites <-chan *sip.Request) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	got := make(chan *sip.Request, 16)
	go func() {
		buf, seen := make([]byte, 9000), map[string]int{}
		for {
			n, src, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			msg, err := sip.NewParser().ParseSIP(append([]byte{}, buf[:n]...))
			req, ok := msg.(*sip.Request)
			if err != nil || !ok || req.Method == sip.ACK {
				continue
			}
			code := 200
			if req.Method == sip.INVITE {
				branch, _ := req.Via().Params.Get("branch")
				if _, again := seen[branch]; !again {
					seen[branch] = codes[min(len(seen), len(codes)-1)]
					got <- req
				}
				code = seen[branch]
			}
			if code == 0 {
				continue // says nothing
			}
			res := sip.NewResponseFromRequest(req, code, "As Told", nil)
			if code == 302 {
				res.AppendHeader(sip.NewHeader("Contact", "<sip:+4940999@"+conn.LocalAddr().String()+">"))
			}
			_, _ = conn.WriteToUDPAddrPort([]byte(res.String()), src)
		}
	}()
	return conn.LocalAddr().String(), got
}

// TestDialOut: an agent calls a real telephone over the second trunk, as the first is out of order; they hear each other,
// and what it cost is stored.
func TestDialOut(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	words := voicetest.Speech(81, 35*time.Second, voicetest.Rate)
	phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", Says: words, AutoAnswer: true})
	broken, invites := answering(t, 503)
	o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{broken}, Priority: 1, NumberFormat: "plain", CallerHeader: "pai"},
		channels.Trunk{Name: "two", Servers: []string{phone.Addr().String()}, Priority: 2, NumberFormat: "plain", MoneyPerMinute: 0.5})
	frames := o.agentFrames(1)
	call, refused := o.ask(ctx, "+4940222")
	if refused != nil {
		t.Fatal(refused)
	}
	frame(t, ctx, frames, "dialling", func(n callNews) bool { return n.State == "dialling" && n.Direction == "out" && n.Role == "agent" })
	b := o.connect(ctx, call, 1)
	req := waitChan(t, ctx, invites, "INVITE to the first trunk")
	if pai := req.GetHeader("P-Asserted-Identity"); req.Recipient.User != "4940222" || pai == nil || !strings.Contains(pai.Value(), "4930100") {
		t.Errorf("INVITE:\n%s", req)
	}
	frame(t, ctx, frames, "bridged", func(n callNews) bool { return n.State == "bridged" && n.From == "+4940222" })
	agentWords, ulaw := speech(82)
	go b.Play(ctx, ulaw)
	voicetest.Check(t, "agent hears", b.Hear(ctx, 9*time.Second), words, agentWords)
	if n := frame(t, ctx, frames, "how the customer is heard", func(n callNews) bool { return n.Quality != nil }); n.Quality.MOS < 3.8 || n.Quality.Lost > 1 {
		t.Errorf("quality: %+v", *n.Quality)
	}
	o.must(ctx, channels.CallSignal{Type: "hangup", CallID: call, AgentID: 1})
	if in := o.ended(ctx, call); in.Result != completed {
		t.Errorf("ended: %+v", in)
	}
	phone.Close()
	heard := phone.Heard()
	voicetest.Check(t, "phone hears", heard[max(0, len(heard)-9*voicetest.Rate):], agentWords, words)
	until(t, ctx, "the cost is stored", func() bool {
		var money float64
		var trunk string
		err := o.voice.cfg.Pool.QueryRow(ctx, `select money::float8, t.name from calls c join trunks t on t.id = c.trunk_id where c.id = $1`, call).Scan(&money, &trunk)
		return err == nil && money == 0.5 && trunk == "two"
	})
}

// TestDialOutFails: each refusal reaches the agent in words, and a number that refuses is not tried again elsewhere.
func TestDialOutFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		codes  []int
		reason string
		second int // INVITEs at the second trunk
	}{
		{"busy", []int{486}, "busy", 0},
		{"declined", []int{603}, "declined", 0},
		{"no such number", []int{404}, "this number does not exist", 0},
		{"out of order everywhere", []int{503}, "the trunk is out of order", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := testCtx(t)
			first, _ := answering(t, c.codes...)
			second, tried := answering(t, c.codes...)
			o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{first}, Priority: 1}, channels.Trunk{Name: "two", Servers: []string{second}, Priority: 2})
			call, refused := o.ask(ctx, "+4940333")
			if refused != nil {
				t.Fatal(refused)
			}
			b := voicetest.NewBrowser(t)
			b.Accept(o.must(ctx, channels.CallSignal{Type: "connect", CallID: call, AgentID: 1, SDP: b.Offer(ctx)}).SDP) // the refusal may be faster than its sound
			if in := o.ended(ctx, call); in.Reason != c.reason || in.Result != failed {
				t.Errorf("ended: %+v, want %q", in, c.reason)
			}
			if len(tried) != c.second {
				t.Errorf("%d INVITEs at the second trunk, want %d", len(tried), c.second)
			}
		})
	}
}

// TestDialPolicy: what the policy forbids is refused before anything rings, in words.
func TestDialPolicy(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	at, invites := answering(t, 486)
	o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{at}})
	for number, code := range map[string]channels.Code{"+12125550100": channels.Forbidden, "+49900123456": channels.Forbidden} {
		if _, refused := o.ask(ctx, number); refused == nil || refused.Code != code {
			t.Errorf("%s: %+v, want %s", number, refused, code)
		}
	}
	if len(invites) != 0 {
		t.Error("a forbidden number was called")
	}
	var reply channels.CallReply
	if err := o.bus.Request(ctx, channels.VoiceSubject("test"), channels.VoiceRequest{Type: "trunk_test", TrunkID: 1}, &reply); err != nil || reply.Trunk == nil || !reply.Trunk.Healthy {
		t.Errorf("trunk test: %+v, %v", reply, err)
	}
	if err := o.bus.Request(ctx, channels.VoiceSubject("test"), channels.VoiceRequest{Type: "trunk_test", TrunkID: 2}, &reply); err != nil || reply.Error == nil {
		t.Errorf("test of no trunk: %+v, %v", reply, err)
	}
}

// TestTransferOut: the caller is passed on to an outside telephone without talking first; the two hear each other and the
// agent is done. When nobody answers there, the caller is back with the agent, or, if that one has gone, in line.
func TestTransferOut(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	words := voicetest.Speech(91, 35*time.Second, voicetest.Rate)
	phone := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", Says: words, AutoAnswer: true})
	o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{phone.Addr().String()}, NumberFormat: "plain"})
	c, _ := o.bridgedCall(ctx, voicetest.Invite{})
	callerWords, ulaw := speech(92)
	go c.RTP.Play(ctx, ulaw)
	o.must(ctx, channels.CallSignal{Type: "transfer", CallID: 1, AgentID: 7, Target: &channels.CallTarget{Kind: "number", Number: "+4940222"}})
	if in := o.expect(ctx, channels.HandedOut); in.To != "+4940222" {
		t.Errorf("handed out: %+v", in)
	}
	voicetest.Check(t, "caller hears", hear(t, ctx, c.RTP, 9*time.Second), words, callerWords)
	phone.Hangup(ctx)
	waitChan(t, ctx, c.Ended(), "BYE to the caller")
	phone.Close()
	heard := phone.Heard()
	voicetest.Check(t, "phone hears", heard[max(0, len(heard)-9*voicetest.Rate):], callerWords, words)
}

func TestTransferOutFails(t *testing.T) {
	t.Parallel()
	ctx := testCtx(t)
	at, invites := answering(t, 486, 0, 0)
	o := newOutside(t, ctx, channels.Trunk{Name: "one", Servers: []string{at}})
	o.voice.times.OutsideRing = 2 * time.Second
	news := o.agentFrames(7)
	c, a := o.bridgedCall(ctx, voicetest.Invite{})
	go c.RTP.Play(ctx, tone(callerTone))
	go a.Play(ctx, tone(agentTone))
	pass := channels.CallSignal{Type: "transfer", CallID: 1, AgentID: 7, Target: &channels.CallTarget{Kind: "number", Number: "+4940222"}}
	o.must(ctx, pass)
	frame(t, ctx, news, "busy", func(n callNews) bool { return n.Third != nil && n.Third.Reason == "busy" && n.TalkingTo == toCaller })
	hearsOnly(t, ctx, "caller", phoneEar(t, ctx, c), agentTone)

	// the agent does not wait: the caller hears ringing, then words, and is in line
	<-invites
	o.must(ctx, pass)
	waitChan(t, ctx, invites, "second INVITE")
	o.must(ctx, channels.CallSignal{Type: "hangup", CallID: 1, AgentID: 7})
	o.expect(ctx, channels.HandedOut)
	if in := o.expect(ctx, channels.PassFailed); in.AgentID != 7 {
		t.Errorf("pass failed: %+v", in)
	}
	hearsMusic(t, ctx, "caller in line", phoneEar(t, ctx, c))
	o.join(ctx, 1, 9)
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
}
