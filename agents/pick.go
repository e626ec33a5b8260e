package agents

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"patchbay/channels"
)

// Strategies: whom of those who fit a queue asks first.
const (
	LongestIdle    = "longest_idle"
	RoundRobin     = "round_robin"     // whom the queue asked longest ago
	FewestCalls    = "fewest_calls"    // who has taken fewest conversations in the last twelve hours
	LeastTalk      = "least_talk"      // who has talked least in calls in the last twelve hours
	RingAll        = "ring_all"        // all at once, the first accept wins
	TopDown        = "top_down"        // by the agents' position in the queue
	WeightedRandom = "weighted_random" // by chance, in the proportion of the agents' weights
)

// Strategies lists them all.
var Strategies = []string{LongestIdle, RoundRobin, FewestCalls, LeastTalk, RingAll, TopDown, WeightedRandom}

// rule is how one queue's line works.
type rule struct {
	ID        int64
	Name      string
	Strategy  string
	Sticky    bool
	Priority  int
	AgeBonus  int // points of priority for each minute waited
	Weight    int
	ChatLoad  int
	EmailLoad int
	Anybody   time.Duration // after this wait no skill is asked for; 0: never
	Needs     []need        // by skill, then by time
	Hours     Hours
	OfferTime time.Duration
	state     OpenState // now
	next      time.Time // the next opening, when it is closed
}

// need is one step of what a queue asks for.
type need struct {
	Skill int64
	Name  string
	After time.Duration
	Level int // 0: no longer asked for
}

// waiting is a conversation in line.
type waiting struct {
	ID         int64
	QueueID    int64
	Channel    channels.Kind
	Front      bool // missed, failed or lost: before all others
	ReturnCall bool // a caller that we lost: before those who only wait
	Since      time.Time
	AnySkill   bool                // its overflow has dropped what the queue asks for
	Wanted     int64               // passed on to this agent: asked first, also outside its queues
	PassedBy   int64               // and then the one who passed it on
	LastAgent  int64               // who had this contact last, in a sticky queue
	Refused    map[int64]time.Time // agents who declined or missed it lately, and when
	Rang       map[int64]bool      // of Refused: those who missed it when it rang at all
	CallBack                       // the customer has gone and is to be called; no Number: they wait where they are
}

// member is an agent's place in a queue.
type member struct {
	QueueID   int64
	Position  int
	Weight    int
	OfferedAt time.Time // when this queue asked last
}

// candidate is an agent at its desk.
type candidate struct {
	ID        int64
	Name      string
	Queues    []member
	Skills    map[int64]int // skill -> level
	Capacity  int
	Load      int
	Busy      string // why nothing may be offered, in words; "": ask
	Absent    bool   // not at the desk at all: pick is not shown these
	IdleSince time.Time
	Taken     int // conversations in the last twelve hours
	Talk      time.Duration
}

type assignment struct {
	ConversationID int64
	AgentID        int64
	QueueID        int64
	Load           int // the agent's, when it was picked
	Why            string
	Favoured       bool // named by a transfer: need not be in the queue
	Shared         bool // rings at others too
}

const (
	refusedFor     = 60 * time.Second // who declined is not asked again so soon,
	refusedOnlyFor = 5 * time.Second  // unless nobody else is at the desk, or it rings at all
)

// standing is everything that pick may know.
type standing struct {
	Rules map[int64]*rule
	Line  []waiting
	Desk  []candidate    // who is left out of it cannot be asked
	Serve map[int64]int  // people at the desk of each queue, busy or not; needed where somebody has refused
	Ends  map[int64]bool // conversations behind which there may be others of their part of the line whom Line leaves out
	Now   time.Time
}

// pick is the whole rule of routing. Line: front first, then calls to return, then by priority with its age bonus, then
// who has waited longest in the scale of the queue's weight. Agents: in the queue, with the skills that are still asked
// for, with room, not just declined; the one whom a colleague wanted, then that colleague, then the contact's last
// agent in a sticky queue, for a call those with nothing in hand, then by the queue's strategy. Each agent gets at most
// one offer; a queue that rings all offers one conversation to everybody who fits. When the last that is seen of a part of the
// line has been given away, nobody behind it is: who is not seen may come before them.
func pick(s standing) []assignment {
	line := slices.Clone(s.Line)
	slices.SortFunc(line, s.order)
	byQueue := map[int64][]*candidate{}
	byID := map[int64]*candidate{}
	for i := range s.Desk {
		c := &s.Desk[i]
		if c.Busy != "" {
			continue
		}
		byID[c.ID] = c
		for _, m := range c.Queues {
			byQueue[m.QueueID] = append(byQueue[m.QueueID], c)
		}
	}
	var picked []assignment
	for i := range line {
		w := &line[i]
		r := s.Rules[w.QueueID]
		if len(byID) == 0 {
			break
		}
		if r == nil || r.held(w, s.Now) {
			continue
		}
		fit := s.fitting(r, w, byQueue[w.QueueID], byID)
		for n, c := range fit {
			a := assignment{ConversationID: w.ID, AgentID: c.ID, QueueID: w.QueueID, Load: c.Load, Why: s.why(r, w, c, len(fit)), Favoured: w.favour(c.ID) > 0}
			a.Shared = r.Strategy == RingAll && !a.Favoured && len(fit) > 1
			if n > 0 && !a.Shared {
				break
			}
			picked = append(picked, a)
			delete(byID, c.ID)
			for _, m := range c.Queues {
				byQueue[m.QueueID] = slices.DeleteFunc(byQueue[m.QueueID], func(o *candidate) bool { return o == c })
			}
		}
		if len(fit) > 0 && s.Ends[w.ID] {
			break
		}
	}
	return picked
}

// order is the order of the line, over all queues.
func (s standing) order(a, b waiting) int {
	return cmp.Or(first(a.Front, b.Front), first(a.ReturnCall, b.ReturnCall),
		cmp.Compare(s.points(b), s.points(a)), cmp.Compare(s.weighted(b), s.weighted(a)), cmp.Compare(a.ID, b.ID))
}

func (s standing) points(w waiting) int {
	r := s.Rules[w.QueueID]
	if r == nil {
		return 0
	}
	return r.Priority + int(w.waited(s.Now).Minutes()*float64(r.AgeBonus))
}

func (s standing) weighted(w waiting) float64 {
	scale := 1
	if r := s.Rules[w.QueueID]; r != nil {
		scale = max(1, r.Weight)
	}
	return s.Now.Sub(w.Since).Seconds() * float64(scale)
}

// waited is never negative: the clocks of two machines differ.
func (w *waiting) waited(now time.Time) time.Duration { return max(0, now.Sub(w.Since)) }

// held tells whether a conversation that came when nobody answers waits for the opening. Who came in time is served to
// the end, and so is whoever has been with a person already; an emergency close holds everybody but these. A call back
// waits for its time, and nobody is called when nobody answers.
func (r *rule) held(w *waiting, now time.Time) bool {
	if w.later(now) {
		return true
	}
	if w.Front || w.ReturnCall || w.Wanted != 0 || w.PassedBy != 0 {
		return false
	}
	if r.state == "" { // once for each pick: a line is long
		r.state, r.next = r.Hours.Open(now)
	}
	switch r.state {
	case Open:
		return false
	case EmergencyOff:
		return true
	}
	came, _ := r.Hours.Open(w.Since)
	return came != Open || w.Number != ""
}

// fitting lists who may be asked for w, the best first; a queue that does not ring all needs only the first.
func (s standing) fitting(r *rule, w *waiting, inQueue []*candidate, byID map[int64]*candidate) []*candidate {
	var fit []*candidate
	var best *candidate
	take := func(c *candidate) {
		if !r.room(w, c) || s.refused(r, w, c.ID) {
			return
		}
		if r.Strategy == RingAll {
			fit = append(fit, c)
		}
		if best == nil || s.before(r, w, c, best) < 0 {
			best = c
		}
	}
	for _, id := range []int64{w.Wanted, w.PassedBy} {
		if c := byID[id]; c != nil {
			take(c)
		}
	}
	if best != nil {
		return []*candidate{best}
	}
	asked := r.needs(w, s.Now)
	for _, c := range inQueue {
		if c.has(asked) {
			take(c)
		}
	}
	if best == nil || r.Strategy != RingAll {
		return slices.DeleteFunc([]*candidate{best}, func(c *candidate) bool { return c == nil })
	}
	slices.SortFunc(fit, func(a, b *candidate) int { return s.before(r, w, a, b) })
	return fit
}

// needs is what is asked for now: each skill's last step that has come, those without a level left out.
func (r *rule) needs(w *waiting, now time.Time) []need {
	waited := w.waited(now)
	if w.AnySkill || r.Anybody > 0 && waited >= r.Anybody {
		return nil
	}
	var asked []need
	for i, n := range r.Needs {
		last := i+1 == len(r.Needs) || r.Needs[i+1].Skill != n.Skill || r.Needs[i+1].After > waited
		if n.After <= waited && last && n.Level > 0 {
			asked = append(asked, n)
		}
	}
	return asked
}

func (c *candidate) has(asked []need) bool {
	for _, n := range asked {
		if c.Skills[n.Skill] < n.Level {
			return false
		}
	}
	return true
}

// room tells whether the agent can take w beside what it has. A call takes whatever is left; what is heavier than the
// agent's whole capacity goes to one with nothing in hand.
func (r *rule) room(w *waiting, c *candidate) bool {
	load := 1
	switch w.by() {
	case channels.Chat:
		load = r.ChatLoad
	case channels.Email:
		load = r.EmailLoad
	}
	return c.Load+load <= c.Capacity || c.Load == 0
}

// refused: who declined or missed it is left alone for a while.
func (s standing) refused(r *rule, w *waiting, agentID int64) bool {
	at, ok := w.Refused[agentID]
	if !ok {
		return false
	}
	pause := refusedFor
	if w.Rang[agentID] && r.Strategy == RingAll || s.only(r, w) {
		pause = refusedOnlyFor
	}
	return s.Now.Sub(at) < pause
}

// only tells whether no more than one person at the desk serves w, busy or not.
func (s standing) only(r *rule, w *waiting) bool {
	return s.Serve[r.ID] <= 1 && w.Wanted == 0 && w.PassedBy == 0
}

// before compares two agents who fit.
func (s standing) before(r *rule, w *waiting, a, b *candidate) int {
	if n := cmp.Compare(w.favour(b.ID), w.favour(a.ID)); n != 0 {
		return n
	}
	if w.LastAgent != 0 {
		if n := first(a.ID == w.LastAgent, b.ID == w.LastAgent); n != 0 {
			return n
		}
	}
	if w.by() == channels.Voice {
		if n := first(a.Load == 0, b.Load == 0); n != 0 {
			return n
		}
	}
	n := 0
	switch ma, mb := a.in(r.ID), b.in(r.ID); r.Strategy {
	case RoundRobin:
		n = ma.OfferedAt.Compare(mb.OfferedAt)
	case FewestCalls:
		n = cmp.Compare(a.Taken, b.Taken)
	case LeastTalk:
		n = cmp.Compare(a.Talk, b.Talk)
	case TopDown:
		n = cmp.Compare(ma.Position, mb.Position)
	case WeightedRandom:
		n = cmp.Compare(lot(w.ID, a.ID, ma.Weight), lot(w.ID, b.ID, mb.Weight))
	}
	return cmp.Or(n, a.IdleSince.Compare(b.IdleSince), cmp.Compare(a.ID, b.ID))
}

func (c *candidate) in(queueID int64) member {
	for _, m := range c.Queues {
		if m.QueueID == queueID {
			return m
		}
	}
	return member{Weight: 1}
}

// lot draws for an agent: the lowest wins, in the proportion of the weights (Efraimidis and Spirakis, 2006). The seed is
// the pair itself: the same conversation draws the same again, on every node and years later.
func lot(conversationID, agentID int64, weight int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%d", conversationID, agentID)
	x := h.Sum64() // mixed once more (splitmix64): FNV's high bits hardly depend on the last digits
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	u := (float64(x>>11) + 0.5) / (1 << 53)
	return -math.Log(u) / float64(max(1, weight))
}

// favour ranks the agents whom a transfer names before all others.
func (w *waiting) favour(agentID int64) int {
	switch agentID {
	case w.Wanted:
		return 2
	case w.PassedBy:
		return 1
	}
	return 0
}

// why says to the agent, in words, why this conversation rings now and here.
func (s standing) why(r *rule, w *waiting, c *candidate, fitting int) string {
	switch c.ID {
	case w.Wanted:
		return "Passed on to you, queue " + r.Name
	case w.PassedBy:
		return "Back to you: nobody took over"
	}
	idle := ago(s.Now.Sub(c.IdleSince))
	text := ""
	switch m := c.in(r.ID); {
	case w.LastAgent == c.ID:
		text = "You had this customer last"
	case r.Strategy == RingAll && fitting > 1:
		text = fmt.Sprintf("Rings at %d of you, the first takes it", fitting)
	case r.Strategy == RoundRobin:
		text = "Your turn"
	case r.Strategy == FewestCalls:
		text = fmt.Sprintf("Fewest conversations (%d)", c.Taken)
	case r.Strategy == LeastTalk:
		text = "Least talk time (" + ago(c.Talk) + ")"
	case r.Strategy == TopDown:
		text = fmt.Sprintf("First who is free, place %d", m.Position)
	case r.Strategy == WeightedRandom:
		text = "By lot"
	case s.longestIdle(r, c):
		text = "Idle longest (" + idle + ")"
	default:
		text = "Free (" + idle + ")"
	}
	text += ", queue " + r.Name
	if asked := r.needs(w, s.Now); len(asked) > 0 {
		text += ", " + named(asked)
	}
	if w.Number != "" {
		text += ", " + w.CallBack.kind()
	}
	switch {
	case w.ReturnCall:
		text += ", a lost call to return"
	case w.Front:
		text += ", first in line"
	}
	return text
}

func (s standing) longestIdle(r *rule, c *candidate) bool {
	for _, o := range s.Desk {
		if o.ID != c.ID && o.Busy == "" && o.in(r.ID).QueueID == r.ID && o.IdleSince.Before(c.IdleSince) {
			return false
		}
	}
	return true
}

// named is "French 3 and billing 2".
func named(asked []need) string {
	words := make([]string, len(asked))
	for i, n := range asked {
		words[i] = fmt.Sprintf("%s %d", n.Name, n.Level)
	}
	return strings.Join(words, " and ")
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
