package report

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"patchbay/channels"
)

// Phone is what an agent's softphone has to know.
type Phone struct {
	Phone         string               `json:"phone" db:"phone"` // browser or device: where calls ring
	DeviceReady   bool                 `json:"device_ready" db:"device_ready"`
	DeviceLabel   string               `json:"device_label" db:"device_label"`
	CanDial       bool                 `json:"can_dial" db:"can_dial"`
	CallerNumbers []CallerNumber       `json:"caller_numbers" db:"caller_numbers"`
	ICEServers    []channels.ICEServer `json:"ice_servers" db:"-"`
}

// CallerNumber is a number of ours that may be shown when an agent calls out.
type CallerNumber struct {
	Number string `json:"number"`
	Label  string `json:"label"`
}

// PhoneOf reads an agent's Phone; the ICE servers are the caller's to add.
func PhoneOf(ctx context.Context, q channels.Querier, agentID int64) (Phone, error) {
	rows, err := q.Query(ctx, `select a.phone, d.label is not null as device_ready, coalesce(d.label, '') as device_label,
			exists (select 1 from trunks where enabled and dial_out) as can_dial,
			coalesce((select json_agg(json_build_object('number', n.number, 'label', n.label) order by n.number)
				from numbers n where n.caller_id), '[]') as caller_numbers
		from agents a left join lateral (select coalesce(nullif(d.label, ''), d.username) as label from devices d join registrations r on r.device_id = d.id
			where d.agent_id = a.id and d.enabled and r.expires_at > clock_timestamp() order by d.id limit 1) d on true
		where a.id = $1`, agentID)
	if err != nil {
		return Phone{}, fmt.Errorf("phone: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[Phone])
	if err != nil {
		return Phone{}, fmt.Errorf("phone: %w", err)
	}
	return p, nil
}

// Node is a running server.
type Node struct {
	ID   string `db:"id"`
	Name string `db:"name"`
}

// LivingNodes lists the servers that have been seen in the last ten seconds.
func LivingNodes(ctx context.Context, q channels.Querier) ([]Node, error) {
	return rows[Node](ctx, q, "nodes", `select n.id, n.name from nodes n
		where n.stopped_at is null and n.seen_at > clock_timestamp() - interval '10 seconds' order by n.name`)
}
