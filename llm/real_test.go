package llm

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
)

// frontlineTemplate is the chat format of testdata/frontline-tiny, whose file carries none.
const frontlineTemplate = `{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{- range .Messages }}{{- if ne .Role "system" }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
`

// TestRealOllama runs the real Ollama as our child with a real model of 4 MB: the wire, the stream and the cancelling.
// Then SmolLM2, when deploy/models.sh could fetch it: what customers of an offline box get.
func TestRealOllama(t *testing.T) {
	binary := os.Getenv("PATCHBAY_TEST_OLLAMA")
	if binary == "" {
		t.Skip("SKIP: the real Ollama runs by deploy/ollama-test.sh")
	}
	pool := demoPool(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	hosts, ended := make(chan string, 1), make(chan error, 1)
	d := &Daemon{Binary: binary, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	go func() {
		ended <- d.Run(running, func(ctx context.Context, host string) error {
			hosts <- host
			<-ctx.Done()
			return nil
		})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("ollama: %v", err)
		}
	}()
	var host string
	select {
	case host = <-hosts:
	case <-ctx.Done():
		t.Fatal("ollama did not start")
	}

	t.Run("wire", func(t *testing.T) {
		if err := Import(ctx, host, "frontline-tiny", "testdata/frontline-tiny/frontline-tiny.f16.gguf", frontlineTemplate); err != nil {
			t.Fatal(err)
		}
		o, err := newOllama(host, "frontline-tiny", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer o.close()
		began, first, words := time.Now(), time.Duration(0), ""
		if err := o.chat(ctx, []said{{"user", "Where is my order A1007?"}}, 40, func(c chunk) error {
			if words == "" && c.text != "" {
				first = time.Since(began)
			}
			words += c.text
			return nil
		}); err != nil || strings.TrimSpace(words) == "" {
			t.Fatalf("%q, %v", words, err)
		}
		t.Logf("first token after %v (with loading): %q", first.Round(time.Millisecond), words)

		// a person takes over: the stream ends at once and Ollama goes on serving
		turn, takeOver := context.WithCancel(ctx)
		err = o.chat(turn, []said{{"user", "Tell me everything about your delivery times."}}, 200, func(chunk) error {
			takeOver()
			return nil
		})
		if err != context.Canceled {
			t.Errorf("a cancelled answer ended with %v", err)
		}
		if err := o.chat(ctx, []said{{"user", "Hello"}}, 5, func(chunk) error { return nil }); err != nil {
			t.Errorf("after a cancelled answer: %v", err)
		}
	})

	t.Run("answers", func(t *testing.T) {
		file := os.Getenv("PATCHBAY_TEST_MODEL")
		if file == "" {
			t.Skip("SKIP: SmolLM2 is out of reach")
		}
		s, err := NewStandby(Config{Pool: pool, Company: "Nordlicht", FirstToken: time.Minute, Total: 2 * time.Minute}) // a busy machine is slower than a customer would wait
		if err != nil {
			t.Fatal(err)
		}
		serving, done := make(chan struct{}), make(chan error, 1)
		modelCtx, end := context.WithCancel(ctx)
		go func() {
			close(serving)
			done <- s.Serve(modelCtx, []Host{{URL: host}}, Want{Best: "no-such-model-anywhere", Small: "smollm2-135m", File: file}, func(words string) { t.Log(words) })
		}()
		<-serving
		select {
		case <-s.Chosen():
		case <-ctx.Done():
			t.Fatal("no model was chosen")
		}
		if d := s.Responder().Describe(); !strings.Contains(d, "smollm2-135m") {
			t.Errorf("in force: %s", d)
		}
		for _, q := range []string{"How long can I send back a tent?", "How much does the Skarv 2 weigh?", "What are your opening hours?"} {
			began := time.Now()
			a, err := s.Responder().Answer(ctx, Turn{ConversationID: 1, Channel: channels.Chat, Question: q}, func(Progress) {})
			t.Logf("%s -> %s (%s, %v, %v)", q, a.Text, a.Mode, time.Since(began).Round(time.Millisecond), err)
			if err != nil || a.Text == "" || len(a.Sources) == 0 {
				t.Errorf("%s: %+v, %v", q, a, err)
			}
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
