package agents

import (
	"testing"
	"time"

	"patchbay/channels"
)

func TestForecast(t *testing.T) {
	every := func(d time.Duration, n int) (list []time.Duration) {
		for range n {
			list = append(list, d)
		}
		return list
	}
	for _, c := range []struct {
		name      string
		f         forecast
		place     int
		low, high time.Duration
		ok        bool
	}{
		{"nobody at the desk", forecast{Gaps: every(time.Minute, 9)}, 1, 0, 0, false},
		{"no history", forecast{People: 2}, 1, 0, 0, false},
		{"somebody is free", forecast{People: 2, Free: 1, OfferTime: 20 * time.Second}, 1, 0, 20 * time.Second, true},
		{"an even pace", forecast{People: 2, Gaps: every(time.Minute, 9)}, 1, 38 * time.Second, 77 * time.Second, true},
		{"four times as far, twice as wide", forecast{People: 2, Gaps: every(time.Minute, 9)}, 4, 197 * time.Second, 277 * time.Second, true},
		{"who is free takes the first", forecast{People: 2, Free: 1, Gaps: every(time.Minute, 9)}, 2, 38 * time.Second, 77 * time.Second, true},
		{"by how long conversations take", forecast{People: 5, Handled: every(5*time.Minute, 3)}, 1, 18 * time.Second, 83 * time.Second, true},
		{"two gaps are no pace", forecast{People: 1, Gaps: every(time.Minute, 2)}, 1, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			low, high, ok := c.f.pace().wait(c.place)
			if low != c.low || high != c.high || ok != c.ok {
				t.Errorf("%s to %s, %v; want %s to %s, %v", low, high, ok, c.low, c.high, c.ok)
			}
		})
	}
}

func TestExpect(t *testing.T) {
	h := newHouse(t)
	line := NewLine(h.pool)
	mira := h.agent("Mira")
	h.exec(`update agents set capacity = 1 where id = $1`, mira)
	first := h.waits(channels.Voice)
	if place, low, high, ok := line.Expect(h.ctx, first); place != 1 || low != 0 || high != 20*time.Second || !ok {
		t.Errorf("Mira is free: %d, %s to %s, %v", place, low, high, ok)
	}
	var behind []int64
	for range 2 {
		behind = append(behind, h.waits(channels.Voice))
	}
	h.exec(`update conversations set state = 'agent', agent_id = $2 where id = $1`, first, mira)
	if place, _, _, ok := line.Expect(h.ctx, behind[1]); place != 2 || ok {
		t.Errorf("without history: %d, %v", place, ok)
	}
	if place, _, _, ok := line.Expect(h.ctx, first); place != 0 || ok {
		t.Errorf("it does not wait: %d, %v", place, ok)
	}
	// one a minute while the next ones waited, by two people: alone Mira takes two minutes for each
	h.exec(`insert into waits (conversation_id, since, queue_id, channel, people, ended_at, outcome)
		select $1, clock_timestamp() - make_interval(mins => n + 3), $2, 'voice', 2, clock_timestamp() - make_interval(mins => n), 'agent'
		from generate_series(1, 6) n`, first, h.queue)
	place, low, high, ok := line.Expect(h.ctx, behind[1])
	if place != 2 || !ok || low > 4*time.Minute || high < 4*time.Minute || high-low > 3*time.Minute {
		t.Errorf("second in line: %d, %s to %s, %v", place, low, high, ok)
	}
	// a skill that nobody has, and a closed queue, allow no honest number
	h.exec(`with k as (insert into skills (name) values ('French') returning id) insert into queue_skills (queue_id, skill_id, level) select $1, id, 3 from k`, h.queue)
	if place, _, _, ok := line.Expect(h.ctx, behind[1]); place != 2 || ok {
		t.Errorf("nobody speaks French: %d, %v", place, ok)
	}
	h.exec(`delete from queue_skills`)
	h.exec(`update queues set closed_until = clock_timestamp() + interval '1 hour'`)
	if place, _, _, ok := line.Expect(h.ctx, behind[1]); place != 2 || ok {
		t.Errorf("closed: %d, %v", place, ok)
	}
	h.exec(`update queues set closed_until = null`)
	h.exec(`update conversations set front = true where id = $1`, behind[1])
	if place, _, _, _ := line.Expect(h.ctx, behind[1]); place != 1 {
		t.Errorf("first in line: %d", place)
	}
}
