package voice

import (
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/sdp"
)

// onRequest is one request inside the dialog, in the call's goroutine.
func (c *call) onRequest(m request) {
	if m.req.Method == sip.ACK {
		if !c.ended {
			c.onAck(m.req)
		}
		return
	}
	if c.ended || c.state == "" && m.req.Method != sip.BYE {
		c.answer(m, 481, "Call/Transaction Does Not Exist", nil)
		return
	}
	if c.dialog.advance(m.req) != nil { // RFC 3261 section 12.2.2
		c.answer(m, 500, "CSeq Out Of Order", nil)
		return
	}
	switch m.req.Method {
	case sip.BYE:
		c.answer(m, 200, "OK", nil)
		if c.state == "" { // the early dialog's end (RFC 3261 section 15.1.2)
			c.refuse(487, "Request Terminated")
			return
		}
		c.onHangup()
	case sip.INVITE:
		c.onReInvite(m)
	case sip.UPDATE:
		c.onUpdate(m)
	case sip.INFO:
		c.onInfo(m)
	case sip.OPTIONS:
		c.answer(m, 200, "OK", nil)
	default: // validate lets nothing else through
		c.answer(m, 501, "Not Implemented", nil)
	}
}

// answer sends a final answer and lets the handler go.
func (c *call) answer(m request, code int, reason string, body []byte, headers ...sip.Header) *sip.Response {
	res := c.dialog.respond(m.req, code, reason, body)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	c.v.send(m.tx, res)
	close(m.done)
	return res
}

// onAck: our 2xx has arrived. The first one starts the greeting; one that answers our offer brings the media.
func (c *call) onAck(req *sip.Request) {
	a, ok := c.dialog.acked(req)
	if !ok {
		return
	}
	if a.offer {
		answer, refused := described(req)
		switch {
		case refused != nil:
			c.end(failed, refused.Reason, true)
			return
		case answer == nil:
			c.end(failed, "no SDP in ACK", true)
			return
		}
		t, err := c.sdp.Accept(answer)
		if err != nil {
			c.end(failed, err.Error(), true)
			return
		}
		c.apply(t)
	}
	c.greet()
	if m := c.waiting; m != nil {
		c.waiting = nil
		c.renegotiate(*m)
	}
}

// apply takes what was agreed.
func (c *call) apply(t sdp.Terms) {
	c.agreed = t
	c.leg.SetRemote(remoteOf(t))
	c.leg.SDPSent()
	c.onHold(t.Held)
}

// onReInvite: hold, resume, another address, another codec. sipgo runs each message on its own goroutine, so it may
// overtake the ACK before it: then it waits for that.
func (c *call) onReInvite(m request) {
	if c.waiting != nil { // a second one before we answered the first (RFC 3261 section 14.2)
		c.answer(m, 500, "Server Internal Error", nil, sip.NewHeader("Retry-After", "1"))
		return
	}
	if c.dialog.accepted != nil {
		c.waiting, c.holdTil = &m, time.Now().Add(c.v.times.ReInviteHold)
		return
	}
	c.renegotiate(m)
}

// renegotiate answers a re-INVITE.
func (c *call) renegotiate(m request) {
	offer, refused := described(m.req)
	var body []byte
	var t sdp.Terms
	if refused == nil {
		body, t, refused = c.describe(offer)
	}
	if refused != nil { // what was agreed before stays
		c.answer(m, refused.Code, refused.Reason, nil, refused.Headers...)
		return
	}
	c.dialog.refresh(m.req)
	if offer != nil {
		c.apply(t) // before the answer is out: what they send then is faster than we are
	}
	res := c.answer(m, 200, "OK", body)
	c.dialog.wait(m.tx, res, m.req.CSeq().SeqNo, offer == nil, c.v.times.T1, time.Now())
}

// describe is our answer to offer, with what it agrees on, or an offer of ours when there is none.
func (c *call) describe(offer *sdp.Session) (body []byte, t sdp.Terms, r *edge.Refusal) {
	prefs := sdp.Prefs{Codecs: []string{sdp.PCMU, sdp.PCMA}}
	var err error
	if offer == nil {
		t.Codec = sdp.PCMU // until they have chosen
		body, err = c.sdp.Offer(prefs)
	} else {
		body, t, err = c.sdp.Answer(offer, prefs)
	}
	if err != nil {
		return nil, sdp.Terms{}, refuseSDP(err)
	}
	return body, t, nil
}

// onUpdate is a re-INVITE without ACK (RFC 3311); without a body it only refreshes.
func (c *call) onUpdate(m request) {
	offer, refused := described(m.req)
	if refused != nil {
		c.answer(m, refused.Code, refused.Reason, nil, refused.Headers...)
		return
	}
	if offer != nil && c.dialog.accepted != nil && c.dialog.accepted.offer { // our own offer is open (section 5.2)
		c.answer(m, 491, "Request Pending", nil)
		return
	}
	if offer == nil {
		c.dialog.refresh(m.req)
		c.answer(m, 200, "OK", nil)
		return
	}
	body, t, refused := c.describe(offer)
	if refused != nil {
		c.answer(m, refused.Code, refused.Reason, nil, refused.Headers...)
		return
	}
	c.dialog.refresh(m.req)
	c.answer(m, 200, "OK", body)
	c.apply(t)
}

// onInfo is a key by SIP INFO; anything else was refused before.
func (c *call) onInfo(m request) {
	if len(m.req.Body()) == 0 {
		c.answer(m, 200, "OK", nil)
		return
	}
	digit, ok := keyOfInfo(edge.MediaType(m.req), m.req.Body())
	if !ok {
		c.answer(m, 400, "Unreadable Key", nil)
		return
	}
	c.answer(m, 200, "OK", nil)
	c.onKey(key{digit: digit, info: true})
}
