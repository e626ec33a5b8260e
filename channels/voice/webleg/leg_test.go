package webleg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
)

// webRoom is a stack on loopback with a running pacer, checked for leaks when everything is closed.
func webRoom(t *testing.T, change ...func(*Config)) *Stack {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	pacer, ended := media.NewPacer(), make(chan error, 1)
	go func() { ended <- pacer.Run(ctx) }()
	cfg := Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Pacer: pacer, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg)
	}
	w, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		<-ended
	})
	return w
}

// TestMain demands that every goroutine has ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func nextEvent(t *testing.T, ctx context.Context, l *Leg, want Event) {
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

// telephone is one with its leg, on a pacer.
func telephone(t *testing.T, pacer *media.Pacer) (*voicetest.RTP, *media.UDPLeg) {
	t.Helper()
	ports := media.NewPorts(netip.MustParseAddr("127.0.0.1"), 0, 0)
	t.Cleanup(func() { _ = ports.Close() })
	phone := voicetest.NewRTP(t, netip.MustParseAddr("127.0.0.1"))
	leg, err := media.NewUDPLeg(media.Config{
		Ports: ports, Pacer: pacer, Remote: media.Remote{Addr: phone.Addr(), Format: media.Format{Events: 101}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leg.Close() })
	leg.SDPSent()
	phone.SetRemote(leg.LocalAddr(), media.TypePCMU, 101)
	return phone, leg
}

// bridge joins two legs as a call of two does.
func bridge(a, b *media.Leg) {
	a.Swap(b.Out())
	b.Swap(a.Out())
}

// TestBrowserBridge joins a phone and a browser: each must hear the other, and keys must pass both ways.
func TestBrowserBridge(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	phone, leg := telephone(t, w.pacer)

	b := voicetest.NewBrowser(t)
	offer := b.Offer(ctx)
	began := time.Now()
	agent, sdp, err := w.Answer(ctx, offer, media.PCMU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() })
	if !strings.Contains(sdp, "a=ice-lite") || !strings.Contains(sdp, fmt.Sprintf("127.0.0.1 %d typ host", w.Addr().Port())) {
		t.Errorf("answer without ice-lite or our candidate:\n%s", sdp)
	}
	b.Accept(sdp)
	nextEvent(t, ctx, agent, Connected)
	waitChan(t, ctx, b.Up, "the browser's connection")
	t.Logf("connected in %v", time.Since(began))
	bridge(leg.Leg, agent.Leg)

	const length = 10 * time.Second
	caller, clerk, nobody := voicetest.Speech(1, length, 8000), voicetest.Speech(2, length, 8000), voicetest.Speech(3, length, 8000)
	var speaking sync.WaitGroup
	speaking.Go(func() { phone.Play(ctx, voicetest.ULaw(caller)) })
	speaking.Go(func() { b.Play(ctx, voicetest.ULaw(clerk)) })
	speaking.Wait()
	phone.Press(ctx, '7')
	if err := agent.SendDTMF('9', 60*time.Millisecond); err != nil {
		t.Error(err)
	}
	voicetest.Check(t, "agent", b.Hears(), caller, clerk, nobody)
	voicetest.Check(t, "caller", voicetest.FromULaw(phone.Heard()), clerk, caller, nobody)
	if s := agent.Stats(); s.Lost != 0 || s.PacketsIn < 490 || s.PacketsOut < 490 {
		t.Errorf("browser leg: %+v", s)
	}
	if s := leg.Stats(); s.Lost != 0 || s.PacketsIn < 490 || s.PacketsOut < 490 {
		t.Errorf("phone leg: %+v", s)
	}
	for _, want := range []byte{'7', '9'} {
		if got := waitChan(t, ctx, b.Keys, "a key in the browser"); got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}

	// The browser is reloaded: no goodbye but the DTLS alert.
	b.Close()
	nextEvent(t, ctx, agent, Failed)
	if err := agent.Close(); err != nil {
		t.Error(err)
	}
	for e := range agent.events {
		if e != Closed {
			t.Errorf("event %q", e)
		}
	}
}

// TestBrowserKeys: a key pressed in the browser is passed on as one.
func TestBrowserKeys(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	b := voicetest.NewBrowser(t)
	agent, sdp, err := w.Answer(ctx, b.Offer(ctx), media.PCMU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() })
	forwarded := make(chan bool, 8)
	agent.Swap(media.SinkFunc(func(p *media.Packet) { forwarded <- p.Event }))
	b.Accept(sdp)
	nextEvent(t, ctx, agent, Connected)
	waitChan(t, ctx, b.Up, "the browser's connection")
	b.Press(4)
	if !waitChan(t, ctx, forwarded, "event packet") {
		t.Error("the event must be passed on as one")
	}
}

// TestBrowserChangesNetwork: an ICE restart on the same connection is answered.
func TestBrowserChangesNetwork(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	b := voicetest.NewBrowser(t)
	agent, sdp, err := w.Answer(ctx, b.Offer(ctx), media.PCMU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() })
	b.Accept(sdp)
	nextEvent(t, ctx, agent, Connected)
	heard := make(chan struct{}, 100)
	agent.Swap(media.SinkFunc(func(*media.Packet) {
		select {
		case heard <- struct{}{}:
		default:
		}
	}))
	again, err := agent.Restart(ctx, b.Restart(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if ufrag(again) == ufrag(sdp) {
		t.Error("the answer to an ICE restart must have new credentials")
	}
	b.Accept(again)
	var speaking sync.WaitGroup
	talk, quiet := context.WithCancel(ctx)
	speaking.Go(func() { b.Play(talk, make([]byte, 20*8000)) })
	waitChan(t, ctx, heard, "sound after the restart")
	quiet()
	speaking.Wait()
}

func waitChan[T any](t testing.TB, ctx context.Context, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-ctx.Done():
		t.Fatalf("%s: %v", what, ctx.Err())
	}
	return v
}

// until looks at something that nobody announces.
func until(t testing.TB, ctx context.Context, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		}
	}
}

func ufrag(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

// TestCodecs: a browser that would rather have Opus speaks as its other side does, and is heard.
func TestCodecs(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	said, nobody := voicetest.Speech(1, 9*time.Second, 8000), voicetest.Speech(3, 9*time.Second, 8000)
	for like, want := range map[media.Codec]struct {
		codec  media.Codec
		events uint8
	}{media.PCMU: {media.PCMU, 126}, media.PCMA: {media.PCMA, 126}, media.G722: {media.G722, 126}, media.Opus: {media.Opus, 110}} {
		if want.codec == media.Opus && !media.HasOpus() {
			t.Log("SKIPPED: Opus; libopus0 is not installed")
			continue
		}
		b := voicetest.NewBrowserWith(t, voicetest.BrowserConfig{Wide: true})
		leg, sdp, err := w.Answer(ctx, b.Offer(ctx), like)
		if err != nil {
			t.Fatal(err)
		}
		b.Accept(sdp)
		nextEvent(t, ctx, leg, Connected)
		waitChan(t, ctx, b.Up, "the browser's connection")
		until(t, ctx, "its format", func() bool { return leg.Format().Events != 0 })
		if f := leg.Format(); f.Codec != want.codec || f.Events != want.events {
			t.Errorf("%v: %+v", like, f)
		}
		if like != media.PCMA { // the test's browser speaks µ-law then
			leg.Swap(leg.Out())
			b.Play(ctx, voicetest.ULaw(said))
			voicetest.Check(t, like.Name(), b.Hears(), said, nobody)
			if s := leg.Stats(); s.Lost != 0 || s.Foreign != 0 || s.PacketsIn < 400 {
				t.Errorf("%v: %+v", like, s)
			}
			if s := leg.Slices(); len(s) < 2 || s[0].MOS < 4 || s[0].Lost != 0 {
				t.Errorf("%v: %+v", like, s)
			}
		}
		b.Close()
		if err := leg.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLegsApart: the end of one leg costs another none of its packets.
func TestLegsApart(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	other := voicetest.NewBrowser(t).Offer(ctx)
	conn, err := w.mux.GetConn("another leg", w.conn.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var sending sync.WaitGroup
	for range 4 {
		sending.Go(func() {
			for {
				if _, err := conn.WriteTo(make([]byte, 172), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
					t.Error(err)
					return
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for range 100 {
		leg, _, err := w.Answer(ctx, other, media.PCMU)
		if err != nil {
			t.Fatal(err)
		}
		if err := leg.Close(); err != nil {
			t.Error(err)
		}
	}
	close(over)
	sending.Wait()
}

func TestBrowserOffersRefused(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	good := voicetest.NewBrowser(t).Offer(ctx)
	for name, c := range map[string]struct {
		sdp  string
		want error
	}{
		"nothing":    {"", ErrNoSound},
		"no SDP":     {"hello", ErrNoSound},
		"too long":   {good + strings.Repeat("a=x\r\n", 20000), ErrTooLong},
		"no audio":   {good[:strings.Index(good, "m=audio")], ErrNoSound},
		"no G.711":   {strings.NewReplacer(" 0 8 126", " 111 126", ":0 PCMU/8000", ":111 opus/48000/2").Replace(good), ErrNoSound},
		"not WebRTC": {voicetest.Offer(netip.MustParseAddrPort("127.0.0.1:9"), 1, "sendrecv"), ErrOffer},
		"no network": {strings.ReplaceAll(good, "a=ice-ufrag", "a=x"), ErrOffer},
	} {
		leg, _, err := w.Answer(ctx, c.sdp, media.PCMU)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if leg != nil {
			_ = leg.Close()
		}
	}
}

func TestBrowserSeesExternalAddress(t *testing.T) {
	w, ctx := webRoom(t, func(c *Config) { c.ExternalIP = netip.MustParseAddr("203.0.113.7") }), testCtx(t)
	leg, sdp, err := w.Answer(ctx, voicetest.NewBrowser(t).Offer(ctx), media.PCMU)
	if err != nil {
		t.Fatal(err)
	}
	defer leg.Close()
	if !strings.Contains(sdp, fmt.Sprintf("203.0.113.7 %d typ host", w.Addr().Port())) || strings.Contains(sdp, " 127.0.0.1 ") {
		t.Errorf("answer:\n%s", sdp)
	}
}
