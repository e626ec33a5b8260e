package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
	"patchbay/server/db/dbtest"
)

// TestStopsInTwoSteps: asked to stop, the server takes no new calls while the running one goes on with everything it
// needs, and ends with it.
func TestStopsInTwoSteps(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, dbtest.URL(t), append(env, "PATCHBAY_NODE_DRAIN_SECONDS=60")...)
	h.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sip := netip.MustParseAddrPort(h.sip)
	phone := voicetest.NewPhone(t, "+4930777001", netip.MustParseAddr("127.0.0.1"))
	call := phone.Dial(ctx, sip, "100", voicetest.Invite{})
	<-call.RTP.HeardSome()
	h.eventually("the call is known", `select exists (select from calls where state = 'answered')`)
	if err := h.child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait(t, ctx, "a refusal of new calls", func() bool {
		probe := voicetest.NewPhone(t, "+4930777002", netip.MustParseAddr("127.0.0.1")).Invite(sip, "100", voicetest.Invite{})
		res, err := probe.Answer(ctx)
		if err == nil && res.StatusCode == 200 { // the signal was slower: this one must not keep the server
			if err := probe.Bye(ctx); err != nil {
				t.Error(err)
			}
		}
		return err == nil && res.StatusCode == 503
	})
	ready, err := http.Get(h.url + "/readyz")
	if err != nil || ready.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz while stopping: %v, %v", ready, err)
	} else {
		_ = ready.Body.Close()
	}
	call.RTP.Press(ctx, '0') // the flow still works for it
	h.eventually("the caller is in line", `select exists (select from conversations where state = 'waiting')`)
	select {
	case <-h.stopped:
		t.Fatal("the server is gone while a call runs")
	default:
	}
	if err := call.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.stopped:
	case <-ctx.Done():
		t.Fatal("the server goes on without calls")
	}
	h.child = nil
	h.eventually("the call's end is stored", `select exists (select from calls where state = 'ended' and result = 'abandoned')`)
}

// wait looks at something outside the database that nobody announces.
func wait(t *testing.T, ctx context.Context, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, ctx.Err())
		}
	}
}

// cable is the way to the database, which can be cut.
type cable struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// newCable lays a cable and returns the database's address at our end of it.
func newCable(t *testing.T, databaseURL string) (*cable, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{to: u.Host, conns: map[net.Conn]bool{}}
	if c.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.listener.Close(); c.set(true) })
	go func() {
		for {
			conn, err := c.listener.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	u.Host = c.listener.Addr().String()
	return c, u.String()
}

func (c *cable) carry(from net.Conn) {
	to, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = from.Close()
		return
	}
	c.mu.Lock()
	cut := c.cut
	c.conns[from], c.conns[to] = true, true
	c.mu.Unlock()
	if cut {
		c.set(true)
		return
	}
	go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
	_, _ = io.Copy(from, to)
	_ = from.Close()
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for conn := range c.conns {
		if cut {
			_ = conn.Close()
			delete(c.conns, conn)
		}
	}
}

// TestDatabaseAway: with the database gone a running call hears what it heard, its key and its end are kept, and stored
// when the database is back. PATCHBAY_TEST_AWAY=30s makes the outage as long as the promise says.
func TestDatabaseAway(t *testing.T) {
	away := 3 * time.Second
	if d, err := time.ParseDuration(os.Getenv("PATCHBAY_TEST_AWAY")); err == nil {
		away = d
	}
	direct := dbtest.URL(t)
	cable, through := newCable(t, direct)
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, through, env...)
	h.pool.Close()
	h.connect(direct)
	h.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience+away)
	defer cancel()
	dial := func(from string) *voicetest.Call {
		call := voicetest.NewPhone(t, from, netip.MustParseAddr("127.0.0.1")).Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
		<-call.RTP.HeardSome()
		return call
	}
	stays, leaves := dial("+4930777003"), dial("+4930777004")
	h.eventually("two calls", `select count(*) = 2 from calls where state = 'answered'`)

	cable.set(true)
	stays.RTP.Press(ctx, '0')
	if err := leaves.Bye(ctx); err != nil {
		t.Error(err)
	}
	stays.RTP.Forget()
	want := int(away.Seconds() * voicetest.Rate)
	wait(t, ctx, "sound all the while", func() bool { return len(stays.RTP.Heard()) >= want })
	select {
	case <-stays.Ended():
		t.Fatal("the call was cut")
	default:
	}
	if l := voicetest.RMS(voicetest.FromULaw(stays.RTP.Heard())); l < 100 {
		t.Errorf("the caller heard level %.0f: no music", l)
	}

	cable.set(false)
	h.eventually("the wish is stored", `select exists (select from conversations where state = 'waiting')`)
	h.eventually("the end is stored", `select exists (select from calls where from_address = '+4930777004' and state = 'ended' and result = 'completed')`)
	if err := stays.Bye(ctx); err != nil {
		t.Error(err)
	}
	h.eventually("the other end is stored", `select exists (select from calls where from_address = '+4930777003' and state = 'ended')`)
}
