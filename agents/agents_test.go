package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// house is a database and a bus with one queue and one living node.
type house struct {
	*testing.T
	ctx   context.Context
	pool  *pgxpool.Pool
	bus   *bus.Bus
	queue int64
	n     int
}

func newHouse(t *testing.T) *house {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	b, err := bus.Open(ctx, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	h := &house{T: t, ctx: ctx, pool: dbtest.Pool(t), bus: b}
	h.exec(`insert into nodes (id, name, seen_at) values ('n1', 'n', now() + interval '1 hour'), ('dead', 'd', now() - interval '11 seconds')`)
	h.queue, err = EnsureQueue(ctx, h.pool, "Service")
	h.ok(err)
	return h
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

func ask[T any](h *house, sql string, args ...any) T {
	h.Helper()
	v, err := scalar[T](h.ctx, h.pool, "ask", sql, args...)
	h.ok(err)
	return v
}

// agent makes an available agent with a tab.
func (h *house) agent(name string) int64 {
	h.Helper()
	id, err := EnsureAgent(h.ctx, h.pool, Agent{Login: name, Name: name, Queues: []int64{h.queue}})
	h.ok(err)
	h.ok(OpenSocket(h.ctx, h.pool, h.bus, "tab-"+name, id, "n1"))
	h.ok(SetPresence(h.ctx, h.pool, h.bus, id, Available, ""))
	return id
}

// waits puts a new conversation in line.
func (h *house) waits(kind channels.Kind) int64 {
	h.Helper()
	h.n++
	var id int64
	h.ok(pgx.BeginFunc(h.ctx, h.pool, func(tx pgx.Tx) error {
		contact, err := channels.OpenContact(h.ctx, tx, channels.Address{Kind: channels.Phone, Value: fmt.Sprintf("+4930%06d", h.n)}, "")
		if err != nil {
			return err
		}
		c, err := channels.Begin(h.ctx, tx, contact.ID, h.queue, kind, "Broken kettle")
		if err != nil {
			return err
		}
		id = c.ID
		_, err = channels.Move(h.ctx, tx, id, channels.Waiting)
		return err
	}))
	h.ok(h.bus.Publish(channels.RouteSubject, nil))
	return id
}

// frames hears what is sent to the agent's tabs.
func (h *house) frames(agentID int64) <-chan frame {
	h.Helper()
	ch := make(chan frame, 64)
	cancel, err := h.bus.Subscribe(channels.AgentSubject(agentID), func(_ string, data []byte) {
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			h.Error(err)
		}
		ch <- f
	})
	h.ok(err)
	h.Cleanup(cancel)
	return ch
}

// next waits for the next frame of that type and passes over others.
func (h *house) next(ch <-chan frame, typ string) frame {
	h.Helper()
	for {
		select {
		case f := <-ch:
			if f.Type == typ {
				return f
			}
		case <-h.ctx.Done():
			h.Fatalf("no %s frame came", typ)
		}
	}
}

// routes runs a router until the test ends.
func (h *house) routes() {
	ctx, cancel := context.WithCancel(h.ctx)
	done := make(chan error, 1)
	r := NewRouter(RouterConfig{Pool: h.pool, Bus: h.bus, NodeID: "n1", Log: slog.New(slog.DiscardHandler)})
	go func() { done <- r.Run(ctx) }()
	h.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.Error(err)
		}
	})
}

func (h *house) answer(do func(tx pgx.Tx) (int64, func(), error), to channels.State, agentID int64) error {
	var after func()
	err := pgx.BeginFunc(h.ctx, h.pool, func(tx pgx.Tx) error {
		id, tell, err := do(tx)
		if err != nil {
			return err
		}
		after = tell
		if id == 0 {
			return nil
		}
		if _, err := channels.Move(h.ctx, tx, id, to); err != nil {
			return err
		}
		if to == channels.Agent {
			_, err = tx.Exec(h.ctx, `update conversations set agent_id = $2 where id = $1`, id, agentID)
		}
		return err
	})
	if err == nil {
		after()
	}
	return err
}

func (h *house) accept(offerID, agentID int64) error {
	return h.answer(func(tx pgx.Tx) (int64, func(), error) { return Accept(h.ctx, tx, h.bus, offerID, agentID) }, channels.Agent, agentID)
}

func (h *house) decline(offerID, agentID int64) error {
	return h.answer(func(tx pgx.Tx) (int64, func(), error) {
		id, rings, after, err := Decline(h.ctx, tx, h.bus, offerID, agentID)
		if rings {
			id = 0 // stays offered
		}
		return id, after, err
	}, channels.Waiting, agentID)
}

func refusedWith(t *testing.T, err error, code channels.Code, text string) {
	t.Helper()
	if channels.CodeOf(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if text != "" && err.Error() != string(code)+": "+text {
		t.Errorf("got %q, want %q", err, text)
	}
}

func asError(err error, to **channels.Error) bool { return errors.As(err, to) }

// until waits for a row that says true.
func (h *house) until(sql string, args ...any) {
	h.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ask[bool](h, sql, args...) {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			h.Fatalf("never true: %s", sql)
		}
	}
}
