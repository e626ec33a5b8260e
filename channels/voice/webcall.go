package voice

import (
	"context"
	"crypto/rand"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/trunks"
)

// A call from the web page: the same call as a telephone's, with a browser in the caller's seat. The visitor's chat
// (channels/chat) brings its commands; the browser may be away for a while and come back with another connection.

// page is what a call from the web page has beside others.
type page struct {
	id      string // stands for a Call-ID
	visitor channels.Address
	begun   chan begun // the page waits for it; filled once

	backBy time.Time // until when the browser must be connected (again)
	until  time.Time // when the call ends that nobody has answered
}

// begun is what became of a call that the web page has asked for.
type begun struct {
	id  int64
	err *channels.Error
}

// webPage stands for the number of a caller who has none, and for the one they called.
const webPage = "Web page"

var (
	errOneCall  = channels.Fail(channels.Conflict, "You are in a call already.")
	errFull     = channels.Fail(channels.Unavailable, "All our lines are busy. Try again in a few minutes.")
	errNotTaken = channels.Fail(channels.Unavailable, "The call could not be taken just now. Try again.")
)

// webCall begins a call and answers its browser when the house knows it.
func (v *Voice) webCall(req channels.VoiceRequest) (reply channels.CallReply, err error) {
	if req.Visitor == "" {
		return reply, errNotYours
	}
	p := &page{id: "web-" + rand.Text(), visitor: channels.Address{Kind: channels.Visitor, Value: req.Visitor}, begun: make(chan begun, 1)}
	c := &call{v: v, page: p, direction: channels.CallIn, number: webPage, name: trunks.CleanName(req.Name), ours: webPage, conversation: req.ConversationID,
		startedAt: time.Now(), mail: make(chan any, mailSize), gone: make(chan struct{}), log: v.log.With("web_call", p.id)}
	if refused := v.enterPage(c); refused != nil {
		return reply, refused
	}
	ctx, cancel := context.WithTimeout(v.callsCtx, 2*v.times.Receive)
	defer cancel()
	leg, sdp, err := v.web.Answer(ctx, req.SDP, media.Opus)
	if err != nil {
		v.leave(c)
		return reply, err
	}
	c.who[callerSeat] = &party{}
	c.byWeb(c.who[callerSeat], leg, "")
	go func() {
		defer v.leave(c)
		c.run()
	}()
	select {
	case b := <-p.begun:
		if b.err != nil {
			return reply, b.err
		}
		return channels.CallReply{CallID: b.id, SDP: sdp}, nil
	case <-c.gone:
	case <-ctx.Done():
		c.post(stopped{})
	}
	return reply, errNotTaken
}

// enterPage counts the call in: a visitor has one.
func (v *Voice) enterPage(c *call) *channels.Error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for other := range v.calls {
		if other.fromPage() && other.page.visitor == c.page.visitor {
			return errOneCall
		}
	}
	if !v.enterLocked(c) {
		return errFull
	}
	return nil
}

// fromPage: any goroutine may ask.
func (c *call) fromPage() bool { return c.page != nil }

// pageStarted answers the page; its browser is to connect now.
func (c *call) pageStarted() {
	c.page.until = c.answeredAt.Add(c.v.times.WebUnanswered)
	c.page.backBy = c.answeredAt.Add(c.v.times.CallerBack)
	c.page.begun <- begun{id: c.id}
}

// onCallerWeb: the caller's browser has connected, for the first time or again, or is away.
func (c *call) onCallerWeb(caller *party) {
	if !caller.up {
		c.callerAway()
		return
	}
	c.page.backBy = time.Time{}
	switch {
	case c.state == channels.CallConnecting && c.agent().here():
		c.bridge() // the agent was faster
	case c.talks():
		c.patch()
	case c.dia != nil:
		c.goOn()
	case c.state == channels.CallAnswered && c.greeted:
		c.say(promptGreeting, c.listen)
	case c.state == channels.CallAnswered:
		c.greet()
	default:
		c.music()
	}
}

// callerAway: the agent hears silence, the caller's place is kept for a while.
func (c *call) callerAway() {
	c.playing, c.inputAt = nil, time.Time{}
	c.who[callerSeat].comfort = none
	c.dia.Hold(true)
	c.page.backBy = time.Now().Add(c.v.times.CallerBack)
	if c.talks() {
		c.patch()
	}
}

// onCallerLate: the browser did not come, or did not come back.
func (c *call) onCallerLate() {
	if c.greeted || c.state != channels.CallAnswered {
		c.onHangup("caller's connection lost")
		return
	}
	c.end(failed, "the caller's browser did not connect", true)
}

// pageDoes what the visitor's page asks. nil: done.
func (c *call) pageDoes(cmd command) *channels.Error {
	caller := c.who[callerSeat]
	if !c.fromPage() || caller == nil {
		return errNotYours
	}
	switch cmd.Type {
	case "connect": // the page was loaded anew
		c.byWeb(caller, cmd.leg, "")
		c.callerAway()
	case "restart":
		if caller.web == nil {
			return errNotNow
		}
		cmd.found <- caller.web
	case "hangup":
		c.onHangup("caller hung up")
	case "dtmf":
		if !validDigit(cmd.Digit) {
			return errBadKey
		}
		c.onKey(cmd.Digit[0])
	default:
		return errUnknown
	}
	return nil
}
