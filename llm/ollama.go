package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ollama/ollama/api"
)

// Bounds of what is read from Ollama. Its client keeps up to 8 MB of one line and forgets the scanner's error, so the
// limit sits below it, in the transport.
const (
	maxChat  = 256 << 10
	maxReply = 4 << 20
	maxPull  = 64 << 20
)

// ctxTokens is fixed: another value makes Ollama load the model again.
const ctxTokens = 2048

// answerTokens is the budget of one answer.
const answerTokens = 220

// ollama is the only place that speaks Ollama's API.
type ollama struct {
	base    *url.URL
	model   string
	threads int // 0: Ollama's own choice
	wire    *http.Transport
}

// chunk is one piece of a streamed answer.
type chunk struct {
	text, thinking string
	tools          int
	done           bool
	cut            bool // the token budget ended it
}

func newOllama(host, model string, threads int) (*ollama, error) {
	if !strings.Contains(host, "://") {
		host = "http://" + host
	}
	base, err := url.Parse(host)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("ollama address %q: want http://host:port", host)
	}
	return &ollama{base: base, model: model, threads: threads, wire: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     30 * time.Second,
		// what an answer needs is bounded by its context; a model that loads sends no header for a while
		MaxResponseHeaderBytes: 64 << 10,
	}}, nil
}

func (o *ollama) close() { o.wire.CloseIdleConnections() }

// client returns a client whose answers are cut at limit bytes, and the count that tells so.
func (o *ollama) client(limit int64) (*api.Client, *limited) {
	l := &limited{wire: o.wire, limit: limit}
	return api.NewClient(o.base, &http.Client{
		Transport: l,
		// Ollama does not redirect; whoever does is not Ollama
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}), l
}

// chat streams one answer; f's error ends it.
func (o *ollama) chat(ctx context.Context, messages []said, tokens int, f func(chunk) error) error {
	req := &api.ChatRequest{
		Model:     o.model,
		KeepAlive: &api.Duration{Duration: -1},
		Think:     &api.ThinkValue{Value: false},
		Options:   map[string]any{"temperature": 0.1, "seed": 7, "num_ctx": ctxTokens, "num_predict": tokens},
	}
	if o.threads > 0 {
		req.Options["num_thread"] = o.threads
	}
	for _, m := range messages {
		req.Messages = append(req.Messages, api.Message{Role: m.Role, Content: m.Content})
	}
	client, l := o.client(maxChat)
	ended, came := false, false
	err := client.Chat(ctx, req, func(r api.ChatResponse) error {
		if ended {
			return nil
		}
		came = true
		ended = r.Done
		return f(chunk{
			text: r.Message.Content, thinking: r.Message.Thinking, tools: len(r.Message.ToolCalls),
			done: r.Done, cut: r.DoneReason == "length",
		})
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case l.over.Load():
		return &Failure{Reason: "garbage", Err: errors.New("answer too large")}
	case err != nil:
		return ollamaFailure(err, came)
	case !ended:
		return &Failure{Reason: "cut", Err: errors.New("stream ended without done")}
	}
	return nil
}

// ollamaFailure gives an error of the client its verdict. came: some of the answer had arrived.
func ollamaFailure(err error, came bool) error {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	reason := "dead"
	var status api.StatusError
	var auth api.AuthorizationError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var network net.Error
	switch {
	case errors.As(err, &status) && status.StatusCode == http.StatusNotFound:
		reason = "missing"
	case errors.As(err, &status) && unloadable(status.ErrorMessage):
		return &Failure{Reason: broken, Err: fmt.Errorf("its file is cut short or damaged, fetch it again (Ollama says: %s)", short(cleaned(status.ErrorMessage), 200))}
	case errors.As(err, &status), errors.As(err, &auth):
	case errors.As(err, &syntax), errors.As(err, &kind):
		reason = "garbage"
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if came {
			reason = "cut"
		}
	case strings.ContainsAny(err.Error(), "{}<>\x00\"") || strings.TrimSpace(err.Error()) == "":
		reason = "garbage" // the client returns a line that is no JSON as its error text
	case came:
		reason = "cut" // {"error": "..."} in the stream: the runner died
	}
	return &Failure{Reason: reason, Err: errors.New(short(cleaned(err.Error()), 200))}
}

// broken is the reason of a model whose file Ollama cannot load.
const broken = "broken"

// unloadable: Ollama's words for a file that is cut in half (by its table of tensors, or in it), empty, or no model. An EOF of the address
// where its runner answered is that runner's death.
func unloadable(words string) bool {
	return !strings.Contains(words, "http://") && slices.ContainsFunc([]string{"exceeds file size", "EOF", "does not support chat", "invalid file magic", "unable to load model", "error loading model"},
		func(sign string) bool { return strings.Contains(words, sign) })
}

// version asks for a sign of life.
func (o *ollama) version(ctx context.Context) (string, error) {
	client, _ := o.client(maxReply)
	return client.Version(ctx)
}

func (o *ollama) models(ctx context.Context) ([]string, error) {
	client, _ := o.client(maxReply)
	list, err := client.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list models: %w", err)
	}
	var out []string
	for _, m := range list.Models {
		out = append(out, m.Name)
	}
	return out, nil
}

func (o *ollama) pull(ctx context.Context, progress func(status string, done, total int64)) error {
	client, l := o.client(maxPull)
	success := false
	err := client.Pull(ctx, &api.PullRequest{Model: o.model}, func(p api.ProgressResponse) error {
		success = p.Status == "success"
		if progress != nil {
			progress(p.Status, p.Completed, p.Total)
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("pull %s: %s", o.model, short(cleaned(err.Error()), 200))
	case l.over.Load() || !success:
		return fmt.Errorf("pull %s: ended without success", o.model)
	}
	return nil
}

// limited is a transport whose answers end at limit bytes.
type limited struct {
	wire  http.RoundTripper
	limit int64
	over  atomic.Bool
}

func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.wire.RoundTrip(req)
	if err == nil {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: l.limit, over: &l.over}
	}
	return resp, err
}

var errTooLarge = errors.New("answer too large")

type limitedBody struct {
	io.ReadCloser
	left int64
	over *atomic.Bool
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.over.Store(true)
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
