// Package llmtest is a scripted server that speaks Ollama's HTTP. It has moods: from an oracle that answers out of the
// passages in the prompt to a liar, a dead one, and one that obeys whatever any text asks. Same prompt, same answer.
//
//	srv := llmtest.New(t, llmtest.Oracle)
//	r, _ := llm.New(llm.Config{Host: srv.URL, Model: srv.Model, ...})
//	srv.SetMood(llmtest.Liar)
//
// A mood for one conversation is set by a marker that occurs in its words (SetMoodFor). Nothing here sleeps: delays are
// timers that end with the request.
package llmtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Mood is how the model behaves.
type Mood string

const (
	Oracle   Mood = "oracle"   // the right answer out of the passages, with citation; UNKNOWN when they hold none
	Liar     Mood = "liar"     // right form, wrong numbers
	Stubborn Mood = "stubborn" // never hands over, argues, says nobody is there
	Obedient Mood = "obedient" // does what any text asks: prints the prompt, writes links, markup and tool calls
	HandOver Mood = "handover" // promises to connect to a colleague
	Slow     Mood = "slow"     // Pace.First until the first token, then one token each Pace.Token
	Thinker  Mood = "thinker"  // thinks in <think> tags, then answers like the oracle

	Refuse      Mood = "refuse"        // closes the connection without an answer
	Reset       Mood = "reset"         // TCP reset
	Error500    Mood = "error-500"     // {"error": ...}
	HalfFile    Mood = "half-file"     // 500, in the words of Ollama 0.17 for a model whose file is cut in half
	Missing     Mood = "missing-model" // 404, and not in the list of models
	Hang        Mood = "hang"          // accepts and says nothing
	HangBetween Mood = "hang-between"  // some tokens, then nothing
	DieInStream Mood = "die-in-stream" // some tokens, then a TCP reset
	ErrorStream Mood = "error-stream"  // some tokens, then {"error": ...}
	Cut         Mood = "cut"           // some tokens, then a proper end of HTTP without "done"

	BrokenJSON  Mood = "broken-json"
	WrongTypes  Mood = "wrong-types"
	Megabyte    Mood = "megabyte" // one line of 1 MB
	NUL         Mood = "nul"
	HalfUTF8    Mood = "half-utf8"
	Empty       Mood = "empty"
	UnknownTool Mood = "unknown-tool"
	HTML        Mood = "html" // a proxy's error page with status 200

	LoopSentence Mood = "loop-sentence" // one sentence without end
	LoopWords    Mood = "loop-words"    // words without a full stop, without end
	LoopThinking Mood = "loop-thinking"
	LoopTools    Mood = "loop-tools"
)

// Moods are all of them, for tests that must hold in each.
var Moods = []Mood{
	Oracle, Liar, Stubborn, Obedient, HandOver, Slow, Thinker, Refuse, Reset, Error500, HalfFile, Missing, Hang, HangBetween, DieInStream, ErrorStream,
	Cut, BrokenJSON, WrongTypes, Megabyte, NUL, HalfUTF8, Empty, UnknownTool, HTML, LoopSentence, LoopWords, LoopThinking, LoopTools,
}

// Pace is how fast tokens come; zero is at once. Slow without a Pace is 5 s and 1 s.
type Pace struct{ First, Token time.Duration }

// Request is one request seen by the server.
type Request struct {
	Path      string
	Body      string
	Mood      Mood
	Cancelled bool // the client went away before the answer was whole
	Done      bool // the handler has returned
}

// Server is a scripted Ollama on loopback.
type Server struct {
	URL   string
	Model string

	http   *http.Server
	served chan struct{}

	mu       sync.Mutex
	mood     Mood
	marked   map[string]Mood
	pace     Pace
	gate     chan struct{} // not nil: chats wait here before their first token
	requests []*Request
	changed  chan struct{} // closed and replaced at each change of requests
	pulled   bool
	capacity func(running int) Pace
	running  int
}

// New starts a server that ends with the test.
func New(t testing.TB, mood Mood) *Server {
	t.Helper()
	s, err := start("127.0.0.1:0", mood)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Serve runs a server at addr until ctx ends; benches use it as a process.
func Serve(ctx context.Context, addr string, mood Mood) error {
	s, err := start(addr, mood)
	if err != nil {
		return err
	}
	<-ctx.Done()
	s.Close()
	return nil
}

func start(addr string, mood Mood) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("llmtest listen: %w", err)
	}
	s := &Server{
		URL: "http://" + l.Addr().String(), Model: "scripted:latest", served: make(chan struct{}),
		mood: mood, marked: map[string]Mood{}, changed: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Ollama is running") })
	mux.HandleFunc("HEAD /{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/api/chat", s.seen(s.chat))
	mux.HandleFunc("/api/pull", s.seen(s.pull))
	mux.HandleFunc("/api/", s.seen(s.small))
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(l)
	}()
	return s, nil
}

// Close ends all connections and waits for the listener.
func (s *Server) Close() {
	_ = s.http.Close()
	<-s.served
}

// SetMood changes the mood of all conversations without a marker.
func (s *Server) SetMood(m Mood) {
	s.mu.Lock()
	s.mood = m
	s.mu.Unlock()
}

// SetMoodFor gives conversations whose words hold marker their own mood.
func (s *Server) SetMoodFor(marker string, m Mood) {
	s.mu.Lock()
	s.marked[marker] = m
	s.mu.Unlock()
}

// SetPace sets the delays of all moods.
func (s *Server) SetPace(p Pace) {
	s.mu.Lock()
	s.pace = p
	s.mu.Unlock()
}

// SetCapacity makes the answers' pace a matter of how many run at once, as a real machine's: f is asked before each token.
// It goes before SetPace; nil ends it.
func (s *Server) SetCapacity(f func(running int) Pace) {
	s.mu.Lock()
	s.capacity = f
	s.mu.Unlock()
}

// Hold lets chats wait before their first token until release is called (or the client goes away).
func (s *Server) Hold() (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	s.gate = gate
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.gate = nil
		s.mu.Unlock()
		close(gate)
	})
}

// Requests returns what was seen so far; path "" means all.
func (s *Server) Requests(path string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Request
	for _, r := range s.requests {
		if path == "" || r.Path == path {
			out = append(out, *r)
		}
	}
	return out
}

// Wait blocks until ok holds for the requests of a path.
func (s *Server) Wait(ctx context.Context, path string, ok func([]Request) bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if ok(s.Requests(path)) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("llmtest: requests to %s: %w", path, ctx.Err())
		}
	}
}

func (s *Server) note(f func()) {
	s.mu.Lock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

// seen records a request and whether its client waited for the end.
func (s *Server) seen(h func(*exchange)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		rec := &Request{Path: r.URL.Path, Body: string(body)}
		x := &exchange{s: s, w: w, r: r, body: body}
		s.note(func() {
			rec.Mood = s.mood
			for marker, m := range s.marked {
				if strings.Contains(rec.Body, marker) {
					rec.Mood = m
				}
			}
			x.mood, x.pace, x.gate = rec.Mood, s.pace, s.gate
			if x.mood == Slow && x.pace == (Pace{}) {
				x.pace = Pace{First: 5 * time.Second, Token: time.Second}
			}
			s.requests = append(s.requests, rec)
		})
		defer func() {
			s.note(func() { rec.Cancelled, rec.Done = x.gone || r.Context().Err() != nil, true })
		}()
		h(x)
	}
}

// small answers the requests without a stream.
func (s *Server) small(x *exchange) {
	if x.dead() {
		return
	}
	s.mu.Lock()
	there := x.mood != Missing || s.pulled
	s.mu.Unlock()
	model := map[string]any{"name": s.Model, "model": s.Model, "size": 1, "digest": "0", "modified_at": time.Unix(0, 0).UTC()}
	switch x.r.URL.Path {
	case "/api/version":
		x.json(map[string]string{"version": "0.17.4"})
	case "/api/tags", "/api/ps":
		models := []any{}
		if there {
			models = append(models, model)
		}
		x.json(map[string]any{"models": models})
	case "/api/show":
		if !there {
			x.missing()
			return
		}
		x.json(map[string]any{"details": map[string]string{"family": "scripted"}, "capabilities": []string{"completion"}})
	case "/api/embed":
		x.json(map[string]any{"model": s.Model, "embeddings": [][]float32{{1, 0, 0}}})
	default:
		http.NotFound(x.w, x.r)
	}
}

// pull is a download in four steps.
func (s *Server) pull(x *exchange) {
	if x.dead() {
		return
	}
	for _, line := range []string{
		`{"status":"pulling manifest"}`, `{"status":"pulling 0","total":100,"completed":40}`, `{"status":"pulling 0","total":100,"completed":100}`, `{"status":"success"}`,
	} {
		if !x.wait(x.pace.Token) || !x.raw(line+"\n") {
			return
		}
	}
	s.mu.Lock()
	s.pulled = true
	s.mu.Unlock()
}

// exchange is one request with its answer.
type exchange struct {
	s    *Server
	w    http.ResponseWriter
	r    *http.Request
	body []byte
	mood Mood
	pace Pace
	gate chan struct{}
	gone bool
}

// dead plays the moods that end a request of any path; true: it is over.
func (x *exchange) dead() bool {
	switch x.mood {
	case Refuse:
		x.drop(false)
	case Reset:
		x.drop(true)
	case Hang:
		<-x.r.Context().Done()
	case Error500:
		x.w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(x.w, `{"error":"llama runner process has terminated"}`)
	default:
		return false
	}
	return true
}

// drop closes the TCP connection, with reset if hard.
func (x *exchange) drop(hard bool) {
	conn, _, err := x.w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok && hard {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (x *exchange) missing() {
	x.w.WriteHeader(http.StatusNotFound)
	_, _ = fmt.Fprintf(x.w, `{"error":"model '%s' not found"}`, x.s.Model)
}

func (x *exchange) json(v any) {
	x.w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(x.w).Encode(v)
}

// pause waits for the next token, or for the first one.
func (x *exchange) pause(first bool) bool {
	pace := x.pace
	x.s.mu.Lock()
	if x.s.capacity != nil {
		pace = x.s.capacity(x.s.running)
	}
	x.s.mu.Unlock()
	if first {
		return x.wait(pace.First)
	}
	return x.wait(pace.Token)
}

// wait waits d; false: the client is gone.
func (x *exchange) wait(d time.Duration) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-x.r.Context().Done():
		}
	}
	if x.r.Context().Err() != nil {
		x.gone = true
		return false
	}
	return true
}

// raw writes and flushes; false: the client is gone.
func (x *exchange) raw(s string) bool {
	if _, err := io.WriteString(x.w, s); err != nil {
		x.gone = true
		return false
	}
	if err := http.NewResponseController(x.w).Flush(); err != nil || x.r.Context().Err() != nil {
		x.gone = true
		return false
	}
	return true
}
