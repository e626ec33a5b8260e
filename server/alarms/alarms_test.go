package alarms

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// TestDelivered: an alarm is sent, signed, again after a failure and never after it was taken.
func TestDelivered(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pool := dbtest.Pool(t)
	type got struct {
		Alarm
		signature, id string
		body          []byte
	}
	posts := make(chan got, 8)
	answers := make(chan int, 8)
	answers <- 500
	answers <- 302 // not followed
	answers <- 204
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := got{signature: r.Header.Get("Patchbay-Signature"), id: r.Header.Get("Patchbay-Alarm")}
		g.body, _ = io.ReadAll(r.Body)
		_ = json.Unmarshal(g.body, &g.Alarm)
		posts <- g
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(<-answers)
	}))
	defer hook.Close()
	b, err := bus.Open(ctx, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := pool.Exec(ctx, `insert into alarms (kind, queue_name, channel, words) values ('promise_broken', 'Service', 'chat', 'late')`); err != nil {
		t.Fatal(err)
	}
	h := New(Config{Pool: pool, Bus: b, URL: hook.URL, Secret: "s3cret", Allow: []netip.Prefix{loopback}, Pause: 20 * time.Millisecond})
	ran := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { ran <- h.Run(running) }()
	for range 3 {
		select {
		case g := <-posts:
			at, _, _ := strings.Cut(strings.TrimPrefix(g.signature, "t="), ",")
			var unix int64
			if err := json.Unmarshal([]byte(at), &unix); err != nil || Sign("s3cret", time.Unix(unix, 0), g.body) != g.signature || Sign("other", time.Unix(unix, 0), g.body) == g.signature {
				t.Errorf("signature %q", g.signature)
			}
			if g.ID != 1 || g.id != "1" || g.Kind != "promise_broken" || g.Queue != "Service" || g.Words != "late" {
				t.Errorf("%+v", g)
			}
		case <-ctx.Done():
			t.Fatal("not sent")
		}
	}
	for taken := false; !taken; {
		if err := pool.QueryRow(ctx, `select delivered_at is not null and attempts = 3 and error = '' from alarms`).Scan(&taken); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if len(posts) != 0 {
		t.Error("sent again after it was taken")
	}
}

// TestInside: no address inside is dialled, however it is written or found; the administrator may name some.
func TestInside(t *testing.T) {
	reached := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]", "127.1", "2130706433", "0x7f000001"} {
		h := New(Config{URL: "http://" + host + ":" + port})
		if err := h.post(t.Context(), Alarm{}); err == nil {
			t.Errorf("%s was told", host)
		}
	}
	if reached {
		t.Error("our own server was reached")
	}
	for ip, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1": true, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "192.0.0.1": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "::": false, "fe80::1": false, "fd00::1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "::ffff:10.0.0.1": false, "ff02::1": false, "2001:db8::1": false} {
		if got := Public(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s public: %v", ip, got)
		}
	}
}
