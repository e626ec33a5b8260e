package agents

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"patchbay/channels"
)

// Where a customer stands is how many are before it. If everybody who waits has these counted, a line of ten thousand reads fifty
// million rows to tell each of them once. So a long line is read once for all who ask within a second on this node, and each
// finds its own place in it.

const (
	placesFor = time.Second
	shortLine = 100 // up to here reading costs no more than counting, and everybody hears the place of this moment
)

// Line tells customers where they stand in their queue's line, and when a person will take them (Expect). A node has one.
type Line struct {
	q channels.Querier

	mu       sync.Mutex // guards the register only
	rankings map[int64]*ranking
}

// NewLine reads nothing yet. It is asked by many at once: q is a pool.
func NewLine(q channels.Querier) *Line { return &Line{q: q, rankings: map[int64]*ranking{}} }

// turn is what decides about a conversation's place in its queue.
type turn struct {
	ID         int64
	Front      bool
	ReturnCall bool
	Since      time.Time
}

// compare is the order of one queue's line: that of the index. Over all queues it is pick's.
func (t turn) compare(o turn) int {
	return cmp.Or(first(t.Front, o.Front), first(t.ReturnCall, o.ReturnCall), t.Since.Compare(o.Since), cmp.Compare(t.ID, o.ID))
}

// ranking is one queue's line as it was a moment ago. Who has sent into held, and not yet received, owns the other fields.
type ranking struct {
	held chan struct{}
	at   time.Time
	list []turn
}

func (l *Line) ranking(queue int64) *ranking {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rankings[queue]
	if r == nil {
		r = &ranking{held: make(chan struct{}, 1)}
		l.rankings[queue] = r
	}
	return r
}

// place counts those before t in the queue, as of a second ago at most. Those who have come since are counted too, so that
// who comes into a long line is not told a place that grows.
func (l *Line) place(ctx context.Context, queue int64, t turn) (int, error) {
	r := l.ranking(queue)
	select {
	case r.held <- struct{}{}:
		defer func() { <-r.held }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if len(r.list) <= shortLine || time.Since(r.at) > placesFor {
		if err := r.read(ctx, l.q, queue); err != nil {
			return 0, err
		}
	}
	before, _ := slices.BinarySearchFunc(r.list, t, turn.compare)
	if before < len(r.list) || len(r.list) <= shortLine || t.Front || t.ReturnCall {
		return 1 + before, nil
	}
	last := r.list[before-1]
	if last.Front || last.ReturnCall { // then nobody of the others was there
		last = turn{}
	}
	came, err := scalar[int](ctx, l.q, "who came since", `select count(*)::int from conversations where queue_id = $1 and state = 'waiting'
		and channel = any(array['voice', 'chat', 'email']) and not_before is null and not front and not return_call
		and (waiting_since, id) > ($2, $3) and (waiting_since, id) < ($4, $5)`, queue, last.Since, last.ID, t.Since, t.ID)
	return 1 + before + came, err
}

func (r *ranking) read(ctx context.Context, q channels.Querier, queue int64) error {
	list, err := all[turn](ctx, q, "places in a line", `select id, front, return_call, coalesce(waiting_since, state_at) as since from conversations c
		where queue_id = $1 and state = 'waiting' and `+inTurn("c"), queue)
	if err != nil {
		return err
	}
	slices.SortFunc(list, turn.compare)
	r.list, r.at = list, time.Now()
	return nil
}
