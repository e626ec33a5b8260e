package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"patchbay/channels"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps its workers and its clock for the next server.
	dbtest.Main(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).workerFunc"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	)
}

const patience = 15 * time.Second

// house is a server with the chat alone: a real database, a real bus, and a Receive that stores as the switchboard
// does.
type house struct {
	t       *testing.T
	chat    *Chat
	pool    *pgxpool.Pool
	bus     *bus.Bus
	address string
	queue   int64
	agent   int64

	before atomic.Pointer[func(channels.Inbound) error] // a test's own word before Receive stores
	after  atomic.Pointer[func(channels.Inbound) error] // and after the commit
}

func open(t *testing.T, change ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, pool: dbtest.Pool(t)}
	var err error
	if h.bus, err = bus.Open(t.Context(), "", slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.bus.Close() })
	h.row(&h.queue, `insert into queues (name) values ('front') returning id`)
	h.row(&h.agent, `insert into agents (login, name) values ('ana', 'Ana Berg') returning id`)
	cfg := Config{
		Pool: h.pool, Bus: h.bus, Receive: h.receive, Expect: h.expect, Company: "Nordlicht", Phone: "+49 30 23125 410",
		PublicURL: "http://chat.example", Origins: []string{"https://shop.example"},
	}
	for _, f := range change {
		f(&cfg)
	}
	if h.chat, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	h.listen()
	return h
}

func (h *house) listen() {
	app := fiber.New(fiber.Config{Immutable: true, DisableStartupMessage: true})
	h.chat.Mount(app)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.address = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	h.t.Cleanup(func() {
		h.chat.Close()
		if err := app.Shutdown(); err != nil {
			h.t.Error(err)
		}
		<-served
	})
}

func (h *house) row(into any, sql string, args ...any) {
	h.t.Helper()
	if err := h.pool.QueryRow(h.t.Context(), sql, args...).Scan(into); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	if _, err := h.pool.Exec(h.t.Context(), sql, args...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) count(table string) (n int) {
	h.t.Helper()
	h.row(&n, `select count(*) from `+table)
	return n
}

// expect counts who is before it, as agents.Line does.
func (h *house) expect(ctx context.Context, conversation int64) (place int, low, high time.Duration, ok bool) {
	_ = h.pool.QueryRow(ctx, `select 1 + count(o.id) from conversations c left join conversations o on o.state = 'waiting' and o.queue_id = c.queue_id
		and (not o.front, o.waiting_since, o.id) < (not c.front, c.waiting_since, c.id) where c.id = $1 and c.state = 'waiting' group by c.id`, conversation).Scan(&place) // no row: it does not wait
	return place, 0, 0, false
}

// receive stores in one transaction and publishes after the commit.
func (h *house) receive(ctx context.Context, in channels.Inbound) (got channels.Receipt, err error) {
	if f := h.before.Load(); f != nil {
		if err := (*f)(in); err != nil {
			return got, err
		}
	}
	m := &channels.Message{Author: channels.ByContact, Channel: in.Channel, Body: in.Body}
	if in.ClientID != "" {
		m.ClientID = &in.ClientID
	}
	var c *channels.Conversation
	err = pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		contact, err := channels.OpenContact(ctx, tx, in.From, in.Name)
		if err != nil {
			return err
		}
		if in.ConversationID != 0 {
			c, err = channels.Lock(ctx, tx, in.ConversationID)
		} else if c, err = channels.Latest(ctx, tx, contact.ID); c == nil && err == nil {
			c, err = channels.Begin(ctx, tx, contact.ID, h.queue, in.Channel, "")
		}
		if err != nil {
			return err
		}
		got.ContactID, got.ConversationID = contact.ID, c.ID
		switch in.Type {
		case channels.Wish:
			m.Author, m.Kind, m.Body = channels.BySystem, channels.Happened, "We are getting a person."
			m.Data.Code = channels.CodeWaiting
			if _, err := tx.Exec(ctx, `update conversations set state = 'waiting', waiting_since = now() where id = $1`, c.ID); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `insert into promises (conversation_id, source, due_at)
				values ($1, 'button', now() + interval '3 minutes') on conflict do nothing`, c.ID); err != nil {
				return err
			}
		case channels.NoWish, channels.Left:
			_, err := tx.Exec(ctx, `update conversations set state = case when $2 then 'closed' else 'bot' end where id = $1`,
				c.ID, in.Type == channels.Left)
			return err
		}
		m.ConversationID = c.ID
		got.Duplicate, err = channels.Append(ctx, tx, m)
		return err
	})
	if err != nil {
		return got, err
	}
	if m.Seq != 0 {
		got.Message = m
	}
	if f := h.after.Load(); f != nil {
		if err := (*f)(in); err != nil {
			return got, err
		}
	}
	if !got.Duplicate {
		h.publish(got.ConversationID, got.Message)
	}
	return got, nil
}

func (h *house) publish(conversation int64, m *channels.Message) {
	e := channels.Event{Type: channels.EventState, ConversationID: conversation}
	if m != nil {
		e.Type, e.Seq, e.Message = channels.EventMessage, m.Seq, m
	}
	if err := h.bus.Publish(channels.ConversationSubject(conversation), e); err != nil {
		h.t.Error(err)
	}
	if m != nil && m.Kind == channels.Happened {
		h.publish(conversation, nil)
	}
}

// write appends a message of anybody, as the switchboard would; quietly: its event is lost.
func (h *house) write(conversation int64, m channels.Message, quietly bool) int64 {
	h.t.Helper()
	ctx := h.t.Context()
	m.ConversationID = conversation
	if m.Channel == "" {
		m.Channel = channels.Chat
	}
	if err := pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		_, err := channels.Append(ctx, tx, &m)
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	if !quietly {
		h.publish(conversation, &m)
	}
	return m.Seq
}

// page is a visitor's browser tab.
type page struct {
	t     *testing.T
	conn  *websocket.Conn
	token string
}

func (h *house) dial(header http.Header) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: patience}
	return d.DialContext(h.t.Context(), "ws://"+h.address+"/chat/socket", header)
}

func (h *house) connect() *page {
	h.t.Helper()
	conn, _, err := h.dial(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return &page{t: h.t, conn: conn}
}

// visit connects and says hello; it returns the welcome.
func (h *house) visit(token string, after int64) (*page, frame) {
	h.t.Helper()
	p := h.connect()
	p.send(frame{"type": "hello", "token": token, "after": after})
	w := p.want("welcome")
	p.token = token
	if t, ok := w["token"].(string); ok {
		p.token = t
	}
	return p, w
}

// begin is a visitor whose first message is stored.
func (h *house) begin() (*page, int64) {
	h.t.Helper()
	p, _ := h.visit("", 0)
	ack := p.say("first", "Hello")
	p.want("message")
	p.want("state")
	return p, int64(ack["conversation_id"].(float64))
}

type frame map[string]any

func (p *page) send(f frame) {
	p.t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(websocket.TextMessage, data)
}

func (p *page) raw(kind int, data []byte) {
	p.t.Helper()
	p.conn.SetWriteDeadline(time.Now().Add(patience))
	if err := p.conn.WriteMessage(kind, data); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) next() (frame, error) {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	var f frame
	err := p.conn.ReadJSON(&f)
	return f, err
}

// want reads the next frame and fails when it is of another type.
func (p *page) want(kind string) frame {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatalf("want %s: %v", kind, err)
	}
	if f["type"] != kind {
		p.t.Fatalf("got %v, want %s", f, kind)
	}
	return f
}

func (p *page) say(id, body string) frame {
	p.t.Helper()
	p.send(frame{"type": "say", "client_id": id, "body": body})
	return p.want("ack")
}

// wantMessage expects a message with that body and returns its sequence number.
func (p *page) wantMessage(body string) int64 {
	p.t.Helper()
	m := p.want("message")["message"].(map[string]any)
	if m["body"] != body {
		p.t.Fatalf("message %v, want %q", m, body)
	}
	return int64(m["seq"].(float64))
}

// nothingMore proves by a ping that no frame came in between.
func (p *page) nothingMore() {
	p.t.Helper()
	p.send(frame{"type": "ping"})
	p.want("pong")
}

func (p *page) wantClose(code int) {
	p.t.Helper()
	for {
		_, err := p.next()
		var closed *websocket.CloseError
		switch {
		case err == nil:
		case errors.As(err, &closed):
			if closed.Code != code {
				p.t.Fatalf("closed with %d, want %d", closed.Code, code)
			}
			return
		default:
			p.t.Fatalf("want close %d: %v", code, err)
		}
	}
}

func (p *page) wantError(code channels.Code, field string) frame {
	p.t.Helper()
	f := p.want("error")
	got, _ := f["field"].(string)
	if f["code"] != string(code) || got != field || f["message"] == "" {
		p.t.Fatalf("error %v, want %s of field %q", f, code, field)
	}
	return f
}

var errBroken = fmt.Errorf("database away")
