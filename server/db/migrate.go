package db

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is our key among the database's advisory locks: "patchbay" in ASCII.
const migrationLock int64 = 0x7061746368626179

// migrationPatience is how long a process waits while another one migrates.
const migrationPatience = 10 * time.Minute

// Migrate brings the database to this program's schema. Processes that start together do it one after the other; the
// later ones find nothing to do.
//
// The lock is ours and not goose's own: goose makes its version table before it takes its lock, so two processes on
// an empty database would collide there, and its lock is polled once a second.
func Migrate(ctx context.Context, url string, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, migrationPatience)
	defer cancel()
	cc, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("database URL: %w", err)
	}
	cc.RuntimeParams["application_name"] = "patchbay migrations"
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) // gives the lock back, too

	sql := stdlib.OpenDB(*cc)
	defer sql.Close()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	gooseLog := slog.New(slog.DiscardHandler)
	g, err := goose.NewProvider(goose.DialectPostgres, sql, files, goose.WithDisableGlobalRegistry(true), goose.WithSlog(gooseLog))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	sources := g.ListSources()
	target := sources[len(sources)-1].Version

	if done, err := atVersion(ctx, conn, target); done || err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", migrationLock); err != nil {
		return fmt.Errorf("wait for another process's migration: %w", err)
	}
	if done, err := atVersion(ctx, conn, target); done || err != nil {
		return err
	}
	results, err := g.Up(ctx)
	for _, r := range results {
		log.Info("migrated", "version", r.Source.Version, "took", r.Duration.Round(time.Millisecond))
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// ErrNewerDatabase means that a later version of the program has used this database.
var ErrNewerDatabase = errors.New("the database is newer than this program")

func atVersion(ctx context.Context, conn *pgx.Conn, target int64) (bool, error) {
	var exists bool
	if err := conn.QueryRow(ctx, "select to_regclass('goose_db_version') is not null").Scan(&exists); err != nil {
		return false, fmt.Errorf("read schema version: %w", err)
	}
	if !exists {
		return false, nil
	}
	var version int64
	err := conn.QueryRow(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&version)
	if err != nil {
		return false, fmt.Errorf("read schema version: %w", err)
	}
	if version > target {
		return false, fmt.Errorf("%w: its schema is version %d, this program knows up to %d; "+
			"start the newer program again, or restore the backup made before the upgrade", ErrNewerDatabase, version, target)
	}
	return version == target, nil
}

// SchemaHash names the schema that the migrations make; test databases are copied from a template of that name.
func SchemaHash() string {
	h := sha256.New()
	entries, _ := migrationFiles.ReadDir("migrations") // embedded: cannot fail
	for _, e := range entries {
		text, _ := migrationFiles.ReadFile("migrations/" + e.Name())
		fmt.Fprintf(h, "%s %d\n%s", e.Name(), len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
