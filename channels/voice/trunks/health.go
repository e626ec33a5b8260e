package trunks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"patchbay/channels"
	"patchbay/channels/voice/edge"
)

// watch asks a server of a trunk whether it lives, as often as the trunk says: at once when a call could not get
// through, and after a failure soon, then ever later up to the trunk's pace. It also keeps the server's addresses fresh.
func (sh *Shelf) watch(ctx context.Context, t *Trunk, s *server) {
	failures := 0
	for {
		err := sh.look(ctx, t, s, t.OptionsSeconds > 0)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
		} else {
			failures = 0
		}
		sh.store(t)
		pace := time.Duration(t.OptionsSeconds) * time.Second
		if pace == 0 {
			pace = sh.times.Resolve
		}
		if failures > 0 {
			pace = min(pace, sh.pause(failures))
		}
		timer := time.NewTimer(pace)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.suspect:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// pause is how long to wait after so many failures: doubling, and never quite the same, so that nodes and trunks that
// failed together do not come back together.
func (sh *Shelf) pause(failures int) time.Duration {
	d := min(sh.times.Retry<<min(failures-1, 16), sh.times.Longest)
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// test asks every server of a trunk now, whatever its pace, and says how it does.
func (sh *Shelf) Test(ctx context.Context, id int64) (*channels.TrunkState, error) {
	b := sh.book.Load()
	i := slices.IndexFunc(b.trunks, func(t *Trunk) bool { return t.ID == id && id != 0 })
	if i < 0 {
		return nil, channels.Fail(channels.NotFound, "This node does not know the trunk. If it is new, try again in a moment.")
	}
	t := b.trunks[i]
	var asked sync.WaitGroup
	for _, s := range t.servers {
		asked.Go(func() { _ = sh.look(ctx, t, s, true) }) // what it found stands in the state
	}
	asked.Wait()
	sh.store(t)
	s := t.state(sh.cfg.NodeID)
	return &s, nil
}

// look resolves a server and asks it, if it is to be asked. One that answers anything but 408, 503 or
// another fault of its own lives: a carrier may refuse an OPTIONS of somebody it does not know.
func (sh *Shelf) look(ctx context.Context, t *Trunk, s *server, ask bool) error {
	hops, err := sh.cfg.Resolve(ctx, s.name, t.Transport)
	if err == nil && len(hops) == 0 {
		err = fmt.Errorf("%s has no address", s.name)
	}
	if err != nil {
		if ctx.Err() == nil {
			t.found(s, nil, 0, err)
		}
		return err
	}
	if t.meets(s, hops) {
		sh.hear() // its answers must get through
	}
	if !ask {
		t.found(s, hops, 0, nil)
		return nil
	}
	for i, h := range hops {
		begun := time.Now()
		var res *sip.Response
		if res, err = sh.ask(ctx, t.options(sh.cfg.Here(h, t.SignalIP).String()), h); err == nil && res.StatusCode != 408 && res.StatusCode < 500 {
			t.found(s, slices.Concat([]edge.Hop{h}, hops[:i], hops[i+1:]), time.Since(begun), nil)
			return nil
		}
		if err == nil {
			err = answer{res.StatusCode, res.Reason}
		}
		if ctx.Err() != nil {
			return err
		}
	}
	t.found(s, hops, 0, err)
	return err
}

func (t *Trunk) options(here string) *sip.Request {
	host, port := t.domain()
	return t.outside(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: host, Port: port}, here)
}

// meets notes where a server is; true: that is news.
func (t *Trunk) meets(s *server, hops []edge.Hop) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range hops {
		if !slices.Contains(s.hops, h) {
			s.hops = slices.Clone(hops)
			return true
		}
	}
	return false
}

// found notes how a server does. One without an address keeps the last that it had.
func (t *Trunk) found(s *server, hops []edge.Hop, answer time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.down, s.why, s.answer = err != nil, "", answer
	if err != nil {
		s.why = err.Error()
	}
	if hops != nil {
		s.hops = hops
	}
}
