// Package sipleg is one SIP leg of a call, whichever side began it: the dialog, its offers and answers, and its media.
//
//	edge --> sipgo --> Stack: validate, find the leg by Call-ID and both tags --> mailbox of the leg
//	                                                                                |
//	owner --> Ring, Answer, Hangup, Refer ... (posted, never waiting)  -->  Leg: one goroutine, one select
//	owner <-- Event (Ringing, Answered, Held, Key, Referred, ... Ended)  <--'       |
//	owner ... media.UDPLeg: sinks swapped by the owner itself                <-- addresses, codecs, keys
//
// sipgo carries messages and transactions; everything above is here: forks, CANCEL races, the repeated 2xx and its ACK,
// reliable provisional answers (RFC 3262), UPDATE and glare (RFC 3311, 3261 section 14), session timers (RFC 4028),
// transfer (RFC 3515, 3891), keys by INFO and RTP, and the peers that get these wrong. The owner of a leg never sees a
// SIP message: it hears of events and gives orders, both without waiting.
//
// A leg that came in is handed to Config.OnInvite, which accepts or refuses it (at once or later); a leg that goes out
// is made by Stack.Dial. Either way its last event is Ended.
package sipleg

import (
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
)

// Config is what the stack needs.
type Config struct {
	Edge   *edge.Edge
	Ports  *media.Ports
	Ports6 *media.Ports // for peers by IPv6; nil = Ports
	Pacer  *media.Pacer
	Log    *slog.Logger
	Most   int // legs at once; beyond it 503; 0 = 1000

	// OnInvite gets every call that comes in, on a goroutine of its own. The leg is the owner's: Accept or Refuse it.
	OnInvite func(*Leg)
	// OnRequest answers what is outside any dialog and no INVITE (REGISTER, OPTIONS, MESSAGE ...); nil, or a nil answer:
	// OPTIONS gets 200, the rest 481 or 405. It may take its time.
	OnRequest func(*sip.Request) *edge.Refusal
	// OnPanic is told of everything that had to be caught.
	OnPanic func()

	Times Times
	// FirstRSeq is where reliable answers begin to count; 0 = random, as RFC 3262 wants it. For tests.
	FirstRSeq uint32
}

// Times are the clocks of a leg; zero fields get the default.
type Times struct {
	T1, T2       time.Duration // RFC 3261: 500 ms, 4 s; a 2xx without ACK ends the leg after 64*T1
	ReInviteHold time.Duration // a re-INVITE waits so long for the ACK before it: 500 ms
	RingAgain    time.Duration // the last 18x is repeated: 60 s
	NextHop      time.Duration // a hop that says nothing is given up for the next one: 4 s
	NoAnswer     time.Duration // ringing out, when Dial names no limit: 180 s
	Session      time.Duration // session timer we ask for: 1800 s
	MinSession   time.Duration // and the least we agree to: 90 s
	Glare        time.Duration // unit of the pause after 491 (RFC 3261 section 14.1): 10 ms
}

func (t Times) withDefaults() Times {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.T1, 500*time.Millisecond)
	def(&t.T2, 4*time.Second)
	def(&t.ReInviteHold, 500*time.Millisecond)
	def(&t.RingAgain, time.Minute)
	def(&t.NextHop, 4*time.Second)
	def(&t.NoAnswer, 180*time.Second)
	def(&t.Session, 1800*time.Second)
	def(&t.MinSession, 90*time.Second)
	def(&t.Glare, 10*time.Millisecond)
	return t
}

// rules are what we serve and the extensions we know: all are offered, none is required of anybody.
var rules = edge.Rules{
	Methods: []sip.RequestMethod{sip.INVITE, sip.ACK, sip.CANCEL, sip.BYE, sip.OPTIONS, sip.INFO, sip.UPDATE, sip.PRACK, sip.REFER, sip.NOTIFY},
	Extends: []string{"100rel", "timer", "replaces", "norefersub"},
}

func busy() *edge.Refusal {
	return edge.Refuse(503, "Service Unavailable", sip.NewHeader("Retry-After", "5"))
}

func unknownDialog() *edge.Refusal { return edge.Refuse(481, "Call/Transaction Does Not Exist") }

// reasonOf is the usual phrase of a code.
func reasonOf(code int) string {
	if s, ok := phrases[code]; ok {
		return s
	}
	switch {
	case code < 200:
		return "Session Progress"
	case code < 300:
		return "OK"
	case code < 400:
		return "Moved Temporarily"
	case code < 500:
		return "Request Failed"
	case code < 600:
		return "Server Failure"
	}
	return "Global Failure"
}

var phrases = map[int]string{
	100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily",
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 407: "Proxy Authentication Required",
	408: "Request Timeout", 415: "Unsupported Media Type", 420: "Bad Extension", 422: "Session Interval Too Small", 480: "Temporarily Unavailable",
	481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending",
	500: "Server Internal Error", 501: "Not Implemented", 503: "Service Unavailable", 504: "Server Time-out", 600: "Busy Everywhere", 603: "Decline",
}
