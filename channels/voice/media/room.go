package media

import (
	"math"
	"slices"
	"sync"
	"time"
)

// Room mixes the sound of several legs: each hears the sum of those it shall hear, never itself. A three-way call and
// a supervisor who listens, whispers or barges in are all the same room with another matrix, and no leg's SDP changes.
//
//	caller.Hears(agent)                supervisor.Hears(caller, agent)   agent.Hears(caller)               listen
//	caller.Hears(agent)                supervisor.Hears(caller, agent)   agent.Hears(caller, supervisor)   whisper
//	caller.Hears(agent, supervisor)    supervisor.Hears(caller, agent)   agent.Hears(caller, supervisor)   barge in
//
// The pacer drives it: each 20 ms every seat's jitter buffer gives a frame and every seat's leg is told its mix. It
// works at 16 kHz as soon as one leg has a codec that carries that, else at 8 kHz.
type Room struct {
	pacer *Pacer

	mu    sync.Mutex
	seats []*Seat
	rate  int
	paced bool
	total [frameMax]int32
	mix   [frameMax]int16
}

const frameMax = opusRate / framesPerSecond

// Seat is one leg's place in a room.
type Seat struct {
	room *Room
	leg  *Leg
	sink Sink // as put into the leg, to be known again

	// The room's lock guards these.
	left    bool
	all     bool // hears everybody
	hears   []*Seat
	frame   [frameMax]int16 // what the seat says
	limiter limiter

	mu     sync.Mutex // the leg's reader against the room
	jitter *jitter
}

// NewRoom makes an empty room; it costs nothing until somebody joins.
func NewRoom(p *Pacer) *Room { return &Room{pacer: p, rate: Rate} }

// Join seats a leg: what it hears goes to the room, what it says comes from the room, whatever was playing to it ends.
// It hears everybody, who joins later included, until Hears says otherwise. A prompt played to the leg goes before
// the mix, as it goes before another leg's packets.
func (r *Room) Join(l *Leg) *Seat {
	s := &Seat{room: r, leg: l, all: true, jitter: newJitter(Rate)}
	s.sink = seatSink{s}
	r.mu.Lock()
	r.seats = append(r.seats, s)
	start := !r.paced
	r.paced = true
	r.mu.Unlock()
	l.Swap(s.sink)
	l.Stop()
	if start {
		r.pacer.add(r)
	}
	return s
}

// Close empties the room.
func (r *Room) Close() {
	r.mu.Lock()
	seats := slices.Clone(r.seats)
	r.mu.Unlock()
	for _, s := range seats {
		s.Leave()
	}
}

// Hears says whom the seat hears from now on: these and nobody else. Seats of another room and itself do not count.
func (s *Seat) Hears(others ...*Seat) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.all = false
	s.hears = slices.DeleteFunc(slices.Clone(others), func(o *Seat) bool { return o == s || o.room != s.room })
}

// HearsAll undoes Hears.
func (s *Seat) HearsAll() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.all, s.hears = true, nil
}

// Leave takes the leg out of the room. It hears nobody and says nothing until its owner swaps it elsewhere; if that has
// been done already, it stays as it is. It may be called twice.
func (s *Seat) Leave() {
	r := s.room
	r.mu.Lock()
	s.left = true
	r.seats = slices.DeleteFunc(r.seats, func(o *Seat) bool { return o == s })
	r.mu.Unlock()
	s.leg.swapBack(s.sink)
}

// seatSink is what the leg's packets go to.
type seatSink struct{ *Seat }

func (s seatSink) Write(p *Packet) {
	s.mu.Lock()
	s.jitter.put(p)
	s.mu.Unlock()
}

// tick is one frame of the pacer.
func (r *Room) tick(frame int64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paced = len(r.seats) > 0
	r.rate = Rate
	for _, s := range r.seats {
		r.rate = max(r.rate, s.leg.out.pcmRate())
	}
	n := r.rate / framesPerSecond
	total := r.total[:n]
	clear(total)
	for _, s := range r.seats {
		s.mu.Lock()
		s.jitter.setRate(r.rate)
		s.jitter.pull(s.frame[:n], now)
		s.mu.Unlock()
		for i, v := range s.frame[:n] {
			total[i] += int32(v)
		}
	}
	var sum [frameMax]int32
	mix := r.mix[:n]
	for _, s := range r.seats {
		if s.all {
			for i, v := range s.frame[:n] {
				sum[i] = total[i] - int32(v)
			}
		} else {
			s.sumHeard(sum[:n])
		}
		s.limiter.run(mix, sum[:n])
		s.leg.out.mixed(s, mix, r.rate, frame, now)
	}
	return r.paced
}

// sumHeard adds up whom the seat hears. The room's lock is held.
func (s *Seat) sumHeard(sum []int32) {
	clear(sum)
	for _, o := range s.hears {
		if o.left {
			continue
		}
		for i, v := range o.frame[:len(sum)] {
			sum[i] += int32(v)
		}
	}
}

// limiter keeps a sum within 16 bits without the noise of clipping: it turns down within a frame and up again over a
// second.
type limiter struct{ down float32 } // how much is taken away: 0 = nothing, so that the zero value works

const (
	limit        = 30000
	limitRelease = 0.02
)

func (l *limiter) run(dst []int16, src []int32) {
	peak := int32(0)
	for _, v := range src {
		peak = max(peak, v, -v)
	}
	from, to := l.down, max(l.down-limitRelease, 0)
	if need := 1 - float32(limit)/float32(max(peak, limit)); need > to {
		to = need
	}
	l.down = to
	if from == 0 && to == 0 {
		for i, v := range src {
			dst[i] = int16(v)
		}
		return
	}
	step := (to - from) / float32(len(src))
	for i, v := range src {
		from += step
		dst[i] = int16(min(max(float32(v)*(1-from), math.MinInt16), math.MaxInt16))
	}
}
