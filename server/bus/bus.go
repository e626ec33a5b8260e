// Package bus carries news between the rooms of one process and between the processes of one house, over NATS.
//
// It only talks: truth is in Postgres, and a message that is lost here may cost freshness, nothing else. Publish after
// the commit. Without a URL the NATS server runs inside this process without a port, so that one process alone runs
// the same code as a cluster. An external server that goes away is waited for without end; what is published meanwhile
// is kept up to 8 MB and then refused.
package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ErrNoOwner means that nobody answers requests for this subject: the node that did is gone.
var ErrNoOwner = nats.ErrNoResponders

const (
	errorHeader    = "Patchbay-Error"
	requestLimit   = 5 * time.Second // for a Request whose ctx has no deadline
	closeLimit     = 5 * time.Second // for callbacks and answers that are running at Close
	connectLimit   = 10 * time.Second
	maxPayload     = 4 << 20
	maxPending     = 64 << 20 // bytes that the server holds for us before it calls us slow
	reconnectEvery = 250 * time.Millisecond
)

// Bus is one connection. All methods may be called from many goroutines.
type Bus struct {
	log    *slog.Logger
	server *server.Server // nil: external
	conn   *nats.Conn
	gone   chan struct{} // closed when the connection has ended for good
	panics atomic.Int64

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // answers; Add under mu while not closed
	once    sync.Once
	err     error
}

// Open connects to url, or starts a server in this process when url is "".
func Open(ctx context.Context, url string, log *slog.Logger) (*Bus, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Bus{log: log, gone: make(chan struct{})}
	opts := []nats.Option{
		nats.Name("patchbay"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectEvery),
		nats.ErrorHandler(b.troubled),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("bus: connection lost, trying again", "err", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("bus: connected again", "server", c.ConnectedUrlRedacted()) }),
		nats.ClosedHandler(func(*nats.Conn) { close(b.gone) }),
	}
	if url == "" {
		if err := b.startServer(); err != nil {
			return nil, err
		}
		opts = append(opts, nats.InProcessServer(b.server))
	}
	var err error
	if b.conn, err = connect(ctx, url, opts); err != nil {
		b.stopServer()
		return nil, err
	}
	return b, nil
}

func (b *Bus) startServer() error {
	s, err := server.NewServer(&server.Options{
		ServerName: "patchbay", DontListen: true, NoSigs: true, NoSystemAccount: true,
		MaxPayload: maxPayload, MaxPending: maxPending,
	})
	if err != nil {
		return fmt.Errorf("bus server: %w", err)
	}
	s.SetLoggerV2(serverLog{b.log}, false, false, false)
	b.server = s
	s.Start()
	if !s.ReadyForConnections(connectLimit) {
		b.stopServer()
		return errors.New("bus server: not ready")
	}
	return nil
}

func (b *Bus) stopServer() {
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// connect is patient at the start, as machines boot in any order.
func connect(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	for {
		conn, err := nats.Connect(url, opts...)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("bus: connect to NATS: %w", err)
		case <-time.After(reconnectEvery):
		}
	}
}

// troubled hears of what goes wrong behind our back: a subscription too slow for its news, above all.
func (b *Bus) troubled(_ *nats.Conn, sub *nats.Subscription, err error) {
	if sub == nil {
		b.log.Error("bus", "err", err)
		return
	}
	dropped, _ := sub.Dropped()
	b.log.Error("bus: news lost", "subject", sub.Subject, "lost", dropped, "err", err)
}

// Publish sends v as JSON to whoever listens. nil is an empty message. It does not wait for anybody.
func (b *Bus) Publish(subject string, v any) error {
	data, err := encode(v)
	if err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	if err := b.conn.Publish(subject, data); err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return nil
}

// Subscribe calls fn for every message, one after the other, on a goroutine of this subscription. NATS wildcards are
// allowed: * for one word, > for the rest. What is published after Subscribe has returned is heard. After cancel has
// returned, fn is not called anew; a call that is running may still be. data belongs to fn.
func (b *Bus) Subscribe(subject string, fn func(subject string, data []byte)) (cancel func(), err error) {
	return b.listen(subject, func(m *nats.Msg) {
		defer b.recovered(subject)
		fn(m.Subject, m.Data)
	})
}

func (b *Bus) listen(subject string, fn nats.MsgHandler) (cancel func(), err error) {
	var cancelled atomic.Bool
	sub, err := b.conn.Subscribe(subject, func(m *nats.Msg) {
		if !cancelled.Load() {
			fn(m)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	// Until the server has our interest, another node's news would pass us by. A server that is away now gets all
	// interests when it comes back.
	if err := b.conn.FlushTimeout(requestLimit); err != nil && b.conn.IsConnected() {
		sub.Unsubscribe()
		return nil, fmt.Errorf("subscribe %s: %w", subject, err)
	}
	return func() {
		if !cancelled.Swap(true) {
			sub.Unsubscribe() // fails only when the connection is closed
		}
	}, nil
}

// Request asks the one who answers this subject and decodes the answer into out (nil: not wanted). ErrNoOwner comes at
// once when nobody answers. The other side's error comes as its text.
func (b *Bus) Request(ctx context.Context, subject string, in, out any) error {
	data, err := encode(in)
	if err != nil {
		return fmt.Errorf("request %s: %w", subject, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestLimit)
		defer cancel()
	}
	m, err := b.conn.RequestWithContext(ctx, subject, data)
	if err != nil {
		return fmt.Errorf("request %s: %w", subject, err)
	}
	if text := m.Header.Get(errorHeader); text != "" {
		return errors.New(text)
	}
	if out == nil || len(m.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(m.Data, out); err != nil {
		return fmt.Errorf("request %s: answer: %w", subject, err)
	}
	return nil
}

// Respond answers requests, each on its own goroutine. An error of fn reaches the asker as its text.
func (b *Bus) Respond(subject string, fn func(data []byte) (any, error)) (cancel func(), err error) {
	return b.listen(subject, func(m *nats.Msg) {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return
		}
		b.running.Add(1)
		b.mu.Unlock()
		go func() {
			defer b.running.Done()
			b.answer(subject, m, fn)
		}()
	})
}

func (b *Bus) answer(subject string, m *nats.Msg, fn func([]byte) (any, error)) {
	reply := &nats.Msg{Subject: m.Reply, Header: nats.Header{}}
	reply.Header.Set(errorHeader, "internal error") // stands if fn panics
	defer func() {
		if m.Reply == "" {
			return
		}
		if err := b.conn.PublishMsg(reply); err != nil {
			b.log.Warn("bus: answer", "subject", subject, "err", err)
		}
	}()
	defer b.recovered(subject)
	out, err := fn(m.Data)
	var data []byte
	if err == nil {
		data, err = encode(out)
	}
	if err != nil {
		reply.Header.Set(errorHeader, err.Error())
		return
	}
	reply.Header, reply.Data = nil, data
}

// recovered keeps one broken callback from ending the house.
func (b *Bus) recovered(subject string) {
	if x := recover(); x != nil {
		b.panics.Add(1)
		b.log.Error("bus: panic", "subject", subject, "panic", x, "stack", string(debug.Stack()))
	}
}

// Panics counts the callbacks that panicked; tests and metrics look at it.
func (b *Bus) Panics() int64 { return b.panics.Load() }

// Connected tells whether the server is reachable now.
func (b *Bus) Connected() bool { return b.conn.IsConnected() }

// Close sends what is published, lets running callbacks end, and stops our own server. It may be called twice.
func (b *Bus) Close() error {
	b.once.Do(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		b.err = errors.Join(b.finishAnswers(), b.drain())
		b.stopServer()
	})
	return b.err
}

func (b *Bus) finishAnswers() error {
	done := make(chan struct{})
	go func() { b.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(closeLimit):
		return fmt.Errorf("bus: close: an answer takes longer than %s", closeLimit)
	}
}

func (b *Bus) drain() error {
	if !b.conn.IsConnected() {
		b.conn.Close()
		return nil
	}
	if err := b.conn.Drain(); err != nil {
		b.conn.Close()
		return fmt.Errorf("bus: close: %w", err)
	}
	select {
	case <-b.gone:
		return nil
	case <-time.After(closeLimit):
		b.conn.Close()
		return fmt.Errorf("bus: close: a callback takes longer than %s", closeLimit)
	}
}

func encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return json.Marshal(v)
}

// serverLog is our log in the words of the NATS server. Its notices are of no use to our operators.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats: " + fmt.Sprintf(format, v...))
}
func (l serverLog) Debugf(format string, v ...any) {}
func (l serverLog) Tracef(format string, v ...any) {}
func (l serverLog) Warnf(format string, v ...any)  { l.log.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l serverLog) Errorf(format string, v ...any) { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l serverLog) Fatalf(format string, v ...any) { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }
