package chat

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"patchbay/channels"
)

func TestAPageViewStoresNothing(t *testing.T) {
	h := open(t)
	p, w := h.visit("", 0)
	if len(p.token) != 43 || w["company"] != "Nordlicht" || w["conversation_id"] != nil {
		t.Errorf("welcome %v", w)
	}
	p.conn.Close()
	if _, w := h.visit(p.token, 0); w["token"] != nil {
		t.Error("a token that was handed out was not taken back")
	}
	if n := h.count("contacts") + h.count("visitors") + h.count("conversations"); n != 0 {
		t.Errorf("%d rows after two page views", n)
	}
}

func TestAFirstMessageIsStoredBeforeItIsAcknowledged(t *testing.T) {
	h := open(t)
	p, _ := h.visit("", 0)
	ack := p.say("m1", "Does the Fjell 38 fit?")
	if n := h.count("messages where client_id = 'm1'"); n != 1 {
		t.Fatalf("%d rows at the acknowledgement", n)
	}
	m := ack["message"].(map[string]any)
	if ack["client_id"] != "m1" || ack["seq"] != 1.0 || m["client_id"] != "m1" || m["author"] != "contact" {
		t.Errorf("ack %v", ack)
	}
	p.wantMessage("Does the Fjell 38 fit?")
	if st := p.want("state"); st["state"] != "new" || st["conversation_id"] != ack["conversation_id"] {
		t.Errorf("state %v", st)
	}
	if n := h.count("visitors"); n != 1 {
		t.Errorf("%d visitors", n)
	}
	p.say("m2", "Hello?")
	p.wantMessage("Hello?")
	p.nothingMore()
}

func TestTheSameClientIDIsTheSameMessage(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	p.say("twice", "Once, please")
	p.wantMessage("Once, please")
	for range 3 {
		if ack := p.say("twice", "Once, please"); ack["seq"] != 2.0 {
			t.Errorf("ack %v", ack)
		}
	}
	p.nothingMore()
	if n := h.count("messages"); n != 2 {
		t.Errorf("%d messages", n)
	}
}

func TestHTMLStaysText(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	body := "<img src=x onerror=alert(1)> & <script>\n‮ \\u0041"
	p.say("x", body)
	p.wantMessage(body)
	var stored string
	h.row(&stored, `select body from messages where client_id = 'x'`)
	if stored != body {
		t.Errorf("stored %q", stored)
	}
}

func TestAReconnectCatchesUp(t *testing.T) {
	h := open(t)
	p, id := h.begin()
	p.conn.Close()
	h.write(id, channels.Message{Author: channels.ByAI, Body: "two", Data: channels.MessageData{
		Sources: []channels.Source{{PassageID: 7, Title: "Rucksacks", URL: "/p/7"}}}}, false)
	h.write(id, channels.Message{Author: channels.ByAgent, Kind: channels.Note, Private: true, Body: "three, secret"}, false)
	h.write(id, channels.Message{Author: channels.BySystem, Kind: channels.Happened, Channel: channels.Voice, Body: "four, a call"}, false)
	h.write(id, channels.Message{Author: channels.ByAgent, Body: "five", Data: channels.MessageData{AgentName: "Ana", Reason: "secret"}}, false)

	again, w := h.visit(p.token, 1)
	if w["seq"] != 5.0 || w["conversation_id"] != float64(id) || w["token"] != nil {
		t.Errorf("welcome %v", w)
	}
	two := again.want("message")["message"].(map[string]any)
	if got := fmt.Sprint(two["sources"]); got != "[map[title:Rucksacks url:/p/7]]" {
		t.Errorf("sources %s", got)
	}
	five := again.want("message")["message"].(map[string]any)
	if five["seq"] != 5.0 || five["agent_name"] != "Ana" || five["data"] != nil || five["reason"] != nil {
		t.Errorf("message %v", five)
	}
	again.nothingMore()

	all, _ := h.visit(p.token, 0)
	all.wantMessage("Hello")
	all.wantMessage("two")
	all.wantMessage("five")
	all.nothingMore()
}

func TestALongConversationComesWhole(t *testing.T) {
	h := open(t)
	p, id := h.begin()
	h.exec(`insert into messages (conversation_id, seq, author, channel, kind, body)
		select $1, n, 'ai', 'chat', 'text', 'm' || n from generate_series(2, 1003) n`, id)
	h.exec(`update conversations set last_seq = 1003 where id = $1`, id)
	again, _ := h.visit(p.token, 1)
	for n := 2; n <= 1003; n++ {
		again.wantMessage(fmt.Sprint("m", n))
	}
	again.nothingMore()
}

func TestTwoSocketsOfOneVisitor(t *testing.T) {
	h := open(t)
	one, _ := h.visit("", 0)
	two, _ := h.visit(one.token, 0) // open before there is a conversation
	one.say("a", "from one")
	for _, p := range []*page{one, two} { // before anything else is said: messages go ahead of the state
		p.wantMessage("from one")
		p.want("state")
	}
	two.say("b", "from two")
	one.wantMessage("from two")
	two.wantMessage("from two")
	one.nothingMore()
	two.nothingMore()
	if n := h.count("conversations"); n != 1 {
		t.Errorf("%d conversations", n)
	}
}

func TestALostEventIsHealed(t *testing.T) {
	h := open(t)
	p, id := h.begin()
	h.write(id, channels.Message{Author: channels.ByAI, Body: "lost"}, true)
	h.write(id, channels.Message{Author: channels.ByAI, Body: "heard"}, false)
	p.wantMessage("lost")
	p.wantMessage("heard")
	p.nothingMore()
}

func TestALostLastEventIsHealedByAPing(t *testing.T) {
	h := open(t)
	p, id := h.begin()
	h.write(id, channels.Message{Author: channels.ByAI, Body: "lost"}, true)
	for start := time.Now(); ; { // the rows are read at most every freshAfter
		p.send(frame{"type": "ping"})
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if f["type"] == "message" {
			break
		}
		if time.Since(start) > patience {
			t.Fatal("never healed")
		}
		<-time.After(50 * time.Millisecond) // a visitor's page pings slowly, too
	}
}

func TestEventsDoubledAndOutOfOrder(t *testing.T) {
	h := open(t)
	p, id := h.begin()
	two := channels.Message{Author: channels.ByAI, Body: "two"}
	three := channels.Message{Author: channels.ByAI, Body: "three"}
	two.Seq = h.write(id, two, true)
	three.Seq = h.write(id, three, true)
	for _, m := range []channels.Message{three, two, three} {
		m.ConversationID, m.Channel, m.Kind = id, channels.Chat, channels.Text
		h.publish(id, &m)
	}
	p.wantMessage("two")
	p.wantMessage("three")
	p.nothingMore()
}

func TestPrivateNewsStaysPrivate(t *testing.T) {
	h := open(t)
	p, id := h.begin()
	h.write(id, channels.Message{Author: channels.ByAgent, Kind: channels.Note, Private: true, Body: "note"}, false)
	h.write(id, channels.Message{Author: channels.ByAgent, Channel: channels.Email, Body: "mail"}, false)
	h.write(id, channels.Message{Author: channels.BySystem, Kind: channels.Happened, Private: true, Body: "missed"}, false)
	h.write(id, channels.Message{Author: channels.ByAgent, Body: "for you"}, false)
	p.wantMessage("for you")
	p.nothingMore()
}

func TestDraftAndTyping(t *testing.T) {
	h := open(t)
	p, id := h.begin()
	subject := channels.ConversationSubject(id)
	tell := func(e channels.Event) {
		e.ConversationID = id
		if err := h.bus.Publish(subject, e); err != nil {
			t.Fatal(err)
		}
	}
	tell(channels.Event{Type: channels.EventDraft, Draft: &channels.Draft{Text: "Yes, "}})
	if d := p.want("draft"); d["text"] != "Yes, " || d["done"] != nil {
		t.Errorf("draft %v", d)
	}
	tell(channels.Event{Type: channels.EventDraft, Draft: &channels.Draft{Done: true}})
	if d := p.want("draft"); d["text"] != "" || d["done"] != true {
		t.Errorf("draft %v", d)
	}
	tell(channels.Event{Type: channels.EventTyping, Message: &channels.Message{Author: channels.ByAgent}})
	p.want("typing")

	heard := make(chan []byte, 10)
	cancel, err := h.bus.Subscribe(subject, func(_ string, data []byte) { heard <- data })
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	p.send(frame{"type": "typing"})
	p.send(frame{"type": "typing"})
	var e channels.Event
	if err := json.Unmarshal(<-heard, &e); err != nil || e.Type != channels.EventTyping || e.Message.Author != channels.ByContact {
		t.Errorf("event %+v, %v", e, err)
	}
	p.nothingMore() // its own typing does not come back, and the second one was too soon

	h.exec(`update conversations set state = 'agent', agent_id = $2 where id = $1`, id, h.agent)
	h.publish(id, nil)
	if st := p.want("state"); st["agent_name"] != "Ana" || st["state"] != "agent" {
		t.Errorf("state %v", st)
	}
	tell(channels.Event{Type: channels.EventDraft, Draft: &channels.Draft{Text: "I can"}})
	p.nothingMore() // the model is silent once a person has it
}

func TestThePlaceInLine(t *testing.T) {
	h := open(t, func(c *Config) { c.Refresh = 50 * time.Millisecond })
	var contact int64
	h.row(&contact, `insert into contacts default values returning id`)
	before := `insert into conversations (contact_id, queue_id, state, channel, waiting_since, front)
		values ($1, $2, 'waiting', 'voice', now() + $3::interval, $4)`
	h.exec(before, contact, h.queue, "-1 minute", false)
	h.exec(before, contact, h.queue, "1 hour", true) // late, but in front
	h.exec(before, contact, h.queue, "1 hour", false)

	p, _ := h.visit("", 0)
	p.send(frame{"type": "person", "client_id": "button"}) // before the first message
	if ack := p.want("ack"); ack["seq"] != 1.0 || ack["client_id"] != "button" {
		t.Errorf("ack %v", ack)
	}
	p.wantMessage("We are getting a person.")
	st := p.want("state")
	if st["state"] != "waiting" || st["position"] != 3.0 || st["ahead"] != 2.0 || st["due_at"] == nil || st["since"] == nil {
		t.Errorf("state %v", st)
	}
	_, w := h.visit(p.token, 1)
	if line, _ := w["waiting"].(map[string]any); line["position"] != 3.0 {
		t.Errorf("welcome %v", w)
	}
	h.exec(`update conversations set state = 'closed' where front`) // nobody tells: another conversation's news
	if st := p.want("state"); st["position"] != 2.0 {
		t.Errorf("state %v", st)
	}
	p.send(frame{"type": "no_person"})
	if st := p.want("state"); st["state"] != "bot" || st["position"] != nil {
		t.Errorf("state %v", st)
	}
	p.send(frame{"type": "end"})
	if st := p.want("state"); st["state"] != "closed" {
		t.Errorf("state %v", st)
	}
	p.say("again", "Hello again")
}

// The process dies between the commit and the acknowledgement: the page comes back with its token and its message.
func TestAnUnacknowledgedFirstMessageIsNotDoubled(t *testing.T) {
	h := open(t)
	dies := func(channels.Inbound) error { return errBroken }
	h.after.Store(&dies)
	p, _ := h.visit("", 0)
	p.send(frame{"type": "say", "client_id": "m1", "body": "Hello"})
	p.wantError(channels.Unavailable, "")
	p.conn.Close()
	if h.count("messages") != 1 || h.count("visitors") != 0 {
		t.Fatal("the test wants a stored message and no visitor")
	}
	h.after.Store(nil)

	again, w := h.visit(p.token, 0)
	if w["conversation_id"] == nil {
		t.Fatalf("welcome %v", w)
	}
	again.wantMessage("Hello")
	again.send(frame{"type": "say", "client_id": "m1", "body": "Hello"})
	if ack := again.want("ack"); ack["seq"] != 1.0 {
		t.Errorf("ack %v", ack)
	}
	again.nothingMore()
	if h.count("messages") != 1 || h.count("contacts") != 1 || h.count("visitors") != 1 {
		t.Error("doubled")
	}
}

func TestWhatReceiveRefuses(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	for _, c := range []struct {
		err  error
		code channels.Code
	}{
		{errBroken, channels.Unavailable},
		{fmt.Errorf("deep: %w", channels.FailField(channels.Conflict, "", "Not now.")), channels.Conflict},
	} {
		refuse := func(channels.Inbound) error { return c.err }
		h.before.Store(&refuse)
		p.send(frame{"type": "say", "client_id": "m9", "body": "Hello"})
		if f := p.wantError(c.code, ""); f["client_id"] != "m9" || f["message"] == errBroken.Error() {
			t.Errorf("error %v", f)
		}
	}
	h.before.Store(nil)
	p.say("m9", "Hello")
}

func TestAStoppingServerStoresAndSaysGoodbye(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	other, _ := h.visit("", 0)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	slow := func(channels.Inbound) error { close(arrived); <-goOn; return nil }
	h.before.Store(&slow)
	p.send(frame{"type": "say", "client_id": "late", "body": "Just in time"})
	<-arrived
	closed := make(chan struct{})
	go func() { h.chat.Close(); close(closed) }()
	other.wantClose(websocket.CloseGoingAway)
	close(goOn)
	if ack := p.want("ack"); ack["client_id"] != "late" {
		t.Errorf("ack %v", ack)
	}
	p.wantClose(websocket.CloseGoingAway)
	<-closed
	late := h.connect()
	late.wantClose(websocket.CloseGoingAway)
}

func TestInfoHasOnlyWhatExists(t *testing.T) {
	h := open(t)
	res, err := http.Get("http://" + h.address + "/chat/info")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(res.Body)
	if want := `{"company":"Nordlicht","phone":"+49 30 23125 410"}`; err != nil || string(body) != want {
		t.Errorf("%s, %v", body, err)
	}
}

// TestAMessageThatIsAnsweredByMail: the page hears where the answer goes, now and when it comes back, and sees no more of the
// address than a hint.
func TestAMessageThatIsAnsweredByMail(t *testing.T) {
	h := open(t, func(c *Config) { c.Messages, c.Mail = true, "help@nordlicht.test" })
	p, w := h.visit("", 0)
	if w["messages"] != true {
		t.Errorf("welcome %v", w)
	}
	p.send(frame{"type": "person", "client_id": "button"})
	p.want("ack")
	p.wantMessage("We are getting a person.")
	p.want("state")
	p.send(frame{"type": "leave", "client_id": "left", "email": "Help@nordlicht.test", "body": "Hello"})
	p.wantError(channels.Invalid, "email")
	p.send(frame{"type": "leave", "client_id": "left", "email": " ole@customer.test ", "body": "My stove leaks."})
	if ack := p.want("ack"); ack["client_id"] != "left" || ack["seq"] == nil {
		t.Errorf("ack %v", ack)
	}
	p.wantMessage("My stove leaks.")
	h.exec(`update conversations set left_message = 'email', reply_to = 'ole@customer.test', channel = 'email'`) // the switchboard's part
	p.send(frame{"type": "ping"})
	h.publish(1, nil)
	var st frame
	for st == nil || st["type"] == "pong" {
		st, _ = p.next()
	}
	if st["type"] != "state" || st["state"] != "waiting" || st["answer_to"] != "o•••@customer.test" || st["due_at"] == nil {
		t.Errorf("%v", st)
	}
	_, w = h.visit(p.token, 9)
	if line, _ := w["waiting"].(map[string]any); line["answer_to"] != "o•••@customer.test" {
		t.Errorf("welcome of who comes back: %v", w)
	}
}

// TestNoMailbox: where nobody could answer by mail nothing is offered, and what is asked for all the same is refused.
func TestNoMailbox(t *testing.T) {
	h := open(t)
	p, w := h.visit("", 0)
	if w["messages"] != nil {
		t.Errorf("welcome %v", w)
	}
	p.send(frame{"type": "leave", "client_id": "left", "email": "ole@customer.test", "body": "Hello"})
	p.wantError(channels.Unavailable, "")
}
