package voice

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
func (t *trunks) watch(ctx context.Context, x *trunk, s *server) {
	failures := 0
	for {
		err := t.look(ctx, x, s, x.OptionsSeconds > 0)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
		} else {
			failures = 0
		}
		t.store(x)
		pace := time.Duration(x.OptionsSeconds) * time.Second
		if pace == 0 {
			pace = t.times.Resolve
		}
		if failures > 0 {
			pace = min(pace, t.pause(failures))
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
func (t *trunks) pause(failures int) time.Duration {
	d := min(t.times.Retry<<min(failures-1, 16), t.times.Longest)
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// test asks every server of a trunk now, whatever its pace, and says how it does.
func (t *trunks) test(ctx context.Context, id int64) (*channels.TrunkState, error) {
	b := t.book.Load()
	i := slices.IndexFunc(b.trunks, func(x *trunk) bool { return x.ID == id && id != 0 })
	if i < 0 {
		return nil, channels.Fail(channels.NotFound, "This node does not know the trunk. If it is new, try again in a moment.")
	}
	x := b.trunks[i]
	var asked sync.WaitGroup
	for _, s := range x.servers {
		asked.Go(func() { _ = t.look(ctx, x, s, true) }) // what it found stands in the state
	}
	asked.Wait()
	t.store(x)
	s := x.state(t.cfg.NodeID)
	return &s, nil
}

// look resolves a server and asks it, if it is to be asked. One that answers anything but 408, 503 or
// another fault of its own lives: a carrier may refuse an OPTIONS of somebody it does not know.
func (t *trunks) look(ctx context.Context, x *trunk, s *server, ask bool) error {
	hops, err := t.cfg.Resolve(ctx, s.name, x.Transport)
	if err == nil && len(hops) == 0 {
		err = fmt.Errorf("%s has no address", s.name)
	}
	if err != nil {
		if ctx.Err() == nil {
			x.found(s, nil, 0, err)
		}
		return err
	}
	if x.meets(s, hops) {
		t.hear() // its answers must get through
	}
	if !ask {
		x.found(s, hops, 0, nil)
		return nil
	}
	for i, h := range hops {
		begun := time.Now()
		var res *sip.Response
		if res, err = t.ask(ctx, x.options(t.cfg.Here(h, x.SignalIP).String()), h); err == nil && res.StatusCode != 408 && res.StatusCode < 500 {
			x.found(s, slices.Concat([]edge.Hop{h}, hops[:i], hops[i+1:]), time.Since(begun), nil)
			return nil
		}
		if err == nil {
			err = answer{res.StatusCode, res.Reason}
		}
		if ctx.Err() != nil {
			return err
		}
	}
	x.found(s, hops, 0, err)
	return err
}

func (x *trunk) options(here string) *sip.Request {
	host, port := x.domain()
	return x.outside(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: host, Port: port}, here)
}

// meets notes where a server is; true: that is news.
func (x *trunk) meets(s *server, hops []edge.Hop) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, h := range hops {
		if !slices.Contains(s.hops, h) {
			s.hops = slices.Clone(hops)
			return true
		}
	}
	return false
}

// found notes how a server does. One without an address keeps the last that it had.
func (x *trunk) found(s *server, hops []edge.Hop, answer time.Duration, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s.down, s.why, s.answer = err != nil, "", answer
	if err != nil {
		s.why = err.Error()
	}
	if hops != nil {
		s.hops = hops
	}
}
