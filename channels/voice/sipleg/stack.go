package sipleg

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
)

// Stack is SIP for one process: it serves what the edge lets in and keeps the legs.
type Stack struct {
	cfg    Config
	times  Times
	rules  edge.Rules
	log    *slog.Logger
	ua     *sipgo.UserAgent
	server *sipgo.Server
	panics atomic.Int64

	certificate tls.Certificate // of DTLS-SRTP; made for this process
	fingerprint string

	ctx     context.Context // ends what still runs
	cut     context.CancelCauseFunc
	running sync.WaitGroup // legs and their helpers

	mu       sync.Mutex // guards the rest
	legs     map[dialogKey]*Leg
	invites  map[inviteKey]*Leg // for merged requests and CANCELs without a transaction
	refused  map[inviteKey]refused
	refusing bool // no new legs
	closing  bool // nothing new at all
}

// dialogKey names a dialog by our half; the leg itself compares the remote tag.
type dialogKey struct{ callID, localTag string }

// inviteKey names a request by what all its forks have in common (RFC 3261 section 8.2.2.2).
type inviteKey struct {
	callID, fromTag string
	seq             uint32
}

// refused is a final refusal that we keep: the same request, come late by another way, must not begin a new call.
type refused struct {
	branch string
	answer *edge.Refusal
	until  time.Time
}

var errStopping = errors.New("sip stack closed")

// Open makes the stack; Run serves.
func Open(cfg Config) (*Stack, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Most == 0 {
		cfg.Most = 1000
	}
	s := &Stack{cfg: cfg, times: cfg.Times.withDefaults(), log: cfg.Log,
		legs: make(map[dialogKey]*Leg), invites: make(map[inviteKey]*Leg), refused: make(map[inviteKey]refused)}
	if s.rules = rules; cfg.OnRequest != nil {
		s.rules.Methods = append(slices.Clone(rules.Methods), sip.REGISTER)
	}
	s.ctx, s.cut = context.WithCancelCause(context.Background())
	var err error
	if s.certificate, err = media.NewCertificate(); err != nil {
		return nil, fmt.Errorf("media certificate: %w", err)
	}
	s.fingerprint = media.Fingerprint(s.certificate)
	quiet := slog.New(newQuiet(s.log.Handler()))
	s.ua, err = sipgo.NewUA(sipgo.WithUserAgent("patchbay"),
		sipgo.WithUserAgentTransportLayerOptions(append(edge.Options(), sip.WithTransportLayerLogger(quiet))...),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet),
			// a response to nothing: late, or not meant for us
			sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {})))
	if err != nil {
		return nil, fmt.Errorf("sip stack: %w", err)
	}
	if s.server, err = sipgo.NewServer(s.ua, sipgo.WithServerLogger(quiet)); err != nil {
		return nil, fmt.Errorf("sip server: %w", err)
	}
	s.server.OnNoRoute(s.serve) // every method comes through the one wrapper
	return s, nil
}

// Run serves until ctx ends or the listeners do. Legs go on: Drain and Close end them.
func (s *Stack) Run(ctx context.Context) error { return s.cfg.Edge.Serve(ctx, s.server) }

// Refuse takes no new calls from now on.
func (s *Stack) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = true
}

// Legs are the legs that live.
func (s *Stack) Legs() []*Leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Leg, 0, len(s.legs))
	for _, l := range s.legs {
		list = append(list, l)
	}
	return list
}

// Panics counts what had to be caught.
func (s *Stack) Panics() int64 { return s.panics.Load() }

// Connections counts sipgo's connections of a network: sources it has heard and sockets it has opened.
func (s *Stack) Connections(network string) int { return s.ua.TransportLayer().Pool(network).Size() }

// Wait returns when every leg and every farewell has ended.
func (s *Stack) Wait() { s.running.Wait() }

// Cut ends every leg at once, without a word to anybody, and waits for their goroutines.
func (s *Stack) Cut() {
	s.mu.Lock()
	s.refusing, s.closing = true, true
	s.mu.Unlock()
	s.cut(errStopping)
	s.ua.TransactionLayer().Close() // and whoever waits for an answer
	s.running.Wait()
}

// Close gives everything back. The edge must have stopped hearing.
func (s *Stack) Close() error {
	s.Cut()
	return s.ua.Close()
}

// serve takes every request that sipgo has a transaction for, each on its own goroutine. sipgo ends the transaction
// when a handler returns without a final answer, so whoever answers later keeps serve waiting.
func (s *Stack) serve(req *sip.Request, tx sip.ServerTransaction) {
	defer func() {
		if r := recover(); r != nil {
			s.caught("sip handler", r)
			if req.Method != sip.ACK {
				s.reject(req, tx, edge.Refuse(500, "Server Internal Error"))
			}
		}
	}()
	if req.Method == sip.ACK { // never answered (RFC 3261 section 17)
		if req.CallID() != nil && req.From() != nil && req.To() != nil && req.CSeq() != nil {
			if l := s.find(req); l != nil {
				l.mail.put(func() { l.onAck(req) })
			}
		}
		return
	}
	if r := edge.Validate(req, s.rules); r != nil {
		s.reject(req, tx, r)
		return
	}
	switch _, inDialog := req.To().Params.Get("tag"); {
	case req.Method == sip.CANCEL:
		s.cancel(req, tx)
	case inDialog:
		l := s.find(req)
		if l == nil {
			s.reject(req, tx, unknownDialog())
			return
		}
		l.serve(req, tx)
	case req.Method == sip.INVITE:
		s.invite(req, tx)
	default:
		s.outside(req, tx)
	}
}

func (s *Stack) caught(where string, r any) {
	s.panics.Add(1)
	s.log.Error(where+" panic", "panic", r, "stack", string(debug.Stack()))
	if s.cfg.OnPanic != nil {
		s.cfg.OnPanic()
	}
}

// outside answers what is in no dialog.
func (s *Stack) outside(req *sip.Request, tx sip.ServerTransaction) {
	if s.cfg.OnRequest != nil {
		if r := s.cfg.OnRequest(req); r != nil {
			s.reject(req, tx, r)
			return
		}
	}
	switch req.Method {
	case sip.OPTIONS:
		s.reject(req, tx, s.options())
	case sip.REGISTER:
		s.reject(req, tx, edge.Refuse(405, "Method Not Allowed", rules.Allow()))
	case sip.REFER: // a transfer of a call that is none of ours
		s.reject(req, tx, edge.Refuse(603, "Decline"))
	case sip.PRACK:
		if len(req.GetHeaders("rack")) == 0 {
			s.reject(req, tx, edge.Refuse(400, "Missing RAck"))
			return
		}
		s.reject(req, tx, unknownDialog())
	default: // BYE, INFO, UPDATE, NOTIFY
		s.reject(req, tx, unknownDialog())
	}
}

// options tells a peer what we can, and that we are alive.
func (s *Stack) options() *edge.Refusal {
	s.mu.Lock()
	refusing := s.refusing
	s.mu.Unlock()
	if refusing {
		return busy()
	}
	return edge.Refuse(200, "OK", rules.Allow(), sip.NewHeader("Accept", edge.TypeSDP), sip.NewHeader("Accept-Encoding", "identity"),
		sip.NewHeader("Accept-Language", "en"), rules.Supported())
}

// cancel takes a CANCEL that matches no transaction: those that do are handled inside sipgo. Some peers give it a branch of
// its own; then Call-ID, From tag and CSeq still say which INVITE is meant (RFC 2543).
func (s *Stack) cancel(req *sip.Request, tx sip.ServerTransaction) {
	s.mu.Lock()
	l := s.invites[inviteKey{req.CallID().Value(), tagOf(req.From().Params), req.CSeq().SeqNo}]
	s.mu.Unlock()
	if l == nil {
		s.reject(req, tx, unknownDialog())
		return
	}
	s.reject(req, tx, edge.Refuse(200, "OK")) // before the 487
	l.mail.put(func() { l.onCancelled(true) })
}

// reject answers a request outside any leg.
func (s *Stack) reject(req *sip.Request, tx sip.ServerTransaction, r *edge.Refusal) {
	res := newResponse(req, r.Code, r.Reason, nil)
	for _, h := range r.Headers {
		res.AppendHeader(h)
	}
	s.respond(tx, res)
}

func (s *Stack) respond(tx sip.ServerTransaction, res *sip.Response) {
	if err := tx.Respond(res); err != nil && !errors.Is(err, sip.ErrTransactionCanceled) {
		s.log.Debug("sip answer", "code", res.StatusCode, "err", err)
	}
}

// find looks a leg up by Call-ID and our tag, never by request URI. The leg looks at their tag.
func (s *Stack) find(req *sip.Request) *Leg {
	return s.leg(dialogKey{req.CallID().Value(), tagOf(req.To().Params)})
}

func (s *Stack) leg(key dialogKey) *Leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.legs[key]
}

// invite begins a leg and runs it; it returns when the leg is over.
func (s *Stack) invite(req *sip.Request, tx sip.ServerTransaction) {
	l := newInbound(s, req, tx)
	s.respond(tx, newResponse(req, 100, "Trying", nil)) // at once: sipgo waits 200 ms
	r := s.enter(l)
	if r == nil {
		r = l.check(req)
		if r != nil {
			s.leave(l)
		}
	}
	if r != nil {
		s.reject(req, tx, r)
		return
	}
	defer s.leave(l)
	l.ring(tx)
	func() {
		defer func() {
			if r := recover(); r != nil {
				s.caught("invite owner", r)
				l.Refuse(500, "")
			}
		}()
		s.cfg.OnInvite(l)
	}()
	l.run()
}

// enter registers a leg, or says why it may not begin.
func (s *Stack) enter(l *Leg) *edge.Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.info.Inbound {
		if s.invites[l.merge] != nil { // the same request by another way (RFC 3261 section 8.2.2.2)
			return edge.Refuse(482, "Loop Detected")
		}
		if old, ok := s.refused[l.merge]; ok && time.Now().Before(old.until) {
			if old.branch == branchOf(l.in.req) { // repeated after its transaction was forgotten
				return old.answer
			}
			return edge.Refuse(482, "Loop Detected")
		}
	}
	if s.refusing || len(s.legs) >= s.cfg.Most {
		return busy()
	}
	if l.info.Inbound {
		s.invites[l.merge] = l
	}
	s.legs[l.key] = l
	s.running.Add(1)
	return nil
}

// leave forgets a leg. What it was refused with stays known for as long as the request may be repeated.
func (s *Stack) leave(l *Leg) {
	s.mu.Lock()
	delete(s.legs, l.key)
	if l.info.Inbound && s.invites[l.merge] == l {
		delete(s.invites, l.merge)
		now := time.Now()
		if l.in.refusal != nil {
			s.refused[l.merge] = refused{branchOf(l.in.req), l.in.refusal, now.Add(64 * s.times.T1)}
		}
		for k, r := range s.refused {
			if now.After(r.until) {
				delete(s.refused, k)
			}
		}
	}
	s.mu.Unlock()
	s.running.Done()
}

func branchOf(req *sip.Request) string {
	if via := req.Via(); via != nil {
		b, _ := via.Params.Get("branch")
		return b
	}
	return ""
}

// byeLater sends the BYE of a dialog and forgets it whatever comes back (RFC 3261 section 15). It outlives the leg: a
// dead peer takes 64*T1 to be given up. The caller is one of s.running.
func (s *Stack) byeLater(d *dialog, reason string) {
	req, err := d.request(sip.BYE)
	if err != nil {
		s.log.Warn("bye", "sip_call", d.callID, "err", err)
		return
	}
	req.AppendHeader(sip.NewHeader("Reason", `SIP;cause=200;text="`+HeaderText(reason)+`"`)) // RFC 3326
	s.beside(func() {
		ctx, cancel := context.WithTimeout(s.ctx, 64*s.times.T1)
		defer cancel()
		if _, err := s.transact(ctx, req); err != nil {
			s.log.Info("bye without answer", "sip_call", d.callID, "err", err)
		}
	})
}

// beside runs f on a goroutine of its own that the stack waits for. The caller is one of s.running.
func (s *Stack) beside(f func()) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer func() {
			if r := recover(); r != nil {
				s.caught("sip helper", r)
			}
		}()
		f()
	}()
}
