// Package webleg is one browser's leg of a call, an agent's, a customer's or a supervisor's: WebRTC by pion to the one
// side, a media.Leg to the other. It is the counterpart of sipleg.
//
//	browser --UDP or TCP, one port--> pion: ICE-lite, DTLS, SRTP --> Leg: one reader --> media.Leg
//	      '--TURN: UDP, TCP, TLS--> relay (turn.go), which leads to that port and nowhere else
//
//	owner --> Stack.Answer(offer), Leg.Restart(offer), Leg.Close      owner <-- Leg.Events: Connected, Disconnected, ...
//	owner ... media.Leg: sinks swapped by the owner itself
//
// The browser always offers and we answer, complete and at once. Its page may be loaded anew (a new leg), or change its
// network (Restart of the same leg); what that means for the call is the owner's to say.
package webleg

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
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

// Config is what the browser legs need.
type Config struct {
	Listen     netip.AddrPort // the one port of all browsers, UDP and TCP; port 0 = any free one
	ExternalIP netip.Addr     // announced in place of the listener's address (behind NAT, in Docker); zero = none
	TURN       TURNConfig
	Pacer      *media.Pacer
	Log        *slog.Logger
}

// What Answer and Restart say of an offer they cannot take.
var (
	ErrTooLong  = errors.New("the browser's offer is too long")
	ErrOffer    = errors.New("the browser's offer cannot be read")
	ErrNoAnswer = errors.New("the browser's offer cannot be answered")
	ErrNoSound  = errors.New("the browser offers no sound that we have")
)

// Stack makes browser legs: one API object, one certificate and one port for the process, UDP, and TCP for browsers
// whose network lets nothing else through. It is ICE-lite: the browser finds us, we never search, so an answer is
// complete at once and nothing trickles.
type Stack struct {
	api   *webrtc.API
	certs []webrtc.Certificate
	conn  *net.UDPConn
	tcp   net.Listener
	mux   ice.UDPMux
	tcps  ice.TCPMux
	turn  *turnServer // nil: none
	pacer *media.Pacer
	log   *slog.Logger
}

const (
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

// Open opens the port, and the relay if there is to be one.
func Open(cfg Config) (*Stack, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("webrtc key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("webrtc certificate: %w", err)
	}
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	err = errors.Join(
		registerCodecs(engine),
		webrtc.ConfigureRTCPReports(registry),
		webrtc.ConfigureNackWithOptions(engine, registry, nil, nack.ResponderSize(nackHistory)),
	)
	if err != nil {
		return nil, fmt.Errorf("webrtc engine: %w", err)
	}
	s := &Stack{certs: []webrtc.Certificate{*cert}, pacer: cfg.Pacer, log: cfg.Log}
	if err := s.listen(cfg.Listen); err != nil {
		return nil, err
	}
	settings, err := s.settings(cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("webrtc settings: %w", err), s.Close())
	}
	if cfg.TURN.Listen != "" || cfg.TURN.TLSListen != "" {
		if s.turn, err = newTURN(cfg.TURN, s.Addr(), cfg.ExternalIP, s.log); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.api = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	return s, nil
}

// listen opens the port, the same number by UDP and TCP where it may be any.
func (s *Stack) listen(at netip.AddrPort) (err error) {
	family := "6"
	switch {
	case at.Addr().Is4():
		family = "4"
	case at.Addr().IsUnspecified():
		family = "" // both
	}
	for range 20 { // any port: one that is free by UDP may be taken by TCP
		if s.conn, err = net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(at)); err != nil {
			return fmt.Errorf("webrtc port: %w", err)
		}
		var tcp net.Listener
		if tcp, err = net.Listen("tcp"+family, netip.AddrPortFrom(at.Addr(), s.Addr().Port()).String()); err == nil {
			s.tcp = newCapped(tcp, tcpConns, tcpConnsIP)
			break
		}
		err = errors.Join(fmt.Errorf("webrtc port: %w", err), s.conn.Close())
		if at.Port() != 0 {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := s.conn.SetReadBuffer(4 << 20); err != nil {
		s.log.Warn("webrtc port: small receive buffer", "err", err)
	}
	return nil
}

func (s *Stack) settings(cfg Config) (webrtc.SettingEngine, error) {
	set := webrtc.SettingEngine{LoggerFactory: pionLog{s.log}}
	s.mux = webrtc.NewICEUDPMux(set.LoggerFactory.NewLogger("ice"), steady{s.conn})
	set.SetLite(true)
	set.SetICEUDPMux(s.mux)
	s.tcps = ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: s.tcp, Logger: set.LoggerFactory.NewLogger("ice"), ReadBufferSize: 64,
		WriteBufferSize: tcpAhead, FirstStunBindTimeout: tcpFirstWord, AliveDurationForConnFromStun: tcpFirstWord})
	set.SetICETCPMux(s.tcps)
	set.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	set.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	set.SetICETimeouts(iceDisconnected, iceFailed, iceKeepAlive)
	set.SetIncludeLoopbackCandidate(cfg.Listen.Addr().IsLoopback() || cfg.Listen.Addr().IsUnspecified() && onlyLoopback())
	// GCM costs a third of AES-CM with SHA-1.
	set.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	if !cfg.ExternalIP.IsValid() {
		return set, nil
	}
	return set, set.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
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

// Addr is where the browsers' packets arrive.
func (s *Stack) Addr() netip.AddrPort {
	return s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Close frees the ports. The legs must have been closed.
func (s *Stack) Close() error {
	var err error
	if s.turn != nil {
		err = s.turn.close()
	}
	err = errors.Join(err, s.mux.Close(), s.tcps.Close())
	if cerr := s.conn.Close(); !errors.Is(cerr, net.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	return err
}

// steady is the socket of all legs. pion's mux sets its write deadline when one leg is closed, to free that leg's writers
// (ice 4.4.2, UDPMuxDefault.abortWrite): whatever another leg sends at that moment is lost, its goodbye too. A write by
// UDP waits for nobody and needs no freeing.
type steady struct{ *net.UDPConn }

func (s steady) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	runtime.Gosched() // packets come in bursts: those that were handed on go their way before the next is read
	return s.ReadFromUDPAddrPort(b)
}

func (s steady) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.WriteToUDPAddrPort(b, to)
}

func (steady) SetWriteDeadline(time.Time) error { return nil }

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
