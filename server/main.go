// Patchbay answers a company's phone, chat and mail: a language model first, a person in a browser as soon as the
// customer wants one. This is its front door: settings, the order in which the parts start, and signals.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"patchbay/channels/voice/speech"
)

func main() {
	speech.Serve(os.Args[1:]) // as a child of ours, with the engines that hear and speak, it does not return
	if os.Getenv("GOMAXPROCS") == "" {
		// A thread that waits for a disk, or that the kernel has put aside for another process, holds up the goroutines behind
		// it for milliseconds: two spare ones, so that a call's packets go on.
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command does what the command line says and returns the exit code: 2 for wrong settings, 1 for a failure or for input
// of which some was bad.
func command(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	order, cfg, err := loadConfig(args, environ)
	if err != nil {
		fmt.Fprintln(stderr, "patchbay:", err)
		return 2
	}
	switch order.name {
	case "version":
		fmt.Fprintln(stdout, "patchbay", version())
	case "config":
		fmt.Fprint(stdout, writeConfig(cfg, false))
	case "sample":
		fmt.Fprint(stdout, writeConfig(cfg, true))
	case "explain human":
		if err := explainHuman(ctx, order.file, stdin, stdout, stderr); err != nil {
			fmt.Fprintln(stderr, "patchbay:", err)
			return 1
		}
	case "verify":
		if err := verify(order.file, order.key, stdin, stdout); err != nil {
			fmt.Fprintln(stderr, "patchbay:", err)
			return 1
		}
	case "serve":
		say := func(format string, args ...any) { fmt.Fprintf(stdout, format+"\n", args...) }
		if err := run(ctx, cfg, newLog(cfg.Log, stderr), say); err != nil {
			fmt.Fprintln(stderr, "patchbay:", err)
			return 1
		}
	}
	return 0
}

func newLog(cfg LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // loadConfig has checked it
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// version is the module's, or the commit that the build was made of.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return info.Main.Version + " " + s.Value
		}
	}
	return info.Main.Version
}
