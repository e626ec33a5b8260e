package llm

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Host is one Ollama and the model that it serves. Hosts may have different models.
type Host struct {
	URL   string // base URL
	Model string
	Weak  bool // a model too small to be trusted: only sentences that stand in a passage pass, else the passage is quoted
}

// host is a Host with its connection, its breaker and what was measured of it.
type host struct {
	Host
	ollama  *ollama
	breaker breaker

	// of the gate, under its lock
	visits []*visit         // turns at it now
	limit  [classes]float64 // places, by whom they are for
	cutAt  [classes]time.Time
	token  guess         // from the place to the first token
	first  guess         // ... to the first sentence
	whole  guess         // how long a place is held
	full   busy          // the same when all places are taken
	alone  time.Duration // to the first sentence with nobody else there, as measured at the start
	used   time.Time     // last turn or warming
}

func newHost(h Host, threads, cores int) (*host, error) {
	if threads <= 0 && nearby(h.URL) { // its threads spin: two on one busy core took 650 ms to the first token, one 9 ms
		threads = max(1, cores-1)
	}
	o, err := newOllama(h.URL, h.Model, threads)
	if err != nil {
		return nil, err
	}
	return &host{Host: h, ollama: o, breaker: breaker{kick: make(chan struct{}, 1)}}, nil
}

// nearby: it runs on this machine, whose cores we know.
func nearby(address string) bool {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (h *host) String() string { return fmt.Sprintf("model %s at %s", h.Model, h.URL) }

// ready: Ollama answers and has the model.
func (h *host) ready(ctx context.Context) error {
	all, err := h.ollama.models(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(all, h.Model) || slices.Contains(all, h.Model+":latest") {
		return nil
	}
	return &Failure{Reason: "missing", Err: fmt.Errorf("%s is not there", h)}
}

// busy is how long things take when all places are taken, and how many those were.
type busy struct {
	first, whole guess
	places       int
}

// add notes a turn that took the last of so many places.
func (b *busy) add(places int, first, whole time.Duration) {
	if places != b.places {
		*b = busy{places: places}
	}
	b.whole.add(whole)
	if first > 0 {
		b.first.add(first)
	}
}

// at is what one must expect who waits for one of so many places; alone is the same with nobody else there. More places
// than were seen yet are taken to share one machine's speed.
func (b *busy) at(places int, aim, alone time.Duration) (first, whole time.Duration) {
	first, whole = b.first.safe(aim), b.whole.safe(alone*time.Duration(places))
	if b.places > 0 && b.places < places {
		first = min(aim, first*time.Duration(places)/time.Duration(b.places))
		whole = whole * time.Duration(places) / time.Duration(b.places)
	}
	return first, max(whole, time.Millisecond)
}

// guess is a running mean with its deviation, as TCP guesses its round trips (RFC 6298): safe is what is rarely passed.
type guess struct {
	mean, off time.Duration
	known     bool
}

func (g *guess) add(d time.Duration) {
	if !g.known {
		g.mean, g.off, g.known = d, d/4, true
		return
	}
	g.off += ((d - g.mean).Abs() - g.off) / 4
	g.mean += (d - g.mean) / 8
}

func (g *guess) safe(unknown time.Duration) time.Duration {
	if !g.known {
		return unknown
	}
	return g.mean + 2*g.off
}
