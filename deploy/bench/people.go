package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
)

// news is a frame from the server; which fields count depends on Type. A visitor's error has its words in Message.
type news struct {
	Type           string          `json:"type"`
	Ref            string          `json:"ref"`
	ClientID       string          `json:"client_id"`
	Token          string          `json:"token"`
	ConversationID int64           `json:"conversation_id"`
	Call           *liveCall       `json:"call"`
	CallID         int64           `json:"call_id"`
	Seq            int64           `json:"seq"`
	State          string          `json:"state"`
	Text           string          `json:"text"`
	SDP            string          `json:"sdp"`
	Code           string          `json:"code"`
	On             bool            `json:"on"`
	Message        json.RawMessage `json:"message"`
	Error          json.RawMessage `json:"error"`
	Offer          struct {
		ID             int64  `json:"id"`
		ConversationID int64  `json:"conversation_id"`
		ContactName    string `json:"contact_name"`
	} `json:"offer"`

	at time.Time // when it was read
}

// liveCall is the state of an agent's call.
type liveCall struct {
	CallID int64  `json:"call_id"`
	State  string `json:"state"`
	From   string `json:"from"`
}

// said is the message of a message frame.
type said struct {
	Seq      int64  `json:"seq"`
	Author   string `json:"author"`
	Kind     string `json:"kind"`
	Body     string `json:"body"`
	Mode     string `json:"mode"`
	Code     string `json:"code"`
	ClientID string `json:"client_id"`
}

func (n *news) said() (m said) {
	_ = json.Unmarshal(n.Message, &m) // an error frame holds words instead
	return m
}

// socket is one WebSocket. What it hears goes to hear when that is set, else in line for await.
type socket struct {
	conn   *websocket.Conn
	in     chan *news
	hear   atomic.Pointer[func(*news)]
	mu     sync.Mutex // one writer at a time
	closed chan struct{}
}

const pingEach = 20 * time.Second

func dial(ctx context.Context, address string, header http.Header, from net.Addr) (*socket, error) {
	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second, NetDialContext: (&net.Dialer{LocalAddr: from}).DialContext}
	conn, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(address, "http"), header)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: status %d", err, resp.StatusCode)
		}
		return nil, fmt.Errorf("socket %s: %w", address, err)
	}
	s := &socket{conn: conn, in: make(chan *news, 256), closed: make(chan struct{})}
	go s.read()
	go s.ping()
	return s, nil
}

func (s *socket) read() {
	defer close(s.closed)
	for {
		_, data, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		n := &news{at: time.Now()}
		if json.Unmarshal(data, n) != nil {
			continue
		}
		if f := s.hear.Load(); f != nil {
			(*f)(n)
			continue
		}
		for sent := false; !sent; { // the newest counts: nobody awaits what is old
			select {
			case s.in <- n:
				sent = true
			default:
				select {
				case <-s.in:
				default:
				}
			}
		}
	}
}

func (s *socket) ping() {
	tick := time.NewTicker(pingEach)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = s.send(map[string]any{"type": "ping"})
		case <-s.closed:
			return
		}
	}
}

func (s *socket) send(frame map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.WriteJSON(frame)
}

const patience = 15 * time.Second

// await returns the next frame that fits and drops those before it.
func (s *socket) await(ctx context.Context, what string, fits func(*news) bool) (*news, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	var seen []string
	for {
		select {
		case n := <-s.in:
			if fits(n) {
				return n, nil
			}
			seen = append(seen, n.Type+" "+n.State+n.said().Code+n.Code)
		case <-s.closed:
			return nil, fmt.Errorf("the socket was closed while waiting for %s", what)
		case <-limit.C:
			return nil, fmt.Errorf("no %s in %s; heard instead: %s", what, patience, strings.Join(seen, ", "))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func ofType(kind string) func(*news) bool { return func(n *news) bool { return n.Type == kind } }

// visitor is a customer on the web page.
type visitor struct {
	*socket
	conversation int64
}

// visitor opens the page. On loopback each visitor comes from an address of its own, as outside; the server's limits
// per address stay as they are.
func (b *bench) visitor(ctx context.Context) (*visitor, error) {
	b.people++
	var from net.Addr
	if b.loopback() {
		from = &net.TCPAddr{IP: net.IPv4(127, 16+byte(b.people>>14), byte(b.people>>7)&127, 1+byte(b.people)&127)}
	}
	s, err := dial(ctx, b.url+"/chat/socket", nil, from)
	if err != nil {
		return nil, err
	}
	if err := s.send(map[string]any{"type": "hello", "token": "", "after": 0}); err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, "welcome", ofType("welcome")); err != nil {
		return nil, err
	}
	return &visitor{socket: s}, nil
}

func (b *bench) loopback() bool {
	u, err := url.Parse(b.url)
	return err == nil && u.Hostname() == "127.0.0.1"
}

func (v *visitor) leave() {
	if v != nil {
		_ = v.conn.Close()
	}
}

// clientID is the sender's own mark of a message, found again in the database.
func (b *bench) clientID(n int) string { return fmt.Sprintf("%s-%d", b.run, n) }

// agent is a signed-in person with one tab; socket is nil while they rest.
type agent struct {
	*socket
	id       int64
	capacity int // 0: not one of ours
	base     string
	http     *http.Client
}

func (b *bench) signIn(ctx context.Context, link string) (*agent, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	a := &agent{base: b.url, http: &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	var me struct{ ID int64 }
	if err := a.call(ctx, "POST", "/api/sign-in/link", map[string]any{"token": link}, &me); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	a.id = me.ID
	return a, nil
}

// work opens the tab and makes the agent available.
func (a *agent) work(ctx context.Context) (err error) {
	u, err := url.Parse(a.base)
	if err != nil {
		return err
	}
	header := http.Header{"Origin": {a.base}}
	for _, c := range a.http.Jar.Cookies(u) {
		header.Add("Cookie", c.String())
	}
	if a.socket, err = dial(ctx, a.base+"/api/live", header, nil); err != nil {
		return err
	}
	if _, err := a.await(ctx, "hello", ofType("hello")); err != nil {
		return err
	}
	return a.presence(ctx, "available")
}

// answers makes hear take all that the tab hears. A tab that was too slow loses frames and is told to read again: then
// what rings comes by the API, as on a real desk.
func (a *agent) answers(ctx context.Context, hear func(*news)) {
	all := func(n *news) {
		if n.Type != "resync" {
			hear(n)
			return
		}
		go func() {
			me := &news{at: time.Now()} // a profile names what rings and the call as the frames do
			if a.call(ctx, "GET", "/api/me", nil, me) != nil {
				return
			}
			if me.Type = "offer"; me.Offer.ID != 0 {
				hear(me)
			}
			if me.Type = "call"; me.Call != nil {
				hear(me)
			}
		}()
	}
	a.hear.Store(&all)
}

func (a *agent) presence(ctx context.Context, p string) error {
	return a.call(ctx, "PUT", "/api/me/presence", map[string]any{"presence": p}, nil)
}

// rest closes the tab of an agent who is not needed for now.
func (a *agent) rest(ctx context.Context) error {
	err := a.presence(ctx, "offline")
	a.leave()
	return err
}

func (a *agent) leave() {
	if a.socket != nil {
		_ = a.conn.Close()
		<-a.closed
		a.socket = nil
	}
}

// call asks the API; anything but a 2xx is an error with the server's words.
func (a *agent) call(ctx context.Context, method, path string, body, into any) error {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", a.base)
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	case into != nil:
		return json.Unmarshal(answer, into)
	}
	return nil
}

func (a *agent) accept(ctx context.Context, offer int64) error {
	return a.call(ctx, "POST", fmt.Sprintf("/api/offers/%d/accept", offer), nil, nil)
}

func (a *agent) reply(ctx context.Context, conversation int64, clientID, words string) error {
	return a.call(ctx, "POST", fmt.Sprintf("/api/conversations/%d/messages", conversation), map[string]any{"client_id": clientID, "body": words}, nil)
}

// finish ends a conversation and its wrap-up.
func (a *agent) finish(ctx context.Context, conversation int64) error {
	return errors.Join(a.call(ctx, "POST", fmt.Sprintf("/api/conversations/%d/end", conversation), nil, nil), a.close(ctx, conversation))
}

func (a *agent) close(ctx context.Context, conversation int64) error {
	return a.call(ctx, "POST", fmt.Sprintf("/api/conversations/%d/close", conversation), map[string]any{"disposition": "solved"}, nil)
}
