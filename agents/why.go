package agents

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"patchbay/channels"
)

// Why a conversation still waits. The words are for agents and supervisors; the code changes only when the reason does,
// and with each change a row is kept (wait_reasons), so that a wait can be understood afterwards.

// Codes of reasons.
const (
	whyClosed  = "closed"  // it came when nobody answers
	whyLater   = "later"   // a call back whose time has not come, or that a supervisor must decide about
	whyNobody  = "nobody"  // nobody who could take it is at the desk
	whySkill   = "skill"   // nobody has what the queue asks for
	whyBusy    = "busy"    // all who could take it have enough in hand
	whyRefused = "refused" // who is free has just declined or missed it
	whyBehind  = "behind"  // others are served before it
	whyNext    = "next"    // it rings in a moment
)

const namesMost = 4 // in one reason

// Wait is a conversation's wait as it is now.
type Wait struct {
	ConversationID int64      `json:"conversation_id"`
	Place          int        `json:"place"`        // 1: next in its queue
	LowSeconds     *int       `json:"low_seconds"`  // half of all waits like this end between low and high; nil: nothing honest
	HighSeconds    *int       `json:"high_seconds"` // can be said
	Code           string     `json:"code"`
	Why            string     `json:"why"`
	HeldUntil      *time.Time `json:"held_until"` // it came when nobody answers: the opening; a call back: its time
	CallBack       *string    `json:"call_back"`  // the number that is to be called
	Needs          []string   `json:"needs"`      // skills with their level that an agent must have now: French 3
}

// Waits says of each of these conversations that wait where it stands and why; others are left out.
func Waits(ctx context.Context, q channels.Querier, ids []int64) ([]Wait, error) {
	s, err := readStanding(ctx, q, ids)
	if err != nil || len(s.Line) == 0 {
		return nil, err
	}
	places, err := readPlaces(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	paces, err := readPaces(ctx, q, queuesOf(s.Line))
	if err != nil {
		return nil, err
	}
	list := make([]Wait, 0, len(s.Line))
	for i := range s.Line {
		w := &s.Line[i]
		out := Wait{ConversationID: w.ID, Place: places[w.ID], Needs: []string{}}
		for _, n := range s.Rules[w.QueueID].needs(w, s.Now) {
			out.Needs = append(out.Needs, named([]need{n}))
		}
		out.Code, out.Why = s.stillWaits(w, out.Place-1)
		if w.Number != "" {
			out.CallBack = &w.CallBack.Number
		}
		if r := s.Rules[w.QueueID]; out.Code == whyLater {
			out.HeldUntil = w.NotBefore
		} else if out.Code == whyClosed {
			if !r.next.IsZero() {
				out.HeldUntil = &r.next
			}
		} else if low, high, ok := paces[w.QueueID].wait(out.Place); ok && out.Code != whySkill && out.Code != whyNobody && out.Code != whyRefused {
			l, h := int(low.Seconds()), int(high.Seconds())
			out.LowSeconds, out.HighSeconds = &l, &h
		}
		list = append(list, out)
	}
	return list, nil
}

func queuesOf(line []waiting) (ids []int64) {
	for _, w := range line {
		ids = append(ids, w.QueueID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// WaitReason is what was true from At on.
type WaitReason struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

// WaitReasons lists why the conversation waited in its newest wait, the oldest reason first.
func WaitReasons(ctx context.Context, q channels.Querier, conversationID int64) ([]WaitReason, error) {
	return all[WaitReason](ctx, q, "reasons of a wait", `select at, why from wait_reasons where conversation_id = $1
		and at >= coalesce((select max(since) from waits where conversation_id = $1), '-infinity') order by id`, conversationID)
}

// readStanding reads everybody who might take one of these conversations, also those who are not at the desk.
func readStanding(ctx context.Context, q channels.Querier, ids []int64) (standing, error) {
	rows, err := all[lineRow](ctx, q, "waiting conversations", `select `+lineColumns+` from`+lineTables+`
		where c.id = any($1) and `+stillInLine, ids)
	if err != nil || len(rows) == 0 {
		return standing{}, err
	}
	s := standing{}
	if s.Line, err = withRefusals(ctx, q, rows); err != nil {
		return s, err
	}
	if s.Rules, err = readRules(ctx, q); err != nil {
		return s, err
	}
	if s.Desk, err = atTheDesk(ctx, q, whom{Absent: true}); err != nil {
		return s, err
	}
	s.Serve = map[int64]int{}
	for _, c := range s.Desk {
		for _, m := range c.Queues {
			if !c.Absent {
				s.Serve[m.QueueID]++
			}
		}
	}
	s.Now, err = scalar[time.Time](ctx, q, "clock", `select clock_timestamp()`)
	return s, err
}

func readPlaces(ctx context.Context, q channels.Querier, ids []int64) (map[int64]int, error) {
	rows, err := all[struct {
		ID    int64
		Place int
	}](ctx, q, "places in line", `select id, place::int from (select id, row_number() over (partition by queue_id
			order by not `+inTurn(`c`)+`, front desc, return_call desc, waiting_since, id) as place from conversations c where state = 'waiting'
			and queue_id in (select queue_id from conversations where id = any($1))) l where id = any($1)`, ids)
	places := make(map[int64]int, len(rows))
	for _, row := range rows {
		places[row.ID] = row.Place
	}
	return places, err
}

// stillWaits says why nobody has been asked for w. s.Desk holds the absent, too; ahead is how many of its queue are before it.
func (s standing) stillWaits(w *waiting, ahead int) (code, why string) {
	r := s.Rules[w.QueueID]
	if w.later(s.Now) {
		return whyLater, w.CallBack.waits(r)
	}
	if r.held(w, s.Now) {
		return whyClosed, r.closedWords(w)
	}
	asked := r.needs(w, s.Now)
	var team, able []*candidate
	for i := range s.Desk {
		c := &s.Desk[i]
		if c.in(r.ID).QueueID != r.ID && w.favour(c.ID) == 0 {
			continue
		}
		team = append(team, c)
		if c.has(asked) || w.favour(c.ID) > 0 {
			able = append(able, c)
		}
	}
	if len(team) == 0 {
		return whyNobody, "No agent belongs to the queue " + r.Name + "."
	}
	relaxes := r.relaxes(w, asked, s.Now)
	if len(able) == 0 {
		who := fmt.Sprintf("None of the %d agents", len(team))
		if len(team) == 1 {
			who = "Not even the one agent"
		}
		return whySkill, fmt.Sprintf("%s of the queue %s has the skill %s%s.", who, r.Name, named(asked), relaxes)
	}
	code = whyNobody
	slices.SortStableFunc(able, func(a, b *candidate) int { return first(!a.Absent, !b.Absent) })
	var states []string
	for _, c := range able {
		state, its := s.stateOf(r, w, c)
		code = graver(code, its)
		if len(states) < namesMost {
			states = append(states, c.Name+" "+state)
		}
	}
	if n := len(able) - len(states); n > 0 {
		states = append(states, fmt.Sprintf("and %d more", n))
	}
	if code == whyNext && ahead > 0 {
		code = whyBehind
	}
	what := "can take it"
	if len(asked) > 0 {
		what = "have the skill " + named(asked)
		if len(able) == 1 {
			what = "has the skill " + named(asked)
		}
	}
	why = fmt.Sprintf("%s %s: %s%s.", count(len(able), "agent"), what, strings.Join(states, ", "), relaxes)
	if ahead > 0 {
		why += fmt.Sprintf(" %s before it.", count(ahead, "conversation"))
	}
	return code, why
}

// stateOf says what keeps one agent from w.
func (s standing) stateOf(r *rule, w *waiting, c *candidate) (state, code string) {
	at, declined := w.Refused[c.ID]
	switch {
	case c.Absent:
		return "is " + c.Busy, whyNobody
	case c.Busy != "":
		return "is " + c.Busy, whyBusy
	case !r.room(w, c):
		return fmt.Sprintf("has no room for it (%d of %d)", c.Load, c.Capacity), whyBusy
	case declined && s.refused(r, w, c.ID):
		return "did not take it " + ago(s.Now.Sub(at)) + " ago", whyRefused
	}
	return "is free", whyNext
}

// graver is the reason that counts for several agents: one who is free counts more than one who is busy.
func graver(a, b string) string {
	order := []string{whyNobody, whyBusy, whyRefused, whyNext}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// relaxes says what the next step of what is asked for brings, and when.
func (r *rule) relaxes(w *waiting, asked []need, now time.Time) string {
	if len(asked) == 0 {
		return ""
	}
	waited := w.waited(now)
	var next *need
	for i, n := range r.Needs {
		if n.After > waited && (next == nil || n.After < next.After) {
			next = &r.Needs[i]
		}
	}
	switch {
	case r.Anybody > waited && (next == nil || r.Anybody <= next.After):
		return "; anybody is asked in " + ago(r.Anybody-waited)
	case next == nil:
		return ""
	case next.Level == 0:
		return fmt.Sprintf("; %s is not asked for any more in %s", next.Name, ago(next.After-waited))
	}
	return fmt.Sprintf("; relaxes to %s %d in %s", next.Name, next.Level, ago(next.After-waited))
}

func (r *rule) closedWords(w *waiting) string {
	why := map[OpenState]string{AfterHours: "is closed", OnHoliday: "is closed for a holiday", EmergencyOff: "has been closed"}[r.state]
	text := "It came when nobody answers: the queue " + r.Name + " " + why
	if w.Number != "" {
		text = "Nobody is called now: the queue " + r.Name + " " + why
	}
	if !r.next.IsZero() {
		text += " until " + r.next.In(r.Hours.location()).Format("Monday, 2 January, 15:04")
	}
	return text + "."
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
