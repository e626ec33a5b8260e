package voice

import (
	"context"
	"fmt"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/sipleg"
)

// dialOut begins a call of an agent to a customer: the agent's browser first, as for any call, then the number. The row is
// there already. It returns when the tab may connect; refusals are in words.
func (v *Voice) dialOut(req channels.VoiceRequest) error {
	ctx, cancel := context.WithTimeout(v.callsCtx, v.times.Receive)
	defer cancel()
	way, err := v.plan(ctx, req.AgentID, req.Number, req.From, req.CallID)
	if err != nil {
		return err
	}
	c := &call{v: v, direction: channels.CallOut, id: req.CallID, conversation: req.ConversationID, number: req.Number, ours: way.shown, way: way,
		state: channels.CallDialling, startedAt: time.Now(), mail: make(chan any, mailSize), gone: make(chan struct{}),
		log: v.log.With("call", req.CallID, "conversation", req.ConversationID)}
	if !v.enter(c) {
		return channels.Fail(channels.Unavailable, "The telephone has no free line.")
	}
	if c.unbus, err = v.cfg.Bus.Respond(channels.CallSubject(c.id), c.obey); err != nil {
		v.leave(c)
		return fmt.Errorf("call out: %w", err)
	}
	c.expect(req.AgentID)
	go func() {
		defer v.leave(c)
		c.run()
	}()
	return nil
}

// dialCustomer: the agent's sound is up; call the number by the next way that is left.
func (c *call) dialCustomer() {
	p := &party{number: c.number}
	leg, err := c.way.dial(func(e sipleg.Event) { c.post(fromSIP{p, e}) })
	if err != nil {
		c.end(failed, c.v.inWords(err, "call out").Text, true)
		return
	}
	p.sip = leg
	c.who[callerSeat] = p
	c.state = channels.CallRinging
	c.patch()
	c.moved()
	c.news("")
}

// onCalled is an event of the number that we call.
func (c *call) onCalled(p *party, e sipleg.Event) {
	switch e := e.(type) {
	case sipleg.Ringing:
		c.way.rang = true
		if e.Early && !p.early {
			p.early = true
			c.patch()
		}
	case sipleg.Answered:
		p.up, c.answeredAt = true, time.Now()
		c.bridge()
	case sipleg.Held:
		c.onHold(e.Held)
	case sipleg.Key:
		c.onKey(e.Digit)
	case sipleg.Referred:
		e.Answer(603)
	case sipleg.Replaced:
		e.By.Refuse(603, "")
	case sipleg.Ended:
		switch {
		case p.up:
			c.onLegEnded(e)
		case c.way.again(e):
			c.dialCustomer()
		default:
			c.finish(failed, endInWords(e))
		}
	}
}

// endInWords says why a call that we made did not come about, or how it ended.
func endInWords(e sipleg.Ended) string {
	switch e.Code {
	case 0:
		return orElse(e.Reason, "hung up")
	case 486, 600:
		return "busy"
	case 603, 607, 608:
		return "declined"
	case 408, 480, 487:
		return "did not answer"
	case 404, 410, 484, 604:
		return "this number does not exist"
	case 401, 403, 407:
		return "the trunk refused the call"
	case 415, 488, 606:
		return "no common codec"
	}
	if e.Code >= 500 {
		return "the trunk is out of order"
	}
	return fmt.Sprintf("refused (%d)", e.Code)
}

// wayOut is an outside number with the ways to it that are left to try.
type wayOut struct {
	shown string // number of ours
	rang  bool   // it has rung there: no other way would do better
	tries []func(tell func(sipleg.Event)) (*sipleg.Leg, error)
}

var errNoTrunk = channels.Fail(channels.Unavailable, "No trunk lets you call out.")

// plan asks the dial policy; refusals are in words.
func (v *Voice) plan(context.Context, int64, string, string, int64) (*wayOut, error) {
	return nil, errNoTrunk
}

// dial calls by the next way; an error when none is left.
func (w *wayOut) dial(tell func(sipleg.Event)) (*sipleg.Leg, error) {
	for len(w.tries) > 0 {
		try := w.tries[0]
		w.tries = w.tries[1:]
		leg, err := try(tell)
		if err == nil || len(w.tries) == 0 {
			return leg, err
		}
	}
	return nil, errNoTrunk
}

// again tells whether another way may do better: this one was out of order, and it has not rung there.
func (w *wayOut) again(e sipleg.Ended) bool {
	return !w.rang && len(w.tries) > 0 && (e.Code == 408 || e.Code >= 500 && e.Code < 600 || e.By == sipleg.ByFault)
}
