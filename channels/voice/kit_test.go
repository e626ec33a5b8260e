package voice

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

const number = "100"

// TestMain demands that every goroutine of every test has ended.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // they wait for sound, they do not compute
		panic(err)
	}
	dbtest.Main(m)
}

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// house is everything round the telephone: a bus, and a switchboard that writes down what it receives.
type house struct {
	t     testing.TB
	voice *Voice
	bus   *bus.Bus
	stop  func()

	mu       sync.Mutex
	receive  channels.Receive // what it answers; nil = agree
	inbound  chan channels.Inbound
	lastCall int64
}

func newHouse(t testing.TB, change func(*Config)) *house {
	t.Helper()
	level := slog.LevelError
	if os.Getenv("VOICE_DEBUG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	b, err := bus.Open(context.Background(), "", log)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, bus: b, inbound: make(chan channels.Inbound, 1024)}
	cfg := Config{Listen: "127.0.0.1:0", Numbers: []string{number}, Trunks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Receive: h.take, Bus: b, NodeID: "test", Log: log,
		Times: Times{T1: 100 * time.Millisecond, Retry: 20 * time.Millisecond, ShutdownGrace: 2 * time.Second}}
	if change != nil {
		change(&cfg)
	}
	if h.voice, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.voice.Run(ctx) }()
	var once sync.Once
	h.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ran; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		h.stop()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if n := h.voice.Panics(); n != 0 {
			t.Errorf("%d panics", n)
		}
		if n := h.voice.Calls(); n != 0 {
			t.Errorf("%d calls left", n)
		}
	})
	return h
}

// take is the switchboard.
func (h *house) take(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
	h.mu.Lock()
	receive := h.receive
	h.mu.Unlock()
	if receive != nil {
		return receive(ctx, in)
	}
	return h.agree(in)
}

func (h *house) agree(in channels.Inbound) (channels.Receipt, error) {
	r := channels.Receipt{ConversationID: in.ConversationID, CallID: in.CallID}
	if in.Type == channels.CallStarted {
		h.mu.Lock()
		h.lastCall++
		r.CallID, r.ConversationID = h.lastCall, 1000+h.lastCall
		h.mu.Unlock()
	}
	h.inbound <- in
	return r, nil
}

// script replaces what the switchboard answers.
func (h *house) script(f channels.Receive) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.receive = f
}

// expect waits for the next thing received, passing over the call's moves, and demands its type.
func (h *house) expect(ctx context.Context, want channels.InboundType) channels.Inbound {
	h.t.Helper()
	select {
	case in := <-h.inbound:
		if in.Type == channels.CallMoved && want != in.Type {
			return h.expect(ctx, want)
		}
		if in.Type != want {
			h.t.Fatalf("received %s (%+v), want %s", in.Type, in, want)
		}
		return in
	case <-ctx.Done():
		h.t.Fatalf("no %s received: %v", want, ctx.Err())
	}
	return channels.Inbound{}
}

// moved waits until the call has moved to state; nothing but moves may come before.
func (h *house) moved(ctx context.Context, state string) {
	h.t.Helper()
	for h.expect(ctx, channels.CallMoved).CallState != state {
	}
}

// command sends a signal to the call, as the switchboard or a tab does.
func (h *house) command(ctx context.Context, sig channels.CallSignal) (channels.CallReply, error) {
	var reply channels.CallReply
	err := h.bus.Request(ctx, channels.CallSubject(sig.CallID), sig, &reply)
	return reply, err
}

// must sends a command that may not be refused.
func (h *house) must(ctx context.Context, sig channels.CallSignal) channels.CallReply {
	h.t.Helper()
	reply, err := h.command(ctx, sig)
	if err != nil {
		h.t.Fatalf("%s: %v", sig.Type, err)
	}
	if reply.Error != nil {
		h.t.Fatalf("%s: %v", sig.Type, reply.Error)
	}
	return reply
}

// agentFrames collects what an agent's tabs are told.
func (h *house) agentFrames(agentID int64) <-chan string {
	h.t.Helper()
	frames := make(chan string, 256)
	cancel, err := h.bus.Subscribe(channels.AgentSubject(agentID), func(_ string, data []byte) { frames <- string(data) })
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(cancel)
	return frames
}

func (h *house) phone() *voicetest.Phone {
	return voicetest.NewPhone(h.t, "alice", loopback)
}

// dial calls and waits until the house knows it.
func (h *house) dial(ctx context.Context, i voicetest.Invite) *voicetest.Call {
	h.t.Helper()
	c := h.phone().Dial(ctx, h.voice.Addr(), number, i)
	h.expect(ctx, channels.CallStarted)
	return c
}

// waitingCall dials and presses 0.
func (h *house) waitingCall(ctx context.Context, i voicetest.Invite) *voicetest.Call {
	h.t.Helper()
	c := h.dial(ctx, i)
	waitChan(h.t, ctx, c.RTP.HeardSome(), "greeting")
	c.RTP.Press(ctx, '0')
	if in := h.expect(ctx, channels.Wish); in.Source != "key" {
		h.t.Fatalf("wish by %q, want key", in.Source)
	}
	return c
}

// bridgedCall brings a caller and a browser together.
func (h *house) bridgedCall(ctx context.Context, i voicetest.Invite) (*voicetest.Call, *tab) {
	h.t.Helper()
	c := h.waitingCall(ctx, i)
	b := h.join(ctx, 1, 7)
	return c, b
}

// join has the agent accept and connect a browser.
func (h *house) join(ctx context.Context, callID, agentID int64) *tab {
	h.t.Helper()
	h.must(ctx, channels.CallSignal{Type: "join", CallID: callID, AgentID: agentID})
	b := h.connect(ctx, callID, agentID)
	h.moved(ctx, channels.CallBridged)
	return b
}

// connect opens a browser and has the call answer its offer.
func (h *house) connect(ctx context.Context, callID, agentID int64) *tab {
	h.t.Helper()
	b := newTab(h.t)
	reply := h.must(ctx, channels.CallSignal{Type: "connect", CallID: callID, AgentID: agentID, SDP: b.offer(ctx)})
	b.accept(reply.SDP)
	waitChan(h.t, ctx, b.up, "browser connected")
	return b
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

// tab is the agent's browser: a pion peer with a microphone and ears.
type tab struct {
	t    testing.TB
	pc   *webrtc.PeerConnection
	mic  *webrtc.TrackLocalStaticRTP
	up   chan struct{}
	gone chan struct{} // the other side has ended it
	once sync.Once
	lost sync.Once
	down sync.Once

	mu    sync.Mutex
	heard []byte
	first uint32
	keys  chan byte
}

func newTab(t testing.TB, networks ...webrtc.NetworkType) *tab {
	t.Helper()
	return newTabWith(t, webrtc.Configuration{}, networks...)
}

func newTabWith(t testing.TB, cfg webrtc.Configuration, networks ...webrtc.NetworkType) *tab {
	t.Helper()
	if networks == nil {
		networks = []webrtc.NetworkType{webrtc.NetworkTypeUDP4}
	}
	engine := &webrtc.MediaEngine{}
	for _, c := range browserCodecs {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			t.Fatal(err)
		}
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes(networks)
	registry := &interceptor.Registry{}
	if err := webrtc.ConfigureRTCPReports(registry); err != nil {
		t.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings), webrtc.WithInterceptorRegistry(registry))
	pc, err := api.NewPeerConnection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{t: t, pc: pc, up: make(chan struct{}), gone: make(chan struct{}), keys: make(chan byte, 16)}
	if b.mic, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: media.Rate}, "mic", "tab"); err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(b.mic); err != nil {
		t.Fatal(err)
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			b.once.Do(func() { close(b.up) })
		}
		if s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateFailed {
			b.lost.Do(func() { close(b.gone) })
		}
	})
	pc.OnTrack(b.listen)
	t.Cleanup(b.close)
	return b
}

// close ends the browser as a closed tab does.
func (b *tab) close() {
	b.down.Do(func() {
		if err := b.pc.GracefulClose(); err != nil {
			b.t.Error(err)
		}
	})
}

func (b *tab) offer(ctx context.Context) string {
	b.t.Helper()
	return b.offers(ctx, nil)
}

// restart offers an ICE restart, as after a change of network.
func (b *tab) restart(ctx context.Context) string {
	b.t.Helper()
	return b.offers(ctx, &webrtc.OfferOptions{ICERestart: true})
}

func (b *tab) offers(ctx context.Context, how *webrtc.OfferOptions) string {
	b.t.Helper()
	offer, err := b.pc.CreateOffer(how)
	if err != nil {
		b.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(b.pc)
	if err := b.pc.SetLocalDescription(offer); err != nil {
		b.t.Fatal(err)
	}
	waitChan(b.t, ctx, gathered, "candidates")
	return b.pc.LocalDescription().SDP
}

func (b *tab) accept(answer string) {
	b.t.Helper()
	if err := b.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) listen(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	go func() { // RTCP is seen by who reads it
		for {
			if _, _, err := r.ReadRTCP(); err != nil {
				return
			}
		}
	}()
	for {
		p, _, err := tr.ReadRTP()
		if err != nil {
			return
		}
		b.mu.Lock()
		switch p.PayloadType {
		case media.TypePCMU, media.TypePCMA:
			if len(b.heard) == 0 {
				b.first = p.Timestamp
			}
			if at := int(int32(p.Timestamp - b.first)); at >= 0 && at < 1<<24 {
				for len(b.heard) < at+len(p.Payload) {
					b.heard = append(b.heard, media.ULawSilence)
				}
				copy(b.heard[at:], p.Payload)
			}
		default:
			if len(p.Payload) >= 4 && p.Marker {
				select {
				case b.keys <- "0123456789*#ABCD"[p.Payload[0]&15]:
				default:
				}
			}
		}
		b.mu.Unlock()
	}
}

// play speaks into the microphone, µ-law in packets of 20 ms.
func (b *tab) play(ctx context.Context, sound []byte) {
	tick := time.NewTicker(media.Frame)
	defer tick.Stop()
	var seq uint16
	var ts uint32
	for ; len(sound) >= media.FrameSamples; sound = sound[media.FrameSamples:] {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		seq, ts = seq+1, ts+media.FrameSamples
		if err := b.mic.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts},
			Payload: sound[:media.FrameSamples]}); err != nil {
			return
		}
	}
}

func (b *tab) hears() []int16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return voicetest.FromULaw(b.heard)
}

func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = nil
}

func promptSamples(t testing.TB, name string) []int16 {
	t.Helper()
	wav, err := promptFiles.ReadFile(fmt.Sprintf("prompts/%s.wav", name))
	if err != nil {
		t.Fatal(err)
	}
	w, err := media.ReadWAV(wav)
	if err != nil {
		t.Fatal(err)
	}
	return w.Samples
}

// hear forgets what was heard and returns the next d of it.
func hear(t testing.TB, ctx context.Context, r *voicetest.RTP, d time.Duration) []int16 {
	t.Helper()
	r.Forget()
	want := int(d.Seconds() * voicetest.Rate)
	until(t, ctx, "sound heard", func() bool { return len(r.Heard()) >= want })
	return voicetest.FromULaw(r.Heard())
}

// hear is the same for the browser.
func (b *tab) hear(ctx context.Context, d time.Duration) []int16 {
	b.t.Helper()
	b.forget()
	want := int(d.Seconds() * voicetest.Rate)
	until(b.t, ctx, "sound heard in the browser", func() bool { return len(b.hears()) >= want })
	return b.hears()
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

// hearPrompt is hear without the pauses that a starved machine puts between a prompt's frames: what is compared is what
// was said, not when. (The clock is the pacer's business and is tested there.)
func hearPrompt(t testing.TB, ctx context.Context, r *voicetest.RTP, d time.Duration) []int16 {
	t.Helper()
	hear(t, ctx, r, d)
	sound, headers := r.Heard(), r.Headers()
	var out []byte
	pauses := 0
	for i, h := range headers {
		if h.PayloadType != media.TypePCMU && h.PayloadType != media.TypePCMA {
			continue
		}
		if i > 0 && h.TS-headers[i-1].TS != media.FrameSamples {
			pauses++
		}
		at := int(int32(h.TS - headers[0].TS))
		if at >= 0 && at+h.Size <= len(sound) {
			out = append(out, sound[at:at+h.Size]...)
		}
	}
	if pauses > 0 {
		t.Logf("%d pauses in a prompt: the machine is too busy", pauses)
	}
	return voicetest.FromULaw(out)
}
