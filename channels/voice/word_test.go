package voice

import (
	"bytes"
	"context"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
)

// TestFirstWord: two legs that are joined are no word, nor is a click, nor what the agent says while the customer is on hold;
// the first words that the customer hears are told, once, with whose they are. After a new join it begins anew.
func TestFirstWord(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ctx := testCtx(t)
	c, b := h.bridgedCall(ctx, voicetest.Invite{})
	silence := func(d time.Duration) []byte { return bytes.Repeat([]byte{0xff}, int(d.Seconds()*voicetest.Rate)) }
	_, words := speech(31)
	click := append(silence(300*time.Millisecond), words[len(words)/4:len(words)/4+480]...) // 60 ms
	play := func(sound []byte) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(len(sound))*time.Second/voicetest.Rate)
		defer cancel()
		b.Play(ctx, sound)
	}
	none := func(what string) {
		t.Helper()
		for {
			select {
			case in := <-h.inbound:
				if in.Type == channels.Spoke {
					t.Errorf("%s is taken for a word", what)
				}
			default:
				return
			}
		}
	}
	play(append(click, silence(500*time.Millisecond)...))
	none("a join and a click")
	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7, On: true})
	play(words[:3*voicetest.Rate])
	none("speech while the customer hears music")
	h.must(ctx, channels.CallSignal{Type: "hold", CallID: 1, AgentID: 7})
	go b.Play(ctx, words)
	if in := h.expect(ctx, channels.Spoke); in.AgentID != 7 || in.ConversationID != 1001 || in.CallID != 1 {
		t.Errorf("spoke: %+v", in)
	}
	if l := voicetest.RMS(hear(t, ctx, c.RTP, time.Second)); l < 100 {
		t.Errorf("the customer hears level %.0f", l)
	}
	none("what comes after the first word")
	fresh := h.connect(ctx, 1, 7)
	h.moved(ctx, channels.CallBridged)
	go fresh.Play(ctx, words)
	h.expect(ctx, channels.Spoke)
	if err := c.Bye(ctx); err != nil {
		t.Fatal(err)
	}
}
