// Package casebook keeps the stories of ended calls for the call doctor: beside the calls, in the database. A slow or absent
// database costs no call anything; up to 5000 stories wait for it.
package casebook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels/voice/doctor"
)

// Config is what a Book needs.
type Config struct {
	Pool      *pgxpool.Pool     // nil: nothing is kept
	Collector *doctor.Collector // has the messages of calls, until their stories are written
	Days      int               // a story is kept for so long
	Retry     time.Duration     // first pause after a failure; it doubles up to 5 s
	Statement time.Duration     // for one
	Farewell  time.Duration     // for what is left at the end
	Log       *slog.Logger
}

// Book takes stories and writes them.
type Book struct {
	cfg  Config
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
	maxPause   = 5 * time.Second
)

// New makes a book; Run writes it.
func New(cfg Config) *Book { return &Book{cfg: cfg, bell: make(chan struct{}, 1)} }

// Keep takes a story. It never waits.
func (b *Book) Keep(t doctor.Trace) {
	if b.cfg.Pool == nil || t.CallID == 0 {
		b.cfg.Collector.Drop(callIDs(&t)...)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) >= maxPending {
		b.cfg.Collector.Drop(callIDs(&b.pending[0].trace)...)
		b.pending = b.pending[1:]
		b.cfg.Log.Warn("a call's trace is lost: the database was away for too long", "call", t.CallID)
	}
	b.pending = append(b.pending, filed{t, time.Now().Add(linger)})
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// due are the stories that may be written; next is when there are more.
func (b *Book) due(now time.Time) (ready []filed, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.pending) && n < atOnce && !b.pending[n].due.After(now) {
		n++
	}
	if n == 0 && len(b.pending) > 0 {
		next = b.pending[0].due
	}
	return b.pending[:n:n], next
}

// done forgets the first n.
func (b *Book) done(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pending[:n] {
		b.cfg.Collector.Drop(callIDs(&p.trace)...)
	}
	b.pending = b.pending[n:]
}

// Run writes until ctx ends, then what is left, as long as a farewell may take.
func (b *Book) Run(ctx context.Context) {
	if b.cfg.Pool == nil {
		return
	}
	timer, sweep := time.NewTimer(time.Hour), time.NewTicker(keepSweep)
	defer timer.Stop()
	defer sweep.Stop()
	pause := time.Duration(0)
	b.sweep(ctx)
	for {
		ready, next := b.due(time.Now())
		if len(ready) > 0 {
			if err := b.write(ctx, ready); err == nil {
				pause = 0
				b.done(len(ready))
				continue
			} else if ctx.Err() == nil && pause == 0 {
				b.cfg.Log.Warn("call traces not stored, trying again", "err", err)
			}
			pause = min(max(2*pause, b.cfg.Retry), maxPause)
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
			b.sweep(ctx)
		case <-b.bell:
			if pause > 0 { // the database is away: its pause is not cut short
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		case <-ctx.Done():
			b.flush()
			return
		}
	}
}

// flush writes what is left when the server stops.
func (b *Book) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Farewell)
	defer cancel()
	for {
		ready, _ := b.due(time.Now().Add(linger))
		if len(ready) == 0 {
			return
		}
		if err := b.write(ctx, ready); err != nil {
			b.cfg.Log.Warn("call traces lost at the end", "err", err)
			return
		}
		b.done(len(ready))
	}
}

// write stores stories. One that the database does not take is left out; any other error is the database's.
func (b *Book) write(ctx context.Context, ready []filed) error {
	ids, traces := make([]int64, len(ready)), make([]string, len(ready))
	for i, p := range ready {
		t := p.trace
		b.Fill(&t)
		raw, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("call %d: trace: %w", t.CallID, err)
		}
		ids[i], traces[i] = t.CallID, string(raw)
	}
	err := b.insert(ctx, ids, traces)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code[:2] != "22" { // 22: data that it cannot hold
		return err
	}
	for i := range ids {
		if err := b.insert(ctx, ids[i:i+1], traces[i:i+1]); errors.As(err, &refused) {
			b.cfg.Log.Error("call trace not stored", "call", ids[i], "err", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (b *Book) insert(ctx context.Context, ids []int64, traces []string) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Statement)
	defer cancel()
	_, err := b.cfg.Pool.Exec(ctx, `insert into call_traces (call_id, trace)
		select k.id, x.trace::jsonb from unnest($1::bigint[], $2::text[]) x (id, trace) join calls k on k.id = x.id
		on conflict (call_id) do nothing`, ids, traces)
	return err
}

// sweep deletes what is older than the house keeps it.
func (b *Book) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Statement)
	defer cancel()
	if _, err := b.cfg.Pool.Exec(ctx, `delete from call_traces where call_id in (select call_id from call_traces
		where stored_at < now() - make_interval(days => $1) limit 1000)`, b.cfg.Days); err != nil && ctx.Err() == nil {
		b.cfg.Log.Warn("old call traces not deleted", "err", err)
	}
}

// callIDs are the Call-IDs of a trace's legs.
func callIDs(t *doctor.Trace) (ids []string) {
	for _, l := range t.Legs {
		if l.SIPCallID != "" {
			ids = append(ids, l.SIPCallID)
		}
	}
	return ids
}

// Fill adds the ladder, as the database can hold it: text without NUL, in UTF-8.
func (b *Book) Fill(t *doctor.Trace) {
	messages, dropped := b.cfg.Collector.Messages(callIDs(t)...)
	t.Dropped += dropped
	for i := range messages {
		messages[i].Raw = strings.ReplaceAll(strings.ToValidUTF8(messages[i].Raw, "\uFFFD"), "\x00", "\u2400")
	}
	t.Messages = append(t.Messages, messages...)
}
