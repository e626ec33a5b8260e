package agents

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"patchbay/channels"
)

var pickNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) // a Sunday

func before(d time.Duration) time.Time { return pickNow.Add(-d) }

func wait(id int64, d time.Duration, change ...func(*waiting)) waiting {
	w := waiting{ID: id, QueueID: 1, Channel: channels.Chat, Since: before(d), Refused: map[int64]time.Time{}, Rang: map[int64]bool{}}
	for _, f := range change {
		f(&w)
	}
	return w
}

func at(id int64, idle time.Duration, change ...func(*candidate)) candidate {
	c := candidate{ID: id, Queues: []member{{QueueID: 1, Weight: 1}}, Capacity: 3, IdleSince: before(idle), Skills: map[int64]int{}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func oneQueue(change ...func(*rule)) map[int64]*rule {
	rules := map[int64]*rule{1: {ID: 1, Name: "Service", Strategy: LongestIdle, Weight: 1, ChatLoad: 1, EmailLoad: 1}}
	for _, f := range change {
		f(rules[1])
	}
	return rules
}

func busy(c *candidate)            { c.Busy = "on a call" }
func elsewhere(c *candidate)       { c.Queues = []member{{QueueID: 9}} }
func skill(l int) func(*candidate) { return func(c *candidate) { c.Skills[5] = l } }
func refusedAgo(agent int64, d time.Duration) func(*waiting) {
	return func(w *waiting) { w.Refused[agent] = before(d) }
}
func callBack(in time.Duration) func(*waiting) {
	next := pickNow.Add(in)
	return func(w *waiting) { w.CallBack = CallBack{Number: "+49", NotBefore: &next, Tries: 1, LastTry: "busy"} }
}
func by(strategy string) func(*rule) { return func(r *rule) { r.Strategy = strategy } }
func french(r *rule) {
	r.Needs = []need{{Skill: 5, Name: "French", Level: 3}, {Skill: 5, Name: "French", After: time.Minute, Level: 2}, {Skill: 5, Name: "French", After: 2 * time.Minute}}
}

func TestPick(t *testing.T) {
	two := oneQueue()
	two[2] = &rule{ID: 2, Name: "Sales", Strategy: LongestIdle, Weight: 1, ChatLoad: 1, EmailLoad: 1}
	inTwo := func(w *waiting) { w.QueueID = 2 }
	both := func(c *candidate) { c.Queues = []member{{QueueID: 1}, {QueueID: 2}} }
	sales := func(f func(*rule)) map[int64]*rule {
		r := oneQueue()
		r[2] = &rule{ID: 2, Name: "Sales", Strategy: LongestIdle, Weight: 1, ChatLoad: 1, EmailLoad: 1}
		f(r[2])
		return r
	}
	type give struct {
		conversation, agent int64
		why                 string
	}
	for _, c := range []struct {
		name  string
		rules map[int64]*rule
		line  []waiting
		desk  []candidate
		want  []give
	}{
		{"nobody waits", oneQueue(), nil, []candidate{at(1, time.Minute)}, nil},
		{"nobody is there", oneQueue(), []waiting{wait(1, time.Minute)}, nil, nil},
		{"longest idle gets longest waiting", oneQueue(),
			[]waiting{wait(1, time.Minute), wait(2, 2*time.Minute)}, []candidate{at(1, time.Minute), at(2, 6*time.Minute)},
			[]give{{2, 2, "Idle longest (6 min), queue Service"}, {1, 1, "Free (1 min), queue Service"}}},
		{"front before a call to return before the rest", oneQueue(),
			[]waiting{wait(1, time.Hour), wait(2, time.Minute, func(w *waiting) { w.ReturnCall = true }), wait(3, time.Second, func(w *waiting) { w.Front = true })},
			[]candidate{at(1, 3*time.Second), at(2, 2*time.Second)},
			[]give{{3, 1, "Idle longest (3 s), queue Service, first in line"}, {2, 2, "Free (2 s), queue Service, a lost call to return"}}},
		{"a call back whose time has not come is passed over", oneQueue(),
			[]waiting{wait(1, time.Hour, callBack(time.Second)), wait(2, time.Minute)}, []candidate{at(1, time.Minute), at(2, time.Second)},
			[]give{{2, 1, "Idle longest (1 min), queue Service"}}},
		{"then it has its place", oneQueue(), []waiting{wait(1, time.Hour, callBack(0)), wait(2, time.Minute)}, []candidate{at(1, time.Minute)},
			[]give{{1, 1, "Idle longest (1 min), queue Service, a call back, 2nd try"}}},
		{"after the last try a supervisor decides", oneQueue(), []waiting{wait(1, time.Hour, func(w *waiting) { w.Number, w.GivenUp = "+49", true })}, []candidate{at(1, time.Minute)}, nil},
		{"a call back is a call: it goes to one with nothing in hand", oneQueue(), []waiting{wait(1, time.Hour, callBack(0))},
			[]candidate{at(1, time.Minute, func(c *candidate) { c.Load = 1 }), at(2, time.Second)}, []give{{1, 2, "Free (1 s), queue Service, a call back, 2nd try"}}},
		{"nobody is called when nobody answers, though they came in time", oneQueue(func(r *rule) {
			r.Hours = Hours{Week: []Span{{Day: "sunday", From: "10:00", To: "11:59"}}}
		}), []waiting{wait(1, time.Hour, callBack(0)), wait(2, time.Hour)}, []candidate{at(1, time.Minute)}, []give{{2, 1, "Idle longest (1 min), queue Service"}}},
		{"who waits for another queue is passed over", two,
			[]waiting{wait(1, time.Hour, inTwo), wait(2, time.Minute)}, []candidate{at(1, 2*time.Hour)},
			[]give{{2, 1, "Idle longest (2 h), queue Service"}}},
		{"busy is not asked", oneQueue(), []waiting{wait(1, time.Minute)}, []candidate{at(1, time.Minute, busy)}, nil},
		{"who declined is passed over", oneQueue(), []waiting{wait(1, time.Minute, refusedAgo(1, 59*time.Second))},
			[]candidate{at(1, time.Hour), at(2, time.Second)}, []give{{1, 2, "Free (1 s), queue Service"}}},
		{"who declined is not asked again at once, though the other is busy", oneQueue(), []waiting{wait(1, time.Minute, refusedAgo(1, 10*time.Second))},
			[]candidate{at(1, time.Hour), at(2, time.Second, busy)}, nil},
		{"the only one is asked again, but not at once", oneQueue(), []waiting{wait(1, time.Minute, refusedAgo(1, 4*time.Second))}, []candidate{at(1, time.Hour)}, nil},
		{"the only one is asked again", oneQueue(), []waiting{wait(1, time.Minute, refusedAgo(1, 5*time.Second))}, []candidate{at(1, time.Hour)},
			[]give{{1, 1, "Idle longest (1 h), queue Service"}}},
		{"after a minute the refusal is forgotten", oneQueue(), []waiting{wait(1, time.Minute, refusedAgo(1, time.Minute))},
			[]candidate{at(1, time.Hour), at(2, time.Second, busy)}, []give{{1, 1, "Idle longest (1 h), queue Service"}}},

		{"whom a colleague wanted comes first, also from outside the queue and without its skills", oneQueue(french),
			[]waiting{wait(1, time.Second, func(w *waiting) { w.Wanted, w.PassedBy, w.Front = 7, 1, true })},
			[]candidate{at(1, time.Hour, skill(5)), at(7, time.Second, elsewhere)}, []give{{1, 7, "Passed on to you, queue Service"}}},
		{"who was wanted did not answer: back to the one who passed it on", oneQueue(),
			[]waiting{wait(1, time.Minute, refusedAgo(7, time.Second), func(w *waiting) { w.Wanted, w.PassedBy = 7, 2 })},
			[]candidate{at(1, time.Hour), at(2, time.Second), at(7, time.Second, elsewhere)}, []give{{1, 2, "Back to you: nobody took over"}}},
		{"both are busy: anybody of the queue", oneQueue(), []waiting{wait(1, time.Minute, func(w *waiting) { w.Wanted, w.PassedBy = 7, 2 })},
			[]candidate{at(1, time.Hour), at(2, time.Second, busy), at(7, time.Second, busy)}, []give{{1, 1, "Idle longest (1 h), queue Service"}}},

		{"the queue with priority goes before", sales(func(r *rule) { r.Priority = 1 }),
			[]waiting{wait(1, time.Hour), wait(2, time.Second, inTwo)}, []candidate{at(1, time.Minute, both)}, []give{{2, 1, "Idle longest (1 min), queue Sales"}}},
		{"age makes up for priority", sales(func(r *rule) { r.Priority = 5 }),
			[]waiting{wait(1, 6*time.Minute), wait(2, time.Second, inTwo)}, []candidate{at(1, time.Minute, both)}, []give{{2, 1, "Idle longest (1 min), queue Sales"}}},
		{"with a bonus of one point a minute it does", func() map[int64]*rule {
			r := sales(func(r *rule) { r.Priority = 5 })
			r[1].AgeBonus = 1
			return r
		}(), []waiting{wait(1, 6*time.Minute), wait(2, time.Second, inTwo)}, []candidate{at(1, time.Minute, both)}, []give{{1, 1, "Idle longest (1 min), queue Service"}}},
		{"weight: a minute here counts three times", sales(func(r *rule) { r.Weight = 3 }),
			[]waiting{wait(1, 5*time.Minute), wait(2, 2*time.Minute, inTwo)}, []candidate{at(1, time.Minute, both)}, []give{{2, 1, "Idle longest (1 min), queue Sales"}}},

		{"round robin: asked longest ago", oneQueue(by(RoundRobin)), []waiting{wait(1, time.Minute)},
			[]candidate{at(1, time.Hour, func(c *candidate) { c.Queues[0].OfferedAt = before(time.Second) }), at(2, time.Second, func(c *candidate) { c.Queues[0].OfferedAt = before(time.Minute) })},
			[]give{{1, 2, "Your turn, queue Service"}}},
		{"fewest calls", oneQueue(by(FewestCalls)), []waiting{wait(1, time.Minute)},
			[]candidate{at(1, time.Hour, func(c *candidate) { c.Taken = 4 }), at(2, time.Second, func(c *candidate) { c.Taken = 3 })}, []give{{1, 2, "Fewest conversations (3), queue Service"}}},
		{"least talk time", oneQueue(by(LeastTalk)), []waiting{wait(1, time.Minute)},
			[]candidate{at(1, time.Hour, func(c *candidate) { c.Talk = time.Hour }), at(2, time.Second, func(c *candidate) { c.Talk = 50 * time.Minute })}, []give{{1, 2, "Least talk time (50 min), queue Service"}}},
		{"top down", oneQueue(by(TopDown)), []waiting{wait(1, time.Minute)},
			[]candidate{at(1, time.Hour, func(c *candidate) { c.Queues[0].Position = 2 }), at(2, time.Second, func(c *candidate) { c.Queues[0].Position = 1 })}, []give{{1, 2, "First who is free, place 1, queue Service"}}},
		{"ring all: everybody who fits, one conversation at a time", oneQueue(by(RingAll)), []waiting{wait(1, time.Minute), wait(2, time.Second)},
			[]candidate{at(1, time.Hour), at(2, time.Second), at(3, time.Second, busy)},
			[]give{{1, 1, "Rings at 2 of you, the first takes it, queue Service"}, {1, 2, "Rings at 2 of you, the first takes it, queue Service"}}},
		{"ring all: who missed it is rung again soon", oneQueue(by(RingAll)), []waiting{wait(1, time.Minute, refusedAgo(1, 6*time.Second), refusedAgo(2, 6*time.Second), func(w *waiting) { w.Rang[1] = true })},
			[]candidate{at(1, time.Hour), at(2, time.Second)}, []give{{1, 1, "Idle longest (1 h), queue Service"}}},
		{"sticky: the last agent before the others", oneQueue(), []waiting{wait(1, time.Minute, func(w *waiting) { w.LastAgent = 2 })},
			[]candidate{at(1, time.Hour), at(2, time.Second)}, []give{{1, 2, "You had this customer last, queue Service"}}},
		{"sticky: does not wait for one who is busy", oneQueue(), []waiting{wait(1, time.Minute, func(w *waiting) { w.LastAgent = 2 })},
			[]candidate{at(1, time.Hour), at(2, time.Second, busy)}, []give{{1, 1, "Idle longest (1 h), queue Service"}}},

		{"a skill at its level", oneQueue(french), []waiting{wait(1, 30*time.Second)}, []candidate{at(1, time.Hour, skill(2)), at(2, time.Second, skill(3))},
			[]give{{1, 2, "Free (1 s), queue Service, French 3"}}},
		{"nobody has it yet", oneQueue(french), []waiting{wait(1, 59*time.Second)}, []candidate{at(1, time.Hour, skill(2))}, nil},
		{"it relaxes", oneQueue(french), []waiting{wait(1, time.Minute)}, []candidate{at(1, time.Hour, skill(2))}, []give{{1, 1, "Idle longest (1 h), queue Service, French 2"}}},
		{"and is dropped", oneQueue(french), []waiting{wait(1, 2*time.Minute)}, []candidate{at(1, time.Hour)}, []give{{1, 1, "Idle longest (1 h), queue Service"}}},
		{"finally anybody", oneQueue(french, func(r *rule) { r.Anybody = 20 * time.Second }), []waiting{wait(1, 20*time.Second)}, []candidate{at(1, time.Hour)},
			[]give{{1, 1, "Idle longest (1 h), queue Service"}}},
		{"its overflow has dropped it", oneQueue(french), []waiting{wait(1, time.Second, func(w *waiting) { w.AnySkill = true })}, []candidate{at(1, time.Hour)},
			[]give{{1, 1, "Idle longest (1 h), queue Service"}}},
		{"who has the skill is left for the one who needs it no longer than others", oneQueue(french), []waiting{wait(1, time.Second), wait(2, 3*time.Minute)},
			[]candidate{at(1, time.Hour), at(2, time.Second, skill(3))}, []give{{2, 1, "Idle longest (1 h), queue Service"}, {1, 2, "Free (1 s), queue Service, French 3"}}},

		{"chats count by weight", oneQueue(func(r *rule) { r.ChatLoad = 2 }), []waiting{wait(1, time.Minute)}, []candidate{at(1, time.Hour, func(c *candidate) { c.Load = 2 })}, nil},
		{"what is heavier than an agent goes to empty hands", oneQueue(func(r *rule) { r.ChatLoad = 9 }), []waiting{wait(1, time.Minute)},
			[]candidate{at(1, time.Hour, func(c *candidate) { c.Load = 1 }), at(2, time.Second)}, []give{{1, 2, "Free (1 s), queue Service"}}},
		{"a call goes to empty hands first", oneQueue(), []waiting{wait(1, time.Minute, func(w *waiting) { w.Channel = channels.Voice })},
			[]candidate{at(1, time.Hour, func(c *candidate) { c.Load = 1 }), at(2, time.Second)}, []give{{1, 2, "Free (1 s), queue Service"}}},
		{"but does not wait for them", oneQueue(), []waiting{wait(1, time.Minute, func(w *waiting) { w.Channel = channels.Voice })},
			[]candidate{at(1, time.Hour, func(c *candidate) { c.Load = 2 })}, []give{{1, 1, "Idle longest (1 h), queue Service"}}},

		{"who came when nobody answers waits for the opening", oneQueue(func(r *rule) { r.Hours = Hours{Week: []Span{{"sunday", "08:00", "11:00"}}} }),
			[]waiting{wait(1, 30*time.Minute)}, []candidate{at(1, time.Hour)}, nil},
		{"who came in time is served", oneQueue(func(r *rule) { r.Hours = Hours{Week: []Span{{"sunday", "08:00", "11:00"}}} }),
			[]waiting{wait(1, 61*time.Minute)}, []candidate{at(1, time.Hour)}, []give{{1, 1, "Idle longest (1 h), queue Service"}}},
		{"an emergency close holds both", oneQueue(func(r *rule) { r.Hours.ClosedUntil = pickNow.Add(time.Hour) }),
			[]waiting{wait(1, 61*time.Minute)}, []candidate{at(1, time.Hour)}, nil},
		{"but not who was with a person", oneQueue(func(r *rule) { r.Hours.ClosedUntil = pickNow.Add(time.Hour) }),
			[]waiting{wait(1, time.Minute, func(w *waiting) { w.Front = true })}, []candidate{at(1, time.Hour)}, []give{{1, 1, "Idle longest (1 h), queue Service, first in line"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []give
			for _, a := range pick(standing{Rules: c.rules, Line: c.line, Desk: c.desk, Serve: map[int64]int{1: len(c.desk)}, Now: pickNow}) {
				got = append(got, give{a.ConversationID, a.AgentID, a.Why})
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(give{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// By lot: the same conversation draws the same agent, and over many the weights show.
func TestByLot(t *testing.T) {
	desk := []candidate{at(1, time.Hour), at(2, time.Minute), at(3, time.Second)}
	for i, w := range []int{1, 2, 5} {
		desk[i].Queues[0].Weight = w
	}
	rules := oneQueue(by(WeightedRandom))
	got := map[int64]int{}
	const n = 8000
	for id := range int64(n) {
		s := standing{Rules: rules, Line: []waiting{wait(id+1, time.Minute)}, Desk: desk, Now: pickNow}
		first, again := pick(s), pick(s)
		if first[0] != again[0] {
			t.Fatalf("drawn %+v, then %+v", first[0], again[0])
		}
		got[first[0].AgentID]++
	}
	for i, share := range []float64{1. / 8, 2. / 8, 5. / 8} {
		if d := float64(got[int64(i+1)])/n - share; math.Abs(d) > 0.02 {
			t.Errorf("agent %d got %d of %d", i+1, got[int64(i+1)], n)
		}
	}
}

// world is a contact center in memory: random arrivals, answers, refusals, agents who come, go and vanish.
type world struct {
	s     standing
	open  map[int64][]int64 // conversation -> agents it rings at
	held  map[int64]int64   // conversation -> agent
	of    map[int64]waiting
	ids   int64
	calls map[int64]bool // agent is on a call
}

// Properties over random arrivals, agents and failures: no conversation waits while a fitting agent is free, none belongs
// to two agents, order within priority is kept, capacity is never exceeded.
func TestPickProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step(t)
			w.route(t)
		}
	})
}

func newWorld(t *rapid.T) *world {
	w := &world{open: map[int64][]int64{}, held: map[int64]int64{}, of: map[int64]waiting{}, calls: map[int64]bool{}}
	w.s = standing{Now: pickNow, Rules: map[int64]*rule{}, Serve: map[int64]int{}}
	for q := range int64(3) {
		r := &rule{ID: q + 1, Name: fmt.Sprint("queue ", q+1), Strategy: rapid.SampledFrom(Strategies).Draw(t, "strategy"),
			Priority: rapid.IntRange(0, 2).Draw(t, "priority"), AgeBonus: rapid.IntRange(0, 2).Draw(t, "bonus"), Weight: rapid.IntRange(1, 3).Draw(t, "weight"),
			ChatLoad: rapid.IntRange(1, 2).Draw(t, "chat"), EmailLoad: rapid.IntRange(1, 4).Draw(t, "mail")}
		if rapid.Bool().Draw(t, "asks") {
			r.Needs = []need{{Skill: 5, Name: "French", Level: rapid.IntRange(1, 3).Draw(t, "level")}, {Skill: 5, Name: "French", After: time.Minute, Level: rapid.IntRange(0, 1).Draw(t, "later")}}
		}
		if rapid.Bool().Draw(t, "finally") {
			r.Anybody = 90 * time.Second
		}
		w.s.Rules[r.ID] = r
	}
	for id := range rapid.Int64Range(0, 6).Draw(t, "agents") {
		c := candidate{ID: id + 1, Capacity: rapid.IntRange(1, 3).Draw(t, "capacity"), IdleSince: pickNow, Skills: map[int64]int{5: rapid.IntRange(0, 3).Draw(t, "skill")}}
		for _, q := range rapid.SliceOfNDistinct(rapid.Int64Range(1, 3), 0, 3, rapid.ID).Draw(t, "queues") {
			c.Queues = append(c.Queues, member{QueueID: q, Position: int(id), Weight: 1 + int(id)})
			w.s.Serve[q]++
		}
		w.s.Desk = append(w.s.Desk, c)
	}
	return w
}

func (w *world) step(t *rapid.T) {
	w.s.Now = w.s.Now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "seconds")) * time.Second)
	switch rapid.IntRange(0, 5).Draw(t, "event") {
	case 0, 1: // somebody comes
		w.ids++
		c := waiting{ID: w.ids, QueueID: rapid.Int64Range(1, 3).Draw(t, "queue"), Since: w.s.Now, Refused: map[int64]time.Time{}, Rang: map[int64]bool{},
			Channel: rapid.SampledFrom([]channels.Kind{channels.Voice, channels.Chat, channels.Email}).Draw(t, "channel")}
		if rapid.IntRange(0, 4).Draw(t, "passed") == 0 {
			c.Wanted, c.Front = rapid.Int64Range(1, 6).Draw(t, "wanted"), true
		}
		w.s.Line = append(w.s.Line, c)
	case 2: // an offer is accepted: the first wins
		for _, id := range w.ringing() {
			w.take(id, rapid.SampledFrom(w.open[id]).Draw(t, "who"))
			return
		}
	case 3: // declined or missed by everybody it rings at
		for _, id := range w.ringing() {
			c := w.of[id]
			for _, a := range w.open[id] {
				c.Refused[a] = w.s.Now
			}
			c.Front = true
			delete(w.open, id)
			w.s.Line = append(w.s.Line, c)
			return
		}
	case 4: // somebody is done
		for _, id := range sorted(w.held) {
			delete(w.held, id)
			return
		}
	case 5: // an agent vanishes: its work goes back to the front
		if len(w.s.Desk) == 0 {
			return
		}
		a := w.s.Desk[rapid.IntRange(0, len(w.s.Desk)-1).Draw(t, "agent")].ID
		for _, id := range sorted(w.held) {
			if w.held[id] == a {
				c := w.of[id]
				c.Front = true
				delete(w.held, id)
				w.s.Line = append(w.s.Line, c)
			}
		}
	}
}

func (w *world) ringing() []int64 { return sorted(w.open) }

func sorted[V any](m map[int64]V) []int64 {
	var ids []int64
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (w *world) take(id, agent int64) {
	w.held[id] = agent
	delete(w.open, id)
}

// count fills in what each agent has in hand, as the database would.
func (w *world) count() {
	for i := range w.s.Desk {
		c := &w.s.Desk[i]
		c.Load, c.Busy = 0, ""
		for id, a := range w.held {
			if a != c.ID {
				continue
			}
			r := w.s.Rules[w.of[id].QueueID]
			switch w.of[id].Channel {
			case channels.Voice:
				c.Load, c.Busy = c.Load+1, "on a call"
			case channels.Chat:
				c.Load += r.ChatLoad
			default:
				c.Load += r.EmailLoad
			}
		}
		for _, rings := range w.open {
			if slices.Contains(rings, c.ID) {
				c.Busy = "being asked"
			}
		}
		if c.Busy == "" && c.Load >= c.Capacity {
			c.Busy = "full"
		}
	}
}

func (w *world) route(t *rapid.T) {
	w.count()
	picked := pick(w.s)
	given, shared := map[int64][]int64{}, map[int64]bool{}
	for _, a := range picked {
		c := w.s.Desk[a.AgentID-1]
		if c.Busy != "" {
			t.Fatalf("%+v is asked", c)
		}
		for id, people := range given {
			if slices.Contains(people, a.AgentID) {
				t.Fatalf("agent %d gets %d and %d", a.AgentID, id, a.ConversationID)
			}
		}
		if len(given[a.ConversationID]) > 0 && !(a.Shared && shared[a.ConversationID]) {
			t.Fatalf("two offers of %d", a.ConversationID)
		}
		given[a.ConversationID], shared[a.ConversationID] = append(given[a.ConversationID], a.AgentID), a.Shared
	}
	for i, x := range w.s.Line {
		for _, c := range w.s.Desk {
			if len(given[x.ID]) > 0 || !w.fits(x, c) {
				continue
			}
			var got int64
			for id, people := range given {
				if slices.Contains(people, c.ID) {
					got = id
				}
			}
			if got == 0 {
				t.Fatalf("%+v waits although %+v is free", x, c)
			}
			for _, y := range w.s.Line {
				if y.ID == got && w.overtakes(y, x) {
					t.Fatalf("%+v was overtaken by %+v at agent %d (line %d)", x, y, c.ID, i)
				}
			}
		}
	}
	left := w.s.Line[:0:0]
	for _, x := range w.s.Line {
		if people := given[x.ID]; len(people) > 0 {
			w.open[x.ID], w.of[x.ID] = people, x
			continue
		}
		left = append(left, x)
	}
	w.s.Line = left
	w.count()
	for _, c := range w.s.Desk {
		hands := 0
		for _, a := range w.held {
			if a == c.ID {
				hands++
			}
		}
		if c.Load > c.Capacity && hands > 1 {
			t.Fatalf("%+v has more than it may, in %d conversations", c, hands)
		}
	}
}

// fits says another way than pick says it who may get what.
func (w *world) fits(x waiting, c candidate) bool {
	r := w.s.Rules[x.QueueID]
	load := map[channels.Kind]int{channels.Voice: 1, channels.Chat: r.ChatLoad, channels.Email: r.EmailLoad}[x.Channel]
	if _, no := x.Refused[c.ID]; no || c.Busy != "" || c.Load > 0 && c.Load+load > c.Capacity {
		return false
	}
	if x.Wanted == c.ID {
		return true
	}
	if !slices.ContainsFunc(c.Queues, func(m member) bool { return m.QueueID == x.QueueID }) {
		return false
	}
	waited := w.s.Now.Sub(x.Since)
	level := 0
	for _, n := range r.Needs {
		if waited >= n.After {
			level = n.Level
		}
	}
	return c.Skills[5] >= level || r.Anybody > 0 && waited >= r.Anybody
}

// overtakes: y was served although x of the same queue and channel was before it.
func (w *world) overtakes(y, x waiting) bool {
	if x.Front != y.Front || x.Wanted != y.Wanted {
		return x.Front && !y.Front && x.QueueID == y.QueueID
	}
	return x.QueueID == y.QueueID && x.Channel == y.Channel && x.Since.Before(y.Since)
}
