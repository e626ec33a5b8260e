// Package trunks is the way to the telephone network: what an admin has set up as rows, run as this node finds it.
//
//	rows of trunks and numbers --> Run: one reading, a book --> keepers: REGISTER (register.go), OPTIONS (health.go)
//	INVITE from outside        --> Arrive: by which trunk, for which number of ours, who calls
//	a number to be called      --> Routes: the trunks that the dial policy lets through, healthy ones first
//	                               --> Reserve: counted by all nodes, in the database --> Dial --> Settle: what it has cost
//
// A call looks into the book and never waits: a changed row makes a new Trunk, which takes over its lines and goes on
// where the old one's keepers end, and calls that run keep the one they came by. What carriers disagree about stays in
// here: how a number is written (numbering.go), where they say who calls and want to be told it (trunk.go), which numbers
// may be dialled at what price (dialplan.go).
//
// Truth about money and lines stands in the rows alone; this node's view of a carrier is written to its TrunkState.
package trunks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/server/bus"
)

// Config is what the trunks of a node need.
type Config struct {
	Pool    *pgxpool.Pool // nil: the settings' trunk alone
	Bus     *bus.Bus
	NodeID  string
	BuiltIn channels.Trunk // the settings' addresses, which only let calls in
	Numbers []string       // and numbers, on the first queue

	// Request puts Via on a request outside any call, sends it to a hop and waits for its final answer.
	Request func(ctx context.Context, req *sip.Request, to edge.Hop) (*sip.Response, error)
	// Resolve finds where a server is, in the order in which it wants to be tried.
	Resolve func(ctx context.Context, server, transport string) ([]edge.Hop, error)
	// Here is our address as a peer sees it.
	Here func(h edge.Hop, announce string) netip.AddrPort
	// Hear is told whom we must hear: sources, and the servers' addresses.
	// toSource are those whose answers go where they sent from, whatever their Via says.
	Hear  func(list, toSource []netip.Prefix)
	Log   *slog.Logger
	Times Times
}

// Times are the trunks' clocks; zero fields get the default.
type Times struct {
	T1      time.Duration // RFC 3261: 500 ms; an OPTIONS or REGISTER is given up after 16*T1
	Retry   time.Duration // first pause after a failure, doubling: 2 s
	Longest time.Duration // up to this: 5 min; a refused registration waits so long at once
	Resolve time.Duration // names of servers that are not asked otherwise are looked up again: 5 min
	Grace   time.Duration // to unregister at the end: 2 s
}

func (t Times) withDefaults() Times {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.T1, 500*time.Millisecond)
	def(&t.Retry, 2*time.Second)
	def(&t.Longest, 5*time.Minute)
	def(&t.Resolve, 5*time.Minute)
	def(&t.Grace, 2*time.Second)
	return t
}

// Shelf is what a node has of trunks: the ways to the telephone network, as rows say and as this node finds them. Any
// goroutine may ask it; nobody waits for a carrier but who calls Test.
type Shelf struct {
	cfg   Config
	times Times
	log   *slog.Logger
	now   func() time.Time // what is night
	book  atomic.Pointer[book]

	keepers sync.WaitGroup
}

// book is one reading of the rows. Calls look into it and never wait.
type book struct {
	trunks  []*Trunk // in the order in which they are dialled; the settings' is the last
	numbers map[string]channels.Number
}

// New makes the shelf with the settings' trunk on it; Run puts the rows' there.
func New(cfg Config) *Shelf {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	sh := &Shelf{cfg: cfg, times: cfg.Times.withDefaults(), log: cfg.Log, now: time.Now}
	b := &book{}
	sh.builtIn(b, nil)
	sh.book.Store(b)
	sh.hear()
	return sh
}

// builtIn adds what the settings say, where no row says otherwise.
func (sh *Shelf) builtIn(b *book, old *book) {
	if b.numbers == nil {
		b.numbers = make(map[string]channels.Number)
	}
	for _, n := range sh.cfg.Numbers {
		key := bareNumber(n)
		if _, known := b.numbers[key]; !known {
			b.numbers[key] = channels.Number{Number: normalNumber(n), Kind: channels.QueueNumber}
		}
	}
	if old != nil {
		b.trunks = append(b.trunks, old.trunks[len(old.trunks)-1])
		return
	}
	b.trunks = append(b.trunks, newTrunk(sh.cfg.BuiltIn))
}

// Run reads the rows, at the start and whenever somebody has changed them, and keeps the trunks registered and looked
// after. It returns when ctx has ended and every carrier has been told.
func (sh *Shelf) Run(ctx context.Context) error {
	if sh.cfg.Pool == nil {
		<-ctx.Done()
		return nil
	}
	changed := make(chan struct{}, 1)
	unbus, err := sh.cfg.Bus.Subscribe(channels.TrunkSubject, func(string, []byte) {
		select {
		case changed <- struct{}{}:
		default: // it will be read anyway
		}
	})
	if err != nil {
		return fmt.Errorf("trunks: %w", err)
	}
	defer unbus()
	defer func() {
		for _, t := range sh.book.Load().trunks {
			t.end()
		}
		sh.keepers.Wait()
	}()
	pause := sh.times.Retry
	for {
		again := time.Hour
		if err := sh.load(ctx); err != nil && ctx.Err() == nil {
			sh.log.Warn("trunks not read", "err", err, "again_in", pause)
			again, pause = pause, min(2*pause, sh.times.Longest)
		} else {
			pause = sh.times.Retry
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// load reads trunks and numbers. Trunks that have not changed go on as they are.
func (sh *Shelf) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rows, err := channels.Trunks(ctx, sh.cfg.Pool)
	if err != nil {
		return err
	}
	numbers, err := channels.Numbers(ctx, sh.cfg.Pool)
	if err != nil {
		return err
	}
	old, b := sh.book.Load(), &book{numbers: make(map[string]channels.Number)}
	for _, n := range numbers {
		b.numbers[bareNumber(n.Number)] = n
	}
	for _, row := range rows {
		i := slices.IndexFunc(old.trunks, func(o *Trunk) bool { return o.ID == row.ID && reflect.DeepEqual(o.Trunk, row) })
		if i >= 0 {
			b.trunks = append(b.trunks, old.trunks[i])
			continue
		}
		fresh := newTrunk(row)
		if j := slices.IndexFunc(old.trunks, func(o *Trunk) bool { return o.ID == row.ID }); j >= 0 {
			fresh.follow(old.trunks[j])
		}
		b.trunks = append(b.trunks, fresh)
	}
	sh.builtIn(b, old)
	sh.book.Store(b)
	sh.hear()
	for _, o := range old.trunks {
		if !slices.Contains(b.trunks, o) {
			o.end()
		}
	}
	for _, n := range b.trunks {
		sh.keep(n)
	}
	sh.log.Info("trunks read", "trunks", len(rows), "numbers", len(numbers))
	return nil
}

// hear tells the wire whom to hear.
func (sh *Shelf) hear() {
	var list, toSource []netip.Prefix
	for _, t := range sh.book.Load().trunks {
		if !t.Enabled {
			continue
		}
		list = append(list, t.sources...)
		if t.ForceRport {
			toSource = append(toSource, t.sources...)
		}
		for _, a := range t.addresses() { // they answer what we ask
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	sh.cfg.Hear(list, toSource)
}

// keep starts the keepers of a trunk that has servers, once.
func (sh *Shelf) keep(t *Trunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil || !t.Enabled || len(t.servers) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.stop = cancel
	sh.keepers.Go(func() {
		defer close(t.ended)
		if t.before != nil {
			<-t.before
		}
		var done sync.WaitGroup
		for _, s := range t.servers {
			done.Go(func() { sh.watch(ctx, t, s) })
		}
		if t.Register {
			done.Go(func() { sh.register(ctx, t) })
		}
		done.Wait()
		t.mu.Lock()
		t.registered, t.registrar, t.refused = false, "", "not in use on this node"
		for _, s := range t.servers {
			s.down = true
		}
		t.mu.Unlock()
		if !sh.followed(t) {
			sh.store(t)
		}
	})
}

// followed tells whether a later reading of the trunk's row is kept: then that one says how the trunk does.
func (sh *Shelf) followed(t *Trunk) bool {
	return slices.ContainsFunc(sh.book.Load().trunks, func(n *Trunk) bool {
		return n != t && n.ID == t.ID && n.before == t.ended && n.Enabled && len(n.servers) > 0
	})
}

// end stops a trunk's keepers; they unregister and go.
func (t *Trunk) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil {
		t.stop()
	}
}

// store writes what this node knows of a trunk. A row that cannot be written now is written after the next look.
func (sh *Shelf) store(t *Trunk) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	t.storing.Lock()
	defer t.storing.Unlock()
	s := t.state(sh.cfg.NodeID)
	changed, err := channels.SetTrunkState(ctx, sh.cfg.Pool, s)
	switch {
	case err != nil:
		sh.log.Warn("trunk state not stored", "trunk", t.Name, "err", err)
	case changed:
		if err := sh.cfg.Bus.Publish(channels.TrunkStateSubject, nil); err != nil {
			sh.log.Warn("trunk news", "err", err)
		}
		sh.log.Info("trunk", "trunk", t.Name, "registered", s.Registered, "healthy", s.Healthy, "server", s.Server, "error", s.Error)
	}
}

// answer is a refusal of a carrier's.
type answer struct {
	code   int
	reason string
}

func (a answer) Error() string { return fmt.Sprintf("%d %s", a.code, a.reason) }

// ask sends a request to a hop and waits for its final answer, not for ever.
func (sh *Shelf) ask(ctx context.Context, req *sip.Request, h edge.Hop) (*sip.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 16*sh.times.T1)
	defer cancel()
	res, err := sh.cfg.Request(ctx, req, h)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sip.ErrTransactionTimeout) {
		return nil, errors.New("no answer")
	}
	return res, err
}
