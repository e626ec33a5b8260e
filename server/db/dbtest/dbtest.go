// Package dbtest lends a test its own clean, migrated database on a real Postgres.
//
// The server is the one of PATCHBAY_TEST_DATABASE_URL (a superuser's URL; deploy/test.sh starts one for its whole run),
// else one of this test process, started when the first test asks. Each test's database is a copy of a template that is
// migrated once and named by a hash of the migrations, so that test processes which run at the same time share it.
//
// A package that uses this kit says
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
// which stops the process's own server and looks for leaked goroutines. Without it the kernel stops the server, and
// the next run removes its files.
package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"patchbay/server/db"
)

// The server of this process. Test processes have no other place that all their tests share.
var shared struct {
	sync.Mutex
	admin string // URL of a superuser
	own   *db.Postgres
	dir   string
	count int
}

const patience = 60 * time.Second

// Main runs the tests, stops the server and fails when a goroutine is left over.
func Main(m *testing.M, opts ...goleak.Option) {
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest: leaked goroutines:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Leaks are the options for goleak.VerifyNone in a test that uses this kit: the server outlives the test.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("patchbay/server/db.(*Postgres).supervise"),
		goleak.IgnoreAnyFunction("patchbay/server/db.(*child).wait"),
		goleak.IgnoreAnyFunction("patchbay/server/db.(*serverLog).read"),
	}
}

// Pool returns a pool on this test's own database.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pc, err := pgxpool.ParseConfig(URL(t))
	if err != nil {
		t.Fatal("dbtest:", err)
	}
	pc.MaxConns = 10
	pc.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pc.ConnConfig.RuntimeParams["statement_timeout"] = "30000"
	pool, err := pgxpool.NewWithConfig(t.Context(), pc)
	if err != nil {
		t.Fatal("dbtest:", err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

func closePool(t testing.TB, pool *pgxpool.Pool) {
	done := make(chan struct{})
	go func() { pool.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Errorf("dbtest: the test kept %d connections of its pool", pool.Stat().AcquiredConns())
	}
}

// URL returns the address of this test's own database, for other processes. The database is dropped after the test,
// whoever is still connected.
func URL(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	admin, name, err := lend(ctx)
	if err != nil {
		t.Fatal("dbtest:", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := execute(ctx, admin, "drop database if exists "+name+" with (force)"); err != nil {
			t.Error("dbtest:", err)
		}
	})
	return withDatabase(admin, name)
}

func lend(ctx context.Context) (admin, name string, err error) {
	shared.Lock()
	defer shared.Unlock()
	if err := start(ctx); err != nil {
		return "", "", err
	}
	template := "patchbay_template_" + db.SchemaHash()
	if shared.count == 0 {
		if err := makeTemplate(ctx, shared.admin, template); err != nil {
			return "", "", fmt.Errorf("make template: %w", err)
		}
	}
	shared.count++
	name = fmt.Sprintf("patchbay_test_%d_%d_%d", os.Getpid(), time.Now().UnixNano(), shared.count)
	return shared.admin, name, execute(ctx, shared.admin, "create database "+name+" template "+template)
}

// start needs shared's lock.
func start(ctx context.Context) error {
	if shared.admin != "" {
		return nil
	}
	if given := os.Getenv("PATCHBAY_TEST_DATABASE_URL"); given != "" {
		shared.admin = given
		return nil
	}
	sweep()
	dir, err := os.MkdirTemp("", "patchbay-dbtest-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	own, err := db.StartPostgres(ctx, db.Config{DataDir: dir, Throwaway: true})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	shared.own, shared.dir, shared.admin = own, dir, own.URL
	return nil
}

func stop() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.own == nil {
		return nil
	}
	err := errors.Join(shared.own.Stop(), os.RemoveAll(shared.dir))
	shared.own, shared.admin = nil, ""
	return err
}

// sweep removes what test processes without Main have left: directories whose lock nobody holds.
func sweep() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), "patchbay-dbtest-*"))
	for _, dir := range old {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // just being made
		}
		f, err := os.OpenFile(filepath.Join(dir, "patchbay.lock"), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if _, err := os.Stat(filepath.Join(dir, "pg", "postmaster.pid")); err != nil { // else it is shutting down
				os.RemoveAll(dir)
			}
		}
		f.Close()
	}
}

// makeTemplate makes the migrated template unless it is there. Being marked as a template is the sign that it is whole.
func makeTemplate(ctx context.Context, admin, name string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) // gives the lock back, too
	if _, err := conn.Exec(ctx, "select pg_advisory_lock(hashtext($1))", name); err != nil {
		return err
	}
	var whole bool
	err = conn.QueryRow(ctx, "select datistemplate from pg_database where datname = $1", name).Scan(&whole)
	if whole || err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	for _, sql := range []string{"drop database if exists " + name + " with (force)", "create database " + name} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := db.Migrate(ctx, withDatabase(admin, name), nil); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "alter database "+name+" with is_template true allow_connections false")
	return err
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	// A copy waits 5 s for connections to the template to end; one of a migration may still be on its way out.
	_, err = conn.Exec(ctx, sql)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return fmt.Errorf("%s: %s %s", sql, refused.Message, refused.Detail)
	}
	return err
}

// withDatabase returns admin's URL with another database.
func withDatabase(admin, name string) string {
	u, err := url.Parse(admin)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return admin // pgx will say what is wrong with it
	}
	u.Path = "/" + name
	return u.String()
}
