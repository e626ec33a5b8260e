package sipleg

import (
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels/voice/edge"
)

// session is the session timer (RFC 4028): without one, carriers cut calls after a quarter of an hour.
type session struct {
	interval  time.Duration // 0: none
	refresher bool          // we are
	updates   bool          // they take UPDATE
	least     time.Duration // the highest Min-SE that anybody has named
}

// lastWarning is how long before its end a session that nobody refreshed is hung up, a third of it at most.
const lastWarning = 32 * time.Second

// tooShort refuses an interval below ours. A caller without timers did not choose it and could not act on a 422.
func (l *Leg) tooShort(req *sip.Request) *edge.Refusal {
	asked := parseExpires(headerValue(req, "session-expires"))
	if asked.interval == 0 || asked.interval >= l.stack.times.MinSession || !lists(req, "timer", "supported", "require") {
		return nil
	}
	return edge.Refuse(422, "Session Interval Too Small", sip.NewHeader("Min-SE", seconds(l.stack.times.MinSession)))
}

// seconds rounds up: nobody refreshes below a second.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

// startSession settles the timer that a request of theirs asks for (section 9). Who refreshes: as they wish, else they,
// unless a proxy asked in their name.
func (l *Leg) startSession(req *sip.Request) {
	asked := parseExpires(headerValue(req, "session-expires"))
	knows := lists(req, "timer", "supported", "require")
	least := parseExpires(headerValue(req, "min-se")).interval
	l.updates = lists(req, "UPDATE", "allow")
	l.least = max(l.least, least)
	ours := max(l.stack.times.Session, l.least)
	switch {
	case asked.interval == 0 && !knows:
		l.interval = 0
	case asked.interval == 0:
		l.interval, l.refresher = ours, false
	default:
		l.interval = min(asked.interval, ours)
		l.refresher = !knows || asked.refresher == "uas"
	}
}

// addSession writes the timer into a 2xx of ours and starts it.
func (l *Leg) addSession(res *sip.Response) {
	if l.interval > 0 {
		e := expires{l.interval, "uac"}
		if l.refresher {
			e.refresher = "uas"
		} else {
			res.AppendHeader(sip.NewHeader("Require", "timer"))
		}
		res.AppendHeader(sip.NewHeader("Session-Expires", e.String()))
	}
	l.armSession()
}

// askSession is the timer in a request of ours.
func (l *Leg) askSession() []sip.Header {
	e := expires{interval: max(l.stack.times.Session, l.least)}
	if l.interval > 0 {
		e = expires{l.interval, "uas"}
		if l.refresher {
			e.refresher = "uac"
		}
	}
	return []sip.Header{sip.NewHeader("Session-Expires", e.String()), sip.NewHeader("Min-SE", seconds(max(l.stack.times.MinSession, l.least)))}
}

// raise takes the Min-SE of a 422.
func (l *Leg) raise(res *sip.Response) {
	l.least = max(l.least, parseExpires(headerValue(res, "min-se")).interval)
	if l.interval > 0 {
		l.interval = max(l.interval, l.least)
	}
}

// takeSession settles the timer by the answer to a request of ours (section 7.2). A peer that answers a refresh without
// one has none, but a proxy may have asked: we go on refreshing.
func (l *Leg) takeSession(res *sip.Response, refresh bool) {
	if lists(res, "UPDATE", "allow") {
		l.updates = true
	} else if len(res.GetHeaders("allow")) > 0 {
		l.updates = false
	}
	said := parseExpires(headerValue(res, "session-expires"))
	switch {
	case said.interval > 0:
		l.interval, l.refresher = said.interval, said.refresher != "uas"
	case !refresh:
		l.interval = 0
	}
	l.armSession()
}

// armSession sets the alarms anew.
func (l *Leg) armSession() {
	l.clock.stop(alarmRefresh, alarmExpired)
	if l.interval == 0 {
		return
	}
	if l.refresher {
		l.clock.set(alarmRefresh, l.interval/2)
	}
	l.clock.set(alarmExpired, l.interval-min(lastWarning, l.interval/3))
}

// refreshSession says our description again, by UPDATE where they take it: that needs none.
func (l *Leg) refreshSession() {
	switch {
	case l.state != up:
	case l.ours != nil || l.accepted != nil || l.waiting != nil: // something is being said already
		l.clock.set(alarmRefresh, l.stack.times.T1)
	case l.updates:
		l.ask(sip.UPDATE, nil, 0)
	default:
		l.ask(sip.INVITE, l.local.Again(), 0)
	}
}
