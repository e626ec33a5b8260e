package trunks

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
	"patchbay/channels/voice/media"
	"patchbay/channels/voice/sipleg"
	"patchbay/server/bus"
	"patchbay/server/db/dbtest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// TestMain demands that every goroutine of every test has ended.
func TestMain(m *testing.M) { dbtest.Main(m) }

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func waitChan[T any](t testing.TB, ctx context.Context, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-ctx.Done():
		t.Fatalf("%s: %v", what, ctx.Err())
	}
	return v
}

// region is a shelf with a database and one trunk in it, on a real wire.
type region struct {
	ctx   context.Context
	trunk channels.Trunk
	pool  *pgxpool.Pool
	bus   *bus.Bus
	edge  *edge.Edge
	shelf *Shelf
	stop  func() // the carriers are told, the wire stays
}

func newRegion(t *testing.T, change func(*channels.Trunk)) *region {
	t.Helper()
	r := &region{ctx: testCtx(t), pool: dbtest.Pool(t)}
	if _, err := r.pool.Exec(r.ctx, `insert into nodes (id, name, seen_at) values ('test', 'test', now() + interval '1 hour')`); err != nil {
		t.Fatal(err)
	}
	r.trunk = *carrier(func(x *channels.Trunk) {
		x.ID, x.Transport, x.Digest, x.RegisterSeconds, x.Codecs = 0, "udp", "md5", 600, []string{"PCMU"}
		x.SRTP, x.SRTPKeys, x.Latch, x.NumberFormat, x.CallerHeader, x.CalledHeader = "off", "sdes", "auto", "e164", "pai", "ruri"
		change(x)
	})
	r.save(t, &r.trunk, nil)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	stack := r.wire(t, log)
	r.shelf = New(Config{Pool: r.pool, Bus: r.bus, NodeID: "test", BuiltIn: channels.Trunk{Name: "the settings"}, Log: log,
		Request: stack.Request, Resolve: new(edge.Resolver).Resolve,
		Here:  func(h edge.Hop, _ string) netip.AddrPort { return stack.Here(h, netip.Addr{}) },
		Hear:  func(list, toSource []netip.Prefix) { r.edge.SetPolicy(edge.Policy{Trusted: list, Source: toSource}) },
		Times: Times{T1: 100 * time.Millisecond, Retry: 50 * time.Millisecond}})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.shelf.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// wire opens bus and SIP; nobody may send anything yet.
func (r *region) wire(t *testing.T, log *slog.Logger) *sipleg.Stack {
	t.Helper()
	var err error
	if r.bus, err = bus.Open(context.Background(), "", log); err != nil {
		t.Fatal(err)
	}
	if r.edge, err = edge.Open(edge.Config{Listen: []edge.Listen{{Transport: "udp", Addr: "127.0.0.1:0"}}, Log: log}); err != nil {
		t.Fatal(err)
	}
	ports := media.NewPorts(loopback, 0, 0)
	stack, err := sipleg.Open(sipleg.Config{Edge: r.edge, Ports: ports, Pacer: media.NewPacer(), Log: log,
		OnInvite: func(l *sipleg.Leg) { l.Refuse(404, "") }, Times: sipleg.Times{T1: 100 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- stack.Run(context.Background()) }()
	t.Cleanup(func() {
		stack.Cut()
		r.edge.Deafen()
		<-time.After(20 * time.Millisecond) // sipgo's goroutines, which nobody can wait for
		for _, end := range []func() error{stack.Close, r.edge.Close, func() error { return <-served }, ports.Close, r.bus.Close} {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
	return stack
}

// save stores the trunk as an admin would, and tells the shelf.
func (r *region) save(t testing.TB, x *channels.Trunk, tell func() error) {
	t.Helper()
	if err := pgx.BeginFunc(r.ctx, r.pool, func(tx pgx.Tx) error { return channels.SaveTrunk(r.ctx, tx, x) }); err != nil {
		t.Fatal(err)
	}
	if tell != nil {
		if err := tell(); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *region) tell() error { return r.bus.Publish(channels.TrunkSubject, struct{}{}) }

// state waits until the trunk's row is as wanted.
func (r *region) state(t testing.TB, want string, ok func(channels.TrunkState) bool) channels.TrunkState {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last []channels.TrunkState
	for {
		var err error
		if last, err = channels.TrunkStates(r.ctx, r.pool); err != nil {
			t.Fatalf("waiting for %s: %v; %+v", want, err, last)
		}
		if len(last) == 1 && ok(last[0]) {
			return last[0]
		}
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			t.Fatalf("not %s: %+v", want, last)
		}
	}
}
