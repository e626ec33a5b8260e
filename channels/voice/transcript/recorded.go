package transcript

import (
	"context"
	"errors"
	"time"

	"patchbay/channels/voice/speech"
)

// Recorded sound comes from a file: nobody waits for the next word of it, so it goes to the engine faster than it was spoken,
// though not at once: an Ear keeps 2.5 s of what its engine has not taken and drops the rest.
const (
	frameTime = 20 * time.Millisecond
	faster    = 4
)

// Recorded writes down one side's recorded sound, of 8 or 16 kHz, and returns when its last words have come, or when the engine has
// not told them last after the sound's end, or with ctx. The error says why there may be words missing.
func Recorded(ctx context.Context, cfg Config, rate int, pcm []int16, last time.Duration) error {
	ear, err := cfg.Hearing.Hear(ctx, speech.HearConfig{Language: cfg.Language, Rate: rate})
	if err != nil {
		return err
	}
	t := New(cfg)
	s := &side{ear: ear, end: make(chan struct{}), last: last, fast: true}
	t.wg.Go(func() { t.read(0, s) })
	defer t.wg.Wait()
	defer close(s.end)
	tick := time.NewTicker(frameTime / faster)
	defer tick.Stop()
	frame := rate / int(time.Second/frameTime)
	for len(pcm) > 0 {
		n := min(frame, len(pcm))
		ear.Write(pcm[:n])
		pcm = pcm[n:]
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if n := ear.Dropped(); n > 0 {
		return errSlow
	}
	return nil
}

var errSlow = errors.New("the speech engine is too slow: words are missing")
