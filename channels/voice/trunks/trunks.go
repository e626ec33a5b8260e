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
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/sipleg"
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
	Hear func(list, toSource []netip.Prefix)
	// Alarm is told when much of what is allowed has been used; may be nil.
	Alarm func(trunkID int64, words string)
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
	sh := &Shelf{cfg: cfg, times: cfg.Times.withDefaults(), log: cfg.Log}
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

// Arrival is what a trunk's INVITE means to us.
type Arrival struct {
	Trunk        *Trunk
	Login        bool // the trunk must prove who it is: its Username, by digest
	Number       channels.Number
	Caller, Name string
}

// QueueID is the queue of the number; 0: the house's.
func (a Arrival) QueueID() int64 {
	if a.Number.QueueID == nil {
		return 0
	}
	return *a.Number.QueueID
}

// Arrive finds out over which trunk a call comes, for which number of ours, and who calls.
func (sh *Shelf) Arrive(from netip.Addr, req *sip.Request) (Arrival, *edge.Refusal) {
	var best Arrival
	heard := false
	for _, t := range sh.book.Load().trunks {
		if !t.hears(from) {
			continue
		}
		heard = true
		n, ok := sh.ours(t, t.called(req))
		if own := ok && n.TrunkID != nil; ok && (best.Trunk == nil || own && best.Number.TrunkID == nil) {
			best = Arrival{Trunk: t, Number: n}
		}
	}
	switch {
	case !heard:
		return best, edge.Refuse(403, "Forbidden")
	case best.Trunk == nil:
		return best, edge.Refuse(404, "Not Found")
	case best.Trunk.MaxCalls > 0 && int(best.Trunk.calls.Load()) >= best.Trunk.MaxCalls:
		return best, busy()
	}
	best.Login = best.Trunk.Challenge
	best.Caller, best.Name = best.Trunk.caller(req)
	return best, nil
}

// Number is the number of ours that is written so; false: there is none.
func (sh *Shelf) Number(s string) (channels.Number, bool) {
	n, ok := sh.book.Load().numbers[bareNumber(s)]
	return n, ok
}

// ours finds the number of ours among what may have been called over a trunk.
func (sh *Shelf) ours(t *Trunk, called []string) (channels.Number, bool) {
	b := sh.book.Load()
	for _, c := range called {
		for _, key := range []string{bareNumber(t.E164(c)), bareNumber(c)} {
			if n, ok := b.numbers[key]; ok && (n.TrunkID == nil || *n.TrunkID == t.ID) {
				return n, true
			}
		}
	}
	// A carrier that calls an account by its name, whatever was dialled: the account's only number is meant.
	if t.Username == "" || !slices.Contains(called, t.Username) {
		return channels.Number{}, false
	}
	var only []channels.Number
	for _, n := range b.numbers {
		if n.TrunkID != nil && *n.TrunkID == t.ID {
			only = append(only, n)
		}
	}
	if len(only) == 1 {
		return only[0], true
	}
	return channels.Number{}, false
}

// Account is what a trunk that must log in proves.
func (sh *Shelf) Account(user string) (edge.Account, bool) {
	for _, t := range sh.book.Load().trunks {
		if !t.Enabled || !t.Challenge || user == "" || t.Login() != user {
			continue
		}
		a := edge.Account{User: user, Algorithm: edge.MD5}
		if t.Digest == "sha256" {
			a.Algorithm = edge.SHA256
		}
		a.HA1 = edge.HA1(a.Algorithm, user, channels.Realm, string(t.Password))
		return a, true
	}
	return edge.Account{}, false
}

func busy() *edge.Refusal {
	return edge.Refuse(503, "Service Unavailable", sip.NewHeader("Retry-After", "5"))
}

// Route is one way to make a call: a trunk, and what it wants to be told.
type Route struct {
	Trunk *Trunk
	Verdict
	typed string
	URI   string // who is called
	who
	hops           []edge.Hop
	user, password string
}

// hiddenNumber is what an agent chooses as From to stay unknown.
const hiddenNumber = "anonymous"

// Routes lists the ways to call a number, the best first: trunks that the dial policy lets through, healthy ones first,
// then by their order. from is the number of ours to show, "" the trunk's own. The error has words for the agent.
func (sh *Shelf) Routes(number, from, name string) ([]Route, error) {
	b := sh.book.Load()
	var shown *channels.Number
	if from != "" && from != hiddenNumber {
		n, ok := b.numbers[bareNumber(from)]
		if !ok || !n.CallerID {
			return nil, channels.FailField(channels.Invalid, "from", from+" is not a number that may be shown.")
		}
		shown = &n
	}
	var healthy, sick []Route
	var refused *channels.Error
	for _, t := range b.trunks {
		if shown != nil && shown.TrunkID != nil && *shown.TrunkID != t.ID && len(t.servers) > 0 {
			continue
		}
		v := judgeNumber(&t.Trunk, number)
		if v.Refused != nil {
			if len(t.servers) > 0 && refused == nil {
				refused = v.Refused
			}
			continue
		}
		r := t.route(v, number, shown, from == hiddenNumber && !v.Emergency, name)
		hops, well := t.hops()
		if r.hops = hops; len(hops) == 0 {
			continue
		}
		if well {
			healthy = append(healthy, r)
		} else {
			sick = append(sick, r)
		}
	}
	switch list := append(healthy, sick...); {
	case len(list) > 0:
		return list, nil
	case refused != nil:
		return nil, refused
	case len(b.trunks) > 1:
		return nil, channels.Fail(channels.Unavailable, "No way to the telephone network can be reached at the moment.")
	}
	return nil, channels.FailField(channels.Forbidden, "number", "No trunk is set up for calls out.")
}

func (t *Trunk) route(v Verdict, typed string, shown *channels.Number, hidden bool, name string) Route {
	number := t.E164(t.CallerNumber)
	if shown != nil {
		number = t.E164(shown.Number)
	}
	return Route{Trunk: t, Verdict: v, typed: typed, URI: t.at(t.spell(v.Number, typed, t.NumberFormat)), who: t.shows(number, name, hidden),
		user: t.Login(), password: string(t.Password)}
}

// Dial is how a call goes out over the trunk.
func (r *Route) Dial(tell func(sipleg.Event), external netip.Addr, noAnswer time.Duration) sipleg.Dial {
	d := sipleg.Dial{Tell: tell, Hops: r.hops, URI: r.URI, From: r.From, Name: r.Name, Headers: r.Headers, User: r.user, Password: r.password,
		Prefs: r.Trunk.prefs(), Latch: latches[r.Trunk.Latch], LargeByTCP: true, NoAnswer: noAnswer}
	d.External, d.ExternalMedia = r.Trunk.announced(external)
	return d
}

// Failed notes that a call got no answer by this way, or none that helps.
func (r *Route) Failed() {
	for _, h := range r.hops {
		r.Trunk.failed(h.Addr)
	}
}

const (
	usedRunning = `select count(*), count(*) filter (where dialled_by is not null) from calls where trunk_id = $1 and state <> 'ended' and id <> $2`
	// While a call runs its money is the price of a minute; at its end it is what it has cost (Settle).
	usedDay = `select count(*), count(*) filter (where dialled_by = $3 and started_at > clock_timestamp() - interval '1 hour'),
			coalesce(sum(case when state = 'ended' then money
				else money * greatest(1, ceil(extract(epoch from clock_timestamp() - coalesce(answered_at, bridged_at)) / 60)) end), 0)::float8
		from calls where trunk_id = $1 and id <> $2 and dialled_by is not null and started_at > clock_timestamp() - interval '24 hours'`
	reserveCall = `update calls set trunk_id = $2, dialled_by = coalesce(nullif($3::bigint, 0), dialled_by), money = $4
		where id = $1 and state <> 'ended'`
)

// Reserve asks the dial policy with what all nodes have dialled, under the trunk's lock, and notes the call as the
// trunk's: of two that want the last line only one gets it. The verdict replaces the route's. The error has words for the
// agent. An emergency call is not kept from going out by a database that is away.
func (sh *Shelf) Reserve(ctx context.Context, r *Route, callID, agentID int64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var used usage
	err := pgx.BeginFunc(ctx, sh.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select from trunks where id = $1 for update`, r.Trunk.ID); err != nil {
			return fmt.Errorf("lock trunk: %w", err)
		}
		row, err := channels.GetTrunk(ctx, tx, r.Trunk.ID) // as it is now, not as we have read it once
		if err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, usedRunning, row.ID, callID).Scan(&used.Calls, &used.Out); err != nil {
			return fmt.Errorf("count calls: %w", err)
		}
		if err := tx.QueryRow(ctx, usedDay, row.ID, callID, agentID).Scan(&used.Day, &used.Hour, &used.Money); err != nil {
			return fmt.Errorf("count calls: %w", err)
		}
		v := judge(row, r.typed, used)
		if v.Refused != nil {
			return v.Refused
		}
		r.Verdict = v
		_, err = tx.Exec(ctx, reserveCall, callID, row.ID, agentID, v.PerMinute)
		if err != nil {
			return fmt.Errorf("reserve call: %w", err)
		}
		return nil
	})
	switch {
	case err == nil:
		used.Day, used.Money = used.Day+1, used.Money+r.PerMinute
		sh.alarm(r.Trunk, used)
		return nil
	case channels.CodeOf(err) != "":
		return err
	case r.Emergency:
		sh.log.Error("emergency call not counted", "trunk", r.Trunk.Name, "err", err)
		return nil
	}
	sh.log.Warn("dial policy not asked", "trunk", r.Trunk.Name, "err", err)
	return channels.Fail(channels.Unavailable, "Whether this call is allowed cannot be looked up at the moment. Try again soon.")
}

// alarm tells once of each step that a trunk's use climbs.
func (sh *Shelf) alarm(t *Trunk, used usage) {
	step, words := alarmOf(&t.Trunk, used)
	t.mu.Lock()
	told := t.alarmed
	t.alarmed = step
	t.mu.Unlock()
	if step <= told {
		return
	}
	sh.log.Warn("trunk alarm", "trunk", t.Name, "words", words)
	if sh.cfg.Alarm != nil {
		sh.cfg.Alarm(t.ID, words)
	}
}

// Settle stores what a call out has cost: minutes that have begun since it was answered.
func (sh *Shelf) Settle(ctx context.Context, callID int64, perMinute float64, talked time.Duration) error {
	_, err := sh.cfg.Pool.Exec(ctx, `update calls set money = $2 where id = $1`, callID, costOf(perMinute, talked))
	if err != nil {
		return fmt.Errorf("cost of call: %w", err)
	}
	return nil
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
