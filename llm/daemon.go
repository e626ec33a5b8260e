package llm

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ollama/ollama/api"
)

// Daemon is an Ollama that this server runs as its child: on a loopback port of its own, with its models in Dir. It is
// started again when it dies, and it dies with the server, also when that is killed (Pdeathsig).
type Daemon struct {
	Binary string // path; may not exist yet while deploy/up.sh still builds it
	Dir    string // where its models lie
	Log    *slog.Logger
}

// binaryLooks is how often a binary is looked for that is still being built (minutes).
const binaryLooks = 2 * time.Second

// Run keeps an Ollama running until ctx ends. serve works with it as long as it lives: its ctx ends with Ollama.
func (d *Daemon) Run(ctx context.Context, serve func(ctx context.Context, host string) error) error {
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return fmt.Errorf("ollama's folder: %w", err)
	}
	if err := d.await(ctx); err != nil {
		return nil // ended before it was built
	}
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		began := time.Now()
		err := d.once(ctx, serve)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		d.Log.Error("ollama ended, starting it again", "err", err, "in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (d *Daemon) await(ctx context.Context) error {
	look := time.NewTicker(binaryLooks)
	defer look.Stop()
	for {
		if _, err := os.Stat(d.Binary); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

func (d *Daemon) once(ctx context.Context, serve func(context.Context, string) error) error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	cmd := exec.Command(d.Binary, "serve")
	cmd.Env = append(os.Environ(), "OLLAMA_HOST="+addr, "OLLAMA_MODELS="+d.Dir, "OLLAMA_KEEP_ALIVE=-1", "OLLAMA_NUM_PARALLEL=1")
	// its own group: Ctrl-C at the terminal reaches us first, and we stop it in order
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	started, exited := make(chan error, 1), make(chan error, 1)
	go func() {
		// Pdeathsig is tied to the thread that forks: keep it until the child has ended (golang/go#27505)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		d.copyLog(out)
		exited <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start: %w", err)
	}
	up, stop := context.WithCancel(ctx)
	defer stop()
	told := make(chan struct{})
	go func() {
		defer close(told)
		if awaitVersion(up, "http://"+addr) != nil {
			return
		}
		if err := serve(up, "http://"+addr); err != nil {
			d.Log.Error("responder's model", "err", err)
		}
	}()
	select {
	case err = <-exited:
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case err = <-exited:
		case <-time.After(5 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			err = <-exited
		}
	}
	stop()
	<-told
	return err
}

// copyLog passes on what Ollama complains about; its chatter stays at debug.
func (d *Daemon) copyLog(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), 64*1024)
	for lines.Scan() {
		level := slog.LevelDebug
		if strings.Contains(lines.Text(), "level=ERROR") {
			level = slog.LevelWarn
		}
		d.Log.Log(context.Background(), level, "ollama: "+lines.Text())
	}
	_, _ = io.Copy(io.Discard, r) // a line longer than the buffer must not block the child
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("free port for ollama: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// awaitVersion asks until Ollama answers.
func awaitVersion(ctx context.Context, host string) error {
	each := time.NewTicker(100 * time.Millisecond)
	defer each.Stop()
	for {
		c, err := client(host)
		if err != nil {
			return err
		}
		if _, err := c.Version(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-each.C:
		}
	}
}

func client(host string) (*api.Client, error) {
	base, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("ollama's address: %w", err)
	}
	return api.NewClient(base, http.DefaultClient), nil
}

// Import makes a model of a GGUF file at any Ollama, without the internet. A model of that name stays as it is. template
// is Go's, for a file that carries none; "" = the file's own.
func Import(ctx context.Context, host, name, gguf, template string) error {
	c, err := client(host)
	if err != nil {
		return err
	}
	if _, err := c.Show(ctx, &api.ShowRequest{Model: name}); err == nil {
		return nil
	}
	f, err := os.Open(gguf)
	if err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	digest := "sha256:" + hex.EncodeToString(sum.Sum(nil))
	if err := c.CreateBlob(ctx, digest, f); err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	req := &api.CreateRequest{Model: name, Files: map[string]string{filepath.Base(gguf): digest}, Template: template}
	if err := c.Create(ctx, req, func(api.ProgressResponse) error { return nil }); err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	return nil
}

// Default names the model that people really use which fits this machine: memory in bytes, CPU cores.
func Default(memory int64, cores int) string {
	const gib = 1 << 30
	switch {
	case memory >= 14*gib && cores >= 8:
		return "qwen3:4b"
	case memory >= 6*gib && cores >= 4:
		return "qwen3:1.7b"
	}
	return "qwen3:0.6b"
}
