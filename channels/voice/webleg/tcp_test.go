package webleg

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/voicetest"
)

// TestBrowserByTCP: a network that lets no UDP through.
func TestBrowserByTCP(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	b := voicetest.NewBrowserWith(t, voicetest.BrowserConfig{Networks: []webrtc.NetworkType{webrtc.NetworkTypeTCP4}})
	began := time.Now()
	agent, sdp, err := w.Answer(ctx, b.Offer(ctx), media.PCMU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() })
	if !strings.Contains(sdp, "tcptype passive") {
		t.Fatalf("no TCP in the answer:\n%s", sdp)
	}
	b.Accept(sdp)
	nextEvent(t, ctx, agent, Connected)
	waitChan(t, ctx, b.Up, "the browser's connection")
	t.Logf("connected in %v", time.Since(began))
	agent.Swap(agent.Out()) // an echo
	said, nobody := voicetest.Speech(1, 10*time.Second, 8000), voicetest.Speech(3, 10*time.Second, 8000)
	b.Play(ctx, voicetest.ULaw(said))
	voicetest.Check(t, "by TCP", b.Hears(), said, nobody)
	until(t, ctx, "the browser's report", func() bool { return agent.Stats().RoundTrip > 0 })
	t.Logf("%+v", agent.Stats())
}

// TestTCPStrangers: who connects and says nothing, or nonsense, is gone after a moment and does not keep others out.
func TestTCPStrangers(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	for _, word := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x00\x14" + strings.Repeat("x", 20)} {
		conn, err := net.Dial("tcp", w.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		deadline, _ := ctx.Deadline()
		_ = conn.SetDeadline(deadline)
		if _, err := io.WriteString(conn, word); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := io.ReadAll(conn); errors.Is(err, net.ErrClosed) || time.Since(began) > tcpFirstWord+time.Second {
			t.Errorf("%q: %v after %v", word, err, time.Since(began))
		}
	}
}

// TestCapped: one connection too many is hung up on at once; the end of one makes room; Close leaves none.
func TestCapped(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newCapped(raw, 3, 2)
	accepted := make(chan net.Conn, 8)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	})
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	hungUp := func(c net.Conn) bool {
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		return !(errors.As(err, &timeout) && timeout.Timeout())
	}
	ctx := testCtx(t)
	dial("127.0.0.1")
	first := waitChan(t, ctx, accepted, "first")
	dial("127.0.0.1")
	waitChan(t, ctx, accepted, "second")
	if !hungUp(dial("127.0.0.1")) {
		t.Error("the third of one address")
	}
	last := dial("127.0.0.2")
	waitChan(t, ctx, accepted, "another address")
	if !hungUp(dial("127.0.0.3")) {
		t.Error("the fourth in all")
	}
	_ = first.Close()
	_ = first.Close()
	dial("127.0.0.1")
	waitChan(t, ctx, accepted, "the one after the first has ended")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if !hungUp(last) {
		t.Error("still open after Close")
	}
	accepting.Wait()
}

// TestStalledBrowser: a browser that stops reading its TCP connection costs dropped packets, never a blocked writer.
func TestStalledBrowser(t *testing.T) {
	w, ctx := webRoom(t), testCtx(t)
	between, stall := stallingProxy(t, w.tcp.Addr().String())
	b := voicetest.NewBrowserWith(t, voicetest.BrowserConfig{Networks: []webrtc.NetworkType{webrtc.NetworkTypeTCP4}})
	agent, sdp, err := w.Answer(ctx, b.Offer(ctx), media.PCMU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() })
	b.Accept(strings.ReplaceAll(sdp, fmt.Sprintf(" %d typ host tcptype", w.Addr().Port()), fmt.Sprintf(" %d typ host tcptype", between.Port())))
	nextEvent(t, ctx, agent, Connected)
	stall()
	p, sound := new(media.Packet), make([]byte, media.FrameSamples)
	p.PayloadType = media.TypePCMU
	var longest time.Duration
	for i := range 100_000 { // 33 minutes of sound, 17 MB: more than any socket buffer
		p.Payload, p.Seq, p.TS, p.Arrived = sound, uint16(i), uint32(i)*media.FrameSamples, time.Now()
		agent.Out().Write(p)
		longest = max(longest, time.Since(p.Arrived))
	}
	t.Logf("longest write %v", longest)
	if longest > time.Second {
		t.Errorf("the writer was kept for %v", longest)
	}
}

// stallingProxy passes one connection on to the server, until stall: then it reads nothing more from it.
func stallingProxy(t *testing.T, server string) (at netip.AddrPort, stall func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stalled := make(chan struct{})
	var copying sync.WaitGroup
	copying.Go(func() {
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", server)
		if err != nil {
			_ = from.Close()
			return
		}
		copying.Go(func() { _, _ = io.Copy(to, from); _ = to.Close() })
		b := make([]byte, 4096)
		for {
			select {
			case <-stalled:
				<-t.Context().Done()
				_ = from.Close()
				return
			default:
			}
			n, err := to.Read(b)
			if err != nil {
				_ = from.Close()
				return
			}
			if _, err := from.Write(b[:n]); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); copying.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort(), sync.OnceFunc(func() { close(stalled) })
}
