package chat

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits say how much one visitor and one network address may ask of us. A whole school may sit behind one address.
type Limits struct {
	VisitorRate  float64 // messages a second that one visitor may keep up; default 2
	VisitorBurst int     // and at once; default 10
	AddressRate  float64 // the same for all visitors of one IP address; default 20
	AddressBurst int     // default 100
	Sockets      int     // open at once from one IP address; default 200
	AddressCalls int     // calls a minute from one IP address, as many at once; default 20
}

// One visitor's calls: some in a row, then one in ten seconds.
const (
	callRate  = 0.1
	callBurst = 5
)

// Frames that store nothing (typing, ping) are cheap, but not free.
const (
	frameRate  = 20
	frameBurst = 60
)

// limiter holds the buckets of visitors and addresses that were active lately. It is shared by all sockets of a node;
// on several nodes a visitor could have as much on each.
type limiter struct {
	Limits
	mu      sync.Mutex
	buckets map[string]*bucket
	sockets map[string]int
	swept   time.Time
}

type bucket struct {
	rate.Limiter
	used time.Time
}

const bucketLife = 10 * time.Minute // by then every bucket is full again

func newLimiter(l Limits) *limiter {
	if l.VisitorRate <= 0 {
		l.VisitorRate = 2
	}
	if l.VisitorBurst <= 0 {
		l.VisitorBurst = 10
	}
	if l.AddressRate <= 0 {
		l.AddressRate = 20
	}
	if l.AddressBurst <= 0 {
		l.AddressBurst = 100
	}
	if l.Sockets <= 0 {
		l.Sockets = 200
	}
	if l.AddressCalls <= 0 {
		l.AddressCalls = 20
	}
	return &limiter{Limits: l, buckets: map[string]*bucket{}, sockets: map[string]int{}, swept: time.Now()}
}

// maySay takes one message from the visitor's bucket and from the address's.
func (l *limiter) maySay(visitor, ip string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.sweep(now)
	// Both are asked: a visitor who is over the limit uses up the address's as well, or two tabs could take turns.
	own := l.bucket("v:"+visitor, l.VisitorRate, l.VisitorBurst, now).AllowN(now, 1)
	return own && l.bucket("ip:"+ip, l.AddressRate, l.AddressBurst, now).AllowN(now, 1)
}

// mayCall takes one call from the visitor's bucket and from the address's.
func (l *limiter) mayCall(visitor, ip string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.sweep(now)
	own := l.bucket("vc:"+visitor, callRate, callBurst, now).AllowN(now, 1)
	return own && l.bucket("ipc:"+ip, float64(l.AddressCalls)/60, l.AddressCalls, now).AllowN(now, 1)
}

// bucket needs the lock.
func (l *limiter) bucket(key string, perSecond float64, burst int, now time.Time) *bucket {
	b := l.buckets[key]
	if b == nil {
		b = &bucket{Limiter: *rate.NewLimiter(rate.Limit(perSecond), burst)}
		l.buckets[key] = b
	}
	b.used = now
	return b
}

// sweep needs the lock.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < bucketLife {
		return
	}
	l.swept = now
	for key, b := range l.buckets {
		if now.Sub(b.used) > bucketLife {
			delete(l.buckets, key)
		}
	}
}

func (l *limiter) mayOpen(ip string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sockets[ip] < l.Sockets
}

func (l *limiter) opened(ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sockets[ip]++
}

func (l *limiter) closed(ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sockets[ip]--; l.sockets[ip] <= 0 {
		delete(l.sockets, ip)
	}
}
