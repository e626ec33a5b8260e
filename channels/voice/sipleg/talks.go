package sipleg

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
)

// talks is what the two sides have agreed on about the sound, and what they are just saying (RFC 3264, RFC 6337).
type talks struct {
	local  *sdp.Local
	prefs  sdp.Prefs
	agreed sdp.Terms
	held   bool // by them

	accepted *accepted // our last 2xx to an INVITE, until its ACK
	waiting  *request  // a re-INVITE that came before the ACK of the last one
	ours     *asking   // a re-INVITE or UPDATE of ours that has no final answer yet
}

// asking is a re-INVITE or UPDATE of ours.
type asking struct {
	req   outbound
	offer bool // it has a description
	tries int  // with credentials, another interval
	ack   *outbound
}

// offered reads the description in a request; both nil: it has none.
func offered(req *sip.Request) (*sdp.Session, *edge.Refusal) { return described(req, req.Body()) }

func described(m interface{ GetHeader(string) sip.Header }, body []byte) (*sdp.Session, *edge.Refusal) {
	text, err := sdp.FromBody(headerValue(m, "content-type"), body)
	if err != nil {
		return nil, refusalOf(err)
	}
	if text == nil {
		return nil, nil
	}
	s, err := sdp.Parse(text)
	if err != nil {
		return nil, refusalOf(err)
	}
	return s, nil
}

// refusalOf says what is wrong with a description.
func refusalOf(err error) *edge.Refusal {
	if errors.Is(err, sdp.ErrNoDescription) {
		return edge.Refuse(415, "Unsupported Media Type", sip.NewHeader("Accept", edge.TypeSDP))
	}
	if errors.Is(err, sdp.ErrUnreadable) {
		return edge.Refuse(400, "Unreadable SDP", sip.NewHeader("Warning", `399 patchbay "Unreadable session description"`))
	}
	return edge.Refuse(488, "Not Acceptable Here", sip.NewHeader("Warning", `305 patchbay "Incompatible media format"`))
}

// reply answers their offer. What it says is in force before the answer is out: what they send then is faster than we.
func (l *Leg) reply(offer *sdp.Session) ([]byte, *edge.Refusal) {
	body, terms, err := l.local.Answer(offer, l.prefs)
	if err != nil { // what was agreed before stays
		return nil, refusalOf(err)
	}
	l.apply(terms)
	return body, nil
}

// accept takes their answer to our offer.
func (l *Leg) accept(answer *sdp.Session) *edge.Refusal {
	terms, err := l.local.Accept(answer)
	if err != nil {
		return refusalOf(err)
	}
	l.apply(terms)
	return nil
}

// apply puts in force what was agreed.
func (l *Leg) apply(t sdp.Terms) {
	l.agreed = t
	l.media.SetRemote(remoteOf(t))
	l.secure(t)
	l.media.SDPSent()
	if t.Held != l.held {
		l.held = t.Held
		l.emit(Held{t.Held})
	}
}

// secure protects the sound as it was agreed. Keys that cannot be used leave the leg silent: it hears and says nothing in
// the clear that was to be private.
func (l *Leg) secure(t sdp.Terms) {
	var s media.Security
	switch {
	case t.SDES != nil:
		suite, _ := media.ParseSuite(t.SDES.Suite)
		s.SDES = &media.SDES{Suite: suite, Local: t.SDES.Local, Remote: t.SDES.Remote}
	case t.DTLS != nil:
		s.DTLS = &media.DTLS{Certificate: l.stack.certificate, Client: t.DTLS.Client, Hash: t.DTLS.Hash, Fingerprint: t.DTLS.Sum, Done: func(err error) {
			if err != nil {
				l.post(func() { l.fail("media not protected: " + err.Error()) })
			}
		}}
	}
	if err := l.media.SetSecurity(s); err != nil {
		l.log.Warn("media security", "err", err)
		l.post(func() { l.fail("media not protected") })
	}
}

// remoteOf is what their description means to the media.
func remoteOf(t sdp.Terms) media.Remote {
	codec := media.PCMU
	switch t.Codec {
	case sdp.PCMA:
		codec = media.PCMA
	case sdp.G722:
		codec = media.G722
	case sdp.Opus:
		codec = media.Opus
	}
	return media.Remote{Addr: t.Remote, RTCP: t.RTCP,
		Format: media.Format{Codec: codec, PayloadType: t.PayloadType, Events: t.Events, Comfort: t.Comfort}}
}

func retryLater() *edge.Refusal {
	return edge.Refuse(500, "Server Internal Error", sip.NewHeader("Retry-After", strconv.Itoa(rand.IntN(11))))
}

func pending() *edge.Refusal { return edge.Refuse(491, "Request Pending") }

// onReInvite: hold, resume, another address, another codec. sipgo runs each message on its own goroutine, so it may
// overtake the ACK before it: then it waits for that.
func (l *Leg) onReInvite(m request) {
	switch {
	case l.state != up && l.in == nil: // the called side, before its answer
		l.refuse(m, pending())
	case l.state != up || l.waiting != nil: // a second one before we answered the first (RFC 3261 section 14.2)
		l.refuse(m, retryLater())
	case l.ours != nil && l.ours.offer:
		l.refuse(m, pending())
	case l.accepted != nil:
		l.waiting = &m
		l.clock.set(alarmReInvite, l.stack.times.ReInviteHold)
	default:
		l.renegotiate(m)
	}
}

// takeWaiting answers the re-INVITE that had to wait.
func (l *Leg) takeWaiting() {
	if m := l.waiting; m != nil {
		l.waiting = nil
		l.clock.stop(alarmReInvite)
		l.renegotiate(*m)
	}
}

// renegotiate answers a re-INVITE.
func (l *Leg) renegotiate(m request) {
	if r := l.tooShort(m.Request); r != nil {
		l.refuse(m, r)
		return
	}
	offer, r := offered(m.Request)
	var body []byte
	switch {
	case r != nil:
	case offer != nil:
		body, r = l.reply(offer)
	default:
		var err error
		if body, err = l.local.Offer(l.prefs); err != nil {
			r = refusalOf(err)
		}
	}
	if r != nil {
		l.refuse(m, r)
		return
	}
	l.dialog.refresh(m.Contact())
	l.startSession(m.Request)
	res := l.dialog.respond(m.Request, 200, "OK", body)
	l.addSession(res)
	l.stack.respond(m.tx, res)
	close(m.done)
	l.await(m.tx, res, m.CSeq().SeqNo, offer == nil)
}

// onUpdate is a re-INVITE without ACK, which may also come before the answer (RFC 3311); without a body it refreshes.
func (l *Leg) onUpdate(m request) {
	d := m.dialog
	if r := l.tooShort(m.Request); r != nil {
		l.refuse(m, r)
		return
	}
	offer, r := offered(m.Request)
	if r == nil && offer != nil {
		r = l.mayOffer(d)
	}
	var body []byte
	if r == nil && offer != nil {
		body, r = l.reply(offer)
	}
	if r != nil {
		l.refuse(m, r)
		return
	}
	d.refresh(m.Contact())
	res := d.respond(m.Request, 200, "OK", body)
	if l.state == up {
		l.startSession(m.Request)
		l.addSession(res)
	}
	l.stack.respond(m.tx, res)
	close(m.done)
}

// mayOffer tells why they may not offer now (RFC 3311 section 5.2).
func (l *Leg) mayOffer(d *dialog) *edge.Refusal {
	switch {
	case l.ours != nil && l.ours.offer, l.accepted != nil && l.accepted.offer: // our own offer is open
		return pending()
	case l.state == up:
		return nil
	case l.out != nil: // our INVITE's offer is, unless an answer came early
		if d.settled {
			return nil
		}
		return pending()
	case l.in.open != nil && l.in.asks:
		return pending()
	case !l.in.settled: // theirs is unanswered
		return retryLater()
	}
	return nil
}

// Refresh says our description again, as it stands: it moves a session's timer, and tells a peer that lost it.
func (l *Leg) Refresh() { l.post(l.refreshSession) }

// ask sends a re-INVITE or UPDATE of ours.
func (l *Leg) ask(method sip.RequestMethod, body []byte, tries int, credentials ...sip.Header) {
	req, err := l.dialog.request(method)
	if err != nil {
		l.log.Warn("re-offer", "err", err)
		return
	}
	l.describe(req.Request)
	for _, h := range l.askSession() {
		req.AppendHeader(h)
	}
	for _, h := range credentials {
		req.AppendHeader(h)
	}
	if body != nil {
		req.AppendHeader(sip.NewHeader("Content-Type", edge.TypeSDP))
		req.SetBody(body)
	}
	a := &asking{req: req, offer: body != nil, tries: tries}
	l.ours = a
	l.stack.beside(func() {
		ctx, cancel := context.WithTimeout(l.stack.ctx, 64*l.stack.times.T1)
		defer cancel()
		err := l.stack.converse(ctx, req, func(res *sip.Response) { l.post(func() { l.onAnswered(a, res) }) })
		if err != nil {
			l.post(func() { l.onUnanswered(a, err) })
		}
	})
}

// describe adds what a peer may learn from any request of ours.
func (l *Leg) describe(req *sip.Request) {
	req.AppendHeader(rules.Allow())
	req.AppendHeader(rules.Supported())
}

// onUnanswered: nobody is there any more (RFC 4028 section 10).
func (l *Leg) onUnanswered(a *asking, err error) {
	if l.ours == a && l.state == up {
		l.ours = nil
		l.log.Info("no answer to refresh", "err", err)
		l.fail("no answer to our refresh")
	}
}

// onAnswered is an answer to a re-INVITE or UPDATE of ours, repeated 2xx too.
func (l *Leg) onAnswered(a *asking, res *sip.Response) {
	if res.IsProvisional() || l.dialog == nil {
		return
	}
	if res.IsSuccess() && a.req.Method == sip.INVITE {
		if a.ack == nil {
			l.dialog.refresh(res.Contact())
			if ack, err := l.dialog.numbered(sip.ACK, a.req.CSeq().SeqNo); err == nil {
				a.ack = &ack
			}
		}
		if a.ack != nil {
			l.stack.write(*a.ack)
		}
	}
	if l.ours != a || l.state != up {
		return
	}
	l.ours = nil
	switch code := res.StatusCode; {
	case res.IsSuccess():
		l.dialog.refresh(res.Contact())
		if a.offer {
			answer, r := described(res, res.Body())
			if r == nil && answer == nil {
				r = edge.Refuse(400, "no SDP in the answer")
			}
			if r == nil {
				r = l.accept(answer)
			}
			if r != nil {
				l.fail(r.Reason)
				return
			}
		}
		l.takeSession(res, true)
	case code == 491:
		l.clock.set(alarmGlare, l.backOff())
	case code == 408 || code == 481:
		l.fail("the other side does not know this call any more")
	case code == 422 && a.tries < 3:
		l.raise(res)
		l.ask(a.req.Method, a.req.Body(), a.tries+1)
	case (code == 401 || code == 407) && a.tries < 2 && l.out != nil:
		if h := l.out.credentials(a.req.Request, res); h != nil {
			l.ask(a.req.Method, a.req.Body(), a.tries+1, h)
		}
	case code == 500 || code == 503:
		if n, err := strconv.Atoi(strings.TrimSpace(headerValue(res, "retry-after"))); err == nil && n < 60 {
			l.clock.set(alarmGlare, time.Duration(n)*time.Second)
		}
	case a.req.Method == sip.UPDATE: // 405, 501, or 400 of who wants a description in it: a re-INVITE has one
		l.log.Info("refresh by UPDATE refused", "code", code)
		l.updates = false
		l.refreshSession()
	default:
		l.log.Info("refresh refused", "code", code) // the session goes on until it expires
	}
}

// backOff is the pause after 491 (RFC 3261 section 14.1): whoever owns the Call-ID waits longer.
func (l *Leg) backOff() time.Duration {
	unit := l.stack.times.Glare
	if l.info.Inbound {
		return time.Duration(rand.IntN(201)) * unit
	}
	return time.Duration(210+rand.IntN(191)) * unit
}

// offerAgain comes after a glare.
func (l *Leg) offerAgain() {
	if l.state == up && l.ours == nil {
		l.refreshSession()
	}
}
