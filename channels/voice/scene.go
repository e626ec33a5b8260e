package voice

// seat is a place in a call.
type seat int

const (
	callerSeat     seat = iota // the customer
	agentSeat                  // the agent who has the call
	thirdSeat                  // the colleague or outside number that the agent consults, or passes the caller on to
	supervisorSeat             // listens, whispers, barges in
	seats
)

// talk is whom the agent hears and speaks to.
type talk string

const (
	toCaller talk = "caller"
	toThird  talk = "third"
	toBoth   talk = "both"
)

// What a supervisor does in a call.
const (
	listen  = "listen"
	whisper = "whisper" // only the agent hears it
	barge   = "barge"   // everybody hears it
)

// scene is everything that decides who hears whom.
type scene struct {
	here       [seats]bool // whose sound can flow
	talking    talk
	handed     bool   // the agent has gone and left caller and third to each other
	held       bool   // by the agent
	muted      bool   // the agent
	callerHeld bool   // the customer has put us on hold: nothing may be sent there, nothing comes (RFC 3264 section 8.4)
	mode       string // the supervisor's
}

// ears says who hears whom: e[a][b] means a hears b.
type ears [seats][seats]bool

// ears is the whole rule.
func (s scene) ears() (e ears) {
	caller := s.here[callerSeat] && !s.callerHeld
	agent, third := s.here[agentSeat], s.here[thirdSeat]
	hear := func(a, b seat, oneWay bool) {
		e[a][b] = true
		e[b][a] = e[b][a] || !oneWay
	}
	withCaller := caller && agent && !s.held && (s.talking == toCaller || s.talking == toBoth)
	if withCaller {
		hear(agentSeat, callerSeat, s.muted)
	}
	withThird := agent && third && (s.talking == toThird || s.talking == toBoth)
	if withThird {
		hear(agentSeat, thirdSeat, s.muted)
	}
	if caller && third && (s.handed || s.talking == toBoth && !s.held) {
		hear(callerSeat, thirdSeat, false)
	}
	if !s.here[supervisorSeat] {
		return e
	}
	for _, b := range [...]seat{callerSeat, agentSeat, thirdSeat} { // the supervisor hears what somebody hears
		for a := range supervisorSeat {
			if e[a][b] {
				hear(supervisorSeat, b, true)
			}
		}
	}
	if agent && (s.mode == whisper || s.mode == barge) {
		hear(agentSeat, supervisorSeat, true)
	}
	if s.mode == barge {
		for _, a := range [...]seat{callerSeat, thirdSeat} {
			if e[supervisorSeat][a] { // who is on hold hears music
				hear(a, supervisorSeat, true)
			}
		}
	}
	return e
}

// pairs tells whether nobody hears, or is heard by, more than one: then packets are swapped and nothing is mixed.
func (e ears) pairs() bool {
	for a := range seats {
		hears, heard := 0, 0
		for b := range seats {
			if e[a][b] {
				hears++
			}
			if e[b][a] {
				heard++
			}
		}
		if hears > 1 || heard > 1 {
			return false
		}
	}
	return true
}
