// Package synthetic is the house's own test customer: every few minutes it comes in by the chat's front door like anybody
// else, asks for a person, and waits for a person's first word. It thanks and leaves; agents see by its name that it is a
// test. Its promises are ordinary ones, but for the mark on its contact: their times stand apart in the proof and spend no
// error budget.
//
// It runs on the node that it belongs to and knows the house from outside: one WebSocket, no verb of the flow.
package synthetic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/fasthttp/websocket"
)

// Config is what the customer needs. All fields but Log, Pause and Words are required; Every 0: it never comes.
type Config struct {
	Every time.Duration // from one visit to the next, give or take a tenth, so that nodes and clocks do not come in step
	URL   string        // of the chat's socket: ws://127.0.0.1:8080/chat/socket
	// Token makes a marked visitor of that name and returns its token.
	Token   func(ctx context.Context, name string) (token string, err error)
	Patient time.Duration // how long it waits for a person; longer than any promise
	Log     *slog.Logger
}

const (
	// Name is what agents see.
	Name   = "Test customer (synthetic)"
	wish   = "Could I talk to a person, please?"
	thanks = "Thank you. This was a test by the house itself: nothing is left to do."

	greet = 10 * time.Second // for the door

	// Patience is longer than promises are, so that a broken one is seen broken.
	Patience = 30 * time.Minute
)

// Run comes again and again until ctx ends. A visit that fails is logged, and is the next one's time.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Every <= 0 {
		return nil
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for {
		pause := time.NewTimer(cfg.Every*9/10 + rand.N(cfg.Every/5+1))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		if waited, err := Visit(ctx, cfg); err != nil && ctx.Err() == nil {
			cfg.Log.Error("synthetic customer", "channel", "chat", "waited", waited.Round(time.Millisecond), "err", err)
		} else if err == nil {
			cfg.Log.Info("synthetic customer", "channel", "chat", "waited", waited.Round(time.Millisecond))
		}
	}
}

// frame is what the customer needs to understand of the chat's frames.
type frame struct {
	Type    string `json:"type"`
	Message struct {
		Author string `json:"author"`
		Kind   string `json:"kind"`
	} `json:"message"`
}

var errNobody = errors.New("nobody came")

// Visit is one visit; waited is how long it took from the wish to a person's first word.
func Visit(ctx context.Context, cfg Config) (waited time.Duration, err error) {
	token, err := cfg.Token(ctx, Name)
	if err != nil {
		return 0, err
	}
	dialling, cancel := context.WithTimeout(ctx, greet)
	defer cancel()
	conn, _, err := websocket.DefaultDialer.DialContext(dialling, cfg.URL, nil)
	if err != nil {
		return 0, fmt.Errorf("chat: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // wakes the reader
	defer stop()
	say := func(v map[string]any) {
		if err == nil {
			err = conn.WriteJSON(v)
		}
	}
	say(map[string]any{"type": "hello", "token": token, "after": 0})
	begun := time.Now()
	say(map[string]any{"type": "say", "client_id": "wish", "body": wish})
	if err != nil {
		return 0, fmt.Errorf("chat: %w", err)
	}
	ping := time.NewTicker(20 * time.Second)
	defer ping.Stop()
	heard, ended := make(chan struct{}), make(chan error, 1)
	go listen(conn, heard, ended)
	defer func() { _ = conn.Close(); <-ended }()
	patience := time.NewTimer(cfg.Patient)
	defer patience.Stop()
	for {
		select {
		case <-heard:
			waited = time.Since(begun)
			say(map[string]any{"type": "say", "client_id": "thanks", "body": thanks})
			say(map[string]any{"type": "end"})
			return waited, err
		case <-patience.C:
			say(map[string]any{"type": "end"})
			return time.Since(begun), errors.Join(errNobody, err)
		case <-ping.C:
			say(map[string]any{"type": "ping"})
		case got := <-ended:
			ended <- got
			return time.Since(begun), fmt.Errorf("chat: %w", got)
		}
	}
}

// listen reads until the socket ends; heard is closed at a person's first words.
func listen(conn *websocket.Conn, heard chan<- struct{}, ended chan<- error) {
	open := true
	for {
		_, text, err := conn.ReadMessage()
		if err != nil {
			ended <- err
			return
		}
		var f frame
		if json.Unmarshal(text, &f) == nil && f.Type == "message" && f.Message.Author == "agent" && f.Message.Kind == "text" && open {
			open = false
			close(heard)
		}
	}
}
