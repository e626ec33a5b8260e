package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a log that a test can wait on.
type journal struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func newJournal() *journal { return &journal{grown: make(chan struct{}, 1)} }

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case j.grown <- struct{}{}:
	default:
	}
	return j.text.Write(p)
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func (j *journal) wait(t *testing.T, words string) {
	t.Helper()
	for limit := time.After(10 * time.Second); ; {
		j.mu.Lock()
		text := j.text.String()
		j.mu.Unlock()
		if strings.Contains(text, words) {
			return
		}
		select {
		case <-j.grown:
		case <-limit:
			t.Fatalf("the log does not say %q:\n%s", words, text)
		}
	}
}

func open(t *testing.T, url string, log *slog.Logger) *Bus {
	t.Helper()
	b, err := Open(t.Context(), url, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// external starts a NATS server as an operator would.
func external(t *testing.T, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(5 * time.Second) {
		t.Fatal("NATS server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

type news struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
}

func TestPublishReachesSubscribersInOrder(t *testing.T) {
	b := open(t, "", nil)
	type heard struct {
		subject string
		news    news
	}
	got := make(chan heard, 100)
	cancel, err := b.Subscribe("conversation.*", func(subject string, data []byte) {
		var n news
		if err := json.Unmarshal(data, &n); err != nil {
			t.Error(err)
		}
		got <- heard{subject, n}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := b.Publish("conversation.7", news{int64(i), "grüezi"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if h := receive(t, got); h.subject != "conversation.7" || h.news != (news{int64(i), "grüezi"}) {
			t.Fatalf("message %d: %+v", i, h)
		}
	}
	cancel()
	cancel() // twice is once
	if err := b.Publish("conversation.7", news{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil { // drains
		t.Fatal(err)
	}
	if len(got) > 0 {
		t.Error("heard after cancel")
	}
}

func TestNilIsAnEmptyMessage(t *testing.T) {
	b := open(t, "", nil)
	got := make(chan int, 1)
	if _, err := b.Subscribe("route", func(_ string, data []byte) { got <- len(data) }); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("route", nil); err != nil {
		t.Fatal(err)
	}
	if n := receive(t, got); n != 0 {
		t.Errorf("%d bytes", n)
	}
}

func TestRequest(t *testing.T) {
	b := open(t, "", nil)
	cancel, err := b.Respond("call.1", func(data []byte) (any, error) {
		var n news
		if err := json.Unmarshal(data, &n); err != nil {
			return nil, err
		}
		switch n.Text {
		case "refuse":
			return nil, errors.New("the call is over")
		case "panic":
			panic("broken")
		case "nothing":
			return nil, nil
		}
		return news{n.ID + 1, strings.ToUpper(n.Text)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out news
	if err := b.Request(t.Context(), "call.1", news{1, "hold"}, &out); err != nil || out != (news{2, "HOLD"}) {
		t.Errorf("%+v, %v", out, err)
	}
	if err := b.Request(t.Context(), "call.1", news{Text: "nothing"}, &out); err != nil {
		t.Error(err)
	}
	if err := b.Request(t.Context(), "call.1", news{Text: "refuse"}, &out); err == nil || err.Error() != "the call is over" {
		t.Errorf("refused: %v", err)
	}
	if err := b.Request(t.Context(), "call.1", news{Text: "panic"}, &out); err == nil || b.Panics() != 1 {
		t.Errorf("panic: %v, counted %d", err, b.Panics())
	}
	cancel()
	if err := b.Request(t.Context(), "call.1", nil, nil); !errors.Is(err, ErrNoOwner) {
		t.Errorf("after cancel: %v", err)
	}
}

func TestRequestWithoutOwnerFailsAtOnce(t *testing.T) {
	b := open(t, "", nil)
	began := time.Now()
	if err := b.Request(t.Context(), "call.99", news{}, nil); !errors.Is(err, ErrNoOwner) {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= requestLimit {
		t.Errorf("took %s", took)
	}
}

func TestRequestEndsWithItsContext(t *testing.T) {
	b := open(t, "", nil)
	asked, release := make(chan struct{}), make(chan struct{})
	if _, err := b.Respond("slow", func([]byte) (any, error) { close(asked); <-release; return nil, nil }); err != nil {
		t.Fatal(err)
	}
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if err := b.Request(ctx, "slow", nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRespondAnswersManyAtOnce(t *testing.T) {
	b := open(t, "", nil)
	const n = 20
	var all sync.WaitGroup
	all.Add(n)
	if _, err := b.Respond("meet", func([]byte) (any, error) {
		all.Done()
		all.Wait() // ends only when all are here
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, n)
	for range n {
		go func() { errs <- b.Request(t.Context(), "meet", nil, nil) }()
	}
	for range n {
		if err := receive(t, errs); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPanicInCallbackIsCountedAndTheNextMessageHeard(t *testing.T) {
	j := newJournal()
	b := open(t, "", j.log())
	got := make(chan string, 1)
	if _, err := b.Subscribe("desk", func(_ string, data []byte) {
		if string(data) == `"bad"` {
			panic("broken callback")
		}
		got <- string(data)
	}); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"bad", "good"} {
		if err := b.Publish("desk", word); err != nil {
			t.Fatal(err)
		}
	}
	if word := receive(t, got); word != `"good"` || b.Panics() != 1 {
		t.Errorf("%s, %d panics", word, b.Panics())
	}
	j.wait(t, "broken callback")
}

func TestNewsLostBySlowSubscriberIsLogged(t *testing.T) {
	j := newJournal()
	b := open(t, "", j.log())
	release := make(chan struct{})
	defer close(release)
	sub, err := b.conn.Subscribe("desk", func(*nats.Msg) { <-release }) // as Subscribe does, with a small limit
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(1, -1); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := b.Publish("desk", nil); err != nil {
			t.Fatal(err)
		}
	}
	j.wait(t, "news lost")
}

func TestTwoNodesOnAnExternalServer(t *testing.T) {
	url := external(t, -1).ClientURL()
	a, b := open(t, url, nil), open(t, url, nil)
	got := make(chan string, 1)
	if _, err := a.Subscribe("desk", func(_ string, data []byte) { got <- string(data) }); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Respond("call.5", func([]byte) (any, error) { return "here", nil }); err != nil {
		t.Fatal(err)
	}
	// No waiting: what is published after Subscribe has returned is heard.
	if err := b.Publish("desk", "news"); err != nil {
		t.Fatal(err)
	}
	if w := receive(t, got); w != `"news"` {
		t.Error(w)
	}
	var out string
	if err := b.Request(t.Context(), "call.5", nil, &out); err != nil || out != "here" {
		t.Errorf("%q, %v", out, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Request(t.Context(), "call.5", nil, &out); !errors.Is(err, ErrNoOwner) {
		t.Errorf("owner gone: %v", err)
	}
}

func TestServerGoneAndBack(t *testing.T) {
	first := external(t, -1)
	port := first.Addr().(*net.TCPAddr).Port
	j := newJournal()
	b := open(t, first.ClientURL(), j.log())
	got := make(chan string, 1)
	if _, err := b.Subscribe("desk", func(_ string, data []byte) { got <- string(data) }); err != nil {
		t.Fatal(err)
	}
	first.Shutdown()
	first.WaitForShutdown()
	j.wait(t, "connection lost")
	if err := b.Publish("desk", "kept"); err != nil { // goes out when the server is back
		t.Fatal(err)
	}
	external(t, port)
	if w := receive(t, got); w != `"kept"` {
		t.Error(w)
	}
	j.wait(t, "connected again")
}

func TestCloseWaitsForAnswers(t *testing.T) {
	b := open(t, "", nil)
	asked, release := make(chan struct{}), make(chan struct{})
	if _, err := b.Respond("slow", func([]byte) (any, error) { close(asked); <-release; return "done", nil }); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		var out string
		err := b.Request(t.Context(), "slow", nil, &out)
		answer <- fmt.Sprint(out, err)
	}()
	<-asked
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	select {
	case <-closed:
		t.Fatal("closed with an answer under way")
	case <-time.After(20 * time.Millisecond): // a wrong Close would be through by now; a right one makes this wait vain
	}
	close(release)
	if got := receive(t, answer); got != "done<nil>" {
		t.Error(got)
	}
	if err := receive(t, closed); err != nil {
		t.Error(err)
	}
	if err := b.Publish("desk", nil); err == nil {
		t.Error("published after Close")
	}
}

func TestNoServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if b, err := Open(ctx, "nats://127.0.0.1:1", nil); err == nil {
		b.Close()
		t.Error("opened")
	}
}

func BenchmarkRequest(b *testing.B) {
	bus, err := Open(b.Context(), "", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	if _, err := bus.Respond("call.1", func(data []byte) (any, error) { return news{1, "hold"}, nil }); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var out news
		if err := bus.Request(b.Context(), "call.1", news{1, "hold"}, &out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		bus, err := Open(b.Context(), "", nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := bus.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
