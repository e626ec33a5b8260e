package sipleg

import "sync"

// mailbox is what others want of a leg: closures that its goroutine runs in order. Putting never blocks, so that a leg
// and its owner may post to each other without ever waiting for each other. It stays short: a request of the peer's
// holds a goroutine until it is answered, and an owner asks for little.
type mailbox struct {
	mu     sync.Mutex
	queue  []func()
	closed bool
	bell   chan struct{}
}

func newMailbox() *mailbox { return &mailbox{bell: make(chan struct{}, 1)} }

// put leaves a closure; false: nobody will ever run it.
func (m *mailbox) put(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.queue = append(m.queue, f)
	select {
	case m.bell <- struct{}{}:
	default:
	}
	return true
}

// take returns the next closure, nil when there is none.
func (m *mailbox) take() func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil
	}
	f := m.queue[0]
	m.queue[0] = nil
	m.queue = m.queue[1:]
	return f
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.queue = true, nil
}
