package switchboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5/pgxpool"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/bus"
)

// Seen from outside, a conversation behaves as if one after the other had touched it, though agents and customers do so at
// once through two nodes. agents/linear_test.go says it of an offer's verbs; here it is said of the whole flow.

// deed is what somebody does to a conversation, through which node.
type deed struct {
	what  string
	agent int64 // who; 0: the customer
	boss  bool  // a supervisor, who may take from colleagues
	to    int64 // transfer: the queue, 0: to a colleague
	offer int64 // accept, decline
	node  int
}

// outcome is what came of it.
type outcome struct {
	ok     bool
	notYou bool           // refused, as the agent does not have the conversation
	state  channels.State // what a customer is told, or a reader sees
	agent  int64
	queue  int64
	why    string
}

// standing is a conversation in the model. Waiting stands for offered too: offers come, run out and come back by themselves.
type standing struct {
	state channels.State
	agent int64 // in agent and wrapup
	queue int64
}

func (s standing) heldBy(agent int64, in ...channels.State) bool {
	return s.agent == agent && slices.Contains(in, s.state)
}

// flowModel is a conversation that one hand at a time touches. It checks refusals as well: who is told that they do not have
// it does not have it, and who has it is not told so.
func flowModel(queue int64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return standing{state: channels.Bot, queue: queue} },
		Step: func(state, input, output any) (bool, any) {
			s, d, o := state.(standing), input.(deed), output.(outcome)
			if d.agent == 0 {
				return s.customer(d, o)
			}
			return s.person(d, o)
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
	}
}

// customer's deeds are never refused, and say where the conversation stands after them.
func (s standing) customer(d deed, o outcome) (bool, standing) {
	if d.what == "look" {
		return s == standing{line(o.state), o.agent, o.queue}, s
	}
	next := s
	switch d.what + " " + string(s.state) {
	case "writes wrapup":
		next.state = channels.Agent // their tab is open
	case "writes closed", "no person waiting":
		next.state, next.agent = channels.Bot, 0
	case "wishes bot", "wishes wrapup", "wishes closed":
		next.state, next.agent = channels.Waiting, 0
	case "leaves bot", "leaves waiting":
		next.state, next.agent = channels.Closed, 0
	case "leaves agent":
		next.state = channels.Wrapup
	}
	return o.ok && line(o.state) == next.state, next
}

func (s standing) person(d deed, o outcome) (bool, standing) {
	has := standing{channels.Agent, d.agent, s.queue}
	mine, next := s.heldBy(d.agent, channels.Agent), s
	switch d.what {
	case "accept", "decline": // an offer may have run out, and be refused whenever
		if d.what == "accept" {
			next = has
		}
		if !o.ok {
			return true, s
		}
		return s.state == channels.Waiting, next
	case "take":
		free := !s.heldBy(s.agent, channels.Agent, channels.Wrapup) || s.agent == d.agent || d.boss
		if !o.ok { // while it waits it may ring at a colleague
			return !free || s.state == channels.Waiting, s
		}
		return free, has
	case "transfer":
		next = standing{state: channels.Waiting, queue: cmp.Or(d.to, s.queue)}
		if !o.ok && !o.notYou { // the colleague is not free
			return mine && d.to == 0, s
		}
	case "end":
		next.state = channels.Wrapup
	case "close":
		mine = s.heldBy(d.agent, channels.Wrapup)
		next = standing{state: channels.Closed, queue: s.queue}
	case "reply":
		mine = s.heldBy(d.agent, channels.Agent, channels.Wrapup)
	}
	if !o.ok {
		return o.notYou && !mine, s
	}
	return mine, next
}

// line makes one of the two states of who waits.
func line(s channels.State) channels.State {
	if s == channels.Offered {
		return channels.Waiting
	}
	return s
}

// node is one of the two: a switchboard and a router with connections to the database and a bus of their own.
type node struct {
	*Switchboard
	pool *pgxpool.Pool
}

// twins are the two nodes, who works at them, and what they were seen to do.
type twins struct {
	f      *flow
	nodes  [2]node
	people []int64
	other  int64 // the second queue
	began  time.Time
	ids    []int64 // the conversations

	mu      sync.Mutex
	history map[int64][]porcupine.Operation
	done    map[string]int // deeds that were done, and "not "+ those that were refused
}

const (
	nodeOne, nodeTwo = "node-1", "node-2"
	mostDeeds        = 300 // of each, if they do not come to enough before
)

// leastDeeds are how often each must have been done, or refused.
var leastDeeds = map[string]int{"accept": 15, "not accept": 5, "decline": 5, "take": 5, "not take": 2, "transfer": 5, "not transfer": 3, "end": 10, "not end": 5,
	"close": 3, "not close": 5, "reply": 5, "not reply": 3, "writes": 10, "wishes": 20, "no person": 2, "leaves": 2, "look": 50}

// newTwins makes the second node beside the flow's, with a NATS server between the two.
func newTwins(t *testing.T, f *flow) *twins {
	t.Helper()
	nats, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("no NATS")
	}
	w := &twins{f: f, people: []int64{f.ana, f.bo}, history: map[int64][]porcupine.Operation{}, done: map[string]int{}}
	f.ok(Join(t.Context(), f.Pool, nodeTwo, "second"))
	for i, id := range []string{nodeOne, nodeTwo} {
		cfg := f.Config
		cfg.NodeID = id
		cfg.Pool, err = pgxpool.NewWithConfig(t.Context(), f.Pool.Config())
		f.ok(err)
		t.Cleanup(cfg.Pool.Close)
		cfg.Bus, err = bus.Open(t.Context(), nats.ClientURL(), slog.New(slog.DiscardHandler))
		f.ok(err)
		t.Cleanup(func() { _ = cfg.Bus.Close() })
		w.nodes[i] = node{New(cfg), cfg.Pool}
	}
	w.other = must(t)(agents.EnsureQueue(t.Context(), f.Pool, "Repairs"))
	for _, name := range []string{"Jo", "Kim", "Rosa"} {
		w.people = append(w.people, must(t)(agents.EnsureAgent(t.Context(), f.Pool, agents.Agent{Login: name, Name: name, Role: "agent", Queues: []int64{f.QueueID, w.other}})))
	}
	for i, id := range w.people {
		f.ok(agents.OpenSocket(t.Context(), f.Pool, w.nodes[0].Bus, fmt.Sprint("tab-", id), id, []string{nodeOne, nodeTwo}[i%2]))
	}
	// the nodes' heartbeats are not what this is about; wrap-up ends by its agent or its customer
	for _, sql := range []string{`update nodes set seen_at = now() + interval '1 hour'`, `update queues set wrapup_seconds = 3600, offer_seconds = 60`,
		`update queues set strategy = 'ring_all' where name = 'Repairs'`, `update agents set capacity = 3, presence = 'available'`} {
		if _, err := f.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return w
}

// does notes a deed with what came of it and when.
func (w *twins) does(client int, conversation int64, d deed, do func(n node) (outcome, error)) {
	call := time.Since(w.began).Nanoseconds()
	o, err := do(w.nodes[d.node])
	returned := time.Since(w.began).Nanoseconds()
	o.ok = err == nil
	if err != nil {
		o.why = err.Error()
		o.notYou = strings.Contains(o.why, "You do not have this conversation")
		var refused *channels.Error
		if !errors.As(err, &refused) {
			w.f.t.Errorf("%+v in conversation %d: %v", d, conversation, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if conversation == 0 { // an offer that was never seen
		return
	}
	w.history[conversation] = append(w.history[conversation], porcupine.Operation{ClientId: client, Input: d, Output: o, Call: call, Return: returned})
	if o.ok {
		w.done[d.what]++
	} else {
		w.done["not "+d.what]++
	}
}

// agent works at both nodes at once: answers what rings, takes, passes on, ends, closes, also what they have no right to.
func (w *twins) agent(ctx context.Context, client int, random *rand.Rand) {
	me := w.people[client]
	var rang []agents.Offer // all that ever rang here: answers may come twice and late
	news, forget := w.news(channels.AgentSubject(me))
	defer forget()
	for n := 0; n < mostDeeds && !w.enough(); n++ {
		on := random.IntN(2)
		id := w.ids[random.IntN(len(w.ids))]
		d := deed{agent: me, boss: me == w.f.bo, node: on}
		o, err := agents.OpenOffer(ctx, w.nodes[on].pool, me)
		w.f.ok(err)
		if o != nil {
			rang = append(rang, *o)
		} else if len(rang) > 0 && random.IntN(8) == 0 {
			o = &rang[random.IntN(len(rang))]
		}
		if o != nil && random.IntN(8) > 0 {
			w.answers(ctx, client, d, *o, random)
			continue
		}
		simple := func(what string, do func(n node) error) {
			d.what = what
			w.does(client, id, d, func(n node) (outcome, error) { return outcome{}, do(n) })
		}
		held := w.held(ctx, on, me)
		switch {
		case held == 0 && random.IntN(4) > 0: // nothing to do
			lookUp(news)
			continue
		case held != 0 && random.IntN(4) > 0: // mostly what they have
			id = held
		}
		switch random.IntN(9) {
		case 0:
			simple("take", func(n node) error { return n.Take(ctx, me, id) })
		case 1, 2:
			simple("end", func(n node) error { return n.End(ctx, me, id) })
		case 3, 8:
			simple("close", func(n node) error { return n.Close(ctx, me, id, "solved", "") })
		case 4:
			to := channels.CallTarget{Kind: channels.TargetQueue, QueueID: []int64{w.f.QueueID, w.other}[random.IntN(2)]}
			if random.IntN(2) == 0 {
				to = channels.CallTarget{Kind: channels.TargetAgent, AgentID: w.people[random.IntN(len(w.people))]}
			}
			d.to = to.QueueID
			simple("transfer", func(n node) error { return n.Transfer(ctx, me, id, to, "") })
		case 5:
			body := fmt.Sprintf("reply-%d-%d", client, time.Since(w.began))
			simple("reply", func(n node) error { _, err := n.Reply(ctx, me, id, body, "One moment.", false); return err })
		default:
			w.look(ctx, client, id, on)
		}
	}
}

// enough says that so much has happened that the history proves something.
func (w *twins) enough() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for what, least := range leastDeeds {
		if w.done[what] < least {
			return false
		}
	}
	return true
}

// news wakes who waits for something to happen at this subject.
func (w *twins) news(subject string) (news <-chan struct{}, forget func()) {
	c := make(chan struct{}, 1)
	forget, err := w.nodes[0].Bus.Subscribe(subject, func(string, []byte) {
		select {
		case c <- struct{}{}:
		default:
		}
	})
	w.f.ok(err)
	return c, forget
}

// lookUp waits for news, if there are any to wait for, as long as people do who are in a hurry.
func lookUp(news <-chan struct{}) {
	select {
	case <-news:
	case <-time.After(100 * time.Millisecond):
	}
}

// held is one of the conversations that the agent has.
func (w *twins) held(ctx context.Context, on int, agent int64) (id int64) {
	w.f.ok(w.nodes[on].pool.QueryRow(ctx, `select coalesce((select id from conversations where agent_id = $1 and state in ('agent', 'wrapup') order by random() limit 1), 0)`, agent).Scan(&id))
	return id
}

// answers an offer, now and then in two tabs at once, on both nodes; and often from a telephone.
func (w *twins) answers(ctx context.Context, client int, d deed, o agents.Offer, random *rand.Rand) {
	d.what, d.offer = "accept", o.ID
	in := channels.Inbound{Type: channels.OfferTaken, Channel: channels.Voice, AgentID: d.agent, OfferID: o.ID}
	if random.IntN(4) == 0 {
		d.what, in.Type = "decline", channels.OfferDeclined
	}
	phone := random.IntN(2) == 0
	answer := func(client int, d deed) {
		w.does(client, o.ConversationID, d, func(n node) (outcome, error) {
			switch {
			case phone:
				_, err := n.Receive(ctx, in)
				return outcome{}, err
			case d.what == "accept":
				_, err := n.Accept(ctx, d.agent, d.offer)
				return outcome{}, err
			}
			return outcome{}, n.Decline(ctx, d.agent, d.offer)
		})
	}
	var tabs sync.WaitGroup
	if random.IntN(3) == 0 {
		second := d
		second.node = 1 - d.node
		tabs.Go(func() { answer(len(w.people)+len(w.ids)+client, second) })
	}
	answer(client, d)
	tabs.Wait()
}

func (w *twins) look(ctx context.Context, client int, id int64, on int) {
	w.does(client, id, deed{what: "look", node: on}, func(n node) (outcome, error) {
		c, err := channels.Get(ctx, n.pool, id)
		if err != nil {
			return outcome{}, err
		}
		o := outcome{state: c.State, queue: c.QueueID}
		if c.AgentID != nil && (c.State == channels.Agent || c.State == channels.Wrapup) {
			o.agent = *c.AgentID
		}
		return o, nil
	})
}

// customer of one conversation writes, asks for a person, thinks better of it, leaves, on whichever node.
func (w *twins) customer(ctx context.Context, client int, id int64, random *rand.Rand) {
	for n := 0; n < mostDeeds && !w.enough(); n++ {
		lookUp(nil)
		d := deed{what: "writes", node: random.IntN(2)}
		in := channels.Inbound{Type: channels.Words, Channel: channels.Chat, ConversationID: id, Body: "Do you sell tents?"}
		switch random.IntN(12) {
		case 0, 1, 2, 3:
			d.what, in.Body = "wishes", "I want to speak to a human being"
		case 4:
			d.what, in = "wishes", channels.Inbound{Type: channels.Wish, Channel: channels.Chat, ConversationID: id, Source: "button"}
		case 5:
			d.what, in.Type = "no person", channels.NoWish
		case 6:
			d.what, in.Type = "leaves", channels.Left
		}
		w.does(client, id, d, func(n node) (outcome, error) {
			r, err := n.Receive(ctx, in)
			return outcome{state: r.State}, err
		})
		w.look(ctx, client, id, 1-d.node)
	}
}

// time goes: offers run out in the middle of being answered, refusals age, who missed one comes back, and both nodes sweep.
func (w *twins) time(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, sql := range []string{`update offers set expires_at = clock_timestamp() where outcome is null and id % 5 = 0`,
			`update offers set ended_at = ended_at - interval '61 s' where outcome in ('declined', 'missed')`,
			`update agents set presence = 'available', next_presence = null where presence <> 'available'`} {
			if _, err := w.f.Pool.Exec(ctx, sql); err != nil && ctx.Err() == nil {
				w.f.t.Errorf("%s: %v", sql, err)
			}
		}
		w.nodes[n%2].sweep(ctx)
	}
}

// run lets them all at it at once.
func (w *twins) run(ctx context.Context, seed uint64) {
	running, stop := context.WithCancel(ctx)
	var nodes, people sync.WaitGroup
	for _, n := range w.nodes {
		r := agents.NewRouter(agents.RouterConfig{Pool: n.pool, Bus: n.Bus, NodeID: n.NodeID, Log: slog.New(slog.DiscardHandler)})
		nodes.Go(func() {
			if err := r.Run(running); err != nil {
				w.f.t.Error(err)
			}
		})
	}
	nodes.Go(func() { w.time(running) })
	for i := range w.people {
		people.Go(func() { w.agent(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i, id := range w.ids {
		client := len(w.people) + i
		people.Go(func() { w.customer(ctx, client, id, rand.New(rand.NewPCG(seed, uint64(client)))) })
	}
	people.Wait()
	stop()
	nodes.Wait()
	for _, id := range w.ids { // and so it stands in the end
		w.look(ctx, 0, id, 0)
	}
}

// TestTwoNodesAreOneFlow: five agents and three customers on three conversations, through two nodes at once, with offers that
// run out meanwhile. Each conversation's history is one that a single hand could have made. PATCHBAY_TEST_SEED has the same
// deeds done again; their order is the machine's.
func TestTwoNodesAreOneFlow(t *testing.T) {
	f := newFlow(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("PATCHBAY_TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("PATCHBAY_TEST_SEED=%d", seed)
	w := newTwins(t, f)
	for range 3 {
		w.ids = append(w.ids, f.visitor("hello there"))
	}
	w.began = time.Now()
	w.run(ctx, seed)
	took := time.Since(w.began)
	deeds := 0
	for id, ops := range w.history {
		deeds += len(ops)
		switch porcupine.CheckOperationsTimeout(flowModel(f.QueueID), ops, 30*time.Second) {
		case porcupine.Illegal:
			t.Errorf("conversation %d: nobody alone could have done this:\n%s", id, told(ops))
		case porcupine.Unknown:
			t.Errorf("conversation %d: %d deeds are too many to be checked", id, len(ops))
		}
	}
	t.Logf("%d deeds in %v, checked in %v: %v", deeds, took.Round(time.Millisecond), (time.Since(w.began) - took).Round(time.Millisecond), w.done)
	if !w.enough() {
		t.Errorf("too little happened to prove anything: %v, wanted %v", w.done, leastDeeds)
	}
}

// told is a history in the order of its beginnings.
func told(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "%7d-%7d µs  %d  %+v  %+v\n", op.Call/1000, op.Return/1000, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}

// TestFlowModelBites: histories that no single hand could have made, each wrong in one thing.
func TestFlowModelBites(t *testing.T) {
	const ana, bo, boss, queue = 1, 2, 3, 7
	yes, notYou := outcome{ok: true}, outcome{notYou: true}
	type one struct {
		d deed
		o outcome
	}
	wish := one{deed{what: "wishes"}, outcome{ok: true, state: channels.Offered}}
	by := func(agent int64, what string, o outcome) one {
		return one{deed{what: what, agent: agent, boss: agent == boss}, o}
	}
	sees := func(s channels.State, agent, queue int64) one {
		return one{deed{what: "look"}, outcome{ok: true, state: s, agent: agent, queue: queue}}
	}
	says := func(what string, after channels.State) one {
		return one{deed{what: what}, outcome{ok: true, state: after}}
	}
	toQueue := one{deed{what: "transfer", agent: ana, to: 8}, yes}
	for _, c := range []struct {
		name string
		does []one
		ok   bool
	}{
		{"a whole life", []one{wish, by(ana, "accept", yes), by(ana, "reply", yes), toQueue, sees(channels.Offered, 0, 8), by(bo, "accept", yes),
			by(ana, "end", notYou), by(bo, "end", yes), by(bo, "close", yes), says("writes", channels.Bot)}, true},
		{"taken over by a supervisor", []one{wish, by(ana, "accept", yes), by(bo, "take", outcome{}), by(boss, "take", yes), by(ana, "reply", notYou)}, true},
		{"accepted by two", []one{wish, by(ana, "accept", yes), by(bo, "accept", yes)}, false},
		{"accepted after the customer left", []one{wish, says("leaves", channels.Closed), by(ana, "accept", yes)}, false},
		{"taken from a colleague", []one{wish, by(ana, "accept", yes), by(bo, "take", yes)}, false},
		{"ended twice", []one{wish, by(ana, "accept", yes), by(ana, "end", yes), by(ana, "end", yes)}, false},
		{"closed by somebody else", []one{wish, by(ana, "accept", yes), by(ana, "end", yes), by(bo, "close", yes)}, false},
		{"refused who has it", []one{wish, by(ana, "accept", yes), by(ana, "reply", notYou)}, false},
		{"refused without a reason", []one{by(ana, "take", outcome{})}, false},
		{"passed on after it was taken away", []one{wish, by(ana, "accept", yes), by(boss, "take", yes), toQueue}, false},
		{"in the wrong queue", []one{wish, by(ana, "accept", yes), toQueue, sees(channels.Waiting, 0, queue)}, false},
		{"seen with who has passed it on", []one{wish, by(ana, "accept", yes), toQueue, sees(channels.Agent, ana, 8)}, false},
		{"the wish is lost", []one{wish, sees(channels.Bot, 0, queue)}, false},
		{"the place is lost", []one{wish, says("writes", channels.Bot)}, false},
		{"the customer is told of a person who is not there", []one{wish, says("writes", channels.Agent)}, false},
	} {
		var ops []porcupine.Operation
		for i, d := range c.does {
			ops = append(ops, porcupine.Operation{ClientId: int(d.d.agent), Input: d.d, Output: d.o, Call: int64(10 * i), Return: int64(10*i + 5)})
		}
		if got := porcupine.CheckOperations(flowModel(queue), ops); got != c.ok {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
