package voice

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sdp"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/trunks"
)

// Calls out from an agent's SIP telephone. The telephone proves whose it is; what it has dialled goes the way of every call
// that an agent makes: the switchboard opens the row and asks for the call, under the dial policy (outward.go). The
// telephone hears the other side, or our ringing tone, before it is answered.

// echoKeys is dialled for the test call.
const echoKeys = "*43"

// lifted is a telephone that calls out, before there is a call.
type lifted struct {
	agentID int64
	set     *telephone

	mu     sync.Mutex // guards the two below
	call   *call
	before []sipleg.Event // heard while there was no call
}

// heard takes the telephone's events, on its leg's goroutine.
func (l *lifted) heard(e sipleg.Event) {
	l.mu.Lock()
	c := l.call
	if c == nil {
		l.before = append(l.before, e)
	}
	l.mu.Unlock()
	if c != nil {
		c.post(fromPhone{l.set, e})
	}
}

// party is the agent in the call that has come of it.
func (l *lifted) party(c *call) *party {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call = c
	for _, e := range l.before {
		c.post(fromPhone{l.set, e})
	}
	return l.set.p
}

// fromPhone tells whether a call that no trunk brings may be a telephone's.
func (v *Voice) fromPhone(leg *sipleg.Leg) bool {
	return v.phones != nil && slices.ContainsFunc(v.cfg.Phones, func(p netip.Prefix) bool { return p.Contains(leg.Info().Source.Addr()) })
}

// lift takes the call of an agent's telephone, or says why not: in words, which telephones show.
func (v *Voice) lift(leg *sipleg.Leg) *edge.Refusal {
	account, refused := v.edge.Authenticate(leg.Invite())
	if refused != nil {
		return refused
	}
	d, ok := v.phones.Device(account)
	if !ok {
		return edge.Refuse(403, "Forbidden")
	}
	to := trunks.Dialled(leg.Invite())
	number, isNumber := trunks.Digits(to)
	ours, _ := v.trunks.Number(to)
	switch {
	case to == echoKeys || ours.Kind == channels.EchoNumber:
		v.sayBack(leg, sipleg.Accept{Prefs: sdp.Prefs{Codecs: []string{sdp.PCMU, sdp.PCMA}, SRTP: sdp.Off, Comfort: true, Mux: true},
			External: v.external, Latch: media.LatchOn}, uncounted)
		return nil
	case strings.HasPrefix(to, "*"):
		return edge.Refuse(404, "No Such Code; The Echo Test Is "+echoKeys)
	case leg.Replaces() != nil:
		return edge.Refuse(403, "Calls Are Taken At The Desk")
	}
	if c := v.callOf(d.AgentID); c != nil {
		return c.secondLine(leg, d.AgentID, to)
	}
	if !isNumber {
		return edge.Refuse(404, "A Telephone Number Was Expected")
	}
	p := &party{agentID: d.AgentID, early: true}
	l := &lifted{agentID: d.AgentID, set: &telephone{p: p, leg: leg}}
	p.sip, p.sets = leg, []*telephone{l.set}
	if !v.addLifted(l) {
		return edge.Refuse(486, "You Are Calling Somebody Already")
	}
	if err := leg.Accept(sipleg.Accept{Tell: l.heard, Prefs: phonePrefs(leg.Info().Transport), External: v.external, Latch: media.LatchOn, ToSource: true}); err != nil {
		v.log.Info("call of a telephone refused", "device", d.Username, "err", err)
		v.takeLifted(d.AgentID)
		v.running.Done()
		return nil // it was answered
	}
	leg.Early()
	go func() {
		defer v.running.Done()
		v.callFor(l, number)
	}()
	return nil
}

// callFor asks the house for the call; dialOut takes the telephone.
func (v *Voice) callFor(l *lifted, number string) {
	ctx, cancel := context.WithTimeout(v.callsCtx, v.times.Receive)
	defer cancel()
	_, err := v.cfg.Receive(ctx, channels.Inbound{Type: channels.DialOut, Channel: channels.Voice, AgentID: l.agentID, To: number})
	if left := v.takeLifted(l.agentID); left == nil && err == nil {
		return
	}
	words := "Not Taken Just Now"
	if err != nil {
		words = v.inWords(err, "call from a telephone").Text
	}
	v.log.Info("call of a telephone refused", "agent", l.agentID, "words", words)
	l.set.leg.Refuse(refusalCode(err), edge.Plain(words))
}

// refusalCode is what a telephone is told; the words go with it.
func refusalCode(err error) int {
	switch channels.CodeOf(err) {
	case channels.Conflict:
		return 486
	case channels.Invalid, channels.NotFound:
		return 404
	case channels.Forbidden, channels.TooMany:
		return 403
	}
	return 480
}

// addLifted notes a telephone that calls out; false: the agent has another that does, or there is no more time. True: the
// caller is one of v.running.
func (v *Voice) addLifted(l *lifted) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing || v.draining || v.lifted[l.agentID] != nil {
		return false
	}
	v.lifted[l.agentID] = l
	v.running.Add(1)
	return true
}

// takeLifted is the telephone from which the agent is calling out; nil: none.
func (v *Voice) takeLifted(agentID int64) *lifted {
	v.mu.Lock()
	defer v.mu.Unlock()
	l := v.lifted[agentID]
	delete(v.lifted, agentID)
	return l
}

// pickUp answers a telephone that has called out: the other side is there.
func (p *party) pickUp() {
	if p.sip != nil && p.early && !p.up {
		p.sip.Answer()
		p.up, p.early = true, false
	}
}

// refuse tells a telephone that has called out why it did not come about.
func (p *party) refuse(code int, words string) {
	if p != nil && p.sip != nil && p.early && !p.up && p.sip.Info().Inbound {
		p.sip.Refuse(max(code, 400), edge.Plain(words))
	}
}
