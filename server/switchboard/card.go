package switchboard

import (
	"context"
	"fmt"
	"time"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/llm"
)

// cardMessages is how far back a hand-over card reads.
const cardMessages = 200

// makeCard writes the hand-over card, and the short summary that lists show, from what this change leaves in the rows.
func (ch *change) makeCard(ctx context.Context) error {
	f := llm.Facts{Now: time.Now().UTC(), Identity: channels.Unknown}
	reached := map[channels.Kind]string{channels.Voice: channels.Phone, channels.Email: channels.Mail, channels.Chat: channels.Visitor}[ch.c.Channel]
	err := ch.tx.QueryRow(ctx, `select t.id, t.name, t.created_at, coalesce(a.kind, ''), coalesce(a.value, ''),
			(select due_at from promises where conversation_id = $2 and closed_at is null)
		from contacts t left join lateral (select kind, value from addresses where contact_id = t.id
			order by kind = $3 desc, kind <> 'visitor' desc, id limit 1) a on true
		where t.id = $1`, ch.c.ContactID, ch.c.ID, reached).
		Scan(&f.Contact.ID, &f.Contact.Name, &f.Contact.CreatedAt, &f.Address.Kind, &f.Address.Value, &f.Due)
	if err != nil {
		return fmt.Errorf("facts of the hand-over: %w", err)
	}
	if f.Contact.Name != "" || f.Address.Kind == channels.Phone || f.Address.Kind == channels.Mail {
		f.Identity = channels.Claimed // a name, a caller's number and a From line prove nothing
	}
	if f.History, err = channels.History(ctx, ch.tx, ch.c.ID, 0, cardMessages); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	card := llm.Card(f)
	summary := llm.Summary(card)
	if summary == llm.NothingSaid && card.Find(channels.CardWish) == nil { // called by us, or back in a closed conversation: nothing to sum up
		summary = ""
	}
	// what a model has written about this wait stays while the wait goes on
	return ch.exec(ctx, "card", `update conversations set summary = $3,
		card = case when $4 then '{}' else jsonb_strip_nulls(jsonb_build_object('summary', card -> 'summary')) end || $2::jsonb
		where id = $1`, ch.c.ID, card, summary, ch.entered)
}

// finish stores what has gathered; the card is made last, so that it has read everything.
func (ch *change) finish(ctx context.Context) error {
	if err := ch.flush(ctx); err != nil || !ch.carded {
		return err
	}
	return ch.makeCard(ctx)
}

// transcribed stores what a machine heard people say in a call. It changes nothing else: nobody's wish is read in it.
func (s *Switchboard) transcribed(ctx context.Context, ch *change, in channels.Inbound) error {
	m := &channels.Message{Author: channels.ByContact, Channel: channels.Voice, Kind: channels.Transcript, Private: true,
		Body: channels.MaskCards(in.Body), Data: channels.MessageData{CallID: in.CallID}}
	if in.ClientID != "" {
		m.ClientID = &in.ClientID
	}
	if in.AgentID != 0 {
		name, err := agents.Name(ctx, ch.tx, in.AgentID)
		if err != nil {
			return err
		}
		m.Author, m.AgentID, m.Data.AgentName = channels.ByAgent, &in.AgentID, firstName(name)
	}
	_, err := ch.append(ctx, m)
	return err
}
