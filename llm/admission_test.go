package llm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"patchbay/channels"
	"patchbay/llm/llmtest"
)

// machine is a model as the gate sees it: the more turns run, the slower each becomes. Only virtual time passes.
type machine struct {
	gate    *gate
	mu      sync.Mutex
	running int
	token   func(running int) time.Duration
}

func newMachine(hosts int, token func(int) time.Duration) *machine {
	m := &machine{token: token, gate: &gate{perPlace: callsStart, aim: [classes]time.Duration{1500 * time.Millisecond, 4 * time.Second},
		patience: [classes]time.Duration{3 * time.Second, 8 * time.Second}}}
	for i := range hosts {
		m.gate.hosts = append(m.gate.hosts, &host{Host: Host{URL: fmt.Sprint(i)}, limit: [classes]float64{1, 1}, breaker: breaker{kick: make(chan struct{}, 1)}})
	}
	return m
}

// turn is one customer: how long until the first sentence, or (ok false) until it was known that a person comes.
func (m *machine) turn(ctx context.Context, c class) (took time.Duration, ok bool) {
	began := time.Now()
	w, busy := m.gate.enter(c, nil)
	if busy || w == nil {
		return time.Since(began), false
	}
	var v *visit
	select {
	case v = <-w.got:
	case <-time.After(time.Until(w.until)):
		m.gate.leave(w)
		return time.Since(began), false
	case <-ctx.Done():
		m.gate.leave(w)
		return time.Since(began), false
	}
	if v == nil {
		return time.Since(began), false
	}
	m.mu.Lock()
	m.running++
	m.mu.Unlock()
	first := time.Duration(0)
	for i := range 40 { // tokens; the tenth ends the first sentence
		m.mu.Lock()
		pace := m.token(m.running)
		m.mu.Unlock()
		time.Sleep(pace)
		if i == 9 {
			took, first = time.Since(began), time.Since(v.began)
		}
	}
	m.mu.Lock()
	m.running--
	m.mu.Unlock()
	m.gate.done(v, first, false)
	return took, true
}

// TestBurstOfFifty: fifty at once, on a machine that serves one at its best and each further one at the cost of all.
// Everybody is served within the patience of the channel or gets a person at once; nobody in between.
func TestBurstOfFifty(t *testing.T) {
	for _, c := range []class{calling, writing} {
		t.Run(c.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(1, func(n int) time.Duration { return time.Duration(n) * 30 * time.Millisecond })
				for range 30 { // some quiet minutes before: what a turn takes is known
					m.turn(t.Context(), c)
				}
				served, refused := 0, 0
				var wg sync.WaitGroup
				var mu sync.Mutex
				for range 50 {
					wg.Go(func() {
						took, ok := m.turn(t.Context(), c)
						mu.Lock()
						defer mu.Unlock()
						switch {
						case ok && took <= m.gate.patience[c]:
							served++
						case !ok && took < 100*time.Millisecond:
							refused++
						default:
							t.Errorf("served %v after %v: too late for an answer, and too late for a person", ok, took)
						}
					})
				}
				wg.Wait()
				t.Logf("%d served, %d to people at once", served, refused)
				if served < 2 || served+refused != 50 {
					t.Errorf("%d served, %d refused of 50", served, refused)
				}
			})
		})
	}
}

// TestPlacesFindTheirNumber: with steady demand the places grow until the first sentence comes just in time, and fall when
// the machine becomes slower.
func TestPlacesFindTheirNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		each := 20 * time.Millisecond
		m := newMachine(1, func(n int) time.Duration { return time.Duration(n) * each })
		h := m.gate.hosts[0]
		demand := func(d time.Duration) {
			ctx, stop := context.WithTimeout(t.Context(), d)
			defer stop()
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					for ctx.Err() == nil {
						if _, ok := m.turn(ctx, calling); !ok {
							time.Sleep(100 * time.Millisecond)
						}
					}
				})
			}
			wg.Wait()
		}
		demand(2 * time.Minute)
		quick := int(h.limit[calling])
		if quick < 4 || quick > 9 { // ten tokens of 20 ms each in 1.5 s: 7 at once
			t.Errorf("%d places where seven are right", quick)
		}
		each = 60 * time.Millisecond
		demand(2 * time.Minute)
		if slow := int(h.limit[calling]); slow > 3 || slow < 1 {
			t.Errorf("%d places where two are right (before: %d)", slow, quick)
		}
	})
}

func TestCallersGoFirst(t *testing.T) {
	m := newMachine(1, nil)
	m.gate.patience = [classes]time.Duration{time.Hour, time.Hour}
	first, _ := m.gate.enter(writing, nil)
	v := <-first.got
	chat, _ := m.gate.enter(writing, nil)
	mail, _ := m.gate.enter(writing, nil)
	call, _ := m.gate.enter(calling, nil)
	m.gate.done(v, time.Millisecond, false)
	select {
	case v = <-call.got:
	default:
		t.Fatal("the caller waits behind the writers")
	}
	m.gate.leave(chat)
	m.gate.done(v, time.Millisecond, false)
	select {
	case <-mail.got:
	default:
		t.Fatal("a place went to one who had left")
	}
	if len(m.gate.hosts[0].visits) != 1 || len(m.gate.line) != 0 {
		t.Errorf("%d running, %d in line", len(m.gate.hosts[0].visits), len(m.gate.line))
	}
}

func TestLeastLoadedHostFirst(t *testing.T) {
	m := newMachine(3, nil)
	m.gate.hosts[1].limit = [classes]float64{4, 4}
	m.gate.hosts[2].breaker.open = true
	count := map[string]int{}
	for range 5 {
		w, busy := m.gate.enter(writing, nil)
		if busy {
			t.Fatal("busy")
		}
		count[(<-w.got).h.URL]++
	}
	if count["0"] != 1 || count["1"] != 4 {
		t.Errorf("%v", count)
	}
	if w, _ := m.gate.enter(writing, m.gate.hosts); w != nil {
		t.Error("a host was tried twice")
	}
}

// TestEveryBreakerOpens: who waits for a place is told at once when the last host has gone.
func TestEveryBreakerOpens(t *testing.T) {
	m := newMachine(1, nil)
	m.gate.patience = [classes]time.Duration{time.Hour, time.Hour}
	w, _ := m.gate.enter(writing, nil)
	<-w.got
	waits, _ := m.gate.enter(writing, nil)
	m.gate.hosts[0].breaker.open = true
	m.gate.changed()
	select {
	case v := <-waits.got:
		if v != nil {
			t.Error("a place at a dead host")
		}
	default:
		t.Error("still waits")
	}
}

func TestAdmit(t *testing.T) {
	r, err := New(Config{Hosts: []Host{{URL: "http://127.0.0.1:1", Model: "m"}}, Places: 2})
	if err != nil {
		t.Fatal(err)
	}
	var places []*Place
	for {
		p, ok := r.Admit(channels.Voice)
		if !ok {
			break
		}
		places = append(places, p)
	}
	if len(places) != 4 { // two turns at once, two calls for each
		t.Errorf("%d calls admitted", len(places))
	}
	if s := r.State(); s.Calls != 4 || s.CallPlaces != 4 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
	if _, ok := r.Admit(channels.Chat); !ok {
		t.Error("a chat is refused though no turn is running")
	}
	places[0].Release()
	places[0].Release()
	if p, ok := r.Admit(channels.Voice); !ok || r.State().Calls != 4 {
		t.Error("a released place is not given on")
	} else {
		places[0] = p
	}
	for _, p := range places {
		p.Release()
	}
	if r.State().Calls != 0 {
		t.Errorf("%d calls are left", r.State().Calls)
	}
	r.gate.hosts[0].breaker.open = true
	for range 100 { // quote mode costs nothing
		if p, ok := r.Admit(channels.Voice); !ok {
			t.Fatal("refused with the model dead")
		} else {
			p.Release()
		}
	}
	(*Place)(nil).Release()
}

// TestDeadHostFailsOver: whoever is dead, hangs or has lost its model, the customer gets the other host's answer.
func TestDeadHostFailsOver(t *testing.T) {
	pool := demoPool(t)
	for _, mood := range []llmtest.Mood{llmtest.Refuse, llmtest.Reset, llmtest.Error500, llmtest.Missing, llmtest.Hang, llmtest.Empty, llmtest.HTML} {
		t.Run(string(mood), func(t *testing.T) {
			h := newHouse(t, pool, llmtest.Oracle)
			ill := llmtest.New(t, mood)
			bad, err := newHost(Host{URL: ill.URL, Model: ill.Model}, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(bad.ollama.close)
			bad.limit = [classes]float64{4, 4}
			h.gate.hosts = append([]*host{bad}, h.gate.hosts...)
			got := h.ask(t.Context(), weightQuestion)
			if got.err != nil || !strings.Contains(got.Text, "1.9 kg") || got.FirstSentence <= 0 || got.FirstToken <= 0 || got.FirstToken > got.FirstSentence {
				t.Errorf("%+v %v", got.Answer, got.err)
			}
			if len(ill.Requests("/api/chat")) != 1 {
				t.Errorf("the ill host was asked %d times", len(ill.Requests("/api/chat")))
			}
			if bad.breaker.failed != 1 {
				t.Errorf("the ill host's breaker has noted %d failures", bad.breaker.failed)
			}
			for _, hs := range h.State().Hosts {
				if hs.Running != 0 {
					t.Errorf("%s: %d still running", hs.URL, hs.Running)
				}
			}
		})
	}
}

// TestDeadHostIsKnownBeforeACustomer: with several hosts each is asked for a sign of life when no turn has looked at it.
func TestDeadHostIsKnownBeforeACustomer(t *testing.T) {
	ill, well := llmtest.New(t, llmtest.Refuse), llmtest.New(t, llmtest.Oracle)
	r, err := New(Config{Hosts: []Host{{URL: ill.URL, Model: ill.Model}, {URL: well.URL, Model: well.Model}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.gate.hosts {
		h.used = time.Now().Add(-time.Minute)
		for range failuresToOpen {
			r.check(t.Context(), h)
		}
		h.ollama.close()
	}
	if s := r.State(); s.Hosts[0].Down != "dead" || s.Hosts[1].Down != "" || len(well.Requests("/api/chat")) > 0 {
		t.Errorf("%+v", s)
	}
	if d := r.Describe(); !strings.Contains(d, "waiting until") {
		t.Error(d)
	}
	r.gate.hosts[1].used = time.Now().Add(-time.Hour) // forgotten: warmed up again
	r.check(t.Context(), r.gate.hosts[1])
	r.check(t.Context(), r.gate.hosts[1])
	if n := len(well.Requests("/api/chat")); n != 1 {
		t.Errorf("%d warmings after an hour", n)
	}
}

// TestNoFailOverAfterTheFirstWord: what has begun to be said is not begun again by somebody else.
func TestNoFailOverAfterTheFirstWord(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.DieInStream)
	well := llmtest.New(t, llmtest.Oracle)
	other, err := newHost(Host{URL: well.URL, Model: well.Model}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.ollama.close)
	other.limit = [classes]float64{1, 1}
	h.gate.hosts = append(h.gate.hosts, other)
	if got := h.ask(t.Context(), weightQuestion); got.reason() != "cut" || len(well.Requests("/api/chat")) != 0 {
		t.Errorf("%+v %v", got.Answer, got.err)
	}
}

// weakQuestion has passages, but none that could be quoted as the answer.
const weakQuestion = "Does the ferry operator accept a tent made of weird recycled unobtainium fabric?"

// TestNoPlaceQuotesWhatIsCertain: without a place a strong passage is the answer all the same.
func TestNoPlaceQuotesWhatIsCertain(t *testing.T) {
	h := newHouse(t, demoPool(t), llmtest.Oracle)
	g := &h.gate
	g.patience = [classes]time.Duration{} // nobody waits
	for {
		if _, busy := g.enter(writing, nil); busy {
			break
		}
	}
	if got := h.ask(t.Context(), weightQuestion); got.err != nil || got.Mode != ModeQuote || !strings.Contains(got.Text, "1.9 kg") {
		t.Errorf("%+v %v", got.Answer, got.err)
	}
	if got := h.ask(t.Context(), weakQuestion); got.reason() != "busy" || got.bridged() || len(h.srv.Requests("/api/chat")) > 0 {
		t.Errorf("%+v %v", got.Answer, got.err)
	}
	if open, _ := g.hosts[0].breaker.state(); open || h.State().Refused != 3 {
		t.Errorf("too many customers are not the model's fault: %+v", h.State())
	}
}

// TestBurstThroughTheWire is TestBurstOfFifty with the real responder at a scripted server whose answers grow slower with
// their number.
func TestBurstThroughTheWire(t *testing.T) {
	srv := llmtest.New(t, llmtest.Oracle)
	srv.SetCapacity(func(n int) llmtest.Pace {
		return llmtest.Pace{First: time.Duration(n) * 150 * time.Millisecond, Token: time.Duration(n) * 10 * time.Millisecond}
	})
	r, err := New(Config{Pool: demoPool(t), Hosts: []Host{{URL: srv.URL, Model: srv.Model}}, Bridge: 2 * time.Second, FirstToken: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r.measured = make(chan struct{}, 1)
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-r.measured
	if s := r.State().Hosts[0]; s.TextPlaces < 2 || s.TextPlaces > 8 {
		t.Errorf("measured: %+v", s)
	}
	for range 3 {
		house{r, srv}.ask(t.Context(), weakQuestion)
	}
	var wg sync.WaitGroup
	results := make(chan told, 50)
	for range 50 {
		wg.Go(func() { results <- house{r, srv}.ask(t.Context(), weakQuestion) })
	}
	wg.Wait()
	close(results)
	served, refused, between := 0, 0, 0
	for got := range results {
		var f *Failure
		switch {
		case got.err == nil && got.FirstSentence <= r.gate.patience[writing]:
			served++
		case errors.As(got.err, &f) && f.Reason == "busy" && got.took <= r.gate.patience[writing]/2:
			refused++
		default:
			between++
			t.Logf("%v after %v, first sentence %v, waited %v", got.err, got.took, got.FirstSentence, got.Waited)
		}
	}
	t.Logf("%d served in time, %d to people at once, %d in between; %+v", served, refused, between, r.State().Hosts[0])
	if between > 0 || served < 3 {
		t.Errorf("%d served, %d refused, %d in between", served, refused, between)
	}
}

func TestHostsWithModelsOfTheirOwn(t *testing.T) {
	good, late := llmtest.New(t, llmtest.Oracle), llmtest.New(t, llmtest.Oracle)
	s, err := NewStandby(Config{Pool: demoPool(t), Places: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, []Host{{URL: good.URL, Model: good.Model}, {URL: late.URL, Model: "other"}}, Want{}, func(words string) { t.Log(words) })
	}()
	<-s.Chosen()
	if st := s.Responder().State(); len(st.Hosts) != 2 || st.Hosts[1].Model != "other" {
		t.Errorf("%+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
