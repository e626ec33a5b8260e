package db

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser    = "patchbay"
	databaseName = "patchbay"

	startPatience = 60 * time.Second // a crash recovery after heavy writing takes its time
	stopPatience  = 10 * time.Second
	takeover      = 3 * time.Second // an orphan that has not finished its shutdown by then is cut short
)

// Postgres is our own server. Its goroutine (supervise) owns the child; Stop ends both.
type Postgres struct {
	URL string // of the database patchbay on it, made empty

	dir       string // the cluster
	run       string // the socket's directory
	bin       string
	version   int
	user      *account // nil: we run as ourselves
	throwaway bool
	log       *slog.Logger
	lock      *os.File // held while we live: one supervisor per data directory

	stopping chan struct{} // closed by Stop
	stopOnce sync.Once
	done     chan struct{} // closed when supervise has ended
	endErr   error         // of the last child; read after done
}

// StartPostgres makes the cluster if there is none, and returns when the server answers.
func StartPostgres(ctx context.Context, cfg Config) (*Postgres, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.DataDir == "" {
		return nil, errors.New("own PostgreSQL: no data directory")
	}
	data, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	p := &Postgres{dir: filepath.Join(data, "pg"), throwaway: cfg.Throwaway, log: cfg.Log,
		stopping: make(chan struct{}), done: make(chan struct{})}
	if err := p.prepare(ctx, data); err != nil {
		if p.lock != nil {
			p.lock.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	child, err := p.start(ctx)
	if err != nil {
		p.lock.Close()
		return nil, err
	}
	go p.supervise(child)
	if err := p.makeDatabase(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// prepare leaves a cluster that is ours alone.
func (p *Postgres) prepare(ctx context.Context, data string) error {
	if err := os.MkdirAll(data, 0o711); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var err error
	if p.lock, err = lockDir(ctx, data); err != nil {
		return err
	}
	if p.user, err = accountFor(p.dir); err != nil {
		return err
	}
	if err := p.user.canReach(data); err != nil {
		return err
	}
	made, err := clusterVersion(p.dir)
	if err != nil {
		return fmt.Errorf("read cluster version: %w", err)
	}
	if p.bin, p.version, err = findBinaries(ctx, debianBinaries, data, made); err != nil {
		return err
	}
	if p.run, err = socketDir(data, p.user); err != nil {
		return err
	}
	p.URL = "postgres://" + superuser + "@/" + databaseName + "?sslmode=disable&port=5432&host=" + url.QueryEscape(p.run)
	if made == 0 {
		return p.initdb()
	}
	return nil
}

// initdb works beside the final place and renames, so that a cluster is either whole or not there.
func (p *Postgres) initdb() error {
	if entries, err := os.ReadDir(p.dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty and not a PostgreSQL cluster", p.dir)
	}
	began := time.Now()
	fresh := p.dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove unfinished cluster: %w", err)
	}
	if err := p.user.mkdir(fresh); err != nil {
		return fmt.Errorf("make cluster directory: %w", err)
	}
	args := []string{"-D", fresh, "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"}
	if p.throwaway {
		args = append(args, "--no-sync")
	}
	if out, err := p.command(filepath.Join(p.bin, "initdb"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	os.Remove(p.dir) // an empty one
	if err := os.Rename(fresh, p.dir); err != nil {
		return fmt.Errorf("move new cluster: %w", err)
	}
	p.log.Info("made a PostgreSQL cluster", "dir", p.dir, "version", p.version, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// command runs as the cluster's user, in its own process group (Ctrl-C in a terminal must reach us first, and the
// server only through us), with nothing of our environment: it holds secrets. When we die, the kernel sends SIGINT,
// Postgres' fast shutdown. The signal is bound to the thread that forks, so this must not be called from a goroutine
// that is locked to a thread.
func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Dir(p.dir)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT, Credential: p.user.credential()}
	return cmd
}

// child is one running server process.
type child struct {
	cmd  *exec.Cmd
	log  *serverLog
	gone chan struct{} // closed when the process has ended
	err  error         // after gone
}

// start returns when the server that it started answers.
func (p *Postgres) start(ctx context.Context) (*child, error) {
	if err := p.endOrphan(ctx); err != nil {
		return nil, err
	}
	c, err := p.spawn()
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := p.awaitReady(ctx, c); err != nil {
		p.end(c)
		return nil, fmt.Errorf("start PostgreSQL: %w%s", err, c.log.tail())
	}
	return c, nil
}

func (p *Postgres) spawn() (*child, error) {
	settings := []string{
		"listen_addresses=", "port=5432", "unix_socket_directories=" + p.run, "unix_socket_permissions=0700",
		"max_connections=200", "shared_buffers=64MB", "synchronous_commit=on", "jit=off",
		"log_destination=stderr", "logging_collector=off", "log_line_prefix=", "log_min_messages=warning",
		"cluster_name=patchbay",
	}
	if p.throwaway {
		settings = append(settings, "fsync=off", "full_page_writes=off", "max_wal_size=256MB")
	} else {
		// A rush fills small tables within seconds, and plans made for the small ones stay until statistics are new: the first of a line
		// were found by reading all promises for each of them. A minute, as by default, is too long; many databases of tests need it less.
		settings = append(settings, "autovacuum_naptime=5s")
	}
	args := []string{"-D", p.dir}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	c := &child{cmd: p.command(filepath.Join(p.bin, "postgres"), args...), log: &serverLog{log: p.log}, gone: make(chan struct{})}
	stderr, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stderr = w
	if err := c.cmd.Start(); err != nil {
		stderr.Close()
		w.Close()
		return nil, err
	}
	w.Close()
	go c.log.read(stderr)
	go c.wait()
	return c, nil
}

func (c *child) wait() {
	c.err = c.cmd.Wait()
	close(c.gone)
}

// awaitReady: an answer on the socket is not enough. A second server on the same directory dies on the lock file while
// the first one's socket answers; so our child must live and the lock file must name it.
func (p *Postgres) awaitReady(ctx context.Context, c *child) error {
	cc, err := pgx.ParseConfig(strings.Replace(p.URL, "/"+databaseName+"?", "/postgres?", 1))
	if err != nil {
		return err
	}
	cc.ConnectTimeout = time.Second
	for {
		if pid, _ := postmasterPID(p.dir); pid == c.cmd.Process.Pid {
			if conn, err := pgx.ConnectConfig(ctx, cc); err == nil {
				return conn.Close(ctx)
			}
		}
		select {
		case <-c.gone:
			return fmt.Errorf("it ended at once: %w", c.err)
		case <-p.stopping:
			return errors.New("stopped")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// supervise starts the server again whenever it ends by itself, until stop.
func (p *Postgres) supervise(c *child) {
	defer close(p.done)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		select {
		case <-p.stopping:
			p.endErr = p.end(c)
			return
		case <-c.gone:
			p.log.Error("PostgreSQL ended by itself; starting it again", "err", c.err)
		}
		for {
			ctx, cancel := context.WithTimeout(context.Background(), startPatience)
			next, err := p.start(ctx)
			cancel()
			if err == nil {
				c = next
				break
			}
			p.log.Error("PostgreSQL does not start", "err", err)
			if !pause(context.Background(), p.stopping, wait) {
				return
			}
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// Stop ends the server: fast shutdown first, then less and less patient. It may be called twice.
func (p *Postgres) Stop() error {
	p.stopOnce.Do(func() { close(p.stopping) })
	<-p.done
	return errors.Join(p.endErr, p.lock.Close())
}

func (p *Postgres) end(c *child) error {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		c.cmd.Process.Signal(sig) // an error means that it is gone
		select {
		case <-c.gone:
			if sig != syscall.SIGINT {
				return fmt.Errorf("PostgreSQL had to be stopped by %s", sig)
			}
			return nil
		case <-time.After(stopPatience):
		}
	}
	return errors.New("PostgreSQL does not stop")
}

func (p *Postgres) makeDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, strings.Replace(p.URL, "/"+databaseName+"?", "/postgres?", 1))
	if err != nil {
		return fmt.Errorf("connect to own PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", databaseName).Scan(&there); err != nil {
		return fmt.Errorf("look for database: %w", err)
	}
	if there {
		return nil
	}
	if _, err := conn.Exec(ctx, "create database "+databaseName); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return nil
}

// pause waits for d; false: something ended the waiting.
func pause(ctx context.Context, stopping <-chan struct{}, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-stopping:
		return false
	case <-time.After(d):
		return true
	}
}

// serverLog passes the server's lines on and remembers the last ones for an error's text.
type serverLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	last []string
}

func (l *serverLog) read(r io.ReadCloser) {
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		l.mu.Lock()
		l.last = append(l.last, line)
		if len(l.last) > 20 {
			l.last = l.last[1:]
		}
		l.mu.Unlock()
		level := slog.LevelDebug // refused statements are reported by whoever sent them
		if strings.HasPrefix(line, "FATAL") || strings.HasPrefix(line, "PANIC") {
			level = slog.LevelWarn
		}
		l.log.Log(context.Background(), level, "postgres: "+line)
	}
}

func (l *serverLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == 0 {
		return ""
	}
	return ": " + strings.Join(l.last, "; ")
}
