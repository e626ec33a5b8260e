package voice

import (
	"time"

	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/webleg"
)

// party is somebody in a call. Sound comes by a telephone (sip) or by a browser (web); neither, while it is being
// waited for. It belongs to the call's goroutine.
type party struct {
	agentID      int64  // a colleague; 0: the customer, or an outside number
	name         string // a colleague's
	number       string // an outside number
	tab          string // whose browser was connected last
	sip          *sipleg.Leg
	legs         int // how many telephone legs it has had
	web          *webleg.Leg
	phones            // of a colleague who wants their calls there
	up           bool // answered, or connected: sound flows both ways
	talked       bool // was up once
	early        bool // a telephone that is not answered yet, but can be heard: the network's own announcements
	heldUs       bool // a telephone that has put us on hold
	comfort      comfort
	before       account   // of browser legs it had
	probed       time.Time // when it was asked last whether it is there
	introduction           // of the agent who has the call
}

// account is what legs have carried.
type account struct {
	codec  string // of the last one
	counts media.Stats
}

// and adds a leg that came later.
func (a account) and(leg *media.Leg, counts media.Stats) account {
	return account{leg.Format().Codec.Name(), a.counts.Plus(counts)}
}

// here tells whether sound can flow.
func (p *party) here() bool { return p != nil && (p.up || p.early) && !p.heldUs && p.leg() != nil }

// answered tells whether somebody is there, if only on hold.
func (p *party) answered() bool { return p != nil && p.up }

// leg is the party's sound; nil while there is none.
func (p *party) leg() *media.Leg {
	switch {
	case p == nil:
		return nil
	case p.sip != nil:
		return p.sip.Media().Leg
	case p.web != nil:
		return p.web.Leg
	}
	return nil
}

// account is what the party's sound came to until now; empty: there never was any.
func (p *party) account() account {
	leg := p.leg()
	switch {
	case leg == nil:
		return p.before
	case p.sip != nil:
		return p.before.and(leg, p.sip.Media().Stats())
	}
	return p.before.and(leg, p.web.Stats())
}

// silent is how long nothing was heard; heard tells whether anything ever was.
func (p *party) silent() (d time.Duration, heard bool) {
	if p.sip != nil {
		return p.sip.Media().Silent()
	}
	return 0, true // a browser's connection tells by itself when it is gone
}

// hangup ends a telephone's leg; a browser's is dropped.
func (p *party) hangup(reason string) {
	if p != nil && p.sip != nil {
		p.refuse(480, reason)
		p.sip.Hangup(reason)
	}
}

// What lands in the mail of a call from its parties.
type (
	fromSIP struct {
		p *party
		n int // which of the party's legs; an older one has been replaced
		e sipleg.Event
	}
	fromWeb struct {
		p   *party
		leg *webleg.Leg
		e   webleg.Event
	}
)

// hears makes a way for the events of the party's next telephone leg.
func (c *call) hears(p *party) func(sipleg.Event) {
	p.legs++
	n := p.legs
	return func(e sipleg.Event) { c.post(fromSIP{p, n, e}) }
}

// byWeb gives a party a new browser leg, in place of the one it had.
func (c *call) byWeb(p *party, leg *webleg.Leg, tab string) {
	c.dropWeb(p)
	p.web, p.tab, p.up = leg, tab, false
	c.v.running.Add(1) // the call itself is one of v.running
	go func() {
		defer c.v.running.Done()
		for e := range leg.Events() {
			if !c.post(fromWeb{p, leg, e}) {
				return
			}
		}
	}()
}

// dropWeb closes a party's browser leg, beside the call: closing waits for the browser's goroutines.
func (c *call) dropWeb(p *party) {
	leg := p.web
	if leg == nil {
		return
	}
	p.before = p.account()
	c.unseat(leg.Leg) // it is found by who sits there
	p.web, p.up, p.comfort = nil, false, none
	c.v.running.Add(1)
	go func() {
		defer c.v.running.Done()
		if err := leg.Close(); err != nil {
			c.log.Debug("close browser leg", "err", err)
		}
	}()
}

// vacate takes whoever sits there out of the call.
func (c *call) vacate(s seat, reason string) *party {
	p := c.who[s]
	if p == nil {
		return nil
	}
	if p.agentID != 0 {
		c.invited.Delete(p.agentID)
	}
	c.dropWeb(p)
	if p.sip != nil {
		if p.passes != nil {
			p.passes.Notify(200)
		}
		c.unseat(p.sip.Media().Leg)
		p.hangup(reason)
	}
	c.who[s] = nil
	p.hush(reason)
	return p
}
