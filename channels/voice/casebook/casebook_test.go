package casebook

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"patchbay/channels/voice/doctor"
	"patchbay/server/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// TestOldStoriesGo: what is older than the house keeps it goes at the start, the rest stays.
func TestOldStoriesGo(t *testing.T) {
	pool := dbtest.Pool(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := pool.Exec(ctx, `insert into contacts (name) values ('Ana'); insert into queues (name) values ('Service');
		insert into conversations (contact_id, queue_id, state, channel) values (1, 1, 'bot', 'voice');
		insert into calls (conversation_id, direction, from_address, to_address, state) select 1, 'in', 'a', 'b', 'ended' from generate_series(1, 2);
		insert into call_traces (call_id, trace, stored_at) values (1, '{}', now() - interval '31 days'), (2, '{}', now() - interval '29 days');
		create function gone() returns trigger language plpgsql as $$ begin perform pg_notify('gone', old.call_id::text); return null; end $$;
		create trigger gone after delete on call_traces for each row execute function gone()`); err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `listen gone`); err != nil {
		t.Fatal(err)
	}
	b := New(Config{Pool: pool, Collector: doctor.NewCollector(doctor.CollectorConfig{}), Days: 30, Retry: time.Second, Statement: 10 * time.Second, Farewell: time.Second, Log: slog.New(slog.DiscardHandler)})
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(running)
	}()
	if n, err := conn.Conn().WaitForNotification(ctx); err != nil || n.Payload != "1" {
		t.Errorf("%+v, %v", n, err)
	}
	stop()
	<-ended
	var left int64
	if err := pool.QueryRow(ctx, `select sum(call_id)::bigint from call_traces`).Scan(&left); err != nil || left != 2 {
		t.Errorf("left %d, %v", left, err)
	}
}
