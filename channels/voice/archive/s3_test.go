package archive

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"patchbay/channels"
)

// s3rver is a real S3 server (npm s3rver 3.7.1; it knows its key, but does not verify V4 signatures), found in the PATH or named by PATCHBAY_TEST_S3RVER.
func s3rver(t *testing.T) (endpoint string) {
	t.Helper()
	program := os.Getenv("PATCHBAY_TEST_S3RVER")
	if program == "" {
		var err error
		if program, err = exec.LookPath("s3rver"); err != nil && os.Getenv("PATCHBAY_CI") == "1" {
			t.Fatal("s3rver is not installed (deploy/test.sh does it)")
		} else if err != nil {
			t.Skip("SKIP: no S3 server on this box (npm install s3rver, or PATCHBAY_TEST_S3RVER)")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	_, port, _ := net.SplitHostPort(at)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-d", t.TempDir(), "-a", "127.0.0.1", "-p", port, "--configure-bucket", "calls", "--silent")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(30 * time.Second); ; {
		if conn, err := net.Dial("tcp", at); err == nil {
			_ = conn.Close()
			return "http://" + at
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the S3 server did not start")
		}
	}
}

// flaky stands before an S3 server and breaks what it is told to.
type flaky struct {
	refuse  atomic.Int64 // so many PUTs get 503
	corrupt atomic.Bool  // what is stored is not what was sent
	puts    atomic.Int64
	gets    atomic.Int64
}

func (f *flaky) before(t *testing.T, endpoint string) string {
	t.Helper()
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // signed
	}, ModifyResponse: func(r *http.Response) error {
		if r.Request.Method == http.MethodGet && f.corrupt.Load() {
			b, err := io.ReadAll(r.Body)
			if len(b) > 100 {
				b[99] ^= 1
			}
			r.Body = io.NopCloser(strings.NewReader(string(b)))
			return err
		}
		return nil
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut:
			f.puts.Add(1)
			if f.refuse.Add(-1) >= 0 {
				w.WriteHeader(http.StatusForbidden) // the client itself repeats a 503 with pauses of its own
				return
			}
		case http.MethodGet:
			f.gets.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// logs of what the alarm says is read while it grows.
func (k *kit) alarmed(what string) {
	k.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !strings.Contains(k.said.String(), what); {
		select {
		case <-tick.C:
		case <-limit:
			k.t.Fatalf("no alarm %q: %s", what, k.said)
		}
	}
}

// TestS3: uploaded after the call, tried again, proven before the local file goes, played, deleted; a restart goes on
// where it was.
func TestS3(t *testing.T) {
	var f flaky
	endpoint := f.before(t, s3rver(t))
	k := newKit(t)
	withS3 := func(c *Config) {
		c.S3 = S3{Endpoint: endpoint, Bucket: "calls", Region: "us-east-1", Key: "S3RVER", Secret: "S3RVER"}
	}
	f.refuse.Store(3)
	a := k.open("n1/x", "n1", withS3)
	stop := k.run(a)
	place := k.recorded(a)
	local := filepath.Join(k.dir, place)
	sound := func(a *Archive, id int64) []byte {
		t.Helper()
		b, err := read(t, a, id, 0, one[int64](k, `select bytes from recordings where id = $1`, id))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := sound(a, 1)
	k.until("uploaded", `select node_id is null and place <> '' from recordings`)
	if n := f.puts.Load(); n < 4 {
		t.Errorf("%d attempts, three were refused", n)
	}
	gone := func(path string) func() bool {
		return func() bool { _, err := os.Stat(path); return errors.Is(err, os.ErrNotExist) }
	}
	waitFor(t, "the local file goes", gone(local))
	f.gets.Store(0)
	if after := sound(a, 1); string(after) != string(before) || f.gets.Load() == 0 {
		t.Errorf("%d bytes back, %d were there; %d reads", len(after), len(before), f.gets.Load())
	}
	if part, err := read(t, a, 1, 44, 1000); err != nil || string(part) != string(before[44:1044]) {
		t.Errorf("a part: %d bytes, %v", len(part), err)
	}

	f.corrupt.Store(true)
	second := filepath.Join(k.dir, k.recorded(a))
	k.alarmed("the store holds other bytes")
	if gone(second)() || one[bool](k, `select node_id is null from recordings where id = 2`) {
		t.Error("a broken upload took the local file")
	}
	stop()
	f.corrupt.Store(false)
	b := k.open("n1/y", "n1", withS3) // restarted: what waits goes on
	k.run(b)
	k.until("uploaded after the restart", `select bool_and(node_id is null) from recordings`)
	waitFor(t, "its local file goes", gone(second))

	if err := b.Delete(t.Context(), 1, "Mira"); err != nil {
		t.Fatal(err)
	}
	k.until("deleted there", `select place = '' from recordings where id = 1`)
	if _, err := b.store.get(t.Context(), place, 0, 10); err == nil {
		t.Error("the object is still there")
	}
	k.exec(`update recordings set place = 'never/was.wav' where id = 2`)
	if _, err := read(t, b, 2, 0, 10); channels.CodeOf(err) != channels.Unavailable {
		t.Errorf("an object that is gone: %v", err)
	}
}

// TestS3Refused: a key that the store does not know uploads nothing, keeps everything and says so.
func TestS3Refused(t *testing.T) {
	endpoint := s3rver(t)
	k := newKit(t)
	a := k.open("n1/x", "n1", func(c *Config) {
		c.S3 = S3{Endpoint: endpoint, Bucket: "calls", Region: "us-east-1", Key: "NOBODY", Secret: "guessed"}
	})
	k.run(a)
	place := k.recorded(a)
	k.alarmed("recordings: upload, trying again")
	if _, err := os.Stat(filepath.Join(k.dir, place)); err != nil {
		t.Error(err)
	}
	if strings.Contains(k.said.String(), "guessed") {
		t.Error("the secret stands in the log")
	}
}

// TestUploadedJustBeforeTheEnd: the process died between the row and the file.
func TestUploadedJustBeforeTheEnd(t *testing.T) {
	k := newKit(t)
	a := k.open("n1/x", "n1", func(c *Config) {
		c.S3 = S3{Endpoint: "http://127.0.0.1:9", Bucket: "calls", Region: "us-east-1", Key: "k", Secret: "s"}
	})
	var once sync.Once
	for _, name := range []string{"2026/uploaded.wav", "2026/waits.wav", "2026/unknown.wav"} {
		path := filepath.Join(k.dir, name)
		once.Do(func() { _ = os.MkdirAll(filepath.Dir(path), 0o700) })
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.exec(`insert into recordings (call_id, conversation_id, node_id, place, state) values (1, 1, null, '2026/uploaded.wav', 'done'), (1, 1, 'n1/x', '2026/waits.wav', 'done')`)
	if err := a.sweepUploaded(context.Background()); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(k.dir, "2026", "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(20 * time.Second); !cond(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal(what + ": not in time")
		}
	}
}
