package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// modelName is what the scripted Ollama has.
const modelName = "bench:latest"

// passage finds the first passage that the responder hands to the model.
var passage = regexp.MustCompile(`(?s)\[1\][^\n]*\n(.*?)(?:\n\n|$)`)

// pace is how long the scripted model takes; zero is at once.
type pace struct {
	first, token atomic.Int64
	long         atomic.Bool // the whole passage
}

func (p *pace) set(first, token time.Duration) {
	p.first.Store(int64(first))
	p.token.Store(int64(token))
}

// serveOllama runs a scripted Ollama that answers at once with the beginning of the best passage, so that what is
// measured is the house's share of the time. It serves until ctx ends.
func serveOllama(ctx context.Context, slow *pace) (url string, err error) {
	mux := http.NewServeMux()
	reply := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	mux.HandleFunc("/api/version", reply(map[string]string{"version": "0.17.4"}))
	mux.HandleFunc("/api/tags", reply(map[string]any{"models": []map[string]any{{"name": modelName, "model": modelName}}}))
	mux.HandleFunc("/api/ps", reply(map[string]any{"models": []map[string]any{{"name": modelName, "model": modelName}}}))
	mux.HandleFunc("/api/show", reply(map[string]any{"details": map[string]string{"family": "bench"}, "model_info": map[string]any{}}))
	mux.HandleFunc("/api/chat", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Messages []struct{ Content string } }
		_ = json.NewDecoder(r.Body).Decode(&in)
		answer := "Hello."
		if n := len(in.Messages); n > 0 {
			if m := passage.FindStringSubmatch(in.Messages[n-1].Content); m != nil {
				first, _, _ := strings.Cut(m[1]+" ", ". ")
				answer = strings.TrimSuffix(strings.TrimSpace(first), ".") + ". [1]"
				if slow.long.Load() {
					answer = strings.TrimSpace(m[1]) + " [1]"
				}
			}
		}
		out := json.NewEncoder(w)
		say := func(text string, done bool) {
			_ = out.Encode(map[string]any{"model": modelName, "created_at": time.Now(), "done": done, "done_reason": map[bool]string{true: "stop"}[done],
				"message": map[string]string{"role": "assistant", "content": text}})
			_ = http.NewResponseController(w).Flush()
		}
		wait(r.Context(), time.Duration(slow.first.Load()))
		for word := range strings.FieldsSeq(answer) {
			say(word+" ", false)
			wait(r.Context(), time.Duration(slow.token.Load()))
		}
		say("", true)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("scripted Ollama: %w", err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	go func() { _ = srv.Serve(l) }()
	return "http://" + l.Addr().String(), nil
}
