package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// scenario is a run of sipp.
type scenario struct {
	file string
	from string   // address of ours; "" = trusted
	args []string // more
	text string   // of the scenario, where the file is mended; "" = as it stands

	port  int           // it is called there; 0: it calls us
	limit time.Duration // 0: 15 s
	tls   string        // it comes by TLS, from there: sipp itself has no TLS
}

// got is what sipp says became of a scenario, with the message that it did not expect.
var unexpected = regexp.MustCompile(`(?s)(?:received|Received) '?(?:SIP/2\.0 (\d{3})|([A-Z]+) sip)`)

// sipp runs scenarios, four at once.
func (s *server) sipp(ctx context.Context, suite, dir string, all []scenario) []result {
	results := make([]result, len(all))
	var running sync.WaitGroup
	lines := make(chan struct{}, 4)
	for i, x := range all {
		running.Go(func() {
			lines <- struct{}{}
			defer func() { <-lines }()
			code, got := s.runSIPp(ctx, i, dir, x)
			results[i] = judge(suite, filepath.Base(x.file), "exit 0", got, code == 0)
		})
	}
	running.Wait()
	return results
}

func (s *server) runSIPp(ctx context.Context, i int, dir string, x scenario) (code int, got string) {
	work, err := os.MkdirTemp(s.dir, "sipp")
	if err != nil {
		return -1, err.Error()
	}
	defer os.RemoveAll(work)
	file := filepath.Join(dir, x.file)
	if x.text != "" {
		file = filepath.Join(work, "scenario.xml")
		if err := os.WriteFile(file, []byte(x.text), 0o600); err != nil {
			return -1, err.Error()
		}
	}
	from, target := x.from, s.at()
	if from == "" {
		from = trusted
	}
	if strings.Contains(x.file, "ipv6") {
		from, target = "::1", fmt.Sprintf("[::1]:%d", s.port)
	}
	limit, port := cmp.Or(x.limit, 15*time.Second), cmp.Or(x.port, 26000+10*i)
	args := append([]string{"-sf", file, "-s", number, "-i", from, "-mi", from, "-p", fmt.Sprint(port), "-mp", fmt.Sprint(30000 + 10*i), "-m", "1", "-r", "1",
		"-timeout", fmt.Sprintf("%.0fs", limit.Seconds()), "-timeout_error", "-recv_timeout", fmt.Sprint((limit - 3*time.Second).Milliseconds()), "-nostdin", "-trace_err", "-error_file", filepath.Join(work, "errors")}, x.args...)
	if x.tls != "" {
		at, stop, err := s.secured(x.tls)
		if err != nil {
			return -1, err.Error()
		}
		defer stop()
		target, args = at, append(args, "-t", "t1")
	}
	if x.port == 0 {
		args = append(args, target)
	}
	if os.Getenv("VERBOSE") != "" {
		args = append([]string{"-trace_msg", "-message_file", filepath.Join(work, "messages")}, args...)
	}
	ctx, cancel := context.WithTimeout(ctx, limit+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sipp", args...)
	cmd.Dir, cmd.Env = work, append(os.Environ(), "TERM=dumb")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	text, _ := os.ReadFile(filepath.Join(work, "errors"))
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, "exit 0"
	case errors.As(err, &exit):
		code = exit.ExitCode()
	default:
		return -1, err.Error()
	}
	got = fmt.Sprintf("exit %d", code)
	if m := unexpected.FindStringSubmatch(string(text) + string(out)); m != nil {
		got += ", " + m[1] + m[2]
	}
	if os.Getenv("VERBOSE") != "" {
		messages, _ := os.ReadFile(filepath.Join(work, "messages"))
		fmt.Fprintf(os.Stderr, "--- %s: %s\n%s\n%s\n", x.file, got, text, messages)
	}
	return code, got
}

// secured is an address from where bytes go on to the server by TLS.
func (s *server) secured(from string) (at string, stop func(), err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var running sync.WaitGroup
	running.Go(func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := s.dial("tls", from)
		if err != nil {
			_ = near.Close()
			return
		}
		running.Go(func() { _, _ = io.Copy(near, far.conn); _ = near.Close() })
		_, _ = io.Copy(far.conn, near)
		_ = far.conn.Close()
	})
	return l.Addr().String(), func() { _ = l.Close(); running.Wait() }, nil
}

func files(dir, pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("no %s in %s: %w", pattern, dir, err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found, nil
}

// siphon runs the scenarios of thevoiceguy/siphon-rs. Three files are mended as their ORIGIN says: sipp writes the name of
// a header itself.
func siphon(ctx context.Context, s *server, corpora string) ([]result, error) {
	dir := filepath.Join(corpora, "sip", "sipp", "siphon-rs")
	names, err := files(dir, "*.xml")
	if err != nil {
		return nil, err
	}
	var all []scenario
	for _, name := range names {
		x := scenario{file: name}
		switch name {
		case "uas_invite.xml": // a callee, and nobody calls it
			continue
		case "auth_register.xml", "auth_invite.xml", "route_bye.xml":
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			x.text = strings.NewReplacer("Authorization: [authentication]", "[authentication]", "Route: [routes]", "[routes]").Replace(string(text))
		}
		switch name {
		case "auth_register.xml":
			x.from, x.args = telephone, []string{"-t", "t1", "-au", user, "-ap", password, "-s", user}
		case "auth_invite.xml":
			x.from, x.args = challenge, []string{"-au", user, "-ap", password}
		case "register.xml", "register_multiple.xml", "register_wildcard.xml":
			x.from, x.args = telephone, []string{"-t", "t1"} // by UDP no answer is larger than what was asked without a password
		case "refer.xml":
			x.args = []string{"-inf", filepath.Join(dir, "refer_target.csv")}
		case "proxy_invite_bye.xml":
			x.args = []string{"-inf", filepath.Join(dir, "proxy_target.csv")}
		}
		all = append(all, x)
	}
	return s.sipp(ctx, "siphon", dir, all), nil
}

// jambonz runs those scenarios of jambonz that call us.
func jambonz(ctx context.Context, s *server, corpora string) ([]result, error) {
	var results []result
	for _, dir := range []string{filepath.Join(corpora, "sip", "sipp", "jambonz"), filepath.Join(corpora, "sip-gpl", "jambonz-sipp-derived")} {
		names, err := files(dir, "uac*.xml")
		if err != nil {
			return results, err
		}
		var all []scenario
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return results, err
			}
			wav, err := filepath.Abs(filepath.Join(dir, "wav"))
			if err != nil {
				return results, err
			}
			mended := strings.NewReplacer("/tmp/scenarios/wav", wav, "pcap/g711a.pcap", "/usr/share/sip-tester/g711a.pcap").Replace(string(text))
			x := scenario{file: name, text: mended, args: []string{"-key", "from", "+4930555", "-key", "to", number}}
			switch {
			case strings.Contains(name, "device"):
				x.from = john
			case strings.Contains(name, "gather"):
				x.limit = 80 * time.Second // it waits for our BYE: who has fallen silent gets one after 60 s
			case strings.Contains(name, "received-bye"), strings.Contains(name, "say-"), strings.Contains(name, "transcribe"):
				x.limit = 50 * time.Second // who was never heard, after 30 s
			}
			all = append(all, x)
		}
		results = append(results, s.sipp(ctx, "jambonz", dir, all)...)
	}
	return results, nil
}

// pjsip runs the scenarios of pjsip that call us. Those that are called tell what pjsua must do in between.
func pjsip(ctx context.Context, s *server, corpora string) ([]result, error) {
	dir := filepath.Join(corpora, "sip-gpl", "pjsip-scripts-sipp")
	names, err := files(dir, "uac-*.xml")
	if err != nil {
		return nil, err
	}
	var all []scenario
	for _, name := range names {
		x := scenario{file: name}
		switch {
		case strings.HasPrefix(name, "uac-srtp-dtls"):
			x.from = byDTLS
		case strings.HasPrefix(name, "uac-srtp-sdes"): // by UDP a key could be read on the way
			x.tls = required
		case strings.Contains(name, "ticket-186"): // they want 500 to an offer without a codec of ours; 488 it is (RFC 3261 14.2)
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			x.from, x.text = onlyU, strings.ReplaceAll(string(text), `<recv response="500"`, `<recv response="488"`)
		}
		all = append(all, x)
	}
	return s.sipp(ctx, "pjsip", dir, all), nil
}
