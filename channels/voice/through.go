package voice

import (
	"context"
	"strings"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/dialogue"
	"patchbay/channels/voice/media"
)

// The last words before a person: who it is, and that they know already what was said, if a screen of theirs has really
// shown it. The agent hears them too and so knows when to speak. A call is never kept from its agent by words that are not
// spoken.

// introduction is what is known of an agent before they are introduced to the caller.
type introduction struct {
	read  bool   // their screen has shown the hand-over card
	brief string // the card is to be whispered to them
	done  bool   // the caller has heard who they are
}

// hasRead lands in the mail: the agent's screen has shown the card.
type hasRead struct{ agentID int64 }

// askRead finds out beside the call whether the agent has the card before them.
func (c *call) askRead(agentID int64) {
	if c.v.cfg.HasRead == nil {
		return
	}
	c.beside(func() {
		ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
		defer cancel()
		if read, err := c.v.cfg.HasRead(ctx, agentID, c.conversation); err != nil {
			c.log.Warn("card read or not", "agent", agentID, "err", err) // not claimed then
		} else if read {
			c.post(hasRead{agentID})
		}
	})
}

func (c *call) onHasRead(m hasRead) {
	if a := c.agent(); a != nil && a.agentID == m.agentID {
		a.read = true
	}
}

// introduce says who is there now; true: the bridge waits for it. Who comes back to their caller, was in writing with them
// before, or has called them, needs no words.
func (c *call) introduce() bool {
	a := c.agent()
	switch {
	case c.v.cfg.HasRead == nil || a.done || c.withPerson || c.direction != channels.CallIn:
		return false
	case !c.throughBy.IsZero(): // being said
		return true
	case c.callerHeld: // their hold's end tries again
		return true
	}
	names := []string{promptThrough}
	if a.read {
		names[0] = promptThroughRead
	}
	c.throughBy = time.Now().Add(c.words(names) + throughMargin)
	if leg := a.leg(); leg != nil {
		a.comfort = spoken
		leg.Play(media.NewPlayer(c.prompts(names)...))
	}
	c.tellCaller(names, c.introduced)
	return true
}

// throughMargin is how much longer than the file's words the bridge waits: another voice may be slower.
const throughMargin = 1500 * time.Millisecond

// introduced: the words were spoken, or should have been.
func (c *call) introduced() {
	c.throughBy = time.Time{}
	a := c.agent()
	if c.ended || a == nil || c.state != channels.CallConnecting {
		return
	}
	if !a.here() {
		c.music()
		return
	}
	a.done = true
	c.bridge()
}

// backInLine: the agent who had accepted did not come, or did not come back.
func (c *call) backInLine(spoke bool) {
	words := promptNotTaken
	if spoke {
		words = promptBack
	}
	c.tellCaller([]string{words}, c.thenMusic)
}

// tellCaller says the house's own words to the caller, one prompt after the other: by the voice that they have talked with, if
// they have, else from the files.
func (c *call) tellCaller(names []string, then func()) {
	c.announce(c.phrases(names...), strings.Join(names, " "), then)
}

// phrases are those of prompts, in the caller's language.
func (c *call) phrases(names ...string) string {
	text := make([]string, len(names))
	for i, name := range names {
		text[i] = strings.ReplaceAll(dialogue.Phrase(c.language(), name), "{{agent}}", c.agentName())
	}
	return strings.Join(text, " ")
}

// agentName is how the caller hears of the agent.
func (c *call) agentName() string {
	if a := c.agent(); a != nil && a.name != "" {
		first, _, _ := strings.Cut(a.name, " ")
		return first
	}
	return dialogue.Phrase(c.language(), "colleague")
}

// prompts are those of a name that say joins.
func (c *call) prompts(names []string) []media.Prompt {
	parts := make([]media.Prompt, len(names))
	for i, name := range names {
		parts[i] = c.prompt(name)
	}
	return parts
}

// words is how long they take.
func (c *call) words(names []string) (d time.Duration) {
	for _, p := range c.prompts(names) {
		d += p.Length()
	}
	return d
}
