package agents

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// waiting is a conversation in line.
type waiting struct {
	ID         int64
	QueueID    int64
	QueueName  string
	Front      bool // missed, failed or lost: before all others
	ReturnCall bool // a caller that we lost: before those who only wait
	Since      time.Time
	Wanted     int64               // passed on to this agent: asked first, also outside its queues
	PassedBy   int64               // and then the one who passed it on
	Refused    map[int64]time.Time // agents who declined or missed it lately, and when
}

// candidate is an agent at its desk.
type candidate struct {
	ID        int64
	Queues    []int64
	Free      bool
	IdleSince time.Time
}

type assignment struct {
	ConversationID int64
	AgentID        int64
	Why            string
	Favoured       bool // named by a transfer: need not be in the queue
}

const (
	refusedFor     = 60 * time.Second // who declined is not asked again so soon,
	refusedOnlyFor = 5 * time.Second  // unless nobody else is at the desk
)

// pick is the whole rule of routing. Line: front first, then calls to return, then who has waited longest. Agents: in
// the queue, free, not just declined; the one whom a colleague wanted, then that colleague, then the longest idle. Each agent
// gets at most one offer.
func pick(line []waiting, desk []candidate, now time.Time) []assignment {
	line = slices.SortedFunc(slices.Values(line), func(a, b waiting) int {
		return cmp.Or(first(a.Front, b.Front), first(a.ReturnCall, b.ReturnCall), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	desk = slices.SortedFunc(slices.Values(desk), func(a, b candidate) int {
		return cmp.Or(a.IdleSince.Compare(b.IdleSince), cmp.Compare(a.ID, b.ID))
	})
	var picked []assignment
	taken := map[int64]bool{}
	for _, w := range line {
		serving := slices.DeleteFunc(slices.Clone(desk), func(c candidate) bool {
			return !slices.Contains(c.Queues, w.QueueID) && w.favour(c.ID) == 0
		})
		slices.SortStableFunc(serving, func(a, b candidate) int { return cmp.Compare(w.favour(b.ID), w.favour(a.ID)) })
		for i, c := range serving {
			if !c.Free || taken[c.ID] || refused(w, c.ID, len(serving), now) {
				continue
			}
			taken[c.ID] = true
			picked = append(picked, assignment{ConversationID: w.ID, AgentID: c.ID, Why: why(w, c, i == 0, now), Favoured: w.favour(c.ID) > 0})
			break
		}
	}
	return picked
}

// favour ranks the agents whom a transfer names before all others.
func (w waiting) favour(agentID int64) int {
	switch agentID {
	case w.Wanted:
		return 2
	case w.PassedBy:
		return 1
	}
	return 0
}

func refused(w waiting, agentID int64, serving int, now time.Time) bool {
	at, ok := w.Refused[agentID]
	if !ok {
		return false
	}
	if serving == 1 {
		return now.Sub(at) < refusedOnlyFor
	}
	return now.Sub(at) < refusedFor
}

// why says to the agent, in words, why this conversation rings now and here.
func why(w waiting, c candidate, longest bool, now time.Time) string {
	text := "Free"
	if longest {
		text = "Idle longest"
	}
	text += fmt.Sprintf(" (%s), queue %s", ago(now.Sub(c.IdleSince)), w.QueueName)
	switch {
	case w.Wanted == c.ID:
		text = "Passed on to you, queue " + w.QueueName
	case w.PassedBy == c.ID:
		text = "Back to you: nobody took over"
	case w.ReturnCall:
		text += ", a lost call to return"
	case w.Front:
		text += ", first in line"
	}
	return text
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
