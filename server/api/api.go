// Package api is the desk's door: HTTP under /api as openapi.yaml says, one WebSocket per tab, and the built pages.
//
//	browser ── HTTP ──▶ guard (session, Origin) ─▶ check (shape) ─▶ permit (role) ─▶ handler ─▶ Flow, agents, report
//	        ◀─ socket ── tab ◀── hub ◀── bus: desk, agent.<id>, conversation.<id>
//
// It decides who may ask and in which form, and translates errors; what happens is decided by the flow. openapi.yaml is
// the only description: the types and routes in api.gen.go are generated from it, and requests are checked against it.
package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/bus"
)

// Flow is what agents do to conversations: the verbs of switchboard.Switchboard.
type Flow struct {
	Reply    func(ctx context.Context, agentID, conversationID int64, clientID, body string, note bool) (*channels.Message, error)
	Accept   func(ctx context.Context, agentID, offerID int64) (conversationID int64, err error)
	Decline  func(ctx context.Context, agentID, offerID int64) error
	Take     func(ctx context.Context, agentID, conversationID int64) error
	Transfer func(ctx context.Context, agentID, conversationID int64, to channels.CallTarget, note string) error
	// TransferCall is Transfer for a running call.
	TransferCall func(ctx context.Context, agentID, callID int64, to channels.CallTarget) error
	End          func(ctx context.Context, agentID, conversationID int64) error
	// CallNow and CancelCall are a supervisor's word on a call back.
	CallNow     func(ctx context.Context, agentID, conversationID int64) error
	CancelCall  func(ctx context.Context, agentID, conversationID int64) error
	Close       func(ctx context.Context, agentID, conversationID int64, disposition, note string) error
	WrapUpDraft func(ctx context.Context, agentID, conversationID int64) (*channels.WrapUpDraft, error)
	AddAddress  func(ctx context.Context, agentID, contactID int64, a channels.Address) error
	PeopleOnly  func(ctx context.Context, agentID, contactID int64, on bool) error
	RemoveQueue func(ctx context.Context, id, to int64) (moved int, err error)
	RemoveAgent func(ctx context.Context, by, agentID int64) (returned int, err error)
	// Dial calls a number for the agent; conversationID 0: the one of the contact, or a new one.
	Dial func(ctx context.Context, agentID int64, number, from string, conversationID int64) (callID, conversation int64, err error)
}

// Config is what the door needs. Pool, Bus, NodeID, Flow and Web are required.
type Config struct {
	Pool   *pgxpool.Pool
	Bus    *bus.Bus
	NodeID string // has a row in nodes
	Log    *slog.Logger
	Flow   Flow
	Web    fs.FS // the built pages, webui.Dist()

	Reports    Reports
	Recordings Recordings // without verbs: there are none to be played

	Build          string   // names the pages' build; an open desk of another build offers to reload
	PublicURL      string   // where browsers find us; https makes the cookie Secure. "": wherever they say they are
	TrustedProxies []string // addresses or networks whose X-Forwarded-For is believed

	// ICE gives a browser the servers that help it through closed networks, with credentials for that user; nil: none.
	ICE func(user string) []channels.ICEServer

	// Model is what the responder's models do now; nil: there is no responder.
	Model func() channels.ModelState

	// Engines are what hears and speaks here; nil: nothing does.
	Engines func() []channels.SpeechEngine

	Version string            // of the program, for support bundles
	Facts   map[string]string // settings that matter for calls, for support bundles; what is personal in them is masked there

	Ready   func() error         // why not to send us more, though database and bus answer; nil: never
	Metrics prometheus.Gatherer  // nil: no /metrics
	Mount   []func(fiber.Router) // the channels' own routes; Locals("peer") holds the caller's address
}

// Server is the door. App is to be served by the caller while Run runs.
type Server struct {
	App *fiber.App

	cfg     Config
	log     *slog.Logger
	login   *agents.Login
	spec    *spec
	pages   map[string]file
	hub     *hub
	public  *url.URL // nil: unknown
	proxies []netip.Prefix

	writeLimit time.Duration // tests shorten it
}

// New builds the door; mistakes in cfg are reported together.
func New(cfg Config) (*Server, error) {
	if cfg.Pool == nil || cfg.Bus == nil || cfg.NodeID == "" || cfg.Web == nil {
		return nil, errors.New("api: Pool, Bus, NodeID and Web are needed")
	}
	if cfg.Engines == nil {
		cfg.Engines = func() []channels.SpeechEngine { return []channels.SpeechEngine{} }
	}
	s := &Server{cfg: cfg, log: cfg.Log, login: agents.NewLogin(cfg.Pool), writeLimit: writeLimit}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.log = s.log.With("room", "api")
	var errs []error
	var err error
	if cfg.PublicURL != "" {
		if s.public, err = url.Parse(cfg.PublicURL); err != nil || s.public.Host == "" {
			errs = append(errs, errors.New("api: the public URL is like https://desk.example.org"))
		}
	}
	for _, text := range cfg.TrustedProxies {
		p, err := parsePrefix(text)
		errs = append(errs, err)
		s.proxies = append(s.proxies, p)
	}
	if s.spec, err = loadSpec(); err != nil {
		errs = append(errs, err)
	}
	if s.pages, err = loadPages(cfg.Web); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.hub = newHub(s)
	s.App = s.routes()
	return s, nil
}

const sweepLoginsEvery = time.Hour

// Run keeps the sockets supplied until ctx ends; then it closes them with 1001 and returns when the last has ended.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sweepLoginsEvery)
		defer tick.Stop()
		for {
			if err := s.login.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("old logins stay", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	err := s.hub.run(ctx)
	<-done
	return err
}

func parsePrefix(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, errors.New("api: trusted proxy " + text + ": want an address or a network like 10.0.0.0/8")
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}
