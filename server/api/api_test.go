package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) {
	dbtest.Main(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // ends up to 10 s after the server
}

// house is the door on a loopback port with a real database and bus, and a flow of a few lines.
type house struct {
	*testing.T
	ctx    context.Context
	pool   *pgxpool.Pool
	bus    *bus.Bus
	server *Server
	base   string
	mira   int64 // agent
	ada    int64 // supervisor
	queue  int64
	http   *http.Client
	log    *lockedLog
	stop   func() // ends Run
}

func newHouse(t *testing.T, change ...func(*Config)) *house { return newHouseOn(t, "", change...) }

func newHouseOn(t *testing.T, natsURL string, change ...func(*Config)) *house {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	h := &house{T: t, ctx: ctx, pool: dbtest.Pool(t), log: &lockedLog{}, http: &http.Client{Transport: &http.Transport{}}}
	var err error
	if h.bus, err = bus.Open(ctx, natsURL, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.bus.Close() })
	h.exec(`insert into nodes (id, name, seen_at) values ('n1', 'n', now() + interval '1 hour'), ('n2', 'm', now() + interval '1 hour')`)
	h.queue, err = agents.EnsureQueue(ctx, h.pool, "Service")
	h.ok(err)
	h.mira = h.person("mira", "agent")
	h.ada = h.person("ada", "supervisor")
	h.open("n1", change...)
	return h
}

// open starts the door; a second one shares the database and the bus.
func (h *house) open(node string, change ...func(*Config)) {
	cfg := Config{Pool: h.pool, Bus: h.bus, NodeID: node, Build: "b1", Flow: h.flow(),
		Log: slog.New(slog.NewTextHandler(h.log, nil)), Metrics: prometheus.NewRegistry(),
		Web: fstest.MapFS{"index.html": {Data: []byte("shop")}, "widget.js": {Data: []byte("w")},
			"big.js": {Data: bytes.Repeat([]byte("x"), 5000)}, ".build-id": {Data: []byte("x")},
			"desk/index.html": {Data: []byte("desk")}, "desk/assets/main-1.js": {Data: []byte("main")}},
		Mount: []func(fiber.Router){func(r fiber.Router) {
			r.Get("/chat/hello", func(c *fiber.Ctx) error { return c.SendString("chat") })
			r.Get("/chat/panic", func(*fiber.Ctx) error { panic("boom") })
		}}}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	h.ok(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.ok(err)
	ctx, cancel := context.WithCancel(h.ctx)
	served, ran := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.App.Listener(ln) }()
	go func() { ran <- s.Run(ctx) }()
	h.stop = cancel
	h.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			h.Error(err)
		}
		h.http.CloseIdleConnections()
		if err := s.App.ShutdownWithTimeout(5 * time.Second); err != nil {
			h.Error(err)
		}
		<-served
	})
	h.server, h.base = s, "http://"+ln.Addr().String()
	h.until("the hub is open", func() bool { s.hub.mu.Lock(); defer s.hub.mu.Unlock(); return s.hub.open })
}

// flow does just enough to be seen through the wire; the real one has its own tests.
func (h *house) flow() Flow {
	change := func(ctx context.Context, id int64, to channels.State, agentID int64) error {
		return pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
			c, err := channels.Lock(ctx, tx, id)
			if err != nil {
				return err
			}
			if c == nil || c.AgentID == nil || *c.AgentID != agentID {
				return channels.Fail(channels.NotFound, "There is no such conversation.")
			}
			_, err = channels.Move(ctx, tx, id, to)
			return err
		})
	}
	return Flow{
		WrapUpDraft: func(context.Context, int64, int64) (*channels.WrapUpDraft, error) {
			return &channels.WrapUpDraft{Why: "No model is set up."}, nil
		},
		Reply: func(ctx context.Context, agentID, id int64, clientID, body string, note bool) (*channels.Message, error) {
			m := &channels.Message{ConversationID: id, Author: channels.ByAgent, AgentID: &agentID, Channel: channels.Chat, Body: body, ClientID: &clientID}
			return m, h.append(ctx, m, true)
		},
		Accept: func(ctx context.Context, agentID, offerID int64) (id int64, err error) {
			err = pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
				if id, _, err = agents.Accept(ctx, tx, h.bus, offerID, agentID); err != nil {
					return err
				}
				_, err = channels.Move(ctx, tx, id, channels.Agent)
				return err
			})
			return id, err
		},
		Decline: func(ctx context.Context, agentID, offerID int64) error {
			return pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
				id, _, _, err := agents.Decline(ctx, tx, h.bus, offerID, agentID)
				if err != nil {
					return err
				}
				_, err = channels.Move(ctx, tx, id, channels.Waiting)
				return err
			})
		},
		Take: func(ctx context.Context, agentID, id int64) error {
			return channels.Fail(channels.Conflict, "Taken by Ada.")
		},
		Transfer: func(ctx context.Context, agentID, id int64, _ channels.CallTarget, note string) error {
			return change(ctx, id, channels.Waiting, agentID)
		},
		RemoveQueue: func(context.Context, int64, int64) (int, error) {
			return 0, channels.Fail(channels.Conflict, "Not here.")
		},
		RemoveAgent: func(context.Context, int64, int64) (int, error) {
			return 0, channels.Fail(channels.Conflict, "Not here.")
		},
		TransferCall: func(context.Context, int64, int64, channels.CallTarget) error {
			return channels.Fail(channels.Conflict, "Nobody in Service is free.")
		},
		End: func(ctx context.Context, agentID, id int64) error { return change(ctx, id, channels.Wrapup, agentID) },
		Close: func(ctx context.Context, agentID, id int64, _, _ string) error {
			return change(ctx, id, channels.Closed, agentID)
		},
		AddAddress: func(context.Context, int64, int64, channels.Address) error { return fmt.Errorf("the disk is on fire") },
		PeopleOnly: func(context.Context, int64, int64, bool) error {
			return channels.Fail(channels.NotFound, "There is no such contact.")
		},
	}
}

// append stores m and, unless the bus is to lose it, tells it.
func (h *house) append(ctx context.Context, m *channels.Message, tell bool) error {
	err := pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		c, err := channels.Lock(ctx, tx, m.ConversationID)
		if err == nil && c == nil {
			return channels.Fail(channels.NotFound, "There is no such conversation.")
		}
		if err != nil {
			return err
		}
		_, err = channels.Append(ctx, tx, m)
		return err
	})
	if err != nil || !tell {
		return err
	}
	if err := h.bus.Publish(channels.ConversationSubject(m.ConversationID), channels.Event{Type: channels.EventMessage,
		ConversationID: m.ConversationID, Seq: m.Seq, Message: m}); err != nil {
		return err
	}
	return h.bus.Publish(channels.DeskSubject, channels.DeskNews{ConversationID: m.ConversationID})
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) exec(sql string, args ...any) {
	h.Helper()
	_, err := h.pool.Exec(h.ctx, sql, args...)
	h.ok(err)
}

// until waits for something that no event tells of.
func (h *house) until(what string, is func() bool) {
	h.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			h.Fatalf("never: %s", what)
		}
	}
}

func (h *house) person(login, role string) int64 {
	h.Helper()
	id, err := agents.EnsureAgent(h.ctx, h.pool, agents.Agent{Login: login, Name: strings.ToUpper(login[:1]) + login[1:], Role: role, Queues: []int64{h.queue}})
	h.ok(err)
	return id
}

func (h *house) conversation(state channels.State, agentID *int64) int64 {
	h.Helper()
	var id int64
	h.ok(h.pool.QueryRow(h.ctx, `with ct as (insert into contacts (name) values ('Rosa') returning id)
		insert into conversations (contact_id, queue_id, state, channel, agent_id, waiting_since)
		select ct.id, $1, $2, 'chat', $3, now() from ct returning id`, h.queue, state, agentID).Scan(&id))
	return id
}

// signIn returns a session's cookie.
func (h *house) signIn(agentID int64) string {
	h.Helper()
	link, err := agents.SignInLink(h.ctx, h.pool, agentID)
	h.ok(err)
	res := h.do("POST", "/api/sign-in/link", "", map[string]string{"token": link})
	if res.status != 200 {
		h.Fatalf("sign-in: %d %s", res.status, res.body)
	}
	for _, c := range res.cookies {
		if c.Name == cookie {
			if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.Path != "/" {
				h.Errorf("cookie: %+v", c)
			}
			return c.Value
		}
	}
	h.Fatal("no cookie")
	return ""
}

type answer struct {
	status  int
	body    string
	header  http.Header
	cookies []*http.Cookie
}

func (a answer) error() (e channels.Error) { _ = json.Unmarshal([]byte(a.body), &e); return e }

// do asks with the page's own Origin; body may be a string (sent as it is) or anything else (as JSON).
func (h *house) do(method, path, session string, body any, header ...string) answer {
	h.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		h.ok(err)
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(h.ctx, method, h.base+path, r)
	h.ok(err)
	req.Header.Set("Origin", h.base)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if session != "" {
		req.AddCookie(&http.Cookie{Name: cookie, Value: session})
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := h.http.Do(req)
	h.ok(err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	h.ok(err)
	return answer{res.StatusCode, string(data), res.Header, res.Cookies()}
}

func (h *house) refused(a answer, status int, code channels.Code, field string) channels.Error {
	h.Helper()
	e := a.error()
	if a.status != status || e.Code != code || e.Field != field || e.Text == "" {
		h.Errorf("got %d %s, want %d %s %q", a.status, a.body, status, code, field)
	}
	return e
}
