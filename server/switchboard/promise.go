package switchboard

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"patchbay/agents"
	"patchbay/channels"
)

// Promises between the wish and the first word: the word itself, the late ones, what fell out of the flow because its agent
// or offer is gone, and the error budget that brings people first.

// spoke: on a call between people the customer has heard the agent's first words. That the two were joined is no word.
func (s *Switchboard) spoke(ctx context.Context, ch *change, in channels.Inbound) error {
	if err := ch.keepPromise(ctx, in.AgentID); err != nil {
		return err
	}
	ch.after(func() { s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: ch.c.ID}) })
	return nil
}

// keepPromise: a person has spoken or written. A message that was left has its answer.
func (ch *change) keepPromise(ctx context.Context, agentID int64) error {
	if err := ch.exec(ctx, "message answered", `update conversations set left_message = '' where id = $1 and left_message <> ''`, ch.c.ID); err != nil {
		return err
	}
	return agents.KeepPromise(ctx, ch.tx, ch.c.ID, agentID)
}

// endedSilent is how a promise is broken whose agent ends the conversation.
const endedSilent = "ended without a word of a person"

// withoutWord: the agent ends it or gives it away, and no person has said a word. The promise is broken, and that is told.
func (s *Switchboard) withoutWord(ctx context.Context, ch *change, agentID int64, how string) error {
	broken, err := agents.BreakPromise(ctx, ch.tx, ch.c.ID, agentID)
	if err != nil || broken == nil {
		return err
	}
	return s.alarm(ctx, ch, broken, how)
}

// callOver settles what was still owed when a call with an agent ends: who hung up decides.
func (s *Switchboard) callOver(ctx context.Context, ch *change, reason string) error {
	if strings.HasPrefix(reason, "agent ") && ch.c.AgentID != nil {
		return s.withoutWord(ctx, ch, *ch.c.AgentID, endedSilent)
	}
	return agents.ClosePromiseByContact(ctx, ch.tx, ch.c.ID)
}

// alarm tells the desk, the timeline and the web hook of a broken promise.
func (s *Switchboard) alarm(ctx context.Context, ch *change, b *agents.Broken, how string) error {
	words := fmt.Sprintf("Promise broken: a person was promised by %s UTC, %s.", b.DueAt.UTC().Format("15:04:05"), how)
	ch.line(channels.CodeBroken, words, channels.MessageData{DueAt: &b.DueAt})
	s.Log.Error("promise broken", "conversation", ch.c.ID, "queue", b.QueueName, "channel", b.Channel, "opened", b.OpenedAt, "due", b.DueAt, "how", how)
	a := agents.Alarm{Kind: agents.PromiseBroken, PromiseID: b.ID, ConversationID: ch.c.ID, QueueName: b.QueueName, Channel: b.Channel, Words: words}
	if err := agents.Raise(ctx, ch.tx, a); err != nil {
		return err
	}
	ch.after(func() {
		s.publish(channels.AlarmSubject, struct{}{})
		s.publish(channels.DeskSubject, channels.DeskNews{ConversationID: ch.c.ID})
	})
	return nil
}

// sweepPromises finds promises that are late. They stay open: the customer still waits.
func (s *Switchboard) sweepPromises(ctx context.Context) error {
	ids, err := agents.Overdue(ctx, s.Pool, sweepMost)
	for _, id := range ids {
		err = errors.Join(err, s.change(ctx, id, func(ch *change) error {
			broken, err := agents.BreakOverdue(ctx, ch.tx, ch.c.ID)
			if err != nil || broken == nil {
				return err
			}
			return s.alarm(ctx, ch, broken, "and none has said a word yet")
		}))
	}
	return err
}

// sweepBudgets brings people first where too many promises are broken, and takes it back.
func (s *Switchboard) sweepBudgets(ctx context.Context) error {
	budgets, err := agents.Budgets(ctx, s.Pool)
	for _, b := range budgets {
		on := b.Next()
		if on == b.Burning {
			continue
		}
		err = errors.Join(err, s.change(ctx, 0, func(ch *change) error {
			changed, err := agents.SetPeopleFirst(ctx, ch.tx, b, on)
			if err == nil && changed {
				s.Log.Warn("people first", "queue", b.QueueName, "on", on, "why", b.Why())
				ch.after(func() { s.publish(channels.AlarmSubject, struct{}{}) })
			}
			return err
		}))
	}
	return err
}

// sweepOrphans puts those back into line whose agent or offer has gone from the database: a deleted agent's, whoever deleted
// them and however.
func (s *Switchboard) sweepOrphans(ctx context.Context) error {
	ids, err := s.ids(ctx, `select id from conversations c where state = 'agent' and agent_id is null
		or state = 'offered' and not exists (select from offers where conversation_id = c.id and outcome is null) limit $1`, sweepMost)
	for _, id := range ids {
		err = errors.Join(err, s.change(ctx, id, func(ch *change) error { return s.orphan(ctx, ch) }))
	}
	return err
}

func (s *Switchboard) orphan(ctx context.Context, ch *change) error {
	if ch.c.State == channels.Agent && ch.c.AgentID == nil {
		s.release(ctx, ch)
		return s.backInLine(ctx, ch, "lost", channels.CodeBackInLine, wordsBack)
	}
	if ch.c.State != channels.Offered {
		return nil
	}
	var open bool
	if err := ch.tx.QueryRow(ctx, `select exists (select from offers where conversation_id = $1 and outcome is null)`, ch.c.ID).Scan(&open); err != nil || open {
		return err
	}
	if _, err := ch.move(ctx, channels.Waiting); err != nil {
		return err
	}
	ch.after(func() { s.publish(channels.RouteSubject, struct{}{}) })
	return ch.exec(ctx, "front", `update conversations set front = true where id = $1`, ch.c.ID)
}

// toResponder: the responder answers, unless people come first.
func (s *Switchboard) toResponder(ctx context.Context, ch *change) error {
	if gone, err := s.peopleFirst(ctx, ch); err != nil || gone {
		return err
	}
	_, err := ch.move(ctx, channels.Bot)
	return err
}

// peopleFirst decides, before the responder begins, whether this conversation goes to people at once. True: it has gone.
func (s *Switchboard) peopleFirst(ctx context.Context, ch *change) (bool, error) {
	if only, err := s.onlyPeople(ctx, ch); err != nil || only {
		return only, err
	}
	why, err := agents.PeopleFirstNow(ctx, ch.tx, ch.c.QueueID)
	if err != nil || why == "" {
		return false, err
	}
	s.Log.Info("people first", "conversation", ch.c.ID, "why", why)
	ch.line(channels.CodePeopleFirst, "People first: the responder steps back. "+why, channels.MessageData{Reason: why})
	return true, s.toPeople(ctx, ch, "people_first", channels.CodeWaiting, wordsWaiting)
}
