package voicetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"patchbay/channels/voice/media"
)

// Talker is a telephone whose owner speaks and listens: words become sound and sound words by what the test brings
// (speechtest's code, or real engines).
type Talker struct {
	*Call
	T          testing.TB
	Ctx        context.Context
	Voice      func(text string, rate int) []int16
	Understand func(pcm []int16, rate int) string

	at    int // samples understood
	words []string
}

// Says speaks words, in the time that they take, and is silent for a moment.
func (c *Talker) Says(text string) {
	c.Plays(append(c.Voice(text, Rate), make([]int16, 3*Rate/10)...))
}

// Plays sends any sound.
func (c *Talker) Plays(pcm []int16) { c.RTP.Play(c.Ctx, ULaw(pcm)) }

// Heard is what was heard since Forget, in words: what is behind the last gap is not understood yet.
func (c *Talker) Heard() string {
	sound, _ := c.RTP.Joined()
	end := len(sound)
	const gap = Rate / 100
	for end -= end % gap; end > c.at && RMS(sound[end-gap:end]) > 50; end -= gap {
	}
	if end > c.at {
		c.words = append(c.words, strings.Fields(c.Understand(sound[c.at:end], Rate))...)
		c.at = end
	}
	return strings.Join(c.words, " ")
}

// Forget begins anew.
func (c *Talker) Forget() {
	c.RTP.Forget()
	c.at, c.words = 0, nil
}

// Hears waits until these words were heard.
func (c *Talker) Hears(text string) {
	c.T.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(c.Heard(), text) {
		select {
		case <-tick.C:
		case <-c.Ctx.Done():
			c.T.Fatalf("the caller heard %q, want %q", c.Heard(), text)
		}
	}
}

// Joined is what was heard without the pauses that a starved machine puts between packets, and how many there were: what
// is compared is what was said, not when.
func (r *RTP) Joined() (pcm []int16, pauses int) {
	sound, headers := r.Heard(), r.Headers()
	var out []byte
	for i, h := range headers {
		if h.PayloadType != media.TypePCMU && h.PayloadType != media.TypePCMA {
			continue
		}
		if i > 0 && h.TS-headers[i-1].TS != media.FrameSamples {
			pauses++
		}
		at := int(int32(h.TS - headers[0].TS))
		if at >= 0 && at+h.Size <= len(sound) {
			out = append(out, sound[at:at+h.Size]...)
		}
	}
	return FromULaw(out), pauses
}
