package edge

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// pace is how often somebody may speak: messages a second, and how many at once after a silence.
type pace struct {
	each  time.Duration // one token
	burst time.Duration // the tokens that fit, as time
}

func perSecond(n, burst int) pace {
	each := time.Second / time.Duration(n)
	return pace{each: each, burst: each * time.Duration(burst)}
}

const (
	bucketSets = 4096 // times bucketWays: all the buckets there are, whatever comes
	bucketWays = 4
)

// buckets are token buckets in a table that never grows: 60,000 sources cost what one costs. A new key takes the place
// of the fullest of its set, which is the one that has been quiet for longest and would lose least.
//
// A bucket is the moment at which it will be full again (the generic cell rate algorithm): one word of state.
type buckets struct {
	seed  maphash.Seed
	cells [bucketSets][bucketWays]cell
}

type cell struct {
	key  uint64
	full int64 // nanoseconds
}

func newBuckets() *buckets { return &buckets{seed: maphash.MakeSeed()} }

// spend takes one token from the bucket of a network; false: it is empty.
func (b *buckets) spend(of netip.Prefix, r pace, now time.Time) bool {
	key := maphash.Comparable(b.seed, of) | 1 // 0 marks a free cell
	set := &b.cells[(key>>32)%bucketSets]
	at := now.UnixNano()
	c := &set[0]
	for i := range set {
		if set[i].key == key {
			c = &set[i]
			break
		}
		if set[i].full < c.full {
			c = &set[i]
		}
	}
	if c.key != key {
		c.key, c.full = key, 0
	}
	full := max(c.full, at) + int64(r.each)
	if full-at > int64(r.burst) {
		return false
	}
	c.full = full
	return true
}

// oneOf and nearOf are whom an address's messages are counted under: itself, and its neighbours together. An IPv6
// customer owns a /64, so there one address says nothing.
func oneOf(ip netip.Addr) netip.Prefix {
	if ip.Is4() {
		return netip.PrefixFrom(ip, 32)
	}
	p, _ := ip.Prefix(64)
	return p
}

func nearOf(ip netip.Addr) netip.Prefix {
	bits := 24
	if !ip.Is4() {
		bits = 48
	}
	p, _ := ip.Prefix(bits)
	return p
}
