package voice

import (
	"patchbay/channels"
	"patchbay/channels/voice/media"
)

// comfort is what somebody hears who hears nobody.
type comfort uint8

const (
	none    comfort = iota // somebody is heard
	spoken                 // a prompt of the menu
	silence                // keeps the network's path and the other side's silence timers alive
	music
	ringback
	nothing // not a packet: they have put us on hold (RFC 3264 section 8.4)
)

// scene is how the call stands.
func (c *call) scene() scene {
	s := scene{talking: c.talking, handed: c.handed, held: c.held, muted: c.muted, mode: c.mode}
	for i, p := range c.who {
		s.here[i] = p.here()
	}
	if p := c.who[callerSeat]; p != nil && p.heldUs {
		s.here[callerSeat], s.callerHeld = p.up, true
	}
	return s
}

// patch points sinks and players as the call stands; every change of who hears whom ends here. While the menu or the line
// has the caller, their sound is not touched.
func (c *call) patch() {
	e := c.scene().ears()
	if e.pairs() {
		c.pair(e)
	} else {
		c.mix(e)
	}
	for s := range seats {
		c.soothe(s, e)
	}
	c.tap()
	c.listenForWord(e)
	c.writeDown(e)
}

// pair swaps packets: nothing of ours is between two who have only each other.
func (c *call) pair(e ears) {
	if c.room != nil {
		c.room.Close()
		c.room, c.seated = nil, [seats]*media.Seat{}
	}
	for b := range seats {
		speaker := c.who[b].leg()
		if speaker == nil {
			continue
		}
		var sink media.Sink = media.Discard
		for a := range seats {
			if e[a][b] {
				sink = c.who[a].leg().Out()
			}
		}
		speaker.Swap(sink)
	}
}

// mix seats everybody who hears or is heard in a room.
func (c *call) mix(e ears) {
	if c.room == nil {
		c.room = media.NewRoom(c.v.pacer)
	}
	for a := range seats {
		takesPart := false
		for b := range seats {
			takesPart = takesPart || e[a][b] || e[b][a]
		}
		switch {
		case takesPart && c.seated[a] == nil:
			c.seated[a] = c.room.Join(c.who[a].leg())
			c.who[a].comfort = none
		case !takesPart && c.seated[a] != nil:
			c.seated[a].Leave()
			c.seated[a] = nil
			fallthrough
		case !takesPart:
			if leg := c.who[a].leg(); leg != nil {
				leg.Swap(media.Discard)
			}
		}
	}
	for a := range seats {
		if c.seated[a] == nil {
			continue
		}
		var heard []*media.Seat
		for b := range seats {
			if e[a][b] {
				heard = append(heard, c.seated[b])
			}
		}
		c.seated[a].Hears(heard...)
	}
}

// unseat takes a leg that is being closed away from everybody.
func (c *call) unseat(leg *media.Leg) {
	if l := c.voicemail.leaving; l != nil && l.leg == leg {
		c.endVoicemail(mailStays)
	}
	if c.who[callerSeat].leg() == leg {
		c.dia.Listen(nil)
	}
	c.deafTo(leg)
	c.transcript.Forget(leg)
	for s, seat := range c.seated {
		if seat != nil && c.who[s].leg() == leg {
			seat.Leave()
			c.seated[s] = nil
		}
	}
	leg.Swap(media.Discard)
	for _, p := range c.who {
		// whoever was heard there is heard nowhere; patch follows
		if l := p.leg(); l != nil && l != leg && c.room == nil {
			l.Swap(media.Discard)
		}
	}
}

// soothe plays to somebody who hears nobody, and stops it for who does.
func (c *call) soothe(s seat, e ears) {
	p := c.who[s]
	leg := p.leg()
	if leg == nil || !(p.up || p.early) || s == callerSeat && !c.talks() {
		return
	}
	want := none
	if p.heldUs {
		want = nothing
	} else if e[s] == [seats]bool{} {
		want = c.comfortOf(s)
	}
	if want == p.comfort {
		return
	}
	p.comfort = want
	switch want {
	case none, nothing:
		leg.Stop()
	case silence:
		leg.Play(media.Loop(media.Silence()))
	case music:
		leg.Play(media.Loop(c.musicOnHold()))
	case ringback:
		leg.Play(media.Loop(media.Ringback()))
	}
}

// comfortOf is what the one who sits there hears instead of a person.
func (c *call) comfortOf(s seat) comfort {
	third := c.who[thirdSeat]
	ringing := third != nil && !third.up
	switch {
	case s == callerSeat && c.passing && ringing:
		return ringback
	case s == callerSeat && (c.held || c.talking == toThird || !c.who[agentSeat].here()):
		return music
	case s == agentSeat && (c.state == channels.CallRinging || ringing && c.talking == toThird):
		return ringback
	case s == thirdSeat && third.up && c.talking == toCaller:
		return music
	}
	return silence
}

// musicOnHold is what this call's customer hears in line and on hold.
func (c *call) musicOnHold() media.Prompt { return c.prompt(promptMusic) }

// talks tells whether the caller is with people, or on hold by them: not in the menu, not in line.
func (c *call) talks() bool {
	return c.state == channels.CallBridged || c.state == channels.CallConnecting && !c.bridgedAt.IsZero() || c.handed
}
