// Package chat is the website visitor's channel: one WebSocket for each open page, and a small JSON file that tells a
// page whom it is talking to.
//
// The visitor's token is the only key. The server makes it (32 random bytes), the page keeps it and shows it in its
// first frame, never in a URL. The database knows only hashes of it: visitors.token_hash, and another hash as the
// contact's address of kind visitor. The address is stored in the transaction of the visitor's first message, so
// that a process that dies right after that commit has not lost whose message it was (see visitor.go). A page view
// alone stores nothing.
//
// A socket has three goroutines (see session.go): one reads, one writes, one owns the session and does everything
// else. What the visitor says goes up by Config.Receive and is acknowledged after that has returned, which is after
// the commit. What the visitor shall see comes down as rows: the bus says that there is something new and mostly
// carries it along; whoever sees a gap in the sequence reads the rows again.
package chat

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/server/bus"
)

// Config is what main knows. Pool, Bus, Receive and Expect are needed.
type Config struct {
	Pool    *pgxpool.Pool
	Bus     *bus.Bus
	Receive channels.Receive
	Log     *slog.Logger

	Company string // the name that the visitor sees
	Phone   string // shown on the customer page; "" shows none
	Mail    string // the same

	PublicURL string   // where the pages are served; its origin may always connect
	Origins   []string // other websites that embed the widget, like https://shop.example; "*" allows every one

	Calls  bool                                   // visitors may call from the page; needs NodeID
	NodeID string                                 // whose telephone takes them
	ICE    func(user string) []channels.ICEServer // nil: none

	Messages bool // visitors may leave a message that is answered by mail: there is a mailbox

	// Expect says where a waiting conversation stands (1: next; 0: it does not wait, or nobody can tell) and when a person will
	// take it: in half of all cases between low and high from now; ok is false when nothing honest can be said of the time.
	Expect func(ctx context.Context, conversationID int64) (place int, low, high time.Duration, ok bool)

	DialsOut  func() bool                                                                 // whether customers can be called back; nil: no
	CallTimes func(ctx context.Context, conversationID int64) (channels.CallTimes, error) // when; needed with DialsOut

	Limits   Limits        // zero values get the defaults
	Refresh  time.Duration // how often a waiting visitor hears a new place in line; default 10 s
	HelloIn  time.Duration // a socket without a hello ends after this; default 10 s
	SilentIn time.Duration // a socket without any frame ends after this; default 75 s, the widget pings each 25 s at most
}

// Chat is the channel. It is ready after New; Close ends every socket.
type Chat struct {
	pool     *pgxpool.Pool
	bus      *bus.Bus
	receive  channels.Receive
	log      *slog.Logger
	about    about
	origins  map[string]bool
	refresh  time.Duration
	helloIn  time.Duration
	silentIn time.Duration
	limits   *limiter
	calls    bool
	messages bool
	node     string
	ice      func(string) []channels.ICEServer
	expect   func(context.Context, int64) (int, time.Duration, time.Duration, bool)
	dialsOut func() bool
	times    func(context.Context, int64) (channels.CallTimes, error)

	stop chan struct{} // closed by Close

	mu      sync.Mutex
	closing bool
	open    sync.WaitGroup // sockets; Add under mu while not closing
}

// about is /chat/info: only addresses that exist.
type about struct {
	Company string `json:"company"`
	Phone   string `json:"phone,omitempty"`
	Mail    string `json:"mail,omitempty"`
}

// New checks the configuration and starts nothing.
func New(cfg Config) (*Chat, error) {
	if cfg.Pool == nil || cfg.Bus == nil || cfg.Receive == nil || cfg.Expect == nil {
		return nil, errors.New("chat: Pool, Bus, Receive and Expect are needed")
	}
	c := &Chat{
		pool: cfg.Pool, bus: cfg.Bus, receive: cfg.Receive, log: cfg.Log,
		about:    about{Company: cfg.Company, Phone: cfg.Phone, Mail: cfg.Mail},
		origins:  map[string]bool{},
		refresh:  or(cfg.Refresh, 10*time.Second),
		helloIn:  or(cfg.HelloIn, 10*time.Second),
		silentIn: or(cfg.SilentIn, 75*time.Second),
		limits:   newLimiter(cfg.Limits),
		calls:    cfg.Calls,
		messages: cfg.Messages,
		node:     cfg.NodeID,
		ice:      cfg.ICE,
		expect:   cfg.Expect,
		dialsOut: cfg.DialsOut, times: cfg.CallTimes,
		stop: make(chan struct{}),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	allowed := cfg.Origins
	if cfg.PublicURL != "" {
		allowed = append([]string{cfg.PublicURL}, allowed...)
	}
	for _, text := range allowed {
		origin := "*"
		if text != "*" {
			if origin = originOf(text); origin == "" {
				return nil, errors.New("chat: origin " + text + ": want something like https://shop.example")
			}
		}
		c.origins[origin] = true
	}
	return c, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Mount adds the channel's routes: GET /chat/socket and GET /chat/info.
func (c *Chat) Mount(r fiber.Router) {
	r.Get("/chat/info", func(ctx *fiber.Ctx) error {
		ctx.Set(fiber.HeaderCacheControl, "no-cache")
		return ctx.JSON(c.about)
	})
	r.Get("/chat/socket", c.guard, websocket.New(c.serve, websocket.Config{
		ReadBufferSize: 4096, WriteBufferSize: 4096,
		RecoverHandler: func(*websocket.Conn) { c.caught(recover()) },
	}))
}

// guard refuses before the upgrade, where a status can still be sent.
func (c *Chat) guard(ctx *fiber.Ctx) error {
	if !websocket.IsWebSocketUpgrade(ctx) {
		return refuse(ctx, fiber.StatusUpgradeRequired, channels.Fail(channels.Invalid, "This address speaks WebSocket."))
	}
	if !c.allowed(ctx.Get(fiber.HeaderOrigin), ctx.Get(fiber.HeaderHost)) {
		return refuse(ctx, fiber.StatusForbidden, channels.Fail(channels.Forbidden, "This website may not use this chat."))
	}
	if !c.limits.mayOpen(peer(ctx.Locals("peer"), ctx.IP())) {
		return refuse(ctx, fiber.StatusTooManyRequests, channels.Fail(channels.TooMany, "Too many open chats from your network."))
	}
	return ctx.Next()
}

func refuse(ctx *fiber.Ctx, status int, why *channels.Error) error {
	return ctx.Status(status).JSON(why)
}

// allowed tells whether a page of that origin may connect. Browsers always send an Origin with a WebSocket and pages
// cannot forge it; a client without one is no browser, and nothing of ours rides along by itself (no cookie), so there
// is nothing to protect it from. A page of the very host that it asks is our own, by whatever name it was reached.
func (c *Chat) allowed(origin, host string) bool {
	if origin == "" || c.origins["*"] {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, host) || c.origins[originOf(origin)]
}

// originOf is RFC 6454's serialisation, "" when text is not an http address.
func originOf(text string) string {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	return u.Scheme + "://" + host
}

// peer is the visitor's address: what the door behind which we are mounted has found out (it knows the proxies in front
// of us), else who connected.
func peer(known any, connected string) string {
	if ip, ok := known.(string); ok && ip != "" {
		return ip
	}
	return connected
}

// serve owns an upgraded socket until it ends; the connection is not ours after it has returned.
func (c *Chat) serve(conn *websocket.Conn) {
	ip := peer(conn.Locals("peer"), conn.IP())
	if !c.enter(ip) {
		deadline := time.Now().Add(time.Second)
		_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "server stops"), deadline)
		return
	}
	defer c.leave(ip)
	newSession(c, conn.Conn, ip).run()
}

func (c *Chat) enter(ip string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.open.Add(1)
	c.limits.opened(ip)
	return true
}

func (c *Chat) leave(ip string) {
	c.limits.closed(ip)
	c.open.Done()
}

// caught keeps one broken socket from ending the house.
func (c *Chat) caught(x any) {
	if x != nil {
		c.log.Error("chat: panic", "panic", x, "stack", string(debug.Stack()))
	}
}

// Close tells every socket that the server goes away (1001) and waits until the last one has ended. A message that is
// being stored is stored and acknowledged first. It may be called twice.
func (c *Chat) Close() error {
	c.mu.Lock()
	if !c.closing {
		c.closing = true
		close(c.stop)
	}
	c.mu.Unlock()
	c.open.Wait()
	return nil
}

// Send has nothing to do: a stored message reaches the visitor's sockets, on whichever node they are, by the event
// that the switchboard publishes after the commit. A visitor without a socket reads it at the next hello.
func (c *Chat) Send(context.Context, pgx.Tx, *channels.Conversation, *channels.Message) (func(), error) {
	return nil, nil
}

// Join has nothing to do: the state's event tells the visitor who is there.
func (c *Chat) Join(context.Context, *channels.Conversation, int64) error { return nil }

// Release has nothing to do: the state's event tells the visitor.
func (c *Chat) Release(context.Context, *channels.Conversation) error { return nil }

// End has nothing to do: a chat has no live part that must be hung up; the visitor may write again on the same socket.
func (c *Chat) End(context.Context, *channels.Conversation, string) error { return nil }
