package voice

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"patchbay/channels"
	"patchbay/channels/voice/media"
)

// webRTCConfig is the listener of the browser legs.
type webRTCConfig struct {
	Listen     netip.AddrPort // the one UDP port of all browsers; port 0 = any free one
	ExternalIP netip.Addr     // announced in place of the listener's address (behind NAT, in Docker); zero = none
	Pacer      *media.Pacer
	Log        *slog.Logger
}

// webRTC makes browser legs: one API object, one certificate and one UDP port for the process. It is ICE-lite: the
// browser finds us, we never search, so an answer is complete at once and nothing trickles. G.711 and telephone-event
// are all that is offered: a caller's packets reach the browser as they are.
type webRTC struct {
	api   *webrtc.API
	certs []webrtc.Certificate
	conn  *net.UDPConn
	mux   ice.UDPMux
	pacer *media.Pacer
	log   *slog.Logger
}

// browserCodecs are offered to browsers in this order; the numbers are what they use themselves, telephone-event's is
// taken from each offer.
var browserCodecs = []webrtc.RTPCodecParameters{
	{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: media.Rate, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}}}},
	{PayloadType: 8, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA, ClockRate: media.Rate, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}}}},
	{PayloadType: 126, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeEvent, ClockRate: media.Rate}},
}

const (
	mimeEvent = "audio/telephone-event"
	// nackHistory is how many packets are kept to be sent again: 2.5 s.
	nackHistory = 128
	maxOffer    = 64 << 10

	iceDisconnected = 5 * time.Second  // without a sign of the browser
	iceFailed       = 15 * time.Second // more, then the leg has failed
	iceKeepAlive    = 2 * time.Second
)

// newWebRTC opens the UDP port.
func newWebRTC(cfg webRTCConfig) (*webRTC, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("webrtc key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("webrtc certificate: %w", err)
	}
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	for _, c := range browserCodecs {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("webrtc codec: %w", err)
		}
	}
	err = errors.Join(
		webrtc.ConfigureRTCPReports(registry),
		webrtc.ConfigureNackWithOptions(engine, registry, nil, nack.ResponderSize(nackHistory)),
	)
	if err != nil {
		return nil, fmt.Errorf("webrtc interceptors: %w", err)
	}
	network := "udp6"
	if cfg.Listen.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(cfg.Listen))
	if err != nil {
		return nil, fmt.Errorf("webrtc port: %w", err)
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		cfg.Log.Warn("webrtc port: small receive buffer", "err", err)
	}
	w := &webRTC{certs: []webrtc.Certificate{*cert}, conn: conn, pacer: cfg.Pacer, log: cfg.Log}
	settings, err := w.settings(cfg)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("webrtc settings: %w", err)
	}
	w.api = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	return w, nil
}

func (w *webRTC) settings(cfg webRTCConfig) (webrtc.SettingEngine, error) {
	s := webrtc.SettingEngine{LoggerFactory: pionLog{w.log}}
	w.mux = webrtc.NewICEUDPMux(s.LoggerFactory.NewLogger("ice"), w.conn)
	s.SetLite(true)
	s.SetICEUDPMux(w.mux)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetICETimeouts(iceDisconnected, iceFailed, iceKeepAlive)
	s.SetIncludeLoopbackCandidate(cfg.Listen.Addr().IsLoopback() || cfg.Listen.Addr().IsUnspecified() && onlyLoopback())
	// GCM costs a third of AES-CM with SHA-1.
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	if !cfg.ExternalIP.IsValid() {
		return s, nil
	}
	return s, s.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
		External: []string{cfg.ExternalIP.String()}, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace,
	})
}

// onlyLoopback: a machine without a network, where a browser on it could find us nowhere else.
func onlyLoopback() bool {
	addrs, err := net.InterfaceAddrs()
	return err == nil && !slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.IsGlobalUnicast()
	})
}

// addr is where the browsers' packets arrive.
func (w *webRTC) addr() netip.AddrPort {
	return w.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// close frees the port. The legs must have been closed.
func (w *webRTC) close() error {
	err := w.mux.Close()
	if cerr := w.conn.Close(); !errors.Is(cerr, net.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	return err
}

// legEvent is what happens to a browser's connection.
type legEvent string

const (
	legConnected    legEvent = "connected"    // sound can flow, also again after legDisconnected
	legDisconnected legEvent = "disconnected" // nothing heard for 5 s; may come back
	legFailed       legEvent = "failed"       // will not come back
	legClosed       legEvent = "closed"       // last event; the channel is closed behind it
)

// agentLeg is the agent's browser: a media.Leg over WebRTC.
type agentLeg struct {
	*media.Leg
	pc     *webrtc.PeerConnection
	track  *browserTrack
	log    *slog.Logger
	events chan legEvent

	malformed atomic.Uint64
	mu        sync.Mutex // guards closed, and sending on events against closing it
	closed    bool
	readers   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// newAgentLeg answers a browser's offer. The answer holds all our candidates. onDTMF: see media.LegConfig. The leg
// lives until close; events tells what becomes of its connection.
func (w *webRTC) newAgentLeg(ctx context.Context, offerSDP string, onDTMF func(digit byte)) (_ *agentLeg, answerSDP string, err error) {
	pc, err := w.api.NewPeerConnection(webrtc.Configuration{Certificates: w.certs})
	if err != nil {
		return nil, "", fmt.Errorf("browser leg: %w", err)
	}
	l := &agentLeg{pc: pc, log: w.log, events: make(chan legEvent, 16)}
	l.track = &browserTrack{leg: l}
	l.Leg = media.NewLeg(media.LegConfig{Pacer: w.pacer, OnDTMF: onDTMF, Send: l.track.send})
	defer func() {
		if err != nil {
			_ = l.close()
		}
	}()
	pc.OnConnectionStateChange(l.connectionState)
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { l.read(t) })
	sender, err := pc.AddTrack(l.track)
	if err != nil {
		return nil, "", fmt.Errorf("browser leg: %w", err)
	}
	l.readers.Add(1)
	go l.readReports(sender)
	answerSDP, err = l.answer(ctx, offerSDP)
	if err != nil {
		return nil, "", err
	}
	return l, answerSDP, nil
}

// reoffer answers a new offer of the same browser (ICE restart after a change of network).
func (l *agentLeg) reoffer(ctx context.Context, offerSDP string) (answerSDP string, err error) {
	return l.answer(ctx, offerSDP)
}

func (l *agentLeg) answer(ctx context.Context, offerSDP string) (string, error) {
	if len(offerSDP) > maxOffer {
		return "", channels.FailField(channels.TooLarge, "sdp", "the offer is too long")
	}
	if !hasG711(offerSDP) {
		return "", errNoG711
	}
	offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offerSDP}
	if err := l.pc.SetRemoteDescription(offer); err != nil {
		l.log.Debug("browser offer", "err", err)
		return "", channels.FailField(channels.Invalid, "sdp", "the browser's offer cannot be read")
	}
	answer, err := l.pc.CreateAnswer(nil)
	if err != nil {
		l.log.Debug("browser answer", "err", err)
		return "", channels.FailField(channels.Invalid, "sdp", "the browser's offer cannot be answered")
	}
	gathered := webrtc.GatheringCompletePromise(l.pc)
	if err := l.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("browser leg: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("browser leg: %w", ctx.Err())
	}
	local := l.pc.LocalDescription()
	if local == nil || !hasG711(local.SDP) {
		return "", errNoG711
	}
	return local.SDP, nil
}

var errNoG711 = channels.FailField(channels.Invalid, "sdp", "the browser offers no G.711 sound")

// hasG711 says whether a description takes an audio stream with G.711; a refused one has port 0 (RFC 3264 section 6).
// The offer is asked too: to one that shares only telephone-event with us pion answers with all we have.
func hasG711(sdp string) bool {
	for line := range strings.Lines(sdp) {
		rest, ok := strings.CutPrefix(line, "m=audio ")
		f := strings.Fields(rest) // port, protocol, formats
		if ok && len(f) > 2 && f[0] != "0" && (slices.Contains(f[2:], "0") || slices.Contains(f[2:], "8")) {
			return true
		}
	}
	return false
}

// connectionState runs on pion's goroutine.
func (l *agentLeg) connectionState(s webrtc.PeerConnectionState) {
	var e legEvent
	switch s {
	case webrtc.PeerConnectionStateConnected:
		e = legConnected
	case webrtc.PeerConnectionStateDisconnected:
		e = legDisconnected
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed: // closed by the browser's DTLS alert
		e = legFailed
	default:
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.events <- e:
	default: // sixteen events unread: the reader has gone
	}
}

// read is the leg's one reader of sound; pion gives it a goroutine of its own.
func (l *agentLeg) read(t *webrtc.TrackRemote) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.readers.Add(1)
	l.mu.Unlock()
	defer l.readers.Done()
	defer func() {
		if r := recover(); r != nil {
			l.log.Error("panic", "where", "browser reader", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	p := new(media.Packet)
	for {
		n, _, err := t.Read(p.Buffer())
		if errors.Is(err, io.ErrShortBuffer) {
			l.malformed.Add(1)
			continue
		}
		if err != nil {
			return
		}
		p.Arrived = time.Now()
		if p.Parse(n) != nil {
			l.malformed.Add(1)
			continue
		}
		l.Deliver(p)
	}
}

// readReports drains the browser's RTCP, which the interceptors see on its way.
func (l *agentLeg) readReports(sender *webrtc.RTPSender) {
	defer l.readers.Done()
	b := make([]byte, media.MaxPacket)
	for {
		if _, _, err := sender.Read(b); err != nil {
			return
		}
	}
}

// Stats adds what the leg itself counts.
func (l *agentLeg) Stats() media.Stats {
	s := l.Leg.Stats()
	s.Malformed = l.malformed.Load()
	return s
}

// close ends the connection and waits for its goroutines; not from a Sink, OnDTMF or pion callback. It may be called
// twice.
func (l *agentLeg) close() error {
	l.closeOnce.Do(func() {
		l.CloseOutput()
		l.Swap(media.Discard)
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.closeErr = l.pc.GracefulClose()
		l.readers.Wait()
		select {
		case l.events <- legClosed:
		default:
		}
		close(l.events)
	})
	return l.closeErr
}

// browserTrack is the sound we send to the browser. Sequence and timestamp are the Output's; pion's own
// TrackLocalStaticRTP would also force the codec's payload type on telephone-events.
type browserTrack struct {
	leg *agentLeg

	mu     sync.Mutex // bind and unbind against send, which the output serialises
	out    webrtc.TrackLocalWriter
	ssrc   uint32
	header rtp.Header
}

var errUnbound = errors.New("browser leg not connected")

// Bind is pion's: what was negotiated.
func (t *browserTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	var format media.Format
	codec := -1
	list := c.CodecParameters()
	for i, p := range list {
		switch {
		case strings.EqualFold(p.MimeType, mimeEvent) && p.ClockRate == media.Rate:
			format.Events = uint8(p.PayloadType)
		case codec < 0:
			name := strings.TrimPrefix(p.MimeType, "audio/")
			if c, ok := media.ParseCodec(name); ok {
				codec, format.Codec, format.PayloadType = i, c, uint8(p.PayloadType)
			}
		}
	}
	if codec < 0 {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	t.leg.SetFormat(format)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out, t.ssrc = c.WriteStream(), uint32(c.SSRC())
	return list[codec], nil
}

// Unbind is pion's: the connection ends.
func (t *browserTrack) Unbind(webrtc.TrackLocalContext) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = nil
	return nil
}

// send puts one packet of the Output on the wire.
func (t *browserTrack) send(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == nil {
		return errUnbound
	}
	h := &t.header
	h.Version, h.SSRC = 2, t.ssrc
	h.Marker, h.PayloadType = b[1]&0x80 != 0, b[1]&0x7f
	h.SequenceNumber = uint16(b[2])<<8 | uint16(b[3])
	h.Timestamp = uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
	_, err := t.out.WriteRTP(h, b[12:])
	return err
}

func (t *browserTrack) ID() string                { return "call" }
func (t *browserTrack) RID() string               { return "" }
func (t *browserTrack) StreamID() string          { return "patchbay" }
func (t *browserTrack) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeAudio }

// pionLog gives pion our log, one step quieter than it thinks of itself: a browser that goes away is no error.
type pionLog struct{ log *slog.Logger }

func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionScope{p.log.With("pion", scope)}
}

type pionScope struct{ log *slog.Logger }

func (p pionScope) Trace(string)          {}
func (p pionScope) Tracef(string, ...any) {}
func (p pionScope) Debug(string)          {}
func (p pionScope) Debugf(string, ...any) {}
func (p pionScope) Info(string)           {}
func (p pionScope) Infof(string, ...any)  {}
func (p pionScope) Warn(m string)         { p.log.Debug(m) }
func (p pionScope) Warnf(f string, a ...any) {
	p.log.Debug(fmt.Sprintf(f, a...))
}
func (p pionScope) Error(m string)            { p.log.Info(m) }
func (p pionScope) Errorf(f string, a ...any) { p.log.Info(fmt.Sprintf(f, a...)) }
