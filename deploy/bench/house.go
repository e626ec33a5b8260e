package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// house is the server under test: a child of ours, or a running one.
type house struct {
	url, link, sip string
	database       string
	pid            int // 0: unknown
	rows           *pgxpool.Pool
	log            string // file with the server's complaints

	env   []string // more settings of the server
	child *exec.Cmd
	ended chan error
}

var (
	deskLine  = regexp.MustCompile(`desk\s+(http\S+)/desk/#link=(\S+)`)
	phoneLine = regexp.MustCompile(`phone\s+sip:(\d+@\S+)`)
	modelLine = regexp.MustCompile(`responder:?\s+model ` + modelName)
)

const startLimit = time.Minute

// start runs the server on free ports of this machine and returns when it serves requests and its model is ready.
// The time is until the first request, not the model.
func (h *house) start(ctx context.Context, program, dir, model string) (took time.Duration, err error) {
	cmd := exec.Command(program, "serve")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PATCHBAY_DATA_DIR=" + filepath.Join(dir, "data"), "PATCHBAY_DEMO=true",
		"PATCHBAY_COMPANY_NAME=Nordlicht", "PATCHBAY_NODE_NAME=bench", "PATCHBAY_LOG_LEVEL=error",
		"PATCHBAY_HTTP_LISTEN=127.0.0.1:0", "PATCHBAY_SIP_LISTEN=127.0.0.1:0", "PATCHBAY_SIP_TRUNKS=" + carrier, "PATCHBAY_WEBRTC_UDP_PORT=0",
		"OLLAMA_HOST=" + model, "PATCHBAY_OLLAMA_MODEL=" + modelName, "BENCH_PPROF=" + profileAddr,
	}
	for _, more := range []string{"DATABASE_URL", "NATS_URL", "GOMEMLIMIT", "GOGC", "PATCHBAY_RTP_PORT_MIN", "PATCHBAY_RTP_PORT_MAX"} {
		if v := os.Getenv(more); v != "" {
			cmd.Env = append(cmd.Env, more+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, h.env...)
	h.log = filepath.Join(dir, "server.log")
	stderr, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer stderr.Close() // the child has its own
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us first
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	h.child, h.pid, h.ended = cmd, cmd.Process.Pid, make(chan error, 1)
	up, ready := make(chan struct{}), make(chan struct{})
	go h.read(out, up, ready)
	limit := time.After(startLimit)
	if err := h.come(ctx, up, limit); err != nil {
		return 0, err
	}
	for {
		if resp, err := http.Get(h.url + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		wait(ctx, 5*time.Millisecond)
		if time.Since(began) > startLimit || ctx.Err() != nil {
			return 0, errors.New("the server does not become ready")
		}
	}
	took = time.Since(began)
	h.database = os.Getenv("DATABASE_URL")
	if h.database == "" {
		if h.database, err = ownDatabase(filepath.Join(dir, "data")); err != nil {
			return 0, err
		}
	}
	return took, h.come(ctx, ready, limit)
}

func (h *house) come(ctx context.Context, what <-chan struct{}, limit <-chan time.Time) error {
	select {
	case <-what:
		return nil
	case err := <-h.ended:
		h.child = nil
		return fmt.Errorf("the server ended: %w", err)
	case <-limit:
		return errors.New("the server does not say that it is up, or that its model is there")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read takes the addresses from what the server says at its start, and waits for its end.
func (h *house) read(out io.Reader, up, ready chan struct{}) {
	lines := bufio.NewScanner(out)
	modelled := false
	for lines.Scan() {
		line := lines.Text()
		if m := deskLine.FindStringSubmatch(line); m != nil {
			h.url, h.link = m[1], m[2]
		}
		if m := phoneLine.FindStringSubmatch(line); m != nil {
			h.sip = m[1]
		}
		if strings.Contains(line, "responder ") && up != nil {
			close(up)
			up = nil
		}
		if modelLine.MatchString(line) && !modelled {
			modelled = true
			close(ready)
		}
	}
	h.ended <- h.child.Wait()
}

// complaints are the first lines of the server's log.
func (h *house) complaints() string {
	text, _ := os.ReadFile(h.log)
	lines := strings.SplitAfterN(string(text), "\n", 11)
	return strings.Join(lines[:min(10, len(lines))], "")
}

// stop ends the server that we started.
func (h *house) stop() error {
	if h.child == nil {
		return nil
	}
	if h.rows != nil {
		h.rows.Close()
		h.rows = nil
	}
	_ = h.child.Process.Signal(syscall.SIGTERM) // an error means that it is gone
	select {
	case err := <-h.ended:
		h.child = nil
		if err != nil {
			return fmt.Errorf("the server ended with: %w", err)
		}
		return nil
	case <-time.After(30 * time.Second):
		_ = h.child.Process.Kill()
		<-h.ended
		h.child = nil
		return errors.New("the server does not stop on SIGTERM: killed")
	}
}

// ownDatabase reads where the server's own Postgres listens from its lock file: port in line 4, socket in line 5.
func ownDatabase(data string) (string, error) {
	text, err := os.ReadFile(filepath.Join(data, "pg", "postmaster.pid"))
	if err != nil {
		return "", fmt.Errorf("own database: %w", err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 5 {
		return "", errors.New("own database: short lock file")
	}
	return fmt.Sprintf("postgres://patchbay@/patchbay?sslmode=disable&port=%s&host=%s", lines[3], url.QueryEscape(lines[4])), nil
}

// connect opens the database, when there is one, and signs the first agent in.
func (b *bench) connect(ctx context.Context) (err error) {
	if b.database != "" {
		if b.rows, err = pgxpool.New(ctx, b.database); err != nil {
			return err
		}
		if err := b.rows.Ping(ctx); err != nil {
			return fmt.Errorf("database: %w", err)
		}
	}
	first, err := b.signIn(ctx, b.link)
	if err != nil {
		return err
	}
	b.desk = []*agent{first}
	return nil
}

func (b *bench) close() error {
	for _, a := range b.desk {
		a.leave()
	}
	return b.stop()
}

// agents returns n agents who are signed in and rest, with room for so many conversations each. New ones are hired by
// rows of their own: the API has no such verb.
func (b *bench) agents(ctx context.Context, n, capacity int) ([]*agent, error) {
	if b.rows == nil {
		return nil, fmt.Errorf("%w: it needs %d agents, and those need -database", errSkipped, n)
	}
	var hired []*agent
	for _, a := range b.desk {
		if a.socket == nil && a.capacity == capacity && len(hired) < n {
			hired = append(hired, a)
		}
	}
	for len(hired) < n {
		link := rand.Text()
		hash := sha256.Sum256([]byte(link))
		name := fmt.Sprintf("%s-%d", b.run, len(b.desk))
		_, err := b.rows.Exec(ctx, `with a as (insert into agents (login, name, capacity) values ($1, $2, $3) returning id),
			q as (insert into agent_queues (agent_id, queue_id) select a.id, queues.id from a, queues)
			insert into sign_in_links (token_hash, agent_id, expires_at) select $4, id, now() + interval '1 hour' from a`,
			name, "Agent "+name, capacity, hash[:])
		if err != nil {
			return nil, fmt.Errorf("hire agent: %w", err)
		}
		a, err := b.signIn(ctx, link)
		if err != nil {
			return nil, err
		}
		a.capacity = capacity
		b.desk = append(b.desk, a)
		hired = append(hired, a)
	}
	return hired, nil
}
