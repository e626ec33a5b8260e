package agents

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

func TestOfferRingsAtOnce(t *testing.T) {
	var h *house
	var mira, id int64
	var frames <-chan frame
	var o *Offer
	if took := fastest(900*time.Millisecond, func() time.Duration {
		h = newHouse(t)
		mira = h.agent("Mira")
		frames = h.frames(mira)
		h.waits(channels.Chat)
		h.routes()
		h.ok(h.decline(h.next(frames, "offer").Offer.ID, mira)) // the router has just looked: by itself it comes a second later
		start := time.Now()
		id = h.waits(channels.Voice)
		o = h.next(frames, "offer").Offer
		return time.Since(start)
	}); took > 900*time.Millisecond {
		t.Errorf("the offer took %s: the wake-up was lost and the sweep found it", took)
	}
	if o.ConversationID != id || o.Channel != channels.Voice || o.QueueName != "Service" || o.ContactName != "+4930000002" ||
		o.Subject != "Broken kettle" || o.Seconds != 20 || !regexp.MustCompile(`^Idle longest \(\d+ s\), queue Service$`).MatchString(o.Why) {
		t.Errorf("offer: %+v", o)
	}
	if s := ask[string](h, `select state from conversations where id = $1`, id); s != "offered" {
		t.Errorf("state %s", s)
	}
	open, err := OpenOffer(h.ctx, h.pool, mira)
	if err != nil || open == nil || open.ID != o.ID {
		t.Errorf("open offer %+v, %v", open, err)
	}
	h.ok(h.accept(o.ID, mira))
	if f := h.next(frames, "offer_ended"); f.OfferID != o.ID || f.Outcome != Accepted {
		t.Errorf("%+v", f)
	}
	refusedWith(t, h.accept(o.ID, mira), channels.Conflict, "You have accepted this offer already.")
	refusedWith(t, h.accept(o.ID, mira+1), channels.NotFound, "There is no such offer.")
}

// fastest is how long it took when it was fastest: it is done again, five times at most, as long as it takes longer than limit. A
// machine that has other work too is late now and then; a fault is late each time.
func fastest(limit time.Duration, do func() time.Duration) time.Duration {
	took := do()
	for n := 1; n < 5 && took > limit; n++ {
		took = min(took, do())
	}
	return took
}

func TestMissedOfferGoesToTheFrontAndTheAgentAway(t *testing.T) {
	var h *house
	var mira, id int64
	var frames <-chan frame
	var o *Offer
	var since time.Time
	if took := fastest(700*time.Millisecond, func() time.Duration {
		h = newHouse(t)
		mira = h.agent("Mira")
		frames = h.frames(mira)
		id = h.waits(channels.Chat)
		since = ask[time.Time](h, `select waiting_since from conversations where id = $1`, id)
		h.routes()
		o = h.next(frames, "offer").Offer
		h.exec(`update offers set expires_at = clock_timestamp() + interval '30 milliseconds' where id = $1`, o.ID)
		h.ok(h.bus.Publish(channels.RouteSubject, nil)) // the router reads the new deadline
		start := time.Now()
		if f := h.next(frames, "offer_ended"); f.OfferID != o.ID || f.Outcome != Missed {
			t.Fatalf("%+v", f)
		}
		return time.Since(start)
	}); took > 700*time.Millisecond {
		t.Errorf("the end took %s: not the offer's own timer", took)
	}
	h.next(frames, "presence")
	row := ask[string](h, `select format('%s %s %s %s', c.state, c.front, a.presence, a.presence_reason)
		from conversations c, agents a where c.id = $1 and a.id = $2`, id, mira)
	if row != "waiting t away missed" {
		t.Errorf("rows: %s", row)
	}
	if again := ask[time.Time](h, `select waiting_since from conversations where id = $1`, id); !again.Equal(since) {
		t.Errorf("waiting since %s, was %s", again, since)
	}
	if n := ask[int64](h, `select count(*) from messages where conversation_id = $1 and private and data->>'code' = 'missed'`, id); n != 1 {
		t.Errorf("%d lines say that it was missed", n)
	}
	refusedWith(t, h.accept(o.ID, mira), channels.Conflict, "The offer has run out.")

	// one click back, and it rings again after a while: nobody else is there
	h.exec(`update offers set ended_at = ended_at - interval '5 seconds'`)
	h.ok(SetPresence(h.ctx, h.pool, h.bus, mira, Available, ""))
	if o := h.next(frames, "offer").Offer; o.ConversationID != id {
		t.Errorf("%+v", o)
	}
}

func TestDeclinedGoesToTheNextAgentAndNotBack(t *testing.T) {
	h := newHouse(t)
	mira, ana := h.agent("Mira"), h.agent("Ana")
	toMira, toAna := h.frames(mira), h.frames(ana)
	h.routes()
	id := h.waits(channels.Chat)
	o := h.next(toMira, "offer").Offer // has been idle for longer
	h.ok(h.decline(o.ID, mira))
	refusedWith(t, h.decline(o.ID, mira), channels.Conflict, "You have declined this offer.")
	o = h.next(toAna, "offer").Offer
	if o.ConversationID != id {
		t.Fatalf("%+v", o)
	}
	h.ok(h.decline(o.ID, ana))
	// Nobody is left to ask. A second conversation shows that Mira is asked for that one and not for the first.
	second := h.waits(channels.Chat)
	if o := h.next(toMira, "offer").Offer; o.ConversationID != second {
		t.Errorf("offered %d, want %d", o.ConversationID, second)
	}
	if s := ask[string](h, `select state from conversations where id = $1`, id); s != "waiting" {
		t.Errorf("the declined one is %s", s)
	}
}

func TestWithdrawnAndTaken(t *testing.T) {
	h := newHouse(t)
	mira := h.agent("Mira")
	frames := h.frames(mira)
	h.routes()
	id := h.waits(channels.Chat)
	o := h.next(frames, "offer").Offer
	ana, err := EnsureAgent(h.ctx, h.pool, Agent{Login: "ana", Name: "Ana"})
	h.ok(err)
	var after func()
	h.ok(pgx.BeginFunc(h.ctx, h.pool, func(tx pgx.Tx) (err error) {
		if _, err = channels.Lock(h.ctx, tx, id); err != nil {
			return err
		}
		if _, err := OfferedTo(h.ctx, tx, id, ana); channels.CodeOf(err) != channels.Conflict {
			t.Errorf("offered to a colleague: %v", err)
		}
		if got, err := OfferedTo(h.ctx, tx, id, mira); got != o.ID || err != nil {
			t.Errorf("offered to Mira: %d, %v", got, err)
		}
		if after, err = Withdraw(h.ctx, tx, h.bus, id); err != nil {
			return err
		}
		if err := TakenByHand(h.ctx, tx, id, ana); err != nil {
			return err
		}
		if _, err := channels.Move(h.ctx, tx, id, channels.Agent); err != nil {
			return err
		}
		_, err = tx.Exec(h.ctx, `update conversations set agent_id = $2 where id = $1`, id, ana)
		return err
	}))
	after()
	if f := h.next(frames, "offer_ended"); f.Outcome != Withdrawn {
		t.Errorf("%+v", f)
	}
	refusedWith(t, h.accept(o.ID, mira), channels.Conflict, "Taken by Ana.")
	h.ok(pgx.BeginFunc(h.ctx, h.pool, func(tx pgx.Tx) error {
		after, err := Withdraw(h.ctx, tx, h.bus, id)
		if after != nil {
			t.Error("withdrawn twice")
		}
		return err
	}))
}

func TestWhoIsFree(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup string // $1 agent, $2 conversation, $3 queue
		free  bool
		there bool
	}{
		{"idle", `select 1 where $1::bigint + $2::bigint + $3::bigint > 0`, true, true},
		{"two chats of three", `update conversations set state = 'agent', agent_id = $1 where queue_id = $3 and id <> $2 and id < $2 + 3`, true, true},
		{"full", `update conversations set state = 'agent', agent_id = $1 where queue_id = $3 and id <> $2`, false, true},
		{"a live call", `with c as (update conversations set state = 'agent', agent_id = $1 where id = $2 and queue_id = $3 returning id)
			insert into calls (conversation_id, direction, from_address, to_address) select id, 'in', '', '' from c`, false, true},
		{"a call to return", `update conversations set state = 'agent', agent_id = $1, return_call = true where id = $2 and queue_id = $3`, true, true},
		{"wrap-up of a call", `update conversations set state = 'wrapup', channel = 'voice', agent_id = $1 where id = $2 and queue_id = $3`, false, true},
		{"wrap-up of a chat", `update conversations set state = 'wrapup', channel = 'chat', agent_id = $1 where id = $2 and queue_id = $3`, true, true},
		{"an open offer", `insert into offers (agent_id, conversation_id, expires_at) select $1::bigint, $2::bigint, now() + interval '9 s' where $3::bigint > 0`, false, true},
		{"away", `update agents set presence = 'away' where id = $1 and $2::bigint + $3::bigint > 0`, false, false},
		{"no tab", `delete from agent_sockets where agent_id = $1 and $2::bigint + $3::bigint > 0`, false, false},
		{"a tab on a dead node", `update agent_sockets set node_id = 'dead' where agent_id = $1 and $2::bigint + $3::bigint > 0`, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			mira := h.agent("Mira")
			first := h.waits(channels.Chat)
			for range 3 {
				h.waits(channels.Chat)
			}
			h.exec(c.setup, mira, first, h.queue)
			desk, err := atTheDesk(h.ctx, h.pool, whom{})
			h.ok(err)
			if len(desk) == 1 != c.there {
				t.Fatalf("desk: %+v", desk)
			}
			if c.there && (desk[0].Busy == "") != c.free {
				t.Errorf("busy: %q", desk[0].Busy)
			}
		})
	}
}

// Two routers on one database, agents who accept, decline and end as fast as they can: no agent ever has two open
// offers or more than its capacity, no conversation two agents, and every one is served.
func TestTwoRoutersDoubleNothing(t *testing.T) {
	h := newHouse(t)
	const conversations = 40
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	for i, name := range []string{"Mira", "Ana", "Jo", "Kim"} {
		id := h.agent(name)
		h.exec(`update agents set capacity = 2 where id = $1`, id)
		frames := h.frames(id)
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case f := <-frames:
					if f.Type != "offer" {
						continue
					}
					if (n+i)%5 == 4 {
						if err := h.decline(f.Offer.ID, id); err != nil {
							t.Error(err)
						}
						continue
					}
					if err := h.accept(f.Offer.ID, id); err != nil {
						t.Error(err)
						continue
					}
					if load := ask[int64](h, `select count(*) from conversations where agent_id = $1 and state = 'agent'`, id); load > 2 {
						t.Errorf("agent %d has %d conversations", id, load)
					}
					if n%2 == 1 { // ends all it has
						h.exec(`update conversations set state = 'closed' where agent_id = $1 and state = 'agent'`, id)
						h.ok(h.bus.Publish(channels.RouteSubject, nil))
					}
				}
			}
		})
	}
	h.routes()
	h.routes()
	for range conversations {
		h.waits(channels.Chat)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	// Who declined is not asked again for a minute: refusals age while the test looks on.
	for ask[int64](h, `select count(*) from conversations where state in ('waiting', 'offered')`) > 0 {
		select {
		case <-tick.C:
			h.exec(`update offers set ended_at = ended_at - interval '10 seconds' where outcome = 'declined'`)
			h.exec(`update conversations set state = 'closed' where state = 'agent' and state_at < clock_timestamp() - interval '200 milliseconds'`)
			h.ok(h.bus.Publish(channels.RouteSubject, nil))
		case <-h.ctx.Done():
			t.Fatalf("%d still wait", ask[int64](&house{T: t, ctx: context.Background(), pool: h.pool}, `select count(*) from conversations where state = 'waiting'`))
		}
	}
	cancel()
	wg.Wait()
	if n := ask[int64](h, `select count(*) from conversations c where (select count(*) from offers o where o.conversation_id = c.id and o.outcome = 'accepted') <> 1`); n > 0 {
		t.Errorf("%d conversations were not accepted exactly once", n)
	}
	if n := ask[int64](h, `select count(*) from offers where outcome is null`); n > 0 {
		t.Errorf("%d offers are still open", n)
	}
}

func TestRingAllFirstAcceptWins(t *testing.T) {
	h := newHouse(t)
	h.exec(`update queues set strategy = 'ring_all'`)
	mira, ana, jo := h.agent("Mira"), h.agent("Ana"), h.agent("Jo")
	toMira, toAna, toJo := h.frames(mira), h.frames(ana), h.frames(jo)
	h.routes()
	id := h.waits(channels.Voice)
	om, oa, oj := h.next(toMira, "offer").Offer, h.next(toAna, "offer").Offer, h.next(toJo, "offer").Offer
	if om.ConversationID != id || oa.ConversationID != id || !om.Shared || om.Why != "Rings at 3 of you, the first takes it, queue Service" {
		t.Fatalf("%+v, %+v", om, oa)
	}
	h.ok(h.decline(oj.ID, jo))
	if s := ask[string](h, `select state from conversations where id = $1`, id); s != "offered" {
		t.Fatalf("one of three declined: %s", s)
	}
	// both answer at the same moment
	results := make(chan error, 2)
	go func() { results <- h.accept(om.ID, mira) }()
	go func() { results <- h.accept(oa.ID, ana) }()
	first, second := <-results, <-results
	if (first == nil) == (second == nil) {
		t.Fatalf("accepted: %v, %v", first, second)
	}
	if channels.CodeOf(errors.Join(first, second)) == "" && channels.CodeOf(first) != channels.Conflict && channels.CodeOf(second) != channels.Conflict {
		t.Errorf("refused with %v, %v", first, second)
	}
	var outcomes []string
	for _, ch := range []<-chan frame{toMira, toAna} {
		outcomes = append(outcomes, h.next(ch, "offer_ended").Outcome)
	}
	slices.Sort(outcomes)
	if !slices.Equal(outcomes, []string{Accepted, Withdrawn}) {
		t.Errorf("told %v", outcomes)
	}
	if n := ask[int64](h, `select count(*) from offers where outcome = 'accepted'`); n != 1 {
		t.Errorf("accepted %d times", n)
	}
}

func TestRingAllThatNobodyAnswersSendsNobodyAway(t *testing.T) {
	h := newHouse(t)
	h.exec(`update queues set strategy = 'ring_all'`)
	mira, ana := h.agent("Mira"), h.agent("Ana")
	toMira := h.frames(mira)
	h.routes()
	id := h.waits(channels.Chat)
	h.next(toMira, "offer")
	h.exec(`update offers set expires_at = clock_timestamp()`)
	h.ok(h.bus.Publish(channels.RouteSubject, nil))
	if f := h.next(toMira, "offer_ended"); f.Outcome != Missed {
		t.Errorf("%+v", f)
	}
	h.until(`select state = 'waiting' and front from conversations where id = $1`, id)
	row := ask[string](h, `select string_agg(presence, ' ') || ' ' || (select count(*) from messages where data->>'code' = 'missed') from agents where id in ($1, $2)`, mira, ana)
	if row != "available available 1" {
		t.Errorf("%s", row)
	}
	h.exec(`update offers set ended_at = ended_at - interval '5 seconds'`)
	if o := h.next(toMira, "offer").Offer; o.ConversationID != id {
		t.Errorf("%+v", o)
	}
}

func TestRoundRobinGoesRound(t *testing.T) {
	h := newHouse(t)
	h.exec(`update queues set strategy = 'round_robin'`)
	var people []int64
	frames := map[int64]<-chan frame{}
	for _, name := range []string{"Mira", "Ana", "Jo"} {
		id := h.agent(name)
		people, frames[id] = append(people, id), h.frames(id)
	}
	h.routes()
	for n := range 6 {
		h.waits(channels.Chat)
		a := people[n%3]
		h.ok(h.accept(h.next(frames[a], "offer").Offer.ID, a))
		h.exec(`update conversations set state = 'closed' where state = 'agent'`)
		h.exec(`update agents set idle_since = '2020-01-01' where id = $1`, a) // the longest idle by far
	}
}

func TestNextPresence(t *testing.T) {
	h := newHouse(t)
	mira := h.agent("Mira")
	frames := h.frames(mira)
	h.routes()
	first := h.waits(channels.Chat)
	h.ok(h.accept(h.next(frames, "offer").Offer.ID, mira))
	h.ok(SetNextPresence(h.ctx, h.pool, h.bus, mira, Away, "lunch"))
	refusedWith(t, SetNextPresence(h.ctx, h.pool, h.bus, mira, "gone", ""), channels.Invalid, "")
	h.next(frames, "presence")
	second := h.waits(channels.Chat)
	if desk, err := atTheDesk(h.ctx, h.pool, whom{}); err != nil || desk[0].Busy != "leaving after the work in hand" {
		t.Errorf("%+v, %v", desk, err)
	}
	if p := ask[string](h, `select presence from agents where id = $1`, mira); p != "available" {
		t.Errorf("%s with work in hand", p)
	}
	h.exec(`update conversations set state = 'closed' where id = $1`, first)
	h.ok(h.bus.Publish(channels.RouteSubject, nil))
	h.next(frames, "presence")
	if row := ask[string](h, `select presence || ' ' || presence_reason || ' ' || (next_presence is null) from agents where id = $1`, mira); row != "away lunch true" {
		t.Errorf("after the work: %s", row)
	}
	if s := ask[string](h, `select state from conversations where id = $1`, second); s != "waiting" {
		t.Errorf("the second is %s", s)
	}
	// without work it counts at once
	h.ok(SetNextPresence(h.ctx, h.pool, h.bus, mira, Available, ""))
	if o := h.next(frames, "offer").Offer; o.ConversationID != second {
		t.Errorf("%+v", o)
	}
}

func TestWhyItStillWaits(t *testing.T) {
	h := newHouse(t)
	mira, bo := h.agent("Mira"), h.agent("Bo")
	h.exec(`insert into skills (name) values ('French')`)
	h.exec(`insert into queue_skills (queue_id, skill_id, after_seconds, level) select $1, id, s, l from skills, (values (0, 3), (60, 2)) v (s, l)`, h.queue)
	h.exec(`update queues set anybody_seconds = 300`)
	why := func(id int64) (Wait, string) {
		t.Helper()
		list, err := Waits(h.ctx, h.pool, []int64{id})
		h.ok(err)
		if len(list) != 1 {
			t.Fatalf("%+v", list)
		}
		return list[0], regexp.MustCompile(`\d+ s\b`).ReplaceAllString(list[0].Why, "N s")
	}
	id := h.waits(channels.Chat)
	if w, text := why(id); w.Code != whySkill || text != "None of the 2 agents of the queue Service has the skill French 3; relaxes to French 2 in N s." || !slices.Equal(w.Needs, []string{"French 3"}) {
		t.Errorf("%+v", w)
	}
	h.exec(`insert into agent_skills (agent_id, skill_id, level) select a, id, 3 from skills, unnest($1::bigint[]) a`, []int64{mira, bo})
	h.exec(`with c as (insert into conversations (contact_id, queue_id, channel, state, agent_id) select contact_id, queue_id, 'voice', 'agent', $1 from conversations limit 1 returning id)
		insert into calls (conversation_id, direction, from_address, to_address) select id, 'in', '', '' from c`, mira)
	h.ok(SetPresence(h.ctx, h.pool, h.bus, bo, Away, "break"))
	if w, text := why(id); w.Code != whyBusy || text != "2 agents have the skill French 3: Mira is on a call, Bo is on a break; relaxes to French 2 in N s." || w.Place != 1 {
		t.Errorf("%+v", w)
	}
	h.exec(`update conversations set waiting_since = waiting_since - interval '90 seconds'`)
	if w, text := why(id); text != "2 agents have the skill French 2: Mira is on a call, Bo is on a break; anybody is asked in 3 min." {
		t.Errorf("%+v", w)
	}
	// the books keep it, and the offer says why it waited
	frames := h.frames(bo)
	h.routes()
	h.until(`select exists (select from wait_reasons where conversation_id = $1 and code = 'busy')`, id)
	h.ok(SetPresence(h.ctx, h.pool, h.bus, bo, Available, ""))
	if o := h.next(frames, "offer").Offer; !strings.HasPrefix(o.Waited, "2 agents have the skill French 2: Mira is on a call") {
		t.Errorf("waited: %q", o.Waited)
	}
	if reasons, err := WaitReasons(h.ctx, h.pool, id); err != nil || len(reasons) != 1 {
		t.Errorf("%+v, %v", reasons, err)
	}
	if n := ask[int64](h, `select count(*) from waits where conversation_id = $1 and place = 1 and people = 1`, id); n != 1 {
		t.Error("the wait is not in the books")
	}
}

// TestBooksWaitForNobody: whoever accepts holds the conversation's row, and needs the wait's; the books must not hold the
// second while they wait for the first.
func TestBooksWaitForNobody(t *testing.T) {
	h := newHouse(t)
	held, other := h.waits(channels.Chat), h.waits(channels.Chat)
	h.ok(h.tx(func(tx pgx.Tx) error {
		if _, err := channels.Lock(h.ctx, tx, held); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(h.ctx, 20*time.Second)
		defer cancel()
		if err := NewRouter(RouterConfig{Pool: h.pool, Bus: h.bus, NodeID: "n1", Log: slog.New(slog.DiscardHandler)}).book(ctx, time.Time{}, true); err != nil {
			t.Errorf("books: %v", err)
		}
		return waitEnds(h.ctx, tx, held)
	}))
	if n := ask[int64](h, `select count(*) from waits where conversation_id = $1 and place is not null`, other); n != 1 {
		t.Error("the other wait is not in the books")
	}
	if s := ask[string](h, `select outcome from waits where conversation_id = $1`, held); s != "agent" {
		t.Errorf("the wait ended by %q", s)
	}
}
