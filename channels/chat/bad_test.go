package chat

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"patchbay/channels"
)

func TestOrigin(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		origin string
		status int
	}{
		{"", 101},
		{"http://" + h.address, 101}, // our own page, by the address it was reached at
		{"http://chat.example", 101},
		{"http://CHAT.example:80", 101},
		{"https://shop.example", 101},
		{"http://shop.example", 403}, // another scheme
		{"https://shop.example:8443", 403},
		{"https://evil.example", 403},
		{"https://shop.example.evil.example", 403},
		{"null", 403},
	} {
		conn, res, err := h.dial(http.Header{"Origin": {c.origin}})
		if conn != nil {
			conn.Close()
		}
		if res == nil || res.StatusCode != c.status {
			t.Errorf("%q: %v, %v", c.origin, res, err)
		}
	}
}

func TestPlainHTTPOnTheSocket(t *testing.T) {
	h := open(t)
	res, err := http.Get("http://" + h.address + "/chat/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestTooManySocketsOfOneAddress(t *testing.T) {
	h := open(t, func(c *Config) { c.Limits.Sockets = 2 })
	h.visit("", 0)
	last, _ := h.visit("", 0)
	if _, res, err := h.dial(nil); res == nil || res.StatusCode != 429 {
		t.Fatalf("third socket: %v, %v", res, err)
	}
	last.conn.Close()
	for start := time.Now(); time.Since(start) < patience; {
		if conn, _, err := h.dial(nil); err == nil {
			conn.Close()
			return
		}
	}
	t.Error("a closed socket still counts")
}

func TestBadFrames(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	long := strings.Repeat("ä", 4001)
	for name, c := range map[string]struct {
		frame string
		code  channels.Code
		field string
		id    string
	}{
		"no JSON":              {`hello`, channels.Invalid, "", ""},
		"half JSON":            {`{"type":"say"`, channels.Invalid, "", ""},
		"two values":           {`{"type":"ping"}{"type":"ping"}`, channels.Invalid, "", ""},
		"array":                {`["ping"]`, channels.Invalid, "", ""},
		"null":                 {`null`, channels.Invalid, "type", ""},
		"empty":                {``, channels.Invalid, "", ""},
		"deep":                 {strings.Repeat("[", 20000), channels.Invalid, "", ""},
		"no type":              {`{}`, channels.Invalid, "type", ""},
		"unknown type":         {`{"type":"accept"}`, channels.Invalid, "type", ""},
		"type is a number":     {`{"type":1}`, channels.Invalid, "type", ""},
		"unknown field":        {`{"type":"say","client_id":"a","body":"b","author":"agent"}`, channels.Invalid, "author", "a"},
		"foreign conversation": {`{"type":"say","client_id":"a","body":"b","conversation_id":1}`, channels.Invalid, "conversation_id", "a"},
		"field of another":     {`{"type":"ping","body":"b"}`, channels.Invalid, "body", ""},
		"body is a number":     {`{"type":"say","client_id":"a","body":7}`, channels.Invalid, "body", "a"},
		"body missing":         {`{"type":"say","client_id":"a"}`, channels.Invalid, "body", "a"},
		"body blank":           {`{"type":"say","client_id":"a","body":" \n\t "}`, channels.Invalid, "body", "a"},
		"body too long":        {`{"type":"say","client_id":"a","body":"` + long + `"}`, channels.TooLarge, "body", "a"},
		"NUL":                  {`{"type":"say","client_id":"a","body":"x\u0000y"}`, channels.Invalid, "body", "a"},
		"invalid UTF-8":        {"{\"type\":\"say\",\"client_id\":\"a\",\"body\":\"\xff\xfe\"}", channels.Invalid, "", ""},
		"no client_id":         {`{"type":"say","body":"b"}`, channels.Invalid, "client_id", ""},
		"strange client_id":    {`{"type":"person","client_id":"a b"}`, channels.Invalid, "client_id", "a b"},
		"long client_id":       {`{"type":"person","client_id":"` + long[:65] + `"}`, channels.Invalid, "", ""},
		"long name":            {`{"type":"identify","name":"` + long + `"}`, channels.TooLarge, "name", ""},
		"name with a line":     {`{"type":"identify","name":"a\nb"}`, channels.Invalid, "name", ""},
		"leave, no address":    {`{"type":"leave","client_id":"a","body":"b"}`, channels.Invalid, "email", "a"},
		"leave, no domain":     {`{"type":"leave","client_id":"a","email":"ole@customer","body":"b"}`, channels.Invalid, "email", "a"},
		"leave, two":           {`{"type":"leave","client_id":"a","email":"a@b.test,c@d.test"}`, channels.Invalid, "email", "a"},
		"leave, with a name":   {`{"type":"leave","client_id":"a","email":"Ole <ole@customer.test>"}`, channels.Invalid, "email", "a"},
		"leave, a header":      {`{"type":"leave","client_id":"a","email":"a@b.test\r\nBcc: c@d.test"}`, channels.Invalid, "email", "a"},
		"leave, long address":  {`{"type":"leave","client_id":"a","email":"` + strings.Repeat("a", 250) + `@b.test"}`, channels.TooLarge, "email", "a"},
		"leave, long":          {`{"type":"leave","client_id":"a","email":"a@b.test","body":"` + long + `"}`, channels.TooLarge, "body", "a"},
		"leave, no client_id":  {`{"type":"leave","email":"a@b.test","body":"b"}`, channels.Invalid, "client_id", ""},
		"hello twice":          {`{"type":"hello"}`, channels.Conflict, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			p.raw(websocket.TextMessage, []byte(c.frame))
			f := p.wantError(c.code, c.field)
			if id, _ := f["client_id"].(string); id != c.id {
				t.Errorf("client_id %q, want %q", id, c.id)
			}
		})
	}
	p.t = t
	p.raw(websocket.BinaryMessage, []byte(`{"type":"ping"}`))
	p.wantError(channels.Invalid, "")
	p.say("ok", strings.Repeat("ä", 4000))
	p.wantMessage(strings.Repeat("ä", 4000))
	if n := h.count("messages"); n != 2 {
		t.Errorf("%d messages stored", n)
	}
}

func TestEveryFrameNeedsAHello(t *testing.T) {
	h := open(t)
	for _, kind := range []string{"say", "person", "no_person", "typing", "end", "ping", "identify"} {
		p := h.connect()
		f := frame{"type": kind}
		if kind == "say" || kind == "person" {
			f["client_id"] = "a"
		}
		if kind == "say" {
			f["body"] = "b"
		}
		p.send(f)
		p.wantError(channels.Unauthorized, "")
		p.send(frame{"type": "hello"})
		p.want("welcome")
	}
	if n := h.count("contacts"); n != 0 {
		t.Errorf("%d contacts", n)
	}
}

func TestASocketWithoutHelloEnds(t *testing.T) {
	h := open(t, func(c *Config) { c.HelloIn = 50 * time.Millisecond })
	h.connect().wantClose(websocket.ClosePolicyViolation)
}

func TestASilentSocketEnds(t *testing.T) {
	h := open(t, func(c *Config) { c.SilentIn = 2 * time.Second })
	p, _ := h.visit("", 0)
	p.wantClose(websocket.CloseNormalClosure)
}

func TestUnknownTokens(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	flipped := []byte(p.token)
	if flipped[0]++; flipped[0] > 'z' {
		flipped[0] = 'A'
	}
	for name, f := range map[string]frame{
		"garbage":               {"type": "hello", "token": "let me in"},
		"too short":             {"type": "hello", "token": p.token[:42]},
		"quoting":               {"type": "hello", "token": "' or 1=1 --"},
		"another, with history": {"type": "hello", "token": newToken(), "after": 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := h.connect()
			q.t = t
			q.send(f)
			q.wantError(channels.Unauthorized, "token")
			q.send(frame{"type": "hello"})
			q.want("welcome")
		})
	}
	q := h.connect()
	q.send(frame{"type": "hello", "after": -1})
	q.wantError(channels.Invalid, "after")
}

// A token opens its own conversation and nothing else.
func TestAnotherVisitorSeesNothing(t *testing.T) {
	h := open(t)
	a, id := h.begin()
	b, w := h.visit(newToken(), 0)
	if w["conversation_id"] != nil {
		t.Errorf("welcome %v", w)
	}
	b.say("b1", "I am B")
	b.wantMessage("I am B")
	b.want("state")
	a.say("a1", "I am A")
	a.wantMessage("I am A")
	h.write(id, channels.Message{Author: channels.ByAI, Body: "to A"}, false)
	a.wantMessage("to A")
	a.nothingMore()
	b.nothingMore()
}

func TestACursorAheadOfTheRowsStartsAgain(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	again, _ := h.visit(p.token, 99) // the database was put back to a copy
	again.want("resync")
	again.wantMessage("Hello")
	again.nothingMore()
}

func TestAMessageOfOneMegabyte(t *testing.T) {
	h := open(t)
	p, _ := h.begin()
	p.raw(websocket.TextMessage, bytes.Repeat([]byte("a"), 1<<20))
	p.wantError(channels.TooLarge, "")
	p.wantClose(websocket.CloseMessageTooBig)
	again, _ := h.visit(p.token, 1)
	again.say("alive", "still there?")
	again.wantMessage("still there?")
}

func TestAHundredMessagesASecond(t *testing.T) {
	h := open(t)
	p, _ := h.visit("", 0)
	const all = 100
	for n := range all {
		p.send(frame{"type": "say", "client_id": fmt.Sprint("m", n), "body": fmt.Sprint("number ", n)})
	}
	kept, refused := map[string]bool{}, map[string]bool{}
	for len(kept)+len(refused) < all {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := f["client_id"].(string)
		switch f["type"] {
		case "ack":
			kept[id] = true
		case "error":
			if f["code"] != string(channels.TooMany) {
				t.Fatalf("error %v", f)
			}
			refused[id] = true
		}
	}
	if len(kept) < 10 || len(kept) > 20 || refused["m0"] {
		t.Errorf("%d kept", len(kept))
	}
	if n := h.count("messages"); n != len(kept) {
		t.Errorf("%d stored, %d acknowledged", n, len(kept))
	}
	// The page keeps what was refused and sends it again with the same id.
	again, _ := h.visit("", 0)
	again.say("m99", "another visitor is not slowed down")
	for start := time.Now(); ; {
		p.send(frame{"type": "say", "client_id": "m99", "body": "number 99"})
		for {
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if f["type"] == "ack" {
				return
			}
			if f["type"] == "error" {
				break
			}
		}
		if time.Since(start) > patience {
			t.Fatal("refused for ever")
		}
		<-time.After(100 * time.Millisecond) // the bucket fills by the clock
	}
}

func TestVisitorsOfOneAddressShareALimit(t *testing.T) {
	h := open(t, func(c *Config) { c.Limits = Limits{AddressBurst: 3, AddressRate: 0.001} })
	for n := range 3 {
		p, _ := h.visit("", 0)
		p.say(fmt.Sprint(n), "hello")
	}
	p, _ := h.visit("", 0)
	p.send(frame{"type": "say", "client_id": "x", "body": "one too many"})
	p.wantError(channels.TooMany, "")
}

// A page that does not read costs its own session alone.
func TestAPageThatDoesNotRead(t *testing.T) {
	h := open(t)
	deaf, id := h.begin()
	quick, _ := h.visit(deaf.token, 1)
	big := strings.Repeat("x", 100_000)
	for n := range 200 { // far more than sockets and queues hold
		h.write(id, channels.Message{Author: channels.ByAI, Body: fmt.Sprint(n, big)}, false)
	}
	for n := range 200 {
		quick.wantMessage(fmt.Sprint(n, big))
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"type":"say","client_id":"a","body":"b"}`))
	f.Add([]byte(`{"type":"hello","token":"","after":3}`))
	f.Add([]byte(`{"type":"ping","type":"say"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, _, err := parse(data)
		if s, ok := in.(*say); ok && err == nil && (strings.Contains(s.Body, "\x00") || s.ClientID == "") {
			t.Errorf("let through %q", data)
		}
	})
}
