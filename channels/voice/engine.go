package voice

import (
	"context"
	"fmt"

	"patchbay/channels/voice/doctor"
	voices "patchbay/channels/voice/speech"
)

// Which engine hears a call and which speaks in it: the queue's choice, and where that is down the house's others.

// queueSpeech is the house's speech with the queue's choice.
type queueSpeech struct {
	Speech
	hear, say, voice string // "": the house's order; the engine's first voice
}

// Hear asks the queue's engine first.
func (q queueSpeech) Hear(ctx context.Context, cfg voices.HearConfig) (*voices.Ear, error) {
	cfg.Engine = q.hear
	return q.Speech.Hear(ctx, cfg)
}

// Say has the queue's engine speak, with the queue's voice.
func (q queueSpeech) Say(ctx context.Context, text string, cfg voices.SayConfig) (*voices.Utterance, error) {
	cfg.Engine, cfg.Voice = q.say, q.voice
	return q.Speech.Say(ctx, text, cfg)
}

// speech is what hears and speaks in this call; nil: nothing does.
func (c *call) speech() Speech {
	if c.v.cfg.Speech == nil || c.sound == nil {
		return c.v.cfg.Speech
	}
	return queueSpeech{c.v.cfg.Speech, c.sound.hear, c.sound.say, c.sound.voice}
}

// serving is which engines serve the call.
type serving struct{ by map[voices.Job]string }

// onEngine: an engine has heard or spoken. That it is another one than the queue's choice, or than before, is part of the
// call's story.
func (c *call) onEngine(job voices.Job, engine string) {
	before, known := c.serving.by[job]
	if !known && c.sound != nil {
		before = map[voices.Job]string{voices.Hearing: c.sound.hear, voices.Speaking: c.sound.say}[job]
	}
	if engine == before {
		return
	}
	if c.serving.by == nil {
		c.serving.by = map[voices.Job]string{}
	}
	if c.serving.by[job] = engine; before == "" { // whichever came first in the house's order
		return
	}
	does := map[voices.Job]string{voices.Hearing: "hears", voices.Speaking: "speaks"}[job]
	c.story.tell(0, doctor.Engine, fmt.Sprintf("%s %s in place of %s", engine, does, before))
	c.log.Warn("another speech engine", "job", job, "engine", engine, "instead_of", before)
}
