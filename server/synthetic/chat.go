package synthetic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fasthttp/websocket"
)

// Chat is the web page's socket, ws://127.0.0.1:8080/chat/socket. token makes a marked visitor of that name.
func Chat(url string, token func(ctx context.Context, name string) (string, error)) Door {
	return Door{"chat", func(ctx context.Context, patient time.Duration) (time.Duration, error) {
		t, err := token(ctx, Name)
		if err != nil {
			return 0, err
		}
		return converse(ctx, url, t, patient)
	}}
}

// frame is what the customer needs to understand of the chat's frames.
type frame struct {
	Type    string `json:"type"`
	Message struct {
		Author string `json:"author"`
		Kind   string `json:"kind"`
	} `json:"message"`
}

func converse(ctx context.Context, url, token string, patient time.Duration) (waited time.Duration, err error) {
	dialling, cancel := context.WithTimeout(ctx, greet)
	defer cancel()
	conn, _, err := websocket.DefaultDialer.DialContext(dialling, url, nil)
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
	patience := time.NewTimer(patient)
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
