package agents

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPick(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	wait := func(id int64, d time.Duration) waiting {
		return waiting{ID: id, QueueID: 1, QueueName: "Service", Since: ago(d), Refused: map[int64]time.Time{}}
	}
	at := func(id int64, idle time.Duration) candidate {
		return candidate{ID: id, Queues: []int64{1}, Free: true, IdleSince: ago(idle)}
	}
	with := func(w waiting, change func(*waiting)) waiting { change(&w); return w }
	busy := func(c candidate) candidate { c.Free = false; return c }

	for _, c := range []struct {
		name string
		line []waiting
		desk []candidate
		want []assignment
	}{
		{"nobody waits", nil, []candidate{at(1, time.Minute)}, nil},
		{"nobody is there", []waiting{wait(1, time.Minute)}, nil, nil},
		{"longest idle gets longest waiting",
			[]waiting{wait(1, time.Minute), wait(2, 2*time.Minute)}, []candidate{at(1, time.Minute), at(2, 6*time.Minute)},
			[]assignment{{ConversationID: 2, AgentID: 2, Why: "Idle longest (6 min), queue Service"}, {ConversationID: 1, AgentID: 1, Why: "Free (1 min), queue Service"}}},
		{"front before a call to return before the rest",
			[]waiting{wait(1, time.Hour), with(wait(2, time.Minute), func(w *waiting) { w.ReturnCall = true }),
				with(wait(3, time.Second), func(w *waiting) { w.Front = true })},
			[]candidate{at(1, 3*time.Second), at(2, 2*time.Second)},
			[]assignment{{ConversationID: 3, AgentID: 1, Why: "Idle longest (3 s), queue Service, first in line"}, {ConversationID: 2, AgentID: 2, Why: "Free (2 s), queue Service, a lost call to return"}}},
		{"who waits for another queue is passed over",
			[]waiting{with(wait(1, time.Hour), func(w *waiting) { w.QueueID = 2 }), wait(2, time.Minute)}, []candidate{at(1, 2*time.Hour)},
			[]assignment{{ConversationID: 2, AgentID: 1, Why: "Idle longest (2 h), queue Service"}}},
		{"busy is not asked", []waiting{wait(1, time.Minute)}, []candidate{busy(at(1, time.Minute))}, nil},
		{"who declined is passed over",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) { w.Refused[1] = ago(59 * time.Second) })},
			[]candidate{at(1, time.Hour), at(2, time.Second)},
			[]assignment{{ConversationID: 1, AgentID: 2, Why: "Free (1 s), queue Service"}}},
		{"who declined is not asked again at once, though the other is busy",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) { w.Refused[1] = ago(10 * time.Second) })},
			[]candidate{at(1, time.Hour), busy(at(2, time.Second))}, nil},
		{"the only one is asked again, but not at once",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) { w.Refused[1] = ago(4 * time.Second) })},
			[]candidate{at(1, time.Hour)}, nil},
		{"the only one is asked again",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) { w.Refused[1] = ago(5 * time.Second) })},
			[]candidate{at(1, time.Hour)},
			[]assignment{{ConversationID: 1, AgentID: 1, Why: "Idle longest (1 h), queue Service"}}},
		{"whom a colleague wanted comes first, also from outside the queue",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) { w.Wanted, w.PassedBy, w.Front = 7, 1, true })},
			[]candidate{at(1, time.Hour), {ID: 7, Queues: []int64{9}, Free: true, IdleSince: ago(time.Second)}},
			[]assignment{{ConversationID: 1, AgentID: 7, Why: "Passed on to you, queue Service", Favoured: true}}},
		{"who was wanted did not answer: back to the one who passed it on",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) {
				w.Wanted, w.PassedBy, w.Refused[7] = 7, 2, ago(time.Second)
			})},
			[]candidate{at(1, time.Hour), at(2, time.Second), {ID: 7, Queues: []int64{9}, Free: true, IdleSince: ago(time.Second)}},
			[]assignment{{ConversationID: 1, AgentID: 2, Why: "Back to you: nobody took over", Favoured: true}}},
		{"both are busy: anybody of the queue",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) { w.Wanted, w.PassedBy = 7, 2 })},
			[]candidate{at(1, time.Hour), busy(at(2, time.Second)), busy(at(7, time.Second))},
			[]assignment{{ConversationID: 1, AgentID: 1, Why: "Free (1 h), queue Service"}}},
		{"after a minute the refusal is forgotten",
			[]waiting{with(wait(1, time.Minute), func(w *waiting) { w.Refused[1] = ago(60 * time.Second) })},
			[]candidate{at(1, time.Hour), busy(at(2, time.Second))},
			[]assignment{{ConversationID: 1, AgentID: 1, Why: "Idle longest (1 h), queue Service"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, pick(c.line, c.desk, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPickProperties(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	back := rapid.Map(rapid.IntRange(0, 300), func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) })
	rapid.Check(t, func(t *rapid.T) {
		var line []waiting
		for i := range rapid.IntRange(0, 12).Draw(t, "line") {
			w := waiting{ID: int64(i + 1), QueueID: rapid.Int64Range(1, 3).Draw(t, "queue"), Front: rapid.Bool().Draw(t, "front"),
				ReturnCall: rapid.Bool().Draw(t, "return"), Since: back.Draw(t, "since")}
			w.Refused = rapid.MapOfN(rapid.Int64Range(1, 6), back, 0, 3).Draw(t, "refused")
			line = append(line, w)
		}
		var desk []candidate
		for i := range rapid.IntRange(0, 6).Draw(t, "desk") {
			desk = append(desk, candidate{ID: int64(i + 1), Free: rapid.Bool().Draw(t, "free"), IdleSince: back.Draw(t, "idle"),
				Queues: rapid.SliceOfNDistinct(rapid.Int64Range(1, 3), 0, 3, rapid.ID).Draw(t, "queues")})
		}
		picked := pick(line, desk, now)

		agentOf, givenTo := map[int64]int64{}, map[int64]int64{}
		for _, a := range picked {
			if givenTo[a.ConversationID] != 0 || agentOf[a.AgentID] != 0 {
				t.Fatalf("twice: %+v in %+v", a, picked)
			}
			givenTo[a.ConversationID], agentOf[a.AgentID] = a.AgentID, a.ConversationID
			w, c := line[a.ConversationID-1], desk[a.AgentID-1]
			if !c.Free || !slices.Contains(c.Queues, w.QueueID) {
				t.Fatalf("%+v may not get %+v", c, w)
			}
			if at, ok := w.Refused[c.ID]; ok && now.Sub(at) < refusedOnlyFor {
				t.Fatalf("%+v has just declined %+v", c, w)
			}
		}
		// Nobody waits beside a free agent who could take it, and nobody overtakes in its queue.
		for _, w := range line {
			for _, c := range desk {
				if givenTo[w.ID] != 0 || !c.Free || !slices.Contains(c.Queues, w.QueueID) {
					continue
				}
				if _, declined := w.Refused[c.ID]; declined {
					continue
				}
				got := agentOf[c.ID]
				if got == 0 {
					t.Fatalf("%+v waits although %+v is free", w, c)
				}
				if before(w, line[got-1]) {
					t.Fatalf("%+v was overtaken by %+v", w, line[got-1])
				}
			}
		}
	})
}

// before is the order of the line, said another way than pick says it.
func before(a, b waiting) bool {
	if a.Front != b.Front {
		return a.Front
	}
	if a.ReturnCall != b.ReturnCall {
		return a.ReturnCall
	}
	return a.Since.Before(b.Since)
}
