package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"gopkg.in/yaml.v3"

	"patchbay/agents"
	"patchbay/channels"
)

type lockedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestEveryOperationHasAnEntry(t *testing.T) {
	sp, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for route, op := range sp.byRoute {
		known[op.name] = true
		if access[op.name] == nobody {
			t.Errorf("%s (%s) has no entry in the access table", op.name, route)
		}
	}
	for name := range access {
		if !known[name] {
			t.Errorf("%s is in the access table but not in the spec", name)
		}
	}
}

// Every operation as nobody, as an agent, as a supervisor and as an admin. What is allowed may still fail for another reason; what
// is not has one answer.
func TestAccessTable(t *testing.T) {
	h := newHouse(t)
	sessions := map[string]string{"none": "", "forged": "AAAA", "agent": h.signIn(h.mira), "supervisor": h.signIn(h.ada),
		"admin": h.signIn(h.person("root", "admin"))}
	id := h.conversation(channels.Waiting, nil)
	bodies := map[string]any{
		"SignIn": map[string]string{"login": "mira", "password": "wrong"}, "SignInByLink": map[string]string{"token": "wrong"},
		"SetPresence": map[string]string{"presence": "away"}, "SetPassword": map[string]string{"password": "short but long"},
		"PostMessage": map[string]string{"client_id": "12345678", "body": "hi"}, "TransferConversation": map[string]int64{"queue_id": 1},
		"CloseConversation": map[string]string{"disposition": "solved"}, "AddAddress": map[string]string{"kind": "email", "value": "a@b"},
		"SetPeopleOnly": map[string]bool{"people_only": false}, "DecideCallBack": map[string]string{"act": "now"},
	}
	for name, body := range map[string]any{"AddTrunk": map[string]string{"name": ""}, "ChangeTrunk": map[string]string{"name": ""},
		"SaveNumber": map[string]string{"kind": "queue"}, "SaveQueueSound": map[string]any{"record": true, "record_announce": true, "transcribe": false, "transcribe_announce": true, "whisper": false, "music_id": nil, "greeting_id": nil},
		"SaveBreaks": map[string]any{"breaks": []string{}}, "SetNextPresence": map[string]string{"presence": "away"}, "AddQueue": map[string]string{"name": ""},
		"ChangeQueue": map[string]string{"name": ""}, "AddSkill": map[string]string{"name": ""}, "RenameSkill": map[string]string{"name": ""},
		"ChangeAgent":  map[string]any{"capacity": 0, "queues": []int{}, "skills": []int{}},
		"AddDevice":    map[string]any{"agent_id": 1, "username": "", "digest": "md5", "enabled": true},
		"ChangeDevice": map[string]any{"agent_id": 1, "username": "", "digest": "md5", "enabled": true}} {
		bodies[name] = body
	}
	for route, op := range h.server.spec.byRoute {
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer(":id", fmt.Sprint(id), ":number", "none").Replace(path)
		var kind []string
		if op.file != "" {
			path, kind = path+"?name=x&kind=music", []string{"Content-Type", op.file}
		}
		if op.name == "ListConversations" {
			path += "?view=all"
		}
		if op.name == "DeleteQueue" {
			path += "?to=1"
		}
		if op.name == "SignOut" {
			continue // ends the session: TestSignInAndOut
		}
		for role, session := range sessions {
			a := h.do(method, path, session, bodies[op.name], kind...)
			denied := a.status == 401 || a.status == 403
			want := access[op.name] != everybody && (role == "none" || role == "forged") || access[op.name] >= supervisor && role == "agent" ||
				access[op.name] == admin && role == "supervisor"
			if strings.HasPrefix(op.name, "SignIn") {
				want = true // open to everybody, but the password is wrong
			}
			if denied != want {
				t.Errorf("%s as %s: %d %s", op.name, role, a.status, a.body)
			}
		}
	}
	for _, path := range []string{"/api/live", "/api/nothing", "/api", "/api/me/", "/api//me", "/API/me"} {
		if a := h.do("GET", path, "", nil); a.status != 401 && a.status != 404 {
			t.Errorf("%s as a stranger: %d %s", path, a.status, a.body)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	if a := h.do("PUT", "/api/me/password", s, map[string]string{"password": "correct horse"}); a.status != 204 {
		t.Fatal(a)
	}
	wrong := h.do("POST", "/api/sign-in", "", map[string]string{"login": "mira", "password": "wrong horse"})
	unknown := h.do("POST", "/api/sign-in", "", map[string]string{"login": "nobody", "password": "wrong horse"})
	h.refused(wrong, 401, channels.Unauthorized, "")
	if wrong.body != unknown.body {
		t.Errorf("%s, %s", wrong.body, unknown.body)
	}
	a := h.do("POST", "/api/sign-in", "", map[string]string{"login": "mira", "password": "correct horse"})
	var me Me
	if err := json.Unmarshal([]byte(a.body), &me); err != nil || a.status != 200 || me.ID != h.mira || !me.HasPassword || me.Role != MeRole("agent") {
		t.Fatal(a.body, err)
	}
	second := a.cookies[0].Value
	if a := h.do("POST", "/api/sign-out", second, nil); a.status != 204 || a.cookies[0].MaxAge >= 0 && a.cookies[0].Expires.Unix() > 0 {
		t.Errorf("%+v", a)
	}
	h.refused(h.do("GET", "/api/me", second, nil), 401, channels.Unauthorized, "")
	if a := h.do("GET", "/api/me", s, nil); a.status != 200 || a.header.Get("Cache-Control") != "no-store" {
		t.Error(a)
	}
	h.exec(`update sessions set expires_at = now()`)
	h.refused(h.do("GET", "/api/me", s, nil), 401, channels.Unauthorized, "")
	for range 5 {
		a = h.do("POST", "/api/sign-in", "", map[string]string{"login": "mira", "password": "wrong horse"})
	}
	h.refused(h.do("POST", "/api/sign-in", "", map[string]string{"login": "mira", "password": "correct horse"}), 429, channels.TooMany, "")
	if strings.Contains(h.log.String(), "horse") {
		t.Error("a password stands in the log")
	}
}

func TestBadRequests(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	own := h.conversation(channels.Agent, &h.mira)
	other := h.conversation(channels.Agent, &h.ada)
	msg := fmt.Sprintf("/api/conversations/%d/messages", own)
	for _, c := range []struct {
		name, method, path string
		body               any
		status             int
		code               channels.Code
		field              string
	}{
		{"conversation 0", "POST", "/api/conversations/0/close", `{"disposition":"solved"}`, 400, channels.Invalid, "id"},
		{"wrong JSON", "POST", msg, `{"client_id":`, 400, channels.Invalid, ""},
		{"something behind the JSON", "POST", msg, `{"client_id":"12345678","body":"x"} {}`, 400, channels.Invalid, ""},
		{"no body", "POST", msg, ``, 400, channels.Invalid, ""},
		{"an array", "POST", msg, `[]`, 400, channels.Invalid, ""},
		{"null", "POST", msg, `null`, 400, channels.Invalid, ""},
		{"unknown field", "POST", msg, `{"client_id":"12345678","body":"x","author":"system"}`, 400, channels.Invalid, "author"},
		{"field in capitals", "POST", msg, `{"client_id":"12345678","BODY":"x","body":"y"}`, 400, channels.Invalid, "BODY"},
		{"missing field", "POST", msg, `{"client_id":"12345678"}`, 400, channels.Invalid, "body"},
		{"wrong type", "POST", msg, `{"client_id":"12345678","body":7}`, 400, channels.Invalid, "body"},
		{"wrong type of a flag", "POST", msg, `{"client_id":"12345678","body":"x","note":"yes"}`, 400, channels.Invalid, "note"},
		{"too short", "POST", msg, `{"client_id":"1","body":"x"}`, 400, channels.Invalid, "client_id"},
		{"too long", "POST", msg, fmt.Sprintf(`{"client_id":"12345678","body":%q}`, strings.Repeat("ö", 20001)), 400, channels.Invalid, "body"},
		{"empty", "POST", msg, `{"client_id":"12345678","body":""}`, 400, channels.Invalid, "body"},
		{"white", "POST", msg, `{"client_id":"12345678","body":" \n "}`, 400, channels.Invalid, "body"},
		{"NUL", "POST", msg, `{"client_id":"12345678","body":"a\u0000b"}`, 400, channels.Invalid, "body"},
		{"half UTF-8", "POST", msg, "{\"client_id\":\"12345678\",\"body\":\"\xc3\"}", 400, channels.Invalid, ""},
		{"1 MB", "POST", msg, `{"client_id":"12345678","body":"` + strings.Repeat("x", 1<<20) + `"}`, 413, channels.TooLarge, ""},
		{"number that is none", "POST", fmt.Sprintf("/api/conversations/%d/transfer", own), `{"queue_id":1.5}`, 400, channels.Invalid, "queue_id"},
		{"number beyond 64 bits", "POST", fmt.Sprintf("/api/conversations/%d/transfer", own), `{"queue_id":99999999999999999999}`, 400, channels.Invalid, "queue_id"},
		{"value off the list", "POST", fmt.Sprintf("/api/conversations/%d/close", own), `{"disposition":"bored"}`, 400, channels.Invalid, "disposition"},
		{"id that is none", "GET", "/api/conversations/abc", nil, 400, channels.Invalid, "id"},
		{"unknown conversation", "GET", "/api/conversations/9999", nil, 404, channels.NotFound, ""},
		{"messages of an unknown conversation", "GET", "/api/conversations/9999/messages", nil, 404, channels.NotFound, ""},
		{"not yours", "POST", fmt.Sprintf("/api/conversations/%d/end", other), nil, 404, channels.NotFound, ""},
		{"conflict", "POST", fmt.Sprintf("/api/conversations/%d/take", other), nil, 409, channels.Conflict, ""},
		{"unknown offer", "POST", "/api/offers/77/accept", nil, 404, channels.NotFound, ""},
		{"no view", "GET", "/api/conversations", nil, 400, channels.Invalid, "view"},
		{"unknown view", "GET", "/api/conversations?view=theirs", nil, 400, channels.Invalid, "view"},
		{"odd time", "GET", "/api/conversations?view=all&before=yesterday", nil, 400, channels.Invalid, "before"},
		{"limit too high", "GET", msg + "?limit=501", nil, 400, channels.Invalid, "limit"},
		{"limit that is none", "GET", msg + "?limit=many", nil, 400, channels.Invalid, "limit"},
		{"unknown path", "GET", "/api/nothing", nil, 404, channels.NotFound, ""},
		{"presence off the list", "PUT", "/api/me/presence", `{"presence":"asleep"}`, 400, channels.Invalid, "presence"},
		{"password too short", "PUT", "/api/me/password", `{"password":"short"}`, 400, channels.Invalid, "password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.T = t
			h.refused(h.do(c.method, c.path, s, c.body), c.status, c.code, c.field)
		})
	}
	h.refused(h.do("POST", msg, s, `{"client_id":"12345678","body":"x"}`, "Content-Type", "text/plain"), 400, channels.Invalid, "")
	h.refused(h.do("GET", "/api/me", s, nil, "X-Long", strings.Repeat("x", 20000)), 431, channels.TooLarge, "")
	for _, origin := range []string{"http://evil.example", "null", "", "https://127.0.0.1", h.base + ".evil.example"} {
		h.refused(h.do("POST", msg, s, `{"client_id":"12345678","body":"x"}`, "Origin", origin), 403, channels.Forbidden, "")
	}
	e := h.refused(h.do("POST", "/api/contacts/1/addresses", s, `{"kind":"email","value":"a@b.c"}`), 500, internal, "")
	name := e.Text[strings.LastIndex(e.Text, " ")+1 : len(e.Text)-1]
	if log := h.log.String(); strings.Count(log, "id="+name) != 1 || !strings.Contains(log, "disk is on fire") || strings.Contains(e.Text, "fire") {
		t.Errorf("the error %q is in the log as\n%s", e.Text, log)
	}
	if a := h.do("POST", msg, s, `{"client_id":"12345678","body":"x"}`); a.status != 200 {
		t.Error("alive after all of it?", a)
	}
}

func TestConversations(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	own := h.conversation(channels.Agent, &h.mira)
	h.conversation(channels.Waiting, nil)
	path := fmt.Sprintf("/api/conversations/%d", own)
	for range 2 { // sent twice is stored once
		if a := h.do("POST", path+"/messages", s, map[string]any{"client_id": "12345678", "body": "<b>hi</b>"}); a.status != 200 || !strings.Contains(a.body, `"seq":1,`) {
			t.Fatal(a)
		}
	}
	var list ConversationList
	a := h.do("GET", "/api/conversations?view=mine", s, nil)
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list.Rows) != 1 || list.Counts.Waiting != 1 || list.Counts.Mine != 1 || list.Now.IsZero() {
		t.Errorf("%s, %v", a.body, err)
	}
	var detail ConversationDetail
	a = h.do("GET", path, s, nil)
	if err := json.Unmarshal([]byte(a.body), &detail); err != nil || detail.Conversation.LastWords != "<b>hi</b>" || detail.Contact.Name != "Rosa" {
		t.Errorf("%s, %v", a.body, err)
	}
	if a := h.do("GET", path+"/messages?after=1", s, nil); a.body != "[]" {
		t.Error(a)
	}
	if a := h.do("POST", path+"/end", s, nil); a.status != 204 {
		t.Error(a)
	}
	if a := h.do("POST", path+"/close", s, map[string]string{"disposition": "solved"}); a.status != 204 {
		t.Error(a)
	}
	if a := h.do("GET", "/api/queues", s, nil); !strings.Contains(a.body, `"waiting":1`) {
		t.Error(a)
	}
}

// Who goes away while something rings has declined it.
func TestAwayDeclines(t *testing.T) {
	h := newHouse(t)
	s := h.signIn(h.mira)
	id := h.conversation(channels.Offered, nil)
	h.exec(`insert into offers (conversation_id, agent_id, expires_at) values ($1, $2, now() + interval '20 s')`, id, h.mira)
	var me Me
	a := h.do("PUT", "/api/me/presence", s, map[string]string{"presence": "available"})
	if err := json.Unmarshal([]byte(a.body), &me); err != nil || me.Offer == nil || me.Offer.ConversationID != id || me.Presence != agents.Available {
		t.Fatal(a.body, err)
	}
	me = Me{}
	a = h.do("PUT", "/api/me/presence", s, map[string]string{"presence": "away", "reason": "  lunch "})
	if err := json.Unmarshal([]byte(a.body), &me); err != nil || me.Offer != nil || me.PresenceReason != "lunch" {
		t.Error(a.body, err)
	}
	h.refused(h.do("POST", "/api/offers/1/accept", s, nil), 409, channels.Conflict, "")
}

func TestPages(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		path, body, kind, cache string
		status                  int
	}{
		{"/", "shop", "text/html; charset=utf-8", "no-cache", 200},
		{"/desk", "desk", "text/html; charset=utf-8", "no-cache", 200},
		{"/desk/conversations/7", "desk", "text/html; charset=utf-8", "no-cache", 200},
		{"/desk/assets/main-1.js", "main", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", 200},
		{"/widget.js", "w", "text/javascript; charset=utf-8", "no-cache", 200},
		{"/chat/hello", "chat", "text/plain; charset=utf-8", "", 200},
		{"/healthz", "ok", "text/plain; charset=utf-8", "", 200},
		{"/readyz", "ready", "text/plain; charset=utf-8", "", 200},
		{"/desk/assets/none.js", "", "application/json", "", 404},
		{"/.build-id", "", "application/json", "", 404},
		{"/desk/../.build-id", "", "application/json", "", 404},
		{"/%2e%2e/etc/passwd", "", "application/json", "", 404},
		{"/chat/panic", "", "application/json", "", 500},
	} {
		a := h.do("GET", c.path, "", nil)
		if a.status != c.status || c.body != "" && a.body != c.body || a.header.Get("Content-Type") != c.kind || a.header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: %d %q %v", c.path, a.status, a.body, a.header)
		}
		if p := a.header.Get("Content-Security-Policy"); strings.Contains(p, "unsafe") || !strings.Contains(p, "frame-ancestors 'none'") ||
			a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", c.path, a.header)
		}
	}
	tag := h.do("GET", "/desk", "", nil).header.Get("Etag")
	if a := h.do("GET", "/desk", "", nil, "If-None-Match", tag); a.status != 304 || a.body != "" {
		t.Error(a)
	}
	if a := h.do("GET", "/big.js", "", nil); len(a.body) != 5000 { // the client unpacks
		t.Error(len(a.body))
	}
	if a := h.do("GET", "/big.js", "", nil, "Accept-Encoding", "identity"); len(a.body) != 5000 || a.header.Get("Content-Encoding") != "" {
		t.Error(len(a.body), a.header)
	}
	if a := h.do("GET", "/big.js", "", nil, "Accept-Encoding", "br, gzip"); len(a.body) > 500 || a.header.Get("Content-Encoding") != "gzip" {
		t.Error(len(a.body), a.header)
	}
	if a := h.do("GET", "/metrics", "", nil); a.status != 200 {
		t.Error(a)
	}
	if a := h.do("GET", "/metrics", "", nil, "X-Forwarded-For", "203.0.113.9"); a.status != 404 {
		t.Error("metrics for a stranger behind a proxy:", a)
	}
	if a := h.do("GET", "/widget.js", "", nil); a.header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Error(a.header)
	}
}

func TestCookieIsSecureAndAddressIsTheClients(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.PublicURL, c.TrustedProxies = "https://desk.example.org", []string{"127.0.0.0/8"} })
	link, err := agents.SignInLink(h.ctx, h.pool, h.mira)
	h.ok(err)
	a := h.do("POST", "/api/sign-in/link", "", map[string]string{"token": link}, "Origin", "https://desk.example.org")
	if a.status != 200 || !a.cookies[0].Secure || a.cookies[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("%d %+v", a.status, a.cookies)
	}
	h.refused(h.do("POST", "/api/sign-out", a.cookies[0].Value, nil, "Origin", "http://desk.example.org"), 403, channels.Forbidden, "")
	h.do("POST", "/api/sign-in", "", map[string]string{"login": "x", "password": "y"}, "X-Forwarded-For", "203.0.113.66, 203.0.113.9")
	var subject string
	h.ok(h.pool.QueryRow(h.ctx, `select subject from sign_in_failures where subject like 'ip:%'`).Scan(&subject))
	if subject != "ip:203.0.113.9" { // what the proxy wrote, not what the client claims
		t.Error(subject)
	}
	_, err = New(Config{Pool: h.pool, Bus: h.bus, NodeID: "n1", Web: h.server.cfg.Web, PublicURL: "desk", TrustedProxies: []string{"proxy"}})
	if err == nil || !strings.Contains(err.Error(), "public URL") || !strings.Contains(err.Error(), "trusted proxy proxy") {
		t.Error(err)
	}
}

// The nouns that travel as they are have exactly the fields of their schemas.
func TestNounsMatchTheSpec(t *testing.T) {
	raw, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
				Enum       []string
			}
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"Message": channels.Message{}, "MessageData": channels.MessageData{}, "Contact": channels.Contact{},
		"Address": channels.Address{}, "Call": channels.Call{}, "Source": channels.Source{}, "Error": channels.Error{}, "Offer": agents.Offer{},
		"Trunk": channels.Trunk{}, "TrunkState": channels.TrunkState{}, "Rate": channels.Rate{}, "Number": channels.Number{},
		"Device": channels.Device{}, "Registration": channels.Registration{}, "Prompt": channels.Prompt{}, "QueueSound": channels.QueueSound{}} {
		var want, got []string
		for field := range file.Components.Schemas[name].Properties {
			want = append(want, field)
		}
		for i := range reflect.TypeOf(v).NumField() {
			if tag, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ","); tag != "-" {
				got = append(got, tag)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s: spec %v, struct %v", name, want, got)
		}
	}
	var states []string
	for _, s := range channels.States {
		states = append(states, string(s))
	}
	if !slices.Equal(file.Components.Schemas["State"].Enum, states) {
		t.Errorf("states: %v, %v", file.Components.Schemas["State"].Enum, states)
	}
}
