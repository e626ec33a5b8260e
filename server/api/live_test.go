package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/nats-io/nats-server/v2/server"

	"patchbay/agents"
	"patchbay/channels"
	"patchbay/server/report"
)

// page is a browser tab: it hears everything and remembers it.
type page struct {
	h     *house
	conn  *websocket.Conn
	in    chan LiveOut
	ended chan int // close code
	hello LiveOut
}

// dial opens a socket; a refused one returns its answer.
func (h *house) dial(session, origin string) (*websocket.Conn, *http.Response) {
	h.Helper()
	header := http.Header{"Origin": {origin}, "Cookie": {cookie + "=" + session}}
	if origin == "" {
		delete(header, "Origin")
	}
	conn, res, err := websocket.DefaultDialer.DialContext(h.ctx, "ws"+strings.TrimPrefix(h.base, "http")+"/api/live", header)
	if err != nil && res == nil {
		h.Fatal(err)
	}
	return conn, res
}

func (h *house) page(session string) *page {
	h.Helper()
	conn, res := h.dial(session, h.base)
	if conn == nil {
		h.Fatalf("no socket: %d", res.StatusCode)
	}
	p := &page{h: h, conn: conn, in: make(chan LiveOut, 4096), ended: make(chan int, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, data, err := conn.ReadMessage()
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				p.ended <- closed.Code
			} else if err != nil {
				p.ended <- 0
			}
			if err != nil {
				return
			}
			var f LiveOut
			if err := json.Unmarshal(data, &f); err != nil {
				h.Errorf("%v: %s", err, data)
			}
			p.in <- f
		}
	}()
	h.Cleanup(func() { conn.Close(); <-done })
	p.hello = p.next(LiveOutTypeHello)
	return p
}

// next waits for the next frame of that type and passes over others.
func (p *page) next(types ...LiveOutType) LiveOut {
	p.h.Helper()
	for {
		select {
		case f := <-p.in:
			if slices.Contains(types, f.Type) {
				return f
			}
		case code := <-p.ended:
			p.h.Fatalf("closed with %d before a frame %s", code, types)
		case <-p.h.ctx.Done():
			p.h.Fatalf("no frame %s", types)
		}
	}
}

func (p *page) send(frame any) {
	p.h.Helper()
	text, ok := frame.(string)
	if !ok {
		raw, err := json.Marshal(frame)
		p.h.ok(err)
		text = string(raw)
	}
	p.h.ok(p.conn.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (p *page) closed(want int) {
	p.h.Helper()
	select {
	case code := <-p.ended:
		if code != want {
			p.h.Errorf("closed with %d, want %d", code, want)
		}
	case <-p.h.ctx.Done():
		p.h.Fatal("not closed")
	}
}

func TestSocketIsGuarded(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	gone := h.signIn(h.ada)
	h.exec(`update sessions set expires_at = now() where agent_id = $1`, h.ada)
	for _, c := range []struct {
		name, session, origin string
		status                int
	}{
		{"foreign Origin", s, "http://evil.example", 403},
		{"no Origin", s, "", 403},
		{"our name in a foreign Origin", s, h.base + ".evil.example", 403},
		{"no session", "", h.base, 401},
		{"forged session", "AAAA", h.base, 401},
		{"expired session", gone, h.base, 401},
	} {
		if conn, res := h.dial(c.session, c.origin); conn != nil || res.StatusCode != c.status {
			t.Errorf("%s: %+v", c.name, res)
		}
	}
	h.refused(h.do("GET", "/api/live", s, nil), 426, channels.Invalid, "")
}

func TestHelloAndPresence(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	p := h.page(s)
	if f := p.hello; f.Me == nil || f.Me.ID != h.mira || *f.Build != "b1" || *f.Node != "n1" || *f.Tab == "" {
		t.Errorf("%+v", f)
	}
	h.do("PUT", "/api/me/presence", s, map[string]string{"presence": "available"})
	if f := p.next(LiveOutTypePresence); f.Me == nil || f.Me.Presence != agents.Available {
		t.Errorf("%+v", f)
	}
	online := func() bool {
		ok, err := agents.Online(h.ctx, h.pool, h.mira)
		h.ok(err)
		return ok
	}
	if !online() {
		t.Error("not online with an open tab")
	}
	second := h.page(s)
	p.conn.Close()
	h.until("the first tab is forgotten", func() bool {
		var n int
		h.ok(h.pool.QueryRow(h.ctx, `select count(*) from agent_sockets`).Scan(&n))
		return n == 1
	})
	if !online() {
		t.Error("not online with the second tab")
	}
	second.conn.Close()
	h.until("the agent is gone", func() bool { return !online() })
	if list, err := report.Colleagues(h.ctx, h.pool); err != nil || list[1].Presence != "available" || list[1].Online {
		t.Errorf("the row stays, the agent is not online: %+v, %v", list, err)
	}
}

func TestEndedSessionClosesTheSocket(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name string
		end  func(session string)
	}{
		{"signed out", func(s string) { h.do("POST", "/api/sign-out", s, nil) }},
		{"password changed elsewhere", func(string) {
			h.do("PUT", "/api/me/password", h.signIn(h.mira), map[string]string{"password": "correct horse"})
		}},
		{"expired", func(string) { h.exec(`update sessions set expires_at = now() where agent_id = $1`, h.mira) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.T = t
			s := h.signIn(h.mira)
			p, other := h.page(s), h.page(h.signIn(h.ada))
			c.end(s)
			start := time.Now()
			p.closed(closeSignedOut)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			other.send(`{"type":"ping","ref":"a"}`)
			if f := other.next(LiveOutTypePong); *f.Ref != "a" {
				t.Errorf("%+v", f)
			}
		})
	}
}

// A tab that is used keeps its session alive, one that only pings does not.
func TestUseExtendsTheSession(t *testing.T) {
	h := newHouse(t)
	p := h.page(h.signIn(h.mira))
	q := h.page(h.signIn(h.ada))
	h.exec(`update sessions set expires_at = now() + interval '1 minute'`)
	q.send(`{"type":"ping"}`)
	p.send(`{"type":"unwatch","ref":"a"}`)
	p.next(LiveOutTypeDone)
	q.next(LiveOutTypePong)
	h.server.hub.recheck()
	h.until("the session is extended", func() bool {
		var n int
		h.ok(h.pool.QueryRow(h.ctx, `select count(*) from sessions where expires_at > now() + interval '11 hours'`).Scan(&n))
		if n > 1 {
			t.Fatal("a tab that only pings extends its session")
		}
		return n == 1
	})
}

// A tab that begins to watch in the midst of writing, while the bus loses, doubles and mixes up news, sees every
// message once and in order.
func TestWatchHasNoGapAndNoDouble(t *testing.T) {
	h := newHouse(t)
	id := h.conversation(channels.Agent, &h.mira)
	const total = 700
	write := func(n int) {
		m := &channels.Message{ConversationID: id, Author: channels.ByContact, Channel: channels.Chat, Body: fmt.Sprint("word ", n)}
		if err := h.append(h.ctx, m, n%3 != 0); err != nil { // every third event is lost
			t.Error(err)
		}
		if n%5 == 0 { // old news comes again
			_ = h.bus.Publish(channels.ConversationSubject(id), channels.Event{Type: channels.EventMessage, ConversationID: id, Seq: m.Seq, Message: m})
		}
	}
	for n := range 50 {
		write(n)
	}
	s := h.signIn(h.mira)
	pages := []*page{h.page(s), h.page(s), h.page(s)}
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for n := w; n < total-50; n += 2 {
				write(n)
			}
		})
	}
	for i, p := range pages {
		p.send(map[string]any{"type": "watch", "conversation_id": id, "after": i * 10, "ref": "w"})
	}
	wg.Wait()
	for i, p := range pages {
		for want := int64(i*10 + 1); want <= total; want++ {
			if m := p.next(LiveOutTypeMessage).Message; m.Seq != want || m.ConversationID != id {
				t.Fatalf("page %d: message %d, want %d", i, m.Seq, want)
			}
		}
	}
	// the last event was lost: the sweep over watches finds the message
	h.ok(h.append(h.ctx, &channels.Message{ConversationID: id, Author: channels.ByContact, Channel: channels.Chat, Body: "last"}, false))
	for _, p := range pages {
		if m := p.next(LiveOutTypeMessage).Message; m.Seq != total+1 {
			t.Fatalf("message %d", m.Seq)
		}
	}
}

func TestWatchCarriesDraftStateAndTyping(t *testing.T) {
	h := newHouse(t)
	id, other := h.conversation(channels.Agent, &h.mira), h.conversation(channels.Agent, &h.ada)
	p := h.page(h.signIn(h.mira))
	p.send(map[string]any{"type": "watch", "conversation_id": 9999, "ref": "a"})
	if f := p.next(LiveOutTypeError); *f.Ref != "a" || f.Error.Code != channels.NotFound {
		t.Errorf("%+v", f.Error)
	}
	p.send(map[string]any{"type": "watch", "conversation_id": id, "ref": "b"})
	if f := p.next(LiveOutTypeDone); *f.Ref != "b" {
		t.Errorf("%+v", f)
	}
	tell := func(id int64, e channels.Event) {
		e.ConversationID = id
		h.ok(h.bus.Publish(channels.ConversationSubject(id), e))
	}
	tell(other, channels.Event{Type: channels.EventDraft, Draft: &channels.Draft{Text: "not for you"}})
	tell(id, channels.Event{Type: channels.EventDraft, Draft: &channels.Draft{Text: "Your kettle"}})
	if f := p.next(LiveOutTypeDraft); f.Draft.Text != "Your kettle" || *f.ConversationID != id {
		t.Errorf("%+v", f.Draft)
	}
	tell(id, channels.Event{Type: channels.EventState, State: channels.Wrapup})
	if f := p.next(LiveOutTypeState); *f.State != channels.Wrapup || *f.ConversationID != id {
		t.Errorf("%+v", f)
	}
	tell(id, channels.Event{Type: channels.EventTyping, Message: &channels.Message{Author: channels.ByContact}})
	p.next(LiveOutTypeTyping)

	heard := make(chan channels.Event, 4)
	cancel, err := h.bus.Subscribe(channels.ConversationSubject(id), func(_ string, data []byte) {
		var e channels.Event
		_ = json.Unmarshal(data, &e)
		heard <- e
	})
	h.ok(err)
	defer cancel()
	p.send(map[string]any{"type": "typing", "conversation_id": other, "ref": "c"})
	if f := p.next(LiveOutTypeError); f.Error.Code != channels.NotFound {
		t.Errorf("typing in a colleague's conversation: %+v", f)
	}
	for range 3 { // the second and third come too soon and are not told
		p.send(map[string]any{"type": "typing", "conversation_id": id, "ref": "d"})
		p.next(LiveOutTypeDone)
	}
	if e := <-heard; e.Type != channels.EventTyping || e.Message.Author != channels.ByAgent {
		t.Errorf("%+v", e)
	}
	tell(id, channels.Event{Type: channels.EventState, State: channels.Closed})
	if e := <-heard; e.Type != channels.EventState {
		t.Errorf("typing was told twice: %+v", e)
	}
}

func TestDeskNews(t *testing.T) {
	h := newHouse(t)
	id, waits := h.conversation(channels.Agent, &h.mira), h.conversation(channels.Waiting, nil)
	mira, ada := h.page(h.signIn(h.mira)), h.page(h.signIn(h.ada))
	for range 20 { // many changes, few frames
		h.ok(h.bus.Publish(channels.DeskSubject, channels.DeskNews{ConversationID: id}))
		h.ok(h.bus.Publish(channels.DeskSubject, channels.DeskNews{ConversationID: waits}))
	}
	for _, c := range []struct {
		p    *page
		mine int
	}{{mira, 1}, {ada, 0}} {
		seen := map[int64]int{}
		for {
			f := c.p.next(LiveOutTypeConversation, LiveOutTypeConversations)
			if f.Conversations != nil { // both changed within one gather
				for _, row := range *f.Conversations {
					seen[row.ID]++
				}
				continue
			}
			seen[f.Conversation.ID]++
			if f.Counts != nil {
				if f.Counts.Mine != c.mine || f.Counts.Waiting != 1 || f.Counts.All != 2 {
					t.Errorf("%+v", f.Counts)
				}
				break
			}
		}
		if len(seen) != 2 || seen[id]+seen[waits] > 8 {
			t.Errorf("frames: %v", seen)
		}
	}
	h.exec(`update conversations set state = 'closed' where id = $1`, waits)
	h.ok(h.bus.Publish(channels.DeskSubject, channels.DeskNews{ConversationID: waits}))
	if f := mira.next(LiveOutTypeConversation); f.Conversation.State != channels.Closed {
		t.Errorf("%+v", f.Conversation)
	}
	for { // counts follow, though not more than once a second
		if f := mira.next(LiveOutTypeConversation); f.Counts != nil {
			if f.Counts.Waiting != 0 || f.Counts.All != 1 {
				t.Errorf("%+v", f.Counts)
			}
			break
		}
	}
}

func TestFramesForAnAgent(t *testing.T) {
	h := newHouse(t)
	mira, ada := h.page(h.signIn(h.mira)), h.page(h.signIn(h.ada))
	h.ok(h.bus.Publish(channels.AgentSubject(h.mira), map[string]any{"type": "offer", "offer": agents.Offer{ID: 7, Why: "Idle longest"}}))
	h.ok(h.bus.Publish(channels.AgentSubject(h.mira), map[string]any{"type": "call", "call": map[string]any{"call_id": 3, "conversation_id": 1, "state": "bridged", "held": true}}))
	if f := mira.next(LiveOutTypeOffer); f.Offer.ID != 7 || f.Offer.Why != "Idle longest" {
		t.Errorf("%+v", f.Offer)
	}
	if f := mira.next(LiveOutTypeCall); f.Call.CallID != 3 || !*f.Call.Held {
		t.Errorf("%+v", f.Call)
	}
	ada.send(`{"type":"ping"}`)
	if f := <-ada.in; f.Type != LiveOutTypePong {
		t.Errorf("a colleague hears %+v", f)
	}
}

// One tab owns the phone, the newest that wants it, on whatever node.
func TestPhoneBelongsToOneTab(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	first := h.page(s)
	h.open("n2")
	second := h.page(s)
	owns := func(p *page, on bool, owner *page) {
		t.Helper()
		if f := p.next(LiveOutTypePhone); *f.On != on || f.Tab == nil || *f.Tab != *owner.hello.Tab {
			t.Errorf("%+v", f)
		}
	}
	first.send(`{"type":"phone_claim"}`)
	owns(first, true, first)
	owns(second, false, first)
	second.send(`{"type":"phone_claim","ref":"a"}`)
	owns(second, true, second)
	owns(first, false, second)

	signals := make(chan channels.CallSignal, 8)
	cancel, err := h.bus.Respond(channels.CallSubject(5), func(data []byte) (any, error) {
		var sig channels.CallSignal
		if err := json.Unmarshal(data, &sig); err != nil {
			return nil, err
		}
		signals <- sig
		if sig.Type == "hangup" {
			return channels.CallReply{Error: channels.Fail(channels.Conflict, "The caller has hung up.")}, nil
		}
		return channels.CallReply{SDP: "answer"}, nil
	})
	h.ok(err)
	defer cancel()
	first.send(`{"type":"connect","call_id":5,"sdp":"offer","ref":"c"}`) // to connect is to claim
	if f := first.next(LiveOutTypeCallAnswer); *f.Ref != "c" || *f.CallID != 5 || *f.Sdp != "answer" {
		t.Errorf("%+v", f)
	}
	if sig := <-signals; sig.AgentID != h.mira || sig.Tab != *first.hello.Tab || sig.SDP != "offer" || sig.CallID != 5 {
		t.Errorf("%+v", sig)
	}
	owns(second, false, first)
}

func TestCallCommands(t *testing.T) {
	h := newHouse(t)
	p := h.page(h.signIn(h.mira))
	signals := make(chan channels.CallSignal, 8)
	cancel, err := h.bus.Respond(channels.CallSubject(5), func(data []byte) (any, error) {
		var sig channels.CallSignal
		if err := json.Unmarshal(data, &sig); err != nil {
			return nil, err
		}
		signals <- sig
		if sig.Type == "hangup" {
			return channels.CallReply{Error: channels.Fail(channels.Conflict, "The caller has hung up.")}, nil
		}
		return channels.CallReply{}, nil
	})
	h.ok(err)
	defer cancel()
	for _, c := range []struct {
		frame string
		want  channels.CallSignal
		err   channels.Code
	}{
		{`{"type":"hold","call_id":5,"on":true,"ref":"r"}`, channels.CallSignal{Type: "hold", On: true}, ""},
		{`{"type":"hold","call_id":5,"on":false,"ref":"r"}`, channels.CallSignal{Type: "hold"}, ""},
		{`{"type":"mute","call_id":5,"on":true,"ref":"r"}`, channels.CallSignal{Type: "mute", On: true}, ""},
		{`{"type":"dtmf","call_id":5,"digit":"#","ref":"r"}`, channels.CallSignal{Type: "dtmf", Digit: "#"}, ""},
		{`{"type":"restart","call_id":5,"sdp":"offer","ref":"r"}`, channels.CallSignal{Type: "restart", SDP: "offer"}, ""},
		{`{"type":"consult","call_id":5,"target":{"kind":"agent","agent_id":7},"ref":"r"}`,
			channels.CallSignal{Type: "consult", Target: &channels.CallTarget{Kind: "agent", AgentID: 7}}, ""},
		{`{"type":"transfer","call_id":5,"target":{"kind":"number","number":"+4930"},"ref":"r"}`,
			channels.CallSignal{Type: "transfer", Target: &channels.CallTarget{Kind: "number", Number: "+4930"}}, ""},
		{`{"type":"transfer","call_id":5,"target":{"kind":"queue","queue_id":9},"ref":"r"}`, channels.CallSignal{}, channels.Conflict}, // the flow's
		{`{"type":"transfer","call_id":5,"target":{"kind":"cellar"},"ref":"r"}`, channels.CallSignal{}, channels.Invalid},
		{`{"type":"transfer","call_id":5,"ref":"r"}`, channels.CallSignal{}, channels.Invalid},
		{`{"type":"swap","call_id":5,"ref":"r"}`, channels.CallSignal{Type: "swap"}, ""},
		{`{"type":"record","call_id":5,"on":true,"ref":"r"}`, channels.CallSignal{Type: "record", On: true}, ""},
		{`{"type":"supervise","call_id":5,"mode":"whisper","sdp":"offer","ref":"r"}`, channels.CallSignal{}, channels.Forbidden},
		{`{"type":"supervise","call_id":5,"mode":"shout","ref":"r"}`, channels.CallSignal{}, channels.Invalid},
		{`{"type":"echo","sdp":"offer","ref":"r"}`, channels.CallSignal{}, channels.Unavailable}, // no telephone in this house
		{`{"type":"hangup","call_id":5,"ref":"r"}`, channels.CallSignal{Type: "hangup"}, channels.Conflict},
		{`{"type":"hangup","call_id":6,"ref":"r"}`, channels.CallSignal{}, channels.NotFound},
		{`{"type":"hangup","ref":"r"}`, channels.CallSignal{}, channels.Invalid},
		{`{"type":"dtmf","call_id":5,"digit":"12","ref":"r"}`, channels.CallSignal{}, channels.Invalid},
		{`{"type":"dtmf","call_id":5,"ref":"r"}`, channels.CallSignal{}, channels.Invalid},
		{`{"type":"connect","call_id":5,"ref":"r"}`, channels.CallSignal{}, channels.Invalid},
	} {
		p.send(c.frame)
		typ := LiveOutTypeDone
		if c.err != "" {
			typ = LiveOutTypeError
		}
		f := p.next(typ)
		if *f.Ref != "r" || c.err != "" && f.Error.Code != c.err {
			t.Errorf("%s: %+v %+v", c.frame, f, f.Error)
		}
		if c.want.Type != "" {
			c.want.CallID, c.want.AgentID, c.want.Name, c.want.Tab = 5, h.mira, p.hello.Me.Name, *p.hello.Tab
			if sig := <-signals; !reflect.DeepEqual(sig, c.want) {
				t.Errorf("%s: %+v", c.frame, sig)
			}
		}
	}
	if len(signals) > 0 {
		t.Errorf("the call heard %+v", <-signals)
	}
}

func TestBadFrames(t *testing.T) {
	h := newHouse(t)
	p := h.page(h.signIn(h.mira))
	for _, c := range []struct{ frame, field string }{
		{`{"type":`, ""}, {`[]`, ""}, {`{}`, "type"}, {`{"type":"dance"}`, "type"}, {`{"type":"ping","more":1}`, "more"},
		{`{"type":"watch","conversation_id":"7"}`, "conversation_id"}, {`{"type":"watch"}`, "conversation_id"},
		{`{"type":"watch","conversation_id":-1}`, "conversation_id"}, {"{\"type\":\"ping\",\"ref\":\"\xff\"}", ""},
		{`{"type":"ping","ref":"` + strings.Repeat("x", 65) + `"}`, "ref"},
	} {
		p.send(c.frame)
		if f := p.next(LiveOutTypeError); f.Error.Code != channels.Invalid || f.Error.Field != c.field {
			t.Errorf("%s: %+v", c.frame, f.Error)
		}
	}
	h.ok(p.conn.WriteMessage(websocket.BinaryMessage, []byte{0, 1}))
	if f := p.next(LiveOutTypeError); f.Error.Code != channels.Invalid {
		t.Errorf("%+v", f.Error)
	}
	for range 2 * framesBurst {
		p.send(`{"type":"ping"}`)
	}
	if f := p.next(LiveOutTypeError); f.Error.Code != channels.TooMany {
		t.Errorf("%+v", f.Error)
	}
	p.send(`{"type":"ping","ref":"` + strings.Repeat("x", frameLimit) + `"}`)
	p.closed(websocket.CloseMessageTooBig)
}

// A tab that does not read loses news and is told so; the server waits for nobody.
func TestSlowTabIsToldToReadAgain(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	slow, res := h.dial(s, h.base)
	if slow == nil {
		t.Fatal(res)
	}
	defer slow.Close()
	quick := h.page(s)
	pad := strings.Repeat("x", 40_000)
	const frames = 3 * queueLength
	for range frames {
		h.ok(h.bus.Publish(channels.AgentSubject(h.mira), map[string]any{"type": "call_dtmf", "digit": pad}))
		quick.next(LiveOutTypeCallDtmf)
	}
	got := 0
	for {
		h.ok(slow.SetReadDeadline(time.Now().Add(writeLimit)))
		_, data, err := slow.ReadMessage()
		h.ok(err)
		var f LiveOut
		h.ok(json.Unmarshal(data, &f))
		if f.Type == LiveOutTypeResync {
			break
		}
		got++
	}
	if got >= frames {
		t.Error("nothing was lost: the test proves nothing")
	}
	h.ok(h.bus.Publish(channels.AgentSubject(h.mira), map[string]any{"type": "call_dtmf", "digit": "1"}))
	_, data, err := slow.ReadMessage()
	h.ok(err)
	if string(data) != `{"digit":"1","type":"call_dtmf"}` {
		t.Errorf("after resync: %.60s", data)
	}
}

// A tab that takes nothing at all is gone, even if it still sends: else it would count as present for ever.
func TestDeadTabIsForgotten(t *testing.T) {
	for name, sends := range map[string]bool{"silent": false, "still sending": true} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.server.writeLimit = 200 * time.Millisecond
			dead, res := h.dial(h.signIn(h.mira), h.base)
			if dead == nil {
				t.Fatal(res)
			}
			defer dead.Close()
			forgotten := func() bool {
				var n int
				h.ok(h.pool.QueryRow(h.ctx, `select count(*) from agent_sockets`).Scan(&n))
				return n == 0
			}
			h.until("the tab is there", func() bool { return !forgotten() })
			pad := strings.Repeat("x", 200_000)
			h.until("the tab is forgotten", func() bool {
				_ = h.bus.Publish(channels.AgentSubject(h.mira), map[string]any{"type": "call_dtmf", "digit": pad})
				if sends {
					_ = dead.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`))
				}
				return forgotten()
			})
		})
	}
}

// What was said while the bus was away is lost; the tabs are told to read again.
func TestBusComesBack(t *testing.T) {
	opt := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}
	start := func() *server.Server {
		s, err := server.NewServer(opt)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("NATS is not ready")
		}
		return s
	}
	nats := start()
	opt.Port = nats.Addr().(*net.TCPAddr).Port
	h := newHouseOn(t, nats.ClientURL())
	p := h.page(h.signIn(h.mira))
	nats.Shutdown()
	nats.WaitForShutdown()
	h.until("not ready", func() bool { return h.do("GET", "/readyz", "", nil).status == 503 })
	h.until("the hub sees it", h.server.hub.away.Load)
	nats = start()
	defer func() { nats.Shutdown(); nats.WaitForShutdown() }()
	p.next(LiveOutTypeResync)
	h.until("ready again", func() bool { return h.do("GET", "/readyz", "", nil).status == 200 })
}

func TestStopSaysGoodbye(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	p := h.page(s)
	p.send(map[string]any{"type": "watch", "conversation_id": h.conversation(channels.Bot, nil)})
	h.stop()
	p.closed(closeAway)
	h.until("the tab is forgotten", func() bool {
		var n int
		h.ok(h.pool.QueryRow(h.ctx, `select count(*) from agent_sockets`).Scan(&n))
		return n == 0
	})
	conn, _ := h.dial(s, h.base)
	_, _, err := conn.ReadMessage()
	if !websocket.IsCloseError(err, closeLater) {
		t.Errorf("a socket after the end: %v", err)
	}
	conn.Close()
}

func TestTabsAreLimited(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	for range tabsPerAgent {
		h.page(s)
	}
	conn, _ := h.dial(s, h.base)
	defer conn.Close()
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, closeLater) {
		t.Errorf("one tab too many: %v", err)
	}
}
