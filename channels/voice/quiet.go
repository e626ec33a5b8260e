package voice

import (
	"time"

	"patchbay/channels/voice/sipleg"
)

// A desk telephone that dies in a call says nothing: its cable was pulled, its battery is empty. The customer's silence has
// its own limits (call.silence). An agent's does not end anything: whoever listens has nothing to say, and a telephone that
// is on hold or saves silence sends no packet. So it is asked, and only one that does not answer is gone.

// watched are the places whose telephones are asked.
var watched = [...]seat{agentSeat, thirdSeat}

// probeLimit is how long, in T1, an answer may take.
const probeLimit = 8

// quiet is how long the telephone may still say nothing before it is asked; false: it is none that says anything yet.
func (p *party) quiet(limit time.Duration) (left time.Duration, watch bool) {
	if p == nil || p.sip == nil || !p.up {
		return 0, false
	}
	d, _ := p.silent()
	if !p.probed.IsZero() {
		d = min(d, time.Since(p.probed))
	}
	return limit - d, true
}

// quietAt is when the next one must be asked; zero: never.
func (c *call) quietAt() (at time.Time) {
	for _, s := range watched {
		if left, watch := c.who[s].quiet(c.v.times.PhoneQuiet); watch {
			if t := time.Now().Add(left); at.IsZero() || t.Before(at) {
				at = t
			}
		}
	}
	return at
}

// askQuiet asks those that have been quiet for long.
func (c *call) askQuiet(now time.Time) {
	for _, s := range watched {
		if p := c.who[s]; p != nil {
			if left, watch := p.quiet(c.v.times.PhoneQuiet); watch && left <= 0 {
				p.probed = now
				p.sip.Probe(probeLimit * c.v.times.T1)
			}
		}
	}
}

// onProbed: a quiet telephone has answered, or has not. What follows is what follows when its connection breaks.
func (c *call) onProbed(p *party, leg *sipleg.Leg, alive bool) {
	if alive || leg != p.sip {
		return
	}
	if d, _ := p.silent(); d < c.v.times.PhoneQuiet { // it has said something meanwhile
		return
	}
	c.log.Info("telephone does not answer", "agent", p.agentID)
	if p.agentID == 0 {
		c.thirdGone("connection lost")
		return
	}
	leg.Hangup("no answer")
	p.hush("no answer")
	c.phoneGone(p, sipleg.Ended{By: sipleg.ByFault})
}
