package switchboard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patchbay/channels"
	"patchbay/llm"
)

// What a model writes for agents: a summary below the hand-over card, and a draft for the wrap-up. Both may fail at any time
// and cost nothing but themselves.

// summariseAfter is how many messages of the customer are worth a summary: one is its own.
const summariseAfter = 2

// summarise has the model write below the card of a conversation that has come into line, beside everything else.
func (s *Switchboard) summarise(id int64) {
	s.beside("no summary below the card", id, s.summary)
}

func (s *Switchboard) summary(ctx context.Context, id int64) error {
	history, err := channels.History(ctx, s.Pool, id, 0, cardMessages)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	words := 0
	for _, m := range history {
		if m.Author == channels.ByContact && m.Kind == channels.Text {
			words++
		}
	}
	if words < summariseAfter {
		return nil
	}
	d, err := s.Responder().Brief(ctx, history)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err = s.Pool.Exec(ctx, `update conversations set card = card || jsonb_build_object('summary', $2::jsonb) where id = $1 and card is not null
		and state in ('waiting', 'offered', 'agent')`, id, channels.CardSummary{Text: d.Text, Model: d.Model})
	if err != nil {
		return fmt.Errorf("store summary: %w", err)
	}
	s.publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventCard, ConversationID: id})
	return nil
}

// whyNoDraft is the truth about a model that has written none, by the Failure's reason.
var whyNoDraft = map[string]string{
	"missing": "No model is set up.", "busy": "The model is with a customer.", "empty": "Nothing was said that could be summed up.",
	"ungrounded": "What the model wrote did not stand in the conversation.", "slow": "The model took too long.",
}

// WrapUpDraft has the model propose a note and a disposition to the agent who has the conversation. Without a model, or when
// it fails, the draft is empty and says why: the error is for who may not ask. It takes some seconds and stores nothing.
func (s *Switchboard) WrapUpDraft(ctx context.Context, agentID, id int64) (*channels.WrapUpDraft, error) {
	c, err := channels.Get(ctx, s.Pool, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read conversation: %w", err)
	case c == nil:
		return nil, channels.Fail(channels.NotFound, "There is no such conversation.")
	case c.AgentID == nil || *c.AgentID != agentID || c.State != channels.Wrapup && c.State != channels.Agent:
		return nil, channels.Fail(channels.Conflict, "You do not have this conversation (any more).")
	}
	history, err := channels.History(ctx, s.Pool, id, 0, cardMessages)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	d, err := s.Responder().Wrapup(ctx, history)
	var f *llm.Failure
	switch {
	case errors.As(err, &f):
		s.Log.Info("no draft for the wrap-up", "conversation", id, "err", err)
		why := whyNoDraft[f.Reason]
		if why == "" {
			why = "The model did not answer."
		}
		return &channels.WrapUpDraft{Why: why}, nil
	case err != nil:
		return nil, err
	}
	return &channels.WrapUpDraft{Summary: d.Text, Disposition: d.Disposition, Model: d.Model}, nil
}
