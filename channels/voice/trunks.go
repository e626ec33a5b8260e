package voice

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
	"patchbay/server/bus"
)

// trunksConfig is what the trunks of a node need.
type trunksConfig struct {
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
	Times trunkTimes
}

// trunkTimes are the trunks' clocks; zero fields get the default.
type trunkTimes struct {
	T1      time.Duration // RFC 3261: 500 ms; an OPTIONS or REGISTER is given up after 16*T1
	Retry   time.Duration // first pause after a failure, doubling: 2 s
	Longest time.Duration // up to this: 5 min; a refused registration waits so long at once
	Resolve time.Duration // names of servers that are not asked otherwise are looked up again: 5 min
	Grace   time.Duration // to unregister at the end: 2 s
}

func (t trunkTimes) withDefaults() trunkTimes {
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

// trunks are the ways to the telephone network, as rows say and as this node finds them.
type trunks struct {
	cfg   trunksConfig
	times trunkTimes
	log   *slog.Logger
	book  atomic.Pointer[book]

	keepers sync.WaitGroup
}

// book is one reading of the rows. Calls look into it and never wait.
type book struct {
	trunks  []*trunk // in the order in which they are dialled; the settings' is the last
	numbers map[string]channels.Number
}

func newTrunks(cfg trunksConfig) *trunks {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &trunks{cfg: cfg, times: cfg.Times.withDefaults(), log: cfg.Log}
	b := &book{}
	t.builtIn(b, nil)
	t.book.Store(b)
	t.hear()
	return t
}

// builtIn adds what the settings say, where no row says otherwise.
func (t *trunks) builtIn(b *book, old *book) {
	if b.numbers == nil {
		b.numbers = make(map[string]channels.Number)
	}
	for _, n := range t.cfg.Numbers {
		key := bareNumber(n)
		if _, known := b.numbers[key]; !known {
			b.numbers[key] = channels.Number{Number: normalNumber(n), Kind: channels.QueueNumber}
		}
	}
	if old != nil {
		b.trunks = append(b.trunks, old.trunks[len(old.trunks)-1])
		return
	}
	b.trunks = append(b.trunks, newTrunk(t.cfg.BuiltIn))
}

// run reads the rows, at the start and whenever somebody has changed them, and keeps the trunks registered and looked
// after. It returns when ctx has ended and every carrier has been told.
func (t *trunks) run(ctx context.Context) error {
	if t.cfg.Pool == nil {
		<-ctx.Done()
		return nil
	}
	changed := make(chan struct{}, 1)
	unbus, err := t.cfg.Bus.Subscribe(channels.TrunkSubject, func(string, []byte) {
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
		for _, x := range t.book.Load().trunks {
			x.end()
		}
		t.keepers.Wait()
	}()
	pause := t.times.Retry
	for {
		again := time.Hour
		if err := t.load(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn("trunks not read", "err", err, "again_in", pause)
			again, pause = pause, min(2*pause, t.times.Longest)
		} else {
			pause = t.times.Retry
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
func (t *trunks) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rows, err := channels.Trunks(ctx, t.cfg.Pool)
	if err != nil {
		return err
	}
	numbers, err := channels.Numbers(ctx, t.cfg.Pool)
	if err != nil {
		return err
	}
	old, b := t.book.Load(), &book{numbers: make(map[string]channels.Number)}
	for _, n := range numbers {
		b.numbers[bareNumber(n.Number)] = n
	}
	for _, row := range rows {
		i := slices.IndexFunc(old.trunks, func(o *trunk) bool { return o.ID == row.ID && reflect.DeepEqual(o.Trunk, row) })
		if i >= 0 {
			b.trunks = append(b.trunks, old.trunks[i])
			continue
		}
		fresh := newTrunk(row)
		if j := slices.IndexFunc(old.trunks, func(o *trunk) bool { return o.ID == row.ID }); j >= 0 {
			fresh.follow(old.trunks[j])
		}
		b.trunks = append(b.trunks, fresh)
	}
	t.builtIn(b, old)
	t.book.Store(b)
	t.hear()
	for _, o := range old.trunks {
		if !slices.Contains(b.trunks, o) {
			o.end()
		}
	}
	for _, n := range b.trunks {
		t.keep(n)
	}
	t.log.Info("trunks read", "trunks", len(rows), "numbers", len(numbers))
	return nil
}

// hear tells the wire whom to hear.
func (t *trunks) hear() {
	var list, toSource []netip.Prefix
	for _, x := range t.book.Load().trunks {
		if !x.Enabled {
			continue
		}
		list = append(list, x.sources...)
		if x.ForceRport {
			toSource = append(toSource, x.sources...)
		}
		for _, a := range x.addresses() { // they answer what we ask
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	t.cfg.Hear(list, toSource)
}

// keep starts the keepers of a trunk that has servers, once.
func (t *trunks) keep(x *trunk) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stop != nil || !x.Enabled || len(x.servers) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.stop = cancel
	t.keepers.Go(func() {
		defer close(x.ended)
		if x.before != nil {
			<-x.before
		}
		var done sync.WaitGroup
		for _, s := range x.servers {
			done.Go(func() { t.watch(ctx, x, s) })
		}
		if x.Register {
			done.Go(func() { t.register(ctx, x) })
		}
		done.Wait()
		x.mu.Lock()
		x.registered, x.registrar, x.refused = false, "", "not in use on this node"
		for _, s := range x.servers {
			s.down = true
		}
		x.mu.Unlock()
		if !t.followed(x) {
			t.store(x)
		}
	})
}

// followed tells whether a later reading of the trunk's row is kept: then that one says how the trunk does.
func (t *trunks) followed(x *trunk) bool {
	return slices.ContainsFunc(t.book.Load().trunks, func(n *trunk) bool {
		return n != x && n.ID == x.ID && n.before == x.ended && n.Enabled && len(n.servers) > 0
	})
}

// end stops a trunk's keepers; they unregister and go.
func (x *trunk) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stop != nil {
		x.stop()
	}
}

// store writes what this node knows of a trunk. A row that cannot be written now is written after the next look.
func (t *trunks) store(x *trunk) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	x.storing.Lock()
	defer x.storing.Unlock()
	s := x.state(t.cfg.NodeID)
	changed, err := channels.SetTrunkState(ctx, t.cfg.Pool, s)
	switch {
	case err != nil:
		t.log.Warn("trunk state not stored", "trunk", x.Name, "err", err)
	case changed:
		if err := t.cfg.Bus.Publish(channels.TrunkStateSubject, nil); err != nil {
			t.log.Warn("trunk news", "err", err)
		}
		t.log.Info("trunk", "trunk", x.Name, "registered", s.Registered, "healthy", s.Healthy, "server", s.Server, "error", s.Error)
	}
}

// arrival is what a trunk's INVITE means to us.
type arrival struct {
	trunk        *trunk
	login        bool // the trunk must prove who it is: its Username, by digest
	number       channels.Number
	caller, name string
}

// queueID is the queue of the number; 0: the house's.
func (a arrival) queueID() int64 {
	if a.number.QueueID == nil {
		return 0
	}
	return *a.number.QueueID
}

// arrive finds out over which trunk a call comes, for which number of ours, and who calls.
func (t *trunks) arrive(from netip.Addr, req *sip.Request) (arrival, *edge.Refusal) {
	var best arrival
	heard := false
	for _, x := range t.book.Load().trunks {
		if !x.hears(from) {
			continue
		}
		heard = true
		n, ok := t.ours(x, x.called(req))
		if own := ok && n.TrunkID != nil; ok && (best.trunk == nil || own && best.number.TrunkID == nil) {
			best = arrival{trunk: x, number: n}
		}
	}
	switch {
	case !heard:
		return best, edge.Refuse(403, "Forbidden")
	case best.trunk == nil:
		return best, edge.Refuse(404, "Not Found")
	case best.trunk.MaxCalls > 0 && int(best.trunk.calls.Load()) >= best.trunk.MaxCalls:
		return best, busy()
	}
	best.login = best.trunk.Challenge
	best.caller, best.name = best.trunk.caller(req)
	return best, nil
}

// ours finds the number of ours among what may have been called over a trunk.
func (t *trunks) ours(x *trunk, called []string) (channels.Number, bool) {
	b := t.book.Load()
	for _, c := range called {
		for _, key := range []string{bareNumber(x.e164(c)), bareNumber(c)} {
			if n, ok := b.numbers[key]; ok && (n.TrunkID == nil || *n.TrunkID == x.ID) {
				return n, true
			}
		}
	}
	// A carrier that calls an account by its name, whatever was dialled: the account's only number is meant.
	if x.Username == "" || !slices.Contains(called, x.Username) {
		return channels.Number{}, false
	}
	var only []channels.Number
	for _, n := range b.numbers {
		if n.TrunkID != nil && *n.TrunkID == x.ID {
			only = append(only, n)
		}
	}
	if len(only) == 1 {
		return only[0], true
	}
	return channels.Number{}, false
}

// account is what a trunk that must log in proves.
func (t *trunks) account(user string) (edge.Account, bool) {
	for _, x := range t.book.Load().trunks {
		if !x.Enabled || !x.Challenge || user == "" || x.login() != user {
			continue
		}
		a := edge.Account{User: user, Algorithm: edge.MD5}
		if x.Digest == "sha256" {
			a.Algorithm = edge.SHA256
		}
		a.HA1 = edge.HA1(a.Algorithm, user, realm, string(x.Password))
		return a, true
	}
	return edge.Account{}, false
}

// begin counts a call on this node until end is called.
func (x *trunk) begin() (end func()) {
	x.calls.Add(1)
	return func() { x.calls.Add(-1) }
}

// route is one way to make a call: a trunk, and what it wants to be told.
type route struct {
	trunk *trunk
	verdict
	typed string
	URI   string // who is called
	who
	Hops           []edge.Hop
	User, Password string
}

// hiddenNumber is what an agent chooses as From to stay unknown.
const hiddenNumber = "anonymous"

// routes lists the ways to call a number, the best first: trunks that the dial policy lets through, healthy ones first,
// then by their order. from is the number of ours to show, "" the trunk's own. The error has words for the agent.
func (t *trunks) routes(number, from, name string) ([]route, error) {
	b := t.book.Load()
	var shown *channels.Number
	if from != "" && from != hiddenNumber {
		n, ok := b.numbers[bareNumber(from)]
		if !ok || !n.CallerID {
			return nil, channels.FailField(channels.Invalid, "from", from+" is not a number that may be shown.")
		}
		shown = &n
	}
	var healthy, sick []route
	var refused *channels.Error
	for _, x := range b.trunks {
		if shown != nil && shown.TrunkID != nil && *shown.TrunkID != x.ID && len(x.servers) > 0 {
			continue
		}
		v := judgeNumber(&x.Trunk, number)
		if v.Refused != nil {
			if len(x.servers) > 0 && refused == nil {
				refused = v.Refused
			}
			continue
		}
		r := x.route(v, number, shown, from == hiddenNumber && !v.Emergency, name)
		hops, well := x.hops()
		if r.Hops = hops; len(hops) == 0 {
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

func (x *trunk) route(v verdict, typed string, shown *channels.Number, hidden bool, name string) route {
	number := x.e164(x.CallerNumber)
	if shown != nil {
		number = x.e164(shown.Number)
	}
	return route{trunk: x, verdict: v, typed: typed, URI: x.at(x.spell(v.Number, typed, x.NumberFormat)), who: x.shows(number, name, hidden),
		User: x.login(), Password: string(x.Password)}
}

const (
	usedRunning = `select count(*), count(*) filter (where dialled_by is not null) from calls where trunk_id = $1 and state <> 'ended' and id <> $2`
	// While a call runs its money is the price of a minute; at its end it is what it has cost (settle).
	usedDay = `select count(*), count(*) filter (where dialled_by = $3 and started_at > clock_timestamp() - interval '1 hour'),
			coalesce(sum(case when state = 'ended' then money
				else money * greatest(1, ceil(extract(epoch from clock_timestamp() - coalesce(answered_at, bridged_at)) / 60)) end), 0)::float8
		from calls where trunk_id = $1 and id <> $2 and dialled_by is not null and started_at > clock_timestamp() - interval '24 hours'`
	reserveCall = `update calls set trunk_id = $2, dialled_by = coalesce(nullif($3::bigint, 0), dialled_by), money = $4
		where id = $1 and state <> 'ended'`
)

// reserve asks the dial policy with what all nodes have dialled, under the trunk's lock, and notes the call as the
// trunk's: of two that want the last line only one gets it. The verdict replaces the route's. The error has words for the
// agent. An emergency call is not kept from going out by a database that is away.
func (t *trunks) reserve(ctx context.Context, r *route, callID, agentID int64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var used usage
	err := pgx.BeginFunc(ctx, t.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select from trunks where id = $1 for update`, r.trunk.ID); err != nil {
			return fmt.Errorf("lock trunk: %w", err)
		}
		row, err := channels.GetTrunk(ctx, tx, r.trunk.ID) // as it is now, not as we have read it once
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
		r.verdict = v
		_, err = tx.Exec(ctx, reserveCall, callID, row.ID, agentID, v.PerMinute)
		if err != nil {
			return fmt.Errorf("reserve call: %w", err)
		}
		return nil
	})
	switch {
	case err == nil:
		used.Day, used.Money = used.Day+1, used.Money+r.PerMinute
		t.alarm(r.trunk, used)
		return nil
	case channels.CodeOf(err) != "":
		return err
	case r.Emergency:
		t.log.Error("emergency call not counted", "trunk", r.trunk.Name, "err", err)
		return nil
	}
	t.log.Warn("dial policy not asked", "trunk", r.trunk.Name, "err", err)
	return channels.Fail(channels.Unavailable, "Whether this call is allowed cannot be looked up at the moment. Try again soon.")
}

// alarm tells once of each step that a trunk's use climbs.
func (t *trunks) alarm(x *trunk, used usage) {
	step, words := alarmOf(&x.Trunk, used)
	x.mu.Lock()
	told := x.alarmed
	x.alarmed = step
	x.mu.Unlock()
	if step <= told {
		return
	}
	t.log.Warn("trunk alarm", "trunk", x.Name, "words", words)
	if t.cfg.Alarm != nil {
		t.cfg.Alarm(x.ID, words)
	}
}

// settle stores what a call out has cost: minutes that have begun since it was answered.
func (t *trunks) settle(ctx context.Context, callID int64, perMinute float64, talked time.Duration) error {
	_, err := t.cfg.Pool.Exec(ctx, `update calls set money = $2 where id = $1`, callID, costOf(perMinute, talked))
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
func (t *trunks) ask(ctx context.Context, req *sip.Request, h edge.Hop) (*sip.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 16*t.times.T1)
	defer cancel()
	res, err := t.cfg.Request(ctx, req, h)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sip.ErrTransactionTimeout) {
		return nil, errors.New("no answer")
	}
	return res, err
}
