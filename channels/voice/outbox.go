package voice

import (
	"context"
	"time"

	"patchbay/channels"
)

// outbox is what the house is still to be told, in order. One is on its way at a time; a failed one is tried again, and
// nothing overtakes it.
type outbox struct {
	queue   []*errand
	sending bool
	pause   time.Duration
	retryAt time.Time
}

// errand is one thing to be told. ready, if there is one, waits for what it lacks, beside the call; false: there is nothing to
// be told after all.
type errand struct {
	in    channels.Inbound
	ready func(in *channels.Inbound) bool
}

// told is what became of the first in the queue.
type told struct {
	receipt channels.Receipt
	sound   *queueSound // of CallStarted
	unbus   func()      // of CallStarted: the call's commands are answered
	err     error
}

const maxPause = 5 * time.Second

func (o *outbox) unsent() bool { return len(o.queue) > 0 }

func (c *call) tell(in channels.Inbound) { c.tellWhen(in, nil) }

// tellWhen tells it as soon as ready has returned; what is told after it waits as well.
func (c *call) tellWhen(in channels.Inbound, ready func(in *channels.Inbound) bool) {
	c.queue = append(c.queue, &errand{in, ready})
	if len(c.queue) == 1 {
		c.pump()
	}
}

// pump sends the first of the queue on a goroutine of its own: a slow database must not keep the caller's BYE waiting.
func (c *call) pump() {
	if c.sending || len(c.queue) == 0 {
		return
	}
	c.sending = true
	e := c.queue[0]
	c.v.running.Add(1) // the call itself is one of v.running
	go func() {
		defer c.v.running.Done()
		m := c.handUp(e)
		if !c.post(m) && m.unbus != nil {
			m.unbus()
		}
	}()
}

// handUp runs one Receive.
func (c *call) handUp(e *errand) (m told) {
	defer func() {
		if r := recover(); r != nil {
			c.v.panics.Add(1)
			c.log.Error("receive panic", "panic", r)
			m.err = channels.Fail(channels.Unavailable, "internal error")
		}
	}()
	if e.ready != nil {
		if !e.ready(&e.in) {
			return m
		}
		e.ready = nil // known, also when the house is asked again
	}
	in := e.in
	ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
	defer cancel()
	m.receipt, m.err = c.v.cfg.Receive(ctx, in)
	if m.err == nil && in.Type == channels.CallStarted {
		m.sound = c.v.soundOf(ctx, m.receipt.QueueID, m.receipt.ConversationID)
		m.unbus, m.err = c.v.cfg.Bus.Respond(channels.CallSubject(m.receipt.CallID), c.obey)
	}
	return m
}

func (c *call) onTold(m told) {
	c.sending = false
	in := c.queue[0].in
	if in.Type == channels.CallStarted {
		if c.ringsOn(m.err) {
			c.log.Warn("call: not received, it rings on", "err", m.err)
			c.retryAt = time.Now().Add(c.v.times.Retry)
			return
		}
		c.queue = c.queue[1:]
		c.id, c.conversation, c.sound = m.receipt.CallID, m.receipt.ConversationID, m.sound
		c.inLine = m.receipt.State == channels.Waiting || m.receipt.State == channels.Offered
		c.busy = m.receipt.Busy
		c.kept = m.receipt.Kept
		c.withPerson = c.fromPage() && m.receipt.State == channels.Agent
		switch {
		case m.err == nil:
			c.started(m.unbus)
		case c.ended: // also when the answer was lost after the commit: nobody else ends that row
			c.tell(c.lastWord(abandoned, "cancelled while ringing"))
		default:
			c.log.Error("call refused", "err", m.err)
			c.refuse(503, "not received")
			c.tell(c.lastWord(failed, "not received"))
		}
		c.pump()
		return
	}
	if m.err != nil && !hopeless(in, m.err) {
		if c.pause == 0 {
			c.log.Warn("call: receive, trying again", "type", in.Type, "err", m.err)
		}
		c.pause = min(max(2*c.pause, c.v.times.Retry), maxPause)
		c.retryAt = time.Now().Add(c.pause)
		return
	}
	if m.err != nil {
		c.log.Error("call: receive", "type", in.Type, "err", m.err)
	}
	if in.Type == channels.Words && !c.ended {
		c.onSaid(m.receipt, m.err)
	}
	if in.Type == channels.VoicemailLeft {
		c.onVoicemailTold(in, m.receipt, m.err)
	}
	if in.Type == channels.CallMe && !c.ended {
		c.onCallBackSet(m.receipt.Later, m.err)
	}
	if m.err != nil && in.Type == channels.OfferTaken { // somebody was faster
		c.offerOver(c.v.inWords(m.err, "accept offer").Text)
	}
	c.pause = 0
	c.queue = c.queue[1:]
	c.pump()
}

// ringsOn: the house is away, but may be back in a moment (Postgres that died serves again within a second): the caller hears
// it ring meanwhile, which is better than to be refused.
func (c *call) ringsOn(err error) bool {
	if err == nil || c.ended || time.Since(c.startedAt) > c.v.times.Receive {
		return false
	}
	code := channels.CodeOf(err)
	return code == "" || code == channels.Unavailable
}

// hopeless: trying again cannot help. A wish is given up only when it is granted already.
func hopeless(in channels.Inbound, err error) bool {
	switch channels.CodeOf(err) {
	case channels.Conflict:
		return true
	case channels.Invalid, channels.NotFound, channels.Forbidden:
		return in.Type != channels.Wish
	}
	return false
}
