package switchboard

import (
	"testing"

	"patchbay/channels"
)

var visitor = channels.Address{Kind: channels.Visitor, Value: "visitor-1"}

// calls from the web page, in the given conversation (0: none yet).
func (f *flow) webCall(conversation int64) channels.Receipt {
	f.t.Helper()
	return f.receive(channels.Inbound{Type: channels.CallStarted, Channel: channels.Voice, From: visitor, ConversationID: conversation,
		To: "web page", SIPCallID: "web-1", Media: channels.ByWeb})
}

func (f *flow) chats(words string) channels.Receipt {
	f.t.Helper()
	return f.receive(channels.Inbound{Type: channels.Words, Channel: channels.Chat, From: visitor, Body: words, ClientID: words})
}

func (f *flow) callEnds(r channels.Receipt) {
	f.t.Helper()
	f.receive(channels.Inbound{Type: channels.CallEndedIn, Channel: channels.Voice, ConversationID: r.ConversationID, CallID: r.CallID,
		Result: "completed", Reason: "caller hung up"})
}

func (f *flow) channel(id int64) (kind channels.Kind) {
	f.t.Helper()
	f.ok(f.Pool.QueryRow(f.t.Context(), `select channel from conversations where id = $1`, id).Scan(&kind))
	return kind
}

// TestWebCallInAChat: the chat's agent gets the call first; the chat goes on beside it and after it.
func TestWebCallInAChat(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	chat := f.chats("I want to talk to a person")
	f.ok(f.Take(ctx, f.ana, chat.ConversationID))
	call := f.webCall(chat.ConversationID)
	if call.ConversationID != chat.ConversationID || call.State != channels.Agent {
		t.Fatalf("%+v, want the chat's conversation, with its agent", call)
	}
	var media, from string
	f.ok(f.Pool.QueryRow(ctx, `select media, from_address from calls where id = $1`, call.CallID).Scan(&media, &from))
	if media != channels.ByWeb || from != "the web page" {
		t.Errorf("media %s, from %s", media, from)
	}
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: call.ConversationID, CallID: call.CallID,
		Source: "key", Media: channels.ByWeb})
	if state, agent, _, by := f.conversation(chat.ConversationID); state != channels.Waiting || agent != 0 || by != f.ana {
		t.Errorf("state %s, agent %d, favoured %d", state, agent, by)
	}
	f.ok(f.Take(ctx, f.ana, chat.ConversationID))
	if _, err := f.Reply(ctx, f.ana, chat.ConversationID, "r1", "Here is the link", false); err != nil {
		t.Errorf("the agent cannot write beside the call: %v", err)
	}
	f.chats("thanks, I see it")
	if state, agent, _, _ := f.conversation(chat.ConversationID); state != channels.Agent || agent != f.ana {
		t.Errorf("a message in a call: state %s, agent %d", state, agent)
	}
	f.callEnds(call)
	if state, agent, _, _ := f.conversation(chat.ConversationID); state != channels.Agent || agent != f.ana || f.channel(chat.ConversationID) != channels.Chat {
		t.Errorf("after the call: state %s, agent %d, %s: the chat goes on", state, agent, f.channel(chat.ConversationID))
	}
}

// TestWebCallKeepsThePlaceInLine: who waits in the chat, calls, and hangs up, waits on.
func TestWebCallKeepsThePlaceInLine(t *testing.T) {
	f := newFlow(t)
	chat := f.chats("I want to talk to a person")
	call := f.webCall(chat.ConversationID)
	if call.State != channels.Waiting {
		t.Fatalf("state %s", call.State)
	}
	f.callEnds(call)
	if state, _, _, _ := f.conversation(chat.ConversationID); state != channels.Waiting || f.promises(chat.ConversationID, "") != 1 {
		t.Errorf("state %s, %d promises", state, f.promises(chat.ConversationID, ""))
	}
}

// TestWebCallAlone: a call without a chat begins a conversation of its own, in which the agent can write to the page,
// and ends it as any call does.
func TestWebCallAlone(t *testing.T) {
	f := newFlow(t)
	ctx := t.Context()
	call := f.webCall(0)
	f.receive(channels.Inbound{Type: channels.Wish, Channel: channels.Voice, ConversationID: call.ConversationID, CallID: call.CallID, Source: "key", Media: channels.ByWeb})
	f.ok(f.Take(ctx, f.ana, call.ConversationID))
	m, err := f.Reply(ctx, f.ana, call.ConversationID, "r1", "Here is the link", false)
	if err != nil || m.Channel != channels.Chat {
		t.Errorf("the agent writes: %+v %v", m, err)
	}
	f.callEnds(call)
	if state, _, _, _ := f.conversation(call.ConversationID); state != channels.Wrapup {
		t.Errorf("state %s", state)
	}
	again := f.webCall(call.ConversationID) // while the agent wraps up
	if again.State != channels.Waiting {
		t.Errorf("calls again: %s", again.State)
	}
	f.callEnds(again)
	if state, _, _, _ := f.conversation(call.ConversationID); state != channels.Closed {
		t.Errorf("hung up in line: %s", state)
	}
}
