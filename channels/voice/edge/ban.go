package edge

import (
	"log/slog"
	"net/netip"
	"time"
)

// Reason says why an address was banned.
type Reason string

// The reasons; metrics use them as labels.
const (
	Flood       Reason = "flood"   // far over its rate
	Scanner     Reason = "scanner" // a scanner's name, or many accounts asked for and none logged in to
	FailedLogin Reason = "failed login"
	Garbage     Reason = "garbage"
	ByHand      Reason = "by hand"
)

// banTerms: each ban of the same address is longer than the one before.
var banTerms = [...]time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}

const (
	maxBans      = 20_000           // addresses remembered; the ones that matter least go first
	banMemory    = 24 * time.Hour   // after a ban's end: until then the next one is longer
	pointsLimit  = 30               // points that bring a ban
	pointsMemory = 10 * time.Minute // of quiet that forgive all points
)

// points are what a misdeed counts.
var points = map[Reason]int{Flood: 1, Scanner: 1, FailedLogin: 3, Garbage: 3}

// record is what we hold against an address.
type record struct {
	points int
	last   time.Time // of the points
	until  time.Time // of the ban
	bans   int
}

func (r *record) stale(now time.Time) bool {
	return now.Sub(r.last) > pointsMemory && now.Sub(r.until) > banMemory
}

// bans remembers who misbehaved, in bounded memory. The gate's lock guards it.
type bans struct {
	log     *slog.Logger
	records map[netip.Prefix]*record
	now     map[Reason]int64 // bans so far
}

func newBans(log *slog.Logger) *bans {
	return &bans{log: log, records: make(map[netip.Prefix]*record), now: make(map[Reason]int64)}
}

func (b *bans) banned(ip netip.Addr, now time.Time) bool {
	r := b.records[oneOf(ip)]
	return r != nil && now.Before(r.until)
}

// blame counts a misdeed and bans when it was one too many.
func (b *bans) blame(ip netip.Addr, why Reason, now time.Time) {
	r := b.record(ip, now)
	if now.Sub(r.last) > pointsMemory {
		r.points = 0
	}
	r.points += points[why]
	r.last = now
	if r.points >= pointsLimit {
		b.ban(ip, why, now)
	}
}

// forgive takes back what was counted: the address has logged in.
func (b *bans) forgive(ip netip.Addr) {
	if r := b.records[oneOf(ip)]; r != nil {
		r.points = 0
	}
}

func (b *bans) ban(ip netip.Addr, why Reason, now time.Time) {
	r := b.record(ip, now)
	if now.Before(r.until) {
		return
	}
	term := banTerms[min(r.bans, len(banTerms)-1)]
	r.bans++
	r.points, r.until = 0, now.Add(term)
	b.now[why]++
	b.log.Warn("sip ban", "ip", ip, "why", string(why), "for", term)
}

func (b *bans) lift(ip netip.Addr) { delete(b.records, oneOf(ip)) }

// record finds or makes one. Where there is no room, of a few taken at random the one goes whose ban ends first: looking
// at all of them for each message would be the flood's second gift.
func (b *bans) record(ip netip.Addr, now time.Time) *record {
	key := oneOf(ip)
	if r := b.records[key]; r != nil {
		return r
	}
	if len(b.records) >= maxBans {
		var (
			least netip.Prefix
			seen  int
		)
		for k, r := range b.records { // Go begins at a random place
			if r.stale(now) {
				delete(b.records, k)
			} else if !least.IsValid() || r.until.Before(b.records[least].until) {
				least = k
			}
			if seen++; seen == 8 {
				break
			}
		}
		if len(b.records) >= maxBans {
			delete(b.records, least)
		}
	}
	r := &record{}
	b.records[key] = r
	return r
}

// count is how many addresses are banned now.
func (b *bans) count(now time.Time) (n int) {
	for _, r := range b.records {
		if now.Before(r.until) {
			n++
		}
	}
	return n
}
