package agents

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// What agents do to one conversation, and what came of it.
type deed struct {
	what  string // accept, decline, pass on, close
	agent int64
	offer int64
}

// owned is a conversation as the model sees it: who has it, and whether it is closed.
type owned struct {
	agent  int64
	closed bool
}

// ownership: a conversation has at most one agent. It gets one by an accept only while it has none, and leaves only the one
// who has it. A deed that was refused changes nothing; what cannot be refused by rights is not checked, as an offer may
// have run out.
var ownership = porcupine.Model{
	Init: func() any { return owned{} },
	Step: func(state, input, output any) (bool, any) {
		s, d := state.(owned), input.(deed)
		if !output.(bool) {
			return true, s
		}
		switch d.what {
		case "accept":
			return s.agent == 0 && !s.closed, owned{agent: d.agent}
		case "decline":
			return s.agent == 0 && !s.closed, s
		case "pass on":
			return s.agent == d.agent && !s.closed, owned{}
		}
		return s.agent == d.agent && !s.closed, owned{closed: true}
	},
}

// TestTwoNodesAreOne: two routers on one database, agents who answer, decline, pass on and close at once, some of their
// answers twice and late, on single offers and on those that ring at all. Seen from outside each conversation behaves as
// if one after the other had touched it (linearizable).
func TestTwoNodesAreOne(t *testing.T) {
	h := newHouse(t)
	h.exec(`update queues set strategy = 'ring_all' where id = $1`, h.queue)
	single, err := EnsureQueue(h.ctx, h.pool, "Single")
	h.ok(err)
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	began := time.Now()
	var mu sync.Mutex
	history := map[int64][]porcupine.Operation{}
	note := func(client int, conversation int64, d deed, do func() error) {
		call := time.Since(began).Nanoseconds()
		err := do()
		if code := channels.CodeOf(err); err != nil && code == "" && ctx.Err() == nil {
			t.Errorf("%+v: %v", d, err)
		}
		mu.Lock()
		defer mu.Unlock()
		history[conversation] = append(history[conversation], porcupine.Operation{ClientId: client, Input: d, Call: call, Output: err == nil, Return: time.Since(began).Nanoseconds()})
	}
	leave := func(conversation, agent int64, to channels.State) error {
		return h.tx(func(tx pgx.Tx) error {
			c, err := channels.Lock(h.ctx, tx, conversation)
			if err != nil || c.State != channels.Agent || c.AgentID == nil || *c.AgentID != agent {
				return channels.Fail(channels.Conflict, "Not yours.")
			}
			if to == channels.Closed {
				if _, err := channels.Move(h.ctx, tx, conversation, channels.Wrapup); err != nil {
					return err
				}
			}
			_, err = channels.Move(h.ctx, tx, conversation, to)
			return err
		})
	}
	var wg sync.WaitGroup
	for i, name := range []string{"Mira", "Ana", "Jo", "Kim", "Bo"} {
		id := h.agent(name)
		h.exec(`update agents set capacity = 3 where id = $1`, id)
		h.exec(`insert into agent_queues (agent_id, queue_id) values ($1, $2)`, id, single)
		frames := h.frames(id)
		rng := rand.New(rand.NewPCG(uint64(i), 7))
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case f := <-frames:
					if f.Type != "offer" {
						continue
					}
					o, twice := f.Offer, rng.IntN(3) == 0
					deed := deed{what: "accept", agent: id, offer: o.ID}
					answer := func() error { return h.accept(o.ID, id) }
					if rng.IntN(5) == 0 {
						deed.what, answer = "decline", func() error { return h.decline(o.ID, id) }
					}
					if twice { // two tabs
						wg.Go(func() { note(10+i, o.ConversationID, deed, answer) })
					}
					note(i, o.ConversationID, deed, answer)
					next, to := "close", channels.Closed
					if rng.IntN(3) == 0 {
						next, to = "pass on", channels.Waiting
					}
					d := deed
					d.what = next
					note(i, o.ConversationID, d, func() error { return leave(o.ConversationID, id, to) })
					_ = h.bus.Publish(channels.RouteSubject, nil)
				}
			}
		})
	}
	h.routes()
	r := NewRouter(RouterConfig{Pool: h.pool, Bus: h.bus, NodeID: "n2", Log: slog.New(slog.DiscardHandler)})
	second := make(chan error, 1)
	go func() { second <- r.Run(ctx) }()
	for n := range 40 {
		id := h.waits(channels.Chat)
		if n%2 == 0 {
			h.exec(`update conversations set queue_id = $2 where id = $1 and state = 'waiting'`, id, single)
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ask[int64](h, `select count(*) from conversations where state <> 'closed'`) > 0 {
		select {
		case <-tick.C: // refusals age while the test looks on
			h.exec(`update offers set ended_at = ended_at - interval '20 seconds' where outcome = 'declined'`)
			h.ok(h.bus.Publish(channels.RouteSubject, nil))
		case <-h.ctx.Done():
			t.Fatal("not all were served")
		}
	}
	cancel()
	wg.Wait()
	if err := <-second; err != nil {
		t.Error(err)
	}
	deeds := 0
	for id, ops := range history {
		deeds += len(ops)
		if !porcupine.CheckOperations(ownership, ops) {
			t.Errorf("conversation %d was in two hands: %+v", id, ops)
		}
	}
	if len(history) != 40 || deeds < 80 {
		t.Errorf("%d deeds on %d conversations: too few to prove anything", deeds, len(history))
	}
}

// The model itself: two accepts after each other, or a close by somebody else, are no history of one conversation.
func TestOwnershipModelBites(t *testing.T) {
	op := func(at int64, what string, agent int64) porcupine.Operation {
		return porcupine.Operation{ClientId: int(agent), Input: deed{what: what, agent: agent}, Call: at, Output: true, Return: at + 1}
	}
	for _, c := range []struct {
		name string
		ops  []porcupine.Operation
		ok   bool
	}{
		{"passed on and taken again", []porcupine.Operation{op(1, "accept", 1), op(3, "pass on", 1), op(5, "accept", 2), op(7, "close", 2)}, true},
		{"taken twice", []porcupine.Operation{op(1, "accept", 1), op(3, "accept", 2)}, false},
		{"closed by somebody else", []porcupine.Operation{op(1, "accept", 1), op(3, "close", 2)}, false},
		{"taken after its end", []porcupine.Operation{op(1, "accept", 1), op(3, "close", 1), op(5, "accept", 2)}, false},
	} {
		if got := porcupine.CheckOperations(ownership, c.ops); got != c.ok {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
