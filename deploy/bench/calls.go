package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// calls: N telephones speak with N agents in their browsers. A telephone is a UDP socket, a browser is pion with
// encryption; both send 50 packets a second and hear what the other has sent.
func (b *bench) calls(ctx context.Context) error {
	if b.sip == "" {
		return fmt.Errorf("%w: no telephone line", errSkipped)
	}
	b.table.section("telephone and browser, joined: 50 packets/s each way, each call with an agent of its own")
	steps := quickly(b, []int{20, 50, 100, 200}, []int{10, 25})
	span := quickly(b, 8*time.Second, 4*time.Second)
	agents, err := b.agents(ctx, steps[len(steps)-1], 1)
	if err != nil {
		return err
	}
	f, err := b.floor(ctx)
	if err != nil {
		return err
	}
	defer f.close(context.WithoutCancel(ctx))
	var wrong []error
	for i, n := range steps {
		if err := f.grow(ctx, n, agents); err != nil {
			return errors.Join(append(wrong, fmt.Errorf("%d calls: %w", n, err))...)
		}
		wait(ctx, time.Second)
		if err := f.measure(ctx, uint32(i+1), span); err != nil {
			wrong = append(wrong, fmt.Errorf("%d calls: %w", n, err))
		}
	}
	b.table.row("key 0 pressed -> the agent's browser rings", "%s   target < 300 ms", &f.rung)
	b.table.row("accepted -> joined (pion's client looks each 200 ms)", "%s", &f.joined)
	wrong = append(wrong, f.close(ctx))
	relay, err := b.relay(ctx, len(f.lines), span)
	if err == nil && relay > 0 && f.share > 0 {
		b.table.row("CPU of the relay, of the house with encryption", "%.0f %%, %.0f %% of a core: %.1f times   target <= 2", relay, f.share, f.share/relay)
	}
	return errors.Join(append(wrong, err)...)
}

// floor is a hall of telephones and browsers.
type floor struct {
	b       *bench
	trunk   *trunk
	web     *webrtc.API
	certs   []webrtc.Certificate
	before  int // rows of calls
	phones  []*phone
	lines   []*line
	numbers sync.Map // number -> index of the call

	outside, inside pacer // the telephones, the browsers
	callers, clerks []*mouth
	earsIn, earsOut []*ear // at the browsers, at the telephones
	stop            context.CancelFunc
	share           float64 // per cent of a core that the server took in the last measurement

	rung, joined times
	pressed      sync.Map   // number -> time of key 0
	up           chan error // a call is joined, or what went wrong
	mu           sync.Mutex
	browsers     []*webrtc.PeerConnection
	closeOnce    sync.Once
	closeErr     error
}

func (b *bench) floor(ctx context.Context) (*floor, error) {
	t, err := newTrunk(b.sip)
	if err != nil {
		return nil, err
	}
	f := &floor{b: b, trunk: t, up: make(chan error, 1024)}
	if f.before, err = b.callRows(ctx); err != nil {
		return nil, err
	}
	engine := &webrtc.MediaEngine{}
	for pt, mime := range map[webrtc.PayloadType]string{0: webrtc.MimeTypePCMU, 126: "audio/telephone-event"} {
		codec := webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 8000}}
		if err := engine.RegisterCodec(codec, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, err
		}
	}
	settings := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}}
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM)
	if t.addr().Addr().IsLoopback() {
		settings.SetIncludeLoopbackCandidate(true)
		settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	}
	// No interceptors: nothing that is lost is sent again.
	f.web = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings))
	talking, stop := context.WithCancel(ctx)
	f.stop = stop
	go f.outside.run(talking)
	go f.inside.run(talking)
	return f, nil
}

const dialRate = 20 // new calls a second

// grow brings the hall to n calls.
func (f *floor) grow(ctx context.Context, n int, agents []*agent) error {
	from := len(f.phones)
	for _, a := range agents[from:n] {
		if err := a.work(ctx); err != nil {
			return err
		}
		c := &clerk{f: f, agent: a}
		a.answers(ctx, func(n *news) { c.hear(ctx, n) })
	}
	for i := from; i < n; i++ {
		l, err := newLine(f.trunk.addr().Addr())
		if err != nil {
			return err
		}
		p := f.trunk.phone(f.b.number(), l.addr())
		in, out := &ear{expects: uint32(2 * i)}, &ear{expects: uint32(2*i + 1)}
		caller := &mouth{name: uint32(2 * i), send: l.speak}
		f.mu.Lock()
		f.lines, f.phones = append(f.lines, l), append(f.phones, p)
		f.callers, f.clerks = append(f.callers, caller), append(f.clerks, &mouth{name: uint32(2*i + 1)})
		f.earsIn, f.earsOut = append(f.earsIn, in), append(f.earsOut, out)
		f.mu.Unlock()
		f.numbers.Store(p.from, i)
		go l.listen(out)
		f.outside.add(caller)
		go f.call(ctx, p, l)
		wait(ctx, time.Second/dialRate)
	}
	limit := time.After(30 * time.Second)
	for range n - from {
		select {
		case err := <-f.up:
			if err != nil {
				return err
			}
		case <-limit:
			return errors.New("not all callers were joined with an agent")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// call dials, speaks and presses 0.
func (f *floor) call(ctx context.Context, p *phone, l *line) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.dial(ctx)
	if err == nil {
		to := p.remote
		l.remote.Store(&to)
		f.pressed.Store(p.from, time.Now())
		err = p.press(ctx, "0")
	}
	if err != nil {
		f.up <- fmt.Errorf("caller %s: %w", p.from, err)
	}
}

// clerk is an agent with a softphone, who takes the first call that rings.
type clerk struct {
	*agent
	f *floor

	mu       sync.Mutex // frames come from the socket, after a resync also from the API
	busy     bool
	accepted time.Time
	call     int // index; set with the first call frame
	pc       *webrtc.PeerConnection
	joined   bool
}

// hear runs on the socket's reader: what takes time goes elsewhere.
func (c *clerk) hear(ctx context.Context, n *news) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case n.Type == "offer" && !c.busy:
		c.busy = true
		if pressed, ok := c.f.pressed.Load(n.Offer.ContactName); ok {
			c.f.rung.add(n.at.Sub(pressed.(time.Time)))
		}
		c.accepted = time.Now()
		go c.try(func() error { return c.accept(ctx, n.Offer.ID) })
	case n.Type == "call" && n.Call != nil && n.Call.State == "connecting" && c.pc == nil:
		i, ok := c.f.numbers.Load(n.Call.From)
		if !ok {
			c.f.up <- fmt.Errorf("a call from %q, whom nobody knows", n.Call.From)
			return
		}
		c.call = i.(int)
		pc, err := c.f.web.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			c.f.up <- err
			return
		}
		c.pc = pc
		go c.try(func() error { return c.connect(ctx, pc, n.Call.CallID) })
	case n.Type == "call_answer":
		c.try(func() error {
			return c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: n.SDP})
		})
	case n.Type == "call" && n.Call != nil && n.Call.State == "bridged" && !c.joined:
		c.joined = true
		c.f.joined.add(n.at.Sub(c.accepted))
		c.f.up <- nil
	case n.Type == "error":
		c.f.up <- fmt.Errorf("agent's desk: %s", n.Error)
	}
}

func (c *clerk) try(do func() error) {
	if err := do(); err != nil {
		c.f.up <- err
	}
}

// connect offers the browser's sound to the call.
func (c *clerk) connect(ctx context.Context, pc *webrtc.PeerConnection, callID int64) error {
	f := c.f
	f.mu.Lock()
	f.browsers = append(f.browsers, pc)
	speaks, hears := f.clerks[c.call], f.earsIn[c.call]
	f.mu.Unlock()
	mic, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}, "mic", "mic")
	if err != nil {
		return err
	}
	if _, err := pc.AddTrack(mic); err != nil {
		return err
	}
	packet := &rtp.Packet{Header: rtp.Header{Version: 2}}
	speaks.send = func(payload []byte) {
		packet.SequenceNumber++
		packet.Timestamp += frameBytes
		packet.Payload = payload
		_ = mic.WriteRTP(packet)
	}
	speak := sync.OnceFunc(func() { f.inside.add(speaks) })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			speak()
		}
	})
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := t.ReadRTP()
			if err != nil {
				return
			}
			if p.PayloadType == 0 {
				hears.hear(p.Payload)
			}
		}
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.send(map[string]any{"type": "connect", "ref": "connect", "call_id": callID, "sdp": pc.LocalDescription().SDP})
}

// measure lets everybody speak for a while and compares.
func (f *floor) measure(ctx context.Context, phase uint32, span time.Duration) error {
	profiled := f.b.profiled(ctx, fmt.Sprintf("calls%d", len(f.phones)), span)
	before := f.b.spent()
	f.outside.phase.Store(phase)
	f.inside.phase.Store(phase)
	wait(ctx, span)
	f.outside.phase.Store(0)
	f.inside.phase.Store(0)
	cpu := f.b.since(before)
	f.share = f.b.spent().serverSince(before)
	<-profiled
	wait(ctx, 500*time.Millisecond)
	n, t := len(f.phones), f.b.table
	to, from := sum(phase, f.callers, f.earsIn), sum(phase, f.clerks, f.earsOut)
	t.row(fmt.Sprintf("%d calls, telephone -> browser", n), "loss %.3f %% (%d of %d)   delay %s", to.loss(), to.sent-to.heard, to.sent, &to.delay)
	t.row(fmt.Sprintf("%d calls, browser -> telephone", n), "loss %.3f %% (%d of %d)   delay %s", from.loss(), from.sent-from.heard, from.sent, &from.delay)
	t.row(fmt.Sprintf("%d calls, CPU and memory (RSS)", n), "%s; %.0f MB", cpu, f.b.rss("VmRSS"))
	if strange := to.strange + from.strange; strange > 0 {
		return fmt.Errorf("%d packets were heard by the wrong person", strange)
	}
	if deaf := to.deaf + from.deaf; deaf > 0 {
		return fmt.Errorf("%d of %d ears heard nothing", deaf, 2*n)
	}
	return nil
}

// close hangs all up and demands that every call has its row and its end.
func (f *floor) close(ctx context.Context) error {
	f.closeOnce.Do(func() {
		f.stop()
		var ending sync.WaitGroup
		var failed atomic.Int64
		for _, p := range f.phones {
			ending.Go(func() {
				limit, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				if p.hangUp(limit) != nil {
					failed.Add(1)
				}
			})
		}
		ending.Wait()
		f.mu.Lock()
		for _, pc := range f.browsers {
			_ = pc.Close()
		}
		f.mu.Unlock()
		for _, l := range f.lines {
			_ = l.conn.Close()
		}
		f.closeErr = f.b.callsEnded(ctx, f.before+len(f.phones))
		if n := failed.Load(); n > 0 {
			f.closeErr = errors.Join(f.closeErr, fmt.Errorf("%d calls could not be hung up", n))
		}
		f.trunk.close()
	})
	return f.closeErr
}
