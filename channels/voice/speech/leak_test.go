package speech

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"
)

// 500 ears and 500 utterances, most given up in the middle, leave nothing behind: no goroutine, no session, no memory of the children.
func TestNothingIsLeftBehind(t *testing.T) {
	e := openLocal(t, models(t))
	standing(t, e, Hearing, Ready)
	standing(t, e, Speaking, Ready)
	sound := slices.Concat(all(t, say(t, e, "Good morning.", SayConfig{Rate: Narrow})), make([]int16, Narrow/2))
	round := func(n int) {
		for i := range n {
			ctx, cancel := context.WithCancel(t.Context())
			ear, err := e.Hear(ctx, HearConfig{Rate: Narrow})
			if err != nil {
				t.Fatal(err)
			}
			u, err := e.Say(ctx, "Good morning, how may I help you?", SayConfig{Rate: Narrow})
			if err != nil {
				t.Fatal(err)
			}
			write(t, ear, sound[:len(sound)*(i%4+1)/4])
			switch i % 10 {
			case 0: // to the end
				ear.Finish()
				next(t, ear, Final)
				done(t, u)
				ear.Close()
				u.Close()
			case 1: // forgotten, but for the context
				cancel()
				<-u.Done()
				<-ear.done
			default: // hung up in the middle
				ear.Finish()
				ear.Close()
				u.Close()
			}
			cancel()
		}
	}
	round(100)
	goroutines := runtime.NumGoroutine()
	memory := map[Job]int{}
	for job := range e.local {
		_, memory[job] = spent(t, e, job)
	}
	round(400)
	// an utterance's goroutine ends a moment after its Close
	settled := func() bool {
		for _, l := range e.local {
			l.mu.Lock()
			c, members := l.child, len(l.members)
			l.mu.Unlock()
			c.mu.Lock()
			sessions := len(c.sessions)
			c.mu.Unlock()
			if members+sessions > 0 {
				return false
			}
		}
		return runtime.NumGoroutine() <= goroutines
	}
	tick, limit := time.NewTicker(10*time.Millisecond), time.After(deadline)
	defer tick.Stop()
	for !settled() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d goroutines, %d after the first hundred; or an ear or an utterance is still known", runtime.NumGoroutine(), goroutines)
		}
	}
	for job := range e.local {
		_, rss := spent(t, e, job)
		t.Logf("%s: %d MB after 100, %d MB after 500", job, memory[job]>>20, rss>>20)
		if rss > memory[job]+100<<20 {
			t.Errorf("%s has grown from %d to %d MB", job, memory[job]>>20, rss>>20)
		}
	}
}
