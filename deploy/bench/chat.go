package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// questions that the demonstration shop's pages answer.
var questions = []string{
	"How long can I send back a tent that I do not like?",
	"Do you repair boots?",
	"How can I pay?",
	"When is the shop open?",
}

// chat measures one thing at a time, on an otherwise idle server.
func (b *bench) chat(ctx context.Context) error {
	b.table.section("chat, one at a time")
	return errors.Join(b.answers(ctx), b.talk(ctx))
}

// answers: a visitor asks, the first words of the answer become visible. Our scripted model answers at once; a running
// server's own may be slow, or pass on to a person, and that is no fault.
func (b *bench) answers(ctx context.Context) error {
	var acked, first, next, stored times
	visitors := quickly(b, 60, 15)
	if b.server == "" {
		visitors = 3
	}
	for range visitors {
		v, err := b.visitor(ctx)
		if err != nil {
			return err
		}
		for i, q := range questions {
			visible := &next
			if i == 0 {
				visible = &first
			}
			err := b.ask(ctx, v, q, i, &acked, visible, &stored)
			if err != nil && b.server == "" {
				b.table.note("question %d: %v", i+1, err)
				break
			}
			if err != nil {
				v.leave()
				return fmt.Errorf("question %d: %w", i+1, err)
			}
		}
		v.leave()
	}
	b.table.row("a visitor's question -> acknowledged (stored)", "%s", &acked)
	b.table.row("first question -> first words of the answer visible", "%s", &first)
	b.table.row("further questions -> first words visible", "%s", &next)
	b.table.row("question -> whole answer stored and shown", "%s", &stored)
	return nil
}

func (b *bench) ask(ctx context.Context, v *visitor, words string, n int, acked, visible, stored *times) error {
	id := b.clientID(n)
	began := time.Now()
	if err := v.send(map[string]any{"type": "say", "client_id": id, "body": words}); err != nil {
		return err
	}
	shown := false
	var bad string
	_, err := v.await(ctx, "an answer", func(n *news) bool {
		switch {
		case n.Type == "ack":
			acked.add(n.at.Sub(began))
		case n.Type == "draft" && n.Text != "" && !shown:
			shown = true
			visible.add(n.at.Sub(began))
		case n.Type == "message":
			m := n.said()
			if m.Author == "ai" && !shown {
				visible.add(n.at.Sub(began)) // it came without a draft
			}
			if m.Author == "ai" {
				stored.add(n.at.Sub(began))
				if m.Mode != "model" && b.server != "" {
					bad = fmt.Sprintf("the answer came in mode %q: %s", m.Mode, m.Body)
				}
				return true
			}
			if m.Code == "waiting" || m.Code == "no_answer" || m.Code == "model_down" {
				bad = "passed on to a person: " + m.Body
				return true
			}
		case n.Type == "error":
			bad = n.Code + " " + string(n.Message)
			return true
		}
		return false
	})
	if err == nil && bad != "" {
		err = errors.New(bad)
	}
	return err
}

// talk: from the wish for a person to two people writing.
func (b *bench) talk(ctx context.Context) error {
	a, held := b.desk[0], 3
	if hired, err := b.agents(ctx, 1, 20); err == nil {
		a, held = hired[0], 20
	} else if !errors.Is(err, errSkipped) {
		return err
	}
	if err := a.work(ctx); err != nil {
		return err
	}
	defer func() { _ = a.rest(context.WithoutCancel(ctx)) }()
	if err := b.offers(ctx, a); err != nil {
		return fmt.Errorf("offers: %w", err)
	}
	var with []*visitor
	defer func() {
		for _, v := range with {
			v.leave()
		}
	}()
	for range held {
		v, err := b.wish(ctx, a, nil, nil)
		if err != nil {
			return fmt.Errorf("hand-over: %w", err)
		}
		with = append(with, v)
	}
	if err := b.replies(ctx, a, with); err != nil {
		return fmt.Errorf("replies: %w", err)
	}
	if err := b.watched(ctx, a, with); err != nil {
		return fmt.Errorf("watched: %w", err)
	}
	for _, v := range with {
		if err := a.finish(ctx, v.conversation); err != nil {
			return err
		}
	}
	return nil
}

// wish: a new visitor presses the button, a rings and accepts.
func (b *bench) wish(ctx context.Context, a *agent, sent, acked *times) (*visitor, error) {
	v, err := b.visitor(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := v.send(map[string]any{"type": "person", "client_id": b.clientID(0)}); err != nil {
		return v, err
	}
	ack, err := v.await(ctx, "ack of the wish", ofType("ack"))
	if err != nil {
		return v, err
	}
	v.conversation = ack.ConversationID
	rung, err := a.await(ctx, "offer", func(n *news) bool { return n.Type == "offer" && n.Offer.ConversationID == v.conversation })
	if err != nil {
		return v, err
	}
	if sent != nil {
		sent.add(rung.at.Sub(began))
		acked.add(max(0, rung.at.Sub(ack.at)))
	}
	if err := a.accept(ctx, rung.Offer.ID); err != nil {
		return v, err
	}
	_, err = v.await(ctx, "the agent", func(n *news) bool { return n.Type == "state" && n.State == "agent" })
	return v, err
}

func (b *bench) offers(ctx context.Context, a *agent) error {
	var sent, acked times
	for range quickly(b, 50, 15) {
		v, err := b.wish(ctx, a, &sent, &acked)
		if err == nil {
			err = a.finish(ctx, v.conversation)
		}
		v.leave()
		if err != nil {
			return err
		}
	}
	b.table.row("wish for a person acknowledged -> agent's desk rings", "%s   target < 300 ms", &acked)
	b.table.row("button pressed -> agent's desk rings", "%s", &sent)
	return nil
}

// replies: the agent writes, by the API; the visitor sees it.
func (b *bench) replies(ctx context.Context, a *agent, with []*visitor) error {
	var answered, seen times
	for i := range quickly(b, 200, 40) {
		v := with[i%len(with)]
		words := fmt.Sprintf("Reply %d, with enough words to be like one.", i)
		began := time.Now()
		if err := a.reply(ctx, v.conversation, b.clientID(1000+i), words); err != nil {
			return err
		}
		answered.add(time.Since(began))
		n, err := v.await(ctx, "the agent's reply", func(n *news) bool { return n.Type == "message" && n.said().Body == words })
		if err != nil {
			return err
		}
		seen.add(n.at.Sub(began))
	}
	b.table.row("agent's message (POST) -> answered (stored)", "%s", &answered)
	b.table.row("agent's message (POST) -> visitor's page", "%s", &seen)
	return nil
}

// watched: a visitor writes, the agent looks at that conversation. A visitor may send ten at once, and two a second.
func (b *bench) watched(ctx context.Context, a *agent, with []*visitor) error {
	var acked, seen times
	for k, v := range with[:quickly(b, len(with), min(5, len(with)))] {
		ref := fmt.Sprintf("watch%d", k)
		if err := a.send(map[string]any{"type": "watch", "ref": ref, "conversation_id": v.conversation, "after": 0}); err != nil {
			return err
		}
		if _, err := a.await(ctx, "watch", func(n *news) bool { return n.Ref == ref && n.Type == "done" }); err != nil {
			return err
		}
		for i := range 8 {
			id := b.clientID(2000 + i)
			began := time.Now()
			if err := v.send(map[string]any{"type": "say", "client_id": id, "body": "One more line from the visitor."}); err != nil {
				return err
			}
			n, err := v.await(ctx, "ack", func(n *news) bool { return n.Type == "ack" && n.ClientID == id })
			if err != nil {
				return err
			}
			acked.add(n.at.Sub(began))
			n, err = a.await(ctx, "the visitor's words", func(n *news) bool { return n.Type == "message" && n.said().ClientID == id })
			if err != nil {
				return err
			}
			seen.add(n.at.Sub(began))
		}
	}
	b.table.row("visitor's message to an agent -> acknowledged (stored)", "%s", &acked)
	b.table.row("visitor's message -> agent's desk", "%s", &seen)
	return nil
}
