package voicetest

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"patchbay/channels/voice/media"
)

// Browser is somebody's browser: a pion peer with a microphone and ears, on loopback.
type Browser struct {
	Up   chan struct{} // closed when it is connected
	Gone chan struct{} // closed when the other side has ended it
	Keys chan byte     // that were pressed towards it

	t    testing.TB
	pc   *webrtc.PeerConnection
	mic  *webrtc.TrackLocalStaticRTP
	wide *wideBand // nil: it speaks G.711
	once sync.Once
	lost sync.Once
	down sync.Once

	seq   uint16 // of the microphone; one goroutine plays at a time
	ts    uint32
	spoke time.Time

	mu    sync.Mutex
	heard []byte
	first uint32
}

// BrowserConfig is what a browser may have of its own; the zero value is one in an open network.
type BrowserConfig struct {
	WebRTC   webrtc.Configuration
	Networks []webrtc.NetworkType // it can use; nil: UDP
	Wide     bool                 // offers Opus and G.722 before G.711, as real browsers do
}

const mimeEvent = "audio/telephone-event"

// browserCodecs have the numbers that browsers give them.
var browserCodecs = []webrtc.RTPCodecParameters{
	{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: media.Rate}},
	{PayloadType: 8, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA, ClockRate: media.Rate}},
	{PayloadType: 126, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeEvent, ClockRate: media.Rate}},
}

var wideCodecs = []webrtc.RTPCodecParameters{
	{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}},
	{PayloadType: 9, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeG722, ClockRate: media.Rate}},
}

// NewBrowser opens a browser; it is closed with the test.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	return NewBrowserWith(t, BrowserConfig{})
}

// NewBrowserWith opens a browser with something of its own.
func NewBrowserWith(t testing.TB, cfg BrowserConfig) *Browser {
	t.Helper()
	if cfg.Networks == nil {
		cfg.Networks = []webrtc.NetworkType{webrtc.NetworkTypeUDP4}
	}
	engine, codecs := &webrtc.MediaEngine{}, browserCodecs
	if cfg.Wide {
		codecs = slices.Concat(wideCodecs, codecs)
		codecs = append(codecs, webrtc.RTPCodecParameters{PayloadType: 110, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeEvent, ClockRate: 48000}})
	}
	for _, c := range codecs {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			t.Fatal(err)
		}
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes(cfg.Networks)
	registry := &interceptor.Registry{}
	if err := webrtc.ConfigureRTCPReports(registry); err != nil {
		t.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings), webrtc.WithInterceptorRegistry(registry))
	pc, err := api.NewPeerConnection(cfg.WebRTC)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, pc: pc, Up: make(chan struct{}), Gone: make(chan struct{}), Keys: make(chan byte, 16)}
	if b.mic, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: media.Rate}, "mic", "tab"); err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(b.mic); err != nil {
		t.Fatal(err)
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			b.once.Do(func() { close(b.Up) })
		}
		if s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateFailed {
			b.lost.Do(func() { close(b.Gone) })
		}
	})
	pc.OnTrack(b.listen)
	t.Cleanup(b.Close)
	return b
}

// Close ends the browser as a closed tab does.
func (b *Browser) Close() {
	b.down.Do(func() {
		if err := b.pc.GracefulClose(); err != nil {
			b.t.Error(err)
		}
	})
}

// Offer begins, with all candidates.
func (b *Browser) Offer(ctx context.Context) string {
	b.t.Helper()
	return b.offers(ctx, nil)
}

// Restart offers an ICE restart, as after a change of network.
func (b *Browser) Restart(ctx context.Context) string {
	b.t.Helper()
	return b.offers(ctx, &webrtc.OfferOptions{ICERestart: true})
}

func (b *Browser) offers(ctx context.Context, how *webrtc.OfferOptions) string {
	b.t.Helper()
	offer, err := b.pc.CreateOffer(how)
	if err != nil {
		b.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(b.pc)
	if err := b.pc.SetLocalDescription(offer); err != nil {
		b.t.Fatal(err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		b.t.Fatalf("candidates: %v", ctx.Err())
	}
	return b.pc.LocalDescription().SDP
}

// Accept takes the answer.
func (b *Browser) Accept(answer string) {
	b.t.Helper()
	b.choose(answer)
	if err := b.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *Browser) listen(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
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
		switch {
		case p.PayloadType == media.TypePCMU:
			b.hear(p.Timestamp, p.Payload)
		case p.PayloadType == media.TypePCMA: // what is heard is kept as µ-law
			samples := make([]int16, len(p.Payload))
			media.DecodeALaw(samples, p.Payload)
			b.hear(p.Timestamp, ULaw(samples))
		case b.wide != nil && p.PayloadType == b.wide.format.PayloadType:
			b.wide.hear(p)
		case len(p.Payload) >= 4 && p.Marker:
			select {
			case b.Keys <- "0123456789*#ABCD"[p.Payload[0]&15]:
			default:
			}
		}
	}
}

// hear puts sound in its place.
func (b *Browser) hear(ts uint32, sound []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.heard) == 0 {
		b.first = ts
	}
	if at := int(int32(ts - b.first)); at >= 0 && at < 1<<24 {
		for len(b.heard) < at+len(sound) {
			b.heard = append(b.heard, media.ULawSilence)
		}
		copy(b.heard[at:], sound)
	}
}

// wideBand is a browser's mouth and ears for Opus or G.722: what is said and heard is µ-law all the same.
type wideBand struct {
	format      media.Format
	mouth, ears *media.Leg
}

// choose takes the codec that the answer names first.
func (b *Browser) choose(answer string) {
	_, line, _ := strings.Cut(answer, "m=audio ")
	f := strings.Fields(line)
	if len(f) < 3 {
		b.t.Fatalf("no sound in the answer:\n%s", answer)
	}
	for _, c := range wideCodecs {
		if b.wide != nil || f[2] != strconv.Itoa(int(c.PayloadType)) {
			continue
		}
		track, err := webrtc.NewTrackLocalStaticRTP(c.RTPCodecCapability, "mic", "tab")
		if err != nil {
			b.t.Fatal(err)
		}
		if err := b.pc.GetSenders()[0].ReplaceTrack(track); err != nil {
			b.t.Fatal(err)
		}
		codec, _ := media.ParseCodec(strings.TrimPrefix(c.MimeType, "audio/"))
		w := &wideBand{format: media.Format{Codec: codec, PayloadType: uint8(c.PayloadType)}}
		w.mouth = media.NewLeg(media.LegConfig{Format: w.format, Send: func(raw []byte) error {
			_, err := track.Write(raw)
			return err
		}})
		narrow := media.NewLeg(media.LegConfig{Send: func(raw []byte) error {
			b.hear(binary.BigEndian.Uint32(raw[4:]), raw[12:])
			return nil
		}})
		w.ears = media.NewLeg(media.LegConfig{Format: w.format, Send: func([]byte) error { return nil }})
		w.ears.Swap(narrow.Out())
		b.wide, b.mic = w, track
	}
}

func (w *wideBand) hear(p *rtp.Packet) {
	heard := new(media.Packet)
	n, err := p.MarshalTo(heard.Buffer())
	if err != nil || heard.Parse(n) != nil {
		return
	}
	heard.Arrived = time.Now()
	w.ears.Deliver(heard)
}

// say writes one packet of µ-law to the microphone.
func (b *Browser) say(sound []byte) error {
	b.seq, b.ts, b.spoke = b.seq+1, b.ts+media.FrameSamples, time.Now()
	if b.wide == nil {
		return b.mic.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: b.seq, Timestamp: b.ts}, Payload: sound})
	}
	b.wide.mouth.Out().Write(&media.Packet{Seq: b.seq, TS: b.ts, Payload: sound, Arrived: time.Now()})
	return nil
}

// Codec is what it speaks.
func (b *Browser) Codec() media.Codec {
	if b.wide == nil {
		return media.PCMU
	}
	return b.wide.format.Codec
}

// Play speaks into the microphone, µ-law in packets of 20 ms, on an absolute clock: a late packet does not delay the others.
func (b *Browser) Play(ctx context.Context, sound []byte) {
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	b.ts += uint32(min(begun.Sub(b.spoke), time.Hour)/media.Frame) * media.FrameSamples
	for n := 1; len(sound) >= media.FrameSamples; n++ {
		timer.Reset(time.Until(begun.Add(time.Duration(n) * media.Frame)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if err := b.say(sound[:media.FrameSamples]); err != nil {
			return
		}
		sound = sound[media.FrameSamples:]
	}
}

// Hears is everything it has heard so far, by the clock of the packets.
func (b *Browser) Hears() []int16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return FromULaw(b.heard)
}

// Forget begins the recording anew.
func (b *Browser) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = nil
}

// Hear forgets what was heard and returns the next d of it.
func (b *Browser) Hear(ctx context.Context, d time.Duration) []int16 {
	b.t.Helper()
	b.Forget()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(b.Hears()) < int(d.Seconds()*Rate) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("sound heard in the browser: %v", ctx.Err())
		}
	}
	return b.Hears()
}

// Press presses a key, 40 ms long, in place of the microphone (RFC 4733).
func (b *Browser) Press(code byte) {
	b.t.Helper()
	keypad, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mimeEvent, ClockRate: media.Rate}, "mic", "tab")
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.pc.GetSenders()[0].ReplaceTrack(keypad); err != nil {
		b.t.Fatal(err)
	}
	for i, payload := range [][]byte{{code, 10, 0, 160}, {code, 0x8a, 1, 64}} {
		if err := keypad.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Marker: i == 0}, Payload: payload}); err != nil {
			b.t.Fatal(err)
		}
	}
}
