package trunks

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// What a stolen login looks like before the bill does: much of the day's money, calls in the night, a country that nobody
// has called before, one short call after the other. The dial policy stops what is too much (dialplan.go); an alarm makes
// somebody look at what is only odd.

const (
	nightFrom, nightTo = 22, 6            // o'clock, by the server's clock
	nightCalls         = 5                // so many calls out in one night are odd
	shortCall          = 10 * time.Second // answered, and over before anybody could have said anything
	shortCalls         = 10               // so many by one agent within an hour are odd
	seasoned           = 50               // before so many calls out of a house every country is new
)

// alarmSteps are the percents of a day's calls or money at which somebody should look.
var alarmSteps = []int{50, 80, 100}

// pattern is what has been dialled before, beside what it cost.
type pattern struct {
	Night   int    // calls out over the trunk since this night began, this one included; 0 by day
	Short   int    // the agent's answered calls out of the last hour that were over within shortCall
	Past    int    // calls out of the house before this one, at most seasoned
	Country string // code of the country that is called, where it is not the trunk's own
	Known   bool   // somebody has called there before
}

const usedOddly = `select case when $4::timestamptz is null then 0 else
			(select 1 + count(*) from calls where trunk_id = $1::bigint and id <> $2::bigint and dialled_by is not null and started_at > $4) end,
		(select count(*) from calls where dialled_by = $3::bigint and id <> $2 and started_at > clock_timestamp() - interval '1 hour'
			and answered_at is not null and ended_at - answered_at < make_interval(secs => $5::float8)),
		(select count(*) from (select from calls where dialled_by is not null and id <> $2 limit $6::int) past),
		case when $7::text = '' then false else
			exists (select from calls where dialled_by is not null and id <> $2 and to_address like '+' || $7::text || '%') end`

// patternOf asks what a call would be odd beside.
func patternOf(ctx context.Context, tx pgx.Tx, t *channels.Trunk, callID, agentID int64, number string, now time.Time) (p pattern, err error) {
	var since *time.Time
	if at, night := nightOf(now); night {
		since = &at
	}
	if n := numberingOf(t); strings.HasPrefix(number, "+") && n.abroad(number) {
		p.Country = countryOf(number[1:])
	}
	row := tx.QueryRow(ctx, usedOddly, t.ID, callID, agentID, since, shortCall.Seconds(), seasoned, p.Country)
	if err := row.Scan(&p.Night, &p.Short, &p.Past, &p.Known); err != nil {
		return p, fmt.Errorf("look for odd calls: %w", err)
	}
	return p, nil
}

// nightOf is when the night began that now is in; false: it is day.
func nightOf(now time.Time) (since time.Time, night bool) {
	y, m, d := now.Date()
	switch hour := now.Hour(); {
	case hour >= nightFrom:
		return time.Date(y, m, d, nightFrom, 0, 0, 0, now.Location()), true
	case hour < nightTo:
		return time.Date(y, m, d-1, nightFrom, 0, 0, 0, now.Location()), true
	}
	return time.Time{}, false
}

// alarmsOf is what somebody should look at when an agent makes a call; refused: it was one too much.
func alarmsOf(t *channels.Trunk, agentID int64, u usage, p pattern, refused bool) (list []channels.TrunkAlarm) {
	raise := func(kind, about string, by *int64, words string, args ...any) {
		list = append(list, channels.TrunkAlarm{TrunkID: t.ID, AgentID: by, Kind: kind, About: about, Words: fmt.Sprintf(words, args...)})
	}
	for _, use := range []struct {
		name, words string
		share       float64
	}{
		{"calls", fmt.Sprintf("%d of %d calls", u.Day, t.MaxCallsDay), share(float64(u.Day), float64(t.MaxCallsDay))},
		{"money", fmt.Sprintf("%.2f of %.2f money", u.Money, t.MaxMoneyDay), share(u.Money, t.MaxMoneyDay)},
	} {
		for _, step := range slices.Backward(alarmSteps) {
			if use.share >= float64(step)/100 {
				raise(channels.AlarmUsed, use.name+" "+strconv.Itoa(step), nil, "%s has used %s of 24 hours, %d %% or more.", t.Name, use.words, step)
				break
			}
		}
	}
	if refused {
		raise(channels.AlarmSpent, "", nil, "Calls out over %s are refused: %d of %d calls, %.2f of %.2f money of 24 hours are used.", t.Name, u.Day, t.MaxCallsDay, u.Money, t.MaxMoneyDay)
		return list
	}
	if p.Night >= nightCalls {
		raise(channels.AlarmNight, "", nil, "%d calls out over %s this night, between %d and %d o'clock.", p.Night, t.Name, nightFrom, nightTo)
	}
	if p.Country != "" && !p.Known && p.Past >= seasoned {
		raise(channels.AlarmCountry, p.Country, &agentID, "The first call to +%s that anybody here has made, over %s.", p.Country, t.Name)
	}
	if p.Short >= shortCalls {
		raise(channels.AlarmShort, strconv.FormatInt(agentID, 10), &agentID, "%d calls by one agent over %s within an hour were over in less than %d seconds.", p.Short, t.Name, int(shortCall.Seconds()))
	}
	return list
}

func share(used, most float64) float64 {
	if most <= 0 {
		return 0
	}
	return used / most
}

// raise stores alarms that are new and tells the desks. A call is not kept waiting for words about it by a database that is
// away.
func (sh *Shelf) raise(ctx context.Context, list []channels.TrunkAlarm) {
	for i := range list {
		a := &list[i]
		raised, err := channels.RaiseAlarm(ctx, sh.cfg.Pool, a)
		if err != nil {
			sh.log.Error("trunk alarm not stored", "trunk", a.TrunkID, "words", a.Words, "err", err)
			continue
		}
		if !raised {
			continue
		}
		sh.log.Warn("trunk alarm", "trunk", a.TrunkID, "kind", a.Kind, "words", a.Words)
		if err := sh.cfg.Bus.Publish(channels.TrunkAlarmSubject, a); err != nil {
			sh.log.Warn("trunk alarm not announced", "err", err)
		}
	}
}
