// Package doctor knows what became of a telephone call and why. It is pure: it opens nothing and asks nobody.
//
//	edge.Config.Trace --> Collector: SIP messages by Call-ID, bounded, while a call runs
//	voice's calls ------> Trace: legs, messages, events, quality; one JSON document per call, stored at its end
//	Trace --> Examine: verdicts in plain words, with what they rest on
//	Trace --> Bundle: a zip for the carrier or for us, without anything personal (Mask)
//
// Verdicts are not stored: a better doctor reads the old calls, too.
package doctor

import (
	"net/netip"
	"time"
)

// Trace is all that is known of one call.
type Trace struct {
	CallID     int64      `json:"call_id"`
	Node       string     `json:"node"`
	Direction  string     `json:"direction"` // in, out
	Media      string     `json:"media"`     // the customer's side: sip, web
	State      string     `json:"state"`
	Number     string     `json:"number"` // the customer's
	Name       string     `json:"name"`
	Ours       string     `json:"ours"`               // the number of ours
	TrunkID    int64      `json:"trunk_id,omitempty"` // by which the customer is reached; 0: none, or the settings'
	StartedAt  time.Time  `json:"started_at"`
	AnsweredAt *time.Time `json:"answered_at"`
	BridgedAt  *time.Time `json:"bridged_at"`
	EndedAt    *time.Time `json:"ended_at"` // null: it runs
	Result     string     `json:"result"`
	Reason     string     `json:"reason"`
	Legs       []Leg      `json:"legs"`
	Messages   []Message  `json:"messages"`
	Events     []Event    `json:"events"`
	Dropped    int        `json:"dropped"` // messages and events there was no room for
	Late       Late       `json:"late"`
}

// Roles of legs.
const (
	Customer   = "customer"
	Agent      = "agent"
	Consulted  = "consulted"
	Outside    = "outside" // a number outside that the customer was, or was to be, passed on to
	Supervisor = "supervisor"
)

// Leg is one side of the call, from when it came in until it parted.
type Leg struct {
	ID        int            `json:"id"` // 1, 2, ... in the order they came
	Role      string         `json:"role"`
	AgentID   int64          `json:"agent_id,omitempty"`
	Name      string         `json:"name,omitempty"`
	Number    string         `json:"number,omitempty"`
	By        string         `json:"by"` // sip, web
	SIPCallID string         `json:"sip_call_id,omitempty"`
	Inbound   bool           `json:"inbound"` // they called us
	Transport string         `json:"transport,omitempty"`
	Source    netip.AddrPort `json:"source,omitzero"` // where their INVITE came from
	JoinedAt  time.Time      `json:"joined_at"`
	UpAt      *time.Time     `json:"up_at"` // answered, or connected
	PartedAt  *time.Time     `json:"parted_at"`
	Codec     string         `json:"codec"`
	Secured   string         `json:"secured,omitempty"` // SDES, DTLS; "" = plain RTP

	// Where sound comes from and goes to, of a telephone.
	Local     netip.AddrPort `json:"local,omitzero"`     // ours
	Announced netip.AddrPort `json:"announced,omitzero"` // what their SDP says
	Seen      netip.AddrPort `json:"seen,omitzero"`      // where their packets come from
	SendsTo   netip.AddrPort `json:"sends_to,omitzero"`  // where ours go
	Latch     []Decision     `json:"latch"`

	Pair *Pair `json:"pair"` // of a browser: the way that ICE chose

	Counts  Counts  `json:"counts"`
	Overall Quality `json:"overall"`
	Slices  []Slice `json:"slices"`
	End     *End    `json:"end"`
}

// Decision is one of the latch: whose packets belong to the call. Without To it is a refusal.
type Decision struct {
	At   time.Time      `json:"at"`
	From netip.AddrPort `json:"from,omitzero"`
	To   netip.AddrPort `json:"to,omitzero"`
	Why  string         `json:"why"`
}

// Pair is the way through the network that a browser found.
type Pair struct {
	Local  Candidate `json:"local"`
	Remote Candidate `json:"remote"`
}

// Candidate is one end of a Pair.
type Candidate struct {
	Addr     netip.AddrPort `json:"addr,omitzero"`
	Kind     string         `json:"kind"`     // host, srflx, prflx, relay
	Protocol string         `json:"protocol"` // udp, tcp
}

// Counts are packets over a leg's life.
type Counts struct {
	In              uint64 `json:"in"`
	Out             uint64 `json:"out"`
	Lost            int64  `json:"lost"`
	Strangers       uint64 `json:"strangers"`       // from addresses that are not the call's
	Malformed       uint64 `json:"malformed"`       // no RTP
	Unauthenticated uint64 `json:"unauthenticated"` // not protected by the key agreed on
	Foreign         uint64 `json:"foreign"`         // a payload type nobody negotiated
}

// Quality is how a leg is heard.
type Quality struct {
	MOS         float64 `json:"mos"` // 1 to 4.5; 0 = nothing heard
	LostPercent float64 `json:"lost_percent"`
	JitterMS    float64 `json:"jitter_ms"`
	RoundTripMS float64 `json:"round_trip_ms"` // 0 = unknown
}

// Slice is the quality of a few seconds. Far is what the other side's reports say of our sound.
type Slice struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	Quality
	Packets        uint64  `json:"packets"`
	Missing        int64   `json:"missing"`
	Strangers      uint64  `json:"strangers"`
	FarLostPercent float64 `json:"far_lost_percent"`
	FarJitterMS    float64 `json:"far_jitter_ms"`
}

// Who ended a leg.
const (
	ByThem  = "them"
	ByUs    = "us"
	ByFault = "fault"
)

// End is how a SIP leg ended. Code 0: by BYE.
type End struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Code   int       `json:"code"`
	Reason string    `json:"reason"`
}

// Message is one SIP message as it stood on the wire.
type Message struct {
	At        time.Time      `json:"at"`
	In        bool           `json:"in"`
	Transport string         `json:"transport"`
	Local     netip.AddrPort `json:"local,omitzero"`
	Remote    netip.AddrPort `json:"remote,omitzero"`
	CallID    string         `json:"call_id"`
	Raw       string         `json:"raw"`
}

// Event is something the call itself noted. Never a digit.
type Event struct {
	At   time.Time `json:"at"`
	Leg  int       `json:"leg"` // 0: of the whole call
	Kind string    `json:"kind"`
	Text string    `json:"text"` // in our own words, without names and numbers
}

// Kinds of events.
const (
	StateMoved = "state"
	LegJoined  = "joined"
	LegUp      = "up"
	LegLost    = "lost" // a browser's connection, which may come back
	LegParted  = "parted"
	LegEnded   = "ended"
	Hears      = "hears" // who hears whom
	Held       = "hold"
	KeyPressed = "key"
	Asked      = "asked" // an agent's command
	Recording  = "recording"
	Ringing    = "ringing"
	Engine     = "engine" // another one hears or speaks than was chosen, or than before
)

// Late is how late we were ourselves while the call lasted: frames of sound that this machine had no time for.
type Late struct {
	Frames  uint64 `json:"frames"`
	Seconds int    `json:"seconds"` // in how many seconds it happened
}

// Ended tells whether the call is over.
func (t *Trace) Ended() bool { return t.EndedAt != nil }

// until is the call's end, or the last that is known of it.
func (t *Trace) until() time.Time {
	last := t.StartedAt
	if t.EndedAt != nil {
		return *t.EndedAt
	}
	for _, m := range t.Messages {
		if m.At.After(last) {
			last = m.At
		}
	}
	for _, e := range t.Events {
		if e.At.After(last) {
			last = e.At
		}
	}
	return last
}

// Worst is the quality of the leg that was heard worst; ok: one was heard.
func Worst(legs []Leg) (q Quality, ok bool) {
	for _, l := range legs {
		if l.Overall.MOS == 0 {
			continue
		}
		if !ok || l.Overall.MOS < q.MOS {
			q.MOS = l.Overall.MOS
		}
		ok = true
		q.LostPercent, q.JitterMS = max(q.LostPercent, l.Overall.LostPercent), max(q.JitterMS, l.Overall.JitterMS)
	}
	return q, ok
}
