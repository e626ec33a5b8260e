package llm

import (
	"errors"
	"sync"
)

// breaker stops customers from waiting for a model that has failed three times in a row, or that cannot be loaded at all.
// While it is open Run probes the model without customers.
type breaker struct {
	mu     sync.Mutex
	failed int
	open   bool
	why    *Failure      // that has opened it
	kick   chan struct{} // wakes the host's tending; buffered
}

const failuresToOpen = 3

// note counts the end of a turn: nil or a failure that is the model's fault.
func (b *breaker) note(err error) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var f *Failure
	if !errors.As(err, &f) {
		b.failed = 0
		return false
	}
	if !f.fault() {
		return false
	}
	b.failed++
	if b.open || b.failed < failuresToOpen && f.Reason != broken {
		return false
	}
	b.open, b.why = true, f
	select {
	case b.kick <- struct{}{}:
	default:
	}
	return true
}

func (b *breaker) state() (open bool, why *Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.why
}

func (b *breaker) close() {
	b.mu.Lock()
	b.open, b.failed, b.why = false, 0, nil
	b.mu.Unlock()
}
