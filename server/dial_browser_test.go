package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"patchbay/agents"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
)

// invited makes an agent of that role in the given queue ("" = the house's) and returns the desk's address to sign in by.
func (h *testHouse) invited(login, name, role string, queues ...string) string {
	h.t.Helper()
	ctx := h.t.Context()
	if len(queues) == 0 {
		queues = []string{one[string](h, `select name from queues order by id limit 1`)}
	}
	a := agents.Agent{Login: login, Name: name, Role: role}
	for _, q := range queues {
		id, err := agents.EnsureQueue(ctx, h.pool, q)
		if err != nil {
			h.t.Fatal(err)
		}
		a.Queues = append(a.Queues, id)
	}
	id, err := agents.EnsureAgent(ctx, h.pool, a)
	if err != nil {
		h.t.Fatal(err)
	}
	token, err := agents.SignInLink(ctx, h.pool, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.url + "/desk/#link=" + token
}

// admin is somebody at the API who may set the telephone up, and sits at no desk.
func (h *testHouse) admin() *agentClient {
	h.t.Helper()
	link := h.invited("ada", "Ada Admin", "admin")
	return h.signIn(link[strings.Index(link, "=")+1:])
}

// trunk sets up a way to the telephone network for numbers with these prefixes.
func (a *agentClient) trunk(name string, to netip.AddrPort, prefixes ...string) {
	a.t.Helper()
	a.call("POST", "/api/trunks", frame{"name": name, "servers": []string{to.String()}, "number_format": "plain", "country_code": "49",
		"caller_number": "+4930100", "options_seconds": 0, "dial_out": true, "allowed_prefixes": prefixes}, nil)
}

// neverAnswers is a telephone that rings and then says so.
const neverAnswers = `<?xml version="1.0"?><scenario name="no answer">
<recv request="INVITE"/>
<send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Content-Length: 0

]]></send>
<send retrans="500"><![CDATA[
SIP/2.0 480 Temporarily Unavailable
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
<recv request="ACK"/>
</scenario>`

// freeUDP is an address that nobody has at the moment.
func freeUDP(t testing.TB) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestBrowserCallsOut: the agent calls real telephones over trunks: forbidden, busy, nobody there, answered with sound
// both ways; passes the customer on to another telephone that is busy, and then to it; everything stands in the timeline.
func TestBrowserCallsOut(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	b := chromium(t, microphone(t))
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", Says: voiceOf(callerSeed)})
	friend := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4941333", Says: voiceOf(strangers)})
	absent := freeUDP(t)
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	admin := h.admin()
	admin.trunk("Fjordtel", customer.Addr(), "+4940")
	admin.trunk("Kanal", friend.Addr(), "+4941")
	admin.trunk("Niemand", absent, "+4942")
	for number, label := range map[string]string{"+4930100": "Hotline", "+4930200": "Shop"} {
		admin.call("PUT", "/api/numbers/"+number, frame{"label": label, "kind": "queue", "caller_id": true}, nil)
	}
	h.openDesk(b, "ana", frame{"raw": true})

	// forbidden: the words stand under the field
	b.click("ana", "button", "^Dial$")
	b.do("fill", frame{"page": "ana", "within": "dialog", "role": "textbox", "name": "Number", "value": "+1 900 5550100"})
	b.do("select", frame{"page": "ana", "within": "dialog", "css": "#dial-from", "value": "+4930200, Shop"})
	b.click("ana", "button", "^Call$")
	b.see("ana", "cost extra and are not allowed")
	b.look("ana", "dial-forbidden")
	b.do("press", frame{"page": "ana", "keys": "Escape"})

	// busy
	b.desk("ana", "dial", "+49 40 222", "+4930200")
	if e := customer.Wait(ctx, "CALL_INCOMING"); !strings.Contains(e.PeerURI, "4930200") {
		t.Errorf("the customer sees %s", e.PeerURI)
	}
	b.desk("ana", "waitForPhone", "ringing")
	b.look("ana", "dial-ringing")
	customer.Command(ctx, "hangup", "")
	b.see("ana", "Call ended: busy")
	b.look("ana", "dial-busy")

	// nobody there
	rang := make(chan voicetest.SIPpResult, 1)
	go func() {
		rang <- voicetest.RunSIPp(ctx, t, voicetest.SIPpConfig{Scenario: neverAnswers, Args: []string{"-p", fmt.Sprint(absent.Port()), "-m", "1"}})
	}()
	b.desk("ana", "dial", "+49 42 1234567")
	b.see("ana", "Call ended: did not answer")
	if r := <-rang; r.Code != 0 {
		t.Errorf("sipp: %d\n%s", r.Code, r.Output)
	}

	// answered
	b.desk("ana", "dial", "+49 40 222", "+4930200")
	customer.Wait(ctx, "CALL_INCOMING")
	customer.Command(ctx, "accept", "")
	b.desk("ana", "waitForPhone", "call")
	h.eventually("the call's row is bridged", `select exists (select from calls where state = 'bridged' and direction = 'out')`)
	b.look("ana", "dial-call")
	agent, called := b.both("ana", func() []int16 { return customer.Listen(ctx, 10*time.Second) })
	voicetest.CheckPlayed(t, "the agent hears whom they called", agent, voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))
	voicetest.CheckPlayed(t, "whom they called hears the agent", called, voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))

	// passed on to a telephone that is busy: nobody is left in silence
	b.desk("ana", "passOn", "+4941333")
	friend.Wait(ctx, "CALL_INCOMING")
	b.desk("ana", "waitForThird", "is being passed on")
	b.look("ana", "pass-ringing")
	friend.Command(ctx, "hangup", "")
	b.see("ana", "is busy. You are still with")
	b.look("ana", "pass-busy")
	voicetest.CheckPlayed(t, "the agent hears them again", b.hears("ana", 10), voiceOf(callerSeed), voiceOf(agentSeed), voiceOf(strangers))

	// passed on to a telephone that answers
	b.desk("ana", "passOn", "+4941333")
	friend.Wait(ctx, "CALL_INCOMING")
	friend.Command(ctx, "accept", "")
	b.see("ana", "Passed on")
	h.eventually("wrap-up while the two talk", `select exists (select from conversations where state = 'wrapup') and exists (select from calls where state = 'bridged')`)
	b.look("ana", "pass-done")
	b.desk("ana", "closeConversation", "Solved", "Passed on to Kanal")
	voicetest.Check(t, "the customer hears the other telephone", customer.Listen(ctx, 10*time.Second), voiceOf(strangers), voiceOf(callerSeed), voiceOf(agentSeed))
	voicetest.Check(t, "the other telephone hears the customer", friend.Listen(ctx, 10*time.Second), voiceOf(callerSeed), voiceOf(strangers), voiceOf(agentSeed))
	customer.Hangup(ctx)
	h.eventually("all calls have ended", `select not exists (select from calls where state <> 'ended')`)
	b.look("ana", "dial-timeline")
}
