package voice

import (
	"errors"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
)

// call is one caller's session, from INVITE to the last word about it. One goroutine (run) owns everything below the
// line; others post to its mail.
type call struct {
	v         *Voice
	log       *slog.Logger
	key       dialogKey
	invite    inviteKey
	remoteTag string
	mail      chan any
	withdrawn chan struct{} // the INVITE was cancelled; filled from inside the transaction, which must not wait
	gone      chan struct{} // closed when nobody reads the mail any more
	joined    atomic.Int64  // the agent who may connect, for a look before a browser leg is built

	// ------------------------------------------------------------------ run's own
	req     *sip.Request
	tx      sip.ServerTransaction
	dialog  *dialog
	offer   *sdp.Session // nil: the INVITE had none, we offer
	agreed  sdp.Terms
	sdp     *sdp.Local
	body    []byte // of our 200: the answer, or our offer
	leg     *media.UDPLeg
	unbus   func()
	waiting *request // a re-INVITE that came before the ACK of the last one
	holdTil time.Time

	state        string // "" while it rings, then channels.Call...
	id           int64  // of the row
	conversation int64
	arrival
	answeredAt time.Time
	bridgedAt  time.Time
	ended      bool

	menu
	desk
	outbox
}

// What lands in the mail, beside channels' commands (see command).
type (
	// request is a request inside the dialog. done is closed when it has its final answer; nil for ACK.
	request struct {
		req  *sip.Request
		tx   sip.ServerTransaction
		done chan struct{}
	}
	// key is a key that the caller pressed; info: by SIP INFO.
	key struct {
		digit byte
		info  bool
	}
	// cancelled: a CANCEL that found us without its transaction.
	cancelled struct{}
	// stopped: the server shuts down.
	stopped struct{}
)

const mailSize = 128

// How calls end: Call.Result.
const (
	completed = "completed"
	abandoned = "abandoned" // the caller left while waiting
	failed    = "failed"
)

func newCall(v *Voice, req *sip.Request, tx sip.ServerTransaction, a arrival, offer *sdp.Session) *call {
	d := newDialog(req, v.here(req.Source()))
	c := &call{v: v, req: req, tx: tx, dialog: d, offer: offer, remoteTag: d.remoteTag,
		key: dialogKey{d.callID, d.localTag}, invite: inviteKey{d.callID, d.remoteTag, req.CSeq().SeqNo},
		mail: make(chan any, mailSize), withdrawn: make(chan struct{}, 1), gone: make(chan struct{}),
		log: v.log.With("sip_call", d.callID)}
	c.arrival = a
	return c
}

// post hands something to the call; false: it is over.
func (c *call) post(m any) bool {
	select {
	case c.mail <- m:
		return true
	case <-c.gone:
		return false
	}
}

// pressed takes a key from the media reader, which must not wait.
func (c *call) pressed(digit byte) {
	select {
	case c.mail <- key{digit: digit}:
	default: // a hundred keys unread: nobody presses that
	}
}

// onCancelled runs inside the transaction, which is locked: a note, no more.
func (c *call) onCancelled(*sip.Request) {
	select {
	case c.withdrawn <- struct{}{}:
	default:
	}
}

// serve hands a request to the call and keeps its transaction alive until it is answered.
func (c *call) serve(req *sip.Request, tx sip.ServerTransaction) {
	m := request{req: req, tx: tx, done: make(chan struct{})}
	if c.post(m) {
		select {
		case <-m.done:
			return
		case <-c.gone:
		}
	}
	select {
	case <-m.done:
	default:
		c.v.reject(req, tx, edge.Refuse(481, "Call/Transaction Does Not Exist"))
	}
}

// run is the call. It returns when the call has ended and the house has been told.
func (c *call) run() {
	defer c.release()
	defer func() {
		if r := recover(); r != nil {
			c.v.panics.Add(1)
			c.log.Error("call panic", "panic", r, "stack", string(debug.Stack()))
			c.crash()
		}
	}()
	if !c.begin() {
		return
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !c.ended || c.unsent() {
		timer.Reset(time.Until(c.nextDeadline()))
		// Every way a call ends passes through here:
		//   mail       the caller's BYE, a broken answer in an ACK; the agent's hangup; the switchboard's end;
		//              the first Receive failing (503); the server stopping
		//   withdrawn  CANCEL while it rings
		//   timer      no ACK for our 2xx; no RTP
		//   callsCtx   the server's patience at shutdown is over
		select {
		case m := <-c.mail:
			c.handle(m)
		case <-c.withdrawn:
			c.onCancel()
		case <-c.playing:
			c.onPlayed()
		case e, ok := <-c.legEvents():
			c.onLegEvent(e, ok)
		case <-timer.C:
			c.onTime(time.Now())
		case <-c.v.callsCtx.Done():
			return
		}
	}
}

// begin rings: it takes the media ports and hands the call up. False: refused.
func (c *call) begin() bool {
	leg, err := media.NewUDPLeg(media.Config{Ports: c.v.ports, Pacer: c.v.pacer,
		OnDTMF: c.pressed, Log: c.log})
	if err != nil {
		c.log.Error("call refused", "err", err)
		c.v.reject(c.req, c.tx, busy())
		return false
	}
	c.leg = leg
	c.sdp = sdp.NewLocal(netip.AddrPortFrom(c.dialog.here.Addr(), leg.LocalAddr().Port()))
	body, t, r := c.describe(c.offer)
	if r != nil {
		c.v.reject(c.req, c.tx, r)
		return false
	}
	c.body, c.agreed, c.callerHeld = body, t, t.Held
	c.leg.SetRemote(remoteOf(t))
	// OnCancel is racy: register first, then look whether it has happened already.
	if !c.tx.OnCancel(c.onCancelled) || c.tx.Err() != nil {
		return false
	}
	c.v.send(c.tx, c.dialog.respond(c.req, 180, "Ringing", nil))
	c.tell(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice,
		From: channels.Address{Kind: channels.Phone, Value: c.caller}, Name: c.name,
		To: c.arrival.number.Number, QueueID: c.arrival.queueID(), SIPCallID: c.dialog.callID})
	return true
}

// handle takes one piece of mail.
func (c *call) handle(m any) {
	switch m := m.(type) {
	case request:
		c.onRequest(m)
	case key:
		if !c.ended {
			c.onKey(m)
		}
	case told:
		c.onTold(m)
	case command:
		c.onCommand(m)
	case cancelled:
		if c.state == "" && !c.ended {
			c.v.send(c.tx, c.dialog.respond(c.req, 487, "Request Terminated", nil))
			c.onCancel()
		}
	case stopped:
		if c.state == "" {
			c.refuse(503, "Service Unavailable")
			return
		}
		c.end(failed, "server stopped", true)
	}
}

// started: the house knows the call; answer it.
func (c *call) started(unbus func()) {
	c.unbus = unbus
	c.log = c.log.With("call", c.id, "conversation", c.conversation)
	if c.ended { // cancelled meanwhile: the row exists, so it gets its end
		c.tell(c.lastWord(abandoned, "cancelled while ringing"))
		return
	}
	c.leg.SDPSent() // before it is: the first packet may be faster than we are
	res := c.dialog.respond(c.req, 200, "OK", c.body)
	if err := c.tx.Respond(res); err != nil {
		if !errors.Is(err, sip.ErrTransactionCanceled) {
			c.log.Warn("answer", "err", err)
			c.finish(failed, "answer not sent")
			return
		}
		// CANCEL won. The 200 would be repeated in place of the 487 now: put that back.
		c.v.send(c.tx, c.dialog.respond(c.req, 487, "Request Terminated", nil))
		c.finish(abandoned, "cancelled while ringing")
		return
	}
	now := time.Now()
	c.dialog.wait(c.tx, res, c.req.CSeq().SeqNo, c.offer == nil, c.v.times.T1, now)
	c.state, c.answeredAt = channels.CallAnswered, now
	c.log.Info("call answered", "to", c.arrival.number.Number)
}

// refuse ends a call that rings.
func (c *call) refuse(code int, reason string) {
	if c.ended {
		return
	}
	r := edge.Refuse(code, reason)
	if code == 503 {
		r = busy()
	}
	res := c.dialog.respond(c.req, r.Code, r.Reason, nil)
	for _, h := range r.Headers {
		res.AppendHeader(h)
	}
	c.v.send(c.tx, res)
	c.finish(failed, reason)
}

func (c *call) onCancel() {
	if c.state != "" || c.ended {
		return // too late: it was answered, a BYE follows
	}
	c.finish(abandoned, "cancelled while ringing")
}

// end hangs up, or notes that they did, and queues the last word.
func (c *call) end(result, reason string, bye bool) {
	if c.ended {
		return
	}
	if bye {
		c.v.bye(c.dialog, c.log, reason)
	}
	c.finish(result, reason)
}

// finish takes the call apart. What is left is to tell the house.
func (c *call) finish(result, reason string) {
	word := c.lastWord(result, reason)
	c.ended, c.state = true, channels.CallEnded
	c.dialog.accepted = nil
	if c.waiting != nil {
		c.answer(*c.waiting, 481, "Call/Transaction Does Not Exist", nil)
		c.waiting = nil
	}
	c.news(reason)
	c.dropAgentLeg()
	c.joined.Store(0)
	c.playing = nil
	if err := c.leg.Close(); err != nil {
		c.log.Warn("close media", "err", err)
	}
	c.log.Info("call ended", "result", result, "reason", reason)
	if c.id != 0 {
		c.tell(word)
	}
}

// crash hangs up after a panic and tries once to tell the house: nobody is left hanging on a line that no goroutine owns.
func (c *call) crash() {
	if c.ended {
		return
	}
	c.ended = true
	if c.state == "" {
		c.v.send(c.tx, c.dialog.respond(c.req, 500, "Server Internal Error", nil))
	} else {
		c.v.bye(c.dialog, c.log, "internal error")
	}
	if c.id != 0 {
		c.handUp(c.lastWord(failed, "internal error"))
	}
}

// release runs at the very end, also after a panic.
func (c *call) release() {
	close(c.gone)
	if c.leg != nil {
		_ = c.leg.Close() // closed already, unless the server cut us off
	}
	c.dropAgentLeg()
	if c.unbus != nil {
		c.unbus()
	}
}

// onHangup is the caller's BYE.
func (c *call) onHangup() {
	result := completed
	if c.state == channels.CallWaiting || c.state == channels.CallConnecting && c.bridgedAt.IsZero() {
		result = abandoned
	}
	c.end(result, "caller hung up", false)
}

// nextDeadline is the earliest time something must be looked at.
func (c *call) nextDeadline() time.Time {
	next := time.Now().Add(time.Hour)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	sooner(c.retryAt)
	if c.ended {
		return next
	}
	sooner(c.inputAt)
	sooner(c.agentAt)
	if a := c.dialog.accepted; a != nil {
		sooner(a.due())
	}
	if c.waiting != nil {
		sooner(c.holdTil)
	}
	if d, watch := c.silence(); watch {
		sooner(time.Now().Add(d))
	}
	return next
}

// silence is how long the caller may still send nothing; not watched while on hold or before the answer.
func (c *call) silence() (left time.Duration, watch bool) {
	if c.state == "" || c.callerHeld {
		return 0, false
	}
	quiet, heard := c.leg.Silent()
	limit := c.v.times.NoRTPStart
	if heard {
		limit = c.v.times.NoRTP
	}
	if since := time.Since(c.resumedAt); !c.resumedAt.IsZero() && since < quiet {
		quiet = since // the time on hold does not count
	}
	return limit - quiet, true
}

// onTime looks at every deadline.
func (c *call) onTime(now time.Time) {
	reached := func(t *time.Time) bool {
		if t.IsZero() || now.Before(*t) {
			return false
		}
		*t = time.Time{}
		return true
	}
	if reached(&c.retryAt) {
		c.pump()
	}
	if c.ended {
		return
	}
	if a := c.dialog.accepted; a != nil {
		send, gone := a.again(now, c.v.times.T2)
		if gone {
			c.end(failed, "no ACK", true)
			return
		}
		if send {
			c.v.send(a.tx, a.res)
		}
	}
	if c.waiting != nil && reached(&c.holdTil) {
		m := *c.waiting
		c.waiting = nil
		c.renegotiate(m)
	}
	if reached(&c.inputAt) {
		c.onNoInput()
	}
	if reached(&c.agentAt) {
		c.onAgentLate()
	}
	if left, watch := c.silence(); watch && left <= 0 {
		c.end(failed, "no RTP", true)
	}
}

// callStats is what is stored with the row.
type callStats struct {
	Codec        string `json:"codec"`
	PacketsIn    uint64 `json:"packets_in"`
	PacketsOut   uint64 `json:"packets_out"`
	Lost         int64  `json:"lost"`
	JitterMS     int64  `json:"jitter_ms"`
	Strangers    uint64 `json:"strangers"` // packets from addresses that are not the caller's
	RemoteLost   uint32 `json:"remote_lost"`
	RemoteJitter int64  `json:"remote_jitter_ms"`
	RoundTripMS  int64  `json:"round_trip_ms"`
}

// lastWord is the CallEnded of this call.
func (c *call) lastWord(result, reason string) channels.Inbound {
	s := c.leg.Stats()
	stats := callStats{Codec: c.agreed.Codec, PacketsIn: s.PacketsIn, PacketsOut: s.PacketsOut, Lost: s.Lost, JitterMS: s.Jitter.Milliseconds(),
		Strangers: s.Strangers, RemoteLost: s.RemoteLost, RemoteJitter: s.RemoteJitter.Milliseconds(), RoundTripMS: s.RoundTrip.Milliseconds()}
	return c.about(channels.Inbound{Type: channels.CallEndedIn, Result: result, Reason: reason, Stats: stats})
}

// about fills in which call an Inbound is about.
func (c *call) about(in channels.Inbound) channels.Inbound {
	in.Channel, in.ConversationID, in.CallID, in.SIPCallID = channels.Voice, c.conversation, c.id, c.dialog.callID
	in.From = channels.Address{Kind: channels.Phone, Value: c.caller}
	return in
}
