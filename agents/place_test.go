package agents

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// longLine puts n into the queue's line, with some in front, some calls to return and some that are called later.
func (h *house) longLine(n int) {
	h.Helper()
	h.exec(`insert into contacts (name) values ('Line')`)
	h.exec(`insert into conversations (contact_id, queue_id, channel, state, waiting_since, front, return_call, not_before)
		select (select max(id) from contacts), $2, (array['voice', 'chat', 'email'])[1 + n % 3], 'waiting', date_trunc('second', now() - interval '1 hour' * random()),
			n % 50 = 0, n % 70 = 0, case when n % 90 = 0 then now() + interval '1 hour' when n % 80 = 0 then now() - interval '1 hour' end from generate_series(1, $1) n`, n, h.queue)
}

// counted is the place of a conversation as everybody may count it.
const counted = `select 1 + count(o.id) from conversations c left join conversations o on o.queue_id = c.queue_id and o.state = 'waiting' and o.id <> c.id
	and coalesce(o.not_before <= now(), true) and (not o.front, not o.return_call, o.waiting_since, o.id) < (not c.front, not c.return_call, c.waiting_since, c.id)
	where c.id = $1 group by c.id`

// TestManyHearTheirPlacesFromOneReading: what is read to tell a hundred customers their places is the line once, not once for each.
func TestManyHearTheirPlacesFromOneReading(t *testing.T) {
	h := newHouse(t)
	const n, many = 3000, 100
	h.longLine(n)
	h.exec(`insert into paces (queue_id, at, pace) values ($1, now() + interval '1 hour', '{}')`, h.queue) // the books' part
	places := map[int64]int64{}
	for _, id := range ask[[]int64](h, `select array_agg(id) from (select id from conversations where state = 'waiting' order by random() limit $1) c`, many) {
		places[id] = ask[int64](h, counted, id)
	}
	read := h.reads([]string{"conversations"}, func(tx pgx.Tx) error {
		line := NewLine(tx)
		for id, want := range places {
			if place, _, _, _ := line.Expect(h.ctx, id); int64(place) != want {
				t.Errorf("conversation %d: place %d, counted %d", id, place, want)
			}
		}
		return nil
	})
	t.Logf("%d rows of conversations read for %d places in a line of %d", read, many, n)
	if read > 4*n { // a slow machine takes more than a second for a hundred
		t.Errorf("%d rows of conversations are read for %d places in a line of %d", read, many, n)
	}
}

// TestWhoComesIntoALongLineStandsBehindAll: also behind those who came after the line was read.
func TestWhoComesIntoALongLineStandsBehindAll(t *testing.T) {
	h := newHouse(t)
	h.longLine(3 * shortLine)
	line := NewLine(h.pool)
	first := ask[int64](h, `select max(id) from conversations`)
	if place, _, _, _ := line.Expect(h.ctx, first); int64(place) != ask[int64](h, counted, first) {
		t.Errorf("place %d", place)
	}
	for range 3 {
		id := h.waits(channels.Chat)
		if place, _, _, _ := line.Expect(h.ctx, id); int64(place) != ask[int64](h, counted, id) {
			t.Errorf("a newcomer is told place %d and stands at %d", place, ask[int64](h, counted, id))
		}
	}
	// and in a line in which all others are in front
	h.exec(`update conversations set front = true where waiting_since < now() - interval '1 minute'`)
	line = NewLine(h.pool)
	_, _, _, _ = line.Expect(h.ctx, first)
	id := h.waits(channels.Voice)
	if place, _, _, _ := line.Expect(h.ctx, id); int64(place) != ask[int64](h, counted, id) {
		t.Errorf("behind many in front a newcomer is told place %d and stands at %d", place, ask[int64](h, counted, id))
	}
}
