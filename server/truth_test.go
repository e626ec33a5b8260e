package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
	"patchbay/server/db/dbtest"
)

// Truth: what was acknowledged is stored, whatever dies.

// writer is a visitor that survives its server: it keeps what was not acknowledged and sends it again.
type writer struct {
	token string
	acked []string // client ids
	next  int
	name  string
}

// talk writes until the connection dies or stop is closed; it reports each acknowledgement.
func (w *writer) talk(url string, words func(n int) string, stop <-chan struct{}, acked chan<- struct{}) error {
	conn, _, err := websocket.DefaultDialer.Dial("ws"+url[len("http"):]+"/chat/socket", nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-stop:
			conn.Close()
		case <-done:
		}
	}()
	if err := conn.WriteJSON(frame{"type": "hello", "token": w.token, "after": 1 << 40}); err != nil {
		return err
	}
	for {
		id := fmt.Sprintf("%s-message-%d", w.name, w.next)
		if err := conn.WriteJSON(frame{"type": "say", "client_id": id, "body": words(w.next)}); err != nil {
			return err
		}
		for got := false; !got; {
			var f frame
			if err := conn.ReadJSON(&f); err != nil {
				return err
			}
			switch {
			case f.str("type") == "welcome" && f.str("token") != "":
				w.token = f.str("token")
			case f.str("type") == "ack" && f.str("client_id") == id:
				got = true
			case f.str("type") == "error" && f.str("code") == string(channels.TooMany):
				return nil // told to slow down: the next connection sends it again
			}
		}
		w.acked = append(w.acked, id)
		w.next++
		select {
		case acked <- struct{}{}:
		case <-stop:
			return nil
		}
	}
}

// TestKill9 kills the server at random moments under load. No acknowledged message may be missing or double; waiting
// conversations still wait; every wish has its promise; the unanswered are answered after the last restart.
func TestKill9(t *testing.T) {
	rounds := 50
	if n, err := strconv.Atoi(os.Getenv("PATCHBAY_TEST_ROUNDS")); err == nil {
		rounds = n
	} else if testing.Short() {
		rounds = 5
	}
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, dbtest.URL(t), env...)
	h.start()
	h.keepPort()

	// an agent whose acknowledged replies count too
	a := h.signIn(h.link)
	a.live()
	a.available()

	asks := h.visitor("", 0)
	asks.says("let me talk to a human")
	asks.hears("that a person comes", event(channels.CodeWaiting))
	a.accept(a.offer())
	held := one[int64](h, `select id from conversations where state = 'agent'`)
	asks.conn.Close()
	a.conn.Close()

	waits := h.visitor("", 0)
	waits.says("I want a person, not a machine")
	waits.hears("that a person comes", event(channels.CodeWaiting))
	waits.conn.Close()

	writers := make([]*writer, 6)
	for i := range writers {
		writers[i] = &writer{name: fmt.Sprintf("writer-%d", i)}
	}
	var replies []string
	var restarts []time.Duration
	random := rand.New(rand.NewPCG(4, 2))
	for round := range rounds {
		stop, acked := make(chan struct{}), make(chan struct{}, 64)
		var all sync.WaitGroup
		for _, w := range writers {
			all.Go(func() {
				for {
					err := w.talk(h.url, func(n int) string { return fmt.Sprintf("How long may I send back boots, question %d?", n) }, stop, acked)
					select {
					case <-stop:
						return
					default:
					}
					if err != nil {
						return // the server died
					}
				}
			})
		}
		all.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("reply-%d-%d", round, n)
				status, _, err := a.quiet("POST", "/api/conversations/"+itoa(held)+"/messages", frame{"client_id": id, "body": "Reply " + id})
				if err != nil || status != 200 {
					return
				}
				replies = append(replies, id)
				select {
				case <-stop:
					return
				case acked <- struct{}{}:
				}
			}
		})
		for n := 4 + random.IntN(20); n > 0; n-- {
			select {
			case <-acked:
			case <-time.After(patience):
				t.Fatalf("round %d: nothing is acknowledged any more", round)
			}
		}
		h.kill()
		close(stop)
		all.Wait()
		began := time.Now()
		h.start()
		restarts = append(restarts, time.Since(began))
	}

	ctx := context.Background()
	for _, w := range writers {
		rows, err := h.pool.Query(ctx, `select client_id, count(*) from messages where client_id = any($1) group by 1`, w.acked)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for rows.Next() {
			var id string
			var n int
			if err := rows.Scan(&id, &n); err != nil {
				t.Fatal(err)
			}
			found++
			if n != 1 {
				t.Errorf("%s is stored %d times", id, n)
			}
		}
		if found != len(w.acked) {
			t.Errorf("%s: %d acknowledged, %d stored", w.name, len(w.acked), found)
		}
	}
	if n := one[int](h, `select count(*) from messages where client_id = any($1)`, replies); n != len(replies) {
		t.Errorf("%d replies acknowledged, %d stored", len(replies), n)
	}
	if n := one[int](h, `select count(*) from (select conversation_id, seq, row_number() over (partition by conversation_id order by seq) as want from messages) m where seq <> want`); n != 0 {
		t.Errorf("%d messages stand behind a gap", n)
	}
	if n := one[int](h, `select count(*) from conversations c where state in ('waiting', 'offered') and not exists (
		select from promises p where p.conversation_id = c.id and p.closed_at is null)`); n != 0 {
		t.Errorf("%d conversations wait without a promise", n)
	}
	if st := one[string](h, `select state from conversations where id = $1`, waits.id(h)); st != "waiting" && st != "offered" {
		t.Errorf("the waiting conversation is %s after the restarts", st)
	}
	h.eventually("every visitor is answered", `select not exists (select from conversations where state in ('new', 'bot') and customer_seq > answered_seq)`)
	total := len(replies)
	for _, w := range writers {
		total += len(w.acked)
	}
	t.Logf("%d rounds, %d acknowledged, none lost; serving again after %v (median of %d)", rounds, total, median(restarts).Round(time.Millisecond), len(restarts))
}

// id is the visitor's conversation.
func (v *visitor) id(h *testHouse) int64 {
	return one[int64](h, `select conversation_id from visitors where token_hash = sha256($1::text::bytea)`, v.token)
}

func median(d []time.Duration) time.Duration {
	for i := range d {
		for j := i; j > 0 && d[j] < d[j-1]; j-- {
			d[j], d[j-1] = d[j-1], d[j]
		}
	}
	return d[len(d)/2]
}

// natsServer is an outside NATS for two processes.
func natsServer(t testing.TB) string {
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("no NATS")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.ClientURL()
}

// TestTwoProcesses: one database, one NATS. Visitors on either, the agent on the second. No answer and no offer twice;
// when the first dies its visitors go on at the second.
func TestTwoProcesses(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	url, env := dbtest.URL(t), append(env, "NATS_URL="+natsServer(t))
	first := process(t, url, append(env, "PATCHBAY_NODE_NAME=first")...)
	second := process(t, url, append(env, "PATCHBAY_NODE_NAME=second")...)
	first.start()
	second.start()

	const visitors = 12
	var all sync.WaitGroup
	there := make([]*visitor, visitors)
	for i := range there {
		h := first
		if i%2 == 1 {
			h = second
		}
		there[i] = h.visitor("", 0)
	}
	for _, v := range there {
		all.Go(func() { v.says("How many days do I have to send something back?") })
	}
	all.Wait()
	for _, v := range there {
		v.hears("the answer", by("ai"))
	}
	if n := one[int](first, `select count(*) from messages where author = 'ai' and kind = 'text'`); n != visitors {
		t.Errorf("%d answers to %d questions", n, visitors)
	}

	// words on one node, the answer seen on both
	twin := second.visitor(there[0].token, 1<<40)
	there[0].says("And what does the parcel label cost?")
	there[0].hears("the answer here", by("ai"))
	twin.hears("the answer there", by("ai"))

	// wishes on both nodes at once, one agent on the second
	for _, v := range there {
		all.Go(func() { v.says("a human please") })
	}
	all.Wait()
	a := second.agent()
	taken := map[int64]bool{}
	for range 3 { // an agent's capacity
		o := a.offer()
		if taken[o.num("conversation_id")] {
			t.Errorf("conversation %d was offered twice", o.num("conversation_id"))
		}
		taken[o.num("conversation_id")] = true
		a.accept(o)
	}
	if n := one[int](first, `select count(*) from (select conversation_id from offers group by 1 having count(*) > 1) twice`); n != 0 {
		t.Errorf("%d conversations were offered more than once", n)
	}

	first.kill()
	moved := second.visitor(there[0].token, 0)
	moved.says("Are you still there?")
	second.eventually("the first node's leases are free", `select not exists (select from nodes where name like 'first/%' and stopped_at is null)`)
	if n := one[int](second, `select count(*) from messages where author = 'contact' and kind = 'text'`); n != 2*visitors+2 {
		t.Errorf("%d messages of visitors stored, want %d", n, 2*visitors+2)
	}
}

// TestLostCallIsReturnedFirst: the server dies under a call. After the restart the call is marked as lost and its caller
// is offered before somebody who has waited longer in the chat.
func TestLostCallIsReturnedFirst(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, dbtest.URL(t), env...)
	h.start()
	h.keepPort()
	v := h.visitor("", 0)
	v.says("a person please")
	v.hears("that a person comes", event(channels.CodeWaiting))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	phone := voicetest.NewPhone(t, "+4930777888", netip.MustParseAddr("127.0.0.1"))
	phone.Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	h.eventually("the call is known", `select exists (select from calls)`)
	h.kill()
	h.start()
	h.eventually("the call is lost", `select exists (select from calls where state = 'ended' and result = 'lost')`)
	a := h.agent()
	o := a.offer()
	if ret, _ := o["return_call"].(bool); !ret || o.str("contact_name") != "+4930777888" {
		t.Errorf("first offer: %v", o)
	}
	a.accept(o)
	if o = a.offer(); o.num("conversation_id") != v.id(h) {
		t.Errorf("second offer: %v", o)
	}
}

// TestOfferRunsOutWhileTheServerIsDead: an offer is a lease with an end in its row.
func TestOfferRunsOutWhileTheServerIsDead(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, dbtest.URL(t), env...)
	h.start()
	h.keepPort()
	a := h.agent()
	v := h.visitor("", 0)
	v.says("operator!")
	o := a.offer()
	h.kill()
	if _, err := h.pool.Exec(t.Context(), `update offers set expires_at = now() where id = $1`, o.num("id")); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.eventually("the offer has run out", `select coalesce(outcome, '') = 'missed' from offers where id = $1`, o.num("id"))
	b := h.agent()
	if again := b.offer(); again.num("conversation_id") != o.num("conversation_id") || again.num("id") == o.num("id") {
		t.Errorf("offered again: %v", again)
	}
}
