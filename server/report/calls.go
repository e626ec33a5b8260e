package report

import (
	"context"
	"encoding/json"
	"strings"

	"patchbay/channels"
)

// CallRow is what the list of calls shows.
type CallRow struct {
	channels.Call
	ContactName string   `json:"contact_name" db:"contact_name"`
	AgentName   string   `json:"agent_name" db:"agent_name"`
	MOS         *float64 `json:"mos" db:"mos"` // of the worst leg; null: nothing was heard, or it runs
	LostPercent *float64 `json:"lost_percent" db:"lost_percent"`
	JitterMS    *int     `json:"jitter_ms" db:"jitter_ms"`
	Traced      bool     `json:"traced" db:"traced"` // the call doctor has a record
}

// CallFilter narrows the list of calls; zero fields do not.
type CallFilter struct {
	Before    int64  // calls with a smaller id
	Agent     int64  // whoever had it or dialled it
	State     string // running, ended
	Direction string
	Poor      bool   // heard badly, or failed
	Number    string // a part of either number
	Limit     int
}

// CallsLimit is how many calls one question returns at most.
const CallsLimit = 100

// PoorMOS is where callers begin to complain: ITU-T G.107's "many users dissatisfied".
const PoorMOS = 3.6

const callRows = `select k.id, k.conversation_id, k.direction, k.from_address, k.to_address, k.sip_call_id, k.node_id, k.agent_id, k.media, k.state,
		k.started_at, k.bridged_at, k.ended_at, k.result, k.reason, k.stats, k.mos::float8 as mos, k.lost_percent::float8 as lost_percent, k.jitter_ms,
		ct.name as contact_name, coalesce(a.name, '') as agent_name, exists (select from call_traces t where t.call_id = k.id) as traced
	from calls k join conversations c on c.id = k.conversation_id join contacts ct on ct.id = c.contact_id left join agents a on a.id = k.agent_id `

// Calls lists calls, the newest first.
func Calls(ctx context.Context, q channels.Querier, f CallFilter) ([]CallRow, error) {
	like := strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(f.Number)
	return rows[CallRow](ctx, q, "calls", callRows+`
		where ($1 = 0 or k.id < $1) and ($2 = 0 or k.agent_id = $2 or k.dialled_by = $2)
			and ($3 = '' or (k.state = 'ended') = ($3 = 'ended')) and ($4 = '' or k.direction = $4)
			and (not $5 or k.mos < $6 or k.result in ('failed', 'lost'))
			and ($7 = '' or k.from_address like '%' || $7 || '%' or k.to_address like '%' || $7 || '%')
		order by k.id desc limit $8`,
		f.Before, f.Agent, f.State, f.Direction, f.Poor, PoorMOS, like, min(max(f.Limit, 1), CallsLimit))
}

// OneCall reads a call with the call doctor's record, nil when there is none (yet); not_found without the call.
func OneCall(ctx context.Context, q channels.Querier, id int64) (*CallRow, json.RawMessage, error) {
	list, err := rows[CallRow](ctx, q, "call", callRows+`where k.id = $1`, id)
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, channels.Fail(channels.NotFound, "There is no such call.")
	}
	traces, err := rows[struct{ Trace json.RawMessage }](ctx, q, "call trace", `select trace from call_traces where call_id = $1`, id)
	if err != nil || len(traces) == 0 {
		return &list[0], nil, err
	}
	return &list[0], traces[0].Trace, nil
}

// TookPart tells whether an agent had the call, dialled it, or has its conversation.
func TookPart(ctx context.Context, q channels.Querier, callID, agentID int64) (bool, error) {
	list, err := rows[struct{ ID int64 }](ctx, q, "call's people", `select k.id from calls k join conversations c on c.id = k.conversation_id
		where k.id = $1 and $2 in (k.agent_id, k.dialled_by, c.agent_id)`, callID, agentID)
	return len(list) > 0, err
}
