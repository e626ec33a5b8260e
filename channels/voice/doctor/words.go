package doctor

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// codeWords says what an answer means to somebody who does not read SIP.
var codeWords = map[int]string{
	300: "the other side named other places to call", 302: "the other side is to be called elsewhere",
	400: "the other side could not read our message", 401: "a login was asked for", 402: "the carrier wants money",
	403: "the other side does not allow this call", 404: "this number does not exist", 405: "the other side does not know what was asked",
	406: "the other side could not answer in a form that was asked for", 407: "a login was asked for", 408: "nobody answered in time",
	410: "this number is no longer in use", 413: "the message was too long", 415: "the other side does not take this kind of description",
	416: "the number is written in a way the other side does not know", 420: "the other side lacks an extension that was demanded",
	421: "an extension is demanded that was not offered", 422: "the session timer was too short", 423: "the registration was too short",
	480: "nobody can be reached there just now", 481: "the other side does not know this call (any more)", 482: "the call came back in a loop",
	483: "the call was passed on too often", 484: "the number is not complete", 485: "the number is not unique", 486: "busy",
	487: "the call was taken back while it rang", 488: "no codec or encryption that both sides take", 491: "both sides changed the call at once",
	500: "the other side had an error", 501: "the other side cannot do this", 502: "a gateway behind the other side failed",
	503: "the other side is overloaded or out of order", 504: "a gateway behind the other side did not answer", 505: "the other side speaks another SIP",
	513: "the message was too long", 600: "busy everywhere", 603: "declined", 604: "this number does not exist anywhere",
	606: "no codec or encryption that both sides take", 607: "declined as unwanted", 608: "declined as unwanted by the network",
}

// causeWords are Q.850's, which telephone networks send beside SIP's codes (RFC 3326).
var causeWords = map[int]string{
	1: "the number is not assigned", 2: "no route to the network", 3: "no route to the destination", 6: "the channel cannot be taken",
	16: "ended in the normal way", 17: "busy", 18: "the telephone does not react", 19: "nobody answered", 20: "the subscriber is away",
	21: "declined", 22: "the number has changed", 25: "an exchange's routing is wrong", 26: "another telephone answered", 27: "the destination is out of order",
	28: "the number is not complete", 29: "a facility was refused", 31: "ended, without a reason given", 34: "no free line", 38: "the network is out of order",
	41: "a fault for the moment", 42: "an exchange is overloaded", 43: "information was thrown away", 44: "the line asked for is not free", 47: "no resources",
	50: "a facility is not subscribed to", 55: "incoming calls are barred", 57: "this kind of call is not allowed", 58: "this kind of call is not available now",
	63: "the service is not available", 65: "this kind of call is not known", 79: "the service is not known", 87: "not a member of the user group",
	88: "the destination is not compatible", 95: "an invalid message", 96: "a mandatory element is missing", 97: "an unknown message",
	98: "a message at the wrong time", 99: "an unknown element", 100: "an invalid element", 101: "a message at the wrong time", 102: "a timer ran out",
	111: "a protocol error", 127: "another network gave no reason",
}

var q850 = regexp.MustCompile(`(?i)^Q\.850\s*;.*?cause\s*=\s*(\d+)`)

// causeOf reads a Reason header's Q.850 cause; 0: none.
func causeOf(reason string) int {
	m := q850.FindStringSubmatch(reason)
	if m == nil {
		return 0
	}
	cause, _ := strconv.Atoi(m[1])
	return cause
}

func causeText(cause int) string {
	return fmt.Sprintf("Q.850 cause %d: %s", cause, cmp.Or(causeWords[cause], "not in our table"))
}

func codeText(code int) string {
	return fmt.Sprintf("%d: %s", code, cmp.Or(codeWords[code], "refused"))
}

// Ending is in one sentence why the call ended; "" while it runs.
func Ending(t Trace) string {
	if !t.Ended() {
		return ""
	}
	text := "The call ended"
	if t.AnsweredAt != nil {
		text += " " + sinceText(t.EndedAt.Sub(*t.AnsweredAt)) + " after it was answered"
	}
	text += ": " + t.Reason
	for i := len(t.Legs) - 1; i >= 0; i-- {
		l := t.Legs[i]
		if l.Role != Customer || l.End == nil {
			continue
		}
		if by := map[string]string{ByThem: "the other side", ByUs: "our side", ByFault: "a fault"}[l.End.By]; by != "" && !strings.Contains(t.Reason, by) {
			text += ", ended by " + by
		}
		if l.End.Code >= 300 {
			text += " (" + codeText(l.End.Code) + ")"
		}
		break
	}
	return text + "."
}

// ending is that sentence with what the network itself said.
func ending(r *record) []Verdict {
	if !r.Ended() {
		return nil
	}
	v := Verdict{Code: "ending", Grade: Note, Title: "Why it ended", Text: Ending(*r.Trace)}
	for _, m := range r.told {
		cause := causeOf(m.get("reason"))
		if m.request("BYE") || m.request("CANCEL") {
			v.Evidence = append(v.Evidence, r.quote(m))
		}
		if cause == 0 {
			continue
		}
		v.Evidence = append(v.Evidence, causeText(cause))
		if cause != 16 && cause != 31 && m.In {
			v.Text += " The telephone network's own reason: " + causeWords[cause] + "."
		}
	}
	if r.Result == "failed" {
		v.Grade = Warning
	}
	return []Verdict{v}
}
