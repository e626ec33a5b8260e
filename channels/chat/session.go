package chat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"golang.org/x/time/rate"

	"patchbay/channels"
)

const (
	writeLimit   = 10 * time.Second // for one frame to a page that does not read
	receiveLimit = 10 * time.Second
	farewell     = time.Second // for the page to answer our close frame
	freshAfter   = 4 * time.Second
)

// session is one socket. Fields below the line belong to the goroutine of run alone; nothing here needs a lock.
type session struct {
	chat *Chat
	conn *websocket.Conn
	ip   string

	in     chan incoming
	out    chan []byte
	events chan []byte
	missed chan struct{} // events had no room: read the rows
	gone   chan struct{} // the writer could not write
	ending atomic.Bool   // our close frame is on its way; what still comes is thrown away

	log       *slog.Logger
	visitor   *visitor // nil before hello
	name      string
	last      int64 // sequence number up to which the page has everything
	shown     *standing
	readAt    time.Time
	listening int64 // the conversation whose events we hear
	unlisten  []func()
	frames    *rate.Limiter
	typedAt   time.Time
}

// incoming is a whole frame, or the news that there will be no more.
type incoming struct {
	data   []byte
	binary bool
	tooBig bool
	err    error
}

// closing says how a session ends.
type closing struct {
	code   int
	reason string
}

func newSession(c *Chat, conn *websocket.Conn, ip string) *session {
	return &session{
		chat: c, conn: conn, ip: ip, log: c.log,
		in: make(chan incoming), out: make(chan []byte, 64), events: make(chan []byte, 64),
		missed: make(chan struct{}, 1), gone: make(chan struct{}),
		frames: rate.NewLimiter(frameRate, frameBurst),
	}
}

// run ends when the page goes, does not read, breaks a rule that ends a socket, or the server stops; its goroutines
// have ended then.
func (s *session) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var reading, writing sync.WaitGroup
	reading.Go(func() { s.read(ctx) })
	writing.Go(s.write)
	defer reading.Wait()
	defer s.conn.Close()

	why := s.loop(ctx)

	s.stopListening()
	s.ending.Store(true)
	cancel()
	close(s.out)
	_ = s.conn.NetConn().SetWriteDeadline(time.Now().Add(farewell)) // of the write that may be stuck
	writing.Wait()
	text := websocket.FormatCloseMessage(why.code, why.reason)
	if s.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(farewell)) == nil {
		// Closing with unread bytes would reset the connection, and the page would never see why (RFC 6455 7.1.1).
		_ = s.conn.SetReadDeadline(time.Now().Add(farewell))
		reading.Wait()
	}
}

// loop is the session's life: every way that it ends is in this select.
func (s *session) loop(ctx context.Context) (why closing) {
	defer func() {
		if x := recover(); x != nil {
			s.chat.caught(x)
			why = closing{websocket.CloseInternalServerErr, "internal error"}
		}
	}()
	helloBy := time.NewTimer(s.chat.helloIn)
	defer helloBy.Stop()
	refresh := time.NewTicker(s.chat.refresh)
	defer refresh.Stop()
	for {
		var err error
		select {
		case <-s.chat.stop:
			return closing{websocket.CloseGoingAway, "server stops"}
		case <-s.gone:
			return closing{websocket.CloseGoingAway, "page does not read"}
		case <-helloBy.C:
			if s.visitor == nil {
				return closing{websocket.ClosePolicyViolation, "no hello"}
			}
		case in := <-s.in:
			switch {
			case in.err != nil:
				return closing{websocket.CloseNormalClosure, ""}
			case in.tooBig:
				s.refuse("", channels.Fail(channels.TooLarge, "A frame has at most 64 KiB."))
				return closing{websocket.CloseMessageTooBig, "frame too large"}
			}
			err = s.handle(ctx, in)
		case data := <-s.events:
			err = s.news(ctx, data)
		case <-s.missed:
			err = s.catchUp(ctx)
		case <-refresh.C:
			if s.shown != nil && s.shown.place() != nil {
				err = s.catchUp(ctx)
			}
		}
		if err != nil { // the page asks again by its pings, or comes back
			s.log.Error("chat: session", "err", err)
		}
	}
}

// handle does what one frame asks for. Its error is ours, not the visitor's, who was told already.
func (s *session) handle(ctx context.Context, in incoming) error {
	if !s.frames.Allow() {
		var head struct {
			ClientID string `json:"client_id"`
		}
		_ = json.Unmarshal(in.data, &head)
		s.refuse(head.ClientID, tooMany())
		return nil
	}
	if in.binary {
		s.refuse("", channels.Fail(channels.Invalid, "Frames are text."))
		return nil
	}
	frame, id, bad := parse(in.data)
	if bad != nil {
		s.refuse(id, bad)
		return nil
	}
	if f, ok := frame.(*hello); ok {
		return s.hello(ctx, f)
	}
	if s.visitor == nil {
		s.refuse(id, channels.Fail(channels.Unauthorized, "Say hello first."))
		return nil
	}
	switch f := frame.(type) {
	case *say:
		return s.receive(ctx, f.ClientID, channels.Inbound{Type: channels.Words, Body: f.Body, ClientID: f.ClientID})
	case *person:
		return s.receive(ctx, f.ClientID, channels.Inbound{Type: channels.Wish, Source: "button", ClientID: f.ClientID})
	case *leave:
		return s.leave(ctx, f)
	case *callTimes:
		return s.callTimes(ctx)
	case *callMe:
		return s.receive(ctx, f.ClientID, channels.Inbound{Type: channels.CallMe, To: f.Number, Name: strings.TrimSpace(f.Name), At: f.At, ClientID: f.ClientID})
	case *noCall:
		return s.receiveIfOpen(ctx, channels.Inbound{Type: channels.NoCall})
	case *noPerson:
		return s.receiveIfOpen(ctx, channels.Inbound{Type: channels.NoWish, Source: "button"})
	case *end:
		return s.receiveIfOpen(ctx, channels.Inbound{Type: channels.Left, Reason: "visitor"})
	case *identify:
		s.name = f.Name
	case *typing:
		return s.typing()
	case *phone:
		s.phone()
	case *call:
		return s.call(ctx, f)
	case *callRestart:
		return s.ofCall(ctx, f.ClientID, channels.CallSignal{Type: "restart", SDP: f.SDP})
	case *callKey:
		return s.ofCall(ctx, "", channels.CallSignal{Type: "dtmf", Digit: f.Digit})
	case *callEnd:
		return s.ofCall(ctx, "", channels.CallSignal{Type: "hangup"})
	case *ping:
		s.push(outFrame{Type: "pong"})
		if s.visitor.conversation != 0 && time.Since(s.readAt) > freshAfter { // heals lost news
			return s.catchUp(ctx)
		}
	}
	return nil
}

func (s *session) hello(ctx context.Context, f *hello) error {
	if s.visitor != nil {
		s.refuse("", channels.Fail(channels.Conflict, "You have said hello already."))
		return nil
	}
	v := &visitor{token: f.Token}
	welcome := outFrame{Type: "welcome", Company: s.chat.about.Company, Calls: s.chat.calls, Messages: s.chat.messages}
	if f.Token == "" {
		v.token = newToken()
		welcome.Token = v.token
	} else if err := s.chat.find(ctx, v); err != nil {
		s.unavailable("")
		return err
	}
	if v.conversation == 0 && f.After > 0 {
		// It has seen messages of a conversation that is no more (erased, or another database): it must not go on as if.
		s.refuse("", unknownToken())
		return nil
	}
	s.visitor = v
	s.log = s.log.With("visitor", v.address().Value)
	s.last = f.After
	if v.conversation == 0 {
		// Listening first: another tab may be sending the first message right now.
		if err := s.listen(v.subject()); err != nil {
			s.log.Error("chat: other tabs", "err", err)
		}
		s.push(welcome)
		return nil
	}
	return s.attach(ctx, v.conversation, &welcome)
}

// receive hands a message or a wish up and acknowledges it after the commit.
func (s *session) receive(ctx context.Context, id string, in channels.Inbound) error {
	if !s.chat.limits.maySay(s.visitor.address().Value, s.ip) {
		s.refuse(id, tooMany())
		return nil
	}
	in.Channel = channels.Chat
	in.From = s.visitor.address()
	in.Name = cmp.Or(in.Name, s.name)
	in.ConversationID = s.visitor.conversation
	ctx, cancel := context.WithTimeout(ctx, receiveLimit)
	defer cancel()
	got, err := s.chat.receive(ctx, in)
	if err == nil && got.ConversationID != s.visitor.conversation {
		s.visitor.contact, s.visitor.conversation = got.ContactID, got.ConversationID
		if err = s.chat.remember(ctx, s.visitor); err == nil {
			err = s.chat.bus.Publish(s.visitor.subject(), channels.Event{ConversationID: got.ConversationID})
		}
	}
	if err != nil {
		var known *channels.Error
		if errors.As(err, &known) {
			s.refuse(id, known)
			return nil
		}
		s.unavailable(id)
		return err
	}
	if id != "" {
		s.acknowledge(id, got)
	}
	if got.ConversationID != s.listening {
		return s.attach(ctx, got.ConversationID, nil)
	}
	return nil
}

// leave hands up a message that is answered by mail.
func (s *session) leave(ctx context.Context, f *leave) error {
	switch {
	case !s.chat.messages:
		s.refuse(f.ClientID, channels.Fail(channels.Unavailable, "We cannot answer by e-mail."))
		return nil
	case strings.EqualFold(f.Email, s.chat.about.Mail):
		s.refuse(f.ClientID, channels.FailField(channels.Invalid, "email", "This is our own address. Where shall we write to you?"))
		return nil
	}
	return s.receive(ctx, f.ClientID, channels.Inbound{Type: channels.MessageLeft, Body: f.Body, ReplyTo: f.Email, ClientID: f.ClientID})
}

func (s *session) acknowledge(id string, got channels.Receipt) {
	ack := outFrame{Type: "ack", ClientID: id, ConversationID: got.ConversationID}
	if got.Message != nil {
		ack.Seq = got.Message.Seq
		if visible(got.Message) {
			ack.Message = forVisitor(got.Message)
		}
	}
	s.push(ack)
}

func (s *session) receiveIfOpen(ctx context.Context, in channels.Inbound) error {
	if s.visitor.conversation == 0 {
		s.refuse("", channels.Fail(channels.NotFound, "There is no conversation yet."))
		return nil
	}
	return s.receive(ctx, "", in)
}

// typing tells the agent that the visitor writes, once a second at most. Nothing is stored.
func (s *session) typing() error {
	if s.visitor.conversation == 0 || time.Since(s.typedAt) < time.Second {
		return nil
	}
	s.typedAt = time.Now()
	id := s.visitor.conversation
	return s.chat.bus.Publish(channels.ConversationSubject(id), channels.Event{
		Type: channels.EventTyping, ConversationID: id, Message: &channels.Message{Author: channels.ByContact},
	})
}

func (s *session) refuse(id string, why *channels.Error) {
	s.push(outFrame{Type: "error", ClientID: id, Code: why.Code, Field: why.Field, Message: why.Text})
}

func (s *session) unavailable(id string) {
	s.refuse(id, channels.Fail(channels.Unavailable, "This did not work just now. Send it again."))
}

func tooMany() *channels.Error {
	return channels.Fail(channels.TooMany, "This is faster than we can read. Send it again in a few seconds.")
}

// push gives the writer a frame. It may wait for a slow page: that stops this session alone, and news that finds no
// room meanwhile is read from the rows afterwards.
func (s *session) push(f outFrame) {
	data, err := json.Marshal(f)
	if err != nil { // a frame has nothing that JSON cannot say
		s.log.Error("chat: frame", "type", f.Type, "err", err)
		return
	}
	select {
	case s.out <- data: // also when the server stops: what is committed is acknowledged
		return
	default:
	}
	select {
	case s.out <- data:
	case <-s.gone:
	case <-s.chat.stop:
	}
}

// write sends frames until out is closed. After a failure it only takes them away.
func (s *session) write() {
	defer func() { s.chat.caught(recover()) }()
	failed := false
	for data := range s.out {
		if failed {
			continue
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(writeLimit))
		if err := s.conn.WriteMessage(websocket.TextMessage, data); err != nil {
			failed = true
			close(s.gone)
		}
	}
}

// read hands frames to the loop until the connection ends. A frame that is too large is not read into memory.
func (s *session) read(ctx context.Context) {
	defer func() { s.chat.caught(recover()) }()
	for {
		if !s.ending.Load() {
			_ = s.conn.SetReadDeadline(time.Now().Add(s.chat.silentIn))
			if s.ending.Load() { // it began in between: its short deadline counts
				_ = s.conn.SetReadDeadline(time.Now().Add(farewell))
			}
		}
		kind, r, err := s.conn.NextReader()
		in := incoming{binary: kind == websocket.BinaryMessage, err: err}
		if err == nil {
			in.data, in.err = io.ReadAll(io.LimitReader(r, maxFrame+1))
			in.tooBig = len(in.data) > maxFrame
		}
		select {
		case s.in <- in:
		case <-ctx.Done():
		}
		if in.err != nil {
			return
		}
	}
}
