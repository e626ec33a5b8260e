package voice

import (
	"sync/atomic"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	voices "patchbay/channels/voice/speech"
)

// A promise of a person is kept by the person's first word, not by joining two legs: an agent who is joined and says nothing
// has kept nothing. So the agent's own leg is listened to from the join until the customer has heard a voice on it.

// word is who is listened to; the call's goroutine owns it.
type word struct {
	told bool // since the last join
	of   *media.Leg
	stop func()
}

// firstWord lands in the mail: somebody whom the customer hears has said something.
type firstWord struct {
	leg     *media.Leg
	agentID int64
}

// listenForWord listens to the person whom the customer hears, until there was a word. Every change of who hears whom comes
// through here.
func (c *call) listenForWord(e ears) {
	var at seat
	for _, s := range [...]seat{agentSeat, thirdSeat} {
		if p := c.who[s]; e[callerSeat][s] && p.leg() != nil && p.agentID != 0 && at == 0 {
			at = s
		}
	}
	leg := (*media.Leg)(nil)
	if at != 0 && !c.word.told && c.talks() {
		leg = c.who[at].leg()
	}
	if leg == c.word.of {
		return
	}
	c.deafTo(c.word.of)
	if leg == nil {
		return
	}
	agent, hears, said := c.who[at].agentID, new(voices.FirstWord), new(atomic.Bool)
	c.word.of = leg
	c.word.stop = leg.Listen(func(pcm []int16) { // on the pacer's goroutine: it may not wait
		if said.Load() || !hears.Hear(pcm) {
			return
		}
		select {
		case c.mail <- firstWord{leg, agent}:
			said.Store(true)
		default: // the next frame tries again
		}
	})
}

// deafTo stops listening to a leg that is being closed, or that the customer no longer hears.
func (c *call) deafTo(leg *media.Leg) {
	if leg != nil && c.word.of == leg {
		c.word.stop()
		c.word.of, c.word.stop = nil, nil
	}
}

// onFirstWord: the promise is kept.
func (c *call) onFirstWord(m firstWord) {
	if c.ended || c.word.of != m.leg {
		return // said to somebody else by now
	}
	c.deafTo(m.leg)
	c.word.told = true
	c.tell(c.about(channels.Inbound{Type: channels.Spoke, AgentID: m.agentID}))
}
