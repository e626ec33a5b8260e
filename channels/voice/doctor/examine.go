package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Grade says how bad it is.
type Grade string

const (
	Good    Grade = "good"
	Note    Grade = "note"    // worth knowing, no harm
	Warning Grade = "warning" // somebody may have noticed
	Fault   Grade = "fault"   // the call suffered or failed
)

var grades = []Grade{Fault, Warning, Note, Good}

// Verdict is one thing the doctor has found.
type Verdict struct {
	Code     string   `json:"code"`
	Grade    Grade    `json:"grade"`
	Title    string   `json:"title"`
	Text     string   `json:"text"`
	Evidence []string `json:"evidence"`
	Leg      int      `json:"leg"` // 0: the whole call
}

// Examine reads a trace and says what was wrong, the worst first, or that all was well.
func Examine(t Trace) []Verdict {
	r := open(&t)
	found := []Verdict{}
	for _, rule := range rules {
		found = append(found, rule(r)...)
	}
	if !slices.ContainsFunc(found, func(v Verdict) bool { return v.Grade == Fault || v.Grade == Warning }) {
		found = append(found, allWell(r)...)
	}
	slices.SortStableFunc(found, func(a, b Verdict) int {
		return cmp.Compare(slices.Index(grades, a.Grade), slices.Index(grades, b.Grade))
	})
	for i := range found {
		if found[i].Evidence == nil {
			found[i].Evidence = []string{}
		}
	}
	return found
}

// rules are all the doctor knows; each looks at the whole call.
var rules = []func(*record) []Verdict{
	ending, refusedLogin, refusedCodecs, refusedEncryption, lostACK, rewritten, addresses, noSound, oneWay, lostBinding,
	sessionTimer, otherWay, rough, relayed, strangers, notOurs, drift, ourLoad,
}

// record is a trace with its messages read.
type record struct {
	*Trace
	told []told
}

func open(t *Trace) *record {
	r := &record{Trace: t, told: make([]told, len(t.Messages))}
	for i := range t.Messages {
		r.told[i] = read(&t.Messages[i])
	}
	return r
}

// of are the messages of a leg.
func (r *record) of(l *Leg) []told {
	var mine []told
	for _, m := range r.told {
		if l.SIPCallID != "" && m.CallID == l.SIPCallID {
			mine = append(mine, m)
		}
	}
	return mine
}

// phones are the legs that speak SIP.
func (r *record) phones() []*Leg {
	var all []*Leg
	for i := range r.Legs {
		if r.Legs[i].By == "sip" {
			all = append(all, &r.Legs[i])
		}
	}
	return all
}

// who names a leg's other side in a sentence.
func (l *Leg) who() string {
	switch {
	case l.Role == Customer && l.By == "web":
		return "the customer's browser"
	case l.Role == Customer:
		return "the telephone network"
	case l.Role == Outside:
		return "the outside number's network"
	case l.By == "sip":
		return "the desk telephone"
	case l.Role == Supervisor:
		return "the supervisor's browser"
	case l.Role == Consulted:
		return "the colleague's browser"
	}
	return "the agent's browser"
}

// theirs is whose it is, at a sentence's beginning.
func (l *Leg) theirs() string { return capital(l.who()) }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// lasted is how long sound could flow on a leg.
func (r *record) lasted(l *Leg) time.Duration {
	if l.UpAt == nil {
		return 0
	}
	end := r.until()
	if l.PartedAt != nil {
		end = *l.PartedAt
	}
	return end.Sub(*l.UpAt)
}

// at is a moment as "0:42 min" after the call's beginning.
func (r *record) at(when time.Time) string { return "after " + sinceText(when.Sub(r.StartedAt)) }

// quote is a message as evidence.
func (r *record) quote(m told) string {
	way := "from"
	if !m.In {
		way = "to"
	}
	return fmt.Sprintf("%s: %s %s %s", r.at(m.At), m.line(), way, m.Remote)
}

func allWell(r *record) []Verdict {
	q, heard := Worst(r.Legs)
	switch {
	case !heard && !r.Ended():
		return nil
	case !heard:
		return []Verdict{{Code: "no-fault", Grade: Good, Title: "Nothing wrong was found", Text: "The call ended before any sound flowed; the signalling is as it should be."}}
	}
	text := fmt.Sprintf("Every side was heard. The worst leg: %s (MOS %.1f of 4.5), %.1f %% of the sound lost, jitter %.0f ms.", qualityWord(q.MOS), q.MOS, q.LostPercent, q.JitterMS)
	return []Verdict{{Code: "all-well", Grade: Good, Title: "All was well", Text: text}}
}

func qualityWord(mos float64) string {
	switch {
	case mos >= 4:
		return "good"
	case mos >= 3.6:
		return "fair"
	case mos >= 3.1:
		return "poor"
	}
	return "bad"
}
