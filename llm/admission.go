package llm

import (
	"slices"
	"sync"
	"time"

	"patchbay/channels"
)

// Admission: as many turns at once as the hosts serve within the customers' patience, and not one more. Two questions are
// answered here, both at once and by arithmetic:
//
//	Admit  a caller is about to be greeted: is there a place for one more conversation on the phone?
//	enter  a turn has come: which host takes it, or when will one be free? Too late -> a person, now
//
// How many turns a host serves at once is measured at the start (measure.go) and corrected by each turn, as TCP corrects
// its window: while the first sentence comes in time and the places are all used, one more is tried; when it comes late
// the number falls to seven tenths. Calls and writing have limits of their own, because a caller waits 1.5 s in silence
// and a writer 4 s; while calls are admitted the stricter one holds for both.
//
// Callers go before writers in the line. The mutex guards figures only; nothing is waited for under it.

// class is by whom a turn is waited for.
type class int

const (
	calling class = iota
	writing
	classes
)

func classOf(k channels.Kind) class {
	if k == channels.Voice {
		return calling
	}
	return writing
}

func (c class) String() string { return [...]string{"voice", "text"}[c] }

const (
	lessen     = 0.7  // of the places, after a late sentence
	callsStart = 2.0  // conversations on the phone for each place: people think and talk more than they wait
	callsMost  = 8.0  // ... at most
	callsMore  = 0.05 // ... more, after each turn in time
	placesMost = 64   // for each host
)

type gate struct {
	aim      [classes]time.Duration // by then the first sentence
	patience [classes]time.Duration // who would wait longer for it goes to people at once
	fixed    bool                   // the number of places is the operator's
	told     func(*gate)            // after each change, under the lock; may be nil

	mu       sync.Mutex
	hosts    []*host
	line     []*waiter
	calls    int
	perPlace float64
	spare    *spare // work that no customer waits for
	refused  [classes]int64
}

// waiter is a turn in the line.
type waiter struct {
	class class
	tried []*host
	got   chan *visit // one visit, or nil: no host is left
	until time.Time   // a place later than this is of no use
}

// visit is a turn at its host.
type visit struct {
	h      *host
	class  class
	began  time.Time
	places int  // taken when it came, its own with them
	full   bool // it took the last one: its time tells whether there may be one more
}

// limitOf is the number of turns at once that h may serve when one of class c comes.
func (g *gate) limitOf(h *host, c class) int {
	limit := h.limit[c]
	if c == writing && g.calls > 0 {
		limit = min(limit, h.limit[calling])
	}
	return max(1, int(limit))
}

// aimAt is the time that h is held to. A host that alone is slower than the customers would like is held to what it can.
func (g *gate) aimAt(h *host, c class) time.Duration { return max(g.aim[c], h.alone*5/4) }

func (h *host) end(v *visit) {
	h.visits = slices.DeleteFunc(h.visits, func(o *visit) bool { return o == v })
}

func (h *host) usable(tried []*host) bool {
	open, _ := h.breaker.state()
	return !open && !slices.Contains(tried, h)
}

// free is the least loaded host with a place; of two the faster one.
func (g *gate) free(c class, tried []*host) *host {
	var best *host
	less := func(a, b *host) bool {
		x, y := len(a.visits)*g.limitOf(b, c), len(b.visits)*g.limitOf(a, c)
		return x < y || x == y && a.first.safe(g.aim[c]) < b.first.safe(g.aim[c])
	}
	for _, h := range g.hosts {
		if h.usable(tried) && len(h.visits) < g.limitOf(h, c) && (best == nil || less(h, best)) {
			best = h
		}
	}
	return best
}

// expect is how long a turn that comes now would wait for a place with ahead others before it, and then for its first
// sentence: the line is played through with what turns usually take. ok is false when no host is left.
func (g *gate) expect(c class, tried []*host, ahead int) (wait, first time.Duration, ok bool) {
	type place struct{ free, whole time.Duration }
	var places []place
	for _, h := range g.hosts {
		if !h.usable(tried) {
			continue
		}
		n := g.limitOf(h, c)
		f, whole := h.full.at(n, g.aimAt(h, c), h.whole.safe(g.aimAt(h, c)))
		if !ok || f < first {
			first = f
		}
		ok = true
		for _, v := range h.visits {
			places = append(places, place{max(0, whole-time.Since(v.began)), whole})
		}
		for range n - len(h.visits) {
			places = append(places, place{0, whole})
		}
	}
	for range ahead + 1 {
		next := 0
		for i, p := range places {
			if p.free < places[next].free {
				next = i
			}
		}
		if ok {
			wait = places[next].free
			places[next].free += places[next].whole
		}
	}
	return wait, first, ok
}

// enter asks for a place. A waiter's got holds the visit already when there is a free one. busy: the wait would be too
// long. A nil waiter without busy: no host is left.
func (g *gate) enter(c class, tried []*host) (w *waiter, busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.tell()
	g.spare.stop()
	w = &waiter{class: c, tried: tried, got: make(chan *visit, 1)}
	at := g.behind(c)
	if h := g.free(c, tried); h != nil && at == 0 {
		w.got <- g.visit(h, c)
		return w, false
	}
	wait, first, ok := g.expect(c, tried, at)
	switch {
	case !ok:
		return nil, false
	case wait+first > g.patience[c]:
		g.late(c)
		g.refused[c]++
		return nil, true
	}
	w.until = time.Now().Add(g.patience[c] - first)
	g.line = slices.Insert(g.line, at, w)
	g.serve() // a host that only this turn may use can be free
	return w, false
}

// behind is the place in the line of one who comes now.
func (g *gate) behind(c class) int {
	if c != calling {
		return len(g.line)
	}
	for i, w := range g.line {
		if w.class != calling {
			return i
		}
	}
	return len(g.line)
}

func (g *gate) visit(h *host, c class) *visit {
	h.used = time.Now()
	v := &visit{h: h, class: c, began: h.used, places: len(h.visits) + 1, full: len(h.visits)+1 >= g.limitOf(h, c)}
	h.visits = append(h.visits, v)
	return v
}

// leave takes a turn out of the line that waits no longer; what it got meanwhile goes on to the next.
func (g *gate) leave(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.tell()
	if i := slices.Index(g.line, w); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		g.late(w.class)
		return
	}
	select {
	case v := <-w.got:
		if v != nil {
			v.h.end(v)
			g.serve()
		}
	default:
	}
}

// done gives the place back. first is from the place to the first sentence, 0 when none came; late: the model was too
// slow for it.
func (g *gate) done(v *visit, first time.Duration, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.tell()
	v.h.end(v)
	v.h.used = time.Now()
	v.h.whole.add(time.Since(v.began))
	if first > 0 {
		v.h.first.add(first)
	}
	if v.full {
		v.h.full.add(v.places, first, time.Since(v.began))
	}
	switch {
	case late, first > g.aimAt(v.h, v.class):
		g.less(v)
	case first > 0:
		g.more(v)
	}
	g.serve()
}

// heard notes when the first token came.
func (g *gate) heard(v *visit, after time.Duration) {
	g.mu.Lock()
	v.h.token.add(after)
	g.mu.Unlock()
}

func (g *gate) more(v *visit) {
	if v.class == calling && float64(g.calls) >= 0.9*g.callPlaces() {
		g.perPlace = min(callsMost, g.perPlace+callsMore)
	}
	if v.full && !g.fixed {
		v.h.limit[v.class] = min(placesMost, v.h.limit[v.class]+1/v.h.limit[v.class])
	}
}

// less takes places away, once for each burst of late turns: those that had begun before do not count again.
func (g *gate) less(v *visit) {
	g.late(v.class)
	if !g.fixed && v.began.After(v.h.cutAt[v.class]) {
		v.h.limit[v.class] = max(1, v.h.limit[v.class]*lessen)
		v.h.cutAt[v.class] = time.Now()
	}
}

// late: a caller's turn did not come in time, so there were too many of them.
func (g *gate) late(c class) {
	if c == calling {
		g.perPlace = max(1, g.perPlace*lessen)
	}
}

// serve gives free places to the line, in its order.
func (g *gate) serve() {
	g.line = slices.DeleteFunc(g.line, func(w *waiter) bool {
		if h := g.free(w.class, w.tried); h != nil {
			w.got <- g.visit(h, w.class)
			return true
		}
		if !slices.ContainsFunc(g.hosts, func(h *host) bool { return h.usable(w.tried) }) {
			w.got <- nil
			return true
		}
		return false
	})
}

// changed: a breaker has opened or closed.
func (g *gate) changed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.tell()
	g.serve()
}

func (g *gate) tell() {
	if g.told != nil {
		g.told(g)
	}
}

// other says whether another host could take over a turn that has tried these.
func (g *gate) other(c class, tried []*host) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.free(c, tried) != nil
}

// usable says whether any host is up.
func (g *gate) usable() bool {
	return slices.ContainsFunc(g.hosts, func(h *host) bool { return h.usable(nil) })
}

// callPlaces is how many conversations on the phone may go on at once.
func (g *gate) callPlaces() float64 {
	all := 0
	for _, h := range g.hosts {
		if h.usable(nil) {
			all += g.limitOf(h, calling)
		}
	}
	return max(1, float64(all)*g.perPlace)
}

// Place is a conversation's place at the responder, from before its greeting until a person has it or it ends.
type Place struct {
	gate *gate
	once sync.Once
}

// Release gives the place back. It may be called more than once, and on nil.
func (p *Place) Release() {
	if p == nil || p.gate == nil {
		return
	}
	p.once.Do(func() {
		p.gate.mu.Lock()
		p.gate.calls--
		p.gate.serve()
		p.gate.tell()
		p.gate.mu.Unlock()
	})
}

// Admit asks for a place for a conversation that is about to be greeted by the responder; false: say so and get a person
// (promise source "busy"). A caller keeps the Place for the whole call and must Release it; a writer's is free of charge,
// because a chat is silent most of its time: each of its turns is asked for again in Answer. Without a model, or with all
// of them down, everybody is admitted: passages are quoted at no cost.
func (r *Responder) Admit(channel channels.Kind) (*Place, bool) {
	g, c := &r.gate, classOf(channel)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.usable() {
		return &Place{}, true
	}
	wait, first, _ := g.expect(c, nil, g.behind(c))
	crowded := g.free(c, nil) == nil && wait+first > g.patience[c]
	if crowded && c == writing || c == calling && (float64(g.calls+1) > g.callPlaces() || crowded && g.calls > 0) {
		g.refused[c]++
		g.tell()
		return nil, false
	}
	if c == writing {
		return &Place{}, true
	}
	g.calls++
	g.tell()
	return &Place{gate: g}, true
}

// State tells what goes on.
func (r *Responder) State() channels.ModelState {
	g := &r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state()
}

func (g *gate) state() channels.ModelState {
	s := channels.ModelState{Hosts: []channels.ModelHost{}, Waiting: len(g.line), Calls: g.calls, Refused: g.refused[calling] + g.refused[writing]}
	if len(g.hosts) > 0 {
		s.CallPlaces = int(g.callPlaces())
	}
	for _, h := range g.hosts {
		hs := channels.ModelHost{URL: h.URL, Model: h.Model, Running: len(h.visits), FirstMS: h.first.mean.Milliseconds(),
			VoicePlaces: max(1, int(h.limit[calling])), TextPlaces: max(1, int(h.limit[writing]))}
		if open, why := h.breaker.state(); open {
			hs.Down = why.Reason
		}
		s.Hosts = append(s.Hosts, hs)
	}
	return s
}
