// Bench measures a running Patchbay from outside, as its customers and agents meet it: real sockets, a real database
// with fsync on, telephones on UDP, browsers by WebRTC. It knows nothing of the server's code.
//
//	main.go     which parts run, in which order          house.go   the server under test, its processes and rows
//	chat.go     answers, replies, offers                 people.go  a visitor and an agent
//	load.go     500 messages a second                    ollama.go  a model that answers at once
//	setups.go   500 calls a second                       trunk.go   a carrier: many calls from one SIP address
//	talk.go     callers who speak with the responder         talker.go   their telephone
//	noise.go    what is heard around them                    engines.go  what hears and speaks
//	talkleak.go hundreds of talks: does anything grow?
//	calls.go    telephone and browser, joined            sound.go   packets that say who sent them, and when
//	relay.go    what a bare relay does on this machine   arrival.go when the kernel had them
//	hostile.go  an attack beside good calls              soak.go    the same again and again: does anything grow?
//	window.go   one measurement of many calls            figures.go times, CPU and the table
//	line.go     1,000 agents, 10,000 who wait
//
// Timings are printed, never judged. The exit code is 1 only when something was lost or wrong: a message that was
// acknowledged and is not in the database, a call without its row, a voice heard by the wrong person.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is one run.
type bench struct {
	*house
	server, dir string // the program to start, and an empty directory for its data; "": a running one is measured
	quick       bool
	parts       string
	soakFor     time.Duration
	noise       int    // answers to be heard by each caller in noise
	leak        int    // talks of the leak run; 0: none
	profile     string // directory for CPU profiles

	pace    pace // of the scripted model
	table   table
	desk    []*agent // signed-in agents
	people  int      // visitors so far: each comes from its own address
	area    int64    // of our telephone numbers
	callers int      // telephone numbers used
	run     string   // marks this run's messages
	model   string   // address of the scripted model
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "relay" {
		exit(runRelay(ctx, os.Args[2:]))
	}
	b := &bench{house: &house{}, run: fmt.Sprintf("bench%x", time.Now().UnixMilli()), area: time.Now().Unix() % 100000}
	flag.StringVar(&b.server, "server", "", "server `program` to start and measure")
	flag.StringVar(&b.dir, "dir", "", "empty `directory` for its data")
	flag.StringVar(&b.url, "url", "", "or: `address` of a running server")
	flag.StringVar(&b.link, "link", "", "its one-time sign-in `token`")
	flag.StringVar(&b.sip, "sip", "", "its SIP `host:port`")
	flag.StringVar(&b.database, "database", "", "its database `URL`; without it there is one agent only, and what needs more is left out")
	flag.IntVar(&b.pid, "pid", 0, "its process `id`, for CPU and memory")
	flag.BoolVar(&b.quick, "quick", false, "a minute instead of five")
	flag.DurationVar(&b.soakFor, "soak", 2*time.Minute, "how `long` the soak is")
	flag.IntVar(&b.noise, "noise", 6, "talk: so many `answers` are heard by each caller in noise")
	flag.IntVar(&b.leak, "leak", 0, "talk: only so many whole `talks`, and whether anything grows")
	flag.StringVar(&b.parts, "parts", "start chat load setups calls hostile soak line", "what to measure")
	flag.StringVar(&b.profile, "profile", "", "`directory` for CPU profiles of a server that was built with profile.go.txt")
	flag.Parse()
	exit(b.all(ctx))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	partLimit = 6 * time.Minute
	leakEach  = 3 * time.Second // more for each talk of the leak run
	noiseEach = 2 * time.Minute // and for each answer in noise, of all kinds
)

// errSkipped: a part could not run here; that is said, and no failure.
var errSkipped = errors.New("left out")

func (b *bench) all(ctx context.Context) (err error) {
	b.table.machine(b.dir)
	if b.server == "" && b.url == "" {
		return errors.New("want -server or -url")
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.begin(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	var wrong []error
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"chat", b.chat}, {"load", b.load}, {"setups", b.setups}, {"calls", b.calls}, {"talk", b.responder}, {"hostile", b.hostile}, {"soak", b.soak}, {"line", b.line}} {
		if !b.wants(part.name) {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, partLimit+b.soakFor+time.Duration(b.leak)*leakEach+time.Duration(b.noise)*noiseEach)
		err := part.run(limit)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errSkipped):
			b.table.note("%v", err)
		case err != nil:
			b.table.note("WRONG: %v", err)
			wrong = append(wrong, fmt.Errorf("%s: %w", part.name, err))
		}
	}
	b.memory()
	if text := b.complaints(); text != "" && len(wrong) > 0 {
		fmt.Printf("\nthe server's log begins with\n%s", text)
	}
	return errors.Join(wrong...)
}

func (b *bench) wants(part string) bool { return slices.Contains(strings.Fields(b.parts), part) }

// quickly chooses between a whole and a quick run.
func quickly[T any](b *bench, whole, quick T) T {
	if b.quick {
		return quick
	}
	return whole
}

// begin starts the server, twice when the starts themselves are wanted, or meets the running one.
func (b *bench) begin(ctx context.Context) error {
	if b.url == "" {
		model, err := serveOllama(ctx, &b.pace)
		if err != nil {
			return err
		}
		b.model = model
		if b.wants("talk") {
			if err := b.engines(ctx); err != nil {
				return err
			}
		}
		cold, err := b.start(ctx, b.server, b.dir, model)
		if err != nil {
			return err
		}
		if b.wants("start") {
			if err := b.starts(ctx, model, cold); err != nil {
				return err
			}
		}
	}
	return b.connect(ctx)
}

func (b *bench) starts(ctx context.Context, model string, cold time.Duration) error {
	b.table.section("start and memory")
	b.table.row("cold start: empty data directory -> first request served", "%.2f s", cold.Seconds())
	if err := b.stop(); err != nil {
		return err
	}
	warm, err := b.start(ctx, b.server, b.dir, model)
	if err != nil {
		return err
	}
	b.table.row("warm start", "%.2f s   target < 5 s", warm.Seconds())
	wait(ctx, 3*time.Second)
	before := b.spent()
	wait(ctx, 2*time.Second)
	b.table.row("idle memory (RSS) of the server process", "%.0f MB   target < 120 MB", b.rss("VmRSS"))
	b.table.row("idle CPU", "%s", b.since(before))
	return nil
}

func (b *bench) memory() {
	if b.pid == 0 {
		return
	}
	b.table.section("memory after all of it")
	b.table.row("server process (RSS) now, at most", "%.0f MB, %.0f MB", b.rss("VmRSS"), b.rss("VmHWM"))
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
