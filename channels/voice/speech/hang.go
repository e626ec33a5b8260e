package speech

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Native code cannot be cancelled, and when it hangs the child still gives its signs of life. So each piece of its work has a start, and
// a limit by the sound that it is about and the speed that such work has on this machine. Past it the child ends itself, and the next one
// gets the work again (memory.go, errand.go).

const (
	limitLeast = 2500 * time.Millisecond // any work may take so long,
	limitTimes = 4                       // and so many times what it should take here;
	limitMost  = 30 * time.Second        // a starved machine is slow too, but there the work comes too late for everybody
	sameAs     = time.Second             // of sound: what each piece costs besides its own length
	fades      = 0.95                    // what is known of the slowest piece, with each other one
	beat       = 200 * time.Millisecond  // a child's signs of life, and its looks at what it is doing
	hungAfter  = 5 * time.Second         // a child that hangs is found out by then, unless the machine is slow
)

// pace is what the native code of a child is at, and how fast it was.
type pace struct {
	mu     sync.Mutex
	slow   float64 // time for a sound's, of the slowest of the last pieces
	at     map[*toil]struct{}
	clock  time.Duration // goes slower where this process gets too little time
	looked time.Time
	queued func(thread int) time.Duration // that a thread has waited for a processor in all
}

// toil is one call of native code.
type toil struct {
	began, limit time.Duration // began: by the pace's clock
	thread       int
	queued       time.Duration // when it was first looked at
	seen         bool
}

func newPace() *pace { return &pace{at: map[*toil]struct{}{}, queued: queued} }

// limit is how long work may take that is about so much sound.
func (p *pace) limit(sound time.Duration) time.Duration {
	return min(limitLeast+time.Duration(limitTimes*p.slow*float64(sound+sameAs)), limitMost)
}

// watch runs native code about so much sound.
func (p *pace) watch(sound time.Duration, run func()) {
	runtime.LockOSThread() // it is this thread that is looked at
	defer runtime.UnlockOSThread()
	t := &toil{thread: syscall.Gettid()}
	p.mu.Lock()
	t.began, t.limit = p.clock, p.limit(sound)
	p.at[t] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.at, t)
	}()
	run()
}

// measure is watch for the kind of work whose speed counts.
func (p *pace) measure(sound time.Duration, run func()) {
	began := time.Now()
	p.watch(sound, run)
	p.learn(sound, time.Since(began))
}

func (p *pace) learn(sound, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = max(p.slow*fades, took.Seconds()/(sound+sameAs).Seconds())
}

// look tells what hangs, if anything does; it is called at each beat. Where we ourselves come late, or the thread was waiting for a processor,
// the machine is starved, and the code is not to blame.
func (p *pace) look(now time.Time) (hung string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.looked.IsZero() {
		p.clock += min(now.Sub(p.looked), 2*beat)
	}
	p.looked = now
	for t := range p.at {
		queued := p.queued(t.thread)
		if !t.seen {
			t.seen, t.queued = true, queued
		}
		if p.clock-t.began-(queued-t.queued) > t.limit {
			return fmt.Sprintf("native code hangs: it has not come back within %s", t.limit.Round(time.Millisecond))
		}
	}
	return ""
}

// queued is how long a thread of ours has waited for a processor (the kernel's Documentation/scheduler/sched-stats); 0: the kernel does
// not tell.
func queued(thread int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", thread))
	var ran, waited int64
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(b), &ran, &waited); err != nil {
		return 0
	}
	return time.Duration(waited)
}

// watchedDetector is one whose native code is watched.
type watchedDetector struct {
	detector
	pace *pace
}

func (d watchedDetector) hear(at int64, pcm []int16, edge func(speaking bool, at int64)) {
	d.pace.watch(0, func() { d.detector.hear(at, pcm, edge) })
}
