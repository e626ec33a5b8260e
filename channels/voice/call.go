package voice

import (
	"log/slog"
	"runtime/debug"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/doctor"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/trunks"
)

// call is one caller's session, from INVITE to the last word about it. One goroutine (run) owns everything below the
// line; others post to its mail.
type call struct {
	v    *Voice
	log  *slog.Logger
	mail chan any
	gone chan struct{} // closed when nobody reads the mail any more

	// ------------------------------------------------------------------ run's own
	unbus func()
	leg   *sipleg.Leg   // of a caller by telephone, and
	trunk *trunks.Trunk // the trunk it came by
	way   *wayOut       // of a call that an agent makes
	page  *page         // of a call from the web page

	direction    string // in or out
	state        string // "" while it rings at us, then channels.Call...
	id           int64  // of the row
	conversation int64
	number, name string // the customer's
	ours         string // the number that was called, or is shown
	queueID      int64  // of that number; 0: the house's
	startedAt    time.Time
	answeredAt   time.Time
	bridgedAt    time.Time
	ended        bool

	menu
	conversing
	desk
	outbox
	record
	writing
	briefing  briefing
	line      inline
	back      backing
	serving   serving
	voicemail voicemail
	story     story
}

// stopped lands in the mail when the server shuts down, beside the leg's events and channels' commands (see command).
type stopped struct{}

const mailSize = 128

const moneySpent = "the trunk's money for the day is spent"

// How calls end: Call.Result.
const (
	completed = "completed"
	abandoned = "abandoned" // the caller left while waiting
	failed    = "failed"
)

func newCall(v *Voice, leg *sipleg.Leg, a trunks.Arrival) *call {
	c := &call{v: v, leg: leg, trunk: a.Trunk, direction: channels.CallIn, queueID: a.QueueID(), ours: a.Number.Number, number: a.Caller, name: a.Name, startedAt: time.Now(), mail: make(chan any, mailSize),
		gone: make(chan struct{}), log: v.log.With("sip_call", leg.Info().CallID)}
	c.who[callerSeat] = &party{sip: leg}
	c.tongues = a.Number.Languages
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
	c.begin()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !c.ended || c.unsent() {
		timer.Reset(time.Until(c.nextDeadline()))
		// Every way a call ends passes through here:
		//   mail       the leg's Ended (BYE, CANCEL, no ACK, a broken description ...); the agent's hangup; the
		//              switchboard's end; the first Receive failing (503); the server stopping
		//   timer      no RTP; the browser of a caller from the web page that does not come, or does not come back; nobody
		//              who answers such a call
		//   callsCtx   the server's patience at shutdown is over
		select {
		case m := <-c.mail:
			c.overhear(m)
			c.handle(m)
		case take := <-c.taken:
			c.onTaken(take)
		case <-c.playing:
			c.onPlayed()
		case <-c.briefing.heard:
			c.briefed()
		case h, ok := <-c.dia.Heard():
			c.dia.OnHeard(h, ok)
		case <-c.dia.News():
			c.dia.OnNews()
		case <-timer.C:
			c.onTime(time.Now())
		case <-c.v.callsCtx.Done():
			return
		}
		c.observe()
		c.waits()
	}
}

// begin rings and hands the call up.
func (c *call) begin() {
	if c.direction == channels.CallOut {
		c.reach(c.agent()) // then the number
		return
	}
	if c.leg != nil {
		c.leg.Ring()
	}
	c.tell(c.about(channels.Inbound{Type: channels.CallStarted, Name: c.name, To: c.ours, QueueID: c.queueID, Talks: c.speaks()}))
}

// handle takes one piece of mail.
func (c *call) handle(m any) {
	switch m := m.(type) {
	case fromSIP:
		c.onSIP(m)
	case fromWeb:
		c.onWeb(m)
	case fromPhone:
		c.onPhone(m)
	case offered:
		c.onOffer(m)
	case passed:
		c.onPassed(m)
	case lineAsked:
		c.onLine(m)
	case lineFound:
		c.onLineFound(m)
	case found:
		c.onFound(m)
	case told:
		c.onTold(m)
	case placed:
		c.onPlaced(m)
	case timesAsked:
		c.onTimes(m)
	case cardText:
		c.onCardText(m)
	case hasRead:
		c.onHasRead(m)
	case firstWord:
		c.onFirstWord(m)
	case wantTrace:
		m.reply <- c.trace()
	case drafted:
		c.dia.Draft(m.Draft)
	case command:
		c.onCommand(m)
	case voicemailTaken:
		c.onVoicemailTaken(m)
	case voicemailQuiet:
		if l := c.voicemail.leaving; l != nil && l.leg == m.of {
			c.endVoicemail(mailDone)
		}
	case voicemailFailed:
		if m.order == c.voicemail.order {
			c.endVoicemail(mailBroken)
		}
	case recordFailed:
		if !c.ended {
			c.endRecord()
			c.news("")
		}
	case stopped:
		if c.state == "" {
			c.refuse(503, "Service Unavailable")
			return
		}
		c.end(failed, "server stopped", true)
	}
}

// onSIP is an event of a telephone leg.
func (c *call) onSIP(m fromSIP) {
	switch {
	case c.ended || m.n != m.p.legs:
	case m.p == c.who[callerSeat] && c.direction == channels.CallIn:
		c.onCaller(m.p, m.e)
	case m.p == c.who[callerSeat]:
		c.onCalled(m.p, m.e)
	case m.p == c.who[thirdSeat]:
		c.onThird(m.p, m.e)
	}
}

// onCaller is an event of the caller's leg.
func (c *call) onCaller(p *party, e sipleg.Event) {
	switch e := e.(type) {
	case sipleg.Acked:
		c.greet()
	case sipleg.Held:
		c.onHold(e.Held)
	case sipleg.Key:
		c.onKey(e.Digit)
	case sipleg.Referred: // who calls us does not make us call others, at our cost
		e.Answer(603)
	case sipleg.ReferProgress:
		c.onReferProgress(e)
	case sipleg.Replaced:
		c.replace(p, e.By, c.trunk)
		c.leg = p.sip
		c.dia.Listen(p.leg())
	case sipleg.Ended:
		c.onLegEnded(e)
	}
}

// onLegEnded: the caller is gone, by their own doing or the network's.
func (c *call) onLegEnded(e sipleg.Ended) {
	switch {
	case e.By == sipleg.ByPeer && e.Code == 487: // perhaps while we answered: the CANCEL was faster
		c.finish(abandoned, e.Reason)
	case e.By == sipleg.ByPeer:
		c.onHangup("caller hung up")
	default:
		c.finish(failed, e.Reason)
	}
}

// started: the house knows the call; answer it.
func (c *call) started(unbus func()) {
	c.unbus = unbus
	c.log = c.log.With("call", c.id, "conversation", c.conversation)
	c.v.owns(c, c.conversation)
	if c.ended { // cancelled meanwhile: the row exists, so it gets its end
		c.tell(c.lastWord(abandoned, "cancelled while ringing"))
		return
	}
	c.state, c.answeredAt = channels.CallAnswered, time.Now()
	if c.fromPage() {
		c.pageStarted()
	} else {
		c.leg.Answer()
		c.who[callerSeat].up = true
	}
	c.log.Info("call answered", "to", c.ours)
}

// refuse ends a call that rings.
func (c *call) refuse(code int, reason string) {
	if c.ended {
		return
	}
	if c.fromPage() {
		c.page.begun <- begun{err: errNotTaken}
	} else {
		c.leg.Refuse(code, reason)
	}
	c.finish(failed, reason)
}

// end hangs up, or notes that they did, and queues the last word.
func (c *call) end(result, reason string, bye bool) {
	if c.ended {
		return
	}
	if bye {
		c.who[callerSeat].hangup(reason)
	}
	c.finish(result, reason)
}

// finish takes the call apart. What is left is to tell the house.
func (c *call) finish(result, reason string) {
	word := c.lastWord(result, reason)
	c.ended, c.state = true, channels.CallEnded
	c.story.result, c.story.reason = result, reason
	c.news(reason)
	c.playing = nil
	c.dismiss(reason)
	c.log.Info("call ended", "result", result, "reason", reason)
	if c.id != 0 {
		c.tell(word)
	}
}

// dismiss takes everybody but a customer's telephone out of a call that has ended.
func (c *call) dismiss(reason string) {
	c.endVoicemail(mailHangsUp)
	c.endTalk()
	c.endRecord()
	c.endWriting()
	c.endBriefing()
	if c.way != nil {
		c.way.settle()
		c.way = nil
	}
	if p := c.who[callerSeat]; p != nil {
		c.dropWeb(p)
	}
	c.vacate(agentSeat, reason)
	c.dropThird(reason)
	c.vacateSupervisor(reason)
	c.offerOver(reason)
	if c.room != nil {
		c.room.Close()
		c.room = nil
	}
}

// crash hangs up after a panic and tries once to tell the house: nobody is left hanging on a line that no goroutine owns.
func (c *call) crash() {
	if c.ended {
		return
	}
	c.ended, c.story.result, c.story.reason = true, failed, "internal error"
	c.who[callerSeat].hangup("internal error")
	if c.id != 0 {
		c.handUp(&errand{in: c.lastWord(failed, "internal error")})
	}
}

// release runs at the very end, also after a panic.
func (c *call) release() {
	close(c.gone)
	c.who[callerSeat].hangup("") // has ended already, unless the server cut us off
	c.tellDoctor()
	c.dismiss("")
	for _, unsubscribe := range []func(){c.unbus, c.drafts} {
		if unsubscribe != nil {
			unsubscribe()
		}
	}
}

// onHangup: the caller has gone.
func (c *call) onHangup(reason string) {
	result := completed
	if c.state == channels.CallWaiting || c.state == channels.CallConnecting && c.bridgedAt.IsZero() {
		result = abandoned
	}
	if c.leftVoicemail() {
		result = completed
	}
	c.end(result, reason, false)
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
	sooner(c.throughBy)
	sooner(c.briefing.by)
	sooner(c.line.lookAt)
	sooner(c.thirdAt)
	if l := c.voicemail.leaving; l != nil {
		sooner(l.until)
	}
	sooner(c.back.by)
	if c.way != nil {
		sooner(c.way.until)
	}
	if c.to != nil {
		sooner(c.to.until)
	}
	sooner(c.newsAt)
	sooner(c.dia.Deadline())
	if c.fromPage() {
		sooner(c.page.backBy)
		sooner(c.page.until)
	}
	if d, watch := c.silence(); watch {
		sooner(time.Now().Add(d))
	}
	sooner(c.quietAt())
	return next
}

// silence is how long the caller may still send nothing; not watched while on hold or before the answer.
func (c *call) silence() (left time.Duration, watch bool) {
	p := c.who[callerSeat]
	if p == nil || !p.up || p.heldUs {
		return 0, false
	}
	quiet, heard := p.silent()
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
	if reached(&c.inputAt) {
		c.onNoInput()
	}
	c.dia.OnTime(now)
	if reached(&c.agentAt) {
		c.onAgentLate()
	}
	if reached(&c.throughBy) {
		c.introduced()
	}
	if reached(&c.briefing.by) {
		c.onBriefLate()
	}
	if reached(&c.line.lookAt) {
		c.lookAtLine()
	}
	if reached(&c.thirdAt) {
		c.onThirdLate()
	}
	if l := c.voicemail.leaving; l != nil && reached(&l.until) {
		c.endVoicemail(mailDone)
	}
	if reached(&c.back.by) {
		c.onBackLate()
	}
	if reached(&c.newsAt) && c.state == channels.CallBridged {
		c.newsAt = now.Add(newsEvery)
		c.news("")
	}
	if c.way != nil && reached(&c.way.until) {
		c.end(failed, moneySpent, true)
	}
	if c.to != nil && reached(&c.to.until) { // the number that is consulted goes; the caller stays, unless they have only that
		c.thirdGone(moneySpent)
	}
	if c.fromPage() && reached(&c.page.backBy) {
		c.onCallerLate()
	}
	if c.fromPage() && reached(&c.page.until) && c.bridgedAt.IsZero() {
		c.end(abandoned, "nobody answered", true)
	}
	if left, watch := c.silence(); watch && left <= 0 {
		c.end(failed, "no RTP", true)
		return
	}
	c.askQuiet(now)
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

	Worst *doctor.Quality `json:"worst,omitempty"` // of all legs
}

// lastWord is the CallEnded of this call.
func (c *call) lastWord(result, reason string) channels.Inbound {
	var a account
	if p := c.who[callerSeat]; p != nil {
		a = p.account()
	}
	if a.codec == "" { // never called
		return c.about(channels.Inbound{Type: channels.CallEndedIn, Result: result, Reason: reason})
	}
	s := a.counts
	stats := callStats{Codec: a.codec, PacketsIn: s.PacketsIn, PacketsOut: s.PacketsOut, Lost: s.Lost, JitterMS: s.Jitter.Milliseconds(),
		Strangers: s.Strangers, RemoteLost: s.RemoteLost, RemoteJitter: s.RemoteJitter.Milliseconds(), RoundTripMS: s.RoundTrip.Milliseconds(), Worst: c.worst()}
	return c.about(channels.Inbound{Type: channels.CallEndedIn, Result: result, Reason: reason, Stats: stats})
}

// about fills in which call an Inbound is about.
func (c *call) about(in channels.Inbound) channels.Inbound {
	in.Channel, in.ConversationID, in.CallID, in.SIPCallID = channels.Voice, c.conversation, c.id, c.sipID()
	in.From = channels.Address{Kind: channels.Phone, Value: c.number}
	if c.fromPage() {
		in.From, in.Media = c.page.visitor, channels.ByWeb
	}
	return in
}

// sipID is the Call-ID of the customer's leg.
func (c *call) sipID() string {
	if p := c.who[callerSeat]; p != nil && p.sip != nil {
		return p.sip.Info().CallID
	}
	if c.fromPage() {
		return c.page.id
	}
	return ""
}
