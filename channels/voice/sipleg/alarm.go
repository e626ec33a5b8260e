package sipleg

import "time"

// alarm is one of the clocks of a leg. All of them share the one timer of the leg's select.
type alarm int

const (
	alarmNobody     alarm = iota // nobody took the call or refused it
	alarmRepeat2xx               // our 2xx again (RFC 3261 section 13.3.1.4)
	alarmNoACK                   // it was never acknowledged
	alarmRepeatRel               // our reliable 18x again (RFC 3262 section 3)
	alarmNoPRACK                 // it was never acknowledged
	alarmRing                    // the last 18x again, for the proxies' timer C (RFC 3261 section 13.3.1.1)
	alarmReInvite                // a re-INVITE has waited long enough for the ACK before it
	alarmNoAnswer                // the called side has rung long enough
	alarmNoResponse              // this hop says nothing: the next one
	alarmCancelled               // the INVITE we took back was never answered
	alarmRefresh                 // half of the session has passed (RFC 4028 section 10)
	alarmExpired                 // the session was not refreshed
	alarmLeave                   // the last NOTIFY of a transfer was not answered: BYE all the same
	alarmGlare                   // both sides offered: now again (RFC 3261 section 14.1)
	alarms
)

// clock holds when each alarm goes off; the zero time is off.
type clock [alarms]time.Time

func (c *clock) set(a alarm, d time.Duration) { c[a] = time.Now().Add(d) }

func (c *clock) stop(list ...alarm) {
	for _, a := range list {
		c[a] = time.Time{}
	}
}

// next is the earliest alarm, an hour from now when all are off.
func (c *clock) next(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, t := range c {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return next
}

// due takes one alarm that has gone off.
func (c *clock) due(now time.Time) (alarm, bool) {
	for a, t := range c {
		if !t.IsZero() && !now.Before(t) {
			c[a] = time.Time{}
			return alarm(a), true
		}
	}
	return 0, false
}
