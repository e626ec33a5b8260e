package channels

import (
	"context"
	"time"
)

// Kinds of TrunkAlarm.
const (
	AlarmUsed    = "used"    // much of a day's calls or money
	AlarmSpent   = "spent"   // all of it: calls out are refused
	AlarmNight   = "night"   // several calls out at night
	AlarmCountry = "country" // a country that nobody has called before
	AlarmShort   = "short"   // a series of very short calls
)

// TrunkAlarm is odd or expensive use of a trunk, on the desk of supervisors and administrators until one of them has seen it.
type TrunkAlarm struct {
	ID      int64     `json:"id" db:"id"`
	TrunkID int64     `json:"trunk_id" db:"trunk_id"`
	AgentID *int64    `json:"agent_id" db:"agent_id"` // who called, where it is about one person
	Kind    string    `json:"kind" db:"kind"`
	About   string    `json:"-" db:"about"` // what raises one alarm only: a country's code, an agent, a percentage
	Words   string    `json:"words" db:"words"`
	At      time.Time `json:"at" db:"at"`
}

const alarmColumns = `id, trunk_id, agent_id, kind, about, words, at`

// RaiseAlarm stores an alarm and makes a what is stored; false: the same is on the desk already, or was within a day. The
// caller publishes it on TrunkAlarmSubject.
func RaiseAlarm(ctx context.Context, q Querier, a *TrunkAlarm) (raised bool, err error) {
	saved, err := one[TrunkAlarm](ctx, q, `insert into trunk_alarms (trunk_id, agent_id, kind, about, words)
		select $1, $2, $3, $4, $5 where not exists (select from trunk_alarms where trunk_id = $1 and kind = $3 and about = $4 and at > clock_timestamp() - interval '24 hours')
		on conflict do nothing returning `+alarmColumns, a.TrunkID, a.AgentID, a.Kind, a.About, a.Words)
	if err != nil || saved == nil {
		return false, wrapped(err, "raise alarm")
	}
	*a = *saved
	return true, nil
}

// TrunkAlarms reads what nobody has seen yet, the newest first, at most 100.
func TrunkAlarms(ctx context.Context, q Querier) ([]TrunkAlarm, error) {
	return all[TrunkAlarm](ctx, q, "trunk alarms", `select `+alarmColumns+` from trunk_alarms where seen_at is null order by id desc limit 100`)
}

// SeeAlarm takes an alarm off the desk; NotFound when there is none, also when somebody was faster. The caller publishes
// TrunkAlarmSubject.
func SeeAlarm(ctx context.Context, q Querier, id, agentID int64) error {
	_, err := get[TrunkAlarm](ctx, q, "alarm", `update trunk_alarms set seen_at = clock_timestamp(), seen_by = $2 where id = $1 and seen_at is null returning `+alarmColumns, id, agentID)
	return err
}
