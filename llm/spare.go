package llm

import (
	"context"
	"errors"
	"time"
)

// Spare work, drafts for agents, is done by a model only while no customer needs it: it takes no place, and the first turn
// that comes cuts it off.

// spare is such work under way.
type spare struct{ cancel context.CancelCauseFunc }

var errNeeded = errors.New("a customer needs the model")

// stop cuts it off. Under the gate's lock.
func (s *spare) stop() {
	if s != nil {
		s.cancel(errNeeded)
	}
}

// lend gives a host that serves nobody now; nil: there is none. The context ends with errNeeded as soon as a turn comes. back
// must be called.
func (g *gate) lend(ctx context.Context) (_ context.Context, h *host, back func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spare != nil || len(g.line) > 0 || g.calls > 0 {
		return ctx, nil, nil
	}
	for _, one := range g.hosts {
		if one.usable(nil) && len(one.visits) == 0 {
			h = one
			break
		}
	}
	if h == nil {
		return ctx, nil, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	g.spare = &spare{cancel}
	return ctx, h, func() {
		cancel(nil)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.spare = nil
		h.used = time.Now().Add(-time.Hour) // another prompt is in its cache now: it is warmed again
	}
}
