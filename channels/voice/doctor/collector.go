package doctor

import (
	"sync"
	"time"
)

// Collector keeps the SIP messages of running calls in memory. It is on the wire's way: Add costs a lock, a look-up and
// an append. What nobody claims is dropped after a while: keep-alives, registrations, callers that were refused.
type Collector struct {
	cfg CollectorConfig

	mu      sync.Mutex
	bytes   int
	talks   map[string]*talk
	ageing  []*talk // unclaimed, the oldest first; may hold some that were claimed or dropped since
	dropped uint64
}

// CollectorConfig says how much is kept; zero fields get the default.
type CollectorConfig struct {
	Bytes     int           // in all: 64 MB
	Unclaimed time.Duration // what no call has claimed is kept: 40 s, longer than a transaction
	Messages  int           // of one Call-ID: 250, the first ones and the last
}

// talk is all messages with one Call-ID.
type talk struct {
	id      string
	born    time.Time
	claimed bool
	gone    bool
	head    []Message
	tail    []Message // a ring, once there is no more room
	next    int
	lost    int
	bytes   int
}

// headShare of the messages kept are the first ones: how a call was set up explains more than its tenth refresh.
const headShare = 3

// NewCollector makes one.
func NewCollector(cfg CollectorConfig) *Collector {
	if cfg.Bytes == 0 {
		cfg.Bytes = 64 << 20
	}
	if cfg.Unclaimed == 0 {
		cfg.Unclaimed = 40 * time.Second
	}
	if cfg.Messages == 0 {
		cfg.Messages = 250
	}
	return &Collector{cfg: cfg, talks: make(map[string]*talk)}
}

// overhead of a message beside its text.
const overhead = 160

// Add keeps a message. Any goroutine may call it; it never waits for anything but other Adds.
func (c *Collector) Add(m Message) {
	if m.CallID == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age(m.At)
	t := c.talks[m.CallID]
	if t == nil {
		t = c.open(m.CallID, m.At)
	}
	size := len(m.Raw) + overhead
	if c.bytes+size > c.cfg.Bytes && !c.yield(size, t) {
		t.lost++
		c.dropped++
		return
	}
	c.bytes += size
	t.bytes += size
	first := c.cfg.Messages / headShare
	switch {
	case len(t.head) < first:
		t.head = append(t.head, m)
	case len(t.tail) < c.cfg.Messages-first:
		t.tail = append(t.tail, m)
	default:
		old := len(t.tail[t.next].Raw) + overhead
		c.bytes -= old
		t.bytes -= old
		t.tail[t.next] = m
		t.next = (t.next + 1) % len(t.tail)
		t.lost++
	}
}

func (c *Collector) open(id string, now time.Time) *talk {
	t := &talk{id: id, born: now}
	c.talks[id] = t
	c.ageing = append(c.ageing, t)
	return t
}

// age drops what is too old, a few at a time: nobody waits for a sweep.
func (c *Collector) age(now time.Time) {
	for range 4 {
		if len(c.ageing) == 0 || !c.ageing[0].claimed && !c.ageing[0].gone && now.Sub(c.ageing[0].born) < c.cfg.Unclaimed {
			return
		}
		c.dropOldest()
	}
}

// dropOldest takes the first of the ageing away, unless a call has claimed it meanwhile.
func (c *Collector) dropOldest() {
	t := c.ageing[0]
	c.ageing[0] = nil
	c.ageing = c.ageing[1:]
	if !t.claimed && !t.gone {
		c.forget(t)
	}
}

func (c *Collector) forget(t *talk) {
	t.gone = true
	c.bytes -= t.bytes
	delete(c.talks, t.id)
}

// yield makes room at the cost of those whom no call has claimed; never of the one that needs it.
func (c *Collector) yield(size int, but *talk) bool {
	for c.bytes+size > c.cfg.Bytes && len(c.ageing) > 0 && c.ageing[0] != but {
		c.dropOldest()
	}
	return c.bytes+size <= c.cfg.Bytes
}

// Claim keeps the messages of a Call-ID until they are taken.
func (c *Collector) Claim(callID string, now time.Time) {
	if callID == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.talks[callID]
	if t == nil {
		t = c.open(callID, now)
	}
	t.claimed = true
}

// Messages are those of some Call-IDs, in order of time, and how many of them were dropped.
func (c *Collector) Messages(callIDs ...string) (all []Message, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range callIDs {
		if t := c.talks[id]; t != nil {
			all = append(all, t.head...)
			all = append(all, t.tail[t.next:]...)
			all = append(all, t.tail[:t.next]...)
			dropped += t.lost
		}
	}
	inOrder(all)
	return all, dropped
}

// Drop forgets Call-IDs.
func (c *Collector) Drop(callIDs ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range callIDs {
		if t := c.talks[id]; t != nil {
			c.forget(t)
		}
	}
}

// Size is how much is kept, and how many messages found no room.
func (c *Collector) Size() (callIDs, bytes int, dropped uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.talks), c.bytes, c.dropped
}
