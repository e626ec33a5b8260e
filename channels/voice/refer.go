package voice

import (
	"patchbay/channels"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/trunks"
)

// What the networks at both ends can do for us: send a caller on (REFER), or put somebody else in a leg's place (Replaces).

// replace puts another leg in the place of a party's: somewhere out there a transfer was completed (RFC 3891). The call goes on
// with whoever it is now.
func (c *call) replace(p *party, by *sipleg.Leg, t *trunks.Trunk) {
	if !p.up {
		by.Refuse(481, "")
		return
	}
	old := p.sip
	if err := by.Accept(t.Accept(c.hears(p), c.v.external)); err != nil {
		p.legs-- // refused already: the old one goes on
		return
	}
	by.Answer()
	c.unseat(old.Media().Leg)
	p.sip, p.heldUs, p.comfort = by, false, none
	if p == c.who[callerSeat] {
		c.callerHeld = false
		c.tap()
	}
	old.Hangup("replaced")
	c.log.Info("a leg was replaced", "by", by.Info().CallID)
	if p == c.who[callerSeat] && !c.talks() {
		c.music()
	}
	c.patch()
}

// passOut calls the outside number, or has the trunk do it: one that takes REFER, and that the caller came by, connects the two
// without us.
func (c *call) passOut() error {
	if c.passing && c.leg != nil && c.trunk.MayRefer && c.to.now.Trunk.ID == c.trunk.ID {
		c.referring = true
		c.leg.Refer(c.to.now.URI, nil)
		return nil
	}
	return c.dialThird()
}

// onReferProgress: how it goes with a caller whom we have sent on.
func (c *call) onReferProgress(e sipleg.ReferProgress) {
	switch {
	case !c.referring || !e.Done:
	case e.Code < 300:
		c.tell(c.about(channels.Inbound{Type: channels.HandedOut, To: c.who[thirdSeat].number}))
		c.end(completed, "passed on to "+c.who[thirdSeat].number, true)
	default: // the trunk could not: we can
		c.referring = false
		if err := c.dialThird(); err != nil {
			c.thirdGone(c.v.inWords(err, "transfer").Text)
		}
	}
}
