package voice

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"patchbay/channels"
	"patchbay/channels/voice/doctor"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sipleg"
	"patchbay/channels/voice/webleg"
)

// story is what the call doctor will read about a call. The call's goroutine writes it by looking at itself after
// everything it has done (observe): so nothing that changes a call must think of the doctor.
type story struct {
	legs    []*chapter
	events  []doctor.Event
	dropped int
	seen    seen
	late    uint64 // the pacer's count at the beginning
	lateIn  map[int64]bool
	trunkID int64
	begun   bool
	endedAt time.Time
	reason  string
	result  string
}

// seen is how the call stood when it was looked at last.
type seen struct {
	state, mode              string
	ears                     ears
	held, muted, theirs, rec bool
	late                     uint64
}

// chapter is one leg's part of the story.
type chapter struct {
	doctor.Leg
	party  *party
	leg    *media.Leg
	sip    *sipleg.Leg
	web    *webleg.Leg
	up     bool
	closed bool // its figures stand
}

const maxEvents = 400

// tell notes an event.
func (s *story) tell(leg int, kind, text string) {
	if len(s.events) >= maxEvents {
		s.dropped++
		return
	}
	s.events = append(s.events, doctor.Event{At: time.Now(), Leg: leg, Kind: kind, Text: text})
}

var doctorRoles = [seats]string{callerSeat: doctor.Customer, agentSeat: doctor.Agent, thirdSeat: doctor.Consulted, supervisorSeat: doctor.Supervisor}

func roleOf(s seat, p *party) string {
	if s == thirdSeat && p.agentID == 0 {
		return doctor.Outside
	}
	return doctorRoles[s]
}

// observe notes what has changed since the last look.
func (c *call) observe() {
	s, now := &c.story, time.Now()
	if !s.begun {
		s.begun, s.late, s.seen.late = true, c.v.pacer.Late(), c.v.pacer.Late()
	}
	switch {
	case c.trunk != nil:
		s.trunkID = c.trunk.ID
	case c.way != nil && c.way.now != nil:
		s.trunkID = c.way.now.Trunk.ID
	}
	for i, p := range c.who {
		if p.leg() != nil && (!c.ended || s.endedAt.IsZero()) {
			c.chapterOf(seat(i), p, now)
		}
	}
	for _, ch := range s.legs {
		gone := !slices.ContainsFunc(c.who[:], func(p *party) bool { return p.has(ch.leg) })
		if !ch.closed && (c.ended || gone) {
			ch.part(now)
			s.tell(ch.ID, doctor.LegParted, ch.Role+" parted")
		}
	}
	if late := c.v.pacer.Late(); late != s.seen.late {
		if s.lateIn == nil {
			s.lateIn = map[int64]bool{}
		}
		s.lateIn[now.Unix()] = true
		s.seen.late = late
	}
	c.compare()
	if c.ended && s.endedAt.IsZero() {
		s.endedAt = now
	}
}

// chapterOf finds or opens the leg's chapter and brings it up to date.
func (c *call) chapterOf(at seat, p *party, now time.Time) {
	s, leg := &c.story, p.leg()
	role := roleOf(at, p)
	var ch *chapter
	for _, known := range s.legs {
		if known.leg == leg {
			ch = known
		}
	}
	if ch == nil {
		ch = &chapter{party: p, leg: leg, sip: p.sip, web: p.web}
		ch.Leg = doctor.Leg{ID: len(s.legs) + 1, Role: role, AgentID: p.agentID, Name: p.name, Number: p.number, By: channels.ByWeb, JoinedAt: now}
		if at == callerSeat {
			ch.Number, ch.Name = c.number, c.name
		}
		if p.sip != nil {
			info := p.sip.Info()
			ch.By, ch.SIPCallID, ch.Inbound, ch.Transport, ch.Source, ch.Local = channels.BySIP, info.CallID, info.Inbound, info.Transport, info.Source, p.sip.Media().LocalAddr()
			c.v.collector.Claim(info.CallID, now)
		}
		s.legs = append(s.legs, ch)
		s.tell(ch.ID, doctor.LegJoined, role+" joined by "+ch.By)
	}
	if ch.Role != role {
		s.tell(ch.ID, doctor.StateMoved, ch.Role+" is "+role)
		ch.Role = role
	}
	if p.up != ch.up {
		ch.rise(s, p.up, now)
	}
	ch.secure()
}

// rise notes that sound can flow, or cannot any more.
func (ch *chapter) rise(s *story, up bool, now time.Time) {
	ch.up = up
	if !up {
		s.tell(ch.ID, doctor.LegLost, ch.Role+" lost")
		return
	}
	if ch.UpAt == nil {
		ch.UpAt = &now
	}
	text := ch.Role + " connected"
	if ch.web != nil {
		if ch.Pair = pairOf(ch.web.Way()); ch.Pair != nil {
			text += fmt.Sprintf(" by ice: %s %s to %s %s", ch.Pair.Local.Protocol, ch.Pair.Local.Kind, ch.Pair.Remote.Protocol, ch.Pair.Remote.Kind)
		}
	}
	s.tell(ch.ID, doctor.LegUp, text)
}

// secure remembers what protects the sound: at the end the leg has forgotten it.
func (ch *chapter) secure() {
	switch {
	case ch.web != nil:
		ch.Secured = "DTLS"
	case ch.Secured != "DTLS":
		if now := ch.sip.Media().Secured(); now != "" {
			ch.Secured = now
		}
	}
}

// part ends the chapter: what comes later is not the call's.
func (ch *chapter) part(now time.Time) {
	ch.figures()
	ch.closed, ch.PartedAt = true, &now
}

// figures reads addresses, counts and quality.
func (ch *chapter) figures() {
	if ch.closed {
		return
	}
	st := ch.leg.Stats()
	if ch.sip != nil {
		m := ch.sip.Media()
		st = m.Stats()
		ch.Announced, ch.Seen, ch.SendsTo = m.Addresses()
		ch.Latch = []doctor.Decision{}
		for _, e := range m.LatchLog() {
			ch.Latch = append(ch.Latch, doctor.Decision(e))
		}
	} else {
		st = ch.web.Stats()
		ch.Latch = []doctor.Decision{}
	}
	ch.Codec = ch.leg.Format().Codec.Name()
	ch.Counts = doctor.Counts{In: st.PacketsIn, Out: st.PacketsOut, Lost: st.Lost, Strangers: st.Strangers, Malformed: st.Malformed, Unauthenticated: st.Unauthenticated, Foreign: st.Foreign}
	ch.Overall = qualityOf(ch.leg.Overall())
	ch.Slices = []doctor.Slice{}
	for _, q := range ch.leg.Slices() {
		ch.Slices = append(ch.Slices, doctor.Slice{At: q.At, Seconds: q.Length.Seconds(), Quality: qualityOf(q.Quality), Packets: q.Packets, Missing: q.Missing,
			Strangers: q.Strangers, FarLostPercent: q.FarLost, FarJitterMS: ms(q.FarJitter)})
	}
}

func qualityOf(q media.Quality) doctor.Quality {
	return doctor.Quality{MOS: q.MOS, LostPercent: q.Lost, JitterMS: ms(q.Jitter), RoundTripMS: ms(q.RoundTrip)}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// compare notes how the call stands, if otherwise than before.
func (c *call) compare() {
	s := &c.story
	now := seen{state: c.state, mode: c.mode, ears: c.scene().ears(), held: c.held, muted: c.muted, theirs: c.callerHeld, late: s.seen.late, rec: c.take != nil && !c.paused}
	if now.state != s.seen.state && now.state != "" {
		s.tell(0, doctor.StateMoved, now.state)
	}
	for _, x := range []struct {
		was, is bool
		on, off string
	}{
		{s.seen.held, now.held, "the agent put the customer on hold", "the agent took the customer back"},
		{s.seen.theirs, now.theirs, "the customer put us on hold", "the customer took us back"},
		{s.seen.muted, now.muted, "the agent is muted", "the agent is not muted any more"},
	} {
		if x.was != x.is {
			s.tell(0, doctor.Held, map[bool]string{true: x.on, false: x.off}[x.is])
		}
	}
	if now.rec != s.seen.rec {
		s.tell(0, doctor.Recording, map[bool]string{true: "recording", false: "not recording"}[now.rec])
	}
	if now.mode != s.seen.mode && now.mode != "" {
		s.tell(0, doctor.StateMoved, "supervisor: "+now.mode)
	}
	if now.ears != s.seen.ears {
		s.tell(0, doctor.Hears, c.inWords(now.ears))
	}
	s.seen = now
}

// inWords says who hears whom.
func (c *call) inWords(e ears) string {
	var all []string
	for a := range seats {
		var heard []string
		for b := range seats {
			if e[a][b] {
				heard = append(heard, doctorRoles[b])
			}
		}
		if len(heard) > 0 {
			all = append(all, doctorRoles[a]+" hears "+strings.Join(heard, " and "))
		}
	}
	if len(all) == 0 {
		return "nobody hears anybody"
	}
	return strings.Join(all, ", ")
}

// overhear notes what comes in the mail, before it is handled. Never a digit.
func (c *call) overhear(m any) {
	s := &c.story
	from := c.who[callerSeat]
	if f, ok := m.(fromSIP); ok {
		m, from = f.e, f.p
	}
	ch := s.of(from)
	id := 0
	if ch != nil {
		id = ch.ID
	}
	switch m := m.(type) {
	case sipleg.Ringing:
		s.tell(id, doctor.Ringing, map[bool]string{true: "rings, early media", false: "rings"}[m.Early])
	case sipleg.Key:
		s.tell(id, doctor.KeyPressed, "a key was pressed")
	case sipleg.Ended:
		s.tell(id, doctor.LegEnded, map[string]string{doctor.ByThem: "the other side ended it", doctor.ByUs: "we ended it", doctor.ByFault: "a fault ended it"}[endedBy(m.By)])
		if ch != nil {
			ch.End = &doctor.End{At: time.Now(), By: endedBy(m.By), Code: m.Code, Reason: m.Reason}
		}
	case command:
		if m.Type != "connect" && m.Type != "restart" {
			s.tell(0, doctor.Asked, map[bool]string{true: "the customer asked: ", false: "asked: "}[m.Visitor]+m.Type)
		}
	}
}

func endedBy(by sipleg.By) string {
	switch by {
	case sipleg.ByPeer:
		return doctor.ByThem
	case sipleg.ByUs:
		return doctor.ByUs
	}
	return doctor.ByFault
}

// of is a party's last chapter.
func (s *story) of(p *party) *chapter {
	for i := len(s.legs) - 1; i >= 0; i-- {
		if p != nil && s.legs[i].party == p {
			return s.legs[i]
		}
	}
	return nil
}

// trace is the story so far, without the messages.
func (c *call) trace() doctor.Trace {
	s := &c.story
	t := doctor.Trace{CallID: c.id, Node: c.v.cfg.NodeID, Direction: c.direction, Media: channels.BySIP, State: c.state, Number: c.number, Name: c.name, Ours: c.ours, TrunkID: s.trunkID,
		StartedAt: c.startedAt, AnsweredAt: moment(c.answeredAt), BridgedAt: moment(c.bridgedAt), EndedAt: moment(s.endedAt), Result: s.result, Reason: s.reason,
		Legs: []doctor.Leg{}, Messages: []doctor.Message{}, Events: append([]doctor.Event{}, s.events...), Dropped: s.dropped,
		Late: doctor.Late{Frames: s.seen.late - s.late, Seconds: len(s.lateIn)}}
	if c.fromPage() {
		t.Media = channels.ByWeb
	}
	for _, ch := range s.legs {
		ch.figures()
		t.Legs = append(t.Legs, ch.Leg)
	}
	return t
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// worst is the quality of the leg that was heard worst; nil: none was.
func (c *call) worst() *doctor.Quality {
	var legs []doctor.Leg
	for _, ch := range c.story.legs {
		ch.figures()
		legs = append(legs, ch.Leg)
	}
	if q, ok := doctor.Worst(legs); ok {
		return &q
	}
	return nil
}

// pairOf is the way that ICE has chosen; nil: none yet.
func pairOf(chosen *webrtc.ICECandidatePair) *doctor.Pair {
	if chosen == nil {
		return nil
	}
	end := func(address string, port uint16, kind, protocol string) doctor.Candidate {
		a, _ := netip.ParseAddr(address)
		return doctor.Candidate{Addr: netip.AddrPortFrom(a, port), Kind: kind, Protocol: protocol}
	}
	return &doctor.Pair{Local: end(chosen.Local.Address, chosen.Local.Port, chosen.Local.Typ.String(), chosen.Local.Protocol.String()),
		Remote: end(chosen.Remote.Address, chosen.Remote.Port, chosen.Remote.Typ.String(), chosen.Remote.Protocol.String())}
}

// traced takes a message from the wire.
func (v *Voice) traced(m edge.Message) {
	v.collector.Add(doctor.Message{At: m.At, In: m.In, Transport: m.Transport, Local: m.Local, Remote: m.Remote, CallID: m.CallID, Raw: string(m.Raw)})
}

// tellDoctor hands the story on when the call is over, also after a panic.
func (c *call) tellDoctor() {
	defer func() {
		if r := recover(); r != nil {
			c.v.panics.Add(1)
			c.log.Error("call trace panic", "panic", r)
		}
	}()
	if !c.ended { // the server has cut us off
		c.ended, c.story.result, c.story.reason = true, failed, "server stopped"
	}
	c.observe()
	c.v.casebook.Keep(c.trace())
}

// wantTrace asks a running call for its story.
type wantTrace struct{ reply chan doctor.Trace }

// shown answers the API's question about a running call, on a goroutine of the bus.
func (c *call) shown() (any, error) {
	w := wantTrace{reply: make(chan doctor.Trace, 1)}
	if c.post(w) {
		select {
		case t := <-w.reply:
			c.v.casebook.Fill(&t)
			raw, err := json.Marshal(t)
			return channels.CallReply{Trace: raw}, err
		case <-c.gone:
		}
	}
	return channels.CallReply{Error: errOver}, nil
}
