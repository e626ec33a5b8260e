package voice

import (
	"context"
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/trunks"
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
	c.sound = v.soundOf(ctx, 0, c.conversation)
	if c.unbus, err = v.cfg.Bus.Respond(channels.CallSubject(c.id), c.obey); err != nil {
		v.leave(c)
		return fmt.Errorf("call out: %w", err)
	}
	if l := v.takeLifted(req.AgentID); l != nil {
		c.expect(l.party(c))
	} else {
		c.expect(&party{agentID: req.AgentID, phones: v.phonesOf(ctx, req.AgentID)})
	}
	v.owns(c, c.conversation)
	go func() {
		defer v.leave(c)
		c.run()
	}()
	return nil
}

// dialCustomer: the agent's sound is up; call the number by the next way that is left.
func (c *call) dialCustomer() {
	p := &party{number: c.number}
	leg, err := c.way.dial(c.hears(p))
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
		c.way.taken()
		c.bridge()
	case sipleg.Held:
		c.onHold(e.Held)
	case sipleg.Key:
		c.onKey(e.Digit)
	case sipleg.Referred:
		e.Answer(603)
	case sipleg.Replaced:
		c.replace(p, e.By, c.way.now.Trunk)
	case sipleg.Redirected:
		c.way.targets = e.Targets
	case sipleg.Ended:
		switch {
		case p.up:
			c.onLegEnded(e)
		case c.way.again(e):
			c.dialCustomer()
		default:
			c.agent().refuse(e.Code, endInWords(e))
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
	v       *Voice
	by      int64 // the agent
	callID  int64
	shown   string         // number of ours
	now     *trunks.Route  // that is being tried, and then the one that was taken
	left    []trunks.Route // healthy ones first
	rang    bool           // it has rung there: no other way would do better
	targets []string       // where it was sent on to (3xx)
	sentOn  bool
	over    func()    // counts now's call out
	until   time.Time // when the trunk's money of the day is spent; zero: never
	upAt    time.Time
}

// plan asks the dial policy. Refusals are in words; the first way is reserved.
func (v *Voice) plan(ctx context.Context, by int64, number, from string, callID int64) (*wayOut, error) {
	routes, err := v.trunks.Routes(number, from, "")
	if err != nil {
		return nil, err
	}
	w := &wayOut{v: v, by: by, callID: callID, left: routes, shown: orElse(from, routes[0].Trunk.CallerNumber)}
	return w, w.next(ctx)
}

// next reserves the next way that the dial policy lets through.
func (w *wayOut) next(ctx context.Context) (err error) {
	w.hangUp()
	for len(w.left) > 0 {
		r := w.left[0]
		w.left = w.left[1:]
		if err = w.v.trunks.Reserve(ctx, &r, w.callID, w.by); err == nil {
			w.now, w.over = &r, r.Trunk.Begin()
			return nil
		}
	}
	if err == nil {
		err = errNoTrunk
	}
	return err
}

var errNoTrunk = channels.Fail(channels.Unavailable, "No way to the telephone network can be reached at the moment.")

// dial calls by the way that is reserved, or by the next when it cannot even be tried.
func (w *wayOut) dial(tell func(sipleg.Event)) (leg *sipleg.Leg, err error) {
	for w.now != nil {
		leg, err = w.v.sip.Dial(w.now.Dial(tell, w.v.external, w.v.times.OutsideRing))
		if err == nil {
			return leg, nil
		}
		ctx, cancel := context.WithTimeout(w.v.callsCtx, w.v.times.Receive)
		if more := w.next(ctx); more != nil {
			w.now = nil
		}
		cancel()
	}
	if err == nil {
		err = errNoTrunk
	}
	return nil, err
}

// again tells whether another way may do better: this one was out of order, and it has not rung there. Then that one is
// reserved, which takes a moment.
func (w *wayOut) again(e sipleg.Ended) bool {
	if e.Code == 408 || e.By == sipleg.ByFault || e.Code >= 500 {
		w.now.Failed()
	}
	if e.Code >= 300 && e.Code < 400 {
		return w.sendOn()
	}
	if w.rang || len(w.left) == 0 || !trunks.FailsOver(e.Code) && e.By != sipleg.ByFault {
		return false
	}
	ctx, cancel := context.WithTimeout(w.v.callsCtx, w.v.times.Receive)
	defer cancel()
	return w.next(ctx) == nil
}

// sendOn follows a redirection, once, where the trunk's row lets it: the new number is asked of the dial policy like any other.
func (w *wayOut) sendOn() bool {
	if w.sentOn || !w.now.Trunk.MayRedirect {
		return false
	}
	w.sentOn = true
	ctx, cancel := context.WithTimeout(w.v.callsCtx, w.v.times.Receive)
	defer cancel()
	for _, target := range w.targets {
		var uri sip.Uri
		if err := sip.ParseUri(target, &uri); err != nil {
			continue
		}
		routes, err := w.v.trunks.Routes(w.now.Trunk.E164(uri.User), "", "")
		if err != nil {
			continue
		}
		w.left = routes
		if w.next(ctx) == nil {
			return true
		}
	}
	return false
}

// taken notes that somebody has answered.
func (w *wayOut) taken() {
	w.upAt = time.Now()
	if w.now.Longest > 0 {
		w.until = w.upAt.Add(w.now.Longest)
	}
}

// hangUp gives the line back.
func (w *wayOut) hangUp() {
	if w.over != nil {
		w.over()
		w.over = nil
	}
}

// settle stores what the call has cost, beside the call. The line is free from now on.
func (w *wayOut) settle() {
	w.hangUp()
	if w.upAt.IsZero() {
		return
	}
	talked := time.Since(w.upAt)
	w.v.running.Add(1) // whoever asks is one of v.running
	go func() {
		defer w.v.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), w.v.times.Receive)
		defer cancel()
		if err := w.v.trunks.Settle(ctx, w.callID, w.now.PerMinute, talked); err != nil {
			w.v.log.Error("cost of a call not stored", "call", w.callID, "err", err)
		}
	}()
}
