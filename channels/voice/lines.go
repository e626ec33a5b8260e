package voice

import (
	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sipleg"
)

// The second line of an agent's telephone. Who has a caller there and dials again asks somebody: for us that is the
// consultation of third.go, with the agent's sound on the line that their telephone does not hold. Its own transfer button
// (REFER with Replaces, RFC 3891 and 5589) then joins the two others, its swap key is the desk's swap, its conference key
// the desk's three-way call.

// lineAsked lands in the mail of a call whose agent dials a second time on the telephone that has the sound.
type lineAsked struct {
	leg     *sipleg.Leg
	agentID int64
	target  channels.CallTarget
	reply   chan *edge.Refusal // nil: taken
}

// lineFound is what became of the one who was dialled there: nil, it rings.
type lineFound struct {
	p       *party
	line    *telephone
	refused *channels.Error
}

// callOf is the call that an agent is in, here; nil: none.
func (v *Voice) callOf(agentID int64) *call {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.calls {
		if _, in := c.invited.Load(agentID); in {
			return c
		}
	}
	return nil
}

// secondLine takes the call of a telephone whose agent has one; it waits for that call's word.
func (c *call) secondLine(leg *sipleg.Leg, agentID int64, to string) *edge.Refusal {
	target, ok := c.v.targetNamed(to)
	if !ok {
		return edge.Refuse(404, "A Number Or A Colleague's Telephone Was Expected")
	}
	asked := lineAsked{leg: leg, agentID: agentID, target: target, reply: make(chan *edge.Refusal, 1)}
	if c.post(asked) {
		select {
		case refused := <-asked.reply:
			return refused
		case <-c.gone: // perhaps by this transfer
			select {
			case refused := <-asked.reply:
				return refused
			default:
			}
		}
	}
	return edge.Refuse(480, "That Call Is Over")
}

// onLine opens the second line and looks for whom it dials.
func (c *call) onLine(m lineAsked) {
	p := c.agent()
	if c.ended || c.agentID() != m.agentID || p.sip == nil || !p.up || p.line != nil {
		m.reply <- edge.Refuse(486, "You Are In A Call Already")
		return
	}
	line := &telephone{p: p, leg: m.leg}
	cmd := command{CallSignal: channels.CallSignal{Type: "consult", CallID: c.id, AgentID: m.agentID, Target: &m.target}, reply: make(chan *channels.Error, 1)}
	if refused := c.consult(cmd); refused != errLater {
		m.reply <- edge.Refuse(refusalCode(refused), edge.Plain(refused.Text))
		return
	}
	if err := m.leg.Accept(sipleg.Accept{Tell: func(e sipleg.Event) { c.post(fromPhone{line, e}) }, Prefs: phonePrefs(m.leg.Info().Transport),
		External: c.v.external, Latch: media.LatchOn, ToSource: true}); err != nil {
		c.log.Info("second line refused", "agent", m.agentID, "err", err)
		line = nil // it was answered; whom we look for is given back when found
	} else {
		m.leg.Early()
		p.line = line
		c.turnTo(p, line)
		c.patch()
	}
	m.reply <- nil
	c.beside(func() { c.post(lineFound{p, line, <-cmd.reply}) })
}

// onLineFound: it rings at the one who was dialled, or the telephone is told why not.
func (c *call) onLineFound(m lineFound) {
	switch {
	case c.ended || m.p != c.agent():
	case m.refused == nil && m.p.line != m.line: // hung up meanwhile
		_ = c.cancelThird() // nobody there any more is as well
	case m.refused != nil && m.line != nil && m.p.line == m.line:
		c.endLine(refusalCode(m.refused), m.refused.Text)
		c.patch()
		c.news(m.refused.Text)
	}
}

// turnTo puts an agent's sound on one of their telephone's lines; patch follows.
func (c *call) turnTo(p *party, t *telephone) {
	p.heldUs = t.held
	if p.sip == t.leg {
		return
	}
	leg := p.sip.Media().Leg
	c.unseat(leg)
	if aside := p.lineOf(p.sip); aside != nil && aside.held {
		leg.Stop() // not a packet to who holds us (RFC 3264 section 8.4)
	} else {
		leg.Play(media.Loop(media.Silence()))
	}
	p.sip, p.comfort = t.leg, none
}

// lineOf is the telephone's line with that leg; nil: none of theirs.
func (p *party) lineOf(leg *sipleg.Leg) *telephone {
	if p.line != nil && p.line.leg == leg {
		return p.line
	}
	for _, t := range p.sets {
		if t.leg == leg {
			return t
		}
	}
	return nil
}

// linesHeld: the telephone has put one of its two lines on hold, or taken it back. Which one it listens to is whom the
// agent talks to; both is a conference of its own, which we mix for it.
func (c *call) linesHeld(p *party) {
	first, second := p.sets[0], p.line
	switch {
	case first.held && second.held:
		p.heldUs = true
	case first.held:
		c.turnTo(p, second)
		if c.who[thirdSeat] != nil {
			c.talking, c.held = toThird, false
		}
	case second.held || !c.who[thirdSeat].answered():
		c.turnTo(p, first)
		c.talking, c.held = toCaller, false
	default:
		c.turnTo(p, first)
		c.talking, c.held = toBoth, false
	}
	c.patch()
	c.news("")
}

// answerLine tells a telephone that whom it has dialled is there.
func (p *party) answerLine() {
	if p != nil && p.line != nil && !p.line.up {
		p.line.up = true
		p.line.leg.Answer()
	}
}

// endLine hangs up an agent's second line, if there is one, and brings their sound back to the first. patch follows.
func (c *call) endLine(code int, reason string) {
	p := c.agent()
	if p == nil || p.line == nil {
		return
	}
	line := p.line
	if p.line = nil; line.up {
		line.leg.Hangup(reason)
	} else {
		line.leg.Refuse(code, edge.Plain(reason))
	}
	c.backToFirst(p, line)
}

// lineCode is what a telephone is told whose number was not reached; the words go with it.
func lineCode(reason string) int {
	switch reason {
	case "busy":
		return 486
	case "declined":
		return 603
	}
	return 480
}

// backToFirst: the second line is over.
func (c *call) backToFirst(p *party, line *telephone) {
	c.unseat(line.leg.Media().Leg)
	first := p.sets[0]
	p.sip, p.heldUs, p.comfort = first.leg, first.held, none
	c.talking = toCaller
	if c.state == channels.CallBridged {
		c.held = first.held
	}
}

// lineEnded: one of an agent's two lines is over; false: they have only one.
func (c *call) lineEnded(set *telephone, e sipleg.Ended) bool {
	p := set.p
	if p.line == nil || p != c.agent() {
		return false
	}
	third := c.who[thirdSeat]
	switch line := p.line; {
	case set == line: // whom they consulted goes, unless they are to get the caller
		p.line = nil
		c.backToFirst(p, line)
		if third != nil && !c.passing {
			_ = c.cancelThird() // somebody is there
		}
		c.patch()
	case e.By != sipleg.ByPeer: // the telephone is lost
		p.sip, p.line = set.leg, nil
		line.leg.Hangup("connection lost")
		c.unseat(line.leg.Media().Leg)
		return false
	case c.talking == toBoth && third.answered(): // as who leaves a three-way call
		_ = c.complete() // cannot fail: the third is there
	case c.passing:
		c.stepOut()
	default: // the caller was on it
		c.end(completed, "agent hung up", true)
	}
	return true
}

// has tells whether a leg is the party's sound, or one of their telephone's lines.
func (p *party) has(leg *media.Leg) bool {
	if p == nil {
		return false
	}
	return p.leg() == leg || p.line != nil && (p.line.leg.Media().Leg == leg || p.sets[0].leg.Media().Leg == leg)
}

// joins tells whether a telephone asks to connect the two that it talks to: one of its lines is to replace the other.
func (p *party) joins(on *sipleg.Leg, e sipleg.Referred) bool {
	return e.Replaces != nil && e.Replaces != on && p.line != nil && p.lineOf(e.Replaces) != nil
}

// phoneJoins connects caller and third for the telephone, which is out of it then. A colleague who has not answered has not
// agreed; an outside number that still rings gets the caller when it answers.
func (c *call) phoneJoins(set *telephone, e sipleg.Referred) {
	third := c.who[thirdSeat]
	if third == nil || !third.up && third.agentID != 0 {
		e.Answer(603)
		return
	}
	e.Answer(202)
	set.p.passes = set.leg
	_ = c.complete() // cannot fail: somebody is there
}
