package voicetest

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed pjsua.py
var pjsuaProgram string

// PJSUAConfig is a telephone of pjsip's. It has what baresip 1.0.0 lacks: two calls with a transfer from one to the other,
// and keys by INFO.
type PJSUAConfig struct {
	User, Password string
	Registrar      netip.AddrPort // whose telephone it is; invalid: its own
	Proxy          netip.AddrPort // where all its requests go; invalid: whomever they name
	Says           []int16        // 8 kHz, repeated; nil: silence
}

// PJSUA is a running one, in a process of its own. Calls are numbered from 1, as they begin.
type PJSUA struct {
	t      testing.TB
	dir    string
	addr   netip.AddrPort
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events chan PJSUAEvent
	output syncBuffer
	exited chan struct{}
	once   sync.Once
	mu     sync.Mutex // guards tokens
	tokens int
}

// PJSUAEvent is something the telephone tells: incoming, state, sound, transfer, key, registered; done and refused are the
// answers to Do.
type PJSUAEvent struct {
	Event  string `json:"event"`
	Call   int    `json:"call"`
	State  string `json:"state"` // of state: CALLING, EARLY, CONFIRMED, DISCONNECTED ...
	Code   int    `json:"code"`
	Reason string `json:"reason"`
	Final  bool   `json:"final"`
	Digit  string `json:"digit"`
	Token  int    `json:"token"`
}

// StartPJSUA runs a telephone until the test ends. It needs pjsip's Python module: PATCHBAY_TEST_PJSUA names the directory
// that it was unpacked to (pip install --target DIR pjsua2-python), unless Python finds it by itself.
func StartPJSUA(t testing.TB, cfg PJSUAConfig) *PJSUA {
	t.Helper()
	python := Need(t, "python3")
	env := os.Environ()
	if dir := os.Getenv("PATCHBAY_TEST_PJSUA"); dir != "" {
		env = append(env, "PYTHONPATH="+dir)
	}
	probe := exec.Command(python, "-c", "import pjsua2")
	probe.Env = env
	if out, err := probe.CombinedOutput(); err != nil {
		if os.Getenv("PATCHBAY_CI") == "1" {
			t.Fatalf("pjsip's Python module is not there: %s", out)
		}
		t.Skip("SKIPPED: pjsip's Python module is not installed (PATCHBAY_TEST_PJSUA)")
	}
	p := &PJSUA{t: t, dir: t.TempDir(), events: make(chan PJSUAEvent, 256), exited: make(chan struct{}),
		addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t))}
	if cfg.Says == nil {
		cfg.Says = make([]int16, Rate)
	}
	says := filepath.Join(p.dir, "says.wav")
	WriteWAV(t, says, cfg.Says, Rate)
	given := func(a netip.AddrPort) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	registrar := given(cfg.Registrar)
	level := 1
	if os.Getenv("VOICE_DEBUG") != "" {
		level = 5
	}
	setup, err := json.Marshal(map[string]any{"user": cfg.User, "password": cfg.Password, "registrar": registrar, "proxy": given(cfg.Proxy), "address": p.addr.Addr().String(),
		"port": p.addr.Port(), "rtp": freePort(t) &^ 1, "says": says, "heard": p.dir, "codec": "PCMU", "log": level})
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(python, "-u", "-c", pjsuaProgram, string(setup))
	p.cmd.Env, p.cmd.Dir, p.cmd.Stderr = env, p.dir, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go p.listen(out)
	t.Cleanup(p.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p.Wait(ctx, func(e PJSUAEvent) bool { return e.Event == "ready" })
	if registrar != "" {
		if e := p.Wait(ctx, func(e PJSUAEvent) bool { return e.Event == "registered" }); e.Code != 200 {
			t.Fatalf("pjsua: registered with %d", e.Code)
		}
	}
	return p
}

// listen reads what the telephone tells; what is no event is its log.
func (p *PJSUA) listen(out io.Reader) {
	defer close(p.exited)
	defer close(p.events)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text, event := strings.CutPrefix(lines.Text(), "@")
		var e PJSUAEvent
		if !event || json.Unmarshal([]byte(text), &e) != nil {
			fmt.Fprintln(&p.output, lines.Text())
			continue
		}
		select {
		case p.events <- e:
		default:
		}
	}
	_ = p.cmd.Wait()
}

// Addr is where the telephone is called.
func (p *PJSUA) Addr() netip.AddrPort { return p.addr }

// Wait passes over events until one is wanted.
func (p *PJSUA) Wait(ctx context.Context, want func(PJSUAEvent) bool) PJSUAEvent {
	p.t.Helper()
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				p.t.Fatalf("pjsua ended:\n%s", p.output.String())
			}
			if want(e) {
				return e
			}
		case <-ctx.Done():
			p.t.Fatalf("pjsua: %v\n%s", ctx.Err(), p.output.String())
		}
	}
}

// Incoming waits for a call and returns its number.
func (p *PJSUA) Incoming(ctx context.Context) int {
	p.t.Helper()
	return p.Wait(ctx, func(e PJSUAEvent) bool { return e.Event == "incoming" }).Call
}

// State waits until a call has come to a state.
func (p *PJSUA) State(ctx context.Context, call int, state string) PJSUAEvent {
	p.t.Helper()
	return p.Wait(ctx, func(e PJSUAEvent) bool { return e.Event == "state" && e.Call == call && e.State == state })
}

// Do gives a command (see pjsua.py) and returns at once.
func (p *PJSUA) Do(what string, call int, args map[string]any) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens++
	all := map[string]any{"do": what, "call": call, "token": p.tokens}
	for k, v := range args {
		all[k] = v
	}
	b, err := json.Marshal(all)
	if err == nil {
		_, err = p.stdin.Write(append(b, '\n'))
	}
	if err != nil {
		p.t.Errorf("pjsua %s: %v", what, err)
	}
}

// Heard is what the telephone heard in a call, 8 kHz; complete once Close has returned.
func (p *PJSUA) Heard(call int) []int16 {
	p.t.Helper()
	s, rate := ReadWAV(p.t, filepath.Join(p.dir, fmt.Sprintf("%d.wav", call)))
	return toRate(s, rate)
}

// Kill ends the telephone without a word to anybody, as a pulled cable does.
func (p *PJSUA) Kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// Close quits the telephone, with force after 5 s. It may be called twice.
func (p *PJSUA) Close() {
	p.once.Do(func() {
		_ = p.stdin.Close()
		select {
		case <-p.exited:
		case <-time.After(5 * time.Second):
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.exited
		}
	})
}
