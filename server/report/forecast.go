package report

import (
	"context"

	"patchbay/channels"
)

// Forecast holds a queue's expected waits of the last 24 hours against the real ones, of those that a person ended. The
// range is meant for half of all waits: more inside means that it was too wide, fewer that it was wrong.
type Forecast struct {
	QueueID        int64  `json:"queue_id" db:"queue_id"`
	QueueName      string `json:"queue_name" db:"queue_name"`
	Waits          int    `json:"waits" db:"waits"`
	Predicted      int    `json:"predicted" db:"predicted"` // of these a range was given
	Within         int    `json:"within" db:"within"`
	Early          int    `json:"early" db:"early"`
	Late           int    `json:"late" db:"late"`
	ErrorSeconds   *int   `json:"error_seconds" db:"error_seconds"` // median distance from the range's middle
	RealP50Seconds int    `json:"real_p50_seconds" db:"real_p50_seconds"`
	RealP95Seconds int    `json:"real_p95_seconds" db:"real_p95_seconds"`
}

// Forecasts reads them for each queue in which somebody waited, by name.
func Forecasts(ctx context.Context, q channels.Querier) ([]Forecast, error) {
	return rows[Forecast](ctx, q, "forecasts", `with ended as (select queue_id, low_seconds as low, high_seconds as high,
				extract(epoch from ended_at - since) as real from waits
			where outcome = 'agent' and ended_at > clock_timestamp() - interval '24 hours')
		select e.queue_id, q.name as queue_name, count(*)::int as waits, count(low)::int as predicted,
			(count(*) filter (where real between low and high))::int as within, (count(*) filter (where real < low))::int as early,
			(count(*) filter (where real > high))::int as late,
			(percentile_cont(0.5) within group (order by abs(real - (low + high) / 2.0)))::int as error_seconds,
			(percentile_cont(0.5) within group (order by real))::int as real_p50_seconds,
			(percentile_cont(0.95) within group (order by real))::int as real_p95_seconds
		from ended e join queues q on q.id = e.queue_id group by e.queue_id, q.name order by q.name`)
}
