package sipleg

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
)

// Dial is a call to be made.
type Dial struct {
	Tell     func(Event)
	Hops     []edge.Hop // in this order, each after the one before said nothing or was out of service; at least one
	URI      string     // who is called
	From     string     // URI of who calls
	Name     string     // display name of who calls
	Headers  [][2]string
	User     string // credentials for who asks for them; User "" = none
	Password string

	Prefs         sdp.Prefs
	External      netip.Addr // announced in SIP; invalid = the address that faces the peer
	ExternalMedia netip.Addr // announced in SDP; invalid = External, or the address that faces the peer
	Latch         media.LatchMode
	ToSource      bool          // requests go to where the peer was called, whatever it names
	LargeByTCP    bool          // a request over 1,300 bytes goes by TCP instead of UDP (RFC 3261 section 18.1.1)
	NoAnswer      time.Duration // ringing longer than this is taken back; 0 = Times.NoAnswer
}

// outgoing is the client's half of the INVITE that began a leg.
type outgoing struct {
	leg       *Leg
	dial      Dial
	login     edge.Login
	target    sip.Uri
	from      sip.FromHeader
	seq       uint32
	hop       int
	offer     []byte
	now       *attempt
	early     map[string]*dialog  // by the other side's tag: each fork makes one
	acks      map[string]outbound // by tag: for the 2xx that come again
	sounds    bool                // early sound is to be heard
	rang      bool
	told183   bool
	tries     int  // with credentials, another interval
	elsewhere bool // it is taken back because another telephone was faster
	viaStream bool
}

// attempt is one INVITE on its way.
type attempt struct {
	req    *sip.Request
	path   path
	stop   context.CancelFunc
	heard  bool // a provisional answer came: it may be cancelled
	final  bool
	cancel bool // the CANCEL is out
}

// mtu is what a UDP request may have before it should go by TCP.
const mtu = 1300

// Dial calls somebody. The leg's events go to d.Tell from now on; an error means that there is no leg.
func (s *Stack) Dial(d Dial) (*Leg, error) {
	o := &outgoing{dial: d, login: edge.Login{User: d.User, Password: d.Password}, seq: 1, early: map[string]*dialog{}, acks: map[string]outbound{}}
	if err := sip.ParseUri(d.URI, &o.target); err != nil || !edge.Clean(d.URI) || o.target.Host == "" && o.target.Raw() == "" {
		return nil, fmt.Errorf("dial: uri %q", d.URI)
	}
	var from sip.Uri
	if err := sip.ParseUri(d.From, &from); err != nil || !edge.Clean(d.From) {
		return nil, fmt.Errorf("dial: from %q", d.From)
	}
	if len(d.Hops) == 0 {
		return nil, fmt.Errorf("dial %s: nowhere to send to", d.URI)
	}
	callID, tag := sip.GenerateTagN(32), sip.GenerateTagN(16)
	o.from = sip.FromHeader{DisplayName: HeaderText(d.Name), Address: from, Params: sip.HeaderParams{{K: "tag", V: tag}}}
	l := newLeg(s, Info{CallID: callID, Transport: strings.ToUpper(d.Hops[0].Transport), Source: d.Hops[0].Addr}, dialogKey{callID, tag})
	m, err := l.open(d.Hops[0].Addr.Addr(), d.Latch)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	l.media, l.out, l.tell, l.prefs = m, o, d.Tell, d.Prefs
	o.leg = l
	p := s.pathTo(d.Hops[0], d.External, d.ToSource)
	s.complete(&l.prefs, p)
	l.local = sdp.NewLocal(netip.AddrPortFrom(orAddr(d.ExternalMedia, p.here.Addr()), m.LocalAddr().Port()))
	if o.offer, err = l.local.Offer(l.prefs); err == nil {
		if r := s.enter(l); r != nil {
			err = fmt.Errorf("%d %s", r.Code, r.Reason)
		}
	}
	if err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("dial: %w", err)
	}
	if l.out.dial.NoAnswer == 0 {
		l.out.dial.NoAnswer = s.times.NoAnswer
	}
	go func() {
		defer s.leave(l)
		m.SDPSent() // before it is: the first packet may be faster than we are
		l.clock.set(alarmNoAnswer, o.dial.NoAnswer)
		o.send()
		l.run()
	}()
	return l, nil
}

// open: an INVITE of ours has no final answer yet.
func (o *outgoing) open() bool { return o.now != nil && !o.now.final }

// drop forgets the INVITE that is on its way.
func (o *outgoing) drop() {
	if o.open() {
		o.now.final = true
		o.now.stop()
	}
}

// send sends the INVITE to the current hop.
func (o *outgoing) send(credentials ...sip.Header) {
	l, s, hop := o.leg, o.leg.stack, o.dial.Hops[o.hop]
	a := &attempt{path: s.pathTo(hop, o.dial.External, o.dial.ToSource)}
	a.req = o.invite(a.path, credentials)
	if o.dial.LargeByTCP && a.path.transport == "UDP" && !o.viaStream && len(a.req.String()) > mtu {
		hop.Transport = "tcp"
		a.path = s.pathTo(hop, o.dial.External, o.dial.ToSource)
		a.req = o.invite(a.path, credentials)
	}
	a.path.dialled = true
	ctx, stop := context.WithCancel(s.ctx)
	a.stop = stop
	o.now = a
	if o.hop+1 < len(o.dial.Hops) {
		l.clock.set(alarmNoResponse, s.times.NextHop)
	}
	s.beside(func() {
		defer stop()
		err := s.converse(ctx, outbound{a.req, a.path, a.path.hop.Addr.String()}, func(res *sip.Response) {
			if !l.post(func() { l.onInviteAnswer(a, res) }) && res.IsSuccess() {
				s.stray(a, res)
			}
		})
		if err != nil {
			l.post(func() { l.onInviteFailed(a, err) })
		}
	})
}

// invite writes the INVITE.
func (o *outgoing) invite(p path, credentials []sip.Header) *sip.Request {
	from, to := o.from, sip.ToHeader{Address: *o.target.Clone()}
	req := newRequest(sip.INVITE, o.target, p, &from, &to, o.leg.info.CallID, o.seq)
	contact := contactOf(p)
	req.AppendHeader(&contact)
	o.leg.describe(req)
	for _, h := range o.leg.askSession() {
		req.AppendHeader(h)
	}
	for _, h := range o.dial.Headers {
		if edge.Clean(h[0]) && edge.Clean(h[1]) {
			req.AppendHeader(sip.NewHeader(h[0], h[1]))
		}
	}
	for _, h := range credentials {
		req.AppendHeader(h)
	}
	req.AppendHeader(sip.NewHeader("Content-Type", edge.TypeSDP))
	req.SetBody(o.offer)
	return req
}

// converse sends an INVITE and passes every answer on until the final one; repeated 2xx, and those of other forks, for
// as long as its transaction lives (RFC 6026 section 7.2).
func (s *Stack) converse(ctx context.Context, req outbound, hear func(*sip.Response)) error {
	if err := s.route(ctx, req); err != nil {
		return err
	}
	tx, err := s.ua.TransactionLayer().NewClientTransaction(ctx, req.Request)
	if err != nil {
		return err
	}
	tx.OnRetransmission(hear)
	if err := tx.Init(); err != nil {
		tx.Terminate()
		return err
	}
	for {
		select {
		case res := <-tx.Responses():
			hear(res)
			if !res.IsProvisional() {
				return nil
			}
		case <-tx.Done():
			return tx.Err()
		case <-ctx.Done():
			tx.Terminate()
			return context.Cause(ctx)
		}
	}
}

// stray is a 2xx whose leg is gone: it gets its ACK, and a BYE that nobody waits for.
func (s *Stack) stray(a *attempt, res *sip.Response) {
	d := calling(a.req, res, a.path)
	if ack, err := d.numbered(sip.ACK, a.req.CSeq().SeqNo); err == nil {
		s.write(ack)
	}
	if bye, err := d.request(sip.BYE); err == nil {
		s.write(bye)
	}
}

// onInviteAnswer is any answer to our INVITE.
func (l *Leg) onInviteAnswer(a *attempt, res *sip.Response) {
	o := l.out
	switch {
	case res.IsSuccess():
		a.final = true
		l.onAccepted(a, res)
	case a != o.now || a.final:
	case res.IsProvisional():
		a.heard = true
		l.clock.stop(alarmNoResponse)
		if l.state == ended {
			l.takeBack() // it could not be cancelled before
			return
		}
		l.onProvisional(a, res)
	default:
		a.final = true
		if l.state != ended {
			l.clock.stop(alarmNoResponse)
			l.onRefused(a, res)
		}
	}
}

// onProvisional: it rings, perhaps with sound, perhaps to be acknowledged (RFC 3262 section 4).
func (l *Leg) onProvisional(a *attempt, res *sip.Response) {
	tag := tagOf(res.To().Params)
	if res.StatusCode == 100 || l.state == up {
		return
	}
	o := l.out
	l.state = ringing
	if tag != "" {
		d := o.early[tag]
		if d == nil {
			d = calling(a.req, res, a.path)
			o.early[tag] = d
		}
		if !l.acknowledge(d, a, res) {
			return // repeated, or out of order
		}
		if !d.settled {
			l.early(d, res)
		}
		l.identify(d)
	}
	if !o.rang || o.sounds && !o.told183 {
		o.rang, o.told183 = true, o.sounds
		l.emit(Ringing{Early: o.sounds})
	}
}

// early takes the description of a provisional answer. It counts when the answer is reliable; else it is a preview of
// what the 2xx will say (RFC 3261 section 13.2.1).
func (l *Leg) early(d *dialog, res *sip.Response) {
	answer, r := described(res, res.Body())
	if r != nil || answer == nil {
		return
	}
	terms, err := l.local.Accept(answer)
	if err != nil {
		l.log.Info("early description", "err", err)
		return
	}
	d.terms, d.sounds, d.settled = terms, true, d.rseq != 0
	l.apply(terms)
	l.out.sounds = true
}

// acknowledge sends the PRACK of a reliable answer, once; false: it was heard before, or one before it was not.
func (l *Leg) acknowledge(d *dialog, a *attempt, res *sip.Response) bool {
	rseq := parseRSeq(headerValue(res, "rseq"))
	if rseq == 0 || !lists(res, "100rel", "require") {
		return true
	}
	if d.rseq != 0 && rseq != d.rseq+1 {
		return false
	}
	d.rseq = rseq
	d.learn(res)
	req, err := d.request(sip.PRACK)
	if err != nil {
		l.log.Warn("prack", "err", err)
		return true
	}
	req.AppendHeader(sip.NewHeader("RAck", fmt.Sprintf("%d %d INVITE", rseq, a.req.CSeq().SeqNo)))
	l.stack.beside(func() {
		ctx, cancel := context.WithTimeout(l.stack.ctx, 64*l.stack.times.T1)
		defer cancel()
		if res, err := l.stack.transact(ctx, req); err != nil {
			l.log.Info("prack without answer", "err", err)
		} else if res.StatusCode >= 300 {
			l.log.Info("prack refused", "code", res.StatusCode)
		}
	})
	return true
}

// onAccepted is a 2xx: the first one is the call; one of another fork, or after we took the call back, gets its ACK and
// a BYE; a repeated one the same ACK.
func (l *Leg) onAccepted(a *attempt, res *sip.Response) {
	o, tag := l.out, tagOf(res.To().Params)
	if ack, again := o.acks[tag]; again {
		l.stack.write(ack)
		return
	}
	d := o.early[tag]
	if d == nil {
		d = calling(a.req, res, a.path)
	}
	d.learn(res)
	ack, err := d.numbered(sip.ACK, a.req.CSeq().SeqNo)
	if err != nil {
		l.log.Warn("ack", "err", err)
	} else {
		o.acks[tag] = ack
		l.stack.write(ack)
	}
	if l.state >= up || a != o.now {
		l.stack.byeLater(d, "not wanted any more")
		return
	}
	l.clock.stop(alarmNoAnswer, alarmNoResponse)
	l.dialog, l.state = d, up
	l.identify(d)
	l.answered.Store(true)
	answer, r := described(res, res.Body())
	switch {
	case d.settled: // in a reliable answer: what the 2xx says does not count
		l.apply(d.terms)
	case r == nil && answer != nil:
		r = l.accept(answer)
	case r == nil && d.sounds:
		l.apply(d.terms)
	case r == nil:
		r = edge.Refuse(400, "no SDP in the answer")
	}
	if r != nil {
		l.fail(r.Reason)
		return
	}
	l.takeSession(res, false)
	l.emit(Answered{})
}

// onRefused is a final refusal: some are questions.
func (l *Leg) onRefused(a *attempt, res *sip.Response) {
	o, code := l.out, res.StatusCode
	again := func(h ...sip.Header) {
		o.tries++
		o.seq++
		clear(o.early)
		o.send(h...)
	}
	switch {
	case (code == 401 || code == 407) && o.tries < 3:
		if h := o.credentials(a.req, res); h != nil {
			again(h)
			return
		}
	case code == 422 && o.tries < 3:
		l.raise(res)
		again()
		return
	case code >= 300 && code < 400:
		var targets []string
		for _, h := range res.GetHeaders("contact") {
			if c, ok := h.(*sip.ContactHeader); ok && !c.Address.Wildcard {
				targets = append(targets, c.Address.String())
			}
		}
		l.emit(Redirected{targets})
	case (code == 503 || code == 408) && o.hop+1 < len(o.dial.Hops) && !o.rang:
		l.forward()
		return
	}
	reason := res.Reason
	if reason == "" {
		reason = reasonOf(code)
	}
	l.finish(Ended{By: ByPeer, Code: code, Reason: edge.Plain(reason)})
}

// onInviteFailed: no answer, or no way there.
func (l *Leg) onInviteFailed(a *attempt, err error) {
	o := l.out
	if a != o.now || a.final {
		return
	}
	a.final = true
	if l.state >= up {
		return
	}
	l.log.Info("invite", "hop", o.dial.Hops[o.hop].Addr, "err", err)
	switch {
	case a.path.transport != strings.ToUpper(o.dial.Hops[o.hop].Transport): // large, and TCP was not taken
		o.viaStream = true
		o.seq++
		o.send()
	case o.hop+1 < len(o.dial.Hops):
		l.forward()
	default:
		l.finish(Ended{By: ByFault, Code: 408, Reason: "no answer from the other side"})
	}
}

// nextHop: this one has said nothing so far.
func (l *Leg) nextHop() {
	if o := l.out; o.open() && !o.now.heard && o.hop+1 < len(o.dial.Hops) {
		o.drop()
		l.forward()
	}
}

// forward tries the next hop.
func (l *Leg) forward() {
	l.out.hop++
	l.out.seq++
	l.out.send()
}

// takeBack cancels our INVITE: at once when it was heard, else as soon as it is (RFC 3261 section 9.1).
func (l *Leg) takeBack() {
	a := l.out.now
	if a == nil || a.final || !a.heard || a.cancel {
		return
	}
	a.cancel = true
	req := sip.NewRequest(sip.CANCEL, a.req.Recipient)
	req.AppendHeader(a.req.Via().Clone()) // the same branch: that is how it is found
	id, hops := sip.CallIDHeader(a.req.CallID().Value()), sip.MaxForwardsHeader(70)
	req.AppendHeader(sip.HeaderClone(a.req.From()))
	req.AppendHeader(sip.HeaderClone(a.req.To()))
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: a.req.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.AppendHeader(&hops)
	if l.out.elsewhere { // else it would be listed as a missed call
		req.AppendHeader(sip.NewHeader("Reason", `SIP;cause=200;text="`+Elsewhere+`"`))
	}
	req.SetBody(nil)
	req.SetTransport(a.req.Transport())
	cancel := outbound{req, a.path, a.path.hop.Addr.String()}
	l.stack.beside(func() {
		ctx, stop := context.WithTimeout(l.stack.ctx, 64*l.stack.times.T1)
		defer stop()
		if _, err := l.stack.transact(ctx, cancel); err != nil {
			l.log.Info("cancel without answer", "err", err)
		}
	})
}
