package chat

import (
	"encoding/json"
	"strings"
	"testing"

	"patchbay/channels"
)

// telephone is what the chat meets behind the bus: it has rows, and answers in the words it was told to.
type telephone struct {
	h       *house
	id      int64
	asked   chan channels.VoiceRequest
	signals chan channels.CallSignal
}

func openWithPhone(t *testing.T) (*house, *telephone) {
	t.Helper()
	h := open(t, func(c *Config) {
		c.Calls, c.NodeID = true, "node-1"
		c.ICE = func(user string) []channels.ICEServer {
			return []channels.ICEServer{{URLs: []string{"turn:127.0.0.1"}, Username: user}}
		}
	})
	tel := &telephone{h: h, asked: make(chan channels.VoiceRequest, 8), signals: make(chan channels.CallSignal, 8)}
	cancel, err := h.bus.Respond(channels.VoiceSubject("node-1"), tel.web)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return h, tel
}

func (tel *telephone) web(data []byte) (any, error) {
	var req channels.VoiceRequest
	if err := json.Unmarshal(data, &req); err != nil {
		return nil, err
	}
	tel.asked <- req
	if req.SDP == "bad" {
		return channels.CallReply{Error: channels.FailField(channels.Invalid, "sdp", "the browser's offer cannot be read")}, nil
	}
	h, conversation := tel.h, req.ConversationID
	if conversation == 0 {
		h.row(&conversation, `with c as (insert into contacts default values returning id),
			a as (insert into addresses (contact_id, kind, value) select id, 'visitor', $1 from c)
			insert into conversations (contact_id, queue_id, state, channel) select id, $2, 'bot', 'voice' from c returning id`, req.Visitor, h.queue)
	}
	h.row(&tel.id, `insert into calls (conversation_id, direction, from_address, to_address, state, media)
		values ($1, 'in', 'visitor', 'web page', 'answered', 'web') returning id`, conversation)
	cancel, err := h.bus.Respond(channels.CallSubject(tel.id), func(data []byte) (any, error) {
		var sig channels.CallSignal
		if err := json.Unmarshal(data, &sig); err != nil {
			return nil, err
		}
		tel.signals <- sig
		return channels.CallReply{SDP: strings.Repeat("answer to "+sig.SDP, min(len(sig.SDP), 1))}, nil
	})
	if err != nil {
		return nil, err
	}
	h.t.Cleanup(cancel)
	return channels.CallReply{CallID: tel.id, SDP: "answer to " + req.SDP}, nil
}

// moves changes the call's row and tells it, as the switchboard does.
func (tel *telephone) moves(state, reason string) {
	tel.h.t.Helper()
	var conversation int64
	tel.h.row(&conversation, `update calls set state = $2, reason = $3 where id = $1 returning conversation_id`, tel.id, state, reason)
	if err := tel.h.bus.Publish(channels.ConversationSubject(conversation), channels.Event{Type: channels.EventCall, ConversationID: conversation}); err != nil {
		tel.h.t.Fatal(err)
	}
}

func (p *page) wantCall(state string) map[string]any {
	p.t.Helper()
	c := p.want("call")["call"].(map[string]any)
	if c["state"] != state {
		p.t.Fatalf("call %v, want %s", c, state)
	}
	return c
}

// TestACallBeforeAnyMessage: the call begins the conversation; the page may write in it afterwards.
func TestACallBeforeAnyMessage(t *testing.T) {
	h, tel := openWithPhone(t)
	p, w := h.visit("", 0)
	if w["calls"] != true || w["call"] != nil {
		t.Errorf("welcome %v", w)
	}
	other, _ := h.visit(p.token, 0) // a second tab
	p.send(frame{"type": "phone"})
	servers := p.want("phone")["ice_servers"].([]any)
	if user := servers[0].(map[string]any)["username"].(string); !strings.HasPrefix(user, "visitor-") || len(user) < 20 {
		t.Errorf("credentials of %q", user)
	}
	p.send(frame{"type": "identify", "name": "Mira"})
	p.send(frame{"type": "call", "client_id": "c1", "sdp": "offer"})
	if a := p.want("call_answer"); a["sdp"] != "answer to offer" || a["client_id"] != "c1" {
		t.Errorf("%v", a)
	}
	if req := <-tel.asked; req.Type != "web" || req.Name != "Mira" || req.Visitor == "" || req.ConversationID != 0 {
		t.Errorf("%+v", req)
	}
	p.want("state")
	p.wantCall("answered")
	other.want("state")
	other.wantCall("answered") // it sees the call, and may not make another
	other.send(frame{"type": "call", "client_id": "c2", "sdp": "offer"})
	other.wantError(channels.Conflict, "")
	if ack := p.say("m1", "Hello"); ack["conversation_id"] == nil {
		t.Errorf("%v", ack)
	}
	if n := h.count("conversations"); n != 1 {
		t.Errorf("%d conversations", n)
	}
}

// TestACallInItsChat: the frames of a running call, its news, and a page that was loaded anew.
func TestACallInItsChat(t *testing.T) {
	h, tel := openWithPhone(t)
	p, id := h.begin()
	p.send(frame{"type": "call_key", "digit": "0"})
	p.wantError(channels.NotFound, "")
	p.send(frame{"type": "call", "client_id": "c0", "sdp": "offer", "again": true})
	p.wantError(channels.NotFound, "")
	p.send(frame{"type": "call", "client_id": "c1", "sdp": "offer"})
	p.want("call_answer")
	if req := <-tel.asked; req.ConversationID != id {
		t.Errorf("%+v", req)
	}
	for _, c := range []struct {
		send frame
		want channels.CallSignal
	}{
		{frame{"type": "call_key", "digit": "0"}, channels.CallSignal{Type: "dtmf", Digit: "0"}},
		{frame{"type": "call_restart", "client_id": "r1", "sdp": "again"}, channels.CallSignal{Type: "restart", SDP: "again"}},
		{frame{"type": "call", "client_id": "c2", "sdp": "new", "again": true}, channels.CallSignal{Type: "connect", SDP: "new"}},
		{frame{"type": "call_end"}, channels.CallSignal{Type: "hangup"}},
	} {
		p.send(c.send)
		c.want.CallID, c.want.Visitor = tel.id, true
		if got := <-tel.signals; got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
		if c.want.SDP != "" {
			if a := p.want("call_answer"); a["sdp"] != "answer to "+c.want.SDP || a["client_id"] != c.send["client_id"] {
				t.Errorf("%v", a)
			}
		}
	}
	tel.moves("waiting", "")
	p.wantCall("waiting")
	tel.moves("bridged", "")
	p.wantCall("bridged")
	if _, w := h.visit(p.token, 1); w["call"].(map[string]any)["state"] != "bridged" {
		t.Errorf("a new socket: %v", w)
	}
	tel.moves("ended", "agent hung up")
	if c := p.wantCall("ended"); c["reason"] != "agent hung up" {
		t.Errorf("%v", c)
	}
}

// TestCallsRefused: what the page is told, and what never reaches the telephone.
func TestCallsRefused(t *testing.T) {
	h, tel := openWithPhone(t)
	p, _ := h.begin()
	for _, c := range []struct {
		send  frame
		code  channels.Code
		field string
	}{
		{frame{"type": "call", "client_id": "c1"}, channels.Invalid, "sdp"},
		{frame{"type": "call", "sdp": "offer"}, channels.Invalid, "client_id"},
		{frame{"type": "call", "client_id": "c1", "sdp": strings.Repeat("x", maxOffer+1)}, channels.TooLarge, "sdp"},
		{frame{"type": "call_restart", "client_id": "c1"}, channels.Invalid, "sdp"},
		{frame{"type": "call_key", "digit": "A"}, channels.Invalid, "digit"},
		{frame{"type": "call_key", "digit": "12"}, channels.Invalid, "digit"},
		{frame{"type": "call", "client_id": "c1", "sdp": "offer", "conversation_id": 1}, channels.Invalid, "conversation_id"},
	} {
		p.send(c.send)
		p.wantError(c.code, c.field)
	}
	for range callBurst {
		p.send(frame{"type": "call", "client_id": "c1", "sdp": "bad"})
		p.wantError(channels.Invalid, "sdp")
		<-tel.asked
	}
	p.send(frame{"type": "call", "client_id": "c1", "sdp": "offer"})
	p.wantError(channels.TooMany, "")
	if len(tel.asked) != 0 {
		t.Error("too many calls reached the telephone")
	}
}

// TestCallsOfOneAddress: a network that calls without end is stopped, other networks are not concerned.
func TestCallsOfOneAddress(t *testing.T) {
	l := newLimiter(Limits{AddressCalls: 3})
	for i, want := range []bool{true, true, true, false} {
		if got := l.mayCall(strings.Repeat("v", i+1), "192.0.2.1"); got != want {
			t.Errorf("call %d: %v", i, got)
		}
	}
	if !l.mayCall("w", "192.0.2.2") {
		t.Error("another network")
	}
}

// TestNoTelephone: a house that cannot be called says so, and offers no button.
func TestNoTelephone(t *testing.T) {
	h := open(t)
	p, w := h.visit("", 0)
	if w["calls"] != nil {
		t.Errorf("welcome %v", w)
	}
	p.send(frame{"type": "phone"})
	p.wantError(channels.Unavailable, "")
	p.send(frame{"type": "call", "client_id": "c1", "sdp": "offer"})
	p.wantError(channels.Unavailable, "")
	gone := open(t, func(c *Config) { c.Calls, c.NodeID = true, "nobody" })
	q, _ := gone.visit("", 0)
	q.send(frame{"type": "call", "client_id": "c1", "sdp": "offer"})
	q.wantError(channels.Unavailable, "")
}
