package voice

import (
	"context"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/sipleg"
)

// third is the consultation: the agent calls a colleague or an outside number while the caller hears music, and then
// joins them, returns, or has all three talk. A transfer to an outside number is a consultation that completes itself.
type third struct {
	asking    bool // somebody is being looked for
	referring bool // the trunk is asked to do it
	passing   bool // complete as soon as the third answers
	thirdAt   time.Time
	to        *wayOut // of an outside number
	note      *thirdNews
	handing   int64 // the agent who stepped out while it rang
}

// thirdNews is the third as the agent's tabs see it: the API's ThirdParty.
type thirdNews struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	AgentID int64  `json:"agent_id,omitempty"`
	Number  string `json:"number,omitempty"`
	State   string `json:"state"` // ringing, talking, held, failed, gone
	Reason  string `json:"reason,omitempty"`
	Blind   bool   `json:"blind,omitempty"`
}

var (
	errLater     = channels.Fail(channels.Unavailable, "") // the answer comes when it is known; never sent
	errBusyThird = channels.Fail(channels.Conflict, "You are calling somebody already.")
	errNoThird   = channels.Fail(channels.Conflict, "Nobody else is in the call.")
	errRinging   = channels.Fail(channels.Conflict, "Nobody has answered there yet.")
)

// found is what became of the search for a third.
type found struct {
	cmd   command
	party *party
	way   *wayOut
	err   error
}

// consult looks for the one the agent wants to talk to; the command is answered when it rings there.
func (c *call) consult(cmd command) *channels.Error {
	switch {
	case c.state != channels.CallBridged:
		return errNotNow
	case c.who[thirdSeat] != nil || c.asking:
		return errBusyThird
	case cmd.Target == nil:
		return channels.FailField(channels.Invalid, "target", "The field target is missing.")
	case cmd.Type == "transfer" && cmd.Target.Kind != channels.TargetNumber: // who has the conversation is the flow's
		return channels.FailField(channels.Invalid, "target", "A call is passed on to a colleague by the conversation.")
	}
	c.asking = true
	c.v.running.Add(1) // the call itself is one of v.running
	go func() {
		defer c.v.running.Done()
		ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
		defer cancel()
		f := found{cmd: cmd, party: &party{number: cmd.Target.Number}}
		if cmd.Target.Kind == channels.TargetNumber {
			f.way, f.err = c.v.plan(ctx, cmd.AgentID, cmd.Target.Number, cmd.Target.From, c.id)
		} else {
			f.party.agentID, f.party.name, f.err = c.v.cfg.Borrow(ctx, c.id, cmd.AgentID, *cmd.Target)
			f.party.phones = c.v.phonesOf(ctx, f.party.agentID)
		}
		if !c.post(f) {
			c.v.dropFound(c.id, f)
			cmd.reply <- errOver
		}
	}()
	return errLater
}

// onFound rings at the one who was found.
func (c *call) onFound(f found) {
	c.asking = false
	err := f.err
	if err == nil && (c.ended || c.state != channels.CallBridged || c.agentID() != f.cmd.AgentID) {
		err = errNotNow
	}
	if err == nil {
		err = c.ringThird(f)
	}
	f.cmd.reply <- c.v.inWords(err, "call a third")
	if err != nil {
		c.v.dropFound(c.id, f)
	}
}

// dropFound gives back who was found and cannot be called.
func (v *Voice) dropFound(callID int64, f found) {
	v.giveBack(callID, f.party.agentID)
	if f.way != nil {
		f.way.hangUp()
	}
}

func (c *call) ringThird(f found) error {
	p := f.party
	c.note, c.to, c.passing = nil, f.way, f.cmd.Type == "transfer"
	c.who[thirdSeat] = p
	if p.agentID == 0 {
		if err := c.passOut(); err != nil {
			c.who[thirdSeat] = nil
			return err
		}
		c.thirdAt = time.Now().Add(c.v.times.OutsideRing)
	} else {
		c.invite(p.agentID)
		c.thirdAt = time.Now().Add(c.v.times.ConsultRing)
	}
	c.talking, c.held = toThird, false
	c.patch()
	if p.agentID != 0 {
		c.reach(p)
		return nil
	}
	c.news("")
	return nil
}

// dialThird calls the outside number by the next way that is left.
func (c *call) dialThird() error {
	p := c.who[thirdSeat]
	leg, err := c.to.dial(c.hears(p))
	if err != nil {
		return err
	}
	p.sip, p.early, p.comfort = leg, false, none
	return nil
}

// onThird is an event of the outside number's leg.
func (c *call) onThird(p *party, e sipleg.Event) {
	switch e := e.(type) {
	case sipleg.Ringing:
		c.to.rang = true
		if e.Early && !p.early {
			p.early = true
			c.patch()
		}
	case sipleg.Answered:
		p.up = true
		c.to.taken()
		c.thirdUp()
	case sipleg.Held:
		p.heldUs = e.Held
		c.patch()
	case sipleg.Probed:
		c.onProbed(p, p.sip, e.Alive)
	case sipleg.Referred:
		e.Answer(603)
	case sipleg.Replaced:
		c.replace(p, e.By, c.to.now.Trunk)
	case sipleg.Redirected:
		c.to.targets = e.Targets
	case sipleg.Ended:
		if !p.up && c.to.again(e) && c.dialThird() == nil {
			c.patch()
			return
		}
		c.thirdGone(endInWords(e))
	}
}

// thirdUp: whom the agent called has answered.
func (c *call) thirdUp() {
	c.thirdAt, c.who[thirdSeat].talked = time.Time{}, true
	c.agent().answerLine()
	if c.passing {
		_ = c.complete() // cannot fail: the third is there
		return
	}
	c.patch()
	c.news("")
}

// onThirdLate: nobody answered, or the colleague's browser did not come back.
func (c *call) onThirdLate() {
	switch p := c.who[thirdSeat]; {
	case p == nil:
	case p.talked:
		c.thirdGone("connection lost")
	default:
		c.thirdGone("did not answer")
	}
}

// thirdGone: the third refused, or has hung up. The caller is never left alone by that.
func (c *call) thirdGone(reason string) {
	p := c.who[thirdSeat]
	if p == nil || c.ended {
		return
	}
	note := c.thirdNews()
	note.State, note.Reason = "failed", reason
	if p.talked {
		note.State = "gone"
	}
	handed := c.handed
	c.publishEnded(p.agentID, reason)
	c.dropThird("")
	c.endLine(lineCode(reason), reason)
	switch {
	case handed && p.talked:
		c.end(completed, "the other side hung up", true)
	case handed:
		c.passFailed(reason)
	default:
		c.note = note
		if a := c.agent(); a != nil && a.passes != nil {
			a.passes.Notify(480)
			a.passes, a.failed = nil, time.Now()
		}
		c.patch()
		c.news("")
		c.note = nil
	}
}

// dropThird takes the third out of the call; patch follows.
func (c *call) dropThird(reason string) {
	c.talking, c.passing, c.referring, c.thirdAt = toCaller, false, false, time.Time{}
	if p := c.vacate(thirdSeat, reason); p != nil {
		c.v.giveBack(c.id, p.agentID)
	}
	if c.to != nil {
		c.to.settle()
		c.to = nil
	}
}

// passFailed: nobody took the caller over and the agent has gone. Words, then the line; the agent who passed them on is
// asked first.
func (c *call) passFailed(reason string) {
	c.handed, c.state = false, channels.CallWaiting
	c.log.Info("transfer failed", "reason", reason)
	c.tell(c.about(channels.Inbound{Type: channels.PassFailed, AgentID: c.handing, Reason: reason}))
	c.handing = 0 // the next agent's transfer is the next agent's
	c.say(promptNotReached, c.thenMusic)
	c.moved()
}

func (c *call) swap() *channels.Error {
	switch p := c.who[thirdSeat]; {
	case p == nil:
		return errNoThird
	case !p.up:
		return errRinging
	case c.talking == toThird:
		c.talking = toCaller
	default:
		c.talking = toThird
	}
	c.held = false
	c.patch()
	c.news("")
	return nil
}

func (c *call) merge() *channels.Error {
	switch p := c.who[thirdSeat]; {
	case p == nil:
		return errNoThird
	case !p.up:
		return errRinging
	}
	c.talking, c.held = toBoth, false
	c.patch()
	c.news("")
	return nil
}

// cancelThird brings the agent back to the caller.
func (c *call) cancelThird() *channels.Error {
	p := c.who[thirdSeat]
	if p == nil {
		return errNoThird
	}
	c.publishEnded(p.agentID, "taken back")
	c.dropThird("taken back")
	c.endLine(480, "taken back")
	c.patch()
	c.news("")
	return nil
}

// complete joins caller and third; the agent is done.
func (c *call) complete() *channels.Error {
	p := c.who[thirdSeat]
	switch {
	case p == nil:
		return errNoThird
	case !p.up && p.agentID != 0:
		return errRinging
	case !p.up: // an outside number that still rings: it completes itself
		c.passing = true
		c.patch()
		c.news("")
		return nil
	}
	c.muted, c.held = false, false
	if c.agent() != nil {
		c.publishEnded(c.agentID(), "passed on")
		c.vacate(agentSeat, "")
	}
	if p.agentID == 0 {
		if c.handing == 0 { // else the house knows already
			c.tell(c.about(channels.Inbound{Type: channels.HandedOut, To: p.number}))
		}
		c.handed = true
	} else {
		p.done = true // the caller knows who it is
		c.who[agentSeat], c.who[thirdSeat], c.talking = p, nil, toCaller
		c.seated[agentSeat], c.seated[thirdSeat] = c.seated[thirdSeat], nil
		c.tell(c.about(channels.Inbound{Type: channels.HandedOn, AgentID: p.agentID}))
	}
	c.passing, c.thirdAt, c.agentAt = false, time.Time{}, time.Time{}
	c.state = channels.CallBridged
	c.patch()
	c.moved()
	c.news("")
	return nil
}

// stepOut: the agent does not wait until the outside number answers.
func (c *call) stepOut() {
	c.handing, c.handed = c.agentID(), true
	c.tell(c.about(channels.Inbound{Type: channels.HandedOut, To: c.who[thirdSeat].number}))
	c.publishEnded(c.handing, "passed on")
	c.vacate(agentSeat, "")
	c.muted, c.held = false, false
	c.state = channels.CallConnecting
	c.patch()
	c.moved()
}

// giveBack frees a colleague who was borrowed, beside the call.
func (v *Voice) giveBack(callID, agentID int64) {
	if agentID == 0 {
		return
	}
	v.running.Add(1) // whoever asks is one of v.running
	go func() {
		defer v.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), v.times.Receive)
		defer cancel()
		if err := v.cfg.GiveBack(ctx, callID, agentID); err != nil {
			v.log.Warn("colleague not given back", "call", callID, "agent", agentID, "err", err)
		}
	}()
}
