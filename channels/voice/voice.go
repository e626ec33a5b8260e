// Package voice is the telephone: SIP to the outside, WebRTC to the agents' browsers, G.711 in between.
//
//	trunk --UDP--> edge --> sipgo --> sip.go: validate, find the call --> mailbox of the call
//	                                                                        |
//	agent's tab --bus: channels.CallSubject(id)--> CallSignal ------------> call.go: one goroutine, one select
//	                                                                        |
//	       caller's leg (media.UDPLeg)  <== sinks swapped, never SDP ==>  agent's leg (webleg.Leg)
//
// A call begins with an INVITE that a trunk may send to a number of ours. It is handed up (Config.Receive) before it is
// answered, so that no call exists that the house does not know. The caller talks with the responder (talk.go, package
// dialogue), or without speech engines hears prompts and presses keys; 0 is always a person. From the wish on the caller hears music until an agent's browser is connected; then the two legs'
// sinks are swapped and nothing of ours is in between. Every way a call can end stands in call.go's select.
//
// The package keeps no truth: calls live in this process and die with it, the rows belong to the switchboard.
package voice

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/archive"
	"patchbay/channels/voice/casebook"
	"patchbay/channels/voice/devices"
	"patchbay/channels/voice/doctor"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/trunks"
	"patchbay/channels/voice/turn"
	"patchbay/channels/voice/webleg"
	"patchbay/server/bus"
)

// Config is what the telephone needs. Zero values of what is marked so have defaults.
type Config struct {
	Listen     string         // SIP, UDP: "0.0.0.0:5060"
	ListenAlso []edge.Listen  // more SIP sockets
	TLS        *tls.Config    // the certificate for those by TLS
	Roots      *tls.Config    // how trunks' certificates are checked; nil: by the system's roots
	ExternalIP string         // announced in SIP and SDP; "" = the address that faces the peer
	Numbers    []string       // numbers (or SIP user names) that are ours; others get 404
	Trunks     []netip.Prefix // who may send us anything at all; everybody else gets no answer
	Phones     []netip.Prefix // from where the agents' SIP telephones may register; none = they cannot

	RTPMin, RTPMax   int    // ports of SIP legs; 0, 0 = any free ones
	WebRTCPort       int    // UDP and TCP port of all browser legs; 0 = any free one
	WebRTCExternalIP string // announced to browsers; "" = the host's own addresses
	TURN             webleg.TURNConfig
	MaxCalls         int // at once; beyond it 503; default 1000

	Keys map[string]string // digit -> prompt; default 1 = hours, 2 = returns. 0 and * have their fixed meaning

	// Borrow finds a free colleague for a consultation and counts them as busy until GiveBack (see package agents).
	Borrow   func(ctx context.Context, callID, by int64, t channels.CallTarget) (agentID int64, name string, err error)
	GiveBack func(ctx context.Context, callID, agentID int64) error

	Archive *archive.Archive // nil: nothing is recorded

	// CallTimes says when a conversation's customer can be called; nil: nobody chooses a time on the telephone.
	CallTimes func(ctx context.Context, conversationID int64) (channels.CallTimes, error)
	// Expect says where a conversation stands in line and how long it will wait (see package agents); place 0: it is not in
	// line. nil: callers in line hear no figures.
	Expect func(ctx context.Context, conversationID int64) (place int, low, high time.Duration, known bool)
	// HasRead tells whether an agent's screen has shown the conversation's hand-over card. nil: agents are not introduced.
	HasRead func(ctx context.Context, agentID, conversationID int64) (bool, error)

	Speech   Speech                  // hears and speaks; nil: callers have keys and prompts
	Language string                  // of the talk with the responder; "" = en
	Company  string                  // as the greeting says it
	Wish     func(words string) bool // a customer who says this wants a person (see package human); nil: that is the switchboard's alone to know

	Receive channels.Receive
	Bus     *bus.Bus
	Pool    *pgxpool.Pool // Join and End look up the conversation's call in it
	NodeID  string
	Log     *slog.Logger

	HideListening bool // agents do not see that a supervisor listens

	TraceDays int // the call doctor's records are kept so long: 30

	Times      Times
	PhoneTimes devices.Times
}

// Times are the clocks of a call; zero fields get the default.
type Times struct {
	T1, T2         time.Duration // RFC 3261: 500 ms, 4 s; a 2xx without ACK ends the call after 64*T1
	Receive        time.Duration // limit of one Receive: 5 s
	Retry          time.Duration // first pause before a failed Receive is tried again, doubling to 5 s: 500 ms
	Turn           turn.Times    // of the talk with the responder
	NoInput        time.Duration // silence after a prompt that counts as no input: 8 s
	AgentConnect   time.Duration // from join to the browser's connect: 10 s
	AgentBack      time.Duration // for a lost browser to come back: 20 s
	ConsultRing    time.Duration // a colleague's browser rings so long: 30 s
	OutsideRing    time.Duration // an outside number: 60 s
	CallerBack     time.Duration // as AgentBack, for the browser of a caller from the web page: 20 s
	WebUnanswered  time.Duration // a call from the web page that nobody answers ends after: 30 min
	NoRTPStart     time.Duration // no packet since the answer: 30 s
	NoRTP          time.Duration // no packet since the last: 60 s
	PhoneQuiet     time.Duration // an agent's telephone that sends nothing, also on hold, is asked whether it is there: 10 s
	ReInviteHold   time.Duration // a re-INVITE waits so long for the ACK before it: 500 ms
	TrunkRetry     time.Duration // a carrier that does not answer is asked again, doubling to 5 min: 2 s
	Voicemail      time.Duration // the longest message that a caller can leave: 3 min
	VoicemailQuiet time.Duration // so much silence ends it: 5 s
	LateVoicemail  time.Duration // it is looked for voicemails of dead processes at least so often, news or not: 1 min
	Echo           time.Duration // a test call ends after: 60 s
	LineFirst      time.Duration // from coming into line to the first look at the place: 300 ms
	LineLook       time.Duration // between looks: 10 s
	LineMoved      time.Duration // a better place is told at most so often: 15 s
	LineAgain      time.Duration // and the place at least so often: 60 s
	ShutdownGrace  time.Duration // for BYEs and the last Receives after that: 5 s
}

func (t Times) withDefaults() Times {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.T1, 500*time.Millisecond)
	def(&t.T2, 4*time.Second)
	def(&t.Receive, 5*time.Second)
	def(&t.Retry, 500*time.Millisecond)
	def(&t.NoInput, 8*time.Second)
	def(&t.AgentConnect, 10*time.Second)
	def(&t.AgentBack, 20*time.Second)
	def(&t.ConsultRing, 30*time.Second)
	def(&t.OutsideRing, time.Minute)
	def(&t.CallerBack, 20*time.Second)
	def(&t.WebUnanswered, 30*time.Minute)
	def(&t.NoRTPStart, 30*time.Second)
	def(&t.NoRTP, 60*time.Second)
	def(&t.PhoneQuiet, 10*time.Second)
	def(&t.ReInviteHold, 500*time.Millisecond)
	def(&t.Voicemail, 3*time.Minute)
	def(&t.VoicemailQuiet, 5*time.Second)
	def(&t.LateVoicemail, time.Minute)
	def(&t.Echo, time.Minute)
	def(&t.TrunkRetry, 2*time.Second)
	def(&t.LineFirst, 300*time.Millisecond)
	def(&t.LineLook, 10*time.Second)
	def(&t.LineMoved, 15*time.Second)
	def(&t.LineAgain, time.Minute)
	def(&t.ShutdownGrace, 5*time.Second)
	return t
}

// Voice is the running telephone.
type Voice struct {
	cfg     Config
	times   Times
	log     *slog.Logger
	edge    *edge.Edge
	sip     *sipleg.Stack
	ports   *media.Ports
	ports6  *media.Ports // nil: no IPv6
	pacer   *media.Pacer
	web     *webleg.Stack
	sounds  queueSounds
	prompts prompts
	trunks  *trunks.Shelf

	collector *doctor.Collector
	casebook  *casebook.Book
	phones    *devices.Registrar // the agents' SIP telephones; nil: without a database

	external netip.Addr // announced in SIP and SDP; invalid = the address that faces the peer

	panics      atomic.Int64
	trunksEnded chan struct{}

	mu       sync.Mutex // guards all but running
	calls    map[*call]bool
	owners   map[int64]*call         // by conversation
	lifted   map[int64]*lifted       // telephones from which an agent is calling out, by agent, until there is a call
	echoes   map[int64]chan struct{} // test calls by agent; closed to end one
	closing  bool
	draining bool           // no new calls
	emptied  chan struct{}  // while draining, closed with the last call's end
	running  sync.WaitGroup // calls and their helpers; Add under mu while not closing

	closeOnce sync.Once
	closeErr  error
	stopCalls context.CancelCauseFunc // ends what still runs
	callsCtx  context.Context
}

// realm of all logins here.
const realm = channels.Realm

const settle = 20 * time.Millisecond

var errStopping = errors.New("server stopped")

// New binds all sockets, so that a port in use is known at the start. Run serves, Close gives everything back.
func New(cfg Config) (*Voice, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxCalls == 0 {
		cfg.MaxCalls = 1000
	}
	if cfg.Keys == nil {
		cfg.Keys = map[string]string{"1": promptHours, "2": promptReturns}
	}
	v := &Voice{cfg: cfg, times: cfg.Times.withDefaults(), log: cfg.Log, pacer: media.NewPacer(),
		calls: make(map[*call]bool), owners: make(map[int64]*call), lifted: make(map[int64]*lifted), echoes: make(map[int64]chan struct{}), trunksEnded: make(chan struct{})}
	if v.cfg.TraceDays == 0 {
		v.cfg.TraceDays = 30
	}
	v.collector = doctor.NewCollector(doctor.CollectorConfig{})
	v.casebook = casebook.New(casebook.Config{Pool: cfg.Pool, Collector: v.collector, Days: v.cfg.TraceDays, Retry: v.times.Retry, Statement: v.times.Receive,
		Farewell: v.times.ShutdownGrace, Log: cfg.Log})
	v.callsCtx, v.stopCalls = context.WithCancelCause(context.Background())
	if err := v.open(); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

func (v *Voice) open() (err error) {
	if v.cfg.ExternalIP != "" {
		if v.external, err = netip.ParseAddr(v.cfg.ExternalIP); err != nil {
			return fmt.Errorf("external address: %w", err)
		}
	}
	var webIP netip.Addr
	if v.cfg.WebRTCExternalIP != "" {
		if webIP, err = netip.ParseAddr(v.cfg.WebRTCExternalIP); err != nil {
			return fmt.Errorf("external webrtc address: %w", err)
		}
	}
	if v.prompts, err = loadPrompts(v.cfg.Keys); err != nil {
		return err
	}
	logins, err := edge.NewDigest(realm, v.account)
	if err != nil {
		return err
	}
	if v.edge, err = edge.Open(edge.Config{Listen: append([]edge.Listen{{Transport: "udp", Addr: v.cfg.Listen}}, v.cfg.ListenAlso...), TLS: v.cfg.TLS, Roots: v.cfg.Roots,
		Digest: logins, Trace: v.traced, Log: v.log}); err != nil {
		return err
	}
	v.trunks = trunks.New(v.trunksConfig())
	if v.cfg.Pool != nil {
		v.phones = devices.New(devices.Config{Pool: v.cfg.Pool, Bus: v.cfg.Bus, NodeID: v.cfg.NodeID, Log: v.log,
			Authenticate: v.edge.Authenticate, Welcome: v.edge.Welcome, Request: v.request, Times: v.cfg.PhoneTimes})
	}
	local := v.edge.Addr("udp")
	v.ports = media.NewPorts(local.Addr().Unmap(), v.cfg.RTPMin, v.cfg.RTPMax)
	for _, transport := range []string{"udp", "tcp", "tls"} {
		if six := v.edge.AddrFor(transport, netip.IPv6Loopback()).Addr(); local.Addr().Is4() && six.IsValid() && v.ports6 == nil {
			v.ports6 = media.NewPorts(six, v.cfg.RTPMin, v.cfg.RTPMax)
		}
	}
	if v.web, err = webleg.Open(webleg.Config{Listen: netip.AddrPortFrom(local.Addr().Unmap(), uint16(v.cfg.WebRTCPort)), ExternalIP: webIP,
		TURN: v.cfg.TURN, Pacer: v.pacer, Log: v.log}); err != nil {
		return err
	}
	v.sip, err = sipleg.Open(sipleg.Config{Edge: v.edge, Ports: v.ports, Ports6: v.ports6, Pacer: v.pacer, Log: v.log, Most: 2 * v.cfg.MaxCalls,
		OnInvite: v.admit, OnRequest: v.outside, OnPanic: func() { v.panics.Add(1) },
		Times: sipleg.Times{T1: v.times.T1, T2: v.times.T2, ReInviteHold: v.times.ReInviteHold}})
	return err
}

// admit takes a call that comes in, or refuses it.
func (v *Voice) admit(leg *sipleg.Leg) {
	a, r := v.arrival(leg)
	if r != nil && v.fromPhone(leg) {
		if r = v.lift(leg); r == nil {
			return
		}
	}
	if r != nil {
		leg.Refuse(r.Code, r.Reason, r.Headers...)
		return
	}
	if old := leg.Replaces(); old != nil { // one who is in a call already is somebody else from now on (RFC 3891)
		old.Replace(leg)
		return
	}
	if a.Number.Kind == channels.EchoNumber {
		v.sayBack(leg, a.Trunk.Accept(nil, v.external), a.Trunk.Begin)
		return
	}
	c := newCall(v, leg, a)
	if !v.enter(c) {
		leg.Refuse(503, "")
		return
	}
	if err := leg.Accept(a.Trunk.Accept(c.hears(c.who[callerSeat]), v.external)); err != nil {
		v.log.Info("call refused", "err", err)
		v.leave(c)
		return
	}
	over := a.Trunk.Begin()
	go func() {
		defer v.leave(c)
		defer over()
		c.run()
	}()
}

// arrival is who calls, whom, and by which trunk; one that must log in does so first.
func (v *Voice) arrival(leg *sipleg.Leg) (trunks.Arrival, *edge.Refusal) {
	a, r := v.trunks.Arrive(leg.Info().Source.Addr(), leg.Invite(), leg.Replaces() != nil)
	if r != nil || !a.Login {
		return a, r
	}
	account, r := v.edge.Authenticate(leg.Invite())
	if r == nil && account.User != a.Trunk.Login() {
		r = edge.Refuse(403, "Forbidden")
	}
	return a, r
}

// enter counts a call in; false: there is no room, or no more time.
func (v *Voice) enter(c *call) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.enterLocked(c)
}

func (v *Voice) enterLocked(c *call) bool {
	if v.closing || v.draining || len(v.calls) >= v.cfg.MaxCalls {
		return false
	}
	v.calls[c] = true
	v.running.Add(1)
	return true
}

func (v *Voice) leave(c *call) {
	v.mu.Lock()
	delete(v.calls, c)
	if len(v.calls) == 0 && v.emptied != nil {
		close(v.emptied)
		v.emptied = nil
	}
	if v.owners[c.conversation] == c { // its goroutine has ended
		delete(v.owners, c.conversation)
	}
	v.mu.Unlock()
	v.running.Done()
}

// trunksConfig ties the trunks to this telephone. What the settings say is one more trunk, that lets calls in.
func (v *Voice) trunksConfig() trunks.Config {
	settings := channels.Trunk{Name: "the settings", Enabled: true, CallerHeader: "pai", CalledHeader: "ruri", Transport: "udp",
		Codecs: []string{sdp.PCMU, sdp.PCMA}, SRTP: sdp.Off, Latch: "auto"}
	for _, p := range v.cfg.Trunks {
		settings.Sources = append(settings.Sources, p.String())
	}
	return trunks.Config{Pool: v.cfg.Pool, Bus: v.cfg.Bus, NodeID: v.cfg.NodeID, BuiltIn: settings, Numbers: v.cfg.Numbers,
		Request: v.request, Resolve: new(edge.Resolver).Resolve, Here: v.hereFor, Log: v.log,
		Times: trunks.Times{T1: v.times.T1, Retry: v.times.TrunkRetry},
		Hear: func(trusted, toSource []netip.Prefix) {
			v.edge.SetPolicy(edge.Policy{Trusted: trusted, Phones: v.cfg.Phones, Source: toSource})
		}}
}

// request sends a request outside any call to a hop and waits for its final answer.
func (v *Voice) request(ctx context.Context, req *sip.Request, to edge.Hop) (*sip.Response, error) {
	return v.sip.Request(ctx, req, to)
}

// hereFor is the address we announce to a trunk's server; announce is what the trunk itself says, perhaps nothing.
func (v *Voice) hereFor(h edge.Hop, announce string) netip.AddrPort {
	ip, err := netip.ParseAddr(announce)
	if err != nil {
		ip = v.external
	}
	return v.sip.Here(h, ip)
}

// Addr is where SIP is listened to.
func (v *Voice) Addr() netip.AddrPort {
	return v.edge.Addr("udp")
}

// Run serves until ctx ends; then it hangs up what is left (see Drain), waits up to Times.ShutdownGrace for the farewells,
// and closes everything.
func (v *Voice) Run(ctx context.Context) error {
	unbus, err := v.cfg.Bus.Respond(channels.VoiceSubject(v.cfg.NodeID), v.asked)
	if err != nil {
		return errors.Join(fmt.Errorf("telephone's bus: %w", err), v.Close())
	}
	unwatch, err := v.watchSounds()
	if err != nil {
		unbus()
		return errors.Join(fmt.Errorf("telephone's bus: %w", err), v.Close())
	}
	defer unwatch()
	unoffers, err := v.cfg.Bus.Subscribe(channels.OfferSubject, v.offers)
	if err != nil {
		unbus()
		return errors.Join(fmt.Errorf("telephone's bus: %w", err), v.Close())
	}
	pacerCtx, stopPacer := context.WithCancel(context.Background())
	defer stopPacer()
	var parts sync.WaitGroup
	served := make(chan error, 1)
	trunksCtx, stopTrunks := context.WithCancel(context.WithoutCancel(ctx)) // unregistering needs the sockets, too
	defer stopTrunks()
	parts.Go(func() {
		defer close(v.trunksEnded)
		if err := v.trunks.Run(trunksCtx); err != nil {
			v.log.Error("trunks", "err", err)
		}
	})
	if v.phones != nil {
		parts.Go(func() {
			if err := v.phones.Run(trunksCtx); err != nil {
				v.log.Error("telephones", "err", err)
			}
		})
		<-v.phones.Known()
	}
	casebookCtx, stopCasebook := context.WithCancel(context.Background())
	defer stopCasebook()
	parts.Go(func() { v.casebook.Run(casebookCtx) })
	parts.Go(func() { v.handLate(trunksCtx) })
	parts.Go(func() { _ = v.pacer.Run(pacerCtx) })                       // returns its ctx's error
	parts.Go(func() { served <- v.sip.Run(context.WithoutCancel(ctx)) }) // until Close: farewells need the sockets
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	unbus()
	stopTrunks()
	<-v.trunksEnded
	v.hangUpAll()
	unoffers()
	stopCasebook()
	stopPacer()
	err = errors.Join(err, v.Close())
	parts.Wait()
	return err
}

// Drain takes no new calls from now on and returns when the last running one has ended, or with ctx. tell hears how many
// there are, if any.
func (v *Voice) Drain(ctx context.Context, tell func(calls int)) {
	v.sip.Refuse()
	emptied := make(chan struct{})
	v.mu.Lock()
	v.draining = true
	calls := len(v.calls)
	if calls > 0 {
		v.emptied = emptied
	}
	v.mu.Unlock()
	if calls == 0 {
		return
	}
	tell(calls)
	select {
	case <-emptied:
	case <-ctx.Done():
	}
}

// Draining tells whether new calls are refused.
func (v *Voice) Draining() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.draining || v.closing
}

// hangUpAll ends what still runs.
func (v *Voice) hangUpAll() {
	v.sip.Refuse()
	v.mu.Lock()
	v.closing = true
	for c := range v.calls {
		go c.post(stopped{}) // it may be on its way out, and read nothing more
	}
	v.mu.Unlock()
	ended := make(chan struct{})
	go func() { v.running.Wait(); v.sip.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(v.times.ShutdownGrace):
		v.log.Warn("calls cut off at the end", "calls", v.Calls())
	}
	v.stopCalls(errStopping) // whoever still tries gives up now
	v.sip.Cut()
	<-ended
}

// Close gives everything back. Call it when Run was never called; Run does it by itself. It may be called twice.
func (v *Voice) Close() error {
	v.closeOnce.Do(func() {
		v.mu.Lock()
		v.closing = true
		v.mu.Unlock()
		v.stopCalls(errStopping)
		if v.sip != nil {
			v.sip.Cut()
		}
		v.running.Wait()
		if v.edge != nil {
			// sipgo gives each message a goroutine that nobody can wait for; one that finds the listener closed
			// opens a connection of its own, which nobody closes. They take microseconds.
			v.edge.Deafen()
			<-time.After(settle)
		}
		var errs []error
		if v.sip != nil {
			errs = append(errs, v.sip.Close())
		}
		if v.edge != nil {
			errs = append(errs, v.edge.Close())
		}
		if v.web != nil {
			errs = append(errs, v.web.Close())
		}
		for _, p := range []*media.Ports{v.ports, v.ports6} {
			if p != nil {
				errs = append(errs, p.Close())
			}
		}
		v.closeErr = errors.Join(errs...)
	})
	return v.closeErr
}

// Calls counts the calls that are running.
func (v *Voice) Calls() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.calls)
}

// Panics counts what the handlers had to catch; tests and metrics look at it.
func (v *Voice) Panics() int64 { return v.panics.Load() }

// ICE is what a browser gets that must reach us through closed networks: our relay with credentials for that user, or
// nothing when there is none. Any goroutine may ask.
func (v *Voice) ICE(user string) []channels.ICEServer {
	r, ok := v.web.Relay(user)
	if !ok {
		return []channels.ICEServer{}
	}
	return []channels.ICEServer{{URLs: r.URLs, Username: r.Username, Credential: r.Credential}}
}

// publish sends a frame to an agent's tabs.
func (v *Voice) publish(agentID int64, frame any) {
	if err := v.cfg.Bus.Publish(channels.AgentSubject(agentID), frame); err != nil {
		v.log.Warn("call news", "agent", agentID, "err", err)
	}
}

// unpack reads a command from the bus.
func unpack(data []byte) (channels.CallSignal, *channels.Error) {
	var sig channels.CallSignal
	if err := json.Unmarshal(data, &sig); err != nil {
		return sig, channels.Fail(channels.Invalid, "This is not a call command.")
	}
	return sig, nil
}
