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

	"patchbay/channels"
	"patchbay/channels/voice/media"
	engines "patchbay/channels/voice/speech"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

const number = "100"

// TestMain demands that every goroutine of every test has ended.
func TestMain(m *testing.M) {
	engines.Serve(os.Args[1:]) // as a child that hears and speaks it does not return
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // they wait for sound, they do not compute
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

// expect waits for the next thing received, passing over the call's moves and first words, and demands its type.
func (h *house) expect(ctx context.Context, want channels.InboundType) channels.Inbound {
	h.t.Helper()
	select {
	case in := <-h.inbound:
		if (in.Type == channels.CallMoved || in.Type == channels.Spoke) && want != in.Type {
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
func (h *house) bridgedCall(ctx context.Context, i voicetest.Invite) (*voicetest.Call, *voicetest.Browser) {
	h.t.Helper()
	c := h.waitingCall(ctx, i)
	b := h.join(ctx, 1, 7)
	return c, b
}

// join has the agent accept and connect a browser.
func (h *house) join(ctx context.Context, callID, agentID int64) *voicetest.Browser {
	h.t.Helper()
	h.must(ctx, channels.CallSignal{Type: "join", CallID: callID, AgentID: agentID})
	b := h.connect(ctx, callID, agentID)
	h.moved(ctx, channels.CallBridged)
	return b
}

// connect opens a browser and has the call answer its offer.
func (h *house) connect(ctx context.Context, callID, agentID int64) *voicetest.Browser {
	h.t.Helper()
	b := voicetest.NewBrowserWith(h.t, voicetest.BrowserConfig{Wide: true})
	reply := h.must(ctx, channels.CallSignal{Type: "connect", CallID: callID, AgentID: agentID, Name: "Ana Lund", SDP: b.Offer(ctx)})
	b.Accept(reply.SDP)
	waitChan(h.t, ctx, b.Up, "browser connected")
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
	return said(t, r)
}

// said is everything heard, without such pauses.
func said(t testing.TB, r *voicetest.RTP) []int16 {
	pcm, pauses := r.Joined()
	if pauses > 0 {
		t.Logf("%d pauses in a prompt: the machine is too busy", pauses)
	}
	return pcm
}
