package voice

import (
	"context"
	"errors"
	"sync"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/webleg"
)

// desk is the people's side of a call: who is in it, and what they have switched.
type desk struct {
	who     [seats]*party
	invited sync.Map // agents who may connect a browser: agentID -> codec that suits the call, for a look before a leg is built

	talking talk
	handed  bool // the agent has gone and left caller and third to each other
	held    bool // by the agent: the caller hears music
	muted   bool
	agentAt time.Time // until when the agent must be connected

	throughBy time.Time // when the bridge no longer waits for the words before it
	newsAt    time.Time // when they learn again how the customer is heard

	room   *media.Room // while somebody hears more than one
	seated [seats]*media.Seat

	third
	word
	mode    string // the supervisor's
	offered *party // whose telephones ring: nobody has the call yet
}

// command is a CallSignal on its way through the mail. A connect brings the leg that answers it.
type command struct {
	channels.CallSignal
	leg    *webleg.Leg
	sdp    string
	found  chan *webleg.Leg // of a restart: which leg is meant
	sound  *queueSound      // of a join or release: the queue may be another one now
	phones                  // of a join: the agent's
	reply  chan *channels.Error
}

// agent is the one who has the call; nil: nobody.
func (c *call) agent() *party { return c.who[agentSeat] }

// agentID is 0 when nobody has the call.
func (c *call) agentID() int64 {
	if a := c.agent(); a != nil {
		return a.agentID
	}
	return 0
}

var (
	errOver     = channels.Fail(channels.NotFound, "This call is over.")
	errNotYours = channels.Fail(channels.Forbidden, "This call is not yours.")
	errNotNow   = channels.Fail(channels.Conflict, "The call is not connected now.")
	errNoKeys   = channels.Fail(channels.Conflict, "The other telephone takes no keys.")
	errBadKey   = channels.FailField(channels.Invalid, "digit", "must be one of 0-9 * # A-D")
	errUnknown  = channels.FailField(channels.Invalid, "type", "is no command of a call")
)

// obey answers one command from the bus, on a goroutine of the bus.
func (c *call) obey(data []byte) (any, error) {
	sig, bad := unpack(data)
	if bad != nil {
		return channels.CallReply{Error: bad}, nil
	}
	if sig.Type == "trace" {
		return c.shown()
	}
	cmd := command{CallSignal: sig, found: make(chan *webleg.Leg, 1), reply: make(chan *channels.Error, 1)}
	ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
	defer cancel()
	switch sig.Type {
	case "join":
		cmd.phones = c.v.phonesOf(ctx, sig.AgentID)
		fallthrough
	case "release":
		cmd.sound = c.v.soundNow(ctx, sig.CallID)
	}
	if sig.Type == "connect" || sig.Type == "supervise" && sig.SDP != "" {
		// Keys and negotiation cost 2 ms: not on the call's goroutine, and not for a stranger.
		like, ok := c.invited.Load(sig.AgentID)
		codec, _ := like.(media.Codec) // a supervisor's browser is mixed: G.711
		if ok = ok || sig.Type == "supervise"; sig.Visitor {
			ok, codec = c.fromPage(), media.Opus
		} else if sig.AgentID == 0 {
			ok = false
		}
		if !ok {
			return channels.CallReply{Error: errNotYours}, nil
		}
		leg, sdp, err := c.v.web.Answer(ctx, sig.SDP, codec)
		if err != nil {
			return answered("", err)
		}
		cmd.leg, cmd.sdp = leg, sdp
	}
	refused := errOver
	if c.post(cmd) {
		select {
		case refused = <-cmd.reply:
		case <-c.gone: // perhaps by this command
			select {
			case refused = <-cmd.reply:
			default:
			}
		}
	}
	switch {
	case refused == nil && sig.Type == "restart":
		return answered((<-cmd.found).Restart(ctx, sig.SDP))
	case refused == nil:
		return channels.CallReply{SDP: cmd.sdp}, nil
	case cmd.leg != nil:
		if err := cmd.leg.Close(); err != nil {
			c.log.Debug("close browser leg", "err", err)
		}
	}
	return channels.CallReply{Error: refused}, nil
}

// answered tells a browser what became of its offer.
func answered(sdp string, err error) (any, error) {
	var known *channels.Error
	switch {
	case errors.Is(err, webleg.ErrTooLong):
		return channels.CallReply{Error: channels.FailField(channels.TooLarge, "sdp", err.Error())}, nil
	case errors.Is(err, webleg.ErrOffer), errors.Is(err, webleg.ErrNoAnswer), errors.Is(err, webleg.ErrNoSound):
		return channels.CallReply{Error: channels.FailField(channels.Invalid, "sdp", err.Error())}, nil
	case errors.As(err, &known):
		return channels.CallReply{Error: known}, nil
	case err != nil:
		return nil, err
	}
	return channels.CallReply{SDP: sdp}, nil
}

// onCommand does it and answers; a consultation answers when it knows whom it has found.
func (c *call) onCommand(cmd command) {
	refused := c.do(cmd)
	if refused == errLater {
		return
	}
	cmd.reply <- refused
}

// do is the switch over all commands. nil: done.
func (c *call) do(cmd command) *channels.Error {
	if c.ended || c.state == "" {
		return errOver
	}
	c.changeSound(cmd.sound)
	switch cmd.Type { // the switchboard's
	case "join":
		c.join(cmd.AgentID, cmd.phones)
		return nil
	case "release":
		if cmd.AgentID == 0 || cmd.AgentID == c.agentID() { // else the next agent was faster
			c.letGo(cmd.Reason)
		}
		return nil
	case "say":
		c.toSay(cmd.CallSignal)
		return nil
	case "end":
		c.end(completed, orElse(cmd.Reason, "ended by the agent"), true)
		return nil
	case "supervise":
		return c.supervise(cmd)
	}
	if cmd.Visitor {
		return c.pageDoes(cmd)
	}
	p, s := c.whoIs(cmd.AgentID)
	if p == nil {
		return errNotYours
	}
	switch cmd.Type { // of anybody in the call
	case "connect":
		c.connect(p, s, cmd)
		return nil
	case "restart":
		if p.web == nil || cmd.Tab != p.tab {
			return errNotNow
		}
		cmd.found <- p.web
		return nil
	case "hangup", "decline", "unsupervise":
		c.leaves(s, cmd.Type)
		return nil
	}
	if s != agentSeat {
		return errNotYours
	}
	return c.agentDoes(cmd)
}

// agentDoes is what only the agent who has the call may do.
func (c *call) agentDoes(cmd command) *channels.Error {
	switch cmd.Type {
	case "mute":
		c.muted = cmd.On
	case "hold":
		if c.state != channels.CallBridged {
			return errNotNow
		}
		c.held = cmd.On
	case "record":
		if refused := c.setRecord(cmd.On); refused != nil {
			return refused
		}
	case "dtmf":
		return c.sendKey(cmd.Digit)
	case "consult", "transfer":
		return c.consult(cmd)
	case "swap":
		return c.swap()
	case "merge":
		return c.merge()
	case "complete":
		return c.complete()
	case "cancel":
		return c.cancelThird()
	default:
		return errUnknown
	}
	c.patch()
	c.news("")
	return nil
}

// whoIs finds a colleague's seat.
func (c *call) whoIs(agentID int64) (*party, seat) {
	for s, p := range c.who {
		if p != nil && agentID != 0 && p.agentID == agentID {
			return p, seat(s)
		}
	}
	return nil, 0
}

// leaves: a colleague hangs up.
func (c *call) leaves(s seat, how string) {
	switch s {
	case supervisorSeat:
		c.vacateSupervisor("")
	case thirdSeat:
		if how == "decline" {
			c.thirdGone("declined")
		} else {
			c.thirdGone("hung up")
		}
	default:
		c.agentLeaves()
	}
}

// agentLeaves: the agent who has the call hangs up. Nobody is cut off by that who still has somebody to talk to.
func (c *call) agentLeaves() {
	other := c.who[thirdSeat]
	switch {
	case other == nil:
		c.end(completed, "agent hung up", true)
	case c.passing && other.agentID == 0:
		c.stepOut()
	case c.talking == toBoth && other.up:
		_ = c.complete() // cannot fail: the third is there
	default: // only the consultation ends
		_ = c.cancelThird()
	}
}

// join: an agent has accepted. The music goes on until their sound is there.
func (c *call) join(agentID int64, at phones) {
	if c.agentID() == agentID && (c.state == channels.CallBridged || c.state == channels.CallConnecting) {
		c.news("") // told twice
		return
	}
	c.endVoicemail(mailPerson)
	if c.agent() != nil {
		c.letGo("passed on")
	}
	if c.state == channels.CallAnswered { // accepted before the caller asked: from a list
		c.music()
	}
	c.inputAt = time.Time{}
	p := c.offered
	if p != nil && p.agentID == agentID && p.asked() { // their telephones ring already, or one was answered
		c.offered = nil
	} else {
		c.offerOver(sipleg.Elsewhere)
		p = &party{agentID: agentID, phones: at}
	}
	c.expect(p)
	c.dia.Line(true)
	c.state = channels.CallConnecting
	c.askRead(agentID)
	c.askCard(agentID)
	c.moved()
	c.reach(p)
}

// expect gives the agent's seat to somebody whose sound is to come.
func (c *call) expect(p *party) {
	c.who[agentSeat] = p
	c.invite(p.agentID)
	c.talking, c.handed = toCaller, false
	c.agentAt = time.Now().Add(c.v.times.AgentConnect)
}

// invite lets an agent connect a browser. It speaks as the customer does, so that nothing is transcoded between the two.
func (c *call) invite(agentID int64) {
	var codec media.Codec
	if c.fromPage() {
		codec = media.Opus
	} else if leg := c.who[callerSeat].leg(); leg != nil {
		codec = leg.Format().Codec
	}
	c.invited.Store(agentID, codec)
}

// connect takes the leg of a colleague's browser: the first, or the one of a reloaded page.
func (c *call) connect(p *party, s seat, cmd command) {
	was := p.up
	c.dropPhones(p, sipleg.Elsewhere) // the sound is wanted here now
	p.name = orElse(cmd.Name, p.name)
	c.byWeb(p, cmd.leg, cmd.Tab)
	switch s {
	case agentSeat:
		if c.state == channels.CallBridged {
			c.comfort()
		}
		c.agentAt = time.Now().Add(c.v.times.AgentBack)
		c.askRead(p.agentID)
	case thirdSeat:
		c.thirdAt = time.Now().Add(c.v.times.AgentConnect)
		c.news("") // it no longer rings
	}
	if was {
		c.patch()
	}
}

func (c *call) onWeb(m fromWeb) {
	if m.p.web != m.leg || c.ended {
		return // a leg that was replaced or dropped
	}
	was := m.p.up
	switch m.e {
	case webleg.Connected:
		m.p.up = true
	case webleg.Disconnected:
		m.p.up = false
	default: // failed, closed: this leg does not come back, another may
		c.dropWeb(m.p)
	}
	if m.p.up == was {
		return
	}
	if m.p == c.who[callerSeat] {
		c.onCallerWeb(m.p)
		return
	}
	_, s := c.whoIs(m.p.agentID)
	switch {
	case m.p.up:
		c.arrived(m.p, s)
	case s == agentSeat:
		c.comfort()
		c.agentAt = time.Now().Add(c.v.times.AgentBack)
	case s == thirdSeat:
		c.thirdAt = time.Now().Add(c.v.times.AgentBack)
		c.patch()
	default:
		c.patch()
	}
}

// arrived: a colleague's browser is connected, or they have answered their telephone.
func (c *call) arrived(p *party, s seat) {
	switch s {
	case agentSeat:
		if c.state == channels.CallDialling {
			c.agentAt = time.Time{}
			c.dialCustomer()
			return
		}
		c.bridge()
	case thirdSeat:
		c.thirdUp()
	default:
		c.patch()
		c.news("")
	}
}

// bridge: caller and agent are there.
func (c *call) bridge() {
	if c.ended || !c.agent().here() || !c.who[callerSeat].answered() {
		return
	}
	c.agentAt, c.word.told = time.Time{}, false
	c.agent().pickUp()
	if c.whisperFirst() || c.tellFirst() || c.introduce() {
		return
	}
	c.playing, c.agent().done = nil, true
	c.endTalk()
	if c.bridgedAt.IsZero() {
		c.bridgedAt = time.Now()
	}
	c.state, c.newsAt = channels.CallBridged, time.Now().Add(newsEvery)
	c.order()
	c.patch()
	c.log.Info("call bridged", "agent", c.agentID(), "after", time.Since(c.answeredAt).Round(time.Millisecond))
	c.moved()
	c.news("")
}

// comfort: the agent's leg is away for the moment; the caller hears music.
func (c *call) comfort() {
	if c.state != channels.CallBridged {
		return
	}
	c.held = false
	c.state = channels.CallConnecting
	c.patch()
	c.moved()
	c.news("agent's connection lost")
}

// moved tells the house the new state of the call.
func (c *call) moved() {
	c.tell(c.about(channels.Inbound{Type: channels.CallMoved, CallState: c.state}))
}

// onAgentLate: the agent's browser did not come, or did not come back.
func (c *call) onAgentLate() {
	switch c.state {
	case channels.CallDialling:
		c.end(failed, "your browser did not connect", true)
	case channels.CallRinging: // nobody is left to talk to whom we call
		c.end(failed, "agent's connection lost", true)
	case channels.CallConnecting:
		spoken := !c.bridgedAt.IsZero()
		c.tell(c.about(channels.Inbound{Type: channels.AgentLost}))
		c.leave("connection lost")
		c.backInLine(spoken)
	}
}

// letGo: the agent has passed the caller on, or given them back to the line.
func (c *call) letGo(reason string) {
	if c.agent() == nil {
		return
	}
	was := c.state
	c.leave(orElse(reason, "released"))
	if was == channels.CallBridged {
		c.say(promptWaiting, c.thenMusic)
	}
}

// leave parts the caller from all colleagues and puts them in line.
func (c *call) leave(reason string) {
	bridged := c.state == channels.CallBridged
	c.state = channels.CallWaiting
	c.news(reason)
	c.endBriefing()
	c.held, c.muted, c.agentAt, c.throughBy = false, false, time.Time{}, time.Time{}
	c.vacate(agentSeat, reason)
	c.dropThird(reason)
	c.vacateSupervisor(reason)
	c.patch()
	c.moved()
	if bridged {
		c.music()
	}
}

const keyLength = 160 * time.Millisecond

// sendKey presses a key towards whom the agent talks to (RFC 4733).
func (c *call) sendKey(digit string) *channels.Error {
	to := c.keysGo()
	switch {
	case !validDigit(digit):
		return errBadKey
	case c.briefing.heard != nil: // it ends what they are being told
		c.briefed()
		return nil
	case c.state != channels.CallBridged || !to.here():
		return errNotNow
	}
	return c.press(to, digit[0])
}

// keysGo is whom the agent's keys are for; nil: nobody.
func (c *call) keysGo() *party {
	if c.talking == toThird {
		return c.who[thirdSeat]
	}
	return c.who[callerSeat]
}

// press presses a key towards somebody: a telephone without telephone-events gets it by INFO.
func (c *call) press(to *party, digit byte) *channels.Error {
	if to.sip != nil {
		to.sip.SendKey(digit)
		return nil
	}
	if err := to.leg().SendDTMF(digit, keyLength); err != nil {
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
