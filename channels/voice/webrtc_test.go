package voice

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
)

// webRoom is a webRTC on loopback with a running pacer, checked for leaks when everything is closed.
func webRoom(t *testing.T, external netip.Addr) *webRTC {
	t.Helper()
	before := goleak.IgnoreCurrent() // a second round finds the first one's database
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	ctx, cancel := context.WithCancel(context.Background())
	pacer, ended := media.NewPacer(), make(chan error, 1)
	go func() { ended <- pacer.Run(ctx) }()
	w, err := newWebRTC(webRTCConfig{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), ExternalIP: external, Pacer: pacer, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
		cancel()
		<-ended
	})
	return w
}

func webCtx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func nextEvent(t *testing.T, ctx context.Context, l *browserLeg, want legEvent) {
	t.Helper()
	select {
	case e := <-l.events:
		if e != want {
			t.Fatalf("event %q, want %q", e, want)
		}
	case <-ctx.Done():
		t.Fatalf("no %q", want)
	}
}

// TestBrowserBridge joins a phone and a browser: each must hear the other, and keys must pass both ways.
func TestBrowserBridge(t *testing.T) {
	w, ctx := webRoom(t, netip.Addr{}), webCtx(t)
	ports := media.NewPorts(netip.MustParseAddr("127.0.0.1"), 0, 0)
	t.Cleanup(func() { _ = ports.Close() })
	phone := voicetest.NewRTP(t, netip.MustParseAddr("127.0.0.1"))
	leg, err := media.NewUDPLeg(media.Config{
		Ports: ports, Pacer: w.pacer, Remote: media.Remote{Addr: phone.Addr(), Format: media.Format{Events: 101}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leg.Close() })
	leg.SDPSent()
	phone.SetRemote(leg.LocalAddr(), media.TypePCMU, 101)

	b := newTab(t)
	offer := b.offer(ctx)
	began := time.Now()
	agent, sdp, err := w.newLeg(ctx, offer, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.close() })
	if !strings.Contains(sdp, "a=ice-lite") || !strings.Contains(sdp, fmt.Sprintf("127.0.0.1 %d typ host", w.addr().Port())) {
		t.Errorf("answer without ice-lite or our candidate:\n%s", sdp)
	}
	b.accept(sdp)
	nextEvent(t, ctx, agent, legConnected)
	waitChan(t, ctx, b.up, "the browser's connection")
	t.Logf("connected in %v", time.Since(began))
	media.Bridge(leg.Leg, agent.Leg)

	const length = 10 * time.Second
	caller, clerk, nobody := voicetest.Speech(1, length, 8000), voicetest.Speech(2, length, 8000), voicetest.Speech(3, length, 8000)
	var speaking sync.WaitGroup
	speaking.Go(func() { phone.Play(ctx, voicetest.ULaw(caller)) })
	speaking.Go(func() { b.play(ctx, voicetest.ULaw(clerk)) })
	speaking.Wait()
	phone.Press(ctx, '7')
	if err := agent.SendDTMF('9', 60*time.Millisecond); err != nil {
		t.Error(err)
	}
	voicetest.Check(t, "agent", b.hears(), caller, clerk, nobody)
	voicetest.Check(t, "caller", voicetest.FromULaw(phone.Heard()), clerk, caller, nobody)
	if s := agent.Stats(); s.Lost != 0 || s.PacketsIn < 490 || s.PacketsOut < 490 {
		t.Errorf("browser leg: %+v", s)
	}
	if s := leg.Stats(); s.Lost != 0 || s.PacketsIn < 490 || s.PacketsOut < 490 {
		t.Errorf("phone leg: %+v", s)
	}
	for _, want := range []byte{'7', '9'} {
		if got := waitChan(t, ctx, b.keys, "a key in the browser"); got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}

	// The browser is reloaded: no goodbye but the DTLS alert.
	b.close()
	nextEvent(t, ctx, agent, legFailed)
	if err := agent.close(); err != nil {
		t.Error(err)
	}
	for e := range agent.events {
		if e != legClosed {
			t.Errorf("event %q", e)
		}
	}
}

// TestBrowserKeys: a key pressed in the browser reaches OnDTMF and the phone.
func TestBrowserKeys(t *testing.T) {
	w, ctx := webRoom(t, netip.Addr{}), webCtx(t)
	b := newTab(t)
	keypad, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mimeEvent, ClockRate: media.Rate}, "mic", "tab")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.pc.GetSenders()[0].ReplaceTrack(keypad); err != nil {
		t.Fatal(err)
	}
	digits := make(chan byte, 8)
	agent, sdp, err := w.newLeg(ctx, b.offer(ctx), func(d byte) { digits <- d })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.close() })
	forwarded := make(chan bool, 8)
	agent.Swap(media.SinkFunc(func(p *media.Packet) { forwarded <- p.Event }))
	b.accept(sdp)
	nextEvent(t, ctx, agent, legConnected)
	waitChan(t, ctx, b.up, "the browser's connection")
	for i, payload := range [][]byte{{4, 10, 0, 160}, {4, 0x8a, 1, 64}} {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Marker: i == 0}, Payload: payload}
		if err := keypad.WriteRTP(p); err != nil {
			t.Fatal(err)
		}
	}
	if d := waitChan(t, ctx, digits, "digit"); d != '4' {
		t.Errorf("digit %q", d)
	}
	if !waitChan(t, ctx, forwarded, "event packet") {
		t.Error("the event must be passed on as one")
	}
}

// TestBrowserChangesNetwork: an ICE restart on the same connection is answered.
func TestBrowserChangesNetwork(t *testing.T) {
	w, ctx := webRoom(t, netip.Addr{}), webCtx(t)
	b := newTab(t)
	agent, sdp, err := w.newLeg(ctx, b.offer(ctx), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.close() })
	b.accept(sdp)
	nextEvent(t, ctx, agent, legConnected)
	heard := make(chan struct{}, 100)
	agent.Swap(media.SinkFunc(func(*media.Packet) {
		select {
		case heard <- struct{}{}:
		default:
		}
	}))
	again, err := agent.answer(ctx, b.restart(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if ufrag(again) == ufrag(sdp) {
		t.Error("the answer to an ICE restart must have new credentials")
	}
	b.accept(again)
	var speaking sync.WaitGroup
	talk, quiet := context.WithCancel(ctx)
	speaking.Go(func() { b.play(talk, make([]byte, 20*8000)) })
	waitChan(t, ctx, heard, "sound after the restart")
	quiet()
	speaking.Wait()
}

// TestRestartInACall: the agent's tab changes its network in mid-call; the call goes on with the same leg, and nobody
// else may move it.
func TestRestartInACall(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c, b := h.bridgedCall(ctx, voicetest.Invite{})
	offer := b.restart(ctx)
	for name, sig := range map[string]channels.CallSignal{
		"a stranger":      {AgentID: 8, SDP: offer},
		"nobody":          {SDP: offer},
		"another tab":     {AgentID: 7, SDP: offer, Tab: "other"},
		"without a offer": {AgentID: 7},
	} {
		sig.Type, sig.CallID = "restart", 1
		if reply, err := h.command(ctx, sig); err != nil || reply.Error == nil {
			t.Errorf("%s: %+v %v", name, reply, err)
		}
	}
	b.accept(h.must(ctx, channels.CallSignal{Type: "restart", CallID: 1, AgentID: 7, SDP: offer}).SDP)
	caller, agent, nobody := voicetest.Speech(1, 10*time.Second, 8000), voicetest.Speech(2, 10*time.Second, 8000), voicetest.Speech(3, 10*time.Second, 8000)
	c.RTP.Forget()
	b.forget()
	var speaking sync.WaitGroup
	speaking.Go(func() { c.RTP.Play(ctx, voicetest.ULaw(caller)) })
	speaking.Go(func() { b.play(ctx, voicetest.ULaw(agent)) })
	speaking.Wait()
	voicetest.Check(t, "the agent after the restart", b.hears(), caller, agent, nobody)
	voicetest.Check(t, "the caller after the restart", voicetest.FromULaw(c.RTP.Heard()), agent, caller, nobody)
}

func ufrag(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

func TestBrowserOffersRefused(t *testing.T) {
	w, ctx := webRoom(t, netip.Addr{}), webCtx(t)
	good := newTab(t).offer(ctx)
	for name, c := range map[string]struct {
		sdp  string
		code channels.Code
	}{
		"nothing":    {"", channels.Invalid},
		"no SDP":     {"hello", channels.Invalid},
		"too long":   {good + strings.Repeat("a=x\r\n", 20000), channels.TooLarge},
		"no audio":   {good[:strings.Index(good, "m=audio")], channels.Invalid},
		"no G.711":   {strings.NewReplacer(" 0 8 126", " 111 126", ":0 PCMU/8000", ":111 opus/48000/2").Replace(good), channels.Invalid},
		"not WebRTC": {voicetest.Offer(netip.MustParseAddrPort("127.0.0.1:9"), 1, "sendrecv"), channels.Invalid},
		"no network": {strings.ReplaceAll(good, "a=ice-ufrag", "a=x"), channels.Invalid},
	} {
		leg, _, err := w.newLeg(ctx, c.sdp, nil)
		if channels.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if leg != nil {
			_ = leg.close()
		}
	}
}

func TestBrowserSeesExternalAddress(t *testing.T) {
	w, ctx := webRoom(t, netip.MustParseAddr("203.0.113.7")), webCtx(t)
	leg, sdp, err := w.newLeg(ctx, newTab(t).offer(ctx), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer leg.close()
	if !strings.Contains(sdp, fmt.Sprintf("203.0.113.7 %d typ host", w.addr().Port())) || strings.Contains(sdp, " 127.0.0.1 ") {
		t.Errorf("answer:\n%s", sdp)
	}
}
