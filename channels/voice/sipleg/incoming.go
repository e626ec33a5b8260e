package sipleg

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/sdp"
)

// incoming is the server's half of the INVITE that began a leg, and of the re-INVITEs after it.
type incoming struct {
	req      *sip.Request
	tx       sip.ServerTransaction
	offer    *sdp.Session // nil: it had none, we offer
	reply    []byte       // our answer to it
	replaces *Leg         // the leg whose place it takes
	refusal  *edge.Refusal
	dropped  bool // refused before it was accepted
	rang     int  // the last provisional answer; 0: none
	early    bool // it had our description
	reliable
}

// accepted is a 2xx on its way to its ACK. We repeat it ourselves: the transaction layer does not (RFC 6026 section
// 7.1, RFC 3261 section 13.3.1.4).
type accepted struct {
	tx    sip.ServerTransaction
	res   *sip.Response
	seq   uint32
	offer bool // the SDP in it is an offer: the ACK must bring the answer
	wait  time.Duration
}

func newInbound(s *Stack, req *sip.Request, tx sip.ServerTransaction) *Leg {
	tag := sip.GenerateTagN(16)
	info := Info{Inbound: true, CallID: req.CallID().Value(), Transport: req.Transport(), request: req}
	if src, err := netip.ParseAddrPort(req.Source()); err == nil {
		info.Source = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
	}
	l := newLeg(s, info, dialogKey{info.CallID, tag})
	l.merge = inviteKey{info.CallID, tagOf(req.From().Params), req.CSeq().SeqNo}
	// The 487 that sipgo itself sends on CANCEL takes its To from the request: now it has the tag of our 180.
	req.To().Params.Add("tag", tag)
	l.in = &incoming{req: req, tx: tx}
	l.in.ask = lists(req, "100rel", "supported", "require")
	l.clock.set(alarmNobody, 64*s.times.T1)
	return l
}

// check refuses what no owner could take.
func (l *Leg) check(req *sip.Request) *edge.Refusal {
	if r := l.tooShort(req); r != nil {
		return r
	}
	var r *edge.Refusal
	if l.in.replaces, r = l.stack.replaced(req); r != nil {
		return r
	}
	l.in.offer, r = offered(req)
	return r
}

// ring registers for the CANCEL. OnCancel is racy: register first, then look whether it has happened already.
func (l *Leg) ring(tx sip.ServerTransaction) {
	// It runs inside the transaction, which is locked: a note, no more.
	if !tx.OnCancel(func(*sip.Request) { l.post(func() { l.onCancelled(false) }) }) || tx.Err() != nil {
		l.post(func() { l.onCancelled(false) })
	}
}

// Accept takes an inbound leg: it gets its media and may ring and be answered. An error means that the caller was
// refused already (no common codec, no free port) and nothing will be told.
func (l *Leg) Accept(a Accept) error {
	m, err := l.open(l.info.Source.Addr(), a.Latch)
	if err != nil {
		l.drop(busy())
		return err
	}
	p := l.stack.pathTo(edge.Hop{Transport: l.info.Transport, Addr: l.info.Source}, a.External, a.ToSource)
	l.stack.complete(&a.Prefs, p)
	local := sdp.NewLocal(netip.AddrPortFrom(orAddr(a.ExternalMedia, p.here.Addr()), m.LocalAddr().Port()))
	var terms sdp.Terms
	var reply []byte
	if l.in.offer != nil {
		if reply, terms, err = local.Answer(l.in.offer, a.Prefs); err != nil {
			_ = m.Close()
			l.drop(refusalOf(err))
			return err
		}
		m.SetRemote(remoteOf(terms))
	}
	l.media = m
	l.post(func() {
		l.tell, l.local, l.prefs = a.Tell, local, a.Prefs
		l.clock.stop(alarmNobody)
		if l.state == ended { // cancelled meanwhile
			l.endWords()
			return
		}
		l.state = ringing
		l.dialog = answering(l.in.req, l.key.localTag, p)
		l.identify(l.dialog)
		l.in.reply = reply
		if reply != nil {
			l.agreed, l.held = terms, terms.Held
			l.secure(terms)
			if terms.Held {
				l.emit(Held{true})
			}
		}
		l.startSession(l.in.req)
	})
	return nil
}

func orAddr(a, b netip.Addr) netip.Addr {
	if a.IsValid() {
		return a
	}
	return b
}

// Refuse ends an unanswered inbound leg with any final code from 300; reason "" is the usual phrase.
func (l *Leg) Refuse(code int, reason string, headers ...sip.Header) {
	if reason == "" {
		reason = reasonOf(code)
	}
	if code == 503 && len(headers) == 0 {
		headers = busy().Headers
	}
	l.drop(edge.Refuse(code, reason, headers...))
}

// drop refuses an inbound leg that may have no owner yet.
func (l *Leg) drop(r *edge.Refusal) {
	l.post(func() {
		if l.tell == nil {
			l.in.dropped = true
		}
		if l.state == ended {
			l.endWords()
			return
		}
		l.refuseCall(r, Ended{By: ByUs, Code: r.Code, Reason: r.Reason})
	})
}

// refuseCall ends an unanswered inbound leg.
func (l *Leg) refuseCall(r *edge.Refusal, e Ended) {
	if l.in == nil || l.state >= up {
		return
	}
	l.in.refusal = r
	l.stack.reject(l.in.req, l.in.tx, r)
	if l.tell == nil && e.By == ByFault {
		l.in.dropped = true
	}
	l.finish(e)
}

// onCancelled: the caller gave up. Inside sipgo the transaction has had its 487; one that was found by Call-ID needs it.
func (l *Leg) onCancelled(answer bool) {
	if l.state >= up {
		return // too late: it was answered, a BYE follows
	}
	if answer {
		l.stack.reject(l.in.req, l.in.tx, edge.Refuse(487, "Request Terminated"))
	}
	l.in.refusal = edge.Refuse(487, "Request Terminated")
	l.finish(Ended{By: ByPeer, Code: 487, Reason: "cancelled while ringing"})
}

// Ring tells the caller that it rings (180).
func (l *Leg) Ring() { l.post(func() { l.provisional(180, false) }) }

// Early lets the caller hear us before the answer (183 with SDP). A caller who made no offer can only be told so by a
// reliable answer, and else hears nothing until Answer.
func (l *Leg) Early() { l.post(func() { l.provisional(183, true) }) }

// provisional sends an 18x, reliably where the caller knows that (RFC 3262).
func (l *Leg) provisional(code int, sound bool) {
	if l.in == nil || l.state != ringing {
		return
	}
	in := l.in
	var body []byte
	offer := false
	if sound || in.early {
		switch {
		case in.reply != nil:
			body = in.reply
		case in.ask && !in.settled:
			var err error
			if body, err = l.local.Offer(l.prefs); err != nil {
				l.log.Error("offer", "err", err)
				return
			}
			offer = true
		}
	}
	if in.ask && in.open != nil {
		in.queue = append(in.queue, func() { l.provisional(code, sound) }) // one at a time (RFC 3262 section 3)
		return
	}
	if in.settled && in.confirmed {
		body = nil // an answer that was acknowledged is not said again
	}
	if body != nil {
		l.media.SDPSent() // before it is: the first packet may be faster than we are
		in.early = true
	}
	res := l.dialog.respond(in.req, code, reasonOf(code), body)
	in.rang = code
	l.clock.set(alarmRing, l.stack.times.RingAgain)
	if !in.ask {
		l.stack.respond(in.tx, res)
		return
	}
	l.sendReliable(res, body != nil, offer)
}

// ringAgain repeats the last 18x: proxies give a call up after three minutes of silence.
func (l *Leg) ringAgain() {
	if l.state == ringing && l.in.rang != 0 && l.in.open == nil {
		l.provisional(l.in.rang, l.in.early)
	}
}

// Answer takes the call (200).
func (l *Leg) Answer() { l.post(l.take) }

func (l *Leg) take() {
	if l.in == nil || l.state != ringing {
		return
	}
	in := l.in
	if in.open != nil && in.sound { // RFC 3262 section 5: the answer in it must have arrived
		in.answering = true
		return
	}
	var body []byte
	offer := false
	switch {
	case in.settled: // in a reliable 18x and its PRACK
	case in.reply != nil:
		body = in.reply
	default:
		var err error
		if body, err = l.local.Offer(l.prefs); err != nil {
			l.log.Error("offer", "err", err)
			l.refuseCall(edge.Refuse(500, "Server Internal Error"), Ended{By: ByFault, Code: 500, Reason: "no offer"})
			return
		}
		offer = true
	}
	l.media.SDPSent() // before it is: the first packet may be faster than we are
	res := l.dialog.respond(in.req, 200, "OK", body)
	l.addSession(res)
	if err := in.tx.Respond(res); err != nil {
		if !errors.Is(err, sip.ErrTransactionCanceled) {
			l.log.Warn("answer", "err", err)
			l.finish(Ended{By: ByFault, Reason: "answer not sent"})
			return
		}
		// CANCEL won. The 200 would be repeated in place of the 487 now: put that back.
		l.onCancelled(true)
		return
	}
	l.clock.stop(alarmRing, alarmRepeatRel, alarmNoPRACK) // the PRACK of a 180 may still come, and is answered
	in.queue = nil
	l.state = up
	l.answered.Store(true)
	l.log.Debug("leg answered")
	l.await(in.tx, res, in.req.CSeq().SeqNo, offer)
}

// await notes the 2xx that we have just sent: it is repeated until its ACK.
func (l *Leg) await(tx sip.ServerTransaction, res *sip.Response, seq uint32, offer bool) {
	t1 := l.stack.times.T1
	l.accepted = &accepted{tx: tx, res: res, seq: seq, offer: offer, wait: t1}
	l.clock.set(alarmRepeat2xx, t1)
	l.clock.set(alarmNoACK, 64*t1)
}

func (l *Leg) repeat2xx() {
	if a := l.accepted; a != nil {
		l.stack.respond(a.tx, a.res)
		a.wait = min(2*a.wait, l.stack.times.T2)
		l.clock.set(alarmRepeat2xx, a.wait)
	}
}

// onAck: our 2xx has arrived. One that answers our offer brings the media.
func (l *Leg) onAck(req *sip.Request) {
	if l.dialog == nil || l.accepted == nil || l.accepted.seq != req.CSeq().SeqNo || l.dialog.remoteTag != tagOf(req.From().Params) {
		return // repeated, or a foreign one
	}
	a := l.accepted
	l.accepted = nil
	l.clock.stop(alarmRepeat2xx, alarmNoACK)
	if a.offer {
		answer, r := offered(req)
		if r == nil && answer == nil {
			r = edge.Refuse(400, "no SDP in ACK")
		}
		if r == nil {
			r = l.accept(answer)
		}
		if r != nil {
			l.fail(r.Reason)
			return
		}
	}
	if l.in != nil && a.tx == l.in.tx {
		l.emit(Acked{})
	}
	l.takeWaiting()
}

// randomSeq is where RSeq begins (RFC 3262 section 7.1).
func (s *Stack) randomSeq() uint32 {
	if s.cfg.FirstRSeq != 0 {
		return s.cfg.FirstRSeq
	}
	return 1 + rand.Uint32N(1<<31-1)
}
