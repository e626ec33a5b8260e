package voice

import (
	"errors"
	"math"
	"time"

	"patchbay/channels"
)

// callFrame is what a colleague's tabs get: the API's LiveOut.
type callFrame struct {
	Type string   `json:"type"` // call
	Call callNews `json:"call"`
}

// callNews is the state of a call as a colleague's tabs see it: the API's LiveCall.
type callNews struct {
	CallID         int64      `json:"call_id"`
	ConversationID int64      `json:"conversation_id"`
	State          string     `json:"state"` // dialling, ringing, connecting, bridged, waiting (let go), ended
	Role           string     `json:"role"`
	Direction      string     `json:"direction"`
	Web            bool       `json:"web,omitempty"`
	From           string     `json:"from"`
	Name           string     `json:"name,omitempty"`
	To             string     `json:"to,omitempty"`
	Third          *thirdNews `json:"third,omitempty"`
	TalkingTo      talk       `json:"talking_to,omitempty"`
	Recording      string     `json:"recording"`            // off, on, paused
	Whispering     bool       `json:"whispering,omitempty"` // I hear the hand-over; a key ends that, and the caller is through
	Written        bool       `json:"written,omitempty"`    // what is said is written down
	Held           bool       `json:"held"`
	Muted          bool       `json:"muted"`
	CallerHeld     bool       `json:"caller_held"`
	Supervisor     string     `json:"supervisor,omitempty"`
	SupervisorName string     `json:"supervisor_name,omitempty"`
	Quality        *hearing   `json:"quality,omitempty"`
	Tab            string     `json:"tab,omitempty"`    // the tab that has the sound
	Device         bool       `json:"device,omitempty"` // their SIP telephone has it, or rings
	StartedAt      time.Time  `json:"started_at"`
	BridgedAt      *time.Time `json:"bridged_at"`
	Reason         string     `json:"reason,omitempty"`
}

// hearing is how the customer's side is heard here, over the last slice: the API's CallQuality.
type hearing struct {
	MOS    float64 `json:"mos"`
	Lost   float64 `json:"lost"`   // per cent
	Jitter float64 `json:"jitter"` // milliseconds
	Delay  float64 `json:"delay"`  // round trip, milliseconds; 0 = unknown
}

// newsEvery is how often those in a call learn how the customer's side is heard.
const newsEvery = 5 * time.Second

var roles = [seats]string{agentSeat: "agent", thirdSeat: "consulted", supervisorSeat: "supervisor"}

// news tells every colleague in the call how it stands.
func (c *call) news(reason string) {
	for s, p := range c.who {
		if p != nil && p.agentID != 0 {
			c.v.publish(p.agentID, callFrame{"call", c.newsFor(seat(s), p, reason)})
		}
	}
}

func (c *call) newsFor(s seat, p *party, reason string) callNews {
	n := callNews{CallID: c.id, ConversationID: c.conversation, State: c.state, Role: roles[s], Direction: c.direction, From: c.number, Name: c.name,
		To: c.ours, CallerHeld: c.callerHeld, Recording: c.recording(), Tab: p.tab, Device: p.asked(), StartedAt: c.startedAt, Reason: reason}
	if !c.bridgedAt.IsZero() {
		n.BridgedAt = &c.bridgedAt
	}
	if c.state == channels.CallBridged {
		n.Quality, n.Written = c.hearing(), c.writes()
	}
	switch s {
	case agentSeat:
		n.Whispering = c.briefing.heard != nil
		n.Held, n.Muted, n.TalkingTo, n.Third = c.held, c.muted, c.talking, c.thirdNews()
		if c.mode == whisper || c.mode == barge || c.mode == listen && !c.v.cfg.HideListening { // laws differ
			n.Supervisor, n.SupervisorName = c.mode, c.who[supervisorSeat].name
		}
	case thirdSeat:
		n.TalkingTo, n.Third = c.talking, c.asker()
		switch {
		case p.up:
			n.State = channels.CallBridged
		case p.web != nil:
			n.State = channels.CallConnecting
		case c.state != channels.CallEnded:
			n.State = channels.CallRinging
		}
	case supervisorSeat:
		n.Supervisor = c.mode
		if !p.up && c.state == channels.CallBridged {
			n.State = channels.CallConnecting
		}
	}
	return n
}

// thirdNews is the third as the agent sees it; nil: there is none.
func (c *call) thirdNews() *thirdNews {
	p := c.who[thirdSeat]
	if p == nil {
		return c.note
	}
	n := &thirdNews{Kind: channels.TargetNumber, Name: p.number, Number: p.number, State: "ringing", Blind: c.passing}
	if p.agentID != 0 {
		n.Kind, n.Name, n.AgentID, n.Number = channels.TargetAgent, p.name, p.agentID, ""
	}
	switch {
	case p.up && c.talking == toCaller:
		n.State = "held"
	case p.up:
		n.State = "talking"
	}
	return n
}

// asker is the agent as the consulted colleague sees them; nil: has gone.
func (c *call) asker() *thirdNews {
	a := c.agent()
	if a == nil {
		return nil
	}
	n := &thirdNews{Kind: channels.TargetAgent, Name: a.name, AgentID: a.agentID, State: "ringing"}
	switch {
	case !c.who[thirdSeat].answered():
	case c.talking == toCaller:
		n.State = "held"
	default:
		n.State = "talking"
	}
	return n
}

// hearing is nil while nothing was heard.
func (c *call) hearing() *hearing {
	leg := c.who[callerSeat].leg()
	if leg == nil {
		return nil
	}
	q := leg.Quality()
	if q.MOS == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 {
		return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
	}
	return &hearing{MOS: math.Round(q.MOS*100) / 100, Lost: math.Round(q.Lost*100) / 100, Jitter: ms(q.Jitter), Delay: ms(q.RoundTrip)}
}

// publishEnded tells one colleague that the call is over for them.
func (c *call) publishEnded(agentID int64, reason string) {
	p, s := c.whoIs(agentID)
	if agentID == 0 {
		return
	}
	if p == nil {
		p, s = &party{agentID: agentID}, supervisorSeat
	}
	n := c.newsFor(s, p, reason)
	n.State, n.Third = channels.CallEnded, nil
	c.v.publish(agentID, callFrame{"call", n})
}

// inWords is what may be told of an error; nil: nothing went wrong.
func (v *Voice) inWords(err error, doing string) *channels.Error {
	var known *channels.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	}
	v.log.Error(doing, "err", err)
	return channels.Fail(channels.Unavailable, "This did not work. Try again.")
}
