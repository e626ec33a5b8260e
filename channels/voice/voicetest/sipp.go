package voicetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// SIPpConfig is one run of sipp against Target.
type SIPpConfig struct {
	Scenario string // the XML itself; "" = Builtin
	Builtin  string // -sn: uac, uas
	Target   netip.AddrPort
	Service  string // -s: the user called
	Args     []string
	Files    map[string][]byte // put beside the scenario, sipp's working directory (a.ul for rtp_stream)
	Timeout  time.Duration     // 0 = 20 s
}

// SIPpResult is how it ended: exit code 0 all good, 1 a call failed, 97 stopped, 99 no call, 254 and 255 fatal.
type SIPpResult struct {
	Code   int
	Output string // screen and errors
}

// RunSIPp runs sipp to its end in a directory of its own.
func RunSIPp(ctx context.Context, t testing.TB, cfg SIPpConfig) SIPpResult {
	t.Helper()
	program, dir := Need(t, "sipp"), t.TempDir()
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	args := []string{
		"-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", fmt.Sprint(freePort(t)), "-mp", fmt.Sprint(freePort(t) &^ 1),
		"-nostdin", "-timeout", fmt.Sprintf("%ds", int(cfg.Timeout.Seconds())), "-timeout_error",
		"-trace_err", "-error_file", filepath.Join(dir, "errors.log"),
	}
	if cfg.Scenario != "" {
		if cfg.Files == nil {
			cfg.Files = map[string][]byte{}
		}
		cfg.Files["scenario.xml"] = []byte(cfg.Scenario)
		args = append(args, "-sf", "scenario.xml")
	} else {
		args = append(args, "-sn", cfg.Builtin)
	}
	for name, b := range cfg.Files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if cfg.Service != "" {
		args = append(args, "-s", cfg.Service)
	}
	args = append(args, cfg.Args...)
	if cfg.Target.IsValid() {
		args = append(args, cfg.Target.String())
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout+5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=dumb")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	res := SIPpResult{Output: string(out)}
	if b, err := os.ReadFile(filepath.Join(dir, "errors.log")); err == nil {
		res.Output += string(b)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		res.Code = exit.ExitCode()
	case err != nil:
		t.Fatalf("sipp: %v", err)
	}
	return res
}
