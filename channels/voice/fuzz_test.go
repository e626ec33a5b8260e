package voice

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"patchbay/channels/voice/voicetest"
)

// TestGarbage: noise, half messages and mutilated good ones beside a good peer, who is answered all the time.
func TestGarbage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	bad, good := h.phone(), h.phone()
	c := h.dial(ctx, voicetest.Invite{})
	files, err := filepath.Glob("edge/testdata/rfc4475/*.dat")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond) // 500 a second
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			b, err := os.ReadFile(files[r.IntN(len(files))])
			if err != nil || len(b) == 0 {
				continue
			}
			switch r.IntN(4) {
			case 0:
				b = b[:r.IntN(len(b))]
			case 1:
				for range 1 + r.IntN(20) {
					b[r.IntN(len(b))] = byte(r.Uint32())
				}
			case 2:
				b = make([]byte, r.IntN(2000))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
			}
			bad.SendRaw(h.voice.Addr(), b)
		}
	}()
	for range 200 {
		if code, err := good.Options(ctx, h.voice.Addr()); err != nil || code != 200 {
			t.Fatalf("OPTIONS: %d %v", code, err)
		}
	}
	if l := voicetest.RMS(hear(t, ctx, c.RTP, 3*time.Second)); l < 200 {
		t.Errorf("the caller hears level %.0f", l)
	}
	close(stop)
	<-done
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
}
