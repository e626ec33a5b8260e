package llmtest

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, addr, Oracle) }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestOracleAnswersFromThePassages(t *testing.T) {
	srv := New(t, Oracle)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	body := `{"model":"scripted","messages":[{"role":"system","content":"s"},{"role":"user","content":"Passages:\n[1] Tent\nThe tent weighs 1.9 kg. It costs 429 EUR.\n\n[2] Boots\nBoots last long.\n\nCustomer: what does the tent weigh?"}]}`
	resp, err := client.Post(srv.URL+"/api/chat", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text string
	for dec := json.NewDecoder(resp.Body); dec.More(); {
		var line struct {
			Message struct{ Content string }
		}
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		text += line.Message.Content
	}
	if text != "The tent weighs 1.9 kg. It costs 429 EUR. [1]" {
		t.Errorf("%q", text)
	}
	if got := srv.Requests("/api/chat"); len(got) != 1 || got[0].Mood != Oracle {
		t.Errorf("%+v", got)
	}
}
