package switchboard

import (
	"context"
	"sync"

	"patchbay/channels"
	"patchbay/llm"
)

// places are those at the responder that calls of this node hold: from before the greeting until a person has the call or
// it ends. They are memory only, as the calls are.
type places struct {
	mu sync.Mutex // guards the register only
	of map[int64]held
}

type held struct {
	conversation int64
	place        *llm.Place
}

func (p *places) hold(call, conversation int64, place *llm.Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[int64]held{}
	}
	p.of[call].place.Release()
	p.of[call] = held{conversation, place}
}

// release gives back the places of a call (0: none), and of a conversation (0: none).
func (p *places) release(call, conversation int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, h := range p.of {
		if id == call || h.conversation == conversation {
			h.place.Release()
			delete(p.of, id)
		}
	}
}

// admit asks the responder for a place before it greets a caller. Without one the caller is told so and gets a person.
func (s *Switchboard) admit(ctx context.Context, ch *change, call int64) (ok bool, err error) {
	place, ok := s.Responder().Admit(channels.Voice)
	if !ok {
		s.Log.Info("the responder is busy: the caller gets a person", "call", call, "conversation", ch.c.ID)
		return false, s.toPeople(ctx, ch, sourceBusy, channels.CodeWaiting, wordsBusy)
	}
	ch.undo = append(ch.undo, place.Release)
	id := ch.c.ID
	ch.after(func() { s.places.hold(call, id, place) })
	return true, nil
}
