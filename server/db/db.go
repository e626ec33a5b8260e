// Package db opens the one Postgres of the house and brings its schema up to date.
//
// With a URL it uses that server and supervises nothing. Without one it runs its own (postgres.go): it finds the
// binaries of the machine, makes a cluster below the data directory, starts it behind a Unix socket that only this
// machine's root and the cluster's user can open, restarts it should it die, and stops it in Close. The life of that
// server is tied to ours: when we are killed, the kernel tells it to shut down (PR_SET_PDEATHSIG), and the next start
// waits for that to end or makes it end.
//
// The schema is migrations/*.sql, numbered, forward only, one transaction each (migrate.go). Many processes may start
// on one database together; a database newer than this program is refused.
package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config of the database.
type Config struct {
	URL      string       // of an existing server; "" runs our own below DataDir
	DataDir  string       // of the house; needed without URL. Our cluster is in DataDir/pg
	MaxConns int          // of the pool; 0: eight per CPU, at least 16
	Log      *slog.Logger // nil: silent

	Throwaway bool // our own server saves nothing from a power cut: for tests
}

// DB is an open, migrated database.
type DB struct {
	Pool *pgxpool.Pool
	URL  string // for other processes of the same user

	own  *Postgres // nil: somebody else's server
	once sync.Once
	err  error
}

// connectPatience is how long Open waits for a server named by URL that does not answer yet: machines boot in any order.
const connectPatience = 15 * time.Second

// Open returns when the database can be used: reachable and migrated.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &DB{URL: cfg.URL}
	if cfg.URL == "" {
		own, err := StartPostgres(ctx, cfg)
		if err != nil {
			return nil, err
		}
		d.own, d.URL = own, own.URL
	}
	if err := d.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) open(ctx context.Context, cfg Config) error {
	pc, err := poolConfig(d.URL, cfg.MaxConns)
	if err != nil {
		return err
	}
	if d.Pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return fmt.Errorf("database pool: %w", err)
	}
	if err := reach(ctx, d.Pool, cfg.Log); err != nil {
		return fmt.Errorf("reach database: %w", err)
	}
	return Migrate(ctx, d.URL, cfg.Log)
}

// poolConfig has a limit for everything that could hang. What the URL says itself goes first.
func poolConfig(url string, maxConns int) (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	if maxConns == 0 {
		maxConns = max(16, 8*runtime.NumCPU())
	}
	pc.MaxConns = int32(maxConns)
	pc.MinIdleConns = 2
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.HealthCheckPeriod = 15 * time.Second
	lost := new(losses)
	pc.ConnConfig.Tracer, pc.ShouldPing = lost, lost.shouldPing
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	for name, value := range map[string]string{
		"application_name":                    "patchbay",
		"timezone":                            "UTC",
		"statement_timeout":                   ms(30 * time.Second),
		"lock_timeout":                        ms(10 * time.Second),
		"idle_in_transaction_session_timeout": ms(60 * time.Second),
	} {
		if pc.ConnConfig.RuntimeParams[name] == "" {
			pc.ConnConfig.RuntimeParams[name] = value
		}
	}
	return pc, nil
}

// losses has a connection asked whether it lives before it is used: when it has idled for a second, as pgxpool itself does,
// and for a while after any other was lost. A Postgres that dies takes them all along and serves again within the second;
// each dead one would fail somebody: a caller was refused by 503.
type losses struct {
	last atomic.Int64 // in nanoseconds since 1970
}

// suspect is how long after a loss the others are asked. Connections are also lost one by one, when a query's time is over.
const suspect = 10 * time.Second

func (l *losses) shouldPing(_ context.Context, p pgxpool.ShouldPingParams) bool {
	return p.IdleDuration > time.Second || time.Since(time.Unix(0, l.last.Load())) < suspect
}

// TraceRelease sees a connection before anybody else can take the next one; the pool's BeforeClose would come too late.
func (l *losses) TraceRelease(_ *pgxpool.Pool, data pgxpool.TraceReleaseData) {
	if data.Conn.IsClosed() {
		l.last.Store(time.Now().UnixNano())
	}
}

// A pool takes a tracer of releases only as one of queries.
func (*losses) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*losses) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// reach waits for the server's first answer. A server that answers with a refusal (password, no such database) is not
// asked again.
func reach(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	for said := false; ; {
		err := pool.Ping(ctx)
		var answer *pgconn.PgError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &answer) && answer.Code != "57P03": // cannot_connect_now: it is starting
			return err
		case ctx.Err() != nil:
			return err
		case !said:
			log.Warn("database does not answer yet", "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Close returns the connections and stops our own server. It may be called twice.
func (d *DB) Close() error {
	d.once.Do(func() {
		var errs []error
		if d.Pool != nil {
			errs = append(errs, closePool(d.Pool))
		}
		if d.own != nil {
			errs = append(errs, d.own.Stop())
		}
		d.err = errors.Join(errs...)
	})
	return d.err
}

// closePool does not wait for ever for a connection that somebody forgot to give back.
func closePool(pool *pgxpool.Pool) error {
	done := make(chan struct{})
	go func() { pool.Close(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("close database pool: %d connections were not given back", pool.Stat().AcquiredConns())
	}
}
