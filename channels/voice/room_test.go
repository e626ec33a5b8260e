package voice

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/server/db/dbtest"
)

// TestJoinAndEnd: the switchboard's two verbs find the conversation's live call by its row, on whichever node it runs.
func TestJoinAndEnd(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	h := newHouse(t, func(c *Config) { c.Pool = pool })
	ctx := testCtx(t)
	var conversation int64
	err := pool.QueryRow(ctx, `
		with c as (insert into contacts (name) values ('Ana') returning id),
		     q as (insert into queues (name) values ('voice test') returning id),
		     v as (insert into conversations (contact_id, queue_id, state, channel) select c.id, q.id, 'bot', 'voice' from c, q returning id)
		insert into calls (conversation_id, direction, from_address, to_address, state)
		select v.id, 'in', 'a', 'b', s from v, unnest(array['ended', 'answered']) s order by s
		returning conversation_id`).Scan(&conversation)
	if err != nil {
		t.Fatal(err)
	}
	var live int64
	if err := pool.QueryRow(ctx, `select id from calls where state = 'answered'`).Scan(&live); err != nil {
		t.Fatal(err)
	}
	h.script(func(_ context.Context, in channels.Inbound) (channels.Receipt, error) {
		h.inbound <- in
		return channels.Receipt{ConversationID: conversation, CallID: live}, nil
	})
	conv := &channels.Conversation{ID: conversation}
	if err := h.voice.Join(ctx, conv, 7); err != nil { // the row is there, the call is not: nothing to command
		t.Fatal(err)
	}
	c := h.dial(ctx, voicetest.Invite{})
	frames := h.agentFrames(7)
	if err := h.voice.Join(ctx, conv, 7); err != nil {
		t.Fatal(err)
	}
	if f := waitChan(t, ctx, frames, "frame"); !strings.Contains(f, `"connecting"`) {
		t.Errorf("frame %s", f)
	}
	if after, err := h.voice.Send(ctx, nil, conv, &channels.Message{Body: "a note", Private: true}); after != nil || err != nil {
		t.Errorf("a note is sent: %v", err)
	}
	if err := h.voice.End(ctx, conv, "closed"); err != nil {
		t.Fatal(err)
	}
	waitChan(t, ctx, c.Ended(), "BYE")
	if in := h.expect(ctx, channels.CallEndedIn); in.Reason != "closed" || in.CallID != live {
		t.Errorf("ended: %+v", in)
	}
}

// TestStopsInTwoSteps: no new calls, the running one goes on, and is hung up when its time is over.
func TestStopsInTwoSteps(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c := h.dial(ctx, voicetest.Invite{})
	friend := h.phone()
	patience, lose := context.WithCancel(ctx)
	running := make(chan int, 1)
	stopped := make(chan struct{})
	go func() {
		h.voice.Drain(patience, func(calls int) { running <- calls })
		h.stop()
		close(stopped)
	}()
	if n := waitChan(t, ctx, running, "draining"); n != 1 || !h.voice.Draining() {
		t.Errorf("%d calls running, draining %v", n, h.voice.Draining())
	}
	res, err := friend.Invite(h.voice.Addr(), number, voicetest.Invite{}).Answer(ctx)
	if err != nil || res.StatusCode != 503 {
		t.Errorf("new call while closing: %v %v", res, err)
	}
	if code, err := friend.Options(ctx, h.voice.Addr()); err != nil || code != 503 {
		t.Errorf("OPTIONS while closing: %d %v", code, err)
	}
	select {
	case <-c.Ended():
		t.Error("the running call was cut while the house was patient")
	default:
	}
	lose()
	waitChan(t, ctx, c.Ended(), "BYE")
	if in := h.expect(ctx, channels.CallEndedIn); in.Reason != "server stopped" {
		t.Errorf("ended: %+v", in)
	}
	waitChan(t, ctx, stopped, "stopped")

	patient := newHouse(t, nil) // the last call's own end ends the waiting
	c = patient.dial(ctx, voicetest.Invite{})
	over := make(chan struct{})
	go func() { patient.voice.Drain(ctx, func(int) {}); close(over) }()
	until(t, ctx, "draining", patient.voice.Draining)
	if err := c.Bye(ctx); err != nil {
		t.Error(err)
	}
	waitChan(t, ctx, over, "drained")
}

// TestPortInUse: New says so at the start.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).Port
	for name, cfg := range map[string]Config{
		"sip":           {Listen: taken.LocalAddr().String()},
		"webrtc":        {Listen: "127.0.0.1:0", WebRTCPort: port},
		"address":       {Listen: "nowhere"},
		"external":      {Listen: "127.0.0.1:0", ExternalIP: "me"},
		"external web":  {Listen: "127.0.0.1:0", WebRTCExternalIP: "me"},
		"prompt":        {Listen: "127.0.0.1:0", Keys: map[string]string{"1": "nonsense"}},
		"key":           {Listen: "127.0.0.1:0", Keys: map[string]string{"0": promptHours}},
		"key of length": {Listen: "127.0.0.1:0", Keys: map[string]string{"12": promptHours}},
	} {
		if v, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
			v.Close()
		}
	}
	v, err := New(Config{Listen: "127.0.0.1:0"}) // never run
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Close(), v.Close()); err != nil {
		t.Error(err)
	}
}

// TestFull: one call more than allowed is refused.
func TestFull(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.MaxCalls = 1 })
	ctx := testCtx(t)
	h.dial(ctx, voicetest.Invite{})
	if res, err := h.phone().Invite(h.voice.Addr(), number, voicetest.Invite{}).Answer(ctx); err != nil || res.StatusCode != 503 {
		t.Errorf("%v %v, want 503", res, err)
	}
}

// TestNoMediaPort: the range is used up.
func TestNoMediaPort(t *testing.T) {
	t.Parallel()
	port := 0
	for { // a pair that is free now
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port = c.LocalAddr().(*net.UDPAddr).Port
		c.Close()
		if port%2 == 0 {
			break
		}
	}
	h := newHouse(t, func(c *Config) { c.RTPMin, c.RTPMax = port, port+1 })
	ctx := testCtx(t)
	h.dial(ctx, voicetest.Invite{})
	if res, err := h.phone().Invite(h.voice.Addr(), number, voicetest.Invite{}).Answer(ctx); err != nil || res.StatusCode != 503 {
		t.Errorf("%v %v, want 503", res, err)
	}
}

// TestPanicEndsOneCall: a call whose goroutine panics hangs up and is reported; the others do not notice.
func TestPanicEndsOneCall(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	other := h.dial(ctx, voicetest.Invite{})
	h.voice.mu.Lock()
	before := maps.Clone(h.voice.calls)
	h.voice.mu.Unlock()
	c := h.phone().Dial(ctx, h.voice.Addr(), number, voicetest.Invite{})
	h.expect(ctx, channels.CallStarted)
	h.voice.mu.Lock()
	for x := range h.voice.calls {
		if !before[x] { // a call's own fields belong to its goroutine
			x.post(told{}) // nothing was asked: reads an empty queue
		}
	}
	h.voice.mu.Unlock()
	waitChan(t, ctx, c.Ended(), "BYE")
	if in := h.expect(ctx, channels.CallEndedIn); in.Result != failed || in.CallID != 2 {
		t.Errorf("ended: %+v", in)
	}
	if err := other.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	if n := h.voice.panics.Swap(0); n != 1 {
		t.Errorf("%d panics", n)
	}
}

// TestAnyAddress: listening on all addresses, the call is told the one that faces it, and our BYE leaves from our port.
func TestAnyAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Listen = "0.0.0.0:0" })
	ctx := testCtx(t)
	to := netip.AddrPortFrom(loopback, h.voice.Addr().Port())
	c := h.phone().Invite(to, number, voicetest.Invite{})
	res, err := c.Answer(ctx)
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(res.Body()), "c=IN IP4 127.0.0.1\r\n") || res.Contact().Address.HostPort() != to.String() {
		t.Fatalf("%v %v", res, err)
	}
	h.expect(ctx, channels.CallStarted)
	waitChan(t, ctx, c.RTP.HeardSome(), "greeting")
	c.RTP.Press(ctx, '0')
	h.expect(ctx, channels.Wish)
	before := h.voice.sip.Connections("udp")
	h.must(ctx, channels.CallSignal{Type: "end", CallID: 1, Reason: "closed"})
	waitChan(t, ctx, c.Ended(), "BYE")
	if n := h.voice.sip.Connections("udp"); n != before {
		t.Errorf("%d connections, %d before: the BYE left from another socket", n, before)
	}
	h.expect(ctx, channels.CallEndedIn)
}
