package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// table prints figures as they come.
type table struct{}

func (table) section(name string) { fmt.Printf("\n%s\n", name) }

func (table) row(what, format string, args ...any) {
	fmt.Printf("  %-66s %s\n", what, fmt.Sprintf(format, args...))
}

func (table) note(format string, args ...any) { fmt.Printf("  %s\n", fmt.Sprintf(format, args...)) }

// machine says what the figures were measured on: without it they mean nothing.
func (t table) machine(dir string) {
	load, _ := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(load) + " ? ? ?")
	fmt.Printf("Patchbay bench, %s, %d cores (%s), load before: %s %s %s\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		runtime.NumCPU(), processor(), words[0], words[1], words[2])
	fmt.Println("The generators (visitors, telephones, browsers with their own encryption) run on the same cores as the server.")
	if dir != "" {
		if d, err := fsync(dir); err == nil {
			fmt.Printf("This disk takes %.2f ms for an 8 kB write with fsync (p99 %.2f ms).\n", ms(d.at(50)), ms(d.at(99)))
		}
	}
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t: "))
		}
	}
	return runtime.GOARCH
}

// fsync measures what every commit waits for.
func fsync(dir string) (*times, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var all times
	for range 100 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 8192)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		all.add(time.Since(began))
	}
	return &all, nil
}

// times are measured times of one thing.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (t *times) add(d time.Duration) {
	t.mu.Lock()
	t.all = append(t.all, d)
	t.mu.Unlock()
}

// at is the p-th percentile by nearest rank; 0 without any.
func (t *times) at(p float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return 0
	}
	slices.Sort(t.all)
	return t.all[max(0, int(math.Ceil(p/100*float64(len(t.all))))-1)]
}

func (t *times) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

func (t *times) String() string {
	return fmt.Sprintf("p50 %.1f ms   p99 %.1f ms   max %.1f ms   (%d)", ms(t.at(50)), ms(t.at(99)), ms(t.at(100)), t.count())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// usage is CPU time spent so far.
type usage struct {
	at                               time.Time
	server, postgres, bench, machine time.Duration
	speech                           time.Duration // of the children that hear and speak
}

// spent reads what everybody has used.
func (h *house) spent() usage {
	u := usage{at: time.Now(), machine: machineCPU()}
	var own syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &own) == nil {
		u.bench = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	}
	if h.pid != 0 {
		u.server = cpuOf(h.pid).own
		speech := h.speechChildren()
		for _, child := range childrenOf(h.pid) {
			if slices.Contains(speech, child) {
				u.speech += treeCPU(child)
			} else {
				u.postgres += treeCPU(child)
			}
		}
	}
	return u
}

// since says how busy the cores were, in per cent of one core. What others on this machine took spoils the figures.
func (h *house) since(before usage) string {
	now := h.spent()
	span := now.at.Sub(before.at)
	share := func(d time.Duration) float64 { return 100 * float64(d) / float64(span) }
	server, postgres, bench := now.server-before.server+now.speech-before.speech, now.postgres-before.postgres, now.bench-before.bench
	if h.pid == 0 {
		return fmt.Sprintf("bench %.0f %%, all else %.0f %%, of %d %%", share(bench), share(now.machine-before.machine-bench), 100*runtime.NumCPU())
	}
	return fmt.Sprintf("server %.0f %%, Postgres %.0f %%, bench %.0f %%, others %.0f %%, of %d %%", share(server), share(postgres), share(bench),
		max(0, share(now.machine-before.machine-server-postgres-bench)), 100*runtime.NumCPU())
}

// machineCPU is what all cores have worked so far, and what the host of a virtual machine took away (proc(5)).
func machineCPU() time.Duration {
	text, _ := os.ReadFile("/proc/stat")
	var user, nice, system, idle, iowait, irq, softirq, steal int64
	_, _ = fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal)
	return time.Duration(user+nice+system+irq+softirq+steal) * tick
}

// serverSince is the server's share alone.
func (u usage) serverSince(before usage) float64 {
	return 100 * float64(u.server-before.server) / float64(u.at.Sub(before.at))
}

// speechSince is that of the children that hear and speak.
func (u usage) speechSince(before usage) float64 {
	return 100 * float64(u.speech-before.speech) / float64(u.at.Sub(before.at))
}

// processTimes are one process's CPU times: its own, and of its children that have ended.
type processTimes struct{ own, ended time.Duration }

const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on

func cpuOf(pid int) (p processTimes) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p
	}
	// The name stands in brackets and may hold anything (proc(5)).
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), ") ")
	var utime, stime, cutime, cstime int64
	f := strings.Fields(rest)
	if len(f) < 15 {
		return p
	}
	for i, n := range []*int64{&utime, &stime, &cutime, &cstime} {
		_, _ = fmt.Sscan(f[11+i], n)
	}
	return processTimes{time.Duration(utime+stime) * tick, time.Duration(cutime+cstime) * tick}
}

func childrenOf(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		for _, word := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(word, &child); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

// treeCPU is a process with all below it, living and ended.
func treeCPU(pid int) time.Duration {
	p := cpuOf(pid)
	sum := p.own + p.ended
	for _, child := range childrenOf(pid) {
		sum += treeCPU(child)
	}
	return sum
}

// rss reads the server's memory in MB: VmRSS now, VmHWM the most so far.
func (h *house) rss(field string) float64 { return memoryOf(h.pid, field) }

func memoryOf(pid int, field string) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		var kb float64
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			_, _ = fmt.Sscan(rest, &kb)
			return kb / 1024
		}
	}
	return 0
}
