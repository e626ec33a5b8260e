package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
)

// calls: N telephones speak with N agents in their browsers, and every call is recorded. A telephone is a UDP socket, a
// browser is pion with encryption; both send 50 packets a second and hear what the other has sent. The largest number is
// measured several times, in turns with a bare relay of as many calls, so that what others do on this machine meets both.
func (b *bench) calls(ctx context.Context) error {
	if b.sip == "" {
		return fmt.Errorf("%w: no telephone line", errSkipped)
	}
	b.table.section("telephone and browser, joined and recorded: 50 packets/s each way, each call with an agent of its own")
	steps := quickly(b, []int{50, 100, 200}, []int{10, 25})
	span := quickly(b, 5*time.Second, 3*time.Second)
	agents, err := b.agents(ctx, steps[len(steps)-1], 1)
	if err != nil {
		return err
	}
	if err := b.recordAll(ctx); err != nil {
		return err
	}
	f, err := b.floor(ctx)
	if err != nil {
		return err
	}
	defer f.close(context.WithoutCancel(ctx))
	var wrong []error
	phase := uint32(1)
	for _, n := range steps {
		if err := f.grow(ctx, n, agents); err != nil {
			return errors.Join(append(wrong, fmt.Errorf("%d calls: %w", n, err))...)
		}
		wait(ctx, time.Second)
		if n == steps[len(steps)-1] {
			break
		}
		w, err := f.measure(ctx, phase, span)
		f.b.table.windows(fmt.Sprintf("%d calls", n), []string{"telephone -> browser", "browser -> telephone"}, []window{w})
		if phase++; err != nil {
			wrong = append(wrong, fmt.Errorf("%d calls: %w", n, err))
		}
	}
	wrong = append(wrong, f.besideRelay(ctx, phase, quickly(b, 5, 2), span))
	b.table.row("key 0 pressed -> the agent's browser rings", "%s   target < 300 ms", &f.rung)
	b.table.row("accepted -> joined (pion's client looks each 200 ms)", "%s", &f.joined)
	wrong = append(wrong, f.close(ctx))
	said, err := b.recordings(ctx, len(f.phones))
	b.table.row("recordings: whole, with a gap, shortest, all", "%s", said)
	return errors.Join(append(wrong, err)...)
}

// besideRelay measures the house and a bare relay in turns.
func (f *floor) besideRelay(ctx context.Context, phase uint32, turns int, span time.Duration) error {
	n := len(f.lines)
	r, err := newRelay(ctx, n)
	if err != nil {
		return err
	}
	defer r.close()
	var ours, bare []window
	var wrong []error
	for range turns {
		f.hush(true)
		calm(ctx)
		bare = append(bare, r.measure(ctx, phase, span))
		f.hush(false)
		wait(ctx, time.Second/2)
		w, err := f.measure(ctx, phase, span)
		phase++
		ours, wrong = append(ours, w), append(wrong, err)
	}
	t := f.b.table
	t.windows(fmt.Sprintf("bare UDP relay, %d calls", n), []string{"there", "back"}, bare)
	t.windows(fmt.Sprintf("%d calls", n), []string{"telephone -> browser", "browser -> telephone"}, ours)
	mine, theirs := median(ours, window.perPacket), median(bare, window.perPacket)
	if f.b.pid == 0 || mine <= 0 || theirs <= 0 {
		return errors.Join(wrong...)
	}
	t.row(fmt.Sprintf("%d calls, CPU of all cores by server and Postgres", n), "%.0f %%   target <= 70 %%", 100*float64(n)*callPackets*mine/float64(runtime.NumCPU()))
	t.row("CPU time a packet: recorded and encrypted, bare relay", "%.1f us, %.1f us", 1e6*mine, 1e6*theirs)
	t.row("memory (RSS)", "%.0f MB", f.b.rss("VmRSS"))
	t.row("calls a core: recorded and encrypted, bare relay, ratio", "%.0f, %.0f, %.2f   target >= 300, ratio >= 0.5", 1/(callPackets*mine), 1/(callPackets*theirs), theirs/mine)
	return errors.Join(wrong...)
}

// recordAll has every queue record its calls, without telling the callers: they would wait for the words' end.
func (b *bench) recordAll(ctx context.Context) error {
	var queues []map[string]any
	if err := b.desk[0].call(ctx, "GET", "/api/queue-sounds", nil, &queues); err != nil {
		return err
	}
	for _, q := range queues {
		path := fmt.Sprintf("/api/queue-sounds/%v", q["queue_id"])
		delete(q, "queue_id") // it and the name are not settings
		delete(q, "queue_name")
		q["record"], q["record_announce"] = true, false
		if err := b.desk[0].call(ctx, "PUT", path, q, nil); err != nil {
			return err
		}
	}
	return nil
}

// recordings demands a whole recording for each of the newest n calls.
func (b *bench) recordings(ctx context.Context, n int) (said string, err error) {
	if b.rows == nil {
		return "unknown without the database", nil
	}
	var whole, all, gaps int
	var seconds, bytes float64
	for began := time.Now(); ; wait(ctx, 200*time.Millisecond) {
		err := b.rows.QueryRow(ctx, `with newest as (select id from calls order by id desc limit $1)
			select count(*) filter (where state = 'done'), count(*), count(*) filter (where marks::text like '%"gap"%'), coalesce(min(seconds), 0)::float8, coalesce(sum(bytes), 0)::float8
			from recordings where call_id in (select id from newest)`, n).Scan(&whole, &all, &gaps, &seconds, &bytes)
		if err != nil {
			return "", err
		}
		if whole == n || time.Since(began) > 10*time.Second {
			break
		}
	}
	if whole < n || all > n {
		err = fmt.Errorf("%d calls have %d whole recordings of %d", n, whole, all)
	}
	return fmt.Sprintf("%d of %d calls, %d, %.1f s, %.0f MB", whole, n, gaps, seconds, bytes/1e6), err
}

// floor is a hall of telephones and browsers.
type floor struct {
	b       *bench
	trunk   *trunk
	before  int // rows of calls
	phones  []*phone
	lines   []*line
	numbers sync.Map // number -> index of the call
	desks   []*clerk

	outside, inside pacer // the telephones, the browsers
	callers, clerks []*mouth
	earsIn, earsOut []*ear // at the browsers, at the telephones
	stop            context.CancelFunc

	rung, joined times
	pressed      sync.Map   // number -> time of key 0
	up           chan error // a call is joined, or what went wrong
	mu           sync.Mutex
	browsers     []*webrtc.PeerConnection
	closeOnce    sync.Once
	closeErr     error
}

func (b *bench) floor(ctx context.Context) (*floor, error) {
	t, err := newTrunk(b.sip, b.server != "")
	if err != nil {
		return nil, err
	}
	f := &floor{b: b, trunk: t, up: make(chan error, 1024)}
	if f.before, err = b.callRows(ctx); err != nil {
		return nil, err
	}
	talking, stop := context.WithCancel(ctx)
	f.stop = stop
	go f.outside.run(talking)
	go f.inside.run(talking)
	return f, nil
}

// browser makes the WebRTC of one browser, whose packets' arrivals are noted.
func (f *floor) browser(at *passages) (*webrtc.PeerConnection, error) {
	network, err := stdnet.NewNet()
	if err != nil {
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
	if f.trunk.addr().Addr().IsLoopback() {
		settings.SetIncludeLoopbackCandidate(true)
		settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	}
	settings.SetNet(stampNet{network, at})
	// No interceptors: nothing that is lost is sent again.
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
}

// hush makes nobody speak, or everybody again.
func (f *floor) hush(quiet bool) {
	f.outside.quiet.Store(quiet)
	f.inside.quiet.Store(quiet)
}

const dialRate = 20 // new calls a second

// grow brings the hall to n calls.
func (f *floor) grow(ctx context.Context, n int, agents []*agent) error {
	from := len(f.phones)
	for _, a := range agents[from:n] {
		if err := a.work(ctx); err != nil {
			return err
		}
		f.desks = append(f.desks, f.seat(ctx, a))
	}
	for i := from; i < n; i++ {
		l, err := newLine(f.trunk.addr().Addr())
		if err != nil {
			return err
		}
		p := f.trunk.phone(f.b.number(), l.addr())
		in, out := &ear{expects: uint32(2 * i)}, &ear{expects: uint32(2*i + 1)}
		caller := newMouth(uint32(2*i), l.speak)
		f.mu.Lock()
		f.lines, f.phones = append(f.lines, l), append(f.phones, p)
		f.callers, f.clerks = append(f.callers, caller), append(f.clerks, newMouth(uint32(2*i+1), func([]byte) {}))
		f.earsIn, f.earsOut = append(f.earsIn, in), append(f.earsOut, out)
		f.mu.Unlock()
		f.numbers.Store(p.from, i)
		go l.listen(out)
		f.outside.add(caller)
		go f.call(ctx, p, l)
		wait(ctx, time.Second/dialRate)
	}
	return f.joinedBy(ctx, n-from)
}

// joinedBy waits for n more callers to be joined with an agent.
func (f *floor) joinedBy(ctx context.Context, n int) error {
	limit := time.After(30 * time.Second)
	for missing := n; missing > 0; missing-- {
		select {
		case err := <-f.up:
			if err != nil {
				return err
			}
		case <-limit:
			return fmt.Errorf("%d of %d callers were not joined with an agent", missing, n)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// seat lets an agent who works take a call.
func (f *floor) seat(ctx context.Context, a *agent) *clerk {
	c := &clerk{f: f, agent: a}
	a.answers(ctx, func(n *news) { c.hear(ctx, n) })
	return c
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
	holds    int64  // the conversation
	caller   string // whose it is
	accepted time.Time
	call     int // index; set with the first call frame
	pc       *webrtc.PeerConnection
	passages passages
	joined   bool
}

// hear runs on the socket's reader: what takes time goes elsewhere.
func (c *clerk) hear(ctx context.Context, n *news) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case n.Type == "offer" && !c.busy:
		c.busy, c.holds, c.caller = true, n.Offer.ConversationID, n.Offer.ContactName
		if pressed, ok := c.f.pressed.Load(n.Offer.ContactName); ok {
			c.f.rung.add(n.at.Sub(pressed.(time.Time)))
		}
		c.accepted = time.Now()
		go c.try(func() error { return c.accept(ctx, n.Offer.ID) })
	case n.Type == "call" && n.Call != nil && n.Call.From != c.caller: // one that was passed on, and is still told of
	case n.Type == "call" && n.Call != nil && n.Call.State == "connecting" && c.pc == nil:
		i, ok := c.f.numbers.Load(n.Call.From)
		if !ok {
			c.f.up <- fmt.Errorf("a call from %q, whom nobody knows", n.Call.From)
			return
		}
		c.call = i.(int)
		pc, err := c.f.browser(&c.passages)
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
	case n.Type == "call" && n.Call != nil && n.Call.State == "bridged" && c.pc != nil && !c.joined:
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
	send := func(payload []byte) {
		packet.SequenceNumber++
		binary.BigEndian.PutUint16(payload[seqAt:], packet.SequenceNumber)
		packet.Timestamp += frameBytes
		packet.Payload = payload
		_ = mic.WriteRTP(packet)
	}
	f.earsOut[c.call].left.Store(&c.passages.out)
	speak := sync.OnceFunc(func() {
		if speaks.send.Swap(&send); !speaks.paced.Swap(true) {
			f.inside.add(speaks)
		}
	})
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
				hears.hear(p.Payload, c.passages.in[p.SequenceNumber%256].Load())
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
func (f *floor) measure(ctx context.Context, phase uint32, span time.Duration) (window, error) {
	profiled := f.b.profiled(ctx, fmt.Sprintf("calls%d", len(f.phones)), span)
	before := f.b.spent()
	f.outside.phase.Store(phase)
	f.inside.phase.Store(phase)
	wait(ctx, span)
	f.outside.phase.Store(0)
	f.inside.phase.Store(0)
	after := f.b.spent()
	<-profiled
	wait(ctx, 500*time.Millisecond)
	to, from := sum(phase, f.callers, f.earsIn), sum(phase, f.clerks, f.earsOut)
	w := f.b.window(before, after)
	w.ways = [2]*heardBy{to, from}
	if strange := to.strange + from.strange; strange > 0 {
		return w, fmt.Errorf("%d packets were heard by the wrong person", strange)
	}
	if deaf := to.deaf + from.deaf; deaf > 0 {
		return w, fmt.Errorf("%d of %d ears heard nothing", deaf, 2*len(f.phones))
	}
	return w, nil
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
