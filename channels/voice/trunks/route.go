package trunks

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/sipleg"
)

// Route is one way to make a call: a trunk, and what it wants to be told.
type Route struct {
	Trunk *Trunk
	Verdict
	typed string
	URI   string // who is called
	who
	hops           []edge.Hop
	user, password string
}

// hiddenNumber is what an agent chooses as From to stay unknown.
const hiddenNumber = "anonymous"

// Routes lists the ways to call a number, the best first: trunks that the dial policy lets through, healthy ones first,
// then by their order. from is the number of ours to show, "" the trunk's own. The error has words for the agent.
func (sh *Shelf) Routes(number, from, name string) ([]Route, error) {
	b := sh.book.Load()
	var shown *channels.Number
	if from != "" && from != hiddenNumber {
		n, ok := b.numbers[bareNumber(from)]
		if !ok || !n.CallerID {
			return nil, channels.FailField(channels.Invalid, "from", from+" is not a number that may be shown.")
		}
		shown = &n
	}
	var healthy, sick []Route
	var refused *channels.Error
	for _, t := range b.trunks {
		if shown != nil && shown.TrunkID != nil && *shown.TrunkID != t.ID && len(t.servers) > 0 {
			continue
		}
		v := judgeNumber(&t.Trunk, number)
		if v.Refused != nil {
			if len(t.servers) > 0 && refused == nil {
				refused = v.Refused
			}
			continue
		}
		r := t.route(v, number, shown, from == hiddenNumber && !v.Emergency, name)
		hops, well := t.hops()
		if r.hops = hops; len(hops) == 0 {
			continue
		}
		if well {
			healthy = append(healthy, r)
		} else {
			sick = append(sick, r)
		}
	}
	switch list := append(healthy, sick...); {
	case len(list) > 0:
		return list, nil
	case refused != nil:
		return nil, refused
	case len(b.trunks) > 1:
		return nil, channels.Fail(channels.Unavailable, "No way to the telephone network can be reached at the moment.")
	}
	return nil, channels.FailField(channels.Forbidden, "number", "No trunk is set up for calls out.")
}

// DialsOut tells whether any trunk is set up for calls out.
func (sh *Shelf) DialsOut() bool {
	return slices.ContainsFunc(sh.book.Load().trunks, func(t *Trunk) bool { return t.Enabled && t.DialOut && len(t.servers) > 0 })
}

func (t *Trunk) route(v Verdict, typed string, shown *channels.Number, hidden bool, name string) Route {
	number := t.E164(t.CallerNumber)
	if shown != nil {
		number = t.E164(shown.Number)
	}
	return Route{Trunk: t, Verdict: v, typed: typed, URI: t.at(t.spell(v.Number, typed, t.NumberFormat)), who: t.shows(number, name, hidden),
		user: t.Login(), password: string(t.Password)}
}

// Dial is how a call goes out over the trunk.
func (r *Route) Dial(tell func(sipleg.Event), external netip.Addr, noAnswer time.Duration) sipleg.Dial {
	d := sipleg.Dial{Tell: tell, Hops: r.hops, URI: r.URI, From: r.From, Name: r.Name, Headers: r.Headers, User: r.user, Password: r.password,
		Prefs: r.Trunk.prefs(), Latch: latches[r.Trunk.Latch], LargeByTCP: true, NoAnswer: noAnswer}
	d.External, d.ExternalMedia = r.Trunk.announced(external)
	return d
}

// Failed notes that a call got no answer by this way, or none that helps.
func (r *Route) Failed() {
	for _, h := range r.hops {
		r.Trunk.failed(h.Addr)
	}
}

const (
	usedRunning = `select count(*), count(*) filter (where dialled_by is not null) from calls where trunk_id = $1 and state <> 'ended' and id <> $2`
	// While a call runs its money is the price of a minute; at its end it is what it has cost (Settle).
	usedDay = `select count(*), count(*) filter (where dialled_by = $3 and started_at > clock_timestamp() - interval '1 hour'),
			coalesce(sum(case when state = 'ended' then money
				else money * greatest(1, ceil(extract(epoch from clock_timestamp() - coalesce(answered_at, bridged_at)) / 60)) end), 0)::float8
		from calls where trunk_id = $1 and id <> $2 and dialled_by is not null and started_at > clock_timestamp() - interval '24 hours'`
	reserveCall = `update calls set trunk_id = $2, dialled_by = coalesce(nullif($3::bigint, 0), dialled_by), money = $4
		where id = $1 and state <> 'ended'`
)

// Reserve asks the dial policy with what all nodes have dialled, under the trunk's lock, and notes the call as the
// trunk's: of two that want the last line only one gets it. The verdict replaces the route's. The error has words for the
// agent. An emergency call is not kept from going out by a database that is away.
func (sh *Shelf) Reserve(ctx context.Context, r *Route, callID, agentID int64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var used usage
	var alarms []channels.TrunkAlarm
	err := pgx.BeginFunc(ctx, sh.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select from trunks where id = $1 for update`, r.Trunk.ID); err != nil {
			return fmt.Errorf("lock trunk: %w", err)
		}
		row, err := channels.GetTrunk(ctx, tx, r.Trunk.ID) // as it is now, not as we have read it once
		if err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, usedRunning, row.ID, callID).Scan(&used.Calls, &used.Out); err != nil {
			return fmt.Errorf("count calls: %w", err)
		}
		if err := tx.QueryRow(ctx, usedDay, row.ID, callID, agentID).Scan(&used.Day, &used.Hour, &used.Money); err != nil {
			return fmt.Errorf("count calls: %w", err)
		}
		v := judge(row, r.typed, used)
		if v.Refused != nil {
			if v.spent {
				alarms = alarmsOf(row, agentID, used, pattern{}, true)
			}
			return v.Refused
		}
		r.Verdict = v
		odd, err := patternOf(ctx, tx, row, callID, agentID, v.Number, sh.now())
		if err != nil {
			return err
		}
		used.Day, used.Money = used.Day+1, used.Money+v.PerMinute
		alarms = alarmsOf(row, agentID, used, odd, false)
		_, err = tx.Exec(ctx, reserveCall, callID, row.ID, agentID, v.PerMinute)
		if err != nil {
			return fmt.Errorf("reserve call: %w", err)
		}
		return nil
	})
	sh.raise(ctx, alarms)
	switch {
	case err == nil:
		return nil
	case channels.CodeOf(err) != "":
		return err
	case r.Emergency:
		sh.log.Error("emergency call not counted", "trunk", r.Trunk.Name, "err", err)
		return nil
	}
	sh.log.Warn("dial policy not asked", "trunk", r.Trunk.Name, "err", err)
	return channels.Fail(channels.Unavailable, "Whether this call is allowed cannot be looked up at the moment. Try again soon.")
}

// Settle stores what a call out has cost: minutes that have begun since it was answered.
func (sh *Shelf) Settle(ctx context.Context, callID int64, perMinute float64, talked time.Duration) error {
	_, err := sh.cfg.Pool.Exec(ctx, `update calls set money = $2 where id = $1`, callID, costOf(perMinute, talked))
	if err != nil {
		return fmt.Errorf("cost of call: %w", err)
	}
	return nil
}
