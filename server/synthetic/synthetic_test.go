package synthetic

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/channels/chat"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

// fiber's workers and clock outlive their server for a few seconds.
func TestMain(m *testing.M) {
	dbtest.Main(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).workerFunc"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// TestVisit: it comes in by the chat's real door, is marked, asks in words, takes a person's word for an answer, and leaves; when
// nobody comes it says so.
func TestVisit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pool := dbtest.Pool(t)
	if _, err := pool.Exec(ctx, `insert into nodes (id, name) values ('n', 'n'); insert into queues (name) values ('Service')`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(ctx, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	said := make(chan channels.Inbound, 8)
	door, err := chat.New(chat.Config{Pool: pool, Bus: b, Log: slog.New(slog.DiscardHandler), NodeID: "n", Expect: agents.NewLine(pool).Expect, Receive: func(ctx context.Context, in channels.Inbound) (r channels.Receipt, err error) {
		said <- in
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if in.ConversationID == 0 {
				contact, err := channels.OpenContact(ctx, tx, in.From, in.Name)
				if err != nil {
					return err
				}
				c, err := channels.Begin(ctx, tx, contact.ID, 1, channels.Chat, "")
				if err != nil {
					return err
				}
				in.ConversationID = c.ID
			}
			if err := tx.QueryRow(ctx, `select contact_id from conversations where id = $1`, in.ConversationID).Scan(&r.ContactID); err != nil {
				return err
			}
			r.ConversationID, r.State = in.ConversationID, channels.Waiting
			if in.Type != channels.Words {
				return nil
			}
			m := &channels.Message{ConversationID: in.ConversationID, Channel: channels.Chat, Author: channels.ByContact, Body: in.Body, ClientID: &in.ClientID}
			if _, err := channels.Append(ctx, tx, m); err != nil {
				return err
			}
			r.Message = m
			return nil
		})
		return r, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	door.Mount(app)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(l) }()
	defer func() { _ = app.Shutdown(); <-served }()
	way := Chat("ws://"+l.Addr().String()+"/chat/socket", door.Synthetic)
	visited := make(chan error, 1)
	go func() {
		waited, err := way.Visit(ctx, 20*time.Second)
		if err == nil && waited <= 0 {
			err = errors.New("it did not wait")
		}
		visited <- err
	}()
	// an agent answers, once the door knows whose conversation it is
	var conversation *int64
	for conversation == nil {
		if err := pool.QueryRow(ctx, `select (select conversation_id from visitors)`).Scan(&conversation); err != nil {
			t.Fatal(err)
		}
	}
	m := &channels.Message{ConversationID: *conversation, Channel: channels.Chat, Author: channels.ByAgent, Body: "Hello, Ana here."}
	if err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { _, err := channels.Append(ctx, tx, m); return err }); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; { // the session may be about to listen
		if err := b.Publish(channels.ConversationSubject(m.ConversationID), channels.Event{Type: channels.EventMessage, ConversationID: m.ConversationID, Seq: m.Seq, Message: m}); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-visited:
			if done = true; err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Millisecond):
		}
	}
	for _, want := range []channels.Inbound{{Type: channels.Words, Body: wish}, {Type: channels.Words, Body: thanks}, {Type: channels.Left}} {
		select {
		case in := <-said:
			if in.Type != want.Type || in.Body != want.Body {
				t.Errorf("said %s %q, want %s %q", in.Type, in.Body, want.Type, want.Body)
			}
		case <-ctx.Done():
			t.Fatalf("%s never came", want.Type)
		}
	}
	var marked int
	if err := pool.QueryRow(ctx, `select count(*) from conversations c join contacts t on t.id = c.contact_id where t.synthetic and t.name = $1`, Name).Scan(&marked); err != nil || marked != 1 {
		t.Errorf("%d conversations of a marked contact, %v", marked, err)
	}
	if _, err := way.Visit(ctx, 300*time.Millisecond); !errors.Is(err, errNobody) {
		t.Errorf("nobody came: %v", err)
	}
	if _, err := Chat("ws://127.0.0.1:1/chat/socket", door.Synthetic).Visit(ctx, time.Second); err == nil {
		t.Error("no door, and no error")
	}
}
