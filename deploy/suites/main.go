// Command suites runs outside SIP suites against a Patchbay of its own and prints one table. It knows the server only from
// outside: SIP, and the rows of its settings. Its peers are told apart by their address, 127.0.0.1 to .6, for each is
// another trunk: one that trusts, one that asks for a password, and those with other rules for encryption.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// result is a row of the table.
type result struct {
	suite, file, expected, got, verdict, why string
}

// Verdicts: what is wanted, what differs by design (why says why), what does not concern us, and what is wrong.
const (
	pass   = "pass"
	design = "design"
	notUs  = "not ours"
	failed = "FAILED"
)

// judge makes a row: a miss that is explained is by design.
func judge(suite, file, expected, got string, ok bool) result {
	r := result{suite: suite, file: file, expected: expected, got: got, verdict: pass}
	if ok {
		return r
	}
	r.verdict = failed
	if got == "silence" || strings.Contains(got, "503") || strings.Contains(got, "dead") {
		return r // never by design
	}
	r.why = why(suite, file)
	if r.why != "" {
		r.verdict = design
		if text, ours := strings.CutPrefix(r.why, "not ours: "); ours {
			r.verdict, r.why = notUs, text
		}
	}
	return r
}

func main() {
	var s server
	var corpora, only string
	flag.StringVar(&s.program, "server", "", "the server's binary")
	flag.StringVar(&s.dir, "dir", "", "an empty directory")
	flag.StringVar(&corpora, "corpora", "", "directory of the suites")
	flag.StringVar(&only, "only", "", "some suites")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := run(ctx, &s, corpora, strings.Fields(only))
	wrong := printTable(results)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || wrong > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, s *server, corpora string, only []string) (results []result, err error) {
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if stopped := s.stop(); err == nil {
			err = stopped
		}
	}()
	for _, suite := range []struct {
		name string
		run  func(context.Context, *server, string) ([]result, error)
	}{
		{"siphon", siphon}, {"rfc4475", torture}, {"jambonz", jambonz}, {"sendto", sendto}, {"pjsip", pjsip}, {"kamailio", kamailio}, {"callees", calleesOf},
	} {
		if len(only) > 0 && !slices.Contains(only, suite.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, suite.name)
		more, err := suite.run(ctx, s, corpora)
		if err != nil {
			return results, fmt.Errorf("%s: %w", suite.name, err)
		}
		results = append(results, more...)
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
	}
	return results, nil
}

func printTable(results []result) (wrong int) {
	count := map[string]map[string]int{}
	var suites []string
	fmt.Printf("%-8s %-52s %-22s %-16s %-8s %s\n", "suite", "file", "expected", "got", "verdict", "why")
	for _, r := range results {
		fmt.Printf("%-8s %-52s %-22s %-16s %-8s %s\n", r.suite, r.file, r.expected, r.got, r.verdict, r.why)
		if count[r.suite] == nil {
			count[r.suite] = map[string]int{}
			suites = append(suites, r.suite)
		}
		count[r.suite][r.verdict]++
	}
	fmt.Println()
	for _, suite := range suites {
		c := count[suite]
		fmt.Printf("%-8s %3d pass, %3d by design, %3d not ours, %3d failed\n", suite, c[pass], c[design], c[notUs], c[failed])
		wrong += c[failed]
	}
	return wrong
}
