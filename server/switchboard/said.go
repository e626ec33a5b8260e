package switchboard

import (
	"context"
	"time"

	"patchbay/channels"
)

// On the telephone an answer is settled when it was heard, not when it was written: the loop streams it to the call and
// waits, the call tells here what the caller has heard of it. So the timeline holds no word that nobody heard, in the
// order in which things were said.

// said stores what of an answer was heard. The rest is as in a chat (afterAnswer). An answer that was interrupted has been
// given: the caller's next words are about it.
func (s *Switchboard) said(ctx context.Context, ch *change, in channels.Inbound) error {
	spoken := in.Spoken
	m := answerMessage(channels.Voice, in.Body, spoken.Ending)
	m.Data.Cut, m.Data.CallID = spoken.Cut, in.CallID
	if in.ClientID != "" {
		m.ClientID = &in.ClientID
	}
	if m.Body != "" {
		if dup, err := ch.append(ctx, m); err != nil || dup {
			return err
		}
		if err := ch.turnTimes(ctx, in.CallID, m.Seq, spoken.Times); err != nil {
			return err
		}
	}
	id := ch.c.ID
	ch.after(func() {
		s.publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventDraft, ConversationID: id, Draft: &channels.Draft{Done: true}})
	})
	if ch.c.State == channels.Agent || ch.c.CustomerSeq != spoken.To || ch.c.AnsweredSeq >= spoken.To {
		return nil // a person has it, or the caller has gone on
	}
	err := ch.exec(ctx, "answered", `update conversations set answered_seq = $2 where id = $1`, id, spoken.To)
	if err != nil || ch.c.State != channels.Bot {
		return err
	}
	return s.afterAnswer(ctx, ch, spoken.Ending)
}

// turnTimes stores when the stages of a turn came; nil: they are not known.
func (ch *change) turnTimes(ctx context.Context, callID, seq int64, t *channels.TurnTimes) error {
	if t == nil || time.Since(t.At) < 0 {
		return nil
	}
	return ch.exec(ctx, "turn's times", `insert into call_turns (call_id, seq, at, turn_end_ms, final_text_ms, stored_ms, first_token_ms, first_sentence_ms, first_audio_ms, own_ms, cut)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, callID, seq, t.At, t.TurnEnd, t.FinalText, t.Stored, t.FirstToken, t.FirstSentence, t.FirstAudio, t.Own, t.Cut)
}
