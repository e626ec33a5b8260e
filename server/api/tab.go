package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"patchbay/agents"
	"patchbay/channels"
)

// One browser tab and its socket. Two goroutines: the reader, which is the handler's own and does what the tab asks,
// and the writer, the only one that writes. A third, the watch, follows one conversation (watch.go).

const (
	queueLength  = 256
	frameLimit   = 64 << 10
	writeLimit   = 10 * time.Second // a tab that takes nothing for so long is gone
	goodbyeLimit = time.Second
	pingEvery    = 15 * time.Second
	silentFor    = 45 * time.Second // no frame and no pong: the tab is gone
	framesPerSec = 30               // what a tab may ask; keys and typing are far below
	framesBurst  = 90
	typingEvery  = time.Second
)

type tab struct {
	id      string
	session agents.Session
	name    string // the agent's; set before the first command is read
	hub     *hub
	log     *slog.Logger

	out     chan []byte
	lagging atomic.Bool   // frames were dropped: the tab has to read everything again
	lagged  chan struct{} // wakes the writer once more after lagging was set
	used    atomic.Bool   // the agent has done something since the session was checked

	closing chan struct{} // closed by shut
	once    sync.Once
	code    int
	reason  string

	ctx      context.Context // ends with the socket
	watching atomic.Pointer[watch]
	typed    time.Time // the reader's own
}

const sessionLocal = "session"

// live lets a tab's WebSocket in. Headers are gone after the upgrade, so everything is checked before.
func (s *Server) live(c *fiber.Ctx) error {
	if !s.sameOrigin(c) {
		return channels.Fail(channels.Forbidden, "This socket does not come from our own page.")
	}
	if !websocket.IsWebSocketUpgrade(c) {
		return fiber.ErrUpgradeRequired
	}
	c.Locals(sessionLocal, who(c.UserContext()))
	return websocket.New(s.serve, websocket.Config{WriteBufferSize: 4096, RecoverHandler: s.socketPanicked})(c)
}

func (s *Server) socketPanicked(*websocket.Conn) {
	if x := recover(); x != nil {
		s.log.Error("panic in a socket", "panic", x, "stack", string(debug.Stack()))
	}
}

// serve runs a tab until its socket ends. conn belongs to a pool: nobody may hold it after serve returns.
func (s *Server) serve(conn *websocket.Conn) {
	session, _ := conn.Locals(sessionLocal).(agents.Session)
	t := &tab{id: uuid.NewString(), session: session, hub: s.hub, out: make(chan []byte, queueLength),
		lagged: make(chan struct{}, 1), closing: make(chan struct{})}
	t.log = s.log.With("tab", t.id, "agent", session.AgentID)
	var cancel context.CancelFunc
	t.ctx, cancel = context.WithCancel(context.Background()) // a socket outlives the request that opened it
	defer cancel()
	if !s.hub.add(t) {
		deadline := time.Now().Add(writeLimit)
		_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(closeLater, "not now"), deadline)
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		t.write(conn)
	}()
	defer func() {
		t.stopWatch()
		t.shut(websocket.CloseNormalClosure, "")
		<-written
		s.hub.remove(t)
		s.hub.leave(t)
	}()
	if err := t.begin(); err != nil {
		t.log.Warn("socket refused", "err", err)
		t.shut(closeLater, "try again")
		return
	}
	t.read(conn)
}

// begin tells the routers that the agent is there and the tab who it is.
func (t *tab) begin() error {
	if err := t.hub.attend(t.ctx, t); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.ctx, queryLimit)
	defer cancel()
	me, err := t.hub.s.me(ctx, t.session.AgentID)
	if err != nil {
		return err
	}
	t.name = me.Name
	t.send(encode(LiveOut{Type: LiveOutTypeHello, Me: me, Build: &t.hub.s.cfg.Build, Node: &t.hub.s.cfg.NodeID, Tab: &t.id}))
	return nil
}

// shut ends the socket with a code; the first one counts.
func (t *tab) shut(code int, reason string) {
	t.once.Do(func() {
		t.code, t.reason = code, reason
		close(t.closing)
	})
}

// send queues a frame. A tab that cannot keep up loses it and is told to read everything again.
func (t *tab) send(frame []byte) {
	if t.lagging.Load() {
		return
	}
	select {
	case t.out <- frame:
	default:
		t.lagging.Store(true)
		select {
		case t.lagged <- struct{}{}: // the writer may have emptied the queue meanwhile
		default:
		}
	}
}

// sendAll queues a frame that may not be lost; false when the socket ends first.
func (t *tab) sendAll(ctx context.Context, frame []byte) bool {
	select {
	case t.out <- frame:
		return true
	case <-ctx.Done():
	case <-t.closing:
	}
	return false
}

// resync makes the tab read everything again.
func (t *tab) resync() { t.send(encode(LiveOut{Type: LiveOutTypeResync})) }

func (t *tab) write(conn *websocket.Conn) {
	defer t.endReader(conn)
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-t.closing:
			t.sayGoodbye(conn)
			return
		case frame := <-t.out:
			err = t.writeFrame(conn, frame)
		case <-t.lagged:
		case <-ping.C:
			err = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(t.hub.s.writeLimit))
		}
		// Cleared before the word goes out, so that nothing is dropped after it unnoticed.
		if err == nil && len(t.out) == 0 && t.lagging.Swap(false) {
			err = t.writeFrame(conn, encode(LiveOut{Type: LiveOutTypeResync}))
		}
		if err != nil {
			t.shut(websocket.CloseAbnormalClosure, "")
			return
		}
	}
}

func (t *tab) writeFrame(conn *websocket.Conn, frame []byte) error {
	if err := conn.SetWriteDeadline(time.Now().Add(t.hub.s.writeLimit)); err != nil {
		return err
	}
	return conn.WriteMessage(websocket.TextMessage, frame)
}

// endReader gives the tab a moment to answer the close frame. conn.Close would do nothing: fasthttp closes a hijacked
// connection only when its handler has returned, which waits for the reader.
func (t *tab) endReader(conn *websocket.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(goodbyeLimit))
}

// stay gives the reader time for the next frame, unless the socket is being closed. The order matters: endReader comes
// after closing.
func (t *tab) stay(conn *websocket.Conn) error {
	err := conn.SetReadDeadline(time.Now().Add(silentFor))
	if t.shutting() {
		t.endReader(conn)
	}
	return err
}

func (t *tab) shutting() bool {
	select {
	case <-t.closing:
		return true
	default:
		return false
	}
}

// sayGoodbye sends what is queued and the close frame; a tab that is gone hears neither.
func (t *tab) sayGoodbye(conn *websocket.Conn) {
	for {
		select {
		case frame := <-t.out:
			if t.writeFrame(conn, frame) != nil {
				return
			}
			continue
		default:
		}
		break
	}
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(t.code, t.reason), time.Now().Add(goodbyeLimit))
}

// read does what the tab asks, one thing after the other, until the socket ends.
func (t *tab) read(conn *websocket.Conn) {
	conn.SetReadLimit(frameLimit)
	conn.SetPongHandler(func(string) error { return t.stay(conn) })
	limit := rate.NewLimiter(framesPerSec, framesBurst)
	for {
		if t.stay(conn) != nil {
			return
		}
		kind, data, err := conn.ReadMessage()
		if err != nil || t.shutting() {
			return
		}
		var in LiveIn
		err = t.decode(kind, data, &in)
		if err == nil && !limit.Allow() {
			err = channels.Fail(channels.TooMany, "Slow down.")
		}
		if err == nil {
			err = t.do(in)
		}
		if err != nil {
			t.send(encode(LiveOut{Type: LiveOutTypeError, Ref: in.Ref, Error: t.hub.s.explain(err, "tab", t.id, "frame", in.Type)}))
		}
	}
}

func (t *tab) decode(kind int, data []byte, in *LiveIn) error {
	if kind != websocket.TextMessage {
		return channels.Fail(channels.Invalid, "A frame is a text.")
	}
	sp := t.hub.s.spec
	if err := sp.checkJSON(sp.schemas["LiveIn"], data); err != nil {
		_ = json.Unmarshal(data, in) // as far as it goes, for the ref of the answer
		if in.Ref != nil && len(*in.Ref) > 64 {
			in.Ref = nil
		}
		return err
	}
	return json.Unmarshal(data, in)
}

// do is every command of a tab.
func (t *tab) do(in LiveIn) error {
	if in.Type != LiveInTypePing {
		t.used.Store(true)
	}
	switch in.Type {
	case LiveInTypePing:
		t.send(encode(LiveOut{Type: LiveOutTypePong, Ref: in.Ref}))
		return nil
	case LiveInTypeWatch:
		return t.watch(in)
	case LiveInTypeUnwatch:
		t.stopWatch()
	case LiveInTypeTyping:
		if err := t.typing(in); err != nil {
			return err
		}
	case LiveInTypeCardRead:
		if err := t.cardRead(in); err != nil {
			return err
		}
	case LiveInTypePhoneClaim:
		if err := t.hub.claimPhone(t.session.AgentID, t.id); err != nil {
			return err
		}
	default:
		return t.signal(in)
	}
	t.done(in)
	return nil
}

// done answers a frame that wants an answer.
func (t *tab) done(in LiveIn) {
	if in.Ref != nil {
		t.send(encode(LiveOut{Type: LiveOutTypeDone, Ref: in.Ref}))
	}
}

func need(field string, v *int64) (int64, error) {
	if v == nil || *v <= 0 {
		return 0, channels.FailField(channels.Invalid, field, "The field "+field+" is missing.")
	}
	return *v, nil
}
