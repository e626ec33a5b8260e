package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"patchbay/channels"
	"patchbay/channels/email/emailtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// Reach: whoever asks for a person gets one, whatever the model does, by every way there is.

// reached is what became of one wish.
type reached struct {
	mood, way string
	told      time.Duration // the customer, from the wish
	offered   time.Duration // to a free agent
	outside   time.Duration // from the moment the customer had said it until the agent's screen knew, as seen from outside
	source    string        // what the house took for the wish
	word      bool          // a person's first word came
}

const (
	toldWithin    = 5 * time.Second
	offeredWithin = 2 * time.Second
)

// asker is a way to ask for a person: it begins a matter, has the model at work, and asks. It returns what takes a person's
// words to the customer, and what ends it.
type asker struct {
	way string
	ask func(ctx context.Context, h *testHouse) (said time.Time, end func())
}

const question = "How much does the Skarv 2 tent weigh?"

// askers are all ways. Mails come from somebody new each time.
func askers(dovecot *emailtest.Server, mailbox, mood string) []asker {
	written := 0
	mail := func(body string) func(context.Context, *testHouse) (time.Time, func()) {
		return func(_ context.Context, h *testHouse) (time.Time, func()) {
			written++
			from := fmt.Sprintf("%s-%d@customer.test", mood, written)
			raw := strings.ReplaceAll(string(mailFrom(from, "The tent", body)), "To: "+shopMail, "To: "+mailbox)
			dovecot.Deliver(h.t, from, mailbox, []byte(raw))
			return time.Now(), func() {}
		}
	}
	chat := func(wish func(*visitor)) func(context.Context, *testHouse) (time.Time, func()) {
		return func(_ context.Context, h *testHouse) (time.Time, func()) {
			v := h.visitor("", 0)
			v.says(question)
			said := time.Now()
			wish(v)
			v.hears("that a person comes", func(m frame) bool {
				return event(channels.CodeWaiting)(m) || event(channels.CodeModelDown)(m) || event(channels.CodeNoAnswer)(m)
			})
			return said, func() { v.conn.Close() }
		}
	}
	return []asker{
		{"chat, words", chat(func(v *visitor) { v.says("agent please") })},
		{"chat, button", chat(func(v *visitor) {
			if err := v.send(frame{"type": "person", "client_id": clientID()}); err != nil {
				v.t.Fatal(err)
			}
		})},
		{"phone, key 0", func(ctx context.Context, h *testHouse) (time.Time, func()) {
			c := h.talker(ctx, "+4930"+fmt.Sprint(time.Now().UnixNano()%1e9))
			c.Says(strings.ToLower(strings.TrimSuffix(question, "?")))
			said := time.Now()
			c.RTP.Press(ctx, '0')
			return said, hangUp(ctx, h.t, c.Call)
		}},
		{"phone, words", func(ctx context.Context, h *testHouse) (time.Time, func()) {
			c := h.talker(ctx, "+4931"+fmt.Sprint(time.Now().UnixNano()%1e9))
			c.Says("a human being please")
			return time.Now(), hangUp(ctx, h.t, c.Call)
		}},
		{"mail, words", mail(question + "\n\nI would like to talk to a real person about it.\n\nOle")},
		{"mail, reply word", mail(question + "\n\nHUMAN\n")},
	}
}

func hangUp(ctx context.Context, t testing.TB, call *voicetest.Call) func() {
	return func() {
		if err := call.Bye(ctx); err != nil {
			t.Error(err)
		}
	}
}

// serve is the agent's part: the offer, a first word in the customer's own way, the end.
func (a *agentClient) serve(ctx context.Context, way string) (rang time.Time, conversation int64) {
	a.t.Helper()
	o := a.offer()
	rang, conversation = time.Now(), o.num("conversation_id")
	if strings.HasPrefix(way, "phone") {
		tab := a.picksUp(ctx, o)
		speaking, quiet := context.WithCancel(ctx)
		defer quiet()
		go tab.Play(speaking, voicetest.ULaw(voiceOf(agentSeed)))
		a.h.eventually("the customer has heard a word", `select closed_by = 'agent' from promises where conversation_id = $1 order by id desc limit 1`, conversation)
		return rang, conversation
	}
	a.accept(o)
	a.replies(conversation, "Ana here, a person.")
	return rang, conversation
}

// settle frees the agent for the next.
func (a *agentClient) settle(conversation int64) {
	a.t.Helper()
	if st := one[string](a.h, `select state from conversations where id = $1`, conversation); st == "agent" {
		a.try("POST", "/api/conversations/"+itoa(conversation)+"/end", nil)
	}
	a.h.eventually("it is over", `select state in ('wrapup', 'closed') from conversations where id = $1`, conversation)
	if status, body := a.try("POST", "/api/conversations/"+itoa(conversation)+"/close", frame{"disposition": "solved"}); status/100 != 2 && status != 409 {
		a.t.Errorf("close: %d %s", status, body)
	}
	a.forget()
}

// TestReachInEveryMood: the model dead, hanging, slow, stubborn, lying, sending garbage and looping; words, button, key 0 and
// reply word over chat, telephone and mail. Everybody reaches a person, is told within 5 s and offered to the free agent
// within 2 s. The table is the proof.
func TestReachInEveryMood(t *testing.T) {
	t.Parallel() // it waits for sound and clocks more than it computes
	moods := map[string]llmtest.Mood{"dead": llmtest.Refuse, "hanging": llmtest.Hang, "slow": llmtest.Slow, "stubborn": llmtest.Stubborn, "lying": llmtest.Liar,
		"garbage": llmtest.BrokenJSON, "looping": llmtest.LoopWords}
	names := []string{"dead", "hanging", "slow", "stubborn", "lying", "garbage", "looping"}
	if testing.Short() {
		names = []string{"dead", "stubborn"}
	}
	boxes := []string{shopMail}
	for _, mood := range names {
		boxes = append(boxes, mood+"@nordlicht.test")
		for n := range 2 {
			boxes = append(boxes, fmt.Sprintf("%s-%d@customer.test", mood, n+1))
		}
	}
	dovecot := emailtest.Start(t)
	postfix := emailtest.StartPostfix(t, dovecot, boxes...)
	var all []reached
	for _, mood := range names {
		t.Run(mood, func(t *testing.T) {
			mailbox := mood + "@nordlicht.test"
			_, ears := talkers(t)
			_, env := ollama(t, moods[mood])
			env = append(append(append(env, ears...), mailSettings(dovecot, postfix, mailbox)...), "PATCHBAY_OLLAMA_FIRST_TOKEN_SECONDS=2", "PATCHBAY_OLLAMA_TOTAL_SECONDS=4")
			h := open(t, env...)
			a := h.agent()
			for _, w := range askers(dovecot, mailbox, mood) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
				said, end := w.ask(ctx, h)
				rang, conversation := a.serve(ctx, w.way)
				h.eventually("the first word is on its way", `select closed_by = 'agent' and (channel <> 'email' or exists (
					select from mails_out o where o.conversation_id = p.conversation_id and o.state = 'sent')) from promises p where conversation_id = $1 order by id desc limit 1`, conversation)
				all = append(all, h.reached(mood, w.way, conversation, rang.Sub(said)))
				end()
				a.settle(conversation)
				cancel()
			}
		})
	}
	table(t, all)
	if want := len(names) * 6; len(all) != want {
		t.Errorf("%d of %d wishes reached a person", len(all), want)
	}
	for _, r := range all {
		// words that a starved ear has misheard are silence to the house: a person comes all the same, later
		late := r.outside > toldWithin+offeredWithin && r.source != "silence"
		if !r.word || r.told > toldWithin || r.offered > offeredWithin || late {
			t.Errorf("%+v", r)
		}
	}
}

// reached reads the promise's own times.
func (h *testHouse) reached(mood, way string, conversation int64, outside time.Duration) reached {
	h.t.Helper()
	seconds := func(sql string) time.Duration {
		return time.Duration(one[float64](h, sql, conversation) * float64(time.Second))
	}
	return reached{mood: mood, way: way, outside: max(0, outside), source: one[string](h, `select source from promises where conversation_id = $1 order by id desc limit 1`, conversation),
		told: seconds(`select extract(epoch from coalesce(acknowledged_at, (select min(sent_at) from mails_out m where m.conversation_id = p.conversation_id and m.sent_at >= p.opened_at)) - opened_at)::float8
			from promises p where conversation_id = $1 order by id desc limit 1`),
		offered: seconds(`select extract(epoch from (select min(offered_at) from offers o where o.conversation_id = p.conversation_id) - opened_at)::float8
			from promises p where conversation_id = $1 order by id desc limit 1`),
		word: one[bool](h, `select closed_by = 'agent' and broken_at is null from promises where conversation_id = $1 order by id desc limit 1`, conversation)}
}

func table(t *testing.T, all []reached) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\tway\twish by\ttold\toffered\twish to ring, outside\tperson\t")
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	people := 0
	var told, offered []time.Duration
	for _, r := range all {
		person := "no"
		if r.word {
			person, people = "yes", people+1
		}
		told, offered = append(told, r.told), append(offered, r.offered)
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%v\t%v\t%s\t\n", r.mood, r.way, r.source, round(r.told), round(r.offered), round(r.outside), person)
	}
	_ = w.Flush()
	if len(all) > 0 {
		slices.Sort(told)
		slices.Sort(offered)
		fmt.Fprintf(&text, "reach %d of %d = %.1f %%; told at most %v, offered at most %v\n", people, len(all), 100*float64(people)/float64(len(all)),
			round(told[len(told)-1]), round(offered[len(offered)-1]))
	}
	t.Log("\n" + text.String())
}
