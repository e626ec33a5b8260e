package voice

import (
	"context"

	"patchbay/channels"
)

// A supervisor in a call: listens, whispers to the agent, or barges in. That only supervisors get here is the API's care.

var errSupervised = channels.Fail(channels.Conflict, "Another supervisor is in this call.")

// supervise lets a supervisor in, or changes what they do there.
func (c *call) supervise(cmd command) *channels.Error {
	if cmd.Mode != listen && cmd.Mode != whisper && cmd.Mode != barge {
		return channels.FailField(channels.Invalid, "mode", "The mode is listen, whisper or barge.")
	}
	p := c.who[supervisorSeat]
	_, s := c.whoIs(cmd.AgentID)
	switch {
	case c.state != channels.CallBridged:
		return errNotNow
	case p != nil && p.agentID != cmd.AgentID:
		return errSupervised
	case p == nil && s != callerSeat: // whoIs found them among the people who talk
		return channels.Fail(channels.Conflict, "You are in this call already.")
	case p == nil && cmd.leg == nil:
		return channels.FailField(channels.Invalid, "sdp", "The field sdp is missing.")
	}
	if p == nil {
		p = &party{agentID: cmd.AgentID, name: cmd.Name}
		c.who[supervisorSeat] = p
		c.invite(cmd.AgentID)
		c.guest(cmd.AgentID)
		c.log.Info("supervisor in", "agent", cmd.AgentID, "mode", cmd.Mode)
	}
	if cmd.leg != nil {
		c.byWeb(p, cmd.leg, cmd.Tab)
	}
	c.mode = cmd.Mode
	c.patch()
	c.news("")
	return nil
}

// vacateSupervisor lets the supervisor go; the others do not notice.
func (c *call) vacateSupervisor(reason string) {
	p := c.vacate(supervisorSeat, reason)
	if p == nil {
		return
	}
	c.mode = ""
	c.publishEnded(p.agentID, reason)
	c.v.giveBack(c.id, p.agentID)
	if !c.ended {
		c.patch()
		c.news("")
	}
}

// guest notes that the supervisor is busy, beside the call.
func (c *call) guest(agentID int64) {
	c.v.running.Add(1) // the call itself is one of v.running
	go func() {
		defer c.v.running.Done()
		ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
		defer cancel()
		_, err := c.v.cfg.Pool.Exec(ctx, `insert into call_parties (call_id, agent_id, role) values ($1, $2, 'supervisor')
			on conflict do nothing`, c.id, agentID)
		if err != nil {
			c.log.Warn("supervisor not noted", "agent", agentID, "err", err)
		}
	}()
}
