package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"patchbay/llm/llmtest"
)

// desk and visitor run a helper of webui/e2e on a page.
func (b *browser) desk(page, fn string, args ...any) json.RawMessage {
	b.t.Helper()
	return b.do("helper", frame{"page": page, "from": "desk", "fn": fn, "args": args})
}

func (b *browser) visitor(page, fn string, args ...any) json.RawMessage {
	b.t.Helper()
	return b.do("helper", frame{"page": page, "from": "visitor", "fn": fn, "args": args})
}

// openDesk signs the start's agent in and makes her available.
func (h *testHouse) openDesk(b *browser, page string, with frame) {
	b.t.Helper()
	b.page(page, "about:blank", with)
	b.desk(page, "signIn", h.url+"/desk/#link="+h.link)
	b.desk(page, "setAvailable")
}

func (h *testHouse) openShop(b *browser, page string, with frame) {
	b.t.Helper()
	b.page(page, h.url+"/", with)
	b.visitor(page, "openChat")
}

// texts are the words of a timeline.
func texts(t testing.TB, raw json.RawMessage) []string {
	t.Helper()
	var rows []struct{ Words, Text string }
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.Words+r.Text)
	}
	return out
}

func countOf(list []string, part string) (n int) {
	for _, s := range list {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// TestBrowserChatStreet: two Chromium windows, the whole street, with reloads and a dropped network on either side.
func TestBrowserChatStreet(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, env...)
	h.openDesk(b, "ana", nil)
	h.openShop(b, "ole", frame{"person": "ole"})
	b.clean("ana")
	b.clean("ole")

	b.visitor("ole", "write", "How long can I send back a tent?")
	b.visitor("ole", "answered", 1)
	b.shot("ole", "visitor-answered")
	const script = `<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`
	b.visitor("ole", "write", script+" I want to talk to a person")
	b.visitor("ole", "inLine")
	b.desk("ana", "waitForOffer")
	b.shot("ana", "desk-offer")
	b.clean("ana")
	b.desk("ana", "acceptOffer")
	b.visitor("ole", "through", "Ana")
	b.desk("ana", "sendReply", "Hello, this is Ana.")
	b.see("ole", "Hello, this is Ana.")
	b.visitor("ole", "write", "Good, a person.")
	b.desk("ana", "waitForMessage", "Good, a person.", frame{"author": "contact"})
	b.shot("ana", "desk-chat")
	b.shot("ole", "visitor-chat")

	// the visitor reloads; the agent reloads
	b.do("reload", frame{"page": "ole"})
	b.visitor("ole", "openChat")
	b.see("ole", "Hello, this is Ana.")
	b.do("reload", frame{"page": "ana"})
	b.desk("ana", "waitForLive")
	b.desk("ana", "waitForMessage", "Good, a person.", frame{"author": "contact"})

	// the network drops on both sides; both write; both come back
	b.do("offline", frame{"person": "ole", "on": true})
	b.visitor("ole", "write", "Written in the tunnel")
	b.desk("ana", "sendReply", "Written while Ole is in the tunnel")
	b.do("offline", frame{"person": "ole", "on": false})
	b.see("ole", "Written while Ole is in the tunnel")
	b.desk("ana", "waitForMessage", "Written in the tunnel", frame{"author": "contact"})
	b.visitor("ole", "stored")

	for page, list := range map[string][]string{"ole": texts(t, b.visitor("ole", "messages")), "ana": texts(t, b.desk("ana", "messages"))} {
		for _, part := range []string{"send back a tent", "<script>", "Hello, this is Ana.", "Good, a person.", "Written in the tunnel", "Written while Ole"} {
			if n := countOf(list, part); n != 1 {
				t.Errorf("%s sees %q %d times in %q", page, part, n, list)
			}
		}
	}
	for _, page := range []string{"ole", "ana"} {
		var title string
		_ = json.Unmarshal(b.do("evaluate", frame{"page": page, "js": "document.title"}), &title)
		if strings.Contains(title, "hacked") {
			t.Errorf("a script of a message ran on %s", page)
		}
	}

	b.desk("ana", "endConversation")
	b.shot("ana", "desk-wrapup")
	b.clean("ana")
	b.desk("ana", "closeConversation", "Solved", "Tent goes back")
	b.visitor("ole", "write", "And how heavy is the Skarv 2?")
	b.visitor("ole", "answered", 2)
	if n := one[int](h, `select count(*) from conversations`); n != 1 {
		t.Errorf("%d conversations, want the same one reopened", n)
	}
	b.shot("ole", "visitor-reopened")
	b.clean("ole")
}

// TestBrowserModelDown: the visitor reads the truth and stands in line; dark theme, small screen.
func TestBrowserModelDown(t *testing.T) {
	_, env := ollama(t, llmtest.Refuse)
	b := chromium(t, "")
	h := open(t, env...)
	h.openShop(b, "ole", frame{"dark": true, "width": 390, "height": 780})
	b.visitor("ole", "write", "How long can I send back a tent?")
	b.see("ole", "Our AI is not answering right now")
	b.visitor("ole", "inLine")
	b.shot("ole", "visitor-model-down-dark")
	b.clean("ole")
	h.openDesk(b, "ana", frame{"dark": true})
	b.desk("ana", "waitForOffer")
	b.shot("ana", "desk-offer-dark")
	b.clean("ana")
	b.desk("ana", "acceptOffer")
	b.visitor("ole", "through", "Ana")
	b.shot("ana", "desk-chat-dark")
	b.clean("ana")
}

// TestBrowserMissedAndDeclined: the countdown runs out; one click brings the agent back; declining costs nothing.
func TestBrowserMissedAndDeclined(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, env...)
	if _, err := h.pool.Exec(t.Context(), `update queues set offer_seconds = 5`); err != nil {
		t.Fatal(err)
	}
	h.openDesk(b, "ana", nil)
	v := h.visitor("", 0)
	v.says("a human please")
	b.desk("ana", "waitForOffer")
	b.see("ana", "You missed")
	b.shot("ana", "desk-missed")
	b.clean("ana")
	b.desk("ana", "setAvailable")
	b.desk("ana", "declineOffer")
	h.eventually("declined and at the front", `select state = 'waiting' and front from conversations`)
	b.desk("ana", "acceptOffer") // the only one present is asked again
	v.state("agent")
}

// TestBrowserWidgetElsewhere: the one script tag of the README on a page of another origin, which the settings allow.
func TestBrowserWidgetElsewhere(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	var script string
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Shop</title><main><h1>Another shop</h1></main><script async src="%s/widget.js" data-patchbay></script>`, script)
	}))
	defer shop.Close()
	h := open(t, append(env, "PATCHBAY_HTTP_ALLOWED_ORIGINS="+shop.URL)...)
	script = h.url
	b.page("ole", shop.URL, nil)
	b.visitor("ole", "openChat")
	b.visitor("ole", "write", "How long can I send back a tent?")
	b.visitor("ole", "answered", 1)
	b.clean("ole")
}

// TestBrowserHelp: from an answer's source to the page that it names.
func TestBrowserHelp(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, "")
	h := open(t, env...)
	b.page("ole", h.url+"/help/returns", nil)
	b.see("ole", "within 60 days after delivery")
	b.shot("ole", "help")
	b.clean("ole")
	b.visitor("ole", "openChat")
	b.do("goto", frame{"page": "ole", "url": h.url + "/help"})
	b.clean("ole")
}
