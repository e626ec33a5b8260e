package voice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"patchbay/channels/voice/media"
)

// webRTCConfig is the listener of the browser legs.
type webRTCConfig struct {
	Listen     netip.AddrPort // the one port of all browsers, UDP and TCP; port 0 = any free one
	ExternalIP netip.Addr     // announced in place of the listener's address (behind NAT, in Docker); zero = none
	Pacer      *media.Pacer
	Log        *slog.Logger
}

// webRTC makes browser legs: one API object, one certificate and one port for the process, UDP, and TCP for browsers
// whose network lets nothing else through. It is ICE-lite: the browser finds us, we never search, so an answer is
// complete at once and nothing trickles. G.711 and telephone-event are all that is offered: a caller's packets reach
// the browser as they are.
type webRTC struct {
	api   *webrtc.API
	certs []webrtc.Certificate
	conn  *net.UDPConn
	tcp   net.Listener
	mux   ice.UDPMux
	tcps  ice.TCPMux
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

	tcpFirstWord = 5 * time.Second // for a TCP connection to say which leg it belongs to
	tcpAhead     = 64 << 10        // bytes that wait for a browser that reads slowly; what comes then is dropped, as by UDP
	tcpConns     = 2000            // in all
	tcpConnsIP   = 400             // of one address: an office behind one
)

// newWebRTC opens the port.
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
	w := &webRTC{certs: []webrtc.Certificate{*cert}, pacer: cfg.Pacer, log: cfg.Log}
	if err := w.listen(cfg.Listen); err != nil {
		return nil, err
	}
	settings, err := w.settings(cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("webrtc settings: %w", err), w.close())
	}
	w.api = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	return w, nil
}

// listen opens the port, the same number by UDP and TCP where it may be any.
func (w *webRTC) listen(at netip.AddrPort) (err error) {
	family := "6"
	switch {
	case at.Addr().Is4():
		family = "4"
	case at.Addr().IsUnspecified():
		family = "" // both
	}
	if w.conn, err = net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(at)); err != nil {
		return fmt.Errorf("webrtc port: %w", err)
	}
	if err := w.conn.SetReadBuffer(4 << 20); err != nil {
		w.log.Warn("webrtc port: small receive buffer", "err", err)
	}
	tcp, err := net.Listen("tcp"+family, netip.AddrPortFrom(at.Addr(), w.addr().Port()).String())
	if err != nil && at.Port() == 0 {
		tcp, err = net.Listen("tcp"+family, at.String())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("webrtc port: %w", err), w.conn.Close())
	}
	w.tcp = newCapped(tcp, tcpConns, tcpConnsIP)
	return nil
}

func (w *webRTC) settings(cfg webRTCConfig) (webrtc.SettingEngine, error) {
	s := webrtc.SettingEngine{LoggerFactory: pionLog{w.log}}
	w.mux = webrtc.NewICEUDPMux(s.LoggerFactory.NewLogger("ice"), w.conn)
	s.SetLite(true)
	s.SetICEUDPMux(w.mux)
	w.tcps = ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: w.tcp, Logger: s.LoggerFactory.NewLogger("ice"), ReadBufferSize: 64,
		WriteBufferSize: tcpAhead, FirstStunBindTimeout: tcpFirstWord, AliveDurationForConnFromStun: tcpFirstWord})
	s.SetICETCPMux(w.tcps)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
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
	err := errors.Join(w.mux.Close(), w.tcps.Close())
	if cerr := w.conn.Close(); !errors.Is(cerr, net.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	return err
}

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
