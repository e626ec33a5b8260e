package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"patchbay/channels"
	"patchbay/channels/voice/voicetest"
	"patchbay/llm/llmtest"
	"patchbay/server/db/dbtest"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// callsIn calls from that number and waits in line.
func (h *testHouse) callsIn(ctx context.Context, number string) *voicetest.Call {
	h.t.Helper()
	return h.inLine(ctx, number, voicetest.NewPhone(h.t, number, loopback).Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{}))
}

// inLine has the caller ask for a person by key.
func (h *testHouse) inLine(ctx context.Context, number string, call *voicetest.Call) *voicetest.Call {
	h.t.Helper()
	<-call.RTP.HeardSome()
	call.RTP.Press(ctx, '0')
	h.eventually("the caller is in line", `select exists (select from conversations c join calls k on k.conversation_id = c.id
		where c.state = 'waiting' and k.state = 'waiting' and k.from_address = $1)`, number)
	return call
}

// leaves the line for a call back to the number that is read back.
func (h *testHouse) leaves(ctx context.Context, call *voicetest.Call, number string) {
	h.t.Helper()
	call.RTP.Press(ctx, '2')
	call.RTP.Press(ctx, '1')
	h.eventually("the call is promised", `select exists (select from promises where number = $1 and closed_at is null)`, number)
	select {
	case <-call.Ended():
	case <-ctx.Done():
		h.t.Fatal("the caller is not let go")
	}
	h.eventually("the caller's leg is gone, the place is not", `select not exists (select from calls where state <> 'ended') and exists (select from conversations where state = 'waiting')`)
}

// connects the agent's browser to the newest call.
func (a *agentClient) connects(ctx context.Context) *voicetest.Browser {
	a.t.Helper()
	tab := voicetest.NewBrowser(a.t)
	if err := a.send(frame{"type": "connect", "ref": "c", "call_id": one[int64](a.h, `select max(id) from calls`), "sdp": tab.Offer(ctx)}); err != nil {
		a.t.Fatal(err)
	}
	tab.Accept(a.await("the call's answer", func(f frame) bool { return f.str("type") == "call_answer" }).str("sdp"))
	return tab
}

// TestCallBackKeepsThePlace: a caller leaves the line by key 2, with the number read back, and keeps the place before somebody
// who came later. The agent accepts; the telephone calls by itself: busy, and the agent is free for the next at once; a
// supervisor has them called now, they answer and hear the agent, whose first word keeps the promise.
func TestCallBackKeepsThePlace(t *testing.T) {
	t.Parallel()
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222", Says: voiceOf(callerSeed)})
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	admin := h.admin()
	admin.trunk("Fjordtel", customer.Addr(), "+4940")
	admin.call("PUT", "/api/numbers/+4930200", frame{"label": "Hotline", "kind": "queue", "caller_id": true, "queue_id": one[int64](h, `select min(id) from queues`)}, nil)

	call := h.callsIn(ctx, "+4940222")
	since := one[time.Time](h, `select waiting_since from conversations`)
	h.leaves(ctx, call, "+4940222")
	if now := one[time.Time](h, `select waiting_since from conversations`); !now.Equal(since) {
		t.Errorf("waits since %s, was %s", now, since)
	}
	v := h.visitor("", 0)
	v.says("a person please")
	v.hears("that a person comes", event(channels.CodeWaiting))

	a := h.agent()
	offer := a.offer()
	if offer.str("call_back") != "+4940222" || !strings.Contains(offer.str("why"), "a call back") {
		t.Fatalf("the first offer is %v", offer)
	}
	id := offer.num("conversation_id")
	a.accept(offer)
	tab := a.connects(ctx)
	if e := customer.Wait(ctx, "CALL_INCOMING"); !strings.Contains(e.PeerURI, "4930200") {
		t.Errorf("the customer sees %s, not the queue's number", e.PeerURI)
	}
	customer.Command(ctx, "hangup", "") // busy
	a.await("why it did not come about", func(f frame) bool { return f.str("type") == "call" && f.sub("call").str("reason") == "busy" })
	tab.Close()
	next := a.offer()
	if next.num("conversation_id") != v.id(h) {
		t.Fatalf("the agent is offered %v, not the next in line", next)
	}
	h.eventually("the try is on record, and the place is kept", `select exists (select from conversations c join promises p on p.conversation_id = c.id
		where c.id = $1 and c.state = 'waiting' and c.waiting_since = $2 and c.not_before > now() + interval '9 minutes' and p.tries = 1 and p.last_try = 'busy'
			and p.closed_at is null and p.due_at > c.not_before)`, id, since)
	var waits []frame
	admin.call("GET", "/api/line", nil, &waits)
	if len(waits) != 1 || !strings.HasPrefix(waits[0].str("why"), "2nd try not before ") || !strings.HasSuffix(waits[0].str("why"), ": busy.") {
		t.Errorf("still waits: %v", waits)
	}

	if status, _ := admin.try("POST", "/api/conversations/"+itoa(v.id(h))+"/call-back", frame{"act": "now"}); status != 409 {
		t.Errorf("a chat is called: %d", status)
	}
	a.accept(next)
	a.replies(v.id(h), "One moment.")
	a.call("POST", "/api/conversations/"+itoa(v.id(h))+"/end", nil, nil)
	a.call("POST", "/api/conversations/"+itoa(v.id(h))+"/close", frame{"disposition": "solved"}, nil)
	a.forget()
	admin.call("POST", "/api/conversations/"+itoa(id)+"/call-back", frame{"act": "now"}, nil)
	a.accept(a.offer())
	tab = a.connects(ctx)
	customer.Wait(ctx, "CALL_INCOMING")
	customer.Command(ctx, "accept", "")
	h.eventually("they are joined", `select exists (select from calls where direction = 'out' and state = 'bridged')`)
	if n := one[int](h, `select count(*) from promises where conversation_id = $1 and closed_at is null`, id); n != 1 {
		t.Errorf("%d promises open: being joined is no word", n)
	}
	go tab.Play(ctx, voicetest.ULaw(voiceOf(agentSeed)))
	voicetest.Check(t, "the customer hears the agent", customer.Listen(ctx, 8*time.Second), voiceOf(agentSeed), voiceOf(callerSeed), voiceOf(strangers))
	h.eventually("the agent's word keeps the promise", `select exists (select from promises where conversation_id = $1 and closed_by = 'agent' and broken_at is null)`, id)
	customer.Hangup(ctx)
	h.eventually("wrap-up", `select state = 'wrapup' from conversations where id = $1`, id)
}

// TestCallBackOfATypedNumber: who withholds the number types one; what cannot be called is asked for again.
func TestCallBackOfATypedNumber(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	h.admin().trunk("Fjordtel", freeUDP(t), "+4940")
	call := voicetest.NewPhone(t, "x", loopback).Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{From: "anonymous", Headers: []string{"Privacy: id"}})
	<-call.RTP.HeardSome()
	call.RTP.Press(ctx, '0')
	h.eventually("the caller is in line", `select exists (select from conversations c join calls k on k.conversation_id = c.id where k.state = 'waiting')`)
	for _, d := range "2" + "112#" + "0900123456#" + "0405551234#" + "1" { // emergency, forbidden, allowed
		call.RTP.Press(ctx, byte(d))
	}
	h.eventually("the number is promised", `select exists (select from promises where number = '+49405551234' and closed_at is null)`)
	select {
	case <-call.Ended():
	case <-ctx.Done():
		t.Fatal("the caller is not let go")
	}
}

// TestCallBackSurvives: the server is killed while the customer's telephone rings. After the restart the call back is the first
// to be offered, with the place and all its tries.
func TestCallBackSurvives(t *testing.T) {
	t.Parallel()
	customer := voicetest.StartBaresip(t, voicetest.BaresipConfig{User: "4940222"})
	_, env := ollama(t, llmtest.Oracle)
	h := process(t, dbtest.URL(t), env...)
	h.start()
	h.keepPort()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	h.admin().trunk("Fjordtel", customer.Addr(), "+4940")
	v := h.visitor("", 0)
	v.says("a person please")
	v.hears("that a person comes", event(channels.CodeWaiting))
	h.leaves(ctx, h.callsIn(ctx, "+4940222"), "+4940222")
	since := one[time.Time](h, `select waiting_since from conversations where channel = 'voice'`)
	if _, err := h.pool.Exec(ctx, `update conversations set front = true where channel = 'voice'`); err != nil { // before the visitor
		t.Fatal(err)
	}
	a := h.agent()
	offer := a.offer()
	a.accept(offer)
	a.connects(ctx)
	customer.Wait(ctx, "CALL_INCOMING")
	h.kill()
	h.start()
	h.eventually("the call is lost", `select exists (select from calls where direction = 'out' and result = 'lost')`)
	h.eventually("the place is the first", `select exists (select from conversations c join promises p on p.conversation_id = c.id
		where c.id = $1 and c.front and c.waiting_since = $2 and p.tries = 0 and p.closed_at is null and p.number = '+4940222')`, offer.num("conversation_id"), since)
	again := h.signIn(h.link)
	again.live()
	again.available()
	if o := again.offer(); o.str("call_back") != "+4940222" {
		t.Errorf("first offer: %v", o)
	}
}

// TestCallsAgain: a caller hangs up in line and calls again: they have the place, and are told so.
func TestCallsAgain(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	call := h.callsIn(ctx, "+4940222")
	since := one[time.Time](h, `select waiting_since from conversations`)
	if err := call.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.eventually("they have left", `select state = 'closed' from conversations`)
	again := voicetest.NewPhone(t, "+4940222", loopback).Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	<-again.RTP.HeardSome()
	h.eventually("they have the place", `select state = 'waiting' and waiting_since = $1 from conversations`, since)
	if n := one[int](h, `select count(*) from messages where not private and data ->> 'code' = 'place_kept'`); n != 1 {
		t.Errorf("told %d times", n)
	}
	if err := again.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	h.eventually("they have left again", `select state = 'closed' from conversations`)
	if _, err := h.pool.Exec(ctx, `update conversations set left_at = left_at - interval '11 minutes'`); err != nil {
		t.Fatal(err)
	}
	late := voicetest.NewPhone(t, "+4940222", loopback).Dial(ctx, netip.MustParseAddrPort(h.sip), "100", voicetest.Invite{})
	<-late.RTP.HeardSome()
	if s := one[string](h, `select state from conversations`); s != "bot" {
		t.Errorf("after eleven minutes: %s", s)
	}
}

// TestCallBackFromThePage: a visitor in line is told that they may be called, when, and what was promised; a number that cannot
// be called, and a time at which nobody is there, are refused at their field.
func TestCallBackFromThePage(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	v := h.visitor("", 0)
	v.says("a person please")
	v.await("the place, without a call back: there is no trunk", func(f frame) bool { return f.str("type") == "state" && f.num("position") == 1 && f["may_call"] == nil })
	h.admin().trunk("Fjordtel", freeUDP(t), "+4940")
	send := func(f frame) {
		t.Helper()
		if err := v.send(f); err != nil {
			t.Fatal(err)
		}
	}
	v.await("that they may be called", func(f frame) bool { return f.str("type") == "state" && f["may_call"] == true })
	refused := func(field string, f frame) {
		t.Helper()
		id := clientID()
		f["type"], f["client_id"] = "call_me", id
		send(f)
		if e := v.await("a refusal", func(f frame) bool { return f.str("client_id") == id }); e.str("type") != "error" || e.str("field") != field {
			t.Errorf("%v: %v, want a refusal at %s", f, e, field)
		}
	}
	refused("number", frame{"number": ""})
	refused("number", frame{"number": "my phone"})
	refused("number", frame{"number": "112"})
	refused("number", frame{"number": "+1 900 5550100"})
	refused("at", frame{"number": "+49 40 5551234", "at": "2020-01-01T10:00:00Z"})
	refused("at", frame{"number": "+49 40 5551234", "at": time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)})
	refused("name", frame{"number": "+49 40 5551234", "name": "a\nb"})
	send(frame{"type": "call_times"})
	times := v.await("times", func(f frame) bool { return f.str("type") == "call_times" }).sub("call_times")
	if list, _ := times["times"].([]any); times["open"] != true || len(list) < 10 || times.num("tries") != 3 || times.num("minutes") != 10 {
		t.Errorf("times: %v", times)
	}
	send(frame{"type": "call_me", "client_id": clientID(), "number": "+49 40 5551234", "name": "Ole Bakke"})
	v.await("the promise", func(f frame) bool {
		return f.str("type") == "state" && f.str("call_back") == "+49405551234" && f["may_call"] == true
	})
	v.hears("the promise in words", event(channels.CodeCallSet))
	if name := one[string](h, `select name from contacts order by id limit 1`); name != "Ole Bakke" {
		t.Errorf("the contact is called %q", name)
	}
	send(frame{"type": "no_call"})
	v.await("no promise of a call", func(f frame) bool {
		return f.str("type") == "state" && f["call_back"] == nil && f.num("position") == 1 && f["may_call"] == true
	})
	if n := one[int](h, `select count(*) from promises where closed_at is null and number = ''`); n != 1 {
		t.Error("with the call back the promise of a person is gone")
	}
}

// TestCallBackOutsideHours: who phones when nobody answers is called at the next opening, and not before.
func TestCallBackOutsideHours(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	h.admin().trunk("Fjordtel", freeUDP(t), "+4940")
	opening := time.Now().UTC().AddDate(0, 0, 2).Truncate(24 * time.Hour).Add(9 * time.Hour)
	if _, err := h.pool.Exec(ctx, `update queues set hours = jsonb_build_object('zone', 'UTC', 'week', jsonb_build_array(jsonb_build_object('day', $1::text, 'from', '09:00', 'to', '10:00')))`,
		strings.ToLower(opening.Weekday().String())); err != nil {
		t.Fatal(err)
	}
	h.leaves(ctx, h.callsIn(ctx, "+4940222"), "+4940222")
	h.eventually("called at the opening, and owed a word soon after", `select exists (select from conversations c join promises p on p.conversation_id = c.id
		where c.not_before = $1 and p.due_at = $1::timestamptz + interval '180 seconds' and p.closed_at is null)`, opening)
	h.agent()
	var waits []frame
	h.admin().call("GET", "/api/line", nil, &waits)
	if len(waits) != 1 || waits[0].str("code") != "later" || !strings.HasPrefix(waits[0].str("why"), "Not before ") {
		t.Errorf("waits: %v", waits)
	}
}

// TestCallBackAtAChosenTime: outside hours a caller chooses the third of the times that they hear, confirms it, and is promised a
// call then, in the queue's own zone.
func TestCallBackAtAChosenTime(t *testing.T) {
	_, env := ollama(t, llmtest.Oracle)
	h := open(t, env...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	h.admin().trunk("Fjordtel", freeUDP(t), "+4940")
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	in := time.Now().In(zone).AddDate(0, 0, 2)
	if _, err := h.pool.Exec(ctx, `update queues set hours = jsonb_build_object('zone', 'Asia/Tokyo', 'week', jsonb_build_array(jsonb_build_object('day', $1::text, 'from', '09:00', 'to', '17:00')))`,
		strings.ToLower(in.Weekday().String())); err != nil {
		t.Fatal(err)
	}
	call := h.callsIn(ctx, "+4940222")
	for _, key := range "21" { // a call back, at this number
		call.RTP.Press(ctx, byte(key))
	}
	// the times come as soon as the house has answered: until then a key means nothing
	for tick := time.NewTicker(300 * time.Millisecond); !one[bool](h, `select exists (select from promises where number = '+4940222')`); {
		select {
		case <-tick.C:
			call.RTP.Press(ctx, '3') // again: the words are said again
			call.RTP.Press(ctx, '1')
		case <-ctx.Done():
			t.Fatal("not promised")
		}
	}
	want := time.Date(in.Year(), in.Month(), in.Day(), 14, 0, 0, 0, zone)
	h.eventually("called then", `select exists (select from conversations c join promises p on p.conversation_id = c.id where p.closed_at is null
		and c.not_before = $1 and p.appointment_at = $1 and p.due_at = $1::timestamptz + interval '180 seconds')`, want)
	select {
	case <-call.Ended():
	case <-ctx.Done():
		t.Fatal("the caller is not let go")
	}
}
