package voice

import (
	"context"
	"fmt"
	"time"

	"patchbay/channels"
)

// A caller in line hears where they stand and how long it will take, as soon as the house knows, whenever they have moved up,
// and every now and then. What is said are the house's figures, never less than they say; where nothing honest can be said
// about the time, only the place is.

// inline is the wait of one call.
type inline struct {
	lookAt time.Time // when the house is asked again
	asking bool
	place  int       // the one that was said last
	saidAt time.Time // when
	due    []string  // prompts that wait for the end of what is being said
}

// placed is the house's answer.
type placed struct {
	place     int // 0: not in line (yet)
	low, high time.Duration
	known     bool // the time
}

// waits asks the house soon when the caller has come into line, and forgets the wait when they have left it.
func (c *call) waits() {
	if c.ended || c.state != channels.CallWaiting { // whatever they were being asked
		c.back = backing{}
	}
	if c.v.cfg.Expect == nil {
		return
	}
	switch {
	case c.ended || c.state != channels.CallWaiting:
		c.line = inline{asking: c.line.asking}
	case c.line.lookAt.IsZero() && !c.line.asking:
		c.line.lookAt = time.Now().Add(c.v.times.LineFirst)
	}
}

// lookAtLine asks beside the call.
func (c *call) lookAtLine() {
	c.line.asking = true
	c.beside(func() {
		ctx, cancel := context.WithTimeout(c.v.callsCtx, c.v.times.Receive)
		defer cancel()
		var p placed
		p.place, p.low, p.high, p.known = c.v.cfg.Expect(ctx, c.conversation)
		c.post(p)
	})
}

// onPlaced decides whether it is worth saying.
func (c *call) onPlaced(p placed) {
	c.line.asking = false
	if c.ended || c.state != channels.CallWaiting {
		return
	}
	if c.voicemail.leaving != nil { // nobody talks into it
		c.line.lookAt = time.Now().Add(c.v.times.LineFirst)
		return
	}
	c.line.lookAt = time.Now().Add(c.v.times.LineLook)
	since := time.Since(c.line.saidAt)
	switch moved := p.place < c.line.place; {
	case p.place == 0: // the wish has not arrived yet, or somebody has taken the call
		c.line.lookAt = time.Now().Add(c.v.times.LineFirst)
		return
	case c.line.place == 0, moved && since >= c.v.times.LineMoved, since >= c.v.times.LineAgain:
	default:
		return
	}
	c.line.place, c.line.saidAt, c.line.due = p.place, time.Now(), append(linePrompts(p), c.lineOffers()...)
	if c.playing == nil && c.back.key == nil && !c.dia.Speaks() { // else its end says it
		c.thenMusic()
	}
}

// sayPlace says what is due, if anything is; music follows.
func (c *call) sayPlace() bool {
	due := c.line.due
	if c.line.due = nil; due == nil || c.callerHeld || c.back.key != nil {
		return false
	}
	c.tellCaller(due, c.thenMusic)
	return true
}

const furthest = 10 // a place beyond is not counted out

// waitPrompts are the ranges that can be said, by their upper end.
var waitPrompts = []struct {
	most time.Duration
	name string
}{
	{time.Minute, "wait_1"}, {2 * time.Minute, "wait_2"}, {3 * time.Minute, "wait_3"}, {5 * time.Minute, "wait_5"},
	{10 * time.Minute, "wait_10"}, {20 * time.Minute, "wait_20"},
}

// linePrompts are the words for a place and a time: the shortest range that does not end too soon.
func linePrompts(p placed) []string {
	names := []string{"place_more"}
	if p.place <= furthest {
		names[0] = fmt.Sprintf("place_%d", p.place)
	}
	if !p.known {
		return names
	}
	for _, w := range waitPrompts {
		if p.high <= w.most {
			return append(names, w.name)
		}
	}
	return append(names, "wait_more")
}
