package voice

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/doctor"
	engines "patchbay/channels/voice/speech"
	"patchbay/channels/voice/speech/speechtest"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// engineHouse has two queues, each with its number and its own engine for ears and mouth, and the calls' rows.
type engineHouse struct {
	*talkHouse
	pool         *pgxpool.Pool
	hall, cellar *speechtest.Server
	questions    []string
}

const (
	hallNumber   = "201"
	cellarNumber = "202"
)

func newEngineHouse(t *testing.T) *engineHouse {
	t.Helper()
	h := &engineHouse{pool: dbtest.Pool(t), hall: speechtest.New(t), cellar: speechtest.New(t)}
	if _, err := h.pool.Exec(t.Context(), `insert into nodes (id, name, seen_at) values ('test', 'test', now() + interval '1 hour'); insert into contacts (name) values ('Ana');
		insert into queues (name, hear_engine, say_engine, say_voice) values ('Hall', 'hall', 'hall', 'zoe'), ('Cellar', 'cellar', 'cellar', '');
		insert into numbers (number, queue_id) values ('201', 1), ('202', 2)`); err != nil {
		t.Fatal(err)
	}
	speaks, err := engines.Open(engines.Config{Remote: []engines.Remote{
		{Name: "hall", URL: h.hall.URL + "/v1", HearModel: "ear", SayModel: "mouth"},
		{Name: "cellar", URL: h.cellar.URL + "/v1", HearModel: "ear", SayModel: "mouth", Voice: "bo"}}})
	if err != nil {
		t.Fatal(err)
	}
	h.talkHouse = newTalkHouse(t, func(cfg *Config) { cfg.Pool, cfg.Speech = h.pool, speaks })
	t.Cleanup(func() {
		h.stop() // calls use the engines
		if err := speaks.Close(); err != nil {
			t.Error(err)
		}
	})
	h.script(func(ctx context.Context, in channels.Inbound) (channels.Receipt, error) {
		r, err := h.store(in, channels.Bot)
		if err == nil && in.Type == channels.CallStarted {
			r.QueueID = in.QueueID
			_, err = h.pool.Exec(ctx, `with c as (insert into conversations (id, contact_id, queue_id, state, channel) overriding system value values ($1, 1, $2, 'bot', 'voice') returning id)
				insert into calls (id, conversation_id, direction, from_address, to_address, state) overriding system value select $3, c.id, 'in', $4, $5, 'answered' from c`,
				r.ConversationID, in.QueueID, r.CallID, in.From.Value, in.To)
		}
		return r, err
	})
	until(t, testCtx(t), "numbers read", func() bool {
		n, ok := h.voice.trunks.Number(cellarNumber)
		return ok && n.QueueID != nil
	})
	return h
}

// calls dials a queue's number and hears the first word of the greeting, which the first question interrupts.
func (h *engineHouse) calls(t *testing.T, ctx context.Context, number string) *voicetest.Talker {
	t.Helper()
	c := &voicetest.Talker{T: t, Ctx: ctx, Call: h.phone().Dial(ctx, h.voice.Addr(), number, voicetest.Invite{}), Voice: speechtest.Voice, Understand: speechtest.Understand}
	h.expect(ctx, channels.CallStarted)
	c.Hears("Hello,")
	return c
}

// turn is one question and its answer.
func (h *engineHouse) turn(c *voicetest.Talker, question, answer string) {
	h.t.Helper()
	h.questions = append(h.questions, question)
	c.Says(question)
	if in := h.expect(c.Ctx, channels.Words); in.Body != question {
		h.t.Errorf("words: %q, want %q", in.Body, question)
	}
	h.answers(answer)
	c.Hears(answer)
	h.expect(c.Ctx, channels.Said)
}

// heardBy is how many of the questions a server has heard whole: it looks at others before they are.
func (h *engineHouse) heardBy(s *speechtest.Server) (n int) {
	for _, q := range h.questions {
		if slices.ContainsFunc(s.Heard(), func(r speechtest.Request) bool { return r.Text == q }) {
			n++
		}
	}
	return n
}

// ends hangs up and returns the call's story.
func (h *engineHouse) ends(c *voicetest.Talker) doctor.Trace {
	h.t.Helper()
	if err := c.Bye(c.Ctx); err != nil {
		h.t.Error(err)
	}
	in := h.expect(c.Ctx, channels.CallEndedIn)
	tr, _ := stored(h.t, c.Ctx, h.pool, in.CallID)
	return tr
}

// TestEnginePerQueue: telephones of two queues are heard and spoken to by their queues' engines, with their voices; a change
// of the settings holds from the next call on.
func TestEnginePerQueue(t *testing.T) {
	t.Parallel()
	h := newEngineHouse(t)
	ctx := testCtx(t)
	one := h.calls(t, ctx, hallNumber)
	h.turn(one, "what does a tent cost", "It costs nine Euro.")
	if h.heardBy(h.hall) != 1 || h.heardBy(h.cellar) != 0 || len(h.cellar.Said()) != 0 || h.hall.Said()[0].Voice != "zoe" {
		t.Errorf("the hall heard %d and said %d, as %q; the cellar %d and %d", h.heardBy(h.hall), len(h.hall.Said()), h.hall.Said()[0].Voice, h.heardBy(h.cellar), len(h.cellar.Said()))
	}
	if tr := h.ends(one); hasEvent(tr, doctor.Engine, "") {
		t.Errorf("the story tells of engines: %+v", tr.Events)
	}
	said := len(h.hall.Said())
	two := h.calls(t, ctx, cellarNumber)
	h.turn(two, "and a stove", "It costs ten Euro.")
	if h.heardBy(h.hall) != 1 || len(h.hall.Said()) != said || h.heardBy(h.cellar) != 1 || h.cellar.Said()[0].Voice != "bo" {
		t.Errorf("the hall heard %d and said %d; the cellar heard %d and spoke as %q", h.heardBy(h.hall), len(h.hall.Said())-said, h.heardBy(h.cellar), h.cellar.Said()[0].Voice)
	}

	if _, err := h.pool.Exec(ctx, `update queues set hear_engine = 'hall' where id = 2`); err != nil {
		t.Fatal(err)
	}
	if err := h.bus.Publish(channels.TrunkSubject, nil); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, "the change is known", func() bool {
		s, err := h.voice.sounds.of(ctx, h.pool, 2)
		return err == nil && s.hear == "hall"
	})
	h.turn(two, "and a lamp", "It costs four Euro.")
	if h.heardBy(h.cellar) != 2 {
		t.Error("the change holds in the call that goes on")
	}
	h.ends(two)
	three := h.calls(t, ctx, cellarNumber)
	h.turn(three, "and a rope", "It costs two Euro.")
	if h.heardBy(h.hall) != 2 || h.heardBy(h.cellar) != 2 {
		t.Errorf("the next call: the hall heard %d, the cellar %d", h.heardBy(h.hall), h.heardBy(h.cellar))
	}
	h.ends(three)
}

// TestEngineDies: a queue's engine goes away in the middle of a call; the house's other one hears the same words and speaks
// the next sentence, which the call's story says. When that is gone too there are keys and prompts, and 0 is a person.
func TestEngineDies(t *testing.T) {
	t.Parallel()
	h := newEngineHouse(t)
	ctx := testCtx(t)
	c := h.calls(t, ctx, hallNumber)
	h.turn(c, "what does a tent cost", "It costs nine Euro.")
	h.hall.CloseClientConnections()
	h.hall.Close()
	h.turn(c, "and a stove for it", "It costs ten Euro.")
	if h.heardBy(h.cellar) != 1 || len(h.cellar.Said()) == 0 || h.cellar.Said()[0].Voice != "bo" {
		t.Errorf("the cellar heard %d and said %+v", h.heardBy(h.cellar), h.cellar.Said())
	}
	tr := h.ends(c)
	for _, want := range []string{"cellar hears in place of hall", "cellar speaks in place of hall"} {
		if !hasEvent(tr, doctor.Engine, want) {
			t.Errorf("the story does not say %q: %+v", want, tr.Events)
		}
	}

	c = h.calls(t, ctx, hallNumber) // one that begins while it is down
	h.turn(c, "and a lamp", "It costs four Euro.")
	if tr := h.ends(c); !hasEvent(tr, doctor.Engine, "cellar speaks in place of hall") {
		t.Errorf("the story: %+v", tr.Events)
	}

	c = h.calls(t, ctx, hallNumber)
	h.cellar.Hears(speechtest.Refuses, 0)
	h.cellar.Says(speechtest.Refuses, 0)
	c.Says("is anybody there")
	c.Says("hello is anybody there")
	c.RTP.Press(ctx, '0')
	if in := h.expect(ctx, channels.Wish); in.Source != "key" && in.Source != "failure" {
		t.Errorf("wish by %q", in.Source)
	}
	if strings.Contains(c.Heard(), "Euro") {
		t.Errorf("heard %q", c.Heard())
	}
}
