package switchboard

import (
	"context"
	"fmt"

	"patchbay/channels"
)

// Calls from the web page belong to the conversation of the visitor's chat: the chat goes on beside them and after them.

// callNews tells the visitor's page that its call has changed; the row is the truth.
func (ch *change) callNews(media string) {
	if media != channels.ByWeb {
		return
	}
	id, seq := ch.c.ID, ch.c.LastSeq
	ch.after(func() {
		ch.s.publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventCall, ConversationID: id, Seq: seq})
	})
}

// callLine is what the desk reads about a call that comes in.
func callLine(in channels.Inbound) string {
	if in.Media == channels.ByWeb {
		return "Call from the web page"
	}
	return "Call from " + in.From.Value + " to " + in.To
}

// callFrom is whom the desk shows as the caller: a visitor's address says nothing to people.
func callFrom(in channels.Inbound) string {
	if in.Media == channels.ByWeb {
		return "the web page"
	}
	return in.From.Value
}

// callTwice: the contact's chat is with an agent and the contact calls too: the caller must ring somewhere, first in
// line. From the web page it is one matter with the chat: it rings at that agent before all others.
func (s *Switchboard) callTwice(ctx context.Context, ch *change, in channels.Inbound) error {
	agent := ch.c.AgentID
	if err := s.backInLine(ctx, ch, in.Source, channels.CodeWaiting, wordsWaiting); err != nil || in.Media != channels.ByWeb {
		return err
	}
	return ch.exec(ctx, "passed by", `update conversations set wanted_agent_id = null, passed_by_id = $2 where id = $1`, ch.c.ID, agent)
}

// backToTheChat: the visitor's call is over. Who chats in this conversation, or was in line before calling, goes on in
// writing.
func (ch *change) backToTheChat(ctx context.Context, call *channels.Call) error {
	if call.Media != channels.ByWeb || ch.c.Channel != channels.Voice {
		return nil
	}
	var writes bool
	err := ch.tx.QueryRow(ctx, `update conversations set channel = case when exists (select from messages where conversation_id = $1
			and author = 'contact' and channel = 'chat') or exists (select from promises where conversation_id = $1 and closed_at is null
			and opened_at < $2) then 'chat' else channel end where id = $1 returning channel = 'chat'`, ch.c.ID, call.StartedAt).Scan(&writes)
	if err != nil {
		return fmt.Errorf("back to the chat: %w", err)
	}
	if writes {
		ch.c.Channel = channels.Chat
	}
	return nil
}
