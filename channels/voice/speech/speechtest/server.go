// Package speechtest is a speech server for tests: real HTTP, OpenAI's audio API, and moods. What it speaks is sound that
// Understand turns back into words, and what it hears are such words, so that a dialogue through telephones is told exactly. A script may
// say what it hears instead.
package speechtest

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Mood is how the server answers.
type Mood int

const (
	Right   Mood = iota
	Slow         // after Delay
	Hangs        // never; the sound stops in the middle
	Garbage      // an answer, but none of this API
	Refuses      // 503
	Breaks       // the connection is cut, the sound's in the middle
)

// Server is the speech server. Its address is URL + "/v1".
type Server struct {
	*httptest.Server

	mu     sync.Mutex
	hears  behaviour
	says   behaviour
	script []string
	tongue string // that is told of what is heard; empty: what was asked for
	heard  []Request
	said   []Request
	news   chan struct{}
	over   chan struct{}
}

type behaviour struct {
	mood  Mood
	delay time.Duration
}

// Request is one that came in.
type Request struct {
	Text     string // said, or what was heard
	Voice    string
	Language string
	Model    string
	Prompt   string
	Length   time.Duration // of the sound sent
	Gone     bool          // the client left before the answer was complete
}

// Rate of the sound that the server speaks.
const Rate = 24000

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{news: make(chan struct{}), over: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/audio/transcriptions", s.transcribe)
	mux.HandleFunc("POST /v1/audio/speech", s.speak)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(s.over)
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// Hears sets how transcriptions are answered from now on; delay is for Slow.
func (s *Server) Hears(m Mood, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hears = behaviour{m, delay}
}

// Says sets how speech is answered from now on; delay is for Slow.
func (s *Server) Says(m Mood, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says = behaviour{m, delay}
}

// Script makes the next transcriptions these texts, whatever the sound. After them the code counts again.
func (s *Server) Script(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, texts...)
}

// Tongue has the server tell that what it hears from now on is in that language, whatever it was asked for.
func (s *Server) Tongue(language string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tongue = language
}

// Heard are the transcriptions so far.
func (s *Server) Heard() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.heard...)
}

// Said are the texts that were to be spoken so far; each is here when its answer ended.
func (s *Server) Said() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.said...)
}

// News is closed when the next request is noted.
func (s *Server) News() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

func (s *Server) note(list *[]Request, r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, r)
	close(s.news)
	s.news = make(chan struct{})
}

// moody does what a mood does instead of an answer; false means that it was done.
func (s *Server) moody(w http.ResponseWriter, r *http.Request, b behaviour) bool {
	switch b.mood {
	case Slow:
		return s.wait(r, b.delay)
	case Garbage:
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<html><body>It works!</body></html>")
		return false
	case Refuses:
		http.Error(w, `{"error":{"message":"model is loading"}}`, http.StatusServiceUnavailable)
		return false
	}
	return true
}

// wait is false when the client or the test was gone first; d < 0 is for ever.
func (s *Server) wait(r *http.Request, d time.Duration) bool {
	var after <-chan time.Time
	if d >= 0 {
		after = time.After(d)
	}
	select {
	case <-after:
		return true
	case <-r.Context().Done():
	case <-s.over:
	}
	return false
}

func (s *Server) transcribe(w http.ResponseWriter, r *http.Request) {
	file, _, err := r.FormFile("file")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b, err := io.ReadAll(file)
	if err != nil || len(b) < 44 || string(b[:4]) != "RIFF" {
		http.Error(w, "no WAV file", http.StatusBadRequest)
		return
	}
	rate := int(binary.LittleEndian.Uint32(b[24:]))
	pcm := make([]int16, (len(b)-44)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[44+2*i:]))
	}
	length := time.Duration(len(pcm)) * time.Second / time.Duration(rate)
	s.mu.Lock()
	mood, text, tongue := s.hears, "", s.tongue
	if scripted := len(s.script) > 0; scripted {
		text, s.script = s.script[0], s.script[1:]
	} else {
		text = Understand(pcm, rate)
	}
	s.mu.Unlock()
	req := Request{Text: text, Language: r.FormValue("language"), Model: r.FormValue("model"), Prompt: r.FormValue("prompt"), Length: length}
	defer func() {
		req.Gone = r.Context().Err() != nil
		s.note(&s.heard, req)
	}()
	switch mood.mood {
	case Hangs:
		s.wait(r, -1)
		return
	case Breaks:
		panic(http.ErrAbortHandler)
	}
	if s.moody(w, r, mood) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"text": text, "language": cmp.Or(tongue, req.Language), "duration": length.Seconds()})
	}
}

func (s *Server) speak(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Model, Input, Voice string
		Format              string `json:"response_format"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || ask.Format != "pcm" || ask.Input == "" {
		http.Error(w, `{"error":{"message":"input and response_format pcm were expected"}}`, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	mood := s.says
	s.mu.Unlock()
	req := Request{Text: ask.Input, Voice: ask.Voice, Model: ask.Model}
	defer func() {
		req.Gone = r.Context().Err() != nil
		s.note(&s.said, req)
	}()
	if !s.moody(w, r, mood) {
		return
	}
	w.Header().Set("Content-Type", "audio/pcm")
	pcm := Voice(ask.Input, Rate)
	for i := 0; i < len(pcm); i += Rate / 10 {
		if i > len(pcm)/2 && mood.mood == Hangs {
			s.wait(r, -1)
			return
		}
		if i > len(pcm)/2 && mood.mood == Breaks {
			panic(http.ErrAbortHandler)
		}
		part := pcm[i:min(i+Rate/10, len(pcm))]
		if binary.Write(w, binary.LittleEndian, part) != nil {
			return
		}
		req.Length += time.Duration(len(part)) * time.Second / Rate
		w.(http.Flusher).Flush()
	}
}
