package voicetest

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddr("127.0.0.1")

func testCtx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// recorder is a testing.TB that keeps its errors, to see a check fail.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(f string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(f, args...))
}

// TestEars: the checks take the right sound and refuse the wrong one.
func TestEars(t *testing.T) {
	const d = 12 * time.Second
	right, wrong := Speech(1, d, Rate), Speech(2, d, Rate)
	line := FromULaw(ULaw(right))
	late := append(make([]int16, 3*160), line...)
	drifting := append(append(append([]int16(nil), line[:6*Rate]...), make([]int16, 3*160)...), line[6*Rate:]...)
	mixed := make([]int16, len(line))
	for i := range mixed {
		mixed[i] = line[i]/2 + wrong[i]/2
	}
	holes := append([]int16(nil), line...) // one frame in four is lost
	for i := 0; i+160 <= len(holes); i += 4 * 160 {
		clear(holes[i : i+160])
	}
	for name, c := range map[string]struct {
		heard      []int16
		ok, played bool // by Check, and by CheckPlayed
	}{
		"the line": {line, true, true}, "late by 3 frames": {late, true, true}, "the beginning lost": {line[2*Rate:], true, true},
		"somebody else": {wrong, false, false}, "silence": {make([]int16, len(line)), false, false}, "both": {mixed, false, false},
		"a delay that grows": {drifting, false, true}, "with holes": {holes, false, false},
		"too short": {line[:Rate], false, false}, "nothing": {nil, false, false},
	} {
		strict, lenient := &recorder{TB: t}, &recorder{TB: t}
		Check(strict, name, c.heard, right, wrong)
		CheckPlayed(lenient, name, c.heard, right, wrong)
		if (len(strict.errors) == 0) != c.ok || (len(lenient.errors) == 0) != c.played {
			t.Errorf("%s: %v; played: %v", name, strict.errors, lenient.errors)
		}
	}
	if score, lag := Score(Envelope(right, Rate), Envelope(late, Rate)); score < 0.99 || lag != 3 {
		t.Errorf("score %v, lag %d", score, lag)
	}
	// The same speaker at another rate has the same envelope.
	if score, _ := Score(Envelope(right, Rate), Envelope(Speech(1, d, 48000), 48000)); score < 0.95 {
		t.Errorf("at 48 kHz: %v", score)
	}
	r := &recorder{TB: t}
	CheckSilent(r, "quiet", make([]int16, Rate))
	if len(r.errors) != 0 {
		t.Error(r.errors)
	}
	if CheckSilent(r, "loud", line); len(r.errors) != 1 {
		t.Error("sound is not silence")
	}
}

func TestTone(t *testing.T) {
	s := Sine(440, time.Second, Rate)
	if hit, miss := Tone(s, Rate, 440), Tone(s, Rate, 480); hit < 0.9 || miss > 0.05 {
		t.Errorf("440 Hz %v, 480 Hz %v", hit, miss)
	}
	if v := Tone(make([]int16, 800), Rate, 440); v != 0 {
		t.Errorf("silence %v", v)
	}
}

// echo is sipp's answering side, which sends the sound back.
func echo(ctx context.Context, t *testing.T, calls int) netip.AddrPort {
	t.Helper()
	Need(t, "sipp")
	at := netip.AddrPortFrom(loopback, freePort(t))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan SIPpResult, 1)
	go func() {
		ended <- RunSIPp(ctx, t, SIPpConfig{Builtin: "uas", Args: []string{"-p", fmt.Sprint(at.Port()), "-rtp_echo", "-m", fmt.Sprint(calls)}, Timeout: 30 * time.Second})
	}()
	t.Cleanup(func() {
		cancel()
		if r := <-ended; r.Code > 0 && r.Code != 99 {
			t.Errorf("sipp: %d\n%s", r.Code, r.Output)
		}
	})
	return at
}

// call dials until sipp is there: it says nothing when it is ready.
func call(ctx context.Context, t *testing.T, p *Phone, at netip.AddrPort) *Call {
	t.Helper()
	for {
		try, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		c := p.Invite(at, "100", Invite{})
		res, err := c.Answer(try)
		cancel()
		if err == nil {
			if res.StatusCode != 200 {
				t.Fatalf("%d %s", res.StatusCode, res.Reason)
			}
			return c
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// TestPhone calls sipp, speaks, hears itself, and hangs up.
func TestPhone(t *testing.T) {
	ctx := testCtx(t)
	at := echo(ctx, t, 1)
	p := NewPhone(t, "alice", loopback)
	c := call(ctx, t, p, at)
	said, other := Speech(1, 9*time.Second, Rate), Speech(2, 9*time.Second, Rate)
	c.RTP.Play(ctx, ULaw(said))
	Check(t, "echo", FromULaw(c.RTP.Heard()), said, other)
	c.RTP.Press(ctx, '5')
	select {
	case k := <-c.RTP.Keys():
		if k != '5' {
			t.Errorf("key %q", k)
		}
	case <-ctx.Done():
		t.Error("no key")
	}
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
}

// TestPhoneCalled: what a server asks within a call is answered, and BYE ends it.
func TestPhoneCalled(t *testing.T) {
	ctx := testCtx(t)
	p, server := NewPhone(t, "alice", loopback), NewPhone(t, "server", loopback)
	c := p.Invite(server.Addr(), "100", Invite{})
	invite := parse(t, ctx, server)
	if _, _, ev, ok := parseSDP(string(invite.Body())); !ok || ev != 101 {
		t.Errorf("offer:\n%s", invite.Body())
	}
	reply := func(code int) {
		res := sip.NewResponseFromRequest(invite, code, "x", nil)
		res.To().Params.Add("tag", "srv")
		res.AppendHeader(sip.NewHeader("Contact", "<sip:here@"+server.Addr().String()+">"))
		server.SendRaw(p.Addr(), []byte(res.String()))
	}
	reply(180)
	if res, err := c.Next(ctx); err != nil || res.StatusCode != 180 {
		t.Fatal(err)
	}
	c.Cancel()
	if m := parse(t, ctx, server); m.Method != sip.CANCEL || m.Via().Params.GetOr("branch", "") != invite.Via().Params.GetOr("branch", "") ||
		m.Recipient.String() != invite.Recipient.String() {
		t.Errorf("CANCEL:\n%s", m)
	}
	reply(200) // it crossed
	if _, err := c.Answer(ctx); err != nil {
		t.Fatal(err)
	}
	ack := parse(t, ctx, server)
	if ack.Method != sip.ACK || ack.CSeq().SeqNo != invite.CSeq().SeqNo || ack.Recipient.User != "here" {
		t.Errorf("ACK:\n%s", ack)
	}
	reply(200) // lost ACK: it is repeated
	if again := parse(t, ctx, server); again.String() != ack.String() {
		t.Errorf("second ACK:\n%s", again)
	}
	bye := strings.NewReplacer("ACK", "BYE", fmt.Sprintf("CSeq: %d", ack.CSeq().SeqNo), "CSeq: 77").Replace(ack.String())
	server.SendRaw(p.Addr(), []byte(bye))
	<-c.Ended()
	if s := <-server.Strays(); !strings.HasPrefix(s, "SIP/2.0 200") {
		t.Errorf("answer to BYE:\n%s", s)
	}
}

func parse(t *testing.T, ctx context.Context, p *Phone) *sip.Request {
	t.Helper()
	select {
	case s := <-p.Strays():
		m, err := sip.ParseMessage([]byte(s))
		if err != nil {
			t.Fatalf("%v\n%s", err, s)
		}
		r, ok := m.(*sip.Request)
		if !ok {
			t.Fatalf("not a request:\n%s", s)
		}
		r.SetSource(p.Addr().String())
		return r
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	return nil
}

// TestBaresip drives a real phone against sipp's echo.
func TestBaresip(t *testing.T) {
	ctx := testCtx(t)
	said, other := Speech(1, 20*time.Second, Rate), Speech(2, 20*time.Second, Rate)
	b := StartBaresip(t, BaresipConfig{Says: said})
	at := echo(ctx, t, 2)
	probe := call(ctx, t, NewPhone(t, "probe", loopback), at)
	if err := probe.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	b.Dial(ctx, "sip:100@"+at.String())
	timer := time.NewTimer(10 * time.Second) // it has to speak for this long
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	b.Press(ctx, "5")
	b.Hangup(ctx)
	b.Close()
	Check(t, "baresip", b.Heard(), said, other)
}
