package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"patchbay/channels"
	"patchbay/channels/voice/speech"
	"patchbay/llm"
	"patchbay/llm/llmtest"
	"patchbay/server/db/dbtest"
	"patchbay/webui"
)

func TestMain(m *testing.M) {
	speech.Serve(os.Args[1:]) // as a child that hears and speaks it does not return
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // those that run beside each other wait, they do not compute
		panic(err)
	}
	dbtest.Main(m,
		// fasthttp keeps its workers and its clock for the next server
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).workerFunc"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}

// ollama is the scripted one, as settings for a house.
func ollama(t *testing.T, mood llmtest.Mood) (*llmtest.Server, []string) {
	s := llmtest.New(t, mood)
	return s, []string{"OLLAMA_HOST=" + s.URL, "PATCHBAY_OLLAMA_MODEL=" + s.Model}
}

// TestChatStreet: a visitor asks, the responder answers from the knowledge base, the visitor wants a person, the desk
// rings, two people write, the agent ends, the visitor comes back to the same conversation.
func TestChatStreet(t *testing.T) {
	model, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	a := h.agent()

	v := h.visitor("", 0)
	release := model.Hold()
	v.says("How long can I send back a tent that I do not like?")
	v.hears("its own words: from now on it sees drafts", by("contact"))
	release()
	draft := v.await("draft", func(f frame) bool { return f.str("type") == "draft" && f.str("text") != "" })
	answer := v.hears("the answer", by("ai"))
	if !strings.HasPrefix(answer.str("body"), draft.str("text")) {
		t.Errorf("draft %q is no beginning of the answer %q", draft.str("text"), answer.str("body"))
	}
	if answer["sources"] == nil {
		t.Errorf("the answer names no source: %v", answer)
	}

	v.says("I would like to talk to a real person please")
	v.hears("that we are getting a person", event(channels.CodeWaiting))
	o := a.offer()
	if o.str("summary") == "" || o.str("contact_name") == "" || o.str("why") == "" || o.num("seconds") != 20 {
		t.Errorf("the offer does not say who, what or why: %v", o)
	}
	conv := o.num("conversation_id")
	a.accept(o)
	through := v.hears("who it is", event(channels.CodeThrough))
	if !strings.Contains(through.str("body"), "Ana") {
		t.Errorf("through: %v", through)
	}
	a.replies(conv, "Hello, Ana here. What about the tent?")
	if got := v.hears("Ana's words", by("agent")).str("body"); got != "Hello, Ana here. What about the tent?" {
		t.Errorf("heard %q", got)
	}
	if one[int](h, `select count(*) from promises where conversation_id = $1 and closed_by = 'agent'`, conv) != 1 {
		t.Error("the promise is not kept by the agent's first word")
	}
	a.call("POST", "/api/conversations/"+itoa(conv)+"/end", nil, nil)
	v.hears("the end", event(channels.CodeEnded))
	a.call("POST", "/api/conversations/"+itoa(conv)+"/close", frame{"disposition": "solved"}, nil)
	if st := one[string](h, `select state from conversations where id = $1`, conv); st != "closed" {
		t.Errorf("state %s, want closed", st)
	}

	v.says("One more question: do you repair boots?")
	v.hears("an answer again", by("ai"))
	if n := one[int](h, `select count(*) from conversations`); n != 1 {
		t.Errorf("%d conversations, want the same one reopened", n)
	}
	// the timeline has no gap and the catch-up no double
	again := h.visitor(v.token, 0)
	seen := map[int64]bool{}
	last := one[int64](h, `select max(seq) from messages where conversation_id = $1 and not private`, conv)
	for {
		m := again.await("message", func(f frame) bool { return f.str("type") == "message" }).sub("message")
		if seen[m.num("seq")] {
			t.Fatalf("seq %d came twice", m.num("seq"))
		}
		seen[m.num("seq")] = true
		if m.num("seq") == last {
			break
		}
	}
	if n := one[int](h, `select count(*) from messages where conversation_id = $1 and not private`, conv); n != len(seen) {
		t.Errorf("caught up with %d messages of %d", len(seen), n)
	}
}

func itoa(n int64) string { return fmt.Sprint(n) }

// TestButtonBeforeTheFirstWord: the way to a person needs no message and no model.
func TestButtonBeforeTheFirstWord(t *testing.T) {
	_, env := ollama(t, llmtest.Refuse)
	h := open(t, env...)
	v := h.visitor("", 0)
	if err := v.send(frame{"type": "person", "client_id": clientID()}); err != nil {
		t.Fatal(err)
	}
	v.hears("that we are getting a person", event(channels.CodeWaiting))
	a := h.agent()
	a.accept(a.offer())
	v.hears("who it is", event(channels.CodeThrough))
}

// TestEveryMood: with the model dead, slow, lying or mad, the visitor hears the truth and a person is reached.
func TestEveryMood(t *testing.T) {
	t.Parallel()
	for _, mood := range llmtest.Moods {
		t.Run(string(mood), func(t *testing.T) {
			_, env := ollama(t, mood)
			h := open(t, append(env, "PATCHBAY_OLLAMA_FIRST_TOKEN_SECONDS=2", "PATCHBAY_OLLAMA_TOTAL_SECONDS=4")...)
			v := h.visitor("", 0)
			v.says("How much is the Skarv 2 tent and when does it arrive?")
			// whatever it says: from here one word reaches a person
			v.says("agent please")
			v.hears("that a person comes", func(m frame) bool {
				return event(channels.CodeWaiting)(m) || event(channels.CodeModelDown)(m) || event(channels.CodeNoAnswer)(m)
			})
			a := h.agent()
			a.accept(a.offer())
			v.hears("who it is", event(channels.CodeThrough))
			v.forget()
			conv := one[int64](h, `select id from conversations`)
			a.replies(conv, "Ana here.")
			m := v.await("the person's words, and none of the model's before them", func(f frame) bool {
				return f.str("type") == "message" && by("agent")(f.sub("message")) || f.str("type") == "draft" && f.str("text") != "" || f.str("type") == "message" && by("ai")(f.sub("message"))
			})
			if m.sub("message").str("author") != "agent" {
				t.Errorf("the model spoke after a person took over: %v", m)
			}
		})
	}
}

// TestFailureSaysTheTruth: no wish at all; the model fails; within the limit the visitor is told and in line.
func TestFailureSaysTheTruth(t *testing.T) {
	for _, mood := range []llmtest.Mood{llmtest.Refuse, llmtest.Hang, llmtest.DieInStream, llmtest.BrokenJSON, llmtest.Empty, llmtest.Cut, llmtest.Slow, llmtest.LoopWords, llmtest.Liar} {
		t.Run(string(mood), func(t *testing.T) {
			_, env := ollama(t, mood)
			h := open(t, append(env, "PATCHBAY_OLLAMA_FIRST_TOKEN_SECONDS=1", "PATCHBAY_OLLAMA_TOTAL_SECONDS=3")...)
			v := h.visitor("", 0)
			v.says("How much is the Skarv 2 tent and when does it arrive?")
			v.hears("the truth", func(m frame) bool {
				return event(channels.CodeModelDown)(m) || event(channels.CodeNoAnswer)(m) || event(channels.CodeWaiting)(m) ||
					m.str("author") == "ai" && m.str("mode") == "quote"
			})
		})
	}
}

// TestMissedOffer: no answer in time: front of the line, the agent away.
func TestMissedOffer(t *testing.T) {
	t.Parallel()
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	if _, err := h.pool.Exec(t.Context(), `update queues set offer_seconds = 5`); err != nil {
		t.Fatal(err)
	}
	a := h.agent()
	v := h.visitor("", 0)
	v.says("representative!!")
	o := a.offer()
	ended := a.await("that it was missed", func(f frame) bool { return f.str("type") == "offer_ended" })
	if ended.str("outcome") != "missed" || ended.num("offer_id") != o.num("id") {
		t.Errorf("ended: %v", ended)
	}
	var me frame
	a.call("GET", "/api/me", nil, &me)
	if me.str("presence") != "away" || me.str("presence_reason") != "missed" {
		t.Errorf("presence %v", me)
	}
	if !one[bool](h, `select front and state = 'waiting' from conversations`) {
		t.Error("the conversation is not at the front of the line")
	}
	a.available()
	a.accept(a.offer())
	v.hears("who it is", event(channels.CodeThrough))
}

// TestHTMLIsText: what a visitor writes comes out as it went in.
func TestHTMLIsText(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	a := h.agent()
	v := h.visitor("", 0)
	const words = `<script>alert(1)</script><img src=x onerror=alert(2)> agent please`
	v.says(words)
	o := a.offer()
	if o.str("last_words") != words {
		t.Errorf("the offer shows %q", o.str("last_words"))
	}
	var rows []frame
	a.call("GET", "/api/conversations/"+itoa(o.num("conversation_id"))+"/messages", nil, &rows)
	found := false
	for _, m := range rows {
		found = found || m.str("body") == words
	}
	if !found {
		b, _ := json.Marshal(rows)
		t.Errorf("no such words in %s", b)
	}
}

// TestForeignOrigin: other people's pages get no socket.
func TestForeignOrigin(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	for _, path := range []string{"/chat/socket", "/api/live"} {
		if _, err := dial(t, h.url+path, http.Header{"Origin": {"http://evil.example"}}); err == nil {
			t.Errorf("%s took a socket from a foreign page", path)
		}
	}
}

// TestProxyInFront: the chat's limits count visitors by the address that a trusted proxy names, and nobody else's word.
func TestProxyInFront(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	for _, c := range []struct {
		proxies string
		second  bool // may another visitor behind the same proxy open a chat
	}{{"127.0.0.1", true}, {"192.0.2.1", false}} {
		h := open(t, append(env, "PATCHBAY_CHAT_ADDRESS_SOCKETS=1", "PATCHBAY_HTTP_TRUSTED_PROXIES="+c.proxies)...)
		if _, err := dial(t, h.url+"/chat/socket", http.Header{"X-Forwarded-For": {"203.0.113.7"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := dial(t, h.url+"/chat/socket", http.Header{"X-Forwarded-For": {"203.0.113.8"}}); (err == nil) != c.second {
			t.Errorf("proxies %s: second visitor: %v", c.proxies, err)
		}
		h.stop()
	}
}

// TestSourcesLead: every article that an answer may name as its source has a page behind its address.
func TestSourcesLead(t *testing.T) {
	if _, err := fs.Stat(webui.Dist(), "help.html"); err != nil {
		t.Skip("SKIP: the pages are not built (cd webui && npm ci && npm run build)")
	}
	h := open(t)
	rows, err := h.pool.Query(t.Context(), `select url, title from articles`)
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	var url, title string
	if _, err := pgx.ForEachRow(rows, []any{&url, &title}, func() error {
		resp, err := http.Get(h.url + url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || !strings.Contains(string(body), "<h1>"+title+"</h1>") {
			t.Errorf("%s: %d %.200s", url, resp.StatusCode, body)
		}
		pages++
		return err
	}); err != nil || pages == 0 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

// TestOwnKnowledge: a company's folder of articles answers; a file that is none stops the start and is named.
func TestOwnKnowledge(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("parking.md", "# Parking\n\nOur visitors park behind the mill, gate 7.\n")
	h := open(t, "PATCHBAY_KNOWLEDGE_DIR="+dir, "PATCHBAY_KNOWLEDGE_URL=https://www.example.org/faq")
	v := h.visitor("", 0)
	v.says("Where do visitors park?")
	answer := v.hears("the answer", by("ai"))
	if !strings.Contains(answer.str("body"), "gate 7") {
		t.Errorf("answer %v", answer)
	}
	if source, _ := answer["sources"].([]any); len(source) != 1 || fmt.Sprint(source[0]) != "map[title:Parking url:https://www.example.org/faq/parking]" {
		t.Errorf("sources %v", answer["sources"])
	}
	write("notes.md", "no title\n")
	write("empty.md", "# Only a title\n")
	_, err := llm.ReadArticles(os.DirFS(dir), "/help/")
	if err == nil || !strings.Contains(err.Error(), "notes.md") || !strings.Contains(err.Error(), "empty.md") {
		t.Errorf("bad files: %v", err)
	}
}

// TestAgentsOfTheSettings: who is named there signs in by a link, sets a password and gets no link at the next start.
func TestAgentsOfTheSettings(t *testing.T) {
	h := process(t, dbtest.URL(t), "PATCHBAY_DEMO=false", "PATCHBAY_DESK_AGENTS=bo: Bo Lind (supervisor)")
	h.start()
	a := h.signIn(h.link)
	var me frame
	a.call("PUT", "/api/me/password", frame{"password": "a long enough one"}, nil)
	a.call("GET", "/api/me", nil, &me)
	if me.str("login") != "bo" || me.str("name") != "Bo Lind" || me.str("role") != "supervisor" {
		t.Errorf("signed in as %v", me)
	}
	h.kill()
	h.start()
	if h.link != "" {
		t.Error("an agent with a password got a link again")
	}
	again := &agentClient{t: t, h: h, http: &http.Client{Timeout: patience}}
	again.call("POST", "/api/sign-in", frame{"login": "bo", "password": "a long enough one"}, &me)
	if status, _ := again.try("POST", "/api/sign-in", frame{"login": "bo", "password": "another one here"}); status != 401 {
		t.Errorf("a wrong password: %d", status)
	}
}
