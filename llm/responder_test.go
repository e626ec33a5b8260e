package llm

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"patchbay/channels"
	"patchbay/channels/sentences"
	"patchbay/llm/human"
	"patchbay/llm/llmtest"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func demoPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool := dbtest.Pool(t.(*testing.T))
	articles, err := DemoArticles()
	if err != nil {
		t.Fatal(err)
	}
	if err := Load(t.Context(), pool, articles); err != nil {
		t.Fatal(err)
	}
	return pool
}

// house is a responder with short clocks at a scripted server.
type house struct {
	*Responder
	srv *llmtest.Server
}

func newHouse(t *testing.T, pool *pgxpool.Pool, mood llmtest.Mood) house {
	srv := llmtest.New(t, mood)
	r, err := New(Config{
		Pool: pool, Hosts: []Host{{URL: srv.URL, Model: srv.Model}}, Company: "Nordlicht",
		Bridge: 150 * time.Millisecond, FirstToken: time.Second, Stall: 700 * time.Millisecond, Total: 3 * time.Second,
		Probe: 20 * time.Millisecond, Places: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.gate.hosts[0].ollama.close)
	return house{r, srv}
}

// told is what a visitor has seen of one answer.
type told struct {
	Answer
	err      error
	progress []Progress
	took     time.Duration
}

func (h house) ask(ctx context.Context, question string, history ...channels.Message) told {
	var out told
	start := time.Now()
	out.Answer, out.err = h.Answer(ctx, Turn{ConversationID: 1, Channel: channels.Chat, Question: question, History: history}, func(p Progress) {
		out.progress = append(out.progress, p)
	})
	out.took = time.Since(start)
	return out
}

func (o told) reason() string {
	var f *Failure
	if errors.As(o.err, &f) {
		return f.Reason
	}
	return ""
}

func (o told) bridged() bool {
	for _, p := range o.progress {
		if p.Bridging {
			return true
		}
	}
	return false
}

const weightQuestion = "How much does the Skarv 2 tent weigh?"

func TestOracleArrivesWithItsSource(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Oracle)
	for question, want := range map[string]struct{ text, url string }{
		weightQuestion:                                        {"1.9 kg", "/help/skarv-2-tent"},
		"What does a single pole section cost?":               {"9 EUR", "/help/spare-parts"},
		"How many days do I have to return something unused?": {"60 days", "/help/returns"},
		"When is the shop open on Saturday?":                  {"10:00 to 16:00", "/help/opening-hours"},
		"How long is the warranty on boots?":                  {"2 years", "/help/warranty"},
		"Do you ship to Norway?":                              {"24 EUR", "/help/shipping"},
		"How long is a gift card valid?":                      {"3 years", "/help/gift-cards"},
	} {
		got := h.ask(t.Context(), question)
		if got.err != nil || !strings.Contains(got.Text, want.text) || got.Mode != ModeModel || got.HandOver || got.Unknown {
			t.Errorf("%s: %+v, %v", question, got.Answer, got.err)
			continue
		}
		if len(got.Sources) != 1 || got.Sources[0].URL != want.url || got.Sources[0].PassageID == 0 {
			t.Errorf("%s: sources %+v", question, got.Sources)
		}
		if last := got.progress[len(got.progress)-1]; last.Text != got.Text {
			t.Errorf("%s: shown %q, answered %q", question, last.Text, got.Text)
		}
	}
}

// Every sentence of the demonstration articles must pass the guard when its own passage is the source (wrongly blocked
// <= 1 %, trust.md section 4).
func TestGuardLetsTheTruthPass(t *testing.T) {
	articles, err := DemoArticles()
	if err != nil {
		t.Fatal(err)
	}
	released := 0
	for _, a := range articles {
		for _, p := range split(a) {
			p.Title, p.URL = a.Title, a.URL
			g := newGuard(newPrompt("Nordlicht", "CANARY123456"), []Passage{p}, "")
			s := splitter{}
			for _, sentence := range append(s.add(p.Body+" "), s.flush()) {
				released++
				if v := g.check(sentence); v.Block != "" || v.HandOver || v.Unknown {
					t.Errorf("%s: %q blocked: %+v", p.Heading, sentence, v)
				}
			}
		}
	}
	t.Logf("%d sentences", released)
}

// What must hold in every mood: the answer or the failure is known in time, nothing false is shown, no goroutine stays.
func TestEveryMood(t *testing.T) {
	pool := demoPool(t)
	failures := map[llmtest.Mood][]string{
		llmtest.Liar: {"ungrounded"}, llmtest.Stubborn: {"ungrounded"}, llmtest.Obedient: {"ungrounded", "garbage", "too_long", "looping"},
		llmtest.Refuse: {"dead"}, llmtest.Reset: {"dead"}, llmtest.Error500: {"dead"}, llmtest.HalfFile: {"broken"}, llmtest.Missing: {"missing"}, llmtest.Hang: {"slow"},
		llmtest.HangBetween: {"slow"}, llmtest.DieInStream: {"cut"}, llmtest.ErrorStream: {"cut"}, llmtest.Cut: {"cut"},
		llmtest.BrokenJSON: {"garbage"}, llmtest.WrongTypes: {"garbage"}, llmtest.Megabyte: {"garbage"}, llmtest.NUL: {"garbage"},
		llmtest.HalfUTF8: {"ungrounded", "garbage"}, llmtest.Empty: {"empty"}, llmtest.UnknownTool: {"garbage"}, llmtest.HTML: {"garbage"},
		llmtest.LoopSentence: {"looping"}, llmtest.LoopWords: {"looping", "too_long", "ungrounded"}, llmtest.LoopThinking: {"looping"}, llmtest.LoopTools: {"looping"},
		llmtest.Slow: {"slow"},
	}
	for _, mood := range llmtest.Moods {
		t.Run(string(mood), func(t *testing.T) {
			h := newHouse(t, pool, mood)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := h.ask(t.Context(), weightQuestion)
			runtime.ReadMemStats(&after)
			if got.took > 5*time.Second {
				t.Errorf("took %v", got.took)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
				t.Errorf("%d MB allocated", grown>>20)
			}
			want, fails := failures[mood]
			if fails != (got.reason() != "") && !(fails && got.HandOver) {
				t.Fatalf("failure %q (%v), answer %+v", got.reason(), got.err, got.Answer)
			}
			if r := got.reason(); fails && r != "" && !strings.Contains(" "+strings.Join(want, " ")+" ", " "+r+" ") {
				t.Errorf("reason %q, want one of %v (%v)", r, want, got.err)
			}
			for _, p := range got.progress {
				harmless(t, p.Text)
			}
			harmless(t, got.Text)
			switch mood {
			case llmtest.Oracle, llmtest.Thinker:
				if !strings.Contains(got.Text, "1.9 kg") || strings.Contains(got.Text, "777") {
					t.Errorf("answer %q", got.Text)
				}
			case llmtest.HandOver:
				if !got.HandOver || got.Reason != "model" {
					t.Errorf("promised a connection: %+v", got.Answer)
				}
			case llmtest.Hang, llmtest.HangBetween, llmtest.Slow, llmtest.LoopThinking:
				if !got.bridged() && mood != llmtest.LoopThinking {
					t.Error("no bridging sentence")
				}
			}
		})
	}
}

// harmless fails on anything that must never be shown, in any mood.
func harmless(t *testing.T, text string) {
	t.Helper()
	low := strings.ToLower(text)
	for _, bad := range []string{"<", "evil", "http", "you are the ai of", "sarah", "i am a human", "999", "7331", "7332", "refunded", "no need for a human", "nobody is", "777", "\x00", "\ufffd", "tool_call", "and and"} {
		if strings.Contains(low, bad) {
			t.Errorf("shown: %q (holds %q)", text, bad)
		}
	}
}

func TestLiarDeliversNoWrongFigure(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Liar)
	for _, q := range []string{weightQuestion, "What does a repair of a zip cost?", "Where is the shop in Kiel?", "Until when can I return it after delivery?", "How long does delivery to Austria take?"} {
		got := h.ask(t.Context(), q)
		if got.reason() != "ungrounded" && !got.HandOver {
			t.Errorf("%s: %+v %v", q, got.Answer, got.err)
		}
		if tries := len(h.srv.Requests("/api/chat")); tries < 2 {
			t.Errorf("%s: only %d tries", q, tries)
		}
	}
	if open, _ := h.gate.hosts[0].breaker.state(); open {
		t.Error("a liar is not ill: its breaker must stay closed")
	}
}

func TestCancelClosesTheStream(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Slow)
	h.srv.SetPace(llmtest.Pace{First: time.Millisecond, Token: 100 * time.Millisecond})
	took := time.Hour
	for n := 1; n <= 5 && took > 200*time.Millisecond; n++ { // a machine with other work is late now and then; a fault is late each time
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan told, 1)
		go func() { done <- h.ask(ctx, weightQuestion) }()
		if err := h.srv.Wait(t.Context(), "/api/chat", func(r []llmtest.Request) bool { return len(r) == n }); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		cancel()
		got := <-done
		if took = min(took, time.Since(start)); !errors.Is(got.err, context.Canceled) {
			t.Errorf("after cancel: %v", got.err)
		}
		patience, stop := context.WithTimeout(t.Context(), 20*time.Second)
		if err := h.srv.Wait(patience, "/api/chat", func(r []llmtest.Request) bool { return r[n-1].Done && r[n-1].Cancelled }); err != nil {
			t.Errorf("server has not seen the connection closed: %v", err)
		}
		stop()
	}
	if took > 200*time.Millisecond {
		t.Errorf("after cancel: %v", took)
	}
}

func TestBreakerOpensAndCloses(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Error500)
	for i := range 3 {
		if got := h.ask(t.Context(), weightQuestion); got.reason() != "dead" {
			t.Fatalf("turn %d: %+v %v", i, got.Answer, got.err)
		}
	}
	chats := len(h.srv.Requests("/api/chat"))
	quoted := h.ask(t.Context(), weightQuestion)
	if quoted.err != nil || quoted.Mode != ModeQuote || !strings.Contains(quoted.Text, "1.9 kg") || len(quoted.Sources) != 1 {
		t.Errorf("open breaker, strong match: %+v %v", quoted.Answer, quoted.err)
	}
	if got := h.ask(t.Context(), weakQuestion); got.reason() != "dead" || got.took > 3*time.Second {
		t.Errorf("open breaker, weak match: %+v %v after %v", got.Answer, got.err, got.took)
	}
	if now := len(h.srv.Requests("/api/chat")); now != chats {
		t.Errorf("%d chats with an open breaker", now-chats)
	}
	if d := h.Describe(); !strings.Contains(d, "quote mode until") {
		t.Error(d)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	if err := h.srv.Wait(t.Context(), "/api/version", func(r []llmtest.Request) bool { return len(r) >= 2 }); err != nil {
		t.Fatal(err)
	}
	h.srv.SetMood(llmtest.Oracle)
	patience, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := h.srv.Wait(patience, "/api/chat", func(r []llmtest.Request) bool {
		last := r[len(r)-1]
		return last.Mood == llmtest.Oracle && last.Done
	}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(2 * time.Millisecond) // the probe's answer is read after the server has sent it
	defer tick.Stop()
	for open := true; open && patience.Err() == nil; open, _ = h.gate.hosts[0].breaker.state() {
		<-tick.C
	}
	if got := h.ask(t.Context(), weightQuestion); got.Mode != ModeModel || got.err != nil {
		t.Errorf("after the probe: %+v %v", got.Answer, got.err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestModelFileCutInHalf: no customer waits for a model that cannot be loaded: it is known before the first one comes, the responder says which
// one and why, and it answers as soon as the file is whole.
func TestModelFileCutInHalf(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.HalfFile)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { ended <- h.Run(running) }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	state := func(want bool) {
		t.Helper()
		for open := !want; open != want && ctx.Err() == nil; open, _ = h.gate.hosts[0].breaker.state() {
			<-tick.C
		}
	}
	state(true)
	want := "quote mode until model " + h.srv.Model + " at " + h.srv.URL + " can be loaded: its file is cut short or damaged, fetch it again"
	if d := h.Describe(); !strings.HasPrefix(d, want) || !strings.Contains(d, "exceeds file size") {
		t.Errorf("%s, want %s", d, want)
	}
	if s := h.State().Hosts[0]; s.Down != "broken" {
		t.Errorf("%+v", s)
	}
	if got := h.ask(ctx, weakQuestion); got.err == nil || got.took > 3*time.Second {
		t.Errorf("%+v %v after %v", got.Answer, got.err, got.took)
	}
	if got := h.ask(ctx, weightQuestion); got.err != nil || got.Mode != ModeQuote || got.took > 3*time.Second {
		t.Errorf("%+v %v after %v", got.Answer, got.err, got.took)
	}
	h.srv.SetMood(llmtest.Oracle)
	state(false)
	if got := h.ask(ctx, weightQuestion); got.err != nil || got.Mode != ModeModel {
		t.Errorf("whole again: %+v %v", got.Answer, got.err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r, err := New(Config{Pool: demoPool(t), Hosts: []Host{{URL: addr, Model: "m"}}})
	if err != nil {
		t.Fatal(err)
	}
	got := house{r, nil}.ask(t.Context(), weightQuestion)
	if got.reason() != "dead" || got.took > 5*time.Second {
		t.Errorf("%v after %v", got.err, got.took)
	}
}

func TestSlowButAlive(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Slow)
	h.srv.SetPace(llmtest.Pace{First: 250 * time.Millisecond, Token: time.Millisecond})
	got := h.ask(t.Context(), weightQuestion)
	if got.err != nil || !got.bridged() || !strings.Contains(got.Text, "1.9 kg") {
		t.Errorf("%+v %v", got, got.err)
	}
}

func TestQuoteMode(t *testing.T) {
	r, err := New(Config{Pool: demoPool(t), Company: "Nordlicht"})
	if err != nil {
		t.Fatal(err)
	}
	h := house{r, nil}
	for question, want := range map[string]string{
		"How much is a new zip?":                 "35 EUR",
		"When are you open on Saturdays?":        "10:00 to 16:00",
		"How long does a repair take?":           "10 working days",
		"Can I return unused boots?":             "60 days",
		"Does the Fjell 38 fit as hand luggage?": "55 by 32 by 22",
	} {
		got := h.ask(t.Context(), question)
		if got.err != nil || got.Mode != ModeQuote || !strings.Contains(got.Text, want) || len(got.Sources) != 1 {
			t.Errorf("%s: %+v %v", question, got.Answer, got.err)
		}
	}
	for _, question := range []string{
		"Who won the football match yesterday?", "Can you write me a poem about my cat?", "What is the capital of Peru?", "asdf qwer", "???",
		"Do you rent out kayaks in winter?", "Is my neighbour's dog allowed in the cinema?",
	} {
		if got := h.ask(t.Context(), question); !got.Unknown || !human.Offered(got.Text) || len(got.Sources) > 0 {
			t.Errorf("%s: %+v %v", question, got.Answer, got.err)
		}
	}
	if got := h.ask(t.Context(), "Wo ist denn bitte die Garage?"); !strings.Contains(got.Text, "weiß ich nicht") || !human.Offered(got.Text) {
		t.Errorf("German: %+v", got.Answer)
	}
	for _, what := range []string{"Hello!", "are you a human?", "Thanks!"} {
		if got := h.ask(t.Context(), what); got.err != nil || got.Unknown || got.Text == "" {
			t.Errorf("%s: %+v %v", what, got.Answer, got.err)
		}
	}
	if got := h.ask(t.Context(), "are you a human?").Text; !strings.Contains(got, "I am an AI") {
		t.Error(got)
	}
	if d := r.Describe(); d != "quote mode: no model" {
		t.Error(d)
	}
}

func TestOfferInEveryLanguage(t *testing.T) {
	for _, lang := range sentences.Languages() {
		if text := saysUnknown.In(lang); !human.Offered(text) {
			t.Errorf("%s is no offer: %s", lang, text)
		}
	}
}

func TestFollowUpUsesTheWordsBefore(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Oracle)
	got := h.ask(t.Context(), "and how much does it cost?", channels.Message{Author: channels.ByContact, Kind: channels.Text, Body: "I look at the Primula stove"})
	if got.err != nil || !strings.Contains(got.Text, "59 EUR") {
		t.Errorf("%+v %v", got.Answer, got.err)
	}
}

func TestKnowledgeBaseDown(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Oracle)
	h.cfg.Pool.Close()
	if got := h.ask(t.Context(), weightQuestion); got.reason() != "knowledge" {
		t.Errorf("%+v %v", got.Answer, got.err)
	}
}

func TestModelsReadyAndPull(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Missing)
	only := h.gate.hosts[0]
	var f *Failure
	if err := only.ready(t.Context()); !errors.As(err, &f) || f.Reason != "missing" {
		t.Errorf("ready: %v", err)
	}
	steps := 0
	if err := only.ollama.pull(t.Context(), func(string, int64, int64) { steps++ }); err != nil || steps != 4 {
		t.Errorf("pull: %v after %d steps", err, steps)
	}
	if err := only.ready(t.Context()); err != nil {
		t.Error(err)
	}
	for _, mood := range []llmtest.Mood{llmtest.Error500, llmtest.Reset, llmtest.Refuse} {
		h.srv.SetMood(mood)
		if err := only.ollama.pull(t.Context(), nil); err == nil {
			t.Errorf("pull in mood %s", mood)
		}
	}
}

func TestMoodPerConversation(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Oracle)
	h.srv.SetMoodFor("#liar", llmtest.Liar)
	if got := h.ask(t.Context(), weightQuestion+" #liar"); got.reason() != "ungrounded" && !got.HandOver {
		t.Errorf("%+v %v", got.Answer, got.err)
	}
	if got := h.ask(t.Context(), weightQuestion); got.err != nil {
		t.Error(got.err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	r, err := New(Config{Pool: demoPool(t), Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	house{r, nil}.ask(t.Context(), "hello")
	families, err := reg.Gather()
	if err != nil || len(families) < 5 {
		t.Errorf("%d families, %v", len(families), err)
	}
}

func TestBadHost(t *testing.T) {
	for _, host := range []string{"ftp://x", "http://", "::::"} {
		if _, err := New(Config{Hosts: []Host{{URL: host, Model: "m"}}}); err == nil {
			t.Errorf("host %q accepted", host)
		}
	}
}

// TestWeakModelOnlyQuotes: what a model of that size says in its own words is never shown; the passage is.
func TestWeakModelOnlyQuotes(t *testing.T) {
	pool := demoPool(t)
	for _, mood := range []llmtest.Mood{llmtest.Liar, llmtest.Stubborn, llmtest.LoopWords, llmtest.Obedient} {
		h := newHouse(t, pool, mood)
		h.gate.hosts[0].Weak = true
		got := h.ask(t.Context(), "How much does the Skarv 2 tent weigh?")
		if got.err != nil || got.Mode != ModeQuote || !strings.Contains(got.Text, "1.9 kg") || len(got.Sources) != 1 {
			t.Errorf("%s: %+v", mood, got)
		}
		for _, p := range got.progress {
			if p.Text != "" && p.Text != got.Text {
				t.Errorf("%s: was shown %q", mood, p.Text)
			}
		}
	}
}
