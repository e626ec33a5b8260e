package voice

import (
	"context"
	"errors"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
)

// desk is the agent's side of a call: who has it, the leg of their browser, and what they have switched.
type desk struct {
	agentID   int64
	tab       string // whose connect was the last
	agentLeg  *browserLeg
	connected bool
	held      bool // by the agent: the caller hears music
	muted     bool
	agentAt   time.Time // until when the agent must be connected
}

// command is a CallSignal on its way through the mail. A connect brings the leg that answers it; a restart asks which
// leg shall answer it.
type command struct {
	channels.CallSignal
	leg   *browserLeg
	sdp   string
	found chan *browserLeg
	reply chan *channels.Error
}

// callFrame is what the agent's tabs get: the API's LiveOut.
type callFrame struct {
	Type string    `json:"type"` // call
	Call agentNews `json:"call"`
}

// agentNews is the state of a call as the agent's tabs see it: the API's LiveCall.
type agentNews struct {
	CallID         int64      `json:"call_id"`
	ConversationID int64      `json:"conversation_id"`
	State          string     `json:"state"` // connecting, bridged, waiting (let go), ended
	From           string     `json:"from"`
	Name           string     `json:"name,omitempty"`
	Held           bool       `json:"held"`
	Muted          bool       `json:"muted"`
	CallerHeld     bool       `json:"caller_held"`
	Tab            string     `json:"tab,omitempty"` // the tab that has the sound
	StartedAt      time.Time  `json:"started_at"`
	BridgedAt      *time.Time `json:"bridged_at"`
	Reason         string     `json:"reason,omitempty"`
}

// news tells the agent's tabs how the call stands.
func (c *call) news(reason string) {
	if c.agentID == 0 {
		return
	}
	n := agentNews{CallID: c.id, ConversationID: c.conversation, State: c.state, From: c.caller, Name: c.name, Held: c.held,
		Muted: c.muted, CallerHeld: c.callerHeld, Tab: c.tab, StartedAt: c.answeredAt, Reason: reason}
	if !c.bridgedAt.IsZero() {
		n.BridgedAt = &c.bridgedAt
	}
	c.v.publish(c.agentID, callFrame{"call", n})
}

var (
	errOver     = channels.Fail(channels.NotFound, "This call is over.")
	errNotYours = channels.Fail(channels.Forbidden, "This call is not yours.")
	errNotNow   = channels.Fail(channels.Conflict, "The call is not connected now.")
	errNoKeys   = channels.Fail(channels.Conflict, "The caller's telephone takes no keys.")
	errBadKey   = channels.FailField(channels.Invalid, "digit", "must be one of 0-9 * # A-D")
	errUnknown  = channels.FailField(channels.Invalid, "type", "is no command of a call")
)

// obey answers one command from the bus, on a goroutine of the bus.
func (c *call) obey(data []byte) (any, error) {
	sig, bad := unpack(data)
	if bad != nil {
		return channels.CallReply{Error: bad}, nil
	}
	cmd := command{CallSignal: sig, found: make(chan *browserLeg, 1), reply: make(chan *channels.Error, 1)}
	ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
	defer cancel()
	if sig.Type == "connect" {
		// Keys and negotiation cost 2 ms: not on the call's goroutine, and not for a stranger.
		if sig.AgentID == 0 || c.joined.Load() != sig.AgentID {
			return channels.CallReply{Error: errNotYours}, nil
		}
		leg, sdp, err := c.v.web.newLeg(ctx, sig.SDP, nil)
		if err != nil {
			return answered("", err)
		}
		cmd.leg, cmd.sdp = leg, sdp
	}
	refused := errOver
	if c.post(cmd) {
		select {
		case refused = <-cmd.reply:
		case <-c.gone:
		}
	}
	switch {
	case refused == nil && sig.Type == "restart":
		return answered((<-cmd.found).answer(ctx, sig.SDP))
	case refused == nil:
		return channels.CallReply{SDP: cmd.sdp}, nil
	case cmd.leg != nil:
		if err := cmd.leg.close(); err != nil {
			c.log.Debug("close browser leg", "err", err)
		}
	}
	return channels.CallReply{Error: refused}, nil
}

// answered tells a browser what became of its offer.
func answered(sdp string, err error) (any, error) {
	var known *channels.Error
	switch {
	case errors.As(err, &known):
		return channels.CallReply{Error: known}, nil
	case err != nil:
		return nil, err
	}
	return channels.CallReply{SDP: sdp}, nil
}

// onCommand does it and answers.
func (c *call) onCommand(cmd command) {
	cmd.reply <- c.do(cmd)
}

// do is the switch over all commands. nil: done.
func (c *call) do(cmd command) *channels.Error {
	if c.ended || c.state == "" {
		return errOver
	}
	switch cmd.Type { // the switchboard's
	case "join":
		c.join(cmd.AgentID)
		return nil
	case "release":
		c.letGo(cmd.Reason)
		return nil
	case "end":
		c.end(completed, orElse(cmd.Reason, "ended by the agent"), true)
		return nil
	}
	if cmd.AgentID == 0 || cmd.AgentID != c.agentID {
		return errNotYours
	}
	switch cmd.Type { // a tab's
	case "connect":
		c.connect(cmd)
		return nil
	case "restart":
		if c.agentLeg == nil || cmd.Tab != c.tab {
			return errNotNow
		}
		cmd.found <- c.agentLeg
		return nil
	case "hangup":
		c.end(completed, "agent hung up", true)
		return nil
	case "mute":
		c.muted = cmd.On
		c.patch()
		c.news("")
		return nil
	case "hold":
		if c.state != channels.CallBridged {
			return errNotNow
		}
		c.held = cmd.On
		c.patch()
		c.news("")
		return nil
	case "dtmf":
		return c.sendKey(cmd.Digit)
	}
	return errUnknown
}

// join: an agent has accepted. The music goes on until their browser is there.
func (c *call) join(agentID int64) {
	if c.agentID == agentID && (c.state == channels.CallBridged || c.state == channels.CallConnecting) {
		c.news("") // told twice
		return
	}
	if c.agentID != 0 {
		c.letGo("passed on")
	}
	if c.state == channels.CallAnswered { // accepted before the caller asked: from a list
		c.music()
	}
	c.inputAt = time.Time{}
	c.agentID = agentID
	c.joined.Store(agentID)
	c.state = channels.CallConnecting
	c.agentAt = time.Now().Add(c.v.times.AgentConnect)
	c.moved()
	c.news("")
}

// connect takes the leg of the agent's browser: the first, or the one of a reloaded page.
func (c *call) connect(cmd command) {
	c.dropAgentLeg()
	c.agentLeg, c.tab, c.connected = cmd.leg, cmd.Tab, false
	if c.state == channels.CallBridged {
		c.comfort()
	}
	c.agentAt = time.Now().Add(c.v.times.AgentBack)
}

// legEvents is the channel of the current browser leg; nil without one.
func (c *call) legEvents() <-chan legEvent {
	if c.agentLeg == nil {
		return nil
	}
	return c.agentLeg.events
}

func (c *call) onLegEvent(e legEvent, ok bool) {
	switch {
	case ok && e == legConnected:
		c.bridge()
	case ok && e == legDisconnected:
		if c.connected {
			c.comfort()
			c.agentAt = time.Now().Add(c.v.times.AgentBack)
		}
	default: // failed, closed: this leg does not come back, another may
		was := c.connected
		c.dropAgentLeg()
		if was && c.state == channels.CallBridged {
			c.comfort()
			c.agentAt = time.Now().Add(c.v.times.AgentBack)
		}
	}
}

// bridge: both legs are there. From here nothing of ours is between them.
func (c *call) bridge() {
	if c.ended || c.agentLeg == nil {
		return
	}
	c.connected, c.agentAt, c.playing = true, time.Time{}, nil
	first := c.bridgedAt.IsZero()
	if first {
		c.bridgedAt = time.Now()
	}
	c.state = channels.CallBridged
	c.patch()
	c.log.Info("call bridged", "agent", c.agentID, "after", time.Since(c.answeredAt).Round(time.Millisecond))
	c.moved()
	c.news("")
}

// comfort: the agent's leg is away for the moment; the caller hears music.
func (c *call) comfort() {
	c.connected, c.held = false, false
	c.state = channels.CallConnecting
	if c.agentLeg != nil {
		media.Part(c.leg.Leg, c.agentLeg.Leg)
	} else {
		c.leg.Swap(media.Discard)
	}
	c.music()
	c.moved()
	c.news("agent's connection lost")
}

// moved tells the house the new state of the call.
func (c *call) moved() {
	c.tell(c.about(channels.Inbound{Type: channels.CallMoved, CallState: c.state}))
}

// onAgentLate: the agent's browser did not come, or did not come back.
func (c *call) onAgentLate() {
	if c.state != channels.CallConnecting {
		return
	}
	spoken := !c.bridgedAt.IsZero()
	c.tell(c.about(channels.Inbound{Type: channels.AgentLost}))
	c.leave("connection lost")
	if spoken {
		c.say(promptBack, c.music)
	}
}

// letGo: the agent has passed the caller on, or given them back to the line.
func (c *call) letGo(reason string) {
	if c.agentID == 0 {
		return
	}
	was := c.state
	c.leave(orElse(reason, "released"))
	if was == channels.CallBridged {
		c.say(promptWaiting, c.music)
	}
}

// leave parts the caller from the agent and puts them in line.
func (c *call) leave(reason string) {
	bridged := c.state == channels.CallBridged
	c.state = channels.CallWaiting
	c.held, c.muted, c.agentAt = false, false, time.Time{}
	c.dropAgentLeg()
	c.leg.Swap(media.Discard)
	c.joined.Store(0)
	c.news(reason)
	c.agentID, c.tab = 0, ""
	c.moved()
	if bridged {
		c.music()
	}
}

// dropAgentLeg closes the browser's leg, beside the call: closing waits for the browser's goroutines.
func (c *call) dropAgentLeg() {
	leg := c.agentLeg
	if leg == nil {
		return
	}
	c.agentLeg, c.connected = nil, false
	media.Part(c.leg.Leg, leg.Leg)
	c.v.running.Add(1) // the call itself is one of v.running
	go func() {
		defer c.v.running.Done()
		if err := leg.close(); err != nil {
			c.log.Debug("close browser leg", "err", err)
		}
	}()
}

// patch points sinks and players as the switches stand; every change of them ends here.
func (c *call) patch() {
	if c.state != channels.CallBridged || c.agentLeg == nil {
		return
	}
	caller, agent := c.leg.Leg, c.agentLeg.Leg
	switch {
	case c.callerHeld: // nothing may be sent to them (RFC 3264 section 8.4)
		media.Part(caller, agent)
		caller.Stop()
		agent.Play(media.Loop(media.Silence()))
	case c.held:
		media.Hold(caller, agent, media.Loop(c.v.prompts[promptMusic]))
	case c.muted:
		media.Bridge(caller, agent)
		media.Mute(agent, caller)
	default:
		media.Bridge(caller, agent)
	}
}

const keyLength = 160 * time.Millisecond

// sendKey presses a key towards the caller (RFC 4733).
func (c *call) sendKey(digit string) *channels.Error {
	switch {
	case !validDigit(digit):
		return errBadKey
	case c.state != channels.CallBridged:
		return errNotNow
	}
	if err := c.leg.SendDTMF(digit[0], keyLength); err != nil {
		c.log.Debug("send key", "err", err) // without the digit
		return errNoKeys
	}
	return nil
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
