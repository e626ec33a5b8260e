package voice

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/devices"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/trunks"
)

// The agents' SIP telephones in calls. Who wants their calls there is rung there: at once when a call is offered to them,
// and for every call that is theirs. All telephones of an agent ring, the first that is answered has the sound. One that
// cannot be reached never keeps a caller waiting: the sound comes to the browser, with words.

// phones are a colleague's telephones, for one call.
type phones struct {
	at    []devices.Telephone // where they may be rung
	words string              // why not, though they are wanted
	offer int64               // what rings is an offer: who answers has accepted it; 0: the call is theirs already
	sets  []*telephone        // that ring, or the one that was answered
	no    bool                // somebody has declined

	line   *telephone  // its second line, on which it has dialled somebody; nil: none
	passes *sipleg.Leg // where it has asked to pass the caller on, by its own button (REFER); nil: it has not
	failed time.Time   // when that did not work
}

// telephone is one of them, ringing or answered, or the second line of one.
type telephone struct {
	p    *party
	leg  *sipleg.Leg
	up   bool // of a second line: it was answered
	held bool // by the telephone
}

// fromPhone lands in the mail of a call from its colleagues' telephones.
type fromPhone struct {
	set *telephone
	e   sipleg.Event
}

// offered says that the call is offered to an agent whose telephones are to ring, or that an offer has ended.
type offered struct {
	channels.OfferNews
	phones
}

const (
	wordsNotRegistered = "Your telephone is not registered: the sound comes to the browser."
	wordsNotReached    = "Your telephone does not answer: the sound comes to the browser."
	wordsPhoneLost     = "The connection to your telephone was lost: the sound comes to the browser."
)

// phonePrefs is what telephones on desks may speak; keys for encryption stand in the description, so only inside TLS.
func phonePrefs(transport string) sdp.Prefs {
	p := sdp.Prefs{Codecs: []string{sdp.PCMU, sdp.PCMA, sdp.G722}, SRTP: sdp.Off, Keys: sdp.SDES, Comfort: true, Mux: true}
	if strings.EqualFold(transport, "tls") {
		p.SRTP = sdp.Optional
	}
	return p
}

// asked tells whether the party's sound is, or is to be, a telephone's.
func (p *phones) asked() bool { return len(p.sets) > 0 }

// hush stops what rings, and a line beside the one that has the sound, but not that.
func (p *party) hush(reason string) {
	for _, set := range append(p.sets, p.line) {
		if set != nil && set.leg != p.sip {
			set.leg.Hangup(reason)
		}
	}
	p.sets, p.line = nil, nil
}

// account is who may log in: trunks that must, and telephones.
func (v *Voice) account(user string) (edge.Account, bool) {
	if a, ok := v.trunks.Account(user); ok || v.phones == nil {
		return a, ok
	}
	return v.phones.Account(user)
}

// outside answers what belongs to no call.
func (v *Voice) outside(req *sip.Request) *edge.Refusal {
	if req.Method != sip.REGISTER || v.phones == nil || len(v.cfg.Phones) == 0 {
		return nil
	}
	return v.phones.Register(req)
}

// phonesOf are the telephones where an agent's calls ring; none for who takes them in the browser.
func (v *Voice) phonesOf(ctx context.Context, agentID int64) (p phones) {
	if v.phones == nil || agentID == 0 {
		return p
	}
	list, wanted, err := v.phones.Telephones(ctx, agentID)
	switch {
	case err != nil:
		v.log.Warn("telephones not found", "agent", agentID, "err", err)
	case wanted && len(list) == 0:
		p.words = wordsNotRegistered
	default:
		p.at = list
	}
	return p
}

// owns notes which call a conversation's offers are about.
func (v *Voice) owns(c *call, conversation int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.owners[conversation] = c
}

// offers takes news of offers, on the bus's goroutine, in their order.
func (v *Voice) offers(_ string, data []byte) {
	var o offered
	if json.Unmarshal(data, &o.OfferNews) != nil {
		return
	}
	v.mu.Lock()
	c := v.owners[o.ConversationID]
	v.mu.Unlock()
	if c == nil {
		return // another node's, or no call
	}
	if o.Outcome == "" {
		if o.phones = v.phonesOf(v.callsCtx, o.AgentID); len(o.at) == 0 {
			return
		}
	}
	c.post(o)
}

// onOffer rings at the agent's telephones, or stops that.
func (c *call) onOffer(o offered) {
	p := c.offered
	switch {
	case c.ended:
	case o.Outcome == "" && c.agent() == nil && p == nil:
		c.offered = &party{agentID: o.AgentID, phones: o.phones}
		c.offered.offer = o.OfferID
		if !c.ring(c.offered) {
			c.offered = nil
		}
	case o.Outcome == "" || p == nil || p.offer != o.OfferID:
	case o.Outcome == channels.OfferAccepted:
		p.offer = 0 // by a click, or by themselves: join follows
	default:
		c.offerOver("the offer has ended")
	}
}

// offerOver stops the telephones of an agent who does not have the call.
func (c *call) offerOver(reason string) {
	if p := c.offered; p != nil {
		c.offered = nil
		p.hangup(reason)
		p.hush(reason)
	}
}

// reach brings a colleague's sound: by their telephones, else their browser connects when it hears of the call.
func (c *call) reach(p *party) {
	switch {
	case p.sip != nil && (p.up || p.early):
		_, s := c.whoIs(p.agentID)
		c.arrived(p, s)
		return
	case p.asked() || c.ring(p):
		if p == c.agent() {
			c.agentAt = time.Time{} // the telephones tell when they give up
		}
		c.news("")
	default:
		c.news(p.words)
	}
}

// ring rings at all of the party's telephones; false: at none.
func (c *call) ring(p *party) bool {
	limit := c.v.times.ConsultRing
	if p == c.offered {
		limit = c.v.times.OutsideRing // the offer's end ends it
	}
	for _, t := range p.at {
		set := &telephone{p: p}
		user := "anonymous"
		if bare, ok := trunks.Digits(c.number); ok {
			user = bare
		}
		from := sip.Uri{Scheme: "sip", User: user, Host: c.v.sip.Here(t.Hop, c.v.external).Addr().String()}
		leg, err := c.v.sip.Dial(sipleg.Dial{Tell: func(e sipleg.Event) { c.post(fromPhone{set, e}) }, Hops: []edge.Hop{t.Hop}, URI: t.URI,
			From: from.String(), Name: c.name, Prefs: phonePrefs(t.Hop.Transport), External: c.v.external, Latch: media.LatchOn, ToSource: true, NoAnswer: limit})
		if err != nil {
			c.log.Warn("telephone not rung", "agent", p.agentID, "telephone", t.Name, "err", err)
			continue
		}
		set.leg = leg
		p.sets = append(p.sets, set)
	}
	return p.asked()
}

// onPhone is an event of a colleague's telephone.
func (c *call) onPhone(m fromPhone) {
	set, p := m.set, m.set.p
	i := slices.Index(p.sets, set)
	if i < 0 && p.line != set || c.ended {
		if _, late := m.e.(sipleg.Answered); late { // taken out of the call meanwhile
			set.leg.Hangup(sipleg.Elsewhere)
		}
		return
	}
	switch e := m.e.(type) {
	case sipleg.Answered:
		c.phoneUp(set)
	case sipleg.Held:
		c.phoneHeld(set, e.Held)
	case sipleg.Key:
		c.phoneKey(p, e)
	case sipleg.Probed:
		c.onProbed(p, set.leg, e.Alive)
	case sipleg.Referred:
		c.phoneRefers(set, e)
	case sipleg.Replaced:
		e.By.Refuse(603, "")
	case sipleg.Ended:
		if c.lineEnded(set, e) {
			return
		}
		p.sets = slices.Delete(p.sets, i, i+1)
		if p.sip == set.leg {
			c.phoneGone(p, e)
			return
		}
		p.no = p.no || e.Code == 486 || e.Code == 600 || e.Code == 603
		if e.Code == 600 || e.Code == 603 { // on all of them
			p.hush("declined")
		}
		if !p.asked() {
			c.phonesSilent(p)
		}
	}
}

// phoneUp: one was answered; the others stop.
func (c *call) phoneUp(set *telephone) {
	p := set.p
	p.sip, p.up = set.leg, true
	p.hush(sipleg.Elsewhere)
	p.sets = []*telephone{set}
	c.log.Info("answered by telephone", "agent", p.agentID)
	if p == c.offered {
		if p.offer != 0 { // else they have clicked as well
			c.tell(c.about(channels.Inbound{Type: channels.OfferTaken, AgentID: p.agentID, OfferID: p.offer}))
		}
		return // join follows
	}
	c.reach(p)
}

// phoneHeld: the telephone's own button. For the caller it is the agent's hold.
func (c *call) phoneHeld(set *telephone, held bool) {
	p := set.p
	if set.held = held; p.line != nil {
		c.linesHeld(p)
		return
	}
	p.heldUs = held
	if p == c.agent() && c.state == channels.CallBridged {
		c.held = held
	}
	c.patch()
	c.news("")
}

// phoneKey: an agent has pressed a key on their telephone. By RFC 4733 it goes on with the sound, where one hears only them
// and takes such keys; any other is pressed anew.
func (c *call) phoneKey(p *party, e sipleg.Key) {
	if p == c.agent() && c.briefing.heard != nil {
		c.briefed()
		return
	}
	to := c.keysGo()
	if p != c.agent() || c.state != channels.CallBridged || !to.here() {
		return
	}
	relayed := c.room == nil && to.leg().Format().Events != 0
	inSound := p.leg().Format().Events == 0 // a tone, which everybody hears
	if e.Info || !relayed && !inSound {
		c.press(to, e.Digit)
	}
}

// phoneRefers: the telephone's own button for passing a caller on. It is the agent's transfer: to whom they have on their
// other line, to a colleague by the name of their telephone, or to a number under the dial policy.
func (c *call) phoneRefers(set *telephone, e sipleg.Referred) {
	p := set.p
	to, ok := c.v.targetOf(e.To)
	switch {
	case p == c.agent() && c.state == channels.CallBridged && p.joins(set.leg, e):
		c.phoneJoins(set, e)
		return
	case p != c.agent() || c.state != channels.CallBridged || c.who[thirdSeat] != nil || p.line != nil || e.Foreign || e.Replaces != nil:
		e.Answer(603)
		return
	case !ok:
		e.Answer(404)
		return
	}
	e.Answer(202)
	p.passes = set.leg
	leg := set.leg
	if to.Kind == channels.TargetNumber {
		cmd := command{CallSignal: channels.CallSignal{Type: "transfer", CallID: c.id, AgentID: p.agentID, Target: &to}, reply: make(chan *channels.Error, 1)}
		if refused := c.consult(cmd); refused != errLater {
			cmd.reply <- refused
		}
		c.beside(func() { c.post(passed{p, leg, <-cmd.reply}) })
		return
	}
	in := c.about(channels.Inbound{Type: channels.PassOn, AgentID: p.agentID, Target: &to})
	c.beside(func() { c.post(passed{p, leg, c.v.inWords(c.handUp(&errand{in: in}).err, "pass on by telephone")}) })
}

// passed is what became of a transfer that a telephone has asked for: refused, or on its way.
type passed struct {
	p       *party
	leg     *sipleg.Leg
	refused *channels.Error
}

func (c *call) onPassed(m passed) {
	if m.refused == nil || c.ended {
		return // vacate tells the telephone when it is done
	}
	m.p.passes, m.p.failed = nil, time.Now()
	m.leg.Notify(403)
	c.news(m.refused.Text)
	if m.p == c.agent() && m.p.sip == nil {
		c.ringAgain(m.p)
	}
}

// passHangup is how soon after a failed transfer some telephones hang up, without being asked to: baresip does.
const passHangup = 5 * time.Second

// ringAgain calls the agent back whose telephone has hung up on a caller whom nobody else has taken over.
func (c *call) ringAgain(p *party) {
	c.comfort()
	c.agentAt = time.Now().Add(c.v.times.AgentBack)
	c.reach(p)
}

// targetOf reads whom a telephone names: a colleague's, or a number.
func (v *Voice) targetOf(uri string) (to channels.CallTarget, ok bool) {
	var u sip.Uri
	if sip.ParseUri(uri, &u) != nil {
		return to, false
	}
	return v.targetNamed(orElse(u.User, u.Raw()))
}

// targetNamed is targetOf for the part before the @.
func (v *Voice) targetNamed(user string) (to channels.CallTarget, ok bool) {
	if d, ok := v.phones.Named(user); ok {
		return channels.CallTarget{Kind: channels.TargetAgent, AgentID: d.AgentID}, true
	}
	number, ok := trunks.Digits(user)
	return channels.CallTarget{Kind: channels.TargetNumber, Number: number}, ok
}

// beside runs f while the call goes on; the house waits for it.
func (c *call) beside(f func()) {
	c.v.running.Add(1) // the call itself is one of v.running
	go func() {
		defer c.v.running.Done()
		f()
	}()
}

// phoneGone: they have hung up, or the connection has broken.
func (c *call) phoneGone(p *party, e sipleg.Ended) {
	c.unseat(p.sip.Media().Leg)
	p.sip, p.up, p.early, p.heldUs, p.comfort = nil, false, false, false, none
	if p == c.offered {
		return // accepted a moment ago: the browser gets it
	}
	_, s := c.whoIs(p.agentID)
	byThem := e.By == sipleg.ByPeer
	switch {
	case byThem && s == agentSeat && p.passes != nil && c.who[thirdSeat] == nil:
		c.patch() // music until it is known whether the caller is passed on
	case byThem && s == agentSeat && time.Since(p.failed) < passHangup:
		c.ringAgain(p)
	case byThem:
		c.leaves(s, "hangup")
	case s == agentSeat:
		c.comfort()
		c.agentAt = time.Now().Add(c.v.times.AgentBack)
		c.news(wordsPhoneLost)
	default:
		c.thirdAt = time.Now().Add(c.v.times.AgentBack)
		c.patch()
		c.news(wordsPhoneLost)
	}
}

// phonesSilent: the last one has stopped ringing, unanswered.
func (c *call) phonesSilent(p *party) {
	_, s := c.whoIs(p.agentID)
	switch {
	case p == c.offered:
		c.offered = nil
		if p.no && p.offer != 0 {
			c.tell(c.about(channels.Inbound{Type: channels.OfferDeclined, AgentID: p.agentID, OfferID: p.offer}))
		} // else the offer still shows in the browser
	case s == thirdSeat && p.no:
		c.thirdGone("declined")
	case c.state == channels.CallDialling && p.no:
		c.end(failed, "declined on your telephone", true)
	case s == agentSeat:
		c.agentAt = time.Now().Add(c.v.times.AgentConnect)
		c.news(wordsNotReached)
	default:
		c.news(wordsNotReached)
	}
}

// dropPhones takes the sound away from a colleague's telephones.
func (c *call) dropPhones(p *party, reason string) {
	if p.sip != nil {
		c.unseat(p.sip.Media().Leg)
		p.hangup(reason)
		p.sip, p.up, p.early, p.heldUs, p.comfort = nil, false, false, false, none
	}
	p.hush(reason)
}
