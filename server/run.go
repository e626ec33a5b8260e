package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/chat"
	"patchbay/channels/email"
	"patchbay/channels/voice"
	"patchbay/channels/voice/archive"
	"patchbay/channels/voice/speech"
	"patchbay/llm"
	"patchbay/server/alarms"
	"patchbay/server/api"
	"patchbay/server/bus"
	"patchbay/server/db"
	"patchbay/server/report"
	"patchbay/server/switchboard"
	"patchbay/server/synthetic"
	"patchbay/webui"
)

// stopGrace is how long the second step of a stop may take.
const stopGrace = 15 * time.Second

// house is the parts of a running server, in the order in which they are built; it is stopped in reverse.
type house struct {
	cfg       Config
	log       *slog.Logger
	out       func(format string, args ...any) // what the person who starts it reads
	web       net.Listener
	node      string
	nodeName  string // the same after a restart
	db        *db.DB
	bus       *bus.Bus
	responder *llm.Standby
	speech    *speech.Engines // nil: none is set
	flow      *switchboard.Switchboard
	archive   *archive.Archive
	voice     *voice.Voice
	mail      *email.Channel
	chat      *chat.Chat
	line      *agents.Line
	router    *agents.Router
	alarms    *alarms.Hook
	api       *api.Server
	metrics   *prometheus.Registry
	queue     int64
	testPhone netip.Addr // our own test customer calls from here; invalid: it has no telephone
}

// run starts the whole house and returns after it has stopped: when ctx ends, or a part fails.
func run(ctx context.Context, cfg Config, log *slog.Logger, out func(format string, args ...any)) error {
	return (&house{cfg: cfg, log: log, out: out}).run(ctx)
}

func (h *house) run(ctx context.Context) (err error) {
	began := time.Now()
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.ground(ctx); err != nil {
		return err
	}
	if err := h.rooms(ctx); err != nil {
		return err
	}
	links, err := h.furnish(ctx)
	if err != nil {
		return err
	}
	return h.live(ctx, func() { h.greet(links, time.Since(began)) })
}

// ground: the port, the database, the bus and this node's name. The port comes first: who holds it may say that every
// older process of this name is dead.
func (h *house) ground(ctx context.Context) (err error) {
	if h.web, err = net.Listen("tcp", h.cfg.HTTP.Listen); err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	if h.db, err = db.Open(ctx, db.Config{URL: h.cfg.Database.URL, DataDir: h.cfg.DataDir, Log: h.log}); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	if h.bus, err = bus.Open(ctx, h.cfg.NATS.URL, h.log); err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	h.nodeName = h.cfg.Node.Name + "/" + h.web.Addr().String()
	h.node = h.nodeName + "/" + nonce()
	return switchboard.Join(ctx, h.db.Pool, h.node, h.nodeName)
}

func nonce() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// rooms builds the channels, the responder, the flow and the API.
func (h *house) rooms(ctx context.Context) (err error) {
	if h.queue, err = agents.FirstQueue(ctx, h.db.Pool); err != nil {
		return err
	}
	h.metrics = prometheus.NewRegistry()
	h.metrics.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/live:bytes$")})))
	if h.responder, err = llm.NewStandby(llm.Config{Pool: h.db.Pool, Company: h.cfg.Company.Name, Log: h.log, Metrics: h.metrics,
		FirstToken: time.Duration(h.cfg.Ollama.FirstTokenSeconds) * time.Second, Total: time.Duration(h.cfg.Ollama.TotalSeconds) * time.Second,
		Threads: h.cfg.Ollama.NumThread, Places: h.cfg.Ollama.Places}); err != nil {
		return fmt.Errorf("responder: %w", err)
	}
	// the one call that goes up: channels hand to the flow what came in
	receive := func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
		return h.flow.Receive(ctx, in)
	}
	if h.archive, err = archive.Open(h.archiveConfig()); err != nil {
		return err
	}
	if engines, ok := h.cfg.Speech.engines(h.log); ok {
		if h.speech, err = speech.Open(engines); err != nil { // it makes itself ready beside the start
			return fmt.Errorf("speech: %w", err)
		}
	}
	h.line = agents.NewLine(h.db.Pool)
	ways := map[channels.Kind]switchboard.Channel{}
	if h.cfg.SIP.Listen != "" {
		h.testPhone = h.cfg.testPhoneAddress()
		telephone, err := h.voiceConfig(receive)
		if err == nil {
			h.voice, err = voice.New(telephone)
		}
		if err != nil {
			return fmt.Errorf("voice: %w", err)
		}
		ways[channels.Voice] = h.voice
	}
	if h.cfg.Mail.IMAPHost != "" {
		if h.mail, err = email.New(h.mailConfig(receive)); err != nil {
			return fmt.Errorf("mail: %w", err)
		}
		ways[channels.Email] = h.mail
	}
	if h.chat, err = chat.New(chat.Config{Pool: h.db.Pool, Bus: h.bus, Receive: receive, Log: h.log, Company: h.cfg.Company.Name,
		Phone: h.phone(), Mail: h.cfg.Mail.Address, PublicURL: h.publicURL(), Origins: h.cfg.HTTP.AllowedOrigins,
		Messages: h.mail != nil, Calls: h.voice != nil && h.cfg.Chat.Calls, NodeID: h.node, ICE: h.ice,
		Expect: h.line.Expect, DialsOut: h.dialsOut, CallTimes: func(ctx context.Context, id int64) (channels.CallTimes, error) {
			return agents.CallTimes(ctx, h.db.Pool, id)
		}, Limits: chat.Limits{
			VisitorRate: float64(h.cfg.Chat.VisitorPerSecond), VisitorBurst: 5 * h.cfg.Chat.VisitorPerSecond,
			AddressRate: float64(h.cfg.Chat.AddressPerSecond), AddressBurst: 5 * h.cfg.Chat.AddressPerSecond, Sockets: h.cfg.Chat.AddressSockets,
			AddressCalls: h.cfg.Chat.AddressCalls},
	}); err != nil {
		return fmt.Errorf("chat: %w", err)
	}
	ways[channels.Chat] = h.chat
	h.flow = switchboard.New(switchboard.Config{Pool: h.db.Pool, Bus: h.bus, NodeID: h.node, Log: h.log, Responder: h.responder.Responder,
		Channels: ways, QueueID: h.queue})
	h.router = agents.NewRouter(agents.RouterConfig{Pool: h.db.Pool, Bus: h.bus, NodeID: h.node, Log: h.log, Metrics: h.metrics})
	h.alarms = alarms.New(alarms.Config{Pool: h.db.Pool, Bus: h.bus, Log: h.log, URL: h.cfg.Alarm.WebhookURL, Secret: string(h.cfg.Alarm.WebhookSecret),
		Allow: prefixes(h.cfg.Alarm.WebhookAllow)})
	key, err := report.OpenKey(h.cfg.DataDir)
	if err != nil {
		return err
	}
	h.api, err = api.New(api.Config{Pool: h.db.Pool, Bus: h.bus, NodeID: h.node, Build: webui.BuildID(), PublicURL: h.publicURL(), TrustedProxies: h.cfg.HTTP.TrustedProxies,
		Flow: api.Flow{Reply: h.flow.Reply, Accept: h.flow.Accept, Decline: h.flow.Decline, Take: h.flow.Take, Transfer: h.flow.Transfer, TransferCall: h.flow.TransferCall, Dial: h.flow.Dial,
			WrapUpDraft: h.flow.WrapUpDraft, CallNow: h.flow.CallNow, CancelCall: h.flow.CancelCall,
			End: h.flow.End, Close: h.flow.Close, AddAddress: h.flow.AddAddress, PeopleOnly: h.flow.PeopleOnly, RemoveQueue: h.flow.RemoveQueue, RemoveAgent: h.flow.RemoveAgent},
		Web: webui.Dist(), Ready: h.ready, Log: h.log, Metrics: h.metrics, ICE: h.ice, Engines: h.engineList, Version: version(), Facts: h.facts(), Model: func() channels.ModelState { return h.responder.Responder().State() },
		Reports: api.Reports{Key: key, Company: h.cfg.Company.Name, Unmeasured: h.cfg.unmeasured()}, Recordings: api.Recordings{Sound: h.archive.Sound, Delete: h.archive.Delete}, Mount: []func(fiber.Router){h.chat.Mount}})
	return err
}

// facts are the settings that matter for calls, for the call doctor's support bundles.
func (h *house) facts() map[string]string {
	c := h.cfg
	join := func(list []string) string { return strings.Join(list, ", ") }
	return map[string]string{
		"sip.listen": c.SIP.Listen, "sip.listen_also": join(c.SIP.ListenAlso), "sip.external_ip": c.SIP.ExternalIP, "sip.trunks": join(c.SIP.Trunks), "sip.phones": join(c.SIP.Phones),
		"rtp.port_min": strconv.Itoa(c.RTP.PortMin), "rtp.port_max": strconv.Itoa(c.RTP.PortMax), "webrtc.udp_port": strconv.Itoa(c.WebRTC.UDPPort),
		"webrtc.external_ip": c.WebRTC.ExternalIP, "turn.listen": c.TURN.Listen, "turn.tls_listen": c.TURN.TLSListen, "turn.media": join(c.TURN.Media),
		"log.level": c.Log.Level, "cpus": strconv.Itoa(runtime.NumCPU()),
	}
}

func (h *house) describeResponder() string {
	words := h.responder.Responder().Describe()
	if _, err := os.Stat(h.cfg.Ollama.Binary); h.cfg.Ollama.Binary != "" && err != nil {
		words += " yet (it is being built; the change-over is by itself)"
	}
	return words
}

// modelPatience is how long the greeting waits for the responder's model; the house is open meanwhile.
const modelPatience = 2 * time.Second

// live runs every part until ctx ends or one fails, then stops in two steps: no new calls while the running ones go on,
// with everything that they and their agents need; then the end.
func (h *house) live(ctx context.Context, greet func()) error {
	house, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	parts, running := errgroup.WithContext(house)
	parts.Go(func() error {
		select {
		case <-ctx.Done():
			h.drain(running)
			over()
		case <-running.Done():
		}
		return nil
	})
	parts.Go(func() error { return h.flow.Run(running) })
	parts.Go(func() error { return h.router.Run(running) })
	parts.Go(func() error { return h.alarms.Run(running) })
	parts.Go(func() error { return synthetic.Run(running, h.testCustomer()) })
	archiving, stopArchive := context.WithCancel(context.WithoutCancel(ctx)) // the last calls bring their recordings
	parts.Go(func() error { return h.archive.Run(archiving) })
	parts.Go(func() error {
		defer stopArchive()
		if h.voice == nil {
			<-running.Done()
			return nil
		}
		return h.voice.Run(running)
	})
	if h.mail != nil {
		parts.Go(func() error { return h.mail.Run(running) })
	}
	parts.Go(func() error { return h.model(running) })
	parts.Go(func() error {
		if err := h.api.App.Listener(h.web); err != nil && running.Err() == nil {
			return fmt.Errorf("http: %w", err)
		}
		return nil
	})
	parts.Go(func() error {
		err := h.api.Run(running) // returns when the desks' sockets have been told and closed
		h.chat.Close()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		return errors.Join(err, h.api.App.ShutdownWithContext(grace))
	})
	if h.cfg.Ollama.Host != "" || h.cfg.Ollama.Binary != "" {
		select {
		case <-h.responder.Chosen():
		case <-time.After(modelPatience):
		case <-running.Done():
		}
	}
	if running.Err() == nil {
		greet()
	}
	err := parts.Wait()
	if ctx.Err() != nil { // asked to stop
		return nil
	}
	return err
}

// ready: a node that is being stopped takes nothing new.
func (h *house) ready() error {
	if h.voice != nil && h.voice.Draining() {
		return errors.New("stopping")
	}
	return nil
}

// drain is the first step of a stop. A second signal ends it.
func (h *house) drain(ctx context.Context) {
	if h.voice == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.cfg.Node.DrainSeconds)*time.Second)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	h.voice.Drain(ctx, func(calls int) {
		h.out("stopping: no new calls; %d running may go on for %d s (a second signal cuts them)", calls, h.cfg.Node.DrainSeconds)
	})
}

// close lets go in reverse order; the database comes last.
func (h *house) close() error {
	var all error
	if h.voice != nil {
		all = errors.Join(all, h.voice.Close())
	}
	if h.speech != nil {
		all = errors.Join(all, h.speech.Close())
	}
	if h.db != nil && h.node != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		all = errors.Join(all, switchboard.Leave(ctx, h.db.Pool, h.node))
		cancel()
	}
	if h.bus != nil {
		all = errors.Join(all, h.bus.Close())
	}
	if h.db != nil {
		all = errors.Join(all, h.db.Close())
	}
	if h.web != nil {
		_ = h.web.Close() // the API has closed it when it ran
	}
	return all
}

// model finds or starts the responder's model, and says in plain words when it changes.
func (h *house) model(ctx context.Context) error {
	want := llm.Want{Best: llm.Default(memory(), runtime.NumCPU()), Small: "smollm2-135m", File: h.cfg.Ollama.ModelFile}
	serve := func(ctx context.Context, own string) error {
		return h.responder.Serve(ctx, h.cfg.Ollama.models(own), want, func(words string) { h.out("responder: %s", words) })
	}
	switch {
	case h.cfg.Ollama.Host == "" && h.cfg.Ollama.Binary != "":
		d := &llm.Daemon{Binary: h.cfg.Ollama.Binary, Dir: filepath.Join(h.cfg.DataDir, "ollama"), Log: h.log}
		return d.Run(ctx, serve)
	case len(h.cfg.Ollama.models("")) > 0:
		return serve(ctx, "")
	}
	return nil
}

// memory of this machine in bytes, 0 when it cannot be read.
func memory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kb int64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}
