package voice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/channels"
	"patchbay/channels/voice/doctor"
)

// casebook writes the stories of ended calls to the database, beside the calls: a slow or absent database costs no call
// anything, and up to maxPending stories wait for it.
type casebook struct {
	v    *Voice
	bell chan struct{}

	mu      sync.Mutex
	pending []filed // in the order the calls ended
}

// filed is a story that waits for its last messages, then for the database.
type filed struct {
	trace doctor.Trace
	due   time.Time
}

const (
	maxPending = 5000
	atOnce     = 50          // rows a statement
	linger     = time.Second // the answer to the last BYE is still under way when a call ends
	keepSweep  = time.Hour
	keepDays   = 30
)

func newCasebook(v *Voice) *casebook { return &casebook{v: v, bell: make(chan struct{}, 1)} }

// keep takes a story. It never waits.
func (r *casebook) keep(t doctor.Trace) {
	if r.v.cfg.Pool == nil || t.CallID == 0 {
		r.v.collector.Drop(callIDs(&t)...)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) >= maxPending {
		r.v.collector.Drop(callIDs(&r.pending[0].trace)...)
		r.pending = r.pending[1:]
		r.v.log.Warn("a call's trace is lost: the database was away for too long", "call", t.CallID)
	}
	r.pending = append(r.pending, filed{t, time.Now().Add(linger)})
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// due are the stories that may be written; next is when there are more.
func (r *casebook) due(now time.Time) (ready []filed, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.pending) && n < atOnce && !r.pending[n].due.After(now) {
		n++
	}
	if n == 0 && len(r.pending) > 0 {
		next = r.pending[0].due
	}
	return r.pending[:n:n], next
}

// done forgets the first n.
func (r *casebook) done(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pending[:n] {
		r.v.collector.Drop(callIDs(&p.trace)...)
	}
	r.pending = r.pending[n:]
}

// run writes until ctx ends, then what is left, as long as a farewell may take.
func (r *casebook) run(ctx context.Context) {
	if r.v.cfg.Pool == nil {
		return
	}
	timer, sweep := time.NewTimer(time.Hour), time.NewTicker(keepSweep)
	defer timer.Stop()
	defer sweep.Stop()
	pause := time.Duration(0)
	r.sweep(ctx)
	for {
		ready, next := r.due(time.Now())
		if len(ready) > 0 {
			if err := r.write(ctx, ready); err == nil {
				pause = 0
				r.done(len(ready))
				continue
			} else if ctx.Err() == nil && pause == 0 {
				r.v.log.Warn("call traces not stored, trying again", "err", err)
			}
			pause = min(max(2*pause, r.v.times.Retry), maxPause)
			next = time.Now().Add(pause)
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = time.Until(next)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-sweep.C:
			r.sweep(ctx)
		case <-r.bell:
			if pause > 0 { // the database is away: its pause is not cut short
				<-after(ctx, pause)
			}
		case <-ctx.Done():
			r.flush()
			return
		}
	}
}

// after is a moment later, or the end.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// flush writes what is left when the server stops.
func (r *casebook) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), r.v.times.ShutdownGrace)
	defer cancel()
	for {
		ready, _ := r.due(time.Now().Add(linger))
		if len(ready) == 0 {
			return
		}
		if err := r.write(ctx, ready); err != nil {
			r.v.log.Warn("call traces lost at the end", "err", err)
			return
		}
		r.done(len(ready))
	}
}

// write stores stories. One that the database does not take is left out; any other error is the database's.
func (r *casebook) write(ctx context.Context, ready []filed) error {
	ids, traces := make([]int64, len(ready)), make([]string, len(ready))
	for i, p := range ready {
		t := p.trace
		r.v.withMessages(&t)
		raw, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("call %d: trace: %w", t.CallID, err)
		}
		ids[i], traces[i] = t.CallID, string(raw)
	}
	err := r.insert(ctx, ids, traces)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code[:2] != "22" { // 22: data that it cannot hold
		return err
	}
	for i := range ids {
		if err := r.insert(ctx, ids[i:i+1], traces[i:i+1]); errors.As(err, &refused) {
			r.v.log.Error("call trace not stored", "call", ids[i], "err", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (r *casebook) insert(ctx context.Context, ids []int64, traces []string) error {
	ctx, cancel := context.WithTimeout(ctx, r.v.times.Receive)
	defer cancel()
	_, err := r.v.cfg.Pool.Exec(ctx, `insert into call_traces (call_id, trace)
		select k.id, x.trace::jsonb from unnest($1::bigint[], $2::text[]) x (id, trace) join calls k on k.id = x.id
		on conflict (call_id) do nothing`, ids, traces)
	return err
}

// sweep deletes what is older than the house keeps it.
func (r *casebook) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.v.times.Receive)
	defer cancel()
	if _, err := r.v.cfg.Pool.Exec(ctx, `delete from call_traces where call_id in (select call_id from call_traces
		where stored_at < now() - make_interval(days => $1) limit 1000)`, r.v.cfg.TraceDays); err != nil && ctx.Err() == nil {
		r.v.log.Warn("old call traces not deleted", "err", err)
	}
}

// wantTrace asks a running call for its story.
type wantTrace struct{ reply chan doctor.Trace }

// shown answers the API's question about a running call, on a goroutine of the bus.
func (c *call) shown() (any, error) {
	w := wantTrace{reply: make(chan doctor.Trace, 1)}
	if c.post(w) {
		select {
		case t := <-w.reply:
			c.v.withMessages(&t)
			raw, err := json.Marshal(t)
			return channels.CallReply{Trace: raw}, err
		case <-c.gone:
		}
	}
	return channels.CallReply{Error: errOver}, nil
}
