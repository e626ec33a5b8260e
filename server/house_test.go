package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// The whole house under test: the real server on a real Postgres, with a scripted Ollama, real sockets and phones.

// patience bounds every wait of a test; nothing is timed by it.
const patience = 30 * time.Second

// testHouse is a running server, in this process (run) or as a child that can be killed (start).
type testHouse struct {
	t       testing.TB
	url     string
	sip     string
	link    string
	pool    *pgxpool.Pool
	env     []string
	child   *exec.Cmd
	house   *house // of open
	stop    func()
	stopped chan struct{} // closed when the child has ended
	log     string        // of the child that has ended
}

var (
	deskLine  = regexp.MustCompile(`desk\s+(http\S+)/desk/(?:#link=(\S+))?`)
	phoneLine = regexp.MustCompile(`phone\s+sip:100@(\S+)`)
)

// settings of a test's server: everything on free loopback ports.
func settings(t testing.TB, databaseURL string, more ...string) []string {
	return append([]string{
		"HOME=" + t.TempDir(), "DATABASE_URL=" + databaseURL, "PATCHBAY_DEMO=true", "PATCHBAY_COMPANY_NAME=Nordlicht",
		"PATCHBAY_DATA_DIR=" + t.TempDir(), "PATCHBAY_HTTP_LISTEN=127.0.0.1:0", "PATCHBAY_SIP_LISTEN=127.0.0.1:0", "PATCHBAY_WEBRTC_UDP_PORT=0",
		"PATCHBAY_NODE_NAME=test", "PATCHBAY_NODE_DRAIN_SECONDS=0", "PATCHBAY_LOG_LEVEL=warn",
	}, more...)
}

// open runs a house inside the test's process, so that the race detector and the leak check see it.
func open(t *testing.T, more ...string) *testHouse {
	t.Helper()
	url := dbtest.URL(t)
	h := &testHouse{t: t, env: settings(t, url, more...)}
	_, cfg, err := loadConfig([]string{"serve"}, h.env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	greeted, ended := newGreeting(), make(chan error, 1)
	h.house = &house{cfg: cfg, log: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})), out: greeted.line}
	go func() {
		ended <- h.house.run(ctx)
	}()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the house ended with: %v", err)
		}
	})
	t.Cleanup(h.stop)
	select {
	case <-greeted.done:
	case err := <-ended:
		ended <- nil
		t.Fatalf("the house did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the house did not start in time")
	}
	h.read(greeted.text())
	h.connect(url)
	return h
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	if os.Getenv("PATCHBAY_TEST_LOG") != "" {
		fmt.Fprint(os.Stderr, string(p))
	}
	return len(p), nil
}

func (h *testHouse) connect(url string) {
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		h.t.Fatal(err)
	}
	h.pool = pool
	h.t.Cleanup(pool.Close)
}

func (h *testHouse) read(greeting string) {
	if m := deskLine.FindStringSubmatch(greeting); m != nil {
		h.url, h.link = m[1], m[2]
	} else {
		h.t.Fatalf("no desk address in %q", greeting)
	}
	if m := phoneLine.FindStringSubmatch(greeting); m != nil {
		h.sip = m[1]
	}
}

// greeting collects what the server says until it is up.
type greeting struct {
	mu   sync.Mutex
	b    strings.Builder
	done chan struct{}
	once sync.Once
}

func newGreeting() *greeting { return &greeting{done: make(chan struct{})} }

func (g *greeting) line(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	g.b.WriteString(line + "\n")
	if strings.Contains(line, "responder  ") {
		g.once.Do(func() { close(g.done) })
	}
}

func (g *greeting) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

// serverBinary builds the server once for all tests that need a process.
var serverBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "patchbay-server")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "server")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %v\n%s", err, out)
	}
	return path, nil
})

// process describes a server that runs as a child; start may be called again after kill.
func process(t testing.TB, databaseURL string, more ...string) *testHouse {
	t.Helper()
	h := &testHouse{t: t, env: settings(t, databaseURL, more...)}
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			t.Logf("the last server said at its end:\n%s", h.log[max(0, len(h.log)-8000):])
		}
	})
	h.connect(databaseURL)
	return h
}

func (h *testHouse) start() {
	h.t.Helper()
	path, err := serverBinary()
	if err != nil {
		h.t.Fatal(err)
	}
	h.child = exec.Command(path, "serve")
	h.child.Env = append([]string{"PATH=" + os.Getenv("PATH")}, h.env...)
	h.child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := h.child.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	var stderr bytes.Buffer
	h.child.Stderr = &stderr
	if err := h.child.Start(); err != nil {
		h.t.Fatal(err)
	}
	g, child, stopped := newGreeting(), h.child, make(chan struct{})
	h.stopped = stopped
	go func() {
		defer close(stopped)
		readLines(out, g.line)
		_ = child.Wait()
		h.log = stderr.String()
	}()
	select {
	case <-g.done:
	case <-stopped:
		h.t.Fatalf("the server did not start:\n%s%s", g.text(), stderr.String())
	case <-time.After(patience):
		h.t.Fatalf("the server did not start in time:\n%s", g.text())
	}
	h.read(g.text())
}

func readLines(r io.Reader, line func(string, ...any)) {
	buf := make([]byte, 4096)
	var rest string
	for {
		n, err := r.Read(buf)
		rest += string(buf[:n])
		for {
			i := strings.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			line("%s", rest[:i])
			rest = rest[i+1:]
		}
		if err != nil {
			return
		}
	}
}

// kill ends the child as a power cut would.
func (h *testHouse) kill() {
	if h.child == nil {
		return
	}
	_ = syscall.Kill(-h.child.Process.Pid, syscall.SIGKILL)
	<-h.stopped
	h.child = nil
}

// stacks ends the child and shows where each of its goroutines stood.
func (h *testHouse) stacks() {
	_ = h.child.Process.Signal(syscall.SIGQUIT)
	<-h.stopped
	h.child = nil
	h.t.Log(h.log[max(0, strings.LastIndex(h.log, "SIGQUIT: quit")):])
}

// keepPort keeps the address over restarts, so that clients find the server again.
func (h *testHouse) keepPort() {
	for i, e := range h.env {
		if strings.HasPrefix(e, "PATCHBAY_HTTP_LISTEN=") {
			h.env[i] = "PATCHBAY_HTTP_LISTEN=" + strings.TrimPrefix(h.url, "http://")
		}
	}
}

// ---- a visitor ----

type frame map[string]any

func (f frame) str(key string) string { s, _ := f[key].(string); return s }
func (f frame) num(key string) int64  { n, _ := f[key].(float64); return int64(n) }
func (f frame) sub(key string) frame  { m, _ := f[key].(map[string]any); return m }

// socket is one WebSocket with everything that it has heard, in order.
type socket struct {
	t    testing.TB
	conn *websocket.Conn
	in   chan frame
	kept []frame // heard, and not awaited yet
	mu   sync.Mutex
}

func dial(t testing.TB, url string, header http.Header) (*socket, error) {
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http"), header)
	if err != nil {
		return nil, err
	}
	s := &socket{t: t, conn: conn, in: make(chan frame, 4096)}
	go func() {
		defer close(s.in)
		for {
			var f frame
			if err := conn.ReadJSON(&f); err != nil {
				return
			}
			s.in <- f
		}
	}()
	t.Cleanup(func() { conn.Close() })
	return s, nil
}

func (s *socket) send(f frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.WriteJSON(f)
}

// await returns the first frame that fits among those that no earlier await has taken.
func (s *socket) await(what string, fits func(frame) bool) frame {
	s.t.Helper()
	for i, f := range s.kept {
		if fits(f) {
			s.kept = append(s.kept[:i:i], s.kept[i+1:]...)
			return f
		}
	}
	limit := time.After(patience)
	for {
		select {
		case f, ok := <-s.in:
			if !ok {
				s.t.Fatalf("socket closed while waiting for %s; seen: %s", what, s.seen())
			}
			if fits(f) {
				return f
			}
			s.kept = append(s.kept, f)
		case <-limit:
			s.t.Fatalf("no %s; seen: %s", what, s.seen())
		}
	}
}

// forget drops what nobody has waited for: the next await looks at news only.
func (s *socket) forget() {
	s.kept = nil
	for {
		select {
		case <-s.in:
		default:
			return
		}
	}
}

func (s *socket) seen() string {
	var b strings.Builder
	for _, f := range s.kept {
		line, _ := json.Marshal(f)
		b.WriteString("\n\t" + string(line))
	}
	return b.String()
}

type visitor struct {
	*socket
	token string
	conv  int64
}

func (h *testHouse) visitor(token string, after int64) *visitor {
	h.t.Helper()
	s, err := dial(h.t, h.url+"/chat/socket", nil)
	if err != nil {
		h.t.Fatalf("visitor: %v", err)
	}
	v := &visitor{socket: s, token: token}
	if err := s.send(frame{"type": "hello", "token": token, "after": after}); err != nil {
		h.t.Fatal(err)
	}
	w := s.await("welcome", func(f frame) bool { return f.str("type") == "welcome" })
	v.conv = w.num("conversation_id")
	if t := w.str("token"); t != "" {
		v.token = t
	}
	return v
}

var ids = struct {
	sync.Mutex
	n int
}{}

func clientID() string {
	ids.Lock()
	defer ids.Unlock()
	ids.n++
	return fmt.Sprintf("test-%d-%d", os.Getpid(), ids.n)
}

// says sends words and waits for the acknowledgement.
func (v *visitor) says(words string) {
	v.t.Helper()
	id := clientID()
	if err := v.send(frame{"type": "say", "client_id": id, "body": words}); err != nil {
		v.t.Fatal(err)
	}
	v.await("ack", func(f frame) bool { return f.str("type") == "ack" && f.str("client_id") == id })
}

func (v *visitor) hears(what string, fits func(m frame) bool) frame {
	v.t.Helper()
	return v.await(what, func(f frame) bool { return f.str("type") == "message" && fits(f.sub("message")) }).sub("message")
}

func (v *visitor) state(want channels.State) frame {
	v.t.Helper()
	return v.await("state "+string(want), func(f frame) bool { return f.str("type") == "state" && f.str("state") == string(want) })
}

func by(author string) func(frame) bool {
	return func(m frame) bool { return m.str("author") == author && m.str("kind") == "text" }
}

func event(code string) func(frame) bool {
	return func(m frame) bool {
		return m.str("kind") == "event" && (m.str("code") == code || m.sub("data").str("code") == code)
	}
}

// ---- an agent ----

type agentClient struct {
	*socket
	t    testing.TB
	h    *testHouse
	http *http.Client
	id   int64
}

// agent signs in by the start's link, opens the live socket and becomes available.
func (h *testHouse) agent() *agentClient {
	h.t.Helper()
	a := h.signIn(h.link)
	a.live()
	a.available()
	return a
}

func (h *testHouse) signIn(link string) *agentClient {
	h.t.Helper()
	jar, _ := cookiejar.New(nil)
	a := &agentClient{t: h.t, h: h, http: &http.Client{Jar: jar, Timeout: patience}}
	var me frame
	a.call("POST", "/api/sign-in/link", frame{"token": link}, &me)
	a.id = me.num("id")
	return a
}

func (a *agentClient) live() {
	a.t.Helper()
	u, _ := http.NewRequest("GET", a.h.url, nil)
	header := http.Header{"Origin": {a.h.url}}
	for _, c := range a.http.Jar.Cookies(u.URL) {
		header.Add("Cookie", c.String())
	}
	s, err := dial(a.t, a.h.url+"/api/live", header)
	if err != nil {
		a.t.Fatalf("live socket: %v", err)
	}
	a.socket = s
	s.await("hello", func(f frame) bool { return f.str("type") == "hello" })
}

func (a *agentClient) available() {
	a.t.Helper()
	a.call("PUT", "/api/me/presence", frame{"presence": "available"}, nil)
}

// try does a request and returns status and body.
func (a *agentClient) try(method, path string, body any) (int, []byte) {
	a.t.Helper()
	var r io.Reader
	if body != nil {
		b, _ := json.Marshal(body)
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, a.h.url+path, r)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", a.h.url)
	resp, err := a.http.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, b
}

// quiet is try for a server that may die under it.
func (a *agentClient) quiet(method, path string, body any) (int, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequest(method, a.h.url+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", a.h.url)
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

func (a *agentClient) call(method, path string, body, into any) {
	a.t.Helper()
	status, b := a.try(method, path, body)
	if status/100 != 2 {
		a.t.Fatalf("%s %s: %d %s", method, path, status, b)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
}

func (a *agentClient) offer() frame {
	a.t.Helper()
	return a.await("offer", func(f frame) bool { return f.str("type") == "offer" }).sub("offer")
}

func (a *agentClient) accept(offer frame) {
	a.t.Helper()
	a.call("POST", fmt.Sprintf("/api/offers/%d/accept", offer.num("id")), nil, nil)
}

// picksUp accepts a call and connects a browser to it.
func (a *agentClient) picksUp(ctx context.Context, offer frame) *voicetest.Browser {
	a.t.Helper()
	a.accept(offer)
	id := one[int64](a.h, `select max(id) from calls where conversation_id = $1`, offer.num("conversation_id"))
	tab := voicetest.NewBrowser(a.t)
	if err := a.send(frame{"type": "connect", "ref": fmt.Sprint("connect-", id), "call_id": id, "sdp": tab.Offer(ctx)}); err != nil {
		a.t.Fatal(err)
	}
	tab.Accept(a.await("the call's answer", func(f frame) bool { return f.str("type") == "call_answer" && f.num("call_id") == id }).str("sdp"))
	return tab
}

func (a *agentClient) replies(conv int64, words string) {
	a.t.Helper()
	a.call("POST", fmt.Sprintf("/api/conversations/%d/messages", conv), frame{"client_id": clientID(), "body": words}, nil)
}

// one reads a single value.
func one[T any](h *testHouse, sql string, args ...any) (v T) {
	h.t.Helper()
	if err := h.pool.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		h.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// eventually waits for a row that no socket announces, looking when anything happens: the bound is patience.
func (h *testHouse) eventually(what, sql string, args ...any) {
	h.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		var ok bool
		if err := h.pool.QueryRow(context.Background(), sql, args...).Scan(&ok); err != nil {
			h.t.Fatalf("%s: %v", sql, err)
		}
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			h.t.Fatalf("never: %s", what)
		}
	}
}
