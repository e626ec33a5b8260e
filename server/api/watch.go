package api

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/report"
)

// watch follows one conversation for one tab: every message once and in order, whatever the bus loses or doubles. It
// listens first and reads then, so that nothing falls between; what it cannot place by its number it reads again.
type watch struct {
	t      *tab
	id     int64
	seq    atomic.Int64 // the last message that was sent
	events chan channels.Event
	again  chan struct{} // read rows after seq
	cancel context.CancelFunc
	ended  chan struct{}
}

const eventsAhead = 64

// watch replaces what the tab watches. The messages it lacks are queued before the answer.
func (t *tab) watch(in LiveIn) error {
	id, err := need("conversation_id", in.ConversationID)
	if err != nil {
		return err
	}
	t.stopWatch()
	w := &watch{t: t, id: id, events: make(chan channels.Event, eventsAhead), again: make(chan struct{}, 1), ended: make(chan struct{})}
	if in.After != nil {
		w.seq.Store(max(0, *in.After))
	}
	unsubscribe, err := t.hub.s.cfg.Bus.Subscribe(channels.ConversationSubject(id), w.heard)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.ctx)
	w.cancel = cancel
	if err := w.catchUp(ctx); err != nil {
		cancel()
		unsubscribe()
		return err
	}
	t.watching.Store(w)
	go func() {
		defer close(w.ended)
		defer unsubscribe()
		w.run(ctx)
	}()
	t.done(in)
	return nil
}

func (t *tab) stopWatch() {
	if w := t.watching.Swap(nil); w != nil {
		w.cancel()
		<-w.ended
	}
}

// heard runs on the bus's goroutine: it never waits.
func (w *watch) heard(_ string, data []byte) {
	var e channels.Event
	if json.Unmarshal(data, &e) != nil {
		return
	}
	select {
	case w.events <- e:
	default:
		w.poke()
	}
}

// poke makes the watch read again.
func (w *watch) poke() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

const retryWatch = time.Second

func (w *watch) run(ctx context.Context) {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		read := false
		select {
		case <-ctx.Done():
			return
		case e := <-w.events:
			read = w.take(ctx, e)
		case <-w.again:
			read = true
		case <-retry.C:
			read = true
		}
		if !read {
			continue
		}
		if err := w.catchUp(ctx); err != nil && ctx.Err() == nil {
			w.t.log.Warn("watched messages not read", "conversation", w.id, "err", err)
			retry.Reset(retryWatch)
		}
	}
}

// take sends an event on, or says that rows are to be read first.
func (w *watch) take(ctx context.Context, e channels.Event) (read bool) {
	switch e.Type {
	case channels.EventMessage:
		if e.Message == nil || e.Message.Seq != w.seq.Load()+1 {
			return e.Seq > w.seq.Load()
		}
		w.message(ctx, e.Message)
	case channels.EventState:
		w.t.send(encode(LiveOut{Type: LiveOutTypeState, ConversationID: &w.id, Seq: &e.Seq, State: &e.State}))
		return e.Seq > w.seq.Load()
	case channels.EventDraft:
		if e.Draft != nil {
			w.t.send(encode(LiveOut{Type: LiveOutTypeDraft, ConversationID: &w.id, Draft: e.Draft}))
		}
	case channels.EventCard:
		w.t.send(encode(LiveOut{Type: LiveOutTypeCard, ConversationID: &w.id}))
	case channels.EventTranscript:
		if e.Message != nil {
			w.t.send(encode(LiveOut{Type: LiveOutTypeTranscript, ConversationID: &w.id, Message: e.Message}))
		}
	case channels.EventTyping:
		if e.Message != nil && e.Message.Author == channels.ByContact {
			w.t.send(encode(LiveOut{Type: LiveOutTypeTyping, ConversationID: &w.id}))
		}
	}
	return false
}

func (w *watch) message(ctx context.Context, m *channels.Message) bool {
	if !w.t.sendAll(ctx, encode(LiveOut{Type: LiveOutTypeMessage, ConversationID: &w.id, Message: m})) {
		return false
	}
	w.seq.Store(m.Seq)
	return true
}

// catchUp sends all messages after the last one that was sent.
func (w *watch) catchUp(ctx context.Context) error {
	for {
		after := w.seq.Load()
		query, cancel := context.WithTimeout(ctx, queryLimit)
		list, err := report.Messages(query, w.t.hub.s.cfg.Pool, w.id, &after, nil, report.MessagesLimit)
		cancel()
		if err != nil {
			return err
		}
		for i := range list {
			if !w.message(ctx, &list[i]) {
				return nil
			}
		}
		if len(list) < report.MessagesLimit {
			return nil
		}
	}
}

// typing tells the customer that the agent who has the conversation writes. At most once a second; nothing is stored.
func (t *tab) typing(in LiveIn) error {
	id, err := need("conversation_id", in.ConversationID)
	if err != nil || time.Since(t.typed) < typingEvery {
		return err
	}
	ctx, cancel := context.WithTimeout(t.ctx, queryLimit)
	defer cancel()
	c, err := channels.Get(ctx, t.hub.s.cfg.Pool, id)
	if err != nil {
		return err
	}
	if c == nil || c.State != channels.Agent || c.AgentID == nil || *c.AgentID != t.session.AgentID {
		return channels.Fail(channels.NotFound, "You do not have such a conversation.")
	}
	t.typed = time.Now()
	return t.hub.s.cfg.Bus.Publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventTyping, ConversationID: id,
		Message: &channels.Message{ConversationID: id, Author: channels.ByAgent, AgentID: &t.session.AgentID}})
}

// cardRead notes that the agent has the hand-over card before them.
func (t *tab) cardRead(in LiveIn) error {
	id, err := need("conversation_id", in.ConversationID)
	if err != nil {
		return err
	}
	seq, err := need("after", in.After)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.ctx, queryLimit)
	defer cancel()
	return agents.CardRead(ctx, t.hub.s.cfg.Pool, t.session.AgentID, id, seq)
}
