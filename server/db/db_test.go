package db

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
)

// TestMain is also the process that TestKill9 kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PATCHBAY_DB_VICTIM"); dir != "" {
		victim(dir)
	}
	goleak.VerifyTestMain(m)
}

// victim opens the database in dir, writes rows without end and tells each number after its commit.
func victim(dir string) {
	ctx := context.Background()
	d, err := Open(ctx, Config{DataDir: dir})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := 1; ; i++ {
		if _, err := d.Pool.Exec(ctx, "insert into contacts (name) values ($1)", strconv.Itoa(i)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// dataDir is a directory that the server's user can reach; t.TempDir alone is closed to it when we are root.
func dataDir(t *testing.T) string {
	t.Helper()
	needPostgres(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func needPostgres(t *testing.T) {
	t.Helper()
	if _, _, err := findBinaries(t.Context(), debianBinaries, "", 0); err != nil {
		if os.Getenv("PATCHBAY_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip("skipped: ", err)
	}
}

func mustOpen(t *testing.T, cfg Config) *DB {
	t.Helper()
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func countContacts(t *testing.T, d *DB) (n int) {
	t.Helper()
	if err := d.Pool.QueryRow(t.Context(), "select count(*) from contacts").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestColdAndWarmStart(t *testing.T) {
	dir := dataDir(t)
	began := time.Now()
	d := mustOpen(t, Config{DataDir: dir})
	cold := time.Since(began)
	if _, err := d.Pool.Exec(t.Context(), "insert into contacts (name) values ('Ana')"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"synchronous_commit": "on", "fsync": "on", "listen_addresses": "", "TimeZone": "UTC", "autovacuum_naptime": "5s"} {
		var got string
		if err := d.Pool.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
	began = time.Now()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error("second Close:", err)
	}
	stopped := time.Since(began)
	if left := processesIn(filepath.Join(dir, "pg")); len(left) > 0 {
		t.Errorf("processes %d are left", left)
	}
	began = time.Now()
	d = mustOpen(t, Config{DataDir: dir})
	t.Logf("cold start %s, stop %s, warm start %s", cold, stopped, time.Since(began))
	if n := countContacts(t, d); n != 1 {
		t.Errorf("%d contacts after the restart", n)
	}
}

func TestSecondSupervisorIsRefused(t *testing.T) {
	dir := dataDir(t)
	first := mustOpen(t, Config{DataDir: dir, Throwaway: true})
	_, err := Open(t.Context(), Config{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another Patchbay (process %d)", os.Getpid())) {
		t.Errorf("second: %v", err)
	}
	if n := countContacts(t, first); n != 0 {
		t.Error(n)
	}
}

// TestKill9: every acknowledged row is there afterwards, and the house is back soon.
func TestKill9(t *testing.T) {
	dir := dataDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for round := range 3 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "PATCHBAY_DB_VICTIM="+dir)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Error(lines.Text())
			}
			told++
			if n == 100*(round+1) {
				cmd.Process.Kill() // and read on: what it had told before it died counts
			}
		}
		cmd.Wait()
		began := time.Now()
		d, err := Open(t.Context(), Config{DataDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("start after kill -9: %s", took)
		if took > 10*time.Second {
			t.Errorf("start after kill -9 took %s", took)
		}
		if n := countContacts(t, d); n < told {
			t.Errorf("round %d: %d of %d acknowledged rows", round, n, told)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrphan: a server that nobody told of its supervisor's death is ended, and its clients with it.
func TestOrphan(t *testing.T) {
	dir := dataDir(t)
	d := mustOpen(t, Config{DataDir: dir})
	own := d.own
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	orphan := own.command(filepath.Join(own.bin, "postgres"), "-D", own.dir, "-c", "listen_addresses=", "-k", own.run)
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	client := awaitConnect(t, own.URL)
	defer client.Close(t.Context())

	d = mustOpen(t, Config{DataDir: dir})
	if err := <-ended; err != nil {
		t.Error("orphan:", err)
	}
	countContacts(t, d)
	if pid, _ := postmasterPID(own.dir); pid == orphan.Process.Pid || pid == 0 {
		t.Errorf("postmaster.pid names %d", pid)
	}
}

func awaitConnect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(10 * time.Second); ; <-tick.C {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			return conn
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// TestStalePIDFile: after a crash, the number in the file may be that of an innocent process of the same user.
func TestStalePIDFile(t *testing.T) {
	dir := dataDir(t)
	d := mustOpen(t, Config{DataDir: dir, Throwaway: true})
	own := d.own
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	innocent := own.command("/bin/sleep", "600")
	if err := innocent.Start(); err != nil {
		t.Fatal(err)
	}
	defer innocent.Wait()
	defer innocent.Process.Kill()
	file := fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s\n\n\n", innocent.Process.Pid, own.dir, own.run)
	if err := os.WriteFile(filepath.Join(own.dir, "postmaster.pid"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	countContacts(t, mustOpen(t, Config{DataDir: dir, Throwaway: true}))
	if err := innocent.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("the innocent process was hit:", err)
	}
}

func TestServerThatDiesIsStartedAgain(t *testing.T) {
	d := mustOpen(t, Config{DataDir: dataDir(t)})
	pid, err := postmasterPID(d.own.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if now, _ := postmasterPID(d.own.dir); now != pid && d.Pool.Ping(ctx) == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the server did not come back")
		}
	}
}

// Postgres dies and takes all connections of the pool along; it serves again at once. Only the first who uses one may fail.
func TestOneLossNotMany(t *testing.T) {
	d := mustOpen(t, Config{DataDir: dataDir(t)})
	var held []*pgxpool.Conn
	for range 8 {
		c, err := d.Pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	pid, err := postmasterPID(d.own.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitConnect(t, d.URL).Close(t.Context())
	if _, err := held[0].Exec(t.Context(), "select 1"); err == nil {
		t.Fatal("the old server still answers")
	}
	for _, c := range held {
		c.Release()
	}
	for range 8 {
		if _, err := d.Pool.Exec(t.Context(), "insert into contacts (name) values ('x')"); err != nil {
			t.Error(err)
		}
	}
}

func TestLongPathGetsAShortSocket(t *testing.T) {
	dir := filepath.Join(dataDir(t), strings.Repeat("long", 25))
	d := mustOpen(t, Config{DataDir: dir, Throwaway: true})
	t.Cleanup(func() { os.RemoveAll(d.own.run) })
	if strings.HasPrefix(d.own.run, dir) {
		t.Errorf("socket in %s", d.own.run)
	}
	countContacts(t, d)
}

func TestForeignSocketDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var me *account
	if os.Geteuid() == 0 {
		me = &account{name: "user nobody", uid: 65534, gid: 65534}
	}
	if err := me.mkdir(filepath.Join(dir, "link")); err == nil {
		t.Error("took a link to another directory")
	}
}

func TestUnfinishedClusterIsMadeAgain(t *testing.T) {
	dir := dataDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "pg.new", "base"), 0o700); err != nil { // a start that died in initdb
		t.Fatal(err)
	}
	countContacts(t, mustOpen(t, Config{DataDir: dir, Throwaway: true}))
}

func TestRefusedDirectories(t *testing.T) {
	t.Run("not a cluster", func(t *testing.T) {
		dir := dataDir(t)
		if err := os.MkdirAll(filepath.Join(dir, "pg", "holiday photos"), 0o700); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "not empty and not a PostgreSQL cluster")
	})
	t.Run("another version's cluster", func(t *testing.T) {
		dir := dataDir(t)
		if err := os.MkdirAll(filepath.Join(dir, "pg"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pg", "PG_VERSION"), []byte("8\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "was written by PostgreSQL 8")
	})
	t.Run("closed to the server's user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("skipped: only root has this problem")
		}
		refused(t, t.TempDir(), "chmod o+x")
	})
	t.Run("none", func(t *testing.T) { refused(t, "", "no data directory") })
}

func refused(t *testing.T, dir, says string) {
	t.Helper()
	d, err := Open(t.Context(), Config{DataDir: dir})
	if err == nil {
		d.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("error %q does not say %q", err, says)
	}
}

func TestURLOfNoServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var log bytes.Buffer
	_, err := Open(ctx, Config{URL: "postgres://u:secret@127.0.0.1:1/x", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil || strings.Contains(err.Error()+log.String(), "secret") {
		t.Errorf("error %v, log %s", err, &log)
	}
	if !strings.Contains(log.String(), "does not answer yet") {
		t.Errorf("log %s", &log)
	}
}

func TestURLWithoutThatDatabaseFailsAtOnce(t *testing.T) {
	d := mustOpen(t, Config{DataDir: dataDir(t), Throwaway: true})
	began := time.Now()
	_, err := Open(t.Context(), Config{URL: strings.Replace(d.URL, "/patchbay?", "/nothing?", 1)})
	if err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestForgottenConnectionDoesNotBlockClose(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: waits 10 s")
	}
	d, err := Open(t.Context(), Config{DataDir: dataDir(t), Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := d.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "1 connections") {
		t.Error(err)
	}
	conn.Release()
}

func TestMigrations(t *testing.T) {
	server := mustOpen(t, Config{DataDir: dataDir(t), Throwaway: true})
	empty := func(t *testing.T, name string) string {
		t.Helper()
		if _, err := server.Pool.Exec(t.Context(), "create database "+name); err != nil {
			t.Fatal(err)
		}
		return strings.Replace(server.URL, "/patchbay?", "/"+name+"?", 1)
	}
	t.Run("many processes on an empty database", func(t *testing.T) {
		url := empty(t, "together")
		const n = 8
		errs := make(chan error, n)
		for range n {
			go func() { errs <- Migrate(t.Context(), url, nil) }()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if err := Migrate(t.Context(), url, nil); err != nil {
			t.Error("again:", err)
		}
	})
	t.Run("newer database is refused", func(t *testing.T) {
		url := empty(t, "newer")
		d := mustOpen(t, Config{URL: url})
		if _, err := d.Pool.Exec(t.Context(), "insert into goose_db_version (version_id, is_applied) values (9999, true)"); err != nil {
			t.Fatal(err)
		}
		if err := Migrate(t.Context(), url, nil); !errors.Is(err, ErrNewerDatabase) {
			t.Error(err)
		}
	})
}

// TestJSONScansIntoAStruct: rooms rely on pgx for jsonb columns.
func TestJSONScansIntoAStruct(t *testing.T) {
	d := mustOpen(t, Config{DataDir: dataDir(t), Throwaway: true})
	type data struct {
		Code string `json:"code"`
	}
	type row struct {
		Data data `db:"data"`
	}
	rows, err := d.Pool.Query(t.Context(), "select $1::jsonb as data", data{Code: "waiting"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[row])
	if err != nil || got.Data.Code != "waiting" {
		t.Errorf("%+v, %v", got, err)
	}
}
