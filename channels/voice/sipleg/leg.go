package sipleg

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
)

// state is how far a leg is.
type state uint8

const (
	fresh   state = iota // in: nobody has accepted it; out: nothing heard
	ringing              // in: accepted, unanswered; out: a provisional answer came
	up                   // there is a 2xx
	ended
)

// Leg is one side of a call that speaks SIP. Its methods may be called from any goroutine and never wait; what comes of
// them is told by events. One goroutine (run) owns everything below the line.
type Leg struct {
	stack    *Stack
	log      *slog.Logger
	key      dialogKey
	merge    inviteKey // of an inbound leg
	info     Info
	mail     *mailbox
	gone     chan struct{} // closed when nobody reads the mail any more
	media    *media.UDPLeg // made by Accept or Dial, before the owner can ask for it
	names    atomic.Pointer[named]
	answered atomic.Bool

	// ------------------------------------------------------------------ run's own
	tell   func(Event)
	state  state
	end    *Ended // once it has ended, until it was told
	told   bool
	clock  clock
	dialog *dialog
	in     *incoming
	out    *outgoing
	talks
	session
	referral
	keys
}

// Info is what is known of a leg from its first message. It does not change.
type Info struct {
	Inbound   bool
	CallID    string
	Transport string         // UDP, TCP, TLS
	Source    netip.AddrPort // where an inbound one came from
	request   *sip.Request   // its INVITE
}

// Info of the leg.
func (l *Leg) Info() Info { return l.info }

// Invite is the INVITE of an inbound leg, for who decides whom to let in; it must not be changed.
func (l *Leg) Invite() *sip.Request { return l.info.request }

// Media is the leg's sound; nil before Accept. It is the leg that closes it, at its end.
func (l *Leg) Media() *media.UDPLeg { return l.media }

// Accept is what the owner of an inbound leg says of it.
type Accept struct {
	Tell          func(Event)
	Prefs         sdp.Prefs
	External      netip.Addr // announced in SIP; invalid = the address that faces the peer
	ExternalMedia netip.Addr // announced in SDP; invalid = External, or the address that faces the peer
	Latch         media.LatchMode
	ToSource      bool // a device behind NAT: whatever it names, requests go where it was heard
}

// request is a request inside a dialog. done is closed when it has its final answer.
type request struct {
	*sip.Request
	tx     sip.ServerTransaction
	done   chan struct{}
	dialog *dialog
}

// named is how the other side knows a leg's dialog, and where it is called.
type named struct {
	replaces
	target string
}

func newLeg(s *Stack, info Info, key dialogKey) *Leg {
	return &Leg{stack: s, info: info, key: key, mail: newMailbox(), gone: make(chan struct{}), log: s.log.With("sip_call", info.CallID)}
}

// post hands a closure to the leg's goroutine; false: it is over.
func (l *Leg) post(f func()) bool { return l.mail.put(f) }

// serve hands a request to the leg and keeps its transaction alive until it is answered.
func (l *Leg) serve(req *sip.Request, tx sip.ServerTransaction) {
	m := request{Request: req, tx: tx, done: make(chan struct{})}
	if l.post(func() { l.onRequest(m) }) {
		select {
		case <-m.done:
			return
		case <-l.gone:
		}
	}
	select {
	case <-m.done:
	default:
		l.stack.reject(req, tx, unknownDialog())
	}
}

// run is the leg. It returns when the leg has ended and nothing of it is on its way any more.
func (l *Leg) run() {
	defer l.release()
	defer func() {
		if r := recover(); r != nil {
			l.stack.panics.Add(1)
			l.log.Error("leg panic", "panic", r, "stack", string(debug.Stack()))
			if l.stack.cfg.OnPanic != nil {
				l.stack.cfg.OnPanic()
			}
			l.crash()
		}
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !l.over() {
		timer.Reset(time.Until(l.clock.next(time.Now())))
		// Every way a leg ends passes through here:
		//   mail    the owner's Hangup and Refuse; BYE and CANCEL; the final answers to our INVITE and refreshes;
		//           a broken answer in ACK or PRACK
		//   timer   no ACK, no PRACK, no answer to ours, a session that nobody refreshed, an owner who does not decide
		//   ctx     the stack was cut
		select {
		case <-l.mail.bell:
			for f := l.mail.take(); f != nil && !l.over(); f = l.mail.take() {
				f()
			}
		case <-timer.C:
			l.onTime(time.Now())
		case <-l.stack.ctx.Done():
			return
		}
	}
}

// over: nothing is left to do.
func (l *Leg) over() bool {
	return l.state == ended && l.told && (l.out == nil || !l.out.open())
}

// finish ends the leg; it is told at once when there is somebody to tell.
func (l *Leg) finish(e Ended) {
	if l.state == ended {
		return
	}
	l.state, l.end = ended, &e
	l.clock = clock{}
	if l.out != nil && l.out.open() {
		l.clock.set(alarmCancelled, 64*l.stack.times.T1)
	}
	if l.waiting != nil {
		l.refuse(*l.waiting, unknownDialog())
		l.waiting = nil
	}
	if l.asked != nil { // a transfer that nobody decided on
		l.refuse(*l.asked, unknownDialog())
		l.asked = nil
	}
	l.endWords()
}

// endWords tells the end, once, and gives the media back.
func (l *Leg) endWords() {
	if l.media != nil {
		if err := l.media.Close(); err != nil {
			l.log.Warn("close media", "err", err)
		}
	}
	if l.told || l.end == nil {
		return
	}
	if l.tell == nil {
		if l.told = l.in.dropped; !l.told { // nobody is there to be told yet
			l.clock.set(alarmNobody, 64*l.stack.times.T1)
		}
		return
	}
	l.told = true
	l.log.Debug("leg ended", "code", l.end.Code, "reason", l.end.Reason)
	l.tell(*l.end)
}

// crash hangs up after a panic: nobody is left hanging on a line that no goroutine owns.
func (l *Leg) crash() {
	if l.state != ended {
		switch {
		case l.state == up:
			l.stack.byeLater(l.dialog, "internal error")
		case l.in != nil:
			l.stack.reject(l.in.req, l.in.tx, edge.Refuse(500, "Server Internal Error"))
		case l.out != nil:
			l.out.drop()
		}
		l.state, l.end = ended, &Ended{By: ByFault, Code: 500, Reason: "internal error"}
	}
	if l.tell != nil && !l.told {
		l.told = true
		l.tell(*l.end)
	}
}

// release runs at the very end, also after a panic.
func (l *Leg) release() {
	l.mail.close()
	close(l.gone)
	if l.out != nil {
		l.out.drop()
	}
	if l.media != nil {
		_ = l.media.Close() // closed already, unless the server cut us off
	}
}

// emit tells the owner.
func (l *Leg) emit(e Event) {
	if l.tell != nil && !l.told {
		l.tell(e)
	}
}

// Elsewhere is the reason of a Hangup when another telephone was answered (RFC 3326 section 2).
const Elsewhere = "Call completed elsewhere"

// Hangup ends the leg, whatever it is doing: CANCEL, BYE or a refusal. reason is for the other side's log.
func (l *Leg) Hangup(reason string) {
	l.post(func() {
		e := Ended{By: ByUs, Reason: reason}
		if l.state != up || !l.notifying() {
			l.hangup(e)
		} else if l.leaving == nil { // they learn how their transfer went, and then that it is over here
			l.leaving = &e
			l.clock.set(alarmLeave, lastWord*l.stack.times.T1)
		}
	})
}

// lastWord is how long, in T1, a BYE waits for the NOTIFY before it to be answered.
const lastWord = 4

// hangup ends the leg from our side.
func (l *Leg) hangup(e Ended) {
	switch {
	case l.state == ended:
		return
	case l.state == up:
		l.stack.byeLater(l.dialog, e.Reason)
	case l.in != nil:
		l.refuseCall(edge.Refuse(603, "Decline"), e)
		return
	default:
		l.out.elsewhere = e.Reason == Elsewhere
		l.takeBack()
	}
	l.finish(e)
}

// fail ends the leg because the other side broke the rules.
func (l *Leg) fail(reason string) { l.hangup(Ended{By: ByFault, Reason: reason}) }

// answer sends a final answer and lets the handler go.
func (l *Leg) answer(m request, code int, body []byte, headers ...sip.Header) {
	l.say(m, edge.Refuse(code, reasonOf(code), headers...), body)
}

// refuse is answer for a refusal.
func (l *Leg) refuse(m request, r *edge.Refusal) { l.say(m, r, nil) }

func (l *Leg) say(m request, r *edge.Refusal, body []byte) {
	if m.dialog == nil {
		l.stack.reject(m.Request, m.tx, r)
	} else {
		res := m.dialog.respond(m.Request, r.Code, r.Reason, body)
		for _, h := range r.Headers {
			res.AppendHeader(h)
		}
		l.stack.respond(m.tx, res)
	}
	close(m.done)
}

// onTime looks at every alarm that has gone off.
func (l *Leg) onTime(now time.Time) {
	for {
		a, ok := l.clock.due(now)
		if !ok {
			return
		}
		switch a {
		case alarmNobody:
			l.in.dropped = true
			l.endWords()
			l.refuseCall(edge.Refuse(500, "Server Internal Error"), Ended{By: ByFault, Code: 500, Reason: "nobody took the call"})
		case alarmRepeat2xx:
			l.repeat2xx()
		case alarmNoACK:
			l.fail("no ACK")
		case alarmRepeatRel:
			l.repeatReliable()
		case alarmNoPRACK:
			l.refuseCall(edge.Refuse(504, "Server Time-out"), Ended{By: ByFault, Code: 504, Reason: "no PRACK"})
		case alarmRing:
			l.ringAgain()
		case alarmReInvite:
			l.takeWaiting()
		case alarmNoAnswer:
			l.hangup(Ended{By: ByUs, Code: 408, Reason: "no answer"})
		case alarmNoResponse:
			l.nextHop()
		case alarmCancelled:
			l.out.drop()
		case alarmRefresh:
			l.refreshSession()
		case alarmExpired:
			l.fail("session not refreshed")
		case alarmLeave:
			l.hangup(*l.leaving)
		case alarmGlare:
			l.offerAgain()
		}
	}
}

// onRequest is one request inside the dialog.
func (l *Leg) onRequest(m request) {
	m.dialog = l.dialogOf(m.Request)
	switch {
	case m.dialog == nil || l.state == ended:
		l.refuse(m, unknownDialog())
	case m.dialog.advance(m.Request) != nil: // RFC 3261 section 12.2.2
		l.refuse(m, edge.Refuse(500, "CSeq Out Of Order"))
	default:
		l.dispatch(m)
	}
}

func (l *Leg) dispatch(m request) {
	switch m.Method {
	case sip.BYE:
		l.answer(m, 200, nil)
		l.onBye(m.dialog)
	case sip.INVITE:
		l.onReInvite(m)
	case sip.UPDATE:
		l.onUpdate(m)
	case sip.PRACK:
		l.onPRACK(m)
	case sip.INFO:
		l.onInfo(m)
	case sip.REFER:
		l.onRefer(m)
	case sip.NOTIFY:
		l.onNotify(m)
	case sip.OPTIONS:
		l.answer(m, 200, nil)
	default: // Validate lets nothing else through
		l.answer(m, 501, nil)
	}
}

// dialogOf is the dialog a request belongs to: ours, or one of the early ones that the called side has made.
func (l *Leg) dialogOf(req *sip.Request) *dialog {
	tag := tagOf(req.From().Params)
	if l.dialog != nil {
		if l.dialog.remoteTag == tag {
			return l.dialog
		}
		return nil
	}
	if l.out != nil {
		return l.out.early[tag]
	}
	return nil
}

// Probe asks the other side whether it is still in the call (OPTIONS inside the dialog). Any answer but "unknown dialog"
// says so; none within the limit says that it is not.
func (l *Leg) Probe(limit time.Duration) {
	l.post(func() {
		if l.state != up {
			return
		}
		req, err := l.dialog.request(sip.OPTIONS)
		if err != nil {
			l.log.Warn("probe", "err", err)
			return
		}
		l.stack.beside(func() {
			ctx, cancel := context.WithTimeout(l.stack.ctx, limit)
			defer cancel()
			res, err := l.stack.transact(ctx, req)
			l.post(func() {
				if l.state == up {
					l.emit(Probed{err == nil && res.StatusCode != 481 && res.StatusCode != 408})
				}
			})
		})
	})
}

// onBye is the other side's hanging up, or of an early dialog the end of that (RFC 3261 section 15.1.2).
func (l *Leg) onBye(d *dialog) {
	switch {
	case l.state == up:
		l.finish(Ended{By: ByPeer, Reason: "hung up"})
	case l.in != nil:
		l.refuseCall(edge.Refuse(487, "Request Terminated"), Ended{By: ByPeer, Code: 487, Reason: "hung up while ringing"})
	default:
		delete(l.out.early, d.remoteTag)
	}
}

// onInfo is a key by SIP INFO; anything else was refused before.
func (l *Leg) onInfo(m request) {
	if len(m.Body()) == 0 {
		l.answer(m, 200, nil)
		return
	}
	digit, ok := keyOfInfo(edge.MediaType(m.Request), m.Body())
	if !ok {
		l.refuse(m, edge.Refuse(400, "Unreadable Key"))
		return
	}
	l.answer(m, 200, nil)
	l.onKey(digit, byInfo)
}

// keyLength is how long we press a key.
const keyLength = 160 * time.Millisecond

// SendKey presses a key (0-9, *, #, A-D) towards the other side: as an event in the sound where they take those (RFC
// 4733), else by INFO.
func (l *Leg) SendKey(digit byte) {
	l.post(func() {
		if l.state != up || l.media.SendDTMF(digit, keyLength) == nil {
			return
		}
		req, err := l.dialog.request(sip.INFO)
		if err != nil {
			l.log.Warn("send key", "err", err)
			return
		}
		req.AppendHeader(sip.NewHeader("Content-Type", edge.TypeRelay))
		req.SetBody(fmt.Appendf(nil, "Signal=%c\r\nDuration=%d\r\n", digit, keyLength.Milliseconds()))
		l.do(req, 0, func(res *sip.Response, err error) {
			if err != nil || res.StatusCode >= 300 {
				l.log.Debug("key by INFO was not taken", "err", err) // without the digit
			}
		})
	})
}

// pressed takes a key from the media reader, which must not wait.
func (l *Leg) pressed(digit byte) { l.post(func() { l.onKey(digit, byEvent) }) }

func (l *Leg) onKey(digit byte, from keySource) {
	if l.press(digit, from, time.Now()) {
		l.emit(Key{Digit: digit, Info: from == byInfo})
	}
}

// identify lets others name a dialog of this leg in a Replaces (RFC 3891).
func (l *Leg) identify(d *dialog) {
	l.names.Store(&named{replaces{callID: d.callID, toTag: d.remoteTag, fromTag: d.localTag}, d.target.String()})
}
