package trunks

import (
	"net/netip"
	"slices"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
)

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

// Arrive finds out over which trunk a call comes, for which number of ours, and who calls. One that replaces somebody in a
// call calls no number: it is addressed to our Contact there (RFC 3891).
func (sh *Shelf) Arrive(from netip.Addr, req *sip.Request, replaces bool) (Arrival, *edge.Refusal) {
	var best Arrival
	var first *Trunk
	for _, t := range sh.book.Load().trunks {
		if !t.hears(from) {
			continue
		}
		if first == nil {
			first = t
		}
		n, ok := sh.ours(t, t.called(req))
		if own := ok && n.TrunkID != nil; ok && (best.Trunk == nil || own && best.Number.TrunkID == nil) {
			best = Arrival{Trunk: t, Number: n}
		}
	}
	if best.Trunk == nil && replaces {
		best.Trunk = first
	}
	switch {
	case first == nil:
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
