package sipleg

// Event is what a leg tells its owner, on the leg's goroutine: the owner posts it to a mailbox of its own and returns.
// One of the types below.
type Event any

type (
	// Ringing: the other side rings. Early: its sound is to be heard already (183 with SDP); else the owner plays its own
	// ringing tone to whoever waits.
	Ringing struct{ Early bool }
	// Answered: the other side has taken our call; sound flows.
	Answered struct{}
	// Acked: the caller has acknowledged our answer; from now its phone plays what we say.
	Acked struct{}
	// Held: the other side has put us on hold, or taken us back. Nothing may be sent meanwhile (RFC 3264 section 8.4).
	Held struct{ Held bool }
	// Key is a key the other side pressed, each once, by whatever method it came. Digits may be card numbers: never log.
	Key struct {
		Digit byte
		Info  bool // by INFO: who hears this leg's sound has not heard it
	}
	// Redirected: the other side names other places (3xx). Ended follows.
	Redirected struct{ Targets []string }
	// Referred: the other side wants us to connect it with somebody else (REFER). The owner must call Answer once: 202
	// takes it, and Leg.Notify tells how it goes; anything from 300 refuses it.
	Referred struct {
		To       string // URI, without a Replaces
		By       string // Referred-By, as it came
		Replaces *Leg   // the leg of ours that this transfer takes over; nil: a blind one
		Foreign  bool   // it replaces a dialog that is none of ours: To must be called with ReplacesHeader
		Header   string // the value of that Replaces header
		Answer   func(code int)
	}
	// ReferProgress is how our Refer goes: the code of the other side's NOTIFY, or of its refusal. Done: the last one.
	ReferProgress struct {
		Code int
		Done bool
	}
	// Replaced: an INVITE came that takes this leg's place (RFC 3891). The owner accepts and answers By, joins it where
	// this leg was, and hangs this one up; or refuses By.
	Replaced struct{ By *Leg }
	// Probed is what came of a Probe.
	Probed struct{ Alive bool }
	// Ended is the last event, exactly once for every leg that was accepted or dialled, also after Hangup and Refuse.
	Ended struct {
		By     By
		Code   int    // the final answer that ended it before it was up; 487 by the peer: the caller gave up; 0: BYE
		Reason string // in words
	}
)

// By says whose doing an end is.
type By uint8

const (
	ByPeer  By = iota // BYE, CANCEL, a refusal
	ByUs              // Hangup, Refuse
	ByFault           // no ACK, no answer to ours, a broken description, a panic
)
