package media

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const slots = 20

// paced is what the pacer drives: an Output that plays something, a Room, a listener. tick is one frame of 20 ms, by
// its number; false = the pacer may forget it.
type paced interface {
	tick(frame int64, now time.Time) bool
}

// Pacer is the clock of everything that speaks without being spoken to: players, keys, rooms. One goroutine serves all
// of a process: 20 slots of 1 ms, spread over them, on an absolute schedule. When it is late by more
// than a frame it skips to the present; it never sends a burst. With nothing to do it sleeps.
type Pacer struct {
	wake  chan struct{}
	loops loops
	late  atomic.Uint64 // frames left out

	mu    sync.Mutex
	slots [slots][]paced
}

// NewPacer makes a pacer; nothing is sent until Run.
func NewPacer() *Pacer { return &Pacer{wake: make(chan struct{}, 1)} }

func (p *Pacer) add(o paced) {
	p.mu.Lock()
	least := 0
	for i := range p.slots {
		if len(p.slots[i]) < len(p.slots[least]) {
			least = i
		}
	}
	p.slots[least] = append(p.slots[least], o)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Late counts the frames that were left out because there was no time for them.
func (p *Pacer) Late() uint64 { return p.late.Load() }

// Run serves them until ctx ends; it returns ctx's error.
func (p *Pacer) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	start := time.Now()
	var next int64 // slot to be served, counted from start
	for {
		busy, ok := p.busy(next)
		if !ok {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-p.wake:
			}
			next = int64(time.Since(start)/time.Millisecond) + 1
			continue
		}
		next = busy
		wait := time.Until(start.Add(time.Duration(next) * time.Millisecond))
		if wait < -Frame { // late by more than a frame: those frames are lost
			next += int64(-wait/Frame) * slots
			p.late.Add(uint64(-wait / Frame))
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-timer.C:
			}
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
		p.serve(next)
		next++
	}
}

// busy is the next slot with something in it; false = there is none.
func (p *Pacer) busy(from int64) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := from; n < from+slots; n++ {
		if len(p.slots[n%slots]) > 0 {
			return n, true
		}
	}
	return 0, false
}

// serve ticks one slot and forgets those that have nothing more to say.
func (p *Pacer) serve(slot int64) {
	i := slot % slots
	p.mu.Lock()
	list := p.slots[i]
	p.slots[i] = nil
	p.mu.Unlock()
	if len(list) == 0 {
		return
	}
	now := time.Now()
	kept := list[:0]
	for _, o := range list {
		if o.tick(slot/slots, now) {
			kept = append(kept, o)
		}
	}
	clear(list[len(kept):])
	p.mu.Lock()
	p.slots[i] = append(kept, p.slots[i]...) // what was added meanwhile
	p.mu.Unlock()
}
