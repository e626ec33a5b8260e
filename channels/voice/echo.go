package voice

import (
	"context"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/webleg"
)

// The test call: an agent hears themselves a second later, over the same way that a customer's voice would take. A
// telephone gets one by calling a number of kind echo.

const echoDelay = time.Second

var errClosing = channels.Fail(channels.Unavailable, "The telephone is stopping. Try again in a minute.")

// echo begins a test call and answers its browser. An agent has one; a second ends the first.
func (v *Voice) echo(req channels.VoiceRequest) (sdp string, err error) {
	if req.AgentID == 0 {
		return "", errNotYours
	}
	if !v.hold() {
		return "", errClosing
	}
	ctx, cancel := context.WithTimeout(v.callsCtx, v.times.Receive)
	defer cancel()
	leg, sdp, err := v.web.Answer(ctx, req.SDP, media.PCMU)
	if err != nil {
		v.running.Done()
		return "", err
	}
	leg.Swap(&delay{out: leg.Out()})
	over := make(chan struct{})
	v.mu.Lock()
	if before := v.echoes[req.AgentID]; before != nil {
		close(before)
	}
	v.echoes[req.AgentID] = over
	v.mu.Unlock()
	go func() {
		defer v.running.Done()
		v.keepEcho(leg, over)
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.echoes[req.AgentID] == over {
			delete(v.echoes, req.AgentID)
		}
	}()
	return sdp, nil
}

// keepEcho waits for the test call's end.
func (v *Voice) keepEcho(leg *webleg.Leg, over <-chan struct{}) {
	limit := time.NewTimer(v.times.Echo)
	defer limit.Stop()
	for going := true; going; {
		select {
		case e, ok := <-leg.Events():
			going = ok && e != webleg.Failed // the browser has hung up, or is gone
		case <-over:
			going = false
		case <-limit.C:
			going = false
		case <-v.callsCtx.Done():
			going = false
		}
	}
	if err := leg.Close(); err != nil {
		v.log.Debug("close browser leg", "err", err)
	}
}

// sayBack answers a call to an echo number: the words what this is, then the caller's own sound. It is no call of the
// house: nobody is to be found, nothing is stored. begin counts it where it comes by.
func (v *Voice) sayBack(leg *sipleg.Leg, terms sipleg.Accept, begin func() (end func())) {
	if !v.hold() {
		leg.Refuse(503, "")
		return
	}
	events := make(chan sipleg.Event, mailSize)
	over := make(chan struct{})
	terms.Tell = func(e sipleg.Event) {
		select {
		case events <- e:
		case <-over:
		}
	}
	if err := leg.Accept(terms); err != nil {
		v.log.Info("test call refused", "err", err)
		v.running.Done()
		return
	}
	end := begin()
	go func() {
		defer v.running.Done()
		defer end()
		defer close(over)
		v.keepSaying(leg, events)
	}()
}

// uncounted is for test calls that no trunk brings.
func uncounted() (end func()) { return func() {} }

// keepSaying is the test call of a telephone, to its end.
func (v *Voice) keepSaying(leg *sipleg.Leg, events <-chan sipleg.Event) {
	limit := time.NewTimer(v.times.Echo)
	defer limit.Stop()
	leg.Answer()
	player := media.NewPlayer(v.prompts[promptEcho])
	spoken := player.Done()
	for {
		select {
		case e := <-events:
			switch e := e.(type) {
			case sipleg.Acked: // before that the caller's telephone may not play yet
				leg.Media().Play(player)
			case sipleg.Referred:
				e.Answer(603)
			case sipleg.Replaced:
				e.By.Refuse(603, "")
			case sipleg.Ended:
				return
			}
		case <-spoken:
			spoken = nil
			leg.Media().Swap(&delay{out: leg.Media().Out()})
		case <-limit.C:
			leg.Hangup("the test call's time is over")
		case <-v.callsCtx.Done():
			leg.Hangup("server stopped")
			return
		}
	}
}

// delay sends a leg's packets back to it a second later, each when another one comes. One goroutine writes to it, the
// leg's reader.
type delay struct {
	out         *media.Output
	kept        [64]media.Packet // 1.28 s of packets of 20 ms, and more of longer ones
	first, many int
}

// Write implements media.Sink.
func (d *delay) Write(p *media.Packet) {
	for d.many > 0 && (d.many == len(d.kept) || p.Arrived.Sub(d.kept[d.first].Arrived) >= echoDelay) {
		d.out.Write(&d.kept[d.first])
		d.first, d.many = (d.first+1)%len(d.kept), d.many-1
	}
	k := &d.kept[(d.first+d.many)%len(d.kept)]
	d.many++
	*k = *p
	k.Payload = k.Buffer()[:copy(k.Buffer(), p.Payload)]
}
