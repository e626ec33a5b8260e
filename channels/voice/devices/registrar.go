// Package devices knows the SIP telephones on the agents' tables: who they are, where they can be reached, and that
// they are still there.
//
//	REGISTER --> Authenticate (edge: digest, bans) --> Register: the rules of RFC 3261 section 10.3 --> rows
//	OPTIONS  <-- Run: each telephone that is registered here, which keeps the way through its NAT open
//	a call   --> Telephones: where an agent's telephones ring
//
// Accounts are in memory: the gate asks for them before anything else is known of a sender. Where a telephone is stands in
// the rows alone; a packet back goes to the address that it came from, whatever the telephone believes its own to be.
package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
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

// Config is what a registrar needs.
type Config struct {
	Pool   *pgxpool.Pool
	Bus    *bus.Bus
	NodeID string
	Log    *slog.Logger

	// Authenticate finds out whose request it is, or says with what to answer.
	Authenticate func(*sip.Request) (edge.Account, *edge.Refusal)
	// Welcome has the gate hear an address where one of our telephones is known to be.
	Welcome func(netip.Addr)
	// Request puts Via on a request outside any call, sends it to a hop and waits for its final answer.
	Request func(ctx context.Context, req *sip.Request, to edge.Hop) (*sip.Response, error)

	Times Times
}

// Times are the registrar's clocks; zero fields get the default.
type Times struct {
	Least   time.Duration // a shorter registration is refused (423): 60 s
	Most    time.Duration // a longer one is shortened: 1 h
	Usual   time.Duration // of a telephone that names none: 10 min
	Alive   time.Duration // between two OPTIONS: 25 s, as a NAT may forget after 30 s
	Answer  time.Duration // to one of them: 5 s
	Request time.Duration // limit for the database: 3 s
	Again   time.Duration // accounts that could not be read are read again: 2 s
}

func (t Times) withDefaults() Times {
	t.Least = cmp.Or(t.Least, time.Minute)
	t.Most = cmp.Or(t.Most, time.Hour)
	t.Usual = cmp.Or(t.Usual, 10*time.Minute)
	t.Alive = cmp.Or(t.Alive, 25*time.Second)
	t.Answer = cmp.Or(t.Answer, 5*time.Second)
	t.Request = cmp.Or(t.Request, 3*time.Second)
	t.Again = cmp.Or(t.Again, 2*time.Second)
	return t
}

const (
	maxContacts  = 10 // of one telephone
	maxSilences  = 3  // OPTIONS without an answer; then the telephone is gone
	asksAtOnce   = 16
	maxURI       = 512
	maxUserAgent = 200
)

// Registrar is the telephones of one node.
type Registrar struct {
	cfg     Config
	times   Times
	devices atomic.Pointer[map[string]channels.Device] // by user name
	known   chan struct{}                              // closed when the accounts have been read, or could not be

	silent map[key]int // of Run alone: OPTIONS without an answer in a row
}

type key struct {
	device   int64
	instance string
}

// New makes a registrar; Run reads the accounts.
func New(cfg Config) *Registrar {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Registrar{cfg: cfg, times: cfg.Times.withDefaults(), silent: make(map[key]int), known: make(chan struct{})}
	r.devices.Store(&map[string]channels.Device{})
	return r
}

// Known is closed when Run has read the accounts for the first time, or could not. Until then nobody may be heard: a
// telephone whose account is not known yet would be told that its password is wrong, and be banned for trying.
func (r *Registrar) Known() <-chan struct{} { return r.known }

// Account is what a telephone must prove.
func (r *Registrar) Account(user string) (edge.Account, bool) {
	d, ok := (*r.devices.Load())[user]
	if !ok {
		return edge.Account{}, false
	}
	return accountOf(d), true
}

func accountOf(d channels.Device) edge.Account {
	a := edge.Account{User: d.Username, Algorithm: edge.MD5, HA1: string(d.HA1)}
	if d.Digest == "sha256" {
		a.Algorithm = edge.SHA256
	}
	return a
}

// Device is the telephone whose password was proved; a trunk's login of the same name is none.
func (r *Registrar) Device(proved edge.Account) (channels.Device, bool) {
	d, ok := (*r.devices.Load())[proved.User]
	return d, ok && accountOf(d) == proved
}

// Named finds a telephone by its user name, for who dials it.
func (r *Registrar) Named(user string) (channels.Device, bool) {
	d, ok := (*r.devices.Load())[strings.ToLower(user)]
	return d, ok
}

// Run keeps the accounts as the rows are and asks the telephones whether they are there, until ctx ends.
func (r *Registrar) Run(ctx context.Context) error {
	read := sync.OnceFunc(func() { close(r.known) })
	defer read()
	changed := make(chan struct{}, 1)
	unbus, err := r.cfg.Bus.Subscribe(channels.TrunkSubject, func(string, []byte) {
		select {
		case changed <- struct{}{}:
		default: // it will be read anyway
		}
	})
	if err != nil {
		return fmt.Errorf("registrar: %w", err)
	}
	defer unbus()
	alive := time.NewTicker(r.times.Alive)
	defer alive.Stop()
	for first := true; ; {
		again := time.Hour
		if err := r.load(ctx, first); err == nil {
			first = false
		} else if ctx.Err() == nil {
			r.cfg.Log.Warn("telephones not read", "err", err)
			again = r.times.Again
		}
		read()
		timer := time.NewTimer(again)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-alive.C:
				r.look(ctx)
				continue
			case <-changed:
			case <-timer.C:
			}
			waiting = false
		}
		timer.Stop()
	}
}

// load reads the accounts; at the start the gate learns where the telephones were registered before.
func (r *Registrar) load(ctx context.Context, first bool) error {
	ctx, cancel := context.WithTimeout(ctx, r.times.Request)
	defer cancel()
	list, err := channels.Devices(ctx, r.cfg.Pool)
	if err != nil {
		return err
	}
	devices := make(map[string]channels.Device, len(list))
	for _, d := range list {
		if d.Enabled {
			devices[d.Username] = d
		}
	}
	r.devices.Store(&devices)
	if !first {
		return nil
	}
	rows, err := channels.Registrations(ctx, r.cfg.Pool, 0)
	for _, row := range rows {
		if at, err := netip.ParseAddrPort(row.Source); err == nil {
			r.cfg.Welcome(at.Addr())
		}
	}
	return err
}

// look asks every telephone that is registered here whether it is there. One that says nothing three times is gone.
func (r *Registrar) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.times.Request+2*r.times.Answer)
	defer cancel()
	if _, err := r.cfg.Pool.Exec(ctx, `delete from registrations where expires_at < clock_timestamp()`); err != nil {
		r.cfg.Log.Warn("registrations not looked at", "err", err)
		return
	}
	rows, err := channels.Registrations(ctx, r.cfg.Pool, 0)
	if err != nil {
		r.cfg.Log.Warn("registrations not read", "err", err)
		return
	}
	var asked sync.WaitGroup
	places := make(chan struct{}, asksAtOnce)
	answered := make([]bool, len(rows))
	for i, row := range rows {
		if row.NodeID != r.cfg.NodeID {
			continue // another node holds the way there
		}
		places <- struct{}{}
		asked.Go(func() {
			answered[i] = r.ask(ctx, row)
			<-places
		})
	}
	asked.Wait()
	if ctx.Err() != nil {
		return // nobody had the time to answer
	}
	silent := make(map[key]int)
	for i, row := range rows {
		k := key{row.DeviceID, row.Instance}
		if row.NodeID != r.cfg.NodeID || answered[i] {
			continue
		}
		if silent[k] = r.silent[k] + 1; silent[k] < maxSilences {
			continue
		}
		delete(silent, k)
		r.cfg.Log.Info("telephone gone", "device", row.DeviceID, "source", row.Source)
		if _, err := r.cfg.Pool.Exec(ctx, `delete from registrations where device_id = $1 and instance = $2 and call_id = $3 and cseq = $4`,
			row.DeviceID, row.Instance, row.CallID, row.CSeq); err != nil {
			r.cfg.Log.Warn("registration not removed", "err", err)
		}
	}
	r.silent = silent
}

// ask sends one OPTIONS; any answer counts.
func (r *Registrar) ask(ctx context.Context, row channels.Registration) bool {
	t, err := telephoneOf(row)
	if err != nil {
		return false
	}
	var uri, from sip.Uri
	if sip.ParseUri(t.URI, &uri) != nil || sip.ParseUri("sip:"+channels.Realm+"@"+uri.Host, &from) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, r.times.Answer)
	defer cancel()
	req := sip.NewRequest(sip.OPTIONS, uri)
	req.AppendHeader(&sip.FromHeader{Address: from})
	req.AppendHeader(&sip.ToHeader{Address: *uri.Clone()})
	_, err = r.cfg.Request(ctx, req, t.Hop)
	return err == nil
}

// Telephone is where a telephone rings.
type Telephone struct {
	Name string   // its label, else its user name
	URI  string   // as it named itself
	Hop  edge.Hop // where it was heard from
}

func telephoneOf(row channels.Registration) (Telephone, error) {
	at, err := netip.ParseAddrPort(row.Source)
	return Telephone{URI: row.Contact, Hop: edge.Hop{Transport: row.Transport, Addr: at}}, err
}

// Telephones are where an agent's calls ring. wanted: the agent has chosen so; then none means that no telephone of
// theirs is registered.
func (r *Registrar) Telephones(ctx context.Context, agentID int64) (list []Telephone, wanted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.times.Request)
	defer cancel()
	rows, err := r.cfg.Pool.Query(ctx, `select coalesce(nullif(d.label, ''), d.username, '') as name, coalesce(g.contact, ''), coalesce(g.source, ''), coalesce(g.transport, '')
		from agents a left join devices d on d.agent_id = a.id and d.enabled
			left join registrations g on g.device_id = d.id and g.expires_at > clock_timestamp()
		where a.id = $1 and a.phone = 'device' order by d.id, g.instance`, agentID)
	if err != nil {
		return nil, false, fmt.Errorf("telephones: %w", err)
	}
	var name string
	var row channels.Registration
	_, err = pgx.ForEachRow(rows, []any{&name, &row.Contact, &row.Source, &row.Transport}, func() error {
		wanted = true
		if t, err := telephoneOf(row); err == nil {
			t.Name = name
			r.cfg.Welcome(t.Hop.Addr.Addr()) // another node's, or of our life before
			list = append(list, t)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("telephones: %w", err)
	}
	return list, wanted, nil
}

var (
	errOrder = errors.New("CSeq not above the last one")
	errMany  = errors.New("too many contacts")
)
