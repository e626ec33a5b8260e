package agents

import (
	"context"
	"fmt"
	"math"
	"time"

	"patchbay/channels"
)

// The expected wait: a range in which half of all waits like this one end, and no number where none would be honest.
//
// A queue with a line gives its conversations to agents one after the other. The gaps between these moments, as long as
// somebody was in line all the time, are what we know of its pace; each is scaled from the people who were at the desk
// then to those who are there now. Where no line has been lately, the pace comes from how long a conversation takes.
// The wait for place n is the sum of n gaps; its range is the middle half (p25 to p75) of a gamma distribution with that
// sum's mean and variance. What was said and what came true is stored in waits and published by server/report.

const (
	gapsUsed    = 50
	gapsNeeded  = 3
	historyFor  = 7 * 24 * time.Hour
	paceFor     = 2 * time.Hour // older gaps say nothing about now
	handledUsed = 50
)

// Expect says where a waiting conversation stands in its queue's line (1: next) and when a person will take it: in
// half of all cases between low and high from now. ok is false when nothing honest can be said: nobody who could is at the desk,
// the queue is closed, there is no history, the conversation does not wait (then the place is 0), or the database does not answer.
func (l *Line) Expect(ctx context.Context, conversationID int64) (place int, low, high time.Duration, ok bool) {
	at, err := one[struct {
		lineRow
		State       channels.State
		Pace        *pace
		Hours       Hours
		ClosedUntil *time.Time
		Now         time.Time
	}](ctx, l.q, "place in line", `select `+lineColumns+`, c.state, q.hours, q.closed_until, clock_timestamp() as now,
			(select p.pace from paces p where p.queue_id = c.queue_id and p.at > clock_timestamp() - interval '5 seconds') as pace
		from`+lineTables+` where c.id = $1 and c.state in ('waiting', 'offered')`, conversationID)
	if err != nil || at == nil {
		return 0, 0, 0, false
	}
	if place = 1; at.State == channels.Waiting {
		if place, err = l.place(ctx, at.QueueID, at.turn()); err != nil {
			return 0, 0, 0, false
		}
	}
	r := rule{Hours: at.Hours}
	if at.ClosedUntil != nil {
		r.Hours.ClosedUntil = *at.ClosedUntil
	}
	if w := at.waiting(); r.held(&w, at.Now) { // until the opening: the promise says when
		return place, 0, 0, false
	}
	if at.Pace == nil { // the books keep it fresh while somebody waits
		paces, err := readPaces(ctx, l.q, []int64{at.QueueID})
		if err != nil {
			return place, 0, 0, false
		}
		p := paces[at.QueueID]
		at.Pace = &p
	}
	low, high, ok = at.Pace.wait(place)
	return place, low, high, ok
}

// forecast is what is known of a queue's pace.
type forecast struct {
	People    int             // of the queue's agents at the desk
	Free      int             // of these could take a conversation now
	Gaps      []time.Duration // between two conversations taken while others waited, scaled to People
	Handled   []time.Duration // how long conversations took lately
	OfferTime time.Duration   // an agent may let it ring for so long
}

// pace is what a forecast comes to.
type pace struct {
	People    int           `json:"people"`
	Free      int           `json:"free"`
	Mean      float64       `json:"mean"`   // of one gap, in seconds
	Spread    float64       `json:"spread"` // standard deviation, in seconds; 0: the pace is not known
	OfferTime time.Duration `json:"offer_time"`
}

func (f forecast) pace() pace {
	p := pace{People: f.People, Free: f.Free, OfferTime: f.OfferTime}
	switch {
	case len(f.Gaps) >= gapsNeeded:
		p.Mean, p.Spread = meanAndSpread(f.Gaps)
	case len(f.Handled) >= gapsNeeded:
		p.Mean, _ = meanAndSpread(f.Handled)
		p.Mean /= float64(max(1, f.People))
		p.Spread = p.Mean // people end their conversations independently of each other
	default:
		return p
	}
	p.Mean = max(p.Mean, 0.001)
	p.Spread = max(p.Spread, p.Mean/2) // a few even gaps are no proof of an even pace
	return p
}

// wait is the middle half of the waits from place in line.
func (p pace) wait(place int) (low, high time.Duration, ok bool) {
	switch {
	case p.People == 0 || place < 1:
		return 0, 0, false
	case place <= p.Free:
		return 0, p.OfferTime, true
	case p.Spread == 0:
		return 0, 0, false
	}
	ahead := float64(place - p.Free)
	shape := ahead * p.Mean * p.Mean / (p.Spread * p.Spread)
	low, high = gamma(ahead*p.Mean, shape, -quartile), gamma(ahead*p.Mean, shape, quartile)
	return low, max(high, low+time.Second), true
}

// quartile: of a normal distribution half lies within this many standard deviations.
const quartile = 0.6745

// gamma is the quantile of a gamma distribution at z standard deviations, by Wilson and Hilferty (1931).
func gamma(mean, shape, z float64) time.Duration {
	root := 1 - 1/(9*shape) + z/math.Sqrt(9*shape)
	return time.Duration(mean * root * root * root * float64(time.Second)).Round(time.Second)
}

func meanAndSpread(list []time.Duration) (mean, spread float64) {
	for _, d := range list {
		mean += d.Seconds()
	}
	mean /= float64(len(list))
	for _, d := range list {
		spread += (d.Seconds() - mean) * (d.Seconds() - mean)
	}
	return mean, math.Sqrt(spread / float64(len(list)))
}

// readPaces reads how fast these queues' lines move now. People without the skills that a queue begins to ask for do not count:
// when it relaxes to them is no promise.
func readPaces(ctx context.Context, q channels.Querier, queues []int64) (map[int64]pace, error) {
	rows, err := all[struct {
		QueueID, OfferSeconds int64
		People, Free          int
		Gaps, Handled         []float64
	}](ctx, q, "forecast", `with desk as materialized (select a.id, `+mayBeAsked+` as free from agents a where a.presence = 'available'
			and a.id in (select m.agent_id from agent_queues m where m.queue_id = any($1))
			and a.id in (select s.agent_id from agent_sockets s join nodes n on n.id = s.node_id where `+living+`)),
		people as (select m.queue_id, count(*)::int as n, (count(*) filter (where d.free))::int as free
			from agent_queues m join desk d on d.id = m.agent_id where m.queue_id = any($1)
				and not exists (select from queue_skills k where k.queue_id = m.queue_id and k.after_seconds = 0 and k.level > coalesce(
					(select level from agent_skills s where s.agent_id = d.id and s.skill_id = k.skill_id), 0)) group by m.queue_id)
		select q.id as queue_id, q.offer_seconds::bigint as offer_seconds, coalesce(p.n, 0) as people, coalesce(p.free, 0) as free,
			array(select extract(epoch from ended_at - before)::float8 * coalesce(t.people, p.n) / greatest(p.n, 1)
				from (select since, ended_at, w.people, lag(ended_at) over (order by ended_at) as before from waits w
					where w.queue_id = q.id and outcome = 'agent' and ended_at > clock_timestamp() - $2::interval order by ended_at desc limit $3) t
				where since < before) as gaps,
			array(select extract(epoch from done_at - ended_at)::float8 from waits w
				where w.queue_id = q.id and outcome = 'agent' and done_at is not null and ended_at > clock_timestamp() - $4::interval
				order by ended_at desc limit $5) as handled
		from queues q left join people p on p.queue_id = q.id where q.id = any($1)`, queues, paceFor, gapsUsed, historyFor, handledUsed)
	paces := make(map[int64]pace, len(rows))
	for _, row := range rows {
		paces[row.QueueID] = forecast{People: row.People, Free: row.Free, Gaps: durations(row.Gaps), Handled: durations(row.Handled),
			OfferTime: time.Duration(row.OfferSeconds) * time.Second}.pace()
	}
	return paces, err
}

// mayBeAsked tells in SQL, near enough for a forecast, whether an agents row a at the desk could take a conversation.
const mayBeAsked = `(a.next_presence is null and not exists (select from offers o where o.agent_id = a.id and o.outcome is null)
	and not exists (select from conversations c where c.agent_id = a.id and c.state in ('agent', 'wrapup')
		and (c.channel = 'voice' or c.state = 'wrapup'))
	and (select count(*) from conversations c where c.agent_id = a.id and c.state in ('agent', 'wrapup')) < a.capacity)`

func durations(seconds []float64) []time.Duration {
	list := make([]time.Duration, len(seconds))
	for i, s := range seconds {
		list[i] = time.Duration(s * float64(time.Second))
	}
	return list
}

// waitEnds notes that a person has taken the conversation that waits: part of its wait's record.
func waitEnds(ctx context.Context, tx channels.Querier, conversationID int64) error {
	rows, err := tx.Query(ctx, `insert into waits (conversation_id, since, queue_id, channel, ended_at, outcome)
		select id, waiting_since, queue_id, channel, clock_timestamp(), 'agent' from conversations where id = $1 and waiting_since is not null
		on conflict (conversation_id, since) do update set queue_id = excluded.queue_id, ended_at = excluded.ended_at, outcome = 'agent'`, conversationID)
	if err != nil {
		return fmt.Errorf("end of wait: %w", err)
	}
	rows.Close()
	return rows.Err()
}
