package trunks

import (
	"fmt"
	"math"
	"strings"
	"time"

	"patchbay/channels"
)

// usage is what has been dialled on a trunk so far, by all nodes. Days are the last 24 hours, so that no midnight
// doubles what may be spent in a night.
type usage struct {
	Calls int     // running, both directions
	Out   int     // running, outward
	Hour  int     // outward, begun by this agent in the last hour
	Day   int     // outward, begun
	Money float64 // spent outward; running calls with what they cost so far
}

// Verdict is what the dial policy says of one call.
type Verdict struct {
	Number    string // E.164; short ones as they are dialled
	Emergency bool
	PerMinute float64
	Longest   time.Duration   // then the money of the day is spent; 0: no limit
	Refused   *channels.Error // with words for the agent; nil: go ahead
	spent     bool            // refused, because the day's calls or money are used up
}

func (v Verdict) refuse(code channels.Code, field, text string, args ...any) Verdict {
	v.Refused = channels.FailField(code, field, fmt.Sprintf(text, args...))
	return v
}

// judge is the dial policy: whether a trunk may be used for a number, and at what price. A stolen login must not run up a
// bill, so what is not known to be harmless is refused; only emergency calls go whatever has been set or used up.
func judge(t *channels.Trunk, number string, u usage) Verdict {
	v := judgeNumber(t, number)
	if v.Refused != nil || v.Emergency {
		return v
	}
	switch {
	case t.MaxCalls > 0 && u.Calls >= t.MaxCalls:
		return v.refuse(channels.TooMany, "", "All %d lines of %s are in use. Try again in a moment.", t.MaxCalls, t.Name)
	case u.Out >= t.MaxCallsOut:
		return v.refuse(channels.TooMany, "", "All %d lines for calls out over %s are in use. Try again in a moment.", t.MaxCallsOut, t.Name)
	case u.Hour >= t.MaxCallsHour:
		return v.refuse(channels.TooMany, "", "You have made %d calls within an hour, which is all that is allowed.", u.Hour)
	case u.Day >= t.MaxCallsDay:
		v.spent = true
		return v.refuse(channels.TooMany, "", "%d calls within 24 hours have been made over %s, which is all that is allowed. Please tell your administrator.", u.Day, t.Name)
	case v.PerMinute > 0 && u.Money+v.PerMinute > t.MaxMoneyDay:
		v.spent = true
		return v.refuse(channels.TooMany, "", "The money for calls over %s is spent: %.2f of %.2f within 24 hours. Please tell your administrator.", t.Name, u.Money, t.MaxMoneyDay)
	}
	if v.PerMinute > 0 {
		v.Longest = time.Duration(math.Min((t.MaxMoneyDay-u.Money)/v.PerMinute, 24*60) * float64(time.Minute))
	}
	return v
}

// judgeNumber is the part of the policy that no other call can change.
func judgeNumber(t *channels.Trunk, number string) Verdict {
	n := numberingOf(t)
	v := Verdict{Number: n.E164(number)}
	v.Emergency = n.emergency(v.Number)
	v.PerMinute = priceOf(t, v.Number)
	switch {
	case !t.Enabled || len(t.Servers) == 0:
		return v.refuse(channels.Forbidden, "number", "%s is not set up for calls out.", t.Name)
	case v.Emergency:
		v.PerMinute = 0
		return v
	case !t.DialOut:
		return v.refuse(channels.Forbidden, "number", "Calls out are not allowed over %s.", t.Name)
	}
	if digits := strings.TrimPrefix(v.Number, "+"); digits == "" || strings.Trim(digits, "0123456789") != "" {
		return v.refuse(channels.Invalid, "number", "A telephone number was expected, such as +49 30 23125410.")
	}
	if p := prefixOf(v.Number, t.BlockedPrefixes); p != "" {
		return v.refuse(channels.Forbidden, "number", "Numbers that begin with %s are blocked.", p)
	}
	allowed := prefixOf(v.Number, t.AllowedPrefixes)
	if !strings.HasPrefix(v.Number, "+") { // an extension of a PBX, a service
		if allowed == "" {
			return v.refuse(channels.Invalid, "number", "%s is no complete telephone number. Dial it with its area code, or with + and its country's code.", v.Number)
		}
		return v
	}
	expensive := premiumPrefix(v.Number)
	switch {
	case !n.exists(v.Number):
		return v.refuse(channels.Invalid, "number", "%s is no number that anybody can have.", v.Number)
	case expensive != "" && len(allowed) < len(expensive):
		return v.refuse(channels.Forbidden, "number", "Numbers that begin with %s cost extra and are not allowed.", expensive)
	case n.abroad(v.Number) && !t.International:
		return v.refuse(channels.Forbidden, "number", "Calls abroad are not allowed over %s.", t.Name)
	case len(t.AllowedPrefixes) > 0 && allowed == "":
		return v.refuse(channels.Forbidden, "number", "Only numbers that begin with %s may be called.", someOf(t.AllowedPrefixes))
	}
	return v
}

// prefixOf is the longest of the prefixes that a number begins with, "" for none.
func prefixOf(number string, prefixes []string) string {
	longest := ""
	for _, p := range prefixes {
		if strings.HasPrefix(number, p) && len(p) > len(longest) {
			longest = p
		}
	}
	return longest
}

func someOf(list []string) string {
	if len(list) > 5 {
		return strings.Join(list[:5], ", ") + " and so on"
	}
	return strings.Join(list, ", ")
}

// priceOf is what a minute to a number costs: the rate with the longest prefix, else the trunk's own.
func priceOf(t *channels.Trunk, number string) float64 {
	price, longest := t.MoneyPerMinute, ""
	for _, r := range t.Rates {
		if strings.HasPrefix(number, r.Prefix) && len(r.Prefix) > len(longest) {
			price, longest = r.PerMinute, r.Prefix
		}
	}
	return price
}

// costOf is what a call costs: minutes that have begun.
func costOf(perMinute float64, talked time.Duration) float64 {
	if talked <= 0 {
		return 0
	}
	return perMinute * math.Ceil(talked.Minutes())
}

// FailsOver tells whether a call that ended so is tried on the next trunk: the carrier could not, or said nothing. What a
// person or the called network has said counts: busy, declined, no such number are the same everywhere.
func FailsOver(code int) bool { return code == 408 || code >= 500 && code < 600 }
